//! Many keys through a whole life at once: how long each part takes, and how many requests it costs, on a real control plane.
//! The backend is the reference in memory, so that what is seen is the operator's own and the API server's. KEYS=… says how many keys.

#[path = "../tests/operator/mod.rs"]
mod operator;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Client, ResourceExt};
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use operator::Build;
use serde_json::{Value, json};
use testplane::{Options, borrow};

const NAMESPACE: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(600);
const KEY: Watched = Watched::Object(Kind::Key);
const PROXY: Watched = Watched::Proxy(Kind::Key);

struct Bench {
    client: Client,
    keys: usize,
}

impl Bench {
    fn api(&self, of: Watched) -> Api<DynamicObject> {
        match of {
            Watched::Object(_) | Watched::Recover => {
                Api::namespaced_with(self.client.clone(), NAMESPACE, &of.resource())
            }
            _ => Api::all_with(self.client.clone(), &of.resource()),
        }
    }

    async fn create(&self, of: Watched, name: &str, spec: Value) {
        let mut object = DynamicObject::new(name, &of.resource());
        object.data = json!({ "spec": spec });
        let made = self.api(of).create(&PostParams::default(), &object).await;
        made.expect("created");
    }

    async fn all(&self, of: Watched) -> Vec<DynamicObject> {
        let listed = self.api(of).list(&ListParams::default()).await;
        listed.expect("a list").items
    }

    /// Waits until so many of a kind are so.
    async fn until(&self, of: Watched, count: usize, is: impl Fn(&DynamicObject) -> bool) {
        let began = Instant::now();
        while self.all(of).await.iter().filter(|found| is(found)).count() != count {
            assert!(began.elapsed() < PATIENCE, "{count} {of:?} in time");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Requests that the API server answered, by verb and resource; the benchmark's own lists and creates among them.
    async fn requests(&self) -> BTreeMap<String, f64> {
        let request = http::Request::get("/metrics")
            .body(Vec::new())
            .expect("a request");
        let text = self
            .client
            .request_text(request)
            .await
            .expect("the metrics");
        let mut counts = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| line.starts_with("apiserver_request_total{"))
        {
            let label = |name: &str| {
                let from = line.find(&format!("{name}=\""))? + name.len() + 2;
                Some(
                    line[from..]
                        .split('"')
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                )
            };
            let ours = label("group").is_some_and(|group| {
                group.is_empty() || group == "managedhsm.dev" || group == "apiextensions.k8s.io"
            });
            let (verb, resource) = (label("verb"), label("resource"));
            if let (true, Some(verb), Some(resource)) = (
                ours && label("verb").as_deref() != Some("WATCH"),
                verb,
                resource,
            ) {
                let count: f64 = line
                    .rsplit(' ')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0.0);
                *counts.entry(format!("{verb} {resource}")).or_default() += count;
            }
        }
        counts
    }

    async fn part(&self, what: &str, run: impl Future<Output = ()>) {
        let (before, began) = (self.requests().await, Instant::now());
        run.await;
        let took = began.elapsed();
        let after = self.requests().await;
        let each = |name: &String, count: &f64| {
            (count - before.get(name).unwrap_or(&0.0)) / self.keys as f64
        };
        let mut most: Vec<_> = after
            .iter()
            .map(|(name, count)| (each(name, count), name))
            .collect();
        let sum: f64 = most.iter().map(|(count, _)| count).sum();
        most.sort_by(|one, other| other.0.total_cmp(&one.0));
        let shown: Vec<_> = most
            .iter()
            .take(6)
            .filter(|(count, _)| *count >= 0.05)
            .map(|(count, name)| format!("{name} {count:.1}"))
            .collect();
        println!(
            "{what:<28} {:>7.2} s  {:>6.1} keys/s  {sum:>5.1} requests a key: {}",
            took.as_secs_f64(),
            self.keys as f64 / took.as_secs_f64(),
            shown.join(", ")
        );
    }
}

fn ready(found: &DynamicObject) -> bool {
    operator::condition(found, "Ready").is_some_and(|(is, ..)| is == "True")
}

fn settled(found: &DynamicObject) -> bool {
    found.data["status"]["recordGeneration"].is_i64() && found.data["status"]["phase"].is_null()
}

#[tokio::main]
async fn main() {
    let keys = std::env::var("KEYS")
        .ok()
        .and_then(|keys| keys.parse().ok())
        .unwrap_or(200);
    let plane = borrow(Options::default()).await;
    plane
        .kubectl(&["create", "namespace", NAMESPACE], "")
        .await
        .ok();
    let mut build = Build::new(&plane, MemoryBackend::new()).await;
    build.threads = 4;
    // Long enough that nothing is due while it is still being deleted.
    build.settings.day = chrono::Duration::seconds(5);
    let _operator = build.start().await;
    let bench = Bench {
        client: plane.client().await,
        keys,
    };
    println!("{keys} keys in one HSM, all at once:");

    bench
        .create(
            Watched::Object(Kind::Hsm),
            "safe",
            json!({"retentionDays": 7}),
        )
        .await;
    bench.until(Watched::Object(Kind::Hsm), 1, ready).await;
    let spec = json!({"hsm": "safe", "keyType": "EC", "curve": "P-256"});
    bench
        .part("create until Ready", async {
            for number in 0..keys {
                bench
                    .create(KEY, &format!("key-{number}"), spec.clone())
                    .await;
            }
            bench.until(KEY, keys, ready).await;
        })
        .await;
    let delete = async || {
        let (keys_of_it, how, which) = (
            bench.api(KEY),
            DeleteParams::default(),
            ListParams::default(),
        );
        let deleted = keys_of_it.delete_collection(&how, &which).await;
        deleted.expect("deleted");
        bench.until(KEY, 0, |_| true).await;
        bench.until(PROXY, keys, settled).await;
    };
    bench.part("delete until settled", delete()).await;
    bench
        .part("recover until Complete", async {
            for proxy in bench.all(PROXY).await {
                let origin = &proxy.data["spec"]["origin"];
                let spec = json!({"kind": "HsmKey", "name": origin["name"], "uid": origin["uid"]});
                bench
                    .create(
                        Watched::Recover,
                        &format!("back-{}", proxy.name_any().replace('.', "-")),
                        spec,
                    )
                    .await;
            }
            bench.until(PROXY, 0, |_| true).await;
            bench.until(KEY, keys, ready).await;
        })
        .await;
    bench.part("delete again", delete()).await;
    bench
        .part("the end of retention", async {
            bench.until(PROXY, 0, |_| true).await;
        })
        .await;
}
