//! The record decides: how its states read, which edges they may take (G4), which of several records counts, and what a
//! new record may change in an old one (I6).

use chrono::{DateTime, Utc};

use super::retention::{PurgeDate, purge_date};
use super::{Record, RecordState, Subject, Uid};

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

/// How a state reads: *sealing* as *deleted*, *opening* as *live*, since each goes on to that (SD-01).
pub const fn reads_as(state: RecordState) -> ReadsAs {
    match state {
        RecordState::Creating => ReadsAs::Creating,
        RecordState::Live | RecordState::Opening => ReadsAs::Live,
        RecordState::Sealing | RecordState::Deleted => ReadsAs::Deleted,
        RecordState::Destroying => ReadsAs::Destroying,
        RecordState::Tombstone | RecordState::Abandoned => ReadsAs::Gone,
    }
}

/// How a key's record reads beside its HSM's: the HSM's tombstone stands for all of its keys, and so do the two
/// other ends of an HSM (SD-26).
pub const fn state_in_hsm(key: RecordState, hsm: RecordState) -> RecordState {
    match (key, hsm) {
        (RecordState::Tombstone | RecordState::Abandoned, _) => key,
        (_, RecordState::Destroying | RecordState::Tombstone | RecordState::Abandoned) => hsm,
        _ => key,
    }
}

/// Whether a record may be written after one of that state. *sealing* goes on to *deleted* and *opening* to *live* before any
/// other direction (G4); what is written again in its own state raises the generation (G6), a rotation, or a deletion's dates. Where the
/// material is lost a person may abandon it from any of them (SD-20, SD-28).
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

/// Whether a record may be the first of its id: a new object's, one that was lost and is written again as what status or proxy and
/// material agree on, or the end of one that never comes back (SD-28).
pub const fn may_be_first(state: RecordState) -> bool {
    use RecordState as S;
    matches!(
        state,
        S::Creating | S::Live | S::Sealing | S::Deleted | S::Abandoned
    )
}

/// Whether a record holds its names against others: until its material is gone (SD-17).
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

/// The highest generation decides; equal ones of it are one record (SD-20).
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

/// Whether the store is old: status or proxy has seen a higher generation than the record has (`RecordDisagrees`). What is not shown says nothing (SD-23).
pub fn store_is_old(record: u64, shown: impl IntoIterator<Item = Option<u64>>) -> bool {
    shown.into_iter().flatten().any(|shown| shown > record)
}

/// Whether etcd is old: its present resourceVersion is lower than one that was seen (SD-23).
pub const fn etcd_is_old(present: u64, seen: u64) -> bool {
    present < seen
}

/// The purge date that holds: the stricter of the record's and the proxy's (SD-10).
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

/// Whether `new` may follow `old`: only by an edge that is there, and without loosening or forgetting anything (I3 to I6; SD-08, SD-13).
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

/// The record of a cluster that is gone, as the cluster that takes its material over writes it: nothing of it changes but whose it is (I3). What is ours
/// already, or another cluster's than the one that was named, is left.
pub fn taken_over(record: &Record, from: Option<&Uid>, ours: &Uid) -> Option<Record> {
    let takes = from == Some(&record.cluster) && record.cluster != *ours;
    takes.then(|| Record {
        cluster: ours.clone(),
        ..record.clone()
    })
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
mod tests;
