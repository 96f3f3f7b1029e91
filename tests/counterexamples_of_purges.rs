//! The shortest ways to destroy what somebody still has, or to keep what was to go, one for each rule of the purge (`safety`: what happens
//! without): driven step by step, one operator standing somewhere while another, or somebody, does what must not be overlooked.

mod lives;
mod operator;
mod user;

use kube::api::DynamicObject;
use lives::{HSM, KEY, Life};
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::backend::{Access, HsmBackend, Mark};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::controller::stops::{Stop, Stops, When, Which};
use managed_hsm_operator::plan::ids;
use managed_hsm_operator::softdelete::{Kind, RecordState};
use operator::{Operator, SOON, condition};
use serde_json::json;
use testplane::{Borrowed, Options, borrow, eventually};
use user::is;

struct Stage {
    plane: Borrowed,
    backend: MemoryBackend,
    life: Life,
    stops: Stops,
    /// The first operator: the one that stands.
    _first: Operator,
}

async fn stage() -> Stage {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let stops = Stops::default();
    let first = Operator::with_stops(&plane, &backend, &stops).await;
    let life = Life::new(&plane.client().await, "stage", &backend, lives::ec()).await;
    Stage {
        plane,
        backend,
        life,
        stops,
        _first: first,
    }
}

impl Stage {
    async fn second(&self) -> Operator {
        Operator::with_stops(&self.plane, &self.backend, &Stops::default()).await
    }

    /// The `more`-th of these effects from now.
    fn stand(&self, kind: Kind, when: When, effect: &'static str, more: usize) -> Stop {
        let of = self.life.lineage(kind);
        let seen = self.stops.seen(&of);
        let done = seen.iter().filter(|seen| seen.effect == effect).count();
        self.stops
            .stop(&of, when, Which::Named(effect, done + more))
    }

    async fn ask_purge(&self, kind: Kind, uid: &str) {
        let name = self.life.proxy_of(lives::name_of(kind));
        let spec = json!({"kind": kind.proxy(), "name": name, "uid": uid, "requestedBy": "ann"});
        let purge = purge_name(kind);
        self.life
            .user()
            .create(Watched::Purge, purge, json!({"spec": spec}))
            .await;
    }

    async fn purge_is(&self, kind: Kind, condition: &str) -> DynamicObject {
        let wanted =
            |found: Option<&DynamicObject>| found.is_some_and(|found| is(found, condition));
        let purge = purge_name(kind);
        let found = self
            .life
            .until(condition, Watched::Purge, purge, wanted)
            .await;
        found.expect("it is there")
    }

    /// The proxy is kept again, as if nobody had touched it.
    async fn retained(&self, kind: Kind) {
        let kept = |found: Option<&DynamicObject>| {
            found.is_some_and(|found| found.data["status"]["phase"].is_null() && is(found, "Ready"))
        };
        let proxy = self.life.proxy_name(kind);
        self.life
            .until("kept", Watched::Proxy(kind), &proxy, kept)
            .await;
    }

    fn state(&self, kind: Kind) -> Option<RecordState> {
        self.life.record(kind).map(|(_, record)| record.state)
    }

    fn access(&self) -> Access {
        let record = self.life.record(Kind::Hsm).expect("its record").1;
        let seen = self.backend.token(&ids::token_label(&record.id));
        seen.expect("a look").expect("a token").access
    }

    /// Waits until the stopped effect was tried, and what was decided after it is done.
    async fn tried(&self, kind: Kind, effect: &'static str, outcome: &'static str) {
        let of = self.life.lineage(kind);
        eventually("it was tried", SOON, async || {
            let seen = self.stops.seen(&of);
            let last = seen
                .iter()
                .rev()
                .find(|seen| seen.effect == effect && seen.outcome.is_some());
            match last.and_then(|seen| seen.outcome) {
                Some(is) if is == outcome => Ok(()),
                _ => Err(format!("{seen:?}")),
            }
        })
        .await;
    }
}

