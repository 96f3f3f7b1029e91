//! What ended is remembered for `--purge-history` days, and as long as a resource of that uid stands (`safety`: the record and the ledger); then
//! its finished Purges go, and its record.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::observed::{Held, Material, Observed, Purge};
use super::status;
use super::step::{At, Effect, Step};
use crate::api::Time;
use crate::softdelete::Uid;
use crate::softdelete::purge::history_ends;
use crate::softdelete::retention::next_look;

/// The next thing to forget, where nothing else is to be done.
pub fn step(o: &Observed) -> Option<Step> {
    if !o.clock_trusted {
        return None;
    }
    purge(o).or_else(|| record(o)).map(Step::quiet)
}

/// When the next history ends.
pub fn wake(o: &Observed) -> Option<Duration> {
    let purges = o.purges.iter().filter_map(completed);
    let records = o.records.iter().filter_map(|held| ended(o, held));
    let ends: Vec<_> = purges
        .chain(records)
        .map(|time| history_ends(time, o.settings.history))
        .collect();
    (!ends.is_empty()).then(|| next_look(o.now, ends))
}

fn is_over(o: &Observed, time: DateTime<Utc>) -> bool {
    history_ends(time, o.settings.history) <= o.now
}

fn completed(purge: &Purge) -> Option<DateTime<Utc>> {
    let is_final = status::is_final(&purge.status.conditions) && purge.meta.deleted.is_none();
    purge
        .status
        .completion_time
        .filter(|_| is_final)
        .map(Time::utc)
}

fn ended(o: &Observed, held: &Held) -> Option<DateTime<Utc>> {
    o.ended.get(&held.id).copied()
}

fn purge(o: &Observed) -> Option<Effect> {
    let over = |purge: &&Purge| completed(purge).is_some_and(|time| is_over(o, time));
    let purge = o.purges.iter().find(over)?;
    Some(Effect::DeletePurge(At::of(&purge.meta)))
}

fn record(o: &Observed) -> Option<Effect> {
    let over = |held: &&Held| {
        held.is_final() && ended(o, held).is_some_and(|time| is_over(o, time)) && !stands(o, held)
    };
    let held = o.records.iter().find(over)?;
    Some(Effect::ForgetRecord {
        generation: held.generation,
        id: held.id.clone(),
    })
}

/// A resource of that uid, or something of its material.
fn stands(o: &Observed, held: &Held) -> bool {
    let its = |uid: &Uid| held.record().is_none_or(|record| record.origin.uid == *uid);
    let object = o
        .object
        .as_ref()
        .is_some_and(|object| its(&object.meta.uid));
    let proxy = o
        .proxy
        .as_ref()
        .is_some_and(|found| its(&Uid(found.origin().uid.clone())));
    let material = match &o.material {
        Material::Token(found) => found.is_some(),
        Material::Objects(found) => !found.is_empty(),
        Material::NotLooked | Material::NoToken => false,
        _ => true,
    };
    object || proxy || material && o.standing().is_none()
}
