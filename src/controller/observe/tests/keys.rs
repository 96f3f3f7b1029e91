//! An HSM with its keys.

use serde_json::{Value, json};

use super::super::*;
use super::house::*;
use crate::softdelete::record::Destroyed;
use crate::softdelete::{Record, RecordState};

/// A key of which only ledger and API server know.
fn unknown_key(house: &House) {
    let mut record = key_record(RecordState::Deleted);
    record.id = "k-9".into();
    record.origin.name = "other".into();
    record.origin.uid = "u-9".into();
    house.write(1, &record);
    house.has("deletedhsmkeys/payments.other", proxy("other", "u-9"));
}

#[tokio::test]
async fn g6_an_hsms_keys_are_listed_at_the_source_while_it_changes_its_state() {
    for (state, changes) in [
        (RecordState::Sealing, true),
        (RecordState::Opening, true),
        (RecordState::Live, false),
    ] {
        let house = House::new(state, RecordState::Live).await.cached();
        unknown_key(&house);
        let seen = house.look(Kind::Hsm).await.expect("a look");
        let names: Vec<_> = seen
            .keys
            .iter()
            .map(|key| key.record.origin.name.as_str())
            .collect();
        assert_eq!(names.contains(&"other"), changes, "{state:?}: {names:?}");
        let asked = house.asked();
        let place = |what: &str| asked.iter().position(|asked| asked == what);
        let sources = [
            place("Token"),
            place("Records"),
            place("list deletedhsmkeys"),
            place("list hsmkeys"),
        ];
        assert_eq!(sources.iter().all(Option::is_some), changes, "{asked:?}");
        assert!(
            !changes || sources.is_sorted(),
            "the ledger before the cluster: {asked:?}"
        );
        let its = seen
            .keys
            .iter()
            .find(|key| key.record.origin.name == "other");
        assert_eq!(its.is_some_and(|key| key.proxy.is_some()), changes);
    }
}

#[tokio::test]
async fn g6_an_hsms_keys_are_listed_at_the_source_before_its_protection_is_shown() {
    for (shown, listed) in [(None, true), (Some(2), false)] {
        let house = House::new(RecordState::Live, RecordState::Live).await;
        let mut protected = hsm_record(RecordState::Live, &house.token);
        protected.purge_protection = true;
        house.write(2, &protected);
        let mut object = hsm_object();
        object["status"] = json!({"recordGeneration": shown});
        house.has("managedhsms/safe", object);
        house.know(&hsm_id()).await;
        house.look(Kind::Hsm).await.expect("a look");
        assert_eq!(house.asked_for("Records"), listed, "{shown:?}");
    }
}

#[tokio::test]
async fn sd21_an_hsms_keys_are_listed_at_the_source_while_somebody_brings_it_back() {
    let proxy = |status: Value| {
        let origin =
            json!({"namespace": "payments", "namespaceUid": "n-1", "name": "safe", "uid": "u-hsm"});
        let spec = json!({"origin": origin, "backend": "default", "hsmId": hsm_id().0, "deletionTime": "2027-01-15T08:00:00Z",
            "purgeProtection": false, "recoveryLevel": "Recoverable"});
        let mut found = object("deletedmanagedhsms", "payments.safe", "u-proxy", spec).1;
        found["status"] = status;
        found
    };
    let recover = |include: &str| {
        let spec =
            json!({"kind": "ManagedHsm", "name": "safe", "uid": "u-hsm", "includeKeys": include});
        object("recovers", "back", "u-recover", spec).1
    };
    for (status, include, listed) in [
        (json!({}), "None", false),
        (json!({"phase": "Recovering"}), "None", true),
        (json!({}), "All", true),
    ] {
        let mut house = House::new(RecordState::Deleted, RecordState::Live).await;
        house.lacks("managedhsms/safe");
        house.has("deletedmanagedhsms/payments.safe", proxy(status.clone()));
        house.caches(vec![
            (Watched::Recover, recover(include)),
            (Watched::Proxy(Kind::Hsm), proxy(status.clone())),
        ]);
        house.look(Kind::Hsm).await.expect("a look");
        assert_eq!(house.asked_for("Records"), listed, "{status} {include}");
    }
}

fn purge_of_the_hsm() -> Value {
    let spec = json!({"kind": "DeletedManagedHsm", "name": "payments.safe", "uid": "u-hsm", "requestedBy": "ann"});
    let mut purge = object("purges", "ann", "u-purge", spec).1;
    purge["status"] = json!(api::PurgeStatus::default());
    purge
}

#[tokio::test]
async fn sd26_what_a_purge_of_an_hsm_takes_with_it_is_listed_at_the_source() {
    let mut house = House::new(RecordState::Deleted, RecordState::Live).await;
    house.caches(vec![(Watched::Purge, purge_of_the_hsm())]);
    house.lacks("managedhsms/safe");
    house.has("purges/ann", purge_of_the_hsm());
    unknown_key(&house);
    let mut old = key_object("u-1");
    old["status"] = json!({"recordGeneration": 4});
    house.has("hsmkeys/prod", old);
    let seen = house.look(Kind::Hsm).await.expect("a look");
    assert_eq!(seen.keys.len(), 2, "one of them memory did not know");
    let shown = seen
        .keys
        .iter()
        .find_map(|key| key.object.as_ref()?.record_generation);
    assert_eq!(
        shown,
        Some(4),
        "what their statuses show tells an old store"
    );
    assert_eq!(seen.purging.unreadable_key, None);
}

#[tokio::test]
async fn i6_a_key_whose_records_nobody_can_read_is_known_to_the_purge_of_its_hsm() {
    let mut house = House::new(RecordState::Deleted, RecordState::Live).await;
    house.caches(vec![(Watched::Purge, purge_of_the_hsm())]);
    house.lacks("managedhsms/safe");
    unknown_key(&house);
    let mut other = key_record(RecordState::Live);
    other.id = "k-9".into();
    house.doubt(&other);
    let seen = house.look(Kind::Hsm).await.expect("a look");
    assert_eq!(seen.purging.unreadable_key, Some("k-9".into()));
}

#[tokio::test]
async fn an_hsm_is_not_forgotten_while_the_ledger_has_a_key_of_it() {
    for left in [false, true] {
        let house = House::new(RecordState::Live, RecordState::Live).await;
        let long_ago = house.context.time.now() - chrono::Duration::days(2 * 365);
        let tombstone = Record {
            destroyed: Some(Destroyed {
                at: long_ago,
                count: 0,
                digest: String::new(),
            }),
            ..hsm_record(RecordState::Tombstone, &house.token)
        };
        house.lacks("managedhsms/safe");
        house.backend.lose_record(&key_id().0);
        house.context.index.forget(&key_id());
        house.write(2, &tombstone);
        house.know(&hsm_id()).await;
        if left {
            unknown_key(&house);
        }
        let seen = house.look(Kind::Hsm).await.expect("a look");
        assert_eq!(seen.ended.is_empty(), left, "{:?}", seen.ended);
    }
}
