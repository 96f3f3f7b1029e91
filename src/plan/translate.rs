//! Between the API's words, the rules' and the backend's: the one place where they meet.

use serde_json::{Value, json};

use super::hold;
use super::ids;
use super::material::Objects;
use super::observed::{Body, Material, Object, Observed, Proxy, ProxySpec};
use super::step::Hold;
use crate::api::{self, Curve, KeyType};
use crate::backend::{PublicKey, TokenLabel, TokenRef};
use crate::softdelete::record::{Algorithm, Token};
use crate::softdelete::recover::CreateMode;
use crate::softdelete::{Dates, Deleted, Kind, Origin, Record, Subject, Uid};

/// `spec.createMode`.
pub fn create_mode(object: &Object) -> CreateMode {
    let said = match &object.body {
        Body::Hsm(spec, _) => spec.create_mode,
        Body::Key(spec, _) => spec.create_mode,
    };
    match said {
        api::CreateMode::Default => CreateMode::Default,
        api::CreateMode::CreateOrRecover => CreateMode::CreateOrRecover,
    }
}

pub fn origin(o: &Observed, object: &Object) -> Origin {
    Origin {
        namespace: o.lineage.namespace.clone(),
        namespace_uid: o
            .namespace
            .as_ref()
            .map(|namespace| namespace.uid.clone())
            .unwrap_or_default(),
        name: o.lineage.name.clone(),
        uid: object.meta.uid.clone(),
    }
}

pub fn api_origin(origin: &Origin) -> api::Origin {
    api::Origin {
        namespace: origin.namespace.clone(),
        namespace_uid: origin.namespace_uid.0.clone(),
        name: origin.name.clone(),
        uid: origin.uid.0.clone(),
    }
}

/// What a proxy keeps, as a refusal shows it.
pub fn kept_by(kind: Kind, found: &Proxy, undeletable: bool) -> Deleted {
    let origin = found.origin();
    Deleted {
        kind,
        origin: Origin {
            namespace: origin.namespace.clone(),
            namespace_uid: uid(&origin.namespace_uid),
            name: origin.name.clone(),
            uid: uid(&origin.uid),
        },
        purge_time: found
            .status
            .purge_time
            .map(api::Time::utc)
            .or_else(|| dates(found).scheduled_purge_time),
        purgeable: found.status.purge_protection == Some(false) && !undeletable,
    }
}

/// The schema says which of keySize and curve goes with which type; what slipped past it has no algorithm.
pub fn algorithm_of(spec: &api::HsmKeySpec) -> Option<Algorithm> {
    match (spec.key_type, spec.key_size, spec.curve) {
        (KeyType::Rsa, Some(bits), None) => Some(Algorithm::Rsa(bits)),
        (KeyType::Oct, Some(bits), None) => Some(Algorithm::Oct(bits)),
        (KeyType::Ec, None, Some(curve)) => Some(Algorithm::Ec(curve_name(curve).to_owned())),
        _ => None,
    }
}

pub fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
        Curve::P521 => "P-521",
    }
}

pub fn token_ref(token: &Token) -> TokenRef {
    TokenRef {
        label: TokenLabel(token.label.clone()),
        serial: token.serial.clone(),
    }
}

/// The token around a key, as its HSM's record names it.
pub fn token_of_key(o: &Observed) -> Result<TokenRef, Hold> {
    let record = o
        .hsm
        .as_ref()
        .and_then(|hsm| hsm.record.as_ref())
        .map(|(_, record)| record);
    match record.map(|record| &record.subject) {
        Some(Subject::Hsm { token: Some(token) }) => Ok(token_ref(token)),
        _ => Err(hold::missing(o)),
    }
}

/// A key's objects, if they could be looked at.
pub fn objects<'a>(
    o: &'a Observed,
    token: &'a TokenRef,
    record: &'a Record,
) -> Result<Objects<'a>, Hold> {
    match (&o.material, &record.subject) {
        (Material::Objects(found), Subject::Key { algorithm, .. }) => Ok(Objects {
            token,
            algorithm,
            found,
        }),
        (other, _) => Err(hold::no_material_seen(o, other)),
    }
}

pub fn dates(found: &Proxy) -> Dates {
    let (deletion, scheduled, days) = match &found.spec {
        ProxySpec::Hsm(spec) => (
            spec.deletion_time,
            spec.scheduled_purge_time,
            spec.retention_days,
        ),
        ProxySpec::Key(spec) => (
            spec.deletion_time,
            spec.scheduled_purge_time,
            spec.retention_days,
        ),
    };
    Dates {
        deletion_time: deletion.utc(),
        scheduled_purge_time: scheduled.map(api::Time::utc),
        retention_days: days,
    }
}

