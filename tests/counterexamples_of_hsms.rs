//! What goes wrong between an HSM and a key in it without the rules (`safety`: what happens without): driven step by step.

mod lives;
mod operator;
mod user;

use kube::api::DynamicObject;
use lives::{KEY, Life, name_of, recover_name};
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::controller::stops::{Stop, Stops, When, Which};
use managed_hsm_operator::softdelete::{Kind, RecordState};
use operator::Operator;
use serde_json::{Value, json};
use testplane::{Borrowed, Options, borrow};
use user::User;

/// A plane, a store, and an operator that is paused where a test says.
struct Stage {
    plane: Borrowed,
    backend: MemoryBackend,
    life: Life,
    stops: Stops,
    _first: Operator,
}

/// A key that is ready.
async fn stage() -> Stage {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let stops = Stops::default();
    let first = Operator::with_stops(&plane, &backend, &stops).await;
    let life = Life::new(&plane.client().await, "inside", &backend, lives::ec()).await;
    life.create().await;
    Stage {
        plane,
        backend,
        life,
        stops,
        _first: first,
    }
}

/// A key's records are *creating*, *live*, *sealing*, *deleted*; what a purge or a recovery writes is the next.
const NEXT_RECORD: Which = Which::Named("WriteRecord", 5);

impl Stage {
    fn before_the_next_record(&self) -> Stop {
        let key = self.life.lineage(Kind::Key);
        self.stops.stop(&key, When::Before, NEXT_RECORD)
    }

    async fn second(&self) -> Operator {
        Operator::with_stops(&self.plane, &self.backend, &Stops::default()).await
    }

    /// The key is deleted, and its purge, which somebody asked for, was looked at twice and stands before the point of no return.
    async fn purge_about_to_be_written(&self) -> Stop {
        let uid = self.life.delete(Kind::Key).await;
        let stop = self.before_the_next_record();
        let spec = json!({
            "kind": "DeletedHsmKey", "name": self.life.proxy_name(Kind::Key), "uid": uid, "requestedBy": "anna",
        });
        let spec = json!({"spec": spec});
        User::create(&self.life, Watched::Purge, PURGE, spec).await;
        stop.reached().await;
        assert_eq!(self.proxy().await.data["status"]["phase"], "Destroying");
        stop
    }

    async fn proxy(&self) -> DynamicObject {
        let proxies = self.life.api(Watched::Proxy(Kind::Key));
        let found = proxies.get(&self.life.proxy_name(Kind::Key)).await;
        found.expect("the proxy")
    }

    /// The paused write came too late, and nothing was destroyed.
    async fn came_too_late(&self, stop: &Stop, made: &[(String, [u8; 32])]) {
        stop.release();
        let key = self.life.lineage(Kind::Key);
        testplane::eventually("it came too late", operator::SOON, async || {
            let seen = self.stops.seen(&key);
            let mut writes = seen.iter().filter(|seen| seen.effect == "WriteRecord");
            match writes.nth(4).and_then(|seen| seen.outcome) {
                Some("raced") => Ok(()),
                _ => Err(format!("{seen:?}")),
            }
        })
        .await;
        assert_eq!(self.life.identities(), made);
        assert_eq!(self.state(Kind::Key), Some(RecordState::Deleted));
    }

    fn state(&self, kind: Kind) -> Option<RecordState> {
        self.life.record(kind).map(|(_, record)| record.state)
    }
}

const PURGE: &str = "of-the-key";

