//! Material that no record explains: shown, never destroyed (`safety`: the record and the ledger).

use std::collections::BTreeSet;

use super::ids;
use crate::backend::{Mark, MaterialId, ObjectFacts, TokenLabel};
use crate::softdelete::{Record, RecordState, Subject, arbiter};

/// The tokens that are no HSM's, of those that were looked at before the records were read.
pub fn tokens(labels: &[TokenLabel], records: &[Record]) -> Vec<TokenLabel> {
    let explained = |label: &TokenLabel| {
        let its = |record: &&Record| ids::token_label(&record.id) == *label;
        records.iter().any(|record| its(&record) && stands(record))
    };
    let mut orphans = labels.to_vec();
    orphans.retain(|label| !explained(label));
    orphans
}

/// The keys that no record names, of what one token holds. What is pending of an ended creation goes by itself.
pub fn keys(found: &[ObjectFacts], records: &[Record]) -> BTreeSet<MaterialId> {
    let explained = |object: &ObjectFacts| {
        let names = |record: &Record| {
            let ended = record.state == RecordState::Tombstone && object.mark == Mark::Pending;
            (stands(record) || ended) && names(record, object.id)
        };
        records.iter().any(names)
    };
    found
        .iter()
        .filter(|object| !explained(object))
        .map(|object| object.id)
        .collect()
}

/// Neither destroyed nor given up.
fn stands(record: &Record) -> bool {
    arbiter::holds_names(record.state)
}

fn names(record: &Record, id: MaterialId) -> bool {
    match &record.subject {
        Subject::Hsm { .. } => false,
        Subject::Key {
            versions, pending, ..
        } => {
            let made = versions.iter().map(|version| &version.material);
            let begun = pending.iter().map(|pending| &pending.material);
            made.chain(begun).any(|named| named.0 == id.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Class, Handle};
    use crate::softdelete::record::{Algorithm, Pending, Version};
    use crate::softdelete::{Fingerprint, Origin, RecordId};
    use chrono::DateTime;

    const ID: MaterialId = MaterialId([7; 16]);

    fn record(id: &str, state: RecordState, subject: Subject) -> Record {
        Record {
            id: RecordId(id.into()),
            cluster: "cluster".into(),
            state,
            origin: Origin::default(),
            recovered_from: None,
            subject,
            retention_days: 90,
            soft_delete: true,
            purge_protection: false,
            dates: None,
            requesters: Vec::new(),
            destroyed: None,
        }
    }

    fn key(state: RecordState, pending: bool) -> Record {
        let material = crate::softdelete::MaterialId(ID.to_string());
        let version = Version {
            number: 1,
            material: material.clone(),
            fingerprint: Fingerprint("f".into()),
            created: DateTime::UNIX_EPOCH,
        };
        let begun = Pending {
            number: 1,
            material,
        };
        let subject = Subject::Key {
            hsm: RecordId("hsm".into()),
            hsm_name: "safe".into(),
            key_name: "key".into(),
            algorithm: Algorithm::Oct(256),
            versions: if pending { Vec::new() } else { vec![version] },
            pending: pending.then_some(begun),
        };
        record("key", state, subject)
    }

    fn object(mark: Mark) -> ObjectFacts {
        ObjectFacts {
            handle: Handle(1),
            id: ID,
            class: Class::Secret,
            mark,
            usable: None,
            proved: None,
            public: None,
        }
    }

    #[test]
    fn a_token_without_a_record_that_stands_is_an_orphan() {
        let label = TokenLabel("hsm".into());
        let of = |state| record("hsm", state, Subject::Hsm { token: None });
        let is = |records: &[Record]| tokens(std::slice::from_ref(&label), records);
        assert_eq!(is(&[]), std::slice::from_ref(&label));
        for state in RecordState::ALL {
            let gone = matches!(state, RecordState::Tombstone | RecordState::Abandoned);
            assert_eq!(is(&[of(state)]).len(), usize::from(gone), "{state:?}");
        }
    }

    #[test]
    fn a_key_is_an_orphan_unless_a_record_names_it_or_its_pending_half_ended() {
        let orphan = |mark, records: &[Record]| !keys(&[object(mark)], records).is_empty();
        assert!(orphan(Mark::Live, &[]));
        assert!(!orphan(Mark::Live, &[key(RecordState::Live, false)]));
        assert!(!orphan(Mark::Deleted, &[key(RecordState::Deleted, false)]));
        assert!(!orphan(Mark::Pending, &[key(RecordState::Creating, true)]));
        assert!(!orphan(Mark::Pending, &[key(RecordState::Tombstone, true)]));
        assert!(orphan(Mark::Live, &[key(RecordState::Tombstone, false)]));
        assert!(orphan(Mark::Deleted, &[key(RecordState::Abandoned, false)]));
    }
}
