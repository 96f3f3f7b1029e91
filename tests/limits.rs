//! What happens where there is no room, or no way yet: said in one sentence, and nothing lost.

mod operator;
#[path = "limits/quotas.rs"]
mod quotas;

use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::{Kind, Refusal};
use operator::{Build, Operator, condition, gone, until};
use testplane::{Options, borrow};

const HSM: Watched = Watched::Object(Kind::Hsm);

#[tokio::test(flavor = "multi_thread")]
async fn sd34_one_more_hsm_than_the_backend_has_slots_stands_and_says_so() {
    let plane = borrow(Options::default()).await;
    let _operator = Operator::start(&plane, MemoryBackend::with([7; 32], 1)).await;
    let ns = plane.namespace("full").await;
    let hsm = |name: &str| {
        format!(
            "{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {{name: {name}, namespace: {ns}}}, spec: {{}}}}\n"
        )
    };
    plane
        .kubectl(&["apply", "-f", "-"], &hsm("first"))
        .await
        .ok();
    until(&plane, HSM, Some(&ns), "first", "Ready", "True", "").await;

    plane
        .kubectl(&["apply", "-f", "-"], &hsm("second"))
        .await
        .ok();
    let stands = until(
        &plane,
        HSM,
        Some(&ns),
        "second",
        "Ready",
        "False",
        "BackendFull",
    )
    .await;
    let (status, _, sentence) = condition(&stands, "Stalled").expect("it stalls");
    assert_eq!(status, "True");
    assert!(
        sentence.contains("no more room (all 1 slots are taken)"),
        "{sentence}"
    );

    // Nothing was made, so nothing is kept: it goes at once, without a proxy.
    plane
        .kubectl(
            &["delete", "managedhsm", "second", "-n", &ns, "--timeout=30s"],
            "",
        )
        .await
        .ok();
    gone(&plane, HSM, Some(&ns), "second").await;
    let proxies = plane
        .kubectl(&["get", "deletedmanagedhsms", "-o", "name"], "")
        .await
        .ok();
    assert_eq!(proxies.trim(), "");
    until(&plane, HSM, Some(&ns), "first", "Ready", "True", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_what_is_in_a_backend_that_is_configured_no_more_can_be_deleted_and_comes_back_with_it()
 {
    let plane = borrow(Options::default()).await;
    let store = MemoryBackend::new();
    let operator = Operator::start(&plane, store.clone()).await;
    let ns = plane.namespace("attic").await;
    let both = format!(
        "{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {{name: safe, namespace: {ns}}}, spec: {{}}}}
---
{{apiVersion: managedhsm.dev/v1alpha1, kind: HsmKey, metadata: {{name: signing, namespace: {ns}}}, spec: {{hsm: safe, keyType: EC, curve: P-256}}}}
"
    );
    plane.kubectl(&["apply", "-f", "-"], &both).await.ok();
    let made = until(
        &plane,
        Watched::Object(Kind::Key),
        Some(&ns),
        "signing",
        "Ready",
        "True",
        "",
    )
    .await;
    let uid = made.metadata.uid.clone().expect("a uid");
    operator.crash().await;

    let mut without = Build::new(&plane, MemoryBackend::new()).await;
    let other = without.backends.remove("default").expect("it is there");
    without.backends.insert("other".into(), other);
    let operator = without.start().await;
    until(
        &plane,
        Watched::Object(Kind::Key),
        Some(&ns),
        "signing",
        "Ready",
        "False",
        "BackendUnknown",
    )
    .await;
    plane
        .kubectl(
            &["delete", "hsmkey", "signing", "-n", &ns, "--timeout=30s"],
            "",
        )
        .await
        .ok();
    gone(&plane, Watched::Object(Kind::Key), Some(&ns), "signing").await;
    let proxy = format!("{ns}.signing");
    let kept = operator::get(&plane, Watched::Proxy(Kind::Key), None, &proxy)
        .await
        .expect("its proxy");
    assert_eq!(kept.data["spec"]["origin"]["uid"], uid);
    operator.crash().await;

    // The backend is configured again: what was deleted meanwhile is sealed, and comes back as the same.
    let _again = Operator::start(&plane, store).await;
    until(&plane, HSM, Some(&ns), "safe", "Ready", "True", "").await;
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
    let back = until(
        &plane,
        Watched::Object(Kind::Key),
        Some(&ns),
        "signing",
        "Ready",
        "True",
        "",
    )
    .await;
    assert_eq!(
        back.data["status"]["versions"],
        made.data["status"]["versions"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd34_a_key_whose_hsm_does_not_exist_says_so_also_where_no_backend_is_the_default() {
    let plane = borrow(Options::default()).await;
    let mut without = Build::new(&plane, MemoryBackend::new()).await;
    let rack = without.backends.remove("default").expect("it is there");
    without.backends.insert("rack".into(), rack);
    let _operator = without.start().await;
    let ns = plane.namespace("nohsm").await;
    let key = format!(
        "{{apiVersion: managedhsm.dev/v1alpha1, kind: HsmKey, metadata: {{name: signing, namespace: {ns}}}, spec: {{hsm: safe, keyType: EC, curve: P-256}}}}\n"
    );
    plane.kubectl(&["apply", "-f", "-"], &key).await.ok();
    let key = Watched::Object(Kind::Key);
    let waits = until(
        &plane,
        key,
        Some(&ns),
        "signing",
        "Ready",
        "False",
        "HsmNotFound",
    )
    .await;
    let (_, _, sentence) = condition(&waits, "Ready").expect("told");
    let refusal = Refusal::HsmNotFound { hsm: "safe".into() };
    assert_eq!(sentence, refusal.to_string());

    // And it goes on by itself, in the backend that its HSM is in.
    let hsm = format!(
        "{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {{name: safe, namespace: {ns}}}, spec: {{backend: rack}}}}\n"
    );
    plane.kubectl(&["apply", "-f", "-"], &hsm).await.ok();
    until(&plane, key, Some(&ns), "signing", "Ready", "True", "").await;
}
