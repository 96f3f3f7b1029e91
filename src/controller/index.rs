//! The ledger as memory has it: for lists and names only. Each look of a protocol reads its records anew (G1).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::Stored;
use crate::plan::observed::{Held, Reading};
use crate::plan::{Lineage, encoding, leaves_strays};
use crate::softdelete::{Record, RecordId, Subject};

/// One record, and which backend's ledger it is in.
#[derive(Clone, Debug)]
pub struct Entry {
    pub backend: String,
    pub held: Held,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<RecordId, Entry>,
    by_lineage: HashMap<Lineage, BTreeSet<RecordId>>,
    by_hsm: HashMap<RecordId, BTreeSet<RecordId>>,
}

#[derive(Default)]
pub struct Index(Mutex<Inner>);

/// The record's own lineage.
pub fn lineage(record: &Record) -> Lineage {
    Lineage::new(
        record.kind(),
        record.origin.namespace.clone(),
        record.origin.name.clone(),
    )
}

/// What the highest stored bytes of an id say. None: there are none.
pub fn reading(id: &RecordId, stored: &[Stored]) -> Option<Held> {
    let first = stored.first()?;
    let held = |reading| {
        Some(Held {
            id: id.clone(),
            generation: first.generation,
            reading,
        })
    };
    if stored.iter().any(|other| other.bytes != first.bytes) {
        return held(Reading::Disagree);
    }
    held(match encoding::decode(&first.bytes) {
        Ok(record) => Reading::One(Box::new(record)),
        Err(encoding::DecodeError::Version(version)) => Reading::Unknown(version),
        Err(encoding::DecodeError::Broken(_)) => Reading::Disagree,
    })
}

impl Index {
    /// A record as it was just read or written.
    pub fn note(&self, backend: &str, held: Held) {
        let mut inner = self.lock();
        let id = held.id.clone();
        if let Some(record) = held.record() {
            inner
                .by_lineage
                .entry(lineage(record))
                .or_default()
                .insert(id.clone());
            if let Subject::Key { hsm, .. } = &record.subject {
                inner
                    .by_hsm
                    .entry(hsm.clone())
                    .or_default()
                    .insert(id.clone());
            }
        }
        inner.entries.insert(
            id,
            Entry {
                backend: backend.to_owned(),
                held,
            },
        );
    }

    pub fn get(&self, id: &RecordId) -> Option<Entry> {
        self.lock().entries.get(id).cloned()
    }

    /// All records of one lineage, of every life it had.
    pub fn of_lineage(&self, lineage: &Lineage) -> Vec<Entry> {
        let inner = self.lock();
        inner
            .by_lineage
            .get(lineage)
            .into_iter()
            .flatten()
            .filter_map(|id| inner.entries.get(id))
            .cloned()
            .collect()
    }

    /// All keys that were ever made in one HSM.
    pub fn keys_of(&self, hsm: &RecordId) -> Vec<Entry> {
        let inner = self.lock();
        inner
            .by_hsm
            .get(hsm)
            .into_iter()
            .flatten()
            .filter_map(|id| inner.entries.get(id))
            .cloned()
            .collect()
    }

    /// Every lineage that has a record which is not final, or may have left something.
    pub fn lineages(&self) -> Vec<Lineage> {
        self.lock()
            .entries
            .values()
            .filter_map(|entry| {
                entry
                    .held
                    .record()
                    .filter(|record| !entry.held.is_final() || leaves_strays(record))
            })
            .map(lineage)
            .collect()
    }

    /// Each change leaves the maps consistent, so a lock that a panic left behind is still good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
