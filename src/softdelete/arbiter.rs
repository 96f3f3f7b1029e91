//! The record decides: how its states read, which edges they may take (G4), which of several records counts, and what a
//! new record may change in an old one (I6).

use chrono::{DateTime, Utc};

use super::retention::{PurgeDate, purge_date};
use super::{Record, RecordState, Subject};

/// What a record means to everybody who only asks whether the material is there and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReadsAs {
    /// It does not exist yet.
    Creating,
    Live,
    Deleted,
    Destroying,
    /// Destroyed, or abandoned: the id is barred for good.
    Gone,
}

/// SD-01 How a state reads: *sealing* as *deleted*, *opening* as *live*, since each goes on to that.
pub const fn reads_as(state: RecordState) -> ReadsAs {
    match state {
        RecordState::Creating => ReadsAs::Creating,
        RecordState::Live | RecordState::Opening => ReadsAs::Live,
        RecordState::Sealing | RecordState::Deleted => ReadsAs::Deleted,
        RecordState::Destroying => ReadsAs::Destroying,
        RecordState::Tombstone | RecordState::Abandoned => ReadsAs::Gone,
    }
}

/// SD-26 How a key's record reads beside its HSM's: the HSM's tombstone stands for all of its keys, and so do the two
/// other ends of an HSM.
pub const fn state_in_hsm(key: RecordState, hsm: RecordState) -> RecordState {
    match (key, hsm) {
        (RecordState::Tombstone | RecordState::Abandoned, _) => key,
        (_, RecordState::Destroying | RecordState::Tombstone | RecordState::Abandoned) => hsm,
        _ => key,
    }
}

/// SD-20 Whether a record may be written after one of that state. *sealing* goes on to *deleted* and *opening* to *live* before any
/// other direction (G4); what is written again in its own state raises the generation (G6), a rotation, or a deletion's dates. Where the
/// material is lost a person may abandon it from any of them (SD-28).
pub const fn may_become(from: RecordState, to: RecordState) -> bool {
    use RecordState as S;
    match from {
        S::Creating => matches!(to, S::Live | S::Destroying),
        S::Live => matches!(to, S::Live | S::Sealing | S::Abandoned),
        S::Sealing => matches!(to, S::Sealing | S::Deleted | S::Abandoned),
        S::Deleted => matches!(to, S::Deleted | S::Opening | S::Destroying | S::Abandoned),
        S::Opening => matches!(to, S::Opening | S::Live | S::Abandoned),
        S::Destroying => matches!(to, S::Tombstone),
        S::Tombstone | S::Abandoned => false,
    }
}

/// SD-28 Whether a record may be the first of its id: a new object's, one that was lost and is written again as what status or proxy and
/// material agree on, or the end of one that never comes back.
pub const fn may_be_first(state: RecordState) -> bool {
    use RecordState as S;
    matches!(
        state,
        S::Creating | S::Live | S::Sealing | S::Deleted | S::Abandoned
    )
}

/// SD-17 Whether a record holds its names against others: until its material is gone.
pub const fn holds_names(state: RecordState) -> bool {
    !matches!(reads_as(state), ReadsAs::Gone)
}

/// Which record of an id counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Highest<'a, T> {
    None,
    One(u64, &'a T),
    /// Different ones of one generation: they hold until a person says which (`ledger accept`).
    Disagree(u64),
}

/// SD-20 The highest generation decides; equal ones of it are one record.
pub fn highest<T: PartialEq>(records: &[(u64, T)]) -> Highest<'_, T> {
    let Some(top) = records.iter().map(|(generation, _)| *generation).max() else {
        return Highest::None;
    };
    let mut tops = records
        .iter()
        .filter(|(generation, _)| *generation == top)
        .map(|(_, record)| record);
    match tops.next() {
        Some(first) if tops.all(|other| other == first) => Highest::One(top, first),
        Some(_) => Highest::Disagree(top),
        None => Highest::None,
    }
}

/// SD-23 Whether the store is old: status or proxy has seen a higher generation than the record has (`RecordDisagrees`). What is not shown says nothing.
pub fn store_is_old(record: u64, shown: impl IntoIterator<Item = Option<u64>>) -> bool {
    shown.into_iter().flatten().any(|shown| shown > record)
}

/// SD-10 The purge date that holds: the stricter of the record's and the proxy's.
pub fn stricter_date(record: &Record, proxy: Option<DateTime<Utc>>) -> PurgeDate {
    recorded_date(record).max(purge_date(proxy, record.soft_delete))
}

