//! The API: six kinds of the group `managedhsm.dev`, as Rust types and as CustomResourceDefinitions.
//!
//! What one object shows by itself (ranges, patterns, which fields go together) is judged here, by the schema and its
//! CEL. What compares with the old object or with other objects is judged elsewhere. The types hold no rule and no clock.

#![expect(
    clippy::duplicated_attributes,
    reason = "the derive takes one printcolumn(type_ = …) a column"
)]

pub mod common;
pub mod conditions;
pub mod crds;
pub mod deleted_hsm_key;
pub mod deleted_managed_hsm;
pub mod hsm_key;
pub mod managed_hsm;
pub mod proxy;
pub mod purge;
pub mod recover;
pub mod time;

pub use common::{CreateMode, IncludeKeys, ObjectKind, Origin, RecoveryLevel};
pub use conditions::{Condition, ConditionState, ConditionStatus};
pub use crds::{crds, crds_yaml};
pub use deleted_hsm_key::{DeletedHsmKey, DeletedHsmKeySpec, DeletedVersion};
pub use deleted_managed_hsm::{DeletedManagedHsm, DeletedManagedHsmSpec};
pub use hsm_key::{
    Curve, HsmKey, HsmKeySpec, HsmKeyStatus, KeyType, KeyVersion, Operation, PublicKey,
};
pub use managed_hsm::{ManagedHsm, ManagedHsmSpec, ManagedHsmStatus};
pub use proxy::{Phase, Proxy, ProxyKind, ProxyStatus, Recovering, RecoveringKind, Snapshot};
pub use purge::{Approvals, Destroyed, DestroyedItem, Purge, PurgeSpec, PurgeStatus};
pub use recover::{Outcome, Recover, RecoverSpec, RecoverStatus, Recovered};
pub use time::Time;

/// The API group of all six kinds.
pub const GROUP: &str = "managedhsm.dev";
/// The one version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// The finalizer on ManagedHsm and HsmKey: held only until the proxy stands and the material is sealed (SD-03).
pub const FINALIZER: &str = "managedhsm.dev/soft-delete";
/// The field manager under which a recovered object is made (SD-19).
pub const RECOVER_MANAGER: &str = "managedhsm-recover";
/// The field manager of everything else that the operator writes.
pub const MANAGER: &str = "managedhsm-operator";
/// With the value `"true"`: a person allows the DELETE of what the operator's policies guard.
pub const ALLOW_DELETE: &str = "managedhsm.dev/allow-delete";
