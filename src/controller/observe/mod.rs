//! The look. In the order of G1: the object's handles first, then its records at the source, then the cluster.

mod around;
mod purging;
mod stored;

pub use around::brings_all_keys;
pub use stored::{list, read};

use kube::api::DynamicObject;

use super::cluster::{Source, Watched};
use super::{Context, Failure, convert, index, policies, quota};
use crate::api;
use crate::plan::observed::{
    Held, Hsm, KeyOfHsm, Material, Namespace, Observed, Purge, PurgeLook, Recover,
};
use crate::plan::{self, Lineage, ids};
use crate::softdelete::permission;
use crate::softdelete::purge::history_ends;
use crate::softdelete::{Kind, Subject, Uid};
use around::{ended, keys, namesakes, purges, recovers};
use stored::{Sought, Stored, stored};

/// How often a look starts again because the ledger moved under it.
const TRIES: usize = 5;

/// Everything that judgement needs of one lineage.
pub async fn look(
    context: &Context,
    lineage: &Lineage,
    source: Source,
) -> Result<Observed, Failure> {
    let mut last = None;
    for tried in 0..TRIES {
        match attempt(context, lineage, source, tried > 0).await? {
            // Written between our reading of the record and our GET, or the store is old: another look tells.
            Some(seen) if source == Source::Live && seen.store_seems_old() => last = Some(seen),
            Some(seen) => return Ok(seen),
            None => {}
        }
    }
    last.ok_or(Failure::Moving)
}

async fn attempt(
    context: &Context,
    lineage: &Lineage,
    source: Source,
    again: bool,
) -> Result<Option<Observed>, Failure> {
    let hint = context.cluster.object(Source::Cache, lineage).await?;
    let proxy_hint = context.cluster.proxy(Source::Cache, lineage).await?;
    let hsm_lineage = hsm_lineage(context, lineage, hint.as_ref(), proxy_hint.as_ref());
    let hsm_hint = match &hsm_lineage {
        Some(of) => context.cluster.object(Source::Cache, of).await?,
        None => None,
    };
    let named = Named {
        lineage,
        hsm_lineage: hsm_lineage.as_ref(),
        object: uid(hint.as_ref()),
        proxy: text(proxy_hint.as_ref(), "/spec/origin/uid").map(Uid),
        hsm: uid(hsm_hint.as_ref()),
        sought: Sought::by(lineage.kind, hint.as_ref(), proxy_hint.as_ref()),
        backend: backend_name(
            lineage,
            hint.as_ref(),
            proxy_hint.as_ref(),
            hsm_hint.as_ref(),
        ),
    };
    let Some(stored) = stored(context, &named, again).await? else {
        return Ok(None);
    };

    let object = context.cluster.object(source, lineage).await?;
    let answers = !matches!(stored.material, Material::NoLedger(_));
    if answers && source == Source::Live && newer(context, &named, &stored, object.as_ref()).await?
    {
        return Ok(None);
    }
    let seen = Seen {
        object,
        proxy: context.cluster.proxy(source, lineage).await?,
        namespace: context
            .cluster
            .namespace(source, &lineage.namespace)
            .await?,
    };
    let unrecorded = stored.records.iter().all(Held::is_final);
    let by_now = Sought::by(lineage.kind, seen.object.as_ref(), seen.proxy.as_ref());
    if source == Source::Live && unrecorded && by_now != named.sought {
        return Ok(None);
    }
    if answers && overlooked(context, lineage, &seen, &stored).await? {
        return Ok(None);
    }
    if source == Source::Live {
        absence_counts(context, lineage, &seen, &stored.records).await?;
    }
    let hsm = match &hsm_lineage {
        Some(of) => Some(hsm(context, of, source, &stored).await?),
        None => None,
    };
    let its_keys = keys(context, lineage, source, &stored, &seen, false).await?;
    if source == Source::Live {
        all_keys_known(context, lineage, &stored).await?;
    }
    let asking = Asking {
        recovers: recovers(context, Source::Cache, lineage).await?,
        purges: purges(context, Source::Cache, lineage).await?,
    };
    let mut all = observed(context, lineage, &seen, &stored, hsm, its_keys, asking)?;
    if plan::purge_on_the_mind(&all) {
        all.keys = keys(context, lineage, source, &stored, &seen, true).await?;
        purging::look(context, source, &mut all).await?;
    }
    if believes(&all) {
        all.policies = policies::look(context, source).await?;
    }
    Ok(Some(all))
}

