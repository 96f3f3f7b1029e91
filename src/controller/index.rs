//! The ledger as memory has it: for lists and names only. Each look of a protocol reads its records anew (G1).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::backend::Stored;
use crate::plan::observed::{Held, Reading};
use crate::plan::{Lineage, encoding, may_leave_something};
use crate::softdelete::{Kind, Record, RecordId, RecordState, Subject, arbiter, names};

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
    by_name: HashMap<Name, BTreeSet<RecordId>>,
    /// When the read began that each entry is from.
    read_at: HashMap<RecordId, Begun>,
    reads: u64,
    /// Key names whose record is just being written.
    claims: BTreeSet<Name>,
    /// How many records are just being written in a place.
    arriving: BTreeMap<Place, usize>,
}

/// What a limit counts in: a backend's HSMs of one namespace, or an HSM's keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Namespace(String, String),
    Hsm(RecordId),
}

/// When a read of the ledger began, among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Begun(u64);

/// A key's HSM and its name in there, in lower case.
type Name = (RecordId, String);

/// None: of an HSM.
fn key_name(record: &Record) -> Option<Name> {
    match &record.subject {
        Subject::Key { hsm, key_name, .. } => Some((hsm.clone(), names::folded(key_name))),
        Subject::Hsm { .. } => None,
    }
}

/// While it is held nobody else's record gets the key name, or the last free place.
pub struct Claim<'a> {
    index: &'a Index,
    name: Option<Name>,
    place: Place,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut inner = self.index.lock();
        if let Some(name) = &self.name {
            inner.claims.remove(name);
        }
        let left = inner.arriving.get(&self.place).map_or(0, |it| it - 1);
        if left == 0 {
            inner.arriving.remove(&self.place);
        } else {
            inner.arriving.insert(self.place.clone(), left);
        }
    }
}

impl Inner {
    /// A record that nobody can read counts: it may be of something that is there.
    fn taken(&self, place: &Place, but: &RecordId) -> usize {
        let counts = |id: &&RecordId, backend: Option<&str>| {
            let entry = self.entries.get(*id);
            *id != but
                && entry.is_some_and(|entry| {
                    !entry.held.is_final() && backend.is_none_or(|of| entry.backend == of)
                })
        };
        match place {
            Place::Hsm(hsm) => {
                let keys = self.by_hsm.get(hsm).into_iter().flatten();
                keys.filter(|id| counts(id, None)).count()
            }
            Place::Namespace(backend, namespace) => self
                .by_lineage
                .iter()
                .filter(|(of, _)| of.kind == Kind::Hsm && of.namespace == *namespace)
                .flat_map(|(_, ids)| ids)
                .filter(|id| counts(id, Some(backend)))
                .count(),
        }
    }
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
    /// Before each read: what another one found that began later stays. Else memory would go back to what was so before a write, with nothing to wake it again.
    pub fn begin_read(&self) -> Begun {
        let mut inner = self.lock();
        inner.reads += 1;
        Begun(inner.reads)
    }

    /// An id's highest records as they were just read. Where they disagree, they are of each lineage that one of them names.
    pub fn note(
        &self,
        begun: Begun,
        backend: &str,
        id: &RecordId,
        stored: &[Stored],
    ) -> Option<Held> {
        let held = reading(id, stored)?;
        let named: Vec<_> = stored
            .iter()
            .filter_map(|stored| encoding::decode(&stored.bytes).ok())
            .collect();
        self.insert(begun, backend, held.clone(), &named);
        Some(held)
    }

    fn insert(&self, begun: Begun, backend: &str, held: Held, named: &[Record]) {
        let mut inner = self.lock();
        let id = held.id.clone();
        if inner.read_at.get(&id).is_some_and(|last| *last > begun) {
            return;
        }
        inner.read_at.insert(id.clone(), begun);
        for record in named {
            let of = inner.by_lineage.entry(lineage(record)).or_default();
            of.insert(id.clone());
            if let Subject::Key { hsm, .. } = &record.subject {
                let of = inner.by_hsm.entry(hsm.clone()).or_default();
                of.insert(id.clone());
            }
            if let Some(name) = key_name(record) {
                inner.by_name.entry(name).or_default().insert(id.clone());
            }
        }
        let backend = backend.to_owned();
        inner.entries.insert(id, Entry { backend, held });
    }

