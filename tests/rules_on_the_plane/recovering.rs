//! Recover: the very same object, once, and only that deletion.

use std::time::Duration;

use kube::api::DynamicObject;
use managed_hsm_operator::softdelete::{Kind, Refusal, Uid};
use serde_json::json;

use crate::operator::condition;
use crate::scene::{
    EC, HSM, KEY, KEY_PROXY, RECOVER, Scene, fingerprints, manifest, origin, uid, with_meta,
};

const GIT: [&str; 5] = ["apply", "--server-side", "--field-manager=git", "-f", "-"];

/// Who owns which fields, without the operator's own entries and their times.
fn owners(of: &DynamicObject) -> Vec<serde_json::Value> {
    let entries = json!(of.metadata.managed_fields);
    let all = entries.as_array().expect("owners");
    all.iter()
        .filter(|entry| {
            !entry["manager"]
                .as_str()
                .unwrap_or("")
                .starts_with("managed")
        })
        .cloned()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sd19_field_owners_come_back_so_that_git_still_owns_what_it_set() {
    let scene = Scene::with_hsm("owners", "{}").await;
    let metadata = "{name: signing, labels: {team: blue}, annotations: {note: hello}}";
    let full = "{hsm: safe, keyType: EC, curve: P-256, tags: {cost: '17', owner: me}}";
    let less = "{hsm: safe, keyType: EC, curve: P-256, tags: {owner: me}}";
    scene
        .kubectl(&GIT, &with_meta("HsmKey", metadata, full))
        .await
        .ok();
    scene.ready(KEY, "signing").await;
    // Somebody else's field, which Git's apply must leave alone.
    let annotate = ["annotate", "hsmkey", "signing", "by-hand=yes"];
    scene.kubectl(&annotate, "").await.ok();
    let before = scene.get(KEY, "signing").await.expect("it is there");

    let proxy = scene.deleted(KEY, "signing").await;
    let back = scene.recovered(KEY, "signing", &origin(&proxy)).await;
    assert_eq!(back.data["spec"], before.data["spec"]);
    assert_eq!(back.metadata.labels, before.metadata.labels);
    assert_eq!(back.metadata.annotations, before.metadata.annotations);
    assert_eq!(back.metadata.finalizers, before.metadata.finalizers);
    assert_eq!(owners(&back), owners(&before));
    assert_eq!(fingerprints(&back), fingerprints(&before));

    scene
        .kubectl(&GIT, &with_meta("HsmKey", metadata, full))
        .await
        .ok();
    let same = scene.get(KEY, "signing").await.expect("it is there");
    assert_eq!(
        same.metadata.generation, back.metadata.generation,
        "the same apply changes nothing"
    );
    scene
        .kubectl(&GIT, &with_meta("HsmKey", "{name: signing}", less))
        .await
        .ok();
    let after = scene.get(KEY, "signing").await.expect("it is there");
    assert_eq!(after.data["spec"]["tags"], json!({"owner": "me"}));
    assert_eq!(after.metadata.labels, None);
    let annotations = after.metadata.annotations.expect("the one by hand");
    assert_eq!(annotations.get("by-hand").map(String::as_str), Some("yes"));
    assert_eq!(annotations.get("note"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_a_recover_acts_once_and_applying_it_again_does_nothing() {
    let scene = Scene::with_key("once").await;
    let proxy = scene.deleted(KEY, "signing").await;
    let back = scene.recovered(KEY, "signing", &origin(&proxy)).await;
    let done = scene.get(RECOVER, "back-signing").await.expect("it stays");
    assert_eq!(done.data["status"]["recovered"][0]["newUid"], uid(&back));
    assert_eq!(done.data["status"]["recovered"][0]["outcome"], "Recovered");

    // Deleted again: another deletion, with a new uid, which the old Recover is not about.
    let again = scene.deleted(KEY, "signing").await;
    assert_eq!(origin(&again), uid(&back));
    scene
        .ask_back("back-signing", "HsmKey", "signing", &origin(&proxy))
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let kept = scene.get(KEY_PROXY, "signing").await.expect("it is kept");
    assert!(kept.data["status"]["phase"].is_null());
    let same = scene.get(RECOVER, "back-signing").await.expect("it stays");
    assert_eq!(
        same.metadata.resource_version,
        done.metadata.resource_version
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_a_recover_of_what_was_never_there_fails_for_good() {
    let scene = Scene::with_key("never").await;
    scene
        .ask_back("wrong", "HsmKey", "signing", "no-such-uid")
        .await;
    let failed = scene
        .until(RECOVER, "wrong", "Failed", "True", "NothingToRecover")
        .await;
    let refusal = Refusal::NothingToRecover {
        kind: Kind::Key,
        name: "signing".into(),
        uid: Uid("no-such-uid".into()),
    };
    for kind in ["Failed", "Stalled", "Ready"] {
        let (_, _, sentence) = condition(&failed, kind).expect("told");
        assert_eq!(sentence, refusal.to_string());
    }
    let (ready, _, _) = condition(&failed, "Ready").expect("told");
    assert_eq!(ready, "False");
    // Deleting the live key later does not make the old request true.
    scene.deleted(KEY, "signing").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.get(KEY_PROXY, "signing").await.expect("it is kept");
}

/// Whoever knows name and uid, and may do all in a namespace of his own.
#[tokio::test(flavor = "multi_thread")]
async fn sd19_a_recover_is_no_door_into_another_namespace() {
    let scene = Scene::with_key("robbed").await;
    let proxy = scene.deleted(KEY, "signing").await;
    let thief = Scene::with_hsm("thief", "{}").await;
    let accepted = thief.namespace().await;
    let spec = format!(
        "{{kind: HsmKey, name: signing, uid: {}, acceptNamespaceUid: {}}}",
        origin(&proxy),
        uid(&accepted)
    );
    thief.apply(&manifest("Recover", "theft", &spec)).await;
    thief
        .until(RECOVER, "theft", "Failed", "True", "NothingToRecover")
        .await;
    assert!(thief.get(KEY, "signing").await.is_none());
    // A key of that name in his namespace gets material of its own.
    let own = EC.replace('}', ", createMode: CreateOrRecover}");
    thief.apply(&manifest("HsmKey", "signing", &own)).await;
    let own = thief.ready(KEY, "signing").await;
    let back = scene.recovered(KEY, "signing", &origin(&proxy)).await;
    assert_ne!(fingerprints(&own), fingerprints(&back));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_a_recover_of_what_is_live_completes_without_doing_anything() {
    let scene = Scene::with_key("live").await;
    let before = scene.ready(KEY, "signing").await;
    scene
        .ask_back("needless", "HsmKey", "signing", &uid(&before))
        .await;
    let done = scene
        .until(RECOVER, "needless", "Complete", "True", "")
        .await;
    assert_eq!(
        done.data["status"]["recovered"][0]["outcome"],
        "AlreadyLive"
    );
    let after = scene.get(KEY, "signing").await.expect("it is there");
    assert_eq!(
        after.metadata.resource_version,
        before.metadata.resource_version
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd21_a_recovered_hsm_brings_back_what_was_live_in_it_and_leaves_the_others_deleted() {
    let scene = Scene::with_key("leaves").await;
    scene.apply(&manifest("HsmKey", "second", EC)).await;
    scene.ready(KEY, "second").await;
    let second = scene.deleted(KEY, "second").await;
    let hsm = scene.deleted(HSM, "safe").await;
    scene.recovered(HSM, "safe", &origin(&hsm)).await;
    let first = scene.ready(KEY, "signing").await;
    assert_eq!(scene.signs(&first), Ok(()));
    let kept = scene.retained(KEY_PROXY, "second").await;
    assert_eq!(uid(&kept), uid(&second));
    assert_eq!(kept.data["spec"], second.data["spec"], "its own dates");
    assert_eq!(
        kept.data["status"]["purgeTime"],
        second.data["status"]["purgeTime"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd22_with_create_or_recover_a_manifest_brings_its_own_deleted_object_back() {
    let scene = Scene::with_hsm("gitops", "{createMode: CreateOrRecover}").await;
    let spec = "{hsm: safe, keyType: EC, curve: P-256, createMode: CreateOrRecover}";
    scene.apply(&manifest("HsmKey", "signing", spec)).await;
    let before = scene.ready(KEY, "signing").await;
    scene.deleted(KEY, "signing").await;
    let hsm = scene.deleted(HSM, "safe").await;
    // The next sync, in Helm's order.
    let both = manifest("HsmKey", "signing", spec)
        + &manifest("ManagedHsm", "safe", "{createMode: CreateOrRecover}");
    scene.apply(&both).await;
    let back = scene.ready(KEY, "signing").await;
    assert_eq!(fingerprints(&back), fingerprints(&before));
    let safe = scene.ready(HSM, "safe").await;
    assert_eq!(safe.data["status"]["hsmId"], hsm.data["spec"]["hsmId"]);
    assert_eq!(scene.signs(&back), Ok(()));
}
