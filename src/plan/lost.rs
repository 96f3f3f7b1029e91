//! A record that the ledger lost (`safety`: the record and the ledger). Where material and status, or proxy, agree it is written again, above every generation
//! that the cluster has seen; where they do not, that is shown, and nothing of it is touched. What is simply not there is `MaterialMissing`.

use super::hold;
use super::ids;
use super::observed::{Body, Material, Object, Observed, Proxy, ProxySpec};
use super::step::{Effect, Hold, Move, Step, act, place};
use super::translate;
use crate::api::{self, RecoveryLevel};
use crate::backend::{Access, Mark, TokenFacts};
use crate::softdelete::evidence::{self, Seen};
use crate::softdelete::record::{Algorithm, Token, Version};
use crate::softdelete::{
    Dates, Fingerprint, MaterialId, Origin, Record, RecordId, RecordState, Refusal, Subject,
};

/// Why something does not agree: a few words.
type Doubt = &'static str;

/// Who speaks of the lost record.
#[derive(Clone, Copy)]
enum Speaker<'a> {
    Object(&'a Object),
    Proxy(&'a Proxy),
}

/// What of the material the backend shows.
enum Found {
    There,
    Not,
    /// It cannot be seen now.
    Hidden(Hold),
}

/// The step that writes the record again, if one is lost; held where it cannot be told what the record said.
pub fn write_again(o: &Observed) -> Move {
    let Some(speaker) = speaker(o) else {
        return Ok(None);
    };
    match found(o) {
        Found::Not => Ok(None),
        Found::Hidden(_) if leaves(speaker) => Ok(None),
        Found::Hidden(hold) => Err(hold),
        Found::There => again(o, speaker),
    }
}

/// The id that the record of a proxy has, or would have.
pub fn id_of(found: &Proxy) -> RecordId {
    match &found.spec {
        ProxySpec::Hsm(spec) => RecordId(spec.hsm_id.clone()),
        ProxySpec::Key(spec) => ids::record_id(&translate::uid(&spec.origin.uid)),
    }
}

/// Where no record stands and none is final: the object whose status says that it had material, else the proxy.
fn speaker(o: &Observed) -> Option<Speaker<'_>> {
    let object = o
        .object
        .as_ref()
        .filter(|object| translate::had_material(object) && !translate::is_final(o, object));
    let ended = |found: &&Proxy| {
        let id = id_of(found);
        let mut records = o.records.iter();
        records.any(|held| {
            held.id == id
                || held
                    .record()
                    .is_some_and(|record| found.is_of(&record.origin.uid))
        })
    };
    let proxy = || o.proxy.as_ref().filter(|found| !ended(found));
    let nobody = o.standing().is_none() && o.records.iter().all(|held| held.is_final());
    nobody
        .then(|| {
            object
                .map(Speaker::Object)
                .or_else(|| proxy().map(Speaker::Proxy))
        })
        .flatten()
}

/// In a sealed HSM no delete waits.
fn leaves(speaker: Speaker<'_>) -> bool {
    matches!(speaker, Speaker::Object(object) if object.meta.deleted.is_some())
}

fn found(o: &Observed) -> Found {
    match &o.material {
        Material::Token(Some(_)) => Found::There,
        Material::Objects(objects) if !objects.is_empty() => Found::There,
        Material::Token(None)
        | Material::Objects(_)
        | Material::NoToken
        | Material::NotLooked
        | Material::UnknownBackend => Found::Not,
        hidden @ (Material::Sealed | Material::Unavailable(_) | Material::NoLedger(_)) => {
            Found::Hidden(hold::no_material_seen(o, hidden))
        }
    }
}

