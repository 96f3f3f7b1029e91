//! Flux's real controllers as processes beside the plane, and one team's Kustomization over one folder of the repository.

use std::ffi::OsString;
use std::time::SystemTime;

use serde_json::{Value, json};
use testplane::{Server, eventually, source};

use crate::house::{House, PATIENCE};

/// Where Flux and what it is told are.
pub const SYSTEM: &str = "flux-system";

/// What applies what Git holds, over the house's repository.
pub async fn start(house: &House) {
    house.does(&format!("kubectl create namespace {SYSTEM}"));
    let artifacts = format!("127.0.0.1:{}", house.plane.another_port().expect("a port"));
    let storage = house.plane.folder().join("storage");
    std::fs::create_dir_all(&storage).expect("a folder");
    let flags = [
        format!("--storage-path={}", storage.display()),
        format!("--storage-addr={artifacts}"),
        format!("--storage-adv-addr={artifacts}"),
    ];
    controller(house, Server::SourceController, "source-controller", &flags);
    // Of several refusals the one that it tells of is then the same each time.
    let flags = ["--requeue-dependency=2s", "--concurrent-ssa=1"].map(str::to_owned);
    controller(
        house,
        Server::KustomizeController,
        "kustomize-controller",
        &flags,
    );
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "tenants", "namespace": SYSTEM},
        "spec": {"interval": "10m", "url": house.repository.url(), "ref": {"branch": "main"}},
    });
    apply(house, &source).await;
}

/// And what installs charts.
pub fn start_helm(house: &House) {
    let soon = ["--requeue-dependency=2s".to_owned()];
    controller(house, Server::HelmController, "helm-controller", &soon);
}

/// Its definitions come with its module.
fn controller(house: &House, server: Server, module: &str, flags: &[String]) {
    let crds = source(module).join("config/crd/bases");
    let applied = house.plane.apply_crds(&crds);
    applied.unwrap_or_else(|failure| panic!("{failure}"));
    let port = || house.plane.another_port().expect("a port");
    let folder = house.plane.folder().join(module);
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut arguments = vec![
        format!("--metrics-addr=127.0.0.1:{}", port()),
        format!("--health-addr=127.0.0.1:{}", port()),
        "--enable-leader-election=false".to_owned(),
    ];
    arguments.extend_from_slice(flags);
    let environment = [
        ("KUBECONFIG", house.plane.kubeconfig().into()),
        ("RUNTIME_NAMESPACE", SYSTEM.into()),
        ("TMPDIR", folder.into()),
    ];
    let environment = environment.map(|(name, value): (_, OsString)| (name.to_owned(), value));
    let started = house.plane.beside(server, arguments, environment.to_vec());
    started.unwrap_or_else(|failure| panic!("{failure}"));
}

pub async fn apply(house: &House, object: &Value) {
    let arguments = ["apply", "--server-side", "-f", "-"];
    house
        .plane
        .kubectl(&arguments, &object.to_string())
        .await
        .ok();
}

/// A Kustomization over the folder of its own name, as most teams have it: what leaves Git goes, and it is ready when all in it is.
pub async fn kustomization(house: &House, name: &str, more: &Value) {
    let mut spec = json!({
        "interval": "10m", "retryInterval": "5s", "timeout": "30s", "prune": true, "wait": true, "path": format!("./{name}"),
        "sourceRef": {"kind": "GitRepository", "name": "tenants"},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec,
    });
    apply(house, &object).await;
}

/// What `flux reconcile kustomization NAME --with-source` does; answers the Ready condition of the present commit, as soon as it is settled.
pub async fn reconciled(house: &House, name: &str) -> Value {
    asked(house, "gitrepository", "tenants");
    let head = house.repository.head();
    let revision = "-o jsonpath={.status.artifact.revision}";
    let get = format!("kubectl -n {SYSTEM} get gitrepository tenants {revision}");
    house.until(&get, &head).await;
    let at = asked(house, "kustomization", name);
    let what = format!("the Kustomization {name} is settled");
    eventually(&what, PATIENCE, async || {
        let found = house.does(&format!(
            "kubectl -n {SYSTEM} get kustomization {name} -o json"
        ));
        let found: Value = serde_json::from_str(&found).expect("JSON");
        let status = &found["status"];
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        let ready = all
            .iter()
            .find(|it| it["type"] == "Ready" && it["status"] != "Unknown");
        let attempted = status["lastAttemptedRevision"].as_str().unwrap_or_default();
        let present = attempted.ends_with(&head) && status["lastHandledReconcileAt"] == at;
        match ready {
            Some(ready) if present => Ok(ready.clone()),
            _ => Err(format!("{found}\n{}", house.plane.logs())),
        }
    })
    .await
}

fn asked(house: &House, kind: &str, name: &str) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let at = now.as_nanos().to_string();
    let key = "reconcile.fluxcd.io/requestedAt";
    house.does(&format!(
        "kubectl -n {SYSTEM} annotate --overwrite {kind} {name} {key}={at}"
    ));
    at
}

/// A release of the chart in that folder of the repository, in a namespace that it may make.
pub async fn release(house: &House, name: &str, namespace: &str, chart: &str, more: &Value) {
    let mut spec = json!({
        "interval": "10m", "timeout": "2m", "targetNamespace": namespace, "storageNamespace": namespace, "releaseName": name,
        "chart": {"spec": {"chart": chart, "sourceRef": {"kind": "GitRepository", "name": "tenants"}, "reconcileStrategy": "Revision"}},
        "install": {"createNamespace": true},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let object = json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec,
    });
    apply(house, &object).await;
}
