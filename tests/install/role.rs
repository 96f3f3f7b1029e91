//! The executable as the ServiceAccount of the manifests, with the environment of its pod, through the whole life of HSMs and keys. The API server's audit
//! log has every request: none was refused, and each right was needed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::manifests::{NAME, PIN_SECRET};
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use testplane::{Options, borrow, eventually};

use crate::NAMESPACE;
use crate::believed::SETTLED;
use crate::process::{Process, log_of, webhook_port};
use crate::rendered::{Objects, established, file, objects, one};
use crate::user::{User, is, material, uid};

const KEY: Watched = Watched::Object(Kind::Key);
const HSM: Watched = Watched::Object(Kind::Hsm);

const PATIENCE: Duration = Duration::from_secs(60);

/// What a short life does not come to.
const LATER: [(&str, &str); 2] = [
    // When a receipt's time is over: real days.
    ("delete", "purges"),
    // Where the same Event is told again within minutes.
    ("patch", "events"),
];

pub struct Installed {
    pub plane: testplane::Borrowed,
    folder: tempfile::TempDir,
    objects: Objects,
    kubeconfig: PathBuf,
}

impl Installed {
    pub async fn new() -> Self {
        Self::of(file("deploy/install.yaml")).await
    }

    /// What these manifests make.
    pub async fn of(yaml: String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = folder.path().join("policy.yaml");
        let account = format!("system:serviceaccount:{NAMESPACE}:{NAME}");
        let rules = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "users": [account]}, {"level": "None"}]});
        std::fs::write(&policy, rules.to_string()).expect("written");
        let log = folder.path().join("audit.log");
        let mut options = Options::default().without_crds();
        options.api_server_flags = vec![
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", log.display()),
        ];
        let plane = borrow(options).await;
        plane
            .kubectl(&["apply", "--server-side", "-f", "-"], &yaml)
            .await
            .ok();
        established(&plane).await;
        // Who asks from now on is believed.
        tokio::time::sleep(SETTLED).await;
        let kubeconfig = plane.kubeconfig_of_service_account(NAMESPACE, NAME).await;
        Self {
            plane,
            folder,
            objects: objects(&yaml),
            kubeconfig,
        }
    }

    /// As the pod would: by its environment. The namespace stands in the account's own files there, and no Service leads out of a plane: so the
    /// webhook is asked by its address.
    pub async fn start(&self, flags: &[&str]) -> Process {
        self.start_with(flags, &[]).await
    }

    /// The same, with variables that say otherwise.
    pub async fn start_with(&self, flags: &[&str], others: &[(&str, &str)]) -> Process {
        let container =
            &one(&self.objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let variables = container["env"].as_array().expect("variables").iter();
        let others = others
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment: Vec<_> = variables
            .filter_map(|variable| {
                Some((
                    variable["name"].as_str()?.to_owned(),
                    variable["value"].as_str()?.to_owned(),
                ))
            })
            .chain(others)
            .collect();
        // Certificates are short-lived here, so that one changes.
        let usual = [
            "--namespace",
            NAMESPACE,
            "--webhook-addr",
            "127.0.0.1:0",
            "--webhook-cert-life",
            "15s",
        ];
        let flags: Vec<_> = usual.iter().chain(flags).copied().collect();
        let before = self.log().len();
        let process = Process::start_as(&self.kubeconfig, self.folder.path(), &environment, &flags);
        let port = eventually("the webhook is served", PATIENCE, async || {
            webhook_port(&self.log()[before..]).ok_or_else(|| self.log())
        })
        .await;
        let all: Api<ValidatingWebhookConfiguration> = Api::all(self.plane.client().await);
        let here = json!([{"op": "replace", "path": "/webhooks/0/clientConfig",
            "value": {"url": format!("https://127.0.0.1:{port}/review")}}]);
        let here = Patch::<()>::Json(serde_json::from_value(here).expect("a patch"));
        let done = all.patch(NAME, &PatchParams::default(), &here).await;
        done.expect("the configuration stands");
        process
    }

    /// Waits until the webhook's certificate was changed.
    async fn certificate_changed(&self) {
        let update = |request: &Value| {
            request["verb"] == "update" && request["objectRef"]["resource"] == "secrets"
        };
        eventually("a certificate is changed", PATIENCE, async || {
            let all = self.requests();
            if all.iter().any(update) {
                Ok(())
            } else {
                Err(self.log())
            }
        })
        .await;
    }

    pub async fn user(&self, namespace: &str) -> User {
        User::new(&self.plane.client().await, namespace).await
    }

    fn requests(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.folder.path().join("audit.log")).expect("a log");
        log.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    async fn pins(&self) -> Option<Secret> {
        let secrets: Api<Secret> = Api::namespaced(self.plane.client().await, NAMESPACE);
        secrets.get_opt(PIN_SECRET).await.expect("a GET")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(log_of(self.folder.path())).unwrap_or_default()
    }
}

