//! The one work queue. It is keyed by lineage, and at most one worker handles a lineage at a time: so the live object,
//! its proxy, its Recovers and Purges and its records never race with each other inside one process.
//!
//! A wake-up is only a hint. A run answers everything that was asked before it began, and says itself when to look again.

mod schedule;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::schedule::Schedule;
use crate::clock;
use crate::metrics::Metrics;

pub use crate::plan::Lineage;

/// How a run ended, and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing to wait for: the next event wakes it.
    Done,
    /// Look again after this time.
    Again(Duration),
    /// It failed, in this class (a short word, the metric's label); tried again after the backoff.
    Failed {
        class: &'static str,
        backoff: Backoff,
    },
}

/// How long to wait after failures in a row: doubled each time, never above `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Backoff {
    /// For what passes by itself soon: a conflict, a dropped connection.
    pub const SOON: Self = Self {
        first: Duration::from_millis(200),
        most: Duration::from_secs(60),
    };
    /// For what takes somebody's act: a refused PIN, a missing backend.
    pub const LATER: Self = Self {
        first: Duration::from_secs(5),
        most: Duration::from_secs(300),
    };

    /// The wait after that many failures in a row (1: the first). `chance` in 0..1 takes away up to half of it, so that what failed together does not come back together.
    pub fn delay(self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.most);
        full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// Who does the work.
pub trait Reconcile: Send + Sync + 'static {
    /// Brings one lineage a step on. Never called twice at a time for the same lineage.
    fn reconcile(&self, lineage: Lineage) -> impl Future<Output = Next> + Send;
}

/// How the queue works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many lineages are worked on at a time.
    pub concurrency: usize,
    /// How long an event waits for others of its lineage. More of them do not put it off.
    pub debounce: Duration,
    /// How long a graceful stop waits for what is running.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 16,
            debounce: Duration::from_millis(20),
            grace: Duration::from_secs(20),
        }
    }
}

/// Wakes lineages. Cheap to clone, never blocks, remembers each lineage once however often it is woken.
#[derive(Clone)]
pub struct Waker {
    schedule: Arc<Mutex<Schedule>>,
    changed: Arc<Notify>,
    debounce: Duration,
}

impl Waker {
    /// Something happened: run it soon.
    pub fn wake(&self, lineage: Lineage) {
        self.wake_in(lineage, self.debounce);
    }

    /// Run it after that time, or sooner if something else wakes it sooner. Longer than a day counts as a day.
    pub fn wake_in(&self, lineage: Lineage, after: Duration) {
        self.schedule().wake(lineage, clock::instant(), after);
        self.changed.notify_one();
    }

    /// The schedule is consistent between calls, so a lock that a panic left behind is still good.
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue before it runs; [`Queue::waker`] can be handed out first.
pub struct Queue {
    settings: Settings,
    waker: Waker,
    metrics: Arc<Metrics>,
    /// A number in 0..1: the jitter's only source.
    chance: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Queue {
    pub fn new(
        settings: Settings,
        metrics: Arc<Metrics>,
        chance: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        let waker = Waker {
            schedule: Arc::default(),
            changed: Arc::default(),
            debounce: settings.debounce,
        };
        Self {
            settings,
            waker,
            metrics,
            chance: Box::new(chance),
        }
    }

    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Works until told to stop; then starts nothing new, waits for what is running up to the grace, and answers how many runs it had to break off.
    pub async fn run(self, reconciler: Arc<impl Reconcile>, stop: CancellationToken) -> usize {
        let mut workers = Workers::default();
        while !stop.is_cancelled() {
            let due = self.start_due(&mut workers, &reconciler);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(end) = workers.next_end() => self.finish(end),
                () = self.waker.changed.notified() => {}
                () = sleep_until(due) => {}
            }
        }
        self.drain(workers).await
    }

    /// Starts what is due while there is room; answers when to look again if nothing happens before.
    fn start_due(
        &self,
        workers: &mut Workers,
        reconciler: &Arc<impl Reconcile>,
    ) -> Option<Instant> {
        let mut schedule = self.waker.schedule();
        schedule.promote(clock::instant());
        while workers.len() < self.settings.concurrency {
            let Some(lineage) = schedule.start() else {
                break;
            };
            workers.spawn(lineage, Arc::clone(reconciler));
        }
        self.metrics
            .queue(schedule.ready(), schedule.waiting(), workers.len());
        schedule.next_timer()
    }

    fn finish(&self, (lineage, next): (Lineage, Next)) {
        self.metrics
            .reconciled(lineage.kind.object(), result_label(&next));
        if let Next::Failed { class, .. } = next {
            self.metrics.failed(class);
        }
        self.waker
            .schedule()
            .finish(lineage, next, clock::instant(), (self.chance)());
    }

    async fn drain(&self, mut workers: Workers) -> usize {
        let deadline = clock::instant() + self.settings.grace;
        while let Ok(Some(end)) = tokio::time::timeout_at(deadline, workers.next_end()).await {
            self.finish(end);
        }
        let broken_off = workers.len();
        workers.tasks.shutdown().await;
        self.metrics.queue(0, 0, 0);
        broken_off
    }
}

fn result_label(next: &Next) -> &'static str {
    match next {
        Next::Done => "done",
        Next::Again(_) => "again",
        Next::Failed { .. } => "failed",
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The runs under way, and whose they are: a run that panicked cannot say.
#[derive(Default)]
struct Workers {
    tasks: JoinSet<Next>,
    whose: HashMap<Id, Lineage>,
}

impl Workers {
    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn spawn(&mut self, lineage: Lineage, reconciler: Arc<impl Reconcile>) {
        let work = lineage.clone();
        let task = self
            .tasks
            .spawn(async move { reconciler.reconcile(work).await });
        self.whose.insert(task.id(), lineage);
    }

    async fn next_end(&mut self) -> Option<(Lineage, Next)> {
        let joined = self.tasks.join_next_with_id().await?;
        let (id, next) = match joined {
            Ok(end) => end,
            Err(error) => (error.id(), broken(&error)),
        };
        let lineage = self.whose.remove(&id)?;
        if let Next::Failed { class: "panic", .. } = next {
            tracing::error!(%lineage, "a reconcile panicked; it is tried again later");
        }
        Some((lineage, next))
    }
}

/// One lineage that makes the program panic must not keep the others from their work.
fn broken(error: &JoinError) -> Next {
    let class = if error.is_panic() {
        "panic"
    } else {
        "cancelled"
    };
    Next::Failed {
        class,
        backoff: Backoff::LATER,
    }
}

#[cfg(test)]
mod tests;
