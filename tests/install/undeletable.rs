//! An undeletable cluster, and a flood: what an administrator hears of them.

use kube::api::DynamicObject;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde_json::json;
use testplane::eventually;

use crate::NAMESPACE;
use crate::rendered::{file, template};
use crate::role::{Installed, hsm_with_key};
use crate::user::{PATIENCE, User, uid};

/// The Event of that reason on the operator's Lease.
pub async fn told(installed: &Installed, reason: &str) -> String {
    let note = "jsonpath={.items[*].message}";
    let of = format!("reason={reason},involvedObject.kind=Lease,type=Warning");
    let get = [
        "get",
        "events",
        "-n",
        NAMESPACE,
        "--field-selector",
        &of,
        "-o",
        note,
    ];
    eventually(reason, PATIENCE, async || {
        let said = installed.plane.kubectl(&get, "").await.ok();
        (!said.is_empty())
            .then_some(said)
            .ok_or_else(|| "nothing yet".to_owned())
    })
    .await
}

async fn level(user: &User, wanted: &str) {
    let proxy = user.proxy_of("signing");
    let shows = |found: Option<&DynamicObject>| {
        found.is_some_and(|found| found.data["status"]["recoveryLevel"] == wanted)
    };
    user.until(wanted, Watched::Proxy(Kind::Key), &proxy, shows)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd15_an_undeletable_cluster_refuses_every_purge_on_request_and_its_end_is_told() {
    let chart = template(&["undeletable=true", "massDeletion=1"]).expect("it renders");
    let namespace = file("deploy/base/namespace.yaml");
    let installed = Installed::of(format!("{namespace}---\n{chart}")).await;
    let mut process = installed.start(&[]).await;
    let user = installed.user("tenant").await;
    let made = hsm_with_key(&user, json!({})).await;
    user.delete(Watched::Object(Kind::Key), "signing").await;
    user.deleted(Kind::Key, "signing", &uid(&made)).await;
    level(&user, "Recoverable+ProtectedSubscription").await;

    // Not even by who may do everything.
    let spec = json!({"kind": "DeletedHsmKey", "name": user.proxy_of("signing"), "uid": uid(&made), "requestedBy": "admin"});
    let purge = json!({"apiVersion": "managedhsm.dev/v1alpha1", "kind": "Purge", "metadata": {"name": "now"}, "spec": spec}).to_string();
    let create = ["create", "-f", "-"];
    let refused = installed.plane.kubectl(&create, &purge).await;
    let said = "This cluster is undeletable, so nothing is purged on request";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    let without = r#"{"apiVersion": "managedhsm.dev/v1alpha1", "kind": "ManagedHsm", "metadata": {"name": "loose", "namespace": "tenant"}, "spec": {"softDelete": false}}"#;
    let refused = installed.plane.kubectl(&create, without).await;
    let said = "This cluster is undeletable, so no HSM may be without soft-delete";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);

    // Two within a minute, where one is usual.
    user.delete(Watched::Object(Kind::Hsm), "safe").await;
    let said = told(&installed, "MassDeletion").await;
    assert!(said.contains("More than 1 objects"), "{said}");

    // Somebody takes the switch away. It is told, and the policies, which are others now, still refuse.
    assert!(process.stop().success());
    let mut lax = installed
        .start_with(&[], &[("MHSM_UNDELETABLE", "false")])
        .await;
    let said = told(&installed, "UndeletableEnded").await;
    assert!(said.contains("--undeletable"), "{said}");
    level(&user, "Recoverable+Purgeable").await;
    let refused = installed.plane.kubectl(&create, &purge).await;
    assert!(refused.stderr.contains("undeletable"), "{}", refused.stderr);
    assert!(lax.stop().success());
}
