//! The ways out that only a person can decide: `ledger show`, `accept`, `abandon`.

use std::collections::BTreeSet;

use managed_hsm_operator::backend::memory::{Inspected, MemoryBackend};
use managed_hsm_operator::backend::{HsmBackend, Stored, TokenLabel};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::controller::ledger::{Answer, Row, Shown, Wish};
use managed_hsm_operator::plan::{encoding, ids};
use managed_hsm_operator::softdelete::{Record, RecordState};
use testplane::{Options, Plane, borrow, eventually};

use crate::acts::*;
use crate::operator::{Build, Operator, condition, gone, until};

fn id(of: &kube::api::DynamicObject) -> String {
    ids::record_id(&uid(of).into()).0
}

async fn rows(operator: &Operator) -> Vec<Row> {
    match operator.ask(Wish::List).await {
        Answer::Rows(rows, away) if away.is_empty() => rows,
        other => panic!("{other:?}"),
    }
}

async fn shown(operator: &Operator, id: &str) -> Vec<Shown> {
    match operator.ask(Wish::Show { id: id.into() }).await {
        Answer::Records(all) => all,
        other => panic!("{other:?}"),
    }
}

async fn done(operator: &Operator, wish: Wish) -> String {
    match operator.ask(wish).await {
        Answer::Done(sentence) => sentence,
        other => panic!("{other:?}"),
    }
}

async fn denied(operator: &Operator, wish: Wish) -> String {
    match operator.ask(wish).await {
        Answer::Denied(sentence) => sentence,
        other => panic!("{other:?}"),
    }
}

fn accept(id: &str, digest: &str) -> Wish {
    Wish::Accept {
        id: id.into(),
        digest: digest.into(),
    }
}

fn abandon(id: &str) -> Wish {
    Wish::Abandon { id: id.into() }
}

fn changed(stored: &Stored, change: impl FnOnce(&mut Record)) -> Stored {
    let mut record = encoding::decode(&stored.bytes).expect("a record");
    change(&mut record);
    Stored {
        bytes: encoding::encode(&record),
        ..stored.clone()
    }
}

/// An operator whose retention of 30 days is over in half a minute.
async fn with_short_days(plane: &Plane, backend: &MemoryBackend) -> Operator {
    let mut build = Build::new(plane, backend.clone()).await;
    build.settings.day = chrono::Duration::seconds(1);
    build.start().await
}

