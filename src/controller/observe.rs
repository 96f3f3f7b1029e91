//! The look. In the order of G1: the object's handles first, then its records at the source, then the cluster.

use std::sync::Arc;

use kube::api::DynamicObject;

use super::cluster::{Source, Watched};
use super::index::{self, Entry};
use super::{Context, Failure, convert};
use crate::api;
use crate::backend::{BackendError, Depth, HsmBackend, Mark, MaterialId, ObjectFacts, TokenRef};
use crate::plan::observed::{
    Held, Hsm, KeyOfHsm, Material, Namespace, Observed, PurgeLook, Reading,
};
use crate::plan::{self, Lineage, ids};
use crate::softdelete::{Kind, Record, RecordId, RecordState, Subject, Uid, names};

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

/// What was looked at on the backend's side, and by which records.
struct Stored {
    records: Vec<Held>,
    material: Material,
    hsm: Option<(u64, Record)>,
    backend: String,
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
        hsm: uid(hsm_hint.as_ref()),
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
    Ok(Some(observed(context, lineage, seen, stored, hsm)?))
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
    let claims = seen.proxy.is_some() || seen.object.as_ref().is_some_and(ours);
    let known = stored.records.iter().any(|held| !held.is_final());
    match context.backends.get(&stored.backend) {
        Some(module) if claims && !known => {
            let all = list(context, module, &stored.backend).await?;
            let standing = |held: &Held| {
                !held.is_final()
                    && held
                        .record()
                        .is_some_and(|record| index::lineage(record) == *lineage)
            };
            Ok(all.iter().any(standing))
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
    hsm: Option<Uid>,
    backend: String,
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

/// What the backend's side shows. A ledger that does not answer is no news of the lineage, but something to show on it (SD-28).
async fn stored(
    context: &Context,
    named: &Named<'_>,
    again: bool,
) -> Result<Option<Stored>, Failure> {
    let entries = context.index.of_lineage(named.lineage);
    let backend = entries
        .iter()
        .map(|entry| entry.backend.clone())
        .next()
        .unwrap_or_else(|| named.backend.clone());
    let Some(module) = context.backends.get(&backend).cloned() else {
        return Ok(Some(Stored {
            records: Vec::new(),
            material: Material::UnknownBackend,
            hsm: None,
            backend,
        }));
    };
    match answered(context, named, &module, &backend, entries, again).await {
        Err(Failure::Backend(BackendError::Unavailable(why))) => Ok(Some(Stored {
            records: Vec::new(),
            material: Material::NoLedger(why),
            hsm: None,
            backend,
        })),
        other => other,
    }
}

/// Handles first, then the records anew. None: the records name other material than the one looked at.
async fn answered(
    context: &Context,
    named: &Named<'_>,
    module: &Arc<dyn HsmBackend>,
    backend: &str,
    mut entries: Vec<Entry>,
    again: bool,
) -> Result<Option<Stored>, Failure> {
    if again {
        // What memory has may be gone from the ledger: a store that was lost, or put back.
        entries = at_the_source(context, module, entries).await?;
    }
    if let Some(own) = named.object.as_ref().map(ids::record_id)
        && !entries.iter().any(|entry| entry.held.id == own)
    {
        entries.extend(
            read(context, module, backend, &own)
                .await?
                .map(|held| Entry {
                    backend: backend.to_owned(),
                    held,
                }),
        );
    }
    let before = looked_at(entries.iter().map(|entry| &entry.held));
    let hsm_id = hsm_id(context, named, before.as_ref().map(|(_, record)| record));
    let hsm_before = match &hsm_id {
        Some(id) => read(context, module, backend, id).await?.and_then(one),
        None => None,
    };
    let material = material(
        context,
        module,
        before.as_ref().map(|(_, record)| record),
        hsm_before.as_ref().map(|(_, record)| record),
    )
    .await?;

    let mut records = Vec::new();
    for entry in &entries {
        records.extend(read(context, module, backend, &entry.held.id).await?);
    }
    let hsm = match &hsm_id {
        Some(id) => read(context, module, backend, id).await?.and_then(one),
        None => None,
    };
    let after = looked_at(records.iter());
    // G3: handles count only for the very record that they were taken under. What is now the only copy was an original before.
    if before != after || hsm_before != hsm {
        return Ok(None);
    }
    Ok(Some(Stored {
        records,
        material,
        hsm,
        backend: backend.to_owned(),
    }))
}

/// The entries as the ledger has them now.
async fn at_the_source(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    entries: Vec<Entry>,
) -> Result<Vec<Entry>, Failure> {
    let mut found = Vec::new();
    for Entry { backend, held } in entries {
        let held = read(context, module, &backend, &held.id).await?;
        found.extend(held.map(|held| Entry { backend, held }));
    }
    Ok(found)
}

/// The record whose material is looked at: the one that stands, else an ended creation's, of which a paused process may have left something.
fn looked_at<'a>(held: impl Iterator<Item = &'a Held> + Clone) -> Option<(u64, Record)> {
    let standing = held.clone().find(|held| !held.is_final());
    let ended = || {
        held.clone()
            .find(|held| held.record().is_some_and(plan::leaves_strays))
    };
    standing.or_else(ended).cloned().and_then(one)
}

fn one(held: Held) -> Option<(u64, Record)> {
    match held.reading {
        Reading::One(record) => Some((held.generation, *record)),
        Reading::Disagree | Reading::Unknown(_) => None,
    }
}

fn material_ids(record: &Record) -> Vec<MaterialId> {
    match &record.subject {
        Subject::Hsm { .. } => Vec::new(),
        Subject::Key {
            versions, pending, ..
        } => versions
            .iter()
            .map(|version| &version.material)
            .chain(pending.iter().map(|pending| &pending.material))
            .filter_map(ids::backend_id)
            .collect(),
    }
}

/// The record that the key's record names, else that of the HSM of that name.
fn hsm_id(context: &Context, named: &Named<'_>, record: Option<&Record>) -> Option<RecordId> {
    if let Some(Subject::Key { hsm, .. }) = record.map(|record| &record.subject) {
        return Some(hsm.clone());
    }
    let of = named.hsm_lineage?;
    let standing = context
        .index
        .of_lineage(of)
        .into_iter()
        .find(|entry| !entry.held.is_final());
    standing
        .map(|entry| entry.held.id)
        .or_else(|| named.hsm.as_ref().map(ids::record_id))
}

/// All records of one ledger in one pass; memory takes note of them.
pub async fn list(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    backend: &str,
) -> Result<Vec<Held>, Failure> {
    let stored = context
        .pool
        .run(Arc::clone(module), |module| module.records())
        .await?;
    let all: Vec<_> = stored
        .chunk_by(|one, other| one.id == other.id)
        .filter_map(|group| index::reading(&RecordId(group[0].id.clone()), group))
        .collect();
    for held in &all {
        context.index.note(backend, held.clone());
    }
    Ok(all)
}

/// The id's record, at the source; memory takes note of it.
pub async fn read(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    backend: &str,
    id: &RecordId,
) -> Result<Option<Held>, Failure> {
    let name = id.0.clone();
    let stored = context
        .pool
        .run(Arc::clone(module), move |module| module.read(&name))
        .await?;
    let held = index::reading(id, &stored);
    if let Some(held) = &held {
        context.index.note(backend, held.clone());
    }
    Ok(held)
}

async fn material(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    record: Option<&Record>,
    hsm: Option<&Record>,
) -> Result<Material, Failure> {
    let Some(record) = record else {
        return Ok(Material::NotLooked);
    };
    match &record.subject {
        Subject::Hsm { .. } => {
            let label = ids::token_label(&record.id);
            let seen = context
                .pool
                .run(Arc::clone(module), move |module| module.token(&label))
                .await;
            Ok(seen.map_or_else(unavailable, Material::Token))
        }
        Subject::Key { .. } => match hsm.map(|hsm| &hsm.subject) {
            Some(Subject::Hsm { token: Some(token) }) => {
                let token = TokenRef {
                    label: crate::backend::TokenLabel(token.label.clone()),
                    serial: token.serial.clone(),
                };
                objects(context, module, token, record).await
            }
            _ => Ok(Material::NoToken),
        },
    }
}

/// Of what lives, with nothing pending, labels are enough.
fn counted_only(record: &Record) -> bool {
    let pending = matches!(
        &record.subject,
        Subject::Key {
            pending: Some(_),
            ..
        }
    );
    record.state == RecordState::Live && !pending
}

async fn objects(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
    token: TokenRef,
    record: &Record,
) -> Result<Material, Failure> {
    let ids = material_ids(record);
    let quiet = counted_only(record);
    let seen = context
        .pool
        .run(Arc::clone(module), move |module| {
            let labels = module.objects(&token, &ids, Depth::Labels)?;
            // What lives is only counted; each object is tried wherever something is about to be decided on it.
            if quiet
                && labels
                    .iter()
                    .all(|object: &ObjectFacts| object.mark == Mark::Live)
            {
                Ok(labels)
            } else {
                module.objects(&token, &ids, Depth::Proof)
            }
        })
        .await;
    Ok(seen.map_or_else(unavailable, Material::Objects))
}

fn unavailable(error: BackendError) -> Material {
    match error {
        BackendError::Sealed => Material::Sealed,
        BackendError::NotThere(_) => Material::NoToken,
        other => Material::Unavailable(other.to_string()),
    }
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
        object: object.as_ref().map(convert::hsm_object).transpose()?,
        record: stored.hsm.clone(),
        proxy: proxy.as_ref().map(convert::hsm_proxy).transpose()?,
    })
}

