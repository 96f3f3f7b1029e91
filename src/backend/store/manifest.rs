//! What makes a folder of files a backup: a list of them with their hashes.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{EXTENSION, LEDGER, Result, SLOTS, StoreError, io_at, sync};

pub const MANIFEST: &str = "manifest.json";
/// How it looks. One that is newer is not gone by.
const FORMAT: u32 = 1;

/// The list of a backup's files, and what else is known of it. The hashes tell damage, not forgery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// RFC 3339, whole seconds.
    pub taken: DateTime<Utc>,
    /// Of the program that made it.
    pub version: String,
    /// Where the PINs are kept that it does not hold.
    pub pins: String,
    pub records: usize,
    pub tokens: usize,
    /// Labels of tokens that records spoke of and that the store lacked.
    pub lacking: Vec<String>,
    pub files: Vec<Listed>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listed {
    /// From the backup's folder on.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Hex.
    pub sha256: String,
}

/// Only to learn whether the rest can be understood.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Manifest {
    pub(super) fn new(taken: DateTime<Utc>, pins: &str) -> Self {
        use chrono::SubsecRound as _;
        Self {
            format: FORMAT,
            taken: taken.trunc_subsecs(0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pins: pins.to_owned(),
            records: 0,
            tokens: 0,
            lacking: Vec::new(),
            files: Vec::new(),
        }
    }

    /// None: there is none.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MANIFEST);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(io_at(&path))?,
        };
        let bad = |why: String| StoreError::Manifest(path.display().to_string(), why);
        let Format { format } =
            serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if format != FORMAT {
            return Err(bad(format!(
                "it is of format {format}, and this version of the program knows {FORMAT}"
            )));
        }
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        match manifest.files.iter().find(|file| !file.is_ours()) {
            Some(odd) => Err(bad(format!("it lists {:?}, which no store has", odd.path))),
            None if !manifest.files.iter().any(|file| file.path == LEDGER) => {
                Err(bad(format!("it lists no {LEDGER}")))
            }
            None => Ok(Some(manifest)),
        }
    }

    /// Whole or absent: from now on the folder is a backup.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let (path, draft) = (folder.join(MANIFEST), folder.join(DRAFT));
        let written = || -> io::Result<()> {
            let mut file = super::copied::create(&draft)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        written().map_err(io_at(&path))?;
        sync(folder)
    }
}

/// The manifest before it is whole.
pub(super) const DRAFT: &str = "manifest.json.new";

impl Listed {
    /// A file that is there, as it is now.
    pub(super) fn of(folder: &Path, path: String) -> Result<Self> {
        let whole = folder.join(&path);
        let mut hash = super::copied::Hashing::new(io::sink());
        let size = File::open(&whole)
            .and_then(|mut file| io::copy(&mut file, &mut hash))
            .map_err(io_at(&whole))?;
        let sha256 = hash.digest();
        Ok(Self { path, size, sha256 })
    }

    pub(super) fn at(&self, folder: &Path) -> PathBuf {
        folder.join(&self.path)
    }

    /// What is listed is copied to where it says: nothing else than a store's own names may be.
    fn is_ours(&self) -> bool {
        if self.path == LEDGER {
            return true;
        }
        let slot = self
            .path
            .strip_prefix(SLOTS)
            .and_then(|rest| rest.strip_prefix('/'));
        let Some(name) = slot.and_then(|name| name.strip_suffix(EXTENSION)) else {
            return false;
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        name.len() > 1 && !name.starts_with('.') && name.ends_with('.') && name.bytes().all(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str) -> Listed {
        Listed {
            path: path.to_owned(),
            size: 0,
            sha256: String::new(),
        }
    }

    #[test]
    fn only_a_stores_own_names_are_restored() {
        for path in [
            "ledger.db",
            "slots/0123abcd.sqlite3",
            "slots/0123.1.sqlite3",
        ] {
            assert!(listed(path).is_ours(), "{path}");
        }
        for path in [
            "",
            "lock",
            "pins/so-pin",
            "/ledger.db",
            "../ledger.db",
            "slots/../../x.sqlite3",
            "slots/.sqlite3",
            "slots/..sqlite3",
            "slots/sqlite3",
            "slots/a/b.sqlite3",
            "slotsa.sqlite3",
        ] {
            assert!(!listed(path).is_ours(), "{path}");
        }
    }

    #[test]
    fn what_is_no_manifest_of_ours_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), None);
        for (text, why) in [
            ("", "EOF"),
            ("{}", "missing field `format`"),
            (r#"{"format": 2, "new": true}"#, "it is of format 2"),
            (r#"{"format": 1}"#, "missing field"),
        ] {
            fs::write(folder.path().join(MANIFEST), text).unwrap();
            let error = Manifest::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(error.contains("take another backup"), "{error}");
        }
        let mut manifest = Manifest::new(DateTime::UNIX_EPOCH, "somewhere");
        manifest.write(folder.path()).unwrap();
        let error = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("it lists no ledger.db"), "{error}");
        manifest.files = vec![listed("../ledger.db")];
        manifest.write(folder.path()).unwrap();
        let error = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("which no store has"), "{error}");
        manifest.files = vec![listed(LEDGER)];
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), Some(manifest));
    }
}