/// Something hangs on who asked: that only admission saw.
fn believes(all: &Observed) -> bool {
    let asked = |purge: &Purge| !plan::is_final(&purge.status.conditions);
    let accepted = |recover: &Recover| {
        recover.spec.accept_namespace_uid.is_some() && !plan::is_final(&recover.status.conditions)
    };
    all.purges.iter().any(asked) || all.recovers.iter().any(accepted)
}

/// A record that speaks of an object or a proxy which is not there: that means something only while the kind's definition stays.
async fn absence_counts(
    context: &Context,
    lineage: &Lineage,
    seen: &Seen,
    records: &[Held],
) -> Result<(), Failure> {
    let standing = records.iter().any(|held| !held.is_final());
    let absent = [
        (seen.object.is_none(), Watched::Object(lineage.kind)),
        (
            seen.proxy.is_none() && seen.object.is_none(),
            Watched::Proxy(lineage.kind),
        ),
    ];
    for (_, kind) in absent.into_iter().filter(|(absent, _)| *absent && standing) {
        if !context.cluster.definition_stays(kind).await? {
            return Err(Failure::DefinitionGone(kind.resource().kind));
        }
    }
    Ok(())
}

/// What stands here must have a record, and memory knows none: another operator may have written it since the ledger was listed.
/// No name is free, and no material missing, before the ledger itself was asked.
async fn overlooked(
    context: &Context,
    lineage: &Lineage,
    seen: &Seen,
    stored: &Stored,
) -> Result<bool, Failure> {
    let ours = |object: &DynamicObject| {
        let finalizers = object.metadata.finalizers.iter().flatten();
        finalizers.into_iter().any(|name| name == api::FINALIZER)
    };
    let named = text(seen.object.as_ref(), "/status/hsmId").is_some();
    let claims = named || seen.proxy.is_some() || seen.object.as_ref().is_some_and(ours);
    let known = stored.records.iter().any(|held| !held.is_final());
    match context.backends.get(&stored.backend) {
        Some(module) if claims && !known => {
            let all = list(context, module, &stored.backend).await?;
            let there = |entry: &index::Entry| all.iter().any(|held| held.id == entry.held.id);
            let of_it = context.index.of_lineage(lineage);
            Ok(of_it
                .iter()
                .any(|entry| !entry.held.is_final() && there(entry)))
        }
        _ => Ok(false),
    }
}

/// The object is not the one that the cache had, and has a record: it was not among those read before the GET.
async fn newer(
    context: &Context,
    named: &Named<'_>,
    stored: &Stored,
    object: Option<&DynamicObject>,
) -> Result<bool, Failure> {
    let (Some(seen), Some(module)) = (uid(object), context.backends.get(&stored.backend)) else {
        return Ok(false);
    };
    if named.object.as_ref() == Some(&seen)
        || stored.records.iter().any(|held| {
            held.record()
                .is_some_and(|record| record.origin.uid == seen)
        })
    {
        return Ok(false);
    }
    Ok(
        read(context, module, &stored.backend, &ids::record_id(&seen))
            .await?
            .is_some(),
    )
}

struct Named<'a> {
    lineage: &'a Lineage,
    hsm_lineage: Option<&'a Lineage>,
    object: Option<Uid>,
    /// Of the object that the proxy stands for.
    proxy: Option<Uid>,
    hsm: Option<Uid>,
    sought: Sought,
    backend: String,
}

/// Before an HSM's tombstone is forgotten no record of a key in it may be left, nor one that memory does not know.
async fn all_keys_known(
    context: &Context,
    lineage: &Lineage,
    stored: &Stored,
) -> Result<(), Failure> {
    let now = context.time.now();
    let over = ended(context, &stored.records)
        .into_values()
        .any(|time| history_ends(time, context.settings.history) <= now);
    match context.backends.get(&stored.backend) {
        Some(module) if over && lineage.kind == Kind::Hsm => {
            list(context, module, &stored.backend).await.map(drop)
        }
        _ => Ok(()),
    }
}

struct Asking {
    recovers: Vec<Recover>,
    purges: Vec<Purge>,
}

struct Seen {
    object: Option<DynamicObject>,
    proxy: Option<DynamicObject>,
    namespace: Option<DynamicObject>,
}

