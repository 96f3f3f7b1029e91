//! The whole life of an HSM and a key in it, as a user drives it, and a picture of what it ends in that can be compared
//! with other lives': everything that must differ between two lives has a name in it instead of its value.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub mod end;

use std::collections::BTreeMap;
use std::path::PathBuf;

use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use managed_hsm_operator::backend::ledger::{Ledger, sqlite::SqliteLedger};
use managed_hsm_operator::backend::memory::{Inspected, MemoryBackend};
use managed_hsm_operator::backend::{HsmBackend, Stored};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::plan::{Lineage, encoding};
use managed_hsm_operator::softdelete::record::Version;
use managed_hsm_operator::softdelete::{Kind, Record, Subject};
use serde_json::{Value, json};

use super::user::{User, is};

pub const HSM: &str = "safe";
pub const KEY: &str = "signing";

/// What a test sees of a store, beside whoever operates on it.
#[derive(Clone)]
pub enum Store {
    Memory(MemoryBackend),
    /// Of a store that is another process's: its ledger.
    Ledger(PathBuf),
}

impl From<&MemoryBackend> for Store {
    fn from(backend: &MemoryBackend) -> Self {
        Self::Memory(backend.clone())
    }
}

impl Store {
    fn records(&self) -> Vec<Stored> {
        match self {
            // A scripted fault may strike this read as well.
            Self::Memory(backend) => (0..10).find_map(|_| backend.records().ok()),
            Self::Ledger(file) => SqliteLedger::open(file)
                .ok()
                .and_then(|it| it.records().ok()),
        }
        .expect("the ledger can be read")
    }

    fn inspect(&self) -> Vec<Inspected> {
        match self {
            Self::Memory(backend) => backend.inspect(),
            Self::Ledger(_) => Vec::new(),
        }
    }
}

/// One namespace with one HSM and one key.
#[derive(Clone)]
pub struct Life {
    user: User,
    store: Store,
    backend_name: String,
    key: Value,
}

impl std::ops::Deref for Life {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

/// An EC key's own fields.
pub fn ec() -> Value {
    json!({"keyType": "EC", "curve": "P-256"})
}

/// A symmetric key's own fields.
pub fn oct() -> Value {
    json!({"keyType": "oct", "keySize": 256})
}

impl Life {
    pub async fn new(client: &Client, name: &str, store: impl Into<Store>, key: Value) -> Self {
        Self::on(client, name, store, "default", key).await
    }

    /// On a backend of that name.
    pub async fn on(
        client: &Client,
        name: &str,
        store: impl Into<Store>,
        backend_name: &str,
        key: Value,
    ) -> Self {
        Self {
            user: User::new(client, name).await,
            store: store.into(),
            backend_name: backend_name.to_owned(),
            key,
        }
    }

    pub fn user(&self) -> &User {
        &self.user
    }

    pub fn lineage(&self, kind: Kind) -> Lineage {
        Lineage::new(kind, self.namespace.clone(), name_of(kind))
    }

    pub fn proxy_name(&self, kind: Kind) -> String {
        self.proxy_of(name_of(kind))
    }

    /// Waits until one object is as `wanted`; absent is None.
    pub async fn until(
        &self,
        what: &str,
        of: Watched,
        name: &str,
        wanted: impl Fn(Option<&DynamicObject>) -> bool,
    ) -> Option<DynamicObject> {
        let seen = self.seen(of, name, wanted).await;
        seen.unwrap_or_else(|last| {
            panic!(
                "{}: {name} is not {what} {last}\nits records: {:#?}\nits objects: {:#?}",
                self.namespace,
                self.records(),
                self.material(),
            )
        })
    }

    async fn ready(&self, kind: Kind) {
        self.until("ready", Watched::Object(kind), name_of(kind), |found| {
            found.is_some_and(|found| {
                found.metadata.deletion_timestamp.is_none() && is(found, "Ready")
            })
        })
        .await;
    }

    async fn apply(&self, kind: Kind, spec: Value) {
        let of = Watched::Object(kind);
        let mut object = DynamicObject::new(name_of(kind), &of.resource());
        object.metadata.labels = Some(BTreeMap::from([("team".to_owned(), "blue".to_owned())]));
        object.metadata.annotations = Some(BTreeMap::from([(
            "example.com/why".to_owned(),
            "tests".to_owned(),
        )]));
        object.data = json!({"spec": spec});
        self.api(of)
            .patch(
                name_of(kind),
                &PatchParams::apply("somebody"),
                &Patch::Apply(object),
            )
            .await
            .expect("the manifest is taken");
    }

    pub async fn apply_both(&self) {
        self.apply(Kind::Hsm, json!({"backend": self.backend_name}))
            .await;
        let mut key = self.key.clone();
        key["hsm"] = HSM.into();
        self.apply(Kind::Key, key).await;
    }

