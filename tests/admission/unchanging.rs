//! Fixed fields, switches that only turn on, specs that are written once.

use kube::api::{Patch, PatchParams, PostParams};
use managed_hsm_operator::softdelete::Refusal;
use serde_json::{Value, json};

use super::scene::{DELETED_KEY, HSM, KEY, Scene, object, refused};
use crate::guarded_plane;
use managed_hsm_operator::controller::cluster::Watched;

#[tokio::test(flavor = "multi_thread")]
async fn sd08_what_was_fixed_of_an_hsm_stays_and_the_sentence_has_both_values() {
    let scene = Scene::of(guarded_plane().await, "fixed-hsm").await;
    scene.hsm("payments").await;
    let retention = Refusal::RetentionImmutable {
        fixed: 30,
        wanted: 60,
    }
    .to_string();
    let backend = Refusal::FieldImmutable {
        field: "spec.backend".into(),
        fixed: "default".into(),
        wanted: "rack".into(),
    };
    for by in [&scene.admin, &scene.operator] {
        let changed = scene
            .merge(by, HSM, "payments", json!({"spec": {"retentionDays": 60}}))
            .await;
        refused(changed, "fixed-in-hsms", &retention);
        // Leaving it out is what a manifest without it does: the schema fills in 90.
        let left_out = scene
            .merge(
                by,
                HSM,
                "payments",
                json!({"spec": {"retentionDays": null}}),
            )
            .await;
        refused(
            left_out,
            "fixed-in-hsms",
            "30 days in effect, and cannot become 90",
        );
        let moved = scene
            .merge(by, HSM, "payments", json!({"spec": {"backend": "rack"}}))
            .await;
        refused(moved, "fixed-in-hsms", &backend.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd12_and_sd13_switches_turn_on_and_never_off() {
    let scene = Scene::of(guarded_plane().await, "switches").await;
    let made = json!({"spec": {"softDelete": false}});
    scene
        .create(&scene.admin, HSM, "payments", made)
        .await
        .unwrap();
    let on = json!({"spec": {"softDelete": true, "purgeProtection": true}});
    scene
        .merge(&scene.admin, HSM, "payments", on)
        .await
        .expect("on it may go");
    let off = scene
        .merge(
            &scene.admin,
            HSM,
            "payments",
            json!({"spec": {"purgeProtection": false}}),
        )
        .await;
    refused(
        off,
        "fixed-in-hsms",
        &Refusal::PurgeProtectionIrreversible.to_string(),
    );
    let off = json!({"spec": {"softDelete": false, "purgeProtection": false}});
    let off = scene.merge(&scene.admin, HSM, "payments", off).await;
    refused(
        off,
        "fixed-in-hsms",
        &Refusal::SoftDeleteIrreversible.to_string(),
    );

    scene.key("signing").await;
    scene
        .merge(
            &scene.admin,
            KEY,
            "signing",
            json!({"spec": {"purgeProtection": true}}),
        )
        .await
        .unwrap();
    let off = scene
        .merge(
            &scene.admin,
            KEY,
            "signing",
            json!({"spec": {"purgeProtection": null}}),
        )
        .await;
    refused(
        off,
        "fixed-in-keys",
        &Refusal::PurgeProtectionIrreversible.to_string(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd08_what_was_fixed_of_a_key_stays_also_what_was_not_said() {
    let scene = Scene::of(guarded_plane().await, "fixed-key").await;
    scene.key("signing").await;
    let said = json!({"spec": {"hsm": "payments", "keyType": "RSA", "keySize": 2048, "retentionDays": 20, "keyName": "Said"}});
    scene.create(&scene.admin, KEY, "said", said).await.unwrap();
    let changes: [(&str, Value, &str); 9] = [
        (
            "signing",
            json!({"hsm": "staging"}),
            "spec.hsm was fixed as payments at creation and cannot become staging",
        ),
        (
            "signing",
            json!({"keyName": "other"}),
            "spec.keyName was fixed as (not said) at creation and cannot become other",
        ),
        (
            "signing",
            json!({"curve": "P-384"}),
            "spec.curve was fixed as P-256 at creation and cannot become P-384",
        ),
        (
            "signing",
            json!({"keyType": "RSA", "curve": null, "keySize": 2048}),
            "spec.keyType was fixed as EC at creation and cannot become RSA",
        ),
        (
            "signing",
            json!({"retentionDays": 10}),
            "spec.retentionDays was fixed as (not said) at creation and cannot become 10",
        ),
        (
            "said",
            json!({"keySize": 4096}),
            "spec.keySize was fixed as 2048 at creation and cannot become 4096",
        ),
        (
            "said",
            json!({"retentionDays": 10}),
            "spec.retentionDays was fixed as 20 at creation and cannot become 10",
        ),
        (
            "said",
            json!({"retentionDays": null}),
            "spec.retentionDays was fixed as 20 at creation and cannot become (not said)",
        ),
        (
            "said",
            json!({"keyName": null}),
            "spec.keyName was fixed as Said at creation and cannot become (not said)",
        ),
    ];
    for (name, change, words) in changes {
        let changed = scene
            .merge(&scene.admin, KEY, name, json!({"spec": change}))
            .await;
        refused(changed, "fixed-in-keys", words);
    }
    // SD-17: another spelling is the same name. The rest may change.
    let free =
        json!({"spec": {"keyName": "SAID", "versions": 3, "enabled": false, "tags": {"a": "b"}}});
    scene
        .merge(&scene.admin, KEY, "said", free)
        .await
        .expect("what is not fixed");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd34_a_forced_apply_of_a_changed_manifest_is_refused_and_deletes_nothing() {
    let scene = Scene::of(guarded_plane().await, "flux").await;
    let before = scene.hsm("payments").await;
    let manifest = object(HSM, "payments", json!({"spec": {"retentionDays": 7}}));
    let forced = PatchParams::apply("kustomize-controller").force();
    let api = scene.api(&scene.admin, HSM);
    for dry_run in [true, false] {
        let parameters = PatchParams {
            dry_run,
            ..forced.clone()
        };
        let answer = api
            .patch("payments", &parameters, &Patch::Apply(&manifest))
            .await;
        refused(
            answer,
            "fixed-in-hsms",
            "spec.retentionDays was fixed at creation",
        );
    }
    let after = api.get("payments").await.unwrap();
    assert_eq!(after.metadata.uid, before.metadata.uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd34_an_update_that_changes_nothing_always_passes() {
    let scene = Scene::of(guarded_plane().await, "unchanged").await;
    scene.hsm("payments").await;
    scene.deleted_key(&scene.operator, "gone").await.unwrap();
    let recover = json!({"spec": {"kind": "ManagedHsm", "name": "payments", "uid": "u-1"}});
    scene
        .create(&scene.admin, Watched::Recover, "back", recover)
        .await
        .unwrap();
    let proxy = scene.proxy("gone");
    for (of, name) in [
        (HSM, "payments"),
        (Watched::Recover, "back"),
        (DELETED_KEY, proxy.as_str()),
    ] {
        let api = scene.api(&scene.admin, of);
        let stored = api.get(name).await.unwrap();
        let migrated = api.replace(name, &PostParams::default(), &stored).await;
        migrated.unwrap_or_else(|error| panic!("a migration of the storage: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_and_sd23_what_was_asked_is_never_edited_not_even_by_the_operator() {
    let scene = Scene::of(guarded_plane().await, "once").await;
    scene.deleted_key(&scene.operator, "gone").await.unwrap();
    scene
        .purge(&scene.operator, "ask", "gone", "alice")
        .await
        .unwrap();
    let recover = json!({"spec": {"kind": "ManagedHsm", "name": "payments", "uid": "u-1"}});
    scene
        .create(&scene.admin, Watched::Recover, "back", recover)
        .await
        .unwrap();
    let (purge, proxy) = (format!("{}-ask", scene.namespace), scene.proxy("gone"));
    for by in [&scene.admin, &scene.operator] {
        for (of, name, change) in [
            (
                Watched::Recover,
                "back",
                json!({"acceptNamespaceUid": "n-2"}),
            ),
            (Watched::Recover, "back", json!({"uid": "u-2"})),
            (
                Watched::Purge,
                purge.as_str(),
                json!({"requestedBy": "bob"}),
            ),
            (Watched::Purge, purge.as_str(), json!({"uid": "u-2"})),
        ] {
            let changed = scene.merge(by, of, name, json!({"spec": change})).await;
            refused(
                changed,
                "written-once",
                "spec was fixed as a whole at creation",
            );
        }
    }
    // SD-04: nobody moves a purge date.
    let date = json!({"spec": {"scheduledPurgeTime": "2026-03-01T00:00:00Z"}});
    let moved = scene
        .merge(&scene.operator, DELETED_KEY, &proxy, date)
        .await;
    refused(moved, "written-once", "cannot become another");
}
