//! Argo CD's real repo server and application controller as processes beside the plane, and one team's Application over one folder of the
//! repository.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testplane::{Server, eventually, project_dir, source, tools};

use crate::house::{House, PATIENCE};

/// Where Argo CD and what it is told are.
pub const SYSTEM: &str = "argocd";

/// With our health scripts.
pub async fn start(house: &House) {
    start_without_health(house).await;
    let settings = project_dir().join("deploy/argocd/argocd-cm.yaml");
    let apply = "kubectl apply --server-side --field-manager managed-hsm-health -f";
    house.does(&format!("{apply} {}", settings.display()));
}

/// As Argo CD is installed.
pub async fn start_without_health(house: &House) {
    for kind in ["application", "appproject", "applicationset"] {
        let crd = source("argocd").join(format!("manifests/crds/{kind}-crd.yaml"));
        let applied = house.plane.apply_crds(&crd);
        applied.unwrap_or_else(|failure| panic!("{failure}"));
    }
    house.does(&format!("kubectl create namespace {SYSTEM}"));
    for object in settings() {
        apply(house, &object).await;
    }
    let folder = house.plane.folder().join("argocd");
    let environment = environment(house, &folder);
    let port = || house.plane.another_port().expect("a port");
    let (redis, repo) = (port(), port());
    let own = |server: Server, name: Option<&str>, flags: String| {
        let mut environment = environment.clone();
        if let Some(name) = name {
            environment.push(("ARGOCD_BINARY_NAME".to_owned(), name.into()));
        }
        let arguments = flags.split_whitespace().map(str::to_owned).collect();
        let started = house.plane.beside(server, arguments, environment);
        started.unwrap_or_else(|failure| panic!("{failure}"));
    };
    let dir = folder.display();
    let kubeconfig = house.plane.kubeconfig();
    own(
        Server::Redis,
        None,
        format!("--port {redis} --bind 127.0.0.1 --appendonly no --dir {dir} --save ''"),
    );
    own(
        Server::RepoServer,
        Some("argocd-repo-server"),
        format!(
            "--address 127.0.0.1 --port {repo} --metrics-address 127.0.0.1 --metrics-port {} --disable-tls --client-ca-path= --redis 127.0.0.1:{redis}",
            port()
        ),
    );
    own(
        Server::ApplicationController,
        Some("argocd-application-controller"),
        format!(
            "--kubeconfig {} --namespace {SYSTEM} --metrics-port {} --repo-server 127.0.0.1:{repo} --repo-server-plaintext --repo-server-client-cert-path= \
            --repo-server-client-cert-key-path= --redis 127.0.0.1:{redis} --app-resync 60 --self-heal-timeout-seconds 1 --self-heal-backoff-timeout-seconds 1",
            kubeconfig.display(),
            port()
        ),
    );
}

/// What it finds on its own machine; a program that it calls for signatures is a script of its sources.
fn environment(house: &House, folder: &Path) -> Vec<(String, OsString)> {
    let programs = folder.join("bin");
    std::fs::create_dir_all(&programs).expect("a folder");
    let script = "git-verify-wrapper.sh";
    let verify = programs.join(script);
    std::fs::copy(source("argocd").join("hack").join(script), &verify).expect("a copy");
    std::fs::set_permissions(&verify, PermissionsExt::from_mode(0o755)).expect("allowed");
    std::fs::write(folder.join("ssh_known_hosts"), "").expect("written");
    let helm = tools("helm").expect("Helm");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{}:{path}", programs.display(), helm.display());
    let at = |name: &str| (name.to_owned(), folder.into());
    let said = |name: &str, value: &str| (name.to_owned(), value.into());
    vec![
        // What its sources call in-cluster is the kubeconfig's cluster.
        said("ARGOCD_FAKE_IN_CLUSTER", "true"),
        said("ARGOCD_GPG_ENABLED", "false"),
        at("ARGOCD_TLS_DATA_PATH"),
        at("ARGOCD_SSH_DATA_PATH"),
        at("ARGOCD_GPG_DATA_PATH"),
        at("TMPDIR"),
        at("HOME"),
        ("KUBECONFIG".to_owned(), house.plane.kubeconfig().into()),
        said("PATH", &path),
    ]
}

fn settings() -> Vec<Value> {
    let named = |name: &str| json!({"name": name, "namespace": SYSTEM, "labels": {"app.kubernetes.io/part-of": "argocd"}});
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("argocd-cm")}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("argocd-rbac-cm")}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": named("argocd-secret"), "stringData": {"server.secretkey": "nobody signs in here"}}),
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": named("default"), "spec": {
            "sourceRepos": ["*"], "destinations": [{"namespace": "*", "server": "*"}], "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        }}),
    ]
}

pub async fn apply(house: &House, object: &Value) {
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let object = object.to_string();
    house.plane.kubectl(&arguments, &object).await.ok();
}

/// An Application over the folder of its own name that follows Git by itself, as most teams have it; with other members of its `syncPolicy`.
pub async fn application(house: &House, name: &str, more: &Value) {
    let mut policy = json!({
        "automated": {"prune": true, "selfHeal": true, "allowEmpty": true},
        // Argo's five, but sooner than its 5 s to 3 min.
        "retry": {"limit": 5, "backoff": {"duration": "1s", "factor": 1, "maxDuration": "1s"}},
    });
    for (member, value) in more.as_object().into_iter().flatten() {
        policy[member] = value.clone();
    }
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": name, "namespace": SYSTEM}, "spec": {
            "project": "default",
            "source": {"repoURL": house.repository.url(), "path": name, "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "syncPolicy": policy,
        },
    });
    apply(house, &object).await;
}

/// What Argo CD says of it now.
pub fn seen(house: &House, name: &str) -> Value {
    let found = house.does(&format!(
        "kubectl -n {SYSTEM} get application {name} -o json"
    ));
    serde_json::from_str(&found).expect("JSON")
}

/// What its users look at first: in sync or not, healthy or not, and how its last sync ended or goes on.
pub fn at_a_glance(app: &Value) -> [String; 3] {
    let status = &app["status"];
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    [
        word(&status["sync"]["status"]),
        word(&status["health"]["status"]),
        word(&status["operationState"]["phase"]),
    ]
}

/// What `argocd app get NAME --refresh` does; waits until what was asked for has been compared and it looks so at the present commit.
pub async fn until(house: &House, name: &str, wanted: [&str; 3]) -> Value {
    let head = house.repository.head();
    let what = format!("the Application {name} is {wanted:?}");
    let refresh = format!(
        "kubectl -n {SYSTEM} annotate --overwrite application {name} argocd.argoproj.io/refresh=normal"
    );
    house.does(&refresh);
    eventually(&what, PATIENCE, async || {
        let app = seen(house, name);
        let compared = app["metadata"]["annotations"]["argocd.argoproj.io/refresh"].is_null()
            && app["status"]["sync"]["revision"] == head.as_str()
            && app["operation"].is_null();
        if compared && at_a_glance(&app) == wanted {
            return Ok(app);
        }
        if compared {
            house.does(&refresh);
        }
        Err(format!(
            "{:?}\n{}\n{}",
            at_a_glance(&app),
            app["status"],
            house.plane.logs()
        ))
    })
    .await
}

/// Synced, Healthy and Succeeded.
pub async fn green(house: &House, name: &str) -> Value {
    until(house, name, ["Synced", "Healthy", "Succeeded"]).await
}

pub fn program() -> PathBuf {
    tools("argocd").expect("Argo CD").join("argocd")
}
