//! A control plane with the operator's executable on kryoptic, its policies and where wanted its webhook, a Git repository, and somebody at a
//! terminal whose commands and what they print become a block of `docs/gitops.md`.

use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;
use managed_hsm_operator::admission::webhook::configuration::configuration;
use managed_hsm_operator::manifests::{NAME, NAMESPACE};
use testplane::{Borrowed, Options, borrow, eventually, is_as_before_in};

use crate::process::{Process, installed, log_of, webhook_port};
use crate::repository::Repository;

pub const PAGE: &str = "gitops.md";
/// As long as nothing should ever take.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Nobody starts an operator anew that a busy machine kept from renewing its Lease in time, as a kubelet would.
const LONG_LEASE: [&str; 4] = ["--lease-duration", "600s", "--lease-renew-deadline", "500s"];

pub struct House {
    pub plane: Borrowed,
    pub repository: Repository,
    folder: tempfile::TempDir,
    operator: Option<Process>,
    /// What each shell begins with.
    pub setup: String,
    text: String,
}

impl House {
    /// Nothing of ours is installed.
    pub async fn bare() -> Self {
        Self {
            plane: borrow(Options::default().without_crds()).await,
            repository: Repository::serve().await,
            folder: tempfile::tempdir().expect("a folder"),
            operator: None,
            setup: String::new(),
            text: String::new(),
        }
    }

    /// Without an operator: it is installed, and nobody started it.
    pub async fn without_operator() -> Self {
        let house = Self::bare().await;
        let crds = testplane::project_dir().join("crds");
        house
            .plane
            .apply_crds(&crds)
            .unwrap_or_else(|e| panic!("{e}"));
        installed(&house.plane).await;
        house
    }

    /// With an operator, and without its webhook.
    pub async fn without_webhook() -> Self {
        let mut house = Self::without_operator().await;
        house.start_operator().await;
        house
    }

    /// As it is installed.
    pub async fn new() -> Self {
        let mut house = Self::without_operator().await;
        house.start_operator().await;
        house.register_webhook().await;
        house
    }

    /// Outside a pod, as the account that was installed.
    pub async fn start_operator(&mut self) {
        let account = self
            .plane
            .kubeconfig_of_service_account(NAMESPACE, NAME)
            .await;
        let mut flags = vec!["--namespace", NAMESPACE, "--webhook-addr", "127.0.0.1:0"];
        flags.extend(LONG_LEASE);
        let folder = self.folder.path();
        self.operator = Some(Process::start_in(&account, folder, &flags, &[]));
    }

    /// As the manifests have it, but by address, since no Service leads out of a plane. Waits until it answers.
    async fn register_webhook(&self) {
        let log = || std::fs::read_to_string(log_of(self.folder.path())).unwrap_or_default();
        let port = eventually("the webhook is served", PATIENCE, async || {
            webhook_port(&log()).ok_or_else(log)
        })
        .await;
        let client = WebhookClientConfig {
            url: Some(format!("https://127.0.0.1:{port}/review")),
            ca_bundle: None,
            service: None,
        };
        let metadata = kube::api::ObjectMeta {
            name: Some(NAME.to_owned()),
            ..Default::default()
        };
        let account = format!("system:serviceaccount:{NAMESPACE}:{NAME}");
        let wanted = configuration(metadata, &account, client);
        let wanted = serde_json::to_string(&wanted).expect("JSON");
        self.plane
            .kubectl(&["apply", "--server-side", "-f", "-"], &wanted)
            .await
            .ok();
        // A Recover of nothing is warned of.
        let probe = r#"{"apiVersion": "managedhsm.dev/v1alpha1", "kind": "Recover", "metadata": {"name": "it", "namespace": "default"},
            "spec": {"kind": "HsmKey", "name": "probe", "uid": "nobody"}}"#;
        let ask = ["create", "--dry-run=server", "-f", "-"];
        eventually("the webhook answers", PATIENCE, async || {
            let said = self.plane.kubectl(&ask, probe).await;
            match said.stderr.contains("There is no deleted HsmKey") {
                true => Ok(()),
                false => Err(format!("{said:?}\n{}", log())),
            }
        })
        .await;
    }

    /// Runs commands in the clone, as the administrator; answers what they printed.
    pub fn runs(&self, commands: &str) -> Result<String, String> {
        let kubeconfig = self.plane.kubeconfig();
        let commands = format!("{}{commands}", self.setup);
        let ran = self.repository.shell(&commands, Some(&kubeconfig));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all = text(&ran.stdout) + &text(&ran.stderr);
        if ran.status.success() {
            Ok(all)
        } else {
            Err(all)
        }
    }

    /// The same for what must succeed.
    #[track_caller]
    pub fn does(&self, commands: &str) -> String {
        self.runs(commands)
            .unwrap_or_else(|said| panic!("{commands}\n{said}"))
    }

    /// Waits until a command prints that, and answers all that it printed.
    pub async fn until(&self, commands: &str, wanted: &str) -> String {
        let what = format!("{commands} prints {wanted}");
        eventually(&what, PATIENCE, async || match self.runs(commands) {
            Ok(said) if said.contains(wanted) => Ok(said),
            Ok(said) | Err(said) => Err(format!("{said}\n{}", self.plane.logs())),
        })
        .await
    }

    /// Tells something between commands.
    pub fn say(&mut self, words: &str) {
        self.text.push_str(&format!("# {words}\n"));
    }

    /// Shows that.
    pub fn write(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Runs a command that must succeed, and shows what it prints.
    #[track_caller]
    pub fn shows(&mut self, command: &str) -> String {
        let said = self.does(command);
        self.write(&format!("$ {command}\n{said}"));
        said
    }

    /// The block of that name in the page is what was shown.
    #[track_caller]
    pub fn told(&mut self, name: &str) {
        let text = std::mem::take(&mut self.text);
        self.told_as(name, &format!("```console\n{text}```\n"));
    }

    /// The same of a text.
    #[track_caller]
    pub fn told_as(&self, name: &str, text: &str) {
        println!("{text}");
        is_as_before_in(PAGE, name, text);
    }
}

/// How long something took, for whoever reads the test's output.
pub fn took(what: &str, began: Instant) {
    println!("{what}: {:.1} s", began.elapsed().as_secs_f32());
}
