//! Judgement: what was observed goes in, the next step comes out. Pure: no client, no clock, no chance, no `await`, no logging.
//! The rules are `softdelete`'s; here they meet the API and the backend, in the order of the four protocols (`safety`).

mod create;
pub mod encoding;
mod history;
mod hold;
pub mod ids;
pub mod ledger;
mod lost;
mod material;
pub mod observed;
pub mod orphans;
mod pin;
mod proxy;
mod purge;
mod recover;
mod seal;
mod status;
pub mod step;
mod translate;

pub use observed::{Lineage, Observed, Settings};
pub use purge::on_the_mind as purge_on_the_mind;
pub use status::is_final;
pub use step::{Effect, Plan, Step};
pub use translate::{dates, kept_by};

use std::time::Duration;

use crate::api;
use crate::softdelete::{Record, RecordState, Subject};
use observed::{Held, Material, Object, Proxy};
use recover::Outcome;
use step::{Hold, Move, act};

/// A wake-up is only a hint: everything is looked at again at least once a day.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

/// The lineage's next step: first what the records and the object's life ask for, then its Recovers, then what people are shown.
pub fn plan(o: &Observed) -> Plan {
    let life = life(o);
    if let Ok(Some(step)) = life {
        return Plan {
            step: Some(step),
            wake: None,
        };
    }
    if let Err(doubt) = hold::unreadable(o) {
        return in_doubt(o, &life, &doubt);
    }
    let recovers: Vec<_> = unfinished(o)
        .map(|recover| (recover, recover::outcome(o, recover)))
        .collect();
    if let Some(step) = recovers.iter().find_map(|(_, outcome)| begins(outcome)) {
        return Plan {
            step: Some(step),
            wake: None,
        };
    }
    let ask = asked(o);
    if let Some(step) = ask.as_ref().and_then(|ask| ask.step.clone()) {
        return Plan {
            step: Some(step),
            wake: None,
        };
    }
    let held = life.as_ref().map(|_| ());
    let purges = judged_purges(o);
    let step = status::object(o, &held)
        .or_else(|| {
            recovers
                .iter()
                .find_map(|(recover, outcome)| status::recover(o, recover, outcome))
        })
        .or_else(|| shown_proxy(o, ask.as_ref(), held.err()))
        .or_else(|| {
            purges
                .iter()
                .find_map(|(purge, asked)| status::purge(o, purge, asked, held.err()))
        })
        .or_else(|| history::step(o));
    let waits = recovers.iter().map(|(_, outcome)| outcome);
    let purges = purges
        .iter()
        .filter_map(|(_, asked)| purge::look_again(o, asked));
    let due = purges
        .chain(ask.and_then(|ask| ask.wake))
        .chain(history::wake(o))
        .min();
    let wake = wake(life.err().as_ref(), waits).min(due.unwrap_or(LONGEST_SLEEP));
    Plan {
        step,
        wake: Some(wake),
    }
}

/// Records that nobody can go by: whoever waits for them is told why, and nothing else is written (I6).
fn in_doubt(o: &Observed, life: &Move, doubt: &Hold) -> Plan {
    let held = life.as_ref().map(|_| ());
    let waits = Outcome::Waits(doubt.clone());
    let step = status::object(o, &held)
        .or_else(|| status::proxy_in_doubt(o, doubt))
        .or_else(|| unfinished(o).find_map(|recover| status::recover(o, recover, &waits)))
        .or_else(|| {
            let mut open = open_purges(o).filter(|_| o.purging.looked);
            open.find_map(|purge| {
                let asked = purge::in_doubt(o, purge, doubt);
                status::purge(o, purge, &asked, None)
            })
        });
    Plan {
        step,
        wake: Some(wake(Some(doubt), std::iter::once(&waits))),
    }
}

/// A retained proxy with the record behind it.
fn kept(o: &Observed) -> Option<(&Held, &Record, &Proxy)> {
    let found = o
        .proxy
        .as_ref()
        .filter(|found| found.status.phase.is_none())?;
    let (held, record) = o.standing()?;
    let its = record.state == RecordState::Deleted && found.is_of(&record.origin.uid);
    its.then_some((held, record, found))
}

/// What the clock or somebody asks of a retained proxy.
fn asked(o: &Observed) -> Option<purge::Ask> {
    kept(o).map(|(_, record, found)| purge::retained(o, record, found))
}

/// The Purges that have not ended, and what is said of each; nothing before all that a purge asks for was looked at.
fn judged_purges(o: &Observed) -> Vec<(&observed::Purge, purge::Asked)> {
    open_purges(o)
        .filter(|_| o.purging.looked)
        .map(|purge| (purge, purge::on_request(o, purge)))
        .collect()
}

fn open_purges(o: &Observed) -> impl Iterator<Item = &observed::Purge> {
    o.purges
        .iter()
        .filter(|purge| purge.meta.deleted.is_none() && !status::is_final(&purge.status.conditions))
}

