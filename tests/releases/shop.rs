//! A chart of somebody's own: an HSM, its keys, and the namespace that the release is in.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use managed_hsm_operator::manifests::NAMESPACE;
use serde_json::Value;
use testplane::{Borrowed, Options, borrow, helm};

use crate::process::{Process, installed};

/// In the release's HSM.
pub const KEYS: usize = 20;

/// What Helm is given: as long as nobody should ever wait.
pub const TIMEOUT: Duration = Duration::from_secs(600);
/// For what never succeeds.
pub const SHORT: Duration = Duration::from_secs(10);

const RELEASE: &str = "shop";
/// The release's namespace.
const SHOP: &str = "shop";

const FILES: [(&str, &str); 3] = [
    ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n"),
    ("values.yaml", "keys: 20\nbackend: default\ntaken: ''\n"),
    (
        "templates/all.yaml",
        "apiVersion: managedhsm.dev/v1alpha1
kind: ManagedHsm
metadata:
  name: safe
spec:
  backend: {{ .Values.backend }}
{{- range $number := until (int .Values.keys) }}
---
apiVersion: managedhsm.dev/v1alpha1
kind: HsmKey
metadata:
  name: key-{{ $number }}
spec:
  hsm: safe
{{- if mod $number 5 }}
  keyType: EC
  curve: P-256
{{- else }}
  keyType: RSA
  keySize: 2048
{{- end }}
{{- end }}
{{- with .Values.taken }}
---
apiVersion: managedhsm.dev/v1alpha1
kind: HsmKey
metadata:
  name: taken
spec:
  hsm: safe
  keyName: {{ . }}
  keyType: EC
  curve: P-256
{{- end }}
",
    ),
];

pub struct Shop {
    plane: Borrowed,
    /// The chart, and the operator's store.
    folder: tempfile::TempDir,
    /// The operator's account.
    account: PathBuf,
}

impl Shop {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        chart(&folder.path().join("chart"));
        let plane = borrow(Options::default()).await;
        let account = installed(&plane).await;
        Self {
            plane,
            folder,
            account,
        }
    }

    pub fn operator(&self) -> Process {
        let flags = ["--namespace", NAMESPACE, "--purge-rate", "1000000"];
        Process::start_in(&self.account, self.folder.path(), &flags, &[])
    }

    /// Answers what Helm said, and how long it took.
    pub fn install(&self, more: &[&str], timeout: Duration) -> (Result<String, String>, Duration) {
        let made = self.helm(
            "install",
            &[more, &["--create-namespace"]].concat(),
            timeout,
        );
        if made.0.is_ok() {
            let manifest = self
                .helm("get manifest", &[], timeout)
                .0
                .expect("it is there");
            let at = |kind: &str| {
                let found = manifest.find(&format!("kind: {kind}\n"));
                found.unwrap_or_else(|| panic!("{kind}: {manifest}"))
            };
            // What makes it hard: each key is there before its HSM.
            assert!(at("HsmKey") < at("ManagedHsm"), "{manifest}");
        }
        made
    }

    pub fn upgrade(&self, timeout: Duration) -> (Result<String, String>, Duration) {
        self.helm("upgrade", &[], timeout)
    }

    fn helm(
        &self,
        verb: &str,
        more: &[&str],
        timeout: Duration,
    ) -> (Result<String, String>, Duration) {
        let chart = self.folder.path().join("chart").display().to_string();
        let timeout = format!("{}s", timeout.as_secs());
        let mut words: Vec<&str> = verb
            .split(' ')
            .chain([RELEASE, "--namespace", SHOP])
            .collect();
        if !verb.starts_with("get") {
            words.extend(["--wait", "--timeout", &timeout]);
        }
        if ["install", "upgrade"].contains(&verb) {
            words.push(&chart);
        }
        words.extend(more);
        let began = Instant::now();
        let said = helm(Some(&self.plane.kubeconfig()), &words);
        println!(
            "[{:5.1} s] helm {}",
            began.elapsed().as_secs_f32(),
            words.join(" ")
        );
        (said, began.elapsed())
    }

    /// The public halves of all keys, each of which is ready, at this very moment.
    pub async fn thumbprints(&self) -> Vec<String> {
        let all = self
            .kubectl(&format!("get hsmkeys -n {SHOP} -o json"))
            .await;
        let all: Value = serde_json::from_str(&all).expect("JSON");
        let all = all["items"].as_array().expect("a list");
        assert_eq!(all.len(), KEYS);
        let its = |key: &Value| {
            assert_eq!(
                condition(key, "Ready"),
                Some(("True".into(), "Ready".into())),
                "{key}"
            );
            let thumbprint = key["status"]["versions"][0]["thumbprint"].as_str();
            thumbprint.unwrap_or_else(|| panic!("{key}")).to_owned()
        };
        all.iter().map(its).collect()
    }

    /// The release goes, and all that was in it is purged, so that its names are free.
    pub async fn end(&self) {
        let gone = self.helm("uninstall", &[], TIMEOUT).0;
        gone.unwrap_or_else(|said| panic!("{said}"));
        let gone = format!("wait --for=delete managedhsm,hsmkey --all -n {SHOP} --timeout=300s");
        self.kubectl(&gone).await;
        let proxy = format!("deletedmanagedhsm {SHOP}.safe");
        let uid = format!("get {proxy} --ignore-not-found -o jsonpath={{.spec.origin.uid}}");
        let uid = self.kubectl(&uid).await;
        // One that never had material leaves none.
        if !uid.is_empty() {
            let purge = format!(
                r#"{{"apiVersion": "managedhsm.dev/v1alpha1", "kind": "Purge", "metadata": {{"name": "{uid}"}},
                "spec": {{"kind": "DeletedManagedHsm", "name": "{SHOP}.safe", "uid": "{uid}", "requestedBy": "admin"}}}}"#
            );
            self.plane.kubectl(&["apply", "-f", "-"], &purge).await.ok();
            self.kubectl(&format!(
                "wait --for=condition=Complete purge/{uid} --timeout=300s"
            ))
            .await;
            self.kubectl(&format!("wait --for=delete {proxy} --timeout=300s"))
                .await;
        }
        let left = self
            .kubectl("get deletedmanagedhsms,deletedhsmkeys -o name")
            .await;
        assert_eq!(left, "");
    }

    async fn kubectl(&self, line: &str) -> String {
        let words: Vec<_> = line.split(' ').collect();
        let began = Instant::now();
        let said = self.plane.kubectl(&words, "").await.ok();
        println!("[{:5.1} s] kubectl {line}", began.elapsed().as_secs_f32());
        said
    }
}

fn chart(folder: &Path) {
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
}

/// Its status and reason.
fn condition(object: &Value, kind: &str) -> Option<(String, String)> {
    let all = object["status"]["conditions"].as_array()?;
    let found = all.iter().find(|it| it["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}
