//! Reserved names: who has them, who stands, and how one goes on.

use managed_hsm_operator::api::Time;
use managed_hsm_operator::softdelete::{Deleted, Kind, Origin, Refusal, Uid};

use kube::api::{DynamicObject, PostParams};
use serde_json::json;

use crate::operator::condition;
use crate::scene::{EC, HSM, KEY, RECOVER, Scene, fingerprints, manifest, origin, uid};

/// What the rules say of the object that this proxy stands for.
fn reserved(proxy: &DynamicObject, kind: Kind) -> Refusal {
    let of = &proxy.data["spec"]["origin"];
    let text = |field: &str| of[field].as_str().expect("a text").to_owned();
    let date = proxy.data["status"]["purgeTime"].clone();
    let date: Time = serde_json::from_value(date).expect("a date");
    Refusal::ObjectIsDeletedButRecoverable(Deleted {
        kind,
        origin: Origin {
            namespace: text("namespace"),
            namespace_uid: Uid(text("namespaceUid")),
            name: text("name"),
            uid: Uid(text("uid")),
        },
        purge_time: Some(date.utc()),
        purgeable: true,
    })
}

/// The command that the sentence gives, as the shell would run it: what goes to standard input.
fn command(sentence: &str) -> &str {
    let (_, rest) = sentence
        .split_once("kubectl apply -f - <<<'")
        .expect("a command");
    rest.split_once('\'').expect("its end").0
}

#[tokio::test(flavor = "multi_thread")]
async fn sd17_a_create_under_a_reserved_name_stands_and_the_sentences_own_command_brings_it_back() {
    let scene = Scene::with_key("standing").await;
    let before = scene.ready(KEY, "signing").await;
    let proxy = scene.deleted(KEY, "signing").await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    let sentence = scene
        .stalled(KEY, "signing", "ObjectIsDeletedButRecoverable")
        .await;
    assert_eq!(sentence, reserved(&proxy, Kind::Key).to_string());
    let shown = proxy.data["status"]["purgeTime"].as_str().expect("a date");
    for part in [
        proxy.metadata.name.as_deref().expect("a name"),
        &origin(&proxy),
        shown,
        "Recover",
        "Purge",
    ] {
        assert!(sentence.contains(part), "{part} in {sentence}");
    }
    let standing = scene.get(KEY, "signing").await.expect("it stands");
    assert!(standing.data["status"]["versions"].is_null());

    scene.apply(command(&sentence)).await;
    let back = scene.ready(KEY, "signing").await;
    // The one that stood has the material now, and it is the old one.
    assert_eq!(uid(&back), uid(&standing));
    assert_eq!(fingerprints(&back), fingerprints(&before));
    assert_eq!(condition(&back, "Stalled"), None);
    let recover = format!("recover-{}", origin(&proxy));
    scene.until(RECOVER, &recover, "Complete", "True", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd17_an_hsms_name_is_reserved_too() {
    let scene = Scene::with_hsm("hsmname", "{}").await;
    let proxy = scene.deleted(HSM, "safe").await;
    scene.apply(&manifest("ManagedHsm", "safe", "{}")).await;
    let sentence = scene
        .stalled(HSM, "safe", "ObjectIsDeletedButRecoverable")
        .await;
    assert_eq!(sentence, reserved(&proxy, Kind::Hsm).to_string());
    scene.apply(command(&sentence)).await;
    let back = scene.ready(HSM, "safe").await;
    assert_eq!(
        back.data["status"]["hsmId"], proxy.data["spec"]["hsmId"],
        "the same HSM"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd17_the_key_name_is_reserved_in_the_hsm_whatever_its_case_and_its_resource() {
    let scene = Scene::with_hsm("keyname", "{}").await;
    let named = |name: &str, key: &str| {
        let spec = format!("{{hsm: safe, keyName: {key}, keyType: EC, curve: P-256}}");
        manifest("HsmKey", name, &spec)
    };
    scene.apply(&named("one", "Signing")).await;
    let one = scene.ready(KEY, "one").await;
    scene.apply(&named("two", "sIGNING")).await;
    let sentence = scene.stalled(KEY, "two", "NameTaken").await;
    assert!(sentence.contains("one"), "{sentence}");

    // Of two live ones the record's holds the name; deleted, it holds it still.
    let proxy = scene.deleted(KEY, "one").await;
    let sentence = scene
        .stalled(KEY, "two", "ObjectIsDeletedButRecoverable")
        .await;
    assert_eq!(sentence, reserved(&proxy, Kind::Key).to_string());
    scene.apply(command(&sentence)).await;
    let back = scene.ready(KEY, "one").await;
    assert_eq!(fingerprints(&back), fingerprints(&one));
    scene.stalled(KEY, "two", "NameTaken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_a_standing_object_that_differs_fails_the_recover_which_names_the_difference() {
    let scene = Scene::with_key("differs").await;
    let proxy = scene.deleted(KEY, "signing").await;
    let other = "{hsm: safe, keyType: EC, curve: P-384}";
    scene.apply(&manifest("HsmKey", "signing", other)).await;
    scene
        .stalled(KEY, "signing", "ObjectIsDeletedButRecoverable")
        .await;
    scene
        .ask_back("first", "HsmKey", "signing", &origin(&proxy))
        .await;
    let failed = scene
        .until(RECOVER, "first", "Failed", "True", "SnapshotDisagrees")
        .await;
    let (_, _, sentence) = condition(&failed, "Failed").expect("told");
    assert!(
        sentence.contains("P-256") && sentence.contains("P-384"),
        "{sentence}"
    );
    // What failed is final: it does nothing when the way is free.
    scene
        .kubectl(&["delete", "hsmkey", "signing"], "")
        .await
        .ok();
    scene.recovered(KEY, "signing", &origin(&proxy)).await;
    let failed = scene.get(RECOVER, "first").await.expect("it stays");
    assert_eq!(condition(&failed, "Complete"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd17_of_many_that_ask_for_one_key_name_at_once_exactly_one_gets_it() {
    let scene = Scene::with_hsm("crowd", "{}").await;
    let names: Vec<_> = (0..8).map(|number| format!("k{number}")).collect();
    let keys = scene.api(KEY);
    let creates = names.iter().map(|name| {
        let spec = json!({"hsm": "safe", "keyName": "Wanted", "keyType": "EC", "curve": "P-256"});
        let mut key = DynamicObject::new(name, &KEY.resource()).within(&scene.ns);
        key.data = json!({ "spec": spec });
        let keys = keys.clone();
        async move { keys.create(&PostParams::default(), &key).await }
    });
    for created in futures::future::join_all(creates).await {
        created.expect("created");
    }
    let mut ready = Vec::new();
    for name in &names {
        let settled = scene
            .seen(KEY, name, "ready or standing", |found| {
                condition(found, "Ready")
                    .is_some_and(|(is, why, _)| is == "True" || why == "NameTaken")
            })
            .await;
        ready.extend(condition(&settled, "Ready").filter(|(is, _, _)| is == "True"));
    }
    assert_eq!(ready.len(), 1, "{ready:?}");
}
