//! The watches: each fills a cache and wakes the lineages that its events are about.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::api::{Api, DynamicObject};
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch::Receiver;

use super::cluster::{Caches, Watched};
use super::kept::{Kept, about, kept};
use super::{Context, convert};
use crate::plan::Lineage;
use crate::plan::observed::{NearObject, NearProxy};
use crate::softdelete::{Kind, RecordId};

/// The caches before they are filled.
pub struct Watches {
    writers: Vec<(Watched, Writer<Kept>)>,
}

/// Empty caches, and what fills them.
pub fn prepare() -> (Caches, Watches) {
    let mut caches = Caches::new();
    let mut writers = Vec::new();
    for of in Watched::ALL {
        let writer = Writer::new(of);
        caches.insert(of, writer.as_reader());
        writers.push((of, writer));
    }
    (caches, Watches { writers })
}

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Watches {
    /// One endless task for each kind; a watch that breaks is begun anew by itself.
    pub fn run(self, client: &Client, context: &Arc<Context>) -> Vec<(String, Task)> {
        self.writers
            .into_iter()
            .map(|(of, writer)| {
                (
                    format!("watch of {}", of.resource().plural),
                    watch(client.clone(), of, writer, Arc::clone(context)),
                )
            })
            .collect()
    }
}

fn watch(client: Client, of: Watched, writer: Writer<Kept>, context: Arc<Context>) -> Task {
    let all: Api<DynamicObject> = Api::all_with(client, &of.resource());
    let stream = in_each_life(context.etcd.lives(), move || {
        watcher(all.clone(), watcher::Config::default()).default_backoff()
    });
    Box::pin(async move {
        let mut events = std::pin::pin!(kept(of, writer, stream));
        let mut faces = Faces::default();
        while let Some(event) = events.next().await {
            let gone = matches!(event, Ok(watcher::Event::Delete(_)));
            match event {
                Ok(
                    watcher::Event::Apply(found)
                    | watcher::Event::InitApply(found)
                    | watcher::Event::Delete(found),
                ) => {
                    let version = found.metadata.resource_version.as_deref();
                    if let Some(version) = version.and_then(|version| version.parse().ok()) {
                        context.etcd.known_of(version);
                    }
                    wake(&context, of, &found);
                    if let Some(hsm) = hsm_of(of, &found)
                        && faces.turn(&hsm, of, &found, gone)
                    {
                        context.wake_keys_of(&hsm, &hsm_id(&context, &hsm));
                    }
                }
                Ok(watcher::Event::InitDone) => {}
                Ok(watcher::Event::Init) => {
                    faces = Faces::default();
                    context.etcd.ask();
                }
                Err(error) => {
                    context.etcd.ask();
                    tracing::warn!(kind = %of.resource().kind, %error, "the watch broke and begins anew")
                }
            }
        }
    })
}

/// One stream after the other: when etcd turns out to be put back, the one that goes on from a later version ends, and another lists everything anew.
fn in_each_life<S: Stream>(
    lives: Receiver<u64>,
    begin: impl Fn() -> S + Send,
) -> impl Stream<Item = S::Item> {
    let streams = stream::unfold((lives, begin), |(lives, begin)| async move {
        let mut ends = lives.clone();
        ends.mark_unchanged();
        let of_this_life = begin().take_until(async move {
            if ends.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        Some((of_this_life, (lives, begin)))
    });
    streams.flatten()
}

fn wake(context: &Context, of: Watched, found: &DynamicObject) {
    match of {
        Watched::Namespace => wake_namespace(context, &found.name_any()),
        Watched::Object(_) | Watched::Proxy(_) | Watched::Recover | Watched::Purge => {
            let own = about(of, found);
            let hsm = own
                .as_ref()
                .and_then(|own| hsm_in_flux(context, own, found));
            own.into_iter()
                .chain(hsm)
                .for_each(|lineage| context.waker.wake(lineage));
        }
    }
}

/// What an HSM's keys go by of its object or its proxy: they are woken when that changes, not by each count of them.
#[derive(Default)]
struct Faces(HashMap<Lineage, Face>);

#[derive(PartialEq, Eq)]
enum Face {
    Object(NearObject, Option<String>),
    Proxy(Option<NearProxy>),
}

impl Faces {
    /// Whether it shows another face than before.
    fn turn(&mut self, hsm: &Lineage, of: Watched, found: &DynamicObject, gone: bool) -> bool {
        if gone {
            self.0.remove(hsm);
            return true;
        }
        let face = match of {
            Watched::Proxy(kind) => Face::Proxy(convert::near_proxy(kind, found).ok()),
            _ => {
                let backend = found.data.pointer("/spec/backend");
                let backend = backend.and_then(|name| name.as_str()).map(str::to_owned);
                Face::Object(convert::near_object(found), backend)
            }
        };
        match self.0.get(hsm) {
            Some(before) if *before == face => false,
            _ => {
                self.0.insert(hsm.clone(), face);
                true
            }
        }
    }
}

/// The HSM whose object or proxy that is.
fn hsm_of(of: Watched, found: &DynamicObject) -> Option<Lineage> {
    let own = matches!(of, Watched::Object(Kind::Hsm) | Watched::Proxy(Kind::Hsm));
    own.then(|| about(of, found)).flatten()
}

/// The HSM of a key, if it waits for its keys.
fn hsm_in_flux(context: &Context, key: &Lineage, found: &DynamicObject) -> Option<Lineage> {
    let name = found.data.pointer("/spec/hsm")?.as_str()?;
    let hsm = Lineage::new(Kind::Hsm, key.namespace.clone(), name);
    context.waits_for_keys(&hsm).then_some(hsm)
}

fn hsm_id(context: &Context, hsm: &Lineage) -> RecordId {
    context
        .index
        .of_lineage(hsm)
        .into_iter()
        .find(|entry| !entry.held.is_final())
        .map(|entry| entry.held.id)
        .unwrap_or_default()
}

/// A namespace that comes back is what recoveries wait for.
fn wake_namespace(context: &Context, name: &str) {
    context
        .index
        .lineages()
        .into_iter()
        .filter(|lineage| lineage.namespace == name)
        .for_each(|lineage| context.waker.wake(lineage));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_hsms_keys_are_woken_by_what_they_go_by_and_not_by_each_count_of_them() {
        let of = Watched::Object(Kind::Hsm);
        let hsm = Lineage::new(Kind::Hsm, "shop", "safe");
        let with = |uid: &str, generation: u64, keys: u64| {
            let mut found = DynamicObject::new("safe", &of.resource()).within("shop");
            found.metadata.uid = Some(uid.to_owned());
            found.data = json!({"spec": {"backend": "default"},
                "status": {"recordGeneration": generation, "keys": keys}});
            found
        };
        let mut faces = Faces::default();
        let mut turns = |found: &DynamicObject, gone| faces.turn(&hsm, of, found, gone);
        assert!(turns(&with("one", 1, 0), false), "it is new");
        assert!(!turns(&with("one", 1, 7), false), "a count");
        assert!(turns(&with("one", 2, 7), false), "its record changed");
        let mut leaving = with("one", 2, 7);
        leaving.metadata.deletion_timestamp = Some(k8s_openapi::jiff::Timestamp::UNIX_EPOCH.into());
        assert!(turns(&leaving, false), "it terminates");
        assert!(turns(&leaving, true), "it is gone");
        assert!(turns(&with("one", 2, 7), false), "it was away");
        assert!(turns(&with("two", 2, 7), false), "another one");
    }
}
