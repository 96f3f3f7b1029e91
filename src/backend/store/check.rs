//! A look into a store or a backup from outside: without a PIN, so that it says what is there and whole, not what a key can do.

use std::path::Path;

use super::{
    LEDGER, LOCK, MANIFEST, Manifest, Needed, Result, StoreError, io_at, look, manifest::Listed,
};
use crate::backend::{ledger::sqlite::SqliteLedger, pkcs11::lock};

/// What a folder holds.
#[derive(Debug)]
pub struct Checked {
    /// Of a backup.
    pub manifest: Option<Manifest>,
    pub records: usize,
    pub tokens: usize,
    /// What is wrong, a clause each.
    pub faults: Vec<String>,
}

/// Looks into a backup, or into the data folder of a store that no operator has open.
pub fn check(folder: &Path, needed: Needed) -> Result<Checked> {
    let manifest = Manifest::read(folder)?;
    let _lock = match manifest {
        Some(_) => None,
        None if folder.join(LOCK).exists() && folder.join(LEDGER).exists() => Some(lock(folder)?),
        None => return Err(StoreError::Nothing(folder.display().to_string())),
    };
    let mut checked = inside(folder, needed)?;
    if let Some(manifest) = manifest {
        checked.faults.extend(altered(folder, &manifest));
        if checked.records != manifest.records || checked.tokens != manifest.tokens {
            let (records, tokens) = (manifest.records, manifest.tokens);
            let fault = format!("{MANIFEST} speaks of {tokens} tokens and {records} records");
            checked.faults.push(fault);
        }
        checked.manifest = Some(manifest);
    }
    Ok(checked)
}

/// Whether the ledger reads and each token that a record needs is whole.
pub(super) fn inside(folder: &Path, needed: Needed) -> Result<Checked> {
    let records = SqliteLedger::look(&folder.join(LEDGER))?;
    let found = look(folder).map_err(io_at(folder))?;
    let mut faults = Vec::new();
    match needed(&records) {
        Ok(needed) => faults.extend(found.lacks(&needed).iter().map(|label| {
            format!(
                "the token {}, which a record needs, is not there or not whole",
                label.0
            )
        })),
        Err(why) => faults.push(format!("the record {why}")),
    }
    for (path, why) in &found.torn {
        faults.push(format!("{} holds no whole token ({why})", path.display()));
    }
    Ok(Checked {
        manifest: None,
        records: records.len(),
        tokens: found.whole.len(),
        faults,
    })
}

/// The files of a backup that are not as they were made.
fn altered(folder: &Path, manifest: &Manifest) -> Vec<String> {
    let fault = |listed: &Listed| {
        let now = Listed::of(folder, listed.path.clone());
        match now {
            Ok(now) if now == *listed => None,
            Ok(_) => Some(format!("{} is not as it was made", listed.path)),
            Err(error) => Some(error.to_string()),
        }
    };
    manifest.files.iter().filter_map(fault).collect()
}
