//! What a purge depends on, in the rules' words.

use crate::api;
use crate::api::conditions::{self, ACCEPTED, ConditionStatus};
use crate::plan::hold;
use crate::plan::ids;
use crate::plan::observed::{Body, Material, Object, Observed, Proxy, Purge};
use crate::plan::{status, translate};
use crate::softdelete::evidence::{self, ProxyShows, Seen};
use crate::softdelete::permission::{Missing, unbelieved};
use crate::softdelete::protection::{Protections, protector};
use crate::softdelete::purge::{self as rules, ProxyFound, PurgeFacts, PurgeVerdict, Request, Way};
use crate::softdelete::record::Token;
use crate::softdelete::recover::CreateMode;
use crate::softdelete::retention::{PurgeDate, Schedule};
use crate::softdelete::{MaterialId, Record, RecordState, Refusal, Subject, Uid, arbiter, names};

/// What is said of a Purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Judged(PurgeVerdict),
    /// It is being carried out.
    Executing,
    /// Something else is about to end first: a deletion, or a proxy that is written again.
    NotYet,
}

/// The schedule by the stricter of both dates; none where soft-delete was off: then the purge is direct (SD-02).
pub fn schedule(o: &Observed, record: &Record, found: &Proxy) -> Option<Schedule> {
    match arbiter::stricter_date(record, translate::dates(found).scheduled_purge_time) {
        PurgeDate::Direct => None,
        date => Some(Schedule {
            date,
            announced_at: found.status.announced_at.map(api::Time::utc),
            day: o.settings.day,
        }),
    }
}

/// By the clock: directly, or when the time has come.
pub fn by_clock(o: &Observed, record: &Record, found: &Proxy) -> PurgeFacts {
    let way = schedule(o, record, found).map_or(Way::Direct, Way::Scheduled);
    facts(o, Some(found), Uid(found.origin().uid.clone()), way)
}

/// What becomes of one Purge, as things are now.
pub fn on_request(o: &Observed, purge: &Purge) -> Asked {
    let uid = Uid(purge.spec.uid.clone());
    let found = o.proxy.as_ref();
    let its = found.filter(|found| found.is_of(&uid));
    if its.is_none() && about_to_have_a_proxy(o, &uid) {
        return Asked::NotYet;
    }
    match its.map(|found| found.status.phase) {
        Some(Some(api::Phase::Destroying)) if destroys(o) => return Asked::Executing,
        Some(None)
            if o.standing()
                .is_some_and(|(_, record)| record.state == RecordState::Sealing) =>
        {
            return Asked::NotYet;
        }
        _ => {}
    }
    let way = Way::OnRequest(Box::new(request(o, found, purge)));
    Asked::Judged(rules::purge(&facts(o, found, uid, way)))
}

/// Past the point of no return.
fn destroys(o: &Observed) -> bool {
    let beyond = |record: &Record| {
        matches!(
            record.state,
            RecordState::Destroying | RecordState::Tombstone
        )
    };
    o.records
        .iter()
        .filter_map(crate::plan::observed::Held::record)
        .any(|record| {
            beyond(record)
                && o.proxy
                    .as_ref()
                    .is_some_and(|found| found.is_of(&record.origin.uid))
        })
}

/// It is on its way out, or its proxy was forced away and is written again: there will be something to purge.
fn about_to_have_a_proxy(o: &Observed, uid: &Uid) -> bool {
    let recorded = o.record_of(uid).is_some_and(|(held, record)| {
        !held.is_final()
            && !matches!(
                record.state,
                RecordState::Creating | RecordState::Live | RecordState::Opening
            )
    });
    let terminates = o.object.as_ref().is_some_and(|object| {
        object.meta.uid == *uid && object.meta.deleted.is_some() && translate::had_material(object)
    });
    recorded || terminates && o.proxy.is_none()
}

fn facts(o: &Observed, found: Option<&Proxy>, asked: Uid, way: Way) -> PurgeFacts {
    PurgeFacts {
        kind: o.lineage.kind,
        proxy: names::proxy_name(&o.lineage.namespace, &o.lineage.name),
        found: found.map(|found| ProxyFound {
            uid: Uid(found.origin().uid.clone()),
            recovering: found.status.phase == Some(api::Phase::Recovering),
        }),
        uid: asked,
        now: o.now,
        clock_trusted: o.clock_trusted,
        definitions: o.purging.definitions.clone(),
        hsm: hold::hsm_now(o),
        held_by: found.and_then(|found| held_by(o, found)),
        evidence: found.map_or(Ok(()), |found| evidence(o, found)),
        named_by: o.standing().and_then(|(_, record)| named_by(o, record)),
        way,
    }
}

