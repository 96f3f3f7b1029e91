//! Backups of a real store: of one moment while it is changed, and whole again in another place.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use managed_hsm_operator::backend::{
    Algorithm, HsmBackend, Stored,
    store::{self, About, LEDGER, Manifest, SLOTS},
};
use rusqlite::{Connection, OpenFlags};

use crate::contract::{new_id, new_label, reference};
use crate::store::{open, play, said};

pub fn about() -> About {
    About {
        taken: chrono::DateTime::UNIX_EPOCH,
        pins: "the folder pins".to_owned(),
        needed: |_| Ok(std::collections::BTreeSet::new()),
    }
}

#[test]
fn a_restored_backup_is_the_store_as_it_was() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = said(&play("make", folder.path(), ""));
    let backup = folder.path().join("backup");
    let taken = store::back_up_closed(&folder.path().join("data"), &backup, &about()).unwrap();
    assert_eq!((taken.tokens, taken.records), (2, 1));
    store::restore(&backup, &other.path().join("data"), about().needed).unwrap();
    fs::rename(folder.path().join("pins"), other.path().join("pins")).unwrap();
    assert_eq!(said(&play("find", other.path(), &made)), "all");
    assert!(
        store::check(&backup, about().needed)
            .unwrap()
            .faults
            .is_empty()
    );
}

#[test]
fn a_half_restored_store_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    said(&play("make", folder.path(), ""));
    fs::create_dir(folder.path().join("data/restoring")).unwrap();
    let refused = said(&play("refused", folder.path(), ""));
    assert!(refused.contains("run store restore again"), "{refused}");
}

const TOKENS: usize = 4;
const BACKUPS: usize = 12;

/// Writes a record, then makes a key, in one token after the other; backups are made all the while.
pub fn under_load(folder: &Path) -> String {
    let backend = open(folder, &[]).unwrap();
    let tokens: Vec<_> = (0..TOKENS)
        .map(|_| reference(backend.create_token(&new_label()).unwrap()))
        .collect();
    let id = new_id().to_string();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let load = threads.spawn(|| {
            let mut steps = 0;
            while !is_over.load(Ordering::SeqCst) {
                steps += 1;
                let record = Stored {
                    id: id.clone(),
                    generation: steps,
                    bytes: vec![0],
                };
                backend.write(&record).unwrap();
                let token = &tokens[usize::try_from(steps).unwrap() % TOKENS];
                backend.generate(token, new_id(), Algorithm::P256).unwrap();
            }
            steps
        });
        for number in 0..BACKUPS {
            let to = folder.join(format!("backup-{number}"));
            let manifest = backend.back_up(&to, &about()).unwrap();
            assert_eq!(
                (manifest.tokens, manifest.records.min(1)),
                (TOKENS, manifest.records)
            );
        }
        is_over.store(true, Ordering::SeqCst);
        load.join().unwrap().to_string()
    })
}

fn sum(file: &Path, sql: &str) -> i64 {
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// How many records were written and how many keys made by the moment of a backup.
fn steps_and_keys(backup: &Path, manifest: &Manifest) -> (i64, i64) {
    let steps = sum(
        &backup.join(LEDGER),
        "SELECT coalesce(max(generation), 0) FROM record",
    );
    let slots = manifest
        .files
        .iter()
        .filter(|file| file.path.starts_with(SLOTS));
    // CKA_CLASS is CKO_PRIVATE_KEY.
    let privates =
        "SELECT count(*) FROM objects WHERE attr = 0 AND (val = 3 OR hex(val) LIKE '03%')";
    let keys = slots.map(|file| sum(&backup.join(&file.path), privates));
    (steps, keys.sum())
}

#[test]
fn a_backup_under_load_is_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let steps: i64 = said(&play("under load", folder.path(), ""))
        .parse()
        .unwrap();
    let mut last = 0;
    for number in 0..BACKUPS {
        let backup = folder.path().join(format!("backup-{number}"));
        let manifest = Manifest::read(&backup).unwrap().unwrap();
        let (written, made) = steps_and_keys(&backup, &manifest);
        assert!(
            made == written || made == written - 1,
            "backup {number}: {written} records were written and {made} keys made"
        );
        assert!(last <= written && written <= steps);
        last = written;
    }
    assert!(
        last > i64::try_from(BACKUPS).unwrap(),
        "only {last} steps were done meanwhile"
    );
}
