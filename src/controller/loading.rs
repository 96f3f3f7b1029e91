//! The ledgers are read in one pass at the start, for lists and names. One that is away then is read once it answers; until that nothing of it is known, and
//! whatever is in it shows so (SD-28).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Context, Failure, etcd, observe};
use crate::backend::BackendError;

/// How often a ledger that is away is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// One that hangs is no reason for the others to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// The backends whose ledger was not read yet, with the reason.
#[derive(Default)]
pub struct Loading(Mutex<BTreeMap<String, String>>);

impl Loading {
    /// Why nothing is known of that backend.
    pub fn why(&self, backend: &str) -> Option<String> {
        self.missing().get(backend).cloned()
    }

    /// Every ledger was read.
    pub fn is_over(&self) -> bool {
        self.missing().is_empty()
    }

    /// A map is whole at any moment, so a lock that a panic left behind is still good.
    fn missing(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads every ledger that answers, and wakes what it names.
pub async fn begin(context: &Context) {
    let all: Vec<_> = context.backends.keys().cloned().collect();
    read(context, &all).await;
}

/// Reads those that were away, once they answer; then there is nothing left to do.
pub async fn keep(context: &Context) {
    loop {
        let missing: Vec<_> = context.loading.missing().keys().cloned().collect();
        if missing.is_empty() {
            return std::future::pending().await;
        }
        tokio::time::sleep(AGAIN).await;
        read(context, &missing).await;
    }
}

async fn read(context: &Context, backends: &[String]) {
    for backend in backends {
        match read_one(context, backend).await {
            Ok(()) => {
                context.loading.missing().remove(backend);
            }
            Err(failure) => {
                let before = context.loading.why(backend);
                if before.is_none() {
                    tracing::warn!(backend, %failure, "the ledger cannot be read; it is tried again until it can, and what is in it waits");
                }
                let mut missing = context.loading.missing();
                missing.insert(backend.clone(), failure.to_string());
            }
        }
    }
    context.wake_recorded();
}

async fn read_one(context: &Context, backend: &str) -> Result<(), Failure> {
    let Some(module) = context.backends.get(backend) else {
        return Ok(());
    };
    let listed = observe::list(context, module, backend);
    tokio::time::timeout(PATIENCE, listed)
        .await
        .unwrap_or_else(|_| {
            let why = "it does not answer".to_owned();
            Err(BackendError::Unavailable(why).into())
        })?;
    let revision = context
        .pool
        .run(module.clone(), |module| module.revision())
        .await?;
    context.etcd.known_of(revision);
    etcd::look(context).await?;
    Ok(())
}
