//! A store's folder without its module: what is copied, refused and put back by files alone.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::*;
use crate::backend::{
    ledger::{Ledger, sqlite::SqliteLedger},
    pkcs11::lock,
};

/// Each record needs the token of its name.
fn needed(records: &[Stored]) -> Result<BTreeSet<TokenLabel>, String> {
    let labels = records.iter().map(|record| TokenLabel(record.id.clone()));
    Ok(labels.collect())
}

fn about() -> About {
    About {
        taken: DateTime::UNIX_EPOCH,
        pins: "the Secret ns/pins".to_owned(),
        needed,
    }
}

/// A folder with a store in `data`, and room beside it.
struct House(tempfile::TempDir);

impl House {
    fn new(tokens: &[&str]) -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        make_folder(&house.path("data/slots")).unwrap();
        drop(lock(&house.path("data")).unwrap());
        house.ledger();
        for token in tokens {
            house.token(token);
        }
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ledger(&self) -> SqliteLedger {
        SqliteLedger::open(&self.path("data").join(LEDGER)).unwrap()
    }

    fn record(&self, id: &str) {
        let (generation, bytes) = (1, b"record".to_vec());
        let id = id.to_owned();
        let record = Stored {
            id,
            generation,
            bytes,
        };
        self.ledger().write(&record).unwrap();
    }

    fn token(&self, label: &str) {
        let sql = format!(
            "CREATE TABLE meta (name TEXT NOT NULL, id INTEGER, value TEXT, data BLOB, UNIQUE(name, value));
             CREATE TABLE objects (id int NOT NULL, attr int NOT NULL, val blob, UNIQUE (id, attr));
             INSERT INTO meta VALUES ('USER DATA', NULL, 'SO', x'01'), ('TOKEN INFO', NULL, 'serial', x'02'),
                ('TOKEN INFO', NULL, 'flags', x'03'), ('TOKEN INFO', NULL, 'label', CAST('{label}' AS BLOB));
             INSERT INTO objects VALUES (1, 1, zeroblob(5000));"
        );
        let file = self.path("data/slots").join(format!("{label}.{EXTENSION}"));
        Connection::open(file).unwrap().execute_batch(&sql).unwrap();
    }

    fn back_up(&self, name: &str) -> Result<Manifest, StoreError> {
        back_up_closed(&self.path("data"), &self.path(name), &about())
    }

    fn restore(&self, backup: &str, data: &str) -> Result<Manifest, StoreError> {
        restore(&self.path(backup), &self.path(data), needed)
    }

    fn faults(&self, folder: &str) -> Vec<String> {
        check(&self.path(folder), needed).unwrap().faults
    }
}

fn sentence<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    result.unwrap_err().to_string()
}

fn modes(folder: &Path, found: &mut Vec<(u32, bool)>) {
    let mode = fs::metadata(folder).unwrap().permissions().mode() & 0o777;
    found.push((mode, folder.is_dir()));
    for entry in fs::read_dir(folder).into_iter().flatten() {
        modes(&entry.unwrap().path(), found);
    }
}

fn all_of(folder: &Path) -> Vec<String> {
    let mut names = names_in(folder).unwrap();
    names.sort();
    names
}

#[test]
fn what_was_backed_up_is_put_back_as_it_was_and_only_for_its_owner() {
    let house = House::new(&["aa", "bb"]);
    house.record("aa");
    let made = house.back_up("new/backup").unwrap();
    assert_eq!((made.tokens, made.records), (2, 1));
    assert_eq!(made.pins, "the Secret ns/pins");
    assert_eq!(made.lacking, [""; 0]);
    assert_eq!(house.faults("new/backup"), [""; 0]);
    assert_eq!(all_of(&house.path("new/backup")), [LEDGER, MANIFEST, SLOTS]);

    let back = house.restore("new/backup", "other/data").unwrap();
    assert_eq!(back, made);
    assert_eq!(all_of(&house.path("other/data")), [LEDGER, LOCK, SLOTS]);
    assert_eq!(house.faults("other/data"), [""; 0]);
    let read = |data: &str| SqliteLedger::look(&house.path(data).join(LEDGER)).unwrap();
    assert_eq!(read("other/data"), read("data"));

    let mut found = Vec::new();
    modes(&house.path("new"), &mut found);
    modes(&house.path("other/data/slots"), &mut found);
    for (mode, is_folder) in found {
        assert_eq!(mode, if is_folder { 0o700 } else { 0o600 });
    }
}

