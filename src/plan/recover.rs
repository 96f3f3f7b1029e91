//! Recover (`safety`: the four protocols). A Recover only begins it; the proxy's phase and the record carry it on, so that
//! whoever finds it half done, with or without its Recover, goes on from what he sees.

use super::create::touch;
use super::hold;
use super::observed::{Body, Held, Hsm, KeyOfHsm, Meta, Object, Observed, Proxy, Recover, Tried};
use super::pin;
use super::proxy;
use super::seal;
use super::step::{At, Effect, Hold, Move, Step, Whom, Why, act, place, write_record};
use super::translate;
use crate::api;
use crate::backend::Access;
use crate::softdelete::recover::{
    self as rules, CreateStep, ProxyNow, RecoverFacts, RecoverVerdict, Standing,
};
use crate::softdelete::{Record, RecordState, Refusal, Subject, Uid};

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

/// Steps 1 and 2 for one Recover: what the rule says of it as things are now.
pub fn outcome(o: &Observed, recover: &Recover) -> Outcome {
    if came_back(o, recover) {
        return Outcome::Complete;
    }
    let facts = match facts(o, recover) {
        Ok(facts) => facts,
        Err(hold) => return Outcome::Waits(hold),
    };
    match rules::recover(&facts) {
        RecoverVerdict::Go => o
            .proxy
            .as_ref()
            .filter(|found| found.status.phase.is_none())
            .map_or_else(|| under_way(o), |found| begin(o, found, recover)),
        RecoverVerdict::Done => unfinished(o, recover).unwrap_or(Outcome::Complete),
        RecoverVerdict::AwaitDeletion => Outcome::Waits(hold::deletion_unfinished()),
        RecoverVerdict::Wait(refusal) => Outcome::Waits(hold::later(refusal)),
        RecoverVerdict::Fail(refusal) => Outcome::Failed(hold::later(refusal)),
    }
}

/// It was finished, and what it brought back was deleted anew before it could be told: that deletion is another one (SD-20).
fn came_back(o: &Observed, recover: &Recover) -> bool {
    o.standing().is_some_and(|(_, record)| {
        record
            .recovered_from
            .as_ref()
            .is_some_and(|uid| uid.0 == recover.spec.uid)
            && record.origin.uid.0 != recover.spec.uid
            && matches!(record.state, RecordState::Sealing | RecordState::Deleted)
    })
}

/// The object lives; but its own recovery is not over while the proxy says so, or while a key follows it.
fn unfinished(o: &Observed, recover: &Recover) -> Option<Outcome> {
    let ours = |status: &api::ProxyStatus| {
        let by = status.recovering.as_ref();
        status.phase == Some(api::Phase::Recovering)
            && by.is_some_and(|by| by.uid == recover.meta.uid.0)
    };
    if o.proxy.as_ref().is_some_and(|found| ours(&found.status)) {
        return Some(under_way(o));
    }
    let follows = |key: &&KeyOfHsm| key.proxy.as_ref().is_some_and(|found| ours(&found.status));
    let key = o.keys.iter().find(follows)?;
    Some(Outcome::Waits(hold::key_follows(&key.record.origin.name)))
}

fn under_way(o: &Observed) -> Outcome {
    hold::keys_hold_up(o).map_or_else(Outcome::Waits, |()| Outcome::Running)
}

fn begin(o: &Observed, found: &Proxy, recover: &Recover) -> Outcome {
    let lawful = hold::hsm_not_open(o).and_then(|()| hold::not_sealed_yet(o, found));
    match lawful {
        Ok(()) => Outcome::Begin(Box::new(claim_for(found, recover))),
        Err(hold) => Outcome::Waits(hold),
    }
}

fn facts(o: &Observed, recover: &Recover) -> Result<RecoverFacts, Hold> {
    let uid = Uid(recover.spec.uid.clone());
    let found = o.proxy.as_ref().filter(|found| found.is_of(&uid));
    let record = its_record(o, &uid);
    Ok(RecoverFacts {
        kind: o.lineage.kind,
        name: o.lineage.name.clone(),
        record: record.map(|record| hold::beside_hsm(o, record)),
        retained: found.is_none_or(|found| translate::dates(found).scheduled_purge_time.is_some()),
        proxy: proxy_now(found, recover),
        standing: standing(o, &uid, found, record)?,
        hsm: hold::hsm_now(o),
        namespace: found.map_or(Ok(()), |found| hold::namespace(o, found, Some(recover))),
        backend: refused_create(o).map_or(Ok(()), Err),
        uid,
    })
}

/// The record of that deletion: the one that names the uid, or that says that it is back.
fn its_record<'a>(o: &'a Observed, uid: &Uid) -> Option<&'a Record> {
    let recovered = |record: &&Record| {
        record.recovered_from.as_ref() == Some(uid)
            && matches!(record.state, RecordState::Opening | RecordState::Live)
    };
    o.record_of(uid)
        .map(|(_, record)| record)
        .or_else(|| o.standing().map(|(_, record)| record).filter(recovered))
}

