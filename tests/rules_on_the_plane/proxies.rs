//! What a proxy is, what it holds, and the dates in it.

use chrono::{DateTime, Utc};
use kube::api::DynamicObject;
use managed_hsm_operator::softdelete::Refusal;
use serde_json::{Value, json};

use crate::operator::condition;
use crate::scene::{
    EC, HSM, HSM_PROXY, KEY, KEY_PROXY, Scene, fingerprints, manifest, uid, with_meta,
};

fn date(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().expect("a date");
    assert_eq!(text.len(), "2026-01-01T00:00:00Z".len(), "whole seconds");
    assert!(text.ends_with('Z'), "UTC");
    DateTime::parse_from_rfc3339(text)
        .expect("RFC 3339")
        .to_utc()
}

/// What was said at the deletion, by the one who deleted: its deletionTimestamp.
async fn terminating_since(scene: &Scene, name: &str) -> DateTime<Utc> {
    // Somebody else's finalizer keeps it, so that the date can be read.
    let patch = r#"{"metadata":{"finalizers":["managedhsm.dev/soft-delete","example.com/keep"]}}"#;
    let args = ["patch", "hsmkey", name, "--type=merge", "-p", patch];
    scene.kubectl(&args, "").await.ok();
    let delete = ["delete", "hsmkey", name, "--wait=false"];
    scene.kubectl(&delete, "").await.ok();
    let found = scene.get(KEY, name).await.expect("it is kept");
    let since = found.metadata.deletion_timestamp.expect("terminating");
    serde_json::from_value(json!(since)).expect("a date")
}

