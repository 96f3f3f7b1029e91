//! Never more than the user may: what he cannot see is said, and the way that is left.

use std::net::UdpSocket;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use managed_hsm_operator::http::{Readiness, Server, router};
use managed_hsm_operator::manifests::{NAME, NAMESPACE};
use managed_hsm_operator::metrics::Metrics;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::scene::{DONE, NOT_FOUND, NOT_PERMITTED, Scene, USAGE, hsm, roles, with_roles};

#[tokio::test(flavor = "multi_thread")]
async fn sd29_who_may_recover_and_not_see_what_is_deleted_does_it_by_uid() {
    let scene = Scene::new("blind").await;
    roles(&scene.plane).await;
    scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "signing").await;
    let uid = scene.delete(Kind::Key, &key).await;
    // Who sees deleted keys only says that it is a key: an HSM of that name may be deleted as well.
    let role = [
        "create",
        "clusterrole",
        "keys",
        "--verb=list",
        "--resource=deletedhsmkeys.managedhsm.dev",
    ];
    scene.plane.kubectl(&role, "").await.ok();
    let half = with_roles(&scene.plane, "hanna", &["keys", "hsm-purger"]).await;
    let ask = ["purge", "signing", "-n", "blind", "--yes"];
    hsm(&half, &ask)
        .await
        .says(USAGE, "write mhsm/signing or hkey/signing");
    let told = hsm(&half, &["list-deleted", "-n", "blind"])
        .await
        .says(DONE, "HsmKey   signing");
    assert!(
        told.contains("The user hanna may not list deletedmanagedhsms"),
        "{told}"
    );
    let him = with_roles(&scene.plane, "rolf", &["hsm-recoverer"]).await;
    let him = him.as_path();
    for arguments in [
        &["list-deleted"][..],
        &["recover", "signing"],
        &["recover", "--all"],
    ] {
        let all = [arguments, &["-n", "blind"]].concat();
        let told = hsm(him, &all)
            .await
            .says(NOT_PERMITTED, "The user rolf may not list deleted");
        assert!(
            told.contains("kubectl hsm recover TYPE/NAME --uid UID"),
            "{told}"
        );
    }
    hsm(him, &["purge", "signing", "-n", "blind", "--yes"])
        .await
        .says(NOT_PERMITTED, "may not list deleted");
    hsm(him, &["recover", "signing", "-n", "blind", "--uid", &uid])
        .await
        .says(USAGE, "write mhsm/signing or hkey/signing");
    let accept = [
        "recover",
        "hkey/signing",
        "-n",
        "blind",
        "--uid",
        &uid,
        "--accept-namespace",
    ];
    hsm(him, &accept).await.says(
        NOT_PERMITTED,
        "say which one you accept with --accept-namespace=UID",
    );
    let told = hsm(
        him,
        &["recover", "hkey/signing", "-n", "blind", "--uid", &uid],
    )
    .await
    .says(DONE, "Recovered");
    assert!(told.contains("you may not see more of it"), "{told}");
    scene.user.ready(Kind::Key, "signing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_get_what_is_deleted_and_not_list_it_does_all_by_name() {
    let scene = Scene::new("by-name").await;
    roles(&scene.plane).await;
    let made = scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "signing").await;
    scene.delete(Kind::Key, &key).await;
    let verbs = [
        "create",
        "clusterrole",
        "gets",
        "--verb=get",
        "--resource=deletedhsmkeys.managedhsm.dev,deletedmanagedhsms.managedhsm.dev",
    ];
    scene.plane.kubectl(&verbs, "").await.ok();
    let her = with_roles(
        &scene.plane,
        "greta",
        &["gets", "hsm-recoverer", "hsm-viewer"],
    )
    .await;
    let ask = async |arguments: &[&str]| hsm(&her, &[arguments, &["-n", "by-name"]].concat()).await;
    ask(&["list-deleted"])
        .await
        .says(NOT_PERMITTED, "The user greta may not list deleted");
    ask(&["explain", "signing"])
        .await
        .says(DONE, "DeletedHsmKey by-name.signing, Retained");
    let unlike = ask(&["recover", "sign"]).await;
    unlike.says(NOT_FOUND, "Nothing named sign is deleted");
    let told = ask(&["recover", "signing"]).await.says(DONE, "Recovered");
    assert!(told.contains("version 1"), "{told}");
    scene.user.ready(Kind::Key, "signing").await;

    scene.delete(Kind::Hsm, &made).await;
    let tree = ask(&["tree", "payments"])
        .await
        .says(DONE, "DeletedManagedHsm/by-name.payments");
    assert!(
        tree.contains("Not all of it can be shown: The user greta may not list deletedhsmkeys"),
        "{tree}"
    );
    ask(&["recover", "payments"]).await.says(DONE, "Recovered");
    scene.user.ready(Kind::Hsm, "payments").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_a_line_of_the_status_and_no_failure() {
    let scene = Scene::new("status").await;
    roles(&scene.plane).await;
    let nobody = with_roles(&scene.plane, "nora", &[]).await;
    let told = hsm(&nobody, &["status"]).await.result();
    for words in [
        "unknown: The user nora may not get leases",
        "unknown: The user nora may not list purges in the cluster",
    ] {
        assert!(told.contains(words), "without {words}: {told}");
    }
    // An HSM's content that may not be listed is said, and the rest is shown.
    let made = scene.made_hsm("payments", false).await;
    scene.made_key("payments", "signing").await;
    let user = with_roles(&scene.plane, "uma", &["hsm-viewer"]).await;
    let tree = hsm(&user, &["tree", "payments", "-n", "status"])
        .await
        .says(DONE, "HsmKey/signing");
    assert!(
        tree.contains("Not all of it can be shown: The user uma may not list deletedhsmkeys"),
        "{tree}"
    );
    assert!(tree.contains("at least 1 live"), "{tree}");
    scene.delete(Kind::Hsm, &made).await;
    let viewer = with_roles(&scene.plane, "dora", &["hsm-deleted-viewer"]).await;
    let json = hsm(&viewer, &["list-deleted", "-n", "status", "-o", "json"])
        .await
        .result();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["items"][0]["spec"]["origin"]["name"], "payments");
    // As whom is asked can be said on the command line, as for kubectl itself.
    let admin = scene.plane.kubeconfig();
    hsm(&admin, &["list-deleted", "-n", "status", "--as", "nora"])
        .await
        .says(NOT_PERMITTED, "The user nora may not list");
}

