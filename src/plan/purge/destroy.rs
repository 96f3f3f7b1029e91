//! Purge, beyond the point of no return: destroyed by id, proved gone, told, and only then forgotten by the cluster.

use sha2::{Digest, Sha256};

use super::facts::named_by;
use crate::api;
use crate::api::conditions::{self, COMPLETE, EXECUTING};
use crate::backend::{Access, TokenFacts, TokenRef};
use crate::plan::create::touch;
use crate::plan::hold;
use crate::plan::material::{Objects, Progress};
use crate::plan::observed::{Material, Observed, Proxy, Purge};
use crate::plan::status;
use crate::plan::step::{At, Effect, Move, Step, Whom, act, write_record};
use crate::plan::translate;
use crate::softdelete::evidence;
use crate::softdelete::purge as rules;
use crate::softdelete::record::{Destroyed, Token};
use crate::softdelete::{Record, RecordState, Refusal, Subject};

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
        Progress::Done | Progress::Missing(_) | Progress::Disagrees(_) | Progress::NeverWhole => {
            Ok(None)
        }
    }
}

/// What a paused process made of a creation that was ended meanwhile: only what is pending, and only where it can be seen.
fn strays(o: &Observed, record: &Record) -> Move {
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

/// An HSM's objects one by one, each by its handle; its sealed token is opened for that.
fn destroy_hsm(o: &Observed, token: Option<&Token>) -> Move {
    let (facts, contents) = match &o.material {
        Material::Token(Some(facts)) => (facts, &o.purging.contents),
        // A creation that never came as far as a token.
        Material::Token(None) if token.is_none() => return Ok(None),
        other => return Err(hold::no_material_seen(o, other)),
    };
    if token.is_some_and(|token| token.serial != facts.serial) {
        return Err(hold::missing(o));
    }
    let token = reference(facts);
    match contents {
        Some(objects) => Ok(objects.first().map(|object| {
            let handle = object.handle;
            Step::quiet(Effect::Destroy { token, handle })
        })),
        None if facts.access == Access::Refused => {
            act(Step::quiet(Effect::OpenForDestruction(token)))
        }
        None => Err(hold::unavailable(o)),
    }
}

fn reference(facts: &TokenFacts) -> TokenRef {
    TokenRef {
        label: facts.label.clone(),
        serial: facts.serial.clone(),
    }
}

/// After the end: what a paused process may have made of it meanwhile goes too, then an HSM's slot or file.
pub fn left_behind(o: &Observed, record: &Record) -> Option<Step> {
    match &record.subject {
        Subject::Key { .. } => strays(o, record).ok().flatten(),
        Subject::Hsm { token } => {
            let Material::Token(Some(facts)) = &o.material else {
                return None;
            };
            let its = facts.label.0 == record.id.0;
            match destroy_hsm(o, token.as_ref()) {
                Ok(None) if its => Some(Step::quiet(Effect::ReleaseToken(reference(facts)))),
                Ok(step) => step.filter(|_| its),
                Err(_) => None,
            }
        }
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
    let note = format!("{} was destroyed for good: {}.", o.lineage, why(record));
    act(Step::told(
        write_record(o, next)?,
        Whom::Proxy,
        "Purged",
        note,
    ))
}

fn why(record: &Record) -> String {
    if !record.requesters.is_empty() {
        return format!("{} asked for it", record.requesters.join(", "));
    }
    reason(record).to_owned()
}

fn reason(record: &Record) -> &'static str {
    let scheduled = record.dates.and_then(|dates| dates.scheduled_purge_time);
    if scheduled.is_some() {
        rules::RETENTION_ENDED
    } else {
        rules::SOFT_DELETE_OFF
    }
}

/// Steps 6 and 7 over a tombstone: the Purges say so, or a receipt does; then the proxies go, an HSM's after its keys' (each by its own pass).
pub fn complete(o: &Observed, record: &Record) -> Move {
    let found = o
        .proxy
        .as_ref()
        .filter(|found| found.is_of(&record.origin.uid));
    let about = |purge: &&Purge| purge.spec.uid == record.origin.uid.0;
    let is = |purge: &Purge, kind: &str| conditions::is_true(&purge.status.conditions, kind);
    let carried_out = |purge: &&Purge| {
        !status::is_final(&purge.status.conditions) && (found.is_some() || is(purge, EXECUTING))
    };
    if let Some(open) = o.purges.iter().filter(about).find(carried_out) {
        return act(status::purge_complete(o, open, record));
    }
    let Some(found) = found else { return Ok(None) };
    if !o
        .purges
        .iter()
        .any(|purge| about(&purge) && is(purge, COMPLETE))
    {
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
        reason: Some(reason(record).to_owned()),
    }
}
