//! The executable believes who asked only while the policies stand that saw it.

use std::time::Duration;

use kube::api::DynamicObject;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};

use crate::operator::condition;
use crate::rendered::file;
use crate::role::{Installed, hsm_with_key};
use crate::undeletable::told;
use crate::user::{User, is, material, uid};

/// The API server enforces a change a moment later, and what it let through is believed five seconds after that.
pub const SETTLED: Duration = Duration::from_secs(7);

async fn ask(user: &User, name: &str, uid: &str, requested_by: &str) {
    let proxy = user.proxy_of("signing");
    let spec =
        json!({"kind": "DeletedHsmKey", "name": proxy, "uid": uid, "requestedBy": requested_by});
    user.create(Watched::Purge, name, json!({ "spec": spec }))
        .await;
}

/// Waits until it stands, and that says so.
async fn stands(user: &User, of: Watched, name: &str, says: &str) {
    let held = |found: Option<&DynamicObject>| {
        let ready = found.and_then(|found| condition(found, "Ready"));
        ready.is_some_and(|(_, reason, sentence)| {
            reason == "PoliciesMissing" && sentence.contains(says)
        })
    };
    user.until(says, of, name, held).await;
}

async fn complete(user: &User, of: Watched, name: &str) {
    let complete = |found: Option<&DynamicObject>| found.is_some_and(|found| is(found, "Complete"));
    user.until("complete", of, name, complete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd33_what_was_asked_while_a_policy_was_away_is_never_believed() {
    let installed = Installed::new().await;
    let _process = installed.start(&[]).await;
    let user = installed.user("tenant").await;
    let made = hsm_with_key(&user, json!({})).await;
    let hsm = user.ready(Kind::Hsm, "safe").await;
    user.delete(Watched::Object(Kind::Key), "signing").await;
    user.deleted(Kind::Key, "signing", &uid(&made)).await;

    // Away, somebody writes another's name, and takes over a namespace that is not his.
    let plane = &installed.plane;
    let away = [
        "delete",
        "validatingadmissionpolicybinding",
        "purges.managedhsm.dev",
        "recovers.managedhsm.dev",
    ];
    plane.kubectl(&away, "").await.ok();
    tokio::time::sleep(SETTLED).await;
    // Noticed before anybody asks for anything.
    let said = told(&installed, "PoliciesMissing").await;
    assert!(said.contains("purges.managedhsm.dev"), "{said}");
    ask(&user, "forged", &uid(&made), "somebody-else").await;
    stands(
        &user,
        Watched::Purge,
        "forged",
        "purges.managedhsm.dev is not in place",
    )
    .await;
    user.delete(Watched::Namespace, "tenant").await;
    user.gone(Watched::Namespace, "tenant").await;
    let anew = user.create(Watched::Namespace, "tenant", json!({})).await;
    let recover = json!({"spec": {"kind": "ManagedHsm", "name": "safe", "uid": uid(&hsm), "acceptNamespaceUid": uid(&anew), "includeKeys": "All"}});
    user.create(Watched::Recover, "taken", recover.clone())
        .await;
    stands(&user, Watched::Recover, "taken", "is not in place").await;

    // Put back, they have not seen it.
    let apply = ["apply", "--server-side", "-f", "-"];
    plane
        .kubectl(&apply, &file("deploy/base/policies.yaml"))
        .await
        .ok();
    stands(
        &user,
        Watched::Recover,
        "taken",
        "delete it and create it again",
    )
    .await;
    stands(
        &user,
        Watched::Purge,
        "forged",
        "delete it and create it again",
    )
    .await;
    tokio::time::sleep(SETTLED).await;
    let refused = plane
        .kubectl(
            &["create", "-f", "-"],
            &purge_of_another(&user, &uid(&made)),
        )
        .await;
    assert!(refused.stderr.contains("requestedBy"), "{}", refused.stderr);

    // Asked anew under them, it is believed.
    user.delete(Watched::Recover, "taken").await;
    user.create(Watched::Recover, "taken", recover).await;
    complete(&user, Watched::Recover, "taken").await;
    let back = user.ready(Kind::Key, "signing").await;
    assert_eq!(material(&back), material(&made));
    user.delete(Watched::Object(Kind::Key), "signing").await;
    user.deleted(Kind::Key, "signing", &uid(&back)).await;
    ask(&user, "true", &uid(&back), "admin").await;
    complete(&user, Watched::Purge, "true").await;
}

fn purge_of_another(user: &User, uid: &str) -> String {
    let spec: Value = json!({"kind": "DeletedHsmKey", "name": user.proxy_of("signing"), "uid": uid, "requestedBy": "somebody-else"});
    json!({"apiVersion": "managedhsm.dev/v1alpha1", "kind": "Purge", "metadata": {"name": "again"}, "spec": spec}).to_string()
}
