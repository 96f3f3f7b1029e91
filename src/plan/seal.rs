//! Delete (`safety`: the four protocols): proxy, seal, record, and only then the finalizer.

use super::create::{publish, touch};
use super::hold;
use super::observed::{Held, Material, Object, Observed, Proxy};
use super::pin;
use super::proxy;
use super::step::{At, Effect, Hold, Move, Step, act, place, write_record};
use super::translate;
use crate::api;
use crate::backend::{Access, Mark};
use crate::softdelete::record::Pending;
use crate::softdelete::{Record, RecordState, Subject, Uid};

/// Steps 1 to 3, over *live*: its uid terminates, or is not there (a stripped finalizer: the deletion is now).
pub fn begin(o: &Observed, record: &Record) -> Move {
    let Some(found) = &o.proxy else {
        return proxy::write(o, record);
    };
    if let Some(step) = clear_the_way(found, record)? {
        return act(step);
    }
    match publish(o, record) {
        Ok(Some(step)) => act(step),
        Ok(None) => sealing(o, found, record),
        // What is not there is sealed when it comes back (SD-28), what its HSM's seal covers by its HSM's recovery (SD-27).
        Err(_) if lets_go_unsealed(o) => sealing(o, found, record),
        Err(hold) => Err(hold),
    }
}

/// A proxy that stands in the way: of another uid, or of a recovery that has ended.
fn clear_the_way(found: &Proxy, record: &Record) -> Move {
    match found.status.phase {
        Some(api::Phase::Recovering) if ended(found, record) => {
            act(Step::quiet(Effect::DeleteProxy(At::of(&found.meta))))
        }
        Some(api::Phase::Recovering) => Err(hold::recovery_in_progress(found)),
        Some(api::Phase::Destroying) => Err(hold::purge_in_progress(found)),
        None if found.is_of(&record.origin.uid) => Ok(None),
        None => act(Step::quiet(Effect::DeleteProxy(At::of(&found.meta)))),
    }
}

/// The recovery brought back this very uid, and its record is *live* already.
pub fn ended(found: &Proxy, record: &Record) -> bool {
    found
        .status
        .recovering
        .as_ref()
        .and_then(|recovering| recovering.new_uid.as_deref())
        == Some(record.origin.uid.as_str())
}

fn sealing(o: &Observed, found: &Proxy, record: &Record) -> Move {
    let dates = translate::dates(found);
    let next = Record {
        state: RecordState::Sealing,
        dates: Some(dates),
        ..record.clone()
    };
    act(Step {
        effect: write_record(o, next)?,
        tells: vec![proxy::soft_deleted(o, found)],
    })
}

/// Step 3, over *sealing*: every version sealed and its original gone, then *deleted*.
pub fn finish(o: &Observed, record: &Record) -> Move {
    let Some(found) = &o.proxy else {
        return proxy::write(o, record);
    };
    if let Ok(Some(step)) = clear_the_way(found, record) {
        return act(step);
    }
    let sealed = match &record.subject {
        Subject::Hsm { .. } => pin::set(o, record, Access::Refused),
        Subject::Key { .. } => seal_key(o, record),
    };
    match sealed {
        Ok(Some(step)) => act(step),
        Ok(None) => {
            hold::keys_not_turned_back(o)?;
            deleted(o, record)
        }
        Err(hold) if lets_go_unsealed(o) && found.is_of(&record.origin.uid) => {
            proxy::let_holder_go(o, record)?.map_or(Err(hold), act)
        }
        Err(hold) => Err(hold),
    }
}

/// Under its HSM's seal, or where the material is simply not there, no delete waits.
fn lets_go_unsealed(o: &Observed) -> bool {
    hold::hsm_is_sealed(o)
        || matches!(o.material, Material::NoToken | Material::Token(None))
        || hold::no_object_at_all(o)
}

/// The object that a recovery made is on its way out, and nothing can be unsealed: under its HSM's seal, or because it is not there, no delete waits.
pub fn leaves_unopened<'a>(o: &'a Observed, new_uid: &Uid) -> Option<&'a Object> {
    o.object
        .as_ref()
        .filter(|object| object.meta.uid == *new_uid && object.meta.deleted.is_some())
        .filter(|_| lets_go_unsealed(o))
}

