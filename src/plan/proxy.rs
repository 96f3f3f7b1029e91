//! The proxy of a soft-deleted object: how it is written, what its status says, and when the object may go.

use super::hold;
use super::observed::{Body, Held, Object, Observed, Proxy, ProxySpec, Tried};
use super::status;
use super::step::{At, Effect, Hold, Move, Step, Tell, act, place};
use super::translate;
use crate::api::conditions;
use crate::api::{self, DeletedHsmKeySpec, DeletedManagedHsmSpec, DeletedVersion, ProxyStatus};
use crate::softdelete::record::Version;
use crate::softdelete::retention::{self, DeletionFacts};
use crate::softdelete::{Dates, Record, RecordState, Subject, names};

/// Step 2: POST, from the object of the record's uid while that is there, else from the record. What a record says that is *live* still is of an
/// earlier deletion: this one is found now, and keeps a full interval (SD-10).
pub fn write(o: &Observed, record: &Record) -> Move {
    refused(o)?;
    let object = o
        .object
        .as_ref()
        .filter(|object| object.meta.uid == record.origin.uid);
    let dates = record
        .dates
        .filter(|_| record.state != RecordState::Live)
        .filter(|_| object.is_none_or(|object| object.meta.deleted.is_none()))
        .unwrap_or_else(|| dates_of(o, object, record));
    create(capped(spec(
        o,
        record,
        &dates,
        object.map(|object| object.snapshot.clone()),
    )))
}

/// MaterialMissing: there is no record, so the proxy says what the status says (SD-28).
pub fn write_from_status(o: &Observed) -> Move {
    refused(o)?;
    let Some(object) = &o.object else {
        return Ok(None);
    };
    let dates = deletion(o, Some(object), None, Some(retention_said(object)));
    create(capped(spec_from_status(o, object, &dates)))
}

fn refused(o: &Observed) -> Result<(), Hold> {
    match o
        .refused
        .as_ref()
        .filter(|seen| seen.what == Tried::CreateProxy)
    {
        Some(seen) => Err(hold::proxy_refused(o, &seen.why)),
        None => Ok(()),
    }
}

fn create(spec: ProxySpec) -> Move {
    act(Step::quiet(Effect::CreateProxy(Box::new(spec))))
}

/// What people are told once the proxy is there.
pub fn soft_deleted(o: &Observed, found: &Proxy) -> Tell {
    let until = translate::dates(found).scheduled_purge_time.map_or_else(
        || "with no date to purge it by".to_owned(),
        |time| format!("until {}", api::Time::from(time)),
    );
    Tell {
        whom: place(o),
        warning: false,
        reason: "SoftDeleted",
        note: format!("{} was deleted; it can be recovered {until}.", o.lineage),
    }
}

/// For the record's last deletion (SD-09).
pub fn dates_of(o: &Observed, object: Option<&Object>, record: &Record) -> Dates {
    deletion(
        o,
        object,
        record.dates.as_ref(),
        record.soft_delete.then_some(record.retention_days),
    )
}

fn deletion(
    o: &Observed,
    object: Option<&Object>,
    last: Option<&Dates>,
    days: Option<i32>,
) -> Dates {
    let facts = DeletionFacts {
        deleted: object.and_then(|object| object.meta.deleted),
        created: object.map(|object| object.meta.created),
        last_deletion: last.map(|dates| dates.deletion_time),
        now: o.now,
        clock_trusted: o.clock_trusted,
    };
    retention::dates(retention::deletion_time(&facts), days, o.settings.day)
}

fn retention_said(object: &Object) -> i32 {
    match &object.body {
        Body::Hsm(spec, _) => spec.retention_days,
        Body::Key(spec, _) => spec.retention_days.unwrap_or(retention::MAX_DAYS),
    }
}

fn spec(
    o: &Observed,
    record: &Record,
    dates: &Dates,
    snapshot: Option<api::Snapshot>,
) -> ProxySpec {
    let origin = translate::api_origin(&record.origin);
    let level = status::level(o, record);
    let day_length = status::day_length(o);
    match &record.subject {
        Subject::Hsm { .. } => ProxySpec::Hsm(DeletedManagedHsmSpec {
            origin,
            backend: o.backend.clone(),
            hsm_id: record.id.0.clone(),
            deletion_time: dates.deletion_time.into(),
            scheduled_purge_time: dates.scheduled_purge_time.map(Into::into),
            retention_days: dates.retention_days,
            purge_protection: record.purge_protection,
            recovery_level: level,
            day_length,
            snapshot,
        }),
        Subject::Key {
            hsm,
            hsm_name,
            key_name,
            versions,
            ..
        } => ProxySpec::Key(DeletedHsmKeySpec {
            origin,
            backend: o.backend.clone(),
            hsm_id: hsm.0.clone(),
            hsm: hsm_name.clone(),
            key_name: key_name.clone(),
            versions: versions.iter().map(deleted_version).collect(),
            deletion_time: dates.deletion_time.into(),
            scheduled_purge_time: dates.scheduled_purge_time.map(Into::into),
            retention_days: dates.retention_days,
            purge_protection: record.purge_protection,
            recovery_level: level,
            day_length,
            snapshot,
        }),
    }
}

