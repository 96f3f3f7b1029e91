//! The live looks, each a GET or a LIST that a selector narrows.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use crate::api::{DeletedHsmKey, DeletedManagedHsm, HsmKey, ManagedHsm};
use crate::plan::observed::{Meta, Proxy, ProxySpec};
use crate::softdelete::names::proxy_name;
use crate::softdelete::recover::HsmNow;
use crate::softdelete::{Kind, Uid};

pub(super) type Found<T> = Result<T, kube::Error>;

/// Looks, and never writes.
pub(super) struct Look {
    client: Client,
}

/// A key's HSM.
pub(super) enum Around {
    Live(Box<ManagedHsm>),
    /// Its proxy stands.
    Deleted(Box<Proxy>),
    Absent,
}

impl Look {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    fn within<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// By the proxy's own name.
    pub(super) async fn proxy(&self, kind: Kind, name: &str) -> Found<Option<Proxy>> {
        Ok(match kind {
            Kind::Hsm => self.all().get_opt(name).await?.map(of_hsm),
            Kind::Key => self.all().get_opt(name).await?.map(of_key),
        })
    }

    async fn deleted_keys(&self, only: &str) -> Found<Vec<Proxy>> {
        let found = self.all().list(&ListParams::default().fields(only)).await?;
        Ok(found.items.into_iter().map(of_key).collect())
    }

    /// Each key of an HSM by name, live or deleted, and whether its own switch is on.
    pub(super) async fn keys_of(&self, namespace: &str, hsm: &str) -> Found<Vec<(String, bool)>> {
        let only = format!("spec.origin.namespace={namespace},spec.hsm={hsm}");
        let keys: Api<HsmKey> = self.within(namespace);
        let everything = ListParams::default();
        let (live, deleted) = tokio::try_join!(keys.list(&everything), self.deleted_keys(&only))?;
        let live = live.items.into_iter().filter(|key| key.spec.hsm == hsm);
        let live = live.map(|key| (key.name_any(), key.spec.purge_protection));
        let deleted = deleted.into_iter().map(|found| {
            let on = matches!(&found.spec, ProxySpec::Key(spec) if spec.purge_protection);
            (found.origin().name.clone(), on)
        });
        Ok(live.chain(deleted).collect())
    }

    pub(super) async fn around(&self, namespace: &str, hsm: &str) -> Found<Around> {
        let live: Option<ManagedHsm> = self.within(namespace).get_opt(hsm).await?;
        // One that terminates, or only waits for its name, is not the one that holds keys.
        let holds = |hsm: &ManagedHsm| hsm.metadata.deletion_timestamp.is_none();
        if let Some(live) = live.filter(holds)
            && live
                .status
                .as_ref()
                .is_some_and(|status| status.hsm_id.is_some())
        {
            return Ok(Around::Live(Box::new(live)));
        }
        let name = proxy_name(namespace, hsm);
        Ok(match self.proxy(Kind::Hsm, &name).await? {
            Some(found) => Around::Deleted(Box::new(found)),
            None => Around::Absent,
        })
    }

    pub(super) async fn namespace(&self, name: &str) -> Found<Option<(Uid, bool)>> {
        let found: Option<Namespace> = self.all().get_opt(name).await?;
        Ok(found.map(|found| {
            let terminating = found.metadata.deletion_timestamp.is_some();
            (Uid(found.uid().unwrap_or_default()), terminating)
        }))
    }

    /// The uid of what stands under that name, and whether it is about to go.
    pub(super) async fn object(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Found<Option<(Uid, bool)>> {
        let meta = match kind {
            Kind::Hsm => self
                .within::<ManagedHsm>(namespace)
                .get_opt(name)
                .await?
                .map(|found| found.metadata),
            Kind::Key => self
                .within::<HsmKey>(namespace)
                .get_opt(name)
                .await?
                .map(|found| found.metadata),
        };
        Ok(meta.map(|meta| {
            (
                Uid(meta.uid.unwrap_or_default()),
                meta.deletion_timestamp.is_some(),
            )
        }))
    }
}

impl Around {
    /// As a recovery or a purge in it sees it; absent is not known, since only the record tells.
    pub(super) fn now(&self, undeletable: bool) -> Option<HsmNow> {
        match self {
            Self::Live(_) => Some(HsmNow::Live),
            Self::Deleted(found) => Some(HsmNow::SoftDeleted {
                hsm: crate::plan::kept_by(Kind::Hsm, found, undeletable),
                recovering: found.status.phase.is_some(),
            }),
            Self::Absent => None,
        }
    }
}

fn of_hsm(found: DeletedManagedHsm) -> Proxy {
    Proxy {
        meta: meta(&found),
        spec: ProxySpec::Hsm(found.spec),
        status: found.status.unwrap_or_default(),
    }
}

fn of_key(found: DeletedHsmKey) -> Proxy {
    Proxy {
        meta: meta(&found),
        spec: ProxySpec::Key(found.spec),
        status: found.status.unwrap_or_default(),
    }
}

/// Nothing here is written, so that only the name matters.
fn meta(of: &impl kube::ResourceExt) -> Meta {
    Meta {
        name: of.name_any(),
        uid: Uid(of.uid().unwrap_or_default()),
        resource_version: of.resource_version().unwrap_or_default(),
        generation: 0,
        created: Default::default(),
        deleted: None,
        finalizers: Vec::new(),
    }
}
