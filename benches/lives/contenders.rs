//! Whole lives, 64 at a time: the operator, a raw loop that sends only the writes that a life needs, and kube's own `Controller`
//! with its `finalizer` helper, which looks at nothing but its cache.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::watcher;
use managed_hsm_operator::api::{FINALIZER, HsmKey};
use managed_hsm_operator::backend::memory::MemoryBackend;
use serde_json::{Value, json};
use testplane::{Options, borrow};

use crate::bench::{Bench, KEY, PROXY, api};
use crate::operator::Build;

const AT_ONCE: usize = 64;

pub async fn run(lives: usize) {
    println!(
        "\nWhole lives (create, Ready, delete, proxy complete), {AT_ONCE} at a time, {lives} of each, on memory:\n"
    );
    println!("| who                      |    s | lives/s | beside the raw loop |");
    println!("|:-------------------------|-----:|--------:|--------------------:|");
    let raw = raw(lives).await;
    shown("raw loop, writes only", lives, raw, raw);
    let ours = ours(lives).await;
    shown("the operator", lives, ours, raw);
    let stock = stock(lives).await;
    shown("kube's Controller, finalizer()", lives, stock, raw);
}

fn shown(who: &str, lives: usize, took: Duration, raw: Duration) {
    println!(
        "| {who:<24} | {:>4.1} | {:>7.1} | {:>19.2} |",
        took.as_secs_f64(),
        lives as f64 / took.as_secs_f64(),
        raw.as_secs_f64() / took.as_secs_f64()
    );
}

async fn ours(lives: usize) -> Duration {
    let plane = borrow(Options::default()).await;
    let mut build = Build::new(&plane, MemoryBackend::new()).await;
    build.queue.concurrency = AT_ONCE;
    build.threads = 4;
    let _operator = build.start().await;
    let bench = Bench::with_hsm(&plane, "lives", 7).await;
    as_users(&bench, lives).await
}

/// What users do: a key, and once it is ready its deletion.
async fn as_users(bench: &Bench, lives: usize) -> Duration {
    let began = Instant::now();
    each(lives, |number| {
        let bench = bench.clone();
        async move {
            let name = format!("key-{number}");
            bench.create_key(&name).await;
            bench.key_is_ready(&name).await;
            bench.delete_key(&name).await;
            bench.key_is_deleted(&name).await;
        }
    })
    .await;
    began.elapsed()
}

async fn each<F: Future<Output = ()> + Send + 'static>(lives: usize, live: impl Fn(usize) -> F) {
    let all = futures::stream::iter((0..lives).map(|number| tokio::spawn(live(number))));
    all.buffer_unordered(AT_ONCE)
        .for_each(|ended| async move { ended.expect("a life") })
        .await;
}

async fn raw(lives: usize) -> Duration {
    let plane = borrow(Options::default()).await;
    plane
        .kubectl(&["create", "namespace", "lives"], "")
        .await
        .ok();
    let client = plane.client().await;
    let began = Instant::now();
    each(lives, |number| {
        raw_life(client.clone(), format!("key-{number}"))
    })
    .await;
    began.elapsed()
}

async fn raw_life(client: Client, name: String) {
    let (keys, proxies) = (api(&client, KEY, "lives"), api(&client, PROXY, "lives"));
    let how = PatchParams::default();
    let mut key = DynamicObject::new(&name, &KEY.resource());
    key.data = json!({"spec": {"hsm": "safe", "keyType": "EC", "curve": "P-256"}});
    keys.create(&PostParams::default(), &key)
        .await
        .expect("a key");
    let finalizers = |these: Value| Patch::Merge(json!({"metadata": {"finalizers": these}}));
    let held = keys
        .patch(&name, &how, &finalizers(json!([FINALIZER])))
        .await
        .expect("a finalizer");
    keys.patch_status(&name, &how, &Patch::Merge(ready()))
        .await
        .expect("a status");
    keys.delete(&name, &Default::default())
        .await
        .expect("a delete");
    proxies
        .create(&PostParams::default(), &proxy(&held))
        .await
        .expect("a proxy");
    let complete = Patch::Merge(json!({"status": {"recordGeneration": 2}}));
    proxies
        .patch_status(&format!("lives.{name}"), &how, &complete)
        .await
        .expect("a proxy's status");
    keys.patch(&name, &how, &finalizers(json!(null)))
        .await
        .expect("no finalizer");
}

fn ready() -> Value {
    json!({"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Ready",
        "message": "The key is ready.", "lastTransitionTime": "2026-03-01T00:00:00Z", "observedGeneration": 1}]}})
}

fn proxy(of: &DynamicObject) -> DynamicObject {
    let name = of.metadata.name.clone().unwrap_or_default();
    let mut made = DynamicObject::new(&format!("lives.{name}"), &PROXY.resource());
    made.data = json!({"spec": {
        "origin": {"namespace": "lives", "namespaceUid": "n", "name": name, "uid": of.metadata.uid},
        "backend": "default", "hsmId": "h", "hsm": "safe", "keyName": name, "versions": [],
        "deletionTime": "2026-03-01T00:00:00Z", "scheduledPurgeTime": "2026-03-08T00:00:00Z", "retentionDays": 7,
        "purgeProtection": false, "recoveryLevel": "CustomizedRecoverable+Purgeable",
        "snapshot": {"apiVersion": "managedhsm.dev/v1alpha1", "spec": of.data["spec"]}}});
    made
}

async fn stock(lives: usize) -> Duration {
    let plane = borrow(Options::default()).await;
    let client = plane.client().await;
    let controller = Controller::new(
        Api::<HsmKey>::all(client.clone()),
        watcher::Config::default(),
    );
    let work = controller.run(
        stock_pass,
        |_, _: &kube::runtime::finalizer::Error<kube::Error>, _| {
            Action::requeue(Duration::from_millis(200))
        },
        Arc::new(client),
    );
    let working = tokio::spawn(work.for_each(|_| std::future::ready(())));
    let bench = Bench::new(&plane, "lives").await;
    let took = as_users(&bench, lives).await;
    working.abort();
    took
}

async fn stock_pass(
    key: Arc<HsmKey>,
    client: Arc<Client>,
) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
    let keys = Api::<HsmKey>::namespaced((*client).clone(), "lives");
    finalizer(&keys, FINALIZER, key, |event| {
        stock_step((*client).clone(), event)
    })
    .await
}

async fn stock_step(client: Client, event: Event<HsmKey>) -> Result<Action, kube::Error> {
    let how = PatchParams::default();
    match event {
        Event::Apply(key) => {
            let done = key
                .status
                .as_ref()
                .is_some_and(|status| !status.conditions.is_empty());
            if !done {
                let name = key.metadata.name.clone().unwrap_or_default();
                let keys = api(&client, KEY, "lives");
                keys.patch_status(&name, &how, &Patch::Merge(ready()))
                    .await?;
            }
        }
        Event::Cleanup(key) => {
            let text = serde_json::to_value(&*key).map_err(kube::Error::SerdeError)?;
            let of: DynamicObject =
                serde_json::from_value(text).map_err(kube::Error::SerdeError)?;
            let (proxies, made) = (api(&client, PROXY, "lives"), proxy(&of));
            let name = made.metadata.name.clone().unwrap_or_default();
            match proxies.create(&PostParams::default(), &made).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                other => _ = other?,
            }
            let complete = Patch::Merge(json!({"status": {"recordGeneration": 2}}));
            proxies.patch_status(&name, &how, &complete).await?;
        }
    }
    Ok(Action::await_change())
}
