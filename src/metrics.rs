//! The metrics and their names. Labels are words of the program (`&'static str`), never text from outside: so there are
//! only as many as the program has.

use chrono::{DateTime, Utc};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EffectLabels {
    effect: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    kind: &'static str,
    reason: &'static str,
}

/// Where an object stands that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
pub enum State {
    Ready,
    Waiting,
    Stalled,
    /// It stands, and its material is not where it should be.
    Missing,
    Retained,
    Announced,
    Held,
    Recovering,
    Destroying,
}

/// What is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct Place {
    pub kind: &'static str,
    pub state: State,
    pub protected: bool,
}

impl Place {
    const OBJECT: &[State] = &[State::Ready, State::Waiting, State::Stalled, State::Missing];
    const PROXY: &[State] = &[
        State::Retained,
        State::Announced,
        State::Held,
        State::Recovering,
        State::Destroying,
    ];
    const REQUEST: &[State] = &[State::Waiting, State::Stalled];
    const KINDS: &[(&str, &[State])] = &[
        ("ManagedHsm", Self::OBJECT),
        ("HsmKey", Self::OBJECT),
        ("DeletedManagedHsm", Self::PROXY),
        ("DeletedHsmKey", Self::PROXY),
        ("Recover", Self::REQUEST),
        ("Purge", Self::REQUEST),
    ];

    /// All there are, so that one with nothing in it shows 0.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |(kind, states): &(&'static str, &'static [State])| {
            let (kind, states) = (*kind, *states);
            states.iter().flat_map(move |&state| {
                [false, true].map(|protected| Self {
                    kind,
                    state,
                    protected,
                })
            })
        };
        Self::KINDS.iter().flat_map(of)
    }
}

/// How many are in each place, and when the next of the protected and of the others is purged by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub of: BTreeMap<Place, usize>,
    pub next: BTreeMap<bool, DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtectedLabels {
    protected: bool,
}

