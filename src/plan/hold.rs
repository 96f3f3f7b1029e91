//! What stands in the way: each guard is a small function that names the refusal.

use std::time::Duration;

use super::ids;
use super::observed::{Body, Held, Hsm, Material, Object, Observed, Proxy, Reading, Tried};
use super::step::{Hold, Why};
use super::translate;
use crate::api;
use crate::softdelete::fixed::{self, Wanted, WantedKey};
use crate::softdelete::names::{self, Claim, Names};
use crate::softdelete::record::Algorithm;
use crate::softdelete::recover::{self, HsmNow, NamespaceNow};
use crate::softdelete::sentence::Deleted;
use crate::softdelete::{
    Kind, Origin, Record, RecordState, Refusal, Subject, Uid, arbiter, protection, retention,
};

/// What the backend or somebody else is about to finish is looked at again soon.
const SOON: Duration = Duration::from_secs(2);
/// What a person or the API server has to change is looked at again now and then.
pub const LATER: Duration = Duration::from_secs(30);

type Check = Result<(), Hold>;

fn refused(refusal: Refusal) -> Hold {
    Hold {
        why: Why::Refused(refusal),
        again: None,
    }
}

fn refused_until(refusal: Refusal, again: Duration) -> Hold {
    Hold {
        why: Why::Refused(refusal),
        again: Some(again),
    }
}

fn progress(sentence: String) -> Hold {
    Hold {
        why: Why::Progress(sentence),
        again: Some(SOON),
    }
}

// ---- the ledger and the backend ----

/// Nothing is judged, let alone written, on records that say different things, or that nobody can read.
pub fn unreadable(o: &Observed) -> Check {
    if o.material == Material::UnknownBackend {
        return Err(refused(Refusal::BackendUnknown {
            backend: o.backend.clone(),
        }));
    }
    if matches!(o.material, Material::NoLedger(_)) {
        return Err(unavailable(o));
    }
    o.records.iter().try_for_each(|held| match &held.reading {
        Reading::Disagree => Err(disagrees(
            held,
            "different records of one generation stand".into(),
        )),
        Reading::Unknown(version) => Err(disagrees(
            held,
            format!(
                "it is written in the encoding version {version}, which this operator does not know"
            ),
        )),
        Reading::One(record) if record.cluster != o.settings.cluster => {
            Err(refused(Refusal::ForeignMaterial {
                cluster: record.cluster.clone(),
            }))
        }
        Reading::One(_) => store_is_old(o, held),
    })
}

/// I6: a status that shows a higher generation than the record's means that the store was put back: nothing is written from it, nothing destroyed.
pub fn store_is_old(o: &Observed, held: &Held) -> Check {
    let by_object = o
        .object
        .as_ref()
        .filter(|object| {
            held.record()
                .is_some_and(|record| record.origin.uid == object.meta.uid)
        })
        .and_then(translate::shown_generation);
    let of_proxy = |proxy: &&Proxy| {
        held.record()
            .is_some_and(|record| proxy.is_of(&record.origin.uid))
    };
    let by_proxy = o
        .proxy
        .as_ref()
        .filter(of_proxy)
        .and_then(|proxy| proxy.status.record_generation)
        .and_then(|shown| u64::try_from(shown).ok());
    if arbiter::store_is_old(held.generation, [by_object, by_proxy]) {
        return Err(disagrees(
            held,
            format!(
                "it has generation {}, while the cluster has seen a later one",
                held.generation
            ),
        ));
    }
    Ok(())
}

fn disagrees(held: &Held, why: String) -> Hold {
    refused_until(
        Refusal::RecordDisagrees {
            record: held.id.0.clone(),
            why,
        },
        LATER,
    )
}

pub fn record_disagrees(o: &Observed, why: &str) -> Hold {
    let record = o
        .standing()
        .map(|(held, _)| held.id.0.clone())
        .unwrap_or_default();
    refused_until(
        Refusal::RecordDisagrees {
            record,
            why: why.to_owned(),
        },
        LATER,
    )
}