pub async fn hsm_with_key(user: &User, spec: Value) -> DynamicObject {
    user.create(HSM, "safe", json!({ "spec": spec })).await;
    user.create(
        KEY,
        "signing",
        json!({"spec": {"hsm": "safe", "keyType": "EC", "curve": "P-256"}}),
    )
    .await;
    user.ready(Kind::Hsm, "safe").await;
    user.ready(Kind::Key, "signing").await
}

pub async fn recover(user: &User, name: &str, spec: Value) {
    user.create(Watched::Recover, name, json!({ "spec": spec }))
        .await;
    let complete = |found: Option<&DynamicObject>| found.is_some_and(|found| is(found, "Complete"));
    user.until("complete", Watched::Recover, name, complete)
        .await;
}

/// Deleted, recovered as the same, deleted again and purged on request.
async fn a_key_lives_and_dies(user: &User) {
    let made = hsm_with_key(user, json!({})).await;
    user.delete(KEY, "signing").await;
    user.deleted(Kind::Key, "signing", &uid(&made)).await;
    recover(
        user,
        "back",
        json!({"kind": "HsmKey", "name": "signing", "uid": uid(&made)}),
    )
    .await;
    let back = user.ready(Kind::Key, "signing").await;
    assert_eq!(material(&back), material(&made));
    user.delete(KEY, "signing").await;
    user.deleted(Kind::Key, "signing", &uid(&back)).await;
    let proxy = user.proxy_of("signing");
    let spec =
        json!({"kind": "DeletedHsmKey", "name": proxy, "uid": uid(&back), "requestedBy": "admin"});
    user.create(Watched::Purge, "now", json!({ "spec": spec }))
        .await;
    let complete = |found: Option<&DynamicObject>| found.is_some_and(|found| is(found, "Complete"));
    user.until("complete", Watched::Purge, "now", complete)
        .await;
}

/// Deleted with all that is in it, made anew, and everything recovered into it.
async fn a_namespace_goes_and_comes_back(user: &User) {
    let made = hsm_with_key(user, json!({})).await;
    let hsm = user.ready(Kind::Hsm, "safe").await;
    user.delete(Watched::Namespace, &user.namespace).await;
    user.gone(Watched::Namespace, &user.namespace).await;
    let anew = user
        .create(Watched::Namespace, &user.namespace, json!({}))
        .await;
    recover(user, "all", json!({"kind": "ManagedHsm", "name": "safe", "uid": uid(&hsm), "includeKeys": "All", "acceptNamespaceUid": uid(&anew)})).await;
    let back = user.ready(Kind::Key, "signing").await;
    assert_eq!(material(&back), material(&made));
}

/// Deleted, and purged when its time is over.
async fn the_retention_ends(user: &User) {
    hsm_with_key(user, json!({"retentionDays": 7})).await;
    user.delete(HSM, "safe").await;
    user.gone(HSM, "safe").await;
    let purges = user.api(Watched::Purge);
    eventually(
        "the receipt of the scheduled purge",
        Duration::from_secs(120),
        async || {
            let all = purges
                .list(&kube::api::ListParams::default())
                .await
                .expect("a LIST")
                .items;
            let ours = |purge: &&DynamicObject| {
                purge.data["spec"]["name"] == user.proxy_of("safe") && is(purge, "Complete")
            };
            all.iter()
                .find(ours)
                .map(drop)
                .ok_or_else(|| format!("{all:?}"))
        },
    )
    .await;
}

/// Verb and resource, with its subresource.
type Right = (String, String);

fn rights(objects: &Objects) -> BTreeSet<Right> {
    // The account's own; the others are for people.
    let rules = |kind: &str| {
        let mut all = objects.iter();
        let its = all.find(|(key, _)| key[0] == kind && key[2] == NAME);
        let (_, its) = its.expect("a role of its name");
        its["rules"].as_array().expect("rules").clone()
    };
    let mut rights = BTreeSet::new();
    for rule in rules("ClusterRole").into_iter().chain(rules("Role")) {
        for verb in rule["verbs"].as_array().expect("verbs") {
            for resource in rule["resources"].as_array().expect("resources") {
                let text = |value: &Value| value.as_str().expect("text").to_owned();
                rights.insert((text(verb), text(resource)));
            }
        }
    }
    rights
}

