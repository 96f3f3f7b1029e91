//! The end of retention: announced, then purged, never early; recovery wins.

use chrono::{DateTime, Utc};
use kube::api::DynamicObject;
use managed_hsm_operator::backend::BackendError;
use serde_json::Value;

use crate::DAY;
use crate::operator::condition;
use crate::scene::{EC, HSM, HSM_PROXY, KEY, KEY_PROXY, RECOVER, Scene, manifest, origin, uid};

/// Seven days are the least.
const SHORT: &str = "{retentionDays: 7}";

fn date(of: &Value) -> DateTime<Utc> {
    let text = of.as_str().unwrap_or_else(|| panic!("a date: {of}"));
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").into()
}

/// Waits until the retention of what was deleted is over and it is purged; answers the receipt.
async fn purged_by_the_clock(
    scene: &Scene,
    of: &DynamicObject,
    name: &str,
    proxy: &DynamicObject,
) -> DynamicObject {
    let kind = if of
        .types
        .as_ref()
        .is_some_and(|types| types.kind == "HsmKey")
    {
        KEY_PROXY
    } else {
        HSM_PROXY
    };
    let announced = scene.until(kind, name, "PurgeAnnounced", "True", "").await;
    let at = date(&announced.data["status"]["announcedAt"]);
    let scheduled = date(&proxy.data["spec"]["scheduledPurgeTime"]);
    assert!(at >= scheduled - DAY, "announced too early: {announced:?}");
    scene.gone(kind, name).await;
    let receipt = scene.receipt(kind, name, &uid(of)).await;
    let when = date(&receipt.data["status"]["completionTime"]);
    assert!(when >= scheduled, "purged at {when}, before {scheduled}");
    assert!(when >= at + DAY, "purged at {when}, announced at {at} only");
    receipt
}

#[tokio::test(flavor = "multi_thread")]
async fn sd10_the_end_of_retention_is_announced_a_day_ahead_and_then_the_operator_purges() {
    let scene = Scene::with_hsm("retention-ends", SHORT).await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    let key = scene.ready(KEY, "signing").await;
    let proxy = scene.deleted(KEY, "signing").await;

    let receipt = purged_by_the_clock(&scene, &key, "signing", &proxy).await;
    assert_eq!(receipt.data["spec"]["reason"], "RetentionEnded");
    assert_eq!(
        receipt.data["spec"]["requestedBy"],
        managed_hsm_operator::api::MANAGER
    );
    assert_eq!(receipt.data["status"]["destroyed"]["count"], 1);
    assert!(matches!(scene.signs(&key), Err(BackendError::NotThere(_))));
    let events = scene.events(&uid(&proxy)).await.join("\n");
    for told in [
        "PurgeAnnounced: ",
        "Purging: ",
        "destroyed for good: RetentionEnded",
    ] {
        assert!(events.contains(told), "{told:?} is not in\n{events}");
    }
    // Its name is free.
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    scene.ready(KEY, "signing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd10_an_hsm_whose_retention_ends_is_purged_with_its_keys() {
    let scene = Scene::with_hsm("hsm-retention-ends", SHORT).await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    let key = scene.ready(KEY, "signing").await;
    let hsm = scene.get(HSM, "safe").await.expect("it is there");
    let proxy = scene.deleted(HSM, "safe").await;

    let receipt = purged_by_the_clock(&scene, &hsm, "safe", &proxy).await;
    assert_eq!(receipt.data["status"]["destroyed"]["count"], 1);
    scene.stalled(KEY, "signing", "MaterialDestroyed").await;
    assert!(matches!(scene.signs(&key), Err(BackendError::NotThere(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd10_an_unfinished_recover_holds_the_purge_after_the_date_and_says_so() {
    let scene = Scene::with_hsm("retention-held", SHORT).await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    let key = scene.ready(KEY, "signing").await;
    let proxy = scene.deleted(KEY, "signing").await;
    // The namespace may hold no key any more, so that the recovery waits.
    let quota = "---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {count/hsmkeys.managedhsm.dev: '0'}}\n";
    scene.apply(quota).await;
    scene
        .ask_back("waits", "HsmKey", "signing", &origin(&proxy))
        .await;
    scene
        .until(RECOVER, "waits", "Stalled", "True", "CreateRefused")
        .await;

    let held = scene
        .until(KEY_PROXY, "signing", "PurgeHeld", "True", "PurgeHeld")
        .await;
    let (_, _, sentence) = condition(&held, "PurgeHeld").expect("it is held");
    assert!(
        sentence.contains(&format!("Recover {}/waits", scene.ns)),
        "{sentence}"
    );
    let conditions = held.data["status"]["conditions"].as_array();
    let since = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "PurgeHeld")
        .map(|condition| date(&condition["lastTransitionTime"]));
    assert!(
        since >= Some(date(&proxy.data["spec"]["scheduledPurgeTime"])),
        "held after the date"
    );

    // Recovery wins also then.
    scene
        .kubectl(&["delete", "resourcequota", "none"], "")
        .await
        .ok();
    scene.until(RECOVER, "waits", "Complete", "True", "").await;
    let back = scene.ready(KEY, "signing").await;
    scene.signs(&back).expect("it signs");
    assert_eq!(
        back.data["status"]["versions"][0]["thumbprint"],
        key.data["status"]["versions"][0]["thumbprint"]
    );
}
