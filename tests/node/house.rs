//! A node with the operator's image on it and a volume for its store, in namespaces of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use managed_hsm_operator::manifests::{NAME, NAMESPACE, STORE};
use serde_json::{Value, json};
use testplane::{NODE, Options, Output, Plane, helm, project_dir};

use crate::machine::{Machine, cgroups};

pub const CHART: &str = "charts/managed-hsm-operator";
pub const RELEASE: &str = "hsm";
/// How `hack/node.sh` says that there can be no node.
const CANNOT: i32 = 69;
/// Where the volumes are, in memory.
const VOLUMES: &str = "/var/lib/volumes";

/// Tells a story on a node: within `hack/node.sh`, which runs this very test there, and compares the machine before and after.
pub fn on_a_node(test: &str, story: impl AsyncFnOnce(&House)) {
    if std::env::var_os("NODE_ADDRESS").is_some() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let house = House::start();
        return runtime.block_on(story(&house));
    }
    if std::env::var_os("E2E_NODE").is_none() {
        eprintln!("skipped: make e2e-node runs this, as root, on a node of its own");
        return;
    }
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let before = Machine::now();
    let mut script = Command::new(project_dir().join("hack/node.sh"))
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .spawn()
        .expect("the script runs");
    let ended = script.wait().expect("it ends");
    before.is_still(&Machine::now());
    assert_eq!(cgroups(script.id()), "");
    // Where nobody reads what a test says, none is skipped.
    let may_skip = std::env::var("CI").as_deref() != Ok("true");
    if ended.code() == Some(CANNOT) && may_skip {
        return eprintln!("skipped");
    }
    assert!(ended.success(), "{test}: {ended}");
}

pub struct House {
    pub plane: Plane,
}

/// What went on, where a story came to another end.
impl Drop for House {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for question in [
            "get pods,pv,pvc -A -o wide",
            "get hsm -A",
            "get events -A --sort-by=.lastTimestamp",
            "logs deployment/managed-hsm-operator -n managed-hsm-operator --tail=60",
            "logs deployment/managed-hsm-operator -n managed-hsm-operator --previous --tail=20",
        ] {
            let words: Vec<_> = question.split(' ').collect();
            if let Ok(said) = self.plane.kubectl_blocking(&words, "") {
                eprintln!("$ kubectl {question}\n{}{}", said.stdout, said.stderr);
            }
        }
        eprintln!("{}", self.plane.logs());
    }
}

impl House {
    fn start() -> Self {
        let began = Instant::now();
        let plane = Plane::start(Options::node()).expect("a node");
        let house = Self { plane };
        house.image(&format!("{NAME}:{}", env!("CARGO_PKG_VERSION")), 1);
        house.volume(STORE);
        let passed = began.elapsed().as_secs_f32();
        println!("[{passed:5.1} s] a node, with the operator's image and a volume");
        house
    }

    /// Gives the node this build's executable as an image of that name. Another time makes another image.
    pub fn image(&self, name: &str, epoch: u32) {
        let archive = self.plane.folder().join("operator.tar");
        let packed = Command::new(project_dir().join("hack/image.sh"))
            .args([
                "--executable",
                env!("CARGO_BIN_EXE_managed-hsm-operator"),
                "--name",
                name,
                "--out",
            ])
            .arg(&archive)
            .env("SOURCE_DATE_EPOCH", epoch.to_string())
            .output()
            .expect("the script runs");
        let said = String::from_utf8_lossy(&packed.stderr);
        assert!(packed.status.success(), "{said}");
        self.plane.import_image(&archive).expect("it is an image");
    }