fn observed(
    context: &Context,
    lineage: &Lineage,
    seen: Seen,
    stored: Stored,
    hsm: Option<Hsm>,
) -> Result<Observed, Failure> {
    let namesakes = namesakes(context, lineage, seen.object.as_ref(), &stored);
    Ok(Observed {
        now: context.time.now(),
        clock_trusted: context.time.trusted_now().is_ok(),
        settings: context.settings.clone(),
        lineage: lineage.clone(),
        backend: stored.backend,
        namespace: seen.namespace.map(|found| Namespace {
            uid: Uid(found.metadata.uid.unwrap_or_default()),
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
        recovers: recovers(context, lineage)?,
        purges: purges(context, lineage)?,
        keys: keys(context, lineage, &stored.records),
        records: stored.records,
        material: stored.material,
        hsm,
        namesakes,
        // Nothing is purged by this version: what a purge asks for is not looked at.
        purging: PurgeLook::default(),
        refused: None,
    })
}

fn recovers(
    context: &Context,
    lineage: &Lineage,
) -> Result<Vec<crate::plan::observed::Recover>, Failure> {
    let kind = lineage.kind.object();
    let about = |found: &DynamicObject| {
        found.metadata.namespace.as_deref() == Some(&lineage.namespace)
            && text(Some(found), "/spec/kind").as_deref() == Some(kind)
            && text(Some(found), "/spec/name").as_deref() == Some(&lineage.name)
    };
    let mut found = context
        .cluster
        .list(Watched::Recover, about)
        .iter()
        .map(convert::recover)
        .collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|one, other| {
        (one.meta.created, &one.meta.name).cmp(&(other.meta.created, &other.meta.name))
    });
    Ok(found)
}

fn purges(
    context: &Context,
    lineage: &Lineage,
) -> Result<Vec<crate::plan::observed::Purge>, Failure> {
    let (kind, name) = (
        lineage.kind.proxy(),
        names::proxy_name(&lineage.namespace, &lineage.name),
    );
    let about = |found: &DynamicObject| {
        text(Some(found), "/spec/kind").as_deref() == Some(kind)
            && text(Some(found), "/spec/name").as_deref() == Some(&name)
    };
    let mut found = context
        .cluster
        .list(Watched::Purge, about)
        .iter()
        .map(convert::purge)
        .collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|one, other| {
        (one.meta.created, &one.meta.name).cmp(&(other.meta.created, &other.meta.name))
    });
    Ok(found)
}

