//! HSMs with their keys: what is deleted with an HSM, in it and under its seal, and what its recovery brings back.

use kube::api::DynamicObject;
use managed_hsm_operator::backend::BackendError;
use serde_json::json;

use crate::operator::condition;
use crate::scene::{
    EC, HSM, HSM_PROXY, KEY, KEY_PROXY, RECOVER, Scene, fingerprints, manifest, origin, uid,
};

/// What the Recover says became of each: `name: outcome`, sorted.
fn outcomes(recover: &DynamicObject) -> Vec<String> {
    let all = recover.data["status"]["recovered"].as_array();
    let mut told: Vec<_> = all
        .into_iter()
        .flatten()
        .map(|one| {
            let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", text("kind"), text("name"), text("outcome"))
        })
        .collect();
    told.sort();
    told
}

/// Asks for an HSM's recovery with all its keys, and waits until all is over.
async fn recovered_with_all(scene: &Scene, proxy: &DynamicObject, more: &str) -> DynamicObject {
    let of = origin(proxy);
    let spec = format!("{{kind: ManagedHsm, name: safe, uid: {of}, includeKeys: All{more}}}");
    scene.apply(&manifest("Recover", "all", &spec)).await;
    let recover = scene.until(RECOVER, "all", "Complete", "True", "").await;
    scene.ready(HSM, "safe").await;
    scene.gone(HSM_PROXY, "safe").await;
    recover
}

