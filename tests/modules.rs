//! The executable with a PKCS#11 module by `--backends`, on a real control plane: SoftHSM, and a module around it that can do less. What it holds is
//! deleted, comes back as the same, and is purged, as with the embedded one.

mod operator;
mod process;
mod softhsm;
mod user;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use operator::{condition, get, gone, until};
use process::{Process, SHORT_LEASE, installed, log_of};
use softhsm::Folder;
use testplane::{Borrowed, Options, borrow, eventually};
use user::{PATIENCE, material};

const HSM: Watched = Watched::Object(Kind::Hsm);
const KEY: Watched = Watched::Object(Kind::Key);
const KEYS: [(&str, &str); 3] = [
    ("signing", "keyType: EC, curve: P-256"),
    ("rsa", "keyType: RSA, keySize: 2048"),
    ("wrapping", "keyType: oct, keySize: 256"),
];

/// An operator over a module, in a namespace of its own.
struct Rack {
    plane: Borrowed,
    account: PathBuf,
    ns: String,
    folder: Folder,
    module: PathBuf,
    /// What its module lacks.
    without: &'static str,
    process: Option<Process>,
}

impl Rack {
    /// `tokens`: those that were provisioned for HSMs, in the words of the backends file.
    async fn new(ns: &str, module: &Path, without: &'static str, tokens: &str) -> Self {
        let plane = borrow(Options::default()).await;
        let account = installed(&plane).await;
        let folder = Folder::default();
        let ns = plane.namespace(ns).await;
        let by = if without.is_empty() {
            module.to_owned()
        } else {
            folder.shim()
        };
        let pins = folder.pins();
        let file = format!(
            "- {{name: default, kind: embedded, slots: 2}}
- name: rack
  kind: pkcs11
  module: {}
  pins: {{soPinFile: {so}, userPinFile: {user}}}
  ledgerToken: records
  {tokens}
  allowedNamespaces: {{names: [{ns}]}}
",
            by.display(),
            so = pins.join("so-pin").display(),
            user = pins.join("user-pin").display(),
        );
        std::fs::write(folder.path().join("backends.yaml"), file).expect("written");
        Self {
            plane,
            account,
            ns,
            folder,
            module: module.to_owned(),
            without,
            process: None,
        }
    }

    /// Anew, if one runs: whatever it was at.
    fn start(&mut self) {
        drop(self.process.take());
        let file = self.folder.path().join("backends.yaml");
        let mut flags = vec![
            "--backends",
            file.to_str().expect("text"),
            "--namespace",
            managed_hsm_operator::manifests::NAMESPACE,
        ];
        flags.extend(SHORT_LEASE);
        let configuration = self.folder.configuration();
        let variables: [(&str, &OsStr); 3] = [
            ("SOFTHSM2_CONF", configuration.as_ref()),
            ("SHIM_MODULE", self.module.as_ref()),
            ("SHIM_WITHOUT", self.without.as_ref()),
        ];
        // The folder's own PINs are the module's; the embedded one makes its own.
        let store = self.folder.path().join("store");
        std::fs::create_dir_all(&store).expect("a folder");
        let process = Process::start_in(&self.account, &store, &flags, &variables);
        self.process = Some(process);
    }

    async fn apply(&self, manifests: &str) {
        let args = ["apply", "-f", "-"];
        self.plane.kubectl(&args, manifests).await.ok();
    }

    async fn make(&self) {
        let ns = &self.ns;
        let hsm = format!(
            "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {{name: safe, namespace: {ns}}}, spec: {{backend: rack}}}}\n"
        );
        let key = |(name, kind): &(&str, &str)| {
            format!(
                "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: HsmKey, metadata: {{name: {name}, namespace: {ns}}}, spec: {{hsm: safe, {kind}}}}}\n"
            )
        };
        let keys: String = KEYS.iter().map(key).collect();
        self.apply(&(hsm + &keys)).await;
    }

    async fn ready(&self, of: Watched, name: &str) -> kube::api::DynamicObject {
        eventually(&format!("{name} is ready"), PATIENCE, async || {
            let found = get(&self.plane, of, Some(&self.ns), name).await;
            let shown = found.as_ref().and_then(|it| condition(it, "Ready"));
            match (found, shown) {
                (Some(found), Some((is, _, _))) if is == "True" => Ok(found),
                (_, other) => Err(format!("{other:?}")),
            }
        })
        .await
    }

    async fn delete(&self, kind: &str, name: &str) {
        let args = ["delete", kind, name, "-n", &self.ns, "--timeout=120s"];
        self.plane.kubectl(&args, "").await.ok();
    }

    async fn recover(&self, kind: &str, name: &str, uid: &str) {
        let ns = &self.ns;
        let recover = format!(
            "{{apiVersion: managedhsm.dev/v1alpha1, kind: Recover, metadata: {{name: {name}-back, namespace: {ns}}}, spec: {{kind: {kind}, name: {name}, uid: {uid}}}}}\n"
        );
        self.apply(&recover).await;
        let (plane, back) = (&self.plane, format!("{name}-back"));
        until(
            plane,
            Watched::Recover,
            Some(ns),
            &back,
            "Complete",
            "True",
            "",
        )
        .await;
    }