/// What the operator counts, and the registry that says it.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    effects: Family<EffectLabels, Counter>,
    events: Family<EventLabels, Counter>,
    queue_depth: Gauge,
    queue_scheduled: Gauge,
    queue_running: Gauge,
    leader: Gauge,
    day_length: Gauge<f64, AtomicU64>,
    clock_trusted: Gauge,
    etcd_put_back: Counter,
    orphans: Gauge,
    policies_in_place: Gauge,
    undeletable: Gauge,
    undeletable_ended: Counter,
    mass_deletions: Counter,
    last_backup: Gauge<f64, AtomicU64>,
    backups_failed: Counter,
    objects: Family<Place, Gauge>,
    next_purge: Family<ProtectedLabels, Gauge<f64, AtomicU64>>,
    backends_away: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl Metrics {
    /// The operator's own metrics, and those that `more` adds to the registry under the same prefix.
    pub fn new(more: impl FnOnce(&mut Registry)) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("managedhsm"),
            reconciles: Family::default(),
            errors: Family::default(),
            effects: Family::default(),
            events: Family::default(),
            queue_depth: Gauge::default(),
            queue_scheduled: Gauge::default(),
            queue_running: Gauge::default(),
            leader: Gauge::default(),
            day_length: Gauge::default(),
            clock_trusted: Gauge::default(),
            etcd_put_back: Counter::default(),
            orphans: Gauge::default(),
            policies_in_place: Gauge::default(),
            undeletable: Gauge::default(),
            undeletable_ended: Counter::default(),
            mass_deletions: Counter::default(),
            last_backup: Gauge::default(),
            backups_failed: Counter::default(),
            objects: Family::default(),
            next_purge: Family::default(),
            backends_away: Gauge::default(),
        };
        metrics.register();
        metrics.register_counted();
        more(&mut metrics.registry);
        metrics
    }

    fn register(&mut self) {
        let all = &mut self.registry;
        all.register(
            "reconciles",
            "Looks at an HSM or a key, with what is deleted of its name and what is asked for it, by kind and how the look ended",
            self.reconciles.clone(),
        );
        all.register(
            "errors",
            "Looks that failed and are tried again, by class of error",
            self.errors.clone(),
        );
        all.register(
            "effects",
            "Single steps on the cluster or a backend, by name and outcome",
            self.effects.clone(),
        );
        all.register(
            "events",
            "Events that were told, such as PurgeAnnounced, by kind of what they are about and reason",
            self.events.clone(),
        );
        all.register(
            "queue_depth",
            "HSMs and keys that are due to be looked at and wait for a worker",
            self.queue_depth.clone(),
        );
        all.register(
            "queue_scheduled",
            "HSMs and keys that are looked at again at a known time",
            self.queue_scheduled.clone(),
        );
        all.register(
            "queue_running",
            "HSMs and keys that are being worked on",
            self.queue_running.clone(),
        );
        all.register(
            "leader",
            "1 if this process leads, and so does all the work; one process does",
            self.leader.clone(),
        );
        all.register_with_unit(
            "day_length",
            "How long a day of retention lasts: 86400, or less in a demonstration",
            Unit::Seconds,
            self.day_length.clone(),
        );
        all.register(
            "clock_trusted",
            "1 if this process's clock and the API server's agree and neither jumped, so that what is due is purged",
            self.clock_trusted.clone(),
        );
        all.register(
            "etcd_put_back",
            "How often etcd turned out to be put back: the cluster's resourceVersion was lower than one seen before",
            self.etcd_put_back.clone(),
        );
        all.register(
            "orphans",
            "Tokens and keys in the backends that no record explains; they are never destroyed",
            self.orphans.clone(),
        );
        all.register(
            "policies_in_place",
            "1 if the admission policies stand as they should, so that it is believed who asked",
            self.policies_in_place.clone(),
        );
        all.register(
            "undeletable",
            "1 if this cluster is undeletable: no purge on request is carried out",
            self.undeletable.clone(),
        );
        all.register(
            "undeletable_ended",
            "Starts without --undeletable in a cluster that was undeletable until then",
            self.undeletable_ended.clone(),
        );
        all.register(
            "mass_deletions",
            "Minutes in which more HSMs and keys were soft-deleted than --mass-deletion says",
            self.mass_deletions.clone(),
        );
        all.register_with_unit(
            "last_backup_timestamp",
            "When the newest whole backup was made of those that the operator makes by itself, Unix time; 0: none is known",
            Unit::Seconds,
            self.last_backup.clone(),
        );
        all.register(
            "backups_failed",
            "Backups that the operator tried to make by itself and could not",
            self.backups_failed.clone(),
        );
    }

    fn register_counted(&mut self) {
        let all = &mut self.registry;
        all.register(
            "objects",
            "What is there, by kind, state and whether its purge protection is on; a Recover or Purge as long as it is not finished",
            self.objects.clone(),
        );
        all.register_with_unit(
            "next_purge_timestamp",
            "When the next deleted HSM or key is purged by schedule that nothing holds, Unix time; 0: there is none",
            Unit::Seconds,
            self.next_purge.clone(),
        );
        all.register(
            "backends_away",
            "Backends whose records cannot be read just now",
            self.backends_away.clone(),
        );
    }

    /// Counts one run of the controller.
    pub fn reconciled(&self, kind: &'static str, result: &'static str) {
        self.reconciles
            .get_or_create(&ReconcileLabels { kind, result })
            .inc();
    }

    /// Counts one failed run by its class.
    pub fn failed(&self, class: &'static str) {
        self.errors.get_or_create(&ErrorLabels { class }).inc();
    }

    /// Counts one effect: its name and how it went.
    pub fn effect(&self, effect: &'static str, outcome: &'static str) {
        self.effects
            .get_or_create(&EffectLabels { effect, outcome })
            .inc();
    }

    /// Counts one Event.
    pub fn told(&self, kind: &'static str, reason: &'static str) {
        self.events
            .get_or_create(&EventLabels { kind, reason })
            .inc();
    }

    /// Shows how much is due, waits for a timer, and runs.
    pub fn queue(&self, ready: usize, scheduled: usize, running: usize) {
        set(&self.queue_depth, ready);
        set(&self.queue_scheduled, scheduled);
        set(&self.queue_running, running);
    }

    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    pub fn day_length(&self, day: Duration) {
        self.day_length.set(day.as_secs_f64());
    }

    pub fn clock_trusted(&self, trusted: bool) {
        self.clock_trusted.set(trusted.into());
    }

    /// Counts that etcd was put back.
    pub fn etcd_put_back(&self) {
        self.etcd_put_back.inc();
    }

    /// Shows how much material no record explains.
    pub fn orphans(&self, count: usize) {
        set(&self.orphans, count);
    }

    /// Shows whether the admission policies are as they should be.
    pub fn policies_in_place(&self, are: bool) {
        self.policies_in_place.set(are.into());
    }

    /// Shows whether the cluster is undeletable.
    pub fn undeletable(&self, undeletable: bool) {
        self.undeletable.set(undeletable.into());
    }

    /// Counts that it was, and is no more.
    pub fn undeletable_ended(&self) {
        self.undeletable_ended.inc();
    }

    /// Counts a minute in which much was soft-deleted.
    pub fn mass_deletion(&self) {
        self.mass_deletions.inc();
    }

    /// Shows when the newest whole backup was made.
    pub fn backed_up(&self, taken: DateTime<Utc>) {
        // Whole seconds, so exact for as long as there are years.
        self.last_backup.set(taken.timestamp() as f64);
    }

    /// Counts one that was not made.
    pub fn backup_failed(&self) {
        self.backups_failed.inc();
    }

    /// Shows what is there.
    pub fn counted(&self, counted: &Counted) {
        for place in Place::all() {
            let count = counted.of.get(&place).copied().unwrap_or(0);
            set(&self.objects.get_or_create(&place), count);
        }
        for protected in [false, true] {
            let next = counted.next.get(&protected);
            // Whole seconds, so exact for as long as there are years.
            let next = next.map_or(0.0, |at| at.timestamp() as f64);
            self.next_purge
                .get_or_create(&ProtectedLabels { protected })
                .set(next);
        }
    }

    /// Shows how many backends do not answer.
    pub fn backends_away(&self, count: usize) {
        set(&self.backends_away, count);
    }

    /// All of them in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> Counted {
        let place = Place {
            kind: "DeletedHsmKey",
            state: State::Held,
            protected: true,
        };
        let at = DateTime::UNIX_EPOCH + chrono::Duration::days(20_000);
        Counted {
            of: BTreeMap::from([(place, 3)]),
            next: BTreeMap::from([(true, at)]),
        }
    }

    #[test]
    fn every_metric_is_shown_under_its_name() {
        let metrics = Metrics::default();
        metrics.reconciled("HsmKey", "done");
        metrics.failed("conflict");
        metrics.effect("seal_key", "ok");
        metrics.told("HsmKey", "PurgeAnnounced");
        metrics.queue(3, 2, 1);
        metrics.leads(true);
        metrics.day_length(Duration::from_millis(1500));
        metrics.clock_trusted(false);
        metrics.etcd_put_back();
        metrics.orphans(2);
        metrics.policies_in_place(true);
        metrics.undeletable(true);
        metrics.undeletable_ended();
        metrics.mass_deletion();
        metrics.backed_up(DateTime::UNIX_EPOCH + chrono::Duration::days(20_000));
        metrics.backup_failed();
        metrics.backends_away(1);
        metrics.counted(&counted());
        let text = metrics.text();
        for line in [
            r#"managedhsm_reconciles_total{kind="HsmKey",result="done"} 1"#,
            r#"managedhsm_errors_total{class="conflict"} 1"#,
            r#"managedhsm_effects_total{effect="seal_key",outcome="ok"} 1"#,
            r#"managedhsm_events_total{kind="HsmKey",reason="PurgeAnnounced"} 1"#,
            "managedhsm_queue_depth 3",
            "managedhsm_queue_scheduled 2",
            "managedhsm_queue_running 1",
            "managedhsm_leader 1",
            "managedhsm_day_length_seconds 1.5",
            "managedhsm_clock_trusted 0",
            "managedhsm_etcd_put_back_total 1",
            "managedhsm_orphans 2",
            "managedhsm_policies_in_place 1",
            "managedhsm_undeletable 1",
            "managedhsm_undeletable_ended_total 1",
            "managedhsm_mass_deletions_total 1",
            "managedhsm_last_backup_timestamp_seconds 1728000000.0",
            "managedhsm_backups_failed_total 1",
            "managedhsm_backends_away 1",
            r#"managedhsm_objects{kind="DeletedHsmKey",state="Held",protected="true"} 3"#,
            r#"managedhsm_objects{kind="HsmKey",state="Ready",protected="false"} 0"#,
            r#"managedhsm_next_purge_timestamp_seconds{protected="true"} 1728000000.0"#,
            r#"managedhsm_next_purge_timestamp_seconds{protected="false"} 0.0"#,
        ] {
            assert!(
                text.lines().any(|shown| shown == line),
                "{line} is missing in\n{text}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn others_can_add_their_own_under_the_same_prefix() {
        let requests = Counter::<u64>::default();
        let metrics =
            Metrics::new(|registry| registry.register("requests", "Requests", requests.clone()));
        requests.inc();
        assert!(metrics.text().contains("managedhsm_requests_total 1"));
    }
}
