//! Records and material that cannot be gone by.

use super::*;

/// Nothing is judged, let alone written, on records that say different things, or that nobody can read.
pub fn unreadable(o: &Observed) -> Check {
    if o.material == Material::UnknownBackend {
        no_hsm_to_be_in(o)?;
        return Err(refused(Refusal::BackendUnknown {
            backend: o.backend.clone(),
        }));
    }
    if matches!(o.material, Material::NoLedger(_)) {
        return Err(unavailable(o));
    }
    hsm_is_ours(o)?;
    hsm_is_of_now(o)?;
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

/// A key that never had material, in an HSM of which nothing stands: nobody can say which backend it is for.
fn no_hsm_to_be_in(o: &Observed) -> Check {
    let (Some(object), Some(hsm)) = (o.alive(), &o.hsm) else {
        return Ok(());
    };
    let of_nothing = hsm.object.is_none() && hsm.record.is_none() && hsm.proxy.is_none();
    if of_nothing && o.proxy.is_none() && !translate::had_material(object) {
        return Err(hsm_not_found(&hsm.name));
    }
    Ok(())
}

/// A key is no more this cluster's than the HSM around it.
fn hsm_is_ours(o: &Observed) -> Check {
    let around = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    match around {
        Some((_, hsm)) if hsm.cluster != o.settings.cluster => Err(refused_until(
            Refusal::ForeignMaterial {
                cluster: hsm.cluster.clone(),
            },
            LATER,
        )),
        _ => Ok(()),
    }
}

/// Nor is a key of a later store than the HSM around it: the HSM's Purge stands for its keys too (SD-26).
fn hsm_is_of_now(o: &Observed) -> Check {
    let Some(hsm) = &o.hsm else { return Ok(()) };
    let Some((generation, record)) = &hsm.record else {
        return Ok(());
    };
    match purged_since(&hsm.purges, *generation, record) {
        Some(why) => Err(refused_until(
            Refusal::RecordDisagrees {
                record: record.id.0.clone(),
                why,
            },
            LATER,
        )),
        None => Ok(()),
    }
}

/// I6: a status that shows a higher generation than the record's means that the store was put back: nothing is written from it, nothing destroyed. A
/// finished Purge counts as the tombstone that it shows.
pub fn store_is_old(o: &Observed, held: &Held) -> Check {
    let record = held.record();
    if let Some(why) = record.and_then(|it| purged_since(&o.purges, held.generation, it)) {
        return Err(disagrees(held, why));
    }
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

/// What a finished Purge says of a record that knows nothing of it.
pub fn purged_since(purges: &[Purge], generation: u64, record: &Record) -> Option<String> {
    let mut purges = purges.iter();
    let purge = purges.find(|purge| {
        let destroyed = purge.spec.uid == record.origin.uid.0
            && api::conditions::is_true(&purge.status.conditions, api::conditions::COMPLETE);
        let shown = purge.status.record_generation;
        let shown = shown.and_then(|shown| u64::try_from(shown).ok());
        destroyed && arbiter::store_is_old(generation, [shown])
    })?;
    Some(format!(
        "the finished Purge {} says that its material was destroyed, so this store is from before",
        purge.meta.name
    ))
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

/// The material behind a retained proxy is there, as far as it can be seen: what its HSM's seal hides counts as there.
pub fn kept_material(o: &Observed, found: &Proxy) -> Check {
    let its = o
        .standing()
        .filter(|(_, record)| found.is_of(&record.origin.uid));
    let there = match (its.map(|(_, record)| &record.subject), &o.material) {
        (_, Material::Unavailable(_) | Material::Sealed) => true,
        (Some(Subject::Hsm { token }), Material::Token(Some(facts))) => token
            .as_ref()
            .is_some_and(|token| token.serial == facts.serial),
        (Some(Subject::Key { versions, .. }), Material::Objects(objects)) => {
            versions.iter().all(|version| {
                let mut ids = objects.iter().map(|object| object.id.to_string());
                ids.any(|id| id == version.material.0)
            })
        }
        _ => false,
    };
    if there { Ok(()) } else { Err(missing(o)) }
}

pub fn unavailable(o: &Observed) -> Hold {
    let why = match (refusal_of_backend(o), &o.material) {
        (Some(seen), _) => seen.why.clone(),
        (None, Material::Unavailable(why) | Material::NoLedger(why)) => why.clone(),
        (None, _) => String::new(),
    };
    refused_until(
        Refusal::BackendUnavailable {
            backend: o.backend.clone(),
            why,
        },
        SOON,
    )
}

fn refusal_of_backend(o: &Observed) -> Option<&Refused> {
    let refused = o.refused.as_ref();
    refused.filter(|seen| seen.what == Tried::Backend)
}

/// Why the material could not be looked at.
pub fn no_material_seen(o: &Observed, material: &Material) -> Hold {
    match material {
        Material::Unavailable(_) | Material::NoLedger(_) => unavailable(o),
        Material::UnknownBackend => refused(Refusal::BackendUnknown {
            backend: o.backend.clone(),
        }),
        Material::Sealed => hsm_not_open(o).err().unwrap_or_else(|| unavailable(o)),
        // Nothing is looked at while a record that leads to it is in doubt.
        Material::NotLooked => record_disagrees(o, "the record of its HSM is in doubt"),
        Material::NoToken | Material::Token(_) | Material::Objects(_) => missing(o),
    }
}

/// What the backend refused in this pass: nothing is tried again on it before the next one.
pub fn refused_backend(o: &Observed) -> Check {
    let Some(seen) = refusal_of_backend(o) else {
        return Ok(());
    };
    let (backend, why) = (o.backend.clone(), seen.why.clone());
    Err(match seen.how {
        No::Full => refused_until(Refusal::BackendFull { backend, why }, LATER),
        No::Unsupported => refused_until(
            Refusal::MechanismNotSupported {
                backend,
                mechanism: why,
            },
            LATER,
        ),
        No::Pin => Hold {
            again: Some(LATER),
            ..unavailable(o)
        },
        No::Failed | No::Answer => unavailable(o),
    })
}

/// Who has no material yet may use this backend, and there is room for one more. What has some is never asked.
pub fn no_place(o: &Observed) -> Check {
    let backend = o.backend.clone();
    if !o.terms.allowed {
        let namespace = o.lineage.namespace.clone();
        return Err(refused_until(
            Refusal::BackendNotAllowed { backend, namespace },
            LATER,
        ));
    }
    let most = o.terms.most.filter(|most| o.terms.taken >= *most);
    most.map_or(Ok(()), |most| {
        let why = match o.lineage.kind {
            Kind::Hsm => format!("{most} HSMs of one namespace at most, deleted ones included"),
            Kind::Key => format!("{most} keys in one HSM at most, deleted ones included"),
        };
        Err(refused_until(Refusal::BackendFull { backend, why }, LATER))
    })
}

/// The backend says that it generates such keys, and they never prove themselves.
pub fn never_whole(o: &Observed) -> Hold {
    refused_until(
        Refusal::MechanismNotSupported {
            backend: o.backend.clone(),
            mechanism: "key of that type and size which proves to work (several were generated)"
                .into(),
        },
        LATER,
    )
}

/// No object has any of the key's ids.
pub fn no_object_at_all(o: &Observed) -> bool {
    matches!(&o.material, Material::Objects(found) if found.is_empty())
}