#[tokio::test(flavor = "multi_thread")]
async fn g6_a_purge_that_was_looked_at_before_its_hsm_was_protected_is_turned_back_before_that_is_shown()
 {
    let stage = stage().await;
    let made = stage.life.identities();
    let late = stage.purge_about_to_be_written().await;
    let on = json!({"spec": {"purgeProtection": true}});
    let hsm = Watched::Object(Kind::Hsm);
    stage.life.patch(hsm, name_of(Kind::Hsm), on).await;
    // Recorded, and not shown while the purge may go on.
    let waits = |found: Option<&DynamicObject>| {
        let ready = found.and_then(|found| operator::condition(found, "Ready"));
        ready.is_some_and(|(_, _, sentence)| sentence.contains("deleted key signing"))
    };
    let shown = stage.life.until("waiting", hsm, name_of(Kind::Hsm), waits);
    let shown = shown.await.expect("it is there");
    assert_eq!(
        shown.data["status"]["recoveryLevel"],
        "Recoverable+Purgeable"
    );
    let second = stage.second().await;
    let protected = |found: Option<&DynamicObject>| {
        found.is_some_and(|found| found.data["status"]["recoveryLevel"] == "Recoverable")
    };
    stage
        .life
        .until("protected", hsm, name_of(Kind::Hsm), protected)
        .await;
    // It is promised now: so the purge is turned back already, and the key's proxy shows it too.
    let proxy = stage.proxy().await;
    assert_eq!(proxy.data["status"]["phase"], Value::Null);
    assert_eq!(proxy.data["status"]["purgeProtection"], true);
    stage.came_too_late(&late, &made).await;
    let refused = |found: Option<&DynamicObject>| {
        let failed = found.and_then(|found| operator::condition(found, "Failed"));
        failed.is_some_and(|(_, reason, _)| reason == "PurgeProtected")
    };
    stage
        .life
        .until("refused", Watched::Purge, PURGE, refused)
        .await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn g6_a_purge_that_was_looked_at_before_its_hsm_was_deleted_is_turned_back_before_that_counts()
 {
    let stage = stage().await;
    let made = stage.life.identities();
    let late = stage.purge_about_to_be_written().await;
    let hsm = stage.life.uid(Kind::Hsm).await;
    stage.life.start_delete(Kind::Hsm).await;
    let waits = |found: Option<&DynamicObject>| {
        let ready = found.and_then(|found| operator::condition(found, "Ready"));
        ready.is_some_and(|(_, _, sentence)| sentence.contains("purge of its key signing"))
    };
    let of = Watched::Object(Kind::Hsm);
    stage
        .life
        .until("waiting", of, name_of(Kind::Hsm), waits)
        .await;
    assert_eq!(stage.state(Kind::Hsm), Some(RecordState::Sealing));
    let second = stage.second().await;
    stage.life.deleted(Kind::Hsm, &hsm).await;
    assert_eq!(stage.state(Kind::Hsm), Some(RecordState::Deleted));
    assert_eq!(stage.proxy().await.data["status"]["phase"], Value::Null);
    stage.came_too_late(&late, &made).await;
    // What was asked waits for the HSM (SD-11), and goes on after its recovery.
    stage.life.recover(Kind::Hsm, &hsm).await;
    let done =
        |found: Option<&DynamicObject>| found.is_some_and(|found| user::is(found, "Complete"));
    stage
        .life
        .until("complete", Watched::Purge, PURGE, done)
        .await;
    assert_eq!(stage.life.identities(), []);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd27_what_was_being_recovered_when_its_hsm_was_deleted_goes_at_once_and_is_sealed_in_the_hsms_recovery()
 {
    let stage = stage().await;
    let made = stage.life.identities();
    let first = stage.life.delete(Kind::Key).await;
    let opening = stage.before_the_next_record();
    stage.life.start_recover(Kind::Key, &first).await;
    opening.reached().await;
    let hsm = stage.life.delete(Kind::Hsm).await;
    let again = stage.life.uid(Kind::Key).await;
    assert_ne!(again, first);
    stage.life.start_delete(Kind::Key).await;
    opening.release();
    // No delete waits in a soft-deleted HSM: it goes, and its own proxy stands for it.
    stage.life.deleted(Kind::Key, &again).await;
    let proxy = stage.proxy().await;
    assert_eq!(proxy.data["spec"]["origin"]["uid"], again);
    assert_eq!(proxy.data["status"]["phase"], Value::Null);

    stage.life.recover(Kind::Hsm, &hsm).await;
    let usable = |life: &Life| {
        let all = life.material();
        all.iter().any(|object| object.usable)
    };
    assert!(!usable(&stage.life), "{:?}", stage.life.material());
    let proxies = Watched::Proxy(Kind::Key);
    let settled = |found: Option<&DynamicObject>| {
        found.is_some_and(|found| found.data["status"]["recordGeneration"].is_i64())
    };
    let name = stage.life.proxy_name(Kind::Key);
    stage.life.until("settled", proxies, &name, settled).await;
    assert_eq!(stage.state(Kind::Key), Some(RecordState::Deleted));
    let kept = stage.proxy().await;
    assert_eq!(kept.data["spec"], proxy.data["spec"], "its own dates");

    User::delete(&stage.life, Watched::Recover, &recover_name(Kind::Key)).await;
    stage.life.recover(Kind::Key, &again).await;
    assert_eq!(stage.life.identities(), made);
    assert_eq!(
        stage.life.record(Kind::Key).expect("one").1.origin.name,
        KEY
    );
}
