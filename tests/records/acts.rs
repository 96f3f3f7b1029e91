//! What a user does and sees, on a plane of the test's own.

use std::time::Duration;

use kube::api::DynamicObject;
use managed_hsm_operator::backend::HsmBackend;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use testplane::{Plane, eventually};

use crate::operator::{Operator, until};

pub const HSM: Watched = Watched::Object(Kind::Hsm);
pub const KEY: Watched = Watched::Object(Kind::Key);
pub const HSM_PROXY: Watched = Watched::Proxy(Kind::Hsm);
pub const KEY_PROXY: Watched = Watched::Proxy(Kind::Key);
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn document(ns: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: managedhsm.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {ns}}}\nspec: {spec}\n"
    )
}

pub fn safe_and_key(ns: &str) -> String {
    let key = "{hsm: safe, keyType: EC, curve: P-256}";
    document(ns, "ManagedHsm", "safe", "{retentionDays: 30}")
        + &document(ns, "HsmKey", "signing", key)
}

pub async fn apply(plane: &Plane, yaml: &str) {
    plane.kubectl(&["apply", "-f", "-"], yaml).await.ok();
}

pub async fn delete(plane: &Plane, ns: &str, what: &str) {
    plane.kubectl(&["delete", "-n", ns, what], "").await.ok();
}

pub async fn ready(plane: &Plane, ns: &str, of: Watched, name: &str) -> DynamicObject {
    until(plane, of, Some(ns), name, "Ready", "True", "").await
}

pub fn uid(of: &DynamicObject) -> String {
    of.metadata.uid.clone().expect("a uid")
}

pub fn versions(of: &DynamicObject) -> serde_json::Value {
    of.data["status"]["versions"].clone()
}

pub async fn recovered(plane: &Plane, ns: &str, kind: &str, name: &str, spec: &str) {
    let recover = format!("back-{name}");
    let spec = format!("{{kind: {kind}, name: {name}, {spec}}}");
    apply(plane, &document(ns, "Recover", &recover, &spec)).await;
    let of = Watched::Recover;
    until(plane, of, Some(ns), &recover, "Complete", "True", "").await;
}

/// How often the operator found that etcd was put back.
pub async fn found(operator: &Operator, often: impl Fn(u32) -> bool) {
    eventually("etcd was put back, and it is seen", PATIENCE, async || {
        let text = operator.metrics.text();
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix("managedhsm_etcd_put_back_total "));
        match count.and_then(|count| count.parse().ok()) {
            Some(count) if often(count) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Enough happens, and the operator knows of it, that a cluster which forgets it, and starts anew, does not catch up before anybody looks.
pub async fn time_passes(plane: &Plane, ns: &str, backend: &MemoryBackend) {
    let one = |number: u32| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: later-{number}, namespace: {ns}}}\n"
        )
    };
    let all: String = (0..200).map(one).collect();
    plane.kubectl(&["create", "-f", "-"], &all).await.ok();
    let get = "jsonpath={.metadata.resourceVersion}";
    let get = ["get", "configmap", "later-199", "-n", ns, "-o", get];
    let last: u64 = plane
        .kubectl(&get, "")
        .await
        .ok()
        .parse()
        .expect("a number");
    eventually("the operator knows of it", PATIENCE, async || {
        let noted = backend.revision();
        let knows = noted.as_ref().is_ok_and(|noted| *noted >= last);
        knows.then_some(()).ok_or(format!("{noted:?} of {last}"))
    })
    .await;
}

/// A Purge, which no namespace has.
pub async fn ask_purge(
    plane: &Plane,
    name: &str,
    user: &str,
    kind: &str,
    proxy: &str,
    of: &DynamicObject,
) {
    let manifest = format!(
        "apiVersion: managedhsm.dev/v1alpha1\nkind: Purge\nmetadata: {{name: {name}}}\nspec: {{kind: {kind}, name: {proxy}, uid: {}, requestedBy: {user}}}\n",
        uid(of)
    );
    apply(plane, &manifest).await;
}
