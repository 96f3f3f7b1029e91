//! The embedded store as files: one SQLite file a token under `slots/`, the ledger beside them. Here they are copied, put back and looked into without a
//! PIN, and none is among them.
//!
//! A backup is a folder with the same files and a manifest, which is written last: without it the folder is no backup. SQLite's locks are the process's,
//! and any other handle that is closed drops them: while the store is open in this process its files are touched by SQLite only.

mod backup;
mod check;
mod copied;
mod look;
mod manifest;
mod restore;
mod series;

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::{Stored, TokenLabel, ledger::sqlite::LedgerError, pkcs11::OpenError};
pub use backup::{Contents, Draft, back_up_closed};
pub use check::{Checked, check};
pub use look::{Look, look};
pub use manifest::{MANIFEST, Manifest};
pub use restore::restore;
pub use series::{kept, name, prune};

/// The ledger's file in a store's folder.
pub const LEDGER: &str = "ledger.db";
/// The folder with a file for each token.
pub const SLOTS: &str = "slots";
/// What those files end in.
pub const EXTENSION: &str = "sqlite3";
/// There while a restore is under way: what lies beside it is not whole, and is not opened.
pub const RESTORING: &str = "restoring";
/// Whoever has the store open holds it.
pub const LOCK: &str = "lock";

/// Which tokens must be there by these records, or why that cannot be told.
pub type Needed = fn(&[Stored]) -> Result<BTreeSet<TokenLabel>, String>;

/// What a backup says of itself beside its files.
#[derive(Clone, Debug)]
pub struct About {
    pub taken: DateTime<Utc>,
    /// Where the PINs are that it does not hold, in words.
    pub pins: String,
    pub needed: Needed,
}

/// Why a store was not backed up, looked into or put back. Each is one sentence and names the way out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "what is in a PKCS#11 module, its records too, is backed up with its vendor's tool: take all its tokens at one moment"
    )]
    NotEmbedded,
    #[error("the path {0} is not absolute, or no UTF-8; name a folder by a plain absolute path")]
    Path(String),
    #[error(
        "{0} is not empty, and a backup overwrites nothing; name a folder that is empty or not there yet"
    )]
    Occupied(String),
    #[error(
        "there is no room in {0}; make room there, or name a folder on another disk: what was written is removed again"
    )]
    NoRoom(String),
    #[error(
        "{0} cannot be read or written ({1}); give it to the user that this runs as, or name another folder"
    )]
    Io(String, io::Error),
    #[error(
        "{0} cannot be copied ({1}); look at its disk and at that of the backup: what was written of it is removed again"
    )]
    Copy(String, rusqlite::Error),
    #[error(
        "no backup was made, for what was copied is not sound: {0}; look at the store's disk and at that of the backup, and try again"
    )]
    BadCopy(String),
    #[error("the records do not say which tokens must be there: {0}")]
    Records(String),
    #[error(
        "{0} holds no store and no backup: it has neither {LOCK} and {LEDGER} nor {MANIFEST}, which is written last; name another folder"
    )]
    Nothing(String),
    #[error(
        "{0} is no whole backup: it has no {MANIFEST}, which is written last; take another one"
    )]
    NoManifest(String),
    #[error("{0} cannot be gone by: {1}; take another backup")]
    Manifest(String, String),
    #[error("the backup {0} is not as it was made: {1}; take another one, nothing was restored")]
    Altered(String, String),
    #[error(
        "{0} is not empty, and a restore overwrites nothing; name an empty folder with --data-dir, or move away what is in it"
    )]
    NotEmpty(String),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Lock(#[from] OpenError),
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

fn io_at(path: &Path) -> impl Fn(io::Error) -> StoreError + '_ {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::NoRoom(path.display().to_string())
        }
        _ => StoreError::Io(path.display().to_string(), error),
    }
}

/// For its owner only.
fn make_folder(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(io_at(folder))
}

/// What was made or renamed in a folder outlives a power cut after this.
fn sync(path: &Path) -> Result<()> {
    match File::open(path).and_then(|it| it.sync_all()) {
        // Some file systems, such as a network's, cannot be told so of a folder.
        Err(error)
            if path.is_dir()
                && matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
        {
            Ok(())
        }
        synced => synced.map_err(io_at(path)),
    }
}

/// The names in a folder; none where it is not there.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_at(folder))?,
    };
    let name = |entry: io::Result<fs::DirEntry>| -> io::Result<String> {
        Ok(entry?.file_name().to_string_lossy().into_owned())
    };
    entries
        .map(name)
        .collect::<io::Result<_>>()
        .map_err(io_at(folder))
}

/// A new disk has a folder of its own.
fn is_of_the_disk(name: &str) -> bool {
    name == "lost+found"
}

fn slot_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(SLOTS).join(name)
}

#[cfg(test)]
mod tests;