pub fn missing(o: &Observed) -> Hold {
    refused_until(
        Refusal::MaterialMissing {
            backend: o.backend.clone(),
        },
        LATER,
    )
}

pub fn unavailable(o: &Observed) -> Hold {
    refused_until(
        Refusal::BackendUnavailable {
            backend: o.backend.clone(),
        },
        SOON,
    )
}

/// Why the material could not be looked at.
pub fn no_material_seen(o: &Observed, material: &Material) -> Hold {
    match material {
        Material::Unavailable(_) | Material::NoLedger(_) => unavailable(o),
        Material::UnknownBackend => refused(Refusal::BackendUnknown {
            backend: o.backend.clone(),
        }),
        Material::Sealed => hsm_not_open(o).err().unwrap_or_else(|| unavailable(o)),
        Material::NoToken | Material::Token(_) | Material::Objects(_) | Material::NotLooked => {
            missing(o)
        }
    }
}

/// What the backend refused for good in this pass.
pub fn refused_backend(o: &Observed) -> Check {
    let Some(seen) = o
        .refused
        .as_ref()
        .filter(|seen| seen.what == Tried::Backend)
    else {
        return Ok(());
    };
    Err(if seen.full {
        refused_until(
            Refusal::BackendFull {
                backend: o.backend.clone(),
            },
            LATER,
        )
    } else if seen.unsupported {
        refused_until(
            Refusal::MechanismNotSupported {
                backend: o.backend.clone(),
                mechanism: seen.why.clone(),
            },
            LATER,
        )
    } else {
        unavailable(o)
    })
}

/// No object has any of the key's ids.
pub fn no_object_at_all(o: &Observed) -> bool {
    matches!(&o.material, Material::Objects(found) if found.is_empty())
}

// ---- what a manifest asks for ----

/// What the manifest asks for, if it can be had.
pub fn wanted(o: &Observed, object: &Object) -> Result<Wanted, Hold> {
    match &object.body {
        Body::Hsm(spec, _) => {
            protection::new_soft_delete(Some(spec.soft_delete), o.settings.undeletable)
                .map_err(refused)?;
            Ok(wanted_hsm(o, spec))
        }
        Body::Key(spec, _) => wanted_key(o, object, spec),
    }
}

fn wanted_hsm(o: &Observed, spec: &api::ManagedHsmSpec) -> Wanted {
    Wanted {
        retention_days: spec.retention_days,
        soft_delete: protection::soft_delete_in_effect(
            Some(spec.soft_delete),
            o.settings.undeletable,
        ),
        purge_protection: spec.purge_protection,
        key: None,
    }
}

fn wanted_key(o: &Observed, object: &Object, spec: &api::HsmKeySpec) -> Result<Wanted, Hold> {
    let hsm = hsm_record(o, spec)?;
    protection::purge_protection_switch(
        false,
        spec.purge_protection,
        hsm.soft_delete,
        Some(&spec.hsm),
    )
    .map_err(refused)?;
    Ok(Wanted {
        retention_days: retention::retention_days(spec.retention_days, Some(hsm.retention_days))
            .map_err(refused)?,
        soft_delete: hsm.soft_delete,
        purge_protection: spec.purge_protection,
        key: Some(WantedKey {
            hsm: hsm.id.clone(),
            hsm_name: spec.hsm.clone(),
            key_name: names::key_name(spec.key_name.as_deref(), &object.meta.name).to_owned(),
            algorithm: algorithm(o, spec)?,
        }),
    })
}

fn algorithm(o: &Observed, spec: &api::HsmKeySpec) -> Result<Algorithm, Hold> {
    let none = || {
        refused(Refusal::MechanismNotSupported {
            backend: o.backend.clone(),
            mechanism: "a key of that type and size".into(),
        })
    };
    translate::algorithm_of(spec).ok_or_else(none)
}

