//! Observe, plan, apply, report. One queue of lineages; one executor; all judgement is `plan`'s.

pub mod alarm;
pub mod cluster;
pub mod convert;
pub mod etcd;
pub mod execute;
pub mod index;
mod joined;
pub mod kept;
pub mod ledger;
mod loading;
pub mod observe;
pub mod orphans;
pub mod policies;
pub mod queue;
pub mod quota;
mod refusals;
mod start;
#[cfg(feature = "faults")]
pub mod stops;
pub mod tally;
pub mod tell;
#[cfg(test)]
mod testing;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::backend::pool::Pool;
use crate::backend::{BackendError, HsmBackend};
use crate::clock::Timekeeper;
use crate::metrics::Metrics;
use crate::plan::{self, Lineage, Settings};
use crate::softdelete::{Kind, Record, RecordId, RecordState, Subject};
use cluster::{Cluster, Source};
use execute::Done;
use index::Index;
use queue::{Backoff, Next, Reconcile, Waker};
#[cfg(feature = "faults")]
pub use start::run_with_stops;
pub use start::{answer, run};

/// No protocol has more steps than this for one lineage: a pass that goes on longer is put back in the queue.
const MOST_STEPS: usize = 1000;

/// How long a pass waits after a precondition that did not hold.
const AFTER_A_RACE: Duration = Duration::from_millis(20);
/// An HSM's counts are written no more often than this,
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// and this long after the change, so that keys that are made together are counted together.
const COUNT_SOON: Duration = Duration::from_millis(300);

/// Where tests stop the executor; nothing in a release.
#[cfg(feature = "faults")]
type Stops = stops::Stops;
#[cfg(not(feature = "faults"))]
#[derive(Default)]
struct Stops {}

/// What every pass needs.
pub struct Context {
    pub cluster: Cluster,
    pub backends: BTreeMap<String, Arc<dyn HsmBackend>>,
    /// Of the backends that are not open to all, or not without limits.
    pub quotas: BTreeMap<String, quota::Quota>,
    pub pool: Pool,
    pub index: Index,
    pub time: Arc<Timekeeper>,
    pub settings: Settings,
    /// Where the embedded store's PINs are, in words.
    pins_kept: String,
    pub metrics: Arc<Metrics>,
    pub waker: Waker,
    pub teller: tell::Teller,
    policies: policies::Policies,
    alarm: alarm::Alarm,
    /// Held while a requested purge passes the point of no return.
    purge_slot: tokio::sync::Mutex<()>,
    pub etcd: etcd::Etcd,
    loading: loading::Loading,
    /// When each HSM's keys were last, or will next be, counted.
    counted: Mutex<HashMap<Lineage, Instant>>,
    refusals: refusals::Refusals,

    #[cfg(feature = "faults")]
    stops: Stops,
}

/// Why a pass ended before its time. The class decides when it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the API server: {0}")]
    Cluster(#[from] kube::Error),
    #[error("the backend: {0}")]
    Backend(#[from] BackendError),
    #[error("{0}")]
    Convert(#[from] convert::ConvertError),
    #[error("a value that is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(
        "the definition of {0} is not there or is being deleted, so that an absent object proves nothing; apply the operator's CRDs again, and this goes on by itself"
    )]
    DefinitionGone(String),
    #[error("the {0} ended, which it never should")]
    WatchEnded(String),
    #[error("{0} passes did not end within the grace and were broken off")]
    BrokenOff(usize),
    #[error("the ledger changes faster than it can be looked at")]
    Moving,
}

impl Failure {
    fn class(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "cluster",
            Self::Backend(_) => "backend",
            Self::Convert(_) | Self::Json(_) => "malformed",
            Self::Moving => "raced",
            Self::WatchEnded(_) | Self::BrokenOff(_) => "watch",
            Self::DefinitionGone(_) => "definition",
        }
    }

    fn backoff(&self) -> Backoff {
        match self {
            Self::Backend(BackendError::Pin(_))
            | Self::Convert(_)
            | Self::Json(_)
            | Self::DefinitionGone(_) => Backoff::LATER,
            Self::Cluster(_)
            | Self::Backend(_)
            | Self::Moving
            | Self::WatchEnded(_)
            | Self::BrokenOff(_) => Backoff::SOON,
        }
    }
}

