//! What unit tests of the controller share: all that a pass needs, over a backend in memory and a client of the test's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::Client;

use super::cluster::Cluster;
use super::{Context, alarm, etcd, index, loading, policies, queue, refusals, tell};
use crate::backend::HsmBackend;
use crate::backend::memory::MemoryBackend;
use crate::backend::pool::Pool;
use crate::clock::{Clock, Limits, Timekeeper};
use crate::metrics::Metrics;
use crate::plan::observed::{Material, Observed, PurgeLook, Terms};
use crate::plan::{Lineage, Settings};
use crate::softdelete::Kind;
use crate::softdelete::examples::at;
use crate::softdelete::permission::Policies;

/// The caches are empty, the backend is `default`.
pub fn context(client: Client, backend: &MemoryBackend) -> Context {
    let metrics = Arc::new(Metrics::new(|_| {}));
    let queue = queue::Queue::new(queue::Settings::default(), Arc::clone(&metrics), || 0.0);
    let module: Arc<dyn HsmBackend> = Arc::new(backend.clone());
    Context {
        cluster: Cluster::new(client.clone(), HashMap::new()),
        backends: BTreeMap::from([("default".to_owned(), module)]),
        quotas: BTreeMap::new(),
        policies: policies::Policies::new(Arc::new(|_, _| {
            Ok(chrono::DateTime::<chrono::Utc>::MIN_UTC)
        })),
        alarm: alarm::Alarm::new(alarm::Settings {
            mass_deletion: 50,
            lease: k8s_openapi::api::core::v1::ObjectReference::default(),
        }),
        pool: Pool::new(1).expect("a thread"),
        index: index::Index::default(),
        time: Arc::new(Timekeeper::new(Clock::real(), Limits::default())),
        settings: settings(),
        pins_kept: "nowhere".to_owned(),
        waker: queue.waker(),
        teller: tell::Teller::new(client, "test".into(), Arc::clone(&metrics)),
        metrics,
        purge_slot: tokio::sync::Mutex::default(),
        etcd: etcd::Etcd::default(),
        loading: loading::Loading::default(),
        counted: std::sync::Mutex::default(),
        refusals: refusals::Refusals::default(),
        #[cfg(feature = "faults")]
        stops: super::Stops::default(),
    }
}

fn settings() -> Settings {
    Settings {
        cluster: "c-1".into(),
        undeletable: false,
        quorum: 1,
        purge_rate: 10,
        day: chrono::Duration::days(1),
        adopts: None,
        history: chrono::Duration::days(365),
    }
}

/// Nothing is there of `payments/prod`.
pub fn seen(kind: Kind) -> Observed {
    Observed {
        now: at(0),
        clock_trusted: true,
        settings: settings(),
        lineage: Lineage::new(kind, "payments", "prod"),
        backend: "default".into(),
        namespace: None,
        object: None,
        proxy: None,
        recovers: Vec::new(),
        purges: Vec::new(),
        records: Vec::new(),
        material: Material::NotLooked,
        hsm: None,
        namesakes: Vec::new(),
        keys: Vec::new(),
        ended: BTreeMap::new(),
        terms: Terms::FREE,
        policies: Policies::Since(chrono::DateTime::<chrono::Utc>::MIN_UTC),
        purging: PurgeLook::default(),
        refused: None,
    }
}