#[tokio::test(flavor = "multi_thread")]
async fn sd21_a_deleted_namespace_comes_back_whole_by_one_recover_and_only_for_who_accepts_the_new_one()
 {
    let scene = Scene::with_key("nsall").await;
    scene.apply(&manifest("HsmKey", "second", EC)).await;
    let before = [
        scene.ready(KEY, "signing").await,
        scene.ready(KEY, "second").await,
    ];
    let whole = ["delete", "namespace", &scene.ns, "--timeout=60s"];
    scene.plane.kubectl(&whole, "").await.ok();
    let hsm = scene.retained(HSM_PROXY, "safe").await;
    for name in ["signing", "second"] {
        scene.get(KEY_PROXY, name).await.expect("its proxy");
    }
    let anew = ["create", "namespace", &scene.ns];
    scene.plane.kubectl(&anew, "").await.ok();
    let spec = format!(
        "{{kind: ManagedHsm, name: safe, uid: {}, includeKeys: All}}",
        origin(&hsm)
    );
    scene.apply(&manifest("Recover", "plain", &spec)).await;
    scene
        .until(RECOVER, "plain", "Ready", "False", "NamespaceChanged")
        .await;
    assert_eq!(scene.get(HSM, "safe").await, None);

    let accepts = format!(", acceptNamespaceUid: {}", uid(&scene.namespace().await));
    let recover = recovered_with_all(&scene, &hsm, &accepts).await;
    let expected = [
        "HsmKey second: Recovered",
        "HsmKey signing: Recovered",
        "ManagedHsm safe: Recovered",
    ];
    assert_eq!(outcomes(&recover), expected);
    for key in &before {
        let name = key.metadata.name.as_deref().expect("a name");
        let back = scene.ready(KEY, name).await;
        assert_ne!(uid(&back), uid(key));
        assert_eq!(fingerprints(&back), fingerprints(key));
        assert_eq!(scene.signs(&back), Ok(()));
        assert_eq!(scene.get(KEY_PROXY, name).await, None);
    }
    scene
        .seen(HSM, "safe", "two keys, none deleted", |found| {
            found.data["status"]["keys"] == 2 && found.data["status"]["deletedKeys"] == 0
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd21_with_all_keys_what_was_deleted_on_its_own_comes_back_too_but_what_cannot_be_made_stays()
 {
    let scene = Scene::with_key("some").await;
    for name in ["second", "third"] {
        scene.apply(&manifest("HsmKey", name, EC)).await;
        scene.ready(KEY, name).await;
    }
    let live = scene.ready(KEY, "signing").await;
    let second = scene.deleted(KEY, "second").await;
    let third = scene.deleted(KEY, "third").await;
    // Under the name of the third stands one that is another key.
    let other = manifest("HsmKey", "third", "{hsm: safe, keyType: EC, curve: P-384}");
    scene.apply(&other).await;
    scene
        .stalled(KEY, "third", "ObjectIsDeletedButRecoverable")
        .await;
    let hsm = scene.deleted(HSM, "safe").await;
    let recover = recovered_with_all(&scene, &hsm, "").await;

    let expected = [
        "HsmKey second: Recovered",
        "HsmKey signing: AlreadyLive",
        "HsmKey third: Retained",
        "ManagedHsm safe: Recovered",
    ];
    assert_eq!(outcomes(&recover), expected);
    let back = scene.ready(KEY, "second").await;
    assert_eq!(fingerprints(&back), fingerprints(&second));
    assert_eq!(scene.signs(&back), Ok(()));
    assert_eq!(uid(&scene.ready(KEY, "signing").await), uid(&live));
    let kept = scene.retained(KEY_PROXY, "third").await;
    assert_eq!(uid(&kept), uid(&third));
    assert_eq!(kept.data["spec"], third.data["spec"], "its own dates");
    assert_eq!(scene.signs(&kept), Err(BackendError::Refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_a_recover_with_all_keys_of_an_hsm_that_is_live_again_does_nothing() {
    let scene = Scene::with_key("late").await;
    let key = scene.deleted(KEY, "signing").await;
    let hsm = scene.deleted(HSM, "safe").await;
    scene.recovered(HSM, "safe", &origin(&hsm)).await;
    recovered_with_all(&scene, &hsm, "").await;
    let kept = scene.retained(KEY_PROXY, "signing").await;
    assert_eq!(uid(&kept), uid(&key));
    assert_eq!(scene.get(KEY, "signing").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd27_what_was_deleted_under_its_hsms_seal_is_sealed_before_the_hsm_is_ready_and_keeps_its_own_date()
 {
    let scene = Scene::with_hsm("goner", "{retentionDays: 30}").await;
    let spec = "{hsm: safe, keyType: EC, curve: P-256, retentionDays: 7}";
    scene.apply(&manifest("HsmKey", "signing", spec)).await;
    let key = scene.ready(KEY, "signing").await;
    let hsm = scene.deleted(HSM, "safe").await;
    scene.stalled(KEY, "signing", "HsmDeleted").await;
    let delete = ["delete", "hsmkey", "signing"];
    scene.kubectl(&delete, "").await.ok();
    let proxy = scene.get(KEY_PROXY, "signing").await.expect("at once");
    scene
        .seen(KEY_PROXY, "signing", "with its HSM", |found| {
            found.data["status"]["purgeTime"] == hsm.data["status"]["purgeTime"]
        })
        .await;

    scene
        .ask_back("back", "ManagedHsm", "safe", &origin(&hsm))
        .await;
    // From the first moment at which anything can be used, this cannot.
    scene.ready(HSM, "safe").await;
    assert_eq!(scene.signs(&key), Err(BackendError::Refused));
    let settled = scene
        .seen(KEY_PROXY, "signing", "its own date again", |found| {
            found.data["status"]["purgeTime"] == found.data["spec"]["scheduledPurgeTime"]
                && found.data["status"]["recordGeneration"].is_i64()
        })
        .await;
    assert_eq!(uid(&settled), uid(&proxy));
    assert_eq!(settled.data["spec"]["retentionDays"], 7);
    scene.until(RECOVER, "back", "Complete", "True", "").await;
    let back = scene.recovered(KEY, "signing", &uid(&key)).await;
    assert_eq!(fingerprints(&back), fingerprints(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd11_nothing_is_recovered_on_its_own_while_its_hsm_is_deleted_and_what_was_asked_goes_on_after_it()
 {
    let scene = Scene::with_key("shares").await;
    let key = scene.deleted(KEY, "signing").await;
    let hsm = scene.deleted(HSM, "safe").await;
    scene
        .ask_back("early", "HsmKey", "signing", &origin(&key))
        .await;
    scene
        .until(RECOVER, "early", "Stalled", "True", "HsmDeleted")
        .await;
    let kept = scene.get(KEY_PROXY, "signing").await.expect("it stays");
    assert_eq!(kept.data["status"]["phase"], json!(null));
    scene
        .ask_back("hsm", "ManagedHsm", "safe", &origin(&hsm))
        .await;
    for recover in ["hsm", "early"] {
        scene.until(RECOVER, recover, "Complete", "True", "").await;
    }
    let back = scene.ready(KEY, "signing").await;
    assert_eq!(fingerprints(&back), fingerprints(&key));
    let ready = condition(&back, "Ready").expect("told").0;
    assert_eq!(ready, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd13_an_hsm_shows_its_protection_only_when_each_deleted_keys_proxy_does() {
    let scene = Scene::with_key("order").await;
    scene.apply(&manifest("HsmKey", "second", EC)).await;
    scene.ready(KEY, "second").await;
    for name in ["signing", "second"] {
        scene.deleted(KEY, name).await;
    }
    scene
        .apply(&manifest("ManagedHsm", "safe", "{purgeProtection: true}"))
        .await;
    let shown = scene
        .seen(HSM, "safe", "protected", |found| {
            found.data["status"]["recoveryLevel"] == "Recoverable"
        })
        .await;
    let revision = |of: &DynamicObject| -> u64 {
        let version = of.metadata.resource_version.as_deref();
        version.expect("one").parse().expect("a number")
    };
    for name in ["signing", "second"] {
        let proxy = scene.get(KEY_PROXY, name).await.expect("its proxy");
        assert_eq!(proxy.data["status"]["purgeProtection"], true, "{name}");
        assert_eq!(proxy.data["status"]["recoveryLevel"], "Recoverable");
        assert!(revision(&proxy) < revision(&shown), "{name} came after");
    }
}
