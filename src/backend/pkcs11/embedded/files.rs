//! The slot files of the embedded module.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::super::{OpenError, make_folder};
use crate::backend::{
    BackendError, Result, TokenLabel,
    store::{Contents, EXTENSION, LEDGER, Look, SLOTS, look},
};

/// What lies in the slots folder of a store that nobody has open.
#[derive(Default)]
pub(super) struct Survey {
    whole: Vec<(TokenLabel, PathBuf)>,
    /// Files without a token where a record says that there must be one.
    damaged: BTreeMap<TokenLabel, String>,
}

impl Survey {
    /// Whether no token is there that needs the PINs.
    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.damaged.is_empty()
    }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> OpenError + '_ {
    move |error| OpenError::Io(path.display().to_string(), error)
}

/// Looks at every slot file, and moves those aside that hold no token and that nobody misses.
pub(super) fn survey(
    data: &Path,
    keep: &BTreeSet<TokenLabel>,
) -> std::result::Result<Survey, OpenError> {
    make_folder(&data.join(SLOTS))?;
    let Look { whole, torn } = look(data).map_err(io_at(data))?;
    let mut survey = Survey {
        whole,
        ..Survey::default()
    };
    for (path, reason) in torn {
        let label = named(&path);
        let is_missed = keep.contains(&label) && !survey.whole.iter().any(|(it, _)| *it == label);
        if is_missed {
            let text = format!(
                "{} holds no whole token ({reason}): put it back from a backup",
                path.display()
            );
            survey.damaged.insert(label, text);
        } else {
            tracing::warn!(file = %path.display(), reason, "a slot file without a token is moved aside");
            move_aside(data, &path).map_err(io_at(&path))?;
        }
    }
    Ok(survey)
}

/// The label that a file was made for: its name up to the first dot.
fn named(path: &Path) -> TokenLabel {
    let name = path
        .file_name()
        .map(|it| it.to_string_lossy().into_owned())
        .unwrap_or_default();
    TokenLabel(name.split('.').next().unwrap_or_default().to_owned())
}

/// SQLite's rollback journal of a file: left behind, it would be played into a later file of the same name.
fn journal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    PathBuf::from(name)
}

