//! Who runs next: pure, fed with instants.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::{Lineage, Next};

/// No timer is longer: dates are read again at least this often, and no clock is trusted for longer.
pub const LONGEST: Duration = Duration::from_secs(86_400);

/// What is known of each lineage that waits or runs; the others cost nothing.
#[derive(Default)]
pub struct Schedule {
    entries: HashMap<Lineage, Entry>,
    timers: BTreeSet<(Instant, Lineage)>,
    ready: VecDeque<Lineage>,
}

struct Entry {
    place: Place,
    /// A timer that something earlier pushed aside. The run in between may forget it; the queue does not.
    later: Option<Instant>,
    /// In a row.
    failures: u32,
}

#[derive(Clone, Copy)]
enum Place {
    Waiting(Instant),
    Ready,
    /// And when somebody asked for it while it ran.
    Running(Option<Instant>),
}

impl Schedule {
    /// Asks for a run after some time. The earliest wins: a later one never moves an earlier one.
    pub fn wake(&mut self, lineage: Lineage, now: Instant, after: Duration) {
        let at = now + after.min(LONGEST);
        let Some(entry) = self.entries.get_mut(&lineage) else {
            self.timers.insert((at, lineage.clone()));
            self.entries.insert(
                lineage,
                Entry {
                    place: Place::Waiting(at),
                    later: None,
                    failures: 0,
                },
            );
            return;
        };
        match entry.place {
            Place::Waiting(due) if at < due => {
                entry.later = earliest([entry.later, Some(due)]);
                entry.place = Place::Waiting(at);
                self.timers.remove(&(due, lineage.clone()));
                self.timers.insert((at, lineage));
            }
            Place::Running(again) => entry.place = Place::Running(earliest([again, Some(at)])),
            Place::Waiting(_) | Place::Ready => {}
        }
    }

    /// Moves what is due to the end of the line.
    pub fn promote(&mut self, now: Instant) {
        while let Some((due, lineage)) = self.timers.pop_first() {
            if due > now {
                self.timers.insert((due, lineage));
                return;
            }
            if let Some(entry) = self.entries.get_mut(&lineage) {
                entry.place = Place::Ready;
            }
            self.ready.push_back(lineage);
        }
    }

    /// Takes the first in line; it counts as running until [`Schedule::finish`].
    pub fn start(&mut self) -> Option<Lineage> {
        let lineage = self.ready.pop_front()?;
        if let Some(entry) = self.entries.get_mut(&lineage) {
            entry.place = Place::Running(None);
        }
        Some(lineage)
    }

    /// A run ended. What was asked for meanwhile counts as much as what the run asks for itself.
    pub fn finish(&mut self, lineage: Lineage, next: Next, now: Instant, chance: f64) {
        let Some(Entry {
            place,
            later,
            failures,
        }) = self.entries.remove(&lineage)
        else {
            return;
        };
        let failures = if matches!(next, Next::Failed { .. }) {
            failures.saturating_add(1)
        } else {
            0
        };
        let own = match next {
            Next::Done => None,
            Next::Again(after) => Some(after),
            Next::Failed { class: _, backoff } => Some(backoff.delay(failures, chance)),
        };
        let own = own.map(|after| now + after.min(LONGEST));
        let again = if let Place::Running(again) = place {
            again
        } else {
            None
        };
        let mut dues: Vec<Instant> = [own, again, later].into_iter().flatten().collect();
        dues.sort_unstable();
        if let Some(&due) = dues.first() {
            self.timers.insert((due, lineage.clone()));
            self.entries.insert(
                lineage,
                Entry {
                    place: Place::Waiting(due),
                    later: dues.get(1).copied(),
                    failures,
                },
            );
        }
    }

    /// When the next timer runs out.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// How many are due and wait for a worker.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many wait for a timer.
    pub fn waiting(&self) -> usize {
        self.timers.len()
    }
}

