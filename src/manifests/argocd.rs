//! `deploy/argocd/`: how Argo CD tells the health of the six kinds, as its users configure it and as its own repository has it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Error, GENERATED};
use crate::api;

/// One entry for each kind: a key of a ConfigMap cannot hold a wildcard.
const HEALTH: &str = include_str!("health.lua");

pub(super) fn files() -> Result<Vec<(String, String)>, Error> {
    let mut files = Vec::new();
    let mut settings = BTreeMap::new();
    for crd in api::crds() {
        let kind = crd.spec.names.kind;
        let group = api::GROUP;
        files.push((
            format!("deploy/argocd/resource_customizations/{group}/{kind}/health.lua"),
            HEALTH.to_owned(),
        ));
        settings.insert(
            format!("resource.customizations.health.{group}_{kind}"),
            HEALTH.to_owned(),
        );
    }
    let patch = serde_yaml_ng::to_string(&config_map(settings))?;
    files.push((
        "deploy/argocd/argocd-cm.yaml".to_owned(),
        format!("{GENERATED}{MERGED}{patch}"),
    ));
    Ok(files)
}

/// `argocd-cm` is there already: server-side, an apply touches these entries alone.
const MERGED: &str =
    "# kubectl apply --server-side --field-manager managed-hsm-health -f argocd-cm.yaml\n";

fn config_map(settings: BTreeMap<String, String>) -> ConfigMap {
    let part_of = ("app.kubernetes.io/part-of", "argocd");
    ConfigMap {
        metadata: ObjectMeta {
            name: Some("argocd-cm".to_owned()),
            namespace: Some("argocd".to_owned()),
            labels: Some(BTreeMap::from([(
                part_of.0.to_owned(),
                part_of.1.to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        data: Some(settings),
        ..ConfigMap::default()
    }
}
