//! The policies on the real API server: each refuses what it must, with SD-34's sentence, and lets the rest through. Whoever
//! asks here may do all that RBAC can give; only the policies stand between.

mod admission {
    pub mod asking;
    pub mod forgeries;
    pub mod guarded;
    pub mod permissions;
    pub mod scene;
    pub mod unchanging;
    pub mod writers;
}

use admission::scene::{self, SOON, Scene, install, installation};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;
use testplane::{Options, Plane, borrow, eventually, shared};

/// The binary's plane, with its policies in force.
pub async fn guarded_plane() -> &'static Plane {
    static INSTALLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let plane = shared().await;
    INSTALLED
        .get_or_init(|| async { install(plane, &installation(false)).await })
        .await;
    plane
}

/// The policies compile against our definitions: a warning of the type checker is an expression that never holds.
#[tokio::test(flavor = "multi_thread")]
async fn no_policy_has_a_mistake_that_the_server_sees() {
    let plane = borrow(Options {
        controllers: testplane::Controllers::These(vec![
            "validatingadmissionpolicy-status-controller".into(),
        ]),
        ..Options::default()
    })
    .await;
    install(&plane, &installation(true)).await;
    let all: Api<ValidatingAdmissionPolicy> = Api::all(plane.client().await);
    eventually("each was looked at and found right", SOON, async || {
        let found = all
            .list(&Default::default())
            .await
            .map_err(|error| error.to_string())?;
        let unchecked = found.items.iter().filter(|one| {
            let status = one.status.as_ref();
            status.and_then(|status| status.observed_generation) != one.metadata.generation
        });
        let unchecked: Vec<_> = unchecked.map(|one| one.metadata.name.clone()).collect();
        let wrong = found
            .items
            .iter()
            .filter_map(|one| one.status.as_ref()?.type_checking.clone());
        let wrong: Vec<_> = wrong
            .filter_map(|found| found.expression_warnings)
            .flatten()
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        if unchecked.is_empty() {
            Ok(())
        } else {
            Err(format!("{unchecked:?}"))
        }
    })
    .await;
}

/// What was written by whatever tool reads back equal, and the slightest difference shows, until it is put right: since then.
#[tokio::test(flavor = "multi_thread")]
async fn sd23_what_stands_is_compared_with_what_is_meant() {
    let plane = borrow(Options::without_controllers()).await;
    let of = installation(false);
    let client = plane.client().await;
    scene::standing(&client, &of).await.unwrap_err();
    install(&plane, &of).await;
    let since = scene::standing(&client, &of)
        .await
        .expect("they read back as they were written");
    assert!(
        scene::standing(&client, &installation(true)).await.is_err(),
        "another setting is a difference"
    );

    let all: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let softer = Patch::Merge(json!({"spec": {"failurePolicy": "Ignore"}}));
    all.patch("purges.managedhsm.dev", &PatchParams::default(), &softer)
        .await
        .unwrap();
    let missing = scene::standing(&client, &of).await.unwrap_err();
    assert_eq!(missing, "ValidatingAdmissionPolicy purges.managedhsm.dev");
    // Times are whole seconds.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    install(&plane, &of).await;
    assert!(
        scene::standing(&client, &of).await.unwrap() > since,
        "since it was put right, not since it was made"
    );

    let bound: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    bound
        .delete("recovers.managedhsm.dev", &DeleteParams::default())
        .await
        .unwrap();
    let missing = scene::standing(&client, &of).await.unwrap_err();
    assert_eq!(
        missing,
        "ValidatingAdmissionPolicyBinding recovers.managedhsm.dev"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_policies_nothing_of_this_is_refused() {
    let plane = borrow(Options::without_controllers()).await;
    let scene = Scene::of(&plane, "bare").await;
    scene
        .deleted_key(&scene.admin, "forged")
        .await
        .expect("no policy stands here");
}
