//! Purge (`safety`: the four protocols): scheduled, on request, or direct. `softdelete::purge` says whether; here is in which
//! steps. In doubt nothing is destroyed.

use sha2::{Digest, Sha256};

use super::create::touch;
use super::hold;
use super::ids;
use super::material::{Objects, Progress};
use super::observed::{Body, Held, Material, Object, Observed, Proxy, Purge};
use super::status;
use super::step::{At, Effect, Move, Step, Whom, act, write_record};
use super::translate;
use crate::api;
use crate::api::conditions::{self, ACCEPTED, EXECUTING};
use crate::backend::Access;
use crate::softdelete::evidence::{self, ProxyShows, Seen};
use crate::softdelete::protection::{Protections, protector};
use crate::softdelete::purge::{self as rules, ProxyFound, PurgeFacts, PurgeVerdict, Request, Way};
use crate::softdelete::record::{Destroyed, Token};
use crate::softdelete::retention::{Due, PurgeDate, Schedule, next_look};
use crate::softdelete::{MaterialId, Record, RecordState, Refusal, Subject, Uid, arbiter};

/// What the clock, or somebody, asks of a retained proxy now.
pub struct Ask {
    pub step: Option<Step>,
    pub wake: Option<std::time::Duration>,
    /// Why a purge that is due, or asked for, does not happen.
    pub held: Option<Refusal>,
}

/// Step 0 and 1 over a retained proxy and a record that says *deleted*.
pub fn retained(o: &Observed, held: &Held, record: &Record, found: &Proxy) -> Ask {
    if !o.purging.looked {
        return Ask {
            step: None,
            wake: None,
            held: None,
        };
    }
    let by_clock = rules::purge(&facts(o, held, record, found, by_clock(o, record, found)));
    let asked = accepted(o, found)
        .any(|purge| on_request(o, held, record, found, purge) == PurgeVerdict::Go);
    if asked || by_clock == PurgeVerdict::Go {
        return Ask {
            step: Some(begin(o, found)),
            wake: None,
            held: None,
        };
    }
    match by_clock {
        PurgeVerdict::NotDue(Due::Announce) => Ask {
            step: Some(announce(o, found)),
            wake: None,
            held: None,
        },
        PurgeVerdict::NotDue(Due::Wait(time)) => Ask {
            step: None,
            wake: Some(next_look(o.now, [time])),
            held: None,
        },
        PurgeVerdict::NotDue(Due::Never | Due::Purge) | PurgeVerdict::Go => Ask {
            step: None,
            wake: None,
            held: None,
        },
        PurgeVerdict::Wait(refusal) | PurgeVerdict::Fail(refusal) => Ask {
            step: None,
            wake: Some(hold::LATER),
            held: Some(refusal),
        },
    }
}

