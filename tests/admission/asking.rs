//! Who may ask for a purge or a recovery.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject,
};
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Refusal;
use serde_json::json;
use testplane::{Options, Plane, borrow};

use super::scene::{HSM, KEY, Scene, install, installation, refused};
use crate::guarded_plane;

/// A user of one test, with a role of these rules everywhere, or in the test's namespace only.
async fn user(
    plane: &Plane,
    scene: &Scene,
    name: &str,
    everywhere: &[PolicyRule],
    here: &[PolicyRule],
) -> Client {
    let user = format!("{name}-{}", scene.namespace);
    let named = |name: String| ObjectMeta {
        name: Some(name),
        ..ObjectMeta::default()
    };
    let subject = || Subject {
        kind: "User".into(),
        name: user.clone(),
        api_group: Some("rbac.authorization.k8s.io".into()),
        namespace: None,
    };
    let to = |name: &str| RoleRef {
        kind: "ClusterRole".into(),
        name: name.into(),
        api_group: "rbac.authorization.k8s.io".into(),
    };
    let roles: Api<ClusterRole> = Api::all(scene.admin.clone());
    for (scope, rules) in [("all", everywhere), ("here", here)] {
        let role = ClusterRole {
            metadata: named(format!("{user}-{scope}")),
            rules: Some(rules.to_vec()),
            ..ClusterRole::default()
        };
        roles.create(&PostParams::default(), &role).await.unwrap();
    }
    let all = ClusterRoleBinding {
        metadata: named(user.clone()),
        role_ref: to(&format!("{user}-all")),
        subjects: Some(vec![subject()]),
    };
    Api::all(scene.admin.clone())
        .create(&PostParams::default(), &all)
        .await
        .unwrap();
    let one = RoleBinding {
        metadata: named(user.clone()),
        role_ref: to(&format!("{user}-here")),
        subjects: Some(vec![subject()]),
    };
    Api::namespaced(scene.admin.clone(), &scene.namespace)
        .create(&PostParams::default(), &one)
        .await
        .unwrap();
    plane.client_as(&user, &[]).await
}

