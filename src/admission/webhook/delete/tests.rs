use chrono::TimeDelta;

use super::*;
use crate::softdelete::retention::DAY;

const SETTINGS: Settings = Settings {
    undeletable: false,
    day: DAY,
};

fn began() -> DateTime<Utc> {
    "2026-03-01T12:00:00.4Z".parse().expect("a date")
}

fn going(kind: Kind, fate: Fate) -> Going {
    Going {
        kind,
        origin: Origin {
            namespace: "payments".into(),
            name: "prod".into(),
            uid: "0b54ec5f-7a8a-4b3a-a47a-6a26d6b1b3f2".into(),
            ..Origin::default()
        },
        fate,
        keys: 0,
        one_of_many: false,
    }
}

fn at(text: &str) -> Option<DateTime<Utc>> {
    Some(text.parse().expect("a date"))
}

#[test]
fn what_is_kept_says_where_until_when_and_how_it_comes_back() {
    let mut hsm = going(Kind::Hsm, Fate::Kept(at("2026-05-30T12:00:01Z")));
    hsm.keys = 3;
    assert_eq!(
        farewell(&hsm),
        [
            "Soft-deleted, not destroyed: kept as deletedmanagedhsms/payments.prod until about 2026-05-30T12:00:01Z, and its 3 keys with it.",
            r#"Bring it back with: kubectl apply -f - <<<'{"apiVersion":"managedhsm.dev/v1alpha1","kind":"Recover","metadata":{"name":"recover-0b54ec5f-7a8a-4b3a-a47a-6a26d6b1b3f2","namespace":"payments"},"spec":{"kind":"ManagedHsm","name":"prod","uid":"0b54ec5f-7a8a-4b3a-a47a-6a26d6b1b3f2"}}'"#,
        ]
    );
    hsm.keys = 1;
    assert!(farewell(&hsm)[0].ends_with("Z, and its key with it."));
    let key = farewell(&going(Kind::Key, Fate::KeptWithItsHsm(None)));
    assert_eq!(
        key[0],
        "Soft-deleted, not destroyed: kept as deletedhsmkeys/payments.prod until the end of its retention."
    );
    assert!(key[1].starts_with("Bring it back, once its HSM is back, with: kubectl apply"));
}

#[test]
fn of_one_of_many_only_the_short_word_is_said() {
    let mut key = going(Kind::Key, Fate::Kept(at("2026-05-30T12:00:01Z")));
    key.one_of_many = true;
    assert_eq!(farewell(&key).len(), 1);
}

#[test]
fn what_is_destroyed_and_what_never_was_say_so() {
    let mut hsm = going(Kind::Hsm, Fate::Destroyed);
    hsm.keys = 2;
    assert_eq!(
        farewell(&hsm),
        [
            "Soft-delete is off for ManagedHsm payments/prod: it is destroyed now, and its 2 keys with it, and nothing can bring it back."
        ]
    );
    assert_eq!(
        farewell(&going(Kind::Key, Fate::Nothing)),
        ["HsmKey payments/prod had no material yet: nothing of it is kept."]
    );
}

#[test]
fn each_word_is_short_enough_for_the_api_server_to_pass_on_whole() {
    for kind in [Kind::Hsm, Kind::Key] {
        for fate in [
            Fate::Nothing,
            Fate::Destroyed,
            Fate::Kept(Some(began())),
            Fate::KeptWithItsHsm(Some(began())),
        ] {
            let mut long = going(kind, fate);
            long.origin.namespace = "n".repeat(63);
            long.origin.name = "k".repeat(if kind == Kind::Hsm { 24 } else { 90 });
            long.keys = if kind == Kind::Hsm { 10_000 } else { 0 };
            let all = farewell(&long);
            assert!(all[0].len() <= 256 && all[0].is_ascii(), "{}", all[0]);
            // Beyond that in sum it would cut each to 256.
            assert!(all.iter().map(String::len).sum::<usize>() < 4096);
        }
    }
}

fn hsm(level: Option<RecoveryLevel>, hsm_id: bool) -> Fate {
    let spec = api::ManagedHsmSpec {
        retention_days: 30,
        soft_delete: level.is_some(),
        ..api::ManagedHsmSpec::default()
    };
    let status = api::ManagedHsmStatus {
        hsm_id: hsm_id.then(|| "h".to_owned()),
        recovery_level: level,
        ..api::ManagedHsmStatus::default()
    };
    hsm_fate(&spec, &status, SETTINGS, began())
}

#[test]
fn an_hsms_fate_is_that_of_its_status() {
    assert_eq!(hsm(None, false), Fate::Nothing);
    assert_eq!(hsm(None, true), Fate::Destroyed);
    assert_eq!(hsm(Some(RecoveryLevel::Purgeable), true), Fate::Destroyed);
    let kept = hsm(Some(RecoveryLevel::CustomizedRecoverable), true);
    assert_eq!(kept, Fate::Kept(at("2026-03-31T12:00:01Z")));
}

#[test]
fn without_soft_delete_it_is_kept_all_the_same_in_an_undeletable_cluster() {
    let spec = api::ManagedHsmSpec {
        soft_delete: false,
        ..api::ManagedHsmSpec::default()
    };
    let status = api::ManagedHsmStatus {
        hsm_id: Some("h".into()),
        ..api::ManagedHsmStatus::default()
    };
    let undeletable = Settings {
        undeletable: true,
        ..SETTINGS
    };
    assert_eq!(hsm_fate(&spec, &status, SETTINGS, began()), Fate::Destroyed);
    assert!(matches!(
        hsm_fate(&spec, &status, undeletable, began()),
        Fate::Kept(Some(_))
    ));
}

fn key(said: Option<i32>, hsm: &Around, settings: Settings) -> Fate {
    let mut spec = api::HsmKeySpec::new("prod", api::KeyType::Ec, None, Some(api::Curve::P256));
    spec.retention_days = said;
    let status = api::HsmKeyStatus {
        hsm_id: Some("k".into()),
        ..api::HsmKeyStatus::default()
    };
    key_fate(&spec, &status, hsm, settings, began())
}

#[test]
fn a_keys_date_is_its_own_or_its_hsms_and_days_may_be_short() {
    let live = |days| {
        let spec = api::ManagedHsmSpec {
            retention_days: days,
            ..api::ManagedHsmSpec::default()
        };
        Around::Live(Box::new(api::ManagedHsm::new("prod", spec)))
    };
    assert_eq!(
        key(Some(7), &live(30), SETTINGS),
        Fate::Kept(at("2026-03-08T12:00:01Z"))
    );
    assert_eq!(
        key(None, &live(30), SETTINGS),
        Fate::Kept(at("2026-03-31T12:00:01Z"))
    );
    assert_eq!(
        key(Some(90), &live(30), SETTINGS),
        Fate::Kept(at("2026-03-31T12:00:01Z"))
    );
    assert_eq!(key(None, &Around::Absent, SETTINGS), Fate::Kept(None));
    let short = Settings {
        day: TimeDelta::seconds(1),
        ..SETTINGS
    };
    assert_eq!(
        key(Some(7), &live(30), short),
        Fate::Kept(at("2026-03-01T12:00:08Z"))
    );
}
