//! What is in an HSM, live or deleted: what its recovery brings back, and what its purge destroys.

use kube::ResourceExt;
use kube::api::{Api, ListParams};
use managed_hsm_operator::api::HsmKey;
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

    /// What protects it, of what it is itself, the HSM around it, and what is in it (SD-14).
    pub fn protector(&self, of: &Deleted) -> Protector {
        let live = self
            .made()
            .find(|key| key.spec.purge_protection)
            .map(ResourceExt::name_any);
        let deleted = self.deleted.items().iter().find(|key| key.own_protection);
        match (of.own_protection, of.kind) {
            (true, _) => Protector::Itself,
            (false, Kind::Key) if of.status.purge_protection.is_some() => {
                Protector::Hsm(of.hsm.clone())
            }
            (false, _) => live
                .or_else(|| deleted.map(|key| key.origin.name.clone()))
                .map_or(Protector::Unknown, Protector::Key),
        }
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
        let hsm = samples::deleted_hsm("payments");
        assert_eq!(contents.protector(&hsm), Protector::Unknown);
        contents.live = Seen::All(vec![protected]);
        assert_eq!(contents.protector(&hsm), Protector::Key("root-ca".into()));
        let key = samples::deleted_key("signing");
        assert_eq!(
            Contents::none().protector(&key),
            Protector::Hsm("payments".into())
        );
        let mut own = key;
        own.own_protection = true;
        assert_eq!(Contents::none().protector(&own), Protector::Itself);
    }
}
