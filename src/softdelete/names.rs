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

/// SD-05 Back: namespace and name of the origin.
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

/// SD-17 Whether two key names are one: case is ignored, and the pattern allows ASCII only.
pub fn same_key_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
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
mod tests {
    use super::*;
    use crate::softdelete::{Reason, RecordState};

    fn origin(name: &str, uid: &str) -> Origin {
        Origin {
            namespace: "payments".into(),
            namespace_uid: "n-1".into(),
            name: name.into(),
            uid: uid.into(),
        }
    }

    fn names<'a>(name: &'a str, key: Option<(&'a RecordId, &'a str)>) -> Names<'a> {
        Names {
            kind: if key.is_some() { Kind::Key } else { Kind::Hsm },
            namespace: "payments",
            name,
            key,
        }
    }

    fn claim<'a>(
        origin: &'a Origin,
        key: Option<(&'a RecordId, &'a str)>,
        state: RecordState,
    ) -> Claim<'a> {
        let purge_time = DateTime::from_timestamp(1_800_000_000, 0);
        Claim {
            origin,
            names: names(&origin.name, key),
            state,
            purge_time,
            purgeable: true,
        }
    }

    fn reason(wanted: &Names<'_>, claims: &[Claim<'_>]) -> Option<Reason> {
        reserved(wanted, &"u-2".into(), claims.iter().copied()).map(|refusal| refusal.reason())
    }

    #[test]
    fn sd05_a_proxys_name_tells_its_origin() {
        let name = proxy_name("payments", "prod");
        assert_eq!(origin_of_proxy(&name), Some(("payments", "prod")));
        for bad in ["payments", ".prod", "payments.", "a.b.c", ""] {
            assert_eq!(origin_of_proxy(bad), None, "{bad}");
        }
    }

    #[test]
    fn sd06_a_snapshot_is_kept_up_to_one_mebibyte_and_never_made_up_from_the_record() {
        assert!(keeps_snapshot(false, 1_048_576));
        assert!(!keeps_snapshot(false, 1_048_577));
        assert!(!keeps_snapshot(true, 10));
    }

    #[test]
    fn sd07_a_proxy_with_its_origins_labels_an_owner_or_a_finalizer_is_not_nobodys() {
        let nobodys = |proxy: ProxyCarries<'_>| is_nobodys(&proxy, &["app"], &["helm"]);
        assert!(nobodys(ProxyCarries {
            labels: &["ours"],
            ..ProxyCarries::default()
        }));
        assert!(!nobodys(ProxyCarries {
            labels: &["ours", "app"],
            ..ProxyCarries::default()
        }));
        assert!(!nobodys(ProxyCarries {
            annotations: &["helm"],
            ..ProxyCarries::default()
        }));
        assert!(!nobodys(ProxyCarries {
            owner_references: 1,
            ..ProxyCarries::default()
        }));
        assert!(!nobodys(ProxyCarries {
            finalizers: 1,
            ..ProxyCarries::default()
        }));
    }

    #[test]
    fn sd17_a_deleted_objects_resource_name_is_reserved_until_its_end() {
        let old = origin("prod", "u-1");
        for state in RecordState::ALL {
            let expected = match state {
                RecordState::Tombstone | RecordState::Abandoned => None,
                RecordState::Sealing | RecordState::Deleted => {
                    Some(Reason::ObjectIsDeletedButRecoverable)
                }
                RecordState::Destroying => Some(Reason::PurgeInProgress),
                RecordState::Creating | RecordState::Live | RecordState::Opening => {
                    Some(Reason::NameTaken)
                }
            };
            assert_eq!(
                reason(&names("prod", None), &[claim(&old, None, state)]),
                expected,
                "{state:?}"
            );
        }
    }

    #[test]
    fn sd17_a_key_name_is_reserved_in_its_hsm_whatever_its_case_and_its_resources_name() {
        let (hsm, other) = (RecordId::from("h-1"), RecordId::from("h-2"));
        let old = origin("old-resource", "u-1");
        let held = [claim(&old, Some((&hsm, "Signing")), RecordState::Deleted)];
        let wants = |hsm, key| reason(&names("new-resource", Some((hsm, key))), &held);
        assert_eq!(
            wants(&hsm, "sIGNING"),
            Some(Reason::ObjectIsDeletedButRecoverable)
        );
        assert_eq!(wants(&other, "Signing"), None);
        assert_eq!(wants(&hsm, "Signing2"), None);
    }

    #[test]
    fn sd17_of_two_live_resources_the_one_that_the_record_names_holds_the_key() {
        let hsm = RecordId::from("h-1");
        let (first, second) = (
            origin("first", "u-1"),
            names("second", Some((&hsm, "signing"))),
        );
        let held = [claim(&first, Some((&hsm, "signing")), RecordState::Live)];
        assert_eq!(reason(&second, &held), Some(Reason::NameTaken));
        let own = names("first", Some((&hsm, "signing")));
        assert_eq!(reserved(&own, &"u-1".into(), held), None);
    }

    #[test]
    fn sd17_the_refusal_names_the_key_and_its_holder() {
        let hsm = RecordId::from("h-1");
        let first = origin("first", "u-1");
        let held = claim(&first, Some((&hsm, "signing")), RecordState::Live);
        let told = reserved(
            &names("second", Some((&hsm, "signing"))),
            &"u-2".into(),
            [held],
        )
        .unwrap()
        .to_string();
        assert!(
            told.contains("key name signing") && told.contains("HsmKey payments/first (uid u-1)"),
            "{told}"
        );
    }

    #[test]
    fn sd02_the_namesake_of_a_direct_purge_waits_for_its_end() {
        let old = origin("prod", "u-1");
        let direct = Claim {
            purge_time: None,
            ..claim(&old, None, RecordState::Deleted)
        };
        assert_eq!(
            reason(&names("prod", None), &[direct]),
            Some(Reason::PurgeInProgress)
        );
    }

    #[test]
    fn sd17_an_hsm_and_a_key_may_have_one_name() {
        let hsm = RecordId::from("h-1");
        let old = origin("prod", "u-1");
        let held = [claim(&old, None, RecordState::Deleted)];
        assert_eq!(reason(&names("prod", Some((&hsm, "prod"))), &held), None);
    }

    #[test]
    fn sd17_a_key_that_says_no_name_has_its_resources() {
        assert_eq!((key_name(None, "a"), key_name(Some("B"), "a")), ("a", "B"));
    }

    #[test]
    fn sd18_a_deleted_hsms_endpoint_answers_gone_while_its_namespace_is_there() {
        assert_eq!(endpoint(ObjectState::SoftDeleted, true), Endpoint::Gone);
        assert_eq!(endpoint(ObjectState::SoftDeleted, false), Endpoint::Absent);
        assert_eq!(endpoint(ObjectState::Active, true), Endpoint::Serves);
        assert_eq!(endpoint(ObjectState::Purged, true), Endpoint::Absent);
        assert_eq!(endpoint(ObjectState::Waiting, true), Endpoint::Absent);
    }
}