fn used(requests: &[Value]) -> BTreeSet<Right> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let right = |request: &Value| {
        let at = &request["objectRef"];
        let resource = at["resource"].as_str()?;
        let below = at["subresource"]
            .as_str()
            .map(|below| format!("/{below}"))
            .unwrap_or_default();
        Some((text(&request["verb"]), format!("{resource}{below}")))
    };
    requests.iter().filter_map(right).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_needs_the_rights_of_its_account_and_no_other() {
    let installed = Installed::new().await;
    let mut process = installed.start(&[]).await;
    let (one, two, three) = (
        installed.user("tenant-a").await,
        installed.user("tenant-b").await,
        installed.user("tenant-c").await,
    );
    tokio::join!(
        a_key_lives_and_dies(&one),
        a_namespace_goes_and_comes_back(&two)
    );
    // Told once more, over a store whose PINs are in the Secret: now days are short, and everything deleted goes soon.
    process.kill();
    let mut short = installed.start(&["--day-length", "1s"]).await;
    the_retention_ends(&three).await;
    installed.certificate_changed().await;
    assert!(short.stop().success(), "{}", installed.log());

    let requests = installed.requests();
    assert!(
        requests.len() > 100,
        "the audit log has only {}",
        requests.len()
    );
    // An event into a namespace on its way out is no question of rights.
    let too_late = |status: &Value| {
        let causes = status["details"]["causes"].as_array();
        causes.is_some_and(|all| all.iter().any(|c| c["reason"] == "NamespaceTerminating"))
    };
    let refused: Vec<_> = requests
        .iter()
        .map(|request| (&request["responseStatus"], request))
        .filter(|(status, _)| [401, 403].contains(&status["code"].as_i64().unwrap_or(0)))
        .filter(|(status, _)| !too_late(status))
        .collect();
    assert!(refused.is_empty(), "refused: {refused:#?}");
    let (mut used, rights) = (used(&requests), rights(&installed.objects));
    // Who one is may be asked by everybody (`system:basic-user`).
    used.remove(&("create".to_owned(), "selfsubjectreviews".to_owned()));
    assert_eq!(
        used.difference(&rights).collect::<Vec<_>>(),
        Vec::<&Right>::new(),
        "used beside its roles"
    );
    let later: BTreeSet<Right> = LATER
        .map(|(verb, resource)| (verb.to_owned(), resource.to_owned()))
        .into();
    let idle: Vec<_> = rights
        .difference(&used)
        .filter(|right| !later.contains(right))
        .collect();
    assert_eq!(idle, Vec::<&Right>::new(), "rights that nothing needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pins_are_made_once_in_an_immutable_secret_and_their_loss_is_told() {
    let installed = Installed::new().await;
    let mut process = installed.start(&[]).await;
    let user = installed.user("tenant").await;
    let made = hsm_with_key(&user, json!({})).await;
    let secret = installed.pins().await.expect("the first start made it");
    assert_eq!(secret.immutable, Some(true));
    let data = secret.data.clone().expect("data");
    assert_eq!(data.keys().collect::<Vec<_>>(), ["so-pin", "user-pin"]);
    let pins: Vec<_> = data
        .values()
        .map(|pin| String::from_utf8(pin.0.clone()).expect("text"))
        .collect();
    assert!(pins[0] != pins[1] && pins.iter().all(|pin| pin.len() >= 32));
    assert!(
        pins.iter().all(|pin| !installed.log().contains(pin)),
        "a PIN in the log"
    );
    assert!(
        !files_hold(&installed.folder.path().join("data"), &pins),
        "a PIN in the store"
    );
    assert!(process.stop().success());

    // Nobody deletes it by mistake.
    let mistake = ["delete", "secret", PIN_SECRET, "-n", NAMESPACE];
    let refused = installed.plane.kubectl(&mistake, "").await.stderr;
    assert!(refused.contains("store.managedhsm.dev"), "{refused}");
    let on_purpose = "managedhsm.dev/allow-delete=true";
    let annotate = [
        "annotate", "secret", PIN_SECRET, "-n", NAMESPACE, on_purpose,
    ];
    installed.plane.kubectl(&annotate, "").await.ok();
    // Gone: nothing is made in its place, and nothing is opened.
    let secrets: Api<Secret> = Api::namespaced(installed.plane.client().await, NAMESPACE);
    secrets
        .delete(PIN_SECRET, &kube::api::DeleteParams::default())
        .await
        .expect("deleted");
    let mut without = installed.start(&[]).await;
    let ended = eventually("it ends", Duration::from_secs(60), async || {
        without.ended().ok_or_else(|| "it runs".to_owned())
    })
    .await;
    assert_eq!(ended.code(), Some(1));
    let sentence = format!(
        "the Secret {NAMESPACE}/{PIN_SECRET} is missing, but there are tokens that need it: put it back from its backup"
    );
    assert!(installed.log().contains(&sentence), "{}", installed.log());
    assert!(installed.pins().await.is_none());

    // Put back, everything is there.
    let mut copy = secret;
    copy.metadata = kube::api::ObjectMeta {
        name: Some(PIN_SECRET.to_owned()),
        ..kube::api::ObjectMeta::default()
    };
    secrets
        .create(&kube::api::PostParams::default(), &copy)
        .await
        .expect("put back");
    let _again = installed.start(&[]).await;
    user.delete(KEY, "signing").await;
    user.deleted(Kind::Key, "signing", &uid(&made)).await;
    recover(
        &user,
        "back",
        json!({"kind": "HsmKey", "name": "signing", "uid": uid(&made)}),
    )
    .await;
    assert_eq!(
        material(&user.ready(Kind::Key, "signing").await),
        material(&made)
    );
}

fn files_hold(folder: &Path, texts: &[String]) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .any(|path| {
            if path.is_dir() {
                return files_hold(&path, texts);
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            texts.iter().any(|text| {
                bytes
                    .windows(text.len())
                    .any(|window| window == text.as_bytes())
            })
        })
}
