//! What is refused early, and what is only told.

use managed_hsm_operator::softdelete::{Deleted, Kind, Origin, Protector, Refusal, Uid};
use serde_json::{Value, json};

use super::scene::{
    CREATE, KEY, Scene, TRY, deleted, denied, hsm, hsm_with_key, key, purge, recover, warnings,
};
use crate::user::User;

/// A proxy as refusals show it.
fn shown(kind: Kind, proxy: &Value, purgeable: bool) -> Deleted {
    let text = |pointer: &str| {
        proxy
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    Deleted {
        kind,
        origin: Origin {
            namespace: text("/spec/origin/namespace").into(),
            namespace_uid: text("/spec/origin/namespaceUid").into(),
            name: text("/spec/origin/name").into(),
            uid: text("/spec/origin/uid").into(),
        },
        purge_time: Some(text("/status/purgeTime").parse().expect("a date")),
        purgeable,
    }
}

async fn told(scene: &Scene, object: &Value) -> Vec<String> {
    let output = scene.kubectl(&TRY, object).await;
    let told = warnings(&output);
    output.ok();
    told
}

/// Each by kubectl, really and as a dry run, with SD-34's sentence to the letter.
async fn refused(scene: &Scene, object: &Value, refusal: Refusal) {
    let sentence = refusal.to_string();
    denied(scene.kubectl(&TRY, object).await, &sentence);
    denied(scene.kubectl(&CREATE, object).await, &sentence);
}

async fn names(scene: &Scene, user: &User) {
    let (hsm_uid, key_uid) = hsm_with_key(user, json!({"retentionDays": 30})).await;
    let too_long = key(user, "long", &json!({"retentionDays": 60}));
    refused(
        scene,
        &too_long,
        Refusal::RetentionExceedsHsm {
            days: 60,
            hsm_days: 30,
        },
    )
    .await;

    let proxy = deleted(user, Kind::Key, "signing", &key_uid).await;
    let reserved = || Refusal::ObjectIsDeletedButRecoverable(shown(Kind::Key, &proxy, true));
    refused(scene, &key(user, "signing", &json!({})), reserved()).await;
    // By its key name alone, from another resource.
    let other = key(user, "other", &json!({"keyName": "Signing"}));
    refused(scene, &other, reserved()).await;
    // What asks for its recovery, and what is of another name, passes in silence.
    let again = key(user, "signing", &json!({"createMode": "CreateOrRecover"}));
    assert_eq!(told(scene, &again).await, Vec::<String>::new());
    assert_eq!(
        told(scene, &key(user, "other", &json!({}))).await,
        Vec::<String>::new()
    );

    let proxy = deleted(user, Kind::Hsm, "safe", &hsm_uid).await;
    let deleted = shown(Kind::Hsm, &proxy, true);
    let reserved = Refusal::ObjectIsDeletedButRecoverable(deleted.clone());
    refused(scene, &hsm(user, "safe", &json!({})), reserved).await;
    // Git may bring its HSM back in the same sync: so a key of it is only told.
    let waits = Refusal::HsmDeleted {
        hsm: deleted,
        recovering: false,
    };
    assert_eq!(
        told(scene, &key(user, "third", &json!({}))).await,
        [waits.to_string()]
    );
    let back = recover(&user.namespace, KEY, "signing", &key_uid);
    assert_eq!(told(scene, &back).await, [waits.to_string()]);
    // Nor is a key refused whose HSM comes with the next manifest.
    let early = key(user, "early", &json!({"hsm": "later"}));
    assert_eq!(told(scene, &early).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn sd17_a_reserved_name_is_refused_early_with_its_sentence() {
    let scene = Scene::new(&[]).await;
    let user = scene.user("names").await;
    names(&scene, &user).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd14_a_purge_that_would_fail_for_good_is_refused_early_with_its_sentence() {
    let scene = Scene::new(&[]).await;
    let (kind, nobody) = (Kind::Hsm, "5ef1a7d2-0000-4000-8000-000000000000");
    let nothing = Refusal::NothingToPurge {
        kind,
        proxy: "a.b".into(),
        uid: nobody.into(),
    };
    refused(&scene, &purge(kind, "a.b", nobody), nothing).await;

    // Protected by itself, by its HSM, by a key in it.
    for (purpose, hsm_on, key_on) in [("hsm-on", true, false), ("key-on", false, true)] {
        let user = scene.user(purpose).await;
        let (hsm_uid, key_uid) = hsm_with_key(&user, json!({"purgeProtection": hsm_on})).await;
        if key_on {
            user.patch(KEY, "signing", json!({"spec": {"purgeProtection": true}}))
                .await;
            let shown = |found: Option<&kube::api::DynamicObject>| {
                found.is_some_and(|found| found.data["status"]["recoveryLevel"] == "Recoverable")
            };
            user.until("protected", KEY, "signing", shown).await;
        }
        let protected = |by: Protector, proxy: &Value| {
            let date = proxy["status"]["purgeTime"].as_str().expect("a date");
            Refusal::PurgeProtected {
                by,
                until: Some(date.parse().expect("a date")),
            }
        };
        let proxy = deleted(&user, Kind::Key, "signing", &key_uid).await;
        let name = user.proxy_of("signing");
        let by = if key_on {
            Protector::Itself
        } else {
            Protector::Hsm("safe".into())
        };
        refused(
            &scene,
            &purge(Kind::Key, &name, &key_uid),
            protected(by, &proxy),
        )
        .await;
        let asked: Uid = "another".into();
        let other = Refusal::UidMismatch {
            proxy: name.clone(),
            asked,
            found: key_uid.as_str().into(),
        };
        refused(&scene, &purge(Kind::Key, &name, "another"), other).await;

        let proxy = deleted(&user, Kind::Hsm, "safe", &hsm_uid).await;
        let by = if key_on {
            Protector::Key("signing".into())
        } else {
            Protector::Itself
        };
        let name = user.proxy_of("safe");
        refused(
            &scene,
            &purge(Kind::Hsm, &name, &hsm_uid),
            protected(by, &proxy),
        )
        .await;
    }

    // What only waits is told, and what may be done passes in silence.
    let user = scene.user("free").await;
    let (hsm_uid, key_uid) = hsm_with_key(&user, json!({})).await;
    deleted(&user, Kind::Key, "signing", &key_uid).await;
    let now = purge(Kind::Key, &user.proxy_of("signing"), &key_uid);
    assert_eq!(told(&scene, &now).await, Vec::<String>::new());
    let proxy = deleted(&user, Kind::Hsm, "safe", &hsm_uid).await;
    let waits = Refusal::HsmDeleted {
        hsm: shown(Kind::Hsm, &proxy, true),
        recovering: false,
    };
    assert_eq!(told(&scene, &now).await, [waits.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_a_recover_is_never_refused_and_told_what_it_will_wait_for() {
    let scene = Scene::new(&[]).await;
    let user = scene.user("recovers").await;
    let (_, key_uid) = hsm_with_key(&user, json!({})).await;
    let of = |uid: &str| recover(&user.namespace, KEY, "signing", uid);
    // It may be applied before the deletion.
    assert_eq!(told(&scene, &of(&key_uid)).await, Vec::<String>::new());
    deleted(&user, Kind::Key, "signing", &key_uid).await;
    assert_eq!(told(&scene, &of(&key_uid)).await, Vec::<String>::new());
    let (kind, name) = (Kind::Key, "signing".to_owned());
    let nothing = Refusal::NothingToRecover {
        kind,
        name,
        uid: "another".into(),
    };
    assert_eq!(told(&scene, &of("another")).await, [nothing.to_string()]);
    let done = scene.kubectl(&CREATE, &of(&key_uid)).await;
    assert_eq!(warnings(&done), Vec::<String>::new());
    done.ok();
    user.ready(Kind::Key, "signing").await;
}
