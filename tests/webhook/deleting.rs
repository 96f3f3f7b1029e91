//! What a delete says, and that the command that it prints works.

use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};

use super::scene::{HSM, KEY, Scene, hsm_with_key, warnings};
use crate::user::{User, material};

async fn delete(scene: &Scene, user: &User, what: &str, more: &[&str]) -> Vec<String> {
    let name = ["delete", what, "-n", &user.namespace, "--wait=false"];
    let arguments: Vec<&str> = name.into_iter().chain(more.iter().copied()).collect();
    let output = scene.kubectl(&arguments, &Value::Null).await;
    let told = warnings(&output);
    output.ok();
    told
}

/// The date in it, which moves while one looks, and the rest.
fn until(text: &str) -> (chrono::DateTime<chrono::Utc>, String) {
    let (before, rest) = text.split_once("until about ").expect("a date");
    let (date, after) = rest.split_at(rest.find(['.', ',']).expect("an end"));
    (
        date.parse().expect("a date"),
        format!("{before}until{after}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_says_where_it_went_and_the_command_that_it_prints_brings_it_back() {
    let scene = Scene::new(&[]).await;
    let user = scene.user("deletes").await;
    let (hsm_uid, key_uid) = hsm_with_key(&user, json!({"retentionDays": 30})).await;
    let made = user.ready(Kind::Key, "signing").await;

    // As a dry run too, and then nothing happened.
    let foretold = delete(&scene, &user, "hsmkey/signing", &["--dry-run=server"]).await;
    assert_eq!(foretold.len(), 2, "{foretold:?}");
    let told = delete(&scene, &user, "hsmkey/signing", &[]).await;
    let (date, rest) = until(&told[0]);
    let proxy = user.proxy_of("signing");
    assert_eq!(
        rest,
        format!("Soft-deleted, not destroyed: kept as deletedhsmkeys/{proxy} until.")
    );
    let kept = user.deleted(Kind::Key, "signing", &key_uid).await;
    let purge_time = kept.data["spec"]["scheduledPurgeTime"]
        .as_str()
        .expect("a date");
    let purge_time: chrono::DateTime<chrono::Utc> = purge_time.parse().expect("a date");
    assert!(
        (purge_time - date).num_seconds().abs() <= 3,
        "{date} was told, and it is {purge_time}"
    );

    // Copied from the terminal.
    let ran = scene.shell(&command_of(&told));
    assert!(ran.status.success(), "{ran:?}");
    let back = user.ready(Kind::Key, "signing").await;
    assert_eq!(material(&back), material(&made));

    let told_of_hsm = delete(&scene, &user, "managedhsm/safe", &[]).await;
    assert!(
        told_of_hsm[0].ends_with("Z, and its key with it."),
        "{told_of_hsm:?}"
    );
    user.deleted(Kind::Hsm, "safe", &hsm_uid).await;
    let told = delete(&scene, &user, "hsmkey/signing", &["--dry-run=server"]).await;
    assert!(
        told[1].starts_with("Bring it back, once its HSM is back, with: "),
        "{told:?}"
    );
    let recovered = scene.shell(&command_of(&told_of_hsm));
    assert!(recovered.status.success(), "{recovered:?}");
    user.ready(Kind::Key, "signing").await;
}

/// As it stands in the warnings.
fn command_of(told: &[String]) -> String {
    let command = told[1].strip_prefix("Bring it back with: ");
    command.expect("a command").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_without_soft_delete_says_that_it_is_for_good() {
    let scene = Scene::new(&[]).await;
    let user = scene.user("off").await;
    hsm_with_key(&user, json!({"softDelete": false})).await;
    let namespace = &user.namespace;
    assert_eq!(
        delete(&scene, &user, "hsmkey/signing", &["--dry-run=server"]).await,
        [format!(
            "Soft-delete is off for HsmKey {namespace}/signing: it is destroyed now, and nothing can bring it back."
        )]
    );
    // An HSM's counts may be ten seconds late, and it says what they say.
    user.until("counted", HSM, "safe", |found| {
        found.is_some_and(|found| found.data["status"]["keys"] == 1)
    })
    .await;
    assert_eq!(
        delete(&scene, &user, "managedhsm/safe", &[]).await,
        [format!(
            "Soft-delete is off for ManagedHsm {namespace}/safe: it is destroyed now, and its key with it, and nothing can bring it back."
        )]
    );
    // One that never got anything.
    let key = json!({"spec": {"hsm": "nowhere", "keyType": "EC", "curve": "P-256"}});
    user.create(KEY, "early", key).await;
    assert_eq!(
        delete(&scene, &user, "hsmkey/early", &[]).await,
        [format!(
            "HsmKey {namespace}/early had no material yet: nothing of it is kept."
        )]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_of_many_says_the_short_word_of_each() {
    let scene = Scene::new(&[]).await;
    let user = scene.user("many").await;
    hsm_with_key(&user, json!({})).await;
    let key = json!({"spec": {"hsm": "safe", "keyType": "EC", "curve": "P-256"}});
    user.create(KEY, "second", key).await;
    user.ready(Kind::Key, "second").await;
    let path = format!(
        "/apis/managedhsm.dev/v1alpha1/namespaces/{}/hsmkeys",
        user.namespace
    );
    let output = scene
        .kubectl(&["delete", "--raw", &path], &Value::Null)
        .await;
    let told = warnings(&output);
    output.ok();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter()
            .all(|told| told.starts_with("Soft-deleted, ") && told.len() <= 256),
        "{told:?}"
    );
}
