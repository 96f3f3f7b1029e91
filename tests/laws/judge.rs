//! The laws: what must hold of each plan, judged by the observation it was made from and by nothing of the planner's own reasoning.

use managed_hsm_operator::api;
use managed_hsm_operator::backend::{Access, Class, Handle, Mark, ObjectFacts};
use managed_hsm_operator::plan::observed::{
    Body, Held, KeyOfHsm, Material, NearObject, NearProxy, Object, Observed, Proxy, ProxySpec,
    Purge,
};
use managed_hsm_operator::plan::step::{At, Effect};
use managed_hsm_operator::plan::{Plan, ids, plan};
use managed_hsm_operator::softdelete::record::{Algorithm, Version};
use managed_hsm_operator::softdelete::state::{self, LettingGo};
use managed_hsm_operator::softdelete::{Dates, Kind, Record, RecordState, Subject, Uid, arbiter};

/// Err: why the plan breaks the law.
pub type Verdict = Result<(), String>;
pub type Law = fn(&Observed, &Plan) -> Verdict;

fn check(holds: bool, why: &str) -> Verdict {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

fn effect(plan: &Plan) -> Option<&Effect> {
    plan.step.as_ref().map(|step| &step.effect)
}

fn standing(o: &Observed) -> Option<&Record> {
    o.standing().map(|(_, record)| record)
}

fn state(o: &Observed) -> Option<RecordState> {
    standing(o).map(|record| record.state)
}

/// Nothing stands, and something ended for good.
fn ended(o: &Observed) -> bool {
    let mut all = o.records.iter().filter_map(Held::record);
    all.any(|record| record.state == RecordState::Tombstone)
}

fn versions(record: &Record) -> &[Version] {
    match &record.subject {
        Subject::Key { versions, .. } => versions,
        Subject::Hsm { .. } => &[],
    }
}

fn objects(o: &Observed) -> &[ObjectFacts] {
    match &o.material {
        Material::Objects(found) => found,
        _ => &[],
    }
}

fn by_handle(o: &Observed, handle: Handle) -> Option<&ObjectFacts> {
    objects(o).iter().find(|object| object.handle == handle)
}

/// The recorded version that the object is of.
fn version_of<'a>(o: &'a Observed, object: &ObjectFacts) -> Option<&'a Version> {
    standing(o).and_then(|record| {
        versions(record)
            .iter()
            .find(|version| version.material.0 == object.id.to_string())
    })
}

fn proves(object: &ObjectFacts, version: &Version) -> bool {
    object
        .proved
        .as_ref()
        .is_some_and(|proved| ids::fingerprint(proved) == version.fingerprint)
}

/// A proved object of the same id and class under that mark, which behaves as its mark says.
fn has_proved(o: &Observed, version: &Version, class: Class, mark: Mark) -> bool {
    objects(o).iter().any(|object| {
        object.id.to_string() == version.material.0
            && object.class == class
            && object.mark == mark
            && object.usable == Some(mark != Mark::Deleted)
            && proves(object, version)
    })
}

fn status_of(object: &Object) -> (Option<&String>, bool) {
    match &object.body {
        Body::Hsm(_, shown) => (shown.hsm_id.as_ref(), shown.record_generation.is_some()),
        Body::Key(_, shown) => (
            shown.hsm_id.as_ref(),
            shown.record_generation.is_some() || !shown.versions.is_empty(),
        ),
    }
}

/// Its status says that it had material (SD-28).
pub fn status_names_material(object: &Object) -> bool {
    let (id, more) = status_of(object);
    id.is_some() || more
}

/// The last state of what stood under this uid.
fn record_of<'a>(o: &'a Observed, uid: &Uid) -> Option<&'a Record> {
    let own = ids::record_id(uid);
    o.record_of(uid).map(|(_, record)| record).or_else(|| {
        let its = |held: &&Held| held.id == own && held.is_final();
        o.records.iter().find(its).and_then(Held::record)
    })
}

// ---- material ----

/// I1: nothing that a record names is destroyed before its time: only an original beside its proved copy of the other mark, under our own *sealing* or
/// *opening*, or all of it under *destroying*.
pub fn destroys_only_what_has_its_copy(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::Destroy { handle, .. }) = effect(plan) else {
        return Ok(());
    };
    if o.lineage.kind == Kind::Hsm {
        let mut contents = o.purging.contents.iter().flatten();
        check(
            contents.any(|object| object.handle == *handle),
            "a handle that this look did not take",
        )?;
        return check(
            standing(o).is_none_or(|record| record.state == RecordState::Destroying),
            "an HSM's object under a record that allows no destroying",
        );
    }
    let object = by_handle(o, *handle).ok_or("a handle that this look did not take")?;
    if is_being_made(o, object) {
        return Err("half of what somebody may be making just now".into());
    }
    let Some(version) = version_of(o, object) else {
        return Ok(());
    };
    match (state(o), object.mark) {
        (Some(RecordState::Destroying), _) => Ok(()),
        (Some(RecordState::Sealing), Mark::Live | Mark::Pending) => check(
            has_proved(o, version, object.class, Mark::Deleted),
            "an original without its proved sealed copy",
        ),
        (Some(RecordState::Opening), Mark::Deleted | Mark::Pending) => check(
            has_proved(o, version, object.class, Mark::Live),
            "a sealed one without its proved live copy",
        ),
        (Some(RecordState::Live), Mark::Pending) => check(
            has_proved(o, version, object.class, Mark::Live),
            "a pending one of a recorded version without the proved live one",
        ),
        _ => Err("recorded material under a record that allows no destroying".into()),
    }
}

/// Pending, of the id that the record is about to get.
fn is_being_made(o: &Observed, object: &ObjectFacts) -> bool {
    let making = matches!(state(o), Some(RecordState::Creating | RecordState::Live));
    let pending = standing(o).and_then(|record| match &record.subject {
        Subject::Key { pending, .. } => pending.as_ref(),
        Subject::Hsm { .. } => None,
    });
    making && pending.is_some_and(|pending| pending.material.0 == object.id.to_string())
}

/// I1: a record becomes *destroying* only where it was *deleted* and its time has come, or as the end of a *creating* whose uid is gone.
pub fn ends_only_what_is_due(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::WriteRecord { record, .. }) = effect(plan) else {
        return Ok(());
    };
    if record.state != RecordState::Destroying {
        return Ok(());
    }
    let before = standing(o).ok_or("a *destroying* that follows nothing")?;
    match before.state {
        RecordState::Creating => check(
            o.alive()
                .is_none_or(|object| object.meta.uid != before.origin.uid)
                && versions(before).is_empty(),
            "the end of a *creating* whose object lives",
        ),
        RecordState::Deleted => {
            let claimed = o
                .proxy
                .as_ref()
                .is_some_and(|found| found.status.phase == Some(api::Phase::Destroying));
            check(claimed, "a purge that its proxy does not say")?;
            check(is_due(o, before), "a purge before its time")?;
            let by_clock = o
                .proxy
                .as_ref()
                .is_some_and(|found| is_time(o, before, found));
            check(
                by_clock || !record.requesters.is_empty(),
                "a purge on request that does not say on whose",
            )?;
            check(
                by_clock
                    || o.purges
                        .iter()
                        .filter(|it| counts(o, before, it))
                        .all(executes),
                "a purge on request that can be withdrawn still",
            )
        }
        _ => Err("a *destroying* that follows neither *creating* nor *deleted*".into()),
    }
}

