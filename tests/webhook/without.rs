//! Where the webhook is down, slow or wrong: users go on, and the controller refuses with the same sentence.

use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use testplane::Output;

use super::scene::{Authority, CREATE, KEY, Scene, TRY, deleted, hsm_with_key, key, warnings};
use crate::operator::condition;
use crate::user::{User, is};

/// The sentence with which it is refused.
fn sentence(output: Output) -> String {
    let shown = output.refused();
    let (_, sentence) = shown
        .split_once("denied the request: ")
        .expect("the webhook's");
    sentence.trim_end().to_owned()
}

/// The create passes, the controller stands with that sentence, and the delete passes, in silence.
async fn goes_on(scene: &Scene, user: &User, sentence: &str) {
    assert!(!scene.asked().await, "it is asked all the same");
    let made = scene
        .kubectl(&CREATE, &key(user, "signing", &json!({})))
        .await;
    assert_eq!(warnings(&made), Vec::<String>::new());
    made.ok();
    let stands =
        |found: Option<&kube::api::DynamicObject>| found.is_some_and(|found| is(found, "Stalled"));
    let found = user
        .until("standing", KEY, "signing", stands)
        .await
        .expect("there");
    let (status, reason, message) = condition(&found, "Ready").expect("a condition");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "ObjectIsDeletedButRecoverable")
    );
    assert_eq!(message, sentence);
    assert!(
        found.data["status"].get("hsmId").is_none(),
        "it got material"
    );
    let delete = ["delete", "hsmkey", "signing", "-n", &user.namespace];
    let gone = scene.kubectl(&delete, &Value::Null).await;
    assert_eq!(warnings(&gone), Vec::<String>::new());
    gone.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_go_on_without_it_and_the_controller_refuses_with_the_same_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.write(folder.path());
    let flags = ["--webhook-cert-dir", &folder.path().display().to_string()];
    let scene = Scene::unregistered(&flags).await;
    scene.register(scene.port, Some(&authority.bundle)).await;
    scene.answers().await;
    let user = scene.user("without").await;
    let (_, key_uid) = hsm_with_key(&user, json!({})).await;
    deleted(&user, Kind::Key, "signing", &key_uid).await;
    let refused = sentence(
        scene
            .kubectl(&TRY, &key(&user, "signing", &json!({})))
            .await,
    );

    // Nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = nobody.local_addr().expect("an address").port();
    drop(nobody);
    scene.register(port, Some(&authority.bundle)).await;
    goes_on(&scene, &user, &refused).await;

    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    scene
        .register(
            silent.local_addr().expect("an address").port(),
            Some(&authority.bundle),
        )
        .await;
    goes_on(&scene, &user, &refused).await;

    // It answers, with a certificate that nobody trusts.
    scene
        .register(scene.port, Some(&Authority::new().bundle))
        .await;
    goes_on(&scene, &user, &refused).await;

    // And back.
    scene.register(scene.port, Some(&authority.bundle)).await;
    scene.answers().await;
    assert_eq!(
        sentence(
            scene
                .kubectl(&TRY, &key(&user, "signing", &json!({})))
                .await
        ),
        refused
    );
}
