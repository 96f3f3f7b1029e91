//! Whether the time of day can be trusted: pure, fed with readings.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Reading;

/// What is still counted as one and the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How far the local clock and the API server's may be apart.
    pub tolerance: Duration,
    /// How far the time of day may move away from the monotonic clock between two looks before it is a jump.
    pub jump: Duration,
    /// How long a jump is held against the clock. Both clocks of one machine jump together, so their agreement is no
    /// proof: people get this long to notice.
    pub settle: Duration,
    /// How old the last comparison may be.
    pub stale: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tolerance: Duration::from_secs(60),
            jump: Duration::from_secs(5),
            settle: Duration::from_secs(3600),
            stale: Duration::from_secs(300),
        }
    }
}

/// Why the time may not be gone by. The text says the cause and what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    #[error(
        "the local clock was not yet compared with the API server's; it is tried again by itself"
    )]
    NeverCompared,
    #[error("the local clock was last compared with the API server's {} s ago; it is tried again by itself", .age.as_secs())]
    Stale { age: Duration },
    #[error("the local clock and the API server's are {} s apart; set both by NTP", .by.num_seconds().abs())]
    Apart { by: TimeDelta },
    #[error("the local clock jumped by {} s; nothing is purged for another {} s, look whether it is right now", .by.num_seconds(), .left.as_secs())]
    Jumped { by: TimeDelta, left: Duration },
}

#[derive(Clone, Copy, Debug)]
struct Comparison {
    server: DateTime<Utc>,
    received: Duration,
    apart: TimeDelta,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    at: Duration,
    by: TimeDelta,
}

/// What was seen of the clocks so far.
#[derive(Clone, Debug)]
pub struct Skew {
    limits: Limits,
    last: Reading,
    jump: Option<Jump>,
    compared: Option<Comparison>,
}

impl Skew {
    pub fn new(limits: Limits, first: Reading) -> Self {
        Self {
            limits,
            last: first,
            jump: None,
            compared: None,
        }
    }

    /// Looks for a jump since the last reading.
    pub fn tick(&mut self, reading: Reading) {
        let passed = delta(reading.monotonic.saturating_sub(self.last.monotonic));
        let by = (reading.wall - self.last.wall) - passed;
        if by.abs() > delta(self.limits.jump) {
            self.jump = Some(Jump {
                at: reading.monotonic,
                by,
            });
            // What agreed before the jump says nothing about after it.
            self.compared = None;
        }
        self.last = reading;
    }

    /// Takes note of a `Date` of the API server. An answer that took longer than the tolerance says too little.
    pub fn compare(&mut self, sent: Reading, received: Reading, server: DateTime<Utc>) {
        let travel = received.monotonic.saturating_sub(sent.monotonic);
        let jumped_meanwhile = self.jump.is_some_and(|jump| jump.at > sent.monotonic);
        if travel <= self.limits.tolerance && !jumped_meanwhile {
            let apart = received.wall - server;
            self.compared = Some(Comparison {
                server,
                received: received.monotonic,
                apart,
            });
        }
    }

    /// The earlier of the local time and the API server's, or the doubt.
    pub fn judge(&self, reading: Reading) -> Result<DateTime<Utc>, Doubt> {
        let Limits {
            tolerance,
            jump: _,
            settle,
            stale,
        } = self.limits;
        if let Some(jump) = self.jump {
            let left = settle.saturating_sub(reading.monotonic.saturating_sub(jump.at));
            if !left.is_zero() {
                return Err(Doubt::Jumped { by: jump.by, left });
            }
        }
        let compared = self.compared.ok_or(Doubt::NeverCompared)?;
        let age = reading.monotonic.saturating_sub(compared.received);
        if age > stale {
            return Err(Doubt::Stale { age });
        }
        if compared.apart.abs() > delta(tolerance) {
            return Err(Doubt::Apart { by: compared.apart });
        }
        Ok(reading.wall.min(compared.server + delta(age)))
    }

