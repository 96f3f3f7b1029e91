//! How the API server comes to ask: the ValidatingWebhookConfiguration.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, RuleWithOperations, ValidatingWebhook, ValidatingWebhookConfiguration,
    WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api;
use crate::softdelete::Kind;

/// The webhook's name, as refusals show it.
pub const WEBHOOK: &str = "advice.managedhsm.dev";

/// How long the API server waits for advice before it goes on without.
pub const TIMEOUT_SECONDS: i32 = 2;

/// Asks about what takes a look-up, and nothing else. `operator`: the operator's own user, who is not asked about; `client`: where the webhook is, without a
/// `caBundle`, which the operator fills in.
pub fn configuration(
    metadata: ObjectMeta,
    operator: &str,
    client: WebhookClientConfig,
) -> ValidatingWebhookConfiguration {
    let both = [Kind::Hsm.objects(), Kind::Key.objects(), "recovers"];
    ValidatingWebhookConfiguration {
        metadata,
        webhooks: Some(vec![ValidatingWebhook {
            name: WEBHOOK.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: client,
            // It is advice: where it fails, users go on, and the controller refuses.
            failure_policy: Some("Ignore".to_owned()),
            side_effects: "None".to_owned(),
            match_policy: Some("Equivalent".to_owned()),
            timeout_seconds: Some(TIMEOUT_SECONDS),
            match_conditions: Some(vec![MatchCondition {
                name: "not-the-operator".to_owned(),
                expression: format!("request.userInfo.username != '{operator}'"),
            }]),
            rules: Some(vec![
                rule(&["CREATE", "DELETE"], &both),
                rule(&["CREATE"], &["purges"]),
            ]),
            ..ValidatingWebhook::default()
        }]),
    }
}

fn rule(operations: &[&str], resources: &[&str]) -> RuleWithOperations {
    let owned = |all: &[&str]| Some(all.iter().map(|one| (*one).to_owned()).collect());
    RuleWithOperations {
        api_groups: owned(&[api::GROUP]),
        api_versions: owned(&[api::VERSION]),
        operations: owned(operations),
        resources: owned(resources),
        scope: Some("*".to_owned()),
    }
}