#[test]
fn a_backup_overwrites_nothing() {
    let house = House::new(&["aa"]);
    house.back_up("backup").unwrap();
    let before = all_of(&house.path("backup"));
    let refused = sentence(house.back_up("backup"));
    assert!(refused.contains("is not empty"), "{refused}");
    assert_eq!(all_of(&house.path("backup")), before);
    assert_eq!(house.faults("backup"), [""; 0]);

    let relative = Draft::begin(Path::new("backup")).map(drop);
    assert!(sentence(relative).contains("plain absolute path"));
    // A new disk is as good as empty.
    make_folder(&house.path("disk/lost+found")).unwrap();
    house.back_up("disk").unwrap();
}

#[test]
fn of_two_that_begin_at_once_one_goes_on_and_the_other_removes_nothing() {
    let house = House::new(&["aa"]);
    let first = Draft::begin(&house.path("backup")).unwrap();
    let contents = Contents {
        ledger: house.path("data").join(LEDGER),
        slots: vec![house.path("data/slots/aa.sqlite3")],
    };
    first.copy(&contents).unwrap();
    fs::rename(house.path("backup"), house.path("aside")).unwrap();
    let second = Draft::begin(&house.path("backup")).unwrap();
    drop(second);
    assert!(!house.path("backup").exists());
    fs::rename(house.path("aside"), house.path("backup")).unwrap();
    let refused = Draft::begin(&house.path("backup")).map(drop);
    assert!(sentence(refused).contains("is not empty"));
    first.finish(&about()).unwrap();
    assert_eq!(house.faults("backup"), [""; 0]);
}

#[test]
fn one_that_fails_half_way_leaves_nothing() {
    let house = House::new(&["aa", "bb"]);
    let contents = Contents {
        ledger: house.path("data").join(LEDGER),
        slots: vec![
            house.path("data/slots/aa.sqlite3"),
            house.path("data/slots/gone.sqlite3"),
        ],
    };
    let draft = Draft::begin(&house.path("backup")).unwrap();
    let refused = sentence(draft.copy(&contents));
    assert!(
        refused.contains("gone.sqlite3 cannot be copied"),
        "{refused}"
    );
    drop(draft);
    assert!(!house.path("backup").exists());
    assert_eq!(
        all_of(&house.path("data/slots")),
        ["aa.sqlite3", "bb.sqlite3"]
    );
}

#[test]
fn a_backup_that_is_not_as_it_was_made_is_told_and_not_restored() {
    let house = House::new(&["aa"]);
    house.record("aa");
    for (number, name) in ["ledger.db", "slots/aa.sqlite3", MANIFEST]
        .iter()
        .enumerate()
    {
        for damage in ["cut", "flipped", "gone"] {
            let backup = format!("{damage}-{number}");
            house.back_up(&backup).unwrap();
            let file = house.path(&backup).join(name);
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            match damage {
                "cut" => bytes.truncate(middle),
                // Of the manifest that is in a file's entry.
                _ => bytes[middle] ^= 0x10,
            }
            match damage {
                "gone" => fs::remove_file(&file).unwrap(),
                _ => fs::write(&file, bytes).unwrap(),
            }
            let told = check(&house.path(&backup), needed);
            let refused = house.restore(&backup, "other");
            assert!(refused.is_err(), "{backup}: {refused:?}");
            assert!(
                told.is_err() || !told.unwrap().faults.is_empty(),
                "{backup}"
            );
            let left = all_of(&house.path("other"));
            assert!(left == [LOCK] || left.is_empty(), "{backup}: {left:?}");
        }
    }
    let whole = house.back_up("whole").unwrap();
    assert_eq!(house.restore("whole", "other").unwrap(), whole);
}

