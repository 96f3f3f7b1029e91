//! Create (`safety`: the four protocols), and the upkeep of what lives: switches, rotation, labels.

use super::hold;
use super::ids;
use super::material::Progress;
use super::observed::{Body, Held, Material, Object, Observed};
use super::pin;
use super::step::{At, Effect, Move, Step, Whom, act, write_record};
use super::translate;
use crate::backend::{Access, Mark};
use crate::softdelete::fixed::Wanted;
use crate::softdelete::record::{Pending, Token, Version};
use crate::softdelete::{Record, RecordState, Subject};

/// Steps 1 to 3: our finalizer, a free name, the record *creating*.
pub fn begin(o: &Observed, object: &Object) -> Move {
    hold::had_other_material(o, object)?;
    hold::reserved(o, object)?;
    let wanted = hold::wanted(o, object)?;
    hold::no_place(o)?;
    if !object.meta.finalizer() {
        return act(Step::quiet(Effect::AddFinalizer(
            At::of(&object.meta),
            object.meta.with_ours(),
        )));
    }
    act(Step::quiet(write_record(o, creating(o, object, wanted))?))
}

/// Steps 4 and 5: material that proves itself, then the record *live*. The HSM's record was read in this look.
pub fn go_on(o: &Observed, object: &Object, record: &Record) -> Move {
    if !object.meta.finalizer() {
        return act(Step::quiet(Effect::AddFinalizer(
            At::of(&object.meta),
            object.meta.with_ours(),
        )));
    }
    hold::had_other_material(o, object)?;
    match &record.subject {
        Subject::Hsm { .. } => make_token(o, record),
        Subject::Key {
            pending: Some(pending),
            ..
        } => {
            hold::name_lost(o, object, record)?;
            make_version(o, record, pending, RecordState::Live)
        }
        Subject::Key { pending: None, .. } => Err(hold::record_disagrees(
            o,
            "it says creating but names nothing to create",
        )),
    }
}

/// What lives is kept as its manifest says: its labels, its switches, its versions.
pub fn upkeep(o: &Observed, held: &Held, object: &Object, record: &Record) -> Move {
    if !object.meta.finalizer() {
        return act(Step::quiet(Effect::AddFinalizer(
            At::of(&object.meta),
            object.meta.with_ours(),
        )));
    }
    match &record.subject {
        Subject::Hsm { .. } => match pin::set(o, record, Access::Open)? {
            Some(step) => act(step),
            None => match switches(o, object, record)? {
                Some(step) => act(step),
                None => hold::protection_not_shown(o, held, object).map(|()| None),
            },
        },
        Subject::Key { .. } => {
            hold::hsm_not_open(o)?;
            match publish(o, record)? {
                Some(step) => act(step),
                None => match switches(o, object, record)? {
                    Some(step) => act(step),
                    None => rotate(o, object, record),
                },
            }
        }
    }
}

fn creating(o: &Observed, object: &Object, wanted: Wanted) -> Record {
    let id = ids::record_id(&object.meta.uid);
    let subject = match wanted.key {
        None => Subject::Hsm { token: None },
        Some(key) => Subject::Key {
            hsm: key.hsm,
            hsm_name: key.hsm_name,
            key_name: key.key_name,
            algorithm: key.algorithm,
            versions: Vec::new(),
            pending: Some(Pending {
                number: 1,
                material: ids::material_id(&object.meta.uid, 1),
            }),
        },
    };
    Record {
        id,
        cluster: o.settings.cluster.clone(),
        state: RecordState::Creating,
        origin: translate::origin(o, object),
        recovered_from: None,
        subject,
        retention_days: wanted.retention_days,
        soft_delete: wanted.soft_delete,
        purge_protection: wanted.purge_protection,
        dates: None,
        requesters: Vec::new(),
        destroyed: None,
    }
}

fn make_token(o: &Observed, record: &Record) -> Move {
    match &o.material {
        Material::Token(Some(facts)) if facts.access == Access::Open => {
            let token = Token {
                label: facts.label.0.clone(),
                serial: facts.serial.clone(),
            };
            let live = Record {
                state: RecordState::Live,
                subject: Subject::Hsm { token: Some(token) },
                ..record.clone()
            };
            act(Step::told(
                write_record(o, live)?,
                Whom::Object,
                "Created",
                format!(
                    "The HSM {} has its token; keys can be made in it.",
                    o.lineage.name
                ),
            ))
        }
        // Not open yet: a crash between C_InitToken and C_InitPIN, which making it again finishes.
        Material::Token(_) | Material::NotLooked => act(Step::quiet(Effect::CreateToken(
            ids::token_label(&record.id),
        ))),
        other => Err(hold::no_material_seen(o, other)),
    }
}

