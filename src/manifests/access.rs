//! Who the operator is, and what it may do: every verb here is one that it calls, and no other. A test runs it as this account and compares.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Resource, ResourceExt as _};

use super::{Error, NAME, Object, PIN_SECRET, flags, named, within};
use crate::api::{self, DeletedHsmKey, DeletedManagedHsm, HsmKey, ManagedHsm, Purge, Recover};

const SUBJECT: &str = "access";

pub(super) fn objects(namespace: &str) -> Result<Vec<Object>, Error> {
    let account = ServiceAccount {
        metadata: within(namespace, NAME),
        // Its pods ask for the token by themselves; nobody else's get it.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let cluster = ClusterRole {
        metadata: named(NAME),
        rules: Some(in_the_cluster()),
        aggregation_rule: None,
    };
    let cluster_binding = ClusterRoleBinding {
        metadata: named(NAME),
        role_ref: refer::<ClusterRole>(NAME),
        subjects: Some(vec![subject(namespace, NAME)]),
    };
    let own = Role {
        metadata: within(namespace, NAME),
        rules: Some(in_its_namespace()?),
    };
    let own_binding = RoleBinding {
        metadata: within(namespace, NAME),
        role_ref: refer::<Role>(NAME),
        subjects: Some(vec![subject(namespace, NAME)]),
    };
    Ok(vec![
        Object::new(SUBJECT, &account)?,
        Object::new(SUBJECT, &cluster)?,
        Object::new(SUBJECT, &cluster_binding)?,
        Object::new(SUBJECT, &own)?,
        Object::new(SUBJECT, &own_binding)?,
    ])
}

fn in_the_cluster() -> Vec<PolicyRule> {
    let definitions = api::crds().iter().map(|crd| crd.name_any()).collect();
    vec![
        // Made only by a recovery; never deleted.
        allow(
            [of::<ManagedHsm>(), of::<HsmKey>()],
            &["get", "list", "watch", "create", "patch"],
        ),
        allow(
            [of::<DeletedManagedHsm>(), of::<DeletedHsmKey>()],
            &["get", "list", "watch", "create", "delete"],
        ),
        allow([of::<Recover>()], &["list", "watch"]),
        // Made as the receipt of a scheduled purge; deleted when its time is over.
        allow([of::<Purge>()], &["list", "watch", "create", "delete"]),
        allow(
            [
                status::<ManagedHsm>(),
                status::<HsmKey>(),
                status::<DeletedManagedHsm>(),
                status::<DeletedHsmKey>(),
                status::<Recover>(),
                status::<Purge>(),
            ],
            &["patch"],
        ),
        allow([of::<Namespace>()], &["get", "list", "watch"]),
        PolicyRule {
            resource_names: Some(definitions),
            ..allow([of::<CustomResourceDefinition>()], &["get"])
        },
        // Who asks is believed only while they stand.
        allow(
            [
                of::<ValidatingAdmissionPolicy>(),
                of::<ValidatingAdmissionPolicyBinding>(),
            ],
            &["list"],
        ),
        // Beside the object; about a cluster-wide one in the namespace `default`.
        allow([of::<Event>()], &["create", "patch"]),
        // Which certificate to trust.
        PolicyRule {
            resource_names: Some(vec![NAME.to_owned()]),
            ..allow([of::<ValidatingWebhookConfiguration>()], &["get", "patch"])
        },
    ]
}

fn in_its_namespace() -> Result<Vec<PolicyRule>, Error> {
    let lease = flags::default("lease-name")?;
    let webhook = flags::default("webhook-secret")?;
    let only = |name: &str, rule: PolicyRule| PolicyRule {
        resource_names: Some(vec![name.to_owned()]),
        ..rule
    };
    Ok(vec![
        // A create has no name to be allowed by.
        allow([of::<Lease>()], &["create"]),
        only(&lease, allow([of::<Lease>()], &["get", "update"])),
        allow([of::<Secret>()], &["create"]),
        only(PIN_SECRET, allow([of::<Secret>()], &["get"])),
        // The webhook's certificate changes.
        only(&webhook, allow([of::<Secret>()], &["get", "update"])),
    ])
}

/// Group and resource.
pub(super) type What = (String, String);

pub(super) fn of<K: Resource<DynamicType = ()>>() -> What {
    (K::group(&()).into_owned(), K::plural(&()).into_owned())
}

fn status<K: Resource<DynamicType = ()>>() -> What {
    let (group, plural) = of::<K>();
    (group, format!("{plural}/status"))
}

/// These verbs on these resources, all of one group.
pub(super) fn allow<const N: usize>(what: [What; N], verbs: &[&str]) -> PolicyRule {
    let mut groups: Vec<_> = what.iter().map(|(group, _)| group.clone()).collect();
    groups.dedup();
    PolicyRule {
        api_groups: Some(groups),
        resources: Some(what.into_iter().map(|(_, resource)| resource).collect()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    }
}

pub(super) fn refer<R: Resource<DynamicType = ()>>(name: &str) -> RoleRef {
    RoleRef {
        api_group: R::group(&()).into_owned(),
        kind: R::kind(&()).into_owned(),
        name: name.to_owned(),
    }
}

pub(super) fn subject(namespace: &str, name: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Subject::default()
    }
}
