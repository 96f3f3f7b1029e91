//! A backup being made.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    About, LEDGER, LOCK, MANIFEST, Manifest, Result, SLOTS, StoreError, copied, io_at,
    is_of_the_disk, look, make_folder,
    manifest::{DRAFT, Listed},
    names_in, slot_file, sync,
};
use crate::backend::{ledger::sqlite::SqliteLedger, pkcs11::lock};

/// The files that a store consists of, while nobody changes them.
#[derive(Debug)]
pub struct Contents {
    pub ledger: PathBuf,
    /// Of tokens that are whole.
    pub slots: Vec<PathBuf>,
}

/// A folder that is no backup yet. What was written is removed again where it is dropped before its end.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    /// We made the folder itself, too.
    made: bool,
    is_whole: bool,
}

impl Draft {
    /// In a folder that is empty, or not there yet.
    pub fn begin(folder: &Path) -> Result<Self> {
        let shown = || folder.display().to_string();
        if !folder.is_absolute() || folder.to_str().is_none() {
            return Err(StoreError::Path(shown()));
        }
        let made = match fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            found => found.map(|_| false).map_err(io_at(folder))?,
        };
        if !names_in(folder)?.iter().all(|name| is_of_the_disk(name)) {
            return Err(StoreError::Occupied(shown()));
        }
        make_folder(folder)?;
        // Of two who begin at once the one that makes this goes on, and it alone removes anything.
        let slots = folder.join(SLOTS);
        match DirBuilder::new().mode(0o700).create(&slots) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StoreError::Occupied(shown()));
            }
            claimed => claimed.map_err(io_at(&slots))?,
        }
        Ok(Self {
            folder: folder.to_owned(),
            made,
            is_whole: false,
        })
    }

    /// Copies all files. Nobody may change them meanwhile, so that they are of one moment; each use and each look goes on.
    pub fn copy(&self, contents: &Contents) -> Result<()> {
        copy(&contents.ledger, &self.folder.join(LEDGER))?;
        for slot in &contents.slots {
            let name = slot.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| StoreError::Path(slot.display().to_string()))?;
            copy(slot, &slot_file(&self.folder, name))?;
        }
        Ok(())
    }

    /// Proves the copies sound, has them on disk, and writes the manifest.
    pub fn finish(mut self, about: &About) -> Result<Manifest> {
        let bad = |why: String| StoreError::BadCopy(why);
        let records = SqliteLedger::look(&self.folder.join(LEDGER))
            .map_err(|error| bad(error.to_string()))?;
        let found = look(&self.folder).map_err(io_at(&self.folder))?;
        if let Some((path, why)) = found.torn.first() {
            return Err(bad(format!(
                "{} holds no whole token ({why})",
                path.display()
            )));
        }
        let needed = (about.needed)(&records).map_err(StoreError::Records)?;
        let lacking = found.lacks(&needed).into_iter().map(|label| label.0);
        let mut manifest = Manifest {
            records: records.len(),
            tokens: found.whole.len(),
            lacking: lacking.collect(),
            ..Manifest::new(about.taken, &about.pins)
        };
        let mut paths = vec![LEDGER.to_owned()];
        let mut slots = names_in(&self.folder.join(SLOTS))?;
        slots.sort();
        paths.extend(slots.into_iter().map(|name| format!("{SLOTS}/{name}")));
        for path in paths {
            sync(&self.folder.join(&path))?;
            manifest.files.push(Listed::of(&self.folder, path)?);
        }
        sync(&self.folder.join(SLOTS))?;
        manifest.write(&self.folder)?;
        if let Some(around) = self.folder.parent().filter(|_| self.made) {
            sync(around)?;
        }
        self.is_whole = true;
        Ok(manifest)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.is_whole {
            return;
        }
        // The manifest first: what is left of the rest, should this end half way, is no backup.
        for name in [MANIFEST, DRAFT, LEDGER] {
            _ = fs::remove_file(self.folder.join(name));
        }
        _ = fs::remove_dir_all(self.folder.join(SLOTS));
        if self.made {
            _ = fs::remove_dir(&self.folder);
        }
    }
}

/// SQLite's own copy of a database that others may be using: of one transaction, and without what was deleted in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    copied::create(to).map_err(io_at(to))?;
    let name = to
        .to_str()
        .ok_or_else(|| StoreError::Path(to.display().to_string()))?;
    let done = || -> rusqlite::Result<()> {
        let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        source.execute("VACUUM INTO ?1", [name]).map(drop)
    };
    done().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::NoRoom(to.display().to_string()),
        _ => StoreError::Copy(from.display().to_string(), error),
    })
}

/// Backs a store up that no operator has open: neither PINs nor a cluster are needed.
pub fn back_up_closed(data: &Path, folder: &Path, about: &About) -> Result<Manifest> {
    if !data.join(LOCK).exists() || !data.join(LEDGER).exists() {
        return Err(StoreError::Nothing(data.display().to_string()));
    }
    let _lock = lock(data)?;
    let found = look(data).map_err(io_at(data))?;
    let contents = Contents {
        ledger: data.join(LEDGER),
        slots: found.whole.into_iter().map(|(_, path)| path).collect(),
    };
    let draft = Draft::begin(folder)?;
    draft.copy(&contents)?;
    draft.finish(about)
}
