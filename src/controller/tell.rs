//! Events (SD-35): told after the effect that they are about, on the object it happened to.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use super::cluster::Watched;
use crate::api;
use crate::metrics::Metrics;
use crate::plan::Observed;
use crate::plan::observed::Meta;
use crate::plan::step::{Tell, Whom};

/// The API server takes no longer note.
const LONGEST_NOTE: usize = 1024;

/// The one Recorder, shared so that repeated Events are counted instead of piling up.
pub struct Teller {
    recorder: Recorder,
    metrics: Arc<Metrics>,
}

impl Teller {
    pub fn new(client: Client, instance: String, metrics: Arc<Metrics>) -> Self {
        let reporter = Reporter {
            controller: api::MANAGER.to_owned(),
            instance: Some(instance),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            metrics,
        }
    }

    /// An Event that could not be written is logged and forgotten: it holds up nothing.
    pub async fn tell(&self, seen: &Observed, tells: &[Tell]) {
        for told in tells {
            tracing::info!(lineage = %seen.lineage, reason = told.reason, note = %told.note, "told");
            self.metrics.told(seen.lineage.kind.object(), told.reason);
            let Some(reference) = reference(seen, &told.whom) else {
                continue;
            };
            let type_ = if told.warning {
                EventType::Warning
            } else {
                EventType::Normal
            };
            self.publish(type_, told.reason, &told.note, &reference)
                .await;
        }
    }

    /// Of the operator as a whole.
    pub async fn warn(&self, about: &ObjectReference, reason: &'static str, note: &str) {
        tracing::warn!(reason, note, "told");
        self.publish(EventType::Warning, reason, note, about).await;
    }

    async fn publish(
        &self,
        type_: EventType,
        reason: &'static str,
        note: &str,
        about: &ObjectReference,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(cut(note)),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(name = about.name, %error, "the Event could not be written");
        }
    }
}

/// What does not fit is still in the log.
fn cut(note: &str) -> String {
    const MORE: &str = " …";
    if note.len() <= LONGEST_NOTE {
        return note.to_owned();
    }
    let end = note.floor_char_boundary(LONGEST_NOTE - MORE.len());
    format!("{}{MORE}", &note[..end])
}

/// On the object where there is one, else on its proxy; nothing where neither is there (any more).
fn reference(seen: &Observed, whom: &Whom) -> Option<ObjectReference> {
    let lineage = &seen.lineage;
    let object = || {
        seen.object.as_ref().map(|found| {
            refer(
                Watched::Object(lineage.kind),
                &found.meta,
                Some(&lineage.namespace),
            )
        })
    };
    let proxy = || {
        seen.proxy
            .as_ref()
            .map(|found| refer(Watched::Proxy(lineage.kind), &found.meta, None))
    };
    match whom {
        Whom::Object => object().or_else(proxy),
        Whom::Proxy => proxy().or_else(object),
        Whom::Recover(name) => seen
            .recovers
            .iter()
            .find(|recover| recover.meta.name == *name)
            .map(|recover| refer(Watched::Recover, &recover.meta, Some(&lineage.namespace))),
        Whom::Purge(name) => seen
            .purges
            .iter()
            .find(|purge| purge.meta.name == *name)
            .map(|purge| refer(Watched::Purge, &purge.meta, None)),
    }
}

fn refer(of: Watched, meta: &Meta, namespace: Option<&str>) -> ObjectReference {
    let resource = of.resource();
    ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(resource.kind),
        name: Some(meta.name.clone()),
        namespace: namespace.map(str::to_owned),
        uid: Some(meta.uid.0.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_as_long_as_the_api_server_takes_it() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"ü".repeat(1000));
        assert!(
            long.len() <= LONGEST_NOTE && long.ends_with("ü …"),
            "{long}"
        );
    }
}
