//! The commands on the embedded store as a whole. A backup is made by the operator that runs; the others are for a store that nobody has open.

use std::path::Path;

use super::ledger::AskError;
use super::socket;
use crate::backend::store::{self, About, Checked, Manifest, StoreError};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::backends::{Backend, Store};
use crate::controller::ledger::{Answer, Wish, sentence};
use crate::plan::ids;

/// Has the running operator back its store up into that folder, or copies the files of a store that nobody has open.
pub fn back_up(config: &Config, folder: &Path) -> Result<Answer, AskError> {
    let data = &config.data_dir;
    let wish = Wish::BackUp {
        folder: folder.to_owned(),
    };
    let failed = |error| AskError::Socket(socket::path(data).display().to_string(), error);
    match socket::ask(data, &wish).map_err(failed)? {
        Some(answer) => Ok(answer),
        None => closed(config, folder)
            .map(Answer::Done)
            .map_err(|error| AskError::Alone(format!("no operator listens here, and {error}"))),
    }
}

fn closed(config: &Config, folder: &Path) -> Result<String, StoreError> {
    let embedded = |backend: &&Backend| matches!(backend.store, Store::Embedded { .. });
    let (here, elsewhere): (Vec<_>, Vec<_>) = config.backends.iter().partition(embedded);
    if here.is_empty() {
        return Err(StoreError::NotEmbedded);
    }
    let about = About {
        taken: Clock::real().now(),
        pins: config.pins_kept(),
        needed: ids::tokens_needed,
    };
    let manifest = store::back_up_closed(&config.data_dir, folder, &about)?;
    let elsewhere: Vec<_> = elsewhere
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    Ok(sentence(&manifest, folder, &elsewhere))
}

/// Puts a backup into the data folder.
pub fn restore(config: &Config, backup: &Path) -> Result<Manifest, StoreError> {
    store::restore(backup, &config.data_dir, ids::tokens_needed)
}

/// Looks into a backup, or into the data folder.
pub fn check(folder: &Path) -> Result<Checked, StoreError> {
    store::check(folder, ids::tokens_needed)
}
