//! Material that no record explains: counted, logged, listed, and never touched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Context, Failure};
use crate::backend::{HsmBackend, ObjectFacts, TokenLabel, TokenRef};
use crate::plan::{encoding, orphans};
use crate::softdelete::{Record, RecordId, Subject};

/// How often it is looked for: it costs a look into every open token.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// Something that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub backend: String,
    pub token: TokenLabel,
    /// A key in a token that is known, by its CKA_ID; absent: the whole token.
    pub key: Option<String>,
}

/// Looks again and again.
pub async fn keep(context: &Context) {
    loop {
        look(context).await;
        tokio::time::sleep(EVERY).await;
    }
}

/// What no record explains in the backends that answer; what is sealed cannot be looked into.
pub async fn look(context: &Context) -> Vec<Orphan> {
    let mut all = Vec::new();
    for backend in context.backends.keys() {
        match of_backend(context, backend).await {
            Ok(orphans) => all.extend(orphans),
            Err(failure) => {
                tracing::debug!(backend, %failure, "orphans could not be looked for");
            }
        }
    }
    context.metrics.orphans(all.len());
    for Orphan {
        backend,
        token,
        key,
    } in &all
    {
        tracing::warn!(backend, token = %token.0, key, "material that no record explains: it is left as it is; see ledger list");
    }
    all
}

/// The material first, then the records: whatever is made meanwhile has its record before.
async fn of_backend(context: &Context, backend: &str) -> Result<Vec<Orphan>, Failure> {
    let Some(module) = context.backends.get(backend) else {
        return Ok(Vec::new());
    };
    let (known, _) = records(context, module).await?;
    let labels = context
        .pool
        .run(module.clone(), |module| module.tokens())
        .await?;
    let mut contents = Vec::new();
    for token in known.iter().filter_map(token) {
        let label = token.label.clone();
        let seen = context
            .pool
            .run(module.clone(), move |module| module.inventory(&token))
            .await;
        contents.push((label, seen.unwrap_or_default()));
    }
    let (known, unread) = records(context, module).await?;
    let mut orphans = judged(backend, &labels, &contents, &known);
    // What a record says that nobody can read may be anything.
    orphans.retain(|orphan| match orphan.key {
        None => !unread.contains(&orphan.token.0),
        Some(_) => unread.is_empty(),
    });
    Ok(orphans)
}

fn judged(
    backend: &str,
    labels: &[TokenLabel],
    contents: &[(TokenLabel, Vec<ObjectFacts>)],
    known: &[Record],
) -> Vec<Orphan> {
    let orphan = |token: &TokenLabel, key: Option<String>| Orphan {
        backend: backend.to_owned(),
        token: token.clone(),
        key,
    };
    let whole = orphans::tokens(labels, known);
    let mut all: Vec<_> = whole.iter().map(|label| orphan(label, None)).collect();
    for (label, found) in contents.iter().filter(|(label, _)| !whole.contains(label)) {
        let keys = orphans::keys(found, known);
        all.extend(keys.iter().map(|id| orphan(label, Some(id.to_string()))));
    }
    all
}

/// Every record, those that disagree too, and the ids of those that cannot be read.
async fn records(
    context: &Context,
    module: &Arc<dyn HsmBackend>,
) -> Result<(Vec<Record>, BTreeSet<String>), Failure> {
    let all = context
        .pool
        .run(Arc::clone(module), |module| module.records())
        .await?;
    let (mut known, mut unread) = (Vec::new(), BTreeSet::new());
    for stored in all {
        match encoding::decode(&stored.bytes) {
            Ok(record) => known.push(record),
            Err(_) => _ = unread.insert(stored.id),
        }
    }
    Ok((known, unread))
}

fn token(record: &Record) -> Option<TokenRef> {
    match &record.subject {
        Subject::Hsm { token: Some(token) } => Some(TokenRef {
            label: TokenLabel(token.label.clone()),
            serial: token.serial.clone(),
        }),
        Subject::Hsm { token: None } | Subject::Key { .. } => None,
    }
}

impl Orphan {
    /// Its id in a list.
    pub fn id(&self) -> RecordId {
        RecordId(self.key.clone().unwrap_or_else(|| self.token.0.clone()))
    }
}
