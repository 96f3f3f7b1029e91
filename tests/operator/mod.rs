//! An operator of its own inside the test process, on a control plane that others may share, and how a test looks at what it did.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use managed_hsm_operator::backend::HsmBackend;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::backend::pool::Pool;
use managed_hsm_operator::clock::{Clock, Limits, Timekeeper};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::controller::ledger::{Answer, Asked, Wish};
use managed_hsm_operator::controller::quota::Quota;
use managed_hsm_operator::controller::{self, Parts, alarm, policies, queue};
use managed_hsm_operator::metrics::Metrics;
use managed_hsm_operator::plan::Settings;
use managed_hsm_operator::softdelete::Uid;
use testplane::{Plane, eventually};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const SOON: Duration = Duration::from_secs(30);

/// The operator's controller in this process. It stops when it is dropped.
pub struct Operator {
    pub backend: MemoryBackend,
    pub metrics: Arc<Metrics>,
    /// What it goes by: a test may compare it with a clock of its own.
    pub time: Arc<Timekeeper>,
    wishes: mpsc::Sender<Asked>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

impl Operator {
    pub async fn start(plane: &Plane, backend: MemoryBackend) -> Self {
        Build::new(plane, backend).await.start().await
    }

    /// One that stops where it is told.
    #[cfg(feature = "faults")]
    pub async fn with_stops(
        plane: &Plane,
        backend: &MemoryBackend,
        stops: &controller::stops::Stops,
    ) -> Self {
        let build = Build::new(plane, backend.clone()).await;
        build.with_stops(stops).start().await
    }

    /// Asks of the records, as a `ledger` command does.
    pub async fn ask(&self, wish: Wish) -> Answer {
        ask(&self.wishes, wish).await
    }

    pub fn wishes(&self) -> mpsc::Sender<Asked> {
        self.wishes.clone()
    }

    /// Stops at once, wherever it is: what a crash leaves.
    pub fn kill(self) -> MemoryBackend {
        self.task.abort();
        self.backend.clone()
    }

    /// The same, and nothing of it runs any more. What was held in memory only is lost.
    pub async fn crash(mut self) -> MemoryBackend {
        self.task.abort();
        _ = (&mut self.task).await;
        self.backend.restart();
        self.backend.clone()
    }
}

/// An operator before it starts.
pub struct Build {
    pub client: Client,
    pub backend: MemoryBackend,
    /// By their names in an HSM's spec; `backend` is `default`.
    pub backends: BTreeMap<String, Arc<dyn HsmBackend>>,
    pub quotas: BTreeMap<String, Quota>,
    /// Believed, where who asks is not what a test is about.
    pub policies: policies::Compare,
    pub alarm: alarm::Settings,
    pub threads: usize,
    pub queue: queue::Settings,
    pub settings: Settings,
    /// The clock was compared with the API server's before the start, and agreed.
    pub clock_compared: bool,
    #[cfg(feature = "faults")]
    pub stops: controller::stops::Stops,
}

impl Build {
    pub async fn new(plane: &Plane, backend: MemoryBackend) -> Self {
        Self::on(plane.client().await, backend).await
    }

    pub async fn on(client: Client, backend: MemoryBackend) -> Self {
        Self {
            settings: Settings {
                cluster: cluster_id(&client).await,
                undeletable: false,
                quorum: 1,
                // Many tests purge at once.
                purge_rate: 1_000_000,
                day: chrono::Duration::days(1),
                adopts: None,
                history: chrono::Duration::days(365),
            },
            client,
            backends: BTreeMap::from([(
                "default".to_owned(),
                Arc::new(backend.clone()) as Arc<dyn HsmBackend>,
            )]),
            backend,
            quotas: BTreeMap::new(),
            policies: Arc::new(|_, _| Ok(chrono::DateTime::<chrono::Utc>::MIN_UTC)),
            alarm: alarm::Settings {
                mass_deletion: 50,
                lease: k8s_openapi::api::core::v1::ObjectReference::default(),
            },
            threads: 2,
            clock_compared: true,
            queue: queue::Settings::default(),
            #[cfg(feature = "faults")]
            stops: controller::stops::Stops::default(),
        }
    }

