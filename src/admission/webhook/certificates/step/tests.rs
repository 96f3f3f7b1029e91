use chrono::TimeDelta;

use super::super::made::make;
use super::*;

fn names() -> Vec<String> {
    vec!["hsm.system.svc".to_owned()]
}

fn start() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().expect("a date")
}

fn days(days: i64) -> DateTime<Utc> {
    start() + TimeDelta::days(days)
}

const LIFE: TimeDelta = TimeDelta::days(90);

/// A cluster that does what is asked, one write at a time, as the keeper asks it.
struct World {
    kept: Option<Kept>,
    trusted: Vec<u8>,
}

impl World {
    fn next(&self, settled: bool, now: DateTime<Utc>) -> Step {
        step(&Seen {
            kept: self.kept.as_ref(),
            trusted: Some(&self.trusted),
            settled,
            names: &names(),
            now,
        })
    }

    fn take(&mut self, taken: Step, now: DateTime<Utc>) {
        let new = || make(&names(), now, LIFE);
        match (taken, &mut self.kept) {
            (Step::Make, kept) => *kept = Some(new().expect("made")),
            (Step::Trust, Some(kept)) => self.trusted = kept.bundle().into_bytes(),
            (Step::Rest, _) => {}
            (other, Some(kept)) => *kept = kept.after(other, now, new).expect("made"),
            (other, None) => panic!("{other:?} without a Secret"),
        }
        self.check(now);
    }

    /// What is served is trusted, once the configuration was told at all.
    fn check(&self, now: DateTime<Utc>) {
        let Some(kept) = &self.kept else { return };
        let trusted = String::from_utf8(self.trusted.clone()).expect("text");
        let Some(signer) = kept.signer_of_current() else {
            return assert!(
                kept.current.due() < Some(now - LIFE / 3),
                "its authority is not kept"
            );
        };
        assert!(
            self.trusted.is_empty() || trusted.contains(signer),
            "served without being trusted"
        );
    }

    /// Steps until it rests; what settles, settles.
    fn settle(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        let mut taken = Vec::new();
        loop {
            let next = self.next(true, now);
            if next == Step::Rest {
                return taken;
            }
            self.take(next, now);
            taken.push(next);
            assert!(taken.len() < 10, "it never rests: {taken:?}");
        }
    }
}

fn fresh() -> World {
    let mut world = World {
        kept: None,
        trusted: Vec::new(),
    };
    assert_eq!(world.settle(start()), [Step::Make, Step::Trust]);
    world
}

#[test]
fn a_certificate_rests_until_two_thirds_of_its_life_and_then_changes_with_overlap() {
    let mut world = fresh();
    assert_eq!(world.settle(days(59)), []);
    assert_eq!(
        world.settle(days(61)),
        [Step::MakeNext, Step::Trust, Step::TakeNext]
    );
    assert_eq!(
        world.settle(days(89)),
        [],
        "the old authority is trusted as long as its certificate lives"
    );
    assert_eq!(world.settle(days(91)), [Step::Forget, Step::Trust]);
    let kept = world.kept.expect("kept");
    assert_eq!(kept.authorities.len(), 1);
}

#[test]
fn the_next_one_is_not_served_before_its_authority_settled() {
    let mut world = fresh();
    let now = days(61);
    world.take(Step::MakeNext, now);
    assert_eq!(world.next(true, now), Step::Trust);
    world.take(Step::Trust, now);
    assert_eq!(world.next(false, now), Step::Rest);
    assert_eq!(world.next(true, now), Step::TakeNext);
}

/// The operator was away for longer than a certificate lives.
#[test]
fn where_the_present_one_is_past_its_life_the_next_one_waits_for_nothing() {
    let mut world = fresh();
    let now = days(100);
    world.take(Step::MakeNext, now);
    assert_eq!(world.next(false, now), Step::Trust, "but to be trusted");
    world.take(Step::Trust, now);
    assert_eq!(world.next(false, now), Step::TakeNext);
}

/// Wherever it is killed the next look goes on; killed means only that nothing was kept in memory, and nothing is.
#[test]
fn after_any_step_another_operator_goes_on_from_what_it_sees() {
    let mut one = fresh();
    let mut all = Vec::new();
    for day in [61, 91, 122, 152] {
        loop {
            // Each step by somebody else, who has yet to see that it settled.
            if one.next(false, days(day)) == Step::Rest && one.next(true, days(day)) == Step::Rest {
                break;
            }
            let next = one.next(true, days(day));
            one.take(next, days(day));
            all.push(next);
        }
    }
    let rotation = [Step::MakeNext, Step::Trust, Step::TakeNext];
    let forgetting = [Step::Forget, Step::Trust];
    let expected = [&rotation[..], &forgetting, &rotation, &forgetting].concat();
    assert_eq!(all, expected);
}

#[test]
fn a_configuration_that_was_written_over_is_told_again() {
    let mut world = fresh();
    world.trusted.clear();
    assert_eq!(world.settle(days(1)), [Step::Trust]);
    world.trusted = b"somebody else's".to_vec();
    assert_eq!(world.next(true, days(1)), Step::Trust);
    let disagreeing = step(&Seen {
        kept: world.kept.as_ref(),
        trusted: None,
        settled: true,
        names: &names(),
        now: days(1),
    });
    assert_eq!(disagreeing, Step::Trust);
}

#[test]
fn another_name_of_the_service_or_a_long_sleep_asks_for_another_certificate() {
    let mut world = fresh();
    let renamed = step(&Seen {
        kept: world.kept.as_ref(),
        trusted: Some(&world.trusted),
        settled: true,
        names: &["other.system.svc".to_owned()],
        now: days(1),
    });
    assert_eq!(renamed, Step::MakeNext);
    // Nobody ran for a year: all is past its life.
    let taken = world.settle(days(365));
    assert_eq!(taken, [Step::MakeNext, Step::Trust, Step::TakeNext]);
    assert_eq!(world.kept.expect("kept").authorities.len(), 1);
}

#[test]
fn a_next_one_that_waited_too_long_is_made_anew() {
    let mut world = fresh();
    world.take(Step::MakeNext, days(61));
    world.take(Step::Trust, days(61));
    assert_eq!(world.next(true, days(365)), Step::MakeNext);
    world.settle(days(365));
    assert!(world.kept.expect("kept").current.due() > Some(days(365)));
}