    /// The later of the local time and the API server's. Its dates are whole seconds, so one second more; where it was not compared the tolerance more.
    pub fn latest(&self, reading: Reading) -> DateTime<Utc> {
        let ahead = match &self.compared {
            Some(compared) => (-compared.apart).max(TimeDelta::zero()) + TimeDelta::seconds(1),
            None => delta(self.limits.tolerance),
        };
        reading.wall + ahead
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of day and the monotonic clock, in seconds.
    fn reading(wall: i64, monotonic: u64) -> Reading {
        Reading {
            wall: date(wall),
            monotonic: Duration::from_secs(monotonic),
        }
    }

    fn date(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(1_700_000_000 + seconds)
    }

    fn compared(wall: i64, monotonic: u64, server: i64) -> Skew {
        let now = reading(wall, monotonic);
        let mut skew = Skew::new(Limits::default(), now);
        skew.compare(now, now, date(server));
        skew
    }

    #[test]
    fn a_clock_that_was_never_compared_is_not_trusted() {
        let skew = Skew::new(Limits::default(), reading(0, 0));
        assert_eq!(skew.judge(reading(0, 0)), Err(Doubt::NeverCompared));
    }

    #[test]
    fn the_later_of_both_clocks_is_never_before_what_the_server_says() {
        assert_eq!(compared(0, 0, 40).latest(reading(10, 10)), date(51));
        assert_eq!(compared(0, 0, -40).latest(reading(10, 10)), date(11));
        let never = Skew::new(Limits::default(), reading(0, 0));
        assert_eq!(never.latest(reading(0, 0)), date(60));
    }

    #[test]
    fn two_clocks_within_the_tolerance_are_trusted_and_the_earlier_counts() {
        assert_eq!(compared(0, 0, -60).judge(reading(10, 10)), Ok(date(-50)));
        assert_eq!(compared(0, 0, 60).judge(reading(10, 10)), Ok(date(10)));
    }

    #[test]
    fn two_clocks_beyond_the_tolerance_are_not_trusted_in_either_direction() {
        for server in [-61, 61] {
            let verdict = compared(0, 0, server).judge(reading(0, 0));
            assert_eq!(
                verdict,
                Err(Doubt::Apart {
                    by: TimeDelta::seconds(-server)
                })
            );
        }
    }

    #[test]
    fn a_jump_of_years_is_held_although_the_api_servers_clock_jumped_along() {
        for years in [-10_i64, 10] {
            let by = years * 365 * 86_400;
            let mut skew = compared(0, 0, 0);
            let after = reading(by + 10, 10);
            skew.tick(after);
            skew.compare(after, after, after.wall);
            assert!(
                matches!(skew.judge(after), Err(Doubt::Jumped { by: jumped, .. }) if jumped == TimeDelta::seconds(by))
            );
        }
    }

    #[test]
    fn a_jump_is_forgiven_after_the_settling_time_and_a_new_comparison() {
        let mut skew = compared(0, 0, 0);
        skew.tick(reading(1000, 10));
        let later = reading(1000 + 3600, 10 + 3600);
        skew.tick(later);
        assert_eq!(
            skew.judge(later),
            Err(Doubt::NeverCompared),
            "what agreed before the jump does not count"
        );
        skew.compare(later, later, later.wall);
        assert_eq!(skew.judge(later), Ok(later.wall));
    }

    #[test]
    fn slow_drift_between_looks_is_no_jump() {
        let mut skew = compared(0, 0, 0);
        for step in 1..=20_i64 {
            skew.tick(reading(step * 11, u64::try_from(step * 10).expect("small")));
        }
        assert_eq!(
            skew.judge(reading(220, 200)),
            Ok(date(200)),
            "the server's time, carried on by the monotonic clock"
        );
    }

    #[test]
    fn an_old_comparison_is_worth_nothing() {
        let verdict = compared(0, 0, 0).judge(reading(301, 301));
        assert_eq!(
            verdict,
            Err(Doubt::Stale {
                age: Duration::from_secs(301)
            })
        );
    }

    #[test]
    fn an_answer_that_was_long_on_its_way_is_not_counted() {
        let mut skew = Skew::new(Limits::default(), reading(0, 0));
        skew.compare(reading(0, 0), reading(61, 61), date(61));
        assert_eq!(skew.judge(reading(61, 61)), Err(Doubt::NeverCompared));
    }

    #[test]
    fn an_answer_that_was_asked_for_before_a_jump_is_not_counted() {
        let mut skew = compared(0, 0, 0);
        skew.tick(reading(1000, 2));
        skew.compare(reading(1, 1), reading(1001, 3), date(1001));
        let later = reading(1000 + 4000, 4000);
        assert_eq!(skew.judge(later), Err(Doubt::NeverCompared));
    }

    #[test]
    fn every_doubt_is_one_sentence_for_people() {
        let doubt = Doubt::Jumped {
            by: TimeDelta::seconds(-90),
            left: Duration::from_secs(12),
        };
        assert_eq!(
            doubt.to_string(),
            "the local clock jumped by -90 s; nothing is purged for another 12 s, look whether it is right now"
        );
        assert_eq!(
            Doubt::Apart {
                by: TimeDelta::seconds(-75)
            }
            .to_string(),
            "the local clock and the API server's are 75 s apart; set both by NTP"
        );
    }
}
