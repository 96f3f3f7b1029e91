//! DeletedManagedHsm: the proxy of a soft-deleted HSM. Only the operator writes one.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Origin, RecoveryLevel};
use super::proxy::{ProxyStatus, Snapshot};
use super::time::Time;

/// The facts at deletion: written once, never changed.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[kube(
    group = "managedhsm.dev",
    version = "v1alpha1",
    kind = "DeletedManagedHsm",
    doc = "The record of a soft-deleted HSM, named <namespace>.<name>; only the operator writes it. Recover it by a Recover, destroy it by a Purge.",
    status = "ProxyStatus",
    derive = "PartialEq",
    shortname = "dmhsm",
    category = "hsm",
    cel,
    validation = Rule::new("self.metadata.name == self.spec.origin.__namespace__ + '.' + self.spec.origin.name").message(
        "A proxy is named <namespace>.<name> of its origin; name it so."
    ),
    selectable = ".spec.origin.namespace",
    selectable = ".spec.origin.name",
    printcolumn(
        name = "Namespace",
        type_ = "string",
        json_path = ".spec.origin.namespace"
    ),
    printcolumn(name = "HSM", type_ = "string", json_path = ".spec.origin.name"),
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
pub struct DeletedManagedHsmSpec {
    /// Where the HSM stood, and which one it was.
    pub origin: Origin,
    /// The backend that holds it.
    #[schemars(length(min = 1, max = 253))]
    pub backend: String,
    /// The backend's own id of the HSM.
    #[schemars(length(min = 1, max = 128))]
    pub hsm_id: String,
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
