//! Whether etcd was put back. The highest resourceVersion of the cluster that was ever seen is noted in the ledgers, which are no part of etcd; a cluster
//! whose present one is lower has forgotten what happened since. Looked at at the start, at each reconnect of a watch, and every few seconds.
//!
//! What was seen is never lowered in a ledger: so an operator that starts anew before the cluster has caught up takes it for put back once more, which is the
//! safe side: open requests to purge are asked for again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};

use super::{Context, Failure};
use crate::softdelete::arbiter;

/// How often it is looked at without a reason.
const EVERY: Duration = Duration::from_secs(10);
/// Several watches break at once: one look serves them all.
const TOGETHER: Duration = Duration::from_millis(200);

/// What is known of etcd.
pub struct Etcd {
    known: Mutex<Known>,
    /// How often it was put back: each time every cache is listed anew.
    lives: watch::Sender<u64>,
    asked: Notify,
}

#[derive(Default)]
struct Known {
    /// The highest since the start, or since it was put back.
    highest: u64,
    put_back: Option<DateTime<Utc>>,
}

impl Default for Etcd {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            lives: watch::Sender::new(0),
            asked: Notify::new(),
        }
    }
}

impl Etcd {
    /// When it turned out to be put back, by the later of both clocks: whatever was made up to then may be of before.
    pub fn put_back(&self) -> Option<DateTime<Utc>> {
        self.known().put_back
    }

    /// Tells whoever holds a cache to list it anew.
    pub fn lives(&self) -> watch::Receiver<u64> {
        self.lives.subscribe()
    }

    /// A watch began anew: look soon.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// A ledger remembers this one, or a watch has just heard it.
    pub fn known_of(&self, revision: u64) {
        let mut known = self.known();
        known.highest = known.highest.max(revision);
    }

    fn highest(&self) -> u64 {
        self.known().highest
    }

    /// The cluster's present one, asked for when `before` was the highest: many ask at once, and the answer of one who asked earlier may come later. True: etcd
    /// was put back.
    fn seen(&self, before: u64, present: u64, now: DateTime<Utc>) -> bool {
        let mut known = self.known();
        let old = arbiter::etcd_is_old(present, before);
        if old {
            known.highest = present;
            known.put_back = Some(now);
        } else {
            known.highest = known.highest.max(present);
        }
        old
    }

    /// Each change leaves it consistent, so a lock that a panic left behind is still good.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares the cluster's present resourceVersion with the highest that was seen, and notes it. True: etcd was put back.
pub async fn look(context: &Context) -> Result<bool, Failure> {
    let before = context.etcd.highest();
    let Some(present) = context.cluster.revision().await? else {
        return Ok(false);
    };
    let old = context
        .etcd
        .seen(before, present, context.time.latest_now());
    if old {
        tracing::warn!(
            present,
            "etcd was put back: the cluster's resourceVersion is lower than one seen before; everything is listed anew, and open requests to purge must be made again"
        );
        context.metrics.etcd_put_back();
        context.etcd.lives.send_modify(|lives| *lives += 1);
        context.wake_recorded();
    }
    note(context, present).await;
    Ok(old)
}

/// A ledger that is away is told the next time.
async fn note(context: &Context, revision: u64) {
    for (name, module) in &context.backends {
        let noted = context
            .pool
            .run(module.clone(), move |module| module.note_revision(revision));
        if let Err(error) = noted.await {
            tracing::debug!(backend = name, %error, "the cluster's resourceVersion could not be noted");
        }
    }
}

/// Looks again and again.
pub async fn keep(context: &Context) {
    loop {
        tokio::select! {
            () = context.etcd.asked.notified() => tokio::time::sleep(TOGETHER).await,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(failure) = look(context).await {
            tracing::warn!(%failure, "whether etcd was put back could not be seen; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
    }

    /// One after the other.
    fn look(etcd: &Etcd, present: u64, now: DateTime<Utc>) -> bool {
        etcd.seen(etcd.highest(), present, now)
    }

    #[test]
    fn an_answer_that_comes_late_is_no_old_etcd() {
        let etcd = Etcd::default();
        let (first, second) = (etcd.highest(), etcd.highest());
        assert!(!etcd.seen(second, 105, at(1)));
        assert!(
            !etcd.seen(first, 100, at(2)),
            "asked before the other was answered"
        );
        assert!(
            look(&etcd, 104, at(3)),
            "105 was seen before this was asked"
        );
    }

    #[test]
    fn etcd_is_put_back_where_the_present_revision_is_lower_than_one_seen_or_remembered() {
        let etcd = Etcd::default();
        assert!(!look(&etcd, 100, at(1)), "the first look");
        assert!(!look(&etcd, 100, at(2)) && !look(&etcd, 130, at(3)));
        assert_eq!(etcd.put_back(), None);
        assert!(look(&etcd, 129, at(4)));
        assert_eq!(etcd.put_back(), Some(at(4)));

        let next = Etcd::default();
        next.known_of(130);
        next.known_of(7);
        assert!(look(&next, 129, at(5)), "another process, by the ledger");
    }

    #[test]
    fn one_backup_that_is_put_back_is_found_once_and_the_next_one_again() {
        let etcd = Etcd::default();
        etcd.known_of(1000);
        assert!(look(&etcd, 500, at(1)));
        assert!(!look(&etcd, 501, at(2)) && !look(&etcd, 600, at(3)));
        assert_eq!(etcd.put_back(), Some(at(1)));
        assert!(look(&etcd, 550, at(4)));
        assert_eq!(etcd.put_back(), Some(at(4)));
    }
}
