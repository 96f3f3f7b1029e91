//! A node with the operator's image on it and a volume for its store, in namespaces of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use managed_hsm_operator::manifests::{NAME, NAMESPACE, STORE};
use serde_json::{Value, json};
use testplane::{NODE, Options, Output, Plane, helm, project_dir};

use crate::machine::Machine;

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
    let ended = Command::new(project_dir().join("hack/node.sh"))
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .status()
        .expect("the script runs");
    before.is_still(&Machine::now());
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
        let plane = Plane::start(Options::node()).expect("a node");
        let house = Self { plane };
        house.image(&format!("{NAME}:{}", env!("CARGO_PKG_VERSION")), 1);
        house.volume();
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

    /// The volume that the chart's claim asks for: there is no provisioner. What was in it stays.
    pub fn volume(&self) {
        let folder = Path::new(VOLUMES).join(STORE);
        std::fs::create_dir_all(&folder).expect("a folder");
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]});
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": STORE}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": NAMESPACE, "name": STORE}, "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}}});
        let apply = ["apply", "-f", "-"];
        let said = self
            .plane
            .kubectl_blocking(&apply, &volume.to_string())
            .expect("kubectl");
        said.ok();
    }

    /// What lies in the volume, by its path there.
    pub fn stored(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        list(&Path::new(VOLUMES).join(STORE), &mut found);
        found
    }

    /// kubectl, by the words of a line.
    pub async fn asked(&self, line: &str) -> Output {
        let words: Vec<_> = line.split(' ').collect();
        self.plane.kubectl(&words, "").await
    }

    /// The same, which must go well; answers what it printed.
    pub async fn kubectl(&self, line: &str) -> String {
        self.asked(line).await.ok()
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
        let mut words: Vec<_> = line.split(' ').collect();
        words.extend(["--namespace", NAMESPACE]);
        helm(Some(&self.plane.kubeconfig()), &words)
    }

    pub fn helm(&self, line: &str) -> String {
        self.tried(line)
            .unwrap_or_else(|said| panic!("helm {line}: {said}"))
    }

    /// As docs/install.md says.
    pub fn install(&self) {
        self.helm(&format!(
            "install {RELEASE} {CHART} --create-namespace --wait --timeout 3m"
        ));
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
