//! The keeper: looks at Secret and configuration now and then, takes one step at a time, and hands on what is to be served.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Serve;
use super::kept::{Kept, Pair};
use super::made::make;
use super::step::{Seen, Step, step};
use crate::clock::Clock;

/// More than any way from one rest to the next takes.
const STEPS: usize = 10;

/// Where everything stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The operator's.
    pub namespace: String,
    /// The Secret in it.
    pub secret: String,
    /// The ValidatingWebhookConfiguration.
    pub configuration: String,
}

/// Keeps the certificate.
pub struct Keeper {
    secrets: Api<Secret>,
    configurations: Api<ValidatingWebhookConfiguration>,
    places: Places,
    clock: Clock,
    life: TimeDelta,
    serve: Serve,
    /// The bundle that was last seen in the configuration, and since when (by the monotonic clock).
    trusted: Option<(Vec<u8>, Duration)>,
    served: Option<String>,
}

/// Why it got no further; it is tried again.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(
        "there is no ValidatingWebhookConfiguration {0}; install it, or leave --webhook-addr out"
    )]
    NotInstalled(String),
    #[error("the API server answered: {0}")]
    Cluster(#[from] kube::Error),
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error(
        "the ValidatingWebhookConfiguration {0} does not keep the caBundle that is written to it; let whoever else applies it leave that field alone"
    )]
    Contested(String),
}

