//! What a chart may put beside the operator: who reaches it, what reads its metrics, and how many of its pods may go at once.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::{Error, NAME, Object, alerts, dashboard, selector, webhook, within, workload};

/// Each with the condition under which it is there.
pub(super) fn objects(namespace: &str) -> Result<Vec<(&'static str, Object)>, Error> {
    Ok(vec![
        (
            r#"eq .Values.shape "module""#,
            Object::new("disruption", &budget(namespace))?,
        ),
        (
            ".Values.networkPolicy.enabled",
            Object::new("network", &network(namespace))?,
        ),
        (
            ".Values.serviceMonitor.enabled",
            Object::new("monitor", &monitor(namespace))?,
        ),
        (
            ".Values.prometheusRule.enabled",
            Object::new("alerts", &alerts::rule(namespace))?,
        ),
        (
            ".Values.dashboard.enabled",
            Object::new("dashboard", &dashboard::config_map(namespace)?)?,
        ),
    ])
}

fn pods() -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector()),
        match_expressions: None,
    }
}

/// A drain takes one at a time, and the other goes on. Of a single pod it would forbid each drain for ever.
pub(super) fn budget(namespace: &str) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: within(namespace, NAME),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(pods()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

/// Nothing but its two ports is reached. Where it goes is left open: only the API server, and a vendor's HSM, whose addresses no manifest knows.
fn network(namespace: &str) -> NetworkPolicy {
    let open = |name: &str| NetworkPolicyPort {
        port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    NetworkPolicy {
        metadata: within(namespace, NAME),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                ports: Some(vec![open(workload::PORT_NAME), open(webhook::PORT_NAME)]),
                from: None,
            }]),
            egress: None,
        }),
    }
}

/// Prometheus Operator's; its definitions must be there.
fn monitor(namespace: &str) -> serde_json::Value {
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": within(namespace, NAME),
        "spec": {
            "selector": {"matchLabels": selector()},
            "endpoints": [{"port": workload::PORT_NAME, "interval": "30s"}],
        },
    })
}
