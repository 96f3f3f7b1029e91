//! One whole record, as people read it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{digest, state};
use crate::backend::Stored;
use crate::plan::encoding;
use crate::softdelete::record::Version;
use crate::softdelete::sentence::date;
use crate::softdelete::{Record, Subject};

/// A record with the digest by which it is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pub id: String,
    pub backend: String,
    pub generation: u64,
    /// SHA-256 of its bytes, hex.
    pub digest: String,
    /// Absent where it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

impl Shown {
    pub(super) fn of(backend: &str, stored: &Stored) -> Self {
        let decoded = encoding::decode(&stored.bytes);
        Self {
            id: stored.id.clone(),
            backend: backend.to_owned(),
            generation: stored.generation,
            digest: digest(stored),
            note: decoded.as_ref().err().map(ToString::to_string),
            record: decoded.ok().map(|record| document(&record)),
        }
    }
}

fn document(record: &Record) -> Value {
    let origin = &record.origin;
    let dates = record.dates.map(|dates| {
        json!({
            "deletionTime": date(dates.deletion_time),
            "scheduledPurgeTime": dates.scheduled_purge_time.map(date),
            "retentionDays": dates.retention_days,
        })
    });
    let destroyed = record.destroyed.as_ref().map(|destroyed| {
        json!({"at": date(destroyed.at), "count": destroyed.count, "digest": destroyed.digest})
    });
    let all = json!({
        "state": state(record),
        "kind": record.kind().object(),
        "cluster": record.cluster.0,
        "origin": {
            "namespace": origin.namespace,
            "namespaceUid": origin.namespace_uid.0,
            "name": origin.name,
            "uid": origin.uid.0,
        },
        "recoveredFrom": record.recovered_from.as_ref().map(|uid| &uid.0),
        "retentionDays": record.retention_days,
        "softDelete": record.soft_delete,
        "purgeProtection": record.purge_protection,
        "dates": dates,
        "requesters": record.requesters,
        "destroyed": destroyed,
        "material": material(&record.subject),
    });
    without_nulls(all)
}

fn material(subject: &Subject) -> Value {
    match subject {
        Subject::Hsm { token } => json!({
            "token": token.as_ref().map(|token| json!({"label": token.label, "serial": token.serial})),
        }),
        Subject::Key {
            hsm,
            hsm_name,
            key_name,
            algorithm,
            versions,
            pending,
        } => json!({
            "hsm": hsm.0,
            "hsmName": hsm_name,
            "keyName": key_name,
            "type": algorithm.to_string(),
            "versions": versions.iter().map(version).collect::<Vec<_>>(),
            "pending": pending.as_ref().map(|pending| json!({"number": pending.number, "id": pending.material.0})),
        }),
    }
}

fn version(version: &Version) -> Value {
    json!({
        "number": version.number,
        "id": version.material.0,
        "fingerprint": version.fingerprint.0,
        "created": date(version.created),
    })
}

/// What is not there is not said.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}
