use serde_json::json;

use super::super::testing::{SETTINGS, UID, deleted_hsm, deleted_key, in_phase, shows_protection};
use super::*;
use crate::api::Phase;
use crate::softdelete::{Reason, Refusal};

fn spec(kind: ProxyKind, uid: &str) -> api::PurgeSpec {
    let text = json!({"kind": kind, "name": "payments.it", "uid": uid, "requestedBy": "admin"});
    serde_json::from_value(text).expect("a spec")
}

fn now() -> DateTime<Utc> {
    "2026-03-02T12:00:00Z".parse().expect("a date")
}

fn of_hsm(found: Option<Proxy>, uid: &str, settings: Settings) -> Option<Refusal> {
    let facts = Facts {
        found,
        ..Facts::default()
    };
    judge(
        &spec(ProxyKind::DeletedManagedHsm, uid),
        &facts,
        settings,
        now(),
    )
    .refusal
}

fn reason(refusal: Option<Refusal>) -> Option<Reason> {
    refusal.map(|refusal| refusal.reason())
}

#[test]
fn sd23_what_the_controller_would_end_for_good_is_refused() {
    let proxy = || Some(deleted_hsm(json!({})));
    let running = || Some(in_phase(deleted_hsm(json!({})), Phase::Recovering));
    assert_eq!(of_hsm(proxy(), UID, SETTINGS), None);
    assert_eq!(
        reason(of_hsm(None, UID, SETTINGS)),
        Some(Reason::NothingToPurge)
    );
    assert_eq!(
        reason(of_hsm(proxy(), "uid-2", SETTINGS)),
        Some(Reason::UidMismatch)
    );
    assert_eq!(
        reason(of_hsm(running(), UID, SETTINGS)),
        Some(Reason::RecoveryInProgress)
    );
    let undeletable = Settings {
        undeletable: true,
        ..SETTINGS
    };
    let refused = reason(of_hsm(proxy(), UID, undeletable));
    assert_eq!(refused, Some(Reason::UndeletableSubscription));
    // Another one is under way, and this one counts with it.
    let under_way = in_phase(deleted_hsm(json!({})), Phase::Destroying);
    assert_eq!(of_hsm(Some(under_way), UID, SETTINGS), None);
}

fn by(refusal: Option<Refusal>) -> Option<Protector> {
    match refusal {
        Some(Refusal::PurgeProtected { by, until }) => {
            assert_eq!(until, Some("2026-05-30T12:00:00Z".parse().expect("a date")));
            Some(by)
        }
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sd14_an_hsm_is_protected_by_itself_or_by_a_key_and_what_is_not_shown_yet_is_not_known() {
    let own = deleted_hsm(json!({"purgeProtection": true}));
    assert_eq!(
        by(of_hsm(Some(own), UID, SETTINGS)),
        Some(Protector::Itself)
    );
    let unknown = shows_protection(deleted_hsm(json!({})), None);
    assert_eq!(of_hsm(Some(unknown), UID, SETTINGS), None);
    let with_keys = |keys: Vec<(String, bool)>| Facts {
        found: Some(shows_protection(deleted_hsm(json!({})), Some(true))),
        hsm: None,
        keys,
    };
    let asked = spec(ProxyKind::DeletedManagedHsm, UID);
    let facts = with_keys(vec![("a".into(), false), ("b".into(), true)]);
    let advice = judge(&asked, &facts, SETTINGS, now());
    assert_eq!(by(advice.refusal), Some(Protector::Key("b".into())));
    // The key went meanwhile: the controller knows.
    assert_eq!(
        judge(&asked, &with_keys(vec![]), SETTINGS, now()),
        Advice::default()
    );
}

#[test]
fn sd14_a_key_is_protected_by_itself_or_by_its_hsm() {
    let asked = spec(ProxyKind::DeletedHsmKey, UID);
    let key = |own: bool, shown: Option<bool>| {
        let found = shows_protection(deleted_key(json!({"purgeProtection": own})), shown);
        let facts = Facts {
            found: Some(found),
            ..Facts::default()
        };
        by(judge(&asked, &facts, SETTINGS, now()).refusal)
    };
    assert_eq!(key(true, Some(true)), Some(Protector::Itself));
    assert_eq!(key(false, Some(true)), Some(Protector::Hsm("safe".into())));
    assert_eq!(key(false, Some(false)), None);
    assert_eq!(key(false, None), None);
}

#[test]
fn sd11_a_purge_in_a_deleted_hsm_is_told_that_it_will_wait() {
    let facts = Facts {
        found: Some(deleted_key(json!({}))),
        hsm: Some(Around::Deleted(Box::new(deleted_hsm(json!({}))))),
        keys: Vec::new(),
    };
    let advice = judge(
        &spec(ProxyKind::DeletedHsmKey, UID),
        &facts,
        SETTINGS,
        now(),
    );
    assert!(
        advice.refusal.is_none() && advice.warnings.len() == 1,
        "{advice:?}"
    );
}
