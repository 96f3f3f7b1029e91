//! What the operator is told: flags with environment twins and the backends file, read once and validated into [`Config`].

pub mod args;
pub mod backends;
mod backup;
pub mod duration;
mod webhook;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::leader;
use crate::telemetry::LogFormat;

use args::RunArgs;
use backends::{Allowed, Backend, Store};

pub use backup::Backups;
pub use webhook::{Certificate, Webhook};

/// A day in earnest.
pub const REAL_DAY: Duration = Duration::from_secs(86_400);

/// How long the controller gets to finish what it has in hand when it is told to stop; after it the Lease is released, which takes a renew deadline at most.
pub const GRACE: Duration = Duration::from_secs(24);
/// And after that the health server.
pub const HEALTH_GRACE: Duration = Duration::from_secs(2);

/// Everything that was set, and right. Destructure it whole, so that nothing is set in vain.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub backends: Vec<Backend>,
    /// `softdelete`: SD-15.
    pub undeletable: bool,
    /// How many users must ask for a purge (SD-24).
    pub purge_quorum: u32,
    /// How many purges on request an hour, and how many at once.
    pub purge_rate: u32,
    pub mass_deletion: u32,
    /// How long finished Purges and tombstones stay: real days.
    pub purge_history_days: u32,
    pub cluster_domain: String,
    /// The uid of the cluster whose material this one takes over.
    pub adopt_cluster_id: Option<String>,
    pub data_dir: PathBuf,
    pub pin_dir: PathBuf,
    /// The Secret in `namespace` that keeps the embedded backend's PINs instead of `pin_dir`.
    pub pin_secret: Option<String>,
    pub metrics_addr: SocketAddr,
    /// None: it is not served.
    pub webhook: Option<Webhook>,
    /// None: nobody backs up by himself.
    pub backups: Option<Backups>,
    pub log_format: LogFormat,
    /// How long a day of retention and announcement lasts.
    pub day_length: Duration,
    pub clock_tolerance: Duration,
    pub concurrency: usize,
    /// The operator's own namespace.
    pub namespace: String,
    pub lease_name: String,
    pub lease_times: leader::Times,
    /// The pod's name, if this is one.
    pub pod_name: Option<String>,
    /// Variables that look like twins of flags, and are none.
    pub strange_variables: Vec<String>,
}

/// What a flag or the file says that cannot be gone by: one sentence, cause and way out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Where the process runs, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    pub in_pod: bool,
    pub pod_name: Option<String>,
    /// Of the pod's ServiceAccount.
    pub namespace: Option<String>,
    /// The names of all variables.
    pub variables: Vec<String>,
}

impl Surroundings {
    /// Looks at the environment and at the ServiceAccount's files.
    pub fn look() -> Self {
        const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
        let namespace = std::fs::read_to_string(NAMESPACE_FILE)
            .ok()
            .map(|text| text.trim().to_owned());
        Self {
            in_pod: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            pod_name: std::env::var("POD_NAME")
                .ok()
                .filter(|name| !name.is_empty()),
            namespace: namespace.filter(|name| !name.is_empty()),
            variables: std::env::vars_os()
                .filter_map(|(name, _)| name.into_string().ok())
                .collect(),
        }
    }
}

impl Config {
    /// Validates the flags and reads the backends file.
    pub fn new(args: RunArgs, surroundings: Surroundings) -> Result<Self, ConfigError> {
        let backends = match &args.backends {
            Some(path) => backends::load(path).map_err(ConfigError)?,
            None => backends::built_in(),
        };
        Self::validate(args, surroundings, backends).map_err(ConfigError)
    }