/// By the later of proxy's and record's date and a day after the announcement; or because somebody asked for just this, was seen while the policies stood, and
/// nothing protects it; or because the record says that soft-delete was off. And never in a doubt.
fn is_due(o: &Observed, record: &Record) -> bool {
    let Some(found) = o
        .proxy
        .as_ref()
        .filter(|found| found.is_of(&record.origin.uid))
    else {
        return false;
    };
    let (recorded, written) = (record.dates, dates_of(found));
    let doubt = !o.clock_trusted
        || !o.purging.looked
        || o.purging.definitions.is_some()
        || o.lineage.kind == Kind::Key && !o.hsm_is_live()
        || o.purging.hsm_recovery.is_some()
        || o.purging.unreadable_key.is_some()
        || is_named(o, record)
        || is_recovered(o, found)
        || recorded.is_none_or(|dates| {
            dates.deletion_time != written.deletion_time
                || dates.scheduled_purge_time != written.scheduled_purge_time
        })
        || found.status.record_generation != o.standing().map(|(held, _)| held.generation as i64)
        || !proved(o, record);
    if doubt {
        return false;
    }
    is_time(o, record, found) || is_asked(o, record)
}

/// By the clock, or directly.
fn is_time(o: &Observed, record: &Record, found: &Proxy) -> bool {
    let announced = found
        .status
        .announced_at
        .is_some_and(|time| time.utc() + chrono::Duration::days(1) <= o.now);
    match dates_of(found).scheduled_purge_time {
        Some(date) => date <= o.now && announced,
        None => !record.soft_delete,
    }
}

/// Somebody asked for just this, and was seen while the policies stood.
fn counts(o: &Observed, record: &Record, purge: &Purge) -> bool {
    purge.spec.uid == record.origin.uid.0
        && purge.meta.deleted.is_none()
        && api::conditions::is_true(&purge.status.conditions, api::conditions::ACCEPTED)
        && purge.meta.created + chrono::Duration::days(7) > o.now
}

fn executes(purge: &Purge) -> bool {
    api::conditions::is_true(&purge.status.conditions, api::conditions::EXECUTING)
}

/// Recovery wins: somebody, or its object, asks for it back, or its HSM's recovery with all keys is not over.
fn is_recovered(o: &Observed, found: &Proxy) -> bool {
    let asks = o.recovers.iter().any(|recover| {
        let conditions = &recover.status.conditions;
        let over = [api::conditions::COMPLETE, api::conditions::FAILED]
            .iter()
            .any(|end| api::conditions::is_true(conditions, end));
        recover.spec.uid == found.origin().uid && recover.meta.deleted.is_none() && !over
    });
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.proxy.as_ref());
    let brought = hsm.is_some_and(|found| {
        let by = found.status.recovering.as_ref();
        found.status.phase == Some(api::Phase::Recovering)
            && by.is_some_and(|by| by.include_keys == api::IncludeKeys::All)
    });
    asks || brought || o.alive().is_some_and(wants_recovery)
}

fn is_asked(o: &Observed, record: &Record) -> bool {
    let hsm_protected = o.hsm.as_ref().is_some_and(|hsm| {
        hsm.record
            .as_ref()
            .is_none_or(|(_, record)| record.purge_protection)
    });
    let keys_protected = o.keys.iter().any(|key| key.record.purge_protection);
    let asking = o.purges.iter().filter(|purge| counts(o, record, purge));
    asking.count() >= o.settings.quorum
        && o.policies.missing(o.now).is_none()
        && o.purging.put_back.is_none()
        && o.settings.purge_rate > 0
        && !o.settings.undeletable
        && !(record.purge_protection || hsm_protected || keys_protected)
}

/// SD-10: by a clock that runs ahead an announcement would come too early, and hold the purge for as long as that clock was wrong.
pub fn announces_only_by_a_trusted_clock(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::ShowProxy(_, shown)) = effect(plan) else {
        return Ok(());
    };
    let before = o.proxy.as_ref().and_then(|found| found.status.announced_at);
    check(
        o.lineage.kind == Kind::Hsm
            || o.hsm_is_live()
            || shown.announced_at.is_none()
            || shown.announced_at == before,
        "an announcement in an HSM that is not live (SD-11)",
    )?;
    check(
        o.clock_trusted || shown.announced_at.is_none() || shown.announced_at == before,
        "an announcement by a clock that is not trusted",
    )
}

/// The material is there and proves to be the recorded one.
fn proved(o: &Observed, record: &Record) -> bool {
    match (&o.material, &record.subject) {
        (Material::Token(Some(facts)), Subject::Hsm { token: Some(token) }) => {
            facts.label.0 == token.label && facts.serial == token.serial
        }
        (Material::Objects(found), Subject::Key { versions, .. }) => {
            versions.iter().all(|version| {
                let mut its = found
                    .iter()
                    .filter(|object| object.id.to_string() == version.material.0)
                    .peekable();
                its.peek().is_some() && its.all(|object| proves(object, version))
            })
        }
        _ => false,
    }
}

/// I2: nothing that a live object refers to is destroyed, or made to refuse its use.
pub fn leaves_what_a_live_object_has(o: &Observed, plan: &Plan) -> Verdict {
    let ends = |record: &&Record| record.state == RecordState::Destroying;
    if let Some(record) = standing(o).filter(ends) {
        return check(
            effect(plan).is_none_or(|effect| !effect.is_on_backend()) || !is_named(o, record),
            "what a live object's status names is destroyed",
        );
    }
    let holder = |record: &Record| {
        record.state == RecordState::Live
            && o.alive()
                .is_some_and(|object| object.meta.uid == record.origin.uid)
    };
    if !standing(o).is_some_and(holder) {
        return Ok(());
    }
    match effect(plan) {
        Some(Effect::Destroy { handle, .. }) => check(
            by_handle(o, *handle).is_some_and(|object| object.mark == Mark::Pending),
            "a live object's material is destroyed",
        ),
        Some(Effect::SealToken(_) | Effect::Copy { .. }) => {
            Err("a live object's material is sealed".into())
        }
        Some(Effect::WriteRecord { record, .. }) => check(
            record.state == RecordState::Live,
            "a live object's record leaves *live*",
        ),
        _ => Ok(()),
    }
}