    pub async fn create(&self) {
        self.apply_both().await;
        self.ready(Kind::Hsm).await;
        self.ready(Kind::Key).await;
    }

    pub async fn uid(&self, kind: Kind) -> String {
        let found = self.api(Watched::Object(kind)).get(name_of(kind)).await;
        found.expect("it is there").metadata.uid.expect("a uid")
    }

    /// Asks for the deletion, and waits for nothing.
    pub async fn start_delete(&self, kind: Kind) {
        self.user.delete(Watched::Object(kind), name_of(kind)).await;
    }

    /// The object is gone and its proxy can be recovered. Answers the deleted uid.
    pub async fn delete(&self, kind: Kind) -> String {
        let uid = self.uid(kind).await;
        self.start_delete(kind).await;
        self.deleted(kind, &uid).await;
        uid
    }

    pub async fn deleted(&self, kind: Kind, uid: &str) {
        self.user.deleted(kind, name_of(kind), uid).await;
    }

    pub async fn start_recover(&self, kind: Kind, uid: &str) {
        let spec = json!({"kind": kind.object(), "name": name_of(kind), "uid": uid});
        self.user
            .create(Watched::Recover, &recover_name(kind), json!({"spec": spec}))
            .await;
    }

    pub async fn recovered(&self, kind: Kind) {
        self.until("complete", Watched::Recover, &recover_name(kind), |found| {
            found.is_some_and(|found| is(found, "Complete"))
        })
        .await;
        self.ready(kind).await;
        self.until(
            "gone",
            Watched::Proxy(kind),
            &self.proxy_name(kind),
            |found| found.is_none(),
        )
        .await;
    }

    pub async fn recover(&self, kind: Kind, uid: &str) {
        self.start_recover(kind, uid).await;
        self.recovered(kind).await;
    }

    /// Made, deleted and recovered: first the key, then the HSM around it. Answers what it ended in.
    pub async fn whole(&self) -> Value {
        self.create().await;
        let made = self.identities();
        for kind in [Kind::Key, Kind::Hsm] {
            let uid = self.delete(kind).await;
            self.recover(kind, &uid).await;
        }
        self.ready(Kind::Key).await;
        self.counted().await;
        assert_eq!(
            self.identities(),
            made,
            "{}: the same material",
            self.namespace
        );
        self.picture().await
    }

    /// The HSM's counts follow its keys now and then.
    async fn counted(&self) {
        self.until("counted", Watched::Object(Kind::Hsm), HSM, |found| {
            found.is_some_and(|found| {
                found.data["status"]["keys"] == 1 && found.data["status"]["deletedKeys"] == 0
            })
        })
        .await;
    }

    // ---- what is there ----

    /// The decoded records of this namespace, with their generations.
    pub fn records(&self) -> Vec<(u64, Record)> {
        let mut all: Vec<_> = self
            .stored()
            .into_iter()
            .map(|(stored, record)| (stored.generation, record))
            .collect();
        all.sort_by_key(|(_, record)| {
            let name = record.origin.name.clone();
            (record.kind(), name, record.id.clone())
        });
        all
    }

    fn stored(&self) -> Vec<(Stored, Record)> {
        self.store
            .records()
            .into_iter()
            .map(|stored| {
                let record = encoding::decode(&stored.bytes).expect("a record of ours");
                (stored, record)
            })
            .filter(|(_, record)| record.origin.namespace == self.namespace)
            .collect()
    }

    pub fn record(&self, kind: Kind) -> Option<(u64, Record)> {
        self.records()
            .into_iter()
            .find(|(_, record)| record.kind() == kind)
    }

    /// Every object in this namespace's tokens, where it can be seen.
    pub fn material(&self) -> Vec<Inspected> {
        let tokens: Vec<_> = self
            .records()
            .into_iter()
            .map(|(_, record)| record.id.0)
            .collect();
        let mut found = self.store.inspect();
        found.retain(|object| tokens.contains(&object.token.0));
        found.sort_by_key(|object| (object.id, object.class, object.mark, object.handle));
        found
    }

    /// Which material there is, under which id.
    pub fn identities(&self) -> Vec<(String, [u8; 32])> {
        let mut all: Vec<_> = self
            .material()
            .iter()
            .map(|object| (object.id.to_string(), object.material))
            .collect();
        all.dedup();
        all
    }