    /// A record that the ledger has forgotten.
    pub fn forget(&self, id: &RecordId) {
        let mut inner = self.lock();
        inner.entries.remove(id);
        inner.read_at.remove(id);
        for ids in inner.by_lineage.values_mut() {
            ids.remove(id);
        }
        for ids in inner.by_hsm.values_mut() {
            ids.remove(id);
        }
        for ids in inner.by_name.values_mut() {
            ids.remove(id);
        }
        inner.by_lineage.retain(|_, ids| !ids.is_empty());
        inner.by_hsm.retain(|_, ids| !ids.is_empty());
        inner.by_name.retain(|_, ids| !ids.is_empty());
    }

    pub fn get(&self, id: &RecordId) -> Option<Entry> {
        self.lock().entries.get(id).cloned()
    }

    /// All records of one lineage, of every life it had, as they read beside their HSM's.
    pub fn of_lineage(&self, lineage: &Lineage) -> Vec<Entry> {
        let ids: Vec<_> = self
            .lock()
            .by_lineage
            .get(lineage)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        ids.iter()
            .filter_map(|id| self.get(id))
            .map(|entry| Entry {
                held: self.as_it_reads(entry.held),
                ..entry
            })
            .collect()
    }

    /// A key's record as it reads once its HSM's is final: the HSM's end is its own (SD-26).
    pub fn as_it_reads(&self, held: Held) -> Held {
        let hsm = match held.record().map(|record| &record.subject) {
            Some(Subject::Key { hsm, .. }) => self.get(hsm),
            Some(Subject::Hsm { .. }) | None => None,
        };
        match (hsm, &held.reading) {
            (Some(hsm), Reading::One(record)) if hsm.held.is_final() && !held.is_final() => {
                let end = hsm.held.record().map_or(record.state, |hsm| hsm.state);
                let record = Record {
                    state: arbiter::state_in_hsm(record.state, end),
                    ..(**record).clone()
                };
                Held {
                    reading: Reading::One(Box::new(record)),
                    ..held
                }
            }
            _ => held,
        }
    }

    /// When purges on request were done, of all that the ledgers remember; one that is under way counts as done now.
    pub fn purged_on_request(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let when = |record: &Record| match record.state {
            RecordState::Destroying => Some(now),
            RecordState::Tombstone => record.destroyed.as_ref().map(|destroyed| destroyed.at),
            _ => None,
        };
        self.lock()
            .entries
            .values()
            .filter_map(|entry| entry.held.record())
            .filter(|record| !record.requesters.is_empty())
            .filter_map(when)
            .collect()
    }