/// A live object's status names the material: an old etcd, or something worse.
fn is_named(o: &Observed, record: &Record) -> bool {
    o.alive().is_some_and(|object| match &object.body {
        Body::Hsm(_, shown) => shown.hsm_id.as_deref() == Some(record.id.as_str()),
        Body::Key(_, shown) => versions(record).iter().any(|version| {
            let mut shown = shown.versions.iter();
            shown.any(|shown| shown.material_id == version.material.0)
        }),
    })
}

/// G3: material is touched only under the record that says so, by the handles of this look, in the token that the record names; a copy is never made
/// twice, and only of what proves itself.
pub fn touches_material_only_under_its_record(o: &Observed, plan: &Plan) -> Verdict {
    let state = state(o);
    match effect(plan) {
        Some(Effect::Copy {
            original,
            mark,
            token,
        }) => {
            let object = by_handle(o, *original).ok_or("a handle that this look did not take")?;
            let version = version_of(o, object).ok_or("a copy of what no record names")?;
            let right = matches!(
                (state, mark),
                (Some(RecordState::Sealing), Mark::Deleted)
                    | (Some(RecordState::Opening), Mark::Live)
            );
            check(right, "a copy under the wrong record")?;
            check(
                proves(object, version),
                "a copy of what does not prove itself",
            )?;
            let again = objects(o).iter().any(|other| {
                other.id == object.id && other.class == object.class && other.mark == *mark
            });
            check(!again, "a copy is made twice")?;
            in_its_token(o, &token.label.0, &token.serial)
        }
        Some(Effect::Destroy { token, .. }) if o.lineage.kind == Kind::Hsm => {
            in_own_token(o, &token.label.0, &token.serial)
        }
        Some(Effect::Destroy { token, .. }) => in_its_token(o, &token.label.0, &token.serial),
        Some(Effect::Publish { handle, token }) => {
            check(
                state == Some(RecordState::Live),
                "a label under another record than *live*",
            )?;
            let object = by_handle(o, *handle).ok_or("a handle that this look did not take")?;
            let version = version_of(o, object).ok_or("a label for what no record names")?;
            check(
                proves(object, version),
                "a label for what does not prove itself",
            )?;
            in_its_token(o, &token.label.0, &token.serial)
        }
        Some(Effect::SealToken(token)) => {
            check(
                matches!(state, Some(RecordState::Sealing | RecordState::Deleted)),
                "a seal under the wrong record",
            )?;
            in_own_token(o, &token.label.0, &token.serial)
        }
        Some(Effect::UnsealToken(token)) => {
            check(
                matches!(state, Some(RecordState::Opening | RecordState::Live)),
                "an unsealing under the wrong record",
            )?;
            in_own_token(o, &token.label.0, &token.serial)
        }
        Some(Effect::OpenForDestruction(token)) => {
            check(
                state == Some(RecordState::Destroying) || state.is_none() && ended(o),
                "opened for destruction under another record",
            )?;
            in_own_token(o, &token.label.0, &token.serial)
        }
        Some(Effect::ReleaseToken(token)) => {
            check(
                state.is_none() && ended(o) && o.purging.contents == Some(Vec::new()),
                "a token given back that stands, or is not empty",
            )?;
            in_own_token(o, &token.label.0, &token.serial)
        }
        Some(Effect::CreateToken(label)) => check(
            state == Some(RecordState::Creating)
                && standing(o).is_some_and(|record| record.id.0 == label.0),
            "a token without its *creating*",
        ),
        _ => Ok(()),
    }
}

fn in_its_token(o: &Observed, label: &str, serial: &str) -> Verdict {
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    names(hsm.map(|(_, record)| record), label, serial)
}

fn in_own_token(o: &Observed, label: &str, serial: &str) -> Verdict {
    let tombstone = || {
        let mut all = o.records.iter().filter_map(Held::record);
        all.find(|record| record.state == RecordState::Tombstone && record.id.0 == label)
    };
    names(standing(o).or_else(tombstone), label, serial)
}

fn names(record: Option<&Record>, label: &str, serial: &str) -> Verdict {
    let named = matches!(record.map(|record| &record.subject),
        Some(Subject::Hsm { token: Some(token) }) if token.label == label && token.serial == serial);
    check(named, "a token that no record names")
}

/// G3, I5: a record says of its material only what this look proved: *deleted* where each version refuses every use and no original is left, *live* where each
/// works again, *tombstone* where nothing is left of it in the token that the record names.
pub fn says_only_what_is_proved(o: &Observed, plan: &Plan) -> Verdict {
    let (Some(before), Some(Effect::WriteRecord { record, .. })) = (standing(o), effect(plan))
    else {
        return Ok(());
    };
    match (before.state, record.state) {
        (RecordState::Sealing, RecordState::Deleted) => check(
            is_all(o, before, Mark::Deleted, Access::Refused),
            "deleted while something of it can be used",
        ),
        (RecordState::Opening, RecordState::Live) => check(
            is_all(o, before, Mark::Live, Access::Open),
            "live while something of it is sealed",
        ),
        (RecordState::Destroying, RecordState::Tombstone) => {
            check(is_gone(o, before), "a tombstone of what may be there still")
        }
        _ => Ok(()),
    }
}

/// Every object of every version proves itself under that mark and behaves so; an HSM's own token does as that access says.
fn is_all(o: &Observed, record: &Record, mark: Mark, access: Access) -> bool {
    match (&record.subject, &o.material) {
        (Subject::Hsm { token }, Material::Token(Some(facts))) => {
            let its = token.as_ref().map(|token| &token.serial);
            its == Some(&facts.serial) && facts.access == access
        }
        (Subject::Hsm { .. }, _) => false,
        (
            Subject::Key {
                versions,
                algorithm,
                ..
            },
            _,
        ) => versions.iter().all(|version| {
            let classes: &[Class] = match algorithm {
                Algorithm::Oct(_) => &[Class::Secret],
                Algorithm::Rsa(_) | Algorithm::Ec(_) => &[Class::Private, Class::Public],
            };
            let mut its = objects(o)
                .iter()
                .filter(|object| object.id.to_string() == version.material.0);
            let whole = classes
                .iter()
                .all(|class| has_proved(o, version, *class, mark));
            whole && its.all(|object| object.mark == mark)
        }),
    }
}

