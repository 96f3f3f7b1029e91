//! What `helm test` makes and takes away again: a pod that tries the installation, with an account that may do so in the release's namespace alone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodSpec, ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::api::ObjectMeta;

use super::access::{allow, of, refer, subject};
use super::{Error, Object, flags, named, within, workload};
use crate::api::{DeletedHsmKey, DeletedManagedHsm, HsmKey, ManagedHsm, Purge, Recover};

const SUBJECT: &str = "tests/trial";
pub(super) const TRIAL: &str = "managed-hsm-operator-trial";

pub(super) fn objects(namespace: &str) -> Result<Vec<Object>, Error> {
    let account = ServiceAccount {
        metadata: hook(within(namespace, TRIAL), "0"),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let role = Role {
        metadata: hook(within(namespace, TRIAL), "0"),
        rules: Some(in_its_namespace()),
    };
    let cluster = ClusterRole {
        metadata: hook(named(TRIAL), "0"),
        rules: Some(in_the_cluster()),
        aggregation_rule: None,
    };
    let binding = RoleBinding {
        metadata: hook(within(namespace, TRIAL), "1"),
        role_ref: refer::<Role>(TRIAL),
        subjects: Some(vec![subject(namespace, TRIAL)]),
    };
    let cluster_binding = ClusterRoleBinding {
        metadata: hook(named(TRIAL), "1"),
        role_ref: refer::<ClusterRole>(TRIAL),
        subjects: Some(vec![subject(namespace, TRIAL)]),
    };
    Ok(vec![
        Object::new(SUBJECT, &account)?,
        Object::new(SUBJECT, &role)?,
        Object::new(SUBJECT, &cluster)?,
        Object::new(SUBJECT, &binding)?,
        Object::new(SUBJECT, &cluster_binding)?,
        Object::new(SUBJECT, &pod(namespace)?)?,
    ])
}

/// The permissions of SD-29, of which the last is asked in the origin's namespace (SD-31).
fn in_its_namespace() -> Vec<PolicyRule> {
    let own = &["get", "create", "delete"];
    vec![
        allow([of::<ManagedHsm>(), of::<HsmKey>()], own),
        allow([of::<Recover>()], own),
        allow([of::<DeletedManagedHsm>()], &["purge"]),
    ]
}

fn in_the_cluster() -> Vec<PolicyRule> {
    vec![
        allow([of::<DeletedManagedHsm>(), of::<DeletedHsmKey>()], &["get"]),
        allow([of::<Purge>()], &["get", "create", "delete"]),
    ]
}

fn pod(namespace: &str) -> Result<Pod, Error> {
    let place = EnvVar {
        name: flags::variable_of("trial", "namespace")?,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "metadata.namespace".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        value: None,
    };
    let container = Container {
        name: "trial".to_owned(),
        image: Some(workload::image()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec!["trial".to_owned()]),
        env: Some(vec![place]),
        security_context: Some(workload::confined()),
        ..Container::default()
    };
    Ok(Pod {
        metadata: hook(within(namespace, TRIAL), "2"),
        spec: Some(PodSpec {
            service_account_name: Some(TRIAL.to_owned()),
            automount_service_account_token: Some(true),
            enable_service_links: Some(false),
            restart_policy: Some("Never".to_owned()),
            security_context: Some(workload::nobody()),
            containers: vec![container],
            ..PodSpec::default()
        }),
        status: None,
    })
}

/// Helm makes it for the test, and takes it away when it went well.
fn hook(metadata: ObjectMeta, weight: &str) -> ObjectMeta {
    let annotations = [
        ("helm.sh/hook", "test"),
        ("helm.sh/hook-weight", weight),
        (
            "helm.sh/hook-delete-policy",
            "before-hook-creation,hook-succeeded",
        ),
    ];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels = metadata.labels.map(|mut labels| {
        // Not one of the operator's pods: its Service and its Deployment must not take it for one.
        labels.insert("app.kubernetes.io/name".to_owned(), TRIAL.to_owned());
        labels
    });
    ObjectMeta {
        annotations: Some(BTreeMap::from(annotations)),
        labels,
        ..metadata
    }
}