fn may(verbs: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec!["managedhsm.dev".into()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        resource_names: (!names.is_empty()).then(|| owned(names)),
        non_resource_urls: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd33_a_purge_is_asked_for_in_ones_own_name() {
    let scene = Scene::of(guarded_plane().await, "own-name").await;
    let me = "admin";
    let mine = scene
        .purge(&scene.admin, "of-another", "gone", "somebody-else")
        .await;
    refused(
        mine,
        "purges",
        "Only the operator may create a Purge requested by somebody-else",
    );
    let alike = scene
        .purge(&scene.admin, "alike", "gone", &me.to_uppercase())
        .await;
    refused(alike, "purges", "set spec.requestedBy to the name");
    let own = scene.purge(&scene.admin, "own", "gone", me).await;
    own.expect("in his own name");
    scene
        .purge(&scene.operator, "relayed", "gone", "alice")
        .await
        .expect("the operator relays a request of hers");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd31_the_verb_purge_is_asked_by_the_proxys_name_in_its_origins_namespace() {
    let plane = guarded_plane().await;
    let scene = Scene::of(plane, "verb").await;
    let create = may(&["create"], &["purges"], &[]);
    let name = |who: &str| format!("{who}-{}", scene.namespace);
    let ask = async |who: &str, client: &Client, of: &str| {
        scene
            .purge(client, &format!("{who}-{of}"), of, &name(who))
            .await
    };

    let without = user(plane, &scene, "without", std::slice::from_ref(&create), &[]).await;
    refused(
        ask("without", &without, "gone").await,
        "purges",
        &format!(
            "The user {} may not purge deletedhsmkeys {}",
            name("without"),
            scene.proxy("gone")
        ),
    );
    let everywhere = user(
        plane,
        &scene,
        "everywhere",
        &[create.clone(), may(&["purge"], &["deletedhsmkeys"], &[])],
        &[],
    )
    .await;
    ask("everywhere", &everywhere, "gone")
        .await
        .expect("a ClusterRoleBinding");
    let here = user(
        plane,
        &scene,
        "here",
        std::slice::from_ref(&create),
        &[may(&["purge"], &["deletedhsmkeys"], &[])],
    )
    .await;
    ask("here", &here, "gone")
        .await
        .expect("a RoleBinding in the origin's namespace");
    let proxy = scene.proxy("gone");
    let this = user(
        plane,
        &scene,
        "this",
        std::slice::from_ref(&create),
        &[may(&["purge"], &["deletedhsmkeys"], &[&proxy])],
    )
    .await;
    ask("this", &this, "gone").await.expect("resourceNames");
    refused(ask("this", &this, "other").await, "purges", "may not purge");
    let hsms = user(
        plane,
        &scene,
        "hsms",
        &[create],
        &[may(&["purge"], &["deletedmanagedhsms"], &[])],
    )
    .await;
    refused(
        ask("hsms", &hsms, "gone").await,
        "purges",
        "may not purge deletedhsmkeys",
    );

    let elsewhere = Scene::of(plane, "verb-elsewhere").await;
    let other = elsewhere
        .purge(&here, "elsewhere", "gone", &name("here"))
        .await;
    refused(other, "purges", &elsewhere.proxy("gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd31_a_purge_is_withdrawn_until_it_executes() {
    let scene = Scene::of(guarded_plane().await, "withdraw").await;
    let purges = scene.api(&scene.admin, Watched::Purge);
    for (at, condition) in [
        None,
        Some("Accepted"),
        Some("Executing"),
        Some("Complete"),
        Some("Failed"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{}-{at}", scene.namespace);
        scene
            .purge(&scene.operator, &at.to_string(), "gone", "alice")
            .await
            .unwrap();
        if let Some(condition) = condition {
            let shown = json!({"conditions": [{"type": condition, "status": "True", "reason": condition, "message": "", "lastTransitionTime": "2026-03-01T00:00:00Z"}]});
            scene
                .merge_status(&scene.operator, Watched::Purge, &name, shown)
                .await
                .unwrap();
        }
        let withdrawn = purges.delete(&name, &DeleteParams::default()).await;
        if at < 2 {
            withdrawn.expect("it is withdrawn");
        } else {
            refused(
                withdrawn.map(|_| ()),
                "withdrawal",
                &format!("Only the operator may delete purges {name}"),
            );
            scene
                .api(&scene.operator, Watched::Purge)
                .delete(&name, &DeleteParams::default())
                .await
                .expect("its history is over");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd30_a_recover_needs_what_creating_the_object_needs() {
    let plane = guarded_plane().await;
    let scene = Scene::of(plane, "recover").await;
    let recover = |kind: &str| json!({"spec": {"kind": kind, "name": "payments", "uid": "u-1"}});
    let create = may(&["create"], &["recovers"], &[]);
    let only = user(plane, &scene, "only", &[], std::slice::from_ref(&create)).await;
    for (kind, resource) in [("ManagedHsm", "managedhsms"), ("HsmKey", "hsmkeys")] {
        let answer = scene
            .create(&only, Watched::Recover, "back", recover(kind))
            .await;
        refused(
            answer,
            "recovers",
            &format!(
                "may not create {resource} in the namespace {}",
                scene.namespace
            ),
        );
    }
    let both = user(
        plane,
        &scene,
        "both",
        &[],
        &[create, may(&["create"], &["managedhsms"], &[])],
    )
    .await;
    scene
        .create(&both, Watched::Recover, "back", recover("ManagedHsm"))
        .await
        .expect("who may create HSMs");
    let answer = scene
        .create(&both, Watched::Recover, "key-back", recover("HsmKey"))
        .await;
    refused(answer, "recovers", "may not create hsmkeys");
    // An HSM's Recover is no way around that: its keys are keys.
    let mut with_keys = recover("ManagedHsm");
    with_keys["spec"]["includeKeys"] = json!("All");
    let answer = scene
        .create(&both, Watched::Recover, "all-back", with_keys)
        .await;
    refused(
        answer,
        "recovers",
        "may not create hsmkeys, which includeKeys All brings back, in the namespace",
    );
}

/// Keys do not pass to whoever takes a free name: he is admin of it, and still cannot accept it.
#[tokio::test(flavor = "multi_thread")]
async fn sd19_a_namespace_that_another_tenant_took_is_accepted_only_with_the_verb_recover() {
    let plane = guarded_plane().await;
    let scene = Scene::of(plane, "accept").await;
    let all = may(&["create"], &["recovers", "managedhsms", "hsmkeys"], &[]);
    let recover = |name: &str| json!({"spec": {"kind": "HsmKey", "name": name, "uid": "u-1", "acceptNamespaceUid": "n-2"}});
    let tenant = user(plane, &scene, "tenant", &[], std::slice::from_ref(&all)).await;
    let answer = scene
        .create(&tenant, Watched::Recover, "back", recover("gone"))
        .await;
    refused(
        answer,
        "recovers",
        &format!("may not recover deletedhsmkeys {}", scene.proxy("gone")),
    );
    let proxy = scene.proxy("gone");
    let trusted = user(
        plane,
        &scene,
        "trusted",
        &[may(&["recover"], &["deletedhsmkeys"], &[&proxy])],
        &[all],
    )
    .await;
    scene
        .create(&trusted, Watched::Recover, "back", recover("gone"))
        .await
        .expect("who has the verb");
    let answer = scene
        .create(&trusted, Watched::Recover, "other-back", recover("other"))
        .await;
    refused(answer, "recovers", "may not recover");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd30_create_or_recover_needs_to_create_recovers_at_creation_and_later() {
    let plane = guarded_plane().await;
    let scene = Scene::of(plane, "mode").await;
    let objects = may(
        &["create", "get", "patch", "update"],
        &["managedhsms", "hsmkeys"],
        &[],
    );
    let plain = user(plane, &scene, "plain", &[], std::slice::from_ref(&objects)).await;
    let mode = json!({"spec": {"createMode": "CreateOrRecover"}});
    let words =
        "may not create recovers, which createMode CreateOrRecover asks for, in the namespace";
    refused(
        scene.create(&plain, HSM, "payments", mode.clone()).await,
        "create-mode",
        words,
    );
    scene
        .create(&plain, HSM, "payments", json!({"spec": {}}))
        .await
        .expect("the default mode");
    refused(
        scene.merge(&plain, HSM, "payments", mode.clone()).await,
        "create-mode",
        words,
    );
    let key = json!({"spec": {"hsm": "payments", "keyType": "EC", "curve": "P-256", "createMode": "CreateOrRecover"}});
    refused(
        scene.create(&plain, KEY, "signing", key.clone()).await,
        "create-mode",
        words,
    );

    let may_recover = may(&["create"], &["recovers"], &[]);
    let recoverer = user(plane, &scene, "recoverer", &[], &[objects, may_recover]).await;
    scene
        .merge(&recoverer, HSM, "payments", mode)
        .await
        .expect("who may recover");
    scene
        .create(&recoverer, KEY, "signing", key)
        .await
        .expect("who may recover");
    let other_field = json!({"spec": {"purgeProtection": true}});
    scene
        .merge(&plain, HSM, "payments", other_field)
        .await
        .expect("only a change of the mode is judged");
    scene
        .create(
            &scene.operator,
            HSM,
            "restored",
            json!({"spec": {"createMode": "CreateOrRecover"}}),
        )
        .await
        .expect("a snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd15_on_an_undeletable_cluster_nobody_purges_on_request() {
    let plane = borrow(Options::without_controllers()).await;
    let undeletable = installation(true);
    install(&plane, &undeletable).await;
    let scene = Scene::of(&plane, "undeletable").await;
    let refusal = Refusal::UndeletableSubscription { until: None }.to_string();
    refused(
        scene.purge(&scene.admin, "mine", "gone", "admin").await,
        "undeletable-purges",
        &refusal,
    );
    refused(
        scene
            .purge(&scene.operator, "relayed", "gone", "alice")
            .await,
        "undeletable-purges",
        &refusal,
    );
    scene
        .purge(&scene.operator, "receipt", "gone", &undeletable.user)
        .await
        .expect("a receipt");

    let off = json!({"spec": {"softDelete": false}});
    let made = scene
        .create(&scene.admin, HSM, "payments", off.clone())
        .await;
    refused(
        made,
        "undeletable-hsms",
        &Refusal::SoftDeleteRequired.to_string(),
    );
    scene
        .create(&scene.operator, HSM, "payments", off)
        .await
        .expect("a snapshot of before");
    let change = json!({"metadata": {"labels": {"a": "b"}}});
    scene
        .merge(&scene.admin, HSM, "payments", change)
        .await
        .expect("what stands without is left");
}