fn recorded_date(record: &Record) -> PurgeDate {
    purge_date(
        record.dates.and_then(|dates| dates.scheduled_purge_time),
        record.soft_delete,
    )
}

/// Why a record must not be written after another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Another id, cluster, kind, HSM or key name.
    Identity,
    /// An edge that is not there.
    Edge,
    /// A retention, soft-delete or protection that loosens.
    Loosened,
    /// A date that comes earlier, or goes.
    Earlier,
    /// Protection turned on for what is not live (SD-13).
    ProtectedTooLate,
    /// Its uid moves, but not at the start of a recovery.
    Holder,
    /// A version that there was is missing or another one.
    Material,
}

/// SD-13 SD-08 Whether `new` may follow `old`: only by an edge that is there, and without loosening or forgetting anything (I3 to I6).
pub fn may_follow(old: &Record, new: &Record) -> Result<(), Breach> {
    let breaches = [
        (!same_identity(old, new), Breach::Identity),
        (!may_become(old.state, new.state), Breach::Edge),
        (loosens(old, new), Breach::Loosened),
        (dates_go_back(old, new), Breach::Earlier),
        (protects_too_late(old, new), Breach::ProtectedTooLate),
        (moves_holder(old, new), Breach::Holder),
        (drops_versions(old, new), Breach::Material),
    ];
    breaches
        .into_iter()
        .find(|(broken, _)| *broken)
        .map_or(Ok(()), |(_, breach)| Err(breach))
}

fn same_identity(old: &Record, new: &Record) -> bool {
    old.id == new.id && old.cluster == new.cluster && same_subject(&old.subject, &new.subject)
}

fn same_subject(old: &Subject, new: &Subject) -> bool {
    match (old, new) {
        (Subject::Hsm { token: Some(old) }, Subject::Hsm { token }) => Some(old) == token.as_ref(),
        (Subject::Hsm { token: None }, Subject::Hsm { .. }) => true,
        (
            Subject::Key {
                hsm,
                key_name,
                algorithm,
                ..
            },
            Subject::Key {
                hsm: new_hsm,
                key_name: new_name,
                algorithm: new_algorithm,
                ..
            },
        ) => hsm == new_hsm && key_name == new_name && algorithm == new_algorithm,
        _ => false,
    }
}

fn loosens(old: &Record, new: &Record) -> bool {
    old.retention_days != new.retention_days
        || old.soft_delete && !new.soft_delete
        || old.purge_protection && !new.purge_protection
}

fn dates_go_back(old: &Record, new: &Record) -> bool {
    match (&old.dates, &new.dates) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(was), Some(is)) => {
            is.deletion_time < was.deletion_time
                || is.scheduled_purge_time < was.scheduled_purge_time
        }
    }
}

fn protects_too_late(old: &Record, new: &Record) -> bool {
    let live = reads_as(old.state) == ReadsAs::Live || old.state == RecordState::Creating;
    new.purge_protection && !old.purge_protection && !live
}

fn moves_holder(old: &Record, new: &Record) -> bool {
    old.origin.uid != new.origin.uid && new.state != RecordState::Opening
}

