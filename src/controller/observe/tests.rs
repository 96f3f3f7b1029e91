//! One look with all that it asks of ledger, tokens and API server, in the order in which it asks (G1).

mod house;
mod keys;

use serde_json::{Value, json};

use super::*;
use crate::backend::{Algorithm, HsmBackend};
use crate::softdelete::record::Pending;
use crate::softdelete::{MaterialId, Record, RecordId, RecordState};
use house::*;

#[tokio::test]
async fn g1_a_look_takes_the_handles_then_the_records_then_the_objects_each_from_its_source() {
    let house = House::new(RecordState::Live, RecordState::Live)
        .await
        .cached();
    house.look(Kind::Key).await.expect("a look");
    let all = [
        // What the handles are looked for by.
        "Read hsm",
        "Objects Labels",
        // What they count under: the key's record as it reads beside its HSM's, and that.
        "Read key",
        "Read hsm",
        "Read hsm",
        "get hsmkeys/prod",
        "get deletedhsmkeys/payments.prod",
        "get namespaces/payments",
        "get managedhsms/safe",
        "get deletedmanagedhsms/payments.safe",
    ];
    assert_eq!(house.asked(), all, "of a key");

    let house = House::new(RecordState::Live, RecordState::Live)
        .await
        .cached();
    house.look(Kind::Hsm).await.expect("a look");
    let all = [
        "Token",
        "Read hsm",
        "get managedhsms/safe",
        "get deletedmanagedhsms/payments.safe",
        "get namespaces/payments",
    ];
    assert_eq!(house.asked(), all, "of an HSM");
}

