//! A soft-deleted object as the plugin sees it: either kind of proxy, read in one way.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use managed_hsm_operator::api::conditions::{self, PURGE_ANNOUNCED, PURGE_HELD};
use managed_hsm_operator::api::{
    self, Condition, DeletedHsmKey, DeletedManagedHsm, DeletedVersion, GROUP, ObjectKind, Origin,
    Phase, Proxy, ProxyKind, ProxyStatus, RecoveryLevel, Time,
};
use managed_hsm_operator::softdelete::{self, Kind};
use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct Deleted {
    pub kind: Kind,
    /// The proxy's.
    pub name: String,
    pub origin: Origin,
    pub hsm: String,
    pub hsm_id: String,
    /// Of a key.
    pub versions: Vec<DeletedVersion>,
    pub deleted: Time,
    pub purge_time: Option<Time>,
    pub retention_days: Option<i32>,
    /// By its own switch.
    pub own_protection: bool,
    pub level: RecoveryLevel,
    /// As they were at deletion.
    pub labels: BTreeMap<String, String>,
    pub status: ProxyStatus,
    /// All of it, as the API shows it.
    pub value: Value,
}

impl From<DeletedManagedHsm> for Deleted {
    fn from(proxy: DeletedManagedHsm) -> Self {
        let hsm = proxy.spec.origin.name.clone();
        let (id, level) = (proxy.spec.hsm_id.clone(), proxy.spec.recovery_level);
        Self::new(Kind::Hsm, &proxy, (hsm, id), level, Vec::new())
    }
}

impl From<DeletedHsmKey> for Deleted {
    fn from(proxy: DeletedHsmKey) -> Self {
        let hsm = (proxy.spec.hsm.clone(), proxy.spec.hsm_id.clone());
        let versions = proxy.spec.versions.clone();
        Self::new(Kind::Key, &proxy, hsm, proxy.spec.recovery_level, versions)
    }
}

impl Deleted {
    fn new<P>(
        kind: Kind,
        proxy: &P,
        hsm: (String, String),
        level: RecoveryLevel,
        versions: Vec<DeletedVersion>,
    ) -> Self
    where
        P: Proxy + kube::Resource<DynamicType = ()> + Serialize,
    {
        let status = proxy.proxy_status().cloned().unwrap_or_default();
        let snapshot = proxy.snapshot();
        Self {
            kind,
            name: proxy.name_any(),
            origin: proxy.origin().clone(),
            hsm: hsm.0,
            hsm_id: hsm.1,
            versions,
            deleted: proxy.deletion_time(),
            purge_time: status.purge_time.or_else(|| proxy.scheduled_purge_time()),
            retention_days: proxy.retention_days(),
            own_protection: proxy.purge_protection(),
            level: status.recovery_level.unwrap_or(level),
            labels: snapshot
                .map(|snapshot| snapshot.labels.clone())
                .unwrap_or_default(),
            status,
            value: serde_json::to_value(proxy).unwrap_or_default(),
        }
    }

    /// Nobody may purge it before its time; what is not known counts as protected.
    pub fn protected(&self) -> bool {
        self.status.purge_protection.unwrap_or(true)
    }

    /// Nothing is purged on request in this cluster.
    pub fn undeletable(&self) -> bool {
        self.level.is_by_subscription()
    }

    /// What holds its purge.
    pub fn held(&self) -> Option<&Condition> {
        conditions::get(&self.status.conditions, PURGE_HELD)
            .filter(|held| held.status == api::ConditionStatus::True)
    }

    pub fn announced(&self) -> bool {
        conditions::is_true(&self.status.conditions, PURGE_ANNOUNCED)
    }

    /// In one word.
    pub fn state(&self) -> &str {
        match (self.status.phase, self.held()) {
            (Some(Phase::Recovering), _) => "Recovering",
            (Some(Phase::Destroying), _) => "Destroying",
            (None, Some(held)) => &held.reason,
            (None, None) => "Retained",
        }
    }

    /// As `kubectl get -o name` writes it.
    pub fn resource(&self) -> String {
        format!("{}.{GROUP}/{}", self.kind.proxy().to_lowercase(), self.name)
    }

    /// As a person would say it.
    pub fn said(&self) -> String {
        format!("{} {}", self.kind.object(), self.origin.name)
    }

    pub fn spec_origin(&self) -> softdelete::Origin {
        softdelete::Origin {
            namespace: self.origin.namespace.clone(),
            namespace_uid: self.origin.namespace_uid.as_str().into(),
            name: self.origin.name.clone(),
            uid: self.origin.uid.as_str().into(),
        }
    }
}

pub const fn object_kind(kind: Kind) -> ObjectKind {
    match kind {
        Kind::Hsm => ObjectKind::ManagedHsm,
        Kind::Key => ObjectKind::HsmKey,
    }
}

pub const fn proxy_kind(kind: Kind) -> ProxyKind {
    match kind {
        Kind::Hsm => ProxyKind::DeletedManagedHsm,
        Kind::Key => ProxyKind::DeletedHsmKey,
    }
}
