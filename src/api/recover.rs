//! Recover: asks for a soft-deleted object back. It acts once.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{IncludeKeys, ObjectKind, UNSEEN, unseen};
use super::conditions::{self, Condition};
use super::time::Time;

/// How many objects `status.recovered` lists at most.
pub const MAX_RECOVERED: usize = 1000;

/// What is to come back: one deletion of one object, and no other.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[kube(
    group = "managedhsm.dev",
    version = "v1alpha1",
    kind = "Recover",
    doc = "Brings a soft-deleted HSM or key back in this namespace, with the same material. It acts once, and its outcome is final.",
    namespaced,
    status = "RecoverStatus",
    derive = "PartialEq",
    category = "hsm",
    cel,
    selectable = ".spec.name",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.name"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
// SD-21, refused early.
#[x_kube(validation = Rule::new("self.includeKeys == 'None' || self.kind == 'ManagedHsm'").message(
    "Only an HSM has keys to include; leave spec.includeKeys out, or set spec.kind to ManagedHsm."
))]
pub struct RecoverSpec {
    /// The kind of the deleted object: ManagedHsm or HsmKey.
    pub kind: ObjectKind,
    /// The name that the deleted object had in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "A deleted object's name has lower-case letters, digits and dashes only; set spec.name to the name that it had in this namespace."
    ))]
    pub name: String,
    /// The uid that the deleted object had; `kubectl get dmhsm,dhkey -o wide` shows it.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// Of a ManagedHsm: All also brings back every key that was deleted on its own.
    #[serde(default)]
    pub include_keys: IncludeKeys,
    /// Where the namespace was made anew since the deletion: its present uid. Needs the verb recover on the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub accept_namespace_uid: Option<String>,
}

/// How far it got; only the operator writes this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoverStatus {
    /// The generation that this status is about; -1 before the operator has seen the object.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Ready, Reconciling and Stalled; finally Complete or Failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::list_schema")]
    pub conditions: Vec<Condition>,
    /// The proxy that it recovers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub proxy: Option<String>,
    /// What came back and what did not, at most 1000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub recovered: Vec<Recovered>,
    /// When the operator began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it was complete, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

impl Default for RecoverStatus {
    /// As the schema fills in an absent status.
    fn default() -> Self {
        Self {
            observed_generation: UNSEEN,
            conditions: Vec::new(),
            proxy: None,
            recovered: Vec::new(),
            start_time: None,
            completion_time: None,
        }
    }
}

/// What became of one object of a recovery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recovered {
    /// ManagedHsm or HsmKey.
    pub kind: ObjectKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The uid that the deleted object had.
    #[schemars(length(max = 128))]
    pub uid: String,
    /// The uid of the object that is live now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub new_uid: Option<String>,
    /// Recovered, AlreadyLive (nothing was to do), or Retained (it could not be made; its proxy stays).
    pub outcome: Outcome,
    /// Of what was retained: the reason code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
}

/// How the recovery of one object ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Outcome {
    Recovered,
    AlreadyLive,
    Retained,
}
