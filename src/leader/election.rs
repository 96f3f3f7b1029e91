//! Who leads: pure, fed with what was seen of the Lease and the monotonic time.
//!
//! Nothing here compares times of day. A candidate takes over when it has itself watched the Lease stand still for as
//! long as it lasts; a leader is one only for the renew deadline after the last renewal *was sent*, which is shorter.

use std::time::Duration;

/// What one look shows of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// None: nobody, it was released.
    pub holder: Option<String>,
    /// Changes with every write.
    pub resource_version: String,
    /// How long it lasts after each renewal, as its holder wrote.
    pub duration: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no Lease: make one.
    Create,
    /// Nobody holds it any more: take it, at this resourceVersion.
    Take,
    /// It is ours: renew it, at this resourceVersion.
    Renew,
    /// Somebody else leads: look again later.
    Wait,
    /// We led and must not any more.
    Lost(Loss),
}

/// How the leadership ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    #[error("{0} holds it now")]
    Taken(String),
    #[error("somebody took our name off it")]
    Released,
    #[error("it was deleted")]
    Deleted,
    #[error("it was not renewed for {} s", .0.as_secs())]
    NotRenewed(Duration),
}

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long the Lease lasts after each renewal.
    pub lease: Duration,
    /// How long a leader goes on without a renewal that worked. Shorter than `lease`.
    pub deadline: Duration,
    /// How often it is renewed or looked at.
    pub retry: Duration,
}

/// What this process knows of the Lease.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    times: Times,
    /// The last change that was seen, and when.
    seen: Option<(String, Duration)>,
    /// While we lead: when the last renewal that worked was sent.
    held_since: Option<Duration>,
}

impl Election {
    pub fn new(identity: String, times: Times) -> Self {
        Self {
            identity,
            times,
            seen: None,
            held_since: None,
        }
    }

    /// What to do, by what a look showed (None: there is no Lease) at this monotonic time.
    pub fn decide(&mut self, sight: Option<&Sight>, now: Duration) -> Step {
        if let Some(loss) = self.overdue(now) {
            return Step::Lost(loss);
        }
        let Some(sight) = sight else {
            return if self.leads() {
                Step::Lost(Loss::Deleted)
            } else {
                Step::Create
            };
        };
        let still_for = self.watch(&sight.resource_version, now);
        match &sight.holder {
            Some(holder) if *holder == self.identity => Step::Renew,
            Some(holder) if self.leads() => Step::Lost(Loss::Taken(holder.clone())),
            None if self.leads() => Step::Lost(Loss::Released),
            None => Step::Take,
            Some(_) if still_for >= sight.duration.max(self.times.lease) => Step::Take,
            Some(_) => Step::Wait,
        }
    }

    /// A write of ours that was sent at `sent` was accepted: we lead from then on.
    pub fn renewed(&mut self, resource_version: &str, sent: Duration, now: Duration) {
        self.held_since = Some(sent);
        self.watch(resource_version, now);
    }

    /// Whether we took it and have not been told to stop.
    pub fn leads(&self) -> bool {
        self.held_since.is_some()
    }

    /// While we lead: when that ends if nothing is renewed before.
    pub fn ends(&self) -> Option<Duration> {
        self.held_since.map(|since| since + self.times.deadline)
    }

    fn overdue(&self, now: Duration) -> Option<Loss> {
        let age = now.saturating_sub(self.held_since?);
        (age >= self.times.deadline).then_some(Loss::NotRenewed(age))
    }