#[test]
fn a_backup_whose_list_lost_a_token_is_not_restored() {
    let house = House::new(&["aa", "bb"]);
    house.record("aa");
    let mut manifest = house.back_up("backup").unwrap();
    manifest.files.retain(|file| !file.path.contains("aa"));
    manifest.write(&house.path("backup")).unwrap();
    let refused = sentence(house.restore("backup", "other"));
    assert!(
        refused.contains("the token aa, which a record needs"),
        "{refused}"
    );
    assert_eq!(all_of(&house.path("other")), [LOCK]);
}

#[test]
fn a_restore_overwrites_nothing_and_leaves_pins_that_were_put_back_first() {
    let house = House::new(&["aa"]);
    house.back_up("backup").unwrap();
    let refused = sentence(house.restore("backup", "data"));
    assert!(refused.contains("is not empty"), "{refused}");
    assert_eq!(house.faults("data"), [""; 0]);
    make_folder(&house.path("other/pins")).unwrap();
    fs::write(house.path("other/pins/so-pin"), "12345678").unwrap();
    house.restore("backup", "other").unwrap();
    assert_eq!(
        fs::read(house.path("other/pins/so-pin")).unwrap(),
        b"12345678"
    );
    make_folder(&house.path("third")).unwrap();
    fs::write(house.path("third/mine"), "").unwrap();
    let refused = sentence(house.restore("backup", "third"));
    assert!(refused.contains("is not empty"), "{refused}");
}

#[test]
fn a_restore_that_was_broken_off_begins_anew_wherever_it_stopped() {
    let house = House::new(&["aa"]);
    house.record("aa");
    house.back_up("backup").unwrap();
    // What lies there after each step of a restore.
    let steps: [&[&str]; 4] = [
        &["restoring/slots/"],
        &["restoring/slots/aa.sqlite3", "restoring/ledger.db"],
        &["slots/aa.sqlite3", "restoring/ledger.db"],
        &["slots/aa.sqlite3", "ledger.db", "restoring/"],
    ];
    for (step, left) in steps.iter().enumerate() {
        let data = format!("data-{step}");
        for name in *left {
            let path = house.path(&data).join(name);
            match name.strip_suffix('/') {
                Some(_) => make_folder(&path).unwrap(),
                None => {
                    make_folder(path.parent().unwrap()).unwrap();
                    fs::write(&path, "half").unwrap();
                }
            }
        }
        house.restore("backup", &data).unwrap();
        assert_eq!(house.faults(&data), [""; 0], "step {step}");
        assert!(!house.path(&data).join(RESTORING).exists());
    }
}

#[test]
fn what_an_operator_has_open_is_left_to_it() {
    let house = House::new(&["aa"]);
    house.back_up("backup").unwrap();
    let held = lock(&house.path("data")).unwrap();
    for refused in [
        sentence(house.back_up("second")),
        sentence(house.restore("backup", "data")),
        sentence(check(&house.path("data"), needed)),
    ] {
        assert!(refused.contains("in use by another process"), "{refused}");
    }
    assert!(!house.path("second").exists());
    drop(held);
    assert_eq!(house.faults("data"), [""; 0]);
}

#[test]
fn what_is_neither_a_store_nor_a_backup_is_told() {
    let house = House::new(&[]);
    for nothing in ["", "nowhere"] {
        let told = sentence(check(&house.path(nothing), needed));
        assert!(told.contains("holds no store and no backup"), "{told}");
    }
    let told = sentence(back_up_closed(
        &house.path("nowhere"),
        &house.path("b"),
        &about(),
    ));
    assert!(told.contains("holds no store"), "{told}");
    // A backup that was broken off looks like a store that nobody ever locked.
    house.back_up("backup").unwrap();
    fs::remove_file(house.path("backup").join(MANIFEST)).unwrap();
    let told = sentence(check(&house.path("backup"), needed));
    assert!(told.contains(MANIFEST), "{told}");
    let told = sentence(house.restore("backup", "other"));
    assert!(told.contains("is no whole backup"), "{told}");
}

