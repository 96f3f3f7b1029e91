//! Backups one after the other in one folder, each named by its time; old ones go once a newer one is whole.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{LEDGER, MANIFEST, Manifest, Result, io_at, names_in};
use crate::backend::ledger::sqlite::SqliteLedger;

/// No colons: some file systems have none.
const NAME: &str = "%Y-%m-%dT%H-%M-%SZ";

/// What the backup of that time is called.
pub fn name(taken: DateTime<Utc>) -> String {
    taken.format(NAME).to_string()
}

/// Whole ones, the oldest first. What is named otherwise is somebody else's.
pub fn kept(series: &Path) -> Result<Vec<(DateTime<Utc>, PathBuf)>> {
    let all = ours(series)?.into_iter();
    Ok(all
        .filter(|(_, path)| path.join(MANIFEST).exists())
        .collect())
}

/// Removes what a crash left half done, and of the whole ones that `newest` stands for the oldest, so that `keep` stay. Answers how many of those went.
pub fn prune(series: &Path, newest: &Path, keep: usize) -> Result<usize> {
    let others = ours(series)?.into_iter().map(|(_, path)| path);
    let others: Vec<_> = others.filter(|path| path != newest).collect();
    let (whole, broken_off): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|path| path.join(MANIFEST).exists());
    let stands_for = StandsFor::of(newest)?;
    let old: Vec<_> = whole.iter().filter(|path| stands_for.older(path)).collect();
    let too_many = (old.len() + 1).saturating_sub(keep.max(1));
    let gone = old.into_iter().take(too_many);
    for path in gone.clone().chain(&broken_off) {
        remove(path)?;
    }
    Ok(gone.count())
}

/// Which older backups a new one makes superfluous. Not those of another store: one that was lost, and begun anew, would push out every backup of what it lost.
/// And none at all while it lacks a token, which they may have.
struct StandsFor {
    lacks: bool,
    records: BTreeSet<String>,
}

impl StandsFor {
    fn of(newest: &Path) -> Result<Self> {
        let lacks = Manifest::read(newest)?.is_none_or(|it| !it.lacking.is_empty());
        let records = records(newest)?;
        Ok(Self { lacks, records })
    }

    fn older(&self, other: &Path) -> bool {
        // What cannot be read is left to a person.
        let same_store = records(other)
            .is_ok_and(|theirs| theirs.is_empty() || !theirs.is_disjoint(&self.records));
        same_store && !self.lacks
    }
}

fn records(backup: &Path) -> Result<BTreeSet<String>> {
    let records = SqliteLedger::look(&backup.join(LEDGER))?;
    Ok(records.into_iter().map(|record| record.id).collect())
}

fn ours(series: &Path) -> Result<Vec<(DateTime<Utc>, PathBuf)>> {
    let mut all: Vec<_> = names_in(series)?
        .into_iter()
        .filter_map(|name| {
            let time = NaiveDateTime::parse_from_str(&name, NAME).ok()?;
            Some((time.and_utc(), series.join(name)))
        })
        .collect();
    all.sort();
    Ok(all)
}

/// The manifest first: what is left, should this end half way, is no backup.
fn remove(backup: &Path) -> Result<()> {
    let manifest = backup.join(MANIFEST);
    if manifest.exists() {
        fs::remove_file(&manifest).map_err(io_at(&manifest))?;
    }
    fs::remove_dir_all(backup).map_err(io_at(backup))
}
