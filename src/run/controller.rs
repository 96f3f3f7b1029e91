//! Where the controller is started, once this process leads: only a leader opens backends.

use std::sync::Arc;

use k8s_openapi::Resource as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::mpsc;

use super::{Shared, backends, cluster, pins, series, socket};
use crate::admission::policies;
use crate::backend::pkcs11::{PinPaths, PinStore};
use crate::backend::pool::Pool;
use crate::config::Config;
use crate::controller::ledger::{Asked, Wishes};
use crate::controller::{self, Parts, alarm, queue};
use crate::manifests;
use crate::plan;
use crate::softdelete::Uid;

/// What readiness calls this part.
const PART: &str = "the controller's caches";

/// Why the controller ended or could not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(
        "the namespace kube-system, which names the cluster, is not there; without it no material can be told to be this cluster's"
    )]
    NoClusterId,
    #[error("a backend cannot be opened: {0}")]
    Backend(#[from] backends::Failure),
    #[error("the backends' threads cannot be started ({0})")]
    Threads(std::io::Error),
    #[error("{0}")]
    Controller(#[from] controller::Failure),
}

/// Works until told to stop.
pub(super) async fn start(shared: Shared) -> Result<(), Failure> {
    shared.readiness.missing(PART);
    let (wishes, asked) = mpsc::channel(1);
    let parts = parts(&shared, asked).await?;
    let readiness = shared.readiness.clone();
    let ready = move || {
        tracing::info!("the caches are filled: working");
        readiness.there(PART);
    };
    let work = controller::run(parts, ready, shared.stop.clone());
    tokio::select! {
        ended = work => Ok(ended?),
        () = answer(&shared, wishes.clone()) => Ok(()),
        () = series::keep(&shared, wishes) => Ok(()),
    }
}

/// What people ask of the records: without the socket everything else goes on.
async fn answer(shared: &Shared, wishes: mpsc::Sender<Asked>) {
    let folder = &shared.config.data_dir;
    match socket::listen(folder) {
        Ok(listener) => socket::serve(listener, wishes).await,
        Err(error) => {
            let path = socket::path(folder);
            tracing::warn!(path = %path.display(), %error, "the socket for the ledger commands cannot be made, so they work only while no operator runs; make the data folder's path shorter, or its folder writable");
            // Kept, so that nobody takes its end for the end of all questions.
            let _wishes = wishes;
            std::future::pending().await
        }
    }
}

pub(super) async fn parts(shared: &Shared, wishes: Wishes) -> Result<Parts, Failure> {
    let Config {
        backends,
        undeletable,
        purge_quorum,
        adopt_cluster_id,
        data_dir,
        pin_dir,
        pin_secret,
        day_length,
        concurrency,
        // Of the process around the controller.
        metrics_addr: _,
        webhook: _,
        backups: _,
        log_format: _,
        clock_tolerance: _,
        namespace,
        lease_name,
        lease_times: _,
        pod_name: _,
        strange_variables: _,
        purge_rate,
        mass_deletion,
        purge_history_days,
        // What uses them is not there yet; `run` warns where they are set.
        cluster_domain: _,
    } = &*shared.config;
    let client = &shared.clients.normal;
    let cluster = controller::cluster::id(client)
        .await
        .map_err(controller::Failure::from)?
        .ok_or(Failure::NoClusterId)?;
    let user = cluster::user(client)
        .await
        .map_err(controller::Failure::from)?;
    let pins_secret = pin_secret.as_deref().unwrap_or(manifests::PIN_SECRET);
    let installation = manifests::installation(user, namespace, *undeletable, pins_secret);
    let pins: Arc<dyn PinStore> = match pin_secret {
        Some(name) => Arc::new(pins::InSecret::new(client.clone(), namespace, name)),
        None => Arc::new(PinPaths::in_folder(pin_dir)),
    };
    let opened = backends::open(backends, data_dir, &pins).await?;
    let settings = plan::Settings {
        cluster: Uid(cluster),
        undeletable: *undeletable,
        quorum: usize::try_from(*purge_quorum).unwrap_or(usize::MAX),
        purge_rate: *purge_rate,
        history: chrono::Duration::days(i64::from(*purge_history_days)),
        day: chrono::TimeDelta::from_std(*day_length).unwrap_or(crate::softdelete::retention::DAY),
        adopts: adopt_cluster_id.clone().map(Uid),
    };
    Ok(Parts {
        client: shared.clients.normal.clone(),
        writer: shared.clients.without_retries.clone(),
        backends: opened,
        quotas: backends::quotas(backends),
        policies: Arc::new(move |found, bound| policies::standing(&installation, found, bound)),
        alarm: alarm::Settings {
            mass_deletion: *mass_deletion,
            lease: ObjectReference {
                api_version: Some(Lease::API_VERSION.to_owned()),
                kind: Some(Lease::KIND.to_owned()),
                namespace: Some(namespace.clone()),
                name: Some(lease_name.clone()),
                ..ObjectReference::default()
            },
        },
        pool: Pool::new(threads()).map_err(Failure::Threads)?,
        time: Arc::clone(&shared.time),
        settings,
        pins_kept: shared.config.pins_kept(),
        metrics: Arc::clone(&shared.metrics),
        queue: queue::Settings {
            concurrency: *concurrency,
            ..queue::Settings::default()
        },
        instance: shared.identity.clone(),
        wishes,
    })
}

/// A module works on the processor; more threads than twice its cores only wait for each other.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| (cores.get() * 2).clamp(4, 16))
}