fn purge_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Hsm => "purge-hsm",
        Kind::Key => "purge-key",
    }
}

/// (18) The second look: what is withdrawn after the phase was written turns the purge back.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_withdrawn_after_the_phase_was_written_purges_nothing() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Key).await;
    let begun = stage.stand(Kind::Key, When::After, "ShowProxy", 1);
    stage.ask_purge(Kind::Key, &uid).await;
    begun.reached().await;
    stage
        .life
        .user()
        .delete(Watched::Purge, purge_name(Kind::Key))
        .await;
    begun.release();
    stage.retained(Kind::Key).await;
    assert_eq!(stage.state(Kind::Key), Some(RecordState::Deleted));
    stage.life.recover(Kind::Key, &uid).await;
    assert_eq!(stage.life.identities(), made);
}

/// (6) Executing: a withdrawal that comes before it wins; after it nothing else is looked at but the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_withdrawn_before_it_says_executing_purges_nothing() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Key).await;
    let begun = stage.stand(Kind::Key, When::After, "ShowProxy", 1);
    stage.ask_purge(Kind::Key, &uid).await;
    begun.reached().await;
    let executing = stage.stand(Kind::Key, When::Before, "ShowPurge", 1);
    let destroying = stage.stand(Kind::Key, When::Before, "WriteRecord", 1);
    begun.release();
    executing.reached().await;
    assert!(
        !destroying.is_reached(),
        "it says so before the point of no return"
    );
    stage
        .life
        .user()
        .delete(Watched::Purge, purge_name(Kind::Key))
        .await;
    executing.release();
    stage.tried(Kind::Key, "ShowPurge", "raced").await;
    destroying.reached().await;
    destroying.release();
    stage.retained(Kind::Key).await;
    stage.life.recover(Kind::Key, &uid).await;
    assert_eq!(stage.life.identities(), made);
}

/// (11) G6: a protection that is shown has turned back what was about to be destroyed.
#[tokio::test(flavor = "multi_thread")]
async fn g6_a_purger_asleep_destroys_no_key_whose_hsm_shows_its_protection() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Key).await;
    let destroying = stage.stand(Kind::Key, When::Before, "WriteRecord", 1);
    stage.ask_purge(Kind::Key, &uid).await;
    destroying.reached().await;
    let change = json!({"spec": {"purgeProtection": true}});
    let hsms = Watched::Object(Kind::Hsm);
    stage.life.patch(hsms, HSM, change).await;
    eventually("the HSM's record has it", SOON, async || {
        let record = stage.life.record(Kind::Hsm).expect("its record").1;
        match record.purge_protection {
            true => Ok(()),
            false => Err(format!("{record:?}")),
        }
    })
    .await;
    let second = stage.second().await;
    let shown = |found: Option<&DynamicObject>| {
        found.is_some_and(|found| found.data["status"]["recoveryLevel"] == "Recoverable")
    };
    stage
        .life
        .until("protected", Watched::Object(Kind::Hsm), HSM, shown)
        .await;
    destroying.release();
    stage.tried(Kind::Key, "WriteRecord", "raced").await;
    let refused = stage.purge_is(Kind::Key, "Failed").await;
    let reason = condition(&refused, "Failed").expect("it failed").1;
    assert_eq!(reason, "PurgeProtected");
    stage.retained(Kind::Key).await;
    assert_eq!(stage.life.identities(), made);
    drop(second);
}