/// Once its date is past.
async fn given_up(operator: &Operator, id: &str) {
    eventually("it can be given up", PATIENCE, async || {
        match operator.ask(abandon(id)).await {
            Answer::Done(_) => Ok(()),
            Answer::Denied(sentence) if sentence.contains("is kept until") => Err(sentence),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

fn state(backend: &MemoryBackend, id: &str) -> RecordState {
    let stored = backend.read(id).expect("read");
    encoding::decode(&stored[0].bytes).expect("a record").state
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_of_two_records_of_one_generation_a_person_says_which_holds() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("two").await;
    let backend = MemoryBackend::new();
    let first = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    delete(&plane, &ns, "hsmkey/signing").await;
    let proxy = format!("{ns}.signing");
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    first.crash().await;
    let stored = backend.read(&id(&key)).expect("read").remove(0);
    backend.plant(changed(&stored, |record| record.retention_days = 8));

    let operator = Operator::start(&plane, backend.clone()).await;
    let reason = "RecordDisagrees";
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "False", reason).await;
    let asked = format!("{{kind: HsmKey, name: signing, uid: {}}}", uid(&key));
    apply(&plane, &document(&ns, "Recover", "back", &asked)).await;
    let of = Watched::Recover;
    let waits = until(&plane, of, Some(&ns), "back", "Stalled", "True", reason).await;
    let (_, _, sentence) = condition(&waits, "Stalled").expect("told");
    assert!(
        sentence.contains(&format!("ledger show {}", id(&key))),
        "{sentence}"
    );

    let row = rows(&operator)
        .await
        .into_iter()
        .find(|row| row.id == id(&key));
    let row = row.expect("it is listed");
    assert_eq!(
        (row.state.as_str(), row.name.as_str()),
        ("disagree", "signing")
    );
    let all = shown(&operator, &id(&key)).await;
    assert_eq!(all.len(), 2, "{all:?}");
    let days = |shown: &&Shown| {
        let record = shown.record.as_ref().expect("it can be read");
        record["retentionDays"] == 30
    };
    let truth = all.iter().find(days).expect("one of them is it");
    let wrong = denied(&operator, accept(&id(&key), &"0".repeat(64))).await;
    assert!(wrong.contains("ledger show"), "{wrong}");
    done(&operator, accept(&id(&key), &truth.digest)).await;

    until(&plane, of, Some(&ns), "back", "Complete", "True", "").await;
    let back = ready(&plane, &ns, KEY, "signing").await;
    assert_eq!(versions(&back), versions(&key));
    assert_eq!(shown(&operator, &id(&key)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_an_older_store_is_found_out_and_goes_on_once_a_person_accepts_it() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("older").await;
    let backend = MemoryBackend::new();
    let operator = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    let backup = backend.backup();
    delete(&plane, &ns, "hsmkey/signing").await;
    let proxy = format!("{ns}.signing");
    let kept = until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    let generation = kept.data["status"]["recordGeneration"].clone();
    backend.restore(&backup);
    let asked = format!("{{kind: HsmKey, name: signing, uid: {}}}", uid(&key));
    apply(&plane, &document(&ns, "Recover", "back", &asked)).await;

    let reason = "RecordDisagrees";
    let doubt = until(&plane, KEY_PROXY, None, &proxy, "Ready", "False", reason).await;
    assert_eq!(doubt.data["status"]["recordGeneration"], generation);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let still = until(&plane, KEY_PROXY, None, &proxy, "Ready", "False", reason).await;
    assert_eq!(
        still.data["status"]["recordGeneration"], generation,
        "it is not forgotten"
    );

    let all = shown(&operator, &id(&key)).await;
    done(&operator, accept(&id(&key), &all[0].digest)).await;
    let of = Watched::Recover;
    until(&plane, of, Some(&ns), "back", "Complete", "True", "").await;
    let back = ready(&plane, &ns, KEY, "signing").await;
    assert_eq!(versions(&back), versions(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_what_is_lost_for_good_is_given_up_after_its_date_and_its_name_is_free() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("given-up").await;
    let backend = MemoryBackend::new();
    let operator = with_short_days(&plane, &backend).await;
    apply(&plane, &safe_and_key(&ns)).await;
    ready(&plane, &ns, KEY, "signing").await;
    let hsm = ready(&plane, &ns, HSM, "safe").await;
    let alive = denied(&operator, abandon(&id(&hsm))).await;
    assert!(alive.contains("delete the object first"), "{alive}");
    let nobody = denied(&operator, abandon("00112233445566778899aabbccddeeff")).await;
    assert!(nobody.contains("ledger list"), "{nobody}");

    backend.lose_token(&TokenLabel(id(&hsm)));
    let both = ["delete", "-n", &ns, "hsmkey/signing", "managedhsm/safe"];
    plane.kubectl(&both, "").await.ok();
    let early = denied(&operator, abandon(&id(&hsm))).await;
    assert!(early.contains("is kept until"), "{early}");
    let (safe, signing) = (format!("{ns}.safe"), format!("{ns}.signing"));
    let missing = "MaterialMissing";
    for (of, name) in [(HSM_PROXY, &safe), (KEY_PROXY, &signing)] {
        let shown = until(&plane, of, None, name, "Stalled", "True", missing).await;
        let (_, _, sentence) = condition(&shown, "Stalled").expect("told");
        assert!(sentence.contains("ledger abandon"), "{sentence}");
    }

    given_up(&operator, &id(&hsm)).await;
    gone(&plane, HSM_PROXY, None, &safe).await;
    gone(&plane, KEY_PROXY, None, &signing).await;
    assert_eq!(state(&backend, &id(&hsm)), RecordState::Abandoned);
    given_up(&operator, &id(&hsm)).await;
    apply(&plane, &safe_and_key(&ns)).await;
    ready(&plane, &ns, KEY, "signing").await;
    assert_eq!(state(&backend, &id(&hsm)), RecordState::Abandoned, "barred");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_an_empty_store_leaves_proxies_that_are_given_up_by_the_id_that_the_list_shows() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("empty").await;
    let backend = MemoryBackend::new();
    let operator = with_short_days(&plane, &backend).await;
    apply(&plane, &safe_and_key(&ns)).await;
    ready(&plane, &ns, KEY, "signing").await;
    backend.restore(&MemoryBackend::new().backup());
    let both = ["delete", "-n", &ns, "hsmkey/signing", "managedhsm/safe"];
    plane.kubectl(&both, "").await.ok();
    let (safe, signing) = (format!("{ns}.safe"), format!("{ns}.signing"));
    let missing = "MaterialMissing";
    for (of, name) in [(HSM_PROXY, &safe), (KEY_PROXY, &signing)] {
        until(&plane, of, None, name, "Stalled", "True", missing).await;
    }
    let lost: Vec<_> = rows(&operator).await;
    let names: Vec<_> = lost
        .iter()
        .map(|row| (row.state.as_str(), row.name.as_str()))
        .collect();
    assert_eq!(names, [("lost", "safe"), ("lost", "signing")]);
    for row in &lost {
        given_up(&operator, &row.id).await;
    }
    gone(&plane, HSM_PROXY, None, &safe).await;
    gone(&plane, KEY_PROXY, None, &signing).await;
    for row in &lost {
        assert_eq!(state(&backend, &row.id), RecordState::Abandoned);
    }
    apply(&plane, &safe_and_key(&ns)).await;
    ready(&plane, &ns, KEY, "signing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_what_is_still_there_is_never_given_up() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("there").await;
    let backend = MemoryBackend::new();
    let operator = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    delete(&plane, &ns, "hsmkey/signing").await;
    let proxy = format!("{ns}.signing");
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    let before = backend.read(&id(&key));
    let there = denied(&operator, abandon(&id(&key))).await;
    assert!(there.contains("still in the backend"), "{there}");
    assert_eq!(backend.read(&id(&key)), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd14_an_hsm_is_not_purged_while_nobody_can_go_by_the_record_of_a_key_in_it() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("key-in-doubt").await;
    let backend = MemoryBackend::new();
    let first = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    let hsm = ready(&plane, &ns, HSM, "safe").await;
    delete(&plane, &ns, "managedhsm/safe").await;
    let proxy = format!("{ns}.safe");
    until(&plane, HSM_PROXY, None, &proxy, "Ready", "True", "").await;
    first.crash().await;
    // One of the two says that the key is protected, and with it the HSM.
    let stored = backend.read(&id(&key)).expect("read").remove(0);
    backend.plant(changed(&stored, |record| record.purge_protection = true));

    let operator = Operator::start(&plane, backend.clone()).await;
    ask_purge(&plane, "hsm", "anna", "DeletedManagedHsm", &proxy, &hsm).await;
    let (of, reason) = (Watched::Purge, "RecordDisagrees");
    let waits = until(&plane, of, None, "hsm", "Stalled", "True", reason).await;
    let (_, _, sentence) = condition(&waits, "Stalled").expect("told");
    assert!(sentence.contains(&id(&key)), "{sentence}");
    let kept = until(&plane, HSM_PROXY, None, &proxy, "Ready", "True", "").await;
    assert!(kept.data["status"]["phase"].is_null(), "{kept:?}");

    let all = shown(&operator, &id(&key)).await;
    let plain = |shown: &&Shown| {
        let record = shown.record.as_ref().expect("it can be read");
        record["purgeProtection"] == false
    };
    let truth = all.iter().find(plain).expect("one of them is it");
    done(&operator, accept(&id(&key), &truth.digest)).await;
    until(&plane, of, None, "hsm", "Complete", "True", "").await;
    gone(&plane, HSM_PROXY, None, &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_a_purge_of_what_is_in_doubt_waits_and_says_why() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("purge-in-doubt").await;
    let backend = MemoryBackend::new();
    let first = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    delete(&plane, &ns, "hsmkey/signing").await;
    let proxy = format!("{ns}.signing");
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    first.crash().await;
    let stored = backend.read(&id(&key)).expect("read").remove(0);
    backend.plant(changed(&stored, |record| record.retention_days = 8));

    let _operator = Operator::start(&plane, backend.clone()).await;
    ask_purge(&plane, "key", "anna", "DeletedHsmKey", &proxy, &key).await;
    let (of, reason) = (Watched::Purge, "RecordDisagrees");
    let waits = until(&plane, of, None, "key", "Stalled", "True", reason).await;
    let (_, _, sentence) = condition(&waits, "Stalled").expect("told");
    assert!(
        sentence.contains(&format!("ledger show {}", id(&key))),
        "{sentence}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_an_hsm_that_was_purged_since_a_backup_is_nobodys_until_a_person_accepts_it() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("purged-since").await;
    let backend = MemoryBackend::new();
    let first = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    let hsm = ready(&plane, &ns, HSM, "safe").await;
    let backup = backend.backup();
    delete(&plane, &ns, "hsmkey/signing").await;
    delete(&plane, &ns, "managedhsm/safe").await;
    let proxy = format!("{ns}.safe");
    until(&plane, HSM_PROXY, None, &proxy, "Ready", "True", "").await;
    ask_purge(&plane, "mistake", "anna", "DeletedManagedHsm", &proxy, &hsm).await;
    let of = Watched::Purge;
    until(&plane, of, None, "mistake", "Complete", "True", "").await;
    gone(&plane, HSM_PROXY, None, &proxy).await;
    first.crash().await;

    backend.restore(&backup);
    let before = backend.inspect();
    let operator = Operator::start(&plane, backend.clone()).await;
    let asked = format!("uid: {}, includeKeys: All", uid(&hsm));
    let spec = format!("{{kind: ManagedHsm, name: safe, {asked}}}");
    apply(&plane, &document(&ns, "Recover", "back-safe", &spec)).await;
    let (of, reason) = (Watched::Recover, "RecordDisagrees");
    let waits = until(
        &plane,
        of,
        Some(&ns),
        "back-safe",
        "Stalled",
        "True",
        reason,
    )
    .await;
    let (_, _, sentence) = condition(&waits, "Stalled").expect("told");
    assert!(
        sentence.contains("the finished Purge mistake says"),
        "{sentence}"
    );
    let listed = rows(&operator).await;
    let row = listed
        .iter()
        .find(|row| row.id == id(&hsm))
        .expect("listed");
    assert!(
        row.note
            .as_ref()
            .is_some_and(|note| note.contains("ledger accept")),
        "{row:?}"
    );
    let objects = |all: Vec<Inspected>| {
        all.into_iter()
            .map(|it| (it.handle, it.mark, it.usable))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        objects(backend.inspect()),
        objects(before),
        "nothing of it was touched"
    );
    assert_eq!(state(&backend, &id(&hsm)), RecordState::Live);

    let all = shown(&operator, &id(&hsm)).await;
    done(&operator, accept(&id(&hsm), &all[0].digest)).await;
    until(&plane, of, Some(&ns), "back-safe", "Complete", "True", "").await;
    let back = ready(&plane, &ns, KEY, "signing").await;
    assert_eq!(versions(&back), versions(&key));
}
