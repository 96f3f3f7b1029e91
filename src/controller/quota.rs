//! Who may use a backend, and how much of it: what its configuration says, and what is in it already.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::DynamicObject;

use super::Context;
use super::index::Place;
use crate::plan::observed::Terms;
use crate::plan::{Lineage, ids};
use crate::softdelete::{Kind, Record, RecordId, Subject, Uid};

/// Whether a namespace of that name, with these labels, may use it.
pub type Allows = Arc<dyn Fn(&str, &BTreeMap<String, String>) -> bool + Send + Sync>;

/// Live and deleted ones count.
#[derive(Clone)]
pub struct Quota {
    pub allows: Allows,
    pub max_hsms_per_namespace: Option<usize>,
    pub max_keys_per_hsm: Option<usize>,
}

impl Context {
    /// How many there may be where this record's object is, or wants to be.
    pub(super) fn most(&self, backend: &str, kind: Kind) -> Option<usize> {
        let quota = self.quotas.get(backend)?;
        match kind {
            Kind::Hsm => quota.max_hsms_per_namespace,
            Kind::Key => quota.max_keys_per_hsm,
        }
    }
}

/// A record's place, by whose limit it counts.
pub(super) fn place_of(backend: &str, record: &Record) -> Place {
    match &record.subject {
        Subject::Hsm { .. } => {
            Place::Namespace(backend.to_owned(), record.origin.namespace.clone())
        }
        Subject::Key { hsm, .. } => Place::Hsm(hsm.clone()),
    }
}

/// The backend as the lineage's object finds it.
pub(super) fn terms(
    context: &Context,
    lineage: &Lineage,
    backend: &str,
    hsm: Option<&RecordId>,
    object: Option<&DynamicObject>,
    namespace: Option<&DynamicObject>,
) -> Terms {
    let module = context.backends.get(backend);
    let place = match (lineage.kind, hsm) {
        (Kind::Hsm, _) => Some(Place::Namespace(
            backend.to_owned(),
            lineage.namespace.clone(),
        )),
        (Kind::Key, hsm) => hsm.cloned().map(Place::Hsm),
    };
    let uid = object.and_then(|found| found.metadata.uid.clone()).map(Uid);
    let own = uid.as_ref().map(ids::record_id).unwrap_or_default();
    let labels = namespace.and_then(|found| found.metadata.labels.clone());
    let quota = context.quotas.get(backend);
    let most = context.most(backend, lineage.kind);
    Terms {
        assurance: module.and_then(|module| module.assurance()),
        allowed: quota
            .is_none_or(|quota| (quota.allows)(&lineage.namespace, &labels.unwrap_or_default())),
        // Counted only where there is a limit: it takes a look at every record there.
        taken: place
            .filter(|_| most.is_some())
            .map_or(0, |place| context.index.taken(&place, &own)),
        most,
    }
}
