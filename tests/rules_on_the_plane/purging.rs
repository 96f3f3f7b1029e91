//! Purge on request: what is asked for is destroyed, proved gone and told; what may not be stands, with its reason.

use kube::api::DynamicObject;
use managed_hsm_operator::backend::BackendError;
use managed_hsm_operator::controller::cluster::Watched;

use crate::operator::condition;
use crate::scene::{
    EC, HSM, HSM_PROXY, KEY, KEY_PROXY, PURGE, RECOVER, Scene, fingerprints, manifest, origin, uid,
};

#[tokio::test(flavor = "multi_thread")]
async fn sd23_a_purge_destroys_the_key_and_says_what_whose_when_and_who_asked() {
    let scene = Scene::with_key("purged-key").await;
    let key = scene.get(KEY, "signing").await.expect("it is there");
    let proxy = scene.deleted(KEY, "signing").await;

    let purge = scene.purged(KEY_PROXY, "signing", &origin(&proxy)).await;
    let destroyed = &purge.data["status"]["destroyed"];
    assert_eq!(destroyed["count"], 1);
    assert_eq!(destroyed["digest"].as_str().map(str::len), Some(64));
    let item = &destroyed["items"][0];
    let version = &key.data["status"]["versions"][0];
    assert_eq!(item["id"], version["materialId"]);
    assert_eq!(item["thumbprint"], version["thumbprint"]);
    assert_eq!(item["type"], "EC");
    assert!(purge.data["status"]["completionTime"].is_string());
    assert_eq!(purge.data["status"]["approvals"]["got"], 1);
    let accepted = condition(&purge, "Accepted").expect("it was accepted");
    assert_eq!(accepted.0, "True");
    assert!(
        matches!(scene.signs(&key), Err(BackendError::NotThere(_))),
        "{:?}",
        scene.signs(&key)
    );

    let events = scene.events(&uid(&proxy)).await.join("\n");
    for told in [
        "Purging: ",
        "Purged: ",
        "destroyed for good: anna asked for it",
    ] {
        assert!(events.contains(told), "{told:?} is not in\n{events}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_what_was_purged_cannot_be_recovered_nor_purged_again_and_its_name_is_free() {
    let scene = Scene::with_key("purged-final").await;
    let proxy = scene.deleted(KEY, "signing").await;
    let of = origin(&proxy);
    scene.purged(KEY_PROXY, "signing", &of).await;

    scene.ask_back("late", "HsmKey", "signing", &of).await;
    scene
        .until(RECOVER, "late", "Failed", "True", "NothingToRecover")
        .await;
    let again = scene.ask_purge("again", KEY_PROXY, "signing", &of).await;
    scene
        .until(PURGE, &again, "Failed", "True", "NothingToPurge")
        .await;

    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    let new = scene.ready(KEY, "signing").await;
    assert_ne!(fingerprints(&new), fingerprints(&proxy), "other material");
    scene.signs(&new).expect("the new key signs");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_a_purge_for_another_uid_or_for_what_lives_fails_and_says_so() {
    let scene = Scene::with_key("purged-other").await;
    let key = scene.get(KEY, "signing").await.expect("it is there");
    let live = scene
        .ask_purge("live", KEY_PROXY, "signing", &uid(&key))
        .await;
    scene
        .until(PURGE, &live, "Failed", "True", "NothingToPurge")
        .await;
    let never = scene
        .ask_purge("never", KEY_PROXY, "nobody", "no-such-uid")
        .await;
    scene
        .until(PURGE, &never, "Failed", "True", "NothingToPurge")
        .await;

    scene.deleted(KEY, "signing").await;
    let other = scene
        .ask_purge("other", KEY_PROXY, "signing", "another-uid")
        .await;
    let failed = scene
        .until(PURGE, &other, "Failed", "True", "UidMismatch")
        .await;
    let (_, _, sentence) = condition(&failed, "Stalled").expect("it stalls");
    assert!(
        sentence.contains(&uid(&key)),
        "names the right uid: {sentence}"
    );
    scene.retained(KEY_PROXY, "signing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd14_protection_forbids_a_purge_on_request_of_the_key_of_its_hsm_and_of_an_hsm_that_holds_it()
 {
    let scene = Scene::with_hsm("purge-protected", "{}").await;
    let protected = "{hsm: safe, keyType: EC, curve: P-256, purgeProtection: true}";
    scene.apply(&manifest("HsmKey", "guarded", protected)).await;
    scene.ready(KEY, "guarded").await;
    let key = scene.deleted(KEY, "guarded").await;
    refused(&scene, KEY_PROXY, "guarded", &key).await;

    // An HSM that holds a protected key, though that key is deleted.
    let hsm = scene.deleted(HSM, "safe").await;
    refused(&scene, HSM_PROXY, "safe", &hsm).await;

    // A key in a protected HSM.
    let hsm = manifest("ManagedHsm", "vault", "{purgeProtection: true}");
    scene.apply(&hsm).await;
    scene
        .apply(&manifest(
            "HsmKey",
            "inside",
            "{hsm: vault, keyType: EC, curve: P-256}",
        ))
        .await;
    scene.ready(KEY, "inside").await;
    let key = scene.deleted(KEY, "inside").await;
    refused(&scene, KEY_PROXY, "inside", &key).await;
}

async fn refused(scene: &Scene, of: Watched, name: &str, proxy: &DynamicObject) {
    let purge = scene
        .ask_purge(&format!("of-{name}"), of, name, &origin(proxy))
        .await;
    let failed = scene
        .until(PURGE, &purge, "Failed", "True", "PurgeProtected")
        .await;
    let (_, _, sentence) = condition(&failed, "Stalled").expect("it stalls");
    assert!(sentence.contains("protect"), "{sentence}");
    scene.retained(of, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd26_the_purge_of_an_hsm_takes_its_keys_live_and_deleted_with_one_receipt() {
    let scene = Scene::with_key("purged-hsm").await;
    scene.apply(&manifest("HsmKey", "other", EC)).await;
    scene.ready(KEY, "other").await;
    let live = scene.get(KEY, "other").await.expect("it lives");
    let deleted = scene.deleted(KEY, "signing").await;
    let proxy = scene.deleted(HSM, "safe").await;

    let purge = scene.purged(HSM_PROXY, "safe", &origin(&proxy)).await;
    let destroyed = &purge.data["status"]["destroyed"];
    assert_eq!(destroyed["count"], 2, "two keys");
    assert_eq!(destroyed["items"].as_array().map(Vec::len), Some(2));
    scene.gone(KEY_PROXY, "signing").await;
    let events = scene.events(&uid(&proxy)).await.join("\n");
    assert!(
        events.contains("with its 2 keys: other, signing"),
        "{events}"
    );

    // What still stands in it says that its material is gone, and goes when it is deleted.
    let sentence = scene.stalled(KEY, "other", "MaterialDestroyed").await;
    assert!(sentence.contains("destroyed"), "{sentence}");
    assert!(matches!(scene.signs(&live), Err(BackendError::NotThere(_))));
    scene.kubectl(&["delete", "hsmkey", "other"], "").await.ok();
    scene.gone(KEY, "other").await;
    assert!(
        scene.get(KEY_PROXY, "other").await.is_none(),
        "no proxy of what is destroyed"
    );

    // All names are free, for other material.
    let both = manifest("ManagedHsm", "safe", "{}") + &manifest("HsmKey", "signing", EC);
    scene.apply(&both).await;
    let new = scene.ready(KEY, "signing").await;
    assert_ne!(fingerprints(&new), fingerprints(&deleted));
    scene.signs(&new).expect("it signs");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd11_the_purge_of_a_key_waits_while_its_hsm_is_deleted_and_goes_on_after_its_recovery() {
    let scene = Scene::with_key("purge-waits").await;
    let key = scene.deleted(KEY, "signing").await;
    let hsm = scene.deleted(HSM, "safe").await;
    let purge = scene
        .ask_purge("waits", KEY_PROXY, "signing", &origin(&key))
        .await;
    scene
        .until(PURGE, &purge, "Stalled", "True", "HsmDeleted")
        .await;

    scene.recovered(HSM, "safe", &origin(&hsm)).await;
    scene.until(PURGE, &purge, "Complete", "True", "").await;
    scene.gone(KEY_PROXY, "signing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd02_with_soft_delete_off_a_delete_goes_on_to_purged_by_itself() {
    let scene = Scene::with_hsm("purged-direct", "{softDelete: false}").await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    let key = scene.ready(KEY, "signing").await;
    scene
        .kubectl(&["delete", "hsmkey", "signing"], "")
        .await
        .ok();
    scene.gone(KEY, "signing").await;
    scene.gone(KEY_PROXY, "signing").await;
    let receipt = scene.receipt(KEY_PROXY, "signing", &uid(&key)).await;
    assert_eq!(receipt.data["spec"]["reason"], "SoftDeleteOff");
    assert!(matches!(scene.signs(&key), Err(BackendError::NotThere(_))));

    let hsm = scene.get(HSM, "safe").await.expect("it is there");
    scene
        .kubectl(&["delete", "managedhsm", "safe"], "")
        .await
        .ok();
    scene.gone(HSM, "safe").await;
    scene.gone(HSM_PROXY, "safe").await;
    scene.receipt(HSM_PROXY, "safe", &uid(&hsm)).await;
}
