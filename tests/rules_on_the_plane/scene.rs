//! A namespace of one test on the shared plane, and how a user acts and looks in it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::Client;
use kube::api::{Api, DynamicObject};
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::backend::{
    BackendError, HsmBackend, MaterialId, TokenLabel, TokenRef, Use,
};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::plan::ids;
use managed_hsm_operator::softdelete::Kind;
use managed_hsm_operator::softdelete::names::proxy_name;
use serde_json::Value;
use testplane::{Output, Plane, eventually, shared};

use crate::operator::{Build, Operator, condition};

pub const KEY: Watched = Watched::Object(Kind::Key);
pub const HSM: Watched = Watched::Object(Kind::Hsm);
pub const KEY_PROXY: Watched = Watched::Proxy(Kind::Key);
pub const HSM_PROXY: Watched = Watched::Proxy(Kind::Hsm);
pub const RECOVER: Watched = Watched::Recover;
pub const PURGE: Watched = Watched::Purge;

/// Generous: many tests share two servers and one operator.
const PATIENCE: Duration = Duration::from_secs(60);

/// A P-256 key in the HSM `safe`.
pub const EC: &str = "{hsm: safe, keyType: EC, curve: P-256}";

pub struct Scene {
    pub plane: &'static Plane,
    pub backend: MemoryBackend,
    pub backends: Backends,
    pub ns: String,
    client: Client,
}

/// What the one operator works on, by the names in an HSM's spec.
#[derive(Clone)]
pub struct Backends {
    /// `default`: everybody's.
    pub usual: MemoryBackend,
    /// `lost`: for the one test that loses its whole store.
    pub lost: MemoryBackend,
    /// `away`: for the one test in which it does not answer.
    pub away: MemoryBackend,
    /// `tiny`: it has room for one HSM.
    pub tiny: MemoryBackend,
}

impl Backends {
    fn new() -> Self {
        Self {
            usual: MemoryBackend::new(),
            lost: MemoryBackend::new(),
            away: MemoryBackend::new(),
            tiny: MemoryBackend::with([4; 32], 1),
        }
    }

    async fn operator(&self, plane: &Plane) -> Operator {
        let mut build = Build::new(plane, self.usual.clone()).await;
        build.settings.day = crate::DAY;
        for (name, backend) in [
            ("lost", &self.lost),
            ("away", &self.away),
            ("tiny", &self.tiny),
        ] {
            let module = Arc::new(backend.clone()) as Arc<dyn HsmBackend>;
            build.backends.insert(name.to_owned(), module);
        }
        build.start().await
    }
}

/// The one operator of this test binary, in a runtime of its own: those of the tests end with them.
async fn operator(plane: &'static Plane) -> Backends {
    static BACKENDS: OnceLock<Backends> = OnceLock::new();
    let start = move || {
        let backends = Backends::new();
        let (tell, told) = std::sync::mpsc::channel();
        let own = backends.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let _operator = own.operator(plane).await;
                _ = tell.send(());
                std::future::pending::<()>().await;
            });
        });
        told.recv().expect("the operator starts");
        backends
    };
    tokio::task::spawn_blocking(move || BACKENDS.get_or_init(start).clone())
        .await
        .expect("the operator starts")
}

impl Scene {
    /// A namespace with nothing in it.
    pub async fn empty(purpose: &str) -> Self {
        let plane = shared().await;
        let backends = operator(plane).await;
        Self {
            plane,
            backend: backends.usual.clone(),
            backends,
            ns: plane.namespace(purpose).await,
            client: plane.client().await,
        }
    }

    /// A namespace with the HSM `safe`, ready.
    pub async fn with_hsm(purpose: &str, spec: &str) -> Self {
        let scene = Self::empty(purpose).await;
        scene.apply(&manifest("ManagedHsm", "safe", spec)).await;
        scene.ready(HSM, "safe").await;
        scene
    }

    /// The HSM `safe`, and in it the P-256 key `signing`, both ready.
    pub async fn with_key(purpose: &str) -> Self {
        let scene = Self::empty(purpose).await;
        let both = manifest("ManagedHsm", "safe", "{}") + &manifest("HsmKey", "signing", EC);
        scene.apply(&both).await;
        scene.ready(KEY, "signing").await;
        scene
    }

    // ---- what a user does ----

    /// The real kubectl, in this namespace.
    pub async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Output {
        let all = [&["-n", &self.ns], arguments].concat();
        self.plane.kubectl(&all, stdin).await
    }

    pub async fn apply(&self, yaml: &str) -> String {
        self.kubectl(&["apply", "-f", "-"], yaml).await.ok()
    }

    /// Deletes it, waits until it is gone and its proxy stands settled, and answers the proxy.
    pub async fn deleted(&self, of: Watched, name: &str) -> DynamicObject {
        let plural = of.resource().plural;
        self.kubectl(&["delete", &plural, name], "").await.ok();
        self.gone(of, name).await;
        self.retained(proxy_of(of), name).await
    }

