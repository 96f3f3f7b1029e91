//! The ValidatingAdmissionPolicies: who may write what, judged in the API server by the request, the object and the one
//! before it. They refuse while no operator runs, and none looks other objects up.
//!
//! Each spells out what the server would fill in, so that what stands can be compared with what is meant (`standing`).

mod asking;
mod guarded;
mod standing;
mod unchanging;
mod words;
mod writers;

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec, Validation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::api;

pub use standing::standing;

/// What the policies know of one installation of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Installation {
    /// The operator as a user of the API, such as `system:serviceaccount:hsm:operator`.
    pub user: String,
    /// Where it runs, with its own store.
    pub namespace: String,
    /// Nothing is purged on request (SD-15).
    pub undeletable: bool,
    /// The PersistentVolumeClaims of its own store, in its namespace.
    pub claims: Vec<String>,
    /// The Secrets with its PINs, in its namespace.
    pub secrets: Vec<String>,
}

impl Installation {
    /// That it is the operator who asks, as CEL.
    fn is_operator(&self) -> String {
        format!(
            "request.userInfo.username == {}",
            words::literal(&self.user)
        )
    }

    fn is_not_operator(&self) -> String {
        format!(
            "request.userInfo.username != {}",
            words::literal(&self.user)
        )
    }
}

/// One policy before it is written out.
struct Policy {
    name: &'static str,
    rules: Vec<On>,
    /// Whether the operator's own writes pass.
    spares_operator: bool,
    /// What narrows it, beside that: a name and CEL.
    only_if: Vec<(&'static str, String)>,
    validations: Vec<Check>,
}

/// Which requests a policy is asked about.
struct On {
    group: &'static str,
    version: &'static str,
    operations: &'static [&'static str],
    resources: Vec<String>,
}

impl On {
    fn ours(operations: &'static [&'static str], resources: &[&str]) -> Self {
        Self {
            group: api::GROUP,
            version: api::VERSION,
            operations,
            resources: resources.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// CEL that must be true, and the sentence if it is not, as CEL.
struct Check {
    holds: String,
    sentence: String,
    /// The sentence where that one cannot be made.
    otherwise: &'static str,
}

/// Every policy of an installation, in the order of their names.
pub fn policies(of: &Installation) -> Vec<ValidatingAdmissionPolicy> {
    let mut all = unchanging::policies();
    all.extend(writers::policies());
    all.extend(asking::policies(of));
    all.extend(guarded::policies(of));
    all.sort_by_key(|policy| policy.name);
    all.into_iter().map(|policy| policy.written(of)).collect()
}

/// One for each policy, of its name: it denies.
pub fn bindings(of: &Installation) -> Vec<ValidatingAdmissionPolicyBinding> {
    let names = policies(of)
        .into_iter()
        .filter_map(|policy| policy.metadata.name);
    names
        .map(|name| ValidatingAdmissionPolicyBinding {
            metadata: named(&name),
            spec: Some(ValidatingAdmissionPolicyBindingSpec {
                policy_name: Some(name),
                validation_actions: Some(vec!["Deny".to_owned()]),
                ..ValidatingAdmissionPolicyBindingSpec::default()
            }),
        })
        .collect()
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

impl Policy {
    fn written(self, of: &Installation) -> ValidatingAdmissionPolicy {
        let spared = self
            .spares_operator
            .then(|| ("not-the-operator", of.is_not_operator()));
        let conditions = spared.into_iter().chain(self.only_if);
        let conditions: Vec<_> = conditions
            .map(|(name, expression)| MatchCondition {
                name: name.to_owned(),
                expression,
            })
            .collect();
        ValidatingAdmissionPolicy {
            metadata: named(&format!("{}.{}", self.name, api::GROUP)),
            spec: Some(ValidatingAdmissionPolicySpec {
                failure_policy: Some("Fail".to_owned()),
                match_conditions: (!conditions.is_empty()).then_some(conditions),
                match_constraints: Some(MatchResources {
                    match_policy: Some("Equivalent".to_owned()),
                    namespace_selector: Some(LabelSelector::default()),
                    object_selector: Some(LabelSelector::default()),
                    resource_rules: Some(self.rules.into_iter().map(On::written).collect()),
                    ..MatchResources::default()
                }),
                validations: Some(self.validations.into_iter().map(Check::written).collect()),
                ..ValidatingAdmissionPolicySpec::default()
            }),
            status: None,
        }
    }
}

impl On {
    fn written(self) -> NamedRuleWithOperations {
        let operations = self.operations.iter().map(|name| (*name).to_owned());
        NamedRuleWithOperations {
            api_groups: Some(vec![self.group.to_owned()]),
            api_versions: Some(vec![self.version.to_owned()]),
            operations: Some(operations.collect()),
            resources: Some(self.resources),
            scope: Some("*".to_owned()),
            ..NamedRuleWithOperations::default()
        }
    }
}

impl Check {
    fn written(self) -> Validation {
        Validation {
            expression: self.holds,
            message: Some(self.otherwise.to_owned()),
            message_expression: Some(self.sentence),
            // 403: a 422 would make GitOps tools delete and recreate.
            reason: Some("Forbidden".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