/// A pending version is generated, proved and taken into the record; in a rotation the record stays *live*.
fn make_version(o: &Observed, record: &Record, pending: &Pending, then: RecordState) -> Move {
    hold::hsm_not_open(o)?;
    let token = translate::token_of_key(o)?;
    let objects = translate::objects(o, &token, record)?;
    match objects.make(pending) {
        Err(progress) => touch(o, progress),
        Ok(fingerprint) => {
            let made = Version {
                number: pending.number,
                material: pending.material.clone(),
                fingerprint,
                created: o.now,
            };
            let note = format!(
                "Version {} of the key was made: {}.",
                made.number, made.fingerprint
            );
            act(Step::told(
                write_record(o, with_version(record, made, then))?,
                Whom::Object,
                if pending.number == 1 {
                    "Created"
                } else {
                    "Rotated"
                },
                note,
            ))
        }
    }
}

fn with_version(record: &Record, made: Version, state: RecordState) -> Record {
    let mut next = Record {
        state,
        ..record.clone()
    };
    if let Subject::Key {
        versions, pending, ..
    } = &mut next.subject
    {
        versions.push(made);
        *pending = None;
    }
    next
}

/// Every version is labelled as what it is: live.
pub fn publish(o: &Observed, record: &Record) -> Move {
    let Subject::Key { versions, .. } = &record.subject else {
        return Ok(None);
    };
    let token = translate::token_of_key(o)?;
    let objects = translate::objects(o, &token, record)?;
    if o.terms.seals_by_label()
        && let Some(step) = touch(o, objects.follow(versions, Mark::Live))?
    {
        return act(step);
    }
    touch(o, objects.publish(versions))
}

/// What was turned on is written to the record before anything shows it (SD-12, SD-13).
fn switches(o: &Observed, object: &Object, record: &Record) -> Move {
    let wanted = hold::fixed(o, object, record)?;
    let next = Record {
        soft_delete: record.soft_delete || wanted.soft_delete,
        purge_protection: record.purge_protection || wanted.purge_protection,
        ..record.clone()
    };
    if next == *record {
        return Ok(None);
    }
    act(Step::quiet(write_record(o, next)?))
}

fn rotate(o: &Observed, object: &Object, record: &Record) -> Move {
    let (
        Subject::Key {
            versions, pending, ..
        },
        Body::Key(spec, _),
    ) = (&record.subject, &object.body)
    else {
        return Ok(None);
    };
    if let Some(pending) = pending {
        return make_version(o, record, pending, RecordState::Live);
    }
    let number = versions
        .iter()
        .map(|version| version.number)
        .max()
        .unwrap_or(0)
        + 1;
    if spec.versions < number {
        return Ok(None);
    }
    let mut next = record.clone();
    if let Subject::Key { pending, .. } = &mut next.subject {
        *pending = Some(Pending {
            number,
            material: ids::material_id(&object.meta.uid, number),
        });
    }
    act(Step::quiet(write_record(o, next)?))
}

/// A protocol's next touch of the material, or what its absence means.
pub fn touch(o: &Observed, progress: Progress) -> Move {
    match progress {
        Progress::Touch(effect) => act(Step::quiet(effect)),
        Progress::Done => Ok(None),
        Progress::Missing(_) => Err(hold::missing(o)),
        Progress::Disagrees(id) => Err(hold::record_disagrees(
            o,
            &format!("the objects with id {id} do not prove to be the key that it names"),
        )),
        Progress::NeverWhole => Err(hold::never_whole(o)),
    }
}

/// Ends a *creating* whose uid is not there any more: *destroying*, then by id as in a purge. It is never just removed.
pub fn end(o: &Observed, record: &Record) -> Move {
    act(Step::quiet(write_record(
        o,
        Record {
            state: RecordState::Destroying,
            ..record.clone()
        },
    )?))
}
