//! Names: a proxy's, a key's, an endpoint's, and who holds them.

use chrono::{DateTime, Utc};

use super::arbiter::{ReadsAs, holds_names, reads_as};
use super::sentence::Deleted;
use super::state::ObjectState;
use super::{Kind, Origin, RecordId, Refusal, Subject, Uid};

/// The most bytes that a proxy's spec may have, serialised, with its snapshot.
pub const SNAPSHOT_LIMIT: usize = 1 << 20;

/// SD-05 The name of a proxy, which is cluster-scoped: neither part holds a dot.
pub fn proxy_name(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

/// Back: namespace and name of the origin (SD-05).
pub fn origin_of_proxy(proxy: &str) -> Option<(&str, &str)> {
    let (namespace, name) = proxy.split_once('.')?;
    let whole = !namespace.is_empty() && !name.is_empty() && !name.contains('.');
    whole.then_some((namespace, name))
}

/// SD-06 Whether a proxy keeps its snapshot: not where it was written again from the record, nor above 1 MiB (`SnapshotIncomplete`).
pub const fn keeps_snapshot(from_record: bool, bytes: usize) -> bool {
    !from_record && bytes <= SNAPSHOT_LIMIT
}

/// What a proxy carries of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCarries<'a> {
    pub labels: &'a [&'a str],
    pub annotations: &'a [&'a str],
    pub owner_references: usize,
    pub finalizers: usize,
}

/// SD-07 Whether a proxy is nobody's: none of its origin's labels or annotations (by key), no owner and no finalizer.
pub fn is_nobodys(
    proxy: &ProxyCarries<'_>,
    origin_labels: &[&str],
    origin_annotations: &[&str],
) -> bool {
    let shares = |own: &[&str], origins: &[&str]| own.iter().any(|key| origins.contains(key));
    proxy.owner_references == 0
        && proxy.finalizers == 0
        && !shares(proxy.labels, origin_labels)
        && !shares(proxy.annotations, origin_annotations)
}

/// The name of a key inside its HSM: what was said, else the resource's.
pub fn key_name<'a>(said: Option<&'a str>, resource: &'a str) -> &'a str {
    said.unwrap_or(resource)
}

/// A key name as it is compared: case is ignored, and the pattern allows ASCII only (SD-17).
pub fn folded(key_name: &str) -> String {
    key_name.to_ascii_lowercase()
}

/// Whether two key names are one (SD-17).
pub fn same_key_name(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

/// The names that an object needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    pub kind: Kind,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Of a key: its HSM's record, and its name in there.
    pub key: Option<(&'a RecordId, &'a str)>,
}

/// One who has names: a record, or a proxy whose record is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    pub origin: &'a Origin,
    pub names: Names<'a>,
    /// As it reads beside its HSM's (SD-26).
    pub state: super::RecordState,
    /// Absent in a deleted one: a direct purge.
    pub purge_time: Option<DateTime<Utc>>,
    /// Whether it can be purged on request (SD-16).
    pub purgeable: bool,
}

impl<'a> Claim<'a> {
    /// A record's claim. `purgeable` and the state beside its HSM's are for the caller to look up.
    pub fn of(record: &'a super::Record, state: super::RecordState, purgeable: bool) -> Self {
        let key = match &record.subject {
            Subject::Hsm { .. } => None,
            Subject::Key { hsm, key_name, .. } => Some((hsm, key_name.as_str())),
        };
        let Origin {
            namespace, name, ..
        } = &record.origin;
        let purge_time = record.dates.and_then(|dates| dates.scheduled_purge_time);
        Self {
            origin: &record.origin,
            names: Names {
                kind: record.kind(),
                namespace,
                name,
                key,
            },
            state,
            purge_time,
            purgeable,
        }
    }
}

/// SD-17 Who keeps these names from the object of that uid, as the refusal that it gets: the first other uid that holds one of them.
/// Its own uid's claim, and one that is destroyed or abandoned, keep nothing from it.
pub fn reserved<'a>(
    wanted: &Names<'_>,
    uid: &Uid,
    claims: impl IntoIterator<Item = Claim<'a>>,
) -> Option<Refusal> {
    let mut others = claims
        .into_iter()
        .filter(|claim| claim.origin.uid != *uid && holds_names(claim.state));
    others
        .find(|claim| collides(wanted, &claim.names))
        .map(|claim| refusal(wanted, &claim))
}

fn collides(wanted: &Names<'_>, held: &Names<'_>) -> bool {
    same_resource(wanted, held) || same_key(wanted, held)
}

fn same_resource(wanted: &Names<'_>, held: &Names<'_>) -> bool {
    wanted.kind == held.kind && wanted.namespace == held.namespace && wanted.name == held.name
}

fn same_key(wanted: &Names<'_>, held: &Names<'_>) -> bool {
    match (wanted.key, held.key) {
        (Some((hsm, name)), Some((other_hsm, other))) => {
            hsm == other_hsm && same_key_name(name, other)
        }
        _ => false,
    }
}

fn refusal(wanted: &Names<'_>, claim: &Claim<'_>) -> Refusal {
    match reads_as(claim.state) {
        ReadsAs::Deleted if claim.purge_time.is_some() => {
            Refusal::ObjectIsDeletedButRecoverable(Deleted {
                kind: claim.names.kind,
                origin: claim.origin.clone(),
                purge_time: claim.purge_time,
                purgeable: claim.purgeable,
            })
        }
        ReadsAs::Deleted | ReadsAs::Destroying => Refusal::PurgeInProgress {
            proxy: claim_proxy(claim),
        },
        ReadsAs::Creating | ReadsAs::Live | ReadsAs::Gone => name_taken(wanted, claim),
    }
}

fn claim_proxy(claim: &Claim<'_>) -> String {
    proxy_name(&claim.origin.namespace, &claim.origin.name)
}

fn name_taken(wanted: &Names<'_>, claim: &Claim<'_>) -> Refusal {
    let name = match wanted.key {
        Some((_, key)) if !same_resource(wanted, &claim.names) => {
            format!("the key name {key} in this HSM")
        }
        _ => format!("the name {}", wanted.name),
    };
    let Origin {
        namespace,
        name: holder,
        uid,
        ..
    } = claim.origin;
    Refusal::NameTaken {
        name,
        holder: format!(
            "the {} {namespace}/{holder} (uid {uid})",
            claim.names.kind.object()
        ),
    }
}

/// What becomes of an HSM's name in DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// It answers for a live HSM.
    Serves,
    /// It is kept and answers 410 Gone with the way back.
    Gone,
    /// It is not there.
    Absent,
}

/// SD-18 The endpoint of an HSM: kept while it is soft-deleted and its namespace is there, and again when that is made anew.
pub const fn endpoint(hsm: ObjectState, namespace_there: bool) -> Endpoint {
    match (hsm, namespace_there) {
        (ObjectState::Active, true) => Endpoint::Serves,
        (ObjectState::SoftDeleted, true) => Endpoint::Gone,
        (ObjectState::Waiting | ObjectState::Purged, _) | (_, false) => Endpoint::Absent,
    }
}

#[cfg(test)]
mod tests;