/// (36) G2: a proxy that was forced away and written again is another one for a purger that sleeps.
#[tokio::test(flavor = "multi_thread")]
async fn g2_a_purger_asleep_destroys_nothing_that_was_recovered_meanwhile() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Key).await;
    let destroying = stage.stand(Kind::Key, When::Before, "WriteRecord", 1);
    stage.ask_purge(Kind::Key, &uid).await;
    destroying.reached().await;
    stage
        .life
        .user()
        .delete(Watched::Purge, purge_name(Kind::Key))
        .await;
    let proxy = stage.life.proxy_name(Kind::Key);
    stage
        .life
        .user()
        .delete(Watched::Proxy(Kind::Key), &proxy)
        .await;
    let second = stage.second().await;
    stage.retained(Kind::Key).await;
    stage.life.recover(Kind::Key, &uid).await;
    destroying.release();
    stage.tried(Kind::Key, "WriteRecord", "raced").await;
    stage.life.create().await;
    assert_eq!(stage.life.identities(), made);
    drop(second);
}

/// (31) A key that is made while its HSM goes for good never becomes Ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_recorded_late_is_not_ready_in_a_purged_hsm() {
    let stage = stage().await;
    let recorded = stage.stand(Kind::Key, When::Before, "WriteRecord", 2);
    stage.life.apply_both().await;
    recorded.reached().await;
    let uid = stage.life.uid(Kind::Hsm).await;
    stage.life.start_delete(Kind::Hsm).await;
    stage.life.deleted(Kind::Hsm, &uid).await;
    let _second = stage.second().await;
    stage.ask_purge(Kind::Hsm, &uid).await;
    stage.purge_is(Kind::Hsm, "Complete").await;
    recorded.release();
    stage.tried(Kind::Key, "WriteRecord", "done").await;
    let told = |found: Option<&DynamicObject>| {
        let ready = found.and_then(|found| condition(found, "Ready"));
        ready.is_some_and(|(is, reason, _)| {
            is == "False" && ["MaterialDestroyed", "HsmNotFound"].contains(&reason.as_str())
        })
    };
    stage
        .life
        .until("told so", Watched::Object(Kind::Key), KEY, told)
        .await;
    let live = stage.life.material();
    assert!(
        live.iter().all(|object| object.mark != Mark::Live),
        "{live:?}"
    );
}

/// (24) The last look: what an old etcd shows as live is not destroyed, though the record says *destroying*.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_look_spares_what_a_live_status_names() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let keys = stage.life.api(Watched::Object(Kind::Key));
    let before = keys.get(KEY).await.expect("it is there");
    let uid = stage.life.delete(Kind::Key).await;
    let destroying = stage.stand(Kind::Key, When::After, "WriteRecord", 1);
    stage.ask_purge(Kind::Key, &uid).await;
    destroying.reached().await;
    assert_eq!(stage.state(Kind::Key), Some(RecordState::Destroying));
    // As an etcd that was put back would have it.
    let mut again = DynamicObject::new(KEY, &Watched::Object(Kind::Key).resource());
    again.data = json!({"spec": before.data["spec"]});
    keys.create(&Default::default(), &again)
        .await
        .expect("anybody may");
    let status = kube::api::Patch::Merge(json!({"status": before.data["status"]}));
    let shown = keys.patch_status(KEY, &Default::default(), &status).await;
    shown.expect("no policy is on this plane");
    let looked = stage.stops.seen(&stage.life.lineage(Kind::Key)).len();
    destroying.release();
    let told = |found: Option<&DynamicObject>| {
        let ready = found.and_then(|found| condition(found, "Ready"));
        ready.is_some_and(|(is, reason, _)| is == "False" && reason != "Ready")
    };
    stage
        .life
        .until("told so", Watched::Object(Kind::Key), KEY, told)
        .await;
    let seen = stage.stops.seen(&stage.life.lineage(Kind::Key));
    assert!(seen.len() > looked, "{seen:?}");
    assert_eq!(stage.life.identities(), made, "nothing is destroyed");
    let proxy = stage.life.proxy_name(Kind::Key);
    stage
        .life
        .user()
        .delete(Watched::Object(Kind::Key), KEY)
        .await;
    // With it away the purge goes to its end.
    stage.purge_is(Kind::Key, "Complete").await;
    let gone = |found: Option<&DynamicObject>| found.is_none();
    stage
        .life
        .until("gone", Watched::Proxy(Kind::Key), &proxy, gone)
        .await;
    assert_eq!(stage.life.identities(), []);
}