#[test]
fn a_store_that_lacks_a_token_is_backed_up_and_says_so() {
    let house = House::new(&["aa"]);
    house.record("aa");
    house.record("bb");
    let made = house.back_up("backup").unwrap();
    assert_eq!(made.lacking, ["bb"]);
    assert_eq!(house.faults("backup").len(), 1);
    house.restore("backup", "other").unwrap();
    assert_eq!(house.faults("other").len(), 1);
}

#[test]
fn old_ones_go_once_a_newer_one_is_whole_and_nothing_else() {
    let house = House::new(&["aa"]);
    let at = |day: i64| name(DateTime::UNIX_EPOCH + chrono::Duration::days(day));
    let path = |day: i64| house.path("series").join(at(day));
    for day in 0..4 {
        house.back_up(&format!("series/{}", at(day))).unwrap();
    }
    // Somebody else's, and one that a crash left.
    house.back_up("series/before-the-upgrade").unwrap();
    make_folder(&path(-1).join(SLOTS)).unwrap();
    assert_eq!(kept(&house.path("series")).unwrap().len(), 4);
    assert_eq!(prune(&house.path("series"), &path(3), 2).unwrap(), 2);
    assert_eq!(
        all_of(&house.path("series")),
        [at(2), at(3), "before-the-upgrade".to_owned()]
    );
    // By a clock that went back the newest sorts as the oldest.
    house.back_up(&format!("series/{}", at(1))).unwrap();
    assert_eq!(prune(&house.path("series"), &path(1), 1).unwrap(), 2);
    assert_eq!(
        all_of(&house.path("series")),
        [at(1), "before-the-upgrade".to_owned()]
    );
}

#[test]
fn while_a_token_is_lacking_no_backup_goes() {
    let house = House::new(&["aa", "bb"]);
    house.record("aa");
    house.record("bb");
    let at = |day: i64| name(DateTime::UNIX_EPOCH + chrono::Duration::days(day));
    house.back_up(&format!("series/{}", at(0))).unwrap();
    fs::write(house.path("data/slots/bb.sqlite3"), "torn").unwrap();
    let lacks = house.back_up(&format!("series/{}", at(1))).unwrap();
    assert_eq!(lacks.lacking, ["bb"]);
    let newest = house.path("series").join(at(1));
    assert_eq!(prune(&house.path("series"), &newest, 1).unwrap(), 0);
    assert_eq!(kept(&house.path("series")).unwrap().len(), 2);
}

#[test]
fn a_store_that_was_begun_anew_pushes_out_no_backup_of_the_one_that_was_lost() {
    let house = House::new(&["aa"]);
    house.record("aa");
    let at = |day: i64| name(DateTime::UNIX_EPOCH + chrono::Duration::days(day));
    let back_up = |day: i64| {
        house.back_up(&format!("series/{}", at(day))).unwrap();
        prune(
            &house.path("series"),
            &house.path("series").join(at(day)),
            2,
        )
        .unwrap()
    };
    back_up(0);
    back_up(1);
    fs::remove_dir_all(house.path("data")).unwrap();
    make_folder(&house.path("data/slots")).unwrap();
    drop(lock(&house.path("data")).unwrap());
    drop(house.ledger());
    // Empty, then with something else in it.
    back_up(2);
    house.token("cc");
    house.record("cc");
    let gone: Vec<_> = (3..7).map(back_up).collect();
    assert_eq!(gone, [0, 1, 1, 1], "only its own ones go");
    assert_eq!(all_of(&house.path("series")), [at(0), at(1), at(5), at(6)]);
}

#[test]
fn a_ledger_that_cannot_be_gone_by_is_told() {
    let house = House::new(&[]);
    let file = house.path("data").join(LEDGER);
    let ledger = Connection::open(&file).unwrap();
    ledger.pragma_update(None, "user_version", 99).unwrap();
    drop(ledger);
    let told = sentence(check(&house.path("data"), needed));
    assert!(told.contains("run that version again"), "{told}");
    fs::write(
        &file,
        "no database, and longer than its header, so that it is looked at closely",
    )
    .unwrap();
    let told = sentence(house.back_up("backup"));
    assert!(told.contains("ledger.db"), "{told}");
    assert!(!house.path("backup").exists());
}
