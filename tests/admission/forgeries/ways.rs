//! Other ways to the same: by whatever verb, subresource or tool.

use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Request,
};
use managed_hsm_operator::controller::cluster::Watched;
use serde_json::{Value, json};

use super::ground::{BUSY, Ground, dry_delete, dry_patch, swapped};
use crate::admission::scene::{DELETED_KEY, KEY, OURS, object, refused};
use crate::guarded_plane;

/// By a merge, a JSON patch, a PUT and a forced apply; as a dry run, and really.
async fn every_way(api: &Api<DynamicObject>, of: Watched, name: &str, status: &Value, words: &str) {
    let stored = api.get(name).await.expect("it stands");
    let mut whole = stored.clone();
    whole.data["status"] = status.clone();
    let mut applied = object(of, name, json!({ "status": status }));
    applied.metadata.managed_fields = None;
    let replace = json!([{"op": "add", "path": "/status", "value": status}]);
    for dry_run in [true, false] {
        let put = PostParams {
            dry_run,
            ..PostParams::default()
        };
        let answer = api.replace_status(name, &put, &whole).await;
        refused(answer, "status", words);
        let plain = PatchParams {
            dry_run,
            ..PatchParams::default()
        };
        let forced = PatchParams {
            dry_run,
            ..PatchParams::apply("eve").force()
        };
        for (parameters, patch) in [
            (&plain, Patch::Merge(json!({ "status": status }))),
            (
                &forced,
                Patch::Apply(serde_json::to_value(&applied).expect("JSON")),
            ),
        ] {
            let answer = api.patch_status(name, parameters, &patch).await;
            refused(answer, "status", words);
        }
        let patch = serde_json::from_value(replace.clone()).expect("a JSON patch");
        let patch = Patch::Json::<()>(patch);
        refused(
            api.patch_status(name, &plain, &patch).await,
            "status",
            words,
        );
    }
    let after = api.get(name).await.expect("it stands");
    assert_eq!(
        after.metadata.resource_version,
        stored.metadata.resource_version
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phase_and_the_dates_of_a_proxys_status_are_not_edited_by_any_way() {
    let ground = Ground::new(guarded_plane().await, "phase").await;
    let scene = &ground.scene;
    let api = scene.api(&scene.admin, DELETED_KEY);
    for status in [
        json!({"phase": "Destroying"}),
        json!({"phase": "Recovering", "recovering": {"kind": "Recover", "name": "back", "uid": "u"}}),
        json!({"announcedAt": "2026-01-01T00:00:00Z", "purgeTime": "2026-01-02T00:00:00Z", "recordGeneration": 1}),
    ] {
        let name = scene.proxy("gone");
        let words = "Only the operator may update deletedhsmkeys";
        every_way(&api, DELETED_KEY, &name, &status, words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_key_is_not_swapped_by_any_way() {
    let ground = Ground::new(guarded_plane().await, "swapped").await;
    let api = ground.scene.api(&ground.scene.admin, KEY);
    let words = "Only the operator may update hsmkeys signing";
    every_way(&api, KEY, "signing", &swapped(), words).await;
}

/// A Purge that says of itself that it was accepted, a key that brings a public key along, ages and uids of one's own.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_create_brings_along_of_status_age_and_uid_is_dropped() {
    let ground = Ground::new(guarded_plane().await, "brought").await;
    let scene = &ground.scene;
    let accepted = json!({"observedGeneration": 1, "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-03-01T00:00:00Z"}]});
    let purge = json!({"kind": "DeletedHsmKey", "name": scene.proxy("gone"), "uid": "u-gone", "requestedBy": "admin"});
    let key = json!({"hsm": "payments", "keyType": "EC", "curve": "P-256"});
    let old = json!({"creationTimestamp": "2001-01-01T00:00:00Z", "uid": "u-gone", "deletionTimestamp": "2001-01-01T00:00:00Z"});
    for (of, name, spec, status) in [
        (
            Watched::Purge,
            ground.purge_name("brought"),
            purge,
            accepted,
        ),
        (KEY, "brought".to_owned(), key, swapped()),
    ] {
        let data = json!({"metadata": old, "spec": spec, "status": status});
        let made = scene.create(&scene.admin, of, &name, data).await;
        let made = made.expect("it is taken, without that");
        assert_eq!(made.data["status"], json!({"observedGeneration": -1}));
        assert_ne!(made.metadata.uid.as_deref(), Some("u-gone"));
        assert_eq!(made.metadata.deletion_timestamp, None);
        let age = serde_json::to_string(&made.metadata.creation_timestamp).expect("JSON");
        assert!(!age.contains("2001"), "{age}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_scale_of_anything() {
    let ground = Ground::new(guarded_plane().await, "scale").await;
    let client = &ground.scene.admin;
    for of in OURS {
        let api = ground.scene.api(client, of);
        let request = Request::new(api.resource_url())
            .get_subresource("scale", "any")
            .expect("a request");
        match client.request_text(request).await {
            Err(kube::Error::Api(status)) => assert_eq!(status.code, 404, "{status:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_replace_force_neither_replaces_a_proxy_nor_a_purge_that_executes() {
    let plane = guarded_plane().await;
    let ground = Ground::new(plane, "force").await;
    let scene = &ground.scene;
    for (of, name, words) in [
        (
            DELETED_KEY,
            scene.proxy("gone"),
            "have it purged with a Purge",
        ),
        (
            Watched::Purge,
            ground.purge_name(BUSY),
            "what is executing ends by itself",
        ),
    ] {
        let api = scene.api(&scene.admin, of);
        let before = api.get(&name).await.expect("it stands");
        let manifest = object(of, &name, json!({"spec": before.data["spec"]}));
        let manifest = serde_json::to_string(&manifest).expect("JSON");
        let replace = ["replace", "--force", "--timeout=20s", "-f", "-"];
        let printed = plane.kubectl(&replace, &manifest).await.refused();
        assert!(printed.contains(words), "{printed}");
        let after = api.get(&name).await.expect("it stands");
        assert_eq!(after, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletecollection_leaves_purges_that_execute() {
    let ground = Ground::new(guarded_plane().await, "collection").await;
    let purges = ground.scene.api(&ground.scene.admin, Watched::Purge);
    let name = ground.purge_name(BUSY);
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    for parameters in [dry_delete(), DeleteParams::default()] {
        let answer = purges.delete_collection(&parameters, &only).await;
        refused(answer.map(|_| ()), "withdrawal", &name);
    }
    purges.get(&name).await.expect("it stands");
}

/// Garbage collection deletes what its owner is gone of, whoever wrote down the owner.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_guarded_does_not_go_as_somebodys_garbage() {
    let plane = guarded_plane().await;
    let ground = Ground::new(plane, "garbage").await;
    let owner = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "u"}]}});
    let proxies = ground.scene.api(&ground.scene.admin, DELETED_KEY);
    let gone = ground.scene.proxy("gone");
    let owned = Patch::Merge(&owner);
    let answer = proxies.patch(&gone, &dry_patch(), &owned).await;
    refused(answer, "proxies", "Only the operator may update");

    let collector = plane
        .client_as(
            "system:serviceaccount:kube-system:generic-garbage-collector",
            &["system:masters"],
        )
        .await;
    let answer = ground.pins().patch("pins", &dry_patch(), &owned).await;
    answer.expect("RBAC alone says who writes a Secret's owners");
    let pins = Api::<k8s_openapi::api::core::v1::Secret>::namespaced(
        collector.clone(),
        crate::admission::scene::HOME,
    );
    let answer = pins.delete("pins", &dry_delete()).await;
    refused(
        answer.map(|_| ()),
        "store",
        "nobody may delete it by mistake",
    );
    let proxies = ground.scene.api(&collector, DELETED_KEY);
    let answer = proxies.delete(&gone, &dry_delete()).await;
    refused(
        answer.map(|_| ()),
        "proxies",
        "Only the operator may delete",
    );
}

/// The operator makes them so.
#[tokio::test(flavor = "multi_thread")]
async fn immutable_pins_are_not_emptied_either() {
    let ground = Ground::new(guarded_plane().await, "emptied").await;
    for change in [
        json!({"data": {"user-pin": null}}),
        json!({"data": {"user-pin": "b3RoZXI="}}),
        json!({"immutable": false}),
    ] {
        let changed = ground
            .pins()
            .patch("pins", &dry_patch(), &Patch::Merge(&change))
            .await;
        match changed {
            Err(kube::Error::Api(status)) => {
                assert_eq!(status.code, 422);
                assert!(status.message.contains("immutable"), "{}", status.message);
            }
            other => panic!("not refused: {other:?}"),
        }
    }
}
