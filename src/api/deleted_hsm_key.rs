//! DeletedHsmKey: the proxy of a soft-deleted key. Only the operator writes one.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Origin, RecoveryLevel};
use super::proxy::{ProxyStatus, Snapshot};
use super::time::Time;

/// The facts at deletion: written once, never changed.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[kube(
    group = "managedhsm.dev",
    version = "v1alpha1",
    kind = "DeletedHsmKey",
    doc = "The record of a soft-deleted key, named <namespace>.<name>; only the operator writes it. Recover it by a Recover, destroy it by a Purge.",
    status = "ProxyStatus",
    derive = "PartialEq",
    shortname = "dhkey",
    category = "hsm",
    cel,
    validation = Rule::new("self.metadata.name == self.spec.origin.__namespace__ + '.' + self.spec.origin.name").message(
        "A proxy is named <namespace>.<name> of its origin; name it so."
    ),
    selectable = ".spec.origin.namespace",
    selectable = ".spec.origin.name",
    selectable = ".spec.hsm",
    selectable = ".spec.keyName",
    printcolumn(
        name = "Namespace",
        type_ = "string",
        json_path = ".spec.origin.namespace"
    ),
    printcolumn(name = "HSM", type_ = "string", json_path = ".spec.hsm"),
    printcolumn(name = "Key", type_ = "string", json_path = ".spec.keyName"),
    printcolumn(name = "Deleted", type_ = "date", json_path = ".spec.deletionTime"),
    printcolumn(name = "Purge at", type_ = "string", json_path = ".status.purgeTime"),
    printcolumn(
        name = "Recovery level",
        type_ = "string",
        json_path = ".status.recoveryLevel"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "UID",
        type_ = "string",
        json_path = ".spec.origin.uid",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct DeletedHsmKeySpec {
    /// Where the key's resource stood, and which one it was.
    pub origin: Origin,
    /// The backend that holds it.
    #[schemars(length(min = 1, max = 253))]
    pub backend: String,
    /// The backend's own id of the HSM that holds it.
    #[schemars(length(min = 1, max = 128))]
    pub hsm_id: String,
    /// The ManagedHsm that holds it.
    #[schemars(length(min = 1, max = 253))]
    pub hsm: String,
    /// The key's name inside the HSM.
    #[schemars(length(min = 1, max = 253))]
    pub key_name: String,
    /// All versions, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub versions: Vec<DeletedVersion>,
    /// When its delete was accepted.
    pub deletion_time: Time,
    /// When it is purged if nobody recovers it; absent where soft-delete was off, and where it is not known, which counts as protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_purge_time: Option<Time>,
    /// For how many days it is kept; absent where scheduledPurgeTime is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
    /// Whether it was protected from purge when it was deleted.
    pub purge_protection: bool,
    /// Its recovery level when it was deleted.
    pub recovery_level: RecoveryLevel,
    /// How long a day lasts, such as 1s; only where that is not 24 hours (demonstrations and tests).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub day_length: Option<String>,
    /// The object as it was: apiVersion, labels, annotations, spec and managedFields. Absent if it was too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

/// One version of a deleted key: its ids and its fingerprint, no key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedVersion {
    /// The number of the version, from 1 on.
    pub id: i32,
    /// The backend's own id of the material.
    #[schemars(length(min = 1, max = 128))]
    pub material_id: String,
    /// The RFC 7638 SHA-256 thumbprint of the public half, base64url; an oct key has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub thumbprint: Option<String>,
    /// Of an oct key only: the first bytes of a known block encrypted with it, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub check_value: Option<String>,
}
