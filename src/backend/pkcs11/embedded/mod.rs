//! The embedded module: kryoptic, linked into this executable. One SQLite file a token under `<data>/slots/`, the ledger
//! at `<data>/ledger.db`, a lock at `<data>/lock`; `backend::store` copies and reads them.
//!
//! kryoptic opens all its slots at once and fails for all if one file is torn, and C_InitToken is not atomic. So each file is
//! looked at first: what holds no token is moved to `<data>/torn/`, unless a record says that a token must be there; then it
//! stays where it is, and that token alone is out of reach.

mod files;

use std::{
    collections::BTreeSet,
    ffi::CString,
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    slot::Slot,
};
use kryoptic_lib::{
    fns::general::fn_get_function_list,
    pkcs11::{CK_FUNCTION_LIST_PTR_PTR, CK_RV},
};

use super::{
    MAX_KEYS, Module, OpenError, Pin, PinPaths, PinStore, error::translate, lock, locked,
    rack::Rack, slots::Slots,
};
use crate::backend::{
    Assurance, BackendError, Result, Stored, TokenLabel,
    ledger::{Ledger, sqlite::SqliteLedger},
    store::{Contents, LEDGER, RESTORING},
};
use files::{Files, Survey};

/// How many tokens fit, if not said: 256 cost 153 ms at the start and 53 MB.
pub const MAX_TOKENS: usize = 256;

/// Where an embedded store lies, and how much it may hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// Slots, ledger, lock.
    pub data_dir: PathBuf,
    /// Made on the first start.
    pub pins: Arc<dyn PinStore>,
    pub max_tokens: usize,
    /// In each token.
    pub max_keys: usize,
}

impl Config {
    /// With the usual limits.
    pub fn new(data_dir: impl Into<PathBuf>, pin_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.into(),
            pins: Arc::new(PinPaths::in_folder(pin_dir)),
            max_tokens: MAX_TOKENS,
            max_keys: MAX_KEYS,
        }
    }
}

/// The symbol by which any PKCS#11 module is found; here it is the executable's own.
///
/// # Safety
/// The caller passes a pointer that may be written to, or null, as PKCS#11 wants it.
// SAFETY: nothing else of this name is linked in; the linker would refuse it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    fn_get_function_list(list)
}

/// kryoptic's state is the process's: a second store would meet the first one's slots.
static OPENED: AtomicBool = AtomicBool::new(false);

/// Opens the store in a folder, or makes one. `keep` is given all records of the ledger and answers the labels of all tokens
/// that must be there: of a file with such a label nothing is ever moved. If it cannot tell, nothing is opened.
pub fn open(
    config: &Config,
    keep: impl FnOnce(&[Stored]) -> std::result::Result<BTreeSet<TokenLabel>, String>,
) -> std::result::Result<Module, OpenError> {
    let lock = lock(&config.data_dir)?;
    if config.data_dir.join(RESTORING).exists() {
        let folder = config.data_dir.display().to_string();
        return Err(OpenError::HalfRestored(folder));
    }
    let ledger = SqliteLedger::open(&config.data_dir.join(LEDGER))?;
    let records = ledger.records().map_err(OpenError::Module)?;
    let keep = keep(&records).map_err(OpenError::Records)?;
    let survey = files::survey(&config.data_dir, &keep)?;
    let pins = config.pins.open(survey.is_empty())?;
    if OPENED.swap(true, Ordering::SeqCst) {
        return Err(OpenError::SecondStore);
    }
    let slots = Embedded::new(config, survey)?;
    let context = context().map_err(|error| OpenError::Module(translate(error)))?;
    slots
        .configure(&context, &locked(&slots.files))
        .map_err(OpenError::Module)?;
    Ok(Module {
        rack: Arc::new(Rack::new(context, pins, Box::new(slots), false)),
        ledger: Arc::new(ledger),
        max_keys: config.max_keys,
        // As the contract's tests show of the very version that is linked in.
        assurance: Assurance::FULL,
        desk: None,
        changes: RwLock::default(),
        _lock: Arc::new(lock),
    })
}

fn context() -> std::result::Result<Pkcs11, Error> {
    // Named here so that the linker takes it from the library into the executable.
    std::hint::black_box(C_GetFunctionList as *const ());
    Pkcs11::new_from_self()
}

/// kryoptic's slots: files that are added while it runs.
struct Embedded {
    files: Mutex<Files>,
    max_tokens: usize,
    /// The configuration that C_Initialize reads.
    list: PathBuf,
    argument: CString,
}

impl Embedded {
    fn new(config: &Config, survey: Survey) -> std::result::Result<Self, OpenError> {
        let list = config.data_dir.join("slots.toml");
        let bad_path = || OpenError::Path(list.display().to_string());
        let text = list.to_str().ok_or_else(bad_path)?;
        let argument = CString::new(format!("kryoptic_conf={text}")).map_err(|_| bad_path())?;
        let files = Mutex::new(Files::new(&config.data_dir, survey));
        Ok(Self {
            files,
            max_tokens: config.max_tokens,
            list,
            argument,
        })
    }

    /// Writes the list of slots and lets kryoptic read it; slots that it has already stay as they are, with their sessions.
    fn configure(&self, context: &Pkcs11, files: &Files) -> Result<()> {
        write_whole(&self.list, &files.configuration()?)?;
        let pointer = NonNull::from(self.argument.as_c_str()).cast();
        // SAFETY: kryoptic reads the reserved argument as a C string, during the call only; `self` outlives it.
        let arguments =
            unsafe { CInitializeArgs::new_with_reserved(CInitializeFlags::OS_LOCKING_OK, pointer) };
        match context.initialize(arguments) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            Err(error) => Err(translate(error)),
        }
    }
}

fn write_whole(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("new");
    let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, path));
    written.map_err(|error| BackendError::Unavailable(format!("{}: {error}", path.display())))
}

impl Slots for Embedded {
    fn damaged(&self, label: &TokenLabel) -> Option<String> {
        locked(&self.files).damaged(label)
    }

    fn is_retired(&self, slot: Slot) -> bool {
        locked(&self.files).is_retired(slot.id())
    }

    fn fresh(&self, context: &Pkcs11, label: &TokenLabel) -> Result<Slot> {
        let mut files = locked(&self.files);
        if files.count() >= self.max_tokens {
            return Err(BackendError::Full(format!(
                "the store holds {} tokens at most",
                self.max_tokens
            )));
        }
        let number = files.add(label)?;
        let added = self
            .configure(context, &files)
            .and_then(|()| Slot::try_from(number).map_err(translate));
        if added.is_err() {
            files.discard(u64::from(number));
        }
        added
    }

    fn discard(&self, slot: Slot) {
        locked(&self.files).discard(slot.id());
    }

    fn contents(&self) -> Option<Contents> {
        Some(locked(&self.files).contents())
    }

    fn release(&self, _context: &Pkcs11, slot: Slot, _so: &Pin) -> Result<()> {
        // kryoptic keeps the file open until the process ends; nothing looks into that slot again.
        locked(&self.files).remove(slot.id())
    }
}
