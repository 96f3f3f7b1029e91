//! What stands around a lineage: its Recovers and Purges, an HSM's keys, who else has a key's name.

use chrono::{DateTime, Utc};
use kube::api::DynamicObject;

use super::stored::{Stored, list, one};
use super::text;
use crate::controller::cluster::Source;
use crate::controller::{Context, Failure, convert, index};
use crate::plan::Lineage;
use crate::plan::observed::{Held, KeyOfHsm, Meta, Purge, Recover};
use crate::softdelete::{Kind, Record, RecordState, Subject, names};

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

/// An HSM's keys, as memory has their records; while it changes its state they are listed at the source, with their proxies and objects:
/// the ledger first, then the cluster (G1).
pub(super) async fn keys(
    context: &Context,
    lineage: &Lineage,
    source: Source,
    stored: &Stored,
    proxy: Option<&DynamicObject>,
) -> Result<Vec<KeyOfHsm>, Failure> {
    let Some(hsm) = hsm_with_keys(lineage, &stored.records, proxy) else {
        return Ok(Vec::new());
    };
    let settled = matches!(
        hsm.state,
        RecordState::Creating | RecordState::Live | RecordState::Deleted
    );
    let (proxies, objects) = if settled && text(proxy, "/status/phase").is_none() {
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
    context
        .index
        .keys_of(&hsm.id)
        .into_iter()
        .filter(|entry| !entry.held.is_final())
        .filter_map(|entry| one(entry.held))
        .map(|(generation, record)| {
            let name = &record.origin.name;
            let proxy = proxies
                .iter()
                .find(|found| text(Some(found), "/spec/origin/name").as_ref() == Some(name));
            let object = objects
                .iter()
                .find(|found| found.metadata.name.as_ref() == Some(name));
            Ok(KeyOfHsm {
                proxy: proxy
                    .map(|found| convert::near_proxy(Kind::Key, found))
                    .transpose()?,
                object: object.map(convert::near_object),
                generation,
                record,
            })
        })
        .collect()
}

/// The HSM whose keys matter: the one that stands, else a purged one whose proxy is still there.
fn hsm_with_keys<'a>(
    lineage: &Lineage,
    records: &'a [Held],
    proxy: Option<&DynamicObject>,
) -> Option<&'a Record> {
    let all = records.iter().filter(|_| lineage.kind == Kind::Hsm);
    let purged = text(proxy, "/spec/origin/uid");
    all.clone()
        .find(|held| !held.is_final())
        .and_then(Held::record)
        .or_else(|| {
            all.filter_map(Held::record)
                .find(|record| Some(&record.origin.uid.0) == purged.as_ref())
        })
}
