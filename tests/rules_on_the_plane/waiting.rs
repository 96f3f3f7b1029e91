//! Objects that wait, and how they go: nothing was made for them, so nothing of them stays.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use managed_hsm_operator::softdelete::Refusal;

use crate::operator::condition;
use crate::scene::{EC, HSM, KEY, KEY_PROXY, RECOVER, Scene, manifest, origin, uid, with_meta};

/// Everything that a watcher of this namespace's keys gets to see.
async fn watched_keys(scene: &Scene) -> Arc<Mutex<Vec<DynamicObject>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (keys, sink) = (scene.api(KEY), Arc::clone(&seen));
    let stream = keys
        .watch(&WatchParams::default(), "0")
        .await
        .expect("a watch");
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            if let Ok(WatchEvent::Added(found) | WatchEvent::Modified(found)) = event {
                sink.lock().expect("not poisoned").push(found);
            }
        }
    });
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn sd01_a_key_applied_before_its_hsm_becomes_ready_by_itself_and_never_stalls() {
    let scene = Scene::empty("order").await;
    let seen = watched_keys(&scene).await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    let waiting = scene
        .until(KEY, "signing", "Ready", "False", "HsmNotFound")
        .await;
    let (_, _, sentence) = condition(&waiting, "Ready").expect("told");
    let refusal = Refusal::HsmNotFound { hsm: "safe".into() };
    assert_eq!(sentence, refusal.to_string());
    assert_eq!(
        condition(&waiting, "Reconciling").map(|told| told.0),
        Some("True".to_owned())
    );

    scene.apply(&manifest("ManagedHsm", "safe", "{}")).await;
    scene.ready(KEY, "signing").await;
    let seen = seen.lock().expect("not poisoned").clone();
    assert!(seen.len() > 1, "the watch saw {} states", seen.len());
    for state in &seen {
        assert_eq!(condition(state, "Stalled"), None, "{state:?}");
        // kstatus: what has no status looks ready, so the schema gives it one.
        assert!(state.data["status"]["observedGeneration"].is_i64());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd01_deleting_what_waits_for_its_hsm_makes_no_proxy_and_lets_go_at_once() {
    let scene = Scene::empty("nohsm").await;
    // A backup brings the finalizer along: it promises nothing.
    let kept = "{name: kept, finalizers: [managedhsm.dev/soft-delete]}";
    let both = manifest("HsmKey", "bare", EC) + &with_meta("HsmKey", kept, EC);
    scene.apply(&both).await;
    for name in ["bare", "kept"] {
        scene
            .until(KEY, name, "Ready", "False", "HsmNotFound")
            .await;
    }
    let began = Instant::now();
    scene
        .kubectl(&["delete", "hsmkey", "bare", "kept"], "")
        .await
        .ok();
    assert!(began.elapsed() < Duration::from_secs(20), "at once");
    for name in ["bare", "kept"] {
        assert_eq!(scene.get(KEY, name).await, None);
        assert_eq!(scene.get(KEY_PROXY, name).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd01_deleting_what_waits_for_a_reserved_name_leaves_the_proxy_alone() {
    let scene = Scene::with_key("reserved").await;
    let proxy = scene.deleted(KEY, "signing").await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    scene
        .stalled(KEY, "signing", "ObjectIsDeletedButRecoverable")
        .await;
    scene
        .kubectl(&["delete", "hsmkey", "signing"], "")
        .await
        .ok();
    assert_eq!(scene.get(KEY, "signing").await, None);
    let after = scene.get(KEY_PROXY, "signing").await.expect("still there");
    assert_eq!((uid(&after), &after.data), (uid(&proxy), &proxy.data));
    scene.recovered(KEY, "signing", &origin(&after)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd01_deleting_what_waits_for_a_taken_key_name_touches_nobody_elses_key() {
    let scene = Scene::with_key("taken").await;
    let other = "{hsm: safe, keyName: SIGNING, keyType: EC, curve: P-256}";
    scene.apply(&manifest("HsmKey", "other", other)).await;
    scene.stalled(KEY, "other", "NameTaken").await;
    scene.kubectl(&["delete", "hsmkey", "other"], "").await.ok();
    assert_eq!(scene.get(KEY, "other").await, None);
    assert_eq!(scene.get(KEY_PROXY, "other").await, None);
    let key = scene.ready(KEY, "signing").await;
    assert_eq!(scene.signs(&key), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_deleting_a_recover_before_it_acts_withdraws_it() {
    let scene = Scene::with_key("withdraw").await;
    let key = scene.deleted(KEY, "signing").await;
    let hsm = scene.deleted(HSM, "safe").await;
    scene
        .ask_back("early", "HsmKey", "signing", &origin(&key))
        .await;
    let waits = scene
        .until(RECOVER, "early", "Ready", "False", "HsmDeleted")
        .await;
    assert_eq!(condition(&waits, "Failed"), None);
    scene
        .kubectl(&["delete", "recover", "early"], "")
        .await
        .ok();
    scene.recovered(HSM, "safe", &origin(&hsm)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let kept = scene.get(KEY_PROXY, "signing").await.expect("it is kept");
    assert!(kept.data["status"]["phase"].is_null(), "{kept:?}");
    assert_eq!(scene.get(KEY, "signing").await, None);
}
