//! The operator's executable with its webhook on a control plane, and somebody with kubectl.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use managed_hsm_operator::admission::webhook::configuration::{WEBHOOK, configuration};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use testplane::{Borrowed, Options, Output, borrow, eventually};

use crate::process::{Process, SHORT_LEASE, log_of, webhook_port};
use crate::user::{User, uid};

pub const SOON: Duration = Duration::from_secs(60);
pub const NAME: &str = "managed-hsm-operator";
pub const HSM: Watched = Watched::Object(Kind::Hsm);
pub const KEY: Watched = Watched::Object(Kind::Key);

pub struct Scene {
    pub plane: Borrowed,
    pub folder: tempfile::TempDir,
    pub process: Option<Process>,
    pub port: u16,
    flags: Vec<String>,
}

impl Scene {
    /// An operator with these flags besides, whose webhook answers.
    pub async fn new(flags: &[&str]) -> Self {
        let scene = Self::unregistered(flags).await;
        scene.register(scene.port, None).await;
        scene.answers().await;
        scene
    }

    /// The same, but nobody asks it yet.
    pub async fn unregistered(flags: &[&str]) -> Self {
        let plane = borrow(Options::without_controllers()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut scene = Self {
            plane,
            folder,
            process: None,
            port: 0,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        scene.start().await;
        scene
    }

    /// On the port that it had, if any.
    pub async fn start(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let flags: Vec<&str> = ["--webhook-addr", &address]
            .into_iter()
            .chain(SHORT_LEASE)
            .chain(self.flags.iter().map(String::as_str))
            .collect();
        let before = self.log().len();
        self.process = Some(Process::start(&self.plane, self.folder.path(), &flags));
        self.port = eventually("the webhook is served", SOON, async || {
            let log = self.log();
            webhook_port(&log[before..]).ok_or(log)
        })
        .await;
    }

    pub fn log(&self) -> String {
        read_log(self.folder.path())
    }

    /// As the manifests have it, but by address, since no Service leads out of a plane.
    pub async fn register(&self, port: u16, bundle: Option<&str>) {
        let client = WebhookClientConfig {
            url: Some(format!("https://127.0.0.1:{port}/review")),
            ca_bundle: bundle.map(|text| ByteString(text.as_bytes().to_vec())),
            service: None,
        };
        let metadata = ObjectMeta {
            name: Some(NAME.to_owned()),
            ..ObjectMeta::default()
        };
        let wanted = configuration(metadata, "system:serviceaccount:nowhere:operator", client);
        let parameters = PatchParams::apply("install").force();
        let done = self
            .configurations()
            .await
            .patch(NAME, &parameters, &Patch::Apply(&wanted))
            .await;
        done.expect("the configuration is taken");
    }

    pub async fn configurations(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.plane.client().await)
    }

    pub async fn user(&self, purpose: &str) -> User {
        let namespace = self.plane.namespace(purpose).await;
        User::of(&self.plane.client().await, &namespace)
    }

    pub async fn kubectl(&self, arguments: &[&str], object: &Value) -> Output {
        let text = if object.is_null() {
            String::new()
        } else {
            object.to_string()
        };
        self.plane.kubectl(arguments, &text).await
    }

    /// Waits until the webhook is asked and answers: a Recover of nothing is warned of.
    pub async fn answers(&self) {
        eventually("the webhook answers", SOON, async || {
            match self.asked().await {
                true => Ok(()),
                false => Err(self.log()),
            }
        })
        .await;
    }

    /// Whether a request that it has a word for brings that word.
    pub async fn asked(&self) -> bool {
        let probe = recover("default", HSM, "probe", "nobody");
        let output = self
            .kubectl(&["create", "--dry-run=server", "-f", "-"], &probe)
            .await;
        assert!(output.success, "{output:?}");
        output
            .stderr
            .contains("There is no deleted ManagedHsm probe")
    }

    /// Run by a shell, as somebody would who copied it from the terminal.
    pub fn shell(&self, command: &str) -> std::process::Output {
        let kubectl = testplane::kubectl_path().expect("kubectl");
        let folder = kubectl.parent().map(Path::to_owned).unwrap_or_default();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path: Vec<PathBuf> = std::iter::once(folder)
            .chain(std::env::split_paths(&path))
            .collect();
        std::process::Command::new("bash")
            .args(["-c", command])
            .env("PATH", std::env::join_paths(path).expect("a path"))
            .env("KUBECONFIG", self.plane.kubeconfig())
            .output()
            .expect("bash")
    }
}

/// The warnings that kubectl printed.
pub fn warnings(output: &Output) -> Vec<String> {
    let lines = output.stderr.lines();
    lines
        .filter_map(|line| line.strip_prefix("Warning: "))
        .map(str::to_owned)
        .collect()
}

/// Refused with 403, and exactly that sentence.
#[track_caller]
pub fn denied(output: Output, sentence: &str) {
    let shown = output.refused();
    let denied = format!("admission webhook \"{WEBHOOK}\" denied the request: {sentence}\n");
    assert!(
        shown.starts_with("Error from server (Forbidden): "),
        "{shown}"
    );
    assert!(shown.ends_with(&denied), "{shown}\n--- is not\n{denied}");
}

fn object(namespace: &str, kind: &str, name: &str, spec: &Value) -> Value {
    let mut metadata = json!({"name": name});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    json!({"apiVersion": "managedhsm.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

pub fn hsm(user: &User, name: &str, spec: &Value) -> Value {
    object(&user.namespace, "ManagedHsm", name, spec)
}

pub fn key(user: &User, name: &str, more: &Value) -> Value {
    let mut spec = json!({"hsm": "safe", "keyType": "EC", "curve": "P-256"});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    object(&user.namespace, "HsmKey", name, &spec)
}

pub fn recover(namespace: &str, of: Watched, name: &str, uid: &str) -> Value {
    let kind = of.resource().kind;
    object(
        namespace,
        "Recover",
        "it",
        &json!({"kind": kind, "name": name, "uid": uid}),
    )
}

pub fn purge(of: Kind, proxy: &str, uid: &str) -> Value {
    let spec = json!({"kind": of.proxy(), "name": proxy, "uid": uid, "requestedBy": "admin"});
    object("", "Purge", &format!("purge-{uid}"), &spec)
}

pub const CREATE: [&str; 3] = ["create", "-f", "-"];
pub const TRY: [&str; 4] = ["create", "--dry-run=server", "-f", "-"];

/// An HSM `safe` with a key `signing`, both ready; their uids.
pub async fn hsm_with_key(user: &User, spec: Value) -> (String, String) {
    user.create(HSM, "safe", json!({ "spec": spec })).await;
    let key = json!({"spec": {"hsm": "safe", "keyType": "EC", "curve": "P-256"}});
    user.create(KEY, "signing", key).await;
    let key = user.ready(Kind::Key, "signing").await;
    let hsm = user.ready(Kind::Hsm, "safe").await;
    (uid(&hsm), uid(&key))
}

/// Deletes it, and answers the proxy.
pub async fn deleted(user: &User, kind: Kind, name: &str, uid: &str) -> Value {
    user.delete(Watched::Object(kind), name).await;
    let found = user.deleted(kind, name, uid).await;
    serde_json::to_value(found).expect("JSON")
}

pub fn read_log(folder: &Path) -> String {
    std::fs::read_to_string(log_of(folder)).unwrap_or_default()
}

/// Somebody who makes certificates for 127.0.0.1, as cert-manager would.
pub struct Authority {
    pub bundle: String,
    certificate: String,
    key: String,
}

impl Authority {
    pub fn new() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
        let mut own = CertificateParams::default();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(own, KeyPair::generate().expect("a key"));
        let issuer = issuer.expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = server.signed_by(&key, &issuer).expect("signed");
        Self {
            bundle: issuer.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("tls.key"), &self.key).expect("written");
        std::fs::write(folder.join("tls.crt"), &self.certificate).expect("written");
    }
}
