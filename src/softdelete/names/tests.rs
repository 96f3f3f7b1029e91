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
