//! The other life: an HSM with two keys, of which one is deleted on its own; all come back with the HSM, and then all are purged with it.

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::plan::Lineage;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};

use super::{HSM, KEY, Life, named, recover_name};
use crate::user::{is, material};

/// The second key, a symmetric one.
pub const OTHER: &str = "wrapping";

/// Which life is lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// Made, deleted and recovered: [`Life::whole`].
    Back,
    /// Deleted, recovered and purged: [`Life::to_its_end`].
    End,
}

impl Life {
    pub async fn play(&self, plot: Plot) -> Value {
        match plot {
            Plot::Back => self.whole().await,
            Plot::End => self.to_its_end().await,
        }
    }

    pub async fn picture_of(&self, plot: Plot) -> Value {
        match plot {
            Plot::Back => self.picture().await,
            Plot::End => self.last_picture().await,
        }
    }

    pub fn lineages(&self, plot: Plot) -> Vec<Lineage> {
        let other = Lineage::new(Kind::Key, self.namespace.clone(), OTHER);
        let more = (plot == Plot::End).then_some(other);
        let first = [Kind::Hsm, Kind::Key].map(|kind| self.lineage(kind));
        first.into_iter().chain(more).collect()
    }

    /// Answers what is left of it.
    pub async fn to_its_end(&self) -> Value {
        self.create().await;
        let spec = json!({"hsm": HSM, "keyType": "oct", "keySize": 256});
        let keys = Watched::Object(Kind::Key);
        self.user().create(keys, OTHER, json!({"spec": spec})).await;
        self.user().ready(Kind::Key, OTHER).await;
        let made = self.versions_shown().await;

        self.delete(Kind::Key).await;
        let uid = self.delete(Kind::Hsm).await;
        let back = json!({"kind": "ManagedHsm", "name": HSM, "uid": uid, "includeKeys": "All"});
        self.user()
            .create(
                Watched::Recover,
                &recover_name(Kind::Hsm),
                json!({"spec": back}),
            )
            .await;
        self.recovered(Kind::Hsm).await;
        self.user().ready(Kind::Key, KEY).await;
        let proxy = self.proxy_name(Kind::Key);
        self.gone(Watched::Proxy(Kind::Key), &proxy).await;
        self.user().ready(Kind::Key, OTHER).await;
        let namespace = &self.namespace;
        let now = self.versions_shown().await;
        assert_eq!(now, made, "{namespace}: the same material");

        let uid = self.delete(Kind::Hsm).await;
        let proxy = self.proxy_name(Kind::Hsm);
        let purge =
            json!({"kind": "DeletedManagedHsm", "name": proxy, "uid": uid, "requestedBy": "ann"});
        self.user()
            .create(Watched::Purge, &self.purge_name(), json!({"spec": purge}))
            .await;
        self.until("complete", Watched::Purge, &self.purge_name(), |found| {
            found.is_some_and(|found| is(found, "Complete"))
        })
        .await;
        self.gone(Watched::Proxy(Kind::Hsm), &proxy).await;
        for name in [KEY, OTHER] {
            let told = |found: Option<&kube::api::DynamicObject>| {
                let ready = found.and_then(|found| crate::operator::condition(found, "Ready"));
                ready.is_some_and(|(_, reason, _)| reason == "MaterialDestroyed")
            };
            self.until("told so", keys, name, told).await;
            self.user().delete(keys, name).await;
            self.gone(keys, name).await;
        }
        self.last_picture().await
    }

    /// What the statuses say of the keys' material, and what it is where it can be seen.
    async fn versions_shown(&self) -> impl PartialEq + std::fmt::Debug {
        let mut shown = Vec::new();
        for name in [KEY, OTHER] {
            let found = self.api(Watched::Object(Kind::Key)).get(name).await;
            let versions = material(&found.expect("it is there"));
            assert_eq!(versions.len(), 1, "{name}");
            shown.push(versions);
        }
        (shown, self.identities())
    }

    fn purge_name(&self) -> String {
        format!("{}.end", self.namespace)
    }

    async fn last_picture(&self) -> Value {
        let purge = self.api(Watched::Purge).get(&self.purge_name()).await;
        let mut purge = purge.expect("the Purge stays");
        let items = purge.data.pointer_mut("/status/destroyed/items");
        // By their ids, which are each life's own.
        if let Some(items) = items.and_then(Value::as_array_mut) {
            items.sort_by_key(|item| item["type"].to_string());
        }
        let mut left = Vec::new();
        for (of, name) in [
            (Watched::Object(Kind::Hsm), HSM.to_owned()),
            (Watched::Proxy(Kind::Hsm), self.proxy_name(Kind::Hsm)),
            (Watched::Proxy(Kind::Key), self.proxy_name(Kind::Key)),
            (Watched::Proxy(Kind::Key), self.proxy_of(OTHER)),
        ] {
            let found = self.api(of).get_opt(&name).await.expect("a GET");
            left.extend(found.map(|found| found.data));
        }
        let purged = purge.data["spec"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut names = self.own_names();
        names.push(("the purged HSM".to_owned(), purged.clone()));
        for (_, record) in self.records() {
            let name = &record.origin.name;
            let before = record.recovered_from.clone().unwrap_or_default();
            names.push((format!("the last {name}"), record.origin.uid.0.clone()));
            names.push((format!("the {name} before"), before.0));
        }
        names.push(("the namespace".to_owned(), self.namespace.clone()));
        let mut records = self.pictured_records();
        // Many purges are asked for in the same moment: one that finds no slot at its second look turns back, one record up, and goes on after it.
        for record in records.as_array_mut().into_iter().flatten() {
            record["generation"].take();
        }
        // The Purge shows which one that came to be.
        let shown = purge.data["status"]["recordGeneration"].take();
        let mut tombstones = self.records().into_iter();
        let tombstone = tombstones.find(|(_, record)| record.origin.uid.0 == purged);
        assert_eq!(shown.as_u64(), tombstone.map(|(generation, _)| generation));
        let picture = json!({
            "purge": {"spec": purge.data["spec"], "status": purge.data["status"]},
            "left": left, "records": records, "objects": self.pictured_objects(),
        });
        named(picture, &names)
    }
}
