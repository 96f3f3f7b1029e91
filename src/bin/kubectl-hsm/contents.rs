//! What is in an HSM, live or deleted: what its recovery brings back, and what its purge destroys.

use kube::ResourceExt;
use kube::api::{Api, ListParams};
use managed_hsm_operator::api::HsmKey;
use managed_hsm_operator::softdelete::protection::{Protections, protector};
use managed_hsm_operator::softdelete::{Kind, Protector};

use crate::cluster::{Cluster, Seen, seen};
use crate::deleted::Deleted;
use crate::ending::Failure;

pub struct Contents {
    /// Their resources stand; those without material too.
    pub live: Seen<HsmKey>,
    /// Deleted on their own.
    pub deleted: Seen<Deleted>,
}

/// Looks into what is deleted: nothing is in a key.
pub async fn of(cluster: &Cluster, deleted: &Deleted) -> Result<Contents, Failure> {
    let origin = &deleted.origin;
    match deleted.kind {
        Kind::Key => Ok(Contents::none()),
        Kind::Hsm => {
            let id = Some(deleted.hsm_id.as_str());
            look(cluster, &origin.namespace, &origin.name, id).await
        }
    }
}

/// Looks into an HSM. `id` is the backend's, absent while it has none.
pub async fn look(
    cluster: &Cluster,
    namespace: &str,
    hsm: &str,
    id: Option<&str>,
) -> Result<Contents, Failure> {
    let keys: Api<HsmKey> = Api::namespaced(cluster.client.clone(), namespace);
    let live = keys.list(&ListParams::default()).await;
    let mut live = live.map(|found| found.items).map_err(Failure::from);
    if let Ok(keys) = &mut live {
        keys.retain(|key| belongs(key, hsm, id));
        keys.sort_by_key(ResourceExt::name_any);
    }
    let fields = format!("spec.origin.namespace={namespace},spec.hsm={hsm}");
    let mut deleted = cluster.deleted(Kind::Key, &fields).await;
    if let Ok(keys) = &mut deleted {
        keys.retain(|key| Some(key.hsm_id.as_str()) == id);
    }
    Ok(Contents {
        live: seen(live)?,
        deleted: seen(deleted)?,
    })
}

/// A later HSM of the same name has other keys; one without material has none in either yet.
fn belongs(key: &HsmKey, hsm: &str, id: Option<&str>) -> bool {
    let own = key
        .status
        .as_ref()
        .and_then(|status| status.hsm_id.as_deref());
    key.spec.hsm == hsm && (own.is_none() || own == id)
}

pub fn has_material(key: &HsmKey) -> bool {
    key.status
        .as_ref()
        .is_some_and(|status| !status.versions.is_empty())
}

impl Contents {
    /// Nothing is known to be in it.
    pub fn none() -> Self {
        Self {
            live: Seen::All(Vec::new()),
            deleted: Seen::All(Vec::new()),
        }
    }

    /// The live keys that have material.
    pub fn made(&self) -> impl Iterator<Item = &HsmKey> {
        self.live.items().iter().filter(|key| has_material(key))
    }

    /// What protects it, of what it is itself, the HSM around it, and what is in it (SD-14). Its proxy shows what holds for it, so a protection that none of these
    /// explains is one that the user may not see.
    pub fn protector(&self, of: &Deleted) -> Option<Protector> {
        let unexplained = of.kind == Kind::Hsm && of.protected();
        let own = of.own_protection.then_some(true);
        let around = (of.hsm.as_str(), of.status.purge_protection);
        let live = self
            .made()
            .map(|key| (key.name_any(), key.spec.purge_protection));
        let deleted = self.deleted.items().iter();
        let deleted = deleted.map(|key| (key.origin.name.clone(), key.own_protection));
        let keys: Vec<_> = live.chain(deleted).collect();
        protector(&Protections {
            own: own.or((!unexplained).then_some(false)),
            hsm: (of.kind == Kind::Key).then_some(around),
            keys: keys
                .iter()
                .map(|(name, on)| (name.as_str(), Some(*on)))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_key_of_a_later_hsm_of_that_name_does_not_belong() {
        let key = samples::key("signing");
        assert!(belongs(&key, "payments", Some("h-1")));
        assert!(!belongs(&key, "payments", Some("h-2")));
        assert!(!belongs(&key, "other", Some("h-1")));
        let mut waiting = key;
        waiting.status = None;
        assert!(belongs(&waiting, "payments", Some("h-1")));
        assert!(!has_material(&waiting));
    }

    #[test]
    fn sd14_what_protects_is_named() {
        let mut protected = samples::key("root-ca");
        protected.spec.purge_protection = true;
        let mut contents = Contents::none();
        let mut hsm = samples::deleted_hsm("payments");
        assert_eq!(contents.protector(&hsm), None);
        hsm.status.purge_protection = Some(true);
        assert_eq!(contents.protector(&hsm), Some(Protector::Unknown));
        contents.live = Seen::All(vec![protected]);
        assert_eq!(
            contents.protector(&hsm),
            Some(Protector::Key("root-ca".into()))
        );
        let mut key = samples::deleted_key("signing");
        key.status.purge_protection = Some(true);
        assert_eq!(
            Contents::none().protector(&key),
            Some(Protector::Hsm("payments".into()))
        );
        let mut unknown = key.clone();
        unknown.status.purge_protection = None;
        assert_eq!(
            Contents::none().protector(&unknown),
            Some(Protector::Unknown)
        );
        let mut free = key.clone();
        free.status.purge_protection = Some(false);
        assert_eq!(Contents::none().protector(&free), None);
        let mut own = key;
        own.own_protection = true;
        assert_eq!(Contents::none().protector(&own), Some(Protector::Itself));
    }
}
