//! The commands on the records: they ask the operator that runs; where none does they take the Lease and the store themselves, for as long as one question takes.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::cluster::{Clients, wait_for_our_kinds};
use super::{Shared, controller, socket};
use crate::config::Config;
use crate::controller::ledger::{Answer, Wish};
use crate::leader::{self, Candidate};

/// How long the API server is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a question got no answer: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "the operator's socket {0} does not answer ({1}); look whether the operator works, and ask as the user that it runs as"
    )]
    Socket(String, std::io::Error),
    #[error(
        "no operator listens here, and there is no cluster to find the leader by ({0}); run this where the operator runs, or set KUBECONFIG"
    )]
    NoCluster(String),
    #[error(
        "no operator listens here, and the API server does not answer with the operator's kinds; run this where the operator runs, or look at the API server"
    )]
    NoApiServer,
    #[error(
        "no operator listens here, but another one leads by the Lease {0}; ask that one where it runs, such as with kubectl exec in its pod"
    )]
    AnotherLeads(String),
    #[error("{0}")]
    Alone(String),
}

/// Asks whoever has the records, or looks itself.
pub async fn ask(config: Config, wish: Wish) -> Result<Answer, AskError> {
    let (folder, asked) = (config.data_dir.clone(), wish.clone());
    let shown = socket::path(&folder).display().to_string();
    let socket = tokio::task::spawn_blocking(move || socket::ask(&folder, &asked)).await;
    match socket {
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) => alone(config, wish).await,
        Ok(Err(error)) => Err(AskError::Socket(shown, error)),
        Err(panicked) => Err(AskError::Alone(panicked.to_string())),
    }
}

async fn alone(config: Config, wish: Wish) -> Result<Answer, AskError> {
    let clients = Clients::infer().await.map_err(AskError::NoCluster)?;
    let shared = Shared::new(config, clients);
    let kinds = wait_for_our_kinds(&shared.clients.normal);
    tokio::time::timeout(PATIENCE, kinds)
        .await
        .map_err(|_| AskError::NoApiServer)?;
    let settings = leader::Settings {
        namespace: shared.config.namespace.clone(),
        name: shared.config.lease_name.clone(),
        identity: shared.identity.clone(),
        times: shared.config.lease_times,
    };
    let lease = format!("{}/{}", settings.namespace, settings.name);
    // A leader that is gone keeps the Lease for so long.
    let longest = settings.times.lease + settings.times.retry * 3;
    let candidate = Candidate::new(
        shared.clients.without_retries.clone(),
        settings,
        shared.time.clock().clone(),
    );
    let never = CancellationToken::new();
    let Ok(Some(leader)) = tokio::time::timeout(longest, candidate.acquire(&never)).await else {
        return Err(AskError::AnotherLeads(lease));
    };
    let release = CancellationToken::new();
    let keep = leader.keep(&release);
    tokio::pin!(keep);
    let answer = tokio::select! {
        kept = &mut keep => return Err(AskError::Alone(match kept {
            Ok(()) => "the Lease was given back too early; ask again".to_owned(),
            Err(lost) => lost.to_string(),
        })),
        answer = leading(&shared, wish) => answer,
    };
    release.cancel();
    // Where it cannot be given back it runs out by itself.
    _ = keep.await;
    answer.map_err(AskError::Alone)
}

async fn leading(shared: &Shared, wish: Wish) -> Result<Answer, String> {
    let asked = shared.time.ask(&shared.clients.without_retries).await;
    asked.map_err(|error| error.to_string())?;
    let (_, nobody) = mpsc::channel(1);
    let parts = controller::parts(shared, nobody)
        .await
        .map_err(|failure| failure.to_string())?;
    crate::controller::answer(parts, wish)
        .await
        .map_err(|failure| failure.to_string())
}
