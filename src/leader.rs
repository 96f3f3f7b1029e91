//! Leader election by a Lease (`coordination.k8s.io/v1`): of several operators one works, the others stand by.
//!
//! **Flow.** [`Candidate::acquire`] waits until this process leads, [`Leader::keep`] renews until it is told to stop and then
//! releases. **Guarantees.** Every write carries the resourceVersion that it was decided on. Expiry is judged by this process's
//! monotonic clock alone. A leader that could not renew in time ends with an error, and its caller must end the process.
//! **Caveat.** A Lease is no fence: a process that was paused may act once more before it looks; preconditions on every
//! write keep that safe.

mod election;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use election::{Election, Sight, Step};
pub use election::{Loss, Times};

use crate::clock::Clock;

/// Where the Lease is, and as whom we stand.
#[derive(Clone, Debug)]
pub struct Settings {
    pub namespace: String,
    pub name: String,
    pub identity: String,
    pub times: Times,
}

/// The leadership is over, and with it the process.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the leadership is lost: the Lease {namespace}/{name}: {loss}; this process ends, so that only one leads"
)]
pub struct Lost {
    namespace: String,
    name: String,
    loss: Loss,
}

/// Who wants to lead.
pub struct Candidate {
    leases: Api<Lease>,
    settings: Settings,
    clock: Clock,
    election: Election,
    /// The Lease as it was seen last, or as the answer to our last write showed it.
    lease: Option<Lease>,
}

/// Who leads.
pub struct Leader(Candidate);

/// A name for this process alone: the pod's or the host's, and some chance, since a restarted container keeps its pod's name.
pub fn identity(pod: Option<String>, chance: u64) -> String {
    let host = || {
        hostname::get()
            .ok()
            .and_then(|name| name.into_string().ok())
    };
    format!(
        "{}_{chance:016x}",
        pod.or_else(host).unwrap_or_else(|| "operator".to_owned())
    )
}

impl Candidate {
    /// `client` should not retry by itself: a write that lands late is one that this process does not know of.
    pub fn new(client: Client, settings: Settings, clock: Clock) -> Self {
        let leases = Api::namespaced(client, &settings.namespace);
        let election = Election::new(settings.identity.clone(), settings.times);
        Self {
            leases,
            settings,
            clock,
            election,
            lease: None,
        }
    }