    async fn purge(&self, of: Kind, name: &str, uid: &str) {
        let proxy = format!("{}.{name}", self.ns);
        let kind = of.proxy();
        let purge = format!(
            "{{apiVersion: managedhsm.dev/v1alpha1, kind: Purge, metadata: {{name: {proxy}}}, spec: {{kind: {kind}, name: {proxy}, uid: {uid}, requestedBy: admin}}}}\n"
        );
        self.apply(&purge).await;
        let watched = Watched::Purge;
        until(&self.plane, watched, None, &proxy, "Complete", "True", "").await;
        gone(&self.plane, Watched::Proxy(of), None, &proxy).await;
    }

    /// The whole life; `weak`: whether what is made says that the operator alone seals it.
    async fn life(&mut self, weak: bool) {
        self.start();
        self.make().await;
        let hsm = self.ready(HSM, "safe").await;
        assert_eq!(condition(&hsm, "WeakSeal").is_some(), weak);
        let hsm_uid = hsm.metadata.uid.expect("a uid");
        let mut made = Vec::new();
        for (name, _) in KEYS {
            let key = self.ready(KEY, name).await;
            assert_eq!(condition(&key, "WeakSeal").is_some(), weak);
            made.push((name, material(&key), key.metadata.uid.expect("a uid")));
        }

        // A key goes and comes back as the same, over a process that is killed in between.
        let (name, was, uid) = &made[0];
        self.delete("hsmkey", name).await;
        self.start();
        self.recover("HsmKey", name, uid).await;
        assert_eq!(material(&self.ready(KEY, name).await), *was);

        // The HSM goes with its keys, which say so, and comes back with them.
        self.delete("managedhsm", "safe").await;
        let (plane, ns) = (&self.plane, Some(self.ns.as_str()));
        until(plane, KEY, ns, "rsa", "Ready", "False", "HsmDeleted").await;
        self.start();
        self.recover("ManagedHsm", "safe", &hsm_uid).await;
        let hsm = self.ready(HSM, "safe").await;
        for (name, was, _) in &made {
            assert_eq!(material(&self.ready(KEY, name).await), *was, "{name}");
        }

        // What is purged is gone; then the whole HSM, and its slot is free again.
        let uid = &made[1].2;
        self.delete("hsmkey", made[1].0).await;
        self.purge(Kind::Key, made[1].0, uid).await;
        let hsm_uid = hsm.metadata.uid.expect("a uid");
        for (name, _) in KEYS {
            let args = [
                "delete",
                "hsmkey",
                name,
                "-n",
                &self.ns,
                "--ignore-not-found",
            ];
            self.plane.kubectl(&args, "").await.ok();
        }
        self.delete("managedhsm", "safe").await;
        self.purge(Kind::Hsm, "safe", &hsm_uid).await;
        self.make().await;
        let again = self.ready(KEY, "signing").await;
        assert_ne!(material(&again), made[0].1, "another key");
        let log = std::fs::read_to_string(log_of(&self.folder.path().join("store")));
        for pin in [softhsm::SO_PIN, softhsm::USER_PIN] {
            assert!(
                !log.as_ref().expect("a log").contains(pin),
                "a PIN in the log"
            );
        }
    }
}

/// Not a test of its own: who makes tokens outside of the operator, as the process that SOFTHSM2_CONF is set for.
#[test]
fn administrator() {
    if let Some(module) = std::env::var_os("PROVISION") {
        softhsm::provision(module.as_ref(), &["records", "scratch", "hsm-1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd19_what_is_in_softhsm_comes_back_as_the_same_and_is_purged() {
    let Some(module) = softhsm::library() else {
        return;
    };
    let mut rack = Rack::new("softhsm", &module, "", "").await;
    rack.life(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd19_what_a_module_cannot_seal_by_itself_comes_back_as_the_same_and_is_purged() {
    let Some(module) = softhsm::library() else {
        return;
    };
    let tokens = "scratchToken: scratch\n  tokens: [hsm-1]";
    let without = "InitToken InitPIN CopyObject";
    let mut rack = Rack::new("less", &module, without, tokens).await;
    let provisioned = Command::new(std::env::current_exe().expect("this"))
        .args(["--exact", "administrator"])
        .env("SOFTHSM2_CONF", rack.folder.configuration())
        .env("PROVISION", &module)
        .status();
    assert!(provisioned.expect("it runs").success());
    rack.life(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_a_module_that_is_not_there_yet_is_waited_for_and_the_others_go_on() {
    let Some(module) = softhsm::library() else {
        return;
    };
    let nowhere = tempfile::tempdir().expect("a folder");
    let path = nowhere.path().join("libsofthsm2.so");
    let mut rack = Rack::new("later", &path, "", "").await;
    rack.start();
    rack.make().await;
    let ns = rack.ns.clone();
    let other = format!(
        "{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {{name: other, namespace: {ns}}}, spec: {{}}}}\n"
    );
    rack.apply(&other).await;
    rack.ready(HSM, "other").await;
    let (plane, of) = (&rack.plane, Some(ns.as_str()));
    let waits = until(
        plane,
        HSM,
        of,
        "safe",
        "Ready",
        "False",
        "BackendUnavailable",
    )
    .await;
    let (_, _, sentence) = condition(&waits, "Ready").expect("told");
    assert!(sentence.contains("libsofthsm2.so"), "{sentence}");
    std::fs::copy(&module, &path).expect("installed");
    rack.ready(KEY, "signing").await;
}