    /// It stops where it is told, with room for every lineage that stands somewhere.
    #[cfg(feature = "faults")]
    pub fn with_stops(mut self, stops: &controller::stops::Stops) -> Self {
        self.queue.concurrency = 1000;
        self.threads = 4;
        self.stops = stops.clone();
        self
    }

    pub async fn start(self) -> Operator {
        // What a failed test shows of the operator's own story; RUST_LOG widens it.
        _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        // As the executable does: a clock that was never compared is not trusted, and then no deletion's own date is.
        let time = Arc::new(Timekeeper::new(Clock::real(), Limits::default()));
        if self.clock_compared {
            let asked = time.ask(&self.client).await;
            asked.expect("the API server says what time it is");
        }
        let metrics = Arc::new(Metrics::new(|_| {}));
        let (wishes, asked) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let parts = Parts {
            writer: self.client.clone(),
            client: self.client,
            pool: Pool::new(self.threads).expect("threads"),
            time: Arc::clone(&time),
            settings: self.settings,
            pins_kept: "nowhere".to_owned(),
            backends: self.backends,
            quotas: self.quotas,
            policies: self.policies,
            alarm: self.alarm,
            metrics: Arc::clone(&metrics),
            queue: self.queue,
            instance: "test".into(),
            wishes: asked,
        };
        let (ready, is_ready) = oneshot::channel();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let ready = move || _ = ready.send(());
            #[cfg(not(feature = "faults"))]
            let ended = controller::run(parts, ready, stopped).await;
            #[cfg(feature = "faults")]
            let ended = controller::run_with_stops(parts, self.stops, ready, stopped).await;
            assert!(ended.is_ok(), "the controller ended: {ended:?}");
        });
        is_ready.await.expect("the controller becomes ready");
        Operator {
            backend: self.backend,
            metrics,
            time,
            wishes,
            stop,
            task,
        }
    }
}

/// Asks of the records, as a `ledger` command does.
pub async fn ask(wishes: &mpsc::Sender<Asked>, wish: Wish) -> Answer {
    let (answers, answer) = oneshot::channel();
    wishes.send((wish, answers)).await.expect("it works");
    answer.await.expect("it answers")
}

async fn cluster_id(client: &Client) -> Uid {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let found = eventually("kube-system is there", SOON, async || {
        namespaces
            .get("kube-system")
            .await
            .map_err(|error| error.to_string())
    })
    .await;
    Uid(found.metadata.uid.expect("a uid"))
}

/// One object, as it is now.
pub async fn get(
    plane: &Plane,
    of: Watched,
    namespace: Option<&str>,
    name: &str,
) -> Option<DynamicObject> {
    let resource: ApiResource = of.resource();
    let client = plane.client().await;
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    api.get_opt(name).await.expect("a GET")
}

/// The status and reason of one condition.
pub fn condition(object: &DynamicObject, kind: &str) -> Option<(String, String, String)> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Waits until an object's condition has that status, and answers the object.
pub async fn until(
    plane: &Plane,
    of: Watched,
    namespace: Option<&str>,
    name: &str,
    kind: &str,
    status: &str,
    reason: &str,
) -> DynamicObject {
    let what = format!("{name}: {kind}={status} ({reason})");
    eventually(&what, SOON, async || {
        match get(plane, of, namespace, name).await {
            None => Err("it is not there".to_owned()),
            Some(found) => match condition(&found, kind) {
                Some((is, why, _)) if is == status && (reason.is_empty() || why == reason) => {
                    Ok(found)
                }
                _ => Err(serde_json::to_string(&found.data["status"]).unwrap_or_default()),
            },
        }
    })
    .await
}

/// Waits until an object is gone.
pub async fn gone(plane: &Plane, of: Watched, namespace: Option<&str>, name: &str) {
    eventually(&format!("{name} is gone"), SOON, async || {
        match get(plane, of, namespace, name).await {
            None => Ok(()),
            Some(found) => Err(serde_json::to_string(&found).unwrap_or_default()),
        }
    })
    .await;
}