fn deleted_version(version: &Version) -> DeletedVersion {
    let (thumbprint, check_value) = translate::shown_fingerprint(&version.fingerprint);
    DeletedVersion {
        id: version.number,
        material_id: version.material.0.clone(),
        thumbprint,
        check_value,
    }
}

fn spec_from_status(o: &Observed, object: &Object, dates: &Dates) -> ProxySpec {
    let origin = translate::api_origin(&translate::origin(o, object));
    let day_length = status::day_length(o);
    match &object.body {
        Body::Hsm(spec, shown) => ProxySpec::Hsm(DeletedManagedHsmSpec {
            origin,
            backend: spec.backend.clone(),
            hsm_id: shown
                .hsm_id
                .clone()
                .unwrap_or_else(|| hold::own_id(object).0),
            deletion_time: dates.deletion_time.into(),
            scheduled_purge_time: dates.scheduled_purge_time.map(Into::into),
            retention_days: dates.retention_days,
            purge_protection: spec.purge_protection,
            recovery_level: shown
                .recovery_level
                .unwrap_or(api::RecoveryLevel::Recoverable),
            day_length,
            snapshot: Some(object.snapshot.clone()),
        }),
        Body::Key(spec, shown) => ProxySpec::Key(DeletedHsmKeySpec {
            origin,
            backend: o.backend.clone(),
            hsm_id: shown.hsm_id.clone().unwrap_or_else(|| "unknown".to_owned()),
            hsm: spec.hsm.clone(),
            key_name: names::key_name(spec.key_name.as_deref(), &object.meta.name).to_owned(),
            versions: shown.versions.iter().map(shown_version).collect(),
            deletion_time: dates.deletion_time.into(),
            scheduled_purge_time: dates.scheduled_purge_time.map(Into::into),
            retention_days: dates.retention_days,
            purge_protection: spec.purge_protection,
            recovery_level: shown
                .recovery_level
                .unwrap_or(api::RecoveryLevel::Recoverable),
            day_length,
            snapshot: Some(object.snapshot.clone()),
        }),
    }
}

fn shown_version(version: &api::KeyVersion) -> DeletedVersion {
    DeletedVersion {
        id: version.id,
        material_id: version.material_id.clone(),
        thumbprint: version.thumbprint.clone(),
        check_value: version.check_value.clone(),
    }
}

/// Without its snapshot where it would be too large.
fn capped(mut spec: ProxySpec) -> ProxySpec {
    let size = match &spec {
        ProxySpec::Hsm(spec) => serde_json::to_vec(spec).map_or(usize::MAX, |bytes| bytes.len()),
        ProxySpec::Key(spec) => serde_json::to_vec(spec).map_or(usize::MAX, |bytes| bytes.len()),
    };
    if !names::keeps_snapshot(false, size) {
        let (ProxySpec::Hsm(DeletedManagedHsmSpec { snapshot, .. })
        | ProxySpec::Key(DeletedHsmKeySpec { snapshot, .. })) = &mut spec;
        *snapshot = None;
    }
    spec
}

/// Step 4: the proxy's status says which record stands behind it, with all else that holds now. Without it nothing is ever purged.
pub fn show_generation(o: &Observed, found: &Proxy, held: &Held) -> Move {
    if found.status.record_generation == i64::try_from(held.generation).ok() {
        return Ok(None);
    }
    let shown = status::proxy(o, found, Some(held), None);
    act(Step::quiet(Effect::ShowProxy(
        At::of(&found.meta),
        Box::new(shown),
    )))
}

/// While nothing was unsealed the proxy goes back to retained: it shows what holds now. Its HSM may have been deleted meanwhile: then its
/// purge is announced anew.
pub fn retained_again(o: &Observed, found: &Proxy) -> Step {
    let held = o.standing().map(|(held, _)| held);
    let mut retained = ProxyStatus {
        phase: None,
        recovering: None,
        ..status::proxy(o, found, held, None)
    };
    // Whether its purge is held is judged, and told, once it is retained.
    let shown = conditions::get(&found.status.conditions, conditions::PURGE_HELD);
    retained.conditions.extend(shown.cloned());
    let status = match hold::hsm_not_open(o) {
        Ok(()) => retained,
        Err(_) => status::not_announced(retained),
    };
    Step::quiet(Effect::ShowProxy(At::of(&found.meta), Box::new(status)))
}

/// Step 5, of the object that the record names: a visitor's end is decided by its own status (SD-03).
pub fn let_holder_go(o: &Observed, record: &Record) -> Move {
    match &o.object {
        Some(object) if object.meta.uid == record.origin.uid => let_go(o),
        _ => Ok(None),
    }
}

/// Step 5: our finalizer off what is on its way out.
pub fn let_go(o: &Observed) -> Move {
    match &o.object {
        Some(object) if object.meta.deleted.is_some() && object.meta.finalizer() => {
            act(Step::quiet(Effect::RemoveFinalizer(
                At::of(&object.meta),
                object.meta.without_ours(),
            )))
        }
        _ => Ok(None),
    }
}