/// Looked at in the right token, and nothing of it is there. What was only pending is ended where it cannot be looked at, too.
fn is_gone(o: &Observed, record: &Record) -> bool {
    match (&record.subject, &o.material) {
        (Subject::Hsm { token: None }, Material::Token(None)) => true,
        (Subject::Hsm { token }, Material::Token(Some(facts))) => {
            let named = token
                .as_ref()
                .is_none_or(|token| token.serial == facts.serial);
            named && o.purging.contents == Some(Vec::new())
        }
        (
            Subject::Key {
                versions, pending, ..
            },
            Material::Objects(found),
        ) => {
            let pending = pending.iter().map(|pending| &pending.material.0);
            let versions = versions.iter().map(|version| &version.material.0);
            let all: Vec<_> = versions.chain(pending).collect();
            !found.iter().any(|it| all.contains(&&it.id.to_string()))
        }
        (Subject::Key { versions, .. }, Material::Sealed | Material::NoToken) => {
            versions.is_empty()
        }
        _ => false,
    }
}

/// SD-28: nothing is generated, and no *creating* is written, where status or record says that there was material.
pub fn never_makes_other_material(o: &Observed, plan: &Plan) -> Verdict {
    match effect(plan) {
        Some(Effect::Generate { id, .. }) => {
            let record = standing(o).ok_or("without a record")?;
            let Subject::Key { pending, .. } = &record.subject else {
                return Err("in an HSM's place".into());
            };
            let its = |named: &str| named == id.to_string();
            check(
                pending
                    .as_ref()
                    .is_some_and(|pending| its(&pending.material.0))
                    && !versions(record)
                        .iter()
                        .any(|version| its(&version.material.0)),
                "what the record does not name as pending",
            )?;
            check(
                objects(o)
                    .iter()
                    .filter(|object| object.id == *id)
                    .all(|object| object.mark == Mark::Pending && !is_whole(o, object)),
                "beside one that is whole, or labelled, already",
            )?;
            never_had(o, record.state == RecordState::Creating)
        }
        Some(Effect::CreateToken(_)) => never_had(o, true),
        Some(Effect::WriteRecord { record, .. }) if record.state == RecordState::Creating => {
            never_had(o, true)?;
            let object = o.alive().ok_or("for an object that does not live")?;
            check(
                record_of(o, &object.meta.uid).is_none() && standing(o).is_none(),
                "over another record",
            )?;
            check(o.proxy.is_none(), "beside a proxy")
        }
        _ => Ok(()),
    }
}

/// It and its other half prove to be one key.
fn is_whole(o: &Observed, half: &ObjectFacts) -> bool {
    half.proved.is_some()
        && objects(o).iter().any(|other| {
            other.id == half.id && other.class != half.class && other.proved == half.proved
        })
}

fn never_had(o: &Observed, first: bool) -> Verdict {
    let holder = o.alive().ok_or("for an object that does not live")?;
    check(
        !first || !status_names_material(holder),
        "while its status says that it had material",
    )
}

// ---- neither object nor proxy ----

/// SD-03: our finalizer goes only where nothing was made, nothing is left, or a proxy of that uid is there and the material refuses every use.
pub fn never_neither_object_nor_proxy(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::RemoveFinalizer(..)) = effect(plan) else {
        return Ok(());
    };
    let object = o.object.as_ref().ok_or("of no object")?;
    check(object.meta.deleted.is_some(), "of an object that lives")?;
    let uid = &object.meta.uid;
    let proxied = o.proxy.as_ref().is_some_and(|found| found.is_of(uid));
    let record = record_of(o, uid);
    let state = record.map(|record| match &o.hsm {
        Some(hsm) => hsm.record.as_ref().map_or(record.state, |(_, hsm)| {
            arbiter::state_in_hsm(record.state, hsm.state)
        }),
        None => record.state,
    });
    let waiting = match state {
        None => !status_names_material(object),
        Some(_) => false,
    };
    let gone = matches!(state, Some(RecordState::Tombstone | RecordState::Abandoned));
    check(
        proxied || waiting || gone,
        "neither object nor proxy is left",
    )?;
    let facts = LettingGo {
        state: state::object_state(state, status_names_material(object)),
        proxy: proxied,
        record: state,
        missing: is_missing(o) || record.is_none(),
        hsm_sealed: hsm_state(o) == Some(RecordState::Deleted),
    };
    check(state::may_let_go(&facts), "its material can still be used")
}

fn hsm_state(o: &Observed) -> Option<RecordState> {
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    hsm.map(|(_, record)| record.state)
}

fn is_missing(o: &Observed) -> bool {
    match &o.material {
        Material::NoToken | Material::Token(None) => true,
        Material::Objects(found) => found.is_empty(),
        _ => false,
    }
}

// ---- records ----

/// G4, I6: a record is written as the next generation of this look's, by an edge that is there, loosening and forgetting nothing.
pub fn follows_the_record(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::WriteRecord { generation, record }) = effect(plan) else {
        return Ok(());
    };
    check(record.cluster == o.settings.cluster, "of another cluster")?;
    check(record.kind() == o.lineage.kind, "of another kind")?;
    let before = o.records.iter().find(|held| held.id == record.id);
    let Some(before) = before else {
        check(
            *generation == 1,
            "a first record that is not the first generation",
        )?;
        check(
            o.standing().is_none(),
            "a second record beside one that stands",
        )?;
        return check(
            arbiter::may_be_first(record.state),
            "a first record in that state",
        );
    };
    check(
        *generation == before.generation + 1,
        "not the generation after this look's",
    )?;
    let old = before.record().ok_or("after one that nobody can read")?;
    arbiter::may_follow(old, record).map_err(|breach| format!("{breach:?}"))?;
    let pending = matches!(
        record.subject,
        Subject::Key {
            pending: Some(_),
            ..
        }
    );
    check(
        !(pending && matches!(record.state, RecordState::Deleted | RecordState::Opening)),
        "what is pending goes on into a state that knows none",
    )
}

/// I6: where records disagree, are unknown, foreign or old, nothing is written but what the object, its proxy, its Recovers and its Purges are told about it: conditions,
/// and never a generation, which is what finds an old store out.
/// Where no backend is configured that could hold any, an object on its way out leaves its proxy and goes (SD-28).
pub fn writes_nothing_in_doubt(o: &Observed, plan: &Plan) -> Verdict {
    if !in_doubt(o) || leaves_without_backend(o, plan) {
        return Ok(());
    }
    let told = match effect(plan) {
        None | Some(Effect::ShowRecover(..) | Effect::ShowPurge(..)) => return Ok(()),
        Some(Effect::ShowHsm(_, shown)) => serde_json::to_value(shown),
        Some(Effect::ShowKey(_, shown)) => serde_json::to_value(shown),
        Some(Effect::ShowProxy(_, shown)) => serde_json::to_value(shown),
        Some(other) => return Err(format!("{other:?}")),
    };
    let before = match effect(plan) {
        Some(Effect::ShowProxy(..)) => o
            .proxy
            .as_ref()
            .map(|found| serde_json::to_value(&found.status)),
        _ => o.object.as_ref().map(|object| match &object.body {
            Body::Hsm(_, shown) => serde_json::to_value(shown),
            Body::Key(_, shown) => serde_json::to_value(shown),
        }),
    };
    let (Ok(mut told), Some(Ok(mut before))) = (told, before) else {
        return Err("a status of nothing".into());
    };
    for status in [&mut told, &mut before] {
        status["conditions"] = serde_json::Value::Null;
        status["observedGeneration"] = serde_json::Value::Null;
    }
    check(told == before, "more than conditions is told")
}