    /// How long the Lease has stood still before our own eyes.
    fn watch(&mut self, resource_version: &str, now: Duration) -> Duration {
        match &self.seen {
            Some((seen, since)) if seen == resource_version => now.saturating_sub(*since),
            _ => {
                self.seen = Some((resource_version.to_owned(), now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        lease: s(15),
        deadline: s(10),
        retry: s(2),
    };

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held_by(holder: &str, version: &str) -> Sight {
        Sight {
            holder: Some(holder.into()),
            resource_version: version.into(),
            duration: s(15),
        }
    }

    fn candidate() -> Election {
        Election::new("me".into(), TIMES)
    }

    fn leader() -> Election {
        let mut election = candidate();
        election.renewed("1", s(0), s(0));
        election
    }

    #[test]
    fn where_there_is_no_lease_it_is_made() {
        assert_eq!(candidate().decide(None, s(0)), Step::Create);
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let released = Sight {
            holder: None,
            ..held_by("", "7")
        };
        assert_eq!(candidate().decide(Some(&released), s(0)), Step::Take);
    }

    #[test]
    fn a_lease_is_taken_only_after_it_stood_still_before_our_own_eyes() {
        let mut election = candidate();
        assert_eq!(
            election.decide(Some(&held_by("other", "7")), s(100)),
            Step::Wait,
            "however old it looks"
        );
        assert_eq!(
            election.decide(Some(&held_by("other", "7")), s(114)),
            Step::Wait
        );
        assert_eq!(
            election.decide(Some(&held_by("other", "8")), s(114)),
            Step::Wait,
            "a change starts the time anew"
        );
        assert_eq!(
            election.decide(Some(&held_by("other", "8")), s(128)),
            Step::Wait
        );
        assert_eq!(
            election.decide(Some(&held_by("other", "8")), s(129)),
            Step::Take
        );
    }

    #[test]
    fn the_longer_of_the_holders_duration_and_our_own_is_waited_for() {
        for (theirs, waited) in [(60, 60), (1, 15)] {
            let lease = Sight {
                duration: s(theirs),
                ..held_by("other", "7")
            };
            let mut election = candidate();
            election.decide(Some(&lease), s(0));
            assert_eq!(election.decide(Some(&lease), s(waited - 1)), Step::Wait);
            assert_eq!(election.decide(Some(&lease), s(waited)), Step::Take);
        }
    }

    #[test]
    fn a_leader_renews_what_is_its_own() {
        assert_eq!(
            leader().decide(Some(&held_by("me", "1")), s(2)),
            Step::Renew
        );
    }

    #[test]
    fn a_lease_in_our_name_whose_write_was_not_answered_is_renewed_before_we_lead() {
        let mut election = candidate();
        assert_eq!(
            election.decide(Some(&held_by("me", "5")), s(3)),
            Step::Renew
        );
        assert!(!election.leads());
    }

    #[test]
    fn a_leader_that_was_paused_stops_whatever_the_lease_says() {
        for sight in [None, Some(held_by("me", "1")), Some(held_by("other", "9"))] {
            assert_eq!(
                leader().decide(sight.as_ref(), s(10)),
                Step::Lost(Loss::NotRenewed(s(10)))
            );
        }
    }

    #[test]
    fn a_leader_counts_from_when_the_renewal_was_sent_not_from_its_answer() {
        let mut election = leader();
        election.renewed("2", s(2), s(9));
        assert_eq!(election.ends(), Some(s(12)));
        assert_eq!(
            election.decide(Some(&held_by("me", "2")), s(12)),
            Step::Lost(Loss::NotRenewed(s(10)))
        );
    }

    #[test]
    fn a_leader_stops_when_the_lease_is_another_ones_nobodys_or_gone() {
        assert_eq!(
            leader().decide(Some(&held_by("other", "9")), s(1)),
            Step::Lost(Loss::Taken("other".into()))
        );
        let released = Sight {
            holder: None,
            ..held_by("", "9")
        };
        assert_eq!(
            leader().decide(Some(&released), s(1)),
            Step::Lost(Loss::Released)
        );
        assert_eq!(leader().decide(None, s(1)), Step::Lost(Loss::Deleted));
    }

    proptest::proptest! {
        /// Two processes with monotonic clocks of their own, any order of steps, any pauses, lost answers: never two leaders.
        #[test]
        fn two_never_lead_at_the_same_time(steps in proptest::collection::vec((0_usize..2, 0_u64..9, 0_u8..4), 1..200)) {
            let mut elections = [Election::new("a".into(), TIMES), Election::new("b".into(), TIMES)];
            let offsets = [s(0), s(1_000_000)];
            let (mut lease, mut now): (Option<Sight>, Duration) = (None, s(0));
            let mut looks: [Option<(Option<Sight>, Step, Duration)>; 2] = [None, None];
            for (who, passed, luck) in steps {
                now += s(passed);
                let local = now + offsets[who];
                match looks[who].take() {
                    // It looked before, was paused for any time, and its write arrives only now.
                    Some((sight, Step::Create | Step::Take | Step::Renew, sent)) => {
                        let version = |lease: &Option<Sight>| lease.as_ref().map(|lease| lease.resource_version.clone());
                        if version(&lease) == version(&sight) {
                            let next = version(&lease).and_then(|at| at.parse::<u64>().ok()).unwrap_or(0) + 1;
                            lease = Some(held_by(["a", "b"][who], &next.to_string()));
                            if luck > 0 {
                                elections[who].renewed(&next.to_string(), sent, local);
                            }
                        }
                    }
                    _ => {
                        let step = elections[who].decide(lease.as_ref(), local);
                        if matches!(step, Step::Lost(_)) {
                            elections[who] = Election::new(["a", "b"][who].into(), TIMES);
                        } else {
                            looks[who] = Some((lease.clone(), step, local));
                        }
                    }
                }
                let leads = |who: usize| elections[who].ends().is_some_and(|end| end > now + offsets[who]);
                proptest::prop_assert!(!(leads(0) && leads(1)), "both lead at {now:?}");
            }
        }
    }
}
