use serde_json::json;

use super::super::testing::{HOME, SETTINGS, UID, deleted_hsm, deleted_key, in_phase, uid};
use super::*;
use crate::api::{CreateMode as Mode, Phase};

fn wanted(kind: Kind, mode: Mode) -> Wanted {
    let mut spec = api::HsmKeySpec::new("safe", api::KeyType::Ec, None, Some(api::Curve::P256));
    spec.create_mode = mode;
    Wanted {
        kind,
        namespace: "payments".into(),
        name: "it".into(),
        uid: uid("uid-2"),
        mode,
        key: (kind == Kind::Key).then_some(spec),
    }
}

fn facts(proxies: Vec<Proxy>) -> Facts {
    Facts {
        proxies,
        namespace: Some(uid(HOME)),
        hsm: None,
    }
}

fn refused(advice: &Advice) -> Option<Reason> {
    advice.refusal.as_ref().map(Refusal::reason)
}

const SILENCE: Advice = Advice {
    refusal: None,
    warnings: Vec::new(),
};

#[test]
fn sd17_a_reserved_name_is_refused_and_a_free_one_is_not() {
    let hsm = wanted(Kind::Hsm, Mode::Default);
    assert_eq!(judge(&hsm, &facts(vec![]), SETTINGS), SILENCE);
    let reserved = judge(&hsm, &facts(vec![deleted_hsm(json!({}))]), SETTINGS);
    assert_eq!(
        refused(&reserved),
        Some(Reason::ObjectIsDeletedButRecoverable)
    );
    // An object that comes back with its own uid, as a backup makes it, is nobody else's.
    let mut same = wanted(Kind::Hsm, Mode::Default);
    same.uid = uid(UID);
    assert_eq!(
        judge(&same, &facts(vec![deleted_hsm(json!({}))]), SETTINGS),
        SILENCE
    );
}

#[test]
fn sd17_a_key_name_is_reserved_in_its_hsm_whatever_its_case() {
    let mut key = wanted(Kind::Key, Mode::Default);
    key.name = "other".into();
    key.key.as_mut().expect("a key").key_name = Some("IT".into());
    let proxies = || facts(vec![deleted_key(json!({}))]);
    let reserved = judge(&key, &proxies(), SETTINGS);
    assert_eq!(
        refused(&reserved),
        Some(Reason::ObjectIsDeletedButRecoverable)
    );
    // Another resource's name is no other mode's affair.
    key.mode = Mode::CreateOrRecover;
    let reserved = judge(&key, &proxies(), SETTINGS);
    assert_eq!(
        refused(&reserved),
        Some(Reason::ObjectIsDeletedButRecoverable)
    );
    key.key.as_mut().expect("a key").hsm = "another".into();
    assert_eq!(judge(&key, &proxies(), SETTINGS), SILENCE);
}

#[test]
fn sd22_what_recovers_passes_and_is_told_where_the_namespace_is_another() {
    for kind in [Kind::Hsm, Kind::Key] {
        let object = wanted(kind, Mode::CreateOrRecover);
        let proxy = match kind {
            Kind::Hsm => deleted_hsm(json!({})),
            Kind::Key => deleted_key(json!({})),
        };
        let mut facts = facts(vec![proxy]);
        assert_eq!(judge(&object, &facts, SETTINGS), SILENCE);
        facts.namespace = Some(uid("namespace-2"));
        let advice = judge(&object, &facts, SETTINGS);
        assert_eq!(advice.refusal, None);
        assert!(
            advice.warnings[0].contains("\"acceptNamespaceUid\":\"namespace-2\""),
            "{advice:?}"
        );
    }
}

/// Or the operator's own create in a recovery would be refused.
#[test]
fn what_comes_back_or_goes_by_itself_is_passed_over_in_silence() {
    let hsm = wanted(Kind::Hsm, Mode::Default);
    for phase in [Phase::Recovering, Phase::Destroying] {
        let proxy = in_phase(deleted_hsm(json!({})), phase);
        assert_eq!(judge(&hsm, &facts(vec![proxy]), SETTINGS), SILENCE);
    }
    // A direct purge, which lasts a moment (SD-02).
    let mut direct = deleted_hsm(json!({}));
    if let ProxySpec::Hsm(spec) = &mut direct.spec {
        (spec.scheduled_purge_time, spec.retention_days) = (None, None);
    }
    assert_eq!(judge(&hsm, &facts(vec![direct]), SETTINGS), SILENCE);
}

fn in_hsm(
    key: impl Fn(&mut api::HsmKeySpec),
    hsm: api::ManagedHsmSpec,
    settings: Settings,
) -> Advice {
    let mut wanted = wanted(Kind::Key, Mode::Default);
    key(wanted.key.as_mut().expect("a key"));
    let mut facts = facts(vec![]);
    facts.hsm = Some(Around::Live(Box::new(api::ManagedHsm::new("safe", hsm))));
    judge(&wanted, &facts, settings)
}

#[test]
fn sd08_a_key_that_says_more_days_than_its_hsm_is_refused() {
    let hsm = || api::ManagedHsmSpec {
        retention_days: 30,
        ..api::ManagedHsmSpec::default()
    };
    let advice = in_hsm(|key| key.retention_days = Some(31), hsm(), SETTINGS);
    assert_eq!(refused(&advice), Some(Reason::RetentionExceedsHsm));
    for days in [None, Some(30)] {
        assert_eq!(
            in_hsm(|key| key.retention_days = days, hsm(), SETTINGS),
            SILENCE
        );
    }
}

#[test]
fn sd13_protection_in_an_hsm_without_soft_delete_is_told_since_that_may_be_turned_on() {
    let hsm = || api::ManagedHsmSpec {
        soft_delete: false,
        ..api::ManagedHsmSpec::default()
    };
    let advice = in_hsm(|key| key.purge_protection = true, hsm(), SETTINGS);
    assert_eq!((refused(&advice), advice.warnings.len()), (None, 1));
    let undeletable = Settings {
        undeletable: true,
        ..SETTINGS
    };
    assert_eq!(
        in_hsm(|key| key.purge_protection = true, hsm(), undeletable),
        SILENCE
    );
}

#[test]
fn a_key_of_a_deleted_hsm_is_told_unless_that_is_on_its_way_back() {
    let key = wanted(Kind::Key, Mode::Default);
    let mut facts = facts(vec![]);
    facts.hsm = Some(Around::Deleted(Box::new(deleted_hsm(json!({})))));
    let advice = judge(&key, &facts, SETTINGS);
    assert!(
        advice.refusal.is_none() && advice.warnings[0].starts_with("Its HSM is DeletedManagedHsm")
    );
    let back = in_phase(deleted_hsm(json!({})), Phase::Recovering);
    facts.hsm = Some(Around::Deleted(Box::new(back)));
    assert_eq!(judge(&key, &facts, SETTINGS), SILENCE);
    facts.hsm = Some(Around::Absent);
    assert_eq!(judge(&key, &facts, SETTINGS), SILENCE);
}

#[test]
fn a_key_name_is_looked_for_where_keys_are_named_as_their_resource() {
    let mut key = wanted(Kind::Key, Mode::Default);
    assert_eq!(key.namesake(), None);
    for (said, looked) in [("it", None), ("IT", None), ("Signing", Some("signing"))] {
        key.key.as_mut().expect("a key").key_name = Some(said.into());
        assert_eq!(key.namesake().as_deref(), looked, "{said}");
    }
    assert_eq!(wanted(Kind::Hsm, Mode::Default).namesake(), None);
}
