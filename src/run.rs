//! The composition root: what runs, in which order it starts, and how it stops.
//!
//! **Start.** Health and the webhook first, so that probes and API server are answered; then the API server and our kinds are waited for; then the
//! leadership; only then the controller. **Stop.** In the opposite order: the controller finishes what it has in hand, then
//! the Lease is released, then health and webhook end. **Failure.** A task that ends by itself ends the process, since a fresh start
//! mends it best; so does a lost leadership, at once and without grace.

mod backends;
mod cluster;
mod controller;
mod definitions;
mod ledger;
mod pins;
mod series;
mod socket;
mod store;
mod supervisor;
mod trial;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Limits, Timekeeper};
use crate::config::{Config, GRACE, HEALTH_GRACE, REAL_DAY};
use crate::http::{self, Readiness, Server};
use crate::leader::{self, Candidate, Leader};
use crate::metrics::Metrics;
use cluster::Clients;
use supervisor::Supervisor;

pub use ledger::{AskError, ask};
pub use store::{back_up, check, restore};
pub use supervisor::Ended;
pub use trial::trial;

/// How often the clock is compared with the API server's.
const CLOCK_EVERY: Duration = Duration::from_secs(30);

const SIGNALS: &str = "wait for signals";
const HEALTH: &str = "health server";
const CLOCK: &str = "clock's check";
const LEADER: &str = "leader election";
const WEBHOOK: &str = "webhook";
const CONTROLLER: &str = "controller";

/// Why the operator, or a trial of it, ended: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(
        "there is no cluster to work for ({0}); set KUBECONFIG to a kubeconfig, or run inside a pod with a ServiceAccount"
    )]
    NoCluster(String),
    #[error("cannot listen on {0} ({1}); free it, or choose another {2}")]
    Listen(SocketAddr, std::io::Error, &'static str),
    #[error("signals cannot be waited for ({0}), so it could not be stopped in good order")]
    Signals(std::io::Error),
    #[error(transparent)]
    Ended(#[from] Ended),
    #[error("{0}")]
    Trial(String),
}

impl RunError {
    /// What the process exits with: 2 where it was set up wrongly, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoCluster(_) => 2,
            Self::Listen(..) | Self::Signals(_) | Self::Ended(_) | Self::Trial(_) => 1,
        }
    }
}

/// What the parts share.
#[derive(Clone)]
struct Shared {
    config: Arc<Config>,
    clients: Clients,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    time: Arc<Timekeeper>,
    /// This process's own name: on the Lease and in Events.
    identity: String,
    /// Told by a signal: the controller stops, and whoever still waits.
    stop: CancellationToken,
    /// Told when the controller has ended: the Lease is released.
    release: CancellationToken,
    /// Told last.
    end: CancellationToken,
}