fn again(o: &Observed, speaker: Speaker<'_>) -> Move {
    let record = match speaker {
        Speaker::Object(object) => of_object(o, object),
        Speaker::Proxy(found) => of_proxy(o, found),
    };
    let agreed = record.and_then(|record| agrees(o, speaker, &record).map(|()| record));
    let record = agreed.map_err(|doubt| doubtful(id(speaker), doubt))?;
    let generation = seen_generation(o, &record) + 1;
    let note = format!(
        "The backend had lost its record of {}; it was written again from what the cluster and the material agree on.",
        o.lineage.name
    );
    act(Step::told(
        Effect::RestoreRecord {
            generation,
            record: Box::new(record),
        },
        place(o),
        "RecordWrittenAgain",
        note,
    ))
}

fn doubtful(id: RecordId, doubt: Doubt) -> Hold {
    hold::later(Refusal::RecordDisagrees {
        record: id.0,
        why: format!("it is lost, and {doubt}"),
    })
}

fn id(speaker: Speaker<'_>) -> RecordId {
    match speaker {
        Speaker::Proxy(found) => id_of(found),
        Speaker::Object(object) => match &object.body {
            Body::Hsm(_, shown) => shown.hsm_id.clone().map(RecordId),
            Body::Key(..) => None,
        }
        .unwrap_or_else(|| ids::record_id(&object.meta.uid)),
    }
}

/// The highest generation that the cluster has seen of it.
fn seen_generation(o: &Observed, record: &Record) -> u64 {
    let object = o
        .object
        .as_ref()
        .filter(|object| object.meta.uid == record.origin.uid);
    let proxy = o
        .proxy
        .as_ref()
        .filter(|found| found.is_of(&record.origin.uid))
        .and_then(|found| found.status.record_generation)
        .and_then(|shown| u64::try_from(shown).ok());
    object
        .and_then(translate::shown_generation)
        .max(proxy)
        .unwrap_or(0)
}

/// The material is what the record would say, and as open as whoever speaks of it says; no Purge says that it was destroyed.
fn agrees(o: &Observed, speaker: Speaker<'_>, record: &Record) -> Result<(), Doubt> {
    let destroyed = o.purges.iter().any(|purge| {
        purge.spec.uid == record.origin.uid.0
            && api::conditions::is_true(&purge.status.conditions, api::conditions::COMPLETE)
    });
    if destroyed {
        return Err("a finished Purge says that its material was destroyed");
    }
    let lives = matches!(speaker, Speaker::Object(object) if object.meta.deleted.is_none());
    match &o.material {
        Material::Token(Some(facts)) if lives && facts.access == Access::Refused => {
            Err("its token is sealed though its object lives")
        }
        Material::Objects(objects) => {
            if lives && objects.iter().any(|object| object.mark != Mark::Live) {
                return Err("its material is sealed, or not finished, though its object lives");
            }
            let proved: Vec<_> = objects
                .iter()
                .map(|object| {
                    let id = MaterialId(object.id.to_string());
                    (id, object.proved.as_ref().map(ids::fingerprint))
                })
                .collect();
            evidence::material_agrees(record, Seen::Key(&proved), &o.backend)
                .map_err(|_| "the material does not prove to be what the cluster shows")
        }
        _ => Ok(()),
    }
}

fn of_object(o: &Observed, object: &Object) -> Result<Record, Doubt> {
    let its = o
        .proxy
        .as_ref()
        .filter(|found| found.is_of(&object.meta.uid));
    if its.is_some() && object.meta.deleted.is_none() {
        return Err("the object lives while its proxy stands too");
    }
    if let Some(found) = its {
        return of_proxy(o, found);
    }
    let level = shown_level(object).ok_or("its status does not show its recovery level")?;
    let (subject, days, soft_delete, protection) = match &object.body {
        Body::Hsm(spec, _) => (
            hsm_subject(o)?,
            spec.retention_days,
            spec.soft_delete,
            spec.purge_protection,
        ),
        Body::Key(spec, shown) => {
            let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
            let (_, hsm) = hsm.ok_or("its HSM's record is not there")?;
            (
                key_subject(object, spec, shown, &hsm.id)?,
                spec.retention_days.unwrap_or(hsm.retention_days),
                hsm.soft_delete,
                spec.purge_protection,
            )
        }
    };
    if !fits(level, days, soft_delete) {
        return Err("its manifest and the recovery level that it shows differ");
    }
    Ok(Record {
        id: id(Speaker::Object(object)),
        cluster: o.settings.cluster.clone(),
        state: RecordState::Live,
        origin: translate::origin(o, object),
        recovered_from: None,
        subject,
        retention_days: days,
        soft_delete: soft_delete || level != RecoveryLevel::Purgeable,
        // I6: what is shown protected may be so by another switch than its own; in doubt it is its own.
        purge_protection: protection || shows_protection(level),
        dates: None,
        requesters: Vec::new(),
        destroyed: None,
    })
}