fn request(o: &Observed, found: Option<&Proxy>, purge: &Purge) -> Request {
    let record = o.standing().map(|(_, record)| record);
    Request {
        asked_at: purge.meta.created,
        permission: Ok(()),
        // Without a record nothing is known, and what is not known counts as protected; the evidence says that first.
        protector: record.and_then(|record| protector(&protections(o, record))),
        undeletable: o.settings.undeletable,
        until: found.and_then(|found| translate::dates(found).scheduled_purge_time),
        policies: policies_missing(o, purge),
        etcd_old: asked_of_old_etcd(o, purge),
        approvals: approvals(o, &purge.spec.uid),
        rate: o.settings.purge_rate,
        next_slot: next_slot(o),
    }
}

/// One that was accepted was seen under policies; who asked for another one is known only if they stood when it was made. One that was not accepted at
/// first sight never is, whatever stands by now.
fn policies_missing(o: &Observed, purge: &Purge) -> Option<Missing> {
    let accepted = conditions::get(&purge.status.conditions, ACCEPTED);
    let asked = purge.meta.created;
    match accepted.map(|condition| condition.status) {
        Some(ConditionStatus::True) => o.policies.missing(o.now),
        None => o.policies.missing_for(asked),
        Some(_) => Some(o.policies.missing_for(asked).unwrap_or_else(unbelieved)),
    }
}

/// What is not known counts as a bucket that was emptied just now.
fn next_slot(o: &Observed) -> Option<chrono::DateTime<chrono::Utc>> {
    let empty = || vec![o.now; rules::BUCKET];
    let purged_at = o.purging.purged_at.clone().unwrap_or_else(empty);
    rules::next_slot(&purged_at, o.now, o.settings.purge_rate)
}

/// It waited too long, or an old etcd brought it back (`purge::expired`).
pub fn expired(o: &Observed, purge: &Purge) -> Result<(), Refusal> {
    rules::expired(purge.meta.created, o.now, asked_of_old_etcd(o, purge))
}

/// Whoever asked may have withdrawn it since the backup was made.
fn asked_of_old_etcd(o: &Observed, purge: &Purge) -> bool {
    o.purging
        .put_back
        .is_some_and(|found| purge.meta.created <= found)
}

/// How many have asked for that uid, of how many that must (`purge::approvals`).
pub fn approvals(o: &Observed, uid: &str) -> rules::Approvals {
    let uid = Uid(uid.to_owned());
    let asking: Vec<_> = o
        .proxy
        .iter()
        .flat_map(|found| accepted(o, found))
        .map(|other| {
            (
                other.spec.requested_by.as_str(),
                Uid(other.spec.uid.clone()),
            )
        })
        .collect();
    let asking = asking.iter().map(|(user, of)| (*user, of));
    rules::approvals(&uid, asking, o.settings.quorum)
}

/// The Purges that count: seen under matching policies, for this uid, neither withdrawn nor finished, nor too old.
pub fn accepted<'a>(o: &'a Observed, found: &'a Proxy) -> impl Iterator<Item = &'a Purge> {
    o.purges.iter().filter(move |purge| {
        purge.meta.deleted.is_none()
            && found.is_of(&Uid(purge.spec.uid.clone()))
            && conditions::is_true(&purge.status.conditions, ACCEPTED)
            && !status::is_final(&purge.status.conditions)
            && expired(o, purge).is_ok()
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
    let its = |recover: &&crate::plan::observed::Recover| {
        recover.meta.deleted.is_none()
            && recover.spec.uid == found.origin().uid
            && !status::is_final(&recover.status.conditions)
    };
    let recover = o
        .recovers
        .iter()
        .find(its)
        .map(|recover| format!("Recover {}/{}", o.lineage.namespace, recover.meta.name));
    let asks = |object: &&Object| translate::create_mode(object) == CreateMode::CreateOrRecover;
    let object = o.alive().filter(asks).map(|_| o.lineage.to_string());
    recover
        .or(object)
        .or_else(|| o.purging.hsm_recovery.clone())
        .or_else(|| hold::recovered_with_hsm(o))
}

fn evidence(o: &Observed, found: &Proxy) -> Result<(), Refusal> {
    let uid = Uid(found.origin().uid.clone());
    let Some((held, record)) = o.standing() else {
        return Err(Refusal::MaterialMissing {
            backend: o.backend.clone(),
        });
    };
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
    material_agrees(o, record)?;
    hold::keys_agree(o)
}

fn material_agrees(o: &Observed, record: &Record) -> Result<(), Refusal> {
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
        Material::Unavailable(why) | Material::NoLedger(why) => Err(unavailable(o, why)),
        Material::NotLooked | Material::Sealed => Err(unavailable(o, "")),
    }
}

fn unavailable(o: &Observed, why: &str) -> Refusal {
    Refusal::BackendUnavailable {
        backend: o.backend.clone(),
        why: why.to_owned(),
    }
}

/// A live resource whose status names the material: an old etcd, or something worse.
pub fn named_by(o: &Observed, record: &Record) -> Option<(String, crate::softdelete::RecordId)> {
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