    /// All that there is of this life, with what differs from life to life said by name.
    pub async fn picture(&self) -> Value {
        let mut names = Vec::new();
        let mut all = serde_json::Map::new();
        for kind in [Kind::Hsm, Kind::Key] {
            let object = self.api(Watched::Object(kind)).get(name_of(kind)).await;
            let object = object.expect("it is there");
            names.push((
                format!("the {}", kind.object()),
                object.metadata.uid.clone().unwrap_or_default(),
            ));
            all.insert(
                kind.object().to_owned(),
                serde_json::to_value(&object).expect("JSON"),
            );
            all.insert(
                format!("proxy of {}", kind.object()),
                serde_json::to_value(
                    self.api(Watched::Proxy(kind))
                        .get_opt(&self.proxy_name(kind))
                        .await
                        .expect("a GET"),
                )
                .expect("JSON"),
            );
            let recover = self.api(Watched::Recover).get(&recover_name(kind)).await;
            let recover = recover.expect("the Recover");
            names.push((
                format!("the deleted {}", kind.object()),
                recover.data["spec"]["uid"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            ));
            all.insert(
                recover_name(kind),
                serde_json::to_value(recover).expect("JSON"),
            );
        }
        all.insert("records".to_owned(), self.pictured_records());
        all.insert("objects".to_owned(), self.pictured_objects());
        names.push(("the namespace".to_owned(), self.namespace.clone()));
        names.push(("the backend".to_owned(), self.backend_name.clone()));
        names.extend(self.own_names());
        named(Value::Object(all), &names)
    }

    fn own_names(&self) -> Vec<(String, String)> {
        let mut names = Vec::new();
        for (_, record) in self.records() {
            let kind = record.kind().object();
            names.push((format!("the record of the {kind}"), record.id.0.clone()));
            names.push((
                format!("the namespace's uid of the {kind}"),
                record.origin.namespace_uid.0.clone(),
            ));
            for version in versions(&record) {
                names.push(("a material".to_owned(), version.material.0.clone()));
                let print = version.fingerprint.0.trim_start_matches("kcv:").to_owned();
                names.push(("a fingerprint".to_owned(), print));
            }
        }
        names
    }

    fn pictured_records(&self) -> Value {
        let of = |(generation, record): (u64, Record)| {
            let pending = matches!(
                &record.subject,
                Subject::Key {
                    pending: Some(_),
                    ..
                }
            );
            json!({
                "generation": generation, "id": record.id.0, "state": format!("{:?}", record.state),
                "uid": record.origin.uid.0, "from": record.recovered_from.as_ref().map(|uid| uid.0.clone()),
                "versions": versions(&record).iter().map(|version| json!([version.number, version.material.0, version.fingerprint.0])).collect::<Vec<_>>(),
                "pending": pending, "dates": record.dates.is_some(),
            })
        };
        self.records().into_iter().map(of).collect()
    }

    fn pictured_objects(&self) -> Value {
        let of = |object: Inspected| {
            json!([
                object.token.0,
                object.id.to_string(),
                format!("{:?} {:?}", object.class, object.mark),
                object.usable
            ])
        };
        self.material().into_iter().map(of).collect()
    }
}

pub fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Hsm => HSM,
        Kind::Key => KEY,
    }
}

pub fn recover_name(kind: Kind) -> String {
    format!("{}-back", name_of(kind))
}

pub fn versions(record: &Record) -> &[Version] {
    match &record.subject {
        Subject::Key { versions, .. } => versions,
        Subject::Hsm { .. } => &[],
    }
}

/// Without times and server's counters, and with names for what is each life's own.
fn named(mut picture: Value, names: &[(String, String)]) -> Value {
    strip(&mut picture);
    let mut text = picture.to_string();
    let mut longest_first: Vec<_> = names
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    longest_first.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    for (name, value) in longest_first {
        text = text.replace(value.as_str(), &format!("<{name}>"));
    }
    serde_json::from_str(&text).expect("JSON still")
}

fn strip(value: &mut Value) {
    const OWN: [&str; 13] = [
        "resourceVersion",
        "creationTimestamp",
        "time",
        "lastTransitionTime",
        "startTime",
        "completionTime",
        "createdAt",
        "uid_of_request",
        "digest",
        "when",
        "x",
        "y",
        "n",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OWN.contains(&name.as_str()));
            // Each Recover has a uid of its own, which says nothing.
            if fields.get("kind") == Some(&json!("Recover")) && fields.contains_key("metadata") {
                fields["metadata"]["uid"] = Value::Null;
            }
            fields.values_mut().for_each(strip);
            // The server sorts them by their times.
            if let Some(Value::Array(managers)) = fields.get_mut("managedFields") {
                managers.sort_by_key(Value::to_string);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The two pictures are equal; if not, only what differs is shown.
pub fn assert_same(what: &str, is: &Value, should: &Value) {
    let mut differ = Vec::new();
    differences("", is, should, &mut differ);
    assert!(differ.is_empty(), "{what}:\n{}", differ.join("\n"));
}

fn differences(path: &str, is: &Value, should: &Value, found: &mut Vec<String>) {
    match (is, should) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for name in names {
                let of = |fields: &serde_json::Map<String, Value>| {
                    fields.get(name).cloned().unwrap_or_default()
                };
                differences(&format!("{path}/{name}"), &of(left), &of(right), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (place, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}/{place}"), left, right, found);
            }
        }
        _ if is != should => found.push(format!("{path}: {is}, not {should}")),
        _ => {}
    }
}