async fn let_go(scene: &Scene, name: &str) {
    scene.retained(KEY_PROXY, name).await;
    let only = scene
        .seen(KEY, name, "ours is off, theirs is on", |found| {
            found.metadata.finalizers == Some(vec!["example.com/keep".into()])
        })
        .await;
    assert!(only.metadata.deletion_timestamp.is_some());
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    let args = ["patch", "hsmkey", name, "--type=merge", "-p", patch];
    scene.kubectl(&args, "").await.ok();
    scene.gone(KEY, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd06_a_proxy_holds_all_that_recovery_needs_and_sd07_carries_nothing_as_its_own() {
    let scene = Scene::with_hsm("holds", "{}").await;
    let owner = scene.ready(HSM, "safe").await;
    let metadata = format!(
        "{{name: signing, labels: {{app.kubernetes.io/managed-by: argo}}, annotations: {{note: hello}}, ownerReferences: [{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, name: safe, uid: {}}}]}}",
        uid(&owner)
    );
    let spec = "{hsm: safe, keyType: EC, curve: P-256, tags: {cost: '17'}}";
    scene
        .kubectl(
            &["apply", "--server-side", "--field-manager=git", "-f", "-"],
            &with_meta("HsmKey", &metadata, spec),
        )
        .await
        .ok();
    let key = scene.ready(KEY, "signing").await;
    let proxy = scene.deleted(KEY, "signing").await;

    assert_eq!(proxy.metadata.namespace, None);
    let name = format!("{}.signing", scene.ns);
    assert_eq!(proxy.metadata.name, Some(name));
    let (spec, namespace) = (&proxy.data["spec"], scene.namespace().await);
    assert_eq!(
        spec["origin"],
        json!({"namespace": scene.ns, "namespaceUid": uid(&namespace), "name": "signing", "uid": uid(&key)})
    );
    assert_eq!(spec["hsm"], "safe");
    assert_eq!(spec["keyName"], "signing");
    assert_eq!(spec["hsmId"], key.data["status"]["hsmId"]);
    assert_eq!(fingerprints(&proxy), fingerprints(&key));
    let snapshot = &spec["snapshot"];
    assert_eq!(snapshot["apiVersion"], "managedhsm.dev/v1alpha1");
    assert_eq!(snapshot["spec"], key.data["spec"]);
    assert_eq!(
        snapshot["labels"],
        json!({"app.kubernetes.io/managed-by": "argo"})
    );
    assert_eq!(snapshot["annotations"]["note"], "hello");
    assert!(snapshot.get("ownerReferences").is_none());
    let managers = snapshot["managedFields"].as_array().expect("owners");
    assert!(managers.iter().any(|entry| entry["manager"] == "git"));

    // SD-07: GitOps tools and the garbage collector see nobody's object.
    assert_eq!(proxy.metadata.labels, None);
    assert_eq!(proxy.metadata.annotations, None);
    assert_eq!(proxy.metadata.owner_references, None);
    assert_eq!(proxy.metadata.finalizers, None);
    let ready = condition(&proxy, "Ready").expect("told");
    assert_eq!(ready.0, "True");
    assert_eq!(condition(&proxy, "SnapshotIncomplete"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd08_retention_is_ninety_days_if_not_said_and_a_keys_is_its_hsms() {
    let scene = Scene::empty("retention").await;
    let all = manifest("ManagedHsm", "usual", "{}")
        + &manifest("ManagedHsm", "short", "{retentionDays: 10}")
        + &manifest(
            "HsmKey",
            "says-nothing",
            "{hsm: short, keyType: EC, curve: P-256}",
        )
        + &manifest(
            "HsmKey",
            "says-less",
            "{hsm: short, keyType: EC, curve: P-256, retentionDays: 7}",
        )
        + &manifest(
            "HsmKey",
            "says-more",
            "{hsm: short, keyType: EC, curve: P-256, retentionDays: 11}",
        );
    scene.apply(&all).await;
    let usual = scene.ready(HSM, "usual").await;
    assert_eq!(usual.data["spec"]["retentionDays"], 90);
    let sentence = scene.stalled(KEY, "says-more", "RetentionExceedsHsm").await;
    let refusal = Refusal::RetentionExceedsHsm {
        days: 11,
        hsm_days: 10,
    };
    assert_eq!(sentence, refusal.to_string());
    scene
        .kubectl(&["delete", "hsmkey", "says-more"], "")
        .await
        .ok();
    assert_eq!(scene.get(KEY_PROXY, "says-more").await, None);

    for (name, days) in [("says-nothing", 10), ("says-less", 7)] {
        scene.ready(KEY, name).await;
        let proxy = scene.deleted(KEY, name).await;
        assert_eq!(proxy.data["spec"]["retentionDays"], days, "{name}");
    }
    let proxy = scene.deleted(HSM, "usual").await;
    assert_eq!(proxy.data["spec"]["retentionDays"], 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd09_the_clock_starts_when_the_delete_was_accepted_and_runs_whole_days() {
    let scene = Scene::with_hsm("dates", "{retentionDays: 12}").await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    scene.ready(KEY, "signing").await;
    let since = terminating_since(&scene, "signing").await;
    let_go(&scene, "signing").await;
    let proxy = scene.retained(KEY_PROXY, "signing").await;
    let spec = &proxy.data["spec"];
    assert_eq!(date(&spec["deletionTime"]), since);
    let scheduled = date(&spec["scheduledPurgeTime"]);
    assert_eq!((scheduled - since).num_seconds(), 12 * 86_400);
    assert_eq!(
        proxy.data["status"]["purgeTime"],
        spec["scheduledPurgeTime"]
    );
}

/// The level that the status of this shows.
fn level(of: &DynamicObject) -> &str {
    let shown = of.data["status"]["recoveryLevel"].as_str();
    shown.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn sd16_each_object_and_proxy_shows_its_recovery_level_as_it_is_now() {
    let scene = Scene::empty("levels").await;
    let key = |name: &str, hsm: &str, more: &str| {
        let spec = format!("{{hsm: {hsm}, keyType: oct, keySize: 128{more}}}");
        manifest("HsmKey", name, &spec)
    };
    let all = manifest("ManagedHsm", "usual", "{}")
        + &manifest("ManagedHsm", "protected", "{purgeProtection: true}")
        + &manifest("ManagedHsm", "short", "{retentionDays: 7}")
        + &manifest(
            "ManagedHsm",
            "both",
            "{retentionDays: 89, purgeProtection: true}",
        )
        + &key("in-usual", "usual", "")
        + &key("less", "usual", ", retentionDays: 30")
        + &key("in-protected", "protected", "")
        + &key("in-short", "short", "")
        + &key("in-both", "both", "");
    scene.apply(&all).await;
    let levels = [
        (HSM, "usual", "Recoverable+Purgeable"),
        (HSM, "protected", "Recoverable"),
        (HSM, "short", "CustomizedRecoverable+Purgeable"),
        (HSM, "both", "CustomizedRecoverable"),
        (KEY, "in-usual", "Recoverable+Purgeable"),
        (KEY, "less", "CustomizedRecoverable+Purgeable"),
        (KEY, "in-protected", "Recoverable"),
        (KEY, "in-short", "CustomizedRecoverable+Purgeable"),
        (KEY, "in-both", "CustomizedRecoverable"),
    ];
    for (of, name, expected) in levels {
        let found = scene.ready(of, name).await;
        assert_eq!(level(&found), expected, "{name}");
    }
    for (name, expected) in [
        ("in-usual", "Recoverable+Purgeable"),
        ("less", "CustomizedRecoverable+Purgeable"),
        ("in-protected", "Recoverable"),
        ("in-both", "CustomizedRecoverable"),
    ] {
        let proxy = scene.deleted(KEY, name).await;
        assert_eq!(proxy.data["spec"]["recoveryLevel"], expected, "{name}");
        assert_eq!(level(&proxy), expected, "{name}");
    }
    let proxy = scene.deleted(HSM, "short").await;
    assert_eq!(level(&proxy), "CustomizedRecoverable+Purgeable");
    let found = scene.get(HSM_PROXY, "short").await.expect("its proxy");
    assert_eq!(found.data["status"]["purgeProtection"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd16_a_protected_key_takes_purgeable_from_its_hsms_level() {
    let scene = Scene::with_key("lifted").await;
    let hsm = scene.ready(HSM, "safe").await;
    assert_eq!(level(&hsm), "Recoverable+Purgeable");
    let spec = "{hsm: safe, keyType: EC, curve: P-256, purgeProtection: true}";
    scene.apply(&manifest("HsmKey", "signing", spec)).await;
    for of in [KEY, HSM] {
        let name = if of == KEY { "signing" } else { "safe" };
        scene
            .seen(of, name, "protected", |found| level(found) == "Recoverable")
            .await;
    }
}
