//! Purge (`safety`: the four protocols): scheduled, on request, or direct. `softdelete::purge` says whether; here is in which
//! steps. In doubt nothing is destroyed.

mod destroy;
mod facts;

pub use destroy::{complete, finish, left_behind};
pub use facts::{Asked, approvals, protections};

use super::hold;
use super::observed::{Held, Observed, Proxy, Purge};
use super::status;
use super::step::{At, Effect, Hold, Move, Step, Whom, Why, act, write_record};
use crate::api;
use crate::api::conditions::{self, EXECUTING};
use crate::softdelete::purge::{self as rules, PurgeVerdict};
use crate::softdelete::retention::{Due, due, next_look};
use crate::softdelete::{Record, RecordState, Refusal, Subject};
use facts::{accepted, by_clock, schedule};

/// What the clock, or somebody, asks of a retained proxy now.
pub struct Ask {
    pub step: Option<Step>,
    pub wake: Option<std::time::Duration>,
    /// Why a purge that is due does not happen.
    pub held: Option<Refusal>,
}

impl Ask {
    fn nothing() -> Self {
        Self {
            step: None,
            wake: None,
            held: None,
        }
    }

    fn step(step: Step) -> Self {
        Self {
            step: Some(step),
            ..Self::nothing()
        }
    }
}

/// Whether the look must go on to all that a purge asks for: somebody asks, one is due, under way, or not told yet.
pub fn on_the_mind(o: &Observed) -> bool {
    super::open_purges(o).next().is_some() || under_way(o) || untold(o)
}

fn under_way(o: &Observed) -> bool {
    match (o.standing(), &o.proxy) {
        (Some((_, record)), _) if record.state == RecordState::Destroying => true,
        (Some((_, record)), Some(found)) if record.state == RecordState::Deleted => {
            found.status.phase == Some(api::Phase::Destroying)
                || schedule(o, record, found)
                    .is_none_or(|schedule| due(&schedule, o.now) == Due::Purge)
        }
        _ => false,
    }
}

/// A tombstone whose proxy is still there: its Purges, or a receipt, say so first.
fn untold(o: &Observed) -> bool {
    let ended = o.records.iter().filter(|held| held.is_final());
    let mut ended = ended.filter_map(Held::record);
    o.proxy
        .as_ref()
        .is_some_and(|found| ended.any(|record| found.is_of(&record.origin.uid)))
}

/// Step 0 and 1 over a retained proxy and a record that says *deleted*.
pub fn retained(o: &Observed, record: &Record, found: &Proxy) -> Ask {
    if let Some(schedule) = schedule(o, record, found) {
        match due(&schedule, o.now) {
            // By a clock that runs ahead it would be announced too early, with a date that holds the purge until then.
            Due::Announce if !o.clock_trusted => {
                return Ask {
                    wake: Some(hold::LATER),
                    held: Some(Refusal::ClockNotTrusted),
                    ..Ask::nothing()
                };
            }
            // In a deleted HSM it has no date of its own; after the HSM's recovery it is announced anew (SD-11).
            Due::Announce if hold::hsm_not_open(o).is_ok() => return Ask::step(announce(o, found)),
            Due::Wait(time) if !asked(o, found) => {
                return Ask {
                    wake: Some(next_look(o.now, [time])),
                    ..Ask::nothing()
                };
            }
            Due::Wait(_) | Due::Announce | Due::Never | Due::Purge => {}
        }
    }
    if !o.purging.looked {
        return Ask::nothing();
    }
    let scheduled = rules::purge(&by_clock(o, record, found));
    if asked(o, found) || scheduled == PurgeVerdict::Go {
        return Ask::step(begin(o, found));
    }
    match scheduled {
        PurgeVerdict::Wait(refusal) | PurgeVerdict::Fail(refusal) => Ask {
            wake: Some(hold::LATER),
            held: Some(refusal),
            ..Ask::nothing()
        },
        PurgeVerdict::NotDue(Due::Wait(time)) => Ask {
            wake: Some(next_look(o.now, [time])),
            ..Ask::nothing()
        },
        PurgeVerdict::NotDue(_) | PurgeVerdict::Go => Ask::nothing(),
    }
}

/// One of the Purges that count may be carried out now.
fn asked(o: &Observed, found: &Proxy) -> bool {
    o.purging.looked && accepted(o, found).any(|purge| may_go(o, purge))
}

fn may_go(o: &Observed, purge: &Purge) -> bool {
    on_request(o, purge) == Asked::Judged(PurgeVerdict::Go)
}