    fn validate(
        args: RunArgs,
        surroundings: Surroundings,
        backends: Vec<Backend>,
    ) -> Result<Self, String> {
        let RunArgs {
            backends: _,
            undeletable,
            purge_quorum,
            purge_rate,
            mass_deletion,
            purge_history,
            cluster_domain,
            adopt_cluster_id,
            data_dir,
            pin_dir,
            pin_secret,
            metrics_addr,
            webhook,
            backup,
            log_format,
            day_length,
            allow_short_days,
            clock_tolerance,
            concurrency,
            namespace,
            lease_name,
            lease_duration,
            lease_renew_deadline,
            lease_retry,
        } = args;
        let webhook = webhook::validate(webhook)?;
        let backups = backup::validate(backup, &data_dir, &backends)?;
        check_day(day_length, surroundings.in_pod, allow_short_days)?;
        check_domain(&cluster_domain)?;
        adopt_cluster_id.as_deref().map_or(Ok(()), check_uid)?;
        check_pins(pin_dir.as_deref(), pin_secret.as_deref())?;
        let lease_times = leader::Times {
            lease: lease_duration,
            deadline: lease_renew_deadline,
            retry: lease_retry,
        };
        check_times(lease_times)?;
        check_name("--lease-name", &lease_name)?;
        namespace
            .as_deref()
            .map_or(Ok(()), |name| check_name("--namespace", name))?;
        Ok(Self {
            backends,
            undeletable,
            purge_quorum,
            purge_rate,
            mass_deletion,
            purge_history_days: purge_history,
            cluster_domain,
            adopt_cluster_id,
            pin_dir: pin_dir.unwrap_or_else(|| data_dir.join("pins")),
            pin_secret,
            data_dir,
            metrics_addr,
            webhook,
            backups,
            log_format,
            day_length,
            clock_tolerance,
            concurrency: usize::from(concurrency),
            namespace: namespace
                .or(surroundings.namespace)
                .unwrap_or_else(|| "default".to_owned()),
            lease_name,
            lease_times,
            pod_name: surroundings.pod_name,
            strange_variables: args::strange(surroundings.variables),
        })
    }

    /// What the operator would do by this configuration, for people: one line each.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for backend in &self.backends {
            let Backend {
                name,
                store,
                allowed_namespaces,
                max_hsms_per_namespace,
                max_keys_per_hsm,
            } = backend;
            let place = match store {
                Store::Embedded { slots, pins: _ } => format!(
                    "embedded, in {}, up to {slots} HSMs",
                    self.data_dir.display()
                ),
                Store::Pkcs11(module) => format!(
                    "PKCS#11 module {}, records in its token {}, an HSM for each {}",
                    module.library.display(),
                    module.ledger_token,
                    match &module.tokens {
                        Some(tokens) => format!("of the tokens {}", tokens.join(", ")),
                        None => "free slot".to_owned(),
                    }
                ),
            };
            let each = max_hsms_per_namespace
                .map_or_else(String::new, |most| format!(" ({most} a namespace)"));
            let whom = if *allowed_namespaces == Allowed::All {
                ""
            } else {
                ", not for every namespace"
            };
            lines.push(format!(
                "backend {name}: {place}{each} of {max_keys_per_hsm} keys{whom}"
            ));
        }
        if let Some(secret) = &self.pin_secret {
            lines.push(format!(
                "the embedded HSMs' PINs: in the Secret {}/{secret}, made at the first start",
                self.namespace
            ));
        }
        lines.push(self.explain_purges());
        let leader::Times {
            lease,
            deadline,
            retry,
        } = self.lease_times;
        lines.push(format!(
            "Lease {}/{}: {lease:?}, renewed every {retry:?}, given up after {deadline:?}",
            self.namespace, self.lease_name
        ));
        lines.push(format!("health and metrics: http://{}", self.metrics_addr));
        lines.extend(self.webhook.as_ref().map(Webhook::explain));
        lines.extend(self.backups.as_ref().map(Backups::explain));
        if let Some(uid) = &self.adopt_cluster_id {
            lines.push(format!("takes over the material of cluster {uid}"));
        }
        for name in &self.strange_variables {
            lines.push(format!(
                "the environment variable {name} is the twin of no flag, so it does nothing: look its name up with --help"
            ));
        }
        if self.day_length != REAL_DAY {
            lines.push(format!(
                "a day of retention lasts {:?}: for demonstrations and tests only",
                self.day_length
            ));
        }
        lines
    }

    /// Where the embedded backend's PINs are, in words.
    pub fn pins_kept(&self) -> String {
        let of_its_own = |backend: &Backend| match &backend.store {
            Store::Embedded { pins, .. } => pins.clone(),
            Store::Pkcs11(_) => None,
        };
        match (self.backends.iter().find_map(of_its_own), &self.pin_secret) {
            (Some(files), _) => format!(
                "the files {} and {}",
                files.so_pin_file.display(),
                files.user_pin_file.display()
            ),
            (None, Some(secret)) => format!("the Secret {}/{secret}", self.namespace),
            (None, None) => format!("the folder {}", self.pin_dir.display()),
        }
    }

    fn explain_purges(&self) -> String {
        if self.undeletable {
            return "purges on request: none, the cluster is undeletable".to_owned();
        }
        let (rate, quorum) = (self.purge_rate, self.purge_quorum);
        format!("purges on request: at most {rate} an hour, each asked for by {quorum} user(s)")
    }
}