pub fn shown_generation(object: &Object) -> Option<u64> {
    let shown = match &object.body {
        Body::Hsm(_, status) => status.record_generation,
        Body::Key(_, status) => status.record_generation,
    };
    shown.and_then(|generation| u64::try_from(generation).ok())
}

/// The status says that there was material (SD-28).
pub fn had_material(object: &Object) -> bool {
    let (hsm_id, versions) = match &object.body {
        Body::Hsm(_, status) => (&status.hsm_id, 0),
        Body::Key(_, status) => (&status.hsm_id, status.versions.len()),
    };
    hsm_id.is_some() || versions > 0 || shown_generation(object).is_some()
}

/// A version's fingerprint as the API shows it: `(thumbprint, checkValue)`.
pub fn shown_fingerprint(
    fingerprint: &crate::softdelete::Fingerprint,
) -> (Option<String>, Option<String>) {
    match fingerprint.as_str().strip_prefix("kcv:") {
        Some(check) => (None, Some(check.to_owned())),
        None => (Some(fingerprint.0.clone()), None),
    }
}

/// The object as it is to come back; of an incomplete snapshot the fixed fields and switches, from the record.
pub fn snapshot_to_recover(o: &Observed, found: &Proxy, record: &Record) -> api::Snapshot {
    let snapshot = match &found.spec {
        ProxySpec::Hsm(spec) => &spec.snapshot,
        ProxySpec::Key(spec) => &spec.snapshot,
    };
    snapshot.clone().unwrap_or_else(|| api::Snapshot {
        api_version: format!("{}/{}", api::GROUP, api::VERSION),
        labels: Default::default(),
        annotations: Default::default(),
        spec: spec_from_record(&o.backend, record),
        managed_fields: Value::Null,
    })
}

fn spec_from_record(backend: &str, record: &Record) -> Value {
    match &record.subject {
        Subject::Hsm { .. } => {
            json!({"backend": backend, "retentionDays": record.retention_days, "softDelete": record.soft_delete, "purgeProtection": record.purge_protection})
        }
        Subject::Key {
            hsm_name,
            key_name,
            algorithm,
            versions,
            ..
        } => {
            let mut spec = json!({"hsm": hsm_name, "keyName": key_name, "versions": versions.len().max(1),
                "retentionDays": record.retention_days, "purgeProtection": record.purge_protection});
            let (kind, field, value) = match algorithm {
                Algorithm::Rsa(bits) => ("RSA", "keySize", json!(bits)),
                Algorithm::Oct(bits) => ("oct", "keySize", json!(bits)),
                Algorithm::Ec(curve) => ("EC", "curve", json!(curve)),
            };
            spec["keyType"] = json!(kind);
            spec[field] = value;
            spec
        }
    }
}

/// The snapshot's field owners, where the recovered object has none but ours. An entry of a version that is no longer served would wipe them all, so it is left out.
pub fn managers_to_restore(object: &Object, found: &Proxy) -> Option<Value> {
    let entries = |fields: &Value| fields.as_array().cloned().unwrap_or_default();
    let now = entries(&object.snapshot.managed_fields);
    let only_ours = !now.is_empty()
        && now
            .iter()
            .all(|entry| entry["manager"] == api::RECOVER_MANAGER);
    let (ProxySpec::Hsm(api::DeletedManagedHsmSpec { snapshot, .. })
    | ProxySpec::Key(api::DeletedHsmKeySpec { snapshot, .. })) = &found.spec;
    let served = format!("{}/{}", api::GROUP, api::VERSION);
    let then: Vec<_> = entries(&snapshot.as_ref()?.managed_fields)
        .into_iter()
        .filter(|entry| entry["apiVersion"] == served.as_str())
        .collect();
    (only_ours && !then.is_empty()).then_some(Value::Array(then))
}

/// The uid's record says that its material is gone for good.
pub fn is_final(o: &Observed, object: &Object) -> bool {
    let id = ids::record_id(&object.meta.uid);
    o.records.iter().any(|held| {
        held.is_final()
            && (held.id == id
                || held
                    .record()
                    .is_some_and(|record| record.origin.uid == object.meta.uid))
    })
}

pub fn key_type(of: &Algorithm) -> KeyType {
    match of {
        Algorithm::Rsa(_) => KeyType::Rsa,
        Algorithm::Ec(_) => KeyType::Ec,
        Algorithm::Oct(_) => KeyType::Oct,
    }
}

/// A public key as the status shows it.
pub fn jwk(public: &PublicKey) -> Option<api::PublicKey> {
    serde_json::from_value(Value::Object(public.to_jwk())).ok()
}

pub fn uid(text: &str) -> Uid {
    Uid(text.to_owned())
}