impl Context {
    /// Everything that has a record which says that there is, or may be, something.
    fn wake_recorded(&self) {
        let recorded = self.index.lineages();
        recorded
            .into_iter()
            .for_each(|lineage| self.waker.wake(lineage));
    }

    /// Of all ledgers, once each was read.
    fn purged_on_request(&self, now: DateTime<Utc>) -> Option<Vec<DateTime<Utc>>> {
        self.loading
            .is_over()
            .then(|| self.index.purged_on_request(now))
    }

    /// What a record's change means for others: an HSM's for its keys, a key's for those that want its name, a place that became free for those that wait for one.
    pub fn record_changed(&self, lineage: &Lineage, record: &Record) {
        match &record.subject {
            Subject::Hsm { .. } => self.wake_keys_of(lineage, &record.id),
            Subject::Key {
                hsm,
                hsm_name,
                key_name,
                ..
            } => {
                let around = Lineage::new(Kind::Hsm, lineage.namespace.clone(), hsm_name.clone());
                if matches!(
                    record.state,
                    RecordState::Tombstone | RecordState::Abandoned
                ) {
                    self.wake_keys_of(&around, hsm);
                } else {
                    self.wake_keys(&around, |kept| kept.is_called(&around, key_name));
                }
                if self.waits_for_keys(&around) {
                    self.waker.wake(around.clone());
                }
                self.recount(around);
            }
        }
    }

    /// Whether what a key does may be what its HSM waits for: that changes its state, is recovered with all keys, or is about to show its protection.
    pub fn waits_for_keys(&self, hsm: &Lineage) -> bool {
        let unsettled = |entry: &index::Entry| {
            entry.held.record().is_none_or(|record| match record.state {
                RecordState::Live => record.purge_protection && !self.shows(hsm, &entry.held),
                RecordState::Creating | RecordState::Deleted => false,
                _ => !entry.held.is_final(),
            })
        };
        let has_phase =
            |found: &kube::api::DynamicObject| found.data.pointer("/status/phase").is_some();
        let proxy = self.cluster.cached_proxy(hsm);
        self.index.of_lineage(hsm).iter().any(unsettled)
            || proxy.as_ref().is_some_and(has_phase)
            || observe::brings_all_keys(self, hsm)
    }

    /// The object's status shows that record.
    fn shows(&self, lineage: &Lineage, held: &plan::observed::Held) -> bool {
        let object = self.cluster.cached_object(lineage);
        let shown = object.as_ref().and_then(convert::shown_generation);
        shown == Some(held.generation)
    }

    /// An HSM's status counts its keys: soon after a change, but no more often than once in a while.
    fn recount(&self, hsm: Lineage) {
        let now = crate::clock::instant();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.retain(|_, at| *at + COUNT_EVERY > now);
        let earliest = counted.get(&hsm).map_or(now, |at| *at + COUNT_EVERY);
        counted.insert(hsm.clone(), earliest.max(now));
        drop(counted);
        self.waker
            .wake_in(hsm, earliest.saturating_duration_since(now) + COUNT_SOON);
    }

    /// Every key that is in the HSM, or wants to be.
    pub fn wake_keys_of(&self, hsm: &Lineage, id: &RecordId) {
        self.index
            .keys_of(id)
            .iter()
            .filter_map(|entry| entry.held.record())
            .map(index::lineage)
            .for_each(|key| self.waker.wake(key));
        self.wake_keys(hsm, |kept| kept.is_in(hsm));
    }