fn unfinished(o: &Observed) -> impl Iterator<Item = &observed::Recover> {
    o.recovers.iter().filter(|recover| {
        recover.meta.deleted.is_none() && !status::is_final(&recover.status.conditions)
    })
}

fn begins(outcome: &Outcome) -> Option<Step> {
    match outcome {
        Outcome::Begin(step) => Some((**step).clone()),
        Outcome::Running | Outcome::Complete | Outcome::Failed(_) | Outcome::Waits(_) => None,
    }
}

fn shown_proxy(o: &Observed, ask: Option<&purge::Ask>, life: Option<&Hold>) -> Option<Step> {
    let found = o.proxy.as_ref()?;
    let held = kept(o).map(|(held, _, _)| held);
    let shown = match found.status.phase {
        None => status::proxy(o, found, held, ask.and_then(|ask| ask.held.as_ref())),
        Some(api::Phase::Destroying) => status::being_purged(o, found, life),
        Some(api::Phase::Recovering) => return None,
    };
    (shown != found.status).then(|| Step {
        effect: Effect::ShowProxy(step::At::of(&found.meta), Box::new(shown)),
        tells: status::purge_held(found, ask.and_then(|ask| ask.held.as_ref())),
    })
}

fn wake<'a>(life: Option<&Hold>, outcomes: impl Iterator<Item = &'a Outcome>) -> Duration {
    let waits = outcomes.filter_map(|outcome| match outcome {
        Outcome::Waits(hold) => hold.again,
        Outcome::Begin(_) | Outcome::Running | Outcome::Complete | Outcome::Failed(_) => None,
    });
    life.and_then(|hold| hold.again)
        .into_iter()
        .chain(waits)
        .min()
        .unwrap_or(LONGEST_SLEEP)
}

/// The protocol's next step, or what holds it: also that the backend refused one in this pass already.
fn life(o: &Observed) -> Move {
    let step = protocol(o)?;
    if step
        .as_ref()
        .is_some_and(|step| step.effect.is_on_backend())
    {
        hold::refused_backend(o)?;
    }
    Ok(step)
}

/// The one place that says which protocol a lineage is in: the highest record decides (`safety`) (SD-01).
fn protocol(o: &Observed) -> Move {
    if let Some(effect) = step::take_over(o) {
        return act(Step::quiet(effect));
    }
    // A backend that is not configured any more counts as material that is missing: no delete waits for it (SD-28).
    if o.material == Material::UnknownBackend && o.records.is_empty() && o.alive().is_none() {
        return seal::without_record(o);
    }
    hold::unreadable(o)?;
    let Some((held, record)) = o.standing() else {
        return match gone_for_good(o)? {
            Some(step) => act(step),
            None => without_record(o),
        };
    };
    if hold::beside_hsm(o, record) != record.state {
        return with_its_hsm(o, record);
    }
    let goes = visitor_goes(o, record);
    if let Ok(Some(step)) = goes {
        return act(step);
    }
    let holder = o
        .alive()
        .filter(|object| object.meta.uid == record.origin.uid);
    match (of_record(o, held, record, holder), o.alive()) {
        (Ok(Some(step)), _) => act(step),
        (held, Some(object)) if holder.is_none() => visitor_beside(held.err(), visitor(o, object)),
        (held, _) => visitor_beside(held.err(), goes),
    }
}

/// What holds the record is not the visitor's to show: it shows why it stands itself, and is looked at again when the record is.
fn visitor_beside(held: Option<Hold>, visitor: Move) -> Move {
    let Some(held) = held else {
        return visitor;
    };
    match visitor {
        Err(own) => Err(Hold {
            again: held.again.into_iter().chain(own.again).min(),
            ..own
        }),
        Ok(None) => Err(held),
        step => step,
    }
}

fn of_record(o: &Observed, held: &Held, record: &Record, holder: Option<&Object>) -> Move {
    match (record.state, holder) {
        (RecordState::Creating, Some(object)) => create::go_on(o, object, record),
        (RecordState::Creating, None) => create::end(o, record),
        (RecordState::Live, Some(object)) => live(o, held, record, object),
        (RecordState::Live, None) => seal::begin(o, record),
        (RecordState::Sealing, _) => seal::finish(o, record),
        (RecordState::Deleted, holder) => {
            let step = deleted(o, held, record)?;
            step.map_or_else(|| still_stands(o, holder), act)
        }
        (RecordState::Opening, _) => recover::finish(o, record),
        (RecordState::Destroying, _) => purge::finish(o, record),
        (RecordState::Tombstone | RecordState::Abandoned, _) => Ok(None),
    }
}

/// Whether something of what ended may still be there, or be made by whoever was paused meanwhile: what was pending, an HSM's token.
pub fn may_leave_something(record: &Record) -> bool {
    let material = match &record.subject {
        Subject::Key { pending, .. } => pending.is_some(),
        Subject::Hsm { .. } => true,
    };
    record.state == RecordState::Tombstone && material
}

