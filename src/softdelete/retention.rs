//! Retention: how long, from when, until when, and when to look again. A day is a parameter, since demonstrations scale it.
//! Every doubt makes a date later or absent, never earlier.

use chrono::{DateTime, Duration, Utc};

use super::{Dates, Refusal};

/// The fewest and the most days (SD-08).
pub const MIN_DAYS: i32 = 7;
pub const MAX_DAYS: i32 = 90;

/// How long a day lasts if nobody scaled it.
pub const DAY: Duration = Duration::seconds(86_400);

/// The longest sleep; dates are read anew at least this often, however long a day is.
const LONGEST_SLEEP: Duration = Duration::seconds(86_400);

/// SD-08 The retention in effect: what was said, else the HSM's, else 90. A key that says more than its HSM's
/// is refused. A number outside 7 to 90, which the schema refuses, counts as the nearest in it.
pub fn retention_days(said: Option<i32>, hsm_days: Option<i32>) -> Result<i32, Refusal> {
    let most = hsm_days.unwrap_or(MAX_DAYS).clamp(MIN_DAYS, MAX_DAYS);
    let days = said.unwrap_or(most).clamp(MIN_DAYS, MAX_DAYS);
    if days > most {
        return Err(Refusal::RetentionExceedsHsm {
            days,
            hsm_days: most,
        });
    }
    Ok(days)
}

/// What is known of the moment at which an object was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionFacts {
    /// `metadata.deletionTimestamp`; absent where the object is gone.
    pub deleted: Option<DateTime<Utc>>,
    /// `metadata.creationTimestamp`.
    pub created: Option<DateTime<Utc>>,
    /// The record's last deletion, of an earlier life.
    pub last_deletion: Option<DateTime<Utc>>,
    /// The time of discovery.
    pub now: DateTime<Utc>,
    pub clock_trusted: bool,
}

/// SD-09 When the clock starts: when the delete was accepted. Where that time is not known or cannot be right, the
/// later of it and the discovery.
pub fn deletion_time(facts: &DeletionFacts) -> DateTime<Utc> {
    let discovered = whole_seconds_up(facts.now);
    let Some(deleted) = facts.deleted.map(whole_seconds_up) else {
        return discovered;
    };
    if facts.clock_trusted && can_be_right(deleted, facts) {
        deleted
    } else {
        deleted.max(discovered)
    }
}

fn can_be_right(deleted: DateTime<Utc>, facts: &DeletionFacts) -> bool {
    let earliest = facts.created.max(facts.last_deletion);
    earliest.is_none_or(|earliest| deleted >= earliest) && deleted <= whole_seconds_up(facts.now)
}

/// The dates of a deletion: days × a day's length after it, in whole seconds; without days the purge is direct (SD-09, SD-02).
pub fn dates(deletion_time: DateTime<Utc>, days: Option<i32>, day: Duration) -> Dates {
    let deletion_time = whole_seconds_up(deletion_time);
    Dates {
        deletion_time,
        scheduled_purge_time: days.map(|days| later(deletion_time, day, days)),
        retention_days: days,
    }
}

/// `start + day × times`, rounded up; beyond what a date can say it is the last date there is.
fn later(start: DateTime<Utc>, day: Duration, times: i32) -> DateTime<Utc> {
    let wait = day.checked_mul(times);
    let end = wait.and_then(|wait| start.checked_add_signed(wait));
    whole_seconds_up(end.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// The next whole second; a whole one stays.
pub fn whole_seconds_up(time: DateTime<Utc>) -> DateTime<Utc> {
    let up = i64::from(time.timestamp_subsec_nanos() > 0);
    DateTime::from_timestamp(time.timestamp() + up, 0).unwrap_or(time)
}

/// When a purge by the clock may come. Ordered by strictness: of two, the greater holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PurgeDate {
    /// Soft-delete was off: as soon as its proxy and record are there.
    Direct,
    At(DateTime<Utc>),
    /// A date that must be there is missing: protected, until somebody knows it.
    Never,
}

impl PurgeDate {
    /// The date, where there is one.
    pub const fn time(self) -> Option<DateTime<Utc>> {
        match self {
            Self::At(time) => Some(time),
            Self::Direct | Self::Never => None,
        }
    }
}

/// When the clock purges by these dates: directly only where the record says that soft-delete was off (SD-02).
pub fn purge_date(scheduled: Option<DateTime<Utc>>, soft_delete: bool) -> PurgeDate {
    match scheduled {
        Some(time) => PurgeDate::At(time),
        None if soft_delete => PurgeDate::Never,
        None => PurgeDate::Direct,
    }
}

/// An HSM, from its keys' point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HsmFate {
    Live,
    SoftDeleted(PurgeDate),
    Purged,
}

/// SD-11 What a key's purge date is now: the HSM's while that is soft-deleted, else its own. A key of a purged HSM has no date any more.
pub const fn date_in_hsm(own: PurgeDate, hsm: HsmFate) -> Option<PurgeDate> {
    match hsm {
        HsmFate::Live => Some(own),
        HsmFate::SoftDeleted(date) => Some(date),
        HsmFate::Purged => None,
    }
}

/// What the scheduled purge of one object depends on. Of a key in a soft-deleted HSM nothing is asked: it shares the HSM's fate (SD-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The stricter of the proxy's and the record's.
    pub date: PurgeDate,
    /// `status.announcedAt`.
    pub announced_at: Option<DateTime<Utc>>,
    pub day: Duration,
}

/// What the clock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before that time.
    Wait(DateTime<Utc>),
    /// Announce it now; it may be due a day later.
    Announce,
    /// The time has come: purge, if nothing holds it.
    Purge,
    /// Never by the clock.
    Never,
}

/// SD-10 What is due now: a day ahead the announcement, and the purge when the date is past and the announcement a day old.
pub fn due(schedule: &Schedule, now: DateTime<Utc>) -> Due {
    let date = match schedule.date {
        PurgeDate::Direct => return Due::Purge,
        PurgeDate::Never => return Due::Never,
        PurgeDate::At(date) => date,
    };
    match schedule.announced_at {
        Some(at) => wait_or(earliest_purge(date, at, schedule.day), now, Due::Purge),
        None => wait_or(announcement_time(date, schedule.day), now, Due::Announce),
    }
}

fn wait_or(time: DateTime<Utc>, now: DateTime<Utc>, then: Due) -> Due {
    if now < time { Due::Wait(time) } else { then }
}

/// When the announcement is due: a day before the date (SD-10).
pub fn announcement_time(date: DateTime<Utc>, day: Duration) -> DateTime<Utc> {
    date.checked_sub_signed(day)
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// The first moment at which an announced purge may run: the date, but a day after the announcement at least (SD-10).
pub fn earliest_purge(
    date: DateTime<Utc>,
    announced_at: DateTime<Utc>,
    day: Duration,
) -> DateTime<Utc> {
    whole_seconds_up(date).max(later(announced_at, day, 1))
}

/// How long to sleep: until the next thing due after `now`, never longer than a day of the clock, since a wake-up is only a
/// hint. What is due already was judged at `now` and is not waited for (SD-10).
pub fn next_look(
    now: DateTime<Utc>,
    due: impl IntoIterator<Item = DateTime<Utc>>,
) -> std::time::Duration {
    let ahead = due.into_iter().filter(|time| *time > now);
    let sleeps = ahead.map(|time| time.signed_duration_since(now));
    let shortest = sleeps.fold(LONGEST_SLEEP, Duration::min);
    shortest.to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests;
