//! What a manifest asks for, and what it may not change any more.

use super::*;

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
        backend: Some(spec.backend.clone()),
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
        backend: None,
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

pub(super) fn hsm_not_found(name: &str) -> Hold {
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
    fixed::changed_fixed_field(record, &o.backend, &wanted)
        .map_or(Ok(wanted), |refusal| Err(refused(refusal)))
}

pub(super) fn beside(o: &Observed, object: &Object, record: &Record) -> Result<Wanted, Hold> {
    match (&object.body, &record.subject) {
        (Body::Hsm(spec, _), Subject::Hsm { .. }) => Ok(wanted_hsm(o, spec)),
        (Body::Key(spec, _), Subject::Key { hsm, .. }) => Ok(Wanted {
            retention_days: spec.retention_days.unwrap_or(record.retention_days),
            soft_delete: record.soft_delete,
            purge_protection: spec.purge_protection,
            backend: None,
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