fn proxy_now(found: Option<&Proxy>, recover: &Recover) -> ProxyNow {
    let Some(found) = found else {
        return ProxyNow::Absent;
    };
    let by = found.status.recovering.as_ref();
    match found.status.phase {
        None => ProxyNow::Retained,
        Some(api::Phase::Destroying) => ProxyNow::Destroying,
        Some(api::Phase::Recovering) => ProxyNow::Recovering {
            ours: by.is_some_and(|by| by.uid == recover.meta.uid.0),
        },
    }
}

fn standing(
    o: &Observed,
    uid: &Uid,
    found: Option<&Proxy>,
    record: Option<&Record>,
) -> Result<Standing, Hold> {
    let Some(object) = &o.object else {
        return Ok(Standing::Nothing);
    };
    if object.meta.deleted.is_some() {
        return Ok(if object.meta.uid == *uid || found.is_some() {
            Standing::Terminating
        } else {
            Standing::Nothing
        });
    }
    let live = record.is_some_and(|record| {
        record.state == RecordState::Live && record.origin.uid == object.meta.uid
    });
    match (found, record) {
        _ if live => Ok(Standing::LiveAgain),
        (Some(found), Some(record)) if found.is_of(&record.origin.uid) => {
            hold::adoption(o, object, record).map(Standing::Waiting)
        }
        _ => Ok(Standing::Waiting(None)),
    }
}

/// The server refused the object in this pass: the proxy went back, the Recover waits.
fn refused_create(o: &Observed) -> Option<Refusal> {
    o.refused
        .as_ref()
        .filter(|refused| refused.what == Tried::CreateObject)
        .map(|refused| hold::create_refused(o, &refused.why))
}

fn claim_for(found: &Proxy, recover: &Recover) -> Step {
    let include_keys = recover.spec.include_keys;
    claim(
        found,
        by(api::RecoveringKind::Recover, &recover.meta, include_keys),
    )
}

fn by(kind: api::RecoveringKind, by: &Meta, include_keys: api::IncludeKeys) -> api::Recovering {
    api::Recovering {
        kind,
        name: by.name.clone(),
        uid: by.uid.0.clone(),
        include_keys,
        new_uid: None,
    }
}

/// With its HSM, whose recovery brings all keys and is past turning back: what was deleted in it is claimed for the same one. A delete under way is
/// finished first, a purge that has the proxy keeps it (SD-21).
pub fn with_its_hsm(o: &Observed, record: &Record, found: &Proxy) -> Move {
    let Some((hsm, all)) = o.hsm.as_ref().and_then(opening_with_all) else {
        return Ok(None);
    };
    let taken = rules::with_its_hsm(record.state, rules::IncludeKeys::All);
    let kept = translate::dates(found).scheduled_purge_time.is_some();
    let namespace = o.namespace.as_ref().filter(|space| !space.terminating);
    // An acceptance of the namespace covers the keys: it is the one that the HSM itself came back into.
    let there = namespace.is_some_and(|space| space.uid == hsm.origin.namespace_uid);
    if taken != rules::KeyOutcome::Recovered || !kept || !there {
        return Ok(None);
    }
    act(claim(
        found,
        api::Recovering {
            include_keys: api::IncludeKeys::None,
            new_uid: None,
            ..all.clone()
        },
    ))
}

/// An HSM's record, and who recovers it with all keys, from *opening* until its proxy goes.
fn opening_with_all(hsm: &Hsm) -> Option<(&Record, &api::Recovering)> {
    let found = hsm.proxy.as_ref().filter(|found| found.includes_keys())?;
    let (_, record) = hsm.record.as_ref()?;
    let by = found.status.recovering.as_ref()?;
    let past_turning = matches!(record.state, RecordState::Opening | RecordState::Live)
        && by.new_uid.as_deref() == Some(record.origin.uid.as_str());
    past_turning.then_some((record, by))
}

/// Step 2: the proxy's write, for which a purge competes.
fn claim(found: &Proxy, recovering: api::Recovering) -> Step {
    let status = api::ProxyStatus {
        phase: Some(api::Phase::Recovering),
        recovering: Some(recovering),
        ..found.status.clone()
    };
    Step::told(
        Effect::ShowProxy(At::of(&found.meta), Box::new(status)),
        Whom::Proxy,
        "Recovering",
        format!("The recovery of {} has begun.", found.meta.name),
    )
}

