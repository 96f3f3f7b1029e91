//! The operator's pod, its volume, and the Service through which its metrics are read and its webhook is asked.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, Service, ServicePort, ServiceSpec,
    Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    Error, KEEP, NAME, Object, PIN_SECRET, STORE, USER, flags, labels, selector, values, webhook,
    within,
};
use crate::config::{GRACE, HEALTH_GRACE};

pub(super) const PORT_NAME: &str = "metrics";
/// What the embedded store is on.
pub(super) const CLAIM: &str = "store";

pub(super) fn objects(namespace: &str) -> Result<Vec<Object>, Error> {
    Ok(vec![
        Object::new(CLAIM, &claim(namespace))?,
        Object::new("operator", &deployment(namespace)?)?,
        Object::new("operator", &service(namespace)?)?,
    ])
}

/// Kept when a release goes: it holds every key.
fn claim(namespace: &str) -> PersistentVolumeClaim {
    let (key, value) = KEEP;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..within(namespace, STORE)
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(quantities(&[("storage", "1Gi")])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn deployment(namespace: &str) -> Result<Deployment, Error> {
    Ok(Deployment {
        metadata: within(namespace, NAME),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: LabelSelector {
                match_labels: Some(selector()),
                match_expressions: None,
            },
            // The new pod waits for the old one's end: on another node the volume would not attach before, and on the same one only the leader may open the store.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod()?),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    })
}

fn pod() -> Result<PodSpec, Error> {
    Ok(PodSpec {
        service_account_name: Some(NAME.to_owned()),
        automount_service_account_token: Some(true),
        // It talks to the API server alone; who else is in the namespace is nothing to it.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace()?),
        security_context: Some(nobody()),
        containers: vec![container()?],
        volumes: Some(vec![
            Volume {
                name: "store".to_owned(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: STORE.to_owned(),
                    read_only: None,
                }),
                ..Volume::default()
            },
            Volume {
                name: "tmp".to_owned(),
                empty_dir: Some(EmptyDirVolumeSource {
                    size_limit: Some(Quantity("16Mi".to_owned())),
                    medium: None,
                }),
                ..Volume::default()
            },
        ]),
        ..PodSpec::default()
    })
}

fn container() -> Result<Container, Error> {
    Ok(Container {
        name: "operator".to_owned(),
        image: Some(image()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec!["run".to_owned()]),
        env: Some(environment()?),
        ports: Some(vec![
            exposed(PORT_NAME, port()?),
            exposed(webhook::PORT_NAME, webhook::PORT),
        ]),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        // A standby is ready too; it says so once the API server serves our kinds.
        readiness_probe: Some(probe("/readyz", 5, 3)),
        resources: Some(ResourceRequirements {
            requests: Some(quantities(&[("cpu", "100m"), ("memory", "128Mi")])),
            limits: Some(quantities(&[("memory", "1Gi")])),
            claims: None,
        }),
        security_context: Some(confined()),
        volume_mounts: Some(vec![
            mount("store", &flags::default("data-dir")?),
            mount("tmp", "/tmp"),
        ]),
        ..Container::default()
    })
}

pub(super) fn image() -> String {
    format!("{NAME}:{}", env!("CARGO_PKG_VERSION"))
}

/// An account of its own, in groups of its own.
pub(super) fn nobody() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// Nothing beyond what any process may.
pub(super) fn confined() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".to_owned()]),
        }),
        ..SecurityContext::default()
    }
}

/// Where the pod is, and each of the operator's own settings by its flag's environment variable.
fn environment() -> Result<Vec<EnvVar>, Error> {
    let mut all = vec![
        EnvVar {
            name: "POD_NAME".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.name".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
            value: None,
        },
        variable("pin-secret", PIN_SECRET)?,
        variable("webhook-addr", &format!("0.0.0.0:{}", webhook::PORT))?,
    ];
    for setting in values::SETTINGS {
        all.push(variable(setting.flag, &flags::default(setting.flag)?)?);
    }
    Ok(all)
}

fn variable(flag: &'static str, value: &str) -> Result<EnvVar, Error> {
    Ok(EnvVar {
        name: flags::variable(flag)?,
        value: Some(value.to_owned()),
        value_from: None,
    })
}

fn service(namespace: &str) -> Result<Service, Error> {
    Ok(Service {
        metadata: within(namespace, NAME),
        spec: Some(ServiceSpec {
            selector: Some(selector()),
            ports: Some(vec![
                offered(PORT_NAME, port()?),
                offered(webhook::PORT_NAME, webhook::SERVICE_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

fn exposed(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        ..ContainerPort::default()
    }
}

fn offered(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}

/// What the process takes at most to end in good order, and some seconds for the kubelet.
fn grace() -> Result<i64, Error> {
    let release = flags::default("lease-renew-deadline")?;
    let release: i64 = release.trim_end_matches('s').parse().unwrap_or(10);
    let own = (GRACE + HEALTH_GRACE).as_secs();
    Ok(i64::try_from(own).unwrap_or(i64::MAX) + release + 4)
}

pub(super) fn port() -> Result<i32, Error> {
    let address = flags::default("metrics-addr")?;
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    Ok(port.unwrap_or(8080))
}

fn probe(path: &str, every: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(every),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

fn quantities(all: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    let one = |(name, much): &(&str, &str)| ((*name).to_owned(), Quantity((*much).to_owned()));
    all.iter().map(one).collect()
}
