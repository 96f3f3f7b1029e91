//! A key in an HSM before one look: the ledger, the token, the API server and the caches, and a log of all that is asked of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body as Bytes;
use kube::runtime::{reflector, watcher};
use serde_json::{Value, json};
use tower_test::mock::Handle;

use super::super::*;
use crate::backend::memory::MemoryBackend;
use crate::backend::{Algorithm, Depth, HsmBackend, Stored as Bare, TokenLabel, TokenRef};
use crate::controller::cluster::{Cluster, definition_name};
use crate::controller::kept::Kept;
use crate::controller::testing;
use crate::plan::encoding;
use crate::softdelete::examples::{at, key, key_in, origin};
use crate::softdelete::record::Version;
use crate::softdelete::{Origin, Record, RecordId, RecordState, Token};

pub type Log = Arc<Mutex<Vec<String>>>;
/// What the API server has, by resource and name, or by resource alone for a list.
pub type Objects = Arc<Mutex<BTreeMap<String, Value>>>;
pub type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// The key `prod` in the HSM `safe`, which is all there: live, in the cluster and in memory.
pub struct House {
    pub backend: MemoryBackend,
    pub context: Context,
    pub token: TokenRef,
    pub objects: Objects,
    log: Log,
    /// Done once, when the API server is asked for the first time.
    pub on_get: Hook,
    /// Done once, when the material is looked at for the first time.
    pub on_handles: Hook,
    server: tokio::task::JoinHandle<()>,
}

pub fn key_id() -> RecordId {
    ids::record_id(&"u-1".into())
}

pub fn hsm_id() -> RecordId {
    ids::record_id(&"u-hsm".into())
}

pub fn lineage(kind: Kind) -> Lineage {
    let name = match kind {
        Kind::Hsm => "safe",
        Kind::Key => "prod",
    };
    Lineage::new(kind, "payments", name)
}

pub fn hsm_record(state: RecordState, token: &TokenRef) -> Record {
    let token = Token {
        label: token.label.0.clone(),
        serial: token.serial.clone(),
    };
    Record {
        id: hsm_id(),
        origin: Origin {
            name: "safe".into(),
            uid: "u-hsm".into(),
            ..origin()
        },
        subject: Subject::Hsm { token: Some(token) },
        ..key(state)
    }
}

pub fn key_record(state: RecordState) -> Record {
    let version = Version {
        number: 1,
        material: ids::material_id(&"u-1".into(), 1),
        fingerprint: "f".into(),
        created: at(0),
    };
    let mut subject = key_in(&hsm_id().0, vec![version]);
    if let Subject::Key { hsm_name, .. } = &mut subject {
        *hsm_name = "safe".into();
    }
    Record {
        id: key_id(),
        subject,
        ..key(state)
    }
}

pub fn object(resource: &str, name: &str, uid: &str, spec: Value) -> (String, Value) {
    let namespace = (!["deletedhsmkeys", "deletedmanagedhsms", "purges"].contains(&resource))
        .then_some("payments");
    let metadata = json!({"name": name, "namespace": namespace, "uid": uid, "resourceVersion": "7", "generation": 1,
        "creationTimestamp": "2027-01-15T08:00:00Z", "finalizers": [api::FINALIZER]});
    let all = json!({"apiVersion": "managedhsm.dev/v1alpha1", "kind": "One", "metadata": metadata, "spec": spec});
    (format!("{resource}/{name}"), all)
}

pub fn key_object(uid: &str) -> Value {
    let spec = json!({"hsm": "safe", "keyType": "EC", "curve": "P-256"});
    object("hsmkeys", "prod", uid, spec).1
}

pub fn hsm_object() -> Value {
    object("managedhsms", "safe", "u-hsm", json!({})).1
}

