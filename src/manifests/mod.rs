//! What is applied to a cluster to run the operator there, as typed objects, each said once: `deploy/` and the chart's templates
//! are written from them (`make manifests`), with values in the place of what an installation may choose.

mod access;
mod admission;
mod alerts;
mod argocd;
mod beside;
mod chart;
mod dashboard;
mod deploy;
mod flags;
mod overlays;
mod roles;
mod template;
mod trial;
mod values;
mod webhook;
mod workload;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_yaml_ng::Value as Yaml;

use crate::api::{self, crds::KEEP};

pub use admission::installation;
pub use alerts::rule as alerts;

/// The operator's name: of its objects, its ServiceAccount, its Lease and its executable. There is one in a cluster.
pub const NAME: &str = env!("CARGO_PKG_NAME");
/// The namespace in `deploy/`; a chart's is its release's.
pub const NAMESPACE: &str = NAME;
/// The Secret that the operator makes for the embedded store's PINs.
pub const PIN_SECRET: &str = "managed-hsm-operator-pins";
/// The claim of the embedded store's volume.
pub const STORE: &str = "managed-hsm-operator-store";
/// What the executable runs as: nobody's account elsewhere.
pub const USER: i64 = 65_532;

/// Why there is no text. None of ours can fail so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("an object cannot be written as YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    #[error("values cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the chart wants to replace {0}, and no object has it")]
    NoSuchPlace(String),
    #[error("no command has that flag: --{0}")]
    NoSuchFlag(&'static str),
}

/// One object and the file that it stands in.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The file's name without its ending: what it is about.
    pub subject: &'static str,
    pub value: Yaml,
}

impl Object {
    fn new(subject: &'static str, object: &impl Serialize) -> Result<Self, Error> {
        let value = serde_yaml_ng::to_value(object)?;
        Ok(Self { subject, value })
    }

    /// Kind and name: no two of ours have the same.
    fn id(&self) -> String {
        let text = |value: &Yaml| value.as_str().unwrap_or_default().to_owned();
        let name = text(&self.value["metadata"]["name"]);
        format!("{}/{name}", text(&self.value["kind"]))
    }
}

/// Everything but the definitions ([`api::crds`]) and the namespace, in the order in which it is applied.
///
/// # Errors
/// None of ours.
pub fn objects(namespace: &str) -> Result<Vec<Object>, Error> {
    let mut objects = access::objects(namespace)?;
    objects.extend(roles::objects()?);
    objects.extend(workload::objects(namespace)?);
    objects.push(webhook::object(namespace)?);
    // Last: where all are deleted in their order, what they guard is refused while they still stand.
    objects.extend(admission::objects(namespace)?);
    Ok(objects)
}

/// Path from the project's folder and text of every file that is generated under `deploy/` and `charts/`. The same each time.
///
/// # Errors
/// None of ours.
pub fn files() -> Result<Vec<(String, String)>, Error> {
    let mut files = deploy::files()?;
    files.extend(overlays::files()?);
    files.extend(chart::files()?);
    files.extend(argocd::files()?);
    Ok(files)
}

/// Says where a file comes from, as its first line.
const GENERATED: &str = "# Written by `make manifests` from src/manifests; a test compares them.\n";

/// Objects as one YAML text.
fn text<'a>(objects: impl IntoIterator<Item = &'a Yaml>) -> Result<String, Error> {
    let mut parts = Vec::new();
    for object in objects {
        parts.push(serde_yaml_ng::to_string(object)?);
    }
    Ok(parts.join("---\n"))
}

fn definitions() -> Result<String, Error> {
    let files = api::crds_yaml()?;
    let texts: Vec<_> = files.into_iter().map(|(_, text)| text).collect();
    Ok(texts.join("---\n"))
}

/// What the pods are found by; it never changes.
fn selector() -> BTreeMap<String, String> {
    BTreeMap::from([("app.kubernetes.io/name".to_owned(), NAME.to_owned())])
}

fn labels() -> BTreeMap<String, String> {
    let mut labels = selector();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    labels.insert("app.kubernetes.io/version".to_owned(), version);
    labels
}

/// Of a cluster-wide object.
fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

fn within(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        ..named(name)
    }
}

#[cfg(test)]
mod tests;