fn check_day(day: Duration, in_pod: bool, allowed: bool) -> Result<(), String> {
    if day > REAL_DAY {
        return Err(format!(
            "--day-length {day:?} is longer than a day; leave it out, or make it shorter for a demonstration"
        ));
    }
    if day < REAL_DAY && in_pod && !allowed {
        return Err(format!(
            "--day-length {day:?} would purge within minutes what people keep for months, and this is a pod; leave it out, or add --allow-short-days if nothing here matters"
        ));
    }
    Ok(())
}

fn check_name(flag: &str, name: &str) -> Result<(), String> {
    if backends::is_label(name) {
        return Ok(());
    }
    Err(format!(
        "{flag} {name:?} is no DNS label; use lower-case letters, digits and dashes, at most 63"
    ))
}

fn check_domain(domain: &str) -> Result<(), String> {
    if domain.len() <= 253 && domain.split('.').all(backends::is_label) {
        return Ok(());
    }
    Err(format!(
        "--cluster-domain {domain:?} is no DNS name; write the cluster's domain without a dot at the end, such as cluster.local"
    ))
}

fn check_uid(uid: &str) -> Result<(), String> {
    let groups: Vec<_> = uid.split('-').map(str::len).collect();
    let hex = uid
        .chars()
        .all(|c| c == '-' || (c.is_ascii_hexdigit() && !c.is_ascii_uppercase()));
    if groups == [8, 4, 4, 4, 12] && hex {
        return Ok(());
    }
    Err(format!(
        "--adopt-cluster-id {uid:?} is no uid; take the one that ForeignMaterial names, the old cluster's `kubectl get namespace kube-system -o jsonpath={{.metadata.uid}}`"
    ))
}

fn check_pins(folder: Option<&Path>, secret: Option<&str>) -> Result<(), String> {
    let Some(secret) = secret else { return Ok(()) };
    if folder.is_some() {
        return Err(
            "--pin-dir and --pin-secret both say where the PINs are kept; give one of them"
                .to_owned(),
        );
    }
    check_domain(secret).map_err(|_| {
        format!("--pin-secret {secret:?} is no name of a Secret; use lower-case letters, digits, dashes and dots, such as managed-hsm-operator-pins")
    })
}

fn check_times(times: leader::Times) -> Result<(), String> {
    let leader::Times {
        lease,
        deadline,
        retry,
    } = times;
    if retry < deadline && deadline < lease {
        return Ok(());
    }
    Err(format!(
        "--lease-retry {retry:?}, --lease-renew-deadline {deadline:?} and --lease-duration {lease:?} must grow in this order, or two could lead; the defaults are 2s, 10s and 15s"
    ))
}

#[cfg(test)]
mod tests;
