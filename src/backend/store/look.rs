//! What lies in a store's folder, by its files alone. kryoptic's own tables are only read here, never written.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{EXTENSION, SLOTS};
use crate::backend::TokenLabel;

/// The slot files of a store that no other process has open.
#[derive(Debug, Default)]
pub struct Look {
    /// Files that hold a whole token.
    pub whole: Vec<(TokenLabel, PathBuf)>,
    /// Files that hold none, and why.
    pub torn: Vec<(PathBuf, String)>,
}

impl Look {
    /// Those of `needed` that are not whole here.
    pub fn lacks(&self, needed: &BTreeSet<TokenLabel>) -> Vec<TokenLabel> {
        let is_there = |label: &TokenLabel| self.whole.iter().any(|(it, _)| it == label);
        let lacking = needed.iter().filter(|label| !is_there(label));
        lacking.cloned().collect()
    }
}

/// Looks into each file; without the folder there is none. A transaction that a crash left half done is rolled back, as any opening would.
pub fn look(data: &Path) -> io::Result<Look> {
    let mut paths = Vec::new();
    match fs::read_dir(data.join(SLOTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries? {
                paths.push(entry?.path());
            }
        }
    }
    paths.retain(|it| it.extension().is_some_and(|it| it == EXTENSION));
    paths.sort();
    let mut look = Look::default();
    for path in paths {
        match token_in(&path) {
            Ok(label) => look.whole.push((label, path)),
            Err(reason) => look.torn.push((path, reason)),
        }
    }
    Ok(look)
}

/// The label of the token in a slot file, if kryoptic can open it; else what is missing. C_InitToken writes the label last.
fn token_in(path: &Path) -> Result<TokenLabel, String> {
    let read = || -> rusqlite::Result<Result<TokenLabel, String>> {
        // Not read-only: a transaction that a crash left half done is rolled back by this.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if sound != "ok" {
            return Ok(Err(sound));
        }
        let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('meta', 'objects')";
        if connection.query_row(count, [], |row| row.get::<_, i64>(0))? != 2 {
            return Ok(Err("its tables were never made".to_owned()));
        }
        let entry = |name: &str, value: &str| -> rusqlite::Result<Vec<u8>> {
            let select = "SELECT data FROM meta WHERE name = ?1 AND value = ?2";
            let found = connection.query_row(select, [name, value], |row| {
                row.get::<_, Option<Vec<u8>>>(0)
            });
            Ok(found.optional()?.flatten().unwrap_or_default())
        };
        for (name, value) in [
            ("USER DATA", "SO"),
            ("TOKEN INFO", "serial"),
            ("TOKEN INFO", "flags"),
        ] {
            if entry(name, value)?.is_empty() {
                return Ok(Err(format!("its {name} {value} was never written")));
            }
        }
        let label = String::from_utf8_lossy(&entry("TOKEN INFO", "label")?)
            .trim_end_matches([' ', '\0'])
            .to_owned();
        if label.is_empty() {
            return Ok(Err("its label was never written".to_owned()));
        }
        Ok(Ok(TokenLabel(label)))
    };
    read().unwrap_or_else(|error| Err(error.to_string()))
}