fn begin(o: &Observed, found: &Proxy) -> Step {
    let status = api::ProxyStatus {
        phase: Some(api::Phase::Destroying),
        ..status::being_purged(o, found, None)
    };
    let note = format!(
        "The purge of {} has begun{}.",
        found.meta.name,
        with_its_keys(o)
    );
    Step::told(
        Effect::ShowProxy(At::of(&found.meta), Box::new(status)),
        Whom::Proxy,
        "Purging",
        note,
    )
}

fn announce(o: &Observed, found: &Proxy) -> Step {
    let status = status::announced(o, found);
    let note = format!(
        "{} will be purged at {}{}, unless it is recovered before.",
        found.meta.name,
        shown_date(found),
        with_its_keys(o)
    );
    Step::told(
        Effect::ShowProxy(At::of(&found.meta), Box::new(status)),
        Whom::Proxy,
        conditions::PURGE_ANNOUNCED,
        note,
    )
}

fn shown_date(found: &Proxy) -> String {
    found
        .status
        .purge_time
        .map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

/// What the purge of an HSM takes with it, before it does (SD-26).
pub fn with_its_keys(o: &Observed) -> String {
    const NAMED: usize = 10;
    let its = |key: &&super::observed::KeyOfHsm| matches!(&key.record.subject, Subject::Key { versions, .. } if !versions.is_empty());
    let mut names: Vec<_> = o
        .keys
        .iter()
        .filter(its)
        .map(|key| key.record.origin.name.as_str())
        .collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    match (names.len(), more) {
        (0, _) => String::new(),
        (1, _) => format!(" with its key {}", names[0]),
        (count, 0) => format!(" with its {count} keys: {}", names.join(", ")),
        (count, more) => format!(
            " with its {count} keys: {} and {more} more",
            names[..NAMED].join(", ")
        ),
    }
}

/// What becomes of one Purge, as things are now.
pub fn on_request(o: &Observed, purge: &Purge) -> Asked {
    facts::on_request(o, purge)
}

/// What becomes of one Purge while nobody can go by the records: it waits, but not for ever.
pub fn in_doubt(o: &Observed, purge: &Purge, doubt: &Hold) -> Asked {
    match (facts::expired(o, purge), &doubt.why) {
        (Err(expired), _) => Asked::Judged(PurgeVerdict::Fail(expired)),
        (Ok(()), Why::Refused(refusal)) => Asked::Judged(PurgeVerdict::Wait(refusal.clone())),
        (Ok(()), Why::Progress(_)) => Asked::NotYet,
    }
}

/// When a Purge that waits is judged again, if nothing wakes it before.
pub fn look_again(o: &Observed, asked: &Asked) -> Option<std::time::Duration> {
    match asked {
        Asked::Judged(PurgeVerdict::Wait(Refusal::RateLimited { next, .. })) => {
            Some(next_look(o.now, [*next]))
        }
        Asked::Judged(PurgeVerdict::Wait(_)) | Asked::Executing | Asked::NotYet => {
            Some(hold::LATER)
        }
        Asked::Judged(_) => None,
    }
}

/// Steps 1 and 2 over *Destroying* and a record that still says *deleted*: the second look, and the point of no return, or the way back.
pub fn go_on(o: &Observed, held: &Held, record: &Record, found: &Proxy) -> Move {
    let shown = found
        .status
        .record_generation
        .and_then(|shown| u64::try_from(shown).ok());
    if shown < Some(held.generation) {
        return act(turned_back(held, found));
    }
    if !o.purging.looked {
        return Err(hold::purge_in_progress(found));
    }
    let asked: Vec<_> = accepted(o, found)
        .filter(|purge| may_go(o, purge))
        .collect();
    let scheduled = rules::purge(&by_clock(o, record, found)) == PurgeVerdict::Go;
    if asked.is_empty() && !scheduled {
        // One generation up: a paused purger that decided on the old one can write nothing any more.
        return act(Step::quiet(write_record(o, record.clone())?));
    }
    let executes = |purge: &&&Purge| conditions::is_true(&purge.status.conditions, EXECUTING);
    if let Some(purge) = asked.iter().find(|purge| !executes(purge)) {
        return act(status::executing(o, purge));
    }
    let next = Record {
        state: RecordState::Destroying,
        requesters: asked
            .iter()
            .map(|purge| purge.spec.requested_by.clone())
            .collect(),
        ..record.clone()
    };
    act(Step::quiet(write_record(o, next)?))
}

fn turned_back(held: &Held, found: &Proxy) -> Step {
    let status = api::ProxyStatus {
        phase: None,
        record_generation: i64::try_from(held.generation).ok(),
        ..found.status.clone()
    };
    let note = format!(
        "The purge of {} was turned back before anything was destroyed.",
        found.meta.name
    );
    Step::told(
        Effect::ShowProxy(At::of(&found.meta), Box::new(status)),
        Whom::Proxy,
        "PurgeTurnedBack",
        note,
    )
}