/// The API server: it has `objects`, and tells what it is asked.
async fn serves(
    mut server: Handle<Request<Bytes>, Response<Bytes>>,
    objects: Objects,
    log: Log,
    hook: Hook,
) {
    while let Some((request, respond)) = server.next_request().await {
        if let Some(act) = hook.lock().expect("a hook").take() {
            act();
        }
        let path: Vec<_> = request.uri().path().split('/').collect();
        let (name, resource) = (path[path.len() - 1], path[path.len() - 2]);
        let all = objects.lock().expect("objects");
        let (what, found) = match all.get(&format!("{resource}/{name}")) {
            Some(found) => (format!("get {resource}/{name}"), Some(found.clone())),
            None if is_list(name) => (format!("list {name}"), Some(listed(&all, name))),
            None => (format!("get {resource}/{name}"), None),
        };
        drop(all);
        log.lock().expect("a log").push(what);
        let code = if found.is_some() { 200 } else { 404 };
        let gone = json!({"kind": "Status", "code": 404, "status": "Failure", "reason": "NotFound", "message": "no"});
        let body = Bytes::from(found.unwrap_or(gone).to_string().into_bytes());
        let answer = Response::builder().status(code).body(body);
        respond.send_response(answer.expect("an answer"));
    }
}

fn is_list(name: &str) -> bool {
    Watched::ALL.iter().any(|of| of.resource().plural == name)
}

fn listed(all: &BTreeMap<String, Value>, resource: &str) -> Value {
    let its = all
        .iter()
        .filter(|(at, _)| at.split('/').next() == Some(resource));
    let items: Vec<_> = its.map(|(_, found)| found).collect();
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "7"}, "items": items})
}

pub fn definition(of: Watched) -> (String, Value) {
    let name = definition_name(of);
    let conditions = json!([{"type": "Established", "status": "True"}]);
    let spec = json!({"group": "g", "names": {"kind": "One", "plural": "ones"}, "scope": "Namespaced", "versions": []});
    let body = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": spec, "status": {"conditions": conditions}});
    (format!("customresourcedefinitions/{name}"), body)
}

