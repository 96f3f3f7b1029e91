//! What both proxies share: the snapshot, the status, and one way to read either.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::common::{IncludeKeys, Origin, RecoveryLevel, UNSEEN, unseen};
use super::conditions::{self, Condition};
use super::time::Time;
use super::{DeletedHsmKey, DeletedManagedHsm};

/// The two kinds of proxy.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ProxyKind {
    DeletedManagedHsm,
    DeletedHsmKey,
}

/// What is being done with a proxy; none while it is retained.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    Recovering,
    Destroying,
}

/// Who may recover: a Recover, or an object with `createMode: CreateOrRecover`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RecoveringKind {
    Recover,
    ManagedHsm,
    HsmKey,
}

/// Who recovers a proxy, written with its phase: the Recover may be deleted after that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recovering {
    /// Recover, or the kind of the object that says CreateOrRecover.
    pub kind: RecoveringKind,
    /// Its name, in the origin's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// Which of an HSM's keys come back with it.
    #[serde(default)]
    pub include_keys: IncludeKeys,
    /// The uid of the live object, written before anything is unsealed: from here on the recovery is finished, not turned back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub new_uid: Option<String>,
}

/// The object as it was, for its recovery. The server neither bounds nor judges what is inside, or an old object
/// could not be deleted any more; never owner references, never foreign finalizers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The version in which the rest is written.
    #[serde(default)]
    pub api_version: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The whole spec, as it stood in the cluster.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub spec: Value,
    /// `metadata.managedFields`, as it stood in the cluster.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub managed_fields: Value,
}

impl JsonSchema for Snapshot {
    fn schema_name() -> Cow<'static, str> {
        "Snapshot".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Atomic: else every key inside goes into the proxy's own managedFields.
        json_schema!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-map-type": "atomic",
        })
    }
}

/// What holds now for a soft-deleted object; only the operator writes this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyStatus {
    /// The generation that this status is about; -1 before the operator has seen the object.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Ready, PurgeAnnounced, SnapshotIncomplete and PurgeHeld, and what others add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::list_schema")]
    pub conditions: Vec<Condition>,
    /// Absent while it is retained; Recovering or Destroying while that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Who recovers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovering: Option<Recovering>,
    /// When the scheduled purge was announced: it happens no less than a day after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_at: Option<Time>,
    /// The generation of the backend's record that this status follows; without it nothing is purged, whatever the date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_generation: Option<i64>,
    /// What may happen to it now, by soft-delete, retention and protection as they are in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_level: Option<RecoveryLevel>,
    /// Whether nobody may purge it before its time, by its own protection or its HSM's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_protection: Option<bool>,
    /// When it is due; for a key of a soft-deleted HSM the HSM's date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_time: Option<Time>,
}

impl Default for ProxyStatus {
    /// As the schema fills in an absent status.
    fn default() -> Self {
        Self {
            observed_generation: UNSEEN,
            conditions: Vec::new(),
            phase: None,
            recovering: None,
            announced_at: None,
            record_generation: None,
            recovery_level: None,
            purge_protection: None,
            purge_time: None,
        }
    }
}

/// What can be asked of either proxy.
pub trait Proxy {
    const KIND: ProxyKind;

    fn origin(&self) -> &Origin;
    fn deletion_time(&self) -> Time;
    /// Absent: purged directly where the record says that soft-delete is off (SD-02), protected otherwise.
    fn scheduled_purge_time(&self) -> Option<Time>;
    fn retention_days(&self) -> Option<i32>;
    /// As it was at deletion; the status says what holds now.
    fn purge_protection(&self) -> bool;
    fn snapshot(&self) -> Option<&Snapshot>;
    fn proxy_status(&self) -> Option<&ProxyStatus>;
}

macro_rules! proxy {
    ($kind:ident) => {
        impl Proxy for $kind {
            const KIND: ProxyKind = ProxyKind::$kind;

            fn origin(&self) -> &Origin {
                &self.spec.origin
            }

            fn deletion_time(&self) -> Time {
                self.spec.deletion_time
            }

            fn scheduled_purge_time(&self) -> Option<Time> {
                self.spec.scheduled_purge_time
            }

            fn retention_days(&self) -> Option<i32> {
                self.spec.retention_days
            }

            fn purge_protection(&self) -> bool {
                self.spec.purge_protection
            }

            fn snapshot(&self) -> Option<&Snapshot> {
                self.spec.snapshot.as_ref()
            }

            fn proxy_status(&self) -> Option<&ProxyStatus> {
                self.status.as_ref()
            }
        }
    };
}

proxy!(DeletedManagedHsm);
proxy!(DeletedHsmKey);