/// (33) G6: a seal that lands after the recovery is undone by whoever finds it.
#[tokio::test(flavor = "multi_thread")]
async fn g6_a_seal_that_lands_late_does_not_lock_a_recovered_hsm() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let uid = stage.life.uid(Kind::Hsm).await;
    let seals = stage.stand(Kind::Hsm, When::Before, "SealToken", 1);
    stage.life.start_delete(Kind::Hsm).await;
    seals.reached().await;
    let _second = stage.second().await;
    stage.life.deleted(Kind::Hsm, &uid).await;
    stage.life.recover(Kind::Hsm, &uid).await;
    seals.release();
    stage.tried(Kind::Hsm, "SealToken", "done").await;
    eventually("it is open", SOON, async || match stage.access() {
        Access::Open => Ok(()),
        Access::Refused => Err("sealed".to_owned()),
    })
    .await;
    stage.life.create().await;
    assert_eq!(stage.life.identities(), made);
}

/// (37) G6: an unsealing that lands after the next deletion is undone too.
#[tokio::test(flavor = "multi_thread")]
async fn g6_an_unsealing_that_lands_late_does_not_open_a_deleted_hsm() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Hsm).await;
    let opens = stage.stand(Kind::Hsm, When::Before, "UnsealToken", 1);
    stage.life.start_recover(Kind::Hsm, &uid).await;
    opens.reached().await;
    let _second = stage.second().await;
    stage.life.recovered(Kind::Hsm).await;
    let again = stage.life.delete(Kind::Hsm).await;
    opens.release();
    stage.tried(Kind::Hsm, "UnsealToken", "done").await;
    eventually("it is sealed", SOON, async || match stage.access() {
        Access::Refused => Ok(()),
        Access::Open => Err("open".to_owned()),
    })
    .await;
    assert_ne!(again, uid);
    assert_eq!(stage.life.identities(), made);
}

/// (16) What its HSM brings back with All is not purged under that recovery.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_its_hsm_brings_back_with_all_is_not_purged_under_it() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let key = stage.life.delete(Kind::Key).await;
    let hsm = stage.life.delete(Kind::Hsm).await;
    stage.ask_purge(Kind::Key, &key).await;
    let spec = json!({"kind": "ManagedHsm", "name": HSM, "uid": hsm, "includeKeys": "All"});
    let back = lives::recover_name(Kind::Hsm);
    stage
        .life
        .user()
        .create(Watched::Recover, &back, json!({"spec": spec}))
        .await;
    stage.life.recovered(Kind::Hsm).await;
    let failed = stage.purge_is(Kind::Key, "Failed").await;
    let reason = condition(&failed, "Failed").expect("it failed").1;
    let lawful = ["RecoveryInProgress", "NothingToPurge"];
    assert!(lawful.contains(&reason.as_str()), "{failed:?}");
    stage.life.create().await;
    assert_eq!(stage.life.identities(), made);
}

/// (36) `newUid`: a turn-back that comes late, and a purge that waits for just that.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_turned_back_late_leaves_nothing_to_a_purge() {
    let stage = stage().await;
    stage.life.create().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Key).await;
    let named = stage.stand(Kind::Key, When::Before, "ShowProxy", 2);
    stage.life.start_recover(Kind::Key, &uid).await;
    named.reached().await;
    stage.ask_purge(Kind::Key, &uid).await;
    let second = stage.second().await;
    stage.life.recovered(Kind::Key).await;
    named.release();
    stage.tried(Kind::Key, "ShowProxy", "raced").await;
    stage.purge_is(Kind::Key, "Failed").await;
    assert_eq!(stage.life.identities(), made);
    drop(second);
}
