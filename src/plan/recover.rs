//! Recover (`safety`: the four protocols). A Recover only begins it; the proxy's phase and the record carry it on, so that
//! whoever finds it half done, with or without its Recover, goes on from what he sees.

use super::create::touch;
use super::hold;
use super::observed::{Held, Material, Object, Observed, Proxy, Recover, Tried};
use super::proxy;
use super::step::{At, Effect, Hold, Move, Step, Whom, act, write_record};
use super::translate;
use crate::api;
use crate::backend::Access;
use crate::softdelete::{Record, RecordState, Subject, Uid};

/// How a Recover ends, or that it does not yet (SD-20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is about to begin: the proxy's write, for which a purge competes.
    Begin(Box<Step>),
    /// Under way, its own or somebody else's.
    Running,
    Complete,
    /// Finally.
    Failed(Hold),
    Waits(Hold),
}

/// Steps 1 and 2 for one Recover.
pub fn outcome(o: &Observed, recover: &Recover) -> Outcome {
    let uid = Uid(recover.spec.uid.clone());
    match &o.proxy {
        Some(found) if found.is_of(&uid) => begin(o, found, recover),
        Some(_) | None => without_proxy(o, &uid),
    }
}

fn begin(o: &Observed, found: &Proxy, recover: &Recover) -> Outcome {
    match found.status.phase {
        Some(api::Phase::Recovering) => refused_create(o).map_or(Outcome::Running, Outcome::Waits),
        Some(api::Phase::Destroying) => Outcome::Waits(hold::purge_in_progress(found)),
        None => match lawful(o, found, recover) {
            Ok(()) => Outcome::Begin(Box::new(claim(found, recover))),
            Err(hold) if hold::ends_a_recover(&hold) => Outcome::Failed(hold),
            Err(hold) => Outcome::Waits(hold),
        },
    }
}

/// Step 1: what must be so before the proxy is claimed.
fn lawful(o: &Observed, found: &Proxy, recover: &Recover) -> Result<(), Hold> {
    if let Some(hold) = refused_create(o) {
        return Err(hold);
    }
    hold::namespace(o, found, recover.spec.accept_namespace_uid.as_deref())?;
    hold::hsm_not_open(o)?;
    hold::not_sealed_yet(o, found)?;
    hold::standing_object(o, found)
}

/// The server refused the object in this pass: the proxy went back, the Recover waits.
fn refused_create(o: &Observed) -> Option<Hold> {
    o.refused
        .as_ref()
        .filter(|refused| refused.what == Tried::CreateObject)
        .map(|refused| hold::create_refused(o, &refused.why))
}

fn claim(found: &Proxy, recover: &Recover) -> Step {
    let recovering = api::Recovering {
        kind: api::RecoveringKind::Recover,
        name: recover.meta.name.clone(),
        uid: recover.meta.uid.0.clone(),
        include_keys: recover.spec.include_keys,
        new_uid: None,
    };
    let status = api::ProxyStatus {
        phase: Some(api::Phase::Recovering),
        recovering: Some(recovering),
        ..found.status.clone()
    };
    Step::told(
        Effect::ShowProxy(At::of(&found.meta), Box::new(status)),
        Whom::Recover(recover.meta.name.clone()),
        "Recovering",
        format!("The recovery of {} has begun.", found.meta.name),
    )
}

/// Already done, not yet deleted, or nothing there.
fn without_proxy(o: &Observed, uid: &Uid) -> Outcome {
    let terminating = o
        .object
        .as_ref()
        .is_some_and(|object| object.meta.deleted.is_some() && object.meta.uid == *uid);
    if let Some((_, record)) = o.standing() {
        let is_it = record.origin.uid == *uid || record.recovered_from.as_ref() == Some(uid);
        match record.state {
            RecordState::Live if is_it && !terminating => return Outcome::Complete,
            RecordState::Destroying if is_it => return Outcome::Waits(hold::purge_runs(o)),
            _ if is_it => return Outcome::Running,
            _ => {}
        }
    }
    if terminating {
        Outcome::Running
    } else {
        Outcome::Failed(hold::nothing_to_recover(o, uid))
    }
}

