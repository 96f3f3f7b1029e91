//! Recoveries and purges that are under way, or that cannot go on.

use super::*;

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

/// A key that an HSM's recovery brings with it is not finished yet.
pub fn key_follows(name: &str) -> Hold {
    progress(format!(
        "The HSM is back, and its key {name} is being recovered with it; this goes on by itself."
    ))
}

pub fn proxy_refused(o: &Observed, answer: &str) -> Hold {
    let proxy = format!(
        "{} {}",
        o.lineage.kind.proxy(),
        names::proxy_name(&o.lineage.namespace, &o.lineage.name)
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
pub fn namespace(o: &Observed, found: &Proxy, by: Option<&Recover>) -> Result<(), Refusal> {
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
    let accepted = by.and_then(|recover| recover.spec.accept_namespace_uid.as_deref());
    let missing = by.and_then(|recover| o.policies.missing_for(recover.meta.created));
    recover::accepts_namespace(
        o.lineage.kind,
        &origin,
        &now,
        accepted.map(translate::uid).as_ref(),
        missing.as_ref(),
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
        &o.backend,
        &beside(o, object, record)?,
    ))
}

/// The record's id that an object of this uid would have.
pub fn own_id(object: &Object) -> crate::softdelete::RecordId {
    ids::record_id(&object.meta.uid)
}