    /// Asks for the recovery of one deletion.
    pub async fn ask_back(&self, recover: &str, kind: &str, name: &str, uid: &str) {
        let spec = format!("{{kind: {kind}, name: {name}, uid: {uid}}}");
        self.apply(&manifest("Recover", recover, &spec)).await;
    }

    /// Asks for a purge, as `anna`, and answers the Purge's name.
    pub async fn ask_purge(&self, purge: &str, of: Watched, name: &str, uid: &str) -> String {
        let full = format!("{}-{purge}", self.ns);
        let spec = format!(
            "{{kind: {}, name: {}, uid: {uid}, requestedBy: anna}}",
            of.resource().kind,
            proxy_name(&self.ns, name)
        );
        self.apply(&manifest("Purge", &full, &spec)).await;
        full
    }

    /// Purges it, waits until all is over, and answers the Purge.
    pub async fn purged(&self, of: Watched, name: &str, uid: &str) -> DynamicObject {
        let purge = self
            .ask_purge(&format!("purge-{name}"), of, name, uid)
            .await;
        let done = self.until(PURGE, &purge, "Complete", "True", "").await;
        self.gone(of, name).await;
        done
    }

    /// The receipt that the operator wrote of the purge of that uid.
    pub async fn receipt(&self, of: Watched, name: &str, uid: &str) -> DynamicObject {
        assert!(matches!(of, Watched::Proxy(_)));
        let named = format!("spec.name={}", proxy_name(&self.ns, name));
        let named = kube::api::ListParams::default().fields(&named);
        eventually("the receipt", PATIENCE, async || {
            let all = self.api(PURGE).list(&named).await.expect("a list").items;
            let mut its = all.into_iter().filter(|found| {
                found.data["spec"]["uid"] == uid
                    && condition(found, "Complete").is_some_and(|(is, ..)| is == "True")
            });
            its.next().ok_or("none is complete yet".to_owned())
        })
        .await
    }

    /// Recovers it, waits until all is over, and answers what is back.
    pub async fn recovered(&self, of: Watched, name: &str, uid: &str) -> DynamicObject {
        let recover = format!("back-{name}");
        self.ask_back(&recover, &of.resource().kind, name, uid)
            .await;
        self.until(RECOVER, &recover, "Complete", "True", "").await;
        let back = self.ready(of, name).await;
        self.gone(proxy_of(of), name).await;
        back
    }

    // ---- what a user sees ----

    pub fn api(&self, of: Watched) -> Api<DynamicObject> {
        match of {
            Watched::Object(_) | Watched::Recover => {
                Api::namespaced_with(self.client.clone(), &self.ns, &of.resource())
            }
            Watched::Proxy(_) | Watched::Purge | Watched::Namespace => {
                Api::all_with(self.client.clone(), &of.resource())
            }
        }
    }

    fn name(&self, of: Watched, name: &str) -> String {
        match of {
            Watched::Proxy(_) => proxy_name(&self.ns, name),
            _ => name.to_owned(),
        }
    }

    /// The object as it is now; a proxy by its origin's name.
    pub async fn get(&self, of: Watched, name: &str) -> Option<DynamicObject> {
        let name = self.name(of, name);
        self.api(of).get_opt(&name).await.expect("a GET")
    }

