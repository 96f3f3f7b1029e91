//! Clients and kubeconfigs: of the administrator, of anybody, of a ServiceAccount.

use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::files::ADMIN;
use crate::{Failure, Plane, failed};

impl Plane {
    /// An administrator's client. It lives as long as the runtime that it is made in: each test makes its own.
    pub async fn client(&self) -> Client {
        self.client_of(self.kubeconfig()).await
    }

    /// A client that is `user` in `groups` (and `system:authenticated`).
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        self.client_of(self.kubeconfig_as(user, groups)).await
    }

    /// A client with a ServiceAccount's own token.
    pub async fn client_as_service_account(&self, namespace: &str, name: &str) -> Client {
        self.client_of(self.kubeconfig_of_service_account(namespace, name).await)
            .await
    }

    /// A client for one of this plane's kubeconfig files.
    pub async fn client_of(&self, kubeconfig: PathBuf) -> Client {
        let config = self
            .config_of(kubeconfig)
            .await
            .expect("a kubeconfig of our own making");
        Client::try_from(config).expect("a client for it")
    }

    /// The configuration of the administrator's client, for those who build theirs in another way.
    pub async fn config(&self) -> Config {
        self.config_of(self.kubeconfig())
            .await
            .expect("a kubeconfig of our own making")
    }

    async fn config_of(&self, kubeconfig: PathBuf) -> Result<Config, Failure> {
        // Whoever installed one before us has the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(&kubeconfig).map_err(failed(kubeconfig.display()))?;
        let options = KubeConfigOptions::default();
        Config::from_custom_kubeconfig(file, &options)
            .await
            .map_err(failed(kubeconfig.display()))
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.files().path("admin.kubeconfig")
    }

    /// A kubeconfig that speaks as `user` in `groups`.
    pub fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> PathBuf {
        let mut groups = groups.to_vec();
        groups.push("system:authenticated");
        let name = format!("as-{user}-{}", groups.join("-"));
        self.files()
            .kubeconfig(&name, self.port(), ADMIN, Some((user, &groups)))
            .expect("the plane's folder is writable")
    }

    /// A kubeconfig with a ServiceAccount's own token, good for an hour.
    pub async fn kubeconfig_of_service_account(&self, namespace: &str, name: &str) -> PathBuf {
        let token = self.service_account_token(namespace, name).await;
        let file = format!("sa-{namespace}-{name}");
        self.files()
            .kubeconfig(&file, self.port(), &token, None)
            .expect("the plane's folder is writable")
    }

    /// A ServiceAccount's token, good for an hour.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let spec = TokenRequestSpec {
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec,
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .unwrap_or_else(|error| {
                panic!("no token for the ServiceAccount {namespace}/{name}: {error}")
            });
        answer.status.map(|status| status.token).unwrap_or_default()
    }
}
