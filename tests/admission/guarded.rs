//! What must not go by mistake.

use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use managed_hsm_operator::api::ALLOW_DELETE;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testplane::{Controllers, Options, Plane, borrow, eventually};

use super::scene::{HOME, SOON, install, installation, refused};

async fn create<K>(api: &Api<K>, object: Value)
where
    K: DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
{
    let object = serde_json::from_value(object).expect("an object");
    api.create(&PostParams::default(), &object)
        .await
        .expect("it is taken");
}

/// The store's three, and one of each that is nobody's.
async fn home(plane: &Plane) -> (Api<Namespace>, Api<PersistentVolumeClaim>, Api<Secret>) {
    let client = plane.client().await;
    let namespaces = Api::<Namespace>::all(client.clone());
    create(&namespaces, json!({"metadata": {"name": HOME}})).await;
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), HOME);
    let secrets = Api::<Secret>::namespaced(client, HOME);
    for name in ["store", "other"] {
        create(
            &claims,
            json!({"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        )
        .await;
    }
    for name in ["pins", "other"] {
        create(&secrets, json!({"metadata": {"name": name}})).await;
    }
    (namespaces, claims, secrets)
}

fn allow() -> Patch<Value> {
    Patch::Merge(json!({"metadata": {"annotations": {ALLOW_DELETE: "true"}}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn our_definitions_go_only_when_a_person_said_so() {
    let plane = borrow(Options::default()).await;
    install(&plane, &installation(false)).await;
    let api = Api::<CustomResourceDefinition>::all(plane.client().await);
    let name = "deletedhsmkeys.managedhsm.dev";
    let words = format!(
        "Every key hangs on customresourcedefinitions {name}, so nobody may delete it by mistake"
    );
    let now = DeleteParams::default();
    refused(
        api.delete(name, &now).await.map(|_| ()),
        "definitions",
        &words,
    );
    refused(
        api.delete_collection(&now, &ListParams::default())
            .await
            .map(|_| ()),
        "definitions",
        "by mistake",
    );
    assert!(
        api.get(name)
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_none()
    );
    api.patch(name, &PatchParams::default(), &allow())
        .await
        .unwrap();
    api.delete(name, &now).await.expect("a person said so");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_goes_only_when_a_person_said_so_and_a_whole_namespace_by_one_word() {
    let mut controllers = Controllers::USUAL.map(str::to_owned).to_vec();
    controllers.push("persistentvolumeclaim-protection-controller".into());
    let plane = borrow(Options {
        controllers: Controllers::These(controllers),
        ..Options::default()
    })
    .await;
    install(&plane, &installation(false)).await;
    let (namespaces, claims, secrets) = home(&plane).await;
    let now = DeleteParams::default();
    refused(
        claims.delete("store", &now).await.map(|_| ()),
        "store",
        "Every key hangs on persistentvolumeclaims store",
    );
    refused(
        secrets.delete("pins", &now).await.map(|_| ()),
        "store",
        "Every key hangs on secrets pins",
    );
    refused(
        namespaces.delete(HOME, &now).await.map(|_| ()),
        "store",
        "kubectl annotate first",
    );
    refused(
        secrets
            .delete_collection(&now, &ListParams::default())
            .await
            .map(|_| ()),
        "store",
        "by mistake",
    );
    let printed = plane
        .kubectl(&["delete", "namespace", HOME, "--wait=false"], "")
        .await
        .refused();
    assert!(
        printed.contains("so nobody may delete it by mistake"),
        "{printed}"
    );
    claims.delete("other", &now).await.expect("nobody's claim");
    let scene = plane.namespace("elsewhere").await;
    let elsewhere = Api::<Secret>::namespaced(plane.client().await, &scene);
    create(&elsewhere, json!({"metadata": {"name": "pins"}})).await;
    elsewhere
        .delete("pins", &now)
        .await
        .expect("of the same name elsewhere");

    claims
        .patch("store", &PatchParams::default(), &allow())
        .await
        .unwrap();
    claims
        .delete("store", &now)
        .await
        .expect("a person said so");
    namespaces
        .patch(HOME, &PatchParams::default(), &allow())
        .await
        .unwrap();
    namespaces
        .delete(HOME, &now)
        .await
        .expect("a person said so of all that is in it");
    eventually("the namespace is gone", SOON, async || {
        match namespaces.get_opt(HOME).await {
            Ok(None) => Ok(()),
            other => Err(format!(
                "{:?}",
                other.map(|found| found.and_then(|n| n.status))
            )),
        }
    })
    .await;
}