fn leaves_without_backend(o: &Observed, plan: &Plan) -> bool {
    let terminating = o
        .object
        .as_ref()
        .is_some_and(|object| object.meta.deleted.is_some());
    let leaves = matches!(
        effect(plan),
        Some(Effect::CreateProxy(_) | Effect::RemoveFinalizer(..))
    );
    o.material == Material::UnknownBackend && o.records.is_empty() && terminating && leaves
}

fn in_doubt(o: &Observed) -> bool {
    let foreign = |held: &Held| {
        held.record()
            .is_none_or(|record| record.cluster != o.settings.cluster)
    };
    o.material == Material::UnknownBackend
        || o.records
            .iter()
            .any(|held| foreign(held) || is_old(o, held))
}

fn is_old(o: &Observed, held: &Held) -> bool {
    let Some(record) = held.record() else {
        return true;
    };
    let of_object = o
        .object
        .as_ref()
        .filter(|object| object.meta.uid == record.origin.uid);
    let object = of_object.and_then(|object| match &object.body {
        Body::Hsm(_, shown) => shown.record_generation,
        Body::Key(_, shown) => shown.record_generation,
    });
    let of_proxy = o
        .proxy
        .as_ref()
        .filter(|found| found.is_of(&record.origin.uid));
    let proxy = of_proxy.and_then(|found| found.status.record_generation);
    object
        .max(proxy)
        .is_some_and(|shown| shown > held.generation as i64)
}

/// I6, SD-13: unknown is protected: a proxy shows itself purgeable only from a record that says so, and a level with "Purgeable" never without one.
pub fn unknown_counts_as_protected(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::ShowProxy(_, shown)) = effect(plan) else {
        return Ok(());
    };
    let found = o.proxy.as_ref().ok_or("of no proxy")?;
    if shown.purge_protection != Some(false) || found.status.purge_protection == Some(false) {
        return Ok(());
    }
    let its = standing(o).filter(|record| found.is_of(&record.origin.uid));
    check(
        its.is_some_and(|record| !record.purge_protection),
        "shown purgeable without a record that says so",
    )
}

// ---- the cluster ----

/// Each write carries name, uid and resourceVersion of this look; ours is the only finalizer that comes or goes.
pub fn writes_only_at_this_look(o: &Observed, plan: &Plan) -> Verdict {
    let object = || o.object.as_ref().map(|object| &object.meta);
    let proxy = || o.proxy.as_ref().map(|found| &found.meta);
    let at = match effect(plan) {
        Some(Effect::AddFinalizer(at, all) | Effect::RemoveFinalizer(at, all)) => {
            let theirs = |all: &[String]| -> Vec<String> {
                let mut all = all.to_vec();
                all.retain(|finalizer| finalizer != api::FINALIZER);
                all
            };
            let before = object().map(|meta| theirs(&meta.finalizers));
            check(
                before == Some(theirs(all)),
                "somebody else's finalizer is touched",
            )?;
            Some((at, object()))
        }
        Some(Effect::RestoreOwners(at, _) | Effect::ShowHsm(at, _) | Effect::ShowKey(at, _)) => {
            Some((at, object()))
        }
        Some(Effect::ShowProxy(at, _) | Effect::DeleteProxy(at)) => Some((at, proxy())),
        Some(Effect::ShowRecover(at, _)) => {
            let found = o
                .recovers
                .iter()
                .find(|recover| recover.meta.name == at.name);
            Some((at, found.map(|recover| &recover.meta)))
        }
        Some(Effect::ShowPurge(at, _)) => {
            let found = o.purges.iter().find(|purge| purge.meta.name == at.name);
            Some((at, found.map(|purge| &purge.meta)))
        }
        _ => None,
    };
    at.map_or(Ok(()), |(at, meta)| {
        check(
            meta.map(At::of).as_ref() == Some(at),
            "not what this look saw",
        )
    })
}

/// A proxy is deleted only where something else stands for what it is of: never a *Destroying* one, a *Recovering* one only past the
/// *opening* for its newUid, a retained one only of another uid than the record's, or beside the living object that the record names.
pub fn deletes_a_proxy_only_when_something_else_stands(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::DeleteProxy(_)) = effect(plan) else {
        return Ok(());
    };
    let found = o.proxy.as_ref().ok_or("of no proxy")?;
    let Some(record) = standing(o) else {
        return check(is_told(o, found), "while no record stands");
    };
    let new_uid = found
        .status
        .recovering
        .as_ref()
        .and_then(|by| by.new_uid.as_deref());
    match found.status.phase {
        Some(api::Phase::Destroying) => Err("a *Destroying* one".into()),
        Some(api::Phase::Recovering) => check(
            new_uid == Some(record.origin.uid.as_str())
                && (leaves_unopened(o, record)
                    || matches!(
                        record.state,
                        RecordState::Live | RecordState::Sealing | RecordState::Deleted
                    )),
            "a *Recovering* one that is not past its opening",
        ),
        None if found.is_of(&record.origin.uid) => check(
            record.state == RecordState::Live
                && o.alive()
                    .is_some_and(|object| object.meta.uid == record.origin.uid),
            "the proxy of what is deleted",
        ),
        None => Ok(()),
    }
}

/// Its record was given up, or is a tombstone that a finished Purge tells; a key's tombstone that is its HSM's is told by the HSM's.
fn is_told(o: &Observed, found: &Proxy) -> bool {
    let complete = o.purges.iter().any(|purge| {
        found.is_of(&Uid(purge.spec.uid.clone()))
            && api::conditions::is_true(&purge.status.conditions, api::conditions::COMPLETE)
    });
    let mut ended = o.records.iter().filter_map(Held::record);
    ended.any(|record| {
        found.is_of(&record.origin.uid)
            && match record.state {
                RecordState::Abandoned => true,
                RecordState::Tombstone => complete || record.destroyed.is_none(),
                _ => false,
            }
    })
}