#[tokio::test]
async fn g1_what_the_caches_have_is_not_what_a_live_look_sees() {
    let mut house = House::new(RecordState::Live, RecordState::Live).await;
    let stale = |mut found: Value| {
        found["metadata"]["resourceVersion"] = json!("3");
        found
    };
    house.caches(vec![
        (Watched::Object(Kind::Key), stale(key_object("u-1"))),
        (Watched::Object(Kind::Hsm), stale(hsm_object())),
    ]);
    let mut gone = hsm_object();
    gone["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
    house.has("managedhsms/safe", gone);
    let seen = house.look(Kind::Key).await.expect("a look");
    assert_eq!(seen.object.expect("it").meta.resource_version, "7");
    let hsm = seen.hsm.and_then(|hsm| hsm.object).expect("its HSM");
    assert!(hsm.terminating, "the HSM's object is asked for too");
}

#[tokio::test]
async fn g1_handles_count_only_under_the_records_that_were_read_before_and_after() {
    for of in [Kind::Key, Kind::Hsm] {
        let house = House::new(RecordState::Live, RecordState::Live)
            .await
            .cached();
        let (backend, token) = (house.backend.clone(), house.token.clone());
        on(&house.on_handles, move || {
            let next = match of {
                Kind::Key => key_record(RecordState::Sealing),
                Kind::Hsm => hsm_record(RecordState::Sealing, &token),
            };
            written(&backend, 2, &next);
        });
        let seen = house.look(Kind::Key).await.expect("a look");
        let read = match of {
            Kind::Key => generations(&seen).first().copied(),
            Kind::Hsm => seen
                .hsm
                .and_then(|hsm| hsm.record)
                .map(|(generation, _)| generation),
        };
        assert_eq!(read, Some(2), "{of:?}");
        let looks = house
            .asked()
            .iter()
            .filter(|asked| *asked == "Objects Labels")
            .count();
        assert_eq!(looks, 2, "{of:?}: the handles were taken anew");
    }
}

#[tokio::test]
async fn g1_what_the_ledger_lost_is_not_there_though_memory_has_it() {
    let house = House::new(RecordState::Live, RecordState::Live)
        .await
        .cached();
    house.backend.lose_record(&key_id().0);
    let seen = house.look(Kind::Key).await.expect("a look");
    assert!(seen.records.is_empty());
}

#[tokio::test]
async fn g1_a_record_written_between_its_reading_and_the_get_is_looked_for_anew() {
    let house = House::new(RecordState::Live, RecordState::Live)
        .await
        .cached();
    let mut shown = key_object("u-1");
    shown["status"] = json!({"recordGeneration": 2});
    house.has("hsmkeys/prod", shown);
    let backend = house.backend.clone();
    let write = move || written(&backend, 2, &key_record(RecordState::Live));
    on(&house.on_get, write);
    let seen = house.look(Kind::Key).await.expect("a look");
    assert_eq!(generations(&seen), [2]);

    // A store that is old stays so, however often it is looked at.
    let house = House::new(RecordState::Live, RecordState::Live)
        .await
        .cached();
    let mut shown = key_object("u-1");
    shown["status"] = json!({"recordGeneration": 2});
    house.has("hsmkeys/prod", shown);
    let seen = house.look(Kind::Key).await.expect("a look");
    assert!(seen.store_seems_old());
}

/// Another operator's record, which memory does not know.
fn of_another(uid: &str, id: RecordId) -> Record {
    let mut record = key_record(RecordState::Live);
    record.origin.uid = uid.into();
    record.id = id;
    record
}

#[tokio::test]
async fn g1_the_record_of_an_object_that_the_cache_does_not_have_yet_is_read_before_anything_is_decided()
 {
    let house = House::new(RecordState::Live, RecordState::Tombstone)
        .await
        .cached();
    let mut object = key_object("u-2");
    // Nothing but its uid says that it may have a record.
    object["metadata"]["finalizers"] = json!([]);
    house.has("hsmkeys/prod", object);
    house.write(1, &of_another("u-2", ids::record_id(&"u-2".into())));
    let seen = house.look(Kind::Key).await.expect("a look");
    assert!(seen.record_of(&"u-2".into()).is_some());
}

#[tokio::test]
async fn g1_no_name_is_free_and_no_material_missing_before_the_ledger_itself_was_asked() {
    let claims: [fn(&House); 3] = [
        |house| house.has("hsmkeys/prod", key_object("u-2")),
        |house| {
            let mut named = key_object("u-2");
            named["metadata"]["finalizers"] = json!([]);
            named["status"] = json!({"hsmId": hsm_id().0});
            house.has("hsmkeys/prod", named);
        },
        |house| {
            house.lacks("hsmkeys/prod");
            house.has("deletedhsmkeys/payments.prod", proxy("prod", "u-2"));
        },
    ];
    for claim in claims {
        let mut house = House::new(RecordState::Live, RecordState::Tombstone).await;
        claim(&house);
        let all = house.objects.lock().expect("objects").clone();
        let its = [
            ("hsmkeys/prod", Watched::Object(Kind::Key)),
            ("deletedhsmkeys/payments.prod", Watched::Proxy(Kind::Key)),
        ];
        let cached = its
            .iter()
            .filter_map(|(at, of)| Some((*of, all.get(*at)?.clone())));
        house.caches(
            cached
                .chain([(Watched::Object(Kind::Hsm), hsm_object())])
                .collect(),
        );
        // It was recovered: its record has another id than its uid would give it.
        house.write(1, &of_another("u-2", "k-9".into()));
        let seen = house.look(Kind::Key).await.expect("a look");
        assert!(house.asked_for("Records"));
        assert!(seen.record_of(&"u-2".into()).is_some());
    }
}

#[tokio::test]
async fn g1_the_record_that_an_object_would_have_is_read_though_nothing_says_that_there_is_one() {
    let mut house = House::new(RecordState::Live, RecordState::Tombstone).await;
    let mut bare = key_object("u-2");
    bare["metadata"]["finalizers"] = json!([]);
    house.has("hsmkeys/prod", bare.clone());
    house.caches(vec![
        (Watched::Object(Kind::Key), bare),
        (Watched::Object(Kind::Hsm), hsm_object()),
    ]);
    house.write(1, &of_another("u-2", ids::record_id(&"u-2".into())));
    let seen = house.look(Kind::Key).await.expect("a look");
    assert!(seen.record_of(&"u-2".into()).is_some());
}

fn named(uid: &str) -> Value {
    let mut named = key_object(uid);
    let material = ids::material_id(&"u-1".into(), 1).0;
    let version = json!({"id": 1, "createdAt": "2027-01-15T08:00:00Z", "materialId": material});
    named["status"] = json!({"hsmId": hsm_id().0, "versions": [version]});
    named
}

#[tokio::test]
async fn sd28_material_whose_record_the_ledger_lost_is_looked_for_by_what_the_status_names() {
    // Memory may still have the record, or have it ended.
    for (state, known) in [
        (RecordState::Live, true),
        (RecordState::Tombstone, true),
        (RecordState::Live, false),
    ] {
        let mut house = House::new(RecordState::Live, state).await;
        house.caches(vec![
            (Watched::Object(Kind::Key), named("u-1")),
            (Watched::Object(Kind::Hsm), hsm_object()),
        ]);
        house.has("hsmkeys/prod", named("u-1"));
        house.backend.lose_record(&key_id().0);
        if !known {
            house.context.index.forget(&key_id());
        }
        let seen = house.look(Kind::Key).await.expect("a look");
        let found = matches!(&seen.material, Material::Objects(found) if found.len() == 2);
        assert!(found, "{state:?} {known}: {:?}", seen.material);
    }
}

#[tokio::test]
async fn g1_material_that_only_the_live_object_names_is_not_passed_over() {
    let house = House::new(RecordState::Live, RecordState::Tombstone)
        .await
        .cached();
    house.backend.lose_record(&key_id().0);
    house.has("hsmkeys/prod", named("u-1"));
    // The cache has not heard of it: nothing can be said before it has.
    let seen = house.look(Kind::Key).await;
    assert!(matches!(seen, Err(Failure::Moving)), "{seen:?}");
}

#[tokio::test]
async fn an_absence_means_nothing_while_the_definition_does_not_stay() {
    let looked = async |state: RecordState, present: bool, spoilt: fn(&mut Value)| {
        let house = House::new(RecordState::Live, state).await.cached();
        if !present {
            house.lacks("hsmkeys/prod");
        }
        let (at, mut found) = definition(Watched::Object(Kind::Key));
        spoilt(&mut found);
        house.has(&at, found);
        house.look(Kind::Key).await
    };
    let terminates = |found: &mut Value| {
        found["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
    };
    let not_there = |found: &mut Value| found["status"]["conditions"] = json!([]);
    let is_swept = |found: &mut Value| {
        let on = |kind: &str| json!({"type": kind, "status": "True"});
        found["status"]["conditions"] = json!([on("Established"), on("Terminating")]);
    };
    for spoilt in [terminates, not_there, is_swept] {
        let seen = looked(RecordState::Live, false, spoilt).await;
        assert!(matches!(seen, Err(Failure::DefinitionGone(_))), "{seen:?}");
        assert!(
            looked(RecordState::Live, true, spoilt).await.is_ok(),
            "it is there"
        );
        let ended = looked(RecordState::Tombstone, false, spoilt).await;
        assert!(ended.is_ok(), "nothing stands: {ended:?}");
    }
    assert!(looked(RecordState::Live, false, |_| ()).await.is_ok());
}

#[tokio::test]
async fn g3_what_something_may_be_decided_on_is_proved_object_by_object() {
    let pending = |mut record: Record| {
        if let Subject::Key { pending, .. } = &mut record.subject {
            *pending = Some(Pending {
                number: 2,
                material: MaterialId("0".repeat(32)),
            });
        }
        record
    };
    for (record, proved) in [
        (key_record(RecordState::Live), false),
        (pending(key_record(RecordState::Live)), true),
        (key_record(RecordState::Sealing), true),
        (key_record(RecordState::Deleted), true),
        (key_record(RecordState::Opening), true),
        (key_record(RecordState::Destroying), true),
    ] {
        let house = House::new(RecordState::Live, RecordState::Live)
            .await
            .cached();
        house.write(2, &record);
        house.know(&key_id()).await;
        house.look(Kind::Key).await.expect("a look");
        assert_eq!(
            house.asked_for("Objects Proof"),
            proved,
            "{:?}",
            record.state
        );
    }
    // A live key of which something is not labelled so.
    let house = House::new(RecordState::Live, RecordState::Live)
        .await
        .cached();
    let id = ids::backend_id(&ids::material_id(&"u-1".into(), 1)).expect("an id");
    let made = house.backend.generate(&house.token, id, Algorithm::P256);
    made.expect("a stray");
    house.look(Kind::Key).await.expect("a look");
    assert!(house.asked_for("Objects Proof"), "a stray");
}

#[tokio::test]
async fn i6_no_handle_is_taken_by_a_record_in_doubt() {
    for of in [Kind::Key, Kind::Hsm] {
        let house = House::new(RecordState::Live, RecordState::Live)
            .await
            .cached();
        let beside = match of {
            Kind::Key => key_record(RecordState::Deleted),
            Kind::Hsm => hsm_record(RecordState::Deleted, &house.token),
        };
        house.doubt(&beside);
        house.know(&beside.id).await;
        let seen = house.look(Kind::Key).await.expect("a look");
        assert_eq!(seen.material, Material::NotLooked, "{of:?}");
        assert!(!house.asked_for("Objects Labels"), "{of:?}");
    }
}
