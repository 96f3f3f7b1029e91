//! The cluster as the controller sees it: live, by GET, or from the caches that the watches fill.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource};

use super::joined::joined;
use super::kept::{self, Kept};
use super::tally::Mark;
use crate::api;
use crate::plan::Lineage;
use crate::softdelete::Kind;

/// Where a look takes the cluster's side from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A hint that may be old: good enough to find that there is nothing to do.
    Cache,
    /// A GET each: what a protocol goes by.
    Live,
}

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    Object(Kind),
    Proxy(Kind),
    Recover,
    Purge,
    Namespace,
}

impl Watched {
    pub const ALL: [Self; 7] = [
        Self::Object(Kind::Hsm),
        Self::Object(Kind::Key),
        Self::Proxy(Kind::Hsm),
        Self::Proxy(Kind::Key),
        Self::Recover,
        Self::Purge,
        Self::Namespace,
    ];

    pub fn resource(self) -> ApiResource {
        match self {
            Self::Object(Kind::Hsm) => ApiResource::erase::<api::ManagedHsm>(&()),
            Self::Object(Kind::Key) => ApiResource::erase::<api::HsmKey>(&()),
            Self::Proxy(Kind::Hsm) => ApiResource::erase::<api::DeletedManagedHsm>(&()),
            Self::Proxy(Kind::Key) => ApiResource::erase::<api::DeletedHsmKey>(&()),
            Self::Recover => ApiResource::erase::<api::Recover>(&()),
            Self::Purge => ApiResource::erase::<api::Purge>(&()),
            Self::Namespace => ApiResource::erase::<Namespace>(&()),
        }
    }
}

pub type Caches = HashMap<Watched, Store<Kept>>;

#[derive(Clone)]
pub struct Cluster {
    /// Equal reads through it that are asked for at the same time are one request.
    pub client: Client,
    writer: Client,
    caches: Caches,
}

impl Cluster {
    pub fn new(client: Client, caches: Caches) -> Self {
        Self {
            client: joined(client.clone()),
            writer: client,
            caches,
        }
    }

    /// What writes through another client, by which a write is tried once.
    pub fn with_writer(self, writer: Client) -> Self {
        Self { writer, ..self }
    }

    /// What is written through it is tried once: by us again after another look, if need be.
    pub fn writing(&self) -> Self {
        Self {
            client: self.writer.clone(),
            ..self.clone()
        }
    }

