//! From what the API server answers to what the planner sees.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use kube::ResourceExt;
use kube::api::{DynamicObject, ObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api;
use crate::plan::observed::{
    Body, Meta, NearObject, NearProxy, Object, Proxy, ProxySpec, Purge, Recover,
};
use crate::softdelete::{Kind, Origin, Uid};

/// What the API server holds is not what our types say.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} could not be understood: {why}; does its definition come from this version of the operator?"
)]
pub struct ConvertError {
    pub what: String,
    pub why: String,
}

type Result<T> = std::result::Result<T, ConvertError>;

pub fn time(of: &meta::Time) -> DateTime<Utc> {
    api::Time::from(of).utc()
}

pub fn meta(of: &ObjectMeta) -> Meta {
    Meta {
        name: of.name.clone().unwrap_or_default(),
        uid: Uid(of.uid.clone().unwrap_or_default()),
        resource_version: of.resource_version.clone().unwrap_or_default(),
        generation: of.generation.unwrap_or_default(),
        created: of.creation_timestamp.as_ref().map(time).unwrap_or_default(),
        deleted: of.deletion_timestamp.as_ref().map(time),
        finalizers: of.finalizers.clone().unwrap_or_default(),
    }
}

/// A field of the object as our type says it is; absent is the type's own default.
fn field<T: DeserializeOwned>(of: &DynamicObject, name: &str) -> Result<T> {
    let value = of
        .data
        .get(name)
        .cloned()
        .unwrap_or_else(|| Value::Object(Default::default()));
    serde_json::from_value(value).map_err(|error| ConvertError {
        what: format!("{}'s {name}", of.name_any()),
        why: error.to_string(),
    })
}

/// Everything that a recovery needs, as it stands in the cluster: never owner references, never foreign finalizers.
fn snapshot(of: &DynamicObject) -> Result<api::Snapshot> {
    let managed_fields =
        serde_json::to_value(&of.metadata.managed_fields).map_err(|error| ConvertError {
            what: of.name_any(),
            why: error.to_string(),
        })?;
    Ok(api::Snapshot {
        api_version: of
            .types
            .as_ref()
            .map(|types| types.api_version.clone())
            .unwrap_or_else(|| format!("{}/{}", api::GROUP, api::VERSION)),
        labels: of.metadata.labels.clone().unwrap_or_default(),
        annotations: of.metadata.annotations.clone().unwrap_or_default(),
        spec: of.data.get("spec").cloned().unwrap_or(Value::Null),
        managed_fields,
    })
}

pub fn object(kind: Kind, of: &DynamicObject) -> Result<Object> {
    let body = match kind {
        Kind::Hsm => Body::Hsm(field(of, "spec")?, field(of, "status")?),
        Kind::Key => Body::Key(field(of, "spec")?, field(of, "status")?),
    };
    Ok(Object {
        meta: meta(&of.metadata),
        body,
        snapshot: snapshot(of)?,
    })
}

pub fn proxy(kind: Kind, of: &DynamicObject) -> Result<Proxy> {
    let spec = match kind {
        Kind::Hsm => ProxySpec::Hsm(field(of, "spec")?),
        Kind::Key => ProxySpec::Key(field(of, "spec")?),
    };
    Ok(Proxy {
        meta: meta(&of.metadata),
        spec,
        status: field(of, "status")?,
    })
}

pub fn near_object(of: &DynamicObject) -> NearObject {
    NearObject {
        uid: Uid(of.uid().unwrap_or_default()),
        terminating: of.metadata.deletion_timestamp.is_some(),
        record_generation: shown_generation(of),
    }
}

/// The generation of the record behind it, as its status shows it.
pub fn shown_generation(of: &DynamicObject) -> Option<u64> {
    of.data.pointer("/status/recordGeneration")?.as_u64()
}

pub fn near_proxy(kind: Kind, of: &DynamicObject) -> Result<NearProxy> {
    let found = proxy(kind, of)?;
    let origin = found.origin().clone();
    Ok(NearProxy {
        origin: Origin {
            namespace: origin.namespace,
            namespace_uid: Uid(origin.namespace_uid),
            name: origin.name,
            uid: Uid(origin.uid),
        },
        status: found.status,
    })
}

pub fn recover(of: &DynamicObject) -> Result<Recover> {
    Ok(Recover {
        meta: meta(&of.metadata),
        spec: field(of, "spec")?,
        status: field(of, "status")?,
    })
}

pub fn purge(of: &DynamicObject) -> Result<Purge> {
    Ok(Purge {
        meta: meta(&of.metadata),
        spec: field(of, "spec")?,
        status: field(of, "status")?,
    })
}