/// What ended: the Purges say so, the proxies go, and what may be left of it.
fn gone_for_good(o: &Observed) -> Move {
    let ended = || {
        o.records
            .iter()
            .filter(|held| held.is_final())
            .filter_map(Held::record)
    };
    for record in ended().filter(|record| record.destroyed.is_some()) {
        if let Some(step) = purge::complete(o, record)? {
            return act(step);
        }
    }
    // What the backend refuses of what is left holds nobody up who comes after it.
    let left = ended()
        .filter(|_| hold::refused_backend(o).is_ok())
        .filter(|record| may_leave_something(record))
        .find_map(|record| purge::left_behind(o, record));
    if let Some(step) = left {
        return act(step);
    }
    // Given up, or gone with its HSM: the HSM's Purge, or nobody's, tells.
    match &o.proxy {
        Some(found) if ended().any(|record| found.is_of(&record.origin.uid)) => {
            act(Step::quiet(Effect::DeleteProxy(step::At::of(&found.meta))))
        }
        _ => Ok(None),
    }
}

/// A key whose HSM is being destroyed: the HSM's record stands for it (SD-26).
fn with_its_hsm(o: &Observed, record: &Record) -> Move {
    match &o.object {
        Some(object) if object.meta.deleted.is_some() && object.meta.uid != record.origin.uid => {
            seal::without_record(o)
        }
        Some(object) if object.meta.deleted.is_some() => {
            hold::hsm_being_destroyed(o)?;
            proxy::let_go(o)
        }
        Some(_) => Err(hold::destroyed(&record.origin.uid)),
        None => Ok(None),
    }
}

/// No record holds the name.
fn without_record(o: &Observed) -> Move {
    let lost = lost::write_again(o);
    if let Ok(Some(step)) = lost {
        return act(step);
    }
    let its = |object: &Object| translate::had_material(object) && !translate::is_final(o, object);
    match (&o.object, lost) {
        (Some(object), Err(hold)) if its(object) => Err(hold),
        (Some(object), _) if object.meta.deleted.is_none() => create::begin(o, object),
        (Some(_), _) => seal::without_record(o),
        (None, lost) => lost,
    }
}

/// An object on its way out, of another uid than the record's, lets go at once if it waits, else when the name is free for its proxy; but not while a
/// recovery may be about to give it the material (SD-01).
fn visitor_goes(o: &Observed, record: &Record) -> Move {
    let recovering = o
        .proxy
        .as_ref()
        .is_some_and(|found| found.status.phase == Some(api::Phase::Recovering));
    match &o.object {
        Some(object)
            if object.meta.uid != record.origin.uid
                && object.meta.deleted.is_some()
                && !recovering =>
        {
            seal::without_record(o)
        }
        _ => Ok(None),
    }
}

/// An object that slipped past admission stands, and touches no material (SD-17).
fn visitor(o: &Observed, object: &Object) -> Move {
    hold::had_other_material(o, object)?;
    match hold::reserved(o, object) {
        Err(reserved) => recover::by_object(o, object, reserved),
        Ok(()) => Ok(None),
    }
}

/// What lives: a proxy that a recovery, or a disaster, left beside it goes; then its upkeep.
fn live(o: &Observed, held: &Held, record: &Record, object: &Object) -> Move {
    match o.proxy.as_ref().map(|found| (found, found.status.phase)) {
        Some((found, Some(api::Phase::Recovering))) if seal::ended(found, record) => {
            if let Some(step) = recover::end(o, found, held, object) {
                return act(step);
            }
        }
        Some((found, None)) => {
            return act(Step::quiet(Effect::DeleteProxy(step::At::of(&found.meta))));
        }
        Some((_, Some(api::Phase::Recovering | api::Phase::Destroying))) | None => {}
    }
    create::upkeep(o, held, object, record)
}

/// An old etcd brought back the very object whose record says *deleted*: the record decides, so it stands until it is recovered.
fn still_stands(o: &Observed, holder: Option<&Object>) -> Move {
    match (holder, &o.proxy) {
        (Some(object), Some(found)) => recover::by_object(o, object, hold::by_its_proxy(o, found)),
        _ => Ok(None),
    }
}

fn deleted(o: &Observed, held: &Held, record: &Record) -> Move {
    match &o.proxy {
        Some(found) if found.is_of(&record.origin.uid) => match found.status.phase {
            Some(api::Phase::Recovering) => recover::go_on(o, found, record),
            Some(api::Phase::Destroying) => purge::go_on(o, held, record, found),
            None => match seal::settle(o, held, record)? {
                Some(step) => act(step),
                None => recover::with_its_hsm(o, record, found),
            },
        },
        _ => seal::settle(o, held, record),
    }
}