    /// The API of a namespaced kind in one namespace.
    pub fn namespaced(&self, of: Watched, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &of.resource())
    }

    /// The API of a cluster-scoped kind.
    pub fn global(&self, of: Watched) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &of.resource())
    }

    pub fn objects(&self, lineage: &Lineage) -> Api<DynamicObject> {
        self.namespaced(Watched::Object(lineage.kind), &lineage.namespace)
    }

    pub fn proxies(&self, kind: Kind) -> Api<DynamicObject> {
        self.global(Watched::Proxy(kind))
    }

    pub async fn object(
        &self,
        source: Source,
        lineage: &Lineage,
    ) -> Result<Option<DynamicObject>, kube::Error> {
        match source {
            Source::Cache => Ok(self.cached_object(lineage)),
            Source::Live => self.objects(lineage).get_opt(&lineage.name).await,
        }
    }

    pub async fn proxy(
        &self,
        source: Source,
        lineage: &Lineage,
    ) -> Result<Option<DynamicObject>, kube::Error> {
        let name = crate::softdelete::names::proxy_name(&lineage.namespace, &lineage.name);
        match source {
            Source::Cache => Ok(self.cached_proxy(lineage)),
            Source::Live => self.proxies(lineage.kind).get_opt(&name).await,
        }
    }

    pub async fn namespace(
        &self,
        source: Source,
        name: &str,
    ) -> Result<Option<DynamicObject>, kube::Error> {
        match source {
            Source::Cache => Ok(self.cached(Watched::Namespace, None, name)),
            Source::Live => self.global(Watched::Namespace).get_opt(name).await,
        }
    }

    /// The proxies of one HSM's keys.
    pub async fn key_proxies(
        &self,
        source: Source,
        hsm: &Lineage,
    ) -> Result<Vec<DynamicObject>, kube::Error> {
        let of = Watched::Proxy(Kind::Key);
        match source {
            Source::Cache => Ok(self.list(of, |kept| kept.is_in(hsm))),
            Source::Live => {
                let its = format!(
                    "spec.origin.namespace={},spec.hsm={}",
                    hsm.namespace, hsm.name
                );
                listed(&self.global(of), &ListParams::default().fields(&its)).await
            }
        }
    }

    /// The HsmKeys that are, or want to be, in one HSM.
    pub async fn keys(
        &self,
        source: Source,
        hsm: &Lineage,
    ) -> Result<Vec<DynamicObject>, kube::Error> {
        if source == Source::Cache {
            return Ok(self.list(Watched::Object(Kind::Key), |kept| kept.is_in(hsm)));
        }
        let keys = self.namespaced(Watched::Object(Kind::Key), &hsm.namespace);
        let all = listed(&keys, &ListParams::default()).await?;
        Ok(all.into_iter().filter(|found| is_in(found, hsm)).collect())
    }

    /// The Recovers that name what stood under that name.
    pub async fn recovers(
        &self,
        source: Source,
        lineage: &Lineage,
    ) -> Result<Vec<DynamicObject>, kube::Error> {
        let api = self.namespaced(Watched::Recover, &lineage.namespace);
        self.naming(source, Watched::Recover, &api, &lineage.name, lineage)
            .await
    }

    /// The Purges that name its proxy.
    pub async fn purges(
        &self,
        source: Source,
        lineage: &Lineage,
    ) -> Result<Vec<DynamicObject>, kube::Error> {
        let proxy = crate::softdelete::names::proxy_name(&lineage.namespace, &lineage.name);
        let api = self.global(Watched::Purge);
        self.naming(source, Watched::Purge, &api, &proxy, lineage)
            .await
    }

    async fn naming(
        &self,
        source: Source,
        of: Watched,
        api: &Api<DynamicObject>,
        name: &str,
        lineage: &Lineage,
    ) -> Result<Vec<DynamicObject>, kube::Error> {
        match source {
            Source::Cache => Ok(self.list(of, |kept| kept.is_about(lineage))),
            Source::Live => {
                let params = ListParams::default().fields(&format!("spec.name={name}"));
                let mut all = listed(api, &params).await?;
                all.retain(|found| kept::about(of, found).as_ref() == Some(lineage));
                Ok(all)
            }
        }
    }

    /// Whether absence of that kind means anything: its definition is there and stays. A definition that terminates has its objects swept, and a NotFound looks
    /// like any other.
    pub async fn definition_stays(&self, of: Watched) -> Result<bool, kube::Error> {
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        let Some(found) = definitions.get_opt(&definition_name(of)).await? else {
            return Ok(false);
        };
        let conditions = found.status.and_then(|status| status.conditions);
        let is = |kind: &str| {
            let mut all = conditions.iter().flatten();
            all.any(|condition| condition.type_ == kind && condition.status == "True")
        };
        Ok(found.metadata.deletion_timestamp.is_none() && is("Established") && !is("Terminating"))
    }

    /// Whether the kind's definition is there and nobody deletes it; of a definition the metadata is a thousandth.
    pub async fn definition_kept(&self, of: Watched) -> Result<bool, kube::Error> {
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        let found = definitions.get_metadata_opt(&definition_name(of)).await?;
        Ok(found.is_some_and(|found| found.metadata.deletion_timestamp.is_none()))
    }

    /// The cluster's present resourceVersion: a list of next to nothing, read from etcd itself. None: it is no number.
    pub async fn revision(&self) -> Result<Option<u64>, kube::Error> {
        let one = kube::api::ListParams::default().limit(1);
        let list = self.global(Watched::Namespace).list(&one).await?;
        Ok(list
            .metadata
            .resource_version
            .and_then(|version| version.parse().ok()))
    }

    pub fn cached_object(&self, lineage: &Lineage) -> Option<DynamicObject> {
        let (of, namespace) = (Watched::Object(lineage.kind), &lineage.namespace);
        self.cached(of, Some(namespace), &lineage.name)
    }

    pub fn cached_proxy(&self, lineage: &Lineage) -> Option<DynamicObject> {
        let name = crate::softdelete::names::proxy_name(&lineage.namespace, &lineage.name);
        self.cached(Watched::Proxy(lineage.kind), None, &name)
    }

    pub fn cached(
        &self,
        of: Watched,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<DynamicObject> {
        let mut wanted = ObjectRef::<Kept>::new_with(name, of);
        wanted.namespace = namespace.map(str::to_owned);
        self.caches.get(&of)?.get(&wanted)?.object()
    }

    /// Everything of that kind that the cache has and `wanted` takes.
    pub fn list(&self, of: Watched, wanted: impl Fn(&Kept) -> bool) -> Vec<DynamicObject> {
        let kept = self.caches.get(&of).map(Store::state).unwrap_or_default();
        kept.iter()
            .filter(|kept| wanted(kept))
            .filter_map(|kept| kept.object())
            .collect()
    }

    /// What everything of that kind counts as.
    pub fn marks(&self, of: Watched) -> Vec<Mark> {
        let kept = self.caches.get(&of).map(Store::state).unwrap_or_default();
        kept.iter().filter_map(|kept| kept.mark()).collect()
    }
}

pub fn definition_name(of: Watched) -> String {
    let resource = of.resource();
    format!("{}.{}", resource.plural, resource.group)
}

fn is_in(key: &DynamicObject, hsm: &Lineage) -> bool {
    key.metadata.namespace.as_ref() == Some(&hsm.namespace)
        && text(key, "/spec/hsm") == Some(&hsm.name)
}

async fn listed(
    api: &Api<DynamicObject>,
    params: &ListParams,
) -> Result<Vec<DynamicObject>, kube::Error> {
    Ok(api.list(params).await?.items)
}

fn text<'a>(of: &'a DynamicObject, path: &str) -> Option<&'a str> {
    of.data.pointer(path).and_then(|value| value.as_str())
}

/// The uid of kube-system, which names the cluster.
pub async fn id(client: &Client) -> Result<Option<String>, kube::Error> {
    let namespaces = Api::<Namespace>::all(client.clone());
    Ok(namespaces
        .get_opt("kube-system")
        .await?
        .and_then(|found| found.meta().uid.clone()))
}
