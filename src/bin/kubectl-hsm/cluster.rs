//! The cluster as the user sees it: never with more rights than he has.

use std::fmt::Debug;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config, Resource};
use managed_hsm_operator::api::{DeletedHsmKey, DeletedManagedHsm};
use managed_hsm_operator::clock::Clock;
use managed_hsm_operator::softdelete::Kind;
use serde::de::DeserializeOwned;

use crate::args::ClusterArgs;
use crate::deleted::Deleted;
use crate::ending::{Exit, Failure, words};

pub const KINDS: [Kind; 2] = [Kind::Hsm, Kind::Key];

pub struct Cluster {
    pub client: Client,
    /// That of -n, else the context's.
    pub namespace: String,
    /// Whether -n said it.
    pub namespace_said: bool,
    pub clock: Clock,
}

/// What may be seen of something: without the right to list it the rest is still told.
pub enum Seen<T> {
    All(Vec<T>),
    /// The sentence that says why not.
    Not(String),
}

impl<T> Seen<T> {
    pub fn items(&self) -> &[T] {
        match self {
            Self::All(items) => items,
            Self::Not(_) => &[],
        }
    }

    pub fn into_items(self) -> Vec<T> {
        match self {
            Self::All(items) => items,
            Self::Not(_) => Vec::new(),
        }
    }

    pub fn unseen(&self) -> Option<&str> {
        match self {
            Self::All(_) => None,
            Self::Not(why) => Some(why),
        }
    }
}

/// What may not be read is no failure of the whole.
pub fn seen<T>(found: Result<Vec<T>, Failure>) -> Result<Seen<T>, Failure> {
    match found {
        Ok(items) => Ok(Seen::All(items)),
        Err(failure) if failure.exit == Exit::NotPermitted => Ok(Seen::Not(failure.sentence)),
        Err(failure) => Err(failure),
    }
}

impl Cluster {
    pub async fn connect(args: &ClusterArgs) -> Result<Self, Failure> {
        let mut config = config(args).await?;
        config.auth_info.impersonate = args.as_user.clone().or(config.auth_info.impersonate);
        if !args.as_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(args.as_groups.clone());
        }
        let namespace = args.namespace.clone();
        Ok(Self {
            namespace_said: namespace.is_some(),
            namespace: namespace.unwrap_or_else(|| config.default_namespace.clone()),
            client: Client::try_from(config)?,
            clock: Clock::real(),
        })
    }

    /// Who asks, as the cluster knows him.
    pub async fn user(&self) -> Result<String, Failure> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = SelfSubjectReview::default();
        let answer = reviews.create(&PostParams::default(), &review).await?;
        let user = answer.status.and_then(|status| status.user_info);
        user.and_then(|user| user.username).ok_or_else(|| {
            Failure::new(
                Exit::NoCluster,
                "The cluster does not say who you are; ask its administrator.",
            )
        })
    }

    /// The deleted objects of a kind that these field selectors fit, by name.
    pub async fn deleted(&self, kind: Kind, fields: &str) -> Result<Vec<Deleted>, Failure> {
        let params = ListParams::default().fields(fields);
        Ok(match kind {
            Kind::Hsm => self
                .list::<DeletedManagedHsm>(&params)
                .await?
                .into_iter()
                .map(Deleted::from)
                .collect(),
            Kind::Key => self
                .list::<DeletedHsmKey>(&params)
                .await?
                .into_iter()
                .map(Deleted::from)
                .collect(),
        })
    }

    /// The deleted object of that name, if there is one. A list of one name first, so that who may list, even that name alone, need not have another
    /// right; then a GET, for who may do no more.
    pub async fn deleted_named(&self, kind: Kind, name: &str) -> Result<Vec<Deleted>, Failure> {
        let listed = self.deleted(kind, &format!("metadata.name={name}")).await;
        let Err(refused) = listed else { return listed };
        if refused.exit != Exit::NotPermitted {
            return Err(refused);
        }
        let found = match kind {
            Kind::Hsm => self
                .get::<DeletedManagedHsm>(name)
                .await
                .map(|found| found.map(Deleted::from)),
            Kind::Key => self
                .get::<DeletedHsmKey>(name)
                .await
                .map(|found| found.map(Deleted::from)),
        };
        match found {
            Err(failure) if failure.exit == Exit::NotPermitted => Err(refused),
            found => Ok(found?.into_iter().collect()),
        }
    }

    async fn get<K>(&self, name: &str) -> Result<Option<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        Ok(api.get_opt(name).await?)
    }

    async fn list<K>(&self, params: &ListParams) -> Result<Vec<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        Ok(api.list(params).await?.items)
    }
}

async fn config(args: &ClusterArgs) -> Result<Config, Failure> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let file = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let chosen = match file {
        Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
        Err(error) => Err(error),
    };
    let asked = args.kubeconfig.is_some() || args.context.is_some();
    match chosen {
        Err(_) if !asked && std::env::var_os("KUBECONFIG").is_none() => {
            // A pod has no kubeconfig.
            Config::incluster().map_err(|_| no_kubeconfig("there is no kubeconfig"))
        }
        Err(error) => Err(unusable(&error)),
        Ok(config) => Ok(config),
    }
}

fn unusable(error: &KubeconfigError) -> Failure {
    no_kubeconfig(&words(error))
}

fn no_kubeconfig(why: &str) -> Failure {
    Failure::new(
        Exit::NoCluster,
        format!(
            "There is no cluster to ask ({why}); name a kubeconfig with --kubeconfig or KUBECONFIG, and a context in it with --context."
        ),
    )
}