    /// A volume for the claim of that name in the operator's namespace, such as the chart's: there is no provisioner. What was in it stays.
    pub fn volume(&self, name: &str) -> PathBuf {
        let folder = Path::new(VOLUMES).join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]});
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": NAMESPACE, "name": name}, "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}}});
        self.applied(&volume);
        folder
    }

    /// A claim of somebody's own there, with its volume.
    pub fn claim(&self, name: &str) -> PathBuf {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}});
        self.applied(&claim);
        self.volume(name)
    }

    fn applied(&self, object: &Value) {
        let apply = ["apply", "-f", "-"];
        let said = self.plane.kubectl_blocking(&apply, &object.to_string());
        said.expect("kubectl").ok();
    }

    /// What lies in the store's volume, by its path there.
    pub fn stored(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        list(&Path::new(VOLUMES).join(STORE), &mut found);
        found
    }

    /// What was in the volume is gone.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(Path::new(VOLUMES).join(STORE)).expect("it was there");
    }

    /// kubectl, by the words of a line.
    pub async fn asked(&self, line: &str) -> Output {
        let (began, words) = (Instant::now(), line.split(' ').collect::<Vec<_>>());
        let said = self.plane.kubectl(&words, "").await;
        told("kubectl", line, began);
        said
    }

    /// The same, which must go well; answers what it printed.
    pub async fn kubectl(&self, line: &str) -> String {
        self.asked(line).await.ok()
    }

    /// What kubectl prints in base64.
    pub async fn read(&self, line: &str) -> String {
        let text = STANDARD.decode(self.kubectl(line).await);
        String::from_utf8(text.expect("base64")).expect("text")
    }

    pub async fn apply(&self, manifests: &str) -> Output {
        self.plane.kubectl(&["apply", "-f", "-"], manifests).await
    }

    pub async fn get(&self, line: &str) -> Value {
        let said = self.kubectl(&format!("get {line} -o json")).await;
        serde_json::from_str(&said).expect("JSON")
    }

    /// Helm in the operator's namespace.
    pub fn tried(&self, line: &str) -> Result<String, String> {
        let (began, line) = (Instant::now(), format!("{line} --namespace {NAMESPACE}"));
        let words: Vec<_> = line.split(' ').collect();
        let said = helm(Some(&self.plane.kubeconfig()), &words);
        told("helm", &line, began);
        said
    }

    pub fn helm(&self, line: &str) -> String {
        self.tried(line)
            .unwrap_or_else(|said| panic!("helm {line}: {said}"))
    }

    /// Commands as a page has them, in a folder with what they name of the project.
    pub fn typed(&self, desk: &Path, commands: &str) -> String {
        let began = Instant::now();
        let said = self.plane.shell(desk, commands);
        for line in commands.lines() {
            println!("        $ {line}");
        }
        println!("[{:5.1} s]", began.elapsed().as_secs_f32());
        said.unwrap_or_else(|said| panic!("{said}"))
    }

    /// Such a folder, with copies that may be changed.
    pub fn desk() -> tempfile::TempDir {
        let desk = tempfile::tempdir().expect("a folder");
        for of in ["charts", "deploy"] {
            let mut copy = Command::new("cp");
            let copied = copy
                .arg("-r")
                .arg(project_dir().join(of))
                .arg(desk.path())
                .status();
            assert!(copied.expect("cp runs").success());
        }
        desk
    }

    /// By the plain manifests, without Helm.
    pub async fn apply_plain(&self) {
        let file = project_dir().join("deploy/install.yaml");
        let apply = format!("apply --server-side -f {}", file.display());
        self.kubectl(&apply).await;
        self.at_work().await;
    }

    /// The pod is ready, and it is the only one.
    pub async fn at_work(&self) {
        let status = format!("rollout status deployment/{NAME} -n {NAMESPACE} --timeout=180s");
        self.kubectl(&status).await;
    }

    /// As docs/install.md says.
    pub fn install(&self) {
        self.helm(&format!(
            "install {RELEASE} {CHART} --create-namespace --wait --timeout 3m"
        ));
    }
}

/// For whoever reads the story: what was asked, and how long it took.
fn told(program: &str, line: &str, began: Instant) {
    // Looks say nothing.
    if !["get ", "logs "].iter().any(|look| line.starts_with(look)) {
        println!("[{:5.1} s] {program} {line}", began.elapsed().as_secs_f32());
    }
}

fn list(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, into);
        } else {
            into.push(path);
        }
    }
}
