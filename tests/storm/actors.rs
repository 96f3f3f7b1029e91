//! Who makes the storm. Each actor has one key, or one HSM with the keys in it, and does one thing after the other: what the API
//! server took is waited for, however often the operator dies meanwhile. So each knows at the end where its own must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::api::DynamicObject;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::operator::condition;
use crate::user::{User, is, material, uid};

pub const HSM: &str = "safe";

/// What all actors go by.
#[derive(Clone)]
pub struct Weather {
    /// No kills any more: whoever is through with what he does begins nothing new.
    pub over: Arc<AtomicBool>,
    pub seed: u64,
}

impl Weather {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The same for the same seed and name.
    pub fn chance(&self, name: &str) -> StdRng {
        let mixed = name.bytes().fold(self.seed, |so_far, byte| {
            so_far.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        StdRng::seed_from_u64(mixed)
    }
}

/// An object, and where it must be found.
#[derive(Clone)]
pub struct Owned {
    pub user: User,
    pub kind: Kind,
    pub name: String,
    spec: Value,
    pub place: Place,
    /// Of a key: ids, public halves, fingerprints, as they were shown first.
    pub versions: Vec<[Value; 4]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Live {
        uid: String,
    },
    Deleted {
        uid: String,
        scheduled: DateTime<Utc>,
    },
    /// Purged, and nothing is left but the receipt.
    Gone,
}

fn key_spec(number: usize) -> Value {
    match number % 3 {
        0 => json!({"hsm": HSM, "keyType": "oct", "keySize": 256}),
        1 => json!({"hsm": HSM, "keyType": "EC", "curve": "P-384"}),
        // Its retention may end within the storm.
        _ => json!({"hsm": HSM, "keyType": "EC", "curve": "P-256", "retentionDays": 7}),
    }
}

impl Owned {
    pub async fn hsm(user: &User) -> Self {
        Self::made(user, Kind::Hsm, HSM.to_owned(), json!({})).await
    }

    pub async fn key(user: &User, number: usize) -> Self {
        let name = format!("key-{number}");
        Self::made(user, Kind::Key, name, key_spec(number)).await
    }

    async fn made(user: &User, kind: Kind, name: String, spec: Value) -> Self {
        let place = Place::Live { uid: String::new() };
        let mut owned = Self {
            user: user.clone(),
            kind,
            name,
            spec,
            place,
            versions: Vec::new(),
        };
        owned.create().await;
        owned
    }

    fn title(&self) -> String {
        format!("{}/{}", self.user.namespace, self.name)
    }

    fn of(&self) -> Watched {
        Watched::Object(self.kind)
    }

    async fn create(&mut self) {
        let data = json!({"spec": self.spec});
        self.user.create(self.of(), &self.name, data).await;
        let made = self.user.ready(self.kind, &self.name).await;
        let former = std::mem::replace(&mut self.versions, material(&made));
        assert_eq!(self.versions.is_empty(), self.kind == Kind::Hsm);
        let again = self
            .versions
            .iter()
            .any(|[id, ..]| former.iter().any(|[one, ..]| one == id));
        assert!(!again, "{}: an id is used again", self.title());
        self.place = Place::Live { uid: uid(&made) };
    }

    fn is_short(&self) -> bool {
        self.spec["retentionDays"] == 7
    }

    async fn delete(&mut self) {
        let Place::Live { uid } = self.place.clone() else {
            panic!("{} is deleted already", self.title());
        };
        self.user.delete(self.of(), &self.name).await;
        self.is_kept(uid).await;
    }

    async fn is_kept(&mut self, uid: String) {
        let proxy = self.user.deleted(self.kind, &self.name, &uid).await;
        let scheduled = date(&proxy.data["spec"]["scheduledPurgeTime"]);
        self.place = Place::Deleted { uid, scheduled };
    }

    fn deleted_uid(&self) -> String {
        match &self.place {
            Place::Deleted { uid, .. } => uid.clone(),
            other => panic!("{} is {other:?}", self.title()),
        }
    }

    /// By a Recover, with more fields of its spec. Where its retention ended first it is gone.
    async fn recover(&mut self, more: Value) {
        if self.ask_back(more).await {
            self.is_back().await;
        } else {
            self.was_purged_in_time().await;
        }
    }

    async fn ask_back(&self, more: Value) -> bool {
        let uid = self.deleted_uid();
        let mut spec = json!({"kind": self.kind.object(), "name": self.name, "uid": uid});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let recover = format!("back-{uid}");
        self.user
            .create(Watched::Recover, &recover, json!({"spec": spec}))
            .await;
        let ended = self.ended(Watched::Recover, &recover).await;
        let lawful = is(&ended, "Complete") || self.is_short();
        assert!(lawful, "{}: {ended:?}", self.title());
        is(&ended, "Complete")
    }

    async fn ended(&self, of: Watched, name: &str) -> DynamicObject {
        let ended = |found: Option<&DynamicObject>| {
            found.is_some_and(|found| is(found, "Complete") || is(found, "Failed"))
        };
        let ended = self.user.until("over", of, name, ended).await;
        ended.expect("it is there")
    }

    /// On request. The end of its retention may come first.
    async fn purge(&mut self) {
        let uid = self.deleted_uid();
        let name = self.user.proxy_of(&self.name);
        let spec =
            json!({"kind": self.kind.proxy(), "name": name, "uid": uid, "requestedBy": "admin"});
        let purge = format!("purge-{uid}");
        self.user
            .create(Watched::Purge, &purge, json!({"spec": spec}))
            .await;
        let ended = self.ended(Watched::Purge, &purge).await;
        if is(&ended, "Complete") {
            self.user.gone(Watched::Proxy(self.kind), &name).await;
            self.place = Place::Gone;
        } else {
            assert!(self.is_short(), "{}: {ended:?}", self.title());
            self.was_purged_in_time().await;
        }
    }

    /// By the clock, and the one receipt says when.
    async fn was_purged_in_time(&mut self) {
        let Place::Deleted { uid, scheduled } = self.place.clone() else {
            panic!("{} was not deleted", self.title());
        };
        let proxy = self.user.proxy_of(&self.name);
        self.user.gone(Watched::Proxy(self.kind), &proxy).await;
        let purges = self.user.api(Watched::Purge);
        let all = purges.list(&Default::default()).await.expect("a list");
        let receipt = all.items.iter().find(|found| {
            found.data["spec"]["uid"] == *uid && found.data["spec"]["reason"] == "RetentionEnded"
        });
        let receipt = receipt.unwrap_or_else(|| panic!("{}: no receipt", self.title()));
        let name = receipt.metadata.name.clone().expect("a name");
        let receipt = self.ended(Watched::Purge, &name).await;
        let when = date(&receipt.data["status"]["completionTime"]);
        let title = self.title();
        assert!(
            when >= scheduled,
            "{title}: purged at {when}, not {scheduled}"
        );
        self.place = Place::Gone;
    }

    async fn is_back(&mut self) {
        let back = self.user.ready(self.kind, &self.name).await;
        assert_eq!(material(&back), self.versions, "{}", self.title());
        assert_ne!(uid(&back), self.deleted_uid(), "{}", self.title());
        let proxy = self.user.proxy_of(&self.name);
        self.user.gone(Watched::Proxy(self.kind), &proxy).await;
        self.place = Place::Live { uid: uid(&back) };
    }

    async fn create_or_recover(&mut self) {
        let mut spec = self.spec.clone();
        spec["createMode"] = "CreateOrRecover".into();
        self.user
            .create(self.of(), &self.name, json!({"spec": spec}))
            .await;
        self.is_back().await;
    }

    /// Another version, beside those that there are.
    async fn rotate(&mut self) {
        let count = self.versions.len() + 1;
        let change = json!({"spec": {"versions": count}});
        self.user.patch(self.of(), &self.name, change).await;
        let rotated = self.user.ready(self.kind, &self.name).await;
        let now = material(&rotated);
        assert_eq!(now.len(), count, "{}", self.title());
        assert_eq!(now[..count - 1], self.versions, "{}", self.title());
        self.versions = now;
    }

    /// Somebody makes another one under the reserved name, is told so, and takes it back.
    async fn visit(&self) {
        let data = json!({"spec": self.spec});
        self.user.create(self.of(), &self.name, data).await;
        let stands = |found: Option<&DynamicObject>| {
            let stalled = found.and_then(|found| condition(found, "Stalled"));
            stalled.is_some_and(|(_, reason, _)| reason == "ObjectIsDeletedButRecoverable")
        };
        self.user
            .until("told so", self.of(), &self.name, stands)
            .await;
        self.user.delete(self.of(), &self.name).await;
        self.user.gone(self.of(), &self.name).await;
    }

    async fn something(&mut self, chance: &mut StdRng) {
        match (&self.place, chance.random_range(0..10)) {
            (Place::Live { .. }, 0..=1) if self.versions.len() < 4 => self.rotate().await,
            (Place::Live { .. }, _) => self.delete().await,
            (Place::Deleted { .. }, 0..=4) => self.recover(json!({})).await,
            (Place::Deleted { .. }, 5..=6) => self.purge().await,
            // Under a name that may become free meanwhile a visitor would be another key.
            (Place::Deleted { .. }, _) if self.is_short() => self.was_purged_in_time().await,
            (Place::Deleted { .. }, 7..=8) => self.create_or_recover().await,
            (Place::Deleted { .. }, _) => self.visit().await,
            (Place::Gone, _) => self.create().await,
        }
    }
}

fn date(of: &Value) -> DateTime<Utc> {
    let text = of.as_str().unwrap_or_else(|| panic!("a date: {of}"));
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").into()
}

async fn a_while(chance: &mut StdRng, most: u64) {
    tokio::time::sleep(Duration::from_millis(chance.random_range(0..most))).await;
}

/// One key in an HSM that others may take away meanwhile.
pub async fn key(user: User, number: usize, weather: Weather) -> Vec<Owned> {
    let mut key = Owned::key(&user, number).await;
    let mut chance = weather.chance(&key.title());
    while !weather.is_over() {
        key.something(&mut chance).await;
        a_while(&mut chance, 100).await;
    }
    if key.is_short() && matches!(key.place, Place::Deleted { .. }) {
        // What is found at the end must not depend on when one looks.
        key.recover(json!({})).await;
    }
    vec![key]
}

/// The HSM around keys of others: away now and then, and back.
pub async fn hsm(mut hsm: Owned, comes_and_goes: bool, weather: Weather) -> Vec<Owned> {
    let mut chance = weather.chance(&hsm.title());
    while !weather.is_over() && comes_and_goes {
        a_while(&mut chance, 1500).await;
        hsm.delete().await;
        a_while(&mut chance, 500).await;
        hsm.recover(json!({})).await;
    }
    vec![hsm]
}

/// An HSM and two keys in it, by one who knows what becomes of all three.
pub struct Household {
    hsm: Owned,
    keys: [Owned; 2],
}

impl Household {
    pub async fn new(user: &User) -> Self {
        Self {
            hsm: Owned::hsm(user).await,
            keys: [Owned::key(user, 0).await, Owned::key(user, 1).await],
        }
    }

    pub async fn live(mut self, weather: Weather) -> Vec<Owned> {
        let mut chance = weather.chance(&self.hsm.title());
        while !weather.is_over() {
            match chance.random_range(0..5) {
                0 => self.hsm_with_what_is_live().await,
                1 => self.key_deleted_in_a_deleted_hsm().await,
                2 => self.hsm_with_all_keys().await,
                3 => self.purged_and_made_anew().await,
                _ => self.whole_namespace().await,
            }
            a_while(&mut chance, 100).await;
        }
        let [first, second] = self.keys;
        vec![self.hsm, first, second]
    }

    /// The live key comes back with its HSM, the deleted one does not.
    async fn hsm_with_what_is_live(&mut self) {
        self.keys[1].delete().await;
        self.hsm.delete().await;
        self.hsm.recover(json!({})).await;
        self.keys[0].still_ready().await;
        self.keys[1].recover(json!({})).await;
    }

    async fn key_deleted_in_a_deleted_hsm(&mut self) {
        self.hsm.delete().await;
        self.keys[0].delete().await;
        self.hsm.recover(json!({})).await;
        self.keys[1].still_ready().await;
        self.keys[0].recover(json!({})).await;
    }

    async fn hsm_with_all_keys(&mut self) {
        self.keys[0].delete().await;
        self.hsm.delete().await;
        self.hsm.recover(json!({"includeKeys": "All"})).await;
        self.keys[0].is_back().await;
        self.keys[1].still_ready().await;
    }

    /// One key is deleted then, the other live.
    async fn purged_and_made_anew(&mut self) {
        self.keys[0].delete().await;
        self.hsm.delete().await;
        self.hsm.purge().await;
        self.keys[0].place = Place::Gone;
        self.keys[1].goes_with_its_hsm().await;
        self.hsm.create().await;
        for key in &mut self.keys {
            key.create().await;
        }
    }

    /// All in it goes, and comes back into another of that name for whoever accepts it.
    async fn whole_namespace(&mut self) {
        let user = self.hsm.user.clone();
        user.delete(Watched::Namespace, &user.namespace).await;
        user.gone(Watched::Namespace, &user.namespace).await;
        for owned in [&mut self.hsm].into_iter().chain(&mut self.keys) {
            let Place::Live { uid } = owned.place.clone() else {
                panic!("{} was live", owned.title());
            };
            owned.is_kept(uid).await;
        }
        let space = user
            .create(Watched::Namespace, &user.namespace, json!({}))
            .await;
        let accepts = json!({"acceptNamespaceUid": uid(&space)});
        self.hsm.recover(accepts.clone()).await;
        for key in &mut self.keys {
            key.recover(accepts.clone()).await;
        }
    }
}

impl Owned {
    /// Its resource stands until somebody takes it away, and makes no proxy.
    async fn goes_with_its_hsm(&mut self) {
        let told = |found: Option<&DynamicObject>| {
            let ready = found.and_then(|found| condition(found, "Ready"));
            ready.is_some_and(|(_, reason, _)| reason == "MaterialDestroyed")
        };
        self.user
            .until("told so", self.of(), &self.name, told)
            .await;
        self.user.delete(self.of(), &self.name).await;
        self.user.gone(self.of(), &self.name).await;
        self.place = Place::Gone;
    }

    async fn still_ready(&self) {
        let found = self.user.ready(self.kind, &self.name).await;
        assert_eq!(material(&found), self.versions, "{}", self.title());
        assert_eq!(Place::Live { uid: uid(&found) }, self.place);
    }
}