/// A record is forgotten only when it is final, its history is over, and nothing of that uid stands.
pub fn forgets_only_what_is_over(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::ForgetRecord { id, generation }) = effect(plan) else {
        return Ok(());
    };
    let held = o.records.iter().find(|held| held.id == *id);
    let held = held.ok_or("of no record")?;
    let record = held.record().ok_or("of what nobody can read")?;
    let ended = o.ended.get(id).ok_or("of what has no end")?;
    let object = o.object.as_ref().map(|object| &object.meta.uid);
    let proxy = o
        .proxy
        .as_ref()
        .is_some_and(|found| found.is_of(&record.origin.uid));
    check(
        held.is_final() && held.generation == *generation,
        "of one that stands",
    )?;
    check(
        *ended + o.settings.history <= o.now && o.clock_trusted,
        "before its time",
    )?;
    check(
        object != Some(&record.origin.uid) && !proxy,
        "while something of it stands",
    )
}

/// SD-01: a proxy is made only of what had material, of the right uid, while none is there and while its object does not live.
pub fn makes_a_proxy_only_of_what_had_material(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::CreateProxy(spec)) = effect(plan) else {
        return Ok(());
    };
    check(o.proxy.is_none(), "beside another one")?;
    let uid = Uid(origin(spec).uid.clone());
    let of_object = o.object.as_ref().filter(|object| object.meta.uid == uid);
    let lives = of_object.is_some_and(|object| object.meta.deleted.is_none());
    match record_of(o, &uid) {
        Some(record) => match record.state {
            RecordState::Live => check(!lives, "of an object that lives"),
            // An old etcd brought the object back: the record decides, and a Recover gives it back.
            RecordState::Sealing | RecordState::Deleted => Ok(()),
            RecordState::Opening if leaves_unopened(o, record) => Ok(()),
            _ => Err("of what has no material, or none any more".into()),
        },
        None => check(
            of_object.is_some_and(status_names_material),
            "of what waits",
        ),
    }
}

/// It was being recovered when its HSM was deleted, or its material was lost, and then itself: it stays *opening* and its object goes (no delete waits there).
fn leaves_unopened(o: &Observed, record: &Record) -> bool {
    let going = o
        .object
        .as_ref()
        .filter(|object| object.meta.uid == record.origin.uid)
        .and_then(|object| object.meta.deleted);
    let dated = record
        .dates
        .is_some_and(|dates| Some(dates.deletion_time) >= going);
    record.state == RecordState::Opening
        && (hsm_state(o) == Some(RecordState::Deleted) || is_missing(o))
        && going.is_some()
        && dated
}

fn origin(spec: &ProxySpec) -> &api::Origin {
    match spec {
        ProxySpec::Hsm(spec) => &spec.origin,
        ProxySpec::Key(spec) => &spec.origin,
    }
}

fn dates(spec: &ProxySpec) -> Dates {
    let (deletion, scheduled, days) = match spec {
        ProxySpec::Hsm(spec) => (
            spec.deletion_time,
            spec.scheduled_purge_time,
            spec.retention_days,
        ),
        ProxySpec::Key(spec) => (
            spec.deletion_time,
            spec.scheduled_purge_time,
            spec.retention_days,
        ),
    };
    Dates {
        deletion_time: deletion.utc(),
        scheduled_purge_time: scheduled.map(|time| time.utc()),
        retention_days: days,
    }
}

/// SD-04, SD-09, I6: no date comes earlier than the record's, or than what the proxy shows; a proxy without a date is one whose record says that soft-delete was off.
pub fn no_date_comes_earlier(o: &Observed, plan: &Plan) -> Verdict {
    match effect(plan) {
        Some(Effect::CreateProxy(spec)) => {
            let dates = dates(spec);
            let uid = Uid(origin(spec).uid.clone());
            let record = record_of(o, &uid);
            if dates.scheduled_purge_time.is_none() {
                // A record that lost its date counts as protected: its proxy says no other.
                return check(
                    record.is_some_and(|record| {
                        let lost = record
                            .dates
                            .is_some_and(|dates| dates.scheduled_purge_time.is_none());
                        !record.soft_delete || lost
                    }),
                    "no date though soft-delete was on",
                );
            }
            let recorded = record.and_then(|record| record.dates);
            check(
                recorded.is_none_or(|recorded| {
                    dates.deletion_time >= recorded.deletion_time
                        && dates.scheduled_purge_time >= recorded.scheduled_purge_time
                }),
                "earlier than the record's",
            )
        }
        Some(Effect::ShowProxy(_, shown)) => {
            let found = o.proxy.as_ref().ok_or("of no proxy")?;
            let written = dates_of(found).scheduled_purge_time;
            let before = found.status.purge_time.map(|time| time.utc());
            let shown = shown.purge_time.map(|time| time.utc());
            // SD-11: in a deleted HSM it is the HSM's.
            let around = matches!(
                hsm_state(o),
                Some(
                    RecordState::Sealing
                        | RecordState::Deleted
                        | RecordState::Opening
                        | RecordState::Destroying
                )
            );
            check(
                shown.is_none() || shown >= written || around || shown == before,
                "shown earlier than it was written",
            )
        }
        _ => Ok(()),
    }
}

fn dates_of(found: &Proxy) -> Dates {
    dates(&found.spec)
}

/// The phase is moved only along its edges: retained to *Recovering* by somebody who asks for this uid while the record is *deleted*; back only before
/// a newUid is there; a newUid once, and only that of the object that stands. A *Destroying* one is the purge's.
pub fn moves_the_phase_only_along_its_edges(o: &Observed, plan: &Plan) -> Verdict {
    let Some(Effect::ShowProxy(_, shown)) = effect(plan) else {
        return Ok(());
    };
    let found = o.proxy.as_ref().ok_or("of no proxy")?;
    let before = &found.status;
    let new_uid =
        |status: &api::ProxyStatus| status.recovering.as_ref().and_then(|by| by.new_uid.clone());
    match (before.phase, shown.phase) {
        (None, Some(api::Phase::Recovering)) => begins_lawfully(o, found),
        (Some(api::Phase::Recovering), None) => check(
            new_uid(before).is_none(),
            "turned back while an object has it",
        ),
        (Some(api::Phase::Recovering), Some(api::Phase::Recovering)) => {
            let (was, is) = (new_uid(before), new_uid(shown));
            check(was.is_none() || was == is, "a newUid moves")?;
            let named = |uid: String| o.alive().is_some_and(|object| object.meta.uid.0 == uid);
            check(
                was == is || is.is_none_or(named),
                "a newUid of what does not live",
            )
        }
        (Some(api::Phase::Destroying), Some(api::Phase::Recovering)) => {
            Err("a recovery of what is being purged".into())
        }
        (Some(api::Phase::Recovering), Some(api::Phase::Destroying)) => {
            Err("a purge of what is being recovered".into())
        }
        (None, Some(api::Phase::Destroying)) => {
            let its = standing(o).filter(|record| found.is_of(&record.origin.uid));
            let its = its.filter(|record| record.state == RecordState::Deleted);
            let its = its.ok_or("a purge of what is not deleted")?;
            check(is_due(o, its), "a purge that begins before its time")
        }
        (Some(api::Phase::Destroying), None) => {
            let now = o.standing().map(|(held, _)| held.generation as i64);
            check(
                before.record_generation < now,
                "a purge turned back while who decided on it may still go on (G6)",
            )
        }
        (None, None) | (Some(api::Phase::Destroying), Some(api::Phase::Destroying)) => Ok(()),
    }
}