impl Keeper {
    /// `life`: how long a certificate lasts. `client`: one that does not try again by itself, so that no write lands late.
    pub fn new(
        client: Client,
        places: Places,
        clock: Clock,
        life: TimeDelta,
        serve: Serve,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &places.namespace),
            configurations: Api::all(client),
            places,
            clock,
            life,
            serve,
            trusted: None,
            served: None,
        }
    }

    /// For ever.
    pub async fn keep(mut self) -> std::convert::Infallible {
        let mut told = String::new();
        loop {
            let sentence = match self.turn().await {
                Ok(()) => String::new(),
                Err(failure) => failure.to_string(),
            };
            if !sentence.is_empty() && sentence != told {
                tracing::warn!(
                    "the webhook's certificate cannot be seen to, so that users may miss its advice until this is mended ({sentence}); it is tried again"
                );
            }
            told = sentence;
            tokio::time::sleep(self.part_of_life(
                90,
                Duration::from_millis(200),
                Duration::from_secs(10),
            ))
            .await;
        }
    }

    /// A part of a certificate's life, within bounds.
    fn part_of_life(&self, part: u32, least: Duration, most: Duration) -> Duration {
        let life = self.life.to_std().unwrap_or(most);
        (life / part).clamp(least, most)
    }

    /// Steps until there is nothing to do, and not for ever where somebody else undoes them.
    async fn turn(&mut self) -> Result<(), Failure> {
        for _ in 0..STEPS {
            let Some(configuration) = self
                .configurations
                .get_opt(&self.places.configuration)
                .await?
            else {
                return Err(Failure::NotInstalled(self.places.configuration.clone()));
            };
            let secret = self.secrets.get_opt(&self.places.secret).await?;
            let mut kept = secret
                .as_ref()
                .and_then(|secret| Kept::read(secret.data.as_ref()?));
            let trusted = trusted(&configuration);
            // What is trusted is served until its successor is, also where the Secret was lost and made anew.
            let is_trusted = |kept: &&Kept| trusted.as_deref() == Some(kept.bundle().as_bytes());
            let first = self.served.is_none();
            let served = kept.as_ref().filter(|kept| first || is_trusted(kept));
            if let Some(Err(why)) = served.map(|kept| self.serve(&kept.current)) {
                tracing::warn!(
                    secret = self.places.secret,
                    "what the Secret keeps cannot be served ({why}), so another certificate is made"
                );
                kept = None;
            }
            let names = self.names(&configuration);
            let next = step(&Seen {
                kept: kept.as_ref(),
                trusted: trusted.as_deref(),
                settled: self.settled(trusted.as_deref()),
                names: &names,
                now: self.clock.now(),
            });
            match (next, kept) {
                (Step::Rest, _) => return Ok(()),
                (Step::Trust, Some(kept)) => self.trust(&configuration, &kept).await?,
                (next, kept) => self.write(next, secret, kept.as_ref(), &names).await?,
            }
        }
        Err(Failure::Contested(self.places.configuration.clone()))
    }

    fn serve(&mut self, pair: &Pair) -> Result<(), String> {
        if self.served.as_ref() == Some(&pair.certificate) {
            return Ok(());
        }
        (self.serve)(
            pair.certificate.as_bytes(),
            pair.key.expose_secret().as_bytes(),
        )?;
        tracing::info!(next = ?pair.due(), "the webhook has a certificate; when the next one is made");
        self.served = Some(pair.certificate.clone());
        Ok(())
    }

    /// Every API server has seen what was there for a while; by this process's own watch, so that a fresh one waits anew.
    fn settled(&mut self, trusted: Option<&[u8]>) -> bool {
        let now = self.clock.monotonic();
        let bundle = trusted.unwrap_or_default();
        match &self.trusted {
            Some((seen, since)) if seen == bundle => {
                now.saturating_sub(*since)
                    >= self.part_of_life(15, Duration::from_secs(1), Duration::from_secs(60))
            }
            _ => {
                self.trusted = Some((bundle.to_vec(), now));
                false
            }
        }
    }

    /// At the configuration's resourceVersion; another one's write comes first.
    async fn trust(
        &self,
        configuration: &ValidatingWebhookConfiguration,
        kept: &Kept,
    ) -> Result<(), Failure> {
        let bundle = ByteString(kept.bundle().into_bytes());
        let webhooks = configuration.webhooks.iter().flatten().enumerate();
        let mut patch = vec![
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": configuration.resource_version()}),
        ];
        patch.extend(webhooks.map(|(place, _)| {
            json!({"op": "add", "path": format!("/webhooks/{place}/clientConfig/caBundle"), "value": bundle})
        }));
        let patch = serde_json::from_value(Value::Array(patch)).map_err(kube::Error::SerdeError)?;
        let name = configuration.name_any();
        let done = self
            .configurations
            .patch(&name, &PatchParams::default(), &Patch::<()>::Json(patch))
            .await;
        overtaken(done)
    }

    async fn write(
        &self,
        next: Step,
        secret: Option<Secret>,
        kept: Option<&Kept>,
        names: &[String],
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let new = || make(names, now, self.life);
        let kept = match kept {
            Some(kept) => kept.after(next, now, new)?,
            None => new()?,
        };
        tracing::info!(step = ?next, secret = self.places.secret, "the webhook's certificate");
        let parameters = PostParams::default();
        let done = match secret {
            None => {
                let secret = self.secret(kept.write());
                self.secrets.create(&parameters, &secret).await
            }
            // It carries the resourceVersion of the look.
            Some(mut secret) => {
                secret.data = Some(kept.write());
                self.secrets
                    .replace(&self.places.secret, &parameters, &secret)
                    .await
            }
        };
        overtaken(done)
    }

    fn secret(&self, data: BTreeMap<String, ByteString>) -> Secret {
        Secret {
            metadata: ObjectMeta {
                name: Some(self.places.secret.clone()),
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/name".to_owned(),
                    env!("CARGO_PKG_NAME").to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }

    /// What the API server calls the webhook by: so the certificate fits whatever the configuration says.
    fn names(&self, configuration: &ValidatingWebhookConfiguration) -> Vec<String> {
        let clients = configuration
            .webhooks
            .iter()
            .flatten()
            .map(|webhook| &webhook.client_config);
        let mut names: Vec<_> = clients.filter_map(host).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Whoever was faster decided; the next look goes on from there.
fn overtaken<T>(done: Result<T, kube::Error>) -> Result<(), Failure> {
    match done {
        Ok(_) => Ok(()),
        // A JSON patch whose test fails answers 422.
        Err(kube::Error::Api(status)) if [409, 422].contains(&status.code) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// None: its webhooks do not all trust the same, or not anything.
fn trusted(configuration: &ValidatingWebhookConfiguration) -> Option<Vec<u8>> {
    let webhooks = configuration.webhooks.iter().flatten();
    let mut bundles = webhooks.map(|webhook| {
        webhook
            .client_config
            .ca_bundle
            .as_ref()
            .map(|bundle| &bundle.0)
    });
    let first = bundles.next()??;
    bundles
        .all(|other| other == Some(first))
        .then(|| first.clone())
}

fn host(client: &WebhookClientConfig) -> Option<String> {
    if let Some(service) = &client.service {
        return Some(format!("{}.{}.svc", service.name, service.namespace));
    }
    let url: http::Uri = client.url.as_ref()?.parse().ok()?;
    Some(url.host()?.trim_matches(['[', ']']).to_owned())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::{ServiceReference, ValidatingWebhook};

    use super::*;

    fn webhook(client_config: WebhookClientConfig) -> ValidatingWebhook {
        ValidatingWebhook {
            client_config,
            ..ValidatingWebhook::default()
        }
    }

    fn of(url: &str, bundle: Option<&str>) -> ValidatingWebhook {
        webhook(WebhookClientConfig {
            url: Some(url.to_owned()),
            ca_bundle: bundle.map(|text| ByteString(text.as_bytes().to_vec())),
            service: None,
        })
    }

    fn configuration(webhooks: Vec<ValidatingWebhook>) -> ValidatingWebhookConfiguration {
        ValidatingWebhookConfiguration {
            webhooks: Some(webhooks),
            ..ValidatingWebhookConfiguration::default()
        }
    }

    #[test]
    fn the_names_are_those_that_the_api_server_calls_it_by() {
        let service = WebhookClientConfig {
            service: Some(ServiceReference {
                name: "hsm".into(),
                namespace: "system".into(),
                ..ServiceReference::default()
            }),
            ..WebhookClientConfig::default()
        };
        assert_eq!(host(&service).as_deref(), Some("hsm.system.svc"));
        let url = |url: &str| host(&of(url, None).client_config);
        assert_eq!(
            url("https://127.0.0.1:9443/review").as_deref(),
            Some("127.0.0.1")
        );
        assert_eq!(url("https://[::1]:9443/review").as_deref(), Some("::1"));
        assert_eq!(
            url("https://hsm.example:9443").as_deref(),
            Some("hsm.example")
        );
    }

    #[test]
    fn only_what_all_webhooks_trust_counts() {
        let same = configuration(vec![of("https://a", Some("x")), of("https://b", Some("x"))]);
        assert_eq!(trusted(&same).as_deref(), Some(&b"x"[..]));
        for other in [Some("y"), None] {
            let differ = configuration(vec![of("https://a", Some("x")), of("https://b", other)]);
            assert_eq!(trusted(&differ), None);
        }
        assert_eq!(trusted(&configuration(vec![])), None);
    }
}
