use std::collections::BTreeMap;

use super::*;

/// A shelf in memory that fails where a test says, and on which somebody else may act in between.
#[derive(Default)]
struct Table {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    items: BTreeMap<u64, Item>,
    made: u64,
    /// Changes until all fail, as when the process is killed.
    left: Option<usize>,
    /// What another operator adds right before our next change.
    meanwhile: Option<(String, u64, Vec<u8>)>,
    /// He removes what stands there first, and his has its handle.
    same_handle: bool,
}

impl Inner {
    fn insert(&mut self, name: &str, label: &str, value: &[u8]) {
        self.made += 1;
        let item = Item {
            handle: Handle(self.made),
            name: name.to_owned(),
            label: label.to_owned(),
            value: value.to_vec(),
        };
        self.items.insert(self.made, item);
    }

    fn change(&mut self) -> Result<()> {
        if let Some((name, generation, bytes)) = self.meanwhile.take() {
            if let (true, Some(handle)) = (self.same_handle, self.items.keys().next().copied()) {
                self.items.clear();
                self.made = handle - 1;
            }
            self.insert(&name, &one_part(generation, &bytes), &bytes);
        }
        match &mut self.left {
            Some(0) => Err(BackendError::Unavailable("killed".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn one_part(generation: u64, bytes: &[u8]) -> String {
    format!("{generation} {} 1/1", digest(bytes))
}

impl Shelf for &'static Table {
    fn items(&self, name: Option<&str>) -> Result<Vec<Item>> {
        let inner = self.inner.lock().unwrap();
        let asked = |item: &&Item| name.is_none_or(|name| item.name == name);
        Ok(inner.items.values().filter(asked).cloned().collect())
    }

    fn add(&self, name: &str, label: &str, value: &[u8]) -> Result<()> {
        let mut inner = self.inner.lock().unwrap();
        inner.change()?;
        inner.insert(name, label, value);
        Ok(())
    }

    fn remove(&self, handle: Handle) -> Result<()> {
        let mut inner = self.inner.lock().unwrap();
        inner.change()?;
        let removed = inner.items.remove(&handle.0);
        removed.map(drop).ok_or(BackendError::DeadHandle)
    }
}

fn fresh() -> (&'static Table, ShelfLedger<&'static Table>) {
    let table: &'static Table = Box::leak(Box::default());
    (table, ShelfLedger::new(table))
}

fn record(generation: u64, bytes: &[u8]) -> Stored {
    Stored {
        id: "a".to_owned(),
        generation,
        bytes: bytes.to_vec(),
    }
}

fn count(table: &Table) -> usize {
    table.inner.lock().unwrap().items.len()
}

#[test]
fn a_record_follows_the_highest_and_lower_ones_are_removed() {
    let (table, ledger) = fresh();
    assert_eq!(
        ledger.write(&record(2, b"x")),
        Err(BackendError::Superseded)
    );
    ledger.write(&record(1, b"x")).unwrap();
    ledger.write(&record(1, b"x")).unwrap();
    assert_eq!(
        ledger.write(&record(1, b"y")),
        Err(BackendError::Superseded)
    );
    ledger.write(&record(2, b"y")).unwrap();
    assert_eq!(ledger.read("a"), Ok(vec![record(2, b"y")]));
    assert_eq!(ledger.records(), Ok(vec![record(2, b"y")]));
    assert_eq!(count(table), 1);
}

#[test]
fn killed_anywhere_in_a_write_it_leaves_the_old_record_or_the_new_one() {
    let long = vec![7; 2 * MOST + 1];
    for left in 0..6 {
        let (table, ledger) = fresh();
        ledger.write(&record(1, b"old")).unwrap();
        table.inner.lock().unwrap().left = Some(left);
        let written = ledger.write(&record(2, &long));
        table.inner.lock().unwrap().left = None;
        let found = ledger.read("a").unwrap();
        let expected = if left < 3 {
            record(1, b"old")
        } else {
            record(2, &long)
        };
        assert_eq!(found, vec![expected], "{left}");
        assert_eq!(
            written.is_ok(),
            left >= 3,
            "what is answered well is written"
        );
        // Whoever goes on cleans up.
        ledger.write(&record(2, &long)).unwrap();
        ledger.write(&record(3, b"next")).unwrap();
        assert_eq!(count(table), 1, "{left}");
    }
}

#[test]
fn of_two_operators_that_write_one_generation_at_once_neither_goes_on() {
    let (table, ledger) = fresh();
    ledger.write(&record(1, b"x")).unwrap();
    let other = ("record/a".to_owned(), 2, b"theirs".to_vec());
    table.inner.lock().unwrap().meanwhile = Some(other);
    assert_eq!(
        ledger.write(&record(2, b"ours")),
        Err(BackendError::Superseded)
    );
    let both = vec![record(2, b"ours"), record(2, b"theirs")];
    assert_eq!(ledger.read("a"), Ok(both.clone()));
    assert_eq!(ledger.records(), Ok(both));
    // What a person accepts follows them, and they go.
    ledger.write(&record(3, b"theirs")).unwrap();
    assert_eq!(ledger.read("a"), Ok(vec![record(3, b"theirs")]));
    assert_eq!(count(table), 1);
}

#[test]
fn the_same_record_written_by_two_is_one() {
    let (table, ledger) = fresh();
    let other = ("record/a".to_owned(), 1, b"x".to_vec());
    table.inner.lock().unwrap().meanwhile = Some(other);
    ledger.write(&record(1, b"x")).unwrap();
    assert_eq!(count(table), 2);
    assert_eq!(ledger.read("a"), Ok(vec![record(1, b"x")]));
}

#[test]
fn somebody_who_went_further_meanwhile_supersedes() {
    let (table, ledger) = fresh();
    ledger.write(&record(1, b"x")).unwrap();
    let other = ("record/a".to_owned(), 3, b"far".to_vec());
    table.inner.lock().unwrap().meanwhile = Some(other);
    assert_eq!(
        ledger.write(&record(2, b"y")),
        Err(BackendError::Superseded)
    );
    assert_eq!(ledger.read("a"), Ok(vec![record(3, b"far")]));
}

#[test]
fn what_was_damaged_holds_and_is_never_passed_over_for_an_older_one() {
    for (label, value) in [
        ("2 0011223344556677 1/1", b"flipped".as_slice()),
        ("no label of ours", b"x"),
        ("0 0011223344556677 1/1", b"x"),
    ] {
        let (table, ledger) = fresh();
        ledger.write(&record(1, b"old")).unwrap();
        table.inner.lock().unwrap().insert("record/a", label, value);
        let found = ledger.read("a").unwrap();
        assert!(
            found.iter().any(|one| one.bytes.is_empty()),
            "{label}: {found:?}"
        );
        let highest = found[0].generation;
        ledger.write(&record(highest + 1, b"accepted")).unwrap();
        assert_eq!(ledger.read("a"), Ok(vec![record(highest + 1, b"accepted")]));
        assert_eq!(count(table), 1);
    }
}

#[test]
fn forgetting_ends_with_the_highest() {
    let (table, ledger) = fresh();
    table
        .inner
        .lock()
        .unwrap()
        .insert("record/a", &one_part(1, b"old"), b"old");
    ledger.write(&record(2, b"new")).unwrap();
    table
        .inner
        .lock()
        .unwrap()
        .insert("record/a", &one_part(1, b"old"), b"old");
    assert_eq!(ledger.forget("a", 1), Err(BackendError::Superseded));
    table.inner.lock().unwrap().left = Some(1);
    assert!(ledger.forget("a", 2).is_err());
    table.inner.lock().unwrap().left = None;
    assert_eq!(ledger.read("a"), Ok(vec![record(2, b"new")]));
    ledger.forget("a", 2).unwrap();
    ledger.forget("a", 2).unwrap();
    assert_eq!(ledger.read("a"), Ok(vec![]));
}

#[test]
fn the_revision_and_the_notes_are_no_records() {
    let (table, ledger) = fresh();
    ledger.note_revision(7).unwrap();
    ledger.note_revision(5).unwrap();
    ledger.note_revision(9).unwrap();
    ledger.note("token/x", b"one").unwrap();
    ledger.note("token/x", b"two").unwrap();
    assert_eq!(ledger.revision(), Ok(9));
    assert_eq!(ledger.noted("token/x"), Ok(Some(b"two".to_vec())));
    assert_eq!(
        ledger.notes("token/"),
        Ok(vec![("x".to_owned(), b"two".to_vec())])
    );
    assert_eq!(ledger.records(), Ok(vec![]));
    ledger.unnote("token/x").unwrap();
    assert_eq!(ledger.noted("token/x"), Ok(None));
    assert_eq!(count(table), 1);
}

#[test]
fn g2_a_handle_that_another_operators_record_got_hides_it_from_nobody() {
    let (table, ledger) = fresh();
    ledger.write(&record(1, b"x")).unwrap();
    {
        let mut inner = table.inner.lock().unwrap();
        inner.same_handle = true;
        inner.meanwhile = Some(("record/a".to_owned(), 3, b"his".to_vec()));
    }
    assert_eq!(
        ledger.write(&record(2, b"mine")),
        Err(BackendError::Superseded)
    );
    assert_eq!(ledger.read("a"), Ok(vec![record(3, b"his")]));
}

#[test]
fn notes_that_disagree_are_none_alone_and_in_a_list() {
    let (table, ledger) = fresh();
    ledger.note("owner/a", b"one").unwrap();
    assert_eq!(
        ledger.notes("owner/"),
        Ok(vec![("a".to_owned(), b"one".to_vec())])
    );
    let label = one_part(1, b"two");
    table
        .inner
        .lock()
        .unwrap()
        .insert("owner/a", &label, b"two");
    assert!(ledger.noted("owner/a").is_err());
    assert!(ledger.notes("owner/").is_err());
}
