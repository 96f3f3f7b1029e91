//! Argo CD's real repo server and application controller as processes beside the plane, and one team's Application over one folder of the
//! repository.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use testplane::{Server, eventually, project_dir, source, tools};

use crate::house::{House, PATIENCE};

/// Where Argo CD and what it is told are.
pub const SYSTEM: &str = "argocd";

/// With our health scripts.
pub async fn start(house: &mut House) {
    start_without_health(house).await;
    with_health(house);
}

/// As `deploy/argocd/argocd-cm.yaml` says.
pub fn with_health(house: &House) {
    let settings = project_dir().join("deploy/argocd/argocd-cm.yaml");
    let apply = "kubectl apply --server-side --field-manager managed-hsm-health -f";
    house.does(&format!("{apply} {}", settings.display()));
}

/// As Argo CD is installed.
pub async fn start_without_health(house: &mut House) {
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
    let (redis, repo, api) = (port(), port(), port());
    let own = |server: Server, name: Option<&str>, flags: String| {
        let mut environment = environment.clone();
        if let Some(name) = name {
            environment.push(("ARGOCD_BINARY_NAME".to_owned(), name.into()));
        }
        let arguments = flags.split_whitespace().map(str::to_owned).collect();
        let started = house.plane.beside(server, arguments, environment);
        started.unwrap_or_else(|failure| panic!("{failure}"));
    };
    let redis = format!("127.0.0.1:{redis}");
    let (kubeconfig, dir) = (house.plane.kubeconfig(), folder.display());
    let common = format!(
        "--kubeconfig {} --namespace {SYSTEM} --redis {redis} --repo-server 127.0.0.1:{repo} --repo-server-plaintext \
        --repo-server-client-cert-path= --repo-server-client-cert-key-path=",
        kubeconfig.display()
    );
    let local = |port: u16| {
        format!("--address 127.0.0.1 --port {port} --metrics-address 127.0.0.1 --metrics-port")
    };
    own(
        Server::Redis,
        None,
        format!(
            "--port {} --bind 127.0.0.1 --appendonly no --dir {dir}",
            &redis[10..]
        ),
    );
    own(
        Server::RepoServer,
        Some("argocd-repo-server"),
        format!(
            "{} {} --disable-tls --client-ca-path= --redis {redis}",
            local(repo),
            port()
        ),
    );
    own(
        Server::ApplicationController,
        Some("argocd-application-controller"),
        format!("{common} --metrics-port {} --app-resync 60 {SOON}", port()),
    );
    own(
        Server::ArgocdServer,
        Some("argocd-server"),
        format!(
            "{common} {} {} --insecure --disable-auth",
            local(api),
            port()
        ),
    );
    house.setup = format!(
        "PATH=$PATH:{} HOME={dir} ARGOCD_SERVER=127.0.0.1:{api} ARGOCD_OPTS=--plaintext; export PATH HOME ARGOCD_SERVER ARGOCD_OPTS\n",
        tools("argocd").expect("Argo CD").display()
    );
    house.until("argocd version --short", "argocd-server").await;
}

/// Drift is put right at once.
const SOON: &str = "--self-heal-timeout-seconds 1 --self-heal-backoff-timeout-seconds 1";

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

/// The Application, and of what Argo CD's own program says of HSMs and keys the table: in order, and without messages.
#[track_caller]
pub fn looks(house: &mut House) -> String {
    house.shows("kubectl -n argocd get applications");
    let command = "argocd app get payments";
    let said = house.does(command);
    let table = said.lines().skip_while(|line| !line.starts_with("GROUP"));
    // What is of HSMs, and there now.
    let of_hsms = |line: &&str| line.starts_with("GROUP") || line.starts_with("managedhsm.dev");
    let table = table.filter(|line| of_hsms(line) && !line.contains("Pruned"));
    let mut rows: Vec<&str> = table.collect();
    let end = rows.first().and_then(|head| head.find("HOOK"));
    rows[1..].sort_unstable();
    let row = |row: &&str| {
        let short = end.and_then(|end| row.get(..end));
        format!("{}\n", short.unwrap_or(row).trim_end())
    };
    let table: String = rows.iter().map(row).collect();
    house.write(&format!("$ {command}\n{table}"));
    table
}

/// How its last sync ended, or goes on.
pub const SENTENCE: &str = "kubectl -n argocd get application payments -o 'jsonpath={.status.operationState.message}{\"\\n\"}'";

/// What it says of the resources of that kind.
pub fn of_resource(kind: &str) -> String {
    let its = format!(".status.operationState.syncResult.resources[?(@.kind==\"{kind}\")].message");
    format!("kubectl -n argocd get application payments -o 'jsonpath={{{its}}}{{\"\\n\"}}'")
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

/// What `argocd app get NAME --refresh` does: compares Git with what is there, now.
pub async fn refresh(house: &House, name: &str) {
    let annotation = "argocd.argoproj.io/refresh";
    let annotate = format!("kubectl -n {SYSTEM} annotate --overwrite application {name}");
    house.does(&format!("{annotate} {annotation}=normal"));
    let what = format!("the Application {name} is compared");
    eventually(&what, PATIENCE, async || {
        let app = seen(house, name);
        match app["metadata"]["annotations"][annotation].is_null() {
            true => Ok(()),
            false => Err(format!("{app}\n{}", house.plane.logs())),
        }
    })
    .await;
}

/// Waits until it looks so at the present commit, with no sync under way that is not asked for.
pub async fn until(house: &House, name: &str, wanted: [&str; 3]) -> Value {
    let head = house.repository.head();
    let what = format!("the Application {name} is {wanted:?}");
    eventually(&what, PATIENCE, async || {
        refresh(house, name).await;
        let app = seen(house, name);
        let present = app["status"]["sync"]["revision"] == head.as_str();
        let idle = wanted[2] == "Running" || app["operation"].is_null();
        if present && idle && at_a_glance(&app) == wanted {
            return Ok(app);
        }
        let now = at_a_glance(&app);
        Err(format!(
            "{now:?}\n{}\n{}",
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