/// The live HSM that a key wants to be in.
fn hsm_record<'a>(o: &'a Observed, spec: &api::HsmKeySpec) -> Result<&'a Record, Hold> {
    let Some(hsm) = &o.hsm else {
        return Err(hsm_not_found(&spec.hsm));
    };
    hsm_open(o, hsm)?;
    hsm.record
        .as_ref()
        .map(|(_, record)| record)
        .ok_or_else(|| hsm_not_found(&spec.hsm))
}

fn hsm_not_found(name: &str) -> Hold {
    refused_until(
        Refusal::HsmNotFound {
            hsm: name.to_owned(),
        },
        LATER,
    )
}

/// What the manifest asks for beside what the record fixed: of what was left out, the record's.
pub fn fixed(o: &Observed, object: &Object, record: &Record) -> Result<Wanted, Hold> {
    let wanted = beside(o, object, record)?;
    fixed::changed_fixed_field(record, &wanted).map_or(Ok(wanted), |refusal| Err(refused(refusal)))
}

fn beside(o: &Observed, object: &Object, record: &Record) -> Result<Wanted, Hold> {
    match (&object.body, &record.subject) {
        (Body::Hsm(spec, _), Subject::Hsm { .. }) => Ok(wanted_hsm(o, spec)),
        (Body::Key(spec, _), Subject::Key { hsm, .. }) => Ok(Wanted {
            retention_days: spec.retention_days.unwrap_or(record.retention_days),
            soft_delete: record.soft_delete,
            purge_protection: spec.purge_protection,
            key: Some(WantedKey {
                hsm: hsm.clone(),
                hsm_name: spec.hsm.clone(),
                key_name: names::key_name(spec.key_name.as_deref(), &object.meta.name).to_owned(),
                algorithm: algorithm(o, spec)?,
            }),
        }),
        _ => Err(record_disagrees(o, "it is about an object of another kind")),
    }
}

// ---- names ----

/// An object that had material never gets other material (SD-28).
pub fn had_other_material(o: &Observed, object: &Object) -> Check {
    if translate::is_final(o, object) {
        return Err(refused(Refusal::MaterialDestroyed {
            uid: object.meta.uid.clone(),
        }));
    }
    if translate::had_material(object) || proxy_says_it_had(o, object) {
        Err(missing(o))
    } else {
        Ok(())
    }
}

/// A proxy of its own uid stands while no record does: the store lost what both speak of.
fn proxy_says_it_had(o: &Observed, object: &Object) -> bool {
    let its = |found: &Proxy| found.is_of(&object.meta.uid);
    o.standing().is_none() && o.proxy.as_ref().is_some_and(its)
}

/// Whether the resource's name, and the key's, are free for this object (`names::reserved`).
pub fn reserved(o: &Observed, object: &Object) -> Check {
    if let Some(found) = o
        .proxy
        .as_ref()
        .filter(|found| !found.is_of(&object.meta.uid))
    {
        return Err(by_proxy(o, found));
    }
    let own = o.standing().map(|(_, record)| record);
    let claims = own.into_iter().chain(&o.namesakes).map(|record| {
        let purgeable = !record.purge_protection && !o.settings.undeletable;
        Claim::of(record, beside_hsm(o, record), purgeable)
    });
    names::reserved(&names_of(o, object), &object.meta.uid, claims)
        .map_or(Ok(()), |refusal| Err(refused(refusal)))
}

/// Two resources that ask for one key at once may both have written *creating* before either saw the other: then the one with
/// the lower record goes on, and what has its material already goes before both (SD-17).
pub fn name_lost(o: &Observed, object: &Object, record: &Record) -> Check {
    let goes_first = |other: &&Record| other.state != RecordState::Creating || other.id < record.id;
    let claims = o.namesakes.iter().filter(goes_first).map(|other| {
        let purgeable = !other.purge_protection && !o.settings.undeletable;
        Claim::of(other, beside_hsm(o, other), purgeable)
    });
    names::reserved(&names_of(o, object), &object.meta.uid, claims)
        .map_or(Ok(()), |refusal| Err(refused_until(refusal, LATER)))
}

