//! The operator installed and at work.

use std::time::Duration;

use managed_hsm_operator::manifests::{NAME, NAMESPACE, PIN_SECRET, STORE};
use serde_json::json;
use testplane::eventually;

use crate::house::{House, RELEASE};
use crate::tenant::{self, HSM, made, recover};

/// A key is deleted, its name refused, and it comes back as the very same; a namespace goes with all that is in it, and all comes back.
pub async fn life(house: &House) {
    house.install();
    restricted(house).await;
    // The chart's own test, in a pod of its own.
    house.helm(&format!("test {RELEASE} --timeout 2m"));
    let keys = made(house, "shop").await;
    assert_eq!(keys.len(), 2);

    advised(house).await;
    let delete = "delete hsmkey invoice-signing -n shop --timeout=60s";
    let said = house.asked(delete).await;
    assert!(
        said.success
            && said.stderr.contains(
                "Soft-deleted, not destroyed: kept as deletedhsmkeys/shop.invoice-signing"
            ),
        "{said:?}"
    );
    let key = r#"{"apiVersion": "managedhsm.dev/v1alpha1", "kind": "HsmKey", "metadata": {"name": "invoice-signing", "namespace": "shop"}, "spec": {"hsm": "payments", "keyType": "EC", "curve": "P-256"}}"#;
    let said = house.apply(key).await.refused();
    assert!(
        said.contains("advice.managedhsm.dev")
            && said.contains("reserved for DeletedHsmKey shop.invoice-signing"),
        "{said}"
    );
    recover(house, "shop", "HsmKey", "invoice-signing", json!({})).await;
    tenant::ready(house, "shop").await;
    assert_eq!(tenant::keys(house, "shop").await, keys);

    house.kubectl("delete namespace shop --timeout=120s").await;
    house.kubectl("create namespace shop").await;
    let anew = house.get("namespace shop").await["metadata"]["uid"].clone();
    let all = json!({"includeKeys": "All", "acceptNamespaceUid": anew});
    recover(house, "shop", "ManagedHsm", HSM, all).await;
    tenant::proven(house, "shop", &keys).await;

    asked_from_outside(house).await;
}

/// The pod keeps to the strictest of the standards, as docs/install.md says.
async fn restricted(house: &House) {
    let label =
        format!("label namespace {NAMESPACE} pod-security.kubernetes.io/enforce=restricted");
    let said = house.asked(&label).await;
    // A warning would name what pods there violate.
    assert!(said.success && said.stderr.is_empty(), "{said:?}");
    house
        .kubectl(&format!("rollout restart deployment/{NAME} -n {NAMESPACE}"))
        .await;
    house.at_work().await;
}

/// Waits until the API server asks the webhook through its Service, and believes its certificate.
pub async fn advised(house: &House) {
    let ask = "delete hsmkey invoice-signing -n shop --dry-run=server";
    eventually(
        "the webhook is asked",
        Duration::from_secs(60),
        async || {
            let said = house.asked(ask).await;
            if said.stderr.contains("Soft-deleted") {
                Ok(())
            } else {
                Err(said.stderr)
            }
        },
    )
    .await;
}

/// Metrics through the Service, and the records by `kubectl exec`.
async fn asked_from_outside(house: &House) {
    let metrics =
        format!("get --raw /api/v1/namespaces/{NAMESPACE}/services/{NAME}:8080/proxy/metrics");
    let said = house.kubectl(&metrics).await;
    assert!(
        said.contains(r#"managedhsm_reconciles_total{kind="HsmKey""#),
        "{said}"
    );
    let list = format!("exec deployment/{NAME} -n {NAMESPACE} -- {NAME} ledger list");
    let said = house.kubectl(&list).await;
    assert!(
        said.contains("invoice-signing") && said.contains("archive-wrapping"),
        "{said}"
    );
}

/// Each act that would end keys, or rules, by accident or by stealth is refused, to the administrator as well, with its way out.
pub async fn guarded(house: &House) {
    house.apply_plain().await;
    let keys = made(house, "shop").await;
    house
        .kubectl("delete hsmkey invoice-signing -n shop --timeout=60s")
        .await;
    let allow = "managedhsm.dev/allow-delete";
    let merge = "--type=merge -p";
    for (act, says) in [
        (format!("delete namespace {NAMESPACE}"), allow),
        (format!("delete pvc {STORE} -n {NAMESPACE}"), allow),
        (format!("delete secret {PIN_SECRET} -n {NAMESPACE}"), allow),
        ("delete crd managedhsms.managedhsm.dev".to_owned(), allow),
        ("delete crd deletedhsmkeys.managedhsm.dev".to_owned(), allow),
        (
            "delete deletedhsmkey shop.invoice-signing".to_owned(),
            "Purge",
        ),
        (
            format!(
                "patch deletedhsmkey shop.invoice-signing {merge} {{\"metadata\":{{\"labels\":{{\"a\":\"b\"}}}}}}"
            ),
            "Only the operator",
        ),
        (
            format!(
                "patch managedhsm payments -n shop {merge} {{\"spec\":{{\"retentionDays\":7}}}}"
            ),
            "retentionDays",
        ),
        (
            format!(
                "patch hsmkey archive-wrapping -n shop --subresource=status {merge} {{\"status\":{{\"hsmId\":\"x\"}}}}"
            ),
            "Only the operator",
        ),
        (
            format!(
                "patch hsmkey archive-wrapping -n shop {merge} {{\"metadata\":{{\"finalizers\":null}}}}"
            ),
            "finalizer",
        ),
    ] {
        let said = house.asked(&act).await.refused();
        assert!(said.contains(says), "{act}: {said}");
    }
    for object in [
        "crds",
        &format!("pvc -n {NAMESPACE}"),
        &format!("secrets -n {NAMESPACE}"),
        "namespaces",
    ] {
        let found = house.get(object).await;
        let going = found["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|it| !it["metadata"]["deletionTimestamp"].is_null());
        assert_eq!(going.count(), 0, "{object}");
    }
    recover(house, "shop", "HsmKey", "invoice-signing", json!({})).await;
    tenant::proven(house, "shop", &keys).await;
}
