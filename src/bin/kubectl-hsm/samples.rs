//! Objects that the tests of several modules look at.

use managed_hsm_operator::api::{DeletedHsmKey, DeletedManagedHsm, HsmKey};
use serde_json::{Value, json};

use crate::deleted::Deleted;

fn proxy(kind: &str, name: &str, more: Value) -> Value {
    let mut spec = json!({
        "origin": {"namespace": "demo", "namespaceUid": "n-1", "name": name, "uid": format!("u-{name}-0123456789")},
        "backend": "default", "hsmId": "h-1",
        "deletionTime": "2026-02-20T16:00:00Z", "scheduledPurgeTime": "2026-03-22T16:00:00Z", "retentionDays": 30,
        "purgeProtection": false, "recoveryLevel": "CustomizedRecoverable+Purgeable",
    });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    json!({
        "apiVersion": "managedhsm.dev/v1alpha1", "kind": kind, "metadata": {"name": format!("demo.{name}")}, "spec": spec,
        "status": {"observedGeneration": 1, "purgeProtection": false, "purgeTime": "2026-03-22T16:00:00Z"},
    })
}

pub fn deleted_key(name: &str) -> Deleted {
    let versions = json!([{"id": 1, "materialId": "m-1", "thumbprint": "t-1"}]);
    let value = proxy(
        "DeletedHsmKey",
        name,
        json!({"hsm": "payments", "keyName": name, "versions": versions}),
    );
    serde_json::from_value::<DeletedHsmKey>(value)
        .expect("a proxy")
        .into()
}

pub fn deleted_hsm(name: &str) -> Deleted {
    let value = proxy("DeletedManagedHsm", name, json!({}));
    serde_json::from_value::<DeletedManagedHsm>(value)
        .expect("a proxy")
        .into()
}

pub fn key(name: &str) -> HsmKey {
    serde_json::from_value(json!({
        "apiVersion": "managedhsm.dev/v1alpha1", "kind": "HsmKey", "metadata": {"name": name, "namespace": "demo", "uid": "k-1"},
        "spec": {"hsm": "payments", "keyType": "EC", "curve": "P-256"},
        "status": {"observedGeneration": 1, "hsmId": "h-1", "currentVersion": 1, "versions": [
            {"id": 1, "createdAt": "2026-02-01T00:00:00Z", "materialId": "m-2", "thumbprint": "t-2"}]},
    }))
    .expect("a key")
}