/// Who else has the key's name in its HSM, case ignored (SD-17).
fn namesakes(
    context: &Context,
    lineage: &Lineage,
    object: Option<&DynamicObject>,
    stored: &Stored,
) -> Vec<Record> {
    let Some((_, hsm)) = stored.hsm.as_ref().filter(|_| lineage.kind == Kind::Key) else {
        return Vec::new();
    };
    let Some(wanted) =
        text(object, "/spec/keyName").or_else(|| object.map(|_| lineage.name.clone()))
    else {
        return Vec::new();
    };
    let same = |record: &&Record| {
        matches!(&record.subject, Subject::Key { key_name, .. } if names::same_key_name(key_name, &wanted))
            && index::lineage(record) != *lineage
    };
    let entries = context.index.keys_of(&hsm.id);
    entries
        .iter()
        .filter(|entry| !entry.held.is_final())
        .filter_map(|entry| entry.held.record())
        .filter(same)
        .cloned()
        .collect()
}

/// An HSM's keys, as memory has them.
fn keys(context: &Context, lineage: &Lineage, records: &[Held]) -> Vec<KeyOfHsm> {
    let standing = records
        .iter()
        .filter(|held| lineage.kind == Kind::Hsm && !held.is_final())
        .find_map(Held::record);
    let entries = standing
        .map(|record| context.index.keys_of(&record.id))
        .unwrap_or_default();
    entries
        .into_iter()
        .filter(|entry| !entry.held.is_final())
        .filter_map(|entry| one(entry.held))
        .map(|(generation, record)| KeyOfHsm {
            generation,
            record,
            proxy: None,
            object: None,
        })
        .collect()
}
