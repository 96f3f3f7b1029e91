//! A backup put back.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::{
    LEDGER, LOCK, Manifest, Needed, RESTORING, Result, SLOTS, StoreError, check::inside, copied,
    io_at, is_of_the_disk, make_folder, manifest::Listed, names_in, sync,
};
use crate::backend::pkcs11::lock;

/// Where the PINs lie if nothing else is said: they may be put back first.
const PINS: &str = "pins";

/// Puts a backup into an empty data folder. While it is under way the folder is not opened, and one that was broken off begins anew.
pub fn restore(backup: &Path, data: &Path, needed: Needed) -> Result<Manifest> {
    let manifest = Manifest::read(backup)?
        .ok_or_else(|| StoreError::NoManifest(backup.display().to_string()))?;
    let _lock = lock(data)?;
    clear_broken_off(data)?;
    let free = |name: &String| [LOCK, PINS].contains(&name.as_str()) || is_of_the_disk(name);
    if !names_in(data)?.iter().all(free) {
        return Err(StoreError::NotEmpty(data.display().to_string()));
    }
    let beside = data.join(RESTORING);
    make_folder(&beside.join(SLOTS))?;
    sync(data)?;
    if let Err(error) = fetch(backup, &beside, &manifest, needed) {
        _ = clear_broken_off(data);
        return Err(error);
    }
    for name in [SLOTS, LEDGER] {
        let place = data.join(name);
        fs::rename(beside.join(name), &place).map_err(io_at(&place))?;
    }
    sync(data)?;
    fs::remove_dir(&beside).map_err(io_at(&beside))?;
    sync(data)?;
    Ok(manifest)
}

/// What another restore left half done. Nobody has opened it since, and the folder was empty before.
fn clear_broken_off(data: &Path) -> Result<()> {
    let marker = data.join(RESTORING);
    if !marker.exists() {
        return Ok(());
    }
    let unless_gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let cleared = unless_gone(fs::remove_dir_all(data.join(SLOTS)))
        .and_then(|()| unless_gone(fs::remove_file(data.join(LEDGER))));
    cleared.map_err(io_at(data))?;
    sync(data)?;
    // Last: until it is gone nothing here is opened.
    fs::remove_dir_all(&marker).map_err(io_at(&marker))?;
    sync(data)
}

/// Copies each listed file, and proves that it is the one.
fn fetch(backup: &Path, to: &Path, manifest: &Manifest, needed: Needed) -> Result<()> {
    let altered = |why: String| StoreError::Altered(backup.display().to_string(), why);
    for listed in &manifest.files {
        let fetched = fetch_one(backup, to, listed)?;
        if fetched != *listed {
            return Err(altered(format!("{} has another size or hash", listed.path)));
        }
    }
    sync(&to.join(SLOTS))?;
    sync(to)?;
    let checked = inside(to, needed).map_err(|error| altered(error.to_string()))?;
    let was_lacking = |fault: &&String| !manifest.lacking.iter().any(|label| fault.contains(label));
    match checked.faults.iter().find(was_lacking) {
        Some(fault) => Err(altered(fault.clone())),
        None => Ok(()),
    }
}

fn fetch_one(backup: &Path, to: &Path, listed: &Listed) -> Result<Listed> {
    let (source, target) = (listed.at(backup), listed.at(to));
    let mut from = match File::open(&source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = format!("{} is not there", listed.path);
            return Err(StoreError::Altered(backup.display().to_string(), why));
        }
        opened => opened.map_err(io_at(&source))?,
    };
    let file = copied::create(&target).map_err(io_at(&target))?;
    let mut hashing = copied::Hashing::new(&file);
    let size = io::copy(&mut from, &mut hashing).map_err(io_at(&target))?;
    let sha256 = hashing.digest();
    file.sync_all().map_err(io_at(&target))?;
    Ok(Listed {
        path: listed.path.clone(),
        size,
        sha256,
    })
}