fn earliest(dues: [Option<Instant>; 2]) -> Option<Instant> {
    dues.into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::super::Backoff;
    use super::*;
    use crate::softdelete::Kind;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str) -> Lineage {
        Lineage::new(Kind::Key, "team", name)
    }

    /// A schedule in which the lineage was woken so many seconds ahead, and the beginning of its time.
    fn woken(seconds: &[u64]) -> (Schedule, Instant) {
        let now = crate::clock::instant();
        let mut schedule = Schedule::default();
        for after in seconds {
            schedule.wake(
                key("a"),
                now,
                SECOND * u32::try_from(*after).expect("small"),
            );
        }
        (schedule, now)
    }

    fn run(schedule: &mut Schedule, now: Instant) -> Lineage {
        schedule.promote(now);
        schedule.start().expect("somebody is due")
    }

    #[test]
    fn the_earliest_wake_wins_in_whatever_order_they_come() {
        for order in [[5, 1, 9], [9, 5, 1], [1, 5, 9]] {
            let (schedule, now) = woken(&order);
            assert_eq!(schedule.next_timer(), Some(now + SECOND));
            assert_eq!(schedule.waiting(), 1);
        }
    }

    #[test]
    fn a_timer_that_an_event_pushed_aside_survives_a_run_that_forgets_it() {
        let (mut schedule, now) = woken(&[3600, 0]);
        let lineage = run(&mut schedule, now);
        schedule.finish(lineage, Next::Done, now, 0.0);
        assert_eq!(schedule.next_timer(), Some(now + SECOND * 3600));
    }

    #[test]
    fn no_timer_is_longer_than_a_day() {
        let (mut schedule, now) = woken(&[u64::from(u32::MAX)]);
        assert_eq!(schedule.next_timer(), Some(now + LONGEST));
        let lineage = run(&mut schedule, now + LONGEST);
        schedule.finish(lineage, Next::Again(Duration::MAX), now, 0.0);
        assert_eq!(schedule.next_timer(), Some(now + LONGEST));
    }

    #[test]
    fn a_lineage_never_runs_twice_at_a_time() {
        let (mut schedule, now) = woken(&[0]);
        let lineage = run(&mut schedule, now);
        schedule.wake(lineage.clone(), now, Duration::ZERO);
        schedule.promote(now + LONGEST);
        assert_eq!(schedule.start(), None);
        schedule.finish(lineage.clone(), Next::Again(SECOND * 60), now, 0.0);
        schedule.promote(now);
        assert_eq!(
            schedule.start(),
            Some(lineage),
            "what was asked for meanwhile comes at once"
        );
    }

    #[test]
    fn failures_in_a_row_wait_longer_and_a_success_forgets_them() {
        let (mut schedule, mut now) = woken(&[0]);
        let backoff = Backoff {
            first: SECOND,
            most: SECOND * 4,
        };
        for expected in [1, 2, 4, 4] {
            let lineage = run(&mut schedule, now);
            schedule.finish(
                lineage,
                Next::Failed {
                    class: "conflict",
                    backoff,
                },
                now,
                0.0,
            );
            assert_eq!(schedule.next_timer(), Some(now + SECOND * expected));
            now += SECOND * expected;
        }
        let lineage = run(&mut schedule, now);
        schedule.finish(lineage, Next::Again(SECOND), now, 0.0);
        now += SECOND;
        let lineage = run(&mut schedule, now);
        schedule.finish(
            lineage,
            Next::Failed {
                class: "conflict",
                backoff,
            },
            now,
            0.0,
        );
        assert_eq!(schedule.next_timer(), Some(now + SECOND));
    }

    #[test]
    fn who_is_done_with_nothing_to_wait_for_is_forgotten() {
        let (mut schedule, now) = woken(&[0]);
        let lineage = run(&mut schedule, now);
        schedule.finish(lineage, Next::Done, now, 0.0);
        assert_eq!(
            (schedule.entries.len(), schedule.waiting(), schedule.ready()),
            (0, 0, 0)
        );
    }

    #[test]
    fn those_who_are_due_run_in_the_order_in_which_they_became_due() {
        let (mut schedule, now) = woken(&[2]);
        schedule.wake(key("b"), now, SECOND);
        schedule.wake(key("c"), now, SECOND * 3);
        schedule.promote(now + SECOND * 3);
        let order: Vec<_> = std::iter::from_fn(|| schedule.start()).collect();
        assert_eq!(order, [key("b"), key("a"), key("c")]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_happens_a_lineage_that_was_woken_runs_after_its_last_wake(
            steps in proptest::collection::vec((0_u8..4, 0_u64..200_000), 1..40)
        ) {
            let start = crate::clock::instant();
            let (mut schedule, mut now, mut asked, mut running) = (Schedule::default(), start, None, None);
            for (step, seconds) in steps {
                let after = Duration::from_secs(seconds);
                match (step, running.take()) {
                    (0, kept) => { schedule.wake(key("a"), now, after); asked = Some(now); running = kept; }
                    (1, kept) => { now += after; running = kept; }
                    (_, None) => {
                        schedule.promote(now);
                        running = schedule.start();
                        if running.is_some() { asked = None; }
                    }
                    (2, Some(lineage)) => schedule.finish(lineage, Next::Done, now, 0.5),
                    (_, Some(lineage)) => schedule.finish(lineage, Next::Again(after), now, 0.5),
                }
            }
            if let Some(lineage) = running {
                schedule.finish(lineage, Next::Done, now, 0.5);
            }
            if let Some(asked) = asked {
                schedule.promote(asked.max(now) + LONGEST);
                proptest::prop_assert_eq!(schedule.start(), Some(key("a")));
                proptest::prop_assert_eq!(schedule.start(), None);
            }
        }
    }
}
