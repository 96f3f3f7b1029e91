//! The shelf of a module's ledger: private data objects in a token that is no HSM's, and open while those are sealed.

use std::sync::Arc;

use cryptoki::{
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{error::Fault, handle_of, rack::Rack};
use crate::backend::{
    BackendError, Handle, Result, TokenRef,
    ledger::shelf::{Item, Shelf},
};

/// What every data object of ours carries before its name in CKA_APPLICATION.
const OURS: &str = "managedhsm.dev/";

/// The ledger's token.
pub(super) struct TokenShelf {
    pub(super) rack: Arc<Rack>,
    /// By label and serial: another token of that label is another ledger.
    pub(super) token: TokenRef,
}

impl TokenShelf {
    fn session<T>(&self, act: impl FnOnce(&Session) -> std::result::Result<T, Fault>) -> Result<T> {
        let label = &self.token.label.0;
        self.rack
            .session(&self.token, act)
            .map_err(|error| match error {
                BackendError::Sealed => BackendError::Pin(format!(
                    "the ledger's token {label} refuses the user PIN: put the right one in its file, then restart"
                )),
                BackendError::NotThere(what) => BackendError::Unavailable(format!(
                    "the ledger is not there ({what}): bring that very token back"
                )),
                other => other,
            })
    }
}

impl Shelf for TokenShelf {
    fn items(&self, name: Option<&str>) -> Result<Vec<Item>> {
        self.session(|session| {
            let mut template = vec![
                Attribute::Class(ObjectClass::DATA),
                Attribute::Token(true),
                Attribute::Private(true),
            ];
            template.extend(name.map(|name| Attribute::Application(application(name))));
            let mut items = Vec::new();
            for handle in session.find_objects(&template)? {
                match read(session, handle) {
                    Ok(item) => items.extend(item),
                    // Removed by somebody else since it was found.
                    Err(fault) if fault.error == BackendError::DeadHandle => {}
                    Err(fault) => return Err(fault),
                }
            }
            Ok(items)
        })
    }

    fn add(&self, name: &str, label: &str, value: &[u8]) -> Result<()> {
        let template = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Application(application(name)),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Value(value.to_vec()),
        ];
        self.session(|session| {
            session.create_object(&template)?;
            Ok(())
        })
    }

    fn remove(&self, handle: Handle) -> Result<()> {
        self.session(|session| Ok(session.destroy_object(handle_of(handle))?))
    }
}

fn application(name: &str) -> Vec<u8> {
    format!("{OURS}{name}").into_bytes()
}

/// None: it is somebody else's.
fn read(session: &Session, handle: ObjectHandle) -> std::result::Result<Option<Item>, Fault> {
    let wanted = [
        AttributeType::Application,
        AttributeType::Label,
        AttributeType::Value,
    ];
    let (mut name, mut label, mut value) = (Vec::new(), Vec::new(), Vec::new());
    for attribute in session.get_attributes(handle, &wanted)? {
        match attribute {
            Attribute::Application(it) => name = it,
            Attribute::Label(it) => label = it,
            Attribute::Value(it) => value = it,
            _ => {}
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let name = text(name);
    Ok(name.strip_prefix(OURS).map(|name| Item {
        handle: Handle(handle.handle()),
        name: name.to_owned(),
        label: text(label),
        value,
    }))
}