/// What is gone already needs no removing.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Moves a file to `torn/`, under a name that nothing there has.
fn move_aside(data: &Path, path: &Path) -> io::Result<()> {
    let folder = data.join("torn");
    fs::create_dir_all(&folder)?;
    let name = path
        .file_name()
        .map(|it| it.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut number = 0;
    let free = loop {
        let candidate = folder.join(format!("{name}.{number}"));
        if !candidate.try_exists()? {
            break candidate;
        }
        number += 1;
    };
    unless_gone(fs::rename(journal(path), journal(&free)))?;
    fs::rename(path, free)?;
    File::open(&folder)?.sync_all()
}

/// One slot of the running module.
struct Entry {
    path: PathBuf,
    retired: bool,
}

/// The slots of the running module, by their number. A number and a path are used once in a process: kryoptic remembers both.
pub(super) struct Files {
    data: PathBuf,
    slots: BTreeMap<u32, Entry>,
    damaged: BTreeMap<TokenLabel, String>,
}

impl Files {
    pub(super) fn new(data: &Path, survey: Survey) -> Self {
        let entry = |(_, path)| Entry {
            path,
            retired: false,
        };
        let slots = (1..).zip(survey.whole.into_iter().map(entry)).collect();
        Self {
            data: data.to_owned(),
            slots,
            damaged: survey.damaged,
        }
    }

    pub(super) fn damaged(&self, label: &TokenLabel) -> Option<String> {
        self.damaged.get(label).cloned()
    }

    fn entry(&mut self, slot: u64) -> Option<&mut Entry> {
        u32::try_from(slot)
            .ok()
            .and_then(|it| self.slots.get_mut(&it))
    }

    pub(super) fn is_retired(&self, slot: u64) -> bool {
        let entry = u32::try_from(slot).ok().and_then(|it| self.slots.get(&it));
        // Slot 0 is never ours.
        entry.is_none_or(|it| it.retired)
    }

    /// All that a backup holds: what is out of reach has no whole file.
    pub(super) fn contents(&self) -> Contents {
        let in_use = self.slots.values().filter(|it| !it.retired);
        Contents {
            ledger: self.data.join(LEDGER),
            slots: in_use.map(|it| it.path.clone()).collect(),
        }
    }

    /// How many tokens there are, those out of reach included.
    pub(super) fn count(&self) -> usize {
        self.slots.values().filter(|it| !it.retired).count() + self.damaged.len()
    }

    /// kryoptic's configuration. Slot 0 lives in memory and is never used: without any slot kryoptic would look for the user's own.
    pub(super) fn configuration(&self) -> Result<String> {
        let mut text =
            "[[slots]]\nslot = 0\ndbtype = \"sqlite\"\ndbargs = \":memory:\"\n".to_owned();
        for (number, entry) in self.slots.iter().filter(|(_, it)| !it.retired) {
            let odd = || BackendError::Unavailable(format!("{} is no UTF-8", entry.path.display()));
            // A JSON string is a TOML string.
            let path = serde_json::Value::from(entry.path.to_str().ok_or_else(odd)?);
            text +=
                &format!("\n[[slots]]\nslot = {number}\ndbtype = \"sqlite\"\ndbargs = {path}\n");
        }
        Ok(text)
    }

    /// Makes an empty file for a token of that label, and gives it a slot.
    pub(super) fn add(&mut self, label: &TokenLabel) -> Result<u32> {
        let folder = self.data.join(SLOTS);
        let number = self.slots.keys().next_back().map_or(1, |it| it + 1);
        let path = (0..)
            .map(|it| match it {
                0 => folder.join(format!("{}.{EXTENSION}", label.0)),
                again => folder.join(format!("{}.{again}.{EXTENSION}", label.0)),
            })
            .find(|path| !path.exists() && !self.slots.values().any(|it| it.path == *path))
            .ok_or_else(|| BackendError::Unavailable("no name is free".to_owned()))?;
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let synced = made.and_then(|_| File::open(&folder)?.sync_all());
        synced
            .map_err(|error| BackendError::Unavailable(format!("{}: {error}", path.display())))?;
        self.slots.insert(
            number,
            Entry {
                path,
                retired: false,
            },
        );
        Ok(number)
    }

    /// Gives a slot up whose token was never whole. What cannot be moved now is moved at the next start.
    pub(super) fn discard(&mut self, slot: u64) {
        let data = self.data.clone();
        if let Some(entry) = self.entry(slot) {
            entry.retired = true;
            if let Err(error) = move_aside(&data, &entry.path) {
                tracing::warn!(file = %entry.path.display(), %error, "a torn slot file stays until the next start");
            }
        }
    }

    /// Removes the file of an empty token for good.
    pub(super) fn remove(&mut self, slot: u64) -> Result<()> {
        let Some(entry) = self.entry(slot) else {
            return Err(BackendError::NotThere(format!("slot {slot}")));
        };
        entry.retired = true;
        let path = entry.path.clone();
        let folder = self.data.join(SLOTS);
        let removed = unless_gone(fs::remove_file(journal(&path)))
            .and_then(|()| unless_gone(fs::remove_file(&path)))
            .and_then(|()| File::open(&folder)?.sync_all());
        removed.map_err(|error| BackendError::Unavailable(format!("{}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    const LABEL: &str = "0123456789abcdef0123456789abcdef";

    fn slot_file(data: &Path, name: &str, sql: &str) -> PathBuf {
        fs::create_dir_all(data.join("slots")).unwrap();
        let path = data.join("slots").join(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        path
    }

    fn whole(label: &str) -> String {
        format!(
            "CREATE TABLE meta (name TEXT NOT NULL, id INTEGER, value TEXT, data BLOB, UNIQUE(name, value));
             CREATE TABLE objects (id int NOT NULL, attr int NOT NULL, val blob, UNIQUE (id, attr));
             INSERT INTO meta VALUES ('USER DATA', NULL, 'SO', x'01'), ('TOKEN INFO', NULL, 'serial', x'02'),
                ('TOKEN INFO', NULL, 'flags', x'03'), ('TOKEN INFO', NULL, 'label', CAST('{label}' AS BLOB));"
        )
    }

    #[test]
    fn a_file_without_a_token_is_moved_aside_and_a_whole_one_stays() {
        let data = tempfile::tempdir().unwrap();
        let good = slot_file(data.path(), "a.sqlite3", &whole(LABEL));
        let unlabelled = slot_file(data.path(), "b.sqlite3", &whole("   "));
        let empty = slot_file(data.path(), "c.sqlite3", "");
        let survey = survey(data.path(), &BTreeSet::new()).unwrap();
        assert_eq!(survey.whole, [(TokenLabel(LABEL.to_owned()), good.clone())]);
        assert!(good.exists() && !unlabelled.exists() && !empty.exists());
        assert_eq!(fs::read_dir(data.path().join("torn")).unwrap().count(), 2);
    }

    #[test]
    fn a_damaged_file_that_a_record_names_stays_and_says_so() {
        let data = tempfile::tempdir().unwrap();
        let path = slot_file(data.path(), &format!("{LABEL}.sqlite3"), "");
        fs::write(&path, "no database at all, and longer than a header of one, so that SQLite has to say no to it")
            .unwrap();
        let label = TokenLabel(LABEL.to_owned());
        let survey = survey(data.path(), &BTreeSet::from([label.clone()])).unwrap();
        assert!(path.exists() && !survey.is_empty());
        let files = Files::new(data.path(), survey);
        assert!(files.damaged(&label).unwrap().contains("backup"));
        assert_eq!(files.count(), 1);
    }

    #[test]
    fn a_left_over_beside_the_whole_token_of_that_label_is_nothing_to_keep() {
        let data = tempfile::tempdir().unwrap();
        let left_over = slot_file(data.path(), &format!("{LABEL}.sqlite3"), "");
        slot_file(data.path(), &format!("{LABEL}.1.sqlite3"), &whole(LABEL));
        let survey = survey(data.path(), &BTreeSet::from([TokenLabel(LABEL.to_owned())])).unwrap();
        assert!(!left_over.exists() && survey.damaged.is_empty());
    }

    #[test]
    fn neither_a_number_nor_a_path_is_used_twice() {
        let data = tempfile::tempdir().unwrap();
        let label = TokenLabel(LABEL.to_owned());
        let mut files = Files::new(data.path(), survey(data.path(), &BTreeSet::new()).unwrap());
        let first = files.add(&label).unwrap();
        files.remove(u64::from(first)).unwrap();
        let second = files.add(&label).unwrap();
        assert_ne!(first, second);
        assert_ne!(files.slots[&first].path, files.slots[&second].path);
        assert_eq!(files.count(), 1);
        assert!(
            files.is_retired(0)
                && files.is_retired(u64::from(first))
                && !files.is_retired(u64::from(second))
        );
    }

    #[test]
    fn the_configuration_quotes_its_paths() {
        let data = tempfile::tempdir().unwrap();
        let odd = data.path().join("a \"quoted\" folder");
        let mut files = Files::new(&odd, survey(&odd, &BTreeSet::new()).unwrap());
        files.add(&TokenLabel(LABEL.to_owned())).unwrap();
        assert!(
            files
                .configuration()
                .unwrap()
                .contains(r#"a \"quoted\" folder/slots/"#)
        );
    }
}