/// The record says *opening* all the same, with the new deletion's dates: the HSM's recovery finishes it and then seals it.
pub fn with_its_dates(o: &Observed, opening: Record, object: &Object) -> Record {
    Record {
        dates: Some(proxy::dates_of(o, Some(object), &opening)),
        ..opening
    }
}

/// Over *opening*: it leaves a proxy of its own, and goes.
pub fn leave_unopened(o: &Observed, record: &Record, object: &Object) -> Move {
    let dated = record.dates.map(|dates| dates.deletion_time) >= object.meta.deleted;
    if !dated {
        let next = with_its_dates(o, record.clone(), object);
        return act(Step::quiet(write_record(o, next)?));
    }
    match &o.proxy {
        None => proxy::write(o, record),
        Some(found) => {
            clear_the_way(found, record)?.map_or_else(|| proxy::let_holder_go(o, record), act)
        }
    }
}

fn deleted(o: &Observed, record: &Record) -> Move {
    let mut next = Record {
        state: RecordState::Deleted,
        ..record.clone()
    };
    if let Subject::Key { pending, .. } = &mut next.subject {
        *pending = None;
    }
    let note = format!(
        "{} was sealed: it refuses every use until it is recovered.",
        o.lineage.name
    );
    act(Step::told(write_record(o, next)?, place(o), "Sealed", note))
}

fn seal_key(o: &Observed, record: &Record) -> Move {
    hold::hsm_seal_under_way(o)?;
    let Subject::Key {
        versions, pending, ..
    } = &record.subject
    else {
        return Ok(None);
    };
    let token = translate::token_of_key(o)?;
    let objects = translate::objects(o, &token, record)?;
    let end = |pending: &Pending| touch(o, objects.end(pending));
    match pending.as_ref().map(end).transpose()?.flatten() {
        Some(step) => act(step),
        None => touch(o, objects.seal(versions)),
    }
}

/// Steps 4 and 5, over *deleted*: the proxy says which record stands behind it, then the object goes.
pub fn settle(o: &Observed, held: &Held, record: &Record) -> Move {
    let Some(found) = &o.proxy else {
        return proxy::write(o, record);
    };
    if !found.is_of(&record.origin.uid) {
        return clear_the_way(found, record);
    }
    seal_again(o, record)?
        .map_or_else(|| proxy::show_generation(o, found, held), act)?
        .map_or_else(|| proxy::let_holder_go(o, record), act)
}

/// G6: a token whose record is *deleted* and that our PIN still opens is sealed anew; so is a key that a label alone seals.
fn seal_again(o: &Observed, record: &Record) -> Move {
    match (&record.subject, &o.material) {
        (Subject::Hsm { .. }, Material::Token(Some(_))) => pin::set(o, record, Access::Refused),
        (Subject::Key { versions, .. }, Material::Objects(_)) if o.terms.seals_by_label() => {
            let token = translate::token_of_key(o)?;
            let objects = translate::objects(o, &token, record)?;
            touch(o, objects.follow(versions, Mark::Deleted))
        }
        (Subject::Hsm { .. } | Subject::Key { .. }, _) => Ok(None),
    }
}

/// What an object that is on its way out still needs where no record of its uid stands.
pub fn without_record(o: &Observed) -> Move {
    match &o.object {
        Some(object)
            if object.meta.deleted.is_some()
                && translate::had_material(object)
                && !translate::is_final(o, object) =>
        {
            from_status(o, object)
        }
        Some(object) if object.meta.deleted.is_some() => proxy::let_go(o),
        _ => Ok(None),
    }
}

/// MaterialMissing: the proxy is made from the status, and the object lets go; the store may come back (SD-28). It waits while another uid's
/// proxy, or the record that will have one, holds the name.
fn from_status(o: &Observed, object: &Object) -> Move {
    match &o.proxy {
        Some(found) if found.is_of(&object.meta.uid) => proxy::let_go(o),
        Some(found) => Err(Hold {
            again: None,
            ..hold::by_its_proxy(o, found)
        }),
        None if o.standing().is_some() => hold::reserved(o, object).map(|()| None),
        None => proxy::write_from_status(o),
    }
}
