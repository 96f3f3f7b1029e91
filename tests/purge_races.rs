//! Purges that race: with a recovery, with each other, and with an operator that is not there when the date comes.

mod operator;
mod user;

use chrono::{DateTime, Duration, Utc};
use kube::api::DynamicObject;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::clock::Clock;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::controller::stops::{Stops, When, Which};
use managed_hsm_operator::plan::Lineage;
use managed_hsm_operator::softdelete::Kind;
use operator::{Build, Operator, condition};
use serde_json::{Value, json};
use testplane::{Options, Plane, borrow, each, eventually};
use tokio::task::JoinSet;
use user::{PATIENCE, User, is, material, uid};

const HSM: &str = "safe";
const KEYS: Watched = Watched::Object(Kind::Key);
const PROXIES: Watched = Watched::Proxy(Kind::Key);

/// A deleted key, and what it was.
struct Deleted {
    name: String,
    uid: String,
    material: Vec<[Value; 4]>,
    proxy: DynamicObject,
}

async fn with_hsm(plane: &Plane, namespace: &str) -> User {
    let user = User::new(&plane.client().await, namespace).await;
    let data = json!({"spec": {}});
    user.create(Watched::Object(Kind::Hsm), HSM, data).await;
    user.ready(Kind::Hsm, HSM).await;
    user
}

async fn deleted_key(user: &User, name: String, retention: u32) -> Deleted {
    let spec = json!({"hsm": HSM, "keyType": "EC", "curve": "P-256", "retentionDays": retention});
    user.create(KEYS, &name, json!({"spec": spec})).await;
    let key = user.ready(Kind::Key, &name).await;
    user.delete(KEYS, &name).await;
    Deleted {
        proxy: user.deleted(Kind::Key, &name, &uid(&key)).await,
        uid: uid(&key),
        material: material(&key),
        name,
    }
}

async fn deleted_keys(user: &User, count: usize, retention: u32) -> Vec<Deleted> {
    let mut all = JoinSet::new();
    for number in 0..count {
        let user = user.clone();
        all.spawn(async move { deleted_key(&user, format!("key-{number}"), retention).await });
    }
    all.join_all().await
}

impl Deleted {
    async fn ask_back(&self, user: &User) {
        let spec = json!({"kind": "HsmKey", "name": self.name, "uid": self.uid});
        let name = format!("back-{}", self.name);
        user.create(Watched::Recover, &name, json!({"spec": spec}))
            .await;
    }

    async fn ask_purge(&self, user: &User) {
        let spec = json!({"kind": "DeletedHsmKey", "name": user.proxy_of(&self.name), "uid": self.uid, "requestedBy": "ann"});
        let name = self.purge(user);
        user.create(Watched::Purge, &name, json!({"spec": spec}))
            .await;
    }

    fn purge(&self, user: &User) -> String {
        format!("{}-{}", user.namespace, self.name)
    }

    /// Its proxy, or its Purge, is so, or was and is gone already.
    async fn seen(&self, user: &User, of: Watched, wanted: impl Fn(&DynamicObject) -> bool) {
        let name = match of {
            Watched::Purge => self.purge(user),
            _ => user.proxy_of(&self.name),
        };
        user.until("seen", of, &name, |found| found.is_none_or(&wanted))
            .await;
    }

    fn in_store(&self, backend: &MemoryBackend) -> bool {
        let its = |id: String| self.material.iter().any(|version| version[0] == id);
        let objects = backend.inspect();
        objects.iter().any(|object| its(object.id.to_string()))
    }

    async fn is_back(&self, user: &User) {
        let back = user.ready(Kind::Key, &self.name).await;
        assert_eq!(material(&back), self.material, "{}", self.name);
        user.gone(PROXIES, &user.proxy_of(&self.name)).await;
    }