fn drops_versions(old: &Record, new: &Record) -> bool {
    match (&old.subject, &new.subject) {
        (Subject::Key { versions: old, .. }, Subject::Key { versions: new, .. }) => {
            !old.iter().all(|version| new.contains(version))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::record::{Algorithm, Version};
    use crate::softdelete::retention::{DAY, dates};
    use crate::softdelete::{Origin, Token};
    use RecordState as S;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn version(number: i32) -> Version {
        Version {
            number,
            material: format!("m{number}").into(),
            fingerprint: "f".into(),
            created: at(0),
        }
    }

    fn key(state: RecordState) -> Record {
        Record {
            id: "k-1".into(),
            cluster: "c-1".into(),
            state,
            origin: Origin {
                uid: "u-1".into(),
                ..Origin::default()
            },
            recovered_from: None,
            subject: Subject::Key {
                hsm: "h-1".into(),
                hsm_name: "prod".into(),
                key_name: "signing".into(),
                algorithm: Algorithm::Rsa(2048),
                versions: vec![version(1)],
                pending: None,
            },
            retention_days: 90,
            soft_delete: true,
            purge_protection: false,
            dates: Some(dates(at(0), Some(90), DAY)),
            requesters: vec![],
            destroyed: None,
        }
    }

    /// Whether a path of edges leads there.
    fn reaches(from: RecordState, to: RecordState) -> bool {
        let mut seen = vec![from];
        let mut next = 0;
        while let Some(state) = seen.get(next).copied() {
            next += 1;
            for other in S::ALL {
                if may_become(state, other) && !seen.contains(&other) {
                    seen.push(other);
                }
            }
        }
        seen.contains(&to)
    }

    #[test]
    fn sd01_sealing_reads_as_deleted_and_opening_as_live() {
        assert_eq!(reads_as(S::Sealing), reads_as(S::Deleted));
        assert_eq!(reads_as(S::Opening), reads_as(S::Live));
    }

    #[test]
    fn sd20_opening_is_never_turned_into_sealing_nor_sealing_into_opening() {
        assert!(may_become(S::Sealing, S::Deleted) && !may_become(S::Sealing, S::Opening));
        assert!(may_become(S::Opening, S::Live) && !may_become(S::Opening, S::Sealing));
    }

    #[test]
    fn sd23_only_deleted_and_creating_are_ever_destroyed_and_nothing_leaves_it_but_a_tombstone() {
        let before: Vec<_> = S::ALL
            .into_iter()
            .filter(|from| may_become(*from, S::Destroying))
            .collect();
        assert_eq!(before, [S::Creating, S::Deleted]);
        let after: Vec<_> = S::ALL
            .into_iter()
            .filter(|to| may_become(S::Destroying, *to))
            .collect();
        assert_eq!(after, [S::Tombstone]);
    }

    #[test]
    fn sd01_nothing_leaves_tombstone_or_abandoned() {
        for to in S::ALL {
            assert!(
                !may_become(S::Tombstone, to) && !may_become(S::Abandoned, to),
                "{to:?}"
            );
        }
    }

    #[test]
    fn sd01_every_life_can_end_and_every_deletion_can_be_turned_back_before_its_end() {
        for from in S::ALL {
            assert_eq!(
                reaches(from, S::Tombstone),
                from != S::Abandoned,
                "{from:?}"
            );
        }
        assert!(reaches(S::Deleted, S::Live) && reaches(S::Live, S::Deleted));
    }

    #[test]
    fn sd28_a_first_record_never_claims_a_destruction_or_a_recovery() {
        for state in [S::Opening, S::Destroying, S::Tombstone] {
            assert!(!may_be_first(state), "{state:?}");
        }
        assert!(may_be_first(S::Creating) && may_be_first(S::Abandoned));
    }

    #[test]
    fn sd17_names_are_held_until_the_tombstone() {
        for state in S::ALL {
            let gone = matches!(state, S::Tombstone | S::Abandoned);
            assert_eq!(holds_names(state), !gone, "{state:?}");
        }
    }

    #[test]
    fn sd26_an_hsms_tombstone_stands_for_all_its_keys() {
        for state in S::ALL {
            let read = state_in_hsm(state, S::Tombstone);
            assert_eq!(reads_as(read), ReadsAs::Gone, "{state:?}");
            assert_eq!(state_in_hsm(state, S::Deleted), state);
        }
    }

    #[test]
    fn sd20_the_highest_generation_decides() {
        assert_eq!(highest::<u8>(&[]), Highest::None);
        assert_eq!(
            highest(&[(1, 'a'), (3, 'c'), (2, 'b')]),
            Highest::One(3, &'c')
        );
    }

    #[test]
    fn sd20_equal_records_of_one_generation_are_one_and_different_ones_hold() {
        assert_eq!(highest(&[(3, 'c'), (3, 'c')]), Highest::One(3, &'c'));
        assert_eq!(
            highest(&[(3, 'c'), (3, 'd'), (2, 'b')]),
            Highest::Disagree(3)
        );
        assert_eq!(
            highest(&[(4, 'e'), (3, 'c'), (3, 'd')]),
            Highest::One(4, &'e')
        );
    }

    #[test]
    fn sd23_a_store_is_old_when_the_cluster_has_seen_a_higher_generation() {
        assert!(store_is_old(4, [Some(3), Some(5)]));
        assert!(!store_is_old(4, [Some(4), None]));
        assert!(!store_is_old(4, []));
    }

    #[test]
    fn sd10_of_record_and_proxy_the_later_date_holds_and_a_missing_one_never_comes() {
        let record = key(S::Deleted);
        let own = at(90 * 86_400);
        assert_eq!(stricter_date(&record, Some(at(0))), PurgeDate::At(own));
        assert_eq!(
            stricter_date(&record, Some(own + DAY)),
            PurgeDate::At(own + DAY)
        );
        assert_eq!(stricter_date(&record, None), PurgeDate::Never);
    }

    #[test]
    fn sd02_only_a_record_without_soft_delete_and_without_dates_is_purged_directly() {
        let off = Record {
            soft_delete: false,
            dates: None,
            ..key(S::Deleted)
        };
        assert_eq!(stricter_date(&off, None), PurgeDate::Direct);
        assert_eq!(stricter_date(&off, Some(at(0))), PurgeDate::At(at(0)));
    }

    #[test]
    fn sd08_no_record_changes_its_retention() {
        let old = key(S::Live);
        let new = Record {
            retention_days: 91,
            ..key(S::Sealing)
        };
        assert_eq!(may_follow(&old, &new), Err(Breach::Loosened));
    }

    #[test]
    fn sd13_no_record_turns_a_switch_off() {
        let old = Record {
            purge_protection: true,
            ..key(S::Live)
        };
        assert_eq!(may_follow(&old, &key(S::Sealing)), Err(Breach::Loosened));
        let off = Record {
            soft_delete: false,
            ..key(S::Sealing)
        };
        assert_eq!(may_follow(&key(S::Live), &off), Err(Breach::Loosened));
    }

    #[test]
    fn sd13_protection_is_recorded_only_for_what_is_live() {
        let on = |state| Record {
            purge_protection: true,
            ..key(state)
        };
        assert_eq!(may_follow(&key(S::Live), &on(S::Live)), Ok(()));
        assert_eq!(
            may_follow(&key(S::Deleted), &on(S::Deleted)),
            Err(Breach::ProtectedTooLate)
        );
    }

    #[test]
    fn sd04_no_record_moves_a_purge_date_earlier_or_forgets_it() {
        let earlier = Record {
            dates: Some(dates(at(-1), Some(90), DAY)),
            ..key(S::Deleted)
        };
        assert_eq!(may_follow(&key(S::Deleted), &earlier), Err(Breach::Earlier));
        let forgotten = Record {
            dates: None,
            ..key(S::Live)
        };
        assert_eq!(
            may_follow(&key(S::Opening), &forgotten),
            Err(Breach::Earlier)
        );
    }

    #[test]
    fn sd10_a_second_deletion_starts_a_new_full_interval() {
        let again = Record {
            dates: Some(dates(at(500), Some(90), DAY)),
            ..key(S::Sealing)
        };
        assert_eq!(may_follow(&key(S::Live), &again), Ok(()));
    }

    #[test]
    fn sd20_a_record_gets_another_uid_only_at_the_start_of_a_recovery() {
        let moved = |state| Record {
            origin: Origin {
                uid: "u-2".into(),
                ..Origin::default()
            },
            ..key(state)
        };
        assert_eq!(may_follow(&key(S::Deleted), &moved(S::Opening)), Ok(()));
        assert_eq!(
            may_follow(&key(S::Deleted), &moved(S::Deleted)),
            Err(Breach::Holder)
        );
    }

    #[test]
    fn sd28_a_record_never_drops_a_version_and_never_becomes_another_key() {
        let with = |versions, name: &str| {
            let mut record = key(S::Live);
            if let Subject::Key {
                versions: held,
                key_name,
                ..
            } = &mut record.subject
            {
                *held = versions;
                *key_name = name.into();
            }
            record
        };
        assert_eq!(
            may_follow(
                &key(S::Live),
                &with(vec![version(1), version(2)], "signing")
            ),
            Ok(())
        );
        assert_eq!(
            may_follow(&key(S::Live), &with(vec![version(2)], "signing")),
            Err(Breach::Material)
        );
        assert_eq!(
            may_follow(&key(S::Live), &with(vec![version(1)], "other")),
            Err(Breach::Identity)
        );
    }

    #[test]
    fn sd28_an_hsm_gets_its_token_once_and_never_another() {
        let hsm = |label: Option<&str>, state| Record {
            subject: Subject::Hsm {
                token: label.map(|label| Token {
                    label: label.into(),
                    serial: "1".into(),
                }),
            },
            ..key(state)
        };
        assert_eq!(
            may_follow(&hsm(None, S::Creating), &hsm(Some("a"), S::Live)),
            Ok(())
        );
        assert_eq!(
            may_follow(&hsm(Some("a"), S::Live), &hsm(Some("b"), S::Live)),
            Err(Breach::Identity)
        );
        assert_eq!(
            may_follow(&hsm(Some("a"), S::Live), &hsm(None, S::Live)),
            Err(Breach::Identity)
        );
    }
}
