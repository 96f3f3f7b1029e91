//! The way to the API server, and the wait until it is there with our six kinds.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::api::PostParams;
use kube::{Api, Client};

use super::definitions;
use crate::api;

/// What readiness calls this part.
pub(super) const PART: &str = "the API server with our kinds";

/// How often it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);

const GROUP_VERSION: &str = "managedhsm.dev/v1alpha1";

/// Two ways to one API server.
#[derive(Clone)]
pub(super) struct Clients {
    /// Tries again by itself where the server is busy.
    pub normal: Client,
    /// A write of this one never lands late: for the Lease, the clock, and purges.
    pub without_retries: Client,
}

impl Clients {
    /// From the kubeconfig, or from the pod's ServiceAccount. The error is the cause alone.
    pub async fn infer() -> Result<Self, String> {
        let config = kube::Config::infer()
            .await
            .map_err(|error| first_line(&error.to_string()))?;
        tracing::info!(url = %config.cluster_url, "the API server");
        let mut strict = config.clone();
        strict.default_retry = false;
        let client =
            |config| Client::try_from(config).map_err(|error: kube::Error| error.to_string());
        Ok(Self {
            normal: client(config)?,
            without_retries: client(strict)?,
        })
    }
}

/// What comes after it shows the place in the file, with a token perhaps.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// As whom the API server sees us.
pub(super) async fn user(client: &Client) -> kube::Result<String> {
    let whoami: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = whoami
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let user = answer.status.and_then(|status| status.user_info);
    Ok(user.and_then(|user| user.username).unwrap_or_default())
}

/// Waits until the API server answers and serves our kinds as this version knows them. Says what is missing, once for each cause.
pub(super) async fn wait_for_our_kinds(client: &Client) {
    let mut told = String::new();
    loop {
        let hindrance = tokio::time::timeout(PATIENCE, hindered(client))
            .await
            .unwrap_or_else(|_| {
                Some(format!(
                    "the API server did not answer within {PATIENCE:?}; it is tried again until it does"
                ))
            });
        let Some(sentence) = hindrance else { return };
        if told != sentence {
            tracing::warn!("{sentence}");
            told = sentence;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hindered(client: &Client) -> Option<String> {
    let served = client.list_api_group_resources(GROUP_VERSION).await;
    if let Some(sentence) = hindrance(served) {
        return Some(sentence);
    }
    definitions::outdated(client)
        .await
        .unwrap_or_else(|error| Some(not_asked(error)))
}

/// What keeps us from starting, by what the API server says of our group.
fn hindrance(answer: Result<APIResourceList, kube::Error>) -> Option<String> {
    match answer {
        Ok(served) => {
            let served: BTreeSet<_> = served
                .resources
                .into_iter()
                .map(|resource| resource.name)
                .collect();
            let missing: Vec<_> = api::crds()
                .into_iter()
                .map(|crd| crd.spec.names.plural)
                .filter(|name| !served.contains(name))
                .collect();
            (!missing.is_empty()).then(|| not_there(&missing.join(", ")))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Some(not_there("all six kinds")),
        Err(error) => Some(not_asked(error)),
    }
}

fn not_asked(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) if [401, 403].contains(&status.code) => format!(
            "the API server refuses this user ({}); check the kubeconfig or the ServiceAccount's rights, it is tried again",
            status.message
        ),
        error => format!(
            "the API server cannot be asked ({}); it is tried again until it can",
            causes(&error)
        ),
    }
}

fn not_there(which: &str) -> String {
    format!(
        "the cluster does not serve {which} of {GROUP_VERSION}; apply the definitions: kubectl apply -f crds/"
    )
}

/// The error with what caused it: a client's own message hides what matters.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
        source = cause.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
    use kube::core::Status;

    use super::*;

    fn serving(plurals: &[String]) -> Result<APIResourceList, kube::Error> {
        let resource = |name: &String| APIResource {
            name: name.clone(),
            ..APIResource::default()
        };
        Ok(APIResourceList {
            group_version: GROUP_VERSION.into(),
            resources: plurals.iter().map(resource).collect(),
        })
    }

    fn refusing(code: u16) -> Result<APIResourceList, kube::Error> {
        Err(kube::Error::Api(Box::new(Status {
            code,
            message: "no".into(),
            ..Status::default()
        })))
    }

    #[test]
    fn nothing_hinders_where_all_six_kinds_are_served() {
        let plurals: Vec<_> = api::crds()
            .into_iter()
            .map(|crd| crd.spec.names.plural)
            .collect();
        assert_eq!(plurals.len(), 6);
        assert_eq!(hindrance(serving(&plurals)), None);
    }

    #[test]
    fn missing_kinds_are_named_with_the_command_that_brings_them() {
        let plurals: Vec<_> = api::crds()
            .into_iter()
            .map(|crd| crd.spec.names.plural)
            .filter(|name| name != "purges")
            .collect();
        let sentence = hindrance(serving(&plurals)).expect("one is missing");
        assert_eq!(
            sentence,
            "the cluster does not serve purges of managedhsm.dev/v1alpha1; apply the definitions: kubectl apply -f crds/"
        );
        assert!(
            hindrance(refusing(404)).is_some_and(|sentence| sentence.contains("all six kinds"))
        );
    }

    #[test]
    fn a_refused_user_and_a_broken_server_are_told_apart() {
        assert!(
            hindrance(refusing(403))
                .is_some_and(|sentence| sentence.starts_with("the API server refuses this user"))
        );
        assert!(
            hindrance(refusing(500))
                .is_some_and(|sentence| sentence.starts_with("the API server cannot be asked"))
        );
    }
}