fn begins_lawfully(o: &Observed, found: &Proxy) -> Verdict {
    let (held, record) = o.standing().ok_or("a recovery without a record")?;
    check(
        record.state == RecordState::Deleted && found.is_of(&record.origin.uid),
        "a recovery of what is not deleted",
    )?;
    check(
        found.status.record_generation == Some(held.generation as i64),
        "a recovery before the deletion is finished",
    )?;
    let namespace = o.namespace.as_ref().ok_or("into no namespace")?;
    check(!namespace.terminating, "into a namespace that goes")?;
    if comes_with_its_hsm(o) {
        return Ok(());
    }
    check(
        o.lineage.kind == Kind::Hsm || o.hsm_is_live(),
        "a key before its HSM",
    )?;
    let uid = &found.origin().uid;
    let asks = |accepted: Option<&str>| {
        found.origin().namespace_uid == namespace.uid.0 || accepted == Some(namespace.uid.as_str())
    };
    let by_recover = o.recovers.iter().any(|recover| {
        recover.spec.uid == *uid && asks(recover.spec.accept_namespace_uid.as_deref())
    });
    let by_object = o.alive().is_some_and(wants_recovery) && asks(None);
    check(by_recover || by_object, "nobody who may asks for it")
}

/// SD-19: the namespace is the one of then, or that of the HSM around it, or the Recover that claimed the proxy accepts it.
fn is_accepted(o: &Observed, found: &Proxy) -> bool {
    let space = o.namespace.as_ref().map(|space| space.uid.as_str());
    let by = found.status.recovering.as_ref().map(|by| by.uid.as_str());
    let mut claimants = o
        .recovers
        .iter()
        .filter(|recover| Some(recover.meta.uid.as_str()) == by);
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    Some(found.origin().namespace_uid.as_str()) == space
        || hsm.is_some_and(|(_, hsm)| Some(hsm.origin.namespace_uid.as_str()) == space)
        || claimants.any(|recover| recover.spec.accept_namespace_uid.as_deref() == space)
}

/// SD-21: its HSM is recovered with all keys, past turning back, into this very namespace.
fn comes_with_its_hsm(o: &Observed) -> bool {
    let around = o.hsm.as_ref();
    let by = around
        .and_then(|hsm| hsm.proxy.as_ref())
        .filter(|found| found.status.phase == Some(api::Phase::Recovering))
        .and_then(|found| found.status.recovering.as_ref())
        .filter(|by| by.include_keys == api::IncludeKeys::All);
    let record = around.and_then(|hsm| hsm.record.as_ref());
    by.zip(record).is_some_and(|(by, (_, record))| {
        let past = matches!(record.state, RecordState::Opening | RecordState::Live);
        let space = o.namespace.as_ref().map(|space| &space.uid);
        past && by.new_uid.as_deref() == Some(record.origin.uid.as_str())
            && space == Some(&record.origin.namespace_uid)
    })
}

fn wants_recovery(object: &Object) -> bool {
    let mode = match &object.body {
        Body::Hsm(spec, _) => spec.create_mode,
        Body::Key(spec, _) => spec.create_mode,
    };
    mode == api::CreateMode::CreateOrRecover
}

/// SD-19, SD-21: an object is made again only over a *Recovering* proxy without newUid, a *deleted* record of its uid, in a namespace that stays and, of a key, in a live HSM;
/// *opening* is written only for the newUid that the proxy names.
pub fn makes_an_object_again_only_in_its_recovery(o: &Observed, plan: &Plan) -> Verdict {
    let recovering = |found: &&Proxy| found.status.phase == Some(api::Phase::Recovering);
    let new_uid = |found: &Proxy| {
        found
            .status
            .recovering
            .as_ref()
            .and_then(|by| by.new_uid.clone())
    };
    match effect(plan) {
        Some(Effect::CreateObject(_)) => {
            check(o.object.is_none(), "beside one that stands")?;
            let found = o
                .proxy
                .as_ref()
                .filter(recovering)
                .ok_or("without a recovery")?;
            check(new_uid(found).is_none(), "a second time")?;
            check(
                standing(o).is_some_and(|record| {
                    record.state == RecordState::Deleted && found.is_of(&record.origin.uid)
                }),
                "of what is not deleted",
            )?;
            check(
                o.namespace.as_ref().is_some_and(|space| !space.terminating),
                "into no namespace",
            )?;
            check(
                is_accepted(o, found),
                "into a namespace that nobody accepted",
            )?;
            check(
                o.lineage.kind == Kind::Hsm || o.hsm_is_live(),
                "a key before its HSM",
            )
        }
        Some(Effect::WriteRecord { record, .. })
            if record.state == RecordState::Opening && state(o) == Some(RecordState::Deleted) =>
        {
            let found = o
                .proxy
                .as_ref()
                .filter(recovering)
                .ok_or("without a recovery")?;
            check(
                new_uid(found).as_deref() == Some(record.origin.uid.as_str()),
                "for another uid than the proxy's newUid",
            )?;
            check(
                o.lineage.kind == Kind::Hsm || o.hsm_is_live() || leaves_unopened(o, record),
                "a key before its HSM",
            )
        }
        _ => Ok(()),
    }
}

// ---- an HSM and its keys ----

/// G6, SD-11, SD-13, SD-21, SD-27: an HSM's record, its proxy and what its status promises go on only where no key in it contradicts that.
pub fn waits_for_its_keys(o: &Observed, plan: &Plan) -> Verdict {
    let none = |what: fn(&KeyOfHsm) -> bool, why: &str| check(!o.keys.iter().any(what), why);
    let before = (o.lineage.kind == Kind::Hsm).then(|| standing(o)).flatten();
    match (before, effect(plan)) {
        (Some(before), Some(Effect::WriteRecord { record, .. })) => {
            match (before.state, record.state) {
                (RecordState::Sealing, RecordState::Deleted) => {
                    none(purge_claimed, "deleted while a key's purge may go on")
                }
                (RecordState::Opening, RecordState::Live) => {
                    none(deleted_but_open, "live while a deleted key works")?;
                    none(announced, "live while an old announcement stands")
                }
                _ => Ok(()),
            }
        }
        (Some(record), Some(Effect::DeleteProxy(_))) => {
            let by = o
                .proxy
                .as_ref()
                .and_then(|found| found.status.recovering.as_ref());
            let all = by.is_some_and(|by| by.include_keys == api::IncludeKeys::All);
            let recovered = all && record.state == RecordState::Live && o.alive().is_some();
            check(
                !recovered || !o.keys.iter().any(left_out),
                "a recovery with all keys ends without one",
            )
        }
        (Some(record), Some(Effect::ShowHsm(_, shown))) => {
            let generation = o.standing().map(|(held, _)| held.generation as i64);
            let promises = record.purge_protection && shown.record_generation == generation;
            let promised = matches!(
                o.object.as_ref().map(|object| &object.body),
                Some(Body::Hsm(_, before)) if before.record_generation == generation
            );
            if !promises || promised || record.state != RecordState::Live {
                return Ok(());
            }
            none(purge_claimed, "protected while a key's purge may go on")?;
            none(
                unprotected,
                "protected before a deleted key's proxy says so",
            )
        }
        _ => Ok(()),
    }
}

