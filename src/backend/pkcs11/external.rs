//! Any vendor's module, by the path of its library. Its slots are its own; records are kept in a SQLite ledger beside it.

use std::{path::PathBuf, sync::Mutex};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};

use super::{
    MAX_KEYS, Module, OpenError, PinPaths, Pins, error::translate, lock, slots::Provisioned,
};
use crate::backend::ledger::Ledger;

/// Where a module and what belongs to it lie.
#[derive(Clone, Debug)]
pub struct Config {
    /// The module's shared library.
    pub library: PathBuf,
    /// Lock and ledger.
    pub data_dir: PathBuf,
    /// They must be there, since the module may hold tokens that nobody here knows of.
    pub pins: PinPaths,
    /// One call at a time in the whole module, as SoftHSM needs it; else one at a time in each token.
    pub one_at_a_time: bool,
}

/// Opens a module.
pub fn open(config: &Config) -> Result<Module, OpenError> {
    let lock = lock(&config.data_dir)?;
    let ledger = Ledger::open(&config.data_dir.join("ledger.db"))?;
    let pins = Pins::open(&config.pins, false)?;
    let module = |error| OpenError::Module(translate(error));
    let context = Pkcs11::new(&config.library).map_err(module)?;
    context
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(module)?;
    Ok(Module {
        context,
        pins,
        ledger,
        slots: Box::new(Provisioned),
        max_keys: MAX_KEYS,
        tokens: Mutex::default(),
        making: Mutex::default(),
        alone: config.one_at_a_time.then(Mutex::default),
        _lock: lock,
    })
}
