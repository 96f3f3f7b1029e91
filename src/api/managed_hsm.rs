//! ManagedHsm: one HSM, declared by users in a namespace.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CreateMode, DEFAULT_RETENTION_DAYS, RecoveryLevel, UNSEEN, unseen, yes};
use super::conditions::{self, Condition};

/// What the users of an HSM ask for.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[kube(
    group = "managedhsm.dev",
    version = "v1alpha1",
    kind = "ManagedHsm",
    doc = "An HSM that holds keys, with soft-delete, recovery and purge protection.",
    namespaced,
    status = "ManagedHsmStatus",
    derive = "PartialEq",
    shortname = "mhsm",
    category = "hsm",
    cel,
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Retention", type_ = "integer", json_path = ".spec.retentionDays"),
    printcolumn(name = "Protected", type_ = "boolean", json_path = ".spec.purgeProtection"),
    printcolumn(name = "Keys", type_ = "integer", json_path = ".status.keys"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Backend", type_ = "string", json_path = ".spec.backend", priority = 1),
    printcolumn(name = "Recovery level", type_ = "string", json_path = ".status.recoveryLevel", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z][-a-z0-9]{1,22}[a-z0-9]$')").message(
        "The name of a ManagedHsm becomes a DNS name; give it 3 to 24 lower-case letters, digits or hyphens, the first a letter, the last no hyphen."
    )
)]
#[serde(rename_all = "camelCase")]
// SD-13, refused early.
#[x_kube(validation = Rule::new("!self.purgeProtection || self.softDelete").message(
    "Purge protection needs soft-delete; set spec.softDelete to true, or leave spec.purgeProtection out."
))]
pub struct ManagedHsmSpec {
    /// Which of the operator's configured backends holds the HSM. Fixed at creation.
    #[serde(default = "default_backend")]
    #[schemars(length(min = 1, max = 63))]
    pub backend: String,
    /// For how many days a deleted HSM can be recovered before it is purged, 7 to 90. Fixed at creation; leaving it out
    /// later means 90 and is refused as a change.
    #[serde(default = "default_retention")]
    // SD-08, refused early.
    #[schemars(range(min = 7, max = 90))]
    pub retention_days: i32,
    /// Whether a deleted HSM, and each deleted key of it, is kept for its retention. Can be turned on later, never off again.
    #[serde(default = "yes")]
    pub soft_delete: bool,
    /// Whether nobody may purge the HSM or any of its keys before their time. Can be turned on later, never off again;
    /// needs softDelete.
    #[serde(default)]
    pub purge_protection: bool,
    /// What to do if a soft-deleted HSM has this name: Default stands and says so, CreateOrRecover recovers it.
    #[serde(default)]
    pub create_mode: CreateMode,
}

impl Default for ManagedHsmSpec {
    /// As the schema fills in an empty spec.
    fn default() -> Self {
        Self {
            backend: default_backend(),
            retention_days: DEFAULT_RETENTION_DAYS,
            soft_delete: true,
            purge_protection: false,
            create_mode: CreateMode::Default,
        }
    }
}

fn default_backend() -> String {
    "default".to_owned()
}

fn default_retention() -> i32 {
    DEFAULT_RETENTION_DAYS
}

/// What the operator saw and did; only it writes this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedHsmStatus {
    /// The generation that this status is about; -1 before the operator has seen the object.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Ready, Reconciling and Stalled, and what others add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::list_schema")]
    pub conditions: Vec<Condition>,
    /// The backend's own id of the HSM, never used again for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub hsm_id: Option<String>,
    /// The generation of the backend's record that this status follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_generation: Option<i64>,
    /// What deletion would mean now, by soft-delete, retention and protection as they are in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_level: Option<RecoveryLevel>,
    /// How many live keys the HSM holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<i32>,
    /// How many soft-deleted keys the HSM holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_keys: Option<i32>,
    /// The URL of the HSM's key service, once it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub endpoint: Option<String>,
}

impl Default for ManagedHsmStatus {
    /// As the schema fills in an absent status.
    fn default() -> Self {
        Self {
            observed_generation: UNSEEN,
            conditions: Vec::new(),
            hsm_id: None,
            record_generation: None,
            recovery_level: None,
            keys: None,
            deleted_keys: None,
            endpoint: None,
        }
    }
}
