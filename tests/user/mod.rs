//! Somebody who works in one namespace, and waits for what he asked for.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::time::Duration;

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use managed_hsm_operator::softdelete::names::proxy_name;
use serde_json::{Value, json};

use crate::operator::condition;

/// As long as anything may take that stands still while others do.
pub const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Clone)]
pub struct User {
    client: Client,
    pub namespace: String,
}

impl User {
    pub fn of(client: &Client, namespace: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// In a namespace that he makes.
    pub async fn new(client: &Client, namespace: &str) -> Self {
        let user = Self::of(client, namespace);
        user.create(Watched::Namespace, namespace, json!({})).await;
        user
    }

    pub fn api(&self, of: Watched) -> Api<DynamicObject> {
        match of {
            Watched::Object(_) | Watched::Recover => {
                Api::namespaced_with(self.client.clone(), &self.namespace, &of.resource())
            }
            Watched::Proxy(_) | Watched::Purge | Watched::Namespace => {
                Api::all_with(self.client.clone(), &of.resource())
            }
        }
    }

    pub fn proxy_of(&self, name: &str) -> String {
        proxy_name(&self.namespace, name)
    }

    /// Waits until one object is as `wanted`, absent is None. Err: what was seen last.
    pub async fn seen(
        &self,
        of: Watched,
        name: &str,
        wanted: impl Fn(Option<&DynamicObject>) -> bool,
    ) -> Result<Option<DynamicObject>, String> {
        let api = self.api(of);
        let condition = |found: Option<&DynamicObject>| wanted(found);
        let waited = await_condition(api.clone(), name, condition);
        match tokio::time::timeout(PATIENCE, waited).await {
            Ok(found) => Ok(found.expect("a watch")),
            Err(_) => {
                let last = api.get_opt(name).await.expect("a GET");
                let last = last.map(|found| serde_json::to_string(&found).unwrap_or_default());
                Err(format!("within {PATIENCE:?}; last seen: {last:?}"))
            }
        }
    }

    pub async fn until(
        &self,
        what: &str,
        of: Watched,
        name: &str,
        wanted: impl Fn(Option<&DynamicObject>) -> bool,
    ) -> Option<DynamicObject> {
        let seen = self.seen(of, name, wanted).await;
        seen.unwrap_or_else(|last| panic!("{}: {name} is not {what} {last}", self.namespace))
    }

    /// Answers it as it is when it is ready.
    pub async fn ready(&self, kind: Kind, name: &str) -> DynamicObject {
        let found = self
            .until("ready", Watched::Object(kind), name, |found| {
                found.is_some_and(|found| {
                    found.metadata.deletion_timestamp.is_none()
                        && found.data["status"]["observedGeneration"].as_i64()
                            == found.metadata.generation
                        && is(found, "Ready")
                })
            })
            .await;
        found.expect("it is there")
    }

    /// Answers the proxy once the object of that uid is gone, and the proxy can be recovered.
    pub async fn deleted(&self, kind: Kind, name: &str, uid: &str) -> DynamicObject {
        self.until("gone", Watched::Object(kind), name, |found| {
            found.is_none_or(|found| found.metadata.uid.as_deref() != Some(uid))
        })
        .await;
        let kept = |found: Option<&DynamicObject>| {
            found.is_some_and(|found| {
                found.data["spec"]["origin"]["uid"] == uid && is(found, "Ready")
            })
        };
        let found = self
            .until("kept", Watched::Proxy(kind), &self.proxy_of(name), kept)
            .await;
        found.expect("it is there")
    }

    pub async fn gone(&self, of: Watched, name: &str) {
        self.until("gone", of, name, |found| found.is_none()).await;
    }

    /// Answers it as it was taken.
    pub async fn create(&self, of: Watched, name: &str, data: Value) -> DynamicObject {
        let mut object = DynamicObject::new(name, &of.resource());
        object.data = data;
        let made = self.api(of).create(&PostParams::default(), &object).await;
        made.unwrap_or_else(|error| panic!("{}: {name} is not taken: {error}", self.namespace))
    }

    /// Asks for the deletion, and waits for nothing.
    pub async fn delete(&self, of: Watched, name: &str) {
        let asked = self.api(of).delete(name, &DeleteParams::default()).await;
        asked
            .map(drop)
            .unwrap_or_else(|error| panic!("{}: {name}: {error}", self.namespace));
    }

    pub async fn patch(&self, of: Watched, name: &str, change: Value) {
        let change = Patch::Merge(change);
        let api = self.api(of);
        let taken = api.patch(name, &PatchParams::default(), &change).await;
        taken
            .map(drop)
            .unwrap_or_else(|error| panic!("{}: {name}: {error}", self.namespace));
    }
}

pub fn is(found: &DynamicObject, kind: &str) -> bool {
    condition(found, kind).is_some_and(|(status, _, _)| status == "True")
}

/// Everything in a key's status that its material decides.
pub fn material(key: &DynamicObject) -> Vec<[Value; 4]> {
    let versions = key.data["status"]["versions"].as_array();
    let of = |version: &Value| {
        ["materialId", "publicKey", "thumbprint", "checkValue"].map(|field| version[field].clone())
    };
    versions.into_iter().flatten().map(of).collect()
}

pub fn uid(found: &DynamicObject) -> String {
    found.metadata.uid.clone().expect("a uid")
}
