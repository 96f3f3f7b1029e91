//! What a cache keeps of an object: its text, and what it is looked for by. A tree of JSON values takes ten times the room.

use std::borrow::Cow;

use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::reflector::{Lookup, store::Writer};
use kube::runtime::watcher::{self, Event};

use super::cluster::Watched;
use super::tally::{self, Mark};
use crate::plan::Lineage;
use crate::softdelete::{Kind, names};

#[derive(Clone)]
pub struct Kept {
    name: String,
    namespace: Option<String>,
    /// Whose object, proxy, Recover or Purge it is. None: a namespace, or nobody's.
    about: Option<Lineage>,
    /// Of a key, or its proxy: the HSM's name,
    hsm: Option<String>,
    /// and how the key is called in there, as it is compared (SD-17).
    key_name: Option<String>,
    /// What it counts as.
    mark: Option<Mark>,
    text: Box<[u8]>,
}

impl Kept {
    /// None: it could not be written as text, which no object that came as text can fail at.
    pub fn new(of: Watched, mut found: DynamicObject) -> Option<Self> {
        found.metadata.managed_fields = None;
        Some(Self {
            name: found.name_any(),
            namespace: found.metadata.namespace.clone(),
            about: about(of, &found),
            hsm: text(&found, "/spec/hsm").map(str::to_owned),
            key_name: key_name(of, &found),
            mark: tally::mark(of, &found),
            text: serde_json::to_vec(&found).ok()?.into_boxed_slice(),
        })
    }

    /// The object, without its managed fields.
    pub fn object(&self) -> Option<DynamicObject> {
        serde_json::from_slice(&self.text).ok()
    }

    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// It is that lineage's.
    pub fn is_about(&self, lineage: &Lineage) -> bool {
        self.about.as_ref() == Some(lineage)
    }

    /// It is a key that is, or wants to be, in that HSM, or the proxy of one that was.
    pub fn is_in(&self, hsm: &Lineage) -> bool {
        let namespace = self.about.as_ref().map(|key| &key.namespace);
        namespace == Some(&hsm.namespace) && self.hsm.as_ref() == Some(&hsm.name)
    }

    /// It is a key, or the proxy of one, of that name in that HSM.
    pub fn is_called(&self, hsm: &Lineage, key_name: &str) -> bool {
        self.is_in(hsm) && self.key_name.as_ref() == Some(&names::folded(key_name))
    }
}

impl Lookup for Kept {
    type DynamicType = Watched;

