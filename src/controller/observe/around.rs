//! What stands around a lineage: its Recovers and Purges, an HSM's keys, who else has a key's name.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kube::api::DynamicObject;

use super::stored::{Stored, list, material_of_key, one};
use super::{Seen, text};
use crate::controller::cluster::{Source, Watched};
use crate::controller::{Context, Failure, convert, index};
use crate::plan::Lineage;
use crate::plan::observed::{Held, KeyOfHsm, Meta, Purge, Recover};
use crate::softdelete::{Kind, Record, RecordId, RecordState, Subject};

/// The lineage's Recovers, the oldest first.
pub(super) async fn recovers(
    context: &Context,
    source: Source,
    lineage: &Lineage,
) -> Result<Vec<Recover>, Failure> {
    let found = context.cluster.recovers(source, lineage).await?;
    let mut all = found
        .iter()
        .map(convert::recover)
        .collect::<Result<Vec<_>, _>>()?;
    all.sort_by(|one, other| age(&one.meta).cmp(&age(&other.meta)));
    Ok(all)
}

/// The lineage's Purges, the oldest first.
pub(super) async fn purges(
    context: &Context,
    source: Source,
    lineage: &Lineage,
) -> Result<Vec<Purge>, Failure> {
    let found = context.cluster.purges(source, lineage).await?;
    let mut all = found
        .iter()
        .map(convert::purge)
        .collect::<Result<Vec<_>, _>>()?;
    all.sort_by(|one, other| age(&one.meta).cmp(&age(&other.meta)));
    Ok(all)
}

fn age(of: &Meta) -> (DateTime<Utc>, &str) {
    (of.created, &of.name)
}

/// Who else has the key's name in its HSM, case ignored (SD-17).
pub(super) fn namesakes(
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
    let another = |record: &&Record| index::lineage(record) != *lineage;
    let entries = context.index.named(&hsm.id, &wanted);
    entries
        .iter()
        .filter(|entry| !entry.held.is_final())
        .filter_map(|entry| entry.held.record())
        .filter(another)
        .cloned()
        .collect()
}

/// An HSM's keys, as memory has their records; while it changes its state, or for its purge, they are listed at the source, with their proxies and objects:
/// the ledger first, then the cluster (G1).
pub(super) async fn keys(
    context: &Context,
    lineage: &Lineage,
    source: Source,
    stored: &Stored,
    seen: &Seen,
    purge: bool,
) -> Result<Vec<KeyOfHsm>, Failure> {
    let Some((generation, hsm)) = hsm_with_keys(lineage, &stored.records, seen.proxy.as_ref())
    else {
        return Ok(Vec::new());
    };
    let settled = !purge && is_settled(context, lineage, generation, hsm, seen);
    let (proxies, objects) = if settled {
        (Vec::new(), Vec::new())
    } else {
        if let (Source::Live, Some(module)) = (source, context.backends.get(&stored.backend)) {
            list(context, module, &stored.backend).await?;
        }
        (
            context.cluster.key_proxies(source, lineage).await?,
            context.cluster.keys(source, lineage).await?,
        )
    };
    let mut keys = Vec::new();
    for (generation, record) in context
        .index
        .keys_of(&hsm.id)
        .into_iter()
        .filter(|entry| !entry.held.is_final())
        .filter_map(|entry| one(entry.held))
    {
        let name = &record.origin.name;
        let proxy = proxies
            .iter()
            .find(|found| text(Some(found), "/spec/origin/name").as_ref() == Some(name));
        let object = objects
            .iter()
            .find(|found| found.metadata.name.as_ref() == Some(name));
        let awaited = !settled && may_be_awaited(&record, object);
        keys.push(KeyOfHsm {
            proxy: proxy
                .map(|found| convert::near_proxy(Kind::Key, found))
                .transpose()?,
            object: object.map(convert::near_object),
            material: if awaited {
                material_of_key(context, stored, &record).await?
            } else {
                None
            },
            generation,
            record,
        });
    }
    Ok(keys)
}

/// A key that is not sealed yet though it is deleted: its HSM's recovery may wait for it.
fn may_be_awaited(key: &Record, object: Option<&DynamicObject>) -> bool {
    let lives = object.is_some_and(|found| {
        found.metadata.deletion_timestamp.is_none()
            && found.metadata.uid.as_ref() == Some(&key.origin.uid.0)
    });
    match key.state {
        RecordState::Sealing => true,
        RecordState::Live | RecordState::Opening => !lives,
        _ => false,
    }
}

/// Nothing is under way in the HSM for which its keys' proxies and objects matter: neither a change of its state, nor a protection that its status
/// does not show yet, nor a recovery with all keys.
fn is_settled(
    context: &Context,
    lineage: &Lineage,
    generation: u64,
    hsm: &Record,
    seen: &Seen,
) -> bool {
    let state = matches!(
        hsm.state,
        RecordState::Creating | RecordState::Live | RecordState::Deleted
    );
    let phase = text(seen.proxy.as_ref(), "/status/phase").is_some();
    let shown = seen.object.as_ref().and_then(convert::shown_generation);
    let protection =
        hsm.state == RecordState::Live && hsm.purge_protection && shown != Some(generation);
    state && !phase && !protection && !brings_all_keys(context, lineage)
}

/// An unfinished Recover of the HSM asks for all its keys.
pub fn brings_all_keys(context: &Context, hsm: &Lineage) -> bool {
    let asks = |found: &DynamicObject| {
        text(Some(found), "/spec/includeKeys").as_deref() == Some("All")
            && text(Some(found), "/status/completionTime").is_none()
    };
    let its = context
        .cluster
        .list(Watched::Recover, |kept| kept.is_about(hsm));
    its.iter().any(asks)
}

/// The HSM whose keys matter: the one that stands, else a purged one whose proxy is still there.
fn hsm_with_keys<'a>(
    lineage: &Lineage,
    records: &'a [Held],
    proxy: Option<&DynamicObject>,
) -> Option<(u64, &'a Record)> {
    let all = records.iter().filter(|_| lineage.kind == Kind::Hsm);
    let purged = text(proxy, "/spec/origin/uid");
    let numbered = |held: &'a Held| held.record().map(|record| (held.generation, record));
    all.clone()
        .find(|held| !held.is_final())
        .and_then(numbered)
        .or_else(|| {
            all.filter_map(numbered)
                .find(|(_, record)| Some(&record.origin.uid.0) == purged.as_ref())
        })
}

/// When what is final ended. An HSM's record outlives its keys': without it they would read as if they stood.
pub(super) fn ended(context: &Context, records: &[Held]) -> BTreeMap<RecordId, DateTime<Utc>> {
    let at = |record: &Record| record.destroyed.as_ref().map(|destroyed| destroyed.at);
    let end = |held: &Held| {
        let record = held.record().filter(|_| held.is_final())?;
        match &record.subject {
            Subject::Hsm { .. } if !context.index.keys_of(&held.id).is_empty() => None,
            Subject::Hsm { .. } => at(record),
            Subject::Key { hsm, .. } => at(record).or_else(|| {
                let hsm = context.index.get(hsm)?;
                hsm.held.record().and_then(at)
            }),
        }
    };
    records
        .iter()
        .filter_map(|held| Some((held.id.clone(), end(held)?)))
        .collect()
}

/// The first record of a key in that HSM that nobody can read.
pub(super) fn unreadable_key(context: &Context, hsm: &RecordId) -> Option<RecordId> {
    let entries = context.index.keys_of(hsm);
    let mut unread = entries
        .into_iter()
        .filter(|entry| entry.held.record().is_none());
    unread.next().map(|entry| entry.held.id)
}