/// The names that an object needs.
pub fn names_of<'a>(o: &'a Observed, object: &'a Object) -> Names<'a> {
    let hsm = o
        .hsm
        .as_ref()
        .and_then(|hsm| hsm.record.as_ref())
        .map(|(_, record)| record);
    let key = match &object.body {
        Body::Key(spec, _) => hsm.map(|hsm| {
            (
                &hsm.id,
                names::key_name(spec.key_name.as_deref(), &object.meta.name),
            )
        }),
        Body::Hsm(..) => None,
    };
    Names {
        kind: o.lineage.kind,
        namespace: &o.lineage.namespace,
        name: &o.lineage.name,
        key,
    }
}

fn by_proxy(o: &Observed, found: &Proxy) -> Hold {
    match found.status.phase {
        Some(api::Phase::Recovering) => recovery_in_progress(found),
        Some(api::Phase::Destroying) => purge_in_progress(found),
        None => refused(Refusal::ObjectIsDeletedButRecoverable(deleted_proxy(
            o, found,
        ))),
    }
}

pub fn deleted_proxy(o: &Observed, found: &Proxy) -> Deleted {
    let origin = found.origin();
    Deleted {
        kind: o.lineage.kind,
        origin: Origin {
            namespace: origin.namespace.clone(),
            namespace_uid: translate::uid(&origin.namespace_uid),
            name: origin.name.clone(),
            uid: translate::uid(&origin.uid),
        },
        purge_time: found
            .status
            .purge_time
            .map(api::Time::utc)
            .or_else(|| translate::dates(found).scheduled_purge_time),
        purgeable: found.status.purge_protection == Some(false) && !o.settings.undeletable,
    }
}

// ---- the HSM around a key ----

/// The key's HSM can be used now (G6: its record is *live* and its object does not terminate).
pub fn hsm_not_open(o: &Observed) -> Check {
    match (o.lineage.kind, &o.hsm) {
        (Kind::Hsm, _) => Ok(()),
        (Kind::Key, Some(hsm)) => hsm_open(o, hsm),
        (Kind::Key, None) => Err(missing(o)),
    }
}

fn hsm_open(o: &Observed, hsm: &Hsm) -> Check {
    let state = hsm.record.as_ref().map(|(_, record)| record.state);
    match (state, now(o, hsm).refusal()) {
        (_, None) => Ok(()),
        (Some(RecordState::Destroying | RecordState::Tombstone | RecordState::Abandoned), _) => {
            let uid = hsm
                .record
                .as_ref()
                .map(|(_, record)| record.origin.uid.clone());
            Err(refused(Refusal::MaterialDestroyed {
                uid: uid.unwrap_or_default(),
            }))
        }
        (Some(RecordState::Creating | RecordState::Live) | None, Some(_))
            if hsm.object.is_some() =>
        {
            Err(progress(format!(
                "The ManagedHsm {} is not ready yet; this goes on by itself when it is.",
                hsm.name
            )))
        }
        (
            _,
            Some(
                refusal @ Refusal::HsmDeleted {
                    recovering: true, ..
                },
            ),
        ) => Err(refused_until(refusal, SOON)),
        (_, Some(refusal)) => Err(refused_until(refusal, LATER)),
    }
}

/// The HSM around a key, in the rules' words.
pub fn hsm_now(o: &Observed) -> Option<HsmNow> {
    o.hsm.as_ref().map(|hsm| now(o, hsm))
}