    /// The key name and the place of a record that is about to be written first. None: since it was looked at, another record has got the name, or the
    /// last of the `most` places, or is just getting it.
    pub fn claim(&self, record: &Record, place: Place, most: Option<usize>) -> Option<Claim<'_>> {
        let name = key_name(record);
        let mut inner = self.lock();
        let arriving = inner.arriving.get(&place).copied().unwrap_or(0);
        if most.is_some_and(|most| inner.taken(&place, &record.id) + arriving >= most) {
            return None;
        }
        if let Some(wanted) = &name {
            let has_it =
                |other: &Record| other.id != record.id && arbiter::holds_names(other.state);
            let named = inner.by_name.get(wanted).into_iter().flatten();
            let mut records = named.filter_map(|id| inner.entries.get(id)?.held.record());
            if records.any(has_it) || !inner.claims.insert(wanted.clone()) {
                return None;
            }
        }
        inner.arriving.insert(place.clone(), arriving + 1);
        drop(inner);
        Some(Claim {
            index: self,
            name,
            place,
        })
    }

    /// How many live and deleted ones count there, without the one of that id.
    pub fn taken(&self, place: &Place, but: &RecordId) -> usize {
        self.lock().taken(place, but)
    }

    /// All that ever had that key name in one HSM, case ignored.
    pub fn named(&self, hsm: &RecordId, key_name: &str) -> Vec<Entry> {
        let inner = self.lock();
        let ids = inner.by_name.get(&(hsm.clone(), names::folded(key_name)));
        let found = ids
            .into_iter()
            .flatten()
            .filter_map(|id| inner.entries.get(id));
        found.cloned().collect()
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
                    .filter(|record| !entry.held.is_final() || may_leave_something(record))
            })
            .map(lineage)
            .collect()
    }

    /// Each change leaves the maps consistent, so a lock that a panic left behind is still good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::Origin;
    use crate::softdelete::record::Algorithm;

    fn key(id: &str, name: &str, key_name: &str, state: RecordState) -> Record {
        Record {
            id: RecordId(id.into()),
            cluster: "cluster".into(),
            state,
            origin: Origin {
                namespace: "ns".into(),
                namespace_uid: "ns-uid".into(),
                name: name.into(),
                uid: id.into(),
            },
            recovered_from: None,
            subject: Subject::Key {
                hsm: RecordId("hsm".into()),
                hsm_name: "safe".into(),
                key_name: key_name.into(),
                algorithm: Algorithm::Ec("P-256".into()),
                versions: Vec::new(),
                pending: None,
            },
            retention_days: 90,
            soft_delete: true,
            purge_protection: false,
            dates: None,
            requesters: Vec::new(),
            destroyed: None,
        }
    }

    fn stored(record: &Record) -> Stored {
        Stored {
            id: record.id.0.clone(),
            generation: 1,
            bytes: encoding::encode(record),
        }
    }

    fn noted(index: &Index, record: Record) {
        let begun = index.begin_read();
        let held = index.note(begun, "default", &record.id, &[stored(&record)]);
        assert!(held.is_some());
    }

    #[test]
    fn records_that_disagree_are_found_by_each_name_that_one_of_them_has() {
        let index = Index::default();
        let one = key("1", "one", "a", RecordState::Live);
        let other = Record {
            state: RecordState::Deleted,
            ..one.clone()
        };
        let begun = index.begin_read();
        let held = index.note(begun, "default", &one.id, &[stored(&one), stored(&other)]);
        assert_eq!(held.map(|held| held.reading), Some(Reading::Disagree));
        let found = index.of_lineage(&lineage(&one));
        assert_eq!(found.len(), 1);
        assert!(!found[0].held.is_final(), "they hold the name");
        assert_eq!(index.keys_of(&RecordId("hsm".into())).len(), 1);
    }

    #[test]
    fn a_read_that_began_before_another_and_ends_after_it_changes_nothing() {
        let index = Index::default();
        let old = key("1", "one", "a", RecordState::Destroying);
        let early = index.begin_read();
        let now = Record {
            state: RecordState::Tombstone,
            ..old.clone()
        };
        noted(&index, now);
        let read = index.note(early, "default", &old.id, &[stored(&old)]);
        assert!(read.is_some(), "whoever read it goes by it all the same");
        let found = index.get(&old.id).expect("it is there");
        assert!(found.held.is_final(), "{found:?}");
    }

    #[test]
    fn what_the_ledger_forgot_is_in_no_list_any_more() {
        let index = Index::default();
        let gone = key("1", "one", "a", RecordState::Tombstone);
        noted(&index, gone.clone());
        index.forget(&gone.id);
        assert!(index.get(&gone.id).is_none());
        assert!(index.of_lineage(&lineage(&gone)).is_empty());
        assert!(index.keys_of(&RecordId("hsm".into())).is_empty());
    }

    #[test]
    fn sd17_a_key_name_is_claimed_by_one_at_a_time_whatever_its_case() {
        let index = Index::default();
        let (one, two) = (
            key("1", "one", "Wanted", RecordState::Creating),
            key("2", "two", "wANTED", RecordState::Creating),
        );
        let claim = claimed(&index, &one).expect("it is free");
        assert!(claimed(&index, &two).is_none(), "just being written");
        drop(claim);
        drop(claimed(&index, &two).expect("the first was not written"));

        noted(&index, one.clone());
        assert!(claimed(&index, &two).is_none(), "the first has it");
        assert!(claimed(&index, &one).is_some(), "its own is no hindrance");
        let gone = Record {
            state: RecordState::Tombstone,
            ..one
        };
        noted(&index, gone);
        assert!(claimed(&index, &two).is_some(), "free again");
    }

    fn claimed<'a>(index: &'a Index, record: &Record) -> Option<Claim<'a>> {
        index.claim(record, Place::Hsm("hsm".into()), None)
    }

    #[test]
    fn the_last_place_goes_to_one_of_two_that_come_at_once() {
        let index = Index::default();
        let place = || Place::Hsm(RecordId("hsm".into()));
        let (one, two) = (
            key("1", "one", "a", RecordState::Creating),
            key("2", "two", "b", RecordState::Creating),
        );
        let claim = index.claim(&one, place(), Some(1)).expect("there is room");
        assert!(index.claim(&two, place(), Some(1)).is_none());
        assert!(index.claim(&two, place(), Some(2)).is_some());
        drop(claim);
        noted(&index, one.clone());
        assert_eq!(index.taken(&place(), &two.id), 1);
        assert_eq!(index.taken(&place(), &one.id), 0, "its own does not count");
        assert!(index.claim(&two, place(), Some(1)).is_none());
        let gone = Record {
            state: RecordState::Tombstone,
            ..one
        };
        noted(&index, gone);
        assert!(index.claim(&two, place(), Some(1)).is_some(), "free again");
    }
}