/// The operator's own server of metrics behind a pod that the API server reaches, with nobody who runs pods.
#[tokio::test(flavor = "multi_thread")]
async fn the_leaders_numbers_are_shown_to_who_may_reach_its_pod() {
    let scene = Scene::new("numbers").await;
    // The API server reaches no pod on loopback. Nothing is sent: it is only looked which address would be used.
    let probe = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let outward = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr());
    let Some(address) = outward.ok().filter(|found| !found.ip().is_loopback()) else {
        eprintln!("skipped: this machine has loopback alone, where the API server reaches no pod");
        return;
    };
    let server = Server::bind((address.ip(), 0).into())
        .await
        .expect("a port");
    let port = server.address().port();
    let metrics = Arc::new(Metrics::default());
    metrics.backends_away(2);
    let served = router(Readiness::default(), Arc::clone(&metrics));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(served, stop.clone()));

    let manifests = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}},
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME, "namespace": NAMESPACE},
         "spec": {"holderIdentity": "pod-1_0123456789abcdef"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-1", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": NAME}},
         "spec": {"containers": [{"name": "operator", "image": "none", "ports": [{"containerPort": port}]}]}},
    ]});
    scene
        .plane
        .kubectl(&["apply", "-f", "-"], &manifests.to_string())
        .await
        .ok();
    let pods: Api<Pod> = Api::namespaced(scene.plane.client().await, NAMESPACE);
    let ip = address.ip().to_string();
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    pods.patch_status("pod-1", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .expect("a status");

    let told = scene.hsm(&["status"]).await.result();
    for words in [
        "pod-1 (Running)",
        "not trusted, so nothing is purged",
        "not in place, so nothing is purged on request",
        "2, so what is in them waits",
    ] {
        assert!(told.contains(words), "without {words}: {told}");
    }
    // Who may read the pods and not reach them is told so.
    let role = [
        "create",
        "clusterrole",
        "reads",
        "--verb=get,list",
        "--resource=pods,leases.coordination.k8s.io",
    ];
    scene.plane.kubectl(&role, "").await.ok();
    let reader = with_roles(&scene.plane, "rita", &["reads"]).await;
    let told = hsm(&reader, &["status"]).await.result();
    assert!(
        told.contains("unknown: The user rita may not get pods/proxy in the namespace"),
        "{told}"
    );
    stop.cancel();
    serving.await.expect("it ends").expect("in good order");
}
