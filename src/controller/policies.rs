//! The policies as they stand in the API server: what they let through is believed only while they are what they should be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use kube::api::ListParams;

use super::cluster::Source;
use super::{Context, Failure, alarm};
use crate::softdelete::permission;

/// Since when all stand as they should, or the first that does not.
pub type Compare = Arc<
    dyn Fn(
            &[ValidatingAdmissionPolicy],
            &[ValidatingAdmissionPolicyBinding],
        ) -> Result<DateTime<Utc>, String>
        + Send
        + Sync,
>;

/// As long as an answer serves for a hint; no event tells of a change.
const FRESH: Duration = Duration::from_secs(10);

const EVERY: Duration = Duration::from_secs(60);

pub struct Policies {
    compare: Compare,
    last: Mutex<Option<(Duration, permission::Policies)>>,
}

impl Policies {
    pub fn new(compare: Compare) -> Self {
        Self {
            compare,
            last: Mutex::new(None),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<(Duration, permission::Policies)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found not long ago.
    fn hint(&self, now: Duration) -> Option<permission::Policies> {
        let (looked, found) = self.last().clone()?;
        (now.saturating_sub(looked) < FRESH).then_some(found)
    }

    /// True: it was not so before.
    fn keep(&self, now: Duration, found: &permission::Policies) -> bool {
        let before = self.last().replace((now, found.clone()));
        before.is_none_or(|(_, before)| before != *found)
    }
}

async fn listed(
    client: kube::Client,
) -> kube::Result<(
    Vec<ValidatingAdmissionPolicy>,
    Vec<ValidatingAdmissionPolicyBinding>,
)> {
    let (found, bound) = (Api::all(client.clone()), Api::all(client));
    let all = ListParams::default();
    Ok((found.list(&all).await?.items, bound.list(&all).await?.items))
}

/// As they are now; for a hint, as they were not long ago.
pub(super) async fn look(
    context: &Context,
    source: Source,
) -> Result<permission::Policies, Failure> {
    let now = context.time.clock().monotonic();
    if source == Source::Cache
        && let Some(hint) = context.policies.hint(now)
    {
        return Ok(hint);
    }
    let standing = match listed(context.cluster.client.clone()).await {
        Ok((found, bound)) => match (context.policies.compare)(&found, &bound) {
            Ok(since) => permission::Policies::Since(since),
            Err(missing) => permission::Policies::Missing(missing),
        },
        // An account that may not see them holds what hangs on them, and nothing else.
        Err(kube::Error::Api(refused)) => permission::Policies::Missing(format!(
            "set of admission policies (the API server answers {})",
            refused.reason
        )),
        Err(other) => return Err(other.into()),
    };
    if context.policies.keep(now, &standing) {
        alarm::policies(context, &standing).await;
    }
    Ok(standing)
}

/// Looks again and again, so that their absence is noticed before somebody's request hangs on it.
pub(super) async fn keep(context: &Context) {
    loop {
        if let Err(failure) = look(context, Source::Live).await {
            tracing::debug!(%failure, "the admission policies could not be looked at");
        }
        tokio::time::sleep(EVERY).await;
    }
}