fn shown_level(object: &Object) -> Option<RecoveryLevel> {
    match &object.body {
        Body::Hsm(_, shown) => shown.recovery_level,
        Body::Key(_, shown) => shown.recovery_level,
    }
}

/// Fixed fields that somebody changed while no policy was in place show by the level.
fn fits(level: RecoveryLevel, days: i32, soft_delete: bool) -> bool {
    use RecoveryLevel as L;
    match level {
        L::Purgeable => !soft_delete,
        L::RecoverablePurgeable | L::Recoverable | L::RecoverableProtectedSubscription => {
            days == 90
        }
        L::CustomizedRecoverablePurgeable
        | L::CustomizedRecoverable
        | L::CustomizedRecoverableProtectedSubscription => days < 90,
    }
}

fn shows_protection(level: RecoveryLevel) -> bool {
    matches!(
        level,
        RecoveryLevel::Recoverable | RecoveryLevel::CustomizedRecoverable
    )
}

fn hsm_subject(o: &Observed) -> Result<Subject, Doubt> {
    let Material::Token(Some(TokenFacts { label, serial, .. })) = &o.material else {
        return Err("its token is not there");
    };
    let token = Token {
        label: label.0.clone(),
        serial: serial.clone(),
    };
    Ok(Subject::Hsm { token: Some(token) })
}

fn key_subject(
    object: &Object,
    spec: &api::HsmKeySpec,
    shown: &api::HsmKeyStatus,
    hsm: &RecordId,
) -> Result<Subject, Doubt> {
    if shown.hsm_id.as_deref() != Some(hsm.as_str()) {
        return Err("its status names another HSM");
    }
    let version = |shown: &api::KeyVersion| {
        Some(Version {
            number: shown.id,
            material: MaterialId(shown.material_id.clone()),
            fingerprint: fingerprint(shown.thumbprint.as_ref(), shown.check_value.as_ref())?,
            created: shown.created_at.utc(),
        })
    };
    let versions: Option<Vec<_>> = shown.versions.iter().map(version).collect();
    Ok(Subject::Key {
        hsm: hsm.clone(),
        hsm_name: spec.hsm.clone(),
        key_name: crate::softdelete::names::key_name(spec.key_name.as_deref(), &object.meta.name)
            .to_owned(),
        algorithm: translate::algorithm_of(spec).ok_or("its manifest names no type of key")?,
        versions: versions
            .filter(|all| !all.is_empty())
            .ok_or("its status names no material")?,
        pending: None,
    })
}

fn fingerprint(thumbprint: Option<&String>, check_value: Option<&String>) -> Option<Fingerprint> {
    let check = || check_value.map(|check| Fingerprint(format!("kcv:{check}")));
    thumbprint.cloned().map(Fingerprint).or_else(check)
}

