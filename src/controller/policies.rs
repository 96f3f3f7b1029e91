//! The policies as they stand in the API server: what they let through is believed only while they are what they should be.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use kube::api::ListParams;

use super::cluster::Source;
use super::{Context, Failure};
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

pub struct Policies {
    compare: Compare,
    /// What the last look found: good enough for a hint.
    last: Mutex<permission::Policies>,
}

impl Policies {
    pub fn new(compare: Compare) -> Self {
        let unknown =
            permission::Policies::Missing("set of admission policies (not looked at yet)".into());
        Self {
            compare,
            last: Mutex::new(unknown),
        }
    }

    fn last(&self) -> permission::Policies {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
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

/// As they are now.
pub(super) async fn look(
    context: &Context,
    source: Source,
) -> Result<permission::Policies, Failure> {
    if source == Source::Cache {
        return Ok(context.policies.last());
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
    let mut last = context
        .policies
        .last
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if *last != standing {
        match &standing {
            permission::Policies::Since(since) => {
                tracing::info!(%since, "the admission policies are in place")
            }
            permission::Policies::Missing(what) => tracing::warn!(
                missing = what,
                "an admission policy is not in place as it should be: purges on request and recoveries into namespaces that were made anew wait until the operator's manifests are applied again"
            ),
        }
    }
    last.clone_from(&standing);
    Ok(standing)
}