fn of_it(key: &KeyOfHsm) -> Option<&api::ProxyStatus> {
    let its = |found: &&NearProxy| found.origin.uid == key.record.origin.uid;
    key.proxy.as_ref().filter(its).map(|found| &found.status)
}

fn purge_claimed(key: &KeyOfHsm) -> bool {
    key.record.state == RecordState::Deleted
        && of_it(key).is_some_and(|status| status.phase == Some(api::Phase::Destroying))
}

fn retained(key: &KeyOfHsm) -> Option<&api::ProxyStatus> {
    let deleted = key.record.state == RecordState::Deleted;
    of_it(key).filter(|status| deleted && status.phase.is_none())
}

fn announced(key: &KeyOfHsm) -> bool {
    retained(key).is_some_and(|status| status.announced_at.is_some())
}

fn unprotected(key: &KeyOfHsm) -> bool {
    retained(key).is_some_and(|status| status.purge_protection != Some(true))
}

fn key_lives(key: &KeyOfHsm) -> bool {
    let its = |object: &NearObject| !object.terminating && object.uid == key.record.origin.uid;
    key.object.as_ref().is_some_and(its)
}

fn deleted_but_open(key: &KeyOfHsm) -> bool {
    let open = key.material.is_none_or(|seen| seen.unsealed);
    match key.record.state {
        RecordState::Sealing => open,
        RecordState::Live => !key_lives(key) && open,
        RecordState::Opening => !key_lives(key) && key.material.is_none_or(|seen| !seen.missing),
        _ => false,
    }
}

/// It can be recovered and is not claimed; what is missing never can.
fn left_out(key: &KeyOfHsm) -> bool {
    let whole = key.material.is_none_or(|seen| !seen.missing);
    match key.record.state {
        RecordState::Deleted => {
            of_it(key).is_none_or(|status| status.phase != Some(api::Phase::Recovering))
        }
        RecordState::Sealing => whole,
        RecordState::Live => !key_lives(key) && whole,
        _ => false,
    }
}

/// G6: the PIN follows the record: while a token contradicts it, nothing is only shown, nor left.
pub fn sets_the_pin_first(o: &Observed, plan: &Plan) -> Verdict {
    let (Some(record), Material::Token(Some(facts))) = (standing(o), &o.material) else {
        return Ok(());
    };
    let its = matches!(&record.subject, Subject::Hsm { token: Some(token) } if token.serial == facts.serial);
    if !its || in_doubt(o) || o.refused.is_some() {
        return Ok(());
    }
    let retained = |found: &&Proxy| found.is_of(&record.origin.uid) && found.status.phase.is_none();
    let holds = |object: &&Object| object.meta.uid == record.origin.uid;
    let contradicts = match (record.state, facts.access) {
        (RecordState::Deleted, Access::Open) => o.proxy.as_ref().is_some_and(|it| retained(&it)),
        (RecordState::Live, Access::Refused) => o.alive().is_some_and(|it| holds(&it)),
        _ => false,
    };
    check(
        !(contradicts && rests(plan)),
        "a token that its record contradicts is left",
    )
}

/// Nothing is done, or only shown.
fn rests(plan: &Plan) -> bool {
    effect(plan).is_none_or(|effect| effect.name().starts_with("Show"))
}

/// An object of another uid that is on its way out holds no record up: what would be done without it is done beside it, or it goes first. Only a recovery waits for
/// its end, since nothing can be made in its place.
pub fn waits_for_no_visitor(o: &Observed, seen: &Plan) -> Verdict {
    let recovering = o
        .proxy
        .as_ref()
        .is_some_and(|found| found.status.phase == Some(api::Phase::Recovering));
    let visits = |record: &Record| {
        let visitor = o
            .object
            .as_ref()
            .filter(|object| object.meta.deleted.is_some());
        visitor.is_some_and(|object| object.meta.uid != record.origin.uid)
    };
    if recovering || !rests(seen) || !standing(o).is_some_and(visits) {
        return Ok(());
    }
    let mut alone = o.clone();
    alone.object = None;
    check(
        rests(&plan(&alone)),
        "a record waits for an object that has no part in it",
    )
}

// ---- waking ----

/// A wake-up is never later than a day, nor than the next thing due of a retained proxy; and where nothing is to be done there is one.
pub fn wakes_in_time(o: &Observed, plan: &Plan) -> Verdict {
    let day = std::time::Duration::from_secs(86_400);
    match (&plan.step, plan.wake) {
        (Some(_), None) => Ok(()),
        (_, Some(wake)) => {
            let latest = next_due(o).map_or(day, |due| due.min(day));
            check(wake <= latest, "later than a day, or than what is due next")
        }
        (None, None) => Err("neither a step nor a wake-up".into()),
    }
}

/// How long until the announcement or the purge of a retained proxy that this look may purge; nothing if that is past already, and held.
fn next_due(o: &Observed) -> Option<std::time::Duration> {
    use managed_hsm_operator::plan::observed::ProxySpec;
    use managed_hsm_operator::softdelete::retention::{announcement_time, earliest_purge};
    let found = o
        .proxy
        .as_ref()
        .filter(|found| o.purging.looked && found.status.phase.is_none())?;
    let (_, record) = o.standing()?;
    let settled = record.state == RecordState::Deleted && found.is_of(&record.origin.uid);
    let in_proxy = match &found.spec {
        ProxySpec::Hsm(spec) => spec.scheduled_purge_time,
        ProxySpec::Key(spec) => spec.scheduled_purge_time,
    };
    let recorded = record.dates.and_then(|dates| dates.scheduled_purge_time);
    let date = in_proxy
        .map(|time| time.utc())
        .max(recorded)
        .filter(|_| settled)?;
    let due = match found.status.announced_at {
        None => announcement_time(date, o.settings.day),
        Some(at) => earliest_purge(date, at.utc(), o.settings.day),
    };
    (due - o.now).to_std().ok().filter(|wait| !wait.is_zero())
}
