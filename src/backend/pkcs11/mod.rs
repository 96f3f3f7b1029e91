//! A PKCS#11 module as a backend: the embedded one ([`embedded`]), or any by path ([`external`]). Both are driven through
//! the same ordinary interface.
//!
//! What is done is proved by trying, never by reading a flag back (`proof`). All of a token's calls go through one
//! session behind one mutex. A login holds for the whole process, so tests and operators share a store only by its lock file.

mod contract;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
pub mod external;
mod objects;
mod pins;
mod proof;
mod slots;
mod token;

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cryptoki::{
    context::Pkcs11,
    object::{KeyType, ObjectHandle},
    session::Session,
    slot::Slot,
};

pub use pins::{Pin, PinError, PinPaths, Pins, SO_PIN_FILE, USER_PIN_FILE};

use super::{
    Access, BackendError, Class, Handle, HsmBackend, Mark, MaterialId, Result, TokenFacts,
    TokenLabel, TokenRef, Use,
    ledger::{Ledger, LedgerError},
};
use error::{Fault, translate};
use objects::Found;
use slots::Slots;
use token::Token;

/// Every operation scans a token of kryoptic's: beyond this many keys it gets slow.
pub const MAX_KEYS: usize = 1000;

/// Why a backend was not opened. Each sentence names the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the folder {0} is in use by another process: a store has one owner at a time; stop that process, or name another folder"
    )]
    InUse(String),
    #[error("this process has opened an embedded store already: there can be one only")]
    SecondStore,
    #[error("the records do not say which tokens must stay: {0}")]
    Records(String),
    #[error(
        "the path {0} cannot be written into the module's configuration: use one of plain UTF-8"
    )]
    Path(String),
    #[error(
        "{0} cannot be read or written ({1}): give it to the user that the operator runs as, or name another folder"
    )]
    Io(String, io::Error),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Pins(#[from] PinError),
    #[error(
        "the PKCS#11 module cannot be used ({0}): look at its path in the backends file, at its own configuration and at its disk"
    )]
    Module(BackendError),
}

/// A backend behind a PKCS#11 module.
pub struct Module {
    context: Pkcs11,
    pins: Pins,
    ledger: Ledger,
    slots: Box<dyn Slots>,
    max_keys: usize,
    tokens: Mutex<HashMap<TokenRef, Arc<Mutex<Token>>>>,
    /// C_InitToken on one slot at a time.
    making: Mutex<()>,
    /// Where the module bears one call at a time only.
    alone: Option<Mutex<()>>,
    /// Held until the last user of the store is gone.
    _lock: File,
}

/// No core dump of this process, and (on Linux) no other process of the same user may look into it: PINs and keys are in its memory.
pub fn harden() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn make_folder(folder: &Path) -> std::result::Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| OpenError::Io(folder.display().to_string(), error))
}

/// Takes the store's lock; the kernel gives it back when the process ends, however it ends.
fn lock(folder: &Path) -> std::result::Result<File, OpenError> {
    make_folder(folder)?;
    let path = folder.join("lock");
    let io = |error| OpenError::Io(path.display().to_string(), error);
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// A panic left no half-made state behind these mutexes: what they guard is looked at again before each use.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn handle_of(handle: Handle) -> ObjectHandle {
    // SAFETY: a handle is a number that the module looks up; one that it does not know is answered with an error.
    unsafe { ObjectHandle::new_from_raw(handle.0) }
}

impl Module {
    /// All tokens of that label: slot and serial.
    fn find(&self, label: &TokenLabel) -> Result<Vec<(Slot, String)>> {
        if let Some(reason) = self.slots.damaged(label) {
            return Err(BackendError::Unavailable(reason));
        }
        let mut found = Vec::new();
        let mut silent = None;
        for slot in self.context.get_slots_with_token().map_err(translate)? {
            if self.slots.is_retired(slot) {
                continue;
            }
            match self.context.get_token_info(slot) {
                Ok(info) if info.token_initialized() && info.label() == label.0 => {
                    found.push((slot, info.serial_number().to_owned()));
                }
                Ok(_) => {}
                Err(error) => silent = Some(translate(error)),
            }
        }
        match silent {
            // It may be the one that does not answer.
            Some(error) if found.is_empty() => Err(BackendError::Unavailable(error.to_string())),
            _ => Ok(found),
        }
    }

