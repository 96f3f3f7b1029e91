//! What people ask of the records while the operator runs, or where none does: a list, one whole record, the two ways out that only a person can decide
//! (`plan::ledger`), and a backup of them with all material.

mod backup;
mod list;
mod shown;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::cluster::Source;
use super::execute::{self, Done};
use super::{Context, Failure, index, observe};
use crate::backend::{HsmBackend, Stored};
use crate::plan::ledger::Denied;
use crate::plan::step::Effect;
use crate::plan::{self, Lineage, Observed, encoding};
use crate::softdelete::{Kind, Record, RecordId};
pub use backup::sentence;
pub use list::Row;
pub use shown::Shown;

/// A race with the operator's own work is lost no more often than this.
const MOST_TRIES: usize = 1000;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "wish")]
pub enum Wish {
    List,
    Show {
        id: String,
    },
    Accept {
        id: String,
        digest: String,
    },
    Abandon {
        id: String,
    },
    /// A backup of the embedded store into this folder, as the operator sees it.
    BackUp {
        folder: PathBuf,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The rows, and what could not be listed.
    Rows(Vec<Row>, Vec<String>),
    /// Several: they disagree.
    Records(Vec<Shown>),
    /// One sentence of what was done.
    Done(String),
    /// One sentence of why not.
    Denied(String),
}

/// A question and where its answer goes.
pub type Asked = (Wish, oneshot::Sender<Answer>);
pub type Wishes = mpsc::Receiver<Asked>;

/// Answers one after the other, for as long as anybody may ask.
pub(super) async fn serve(context: Arc<Context>, mut wishes: Wishes) {
    while let Some((wish, answers)) = wishes.recv().await {
        tracing::info!(?wish, "asked about the store");
        let answer = answer(&context, wish).await.unwrap_or_else(|failure| {
            Answer::Denied(format!("{failure}; ask again when it is over"))
        });
        // Who does not wait any more needs no answer.
        _ = answers.send(answer);
    }
    std::future::pending().await
}

pub(super) async fn answer(context: &Context, wish: Wish) -> Result<Answer, Failure> {
    match wish {
        Wish::List => list::rows(context).await,
        Wish::Show { id } => show(context, &RecordId(id)).await,
        Wish::Accept { id, digest } => accept(context, &RecordId(id), &digest).await,
        Wish::Abandon { id } => abandon(context, &RecordId(id)).await,
        Wish::BackUp { folder } => backup::make(context, folder).await,
    }
}

/// What tells one record's bytes from another's.
fn digest(stored: &Stored) -> String {
    let hash = Sha256::digest(&stored.bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The highest records of an id, and the backend that has them.
async fn stored(
    context: &Context,
    id: &RecordId,
) -> Result<Option<(String, Vec<Stored>)>, Failure> {
    for (backend, module) in &context.backends {
        let name = id.0.clone();
        let module: Arc<dyn HsmBackend> = Arc::clone(module);
        let begun = context.index.begin_read();
        let found = context
            .pool
            .run(module, move |module| module.read(&name))
            .await?;
        context.index.note(begun, backend, id, &found);
        if !found.is_empty() {
            return Ok(Some((backend.clone(), found)));
        }
    }
    Ok(None)
}

async fn show(context: &Context, id: &RecordId) -> Result<Answer, Failure> {
    let Some((backend, stored)) = stored(context, id).await? else {
        return Ok(denied(&Denied::Unknown(id.clone())));
    };
    let all = stored.iter().map(|stored| Shown::of(&backend, stored));
    Ok(Answer::Records(all.collect()))
}

fn denied(why: &Denied) -> Answer {
    Answer::Denied(why.to_string())
}

async fn accept(context: &Context, id: &RecordId, wanted: &str) -> Result<Answer, Failure> {
    let Some((_, stored)) = stored(context, id).await? else {
        return Ok(denied(&Denied::Unknown(id.clone())));
    };
    let Some(chosen) = stored.iter().find(|stored| digest(stored) == wanted) else {
        return Ok(Answer::Denied(format!(
            "no record {id} of the highest generation has that digest; take one that ledger show {id} names"
        )));
    };
    let record = match encoding::decode(&chosen.bytes) {
        Ok(record) => record,
        Err(error) => {
            return Ok(Answer::Denied(format!(
                "the record {id} with that digest cannot be read ({error}); accept another one, or bring the store back"
            )));
        }
    };
    let lineage = index::lineage(&record);
    let done = carry_out(context, &lineage, |o| plan::ledger::accept(o, id, &record)).await?;
    context.waker.wake(lineage);
    Ok(told(
        done,
        format!("the record {id} with the digest {wanted} holds; the operator goes on by it"),
    ))
}

async fn abandon(context: &Context, id: &RecordId) -> Result<Answer, Failure> {
    let Some(lineage) = lineage(context, id).await? else {
        return Ok(denied(&Denied::Unknown(id.clone())));
    };
    let done = carry_out(context, &lineage, |o| plan::ledger::abandon(o, id)).await?;
    context.waker.wake(lineage.clone());
    Ok(told(
        done,
        format!(
            "{lineage} is given up: nothing was destroyed, its id {id} stays barred; its proxy goes, and the name is free then"
        ),
    ))
}

fn told(done: Result<(), Denied>, sentence: String) -> Answer {
    match done {
        Ok(()) => Answer::Done(sentence),
        Err(why) => denied(&why),
    }
}

/// Live looks, with a step after each, until there is none left.
async fn carry_out(
    context: &Context,
    lineage: &Lineage,
    judge: impl Fn(&Observed) -> Result<Option<Effect>, Denied>,
) -> Result<Result<(), Denied>, Failure> {
    for _ in 0..MOST_TRIES {
        let seen = observe::look(context, lineage, Source::Live).await?;
        let effect = match judge(&seen) {
            Ok(Some(effect)) => effect,
            Ok(None) => return Ok(Ok(())),
            Err(why) => return Ok(Err(why)),
        };
        let outcome = execute::execute(context, &seen, &effect).await?;
        tracing::info!(%lineage, effect = effect.name(), ?outcome, "as a person asked");
        if let Done::Refused(refused) = outcome {
            return Ok(Err(Denied::Held(refused.why)));
        }
    }
    Err(Failure::Moving)
}

/// Whose record that is, or whose proxy speaks of it.
async fn lineage(context: &Context, id: &RecordId) -> Result<Option<Lineage>, Failure> {
    let named = stored(context, id).await?.and_then(|(_, stored)| {
        let mut all = stored.iter();
        all.find_map(|stored| encoding::decode(&stored.bytes).ok())
    });
    let by_proxy = || {
        let mut all = list::proxies(context).into_iter();
        all.find(|(_, found)| plan::ledger::id_of(found) == *id)
            .map(|(kind, found)| of_proxy(kind, &found))
    };
    Ok(named.as_ref().map(index::lineage).or_else(by_proxy))
}

fn of_proxy(kind: Kind, found: &plan::observed::Proxy) -> Lineage {
    let origin = found.origin();
    Lineage::new(kind, origin.namespace.clone(), origin.name.clone())
}

/// What is in a record as a table or a document says it.
fn state(record: &Record) -> String {
    format!("{:?}", record.state).to_lowercase()
}