/// A deletion that is under way, or done: *sealing*, which goes on to *deleted* by itself.
fn of_proxy(o: &Observed, found: &Proxy) -> Result<Record, Doubt> {
    if found.status.phase.is_some() {
        return Err("its proxy is being recovered or purged");
    }
    let dates = translate::dates(found);
    let (Some(_), Some(days)) = (dates.scheduled_purge_time, dates.retention_days) else {
        return Err("its proxy does not say until when it is kept");
    };
    let (subject, protection) = match &found.spec {
        ProxySpec::Hsm(spec) => (hsm_subject(o)?, spec.purge_protection),
        ProxySpec::Key(spec) => (deleted_key(spec)?, spec.purge_protection),
    };
    Ok(Record {
        subject,
        purge_protection: protection,
        ..shell(o, found, dates, days, RecordState::Sealing)
    })
}

/// All of a record that a proxy tells whatever it is of.
fn shell(o: &Observed, found: &Proxy, dates: Dates, days: i32, state: RecordState) -> Record {
    let origin = found.origin();
    Record {
        id: id_of(found),
        cluster: o.settings.cluster.clone(),
        state,
        origin: Origin {
            namespace: origin.namespace.clone(),
            namespace_uid: translate::uid(&origin.namespace_uid),
            name: origin.name.clone(),
            uid: translate::uid(&origin.uid),
        },
        recovered_from: None,
        subject: Subject::Hsm { token: None },
        retention_days: days,
        soft_delete: true,
        purge_protection: true,
        dates: Some(dates),
        requesters: Vec::new(),
        destroyed: None,
    }
}

fn deleted_key(spec: &api::DeletedHsmKeySpec) -> Result<Subject, Doubt> {
    let version = |shown: &api::DeletedVersion| {
        Some(Version {
            number: shown.id,
            material: MaterialId(shown.material_id.clone()),
            fingerprint: fingerprint(shown.thumbprint.as_ref(), shown.check_value.as_ref())?,
            // A proxy does not say when: not after this.
            created: spec.deletion_time.utc(),
        })
    };
    let versions: Option<Vec<_>> = spec.versions.iter().map(version).collect();
    Ok(Subject::Key {
        hsm: RecordId(spec.hsm_id.clone()),
        hsm_name: spec.hsm.clone(),
        key_name: spec.key_name.clone(),
        algorithm: snapshot_algorithm(spec)
            .ok_or("its proxy does not say what type of key it is")?,
        versions: versions
            .filter(|all| !all.is_empty())
            .ok_or("its proxy names no material")?,
        pending: None,
    })
}

fn snapshot_algorithm(spec: &api::DeletedHsmKeySpec) -> Option<Algorithm> {
    let snapshot = spec.snapshot.as_ref()?;
    let spec: api::HsmKeySpec = serde_json::from_value(snapshot.spec.clone()).ok()?;
    translate::algorithm_of(&spec)
}

/// What is given up for good, as its proxy alone tells it: nothing is claimed destroyed, the id is barred (SD-28).
pub fn given_up(o: &Observed, found: &Proxy) -> Record {
    let dates = translate::dates(found);
    let days = dates
        .retention_days
        .unwrap_or(crate::softdelete::retention::MAX_DAYS);
    let subject = match &found.spec {
        ProxySpec::Hsm(_) => Subject::Hsm { token: None },
        ProxySpec::Key(spec) => deleted_key(spec).unwrap_or_else(|_| Subject::Key {
            hsm: RecordId(spec.hsm_id.clone()),
            hsm_name: spec.hsm.clone(),
            key_name: spec.key_name.clone(),
            algorithm: Algorithm::Ec("unknown".to_owned()),
            versions: Vec::new(),
            pending: None,
        }),
    };
    Record {
        subject,
        ..shell(o, found, dates, days, RecordState::Abandoned)
    }
}

/// What a proxy is told of the material behind it.
pub fn kept(o: &Observed, found: &Proxy) -> Result<(), Hold> {
    let speaks = matches!(speaker(o), Some(Speaker::Proxy(_)));
    match write_again(o) {
        Err(hold) if speaks => Err(hold),
        _ => hold::kept_material(o, found),
    }
}
