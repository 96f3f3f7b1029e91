//! Stores that are lost, away or full, and proxies that somebody forced away: nothing is ever made up, nothing destroyed.

use std::time::Duration;

use managed_hsm_operator::backend::BackendError;
use managed_hsm_operator::softdelete::Refusal;

use crate::operator::condition;
use crate::scene::{
    EC, HSM, HSM_PROXY, KEY, KEY_PROXY, Scene, fingerprints, manifest, origin, uid, with_meta,
};

#[tokio::test(flavor = "multi_thread")]
async fn sd25_a_proxy_that_somebody_forced_away_is_written_again_from_the_record() {
    let scene = Scene::with_hsm("forced", "{retentionDays: 30}").await;
    let labelled = with_meta("HsmKey", "{name: signing, labels: {team: blue}}", EC);
    scene.apply(&labelled).await;
    let key = scene.ready(KEY, "signing").await;
    let proxy = scene.deleted(KEY, "signing").await;
    let name = proxy.metadata.name.as_deref().expect("a name");
    // No admission policy is on this plane, so the delete goes through.
    scene
        .kubectl(&["delete", "deletedhsmkey", name], "")
        .await
        .ok();
    let again = scene.retained(KEY_PROXY, "signing").await;
    assert_ne!(uid(&again), uid(&proxy));
    for field in [
        "origin",
        "hsm",
        "keyName",
        "hsmId",
        "versions",
        "deletionTime",
        "scheduledPurgeTime",
        "retentionDays",
    ] {
        assert_eq!(
            again.data["spec"][field], proxy.data["spec"][field],
            "{field}"
        );
    }
    let (incomplete, _, _) = condition(&again, "SnapshotIncomplete").expect("it says so");
    assert_eq!(incomplete, "True");
    assert_eq!(scene.signs(&again), Err(BackendError::Refused));

    let back = scene.recovered(KEY, "signing", &origin(&again)).await;
    assert_eq!(fingerprints(&back), fingerprints(&key));
    assert_eq!(scene.signs(&back), Ok(()));
    assert_eq!(back.metadata.labels, None, "nobody knows them any more");
    assert_eq!(back.data["spec"]["hsm"], "safe");
    assert_eq!(back.data["spec"]["curve"], "P-256");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_a_whole_store_that_is_lost_makes_proxies_of_what_is_deleted_and_comes_back_sealed() {
    let scene = Scene::empty("store").await;
    let both =
        manifest("ManagedHsm", "safe", "{backend: lost}") + &manifest("HsmKey", "signing", EC);
    scene.apply(&both).await;
    let key = scene.ready(KEY, "signing").await;
    let store = &scene.backends.lost;
    let good = store.backup();
    store.restore(&managed_hsm_operator::backend::memory::MemoryBackend::new().backup());

    let nudge = [
        "annotate",
        "managedhsm/safe",
        "hsmkey/signing",
        "look=again",
    ];
    scene.kubectl(&nudge, "").await.ok();
    let missing = Refusal::MaterialMissing {
        backend: "lost".into(),
    };
    for (of, name) in [(HSM, "safe"), (KEY, "signing")] {
        let sentence = scene.stalled(of, name, "MaterialMissing").await;
        assert_eq!(sentence, missing.to_string());
    }
    scene
        .kubectl(&["delete", "hsmkey/signing", "managedhsm/safe"], "")
        .await
        .ok();
    scene.get(HSM_PROXY, "safe").await.expect("its proxy");
    let proxy = scene.get(KEY_PROXY, "signing").await.expect("its proxy");
    assert_eq!(fingerprints(&proxy), fingerprints(&key));
    assert!(
        proxy.data["status"]["recordGeneration"].is_null(),
        "not purged, whatever the date"
    );
    scene.apply(&both).await;
    for (of, name) in [(HSM, "safe"), (KEY, "signing")] {
        let stands = scene.until(of, name, "Ready", "False", "").await;
        assert!(stands.data["status"]["hsmId"].is_null(), "{stands:?}");
    }
    scene
        .kubectl(&["delete", "hsmkey/signing", "managedhsm/safe"], "")
        .await
        .ok();

    // The store is found again.
    store.restore(&good);
    let hsm = scene.get(HSM_PROXY, "safe").await.expect("its proxy");
    scene.recovered(HSM, "safe", &origin(&hsm)).await;
    scene.retained(KEY_PROXY, "signing").await;
    let back = scene.recovered(KEY, "signing", &uid(&key)).await;
    assert_eq!(fingerprints(&back), fingerprints(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_a_backend_that_does_not_answer_is_waited_for_and_nothing_is_let_go_meanwhile() {
    let scene = Scene::empty("away").await;
    let both =
        manifest("ManagedHsm", "safe", "{backend: away}") + &manifest("HsmKey", "signing", EC);
    scene.apply(&both).await;
    let key = scene.ready(KEY, "signing").await;
    let hung = BackendError::Unavailable("it hangs".into());
    scene.backends.away.away(Some(hung));
    scene
        .kubectl(&["delete", "hsmkey", "signing", "--wait=false"], "")
        .await
        .ok();
    let sentence = Refusal::BackendUnavailable {
        backend: "away".into(),
        why: "it hangs".into(),
    };
    let waits = scene
        .until(KEY, "signing", "Ready", "False", "BackendUnavailable")
        .await;
    let (_, _, told) = condition(&waits, "Ready").expect("told");
    assert_eq!(told, sentence.to_string());
    assert_eq!(condition(&waits, "Stalled"), None, "it passes by itself");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(scene.get(KEY, "signing").await.is_some(), "it is kept");

    scene.backends.away.away(None);
    scene.gone(KEY, "signing").await;
    let proxy = scene.retained(KEY_PROXY, "signing").await;
    let back = scene.recovered(KEY, "signing", &origin(&proxy)).await;
    assert_eq!(fingerprints(&back), fingerprints(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd34_a_backend_without_room_is_told_and_the_next_hsm_stands() {
    let scene = Scene::empty("full").await;
    let tiny = |name: &str| manifest("ManagedHsm", name, "{backend: tiny}");
    scene.apply(&tiny("first")).await;
    scene.ready(HSM, "first").await;
    scene.apply(&tiny("second")).await;
    let sentence = scene.stalled(HSM, "second", "BackendFull").await;
    let refusal = Refusal::BackendFull {
        backend: "tiny".into(),
        why: "all 1 slots are taken".into(),
    };
    assert_eq!(sentence, refusal.to_string());
    scene.ready(HSM, "first").await;

    // Nothing was made of it: it goes at once, and its name is free also for another backend.
    let gone = ["delete", "managedhsm", "second", "--timeout=30s"];
    scene.kubectl(&gone, "").await.ok();
    assert_eq!(scene.get(HSM_PROXY, "second").await, None);
    scene.apply(&manifest("ManagedHsm", "second", "{}")).await;
    scene.ready(HSM, "second").await;
}
