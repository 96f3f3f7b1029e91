//! Delete: inaccessible at once, never without a proxy, and let go within seconds; and what a deleted HSM's keys do meanwhile.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use managed_hsm_operator::backend::BackendError;
use managed_hsm_operator::controller::cluster::Watched;
use tokio::task::JoinHandle;

use crate::operator::condition;
use crate::scene::{
    EC, HSM, KEY, KEY_PROXY, RECOVER, Scene, fingerprints, manifest, origin, uid, with_meta,
};

/// The etcd revision at which the first event comes that is wanted. All kinds share one count of revisions.
async fn revision(
    scene: &Scene,
    of: Watched,
    wanted: impl Fn(&WatchEvent<DynamicObject>) -> bool + Send + 'static,
) -> JoinHandle<u64> {
    let api = scene.api(of);
    let all = kube::api::ListParams::default();
    let list = api.list(&all).await.expect("a list");
    let from = list.metadata.resource_version.expect("a revision");
    let stream = api.watch(&WatchParams::default(), &from).await;
    let stream = stream.expect("a watch");
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            let event = event.expect("an event");
            if let (true, WatchEvent::Added(found) | WatchEvent::Deleted(found)) =
                (wanted(&event), &event)
            {
                let at = found.metadata.resource_version.as_deref();
                return at.and_then(|text| text.parse().ok()).expect("a revision");
            }
        }
        panic!("the watch ended")
    })
}

fn added(name: String) -> impl Fn(&WatchEvent<DynamicObject>) -> bool {
    move |event| matches!(event, WatchEvent::Added(found) if found.metadata.name.as_ref() == Some(&name))
}

fn removed(name: String) -> impl Fn(&WatchEvent<DynamicObject>) -> bool {
    move |event| matches!(event, WatchEvent::Deleted(found) if found.metadata.name.as_ref() == Some(&name))
}

