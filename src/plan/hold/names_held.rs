//! Names that somebody else holds, and material that was somebody's.

use super::*;

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
        return Err(by_its_proxy(o, found));
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

/// What a proxy keeps, or what is being done with it.
pub fn by_its_proxy(o: &Observed, found: &Proxy) -> Hold {
    match found.status.phase {
        Some(api::Phase::Recovering) => recovery_in_progress(found),
        Some(api::Phase::Destroying) => purge_in_progress(found),
        None => refused(Refusal::ObjectIsDeletedButRecoverable(deleted_proxy(
            o, found,
        ))),
    }
}

pub fn deleted_proxy(o: &Observed, found: &Proxy) -> Deleted {
    translate::kept_by(o.lineage.kind, found, o.settings.undeletable)
}