fn now(o: &Observed, hsm: &Hsm) -> HsmNow {
    if hsm.is_live() {
        return HsmNow::Live;
    }
    let recovering = hsm.proxy.as_ref().is_some_and(|found| found.recovering);
    match (hsm.record.as_ref().map(|(_, record)| record), &hsm.proxy) {
        (Some(record), _) => HsmNow::SoftDeleted {
            hsm: deleted(o, record),
            recovering: recovering || record.state == RecordState::Opening,
        },
        (None, Some(found)) => HsmNow::SoftDeleted {
            hsm: Deleted {
                kind: Kind::Hsm,
                origin: found.origin.clone(),
                purge_time: found.purge_time,
                purgeable: false,
            },
            recovering,
        },
        (None, None) => HsmNow::NotFound {
            name: hsm.name.clone(),
        },
    }
}

/// As a record alone tells it.
fn deleted(o: &Observed, record: &Record) -> Deleted {
    Deleted {
        kind: record.kind(),
        origin: record.origin.clone(),
        purge_time: record.dates.and_then(|dates| dates.scheduled_purge_time),
        purgeable: !record.purge_protection && !o.settings.undeletable,
    }
}

/// A key's record as it reads beside its HSM's (SD-26).
pub fn beside_hsm(o: &Observed, record: &Record) -> RecordState {
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    hsm.map_or(record.state, |(_, hsm)| {
        arbiter::state_in_hsm(record.state, hsm.state)
    })
}

/// The key's HSM is under its own seal: no delete in it waits (SD-27).
pub fn hsm_is_sealed(o: &Observed) -> bool {
    let state = o
        .hsm
        .as_ref()
        .and_then(|hsm| hsm.record.as_ref())
        .map(|(_, record)| record.state);
    o.lineage.kind == Kind::Key && matches!(state, Some(RecordState::Deleted))
}

/// The key's HSM is being destroyed, which is not proved yet: no object in it goes before its tombstone is there (SD-26).
pub fn hsm_being_destroyed(o: &Observed) -> Check {
    let hsm = o.hsm.as_ref();
    let state = hsm
        .and_then(|hsm| hsm.record.as_ref())
        .map(|(_, record)| record.state);
    match (hsm, state) {
        (Some(hsm), Some(RecordState::Destroying)) => Err(refused_until(
            Refusal::PurgeInProgress {
                proxy: names::proxy_name(&o.lineage.namespace, &hsm.name),
            },
            SOON,
        )),
        _ => Ok(()),
    }
}

/// The key's HSM is being sealed or opened: a key's own seal waits for the end of it.
pub fn hsm_seal_under_way(o: &Observed) -> Check {
    let state = o
        .hsm
        .as_ref()
        .and_then(|hsm| hsm.record.as_ref())
        .map(|(_, record)| record.state);
    match state {
        Some(RecordState::Sealing | RecordState::Opening) => Err(progress(
            "The key's HSM is changing its state; this goes on by itself after it.".into(),
        )),
        Some(RecordState::Deleted) => Err(hsm_not_open(o).err().unwrap_or_else(|| unavailable(o))),
        Some(RecordState::Destroying | RecordState::Tombstone | RecordState::Abandoned) => {
            Err(hsm_not_open(o).err().unwrap_or_else(|| unavailable(o)))
        }
        Some(RecordState::Creating | RecordState::Live) | None => Ok(()),
    }
}

// ---- recoveries and purges ----

pub fn recovery_in_progress(found: &Proxy) -> Hold {
    refused_until(
        Refusal::RecoveryInProgress {
            proxy: found.meta.name.clone(),
        },
        SOON,
    )
}

pub fn purge_in_progress(found: &Proxy) -> Hold {
    refused_until(
        Refusal::PurgeInProgress {
            proxy: found.meta.name.clone(),
        },
        SOON,
    )
}

pub fn create_refused(o: &Observed, answer: &str) -> Refusal {
    Refusal::CreateRefused {
        name: format!(
            "{} {}/{}",
            o.lineage.kind.object(),
            o.lineage.namespace,
            o.lineage.name
        ),
        answer: answer.to_owned(),
    }
}