    /// The one token of that label. Two are for a person to sort out.
    fn only(&self, label: &TokenLabel) -> Result<Option<(Slot, TokenRef)>> {
        let mut found = self.find(label)?;
        if found.len() > 1 {
            return Err(BackendError::Unavailable(format!(
                "{} tokens carry the label {}",
                found.len(),
                label.0
            )));
        }
        Ok(found.pop().map(|(slot, serial)| {
            (
                slot,
                TokenRef {
                    label: label.clone(),
                    serial,
                },
            )
        }))
    }

    /// The slot in which a token is now: label and serial agree.
    fn locate(&self, token: &TokenRef, known: Option<Slot>) -> Result<Slot> {
        let agrees = |slot: &Slot| {
            let info = self.context.get_token_info(*slot);
            let agrees = info
                .is_ok_and(|it| it.label() == token.label.0 && it.serial_number() == token.serial);
            agrees && !self.slots.is_retired(*slot)
        };
        if let Some(slot) = known.filter(agrees) {
            return Ok(slot);
        }
        let found = self.find(&token.label)?;
        let slot = found
            .into_iter()
            .find(|(_, serial)| *serial == token.serial)
            .map(|(slot, _)| slot);
        slot.ok_or_else(|| {
            BackendError::NotThere(format!(
                "token {} with serial {}",
                token.label.0, token.serial
            ))
        })
    }

    /// Runs `act` with the token's state, found and locked.
    fn with_token<T>(
        &self,
        token: &TokenRef,
        act: impl FnOnce(&mut Token, Slot) -> Result<T>,
    ) -> Result<T> {
        let shared = Arc::clone(locked(&self.tokens).entry(token.clone()).or_default());
        let mut state = locked(&shared);
        let located = self.locate(token, state.slot);
        if let Err(BackendError::NotThere(_)) = located {
            locked(&self.tokens).remove(token);
        }
        let slot = located?;
        let _alone = self.alone.as_ref().map(locked);
        state.slot = Some(slot);
        act(&mut state, slot)
    }

    /// Runs `act` in the token's session, logged in as user.
    fn session<T>(
        &self,
        token: &TokenRef,
        act: impl FnOnce(&Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.with_token(token, |state, slot| {
            state.run(&self.context, slot, &self.pins, act)
        })
    }

    fn facts(&self, token: &TokenRef) -> Result<TokenFacts> {
        let refusal = self.with_token(token, |state, slot| {
            state.login(&self.context, slot, &self.pins)
        })?;
        let access = if refusal.is_none() {
            Access::Open
        } else {
            Access::Refused
        };
        Ok(TokenFacts {
            label: token.label.clone(),
            serial: token.serial.clone(),
            access,
        })
    }

    /// Fails unless no key object is left in the token.
    fn must_be_empty(&self, token: &TokenRef) -> Result<()> {
        let left = match self.session(token, objects::keys) {
            // Its PIN is kept nowhere; what is in it can be seen only with another one.
            Err(BackendError::Sealed) => {
                self.open_for_destruction(token)?;
                self.session(token, objects::keys)?
            }
            looked => looked?,
        };
        if left.is_empty() {
            return Ok(());
        }
        Err(BackendError::Unavailable(format!(
            "token {} still holds {} key objects",
            token.label.0,
            left.len()
        )))
    }

    /// The live object that a use needs, from memory or by a search.
    fn live(
        state: &mut Token,
        session_of: impl FnOnce(&mut Token) -> Result<Vec<Found>>,
        id: MaterialId,
        what: &Use,
    ) -> Result<(Class, ObjectHandle, KeyType)> {
        let wanted = |class: Class| {
            class == Class::Secret
                || (class == Class::Public) == matches!(what, Use::Encrypt { .. })
        };
        for class in [Class::Private, Class::Public, Class::Secret] {
            if let Some((handle, key_type)) = state.live.get(&(id, class)).filter(|_| wanted(class))
            {
                return Ok((class, *handle, *key_type));
            }
        }
        let found = session_of(state)?;
        if found.is_empty() {
            return Err(BackendError::NotThere(format!("key {id}")));
        }
        let live = found
            .iter()
            .find(|it| it.mark == Some(Mark::Live) && wanted(it.class));
        let live = live.ok_or(BackendError::Refused)?;
        state
            .live
            .insert((id, live.class), (live.handle, live.key_type));
        Ok((live.class, live.handle, live.key_type))
    }
}