    /// Which of the two won; what each of them says is so.
    async fn outcome(&self, user: &User, backend: &MemoryBackend) -> Won {
        let (recover, purge) = (format!("back-{}", self.name), self.purge(user));
        let recover = ended(user, Watched::Recover, &recover).await;
        let purge = ended(user, Watched::Purge, &purge).await;
        match (is(&recover, "Complete"), is(&purge, "Complete")) {
            (true, false) => {
                self.is_back(user).await;
                let why = reason(&purge);
                let lawful = ["RecoveryInProgress", "NothingToPurge"];
                assert!(lawful.contains(&why.as_str()), "{purge:?}");
                assert!(self.in_store(backend), "{}", self.name);
                Won::Recover
            }
            (false, true) => {
                assert_eq!(reason(&recover), "NothingToRecover", "{recover:?}");
                assert_eq!(purge.data["status"]["destroyed"]["count"], 1);
                assert!(!self.in_store(backend), "{}", self.name);
                user.gone(PROXIES, &user.proxy_of(&self.name)).await;
                user.gone(KEYS, &self.name).await;
                Won::Purge
            }
            both => panic!("{}: {both:?}: {recover:?} {purge:?}", self.name),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Won {
    Recover,
    Purge,
}

async fn ended(user: &User, of: Watched, name: &str) -> DynamicObject {
    let over = |found: Option<&DynamicObject>| {
        found.is_some_and(|found| is(found, "Complete") || is(found, "Failed"))
    };
    let found = user.until("over", of, name, over).await;
    found.expect("it is there")
}

fn reason(of: &DynamicObject) -> String {
    condition(of, "Failed").map_or(String::new(), |(_, reason, _)| reason)
}

async fn operator(
    plane: &Plane,
    backend: &MemoryBackend,
    day: Duration,
    stops: &Stops,
) -> Operator {
    let mut build = Build::new(plane, backend.clone()).await;
    build.settings.day = day;
    build.stops = stops.clone();
    build.queue.concurrency = 64;
    build.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_of_a_purge_and_a_recover_made_in_the_same_instant_exactly_one_wins_and_both_say_so() {
    let plane = borrow(Options::default()).await;
    let (backend, stops) = (MemoryBackend::new(), Stops::default());
    let _operator = operator(&plane, &backend, Duration::days(1), &stops).await;
    let user = with_hsm(&plane, "races").await;
    // In `make whole` 200.
    let pairs = 200 / each(5);
    let mut won = Vec::new();
    for keys in deleted_keys(&user, pairs, 90).await.chunks(40) {
        let both = keys.iter().enumerate().map(async |(place, key)| {
            match place % 4 {
                0 => _ = tokio::join!(key.ask_purge(&user), key.ask_back(&user)),
                1 => _ = tokio::join!(key.ask_back(&user), key.ask_purge(&user)),
                // While the purge is on its way, by what can be seen of it.
                2 => {
                    key.ask_purge(&user).await;
                    key.seen(&user, Watched::Purge, |found| is(found, "Accepted"))
                        .await;
                    key.ask_back(&user).await;
                }
                _ => {
                    key.ask_purge(&user).await;
                    let begun = |found: &DynamicObject| !found.data["status"]["phase"].is_null();
                    key.seen(&user, PROXIES, begun).await;
                    key.ask_back(&user).await;
                }
            }
            key.outcome(&user, &backend).await
        });
        won.extend(futures::future::join_all(both).await);
    }
    let recovered = won.iter().filter(|won| **won == Won::Recover).count();
    eprintln!("recovered {recovered}, purged {}", won.len() - recovered);
    assert_eq!(won.len(), pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_whoever_wrote_the_phase_first_has_won() {
    let plane = borrow(Options::default()).await;
    let (backend, stops) = (MemoryBackend::new(), Stops::default());
    let _operator = operator(&plane, &backend, Duration::days(1), &stops).await;
    let user = with_hsm(&plane, "phases").await;
    let mut keys = deleted_keys(&user, 2, 90).await;
    let (late, early) = (keys.remove(0), keys.remove(0));
    let stand = |key: &Deleted, when, effect: &'static str, more: usize| {
        let of = Lineage::new(Kind::Key, "phases", key.name.clone());
        let seen = stops.seen(&of);
        let done = seen.iter().filter(|seen| seen.effect == effect).count();
        stops.stop(&of, when, Which::Named(effect, done + more))
    };
    // The purge stands past the point of no return.
    let destroys = stand(&late, When::Before, "Destroy", 1);
    late.ask_purge(&user).await;
    destroys.reached().await;
    late.ask_back(&user).await;
    destroys.release();
    assert_eq!(late.outcome(&user, &backend).await, Won::Purge);
    // The recovery stands with its claim.
    let claimed = stand(&early, When::After, "ShowProxy", 1);
    early.ask_back(&user).await;
    claimed.reached().await;
    early.ask_purge(&user).await;
    claimed.release();
    assert_eq!(early.outcome(&user, &backend).await, Won::Recover);
}

fn date(of: &Value) -> DateTime<Utc> {
    let text = of.as_str().unwrap_or_else(|| panic!("a date: {of}"));
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").into()
}

/// Purged by the clock: not before its date, and not before the announcement was a day old. Answers when.
async fn purged_in_time(user: &User, key: &Deleted, announced: DateTime<Utc>, day: Duration) {
    let proxy = user.proxy_of(&key.name);
    user.gone(PROXIES, &proxy).await;
    let receipts = user.api(Watched::Purge);
    let all = receipts.list(&Default::default()).await.expect("a list");
    let of = |found: &&DynamicObject| found.data["spec"]["uid"] == *key.uid;
    let its: Vec<_> = all.items.iter().filter(of).collect();
    assert_eq!(its.len(), 1, "{}: one receipt: {its:?}", key.name);
    let receipt = ended(
        user,
        Watched::Purge,
        its[0].metadata.name.as_deref().expect("a name"),
    )
    .await;
    assert_eq!(receipt.data["spec"]["reason"], "RetentionEnded");
    let when = date(&receipt.data["status"]["completionTime"]);
    let scheduled = date(&key.proxy.data["spec"]["scheduledPurgeTime"]);
    assert!(when >= scheduled, "{}: {when} before {scheduled}", key.name);
    assert!(
        when >= announced + day,
        "{}: {when}, announced at {announced}",
        key.name
    );
}

async fn announced(user: &User, key: &Deleted) -> DateTime<Utc> {
    let proxy = user.proxy_of(&key.name);
    let told =
        |found: Option<&DynamicObject>| found.is_some_and(|found| is(found, "PurgeAnnounced"));
    let found = user.until("announced", PROXIES, &proxy, told).await;
    date(&found.expect("it is there").data["status"]["announcedAt"])
}

#[tokio::test(flavor = "multi_thread")]
async fn sd10_ten_that_are_due_in_the_same_second_are_each_purged_once_and_none_early() {
    let plane = borrow(Options::default()).await;
    let (backend, stops) = (MemoryBackend::new(), Stops::default());
    let day = Duration::seconds(2);
    let _operator = operator(&plane, &backend, day, &stops).await;
    let user = with_hsm(&plane, "ten").await;
    let keys = deleted_keys(&user, 10, 7).await;
    let ends = keys.iter().map(async |key| {
        let at = announced(&user, key).await;
        purged_in_time(&user, key, at, day).await;
        assert!(!key.in_store(&backend), "{}", key.name);
    });
    futures::future::join_all(ends).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd10_after_an_outage_over_the_date_it_is_announced_first_and_a_recover_made_meanwhile_wins()
 {
    let plane = borrow(Options::default()).await;
    let (backend, stops) = (MemoryBackend::new(), Stops::default());
    let day = Duration::seconds(2);
    let first = operator(&plane, &backend, day, &stops).await;
    let user = with_hsm(&plane, "outage").await;
    let mut keys = deleted_keys(&user, 2, 12).await;
    let (goes, comes_back) = (keys.remove(0), keys.remove(0));
    let backend = first.crash().await;
    let due = [&goes, &comes_back].map(|key| date(&key.proxy.data["spec"]["scheduledPurgeTime"]));
    eventually("both dates are over", PATIENCE, async || {
        let now = Clock::real().now();
        if due.iter().all(|due| now > *due + day) {
            Ok(())
        } else {
            Err(format!("{now}, {due:?}"))
        }
    })
    .await;
    let before = user.api(PROXIES).get(&user.proxy_of(&goes.name)).await;
    let before = before.expect("it is there");
    assert!(
        before.data["status"]["announcedAt"].is_null(),
        "it was announced before the outage"
    );
    comes_back.ask_back(&user).await;
    let back_again = Clock::real().now();
    let _second = operator(&plane, &backend, day, &Stops::default()).await;
    let at = announced(&user, &goes).await;
    assert!(
        at >= back_again - Duration::seconds(1),
        "{at}, started at {back_again}"
    );
    purged_in_time(&user, &goes, at, day).await;
    comes_back.is_back(&user).await;
    assert!(comes_back.in_store(&backend) && !goes.in_store(&backend));
}