    fn wake_keys(&self, hsm: &Lineage, which: impl Fn(&kept::Kept) -> bool) {
        let found = self
            .cluster
            .list(cluster::Watched::Object(Kind::Key), which);
        for key in found.into_iter().filter_map(|key| key.metadata.name) {
            self.waker
                .wake(Lineage::new(Kind::Key, hsm.namespace.clone(), key));
        }
    }

    /// One pass: a hint from the caches first, and only where that asks for something, live looks with a step after each.
    async fn pass(&self, lineage: &Lineage) -> Result<Next, Failure> {
        let hint = plan::plan(&observe::look(self, lineage, Source::Cache).await?);
        if hint.step.is_none() {
            return Ok(next(hint.wake));
        }
        let mut refused = self.refusals.of(lineage, crate::clock::instant());
        for _ in 0..MOST_STEPS {
            let mut seen = observe::look(self, lineage, Source::Live).await?;
            seen.refused.clone_from(&refused);
            let plan = plan::plan(&seen);
            let Some(step) = plan.step else {
                return Ok(next(plan.wake));
            };
            match self.step(&seen, &step).await? {
                Done::Yes => {}
                // Whoever was faster is told to our caches in a moment.
                Done::Raced => tokio::time::sleep(AFTER_A_RACE).await,
                Done::Refused(why) => {
                    self.refusals.note(lineage, &why, crate::clock::instant());
                    refused = Some(why);
                }
            }
        }
        Ok(Next::Again(Duration::ZERO))
    }

    async fn step(&self, seen: &plan::Observed, step: &plan::Step) -> execute::Outcome {
        let name = step.effect.name();
        #[cfg(feature = "faults")]
        let place = self.stops.before(&seen.lineage, name).await;
        let outcome = execute::execute(self, seen, &step.effect).await;
        let word = match &outcome {
            Ok(Done::Yes) => "done",
            Ok(Done::Raced) => "raced",
            Ok(Done::Refused(_)) => "refused",
            Err(_) => "failed",
        };
        #[cfg(feature = "faults")]
        self.stops.after(place, word).await;
        self.metrics.effect(name, word);
        tracing::debug!(lineage = %seen.lineage, effect = name, outcome = word, "step");
        if matches!(outcome, Ok(Done::Yes)) {
            if let plan::Effect::UnsealToken(token) = &step.effect {
                self.wake_keys_of(&seen.lineage, &RecordId(token.label.0.clone()));
            }
            if let plan::Effect::CreateProxy(_) = &step.effect {
                alarm::soft_deleted(self).await;
            }
            self.teller.tell(seen, &step.tells).await;
        }
        outcome
    }
}

fn next(wake: Option<Duration>) -> Next {
    wake.map_or(Next::Done, Next::Again)
}

impl Reconcile for Context {
    async fn reconcile(&self, lineage: Lineage) -> Next {
        match self.pass(&lineage).await {
            Ok(next) => next,
            Err(failure) => {
                tracing::warn!(%lineage, class = failure.class(), %failure, "the pass failed and is tried again");
                Next::Failed {
                    class: failure.class(),
                    backoff: failure.backoff(),
                }
            }
        }
    }
}

/// What the controller is made of.
pub struct Parts {
    pub client: kube::Client,
    /// The same server, but a write is tried once and never lands late.
    pub writer: kube::Client,
    pub backends: BTreeMap<String, Arc<dyn HsmBackend>>,
    pub quotas: BTreeMap<String, quota::Quota>,
    /// Whether the admission policies stand as they should.
    pub policies: policies::Compare,
    pub alarm: alarm::Settings,
    pub pool: Pool,
    pub time: Arc<Timekeeper>,
    pub settings: Settings,
    /// Where the embedded store's PINs are, in words: a backup says it.
    pub pins_kept: String,
    pub metrics: Arc<Metrics>,
    pub queue: queue::Settings,
    /// Who tells Events.
    pub instance: String,
    /// What people ask of the records while it works.
    pub wishes: ledger::Wishes,
}
