//! Where tests stop the executor: before or after any single effect. There only with the feature `faults`.
//!
//! Effects are numbered for each lineage by itself, from 1, in the order in which they are tried, so that a number means
//! the same in every run. The hook is around the executor: a new effect is covered by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::plan::Lineage;

/// On which side of the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    Before,
    After,
}

/// Which of a lineage's effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The n-th of all, from 1.
    Number(usize),
    /// The n-th of that name (`Effect::name`), from 1.
    Named(&'static str, usize),
}

/// One effect that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub lineage: Lineage,
    pub effect: &'static str,
    /// `done`, `raced`, `refused` or `failed`; absent while it is under way, and for good where it was broken off.
    pub outcome: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ahead,
    Reached,
    Released,
}

/// A place where a lineage stops: once, until it is released, or forever. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<State>>);

struct Planned {
    lineage: Lineage,
    when: When,
    which: Which,
    stop: Stop,
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    planned: Vec<Planned>,
}

/// What a test holds of one executor; clones share it.
#[derive(Clone, Default)]
pub struct Stops(Arc<Mutex<Inner>>);

impl Stop {
    /// Waits until the lineage stands there.
    pub async fn reached(&self) {
        let mut changes = self.0.subscribe();
        // The sender is ours, so it cannot be gone.
        let _ = changes.wait_for(|state| *state != State::Ahead).await;
    }

    /// Somebody stands there, or stood there.
    pub fn is_reached(&self) -> bool {
        *self.0.borrow() != State::Ahead
    }

    /// Lets the lineage go on; whoever comes later does not stop.
    pub fn release(&self) {
        self.0.send_replace(State::Released);
    }

    async fn stand(&self) {
        let mut changes = self.0.subscribe();
        self.0.send_if_modified(|state| {
            let first = *state == State::Ahead;
            if first {
                *state = State::Reached;
            }
            first
        });
        let _ = changes.wait_for(|state| *state == State::Released).await;
    }
}

impl Stops {
    /// From now on this lineage stops there.
    pub fn stop(&self, lineage: &Lineage, when: When, which: Which) -> Stop {
        let stop = Stop(Arc::new(watch::Sender::new(State::Ahead)));
        self.lock().planned.push(Planned {
            lineage: lineage.clone(),
            when,
            which,
            stop: stop.clone(),
        });
        stop
    }

    /// All that this lineage's effects came to, in their order.
    pub fn seen(&self, lineage: &Lineage) -> Vec<Seen> {
        let of = |seen: &&Seen| seen.lineage == *lineage;
        self.lock().seen.iter().filter(of).cloned().collect()
    }

    /// Counts an effect, and stops before it where that is planned. Answers its place among all.
    pub(super) async fn before(&self, lineage: &Lineage, effect: &'static str) -> usize {
        let (place, stops) = {
            let mut inner = self.lock();
            inner.seen.push(Seen {
                lineage: lineage.clone(),
                effect,
                outcome: None,
            });
            let place = inner.seen.len() - 1;
            (place, inner.due(place, When::Before))
        };
        for stop in stops {
            stop.stand().await;
        }
        place
    }

    /// Notes what became of the effect, and stops after it where that is planned.
    pub(super) async fn after(&self, place: usize, outcome: &'static str) {
        let stops = {
            let mut inner = self.lock();
            inner.seen[place].outcome = Some(outcome);
            inner.due(place, When::After)
        };
        for stop in stops {
            stop.stand().await;
        }
    }

    /// Each change leaves it consistent, so a lock that a panic left behind is still good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn due(&self, place: usize, when: When) -> Vec<Stop> {
        let now = &self.seen[place];
        let before = || {
            let until = self.seen[..=place].iter();
            until.filter(|seen| seen.lineage == now.lineage)
        };
        let here = |which: Which| match which {
            Which::Number(number) => before().count() == number,
            Which::Named(name, number) => {
                now.effect == name && before().filter(|seen| seen.effect == name).count() == number
            }
        };
        self.planned
            .iter()
            .filter(|it| it.when == when && it.lineage == now.lineage && here(it.which))
            .map(|it| it.stop.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::Kind;

    fn key(name: &str) -> Lineage {
        Lineage::new(Kind::Key, "team", name)
    }

    async fn effect(stops: &Stops, lineage: &Lineage, name: &'static str) {
        let place = stops.before(lineage, name).await;
        stops.after(place, "done").await;
    }

    #[tokio::test]
    async fn effects_are_numbered_for_each_lineage_by_itself() {
        let stops = Stops::default();
        let second = stops.stop(&key("a"), When::Before, Which::Number(2));
        effect(&stops, &key("b"), "ShowKey").await;
        effect(&stops, &key("a"), "Copy").await;
        assert!(!second.is_reached());
        let (others, own) = (stops.clone(), second.clone());
        let stopped = tokio::spawn(async move { effect(&others, &key("a"), "Destroy").await });
        own.reached().await;
        assert!(!stopped.is_finished());
        assert_eq!(stops.seen(&key("a"))[1].outcome, None);
        own.release();
        stopped.await.expect("it goes on");
        assert_eq!(stops.seen(&key("a"))[1].outcome, Some("done"));
    }

    #[tokio::test]
    async fn an_effect_is_found_by_its_name_and_stops_after_it_worked() {
        let stops = Stops::default();
        let second = stops.stop(&key("a"), When::After, Which::Named("Copy", 2));
        for name in ["Copy", "Destroy"] {
            effect(&stops, &key("a"), name).await;
        }
        let others = stops.clone();
        let stopped = tokio::spawn(async move { effect(&others, &key("a"), "Copy").await });
        second.reached().await;
        assert_eq!(stops.seen(&key("a"))[2].outcome, Some("done"));
        stopped.abort();
        assert!(stopped.await.is_err_and(|error| error.is_cancelled()));
    }
}