/// An object whose name is reserved: with `CreateOrRecover` it recovers what reserves it (`recover::create_or_recover`), else it stands.
pub fn by_object(o: &Observed, object: &Object, reserved: Hold) -> Move {
    let mode = translate::create_mode(object);
    let kind = match &object.body {
        Body::Hsm(..) => api::RecoveringKind::ManagedHsm,
        Body::Key(..) => api::RecoveringKind::HsmKey,
    };
    let (Why::Refused(refusal), Some(found), Some(namespace)) =
        (&reserved.why, &o.proxy, &o.namespace)
    else {
        return Err(reserved);
    };
    let names = hold::names_of(o, object);
    match rules::create_or_recover(mode, &names, Some(refusal.clone()), &namespace.uid) {
        CreateStep::Recover(_) => {
            if let Some(refusal) = refused_create(o) {
                return Err(hold::later(refusal));
            }
            hold::namespace_there(o)?;
            hold::hsm_not_open(o)?;
            hold::not_sealed_yet(o, found)?;
            hold::standing_object(o, found)?;
            act(claim(found, by(kind, &object.meta, api::IncludeKeys::None)))
        }
        CreateStep::Stand(other) if other != *refusal => Err(hold::later(other)),
        CreateStep::Create | CreateStep::Stand(_) => Err(reserved),
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
        let opening = opening(o, record, &Uid(new_uid));
        if let Some(object) = seal::leaves_unopened(o, &opening.origin.uid) {
            let next = seal::with_its_dates(o, opening, object);
            return act(Step::quiet(write_record(o, next)?));
        }
        hold::hsm_not_open(o)?;
        return act(Step::quiet(write_record(o, opening)?));
    }
    hold::follows_hsm(o)?;
    if can_have_its_object(o, found).is_err() {
        return act(proxy::retained_again(o, found));
    }
    match &o.object {
        None => create_object(o, found, record),
        Some(object) => claim_object(object, found),
    }
}

/// While nothing was unsealed and the object cannot be made, the proxy goes back to retained.
fn can_have_its_object(o: &Observed, found: &Proxy) -> Result<(), Hold> {
    if let Some(refusal) = refused_create(o) {
        return Err(hold::later(refusal));
    }
    hold::hsm_not_open(o)?;
    hold::namespace_there(o)?;
    namespace_accepted(o, found)?;
    hold::standing_object(o, found)
}

/// The namespace may have been made anew since the proxy was claimed: it is accepted by who recovers, or by the HSM that came back into it (SD-19).
fn namespace_accepted(o: &Observed, found: &Proxy) -> Result<(), Hold> {
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    let around = hsm.map(|(_, hsm)| &hsm.origin.namespace_uid);
    if around.is_some() && around == o.namespace.as_ref().map(|space| &space.uid) {
        return Ok(());
    }
    let by = found.status.recovering.as_ref().map(|by| by.uid.as_str());
    let recover = o
        .recovers
        .iter()
        .find(|recover| Some(recover.meta.uid.as_str()) == by);
    hold::namespace(o, found, recover).map_err(hold::later)
}

/// Step 3.
fn create_object(o: &Observed, found: &Proxy, record: &Record) -> Move {
    let snapshot = translate::snapshot_to_recover(o, found, record);
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
    let stands = o
        .object
        .as_ref()
        .is_some_and(|object| object.meta.uid == *new_uid);
    // Of one that is gone again nobody knows whether it was in this namespace.
    if let Some(namespace) = o.namespace.as_ref().filter(|_| stands) {
        next.origin.namespace_uid = namespace.uid.clone();
    }
    next
}

/// Steps 6 and 7, over *opening*: every version unsealed and proved, then *live*.
pub fn finish(o: &Observed, record: &Record) -> Move {
    if let Some(object) = seal::leaves_unopened(o, &record.origin.uid) {
        return seal::leave_unopened(o, record, object);
    }
    let unsealed = match &record.subject {
        Subject::Hsm { .. } => open_token(o, record),
        Subject::Key { versions, .. } => {
            hold::hsm_not_opening(o)?;
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
                place(o),
                "Recovered",
                format!("{} is back with the same material.", o.lineage.name),
            ))
        }
    }
}

/// Its keys are listed once its token is open: those that were deleted are sealed, and announced anew, before anything says that it lives.
fn open_token(o: &Observed, record: &Record) -> Move {
    if let Some(step) = pin::set(o, record, Access::Open)? {
        return act(step);
    }
    hold::keys_not_sealed(o)?;
    hold::keys_still_announced(o)?;
    Ok(None)
}

/// Step 9, over *live*: the object's status shows the recovered record (step 8), and the keys that come with an HSM are claimed.
pub fn end(o: &Observed, found: &Proxy, held: &Held, object: &Object) -> Option<Step> {
    let shown = translate::shown_generation(object) == Some(held.generation);
    (shown && hold::keys_not_claimed(o).is_ok())
        .then(|| Step::quiet(Effect::DeleteProxy(At::of(&found.meta))))
}