impl House {
    /// The material is made, the records are written and known in memory.
    pub async fn new(hsm: RecordState, key: RecordState) -> Self {
        let backend = MemoryBackend::new();
        let facts = backend
            .create_token(&TokenLabel(hsm_id().0))
            .expect("a token");
        let token = TokenRef {
            label: facts.label,
            serial: facts.serial,
        };
        let id = ids::backend_id(&ids::material_id(&"u-1".into(), 1)).expect("an id");
        backend
            .generate(&token, id, Algorithm::P256)
            .expect("a key");
        for made in backend
            .objects(&token, &[id], Depth::Labels)
            .expect("objects")
        {
            backend.publish(&token, made.handle).expect("a label");
        }
        let (service, server) = tower_test::mock::pair();
        let context = testing::context(Client::new(service, "payments"), &backend);
        let (objects, log, on_get) = (Objects::default(), Log::default(), Hook::default());
        let serves = serves(
            server,
            Arc::clone(&objects),
            Arc::clone(&log),
            Arc::clone(&on_get),
        );
        let house = Self {
            on_handles: Hook::default(),
            server: tokio::spawn(serves),
            backend,
            context,
            token,
            objects,
            log,
            on_get,
        };
        house.write(1, &hsm_record(hsm, &house.token));
        house.write(1, &key_record(key));
        house.know(&hsm_id()).await;
        house.know(&key_id()).await;
        for of in Watched::ALL {
            let (at, found) = definition(of);
            house.has(&at, found);
        }
        house.has("hsmkeys/prod", key_object("u-1"));
        house.has("managedhsms/safe", hsm_object());
        let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "payments", "uid": "n-1"}});
        house.has("namespaces/payments", space);
        house
    }

    pub fn write(&self, generation: u64, record: &Record) {
        written(&self.backend, generation, record);
    }

    /// Memory takes note of what the ledger says of it now.
    pub async fn know(&self, id: &RecordId) {
        let module = &self.context.backends["default"];
        let found = read(&self.context, module, "default", id).await;
        assert!(found.is_ok_and(|found| found.is_some()));
    }

    pub fn has(&self, at: &str, found: Value) {
        let mut all = self.objects.lock().expect("objects");
        all.insert(at.to_owned(), found);
    }

    pub fn lacks(&self, at: &str) {
        self.objects.lock().expect("objects").remove(at);
    }

    /// Another record of the same generation stands beside it.
    pub fn doubt(&self, record: &Record) {
        let stored = Bare {
            id: record.id.0.clone(),
            generation: 1,
            bytes: encoding::encode(record),
        };
        self.backend.plant(stored);
    }

    /// The caches have that, whatever the API server has.
    pub fn caches(&mut self, all: Vec<(Watched, Value)>) {
        let mut caches = HashMap::new();
        for (of, found) in all {
            let mut writer = reflector::store::Writer::new(of);
            let found: DynamicObject = serde_json::from_value(found).expect("an object");
            let kept = Kept::new(of, found).expect("kept");
            writer.apply_watcher_event(&watcher::Event::Apply(kept));
            caches.insert(of, writer.as_reader());
        }
        self.context.cluster = Cluster::new(self.context.cluster.client.clone(), caches);
    }

    /// What the caches and the API server have of the key and its HSM is the same.
    pub fn cached(mut self) -> Self {
        self.caches(vec![
            (Watched::Object(Kind::Key), key_object("u-1")),
            (Watched::Object(Kind::Hsm), hsm_object()),
        ]);
        self
    }

    /// A live look, from here on logged.
    pub async fn look(&self, kind: Kind) -> Result<Observed, Failure> {
        let (log, hook) = (Arc::clone(&self.log), Arc::clone(&self.on_handles));
        self.backend.observe(move |call| {
            let name = format!("{:?}", call.method);
            let handles = ["Objects", "Token"].contains(&name.as_str());
            let act = handles
                .then(|| hook.lock().expect("a hook").take())
                .flatten();
            if let Some(act) = act {
                act();
            }
            let depth = ["Labels", "Proof"]
                .into_iter()
                .find(|depth| call.subject.ends_with(&format!("{depth})")));
            let subject = match name.as_str() {
                "Read" if call.subject.contains(&key_id().0) => Some("key"),
                "Read" if call.subject.contains(&hsm_id().0) => Some("hsm"),
                _ => depth,
            };
            log.lock().expect("a log").push(match subject {
                Some(subject) => format!("{name} {subject}"),
                None => name,
            });
        });
        look(&self.context, &lineage(kind), Source::Live).await
    }

    pub fn asked(&self) -> Vec<String> {
        self.log.lock().expect("a log").clone()
    }

    pub fn asked_for(&self, what: &str) -> bool {
        self.asked().iter().any(|asked| asked == what)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn written(backend: &MemoryBackend, generation: u64, record: &Record) {
    let stored = Bare {
        id: record.id.0.clone(),
        generation,
        bytes: encoding::encode(record),
    };
    backend.write(&stored).expect("it is written");
}

pub fn generations(seen: &Observed) -> Vec<u64> {
    seen.records.iter().map(|held| held.generation).collect()
}

pub fn on(hook: &Hook, act: impl FnOnce() + Send + 'static) {
    *hook.lock().expect("a hook") = Some(Box::new(act));
}

pub fn proxy(name: &str, uid: &str) -> Value {
    let origin = json!({"namespace": "payments", "namespaceUid": "n-1", "name": name, "uid": uid});
    let spec = json!({"origin": origin, "backend": "default", "hsmId": hsm_id().0, "hsm": "safe", "keyName": name,
        "deletionTime": "2027-01-15T08:00:00Z", "purgeProtection": false, "recoveryLevel": "Recoverable"});
    object(
        "deletedhsmkeys",
        &format!("payments.{name}"),
        "u-proxy",
        spec,
    )
    .1
}
