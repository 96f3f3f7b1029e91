//! The webhook's settings.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::WebhookArgs;
use super::check_domain;

/// The webhook: where it is served, and with which certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub address: SocketAddr,
    pub certificate: Certificate,
}

/// Where the webhook's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// From the files of a folder that somebody else fills.
    Files(PathBuf),
    /// Made, kept in a Secret of the operator's namespace, and named to the ValidatingWebhookConfiguration.
    Own {
        configuration: String,
        secret: String,
        life: Duration,
    },
}

/// None: it is not served.
pub(super) fn validate(args: WebhookArgs) -> Result<Option<Webhook>, String> {
    let WebhookArgs {
        webhook_addr,
        webhook_configuration,
        webhook_secret,
        webhook_cert_life,
        webhook_cert_dir,
    } = args;
    check_name("--webhook-configuration", &webhook_configuration)?;
    check_name("--webhook-secret", &webhook_secret)?;
    check_life(webhook_cert_life)?;
    check_folder(webhook_addr.is_some(), webhook_cert_dir.as_deref())?;
    let certificate = match webhook_cert_dir {
        Some(folder) => Certificate::Files(folder),
        None => Certificate::Own {
            configuration: webhook_configuration,
            secret: webhook_secret,
            life: webhook_cert_life,
        },
    };
    Ok(webhook_addr.map(|address| Webhook {
        address,
        certificate,
    }))
}

impl Webhook {
    /// For people: one line.
    pub(super) fn explain(&self) -> String {
        let from = match &self.certificate {
            Certificate::Files(folder) => format!("from the files in {}", folder.display()),
            Certificate::Own {
                secret,
                configuration,
                life,
            } => format!(
                "of its own in the Secret {secret}, for {life:?}, named to the ValidatingWebhookConfiguration {configuration}"
            ),
        };
        format!("webhook: https://{}, certificate {from}", self.address)
    }
}

fn check_name(flag: &str, name: &str) -> Result<(), String> {
    check_domain(name).map_err(|_| {
        format!("{flag} {name:?} is no name of such an object; use lower-case letters, digits, dashes and dots")
    })
}

fn check_folder(served: bool, folder: Option<&Path>) -> Result<(), String> {
    match folder {
        Some(folder) if !served => Err(format!(
            "--webhook-cert-dir {} names a certificate, but without --webhook-addr no webhook is served; give both, or neither",
            folder.display()
        )),
        _ => Ok(()),
    }
}

/// Certificates count whole seconds, and a change takes some.
fn check_life(life: Duration) -> Result<(), String> {
    const LEAST: Duration = Duration::from_secs(15);
    const MOST: Duration = Duration::from_secs(3650 * 86_400);
    if (LEAST..=MOST).contains(&life) {
        return Ok(());
    }
    Err(format!(
        "--webhook-cert-life {life:?} is not between {LEAST:?} and ten years; leave it out, or choose some weeks"
    ))
}