fn uid(of: Option<&DynamicObject>) -> Option<Uid> {
    of.and_then(|found| found.metadata.uid.clone()).map(Uid)
}

fn text(of: Option<&DynamicObject>, path: &str) -> Option<String> {
    of.and_then(|found| found.data.pointer(path))
        .and_then(|value| value.as_str())
        .map(str::to_owned)
}

/// The HSM that a key is in, by whatever says so first: its record, its manifest, its proxy.
fn hsm_lineage(
    context: &Context,
    lineage: &Lineage,
    object: Option<&DynamicObject>,
    proxy: Option<&DynamicObject>,
) -> Option<Lineage> {
    if lineage.kind == Kind::Hsm {
        return None;
    }
    let standing = context
        .index
        .of_lineage(lineage)
        .into_iter()
        .find(|entry| !entry.held.is_final());
    let recorded = standing
        .as_ref()
        .and_then(|entry| entry.held.record())
        .and_then(|record| match &record.subject {
            Subject::Key { hsm_name, .. } => Some(hsm_name.clone()),
            Subject::Hsm { .. } => None,
        });
    let name = recorded
        .or_else(|| text(object, "/spec/hsm"))
        .or_else(|| text(proxy, "/spec/hsm"))?;
    Some(Lineage::new(Kind::Hsm, lineage.namespace.clone(), name))
}

fn backend_name(
    lineage: &Lineage,
    object: Option<&DynamicObject>,
    proxy: Option<&DynamicObject>,
    hsm: Option<&DynamicObject>,
) -> String {
    let own = if lineage.kind == Kind::Hsm {
        object
    } else {
        hsm
    };
    text(own, "/spec/backend")
        .or_else(|| text(proxy, "/spec/backend"))
        .unwrap_or_else(|| "default".to_owned())
}

async fn hsm(
    context: &Context,
    of: &Lineage,
    source: Source,
    stored: &Stored,
) -> Result<Hsm, Failure> {
    let object = context.cluster.object(source, of).await?;
    let proxy = context.cluster.proxy(source, of).await?;
    Ok(Hsm {
        name: of.name.clone(),
        object: object.as_ref().map(convert::near_object),
        record: stored.hsm.clone(),
        proxy: proxy
            .as_ref()
            .map(|found| convert::near_proxy(Kind::Hsm, found))
            .transpose()?,
        // Finished ones are asked for: those do not change.
        purges: purges(context, Source::Cache, of).await?,
    })
}

fn observed(
    context: &Context,
    lineage: &Lineage,
    seen: &Seen,
    stored: &Stored,
    hsm: Option<Hsm>,
    keys: Vec<KeyOfHsm>,
    asking: Asking,
) -> Result<Observed, Failure> {
    // Both clocks must be past a date: the earlier of the two counts.
    let trusted = context.time.trusted_now();
    let namesakes = namesakes(context, lineage, seen.object.as_ref(), stored);
    let ended = ended(context, &stored.records);
    Ok(Observed {
        clock_trusted: trusted.is_ok(),
        now: trusted.unwrap_or_else(|_| context.time.now()),
        settings: context.settings.clone(),
        lineage: lineage.clone(),
        backend: stored.backend.clone(),
        namespace: seen.namespace.as_ref().map(|found| Namespace {
            uid: uid(Some(found)).unwrap_or_default(),
            terminating: found.metadata.deletion_timestamp.is_some(),
        }),
        object: seen
            .object
            .as_ref()
            .map(|found| convert::object(lineage.kind, found))
            .transpose()?,
        proxy: seen
            .proxy
            .as_ref()
            .map(|found| convert::proxy(lineage.kind, found))
            .transpose()?,
        recovers: asking.recovers,
        purges: asking.purges,
        keys,
        records: stored.records.clone(),
        material: stored.material.clone(),
        hsm,
        namesakes,
        ended,
        terms: quota::terms(
            context,
            lineage,
            &stored.backend,
            stored.hsm.as_ref().map(|(_, hsm)| &hsm.id),
            seen.object.as_ref(),
            seen.namespace.as_ref(),
        ),
        policies: permission::Policies::Missing("set of admission policies (not looked at)".into()),
        purging: PurgeLook {
            contents: stored.contents.clone(),
            ..PurgeLook::default()
        },
        refused: None,
    })
}

#[cfg(test)]
mod tests;
