//! Users of one namespace, who see through one watch of each kind.

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use testplane::Plane;

use crate::operator::condition;

pub const HSM: Watched = Watched::Object(Kind::Hsm);
pub const KEY: Watched = Watched::Object(Kind::Key);
pub const PROXY: Watched = Watched::Proxy(Kind::Key);
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub struct Bench {
    pub client: Client,
    pub namespace: String,
    keys: Store<DynamicObject>,
    proxies: Store<DynamicObject>,
}

impl Bench {
    pub async fn new(plane: &Plane, namespace: &str) -> Self {
        let client = plane.client().await;
        plane
            .kubectl(&["create", "namespace", namespace], "")
            .await
            .ok();
        let (keys, proxies) = (watched(&client, KEY), watched(&client, PROXY));
        Self {
            client,
            namespace: namespace.to_owned(),
            keys,
            proxies,
        }
    }

    /// With an HSM that is ready for keys.
    pub async fn with_hsm(plane: &Plane, namespace: &str, retention_days: u32) -> Self {
        let bench = Self::new(plane, namespace).await;
        bench
            .create(HSM, "safe", json!({"retentionDays": retention_days}))
            .await;
        let api = bench.api(HSM);
        while !ready(&api.get("safe").await.expect("an HSM")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bench
    }

    pub fn api(&self, of: Watched) -> Api<DynamicObject> {
        api(&self.client, of, &self.namespace)
    }

    pub async fn create(&self, of: Watched, name: &str, spec: Value) -> DynamicObject {
        let mut object = DynamicObject::new(name, &of.resource());
        object.data = json!({ "spec": spec });
        let made = self.api(of).create(&PostParams::default(), &object).await;
        made.expect("created")
    }

    pub async fn create_key(&self, name: &str) -> DynamicObject {
        self.create(
            KEY,
            name,
            json!({"hsm": "safe", "keyType": "EC", "curve": "P-256"}),
        )
        .await
    }

    pub async fn delete_key(&self, name: &str) {
        let deleted = self.api(KEY).delete(name, &DeleteParams::default()).await;
        deleted.expect("deleted");
    }

    pub async fn annotate_key(&self, name: &str, value: &str) {
        let change = Patch::Merge(json!({"metadata": {"annotations": {"bench": value}}}));
        let changed = self
            .api(KEY)
            .patch(name, &PatchParams::default(), &change)
            .await;
        changed.expect("annotated");
    }

    pub async fn key_is_ready(&self, name: &str) {
        let is = || {
            self.keys
                .get(&self.key(name))
                .is_some_and(|key| ready(&key))
        };
        until("a key is ready", is).await;
    }

    /// Gone, and its proxy complete: nothing is left to do for it.
    pub async fn key_is_deleted(&self, name: &str) {
        let complete = |proxy: DynamicObject| {
            let status = &proxy.data["status"];
            status["recordGeneration"].is_i64() && status["phase"].is_null()
        };
        let is =
            || self.keys.get(&self.key(name)).is_none() && self.proxy(name).is_some_and(complete);
        until("a key is deleted", is).await;
    }

    pub async fn proxy_is_gone(&self, name: &str) {
        until("a proxy is gone", || self.proxy(name).is_none()).await;
    }

    pub fn proxy(&self, name: &str) -> Option<DynamicObject> {
        let name = format!("{}.{name}", self.namespace);
        let at = ObjectRef::new_with(&name, PROXY.resource());
        self.proxies.get(&at).map(|found| (*found).clone())
    }

    fn key(&self, name: &str) -> ObjectRef<DynamicObject> {
        ObjectRef::new_with(name, KEY.resource()).within(&self.namespace)
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}, in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn api(client: &Client, of: Watched, namespace: &str) -> Api<DynamicObject> {
    match of {
        Watched::Object(_) | Watched::Recover => {
            Api::namespaced_with(client.clone(), namespace, &of.resource())
        }
        Watched::Proxy(_) | Watched::Purge | Watched::Namespace => {
            Api::all_with(client.clone(), &of.resource())
        }
    }
}

pub fn ready(found: &DynamicObject) -> bool {
    condition(found, "Ready").is_some_and(|(is, ..)| is == "True")
}

fn watched(client: &Client, of: Watched) -> Store<DynamicObject> {
    let writer = reflector::store::Writer::new(of.resource());
    let store = writer.as_reader();
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &of.resource());
    let events = watcher(all, watcher::Config::default()).default_backoff();
    let stream = reflector::reflector(writer, events);
    tokio::spawn(stream.for_each(|_| std::future::ready(())));
    store
}