/// Runs until a signal says stop, or something fails.
pub async fn run(config: Config) -> Result<(), RunError> {
    tell(&config);
    let clients = Clients::infer().await.map_err(RunError::NoCluster)?;
    let address = config.metrics_addr;
    let server = listen(address, "--metrics-addr").await?;
    tracing::info!(address = %server.address(), "health and metrics are served");

    let shared = Shared::new(config, clients);
    let mut tasks = Supervisor::default();
    tasks.spawn(
        SIGNALS,
        stop_at_signal(shared.stop.clone()).map_err(RunError::Signals)?,
    );
    let router = http::router(shared.readiness.clone(), Arc::clone(&shared.metrics));
    tasks.spawn(HEALTH, server.serve(router, shared.end.clone()));
    if let Some(settings) = &shared.config.webhook {
        let server = listen(settings.address, "--webhook-addr").await?;
        tracing::info!(address = %server.address(), "the webhook is served");
        tasks.spawn(
            WEBHOOK,
            webhook::serve(shared.clone(), settings.clone(), server),
        );
    }
    tasks.spawn(CLOCK, watch_clock(shared.clone()));

    if let Some(leader) = lead(&shared, &mut tasks).await? {
        work(&shared, &mut tasks, leader).await?;
    }
    shared.end.cancel();
    let webhook = shared.config.webhook.as_ref().map(|_| WEBHOOK);
    tasks
        .finish_all([HEALTH, CLOCK].into_iter().chain(webhook), HEALTH_GRACE)
        .await
        .unwrap_or_else(|late| tracing::warn!("{late}"));
    tracing::info!("stopped in good order");
    Ok(())
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<Server, RunError> {
    let bound = Server::bind(address).await;
    bound.map_err(|error| RunError::Listen(address, error, flag))
}

fn tell(config: &Config) {
    config
        .explain()
        .iter()
        .for_each(|line| tracing::info!("{line}"));
    if config.cluster_domain != "cluster.local" {
        tracing::warn!(
            "--cluster-domain is set, but what it is for is not part of this version yet"
        );
    }
    if config.day_length != REAL_DAY {
        tracing::warn!(day = ?config.day_length, "days are short here: what is deleted is gone for good much sooner than people expect");
    }
}

impl Shared {
    fn new(config: Config, clients: Clients) -> Self {
        let limits = Limits {
            tolerance: config.clock_tolerance,
            ..Limits::default()
        };
        let metrics = Arc::new(Metrics::default());
        metrics.day_length(config.day_length);
        let readiness = Readiness::default();
        readiness.missing(cluster::PART);
        Self {
            identity: leader::identity(config.pod_name.clone(), rand::random()),
            config: Arc::new(config),
            clients,
            metrics,
            readiness,
            time: Arc::new(Timekeeper::new(Clock::real(), limits)),
            stop: CancellationToken::new(),
            release: CancellationToken::new(),
            end: CancellationToken::new(),
        }
    }
}

/// Waits for the cluster, then for the leadership. None: told to stop before.
async fn lead(shared: &Shared, tasks: &mut Supervisor) -> Result<Option<Leader>, Ended> {
    let kinds = cluster::wait_for_our_kinds(&shared.clients.normal);
    let there = tasks.beside(shared.stop.run_until_cancelled(kinds)).await?;
    if there.is_none() {
        return Ok(None);
    }
    // A standby is ready too, or a rolling update would wait for it forever.
    shared.readiness.there(cluster::PART);
    let settings = leader::Settings {
        namespace: shared.config.namespace.clone(),
        name: shared.config.lease_name.clone(),
        identity: shared.identity.clone(),
        times: shared.config.lease_times,
    };
    let candidate = Candidate::new(
        shared.clients.without_retries.clone(),
        settings,
        shared.time.clock().clone(),
    );
    tasks.beside(candidate.acquire(&shared.stop)).await
}

/// Leads and works until told to stop, then ends in good order: nothing works any more when the Lease is released.
async fn work(shared: &Shared, tasks: &mut Supervisor, leader: Leader) -> Result<(), Ended> {
    tracing::info!("this process leads");
    shared.metrics.leads(true);
    let release = shared.release.clone();
    tasks.spawn(LEADER, async move { leader.keep(&release).await });
    tasks.spawn(CONTROLLER, controller::start(shared.clone()));

    tasks.beside(shared.stop.cancelled()).await?;
    tracing::info!("told to stop: finishing what is under way");
    tasks.finish(CONTROLLER, GRACE).await?;
    shared.metrics.leads(false);
    shared.release.cancel();
    tasks
        .finish(LEADER, shared.config.lease_times.deadline)
        .await
}

/// Says stop at the first SIGTERM or SIGINT, and ends the process at the second.
fn stop_at_signal(
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = Result<(), std::convert::Infallible>>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                tracing::warn!(
                    "told to stop a second time: ending at once; the next start goes on from what it sees"
                );
                std::process::exit(130);
            }
            stop.cancel();
        }
    })
}

/// Compares the clock with the API server's again and again, and says when the verdict changes.
async fn watch_clock(shared: Shared) -> Result<(), std::convert::Infallible> {
    let mut told = None;
    let forever = async {
        loop {
            let asked = shared.time.ask(&shared.clients.without_retries).await;
            let verdict = shared.time.trusted_now().map(|_| ());
            shared.metrics.clock_trusted(verdict.is_ok());
            if told != Some(verdict.is_ok()) {
                match (&verdict, asked) {
                    (Ok(()), _) => {
                        tracing::info!("the clock is trusted: it agrees with the API server's")
                    }
                    (Err(doubt), Err(error)) => {
                        tracing::warn!(%error, "the clock is not trusted, so nothing is purged: {doubt}")
                    }
                    (Err(doubt), Ok(())) => {
                        tracing::warn!("the clock is not trusted, so nothing is purged: {doubt}")
                    }
                }
                told = Some(verdict.is_ok());
            }
            // Until it is trusted for the first time, sooner.
            let pause = if verdict.is_ok() {
                CLOCK_EVERY
            } else {
                CLOCK_EVERY / 15
            };
            tokio::time::sleep(pause).await;
        }
    };
    let () = shared.end.run_until_cancelled(forever).await.unwrap_or(());
    Ok(())
}
