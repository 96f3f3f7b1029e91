//! How the API server comes to ask the webhook.

use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};

use super::{Error, NAME, Object, named};
use crate::admission::webhook::PATH;
use crate::admission::webhook::configuration::configuration;

pub(super) const SUBJECT: &str = "webhook";
pub(super) const PORT_NAME: &str = "webhook";
/// In the pod, where no privileged port is taken.
pub(super) const PORT: i32 = 8443;
/// The Service's.
pub(super) const SERVICE_PORT: i32 = 443;

/// Without a `caBundle`: the operator, or cert-manager, fills it in, and no manifest takes it away again.
pub(super) fn object(namespace: &str) -> Result<Object, Error> {
    let operator = format!("system:serviceaccount:{namespace}:{NAME}");
    let client = WebhookClientConfig {
        service: Some(ServiceReference {
            name: NAME.to_owned(),
            namespace: namespace.to_owned(),
            path: Some(PATH.to_owned()),
            port: Some(SERVICE_PORT),
        }),
        ..WebhookClientConfig::default()
    };
    Object::new(SUBJECT, &configuration(named(NAME), &operator, client))
}