/// What a rule refuses, looked at again now and then: what ends it may be nothing that we watch.
pub fn later(refusal: Refusal) -> Hold {
    refused_until(refusal, LATER)
}

pub fn destroyed(uid: &Uid) -> Hold {
    refused(Refusal::MaterialDestroyed { uid: uid.clone() })
}

pub fn deletion_unfinished() -> Hold {
    progress("The deletion is not finished yet; the recovery goes on by itself after it.".into())
}

pub fn proxy_refused(o: &Observed, answer: &str) -> Hold {
    let proxy = format!(
        "{} {}",
        o.lineage.kind.proxy(),
        api::proxy::proxy_name(&o.lineage.namespace, &o.lineage.name)
    );
    refused_until(
        Refusal::ProxyRefused {
            proxy,
            answer: answer.to_owned(),
        },
        LATER,
    )
}

/// The namespace is there and stays (SD-20).
pub fn namespace_there(o: &Observed) -> Check {
    match &o.namespace {
        Some(namespace) if !namespace.terminating => Ok(()),
        _ => Err(refused_until(
            Refusal::NamespaceTerminating {
                namespace: o.lineage.namespace.clone(),
            },
            LATER,
        )),
    }
}

/// The namespace is the one of then, or was accepted by its uid (`recover::accepts_namespace`).
pub fn namespace(o: &Observed, found: &Proxy, accepted: Option<&str>) -> Result<(), Refusal> {
    let Some(namespace) = &o.namespace else {
        return Err(Refusal::NamespaceTerminating {
            namespace: o.lineage.namespace.clone(),
        });
    };
    let now = NamespaceNow {
        uid: &namespace.uid,
        terminating: namespace.terminating,
    };
    let origin = deleted_proxy(o, found).origin;
    recover::accepts_namespace(
        o.lineage.kind,
        &origin,
        &now,
        accepted.map(translate::uid).as_ref(),
        None,
    )
}

/// Step 1: the record behind the proxy is *deleted*, and the proxy says so.
pub fn not_sealed_yet(o: &Observed, found: &Proxy) -> Check {
    let sealed = o.standing().filter(|(_, record)| {
        record.state == RecordState::Deleted && found.is_of(&record.origin.uid)
    });
    match sealed {
        Some((held, _))
            if found.status.record_generation == i64::try_from(held.generation).ok() =>
        {
            Ok(())
        }
        Some(_) => Err(progress(
            "The deletion is not finished yet; the recovery goes on by itself after it.".into(),
        )),
        None if o.standing().is_none() => Err(missing(o)),
        None => Err(progress(
            "The deletion is not finished yet; the recovery goes on by itself after it.".into(),
        )),
    }
}

/// What stands in the deleted object's place: nothing, or one that may be given the material (`fixed::adoption_difference`).
pub fn standing_object(o: &Observed, found: &Proxy) -> Check {
    let Some(object) = &o.object else {
        return Ok(());
    };
    if object.meta.deleted.is_some() {
        return Err(progress("The object of that name is still terminating; the recovery goes on by itself after it.".into()));
    }
    let of_it = o
        .standing()
        .filter(|(_, record)| found.is_of(&record.origin.uid));
    let difference = of_it
        .map(|(_, record)| adoption(o, object, record))
        .transpose()?;
    difference
        .flatten()
        .map_or(Ok(()), |refusal| Err(refused(refusal)))
}

/// In what an object that stands differs from the deleted one.
pub fn adoption(o: &Observed, object: &Object, record: &Record) -> Result<Option<Refusal>, Hold> {
    Ok(fixed::adoption_difference(
        record,
        &beside(o, object, record)?,
    ))
}

/// The record's id that an object of this uid would have.
pub fn own_id(object: &Object) -> crate::softdelete::RecordId {
    ids::record_id(&object.meta.uid)
}
