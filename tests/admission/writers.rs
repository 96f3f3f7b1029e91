//! What only the operator writes.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use managed_hsm_operator::api::FINALIZER;
use managed_hsm_operator::controller::cluster::Watched;
use serde_json::json;
use testplane::eventually;

use super::scene::{DELETED_HSM, DELETED_KEY, HSM, KEY, SOON, Scene, object, refused};
use crate::guarded_plane;

#[tokio::test(flavor = "multi_thread")]
async fn sd25_a_proxy_is_deleted_by_nobody_and_the_sentence_names_the_ways() {
    let plane = guarded_plane().await;
    let scene = Scene::of(plane, "proxy-delete").await;
    scene.deleted_key(&scene.operator, "gone").await.unwrap();
    let api = scene.api(&scene.admin, DELETED_KEY);
    let name = scene.proxy("gone");
    let words = format!("Only the operator may delete deletedhsmkeys {name}, not the user");
    let forced = DeleteParams::default().grace_period(0);
    for parameters in [
        DeleteParams::default(),
        DeleteParams::background(),
        DeleteParams::foreground(),
        forced,
    ] {
        let answer = api.delete(&name, &parameters).await;
        refused(answer.map(|_| ()), "proxies", &words);
    }
    let dry = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    refused(
        api.delete(&name, &dry).await.map(|_| ()),
        "proxies",
        "recover the object with a Recover",
    );
    let only_it =
        ListParams::default().fields(&format!("spec.origin.namespace={}", scene.namespace));
    refused(
        api.delete_collection(&DeleteParams::default(), &only_it)
            .await
            .map(|_| ()),
        "proxies",
        &words,
    );
    let printed = plane
        .kubectl(&["delete", "deletedhsmkeys", &name, "--wait=false"], "")
        .await
        .refused();
    assert!(printed.contains("have it purged with a Purge"), "{printed}");
    scene
        .api(&scene.operator, DELETED_KEY)
        .delete(&name, &DeleteParams::default())
        .await
        .expect("the operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd32_a_proxy_is_neither_forged_nor_edited() {
    let scene = Scene::of(guarded_plane().await, "proxy-write").await;
    refused(
        scene.deleted_key(&scene.admin, "forged").await,
        "proxies",
        "Only the operator may create deletedhsmkeys",
    );
    scene.deleted_key(&scene.operator, "gone").await.unwrap();
    let name = scene.proxy("gone");
    for change in [
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"finalizers": ["a.b/c"]}}),
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u"}]}}),
    ] {
        let changed = scene.merge(&scene.admin, DELETED_KEY, &name, change).await;
        refused(
            changed,
            "proxies",
            &format!("Only the operator may update deletedhsmkeys {name}"),
        );
    }
    let manifest = object(
        DELETED_KEY,
        &name,
        json!({"metadata": {"annotations": {"a": "b"}}}),
    );
    let forced = PatchParams::apply("eve").force();
    let applied = scene
        .api(&scene.admin, DELETED_KEY)
        .patch(&name, &forced, &Patch::Apply(&manifest))
        .await;
    refused(applied, "proxies", "Only the operator may update");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd32_no_status_is_written_by_anybody_else() {
    let scene = Scene::of(guarded_plane().await, "status").await;
    scene.hsm("payments").await;
    scene.key("signing").await;
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
    let snapshot = json!({"spec": {
        "origin": {"namespace": scene.namespace, "namespaceUid": "n-1", "name": "old", "uid": "u-old"},
        "backend": "default", "hsmId": "h-2", "deletionTime": "2026-02-20T16:00:00Z",
        "purgeProtection": false, "recoveryLevel": "Purgeable"}});
    let (hsm_proxy, key_proxy) = (scene.proxy("old"), scene.proxy("gone"));
    scene
        .create(&scene.operator, DELETED_HSM, &hsm_proxy, snapshot)
        .await
        .unwrap();
    let purge = format!("{}-ask", scene.namespace);
    let ready = json!([{"type": "Ready", "status": "True", "reason": "Ready", "message": "forged", "lastTransitionTime": "2026-03-01T00:00:00Z"}]);
    for (of, name) in [
        (HSM, "payments"),
        (KEY, "signing"),
        (DELETED_HSM, hsm_proxy.as_str()),
        (DELETED_KEY, key_proxy.as_str()),
        (Watched::Recover, "back"),
        (Watched::Purge, purge.as_str()),
    ] {
        let forged = scene
            .merge_status(&scene.admin, of, name, json!({"conditions": ready}))
            .await;
        refused(
            forged,
            "status",
            &format!(
                "Only the operator may update {} {name}",
                of.resource().plural
            ),
        );
        scene
            .merge_status(&scene.operator, of, name, json!({"conditions": ready}))
            .await
            .expect("the operator's own");
    }
    // A swapped public key, by PUT.
    let mut key = scene
        .api(&scene.admin, KEY)
        .get_status("signing")
        .await
        .unwrap();
    key.data["status"]["currentVersion"] = json!(7);
    let put = scene
        .api(&scene.admin, KEY)
        .replace_status("signing", &PostParams::default(), &key)
        .await;
    refused(put, "status", "change the spec");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd32_our_finalizer_is_put_on_and_taken_off_by_the_operator_alone() {
    let plane = guarded_plane().await;
    let scene = Scene::of(plane, "finalizer").await;
    scene.hsm("payments").await;
    let on = json!({"metadata": {"finalizers": [FINALIZER]}});
    let put_on = scene.merge(&scene.admin, HSM, "payments", on.clone()).await;
    refused(put_on, "finalizer", "keep metadata.finalizers as they are");
    scene
        .merge(&scene.operator, HSM, "payments", on)
        .await
        .unwrap();

    let api = scene.api(&scene.admin, HSM);
    let strip = || {
        let removed = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
        Patch::Json::<()>(serde_json::from_value(removed).expect("a JSON patch"))
    };
    let parameters = PatchParams::default();
    let stripped = async || api.patch("payments", &parameters, &strip()).await;
    refused(
        stripped().await,
        "finalizer",
        "Only the operator may update managedhsms payments",
    );
    let mut put = api.get("payments").await.unwrap();
    put.metadata.finalizers = None;
    refused(
        api.replace("payments", &PostParams::default(), &put).await,
        "finalizer",
        "replace drops what it does not name",
    );
    let manifest = format!(
        "{{\"apiVersion\":\"managedhsm.dev/v1alpha1\",\"kind\":\"ManagedHsm\",\"metadata\":{{\"name\":\"payments\",\"namespace\":\"{}\"}},\"spec\":{{\"retentionDays\":30}}}}",
        scene.namespace
    );
    let replaced = plane
        .kubectl(&["replace", "-f", "-"], &manifest)
        .await
        .refused();
    assert!(replaced.contains("use kubectl apply"), "{replaced}");
    let others = json!({"metadata": {"finalizers": [FINALIZER, "example.com/mine"]}});
    scene
        .merge(&scene.admin, HSM, "payments", others)
        .await
        .expect("other people's finalizers are theirs");
    scene
        .merge(
            &scene.admin,
            HSM,
            "payments",
            json!({"metadata": {"finalizers": [FINALIZER]}}),
        )
        .await
        .unwrap();

    // A DELETE passes, and on what terminates it holds all the same.
    api.delete("payments", &DeleteParams::default())
        .await
        .expect("a delete is a user's");
    refused(stripped().await, "finalizer", "Only the operator");
    let off = json!({"metadata": {"finalizers": null}});
    scene
        .merge(&scene.operator, HSM, "payments", off)
        .await
        .unwrap();
    eventually("it is gone", SOON, async || {
        match api.get_opt("payments").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let backup = json!({"metadata": {"finalizers": [FINALIZER]}, "spec": {}});
    scene
        .create(&scene.admin, HSM, "restored", backup)
        .await
        .expect("a backup brings it along");
}
