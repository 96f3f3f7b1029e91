//! What somebody on call should hear of the operator as a whole: told once as an Event on its Lease, and counted. It holds nothing up.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;

use super::Context;
use super::cluster::Watched;
use crate::api::RecoveryLevel;
use crate::softdelete::Kind;
use crate::softdelete::permission::Policies;

/// What the operator is told about by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// More soft-deletions than this in a minute are told.
    pub mass_deletion: u32,
    /// The operator's own Lease.
    pub lease: ObjectReference,
}

/// Soft-deletions of the last minute.
#[derive(Debug, Default)]
struct Flood {
    /// When each happened, at most one more than are usual.
    seen: VecDeque<Duration>,
    told: Option<Duration>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Flood {
    /// True: with this one they are more than `most`, and it was not told within the minute.
    fn one_more(&mut self, now: Duration, most: u32) -> bool {
        let within = |time: Duration| now.saturating_sub(time) < MINUTE;
        self.seen.push_back(now);
        while self.seen.front().is_some_and(|first| !within(*first)) {
            self.seen.pop_front();
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if self.seen.len() <= most {
            return false;
        }
        self.seen.pop_front();
        if self.told.is_some_and(within) {
            return false;
        }
        self.told = Some(now);
        true
    }
}

/// Listens, and tells.
pub struct Alarm {
    settings: Settings,
    flood: Mutex<Flood>,
}

impl Alarm {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            flood: Mutex::default(),
        }
    }
}

/// One more was soft-deleted.
pub(super) async fn soft_deleted(context: &Context) {
    let alarm = &context.alarm;
    let now = context.time.clock().monotonic();
    let most = alarm.settings.mass_deletion;
    let flood = alarm.flood.lock();
    let tell = flood
        .unwrap_or_else(PoisonError::into_inner)
        .one_more(now, most);
    if tell {
        context.metrics.mass_deletion();
        let note = format!(
            "More than {most} objects were soft-deleted within a minute. Nothing is lost: see kubectl get deletedmanagedhsms,deletedhsmkeys; a Recover brings each back."
        );
        let lease = &alarm.settings.lease;
        context.teller.warn(lease, "MassDeletion", &note).await;
    }
}

/// Whether the policies stand has changed, or was never known.
pub(super) async fn policies(context: &Context, now: &Policies) {
    let missing = match now {
        Policies::Since(since) => {
            tracing::info!(%since, "the admission policies are in place");
            None
        }
        Policies::Missing(what) => Some(what),
    };
    context.metrics.policies_in_place(missing.is_none());
    if let Some(what) = missing {
        let note = format!(
            "The {what} is not in place as it should be. Purges on request and recoveries into namespaces that were made anew hold until the operator's manifests are applied again, and what is asked meanwhile must be asked again then."
        );
        let lease = &context.alarm.settings.lease;
        context.teller.warn(lease, "PoliciesMissing", &note).await;
    }
}

/// Whether this was an undeletable cluster until now: what stands says so still, before the first pass.
pub(super) async fn undeletable_no_more(context: &Context) {
    context.metrics.undeletable(context.settings.undeletable);
    if context.settings.undeletable {
        return;
    }
    let kinds = [Kind::Hsm, Kind::Key];
    let watched = kinds.map(|kind| [Watched::Object(kind), Watched::Proxy(kind)]);
    let shown = watched.into_iter().flatten().map(|of| {
        let all = context.cluster.list(of, |_| true);
        let levels = all
            .iter()
            .filter_map(|found| found.data.pointer("/status/recoveryLevel").cloned());
        let levels = levels.filter_map(|level| serde_json::from_value(level).ok());
        levels
            .filter(|level: &RecoveryLevel| level.is_by_subscription())
            .count()
    });
    let count: usize = shown.sum();
    if count > 0 {
        context.metrics.undeletable_ended();
        let note = format!(
            "The operator was started without --undeletable, and {count} objects were undeletable until now: what is not protected by itself can be purged on request again. If nobody meant that, start it with --undeletable."
        );
        let lease = &context.alarm.settings.lease;
        context.teller.warn(lease, "UndeletableEnded", &note).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_flood_is_told_once_a_minute_while_it_lasts() {
        let mut flood = Flood::default();
        let told: Vec<_> = (0..130)
            .filter(|now| flood.one_more(seconds(*now), 3))
            .collect();
        assert_eq!(told, [3, 63, 123]);
        assert!(flood.seen.len() <= 3, "it remembers no more than it needs");
    }

    #[test]
    fn what_comes_slowly_is_no_flood() {
        let mut flood = Flood::default();
        assert!((0..100).all(|count| !flood.one_more(seconds(count * 21), 3)));
    }
}
