//! Any vendor's module, by the path of its library. Its slots are its own; its records are data objects in a token that is named for them.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, RwLock},
};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::{
    Module, OpenError, PinPaths, Pins, desk::Desk, error::translate, lock, objects, probe::probe,
    rack::Rack, shelf::TokenShelf, slots::Provisioned,
};
use crate::backend::{Assurance, BackendError, TokenLabel, TokenRef, ledger::shelf::ShelfLedger};

/// Where a module and what belongs to it lie.
#[derive(Clone, Debug)]
pub struct Config {
    /// The module's shared library.
    pub library: PathBuf,
    /// For its lock.
    pub data_dir: PathBuf,
    /// They must be there, since the module may hold tokens that nobody here knows of.
    pub pins: PinPaths,
    /// One call at a time in the whole module, as SoftHSM needs it; else one at a time in each token.
    pub one_at_a_time: bool,
    /// The label of the token that holds the records.
    pub ledger: String,
    /// The label of a token that holds nothing, to try on it what the module can do.
    pub scratch: String,
    /// Labels of the tokens for HSMs. None: each is made in a free slot, by C_InitToken.
    pub tokens: Option<Vec<String>>,
    /// In each token.
    pub max_keys: usize,
}

/// Opens a module, and tries what it can do.
pub fn open(config: &Config) -> Result<Module, OpenError> {
    let lock = Arc::new(lock(&config.data_dir)?);
    let pins = Pins::open(&config.pins, false)?;
    let module = |error| OpenError::Module(translate(error));
    let context = Pkcs11::new(&config.library).map_err(module)?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // By an earlier try, which failed later on.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(module(error)),
    }
    let slots = Box::new(Provisioned);
    let rack = Arc::new(Rack::new(context, pins, slots, config.one_at_a_time));
    let token = ledger_token(config, &rack)?;
    let notes = Arc::new(ShelfLedger::new(TokenShelf {
        rack: Arc::clone(&rack),
        token,
    }));
    let assurance = try_out(config, &rack, &notes, &lock)?;
    tracing::info!(library = %config.library.display(), ?assurance, "tried what the module can do");
    let refuses = !assurance.seals_hsms;
    let desk = Desk::new(Arc::clone(&notes), config.tokens.clone(), refuses);
    Ok(Module {
        rack,
        ledger: notes,
        max_keys: config.max_keys,
        assurance,
        desk: Some(desk),
        changes: RwLock::default(),
        _lock: lock,
    })
}

/// The token of the records. A new one is made only where no token is there that they could be missing of.
fn ledger_token(config: &Config, rack: &Rack) -> Result<TokenRef, OpenError> {
    let label = TokenLabel(config.ledger.clone());
    let found = rack.only(&label).map_err(OpenError::Module)?;
    if found.is_none() && config.tokens.is_none() {
        let shown = rack.all().map_err(OpenError::Module)?;
        if shown
            .tokens
            .iter()
            .any(|(_, token)| token.label.may_be_ours())
        {
            return Err(OpenError::LedgerGone(config.ledger.clone()));
        }
    }
    open_token(config, rack, &label, found)
}

/// The token of that label, open with our PIN; made where C_InitToken is ours to call.
fn open_token(
    config: &Config,
    rack: &Rack,
    label: &TokenLabel,
    found: Option<TokenRef>,
) -> Result<TokenRef, OpenError> {
    let made = match found {
        Some(token) => rack.finish(&token).map(|()| token),
        None if config.tokens.is_some() => return Err(OpenError::NoToken(label.0.clone())),
        None => rack.make(label),
    };
    made.map_err(|error| match error {
        BackendError::NotSupported(_) => OpenError::NoToken(label.0.clone()),
        error => OpenError::Module(error),
    })
}

/// The note by which a later start knows the scratch token again: that serial was found empty.
const SCRATCH: &str = "scratch";

fn try_out(
    config: &Config,
    rack: &Arc<Rack>,
    notes: &Arc<ShelfLedger<TokenShelf>>,
    lock: &Arc<File>,
) -> Result<Assurance, OpenError> {
    let label = TokenLabel(config.scratch.clone());
    let found = rack.only(&label).map_err(OpenError::Module)?;
    let scratch = open_token(config, rack, &label, found)?;
    let failed = |error| match error {
        BackendError::Sealed => OpenError::Refused(config.scratch.clone()),
        error => OpenError::Module(error),
    };
    let known = notes.noted(SCRATCH).map_err(OpenError::Module)?;
    if known.as_deref() != Some(scratch.serial.as_bytes()) {
        // Whoever names the wrong token is to lose nothing by it.
        if rack.session(&scratch, objects::count).map_err(failed)? > 0 {
            return Err(OpenError::NotEmpty(config.scratch.clone()));
        }
        let noted = notes.note(SCRATCH, scratch.serial.as_bytes());
        noted.map_err(OpenError::Module)?;
    }
    let module = Module {
        rack: Arc::clone(rack),
        ledger: Arc::clone(notes) as _,
        max_keys: config.max_keys,
        assurance: Assurance::FULL,
        desk: None,
        changes: RwLock::default(),
        _lock: Arc::clone(lock),
    };
    probe(&module, &scratch).map_err(failed)
}
