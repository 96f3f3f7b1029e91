//! The admission policies of an installation. They are kept when a release goes: what the next careless command could destroy is all still there.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Error, KEEP, NAME, Object, PIN_SECRET, STORE, selector};
use crate::admission::policies::{self, Installation};

const SUBJECT: &str = "policies";

pub(super) fn objects(namespace: &str) -> Result<Vec<Object>, Error> {
    written(namespace, false)
}

/// Those that only an undeletable cluster has.
pub(super) fn undeletable(namespace: &str) -> Result<Vec<Object>, Error> {
    let usual: Vec<_> = objects(namespace)?.iter().map(Object::id).collect();
    let mut all = written(namespace, true)?;
    all.retain(|object| !usual.contains(&object.id()));
    Ok(all)
}

/// What this project's own manifests make, as the operator expects it.
pub fn installation(user: String, namespace: &str, undeletable: bool, pins: &str) -> Installation {
    Installation {
        user,
        namespace: namespace.to_owned(),
        undeletable,
        claims: vec![STORE.to_owned()],
        secrets: vec![pins.to_owned()],
    }
}

fn written(namespace: &str, undeletable: bool) -> Result<Vec<Object>, Error> {
    let user = format!("system:serviceaccount:{namespace}:{NAME}");
    let of = installation(user, namespace, undeletable, PIN_SECRET);
    let mut all = Vec::new();
    for (mut policy, mut binding) in policies::policies(&of)
        .into_iter()
        .zip(policies::bindings(&of))
    {
        keep(&mut policy.metadata);
        keep(&mut binding.metadata);
        all.push(Object::new(SUBJECT, &policy)?);
        all.push(Object::new(SUBJECT, &binding)?);
    }
    Ok(all)
}

fn keep(metadata: &mut ObjectMeta) {
    let (key, value) = KEEP;
    metadata.annotations = Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    // Without the version: they are believed since their last change, and an upgrade alone is none.
    metadata.labels = Some(selector());
}
