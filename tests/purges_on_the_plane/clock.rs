//! A clock that is not trusted: what is due waits, visibly, and goes on by itself; a deletion that was seen by it starts at its discovery.

use std::time::Duration;

use kube::api::DynamicObject;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::softdelete::Refusal;
use serde_json::Value;
use testplane::{Borrowed, Options, borrow, eventually};

use crate::operator::{Build, Operator, condition, get, until};
use crate::scene::{EC, KEY, KEY_PROXY, PURGE, manifest};

/// What is held is looked at again each half minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// An operator with a day of one second, and in the namespace `team` the HSM `safe` with the keys `first` and `second`, which are kept for seven days.
async fn with_two_keys() -> (Borrowed, Operator) {
    let plane = borrow(Options::default()).await;
    let operator = start(&plane, MemoryBackend::new(), true).await;
    let namespace = ["create", "namespace", "team"];
    plane.kubectl(&namespace, "").await.ok();
    let all = manifest("ManagedHsm", "safe", "{retentionDays: 7}")
        + &manifest("HsmKey", "first", EC)
        + &manifest("HsmKey", "second", EC);
    let apply = ["-n", "team", "apply", "-f", "-"];
    plane.kubectl(&apply, &all).await.ok();
    for name in ["first", "second"] {
        until(&plane, KEY, Some("team"), name, "Ready", "True", "").await;
    }
    (plane, operator)
}

async fn start(plane: &Borrowed, store: MemoryBackend, compared: bool) -> Operator {
    let mut build = Build::new(plane, store).await;
    build.settings.day = chrono::Duration::seconds(1);
    build.clock_compared = compared;
    build.start().await
}

/// Lets the operator believe that the API server's clock is hours ahead.
fn disagree(operator: &Operator) {
    let now = operator.time.clock().read();
    operator
        .time
        .compare(now, now.wall + chrono::TimeDelta::hours(5));
    assert!(operator.time.trusted_now().is_err());
}

async fn proxy(plane: &Borrowed, name: &str) -> Option<DynamicObject> {
    get(plane, KEY_PROXY, None, &format!("team.{name}")).await
}

async fn deleted(plane: &Borrowed, name: &str) -> DynamicObject {
    let delete = ["-n", "team", "delete", "hsmkey", name];
    plane.kubectl(&delete, "").await.ok();
    eventually("the deletion is settled", PATIENCE, async || {
        match proxy(plane, name).await {
            Some(found) if found.data["status"]["recordGeneration"].is_i64() => Ok(found),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sd10_by_a_clock_that_is_not_trusted_nothing_is_announced_or_purged_and_it_goes_on_by_itself()
 {
    let (plane, operator) = with_two_keys().await;
    let first = deleted(&plane, "first").await;
    disagree(&operator);
    let second = deleted(&plane, "second").await;
    let uid = second.data["spec"]["origin"]["uid"].as_str();
    let spec = format!(
        "{{kind: DeletedHsmKey, name: team.second, uid: {}, requestedBy: anna}}",
        uid.expect("a uid")
    );
    let purge = manifest("Purge", "now", &spec);
    plane.kubectl(&["apply", "-f", "-"], &purge).await.ok();

    let sentence = Refusal::ClockNotTrusted.to_string();
    let asked = until(
        &plane,
        PURGE,
        None,
        "now",
        "Ready",
        "False",
        "ClockNotTrusted",
    )
    .await;
    assert_eq!(condition(&asked, "Ready").expect("told").2, sentence);
    assert_eq!(condition(&asked, "Failed"), None, "it waits");
    let held = eventually("it is held", PATIENCE, async || {
        let found = proxy(&plane, "first").await.expect("it is kept");
        match condition(&found, "PurgeHeld") {
            Some((is, why, _)) if is == "True" && why == "ClockNotTrusted" => Ok(found),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(condition(&held, "PurgeHeld").expect("told").2, sentence);
    // Long past its date it is still there, and not even announced.
    tokio::time::sleep(Duration::from_secs(9)).await;
    let kept = proxy(&plane, "first").await.expect("it is kept");
    assert_eq!(kept.metadata.uid, first.metadata.uid);
    assert_eq!(kept.data["status"]["announcedAt"], Value::Null);
    let events = ["get", "events", "-A", "-o", "jsonpath={.items[*].reason}"];
    let told = plane.kubectl(&events, "").await.ok();
    assert!(told.contains("ClockNotTrusted"), "{told}");

    let client = plane.client().await;
    operator.time.ask(&client).await.expect("the clocks agree");
    for name in ["first", "second"] {
        eventually("it is purged", PATIENCE, async || {
            match proxy(&plane, name).await {
                None => Ok(()),
                Some(found) => Err(found.data["status"].to_string()),
            }
        })
        .await;
    }
    until(&plane, PURGE, None, "now", "Complete", "True", "").await;
    assert_eq!(operator.backend.inspect(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd09_a_deletion_that_an_untrusted_clock_saw_late_starts_at_its_discovery() {
    let (plane, operator) = with_two_keys().await;
    let store = operator.crash().await;
    let mut asked = Vec::new();
    for name in ["first", "second"] {
        let delete = ["-n", "team", "delete", "hsmkey", name, "--wait=false"];
        plane.kubectl(&delete, "").await.ok();
        let found = get(&plane, KEY, Some("team"), name)
            .await
            .expect("it waits");
        asked.push(
            found
                .metadata
                .deletion_timestamp
                .expect("a date")
                .0
                .as_second(),
        );
        if name == "first" {
            // Nobody was there to see it; and then somebody who does not know what time it is.
            tokio::time::sleep(Duration::from_secs(3)).await;
            let doubtful = start(&plane, store.clone(), false).await;
            let found = settled(&plane, name).await;
            assert!(seconds(&found) >= asked[0] + 3, "{found:?} {asked:?}");
            doubtful.crash().await;
        }
    }
    // A clock that is trusted goes by when the delete was accepted.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _trusted = start(&plane, store, true).await;
    let found = settled(&plane, "second").await;
    assert_eq!(seconds(&found), asked[1], "{found:?}");
}

async fn settled(plane: &Borrowed, name: &str) -> DynamicObject {
    eventually("its proxy is there", PATIENCE, async || {
        proxy(plane, name)
            .await
            .ok_or_else(|| "not there".to_owned())
    })
    .await
}

/// When the retention began.
fn seconds(proxy: &DynamicObject) -> i64 {
    let text = proxy.data["spec"]["deletionTime"].as_str().expect("a date");
    let date = chrono::DateTime::parse_from_rfc3339(text);
    date.expect("RFC 3339").timestamp()
}
