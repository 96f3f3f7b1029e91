//! Somebody with HSMs and keys, who counts them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use kube::api::DynamicObject;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use testplane::eventually;
use tokio::task::JoinHandle;

use crate::house::House;
use crate::user::{PATIENCE, User, is, material, uid};

const KEY: Watched = Watched::Object(Kind::Key);

/// What an HSM's keys are known by.
pub type Keys = BTreeMap<String, Vec<[Value; 4]>>;

pub const HSM: &str = "payments";

/// An HSM with an EC and an RSA key, as in the demo.
pub async fn made(house: &House, namespace: &str) -> Keys {
    house
        .kubectl(&format!("create namespace {namespace}"))
        .await;
    let manifests =
        std::fs::read_to_string(testplane::project_dir().join("hack/demo/payments.yaml"));
    let apply = ["apply", "-n", namespace, "-f", "-"];
    let said = house.plane.kubectl(&apply, &manifests.expect("read")).await;
    said.ok();
    ready(house, namespace).await;
    keys(house, namespace).await
}

/// Waits until all is.
pub async fn ready(house: &House, namespace: &str) {
    let wait = "wait --for=condition=Ready --timeout=180s managedhsm,hsmkey --all";
    house.kubectl(&format!("{wait} -n {namespace}")).await;
}

pub async fn keys(house: &House, namespace: &str) -> Keys {
    let found = house.get(&format!("hsmkeys -n {namespace}")).await;
    let found = found["items"].as_array().cloned().unwrap_or_default();
    let keys = found.into_iter().map(|key| {
        let key: DynamicObject = serde_json::from_value(key).expect("an object");
        let name = key.metadata.name.clone().unwrap_or_default();
        (name, material(&key))
    });
    keys.collect()
}

/// Recovers the deleted object of that name.
pub async fn recover(house: &House, namespace: &str, kind: &str, name: &str, more: Value) {
    asked_back(house, namespace, kind, name, more).await;
    recovered(house, namespace).await;
}

async fn asked_back(house: &House, namespace: &str, kind: &str, name: &str, more: Value) {
    let proxy = format!("deleted{} {namespace}.{name}", kind.to_lowercase());
    let uid = house.get(&proxy).await["spec"]["origin"]["uid"].clone();
    let mut spec = json!({"kind": kind, "name": name, "uid": uid});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    let back = format!("back-{}", uid.as_str().unwrap_or_default());
    let recover = json!({"apiVersion": "managedhsm.dev/v1alpha1", "kind": "Recover", "metadata": {"name": back, "namespace": namespace}, "spec": spec});
    house.apply(&recover.to_string()).await.ok();
}

/// Waits until every Recover there is complete.
async fn recovered(house: &House, namespace: &str) {
    let wait = "wait --for=condition=Complete --timeout=180s recovers --all";
    house.kubectl(&format!("{wait} -n {namespace}")).await;
}

/// The strongest proof that each key is there: sealed, and unsealed again, which compares what it does with its public half.
pub async fn proven(house: &House, namespace: &str, keys: &Keys) {
    ready(house, namespace).await;
    assert_eq!(&self::keys(house, namespace).await, keys);
    let delete = format!("delete hsmkeys --all -n {namespace} --timeout=120s");
    house.kubectl(&delete).await;
    for name in keys.keys() {
        asked_back(house, namespace, "HsmKey", name, json!({})).await;
    }
    recovered(house, namespace).await;
    ready(house, namespace).await;
    assert_eq!(&self::keys(house, namespace).await, keys);
}

/// Somebody who goes on making keys, and deletes and recovers every third, whatever happens to the operator.
pub struct Load {
    enough: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    task: JoinHandle<Keys>,
}

impl Load {
    pub async fn start(house: &House, namespace: &str) -> Self {
        let user = User::of(&house.plane.client().await, namespace);
        let (enough, made) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (over, count) = (enough.clone(), made.clone());
        let task = tokio::spawn(async move {
            let mut kept = Keys::new();
            while !over.load(Ordering::Relaxed) {
                let name = format!("load-{}", kept.len());
                let made = one(&user, &name, kept.len() % 3 == 2).await;
                kept.insert(name, made);
                count.store(kept.len(), Ordering::Relaxed);
            }
            kept
        });
        let load = Self { enough, made, task };
        load.goes_on().await;
        load
    }

    /// Waits for some more keys: one made before now may be among the first, one is deleted and recovered.
    pub async fn goes_on(&self) {
        let (before, began) = (self.made.load(Ordering::Relaxed), Instant::now());
        eventually("keys are made", PATIENCE, async || {
            let made = self.made.load(Ordering::Relaxed);
            if made > before + 3 || self.task.is_finished() {
                Ok(())
            } else {
                Err(format!("{made} of them"))
            }
        })
        .await;
        println!(
            "[{:5.1} s] four keys more were made, one of them deleted and recovered",
            began.elapsed().as_secs_f32()
        );
    }

    /// Every key that was ever seen ready.
    pub async fn end(self) -> Keys {
        self.goes_on().await;
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.expect("each was made and came back")
    }
}

async fn one(user: &User, name: &str, deleted: bool) -> Vec<[Value; 4]> {
    let spec = json!({"spec": {"hsm": HSM, "keyType": "EC", "curve": "P-256"}});
    user.create(KEY, name, spec).await;
    let made = user.ready(Kind::Key, name).await;
    if deleted {
        user.delete(KEY, name).await;
        user.deleted(Kind::Key, name, &uid(&made)).await;
        let spec = json!({"spec": {"kind": "HsmKey", "name": name, "uid": uid(&made)}});
        user.create(Watched::Recover, name, spec).await;
        let complete = |found: Option<&DynamicObject>| found.is_some_and(|it| is(it, "Complete"));
        user.until("recovered", Watched::Recover, name, complete)
            .await;
        let back = user.ready(Kind::Key, name).await;
        assert_eq!(material(&back), material(&made), "{name}");
    }
    material(&made)
}