    fn kind(of: &Watched) -> Cow<'_, str> {
        Cow::Owned(of.resource().kind)
    }

    fn group(of: &Watched) -> Cow<'_, str> {
        Cow::Owned(of.resource().group)
    }

    fn version(of: &Watched) -> Cow<'_, str> {
        Cow::Owned(of.resource().version)
    }

    fn plural(of: &Watched) -> Cow<'_, str> {
        Cow::Owned(of.resource().plural)
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.name))
    }

    fn namespace(&self) -> Option<Cow<'_, str>> {
        self.namespace.as_deref().map(Cow::Borrowed)
    }

    /// The text has it.
    fn resource_version(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// The text has it.
    fn uid(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// The same stream, whose events a cache is filled from.
pub fn kept<S>(of: Watched, mut writer: Writer<Kept>, stream: S) -> impl Stream<Item = S::Item>
where
    S: Stream<Item = watcher::Result<Event<DynamicObject>>>,
{
    stream.inspect(move |event| {
        if let Some(taken) = event.as_ref().ok().and_then(|event| taken(of, event)) {
            writer.apply_watcher_event(&taken);
        }
    })
}

fn taken(of: Watched, event: &Event<DynamicObject>) -> Option<Event<Kept>> {
    let kept = |found: &DynamicObject| Kept::new(of, found.clone());
    Some(match event {
        Event::Apply(found) => Event::Apply(kept(found)?),
        Event::Delete(found) => Event::Delete(kept(found)?),
        Event::Init => Event::Init,
        Event::InitApply(found) => Event::InitApply(kept(found)?),
        Event::InitDone => Event::InitDone,
    })
}

/// Which lineage an object is about.
pub fn about(of: Watched, found: &DynamicObject) -> Option<Lineage> {
    let namespace = || found.metadata.namespace.clone();
    match of {
        Watched::Object(kind) => Some(Lineage::new(kind, namespace()?, found.name_any())),
        Watched::Proxy(kind) => split(kind, &found.name_any()),
        Watched::Recover => Some(Lineage::new(
            kind_of(text(found, "/spec/kind")?)?,
            namespace()?,
            text(found, "/spec/name")?,
        )),
        Watched::Purge => split(
            kind_of(text(found, "/spec/kind")?)?,
            text(found, "/spec/name")?,
        ),
        Watched::Namespace => None,
    }
}

fn key_name(of: Watched, found: &DynamicObject) -> Option<String> {
    let said = text(found, "/spec/keyName");
    match of {
        Watched::Object(Kind::Key) => Some(names::folded(names::key_name(said, &found.name_any()))),
        Watched::Proxy(Kind::Key) => said.map(names::folded),
        _ => None,
    }
}

fn text<'a>(of: &'a DynamicObject, path: &str) -> Option<&'a str> {
    of.data.pointer(path).and_then(|value| value.as_str())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(object: serde_json::Value) -> DynamicObject {
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn what_is_kept_is_all_but_the_managed_fields_and_is_found_by_what_it_is_about() {
        let of = Watched::Proxy(Kind::Key);
        let proxy = found(json!({
            "apiVersion": "managedhsm.dev/v1alpha1", "kind": "DeletedHsmKey",
            "metadata": {"name": "shop.signing", "uid": "p-1", "resourceVersion": "7", "creationTimestamp": "2026-03-01T12:00:00Z",
                "annotations": {"a": "b"}, "managedFields": [{"manager": "someone"}]},
            "spec": {"hsm": "safe", "snapshot": {"spec": {"hsm": "safe"}}}, "status": {"recordGeneration": 4}}));
        let kept = Kept::new(of, proxy.clone()).expect("kept");
        let bare = {
            let mut bare = proxy;
            bare.metadata.managed_fields = None;
            bare
        };
        assert_eq!(kept.object(), Some(bare));
        assert!(kept.is_about(&Lineage::new(Kind::Key, "shop", "signing")));
        assert!(!kept.is_about(&Lineage::new(Kind::Hsm, "shop", "signing")));
        assert!(kept.is_in(&Lineage::new(Kind::Hsm, "shop", "safe")));
        assert!(!kept.is_in(&Lineage::new(Kind::Hsm, "bank", "safe")));
    }

    #[test]
    fn a_key_is_called_by_its_key_name_else_by_its_own_whatever_the_case() {
        let safe = Lineage::new(Kind::Hsm, "shop", "safe");
        let key = |spec| {
            let key =
                found(json!({"metadata": {"name": "two", "namespace": "shop"}, "spec": spec}));
            Kept::new(Watched::Object(Kind::Key), key).expect("kept")
        };
        let named = key(json!({"hsm": "safe", "keyName": "sIGNING"}));
        assert!(named.is_called(&safe, "Signing"));
        assert!(!named.is_called(&safe, "two"));
        assert!(key(json!({"hsm": "safe"})).is_called(&safe, "TWO"));
        assert!(!key(json!({"hsm": "other"})).is_called(&safe, "two"));
    }

    #[test]
    fn a_recover_is_about_what_it_names_in_its_namespace_and_a_purge_about_its_proxys_origin() {
        let lineage = Lineage::new(Kind::Hsm, "shop", "safe");
        let recover = json!({"metadata": {"name": "r", "namespace": "shop"},
            "spec": {"kind": "ManagedHsm", "name": "safe"}});
        assert_eq!(
            about(Watched::Recover, &found(recover)),
            Some(lineage.clone())
        );
        let purge = json!({"metadata": {"name": "p"},
            "spec": {"kind": "DeletedManagedHsm", "name": "shop.safe"}});
        assert_eq!(about(Watched::Purge, &found(purge)), Some(lineage));
        let nonsense = json!({"metadata": {"name": "p"}, "spec": {"kind": "Pod", "name": "x"}});
        assert_eq!(about(Watched::Purge, &found(nonsense)), None);
    }
}
