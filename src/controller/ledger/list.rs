//! The list: every record, what stands without one, and what no record explains.

use serde::{Deserialize, Serialize};

use super::{Answer, of_proxy, state};
use crate::backend::Stored;
use crate::controller::cluster::Watched;
use crate::controller::orphans::{self, Orphan};
use crate::controller::{Context, Failure, convert};
use crate::plan::observed::{Proxy, Purge};
use crate::plan::{encoding, ledger};
use crate::softdelete::sentence::date;
use crate::softdelete::{Kind, Record, RecordId};

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Row {
    pub id: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// Of the object that has, or had, the material.
    pub uid: String,
    pub state: String,
    pub generation: u64,
    pub backend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purge: Option<String>,
    /// What a person should know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

pub(super) async fn rows(context: &Context) -> Result<Answer, Failure> {
    let (mut rows, mut away) = (Vec::new(), Vec::new());
    let mut records = Vec::new();
    let purges = purges(context);
    for (backend, module) in &context.backends {
        let all = context
            .pool
            .run(module.clone(), |module| module.records())
            .await;
        match all {
            Err(error) => away.push(format!(
                "the records of the backend {backend} are not listed: {error}"
            )),
            Ok(all) => {
                for group in all.chunk_by(|one, other| one.id == other.id) {
                    rows.push(row(context, &purges, backend, group));
                }
                let readable = all
                    .iter()
                    .filter_map(|one| encoding::decode(&one.bytes).ok());
                records.extend(readable);
            }
        }
    }
    if away.is_empty() {
        rows.extend(without_record(context, &records, &rows));
    }
    rows.extend(orphans::look(context).await.iter().map(orphan));
    rows.sort_by(|one, other| {
        let key = |row: &Row| (row.namespace.clone(), row.name.clone(), row.id.clone());
        key(one).cmp(&key(other))
    });
    Ok(Answer::Rows(rows, away))
}

fn row(context: &Context, purges: &[Purge], backend: &str, group: &[Stored]) -> Row {
    let id = group.first().map(|one| one.id.clone()).unwrap_or_default();
    let mut row = Row {
        id: id.clone(),
        backend: backend.to_owned(),
        generation: group.first().map_or(0, |one| one.generation),
        ..Row::default()
    };
    let decoded: Vec<_> = group
        .iter()
        .map(|one| encoding::decode(&one.bytes))
        .collect();
    if let Some(record) = decoded.iter().find_map(|one| one.as_ref().ok()) {
        fill(&mut row, record);
        if record.cluster != context.settings.cluster {
            row.note = Some(format!("of the cluster {}", record.cluster));
        }
        if let Some(why) = ledger::purged_since(purges, row.generation, record) {
            row.note = Some(format!(
                "{why}; nothing is done by it: ledger accept {id} takes it for deleted"
            ));
        }
    }
    if let Some(error) = decoded.iter().find_map(|one| one.as_ref().err()) {
        row.state = "unreadable".to_owned();
        row.note = Some(error.to_string());
    }
    if group
        .iter()
        .any(|one| group.first().is_some_and(|first| first.bytes != one.bytes))
    {
        row.state = "disagree".to_owned();
        row.note = Some(format!(
            "{} different records of one generation; see ledger show {id}, then ledger accept",
            group.len()
        ));
    }
    row
}

fn fill(row: &mut Row, record: &Record) {
    row.kind = record.kind().object().to_owned();
    row.namespace = record.origin.namespace.clone();
    row.name = record.origin.name.clone();
    row.uid = record.origin.uid.0.clone();
    row.state = state(record);
    row.deleted = record.dates.map(|dates| date(dates.deletion_time));
    row.purge = record
        .dates
        .and_then(|dates| dates.scheduled_purge_time.map(date));
}

/// Every Purge that can be read.
fn purges(context: &Context) -> Vec<Purge> {
    let all = context.cluster.list(Watched::Purge, |_| true);
    all.iter()
        .filter_map(|found| convert::purge(found).ok())
        .collect()
}

/// Every proxy that can be read.
pub(super) fn proxies(context: &Context) -> Vec<(Kind, Proxy)> {
    let of = |kind: Kind| {
        let all = context.cluster.list(Watched::Proxy(kind), |_| true);
        let read = all
            .into_iter()
            .filter_map(move |found| convert::proxy(kind, &found).ok());
        read.map(move |found| (kind, found))
    };
    of(Kind::Hsm).chain(of(Kind::Key)).collect()
}

/// Proxies of which no record stands: what was lost with its store.
fn without_record(context: &Context, records: &[Record], rows: &[Row]) -> Vec<Row> {
    let lost = |found: &Proxy| {
        let id = ledger::id_of(found);
        let of_uid = |record: &Record| found.is_of(&record.origin.uid);
        !records.iter().any(of_uid) && !rows.iter().any(|row| row.id == id.0)
    };
    proxies(context)
        .into_iter()
        .filter(|(_, found)| lost(found))
        .map(|(kind, found)| of_lost(kind, &found))
        .collect()
}

fn of_lost(kind: Kind, found: &Proxy) -> Row {
    let lineage = of_proxy(kind, found);
    let RecordId(id) = ledger::id_of(found);
    let (deleted, purge, backend) = ledger::dates_of(found);
    let note = format!(
        "no record: bring its store back, or end it with ledger abandon {id} after its purge date"
    );
    Row {
        kind: kind.object().to_owned(),
        namespace: lineage.namespace,
        name: lineage.name,
        uid: found.origin().uid.clone(),
        state: "lost".to_owned(),
        backend,
        deleted: Some(date(deleted)),
        purge: purge.map(date),
        note: Some(note),
        generation: 0,
        id,
    }
}

fn orphan(orphan: &Orphan) -> Row {
    let what = match orphan.key {
        Some(_) => format!("a key in the token {}", orphan.token.0),
        None => "a token".to_owned(),
    };
    Row {
        id: orphan.id().0,
        backend: orphan.backend.clone(),
        state: "orphaned".to_owned(),
        note: Some(format!(
            "{what} that no record explains; it is left as it is"
        )),
        ..Row::default()
    }
}
