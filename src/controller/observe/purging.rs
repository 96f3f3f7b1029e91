//! What only a purge asks for: all of it looked at after the records, and live where a step may follow.

use super::around::{purges, recovers, unreadable_key};
use crate::api;
use crate::controller::cluster::{Source, Watched, definition_name};
use crate::controller::{Context, Failure, etcd};
use crate::plan::observed::{Observed, Recover};
use crate::plan::{self, Lineage};
use crate::softdelete::permission::{Lack, Missing};
use crate::softdelete::{Kind, RecordState};

/// Takes the Recovers and Purges anew, and whether absence means anything.
pub(super) async fn look(
    context: &Context,
    source: Source,
    seen: &mut Observed,
) -> Result<(), Failure> {
    let lineage = seen.lineage.clone();
    // Past the point of no return, and before there is anything to purge, nothing hangs on the rest.
    let open = seen
        .standing()
        .is_some_and(|(_, record)| record.state == RecordState::Deleted);
    if source == Source::Live {
        seen.purges = purges(context, source, &lineage).await?;
    }
    if source == Source::Live && open {
        seen.recovers = recovers(context, source, &lineage).await?;
        seen.purging.definitions = missing_definition(context).await?;
        if !seen.purges.is_empty() {
            etcd::look(context).await?;
        }
    }
    seen.purging.hsm_recovery = match &seen.hsm {
        Some(hsm) if open => {
            let of = Lineage::new(Kind::Hsm, lineage.namespace.clone(), hsm.name.clone());
            recovery_with_keys(context, source, &of).await?
        }
        Some(_) | None => None,
    };
    seen.purging.unreadable_key = match seen.standing() {
        Some((held, _)) if lineage.kind == Kind::Hsm => unreadable_key(context, &held.id),
        _ => None,
    };
    seen.purging.put_back = context.etcd.put_back();
    seen.purging.purged_at = context.purged_on_request(seen.now);
    seen.purging.looked = true;
    Ok(())
}

/// The first of our six definitions that is not there, or is about to go: then absence means nothing.
async fn missing_definition(context: &Context) -> Result<Option<Missing>, Failure> {
    for of in Watched::ALL {
        if of != Watched::Namespace && !context.cluster.definition_kept(of).await? {
            return Ok(Some(Missing {
                what: format!("definition {}", definition_name(of)),
                lack: Lack::Absent,
            }));
        }
    }
    Ok(None)
}

/// An unfinished Recover of a key's HSM that brings its keys too.
async fn recovery_with_keys(
    context: &Context,
    source: Source,
    hsm: &Lineage,
) -> Result<Option<String>, Failure> {
    let unfinished = |recover: &&Recover| {
        recover.spec.include_keys == api::IncludeKeys::All
            && recover.meta.deleted.is_none()
            && !plan::is_final(&recover.status.conditions)
    };
    let all = recovers(context, source, hsm).await?;
    let first = all.iter().find(unfinished);
    Ok(first.map(|recover| format!("Recover {}/{}", hsm.namespace, recover.meta.name)))
}

#[cfg(test)]
mod tests;