fn begin(o: &Observed, found: &Proxy) -> Step {
    let status = api::ProxyStatus {
        phase: Some(api::Phase::Destroying),
        ..status::being_purged(o, found)
    };
    let note = format!("The purge of {} has begun.", found.meta.name);
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
        "{} will be purged at {}, unless it is recovered before.",
        found.meta.name,
        shown_date(found)
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

/// By the clock: directly where soft-delete was off, else when the stricter of both dates has come.
fn by_clock(o: &Observed, record: &Record, found: &Proxy) -> Way {
    let date = arbiter::stricter_date(record, translate::dates(found).scheduled_purge_time);
    match date {
        PurgeDate::Direct => Way::Direct,
        date => Way::Scheduled(Schedule {
            date,
            announced_at: found.status.announced_at.map(api::Time::utc),
            day: o.settings.day,
        }),
    }
}

/// What becomes of one Purge, as things are now.
pub fn on_request(
    o: &Observed,
    held: &Held,
    record: &Record,
    found: &Proxy,
    purge: &Purge,
) -> PurgeVerdict {
    let uid = Uid(purge.spec.uid.clone());
    let way = Way::OnRequest(Box::new(request(o, record, found, purge)));
    rules::purge(&PurgeFacts {
        uid,
        ..facts(o, held, record, found, way)
    })
}

/// What becomes of a Purge for which no proxy stands.
pub fn without_proxy(o: &Observed, purge: &Purge) -> Refusal {
    let proxy = crate::softdelete::names::proxy_name(&o.lineage.namespace, &o.lineage.name);
    Refusal::NothingToPurge {
        kind: o.lineage.kind,
        proxy,
        uid: Uid(purge.spec.uid.clone()),
    }
}

fn facts(o: &Observed, held: &Held, record: &Record, found: &Proxy, way: Way) -> PurgeFacts {
    let uid = Uid(found.origin().uid.clone());
    PurgeFacts {
        kind: o.lineage.kind,
        proxy: found.meta.name.clone(),
        found: Some(ProxyFound {
            uid: uid.clone(),
            recovering: found.status.phase == Some(api::Phase::Recovering),
        }),
        uid,
        now: o.now,
        clock_trusted: o.clock_trusted,
        definitions: o.purging.definitions.clone(),
        hsm: hold::hsm_now(o),
        held_by: held_by(o, found),
        evidence: evidence(o, held, record, found),
        named_by: named_by(o, record),
        way,
    }
}

fn request(o: &Observed, record: &Record, found: &Proxy, purge: &Purge) -> Request {
    let uid = Uid(found.origin().uid.clone());
    let asking: Vec<_> = accepted(o, found)
        .map(|other| (other.spec.requested_by.as_str(), &uid))
        .collect();
    Request {
        asked_at: purge.meta.created,
        permission: Ok(()),
        protector: protector(&protections(o, record)),
        undeletable: o.settings.undeletable,
        until: translate::dates(found).scheduled_purge_time,
        policies: o.purging.policies.clone(),
        etcd_old: o.purging.etcd_old,
        approvals: rules::approvals(&uid, asking, o.settings.quorum),
        rate: o.purging.rate,
        next_slot: rules::next_slot(&o.purging.purged_at, o.now, o.purging.rate),
    }
}

/// The Purges that count: seen under matching policies, for this uid, neither withdrawn nor finished, nor too old.
fn accepted<'a>(o: &'a Observed, found: &'a Proxy) -> impl Iterator<Item = &'a Purge> {
    o.purges.iter().filter(move |purge| {
        purge.meta.deleted.is_none()
            && found.is_of(&Uid(purge.spec.uid.clone()))
            && conditions::is_true(&purge.status.conditions, ACCEPTED)
            && !status::is_final(&purge.status.conditions)
            && rules::expired(purge.meta.created, o.now, o.purging.etcd_old).is_ok()
    })
}

/// Every switch that bears on it; of an HSM that cannot be seen the switch is unknown, which counts as on.
pub fn protections<'a>(o: &'a Observed, record: &'a Record) -> Protections<'a> {
    let hsm = o.hsm.as_ref().map(|hsm| {
        (
            hsm.name.as_str(),
            hsm.record
                .as_ref()
                .map(|(_, record)| record.purge_protection),
        )
    });
    let keys = o.keys.iter().map(|key| {
        (
            key.record.origin.name.as_str(),
            Some(key.record.purge_protection),
        )
    });
    Protections {
        own: Some(record.purge_protection),
        hsm,
        keys: keys.collect(),
    }
}

/// Recovery wins: an unfinished Recover of it or of its HSM with All, or an object that asks for it.
fn held_by(o: &Observed, found: &Proxy) -> Option<String> {
    let its = |recover: &&super::observed::Recover| {
        recover.meta.deleted.is_none()
            && recover.spec.uid == found.origin().uid
            && !status::is_final(&recover.status.conditions)
    };
    let recover = o
        .recovers
        .iter()
        .find(its)
        .map(|recover| format!("Recover {}/{}", o.lineage.namespace, recover.meta.name));
    let asks = |object: &&Object| match &object.body {
        Body::Hsm(spec, _) => spec.create_mode == api::CreateMode::CreateOrRecover,
        Body::Key(spec, _) => spec.create_mode == api::CreateMode::CreateOrRecover,
    };
    let object = o.alive().filter(asks).map(|_| o.lineage.to_string());
    recover
        .or(object)
        .or_else(|| o.purging.hsm_recovery.clone())
}

fn evidence(o: &Observed, held: &Held, record: &Record, found: &Proxy) -> Result<(), Refusal> {
    let uid = Uid(found.origin().uid.clone());
    let dates = translate::dates(found);
    let shows = ProxyShows {
        uid: &uid,
        deletion_time: dates.deletion_time,
        scheduled_purge_time: dates.scheduled_purge_time,
        record_generation: found
            .status
            .record_generation
            .and_then(|shown| u64::try_from(shown).ok()),
    };
    evidence::record_agrees(
        Some((held.generation, record)),
        &held.id,
        &o.settings.cluster,
        &shows,
    )?;
    match &o.material {
        Material::Token(seen) => {
            let token = seen.as_ref().map(|facts| Token {
                label: facts.label.0.clone(),
                serial: facts.serial.clone(),
            });
            evidence::material_agrees(record, Seen::Hsm(token.as_ref()), &o.backend)
        }
        Material::Objects(objects) => {
            let proved: Vec<_> = objects
                .iter()
                .map(|object| {
                    (
                        MaterialId(object.id.to_string()),
                        object.proved.as_ref().map(ids::fingerprint),
                    )
                })
                .collect();
            evidence::material_agrees(record, Seen::Key(&proved), &o.backend)
        }
        Material::NoToken => Err(Refusal::MaterialMissing {
            backend: o.backend.clone(),
        }),
        Material::UnknownBackend => Err(Refusal::BackendUnknown {
            backend: o.backend.clone(),
        }),
        Material::NotLooked
        | Material::Sealed
        | Material::Unavailable(_)
        | Material::NoLedger(_) => Err(Refusal::BackendUnavailable {
            backend: o.backend.clone(),
        }),
    }
}

/// A live resource whose status names the material: an old etcd, or something worse.
fn named_by(o: &Observed, record: &Record) -> Option<(String, crate::softdelete::RecordId)> {
    let object = o.alive()?;
    let names = match (&object.body, &record.subject) {
        (Body::Hsm(_, status), Subject::Hsm { .. }) => {
            status.hsm_id.as_deref() == Some(record.id.as_str())
        }
        (Body::Key(_, status), Subject::Key { versions, .. }) => {
            let mut shown = status.versions.iter();
            shown.any(|shown| {
                versions
                    .iter()
                    .any(|version| version.material.0 == shown.material_id)
            })
        }
        _ => false,
    };
    names.then(|| (o.lineage.to_string(), record.id.clone()))
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
    if let Some(purge) =
        accepted(o, found).find(|purge| !conditions::is_true(&purge.status.conditions, EXECUTING))
    {
        return act(status::executing(o, purge, true));
    }
    let go = |purge: &Purge| on_request(o, held, record, found, purge) == PurgeVerdict::Go;
    let asked: Vec<_> = accepted(o, found)
        .filter(|purge| go(purge))
        .map(|purge| purge.spec.requested_by.clone())
        .collect();
    let by_clock = rules::purge(&facts(o, held, record, found, by_clock(o, record, found)))
        == PurgeVerdict::Go;
    let next = if by_clock || !asked.is_empty() {
        Record {
            state: RecordState::Destroying,
            requesters: asked,
            ..record.clone()
        }
    } else {
        // One generation up: a paused purger that decided on the old one can write nothing any more.
        record.clone()
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

/// Steps 3 to 5 over *destroying*: by the never-reused ids, in the token that the record names, until they are proved gone.
pub fn finish(o: &Observed, record: &Record) -> Move {
    if let Some((resource, id)) = named_by(o, record) {
        let why = format!("{resource} is live and names this material");
        return Err(hold::later(Refusal::RecordDisagrees { record: id.0, why }));
    }
    let destroyed = match &record.subject {
        Subject::Hsm { token } => destroy_hsm(o, token.as_ref()),
        Subject::Key { .. } => destroy_key(o, record),
    };
    match destroyed? {
        Some(step) => act(step),
        None => tombstone(o, record),
    }
}

fn destroy_key(o: &Observed, record: &Record) -> Move {
    let Subject::Key {
        versions,
        pending,
        algorithm,
        ..
    } = &record.subject
    else {
        return Ok(None);
    };
    let unreachable = matches!(o.material, Material::Sealed | Material::NoToken);
    if versions.is_empty() && unreachable {
        // Only something pending: it is ended in the record, and what is left of it reads as a tombstone.
        return Ok(None);
    }
    let token = translate::token_of_key(o)?;
    let Material::Objects(found) = &o.material else {
        return Err(hold::no_material_seen(o, &o.material));
    };
    let all: Vec<_> = versions
        .iter()
        .map(|version| version.material.clone())
        .chain(pending.iter().map(|pending| pending.material.clone()))
        .collect();
    match (Objects {
        token: &token,
        algorithm,
        found,
    })
    .purge(&all)
    {
        Progress::Touch(effect) => act(Step::quiet(effect)),
        Progress::Done | Progress::Missing(_) | Progress::Disagrees(_) => Ok(None),
    }
}

/// What a paused process made of a creation that was ended meanwhile: only what is pending, and only where it can be seen.
pub fn strays(o: &Observed, record: &Record) -> Move {
    let Subject::Key {
        pending: Some(pending),
        algorithm,
        ..
    } = &record.subject
    else {
        return Ok(None);
    };
    let (Ok(token), Material::Objects(found)) = (translate::token_of_key(o), &o.material) else {
        return Ok(None);
    };
    let objects = Objects {
        token: &token,
        algorithm,
        found,
    };
    touch(o, objects.end(pending))
}

fn destroy_hsm(o: &Observed, token: Option<&Token>) -> Move {
    let Some(token) = token else { return Ok(None) };
    let reference = translate::token_ref(token);
    match (&o.material, &o.purging.contents) {
        (Material::Token(Some(facts)), _) if facts.serial != token.serial => Err(hold::missing(o)),
        (Material::Token(Some(_)), Some(objects)) => Ok(objects.first().map(|object| {
            Step::quiet(Effect::Destroy {
                token: reference,
                handle: object.handle,
            })
        })),
        (Material::Token(Some(facts)), None) if facts.access == Access::Refused => {
            act(Step::quiet(Effect::OpenForDestruction(reference)))
        }
        (other, _) => Err(hold::no_material_seen(o, other)),
    }
}

fn tombstone(o: &Observed, record: &Record) -> Move {
    let (count, lines) = match &record.subject {
        Subject::Hsm { .. } => {
            let goes = evidence::goes_with_hsm(&record.id, o.keys.iter().map(|key| &key.record));
            (goes.keys, goes.lines)
        }
        Subject::Key { versions, .. } => {
            let mut lines: Vec<_> = versions
                .iter()
                .map(|version| format!("{} {}", version.material, version.fingerprint))
                .collect();
            lines.sort_unstable();
            (i32::try_from(lines.len()).unwrap_or(i32::MAX), lines)
        }
    };
    let digest = Sha256::digest(lines.join("\n"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let next = Record {
        state: RecordState::Tombstone,
        destroyed: Some(Destroyed {
            at: o.now,
            count,
            digest,
        }),
        ..record.clone()
    };
    let note = format!(
        "{} was destroyed for good, on request of {}.",
        o.lineage,
        asked_by(record)
    );
    act(Step::told(
        write_record(o, next)?,
        Whom::Proxy,
        "Purged",
        note,
    ))
}

fn asked_by(record: &Record) -> String {
    if record.requesters.is_empty() {
        rules::RETENTION_ENDED.to_owned()
    } else {
        record.requesters.join(", ")
    }
}

/// Steps 6 and 7 over a tombstone: the Purges say so, or a receipt does; then the proxies go, an HSM's after its keys' (each by its own pass).
pub fn complete(o: &Observed, record: &Record) -> Move {
    let Some(found) = o
        .proxy
        .as_ref()
        .filter(|found| found.is_of(&record.origin.uid))
    else {
        return Ok(None);
    };
    let about = |purge: &&Purge| purge.spec.uid == record.origin.uid.0;
    if let Some(open) = o
        .purges
        .iter()
        .filter(about)
        .find(|purge| !status::is_final(&purge.status.conditions))
    {
        return act(status::purge_complete(o, open, record));
    }
    if !o.purges.iter().any(|purge| about(&purge)) {
        return act(Step::quiet(Effect::CreateReceipt(Box::new(receipt(
            found, record,
        )))));
    }
    hold::keys_of_it_not_gone(o)?;
    act(Step::quiet(Effect::DeleteProxy(At::of(&found.meta))))
}

fn receipt(found: &Proxy, record: &Record) -> api::PurgeSpec {
    api::PurgeSpec {
        kind: match record.subject {
            Subject::Hsm { .. } => api::ProxyKind::DeletedManagedHsm,
            Subject::Key { .. } => api::ProxyKind::DeletedHsmKey,
        },
        name: found.meta.name.clone(),
        uid: record.origin.uid.0.clone(),
        requested_by: api::MANAGER.to_owned(),
        reason: Some(rules::RETENTION_ENDED.to_owned()),
    }
}
