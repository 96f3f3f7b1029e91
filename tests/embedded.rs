//! The executable with its embedded HSM, as a process of its own on a real control plane: what it makes outlives it, however it ends.
#![cfg(feature = "embedded")]

mod operator;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use kube::api::DynamicObject;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use operator::{gone, until};
use serde_json::Value;
use testplane::{Options, Plane, borrow};

const KEY: Watched = Watched::Object(Kind::Key);
const PROXY: Watched = Watched::Proxy(Kind::Key);

/// The operator's process; killed when it is dropped.
struct Process {
    child: Child,
    steps: Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    fn start(plane: &Plane, store: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"))
            .args(["run", "--metrics-addr", "127.0.0.1:0"])
            .args([
                "--lease-duration",
                "2s",
                "--lease-renew-deadline",
                "1500ms",
                "--lease-retry",
                "200ms",
            ])
            .arg("--data-dir")
            .arg(store.join("data"))
            .arg("--pin-dir")
            .arg(store.join("pins"))
            .env("KUBECONFIG", plane.kubeconfig())
            .env("RUST_LOG", "managed_hsm_operator=debug")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the operator starts");
        let log = child.stderr.take().expect("piped");
        let (told, steps) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if line.contains("effect=") {
                    // Nobody listens any more once the test has seen enough.
                    _ = told.send(line);
                }
            }
        });
        Self { child, steps }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }

    /// Waits until `count` effects of a key have been carried out, then kills it: wherever it is by then. False: it settled before.
    fn kill_after(&mut self, count: usize) -> bool {
        for _ in 0..count {
            let next = loop {
                match self.steps.recv_timeout(Duration::from_secs(5)) {
                    Ok(line) if line.contains("HsmKey") => break true,
                    Ok(_) => {}
                    Err(_) => break false,
                }
            };
            if !next {
                return false;
            }
        }
        self.kill();
        true
    }
}

fn key(ns: &str, name: &str, kind: &str) -> String {
    format!(
        "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: HsmKey, metadata: {{name: {name}, namespace: {ns}}}, spec: {{hsm: safe, {kind}}}}}\n"
    )
}

fn hsm(ns: &str) -> String {
    format!(
        "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {{name: safe, namespace: {ns}}}, spec: {{}}}}\n"
    )
}

fn recover(ns: &str, name: &str, uid: &str) -> String {
    format!(
        "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: Recover, metadata: {{name: back-{name}, namespace: {ns}}}, spec: {{kind: HsmKey, name: {name}, uid: {uid}}}}}\n"
    )
}

/// Everything in a key's status that its material decides.
fn material(key: &DynamicObject) -> Vec<[Value; 4]> {
    let versions = key.data["status"]["versions"].as_array().expect("versions");
    let of = |version: &Value| {
        ["materialId", "publicKey", "thumbprint", "checkValue"].map(|field| version[field].clone())
    };
    versions.iter().map(of).collect()
}

async fn apply(plane: &Plane, manifests: &str) {
    plane.kubectl(&["apply", "-f", "-"], manifests).await.ok();
}

const TYPES: [(&str, &str); 7] = [
    ("rsa", "keyType: RSA, keySize: 2048, versions: 2"),
    ("p256", "keyType: EC, curve: P-256"),
    ("p384", "keyType: EC, curve: P-384"),
    ("p521", "keyType: EC, curve: P-521"),
    ("aes128", "keyType: oct, keySize: 128"),
    ("aes192", "keyType: oct, keySize: 192"),
    ("aes256", "keyType: oct, keySize: 256"),
];

#[tokio::test(flavor = "multi_thread")]
async fn sd19_keys_of_every_type_come_back_as_the_same_material_from_the_embedded_hsm() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let mut process = Process::start(&plane, store.path());
    let ns = plane.namespace("types").await;
    let keys: String = TYPES
        .iter()
        .map(|(name, kind)| key(&ns, name, kind))
        .collect();
    apply(&plane, &(hsm(&ns) + &keys)).await;
    let mut before = Vec::new();
    for (name, _) in TYPES {
        let made = until(&plane, KEY, Some(&ns), name, "Ready", "True", "").await;
        before.push((name, material(&made), made.metadata.uid.expect("a uid")));
    }
    assert_eq!(
        before[0].1.len(),
        2,
        "both versions of the RSA key: {:?}",
        before[0]
    );

    plane
        .kubectl(
            &["delete", "hsmkeys", "--all", "-n", &ns, "--timeout=60s"],
            "",
        )
        .await
        .ok();
    for (name, _) in TYPES {
        gone(&plane, KEY, Some(&ns), name).await;
    }
    // The store is another process's from here on.
    process.kill();
    let _again = Process::start(&plane, store.path());
    let recovers: String = before
        .iter()
        .map(|(name, _, uid)| recover(&ns, name, uid))
        .collect();
    apply(&plane, &recovers).await;
    for (name, was, _) in &before {
        until(
            &plane,
            Watched::Recover,
            Some(&ns),
            &format!("back-{name}"),
            "Complete",
            "True",
            "",
        )
        .await;
        let back = until(&plane, KEY, Some(&ns), name, "Ready", "True", "").await;
        assert_eq!(material(&back), *was, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd19_a_key_comes_back_as_the_same_wherever_the_process_is_killed_meanwhile() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let ns = plane.namespace("kills").await;
    let mut process = Process::start(&plane, store.path());
    apply(&plane, &hsm(&ns)).await;
    until(
        &plane,
        Watched::Object(Kind::Hsm),
        Some(&ns),
        "safe",
        "Ready",
        "True",
        "",
    )
    .await;
    let mut kills = 0;
    for count in [1, 2, 3, 4, 6, 8] {
        let name = format!("key-{count}");
        apply(&plane, &key(&ns, &name, "keyType: EC, curve: P-256")).await;
        kills += usize::from(process.kill_after(count));
        process = Process::start(&plane, store.path());
        let made = until(&plane, KEY, Some(&ns), &name, "Ready", "True", "").await;
        let uid = made.metadata.uid.clone().expect("a uid");
        while process.steps.try_recv().is_ok() {}

        plane
            .kubectl(&["delete", "hsmkey", &name, "-n", &ns, "--wait=false"], "")
            .await
            .ok();
        kills += usize::from(process.kill_after(count));
        process = Process::start(&plane, store.path());
        gone(&plane, KEY, Some(&ns), &name).await;
        until(
            &plane,
            PROXY,
            None,
            &format!("{ns}.{name}"),
            "Ready",
            "True",
            "",
        )
        .await;
        while process.steps.try_recv().is_ok() {}

        apply(&plane, &recover(&ns, &name, &uid)).await;
        kills += usize::from(process.kill_after(count));
        process = Process::start(&plane, store.path());
        until(
            &plane,
            Watched::Recover,
            Some(&ns),
            &format!("back-{name}"),
            "Complete",
            "True",
            "",
        )
        .await;
        let back = until(&plane, KEY, Some(&ns), &name, "Ready", "True", "").await;
        assert_eq!(
            material(&back),
            material(&made),
            "{name}, killed after {count} effects"
        );
        while process.steps.try_recv().is_ok() {}
    }
    assert!(
        kills >= 15,
        "only {kills} of 18 kills hit a protocol under way"
    );
}
