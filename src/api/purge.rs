//! Purge: asks for the destruction of a soft-deleted object before its time, and stays as the receipt of it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{UNSEEN, unseen};
use super::conditions::{self, Condition};
use super::hsm_key::KeyType;
use super::proxy::ProxyKind;
use super::time::Time;

/// How many items `status.destroyed` lists at most; its count and digest are of all.
pub const MAX_DESTROYED_ITEMS: usize = 256;

/// What is to be destroyed, and who asks.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[kube(
    group = "managedhsm.dev",
    version = "v1alpha1",
    kind = "Purge",
    doc = "Destroys a soft-deleted HSM or key for good, and stays as the receipt. Deleting it before it says Executing withdraws it.",
    status = "PurgeStatus",
    derive = "PartialEq",
    category = "hsm",
    cel,
    selectable = ".spec.name",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.name"),
    printcolumn(
        name = "Requested by",
        type_ = "string",
        json_path = ".spec.requestedBy"
    ),
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
pub struct PurgeSpec {
    /// The kind of the proxy: DeletedManagedHsm or DeletedHsmKey.
    pub kind: ProxyKind,
    /// The proxy's name: <namespace>.<name> of the deleted object.
    #[schemars(length(min = 3, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?[.][a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "A proxy is named <namespace>.<name> of the deleted object; set spec.name as kubectl get dmhsm,dhkey shows it."
    ))]
    pub name: String,
    /// The uid that the deleted object had; `kubectl get dmhsm,dhkey -o wide` shows it.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// Who asks: must equal the name of the requesting user.
    #[schemars(length(min = 1, max = 1024))]
    pub requested_by: String,
    /// Why, in free text, for those who read the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
}

/// How far it got, and what was destroyed; only the operator writes this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PurgeStatus {
    /// The generation that this status is about; -1 before the operator has seen the object.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Ready, Reconciling, Stalled, Accepted and Executing; finally Complete or Failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::list_schema")]
    pub conditions: Vec<Condition>,
    /// How many users asked, of how many that must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
    /// When it was complete, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// What is gone for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<Destroyed>,
    /// The generation of the backend's record that says so: a store whose record is behind it was put back from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_generation: Option<i64>,
}

impl Default for PurgeStatus {
    /// As the schema fills in an absent status.
    fn default() -> Self {
        Self {
            observed_generation: UNSEEN,
            conditions: Vec::new(),
            approvals: None,
            completion_time: None,
            destroyed: None,
            record_generation: None,
        }
    }
}

/// How many different users asked for the same purge (SD-24).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// How many asked.
    pub got: i32,
    /// How many must ask.
    pub needed: i32,
}

/// What was destroyed, in sum and one by one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destroyed {
    /// How many keys (of an HSM), or versions (of a key).
    pub count: i32,
    /// SHA-256 over the sorted ids and fingerprints of all, in hex.
    #[schemars(length(max = 128))]
    pub digest: String,
    /// The first of them, at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub items: Vec<DestroyedItem>,
}

/// One piece of material that is gone for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestroyedItem {
    /// The backend's own id of the material, never used again.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// RSA, EC or oct.
    #[serde(rename = "type")]
    pub type_: KeyType,
    /// The RFC 7638 SHA-256 thumbprint of its public half, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub thumbprint: Option<String>,
    /// Of an oct key: its check value, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub check_value: Option<String>,
    /// When its absence was proved.
    pub when: Time,
}