    /// Waits until this process leads. None: it was told to stop before.
    pub async fn acquire(mut self, stop: &CancellationToken) -> Option<Leader> {
        let mut told = None;
        loop {
            self.tell_whom_we_wait_for(&mut told);
            let step = self.look_and_act();
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                _ = step => {}
            }
            if self.election.leads() {
                return Some(Leader(self));
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(self.settings.times.retry) => {}
            }
        }
    }

    fn tell_whom_we_wait_for(&self, told: &mut Option<String>) {
        let holder = self.lease.as_ref().and_then(|lease| sight(lease).holder);
        if holder.is_some() && *told != holder {
            tracing::info!(
                holder = holder.as_deref(),
                "another process leads; standing by"
            );
            *told = holder;
        }
    }

    /// One turn. An error of the API server is told and tried again; only [`Step::Lost`] is final.
    async fn look_and_act(&mut self) -> Step {
        let patience = self.patience();
        let turn = self.turn();
        match tokio::time::timeout(patience, turn).await {
            Ok(Ok(step)) => step,
            Ok(Err(error)) => {
                tracing::warn!("{}", self.hindrance(error));
                self.lease = None;
                self.overdue()
            }
            Err(_) => {
                tracing::warn!(
                    "the API server did not answer about the Lease in time; trying again"
                );
                self.lease = None;
                self.overdue()
            }
        }
    }

    fn hindrance(&self, error: kube::Error) -> String {
        let Settings {
            namespace, name, ..
        } = &self.settings;
        let (why, way_out) = match error {
            kube::Error::Api(status) if status.code == 404 => (
                status.message,
                "create that namespace, or name another one with --namespace; ",
            ),
            kube::Error::Api(status) if [401, 403].contains(&status.code) => (
                status.message,
                "give this user the right to read and write leases there; ",
            ),
            kube::Error::Api(status) => (status.message, ""),
            error => (error.to_string(), ""),
        };
        format!(
            "the Lease {namespace}/{name} could not be read or written ({why}); {way_out}it is tried again"
        )
    }

    /// How long one turn may take: a leader's must end before its leadership does.
    fn patience(&self) -> Duration {
        let whole = self.settings.times.deadline;
        self.election
            .ends()
            .map_or(whole, |end| end.saturating_sub(self.clock.monotonic()))
    }

    /// Whether the leadership ran out while nothing could be learnt.
    fn overdue(&mut self) -> Step {
        let age = self
            .election
            .ends()
            .map(|end| (end, self.clock.monotonic()));
        match age {
            Some((end, now)) if now >= end => Step::Lost(Loss::NotRenewed(
                now.saturating_sub(end) + self.settings.times.deadline,
            )),
            _ => Step::Wait,
        }
    }

    async fn turn(&mut self) -> Result<Step, kube::Error> {
        // A leader's last write showed the Lease; if it changed since, the write's resourceVersion finds out.
        if self.lease.is_none() || !self.election.leads() {
            self.lease = self.leases.get_opt(&self.settings.name).await?;
        }
        let sight = self.lease.as_ref().map(sight);
        let step = self.election.decide(sight.as_ref(), self.clock.monotonic());
        match step {
            Step::Create | Step::Take | Step::Renew => self.write(&step).await?,
            Step::Wait | Step::Lost(_) => {}
        }
        Ok(step)
    }

    async fn write(&mut self, step: &Step) -> Result<(), kube::Error> {
        let wanted = self.wanted(step);
        let sent = self.clock.monotonic();
        let written = match step {
            Step::Create => self.leases.create(&PostParams::default(), &wanted).await,
            _ => {
                self.leases
                    .replace(&self.settings.name, &PostParams::default(), &wanted)
                    .await
            }
        };
        match written {
            Ok(lease) => {
                let version = lease.resource_version().unwrap_or_default();
                self.election
                    .renewed(&version, sent, self.clock.monotonic());
                self.lease = Some(lease);
            }
            // Somebody was faster: the next look shows who.
            Err(kube::Error::Api(status)) if status.code == 409 => self.lease = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The Lease as we want it: everything else in it stays as it is, its resourceVersion too.
    fn wanted(&self, step: &Step) -> Lease {
        let now = self.wall();
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let spec = lease.spec.get_or_insert_default();
        if *step != Step::Renew {
            spec.acquire_time.clone_from(&now);
            spec.lease_transitions = Some(
                spec.lease_transitions
                    .map_or(0, |count| count.saturating_add(1)),
            );
        }
        spec.holder_identity = Some(self.settings.identity.clone());
        spec.lease_duration_seconds = Some(whole_seconds(self.settings.times.lease));
        spec.renew_time = now;
        lease
    }

    /// The time of day: people read it, nobody decides by it.
    fn wall(&self) -> Option<MicroTime> {
        jiff::Timestamp::from_microsecond(self.clock.now().timestamp_micros())
            .ok()
            .map(MicroTime)
    }

    fn lost(&self, loss: Loss) -> Lost {
        Lost {
            namespace: self.settings.namespace.clone(),
            name: self.settings.name.clone(),
            loss,
        }
    }
}

impl Leader {
    /// Renews until told to stop, then releases the Lease. An error: the leadership is lost, and the process must end.
    pub async fn keep(mut self, stop: &CancellationToken) -> Result<(), Lost> {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.pause()) => {}
            }
            if let Step::Lost(loss) = self.0.look_and_act().await {
                return Err(self.0.lost(loss));
            }
        }
        self.release().await;
        Ok(())
    }

    /// Whether the leadership still holds at this moment, by our own clock.
    pub fn holds(&self) -> bool {
        self.0
            .election
            .ends()
            .is_some_and(|end| end > self.0.clock.monotonic())
    }

    /// Until the next turn, but never past the end of the leadership.
    fn pause(&self) -> Duration {
        let left = self.0.election.ends().map_or(Duration::ZERO, |end| {
            end.saturating_sub(self.0.clock.monotonic())
        });
        self.0.settings.times.retry.min(left)
    }

    /// Takes our name off, so that the next one need not wait. If it fails, the next one waits.
    async fn release(mut self) {
        let Some(mut lease) = self.0.lease.take() else {
            return;
        };
        let now = self.0.wall();
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = now;
        let params = PostParams::default();
        let write = self
            .0
            .leases
            .replace(&self.0.settings.name, &params, &lease);
        match tokio::time::timeout(self.0.settings.times.retry, write).await {
            Ok(Ok(_)) => tracing::info!("the Lease is released"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lease could not be released; the next leader waits until it ends")
            }
            Err(_) => tracing::warn!(
                "the Lease could not be released in time; the next leader waits until it ends"
            ),
        }
    }
}

fn sight(lease: &Lease) -> Sight {
    let spec = lease.spec.as_ref();
    let holder = spec
        .and_then(|spec| spec.holder_identity.clone())
        .filter(|holder| !holder.is_empty());
    let seconds = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .unwrap_or(0);
    Sight {
        holder,
        resource_version: lease.resource_version().unwrap_or_default(),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
    }
}

/// The API server takes whole seconds above zero.
fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1000))
        .unwrap_or(i32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests;
