//! Whether the policies that make `requestedBy` and `acceptNamespaceUid` true are in place, and since when.

use chrono::{DateTime, Utc};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Installation, bindings, policies};
use crate::api::Time;

/// When the last of them was made or changed, if all are as they should be; else the name of the first that is missing or
/// another one. By the server's own times: so nobody needs to have watched.
pub fn standing(
    of: &Installation,
    found: &[ValidatingAdmissionPolicy],
    bound: &[ValidatingAdmissionPolicyBinding],
) -> Result<DateTime<Utc>, String> {
    let mut since = DateTime::<Utc>::MIN_UTC;
    for wanted in policies(of) {
        let name = wanted.metadata.name.unwrap_or_default();
        let same = found
            .iter()
            .find(|one| one.metadata.name.as_ref() == Some(&name) && one.spec == wanted.spec);
        let changed = same.and_then(|one| changed(&one.metadata));
        since = since.max(changed.ok_or_else(|| format!("ValidatingAdmissionPolicy {name}"))?);
    }
    for wanted in bindings(of) {
        let name = wanted.metadata.name.unwrap_or_default();
        let same = bound
            .iter()
            .find(|one| one.metadata.name.as_ref() == Some(&name) && one.spec == wanted.spec);
        let changed = same.and_then(|one| changed(&one.metadata));
        since =
            since.max(changed.ok_or_else(|| format!("ValidatingAdmissionPolicyBinding {name}"))?);
    }
    Ok(since)
}

/// When it was last written, its status apart; None: it is about to go, or nobody knows.
fn changed(of: &ObjectMeta) -> Option<DateTime<Utc>> {
    if of.deletion_timestamp.is_some() {
        return None;
    }
    let made = of.creation_timestamp.as_ref().map(Time::from);
    let written = of.managed_fields.iter().flatten();
    let written = written.filter(|entry| entry.subresource.as_deref() != Some("status"));
    let written = written.filter_map(|entry| entry.time.as_ref().map(Time::from));
    made.into_iter()
        .chain(written)
        .map(DateTime::<Utc>::from)
        .max()
}