#[tokio::test(flavor = "multi_thread")]
async fn sd03_at_no_moment_is_neither_the_object_nor_its_proxy_there() {
    let scene = Scene::with_key("neither").await;
    let proxy_name = format!("{}.signing", scene.ns);
    let made = revision(&scene, KEY_PROXY, added(proxy_name.clone())).await;
    let went = revision(&scene, KEY, removed("signing".into())).await;
    let proxy = scene.deleted(KEY, "signing").await;
    let (made, went) = (made.await.expect("made"), went.await.expect("went"));
    assert!(
        made < went,
        "the proxy came at {made}, the key went at {went}"
    );

    let came = revision(&scene, KEY, added("signing".into())).await;
    let ended = revision(&scene, KEY_PROXY, removed(proxy_name)).await;
    scene.recovered(KEY, "signing", &origin(&proxy)).await;
    let (came, ended) = (came.await.expect("came"), ended.await.expect("ended"));
    assert!(
        came < ended,
        "the key came at {came}, the proxy went at {ended}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd03_what_is_deleted_answers_not_found_refuses_every_use_and_holds_nobody_up() {
    let scene = Scene::with_key("refuses").await;
    let key = scene.ready(KEY, "signing").await;
    assert_eq!(scene.signs(&key), Ok(()));
    let began = Instant::now();
    scene
        .kubectl(&["delete", "hsmkey", "signing"], "")
        .await
        .ok();
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "the finalizer is held for the seal only, not for {:?}",
        began.elapsed()
    );
    // kubectl came back, so the object is gone, so the material refuses.
    assert_eq!(scene.signs(&key), Err(BackendError::Refused));
    let answer = scene
        .kubectl(&["get", "hsmkey", "signing"], "")
        .await
        .refused();
    assert!(answer.contains("NotFound"), "{answer}");
    let proxy = scene.retained(KEY_PROXY, "signing").await;
    assert_eq!(scene.signs(&proxy), Err(BackendError::Refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd04_a_purge_date_that_was_edited_all_the_same_moves_nothing_forward() {
    let scene = Scene::with_key("edited").await;
    let proxy = scene.deleted(KEY, "signing").await;
    let date = proxy.data["status"]["purgeTime"].clone();
    // No admission policy is on this plane, so the edit goes through.
    let name = proxy.metadata.name.clone().expect("a name");
    let change = r#"{"spec":{"scheduledPurgeTime":"2020-01-01T00:00:00Z","deletionTime":"2019-12-01T00:00:00Z"}}"#;
    let patch = [
        "patch",
        "deletedhsmkey",
        &name,
        "--type=merge",
        "-p",
        change,
    ];
    scene.kubectl(&patch, "").await.ok();
    let after = scene
        .seen(KEY_PROXY, "signing", "looked at since", |found| {
            found.data["status"]["observedGeneration"].as_i64() == found.metadata.generation
        })
        .await;
    assert_ne!(after.data["spec"], proxy.data["spec"]);
    assert_eq!(after.data["status"]["purgeTime"], date);
    let back = scene.recovered(KEY, "signing", &origin(&proxy)).await;
    assert_eq!(scene.signs(&back), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd27_the_keys_of_a_deleted_hsm_refuse_every_use_and_are_ready_again_after_its_recovery() {
    let scene = Scene::with_key("sealed").await;
    let key = scene.ready(KEY, "signing").await;
    let proxy = scene.deleted(HSM, "safe").await;
    assert_eq!(scene.signs(&key), Err(BackendError::Sealed));
    let sentence = scene.stalled(KEY, "signing", "HsmDeleted").await;
    assert!(sentence.contains(&origin(&proxy)), "{sentence}");

    scene.recovered(HSM, "safe", &origin(&proxy)).await;
    let back = scene.ready(KEY, "signing").await;
    assert_eq!(uid(&back), uid(&key));
    assert_eq!(fingerprints(&back), fingerprints(&key));
    assert_eq!(scene.signs(&back), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd27_a_key_that_is_deleted_under_its_hsms_seal_is_a_proxy_at_once_and_sealed_after_it() {
    let scene = Scene::with_key("under").await;
    let hsm = scene.deleted(HSM, "safe").await;
    let key = scene.stalled_key("signing", "HsmDeleted").await;
    scene
        .kubectl(&["delete", "hsmkey", "signing"], "")
        .await
        .ok();
    assert_eq!(scene.get(KEY, "signing").await, None);
    let proxy = scene.get(KEY_PROXY, "signing").await.expect("at once");
    assert_eq!(origin(&proxy), uid(&key));

    scene.recovered(HSM, "safe", &origin(&hsm)).await;
    scene.retained(KEY_PROXY, "signing").await;
    assert_eq!(scene.signs(&key), Err(BackendError::Refused));
    let back = scene.recovered(KEY, "signing", &uid(&key)).await;
    assert_eq!(fingerprints(&back), fingerprints(&key));
    assert_eq!(scene.signs(&back), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd21_a_key_is_recovered_only_after_its_hsm() {
    let scene = Scene::with_key("first").await;
    let key = scene.deleted(KEY, "signing").await;
    let hsm = scene.deleted(HSM, "safe").await;
    scene
        .ask_back("early", "HsmKey", "signing", &origin(&key))
        .await;
    let waits = scene
        .until(RECOVER, "early", "Stalled", "True", "HsmDeleted")
        .await;
    let (_, _, sentence) = condition(&waits, "Ready").expect("told");
    assert!(sentence.contains(&origin(&hsm)), "{sentence}");
    scene.recovered(HSM, "safe", &origin(&hsm)).await;
    scene.until(RECOVER, "early", "Complete", "True", "").await;
    let back = scene.ready(KEY, "signing").await;
    assert_eq!(scene.signs(&back), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd05_a_namespace_goes_and_everything_in_it_comes_back_from_its_proxies() {
    let scene = Scene::with_key("nsgoes").await;
    let second = with_meta("HsmKey", "{name: second, labels: {team: blue}}", EC);
    scene.apply(&second).await;
    let key = scene.ready(KEY, "second").await;
    scene
        .plane
        .kubectl(&["delete", "namespace", &scene.ns, "--timeout=60s"], "")
        .await
        .ok();
    let hsm = scene.retained(crate::scene::HSM_PROXY, "safe").await;
    for name in ["signing", "second"] {
        let proxy = scene.get(KEY_PROXY, name).await.expect("its proxy");
        assert_eq!(proxy.data["spec"]["origin"]["namespace"], scene.ns.as_str());
        assert_eq!(proxy.data["spec"]["hsm"], "safe");
    }

    // The namespace made anew is another one: keys don't pass to whoever takes a free name.
    scene
        .plane
        .kubectl(&["create", "namespace", &scene.ns], "")
        .await
        .ok();
    scene
        .ask_back("plain", "ManagedHsm", "safe", &origin(&hsm))
        .await;
    scene
        .until(RECOVER, "plain", "Ready", "False", "NamespaceChanged")
        .await;
    let namespace = scene.namespace().await;
    for (kind, name, of) in [
        ("ManagedHsm", "safe", origin(&hsm)),
        ("HsmKey", "second", uid(&key)),
    ] {
        let spec = format!(
            "{{kind: {kind}, name: {name}, uid: {of}, acceptNamespaceUid: {}}}",
            uid(&namespace)
        );
        let recover = format!("accepts-{name}");
        scene.apply(&manifest("Recover", &recover, &spec)).await;
        scene.until(RECOVER, &recover, "Complete", "True", "").await;
    }
    let back = scene.ready(KEY, "second").await;
    assert_eq!(fingerprints(&back), fingerprints(&key));
    assert_eq!(scene.signs(&back), Ok(()));
    scene
        .get(KEY_PROXY, "signing")
        .await
        .expect("not asked for");
}
