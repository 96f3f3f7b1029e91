//! A key's life on the real control plane, each rule as a user sees it.

mod operator;

use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use operator::{Operator, gone, until};
use testplane::{Options, borrow};

const KEY: Watched = Watched::Object(Kind::Key);
const HSM: Watched = Watched::Object(Kind::Hsm);
const PROXY: Watched = Watched::Proxy(Kind::Key);

#[tokio::test(flavor = "multi_thread")]
async fn sd19_a_deleted_key_comes_back_as_the_very_same() {
    let plane = borrow(Options::default()).await;
    let _operator = Operator::start(&plane, MemoryBackend::new()).await;
    let ns = plane.namespace("life").await;
    let manifest = format!(
        "apiVersion: managedhsm.dev/v1alpha1
kind: ManagedHsm
metadata: {{name: safe, namespace: {ns}}}
spec: {{}}
---
apiVersion: managedhsm.dev/v1alpha1
kind: HsmKey
metadata: {{name: signing, namespace: {ns}, labels: {{team: blue}}}}
spec: {{hsm: safe, keyType: EC, curve: P-256}}
"
    );
    plane.kubectl(&["apply", "-f", "-"], &manifest).await.ok();
    until(&plane, HSM, Some(&ns), "safe", "Ready", "True", "").await;
    let key = until(&plane, KEY, Some(&ns), "signing", "Ready", "True", "").await;
    let thumbprint = key.data["status"]["versions"][0]["thumbprint"].clone();
    assert!(thumbprint.is_string(), "{key:?}");
    let uid = key.metadata.uid.clone().expect("a uid");

    plane
        .kubectl(&["delete", "hsmkey", "signing", "-n", &ns], "")
        .await
        .ok();
    gone(&plane, KEY, Some(&ns), "signing").await;
    let proxy = until(
        &plane,
        PROXY,
        None,
        &format!("{ns}.signing"),
        "Ready",
        "True",
        "",
    )
    .await;
    assert_eq!(proxy.data["spec"]["origin"]["uid"], uid);

    let recover = format!(
        "{{apiVersion: managedhsm.dev/v1alpha1, kind: Recover, metadata: {{name: back, namespace: {ns}}}, spec: {{kind: HsmKey, name: signing, uid: {uid}}}}}"
    );
    plane.kubectl(&["apply", "-f", "-"], &recover).await.ok();
    until(
        &plane,
        Watched::Recover,
        Some(&ns),
        "back",
        "Complete",
        "True",
        "",
    )
    .await;
    let back = until(&plane, KEY, Some(&ns), "signing", "Ready", "True", "").await;
    assert_eq!(back.data["status"]["versions"][0]["thumbprint"], thumbprint);
    assert_ne!(back.metadata.uid.as_deref(), Some(uid.as_str()));
    assert_eq!(
        back.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get("team"))
            .map(String::as_str),
        Some("blue")
    );
    gone(&plane, PROXY, None, &format!("{ns}.signing")).await;
}
