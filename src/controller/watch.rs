//! The watches: each fills a cache and wakes the lineages that its events are about.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::api::{Api, DynamicObject};
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch::Receiver;

use super::Context;
use super::cluster::{Caches, Watched};
use crate::plan::Lineage;
use crate::softdelete::{Kind, RecordId};

/// The caches before they are filled.
pub struct Watches {
    writers: Vec<(Watched, Writer<DynamicObject>)>,
}

/// Empty caches, and what fills them.
pub fn prepare() -> (Caches, Watches) {
    let mut caches = Caches::new();
    let mut writers = Vec::new();
    for of in Watched::ALL {
        let writer = Writer::new(of.resource());
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

fn watch(
    client: Client,
    of: Watched,
    writer: Writer<DynamicObject>,
    context: Arc<Context>,
) -> Task {
    let all: Api<DynamicObject> = Api::all_with(client, &of.resource());
    let stream = in_each_life(context.etcd.lives(), move || {
        watcher(all.clone(), watcher::Config::default())
            .default_backoff()
            .modify(|found| found.metadata.managed_fields = None)
    });
    Box::pin(async move {
        let mut events = std::pin::pin!(reflector::reflector(writer, stream));
        while let Some(event) = events.next().await {
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
                }
                Ok(watcher::Event::InitDone) => {}
                Ok(watcher::Event::Init) => context.etcd.ask(),
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
        Watched::Object(Kind::Hsm) => {
            let hsm = Lineage::new(
                Kind::Hsm,
                found.namespace().unwrap_or_default(),
                found.name_any(),
            );
            wake_hsm_and_keys(context, hsm);
        }
        Watched::Proxy(Kind::Hsm) => {
            if let Some(hsm) = lineage(of, found) {
                wake_hsm_and_keys(context, hsm);
            }
        }
        Watched::Object(_) | Watched::Proxy(_) | Watched::Recover | Watched::Purge => {
            let own = lineage(of, found);
            let hsm = own
                .as_ref()
                .and_then(|own| hsm_in_flux(context, own, found));
            own.into_iter()
                .chain(hsm)
                .for_each(|lineage| context.waker.wake(lineage));
        }
    }
}

/// Its keys share its fate, and go by its proxy too.
fn wake_hsm_and_keys(context: &Context, hsm: Lineage) {
    context.wake_keys_of(&hsm, &hsm_id(context, &hsm));
    context.waker.wake(hsm);
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

/// Which lineage an object is about.
fn lineage(of: Watched, found: &DynamicObject) -> Option<Lineage> {
    let text = |path: &str| found.data.pointer(path).and_then(|value| value.as_str());
    match of {
        Watched::Object(kind) => Some(Lineage::new(kind, found.namespace()?, found.name_any())),
        Watched::Proxy(kind) => split(kind, &found.name_any()),
        Watched::Recover => Some(Lineage::new(
            kind_of(text("/spec/kind")?)?,
            found.namespace()?,
            text("/spec/name")?,
        )),
        Watched::Purge => split(kind_of(text("/spec/kind")?)?, text("/spec/name")?),
        Watched::Namespace => None,
    }
}

fn split(kind: Kind, proxy: &str) -> Option<Lineage> {
    proxy
        .split_once('.')
        .map(|(namespace, name)| Lineage::new(kind, namespace, name))
}

fn kind_of(text: &str) -> Option<Kind> {
    [Kind::Hsm, Kind::Key]
        .into_iter()
        .find(|kind| text == kind.object() || text == kind.proxy())
}
