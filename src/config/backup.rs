//! Backups that the operator makes by itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::BackupArgs;
use super::backends::{Backend, Store};

/// Where to, how often, and how many stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backups {
    /// Absolute.
    pub to: PathBuf,
    pub every: Duration,
    pub keep: usize,
}

/// None: there are none.
pub(super) fn validate(
    args: BackupArgs,
    data_dir: &Path,
    backends: &[Backend],
) -> Result<Option<Backups>, String> {
    let BackupArgs {
        backup_to,
        backup_every,
        backup_keep,
    } = args;
    let Some(to) = backup_to else { return Ok(None) };
    let shown = to.display().to_string();
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(|error| format!("--backup-to {shown} is no path ({error}); name a folder"))
    };
    let to = absolute(&to)?;
    if to.starts_with(absolute(data_dir)?) {
        return Err(format!(
            "--backup-to {shown} is in the data folder, and would be lost with it; name a folder on another disk"
        ));
    }
    let embedded = |backend: &Backend| matches!(backend.store, Store::Embedded { .. });
    if !backends.iter().any(embedded) {
        return Err(format!(
            "--backup-to {shown} is for the embedded backend, and there is none; leave it out, and back the modules up with their vendors' tools"
        ));
    }
    Ok(Some(Backups {
        to,
        every: backup_every,
        keep: usize::from(backup_keep),
    }))
}

impl Backups {
    /// For people: one line.
    pub(super) fn explain(&self) -> String {
        let Self { to, every, keep } = self;
        format!(
            "backups: into {}, every {every:?}, {keep} stay; the PINs are in none",
            to.display()
        )
    }
}
