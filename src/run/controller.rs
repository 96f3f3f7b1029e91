//! Where the controller is started, once this process leads: the backends are opened now, and by nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Shared;
use crate::backend::HsmBackend;
use crate::backend::TokenLabel;
use crate::backend::pkcs11::OpenError;
use crate::backend::pool::Pool;
use crate::config::Config;
use crate::config::backends::{Backend, Store};
use crate::controller::{self, Failure, Parts, queue};
use crate::plan::{Settings, ids};
use crate::softdelete::Uid;

/// Threads for calls on a module: it works on one thing at a time in a token, on several tokens side by side.
const THREADS: usize = 4;

const PART: &str = "the caches";

/// Why the controller did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControllerError {
    #[error("the backend {0} cannot be opened: {1}")]
    Open(String, OpenError),
    #[error(
        "the backend {0} is a PKCS#11 module by path, which this version cannot open yet; use the embedded one"
    )]
    NotYet(String),
    #[cfg(not(feature = "embedded"))]
    #[error(
        "the backend {0} needs the embedded soft token, which this executable was built without"
    )]
    NotEmbedded(String),
    #[error("the backend's threads cannot be started: {0}")]
    Threads(std::io::Error),
    #[error(
        "the namespace kube-system, which names the cluster, is not there; without it no material can be told to be this cluster's"
    )]
    NoClusterId,
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// Works until told to stop.
pub(super) async fn start(shared: Shared) -> Result<(), ControllerError> {
    shared.readiness.missing(PART);
    let config = &shared.config;
    let client = shared.clients.normal.clone();
    let cluster = controller::cluster::id(&client)
        .await
        .map_err(Failure::from)?
        .ok_or(ControllerError::NoClusterId)?;
    let parts = Parts {
        client,
        backends: open(config).await?,
        pool: Pool::new(THREADS).map_err(ControllerError::Threads)?,
        time: Arc::clone(&shared.time),
        settings: settings(config, Uid(cluster)),
        metrics: Arc::clone(&shared.metrics),
        queue: queue::Settings {
            concurrency: config.concurrency,
            ..queue::Settings::default()
        },
        instance: config
            .pod_name
            .clone()
            .unwrap_or_else(|| "local".to_owned()),
    };
    let readiness = shared.readiness.clone();
    controller::run(parts, move || readiness.there(PART), shared.stop.clone()).await?;
    Ok(())
}

fn settings(config: &Config, cluster: Uid) -> Settings {
    Settings {
        cluster,
        undeletable: config.undeletable,
        quorum: config.purge_quorum as usize,
        day: chrono::Duration::from_std(config.day_length)
            .unwrap_or(crate::softdelete::retention::DAY),
        backends: config
            .backends
            .iter()
            .map(|backend| backend.name.clone())
            .collect(),
    }
}

/// Opening reads every slot's file: off the runtime.
async fn open(
    config: &Arc<Config>,
) -> Result<BTreeMap<String, Arc<dyn HsmBackend>>, ControllerError> {
    let config = Arc::clone(config);
    let opened = tokio::task::spawn_blocking(move || {
        let each = |backend: &Backend| Ok((backend.name.clone(), open_one(&config, backend)?));
        config.backends.iter().map(each).collect()
    });
    opened
        .await
        .unwrap_or_else(|error| Err(ControllerError::Threads(std::io::Error::other(error))))
}

fn open_one(config: &Config, backend: &Backend) -> Result<Arc<dyn HsmBackend>, ControllerError> {
    match &backend.store {
        Store::Embedded => embedded(config, backend),
        Store::Pkcs11 { .. } => Err(ControllerError::NotYet(backend.name.clone())),
    }
}

#[cfg(feature = "embedded")]
fn embedded(config: &Config, backend: &Backend) -> Result<Arc<dyn HsmBackend>, ControllerError> {
    use crate::backend::pkcs11::{PinPaths, embedded};
    let store = embedded::Config {
        data_dir: config.data_dir.clone(),
        pins: backend.pins.as_ref().map_or_else(
            || PinPaths::in_folder(&config.pin_dir),
            |files| PinPaths {
                so: files.so_pin_file.clone(),
                user: files.user_pin_file.clone(),
            },
        ),
        max_tokens: backend.slots as usize,
        max_keys: backend.max_keys_per_hsm as usize,
    };
    let keep = |records: &[crate::backend::Stored]| {
        ids::tokens_to_keep(records)
            .map(|labels| labels.into_iter().map(TokenLabel).collect::<BTreeSet<_>>())
    };
    let module = embedded::open(&store, keep)
        .map_err(|error| ControllerError::Open(backend.name.clone(), error))?;
    Ok(Arc::new(module))
}

#[cfg(not(feature = "embedded"))]
fn embedded(_config: &Config, backend: &Backend) -> Result<Arc<dyn HsmBackend>, ControllerError> {
    Err(ControllerError::NotEmbedded(backend.name.clone()))
}
