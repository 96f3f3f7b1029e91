//! A PKCS#11 module as a backend: the embedded one ([`embedded`]), or any by path ([`external`]). Both are driven through
//! the same ordinary interface.
//!
//! What is done is proved by trying, never by reading a flag back (`proof`). All of a token's calls go through one
//! session behind one mutex. A login holds for the whole process, so tests and operators share a store only by its lock file.

mod contract;
mod desk;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
pub mod external;
mod objects;
mod pins;
mod probe;
mod proof;
mod rack;
mod shelf;
mod slots;
mod token;

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use cryptoki::{
    object::{KeyType, ObjectHandle},
    session::Session,
    slot::Slot,
};

pub use pins::{Pin, PinError, PinPaths, PinStore, Pins, SO_PIN_FILE, USER_PIN_FILE};

use super::{
    Access, Assurance, BackendError, Class, Handle, Mark, MaterialId, Result, TokenFacts,
    TokenLabel, TokenRef, Use,
    ledger::{Ledger, sqlite::LedgerError},
    store::LOCK,
};
use desk::Desk;
use error::Fault;
use objects::Found;
use rack::Rack;
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
    #[error(
        "a restore into {0} was broken off, and what lies there is not whole: run store restore again, which begins anew"
    )]
    HalfRestored(String),
    #[error(
        "the module has no token labelled {0}, which the backends file names: make one with both PINs of the backend, or correct the name"
    )]
    NoToken(String),
    #[error(
        "the token {0}, which the ledger is in, is not there, though tokens of this operator are: bring that very token back, since a new ledger would know none of them"
    )]
    LedgerGone(String),
    #[error(
        "the scratch token {0} holds something, and what is tried on it could destroy that: name an empty one"
    )]
    NotEmpty(String),
    #[error(
        "the token {0} refuses the user PIN of this backend: put the right one in its file, or make the token anew with it"
    )]
    Refused(String),
}

impl OpenError {
    /// Trying again by itself would do harm: each wrong PIN counts.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Module(BackendError::Pin(_)) | Self::Refused(_) | Self::SecondStore
        )
    }
}

/// A backend behind a PKCS#11 module.
pub struct Module {
    rack: Arc<Rack>,
    ledger: Arc<dyn Ledger>,
    max_keys: usize,
    /// What the module holds by itself; the rest the operator alone refuses.
    assurance: Assurance,
    /// None: nothing is to be noted beside the records.
    desk: Option<Desk>,
    /// Each change holds it for reading, a backup for writing: what that copies is of one moment.
    changes: RwLock<()>,
    /// Held until the last user of the store is gone.
    _lock: Arc<File>,
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
pub(in crate::backend) fn lock(folder: &Path) -> std::result::Result<File, OpenError> {
    make_folder(folder)?;
    let path = folder.join(LOCK);
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
    /// Held while the store is changed. No change holds it twice: between the two a backup may have come to wait.
    fn change(&self) -> RwLockReadGuard<'_, ()> {
        self.changes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token as the module knows it: a provisioned one has a label of its own.
    fn reach(&self, token: &TokenRef) -> Result<TokenRef> {
        let Some((desk, _)) = self.provisioned() else {
            return Ok(token.clone());
        };
        let owned = desk.owned(&self.rack, &token.label)?;
        let real = owned.filter(|real| real.serial == token.serial);
        real.ok_or_else(|| BackendError::NotThere(format!("token {}", token.label.0)))
    }

    fn provisioned(&self) -> Option<(&Desk, &[String])> {
        let desk = self.desk.as_ref()?;
        Some((desk, desk.provisioned.as_deref()?))
    }

    /// Runs `act` with the token's state, found and locked; `Sealed` where the operator itself refuses it.
    fn with_token<T>(
        &self,
        token: &TokenRef,
        act: impl FnOnce(&mut Token, Slot) -> Result<T>,
    ) -> Result<T> {
        let real = self.reach(token)?;
        let _use = match &self.desk {
            Some(desk) => desk.may_use(&token.label)?,
            None => None,
        };
        self.rack.with_token(&real, act)
    }

    /// Runs `act` in the token's session, logged in as user.
    fn session<T>(
        &self,
        token: &TokenRef,
        act: impl FnOnce(&Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.with_token(token, |state, slot| {
            state.run(&self.rack.context, slot, &self.rack.pins, act)
        })
    }

    /// What is known of the token that has that label of ours.
    fn facts(&self, label: &TokenLabel, real: &TokenRef) -> Result<TokenFacts> {
        let refused = match &self.desk {
            Some(desk) => desk.is_refused(label)?,
            None => false,
        };
        let access = if refused {
            Access::Refused
        } else {
            self.rack.access(real)?
        };
        Ok(TokenFacts {
            label: label.clone(),
            serial: real.serial.clone(),
            access,
        })
    }

    /// Gives a sealed token a PIN that only this process has.
    fn hold_open(&self, token: &TokenRef) -> Result<()> {
        let real = self.reach(token)?;
        match self.desk.as_ref().filter(|desk| desk.refuses) {
            Some(desk) => {
                self.rack.with_token(&real, |_, _| Ok(()))?;
                desk.open_for_destruction(&token.label);
                Ok(())
            }
            None => self.rack.hold(&real),
        }
    }

    /// Fails unless no key object, whosever it is, is left in the token.
    fn must_be_empty(&self, token: &TokenRef) -> Result<()> {
        let left = match self.session(token, objects::count) {
            // Its PIN is kept nowhere; what is in it can be seen only with another one.
            Err(BackendError::Sealed) => {
                self.hold_open(token)?;
                self.session(token, objects::count)?
            }
            looked => looked?,
        };
        if left == 0 {
            return Ok(());
        }
        Err(BackendError::Unavailable(format!(
            "token {} still holds {left} key objects",
            token.label.0
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