/// Steps 3 to 5, over a *Recovering* proxy and a record that is still *deleted*.
pub fn go_on(o: &Observed, found: &Proxy, record: &Record) -> Move {
    let new_uid = found
        .status
        .recovering
        .as_ref()
        .and_then(|recovering| recovering.new_uid.clone());
    if let Some(new_uid) = new_uid {
        hold::hsm_not_open(o)?;
        return act(Step::quiet(write_record(
            o,
            opening(o, record, &Uid(new_uid)),
        )?));
    }
    if can_have_its_object(o, found).is_err() {
        return act(proxy::retained_again(found));
    }
    match &o.object {
        None => create_object(o, found, record),
        Some(object) => claim_object(object, found),
    }
}

/// While nothing was unsealed and the object cannot be made, the proxy goes back to retained.
fn can_have_its_object(o: &Observed, found: &Proxy) -> Result<(), Hold> {
    if let Some(hold) = refused_create(o) {
        return Err(hold);
    }
    hold::hsm_not_open(o)?;
    hold::namespace_there(o)?;
    hold::standing_object(o, found)
}

/// Step 3.
fn create_object(o: &Observed, found: &Proxy, record: &Record) -> Move {
    let snapshot = translate::snapshot_to_recover(found, record);
    act(Step::told(
        Effect::CreateObject(Box::new(snapshot)),
        Whom::Proxy,
        "Recovering",
        format!(
            "{} was made again in the namespace {}.",
            o.lineage.name, o.lineage.namespace
        ),
    ))
}

/// Steps 4 and 5: its owners, then the proxy names it: from here on the recovery is finished, not turned back.
fn claim_object(object: &Object, found: &Proxy) -> Move {
    if !object.meta.finalizer() {
        return act(Step::quiet(Effect::AddFinalizer(
            At::of(&object.meta),
            object.meta.with_ours(),
        )));
    }
    if let Some(managers) = translate::managers_to_restore(object, found) {
        return act(Step::quiet(Effect::RestoreOwners(
            At::of(&object.meta),
            managers,
        )));
    }
    let mut status = found.status.clone();
    if let Some(recovering) = &mut status.recovering {
        recovering.new_uid = Some(object.meta.uid.0.clone());
    }
    act(Step::quiet(Effect::ShowProxy(
        At::of(&found.meta),
        Box::new(status),
    )))
}

fn opening(o: &Observed, record: &Record, new_uid: &Uid) -> Record {
    let mut next = Record {
        state: RecordState::Opening,
        recovered_from: Some(record.origin.uid.clone()),
        ..record.clone()
    };
    next.origin.uid = new_uid.clone();
    if let Some(namespace) = &o.namespace {
        next.origin.namespace_uid = namespace.uid.clone();
    }
    next
}

/// Steps 6 and 7, over *opening*: every version unsealed and proved, then *live*.
pub fn finish(o: &Observed, record: &Record) -> Move {
    let unsealed = match &record.subject {
        Subject::Hsm { .. } => unseal_token(o, record),
        Subject::Key { versions, .. } => {
            hold::hsm_not_open(o)?;
            let token = translate::token_of_key(o)?;
            touch(o, translate::objects(o, &token, record)?.unseal(versions))
        }
    };
    match unsealed? {
        Some(step) => act(step),
        None => {
            let next = Record {
                state: RecordState::Live,
                ..record.clone()
            };
            act(Step::told(
                write_record(o, next)?,
                Whom::Object,
                "Recovered",
                format!("{} is back with the same material.", o.lineage.name),
            ))
        }
    }
}

fn unseal_token(o: &Observed, record: &Record) -> Move {
    let Subject::Hsm { token: Some(token) } = &record.subject else {
        return Ok(None);
    };
    match &o.material {
        Material::Token(Some(facts)) if facts.serial != token.serial => Err(hold::missing(o)),
        Material::Token(Some(facts)) if facts.access == Access::Open => Ok(None),
        Material::Token(Some(_)) => act(Step::quiet(Effect::UnsealToken(translate::token_ref(
            token,
        )))),
        Material::Token(None) => Err(hold::missing(o)),
        other => Err(hold::no_material_seen(o, other)),
    }
}

/// Step 9, over *live*: the object's status shows the recovered record (step 8), or the object is on its way out again.
pub fn end(found: &Proxy, held: &Held, object: Option<&Object>) -> Option<Step> {
    let shown =
        object.is_none_or(|object| translate::shown_generation(object) == Some(held.generation));
    let note = format!("{} was recovered; its proxy is gone.", found.meta.name);
    shown.then(|| {
        Step::told(
            Effect::DeleteProxy(At::of(&found.meta)),
            Whom::Object,
            "Recovered",
            note,
        )
    })
}
