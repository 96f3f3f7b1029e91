//! What the judges' tests look at.

use serde_json::{Value, json};

use super::Settings;
use crate::api::{self, Phase};
use crate::plan::observed::{Meta, Proxy, ProxySpec};
use crate::softdelete::Uid;
use crate::softdelete::retention::DAY;

pub(super) const SETTINGS: Settings = Settings {
    undeletable: false,
    day: DAY,
};

pub(super) const UID: &str = "uid-1";
pub(super) const HOME: &str = "namespace-1";

fn facts(more: Value) -> Value {
    let mut all = json!({
        "origin": {"namespace": "payments", "namespaceUid": HOME, "name": "it", "uid": UID},
        "backend": "default", "hsmId": "h", "deletionTime": "2026-03-01T12:00:00Z",
        "scheduledPurgeTime": "2026-05-30T12:00:00Z", "retentionDays": 90,
        "purgeProtection": false, "recoveryLevel": "Recoverable+Purgeable",
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        all[field] = value.clone();
    }
    all
}

fn proxy(spec: ProxySpec) -> Proxy {
    Proxy {
        meta: Meta {
            name: "payments.it".into(),
            uid: "proxy".into(),
            resource_version: "1".into(),
            generation: 1,
            created: Default::default(),
            deleted: None,
            finalizers: Vec::new(),
        },
        spec,
        status: api::ProxyStatus {
            purge_protection: Some(false),
            ..api::ProxyStatus::default()
        },
    }
}

/// A deleted HSM `payments/it`, as this changes it.
pub(super) fn deleted_hsm(more: Value) -> Proxy {
    proxy(ProxySpec::Hsm(
        serde_json::from_value(facts(more)).expect("a spec"),
    ))
}

/// A deleted key `payments/it` of the HSM `safe`.
pub(super) fn deleted_key(more: Value) -> Proxy {
    let mut all = facts(json!({"hsm": "safe", "keyName": "it", "versions": []}));
    for (field, value) in more.as_object().into_iter().flatten() {
        all[field] = value.clone();
    }
    proxy(ProxySpec::Key(serde_json::from_value(all).expect("a spec")))
}

pub(super) fn in_phase(mut proxy: Proxy, phase: Phase) -> Proxy {
    proxy.status.phase = Some(phase);
    proxy
}

pub(super) fn shows_protection(mut proxy: Proxy, on: Option<bool>) -> Proxy {
    proxy.status.purge_protection = on;
    proxy
}

pub(super) fn uid(text: &str) -> Uid {
    Uid(text.to_owned())
}
