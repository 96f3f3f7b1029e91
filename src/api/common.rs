//! What several kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The retention that holds where an object says nothing (SD-08).
pub const DEFAULT_RETENTION_DAYS: i32 = 90;
/// The `observedGeneration` that the schema gives every object before the operator has seen it.
pub const UNSEEN: i64 = -1;

/// What a create does when its name is reserved by a soft-deleted object (SD-22).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum CreateMode {
    #[default]
    Default,
    CreateOrRecover,
}

/// The two kinds that users declare.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ObjectKind {
    ManagedHsm,
    HsmKey,
}

/// Which of an HSM's keys its recovery brings back besides those that were live in it (SD-21).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum IncludeKeys {
    #[default]
    None,
    All,
}

/// Where a deleted object stood, and which one it was.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The namespace it was in.
    #[schemars(length(min = 1, max = 253))]
    pub namespace: String,
    /// The uid of that namespace, which tells it from a later one of the same name.
    #[schemars(length(min = 1, max = 128))]
    pub namespace_uid: String,
    /// The name it had.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The uid it had: what a Recover and a Purge must give.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
}

/// SD-16's levels: "Purgeable" is in it exactly when a privileged user may purge.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RecoveryLevel {
    Purgeable,
    #[serde(rename = "Recoverable+Purgeable")]
    RecoverablePurgeable,
    Recoverable,
    #[serde(rename = "Recoverable+ProtectedSubscription")]
    RecoverableProtectedSubscription,
    #[serde(rename = "CustomizedRecoverable+Purgeable")]
    CustomizedRecoverablePurgeable,
    CustomizedRecoverable,
    #[serde(rename = "CustomizedRecoverable+ProtectedSubscription")]
    CustomizedRecoverableProtectedSubscription,
}

impl RecoveryLevel {
    /// Of an undeletable cluster.
    pub const fn is_by_subscription(self) -> bool {
        matches!(
            self,
            Self::RecoverableProtectedSubscription
                | Self::CustomizedRecoverableProtectedSubscription
        )
    }
}

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn unseen() -> i64 {
    UNSEEN
}