    #[track_caller]
    pub fn seen<'a>(
        &'a self,
        of: Watched,
        name: &'a str,
        what: &'a str,
        is_so: impl Fn(&DynamicObject) -> bool + 'a,
    ) -> impl Future<Output = DynamicObject> + 'a {
        let title = format!("{} {name}: {what}", of.resource().kind);
        let wait = move |title: String| async move {
            eventually(&title, PATIENCE, async || match self.get(of, name).await {
                None => Err("it is not there".to_owned()),
                Some(found) if is_so(&found) => Ok(found),
                Some(found) => Err(serde_json::to_string(&found).unwrap_or_default()),
            })
            .await
        };
        wait(title)
    }

    /// Waits for a condition's status, and its reason where one is given.
    pub async fn until(
        &self,
        of: Watched,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> DynamicObject {
        let what = format!("{kind}={status} {reason}");
        self.seen(of, name, &what, |found| {
            condition(found, kind)
                .is_some_and(|(is, why, _)| is == status && (reason.is_empty() || why == reason))
        })
        .await
    }

    /// Waits until it is ready, as of its present generation.
    pub async fn ready(&self, of: Watched, name: &str) -> DynamicObject {
        self.seen(of, name, "ready now", |found| {
            found.data["status"]["observedGeneration"].as_i64() == found.metadata.generation
                && condition(found, "Ready").is_some_and(|(is, _, _)| is == "True")
        })
        .await
    }

    /// Waits until it stands still with that reason, as a person has to act, and answers the sentence.
    pub async fn stalled(&self, of: Watched, name: &str, reason: &str) -> String {
        let found = self.until(of, name, "Stalled", "True", reason).await;
        let ready = condition(&found, "Ready").expect("Ready is always told");
        let sentence = condition(&found, "Stalled").expect("it stalls").2;
        assert_eq!(ready, ("False".into(), reason.into(), sentence.clone()));
        assert_eq!(condition(&found, "Reconciling"), None, "{found:?}");
        sentence
    }

    /// The same, answering the object.
    pub async fn stalled_key(&self, name: &str, reason: &str) -> DynamicObject {
        self.stalled(KEY, name, reason).await;
        self.get(KEY, name).await.expect("it stands")
    }

    /// This test's namespace itself.
    pub async fn namespace(&self) -> DynamicObject {
        let found = self.api(Watched::Namespace).get(&self.ns).await;
        found.expect("the namespace")
    }

    /// Waits until the proxy is settled: its status names the record behind it.
    pub async fn retained(&self, proxy: Watched, name: &str) -> DynamicObject {
        self.seen(proxy, name, "retained", |found| {
            found.data["status"]["recordGeneration"].is_i64()
                && found.data["status"]["phase"].is_null()
        })
        .await
    }

    pub async fn gone(&self, of: Watched, name: &str) {
        let title = format!("{} {name} is gone", of.resource().kind);
        eventually(&title, PATIENCE, async || match self.get(of, name).await {
            None => Ok(()),
            Some(found) => Err(serde_json::to_string(&found).unwrap_or_default()),
        })
        .await;
    }

    /// The Events about one object, as `reason: note`.
    pub async fn events(&self, uid: &str) -> Vec<String> {
        let events: Api<k8s_openapi::api::events::v1::Event> = Api::all(self.client.clone());
        let about = format!("regarding.uid={uid}");
        let selected = kube::api::ListParams::default().fields(&about);
        let found = events.list(&selected).await.expect("a list of Events");
        found
            .items
            .into_iter()
            .map(|event| {
                let text = |of: Option<String>| of.unwrap_or_default();
                format!("{}: {}", text(event.reason), text(event.note))
            })
            .collect()
    }

    // ---- what the backend does ----

    /// Uses one version of the key that this HsmKey, or its proxy, speaks of.
    pub fn use_key(
        &self,
        of: &DynamicObject,
        version: usize,
        what: Use,
    ) -> Result<Vec<u8>, BackendError> {
        let told = |path: &str| {
            of.data
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let hsm = told("/status/hsmId")
            .or_else(|| told("/spec/hsmId"))
            .expect("an hsmId");
        let material = told(&format!("/status/versions/{version}/materialId"))
            .or_else(|| told(&format!("/spec/versions/{version}/materialId")))
            .expect("a materialId");
        let label = TokenLabel(hsm);
        let serial = self
            .backend
            .token(&label)?
            .ok_or_else(|| BackendError::NotThere("the token".into()))?
            .serial;
        let id: MaterialId = ids::backend_id(&material.into()).expect("an id of ours");
        self.backend.use_key(&TokenRef { label, serial }, id, &what)
    }

    /// Whether a P-256 key signs, or why it does not.
    pub fn signs(&self, of: &DynamicObject) -> Result<(), BackendError> {
        let digest = vec![7; 32];
        self.use_key(of, 0, Use::Sign { digest }).map(drop)
    }
}

/// The proxy's kind of an object's kind.
fn proxy_of(of: Watched) -> Watched {
    match of {
        Watched::Object(kind) => Watched::Proxy(kind),
        other => other,
    }
}

/// One document: name and spec, as a user writes them.
pub fn manifest(kind: &str, name: &str, spec: &str) -> String {
    with_meta(kind, &format!("{{name: {name}}}"), spec)
}

/// The same with more metadata than a name.
pub fn with_meta(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: managedhsm.dev/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n"
    )
}

pub fn uid(of: &DynamicObject) -> String {
    of.metadata.uid.clone().expect("a uid")
}

/// The uid that the proxy's object had.
pub fn origin(proxy: &DynamicObject) -> String {
    let uid = proxy.data["spec"]["origin"]["uid"].as_str();
    uid.expect("an origin").to_owned()
}

/// What tells the key's material from any other's, version by version.
pub fn fingerprints(of: &DynamicObject) -> Vec<String> {
    let versions = of.data["status"]["versions"]
        .as_array()
        .or_else(|| of.data["spec"]["versions"].as_array());
    versions
        .into_iter()
        .flatten()
        .map(|version| {
            let shown = version["thumbprint"]
                .as_str()
                .or_else(|| version["checkValue"].as_str());
            shown.expect("each version shows what it is").to_owned()
        })
        .collect()
}
