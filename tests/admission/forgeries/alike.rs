//! Being taken for another: by impersonation, by a name that looks alike; and names that are none.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, RoleBinding, Subject};
use kube::Client;
use kube::api::{Api, Patch, PostParams, Request};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::manifests;
use serde_json::{Value, json};
use testplane::{Plane, eventually};

use super::ground::{Ground, bind, dry_patch, named, swapped};
use crate::admission::scene::{
    ACCOUNT, HOME, HSM, KEY, SOON, Scene, apply, installation, object, refused,
};
use crate::guarded_plane;

/// A ServiceAccount that may purge everything, by its own token.
async fn purger(plane: &Plane, scene: &Scene) -> (String, Client) {
    let home = &scene.namespace;
    let wait = ["wait", "--for=create", "serviceaccount/default", "-n", home];
    plane.kubectl(&wait, "").await.ok();
    let objects = manifests::objects(manifests::NAMESPACE).expect("objects");
    let role = objects
        .into_iter()
        .find(|object| object.value["metadata"]["name"].as_str() == Some("hsm-purger"));
    let role = role.expect("it is one of them").value;
    let role: ClusterRole = serde_yaml_ng::from_value(role).expect("a ClusterRole");
    apply(&scene.admin, &role).await;
    let account = || Subject {
        kind: "ServiceAccount".into(),
        name: "default".into(),
        namespace: Some(home.clone()),
        api_group: None,
    };
    bind(scene, &format!("{home}-purges"), "hsm-purger", account()).await;
    // And may be one other user, whom this test does not ask for.
    let be_bob = ClusterRole {
        metadata: named(&format!("{home}-be-bob")),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["users".into()]),
            resource_names: Some(vec!["bob".into()]),
            verbs: vec!["impersonate".into()],
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    };
    apply(&scene.admin, &be_bob).await;
    let name = format!("{home}-be-bob");
    bind(scene, &name, &name, account()).await;
    (
        format!("system:serviceaccount:{home}:default"),
        plane.client_as_service_account(home, "default").await,
    )
}

async fn ask(
    ground: &Ground,
    by: &Client,
    requested_by: &str,
    headers: &[(&'static str, &str)],
) -> Result<(), (u16, String)> {
    let scene = &ground.scene;
    let spec = json!({"kind": "DeletedHsmKey", "name": scene.proxy("gone"), "uid": "u-gone", "requestedBy": requested_by});
    let made = object(
        Watched::Purge,
        &ground.purge_name("alike"),
        json!({ "spec": spec }),
    );
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let url = scene.api(by, Watched::Purge).resource_url().to_owned();
    let body = serde_json::to_vec(&made).expect("JSON");
    let mut request = Request::new(url).create(&dry, body).expect("a request");
    for (name, value) in headers {
        let value = value.parse().expect("a header's value");
        request.headers_mut().append(*name, value);
    }
    match by.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn impersonation_headers_without_the_right_to_impersonate_are_refused() {
    let plane = guarded_plane().await;
    let ground = Ground::new(plane, "impersonate").await;
    let (me, client) = purger(plane, &ground.scene).await;
    ask(&ground, &client, &me, &[]).await.expect("as himself");
    ask(&ground, &client, "bob", &[("impersonate-user", "bob")])
        .await
        .expect_err("bob may not create Purges himself");
    let operator = installation(false).user;
    for (who, headers) in [
        ("alice", vec![("impersonate-user", "alice")]),
        (
            "admin",
            vec![
                ("impersonate-user", "admin"),
                ("impersonate-group", "system:masters"),
            ],
        ),
        (
            "bob",
            vec![
                ("impersonate-user", "bob"),
                ("impersonate-group", "system:masters"),
            ],
        ),
        ("alice", vec![("impersonate-user", operator.as_str())]),
        (
            "bob",
            vec![("impersonate-user", "bob"), ("impersonate-uid", "u-1")],
        ),
    ] {
        let (code, said) = ask(&ground, &client, who, &headers).await.expect_err(who);
        assert_eq!(code, 403, "{said}");
        assert!(said.contains("cannot impersonate"), "{said}");
    }
    // Without a user there is nobody to be: the groups alone give nothing.
    let group = [("impersonate-group", "system:masters")];
    ask(&ground, &client, "alice", &group)
        .await
        .expect_err("a group is nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requester_that_looks_like_another_is_another() {
    let ground = Ground::new(guarded_plane().await, "alike").await;
    for alike in [
        "аdmin",
        "admin\u{200b}",
        "admin ",
        " admin",
        "Admin",
        "ａｄｍｉｎ",
        "adm\u{131}n",
        "admin\u{0}",
    ] {
        let answer = ask(&ground, &ground.scene.admin, alike, &[]).await;
        let (code, said) = answer.expect_err(alike);
        assert_eq!(code, 403, "{said}");
        assert!(said.contains("purges.managedhsm.dev"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_name_looks_like_the_operators_is_not_the_operator() {
    let plane = guarded_plane().await;
    let ground = Ground::new(plane, "no-operator").await;
    let operator = installation(false).user;
    for user in [
        operator.to_uppercase(),
        operator.replace("hsm-system", "hsm-system-2"),
        format!("{operator}-2"),
        operator.rsplit(':').next().unwrap_or_default().to_owned(),
    ] {
        let client = plane.client_as(&user, &["system:masters"]).await;
        let keys = ground.scene.api(&client, KEY);
        let forged = Patch::Merge(json!({ "status": swapped() }));
        let answer = keys.patch_status("signing", &dry_patch(), &forged).await;
        refused(answer, "status", &format!("not the user {user}"));
    }
}

/// Each text of a spec that a user writes, and the names themselves.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_mebibyte_and_letters_that_look_alike_are_refused_with_422() {
    let ground = Ground::new(guarded_plane().await, "names").await;
    let key = json!({"hsm": "payments", "keyType": "EC", "curve": "P-256"});
    let recover = json!({"kind": "HsmKey", "name": "gone", "uid": "u-gone"});
    let purge = json!({"kind": "DeletedHsmKey", "name": ground.scene.proxy("gone"), "uid": "u-gone", "requestedBy": "admin"});
    let long = "a".repeat(1 << 20);
    for (of, spec, field, alike) in [
        (HSM, json!({}), "backend", None),
        (KEY, key.clone(), "hsm", Some("раyments")),
        (KEY, key.clone(), "keyName", Some("\u{212a}ey")),
        (KEY, key.clone(), "curve", Some("P\u{2011}256")),
        (Watched::Recover, recover.clone(), "name", Some("ɡone")),
        (Watched::Recover, recover.clone(), "uid", None),
        (
            Watched::Recover,
            recover.clone(),
            "acceptNamespaceUid",
            None,
        ),
        (
            Watched::Purge,
            purge.clone(),
            "name",
            Some("alike\u{ff0e}gone"),
        ),
        (Watched::Purge, purge.clone(), "uid", None),
        (Watched::Purge, purge.clone(), "requestedBy", None),
        (Watched::Purge, purge.clone(), "reason", None),
    ] {
        for text in [Some(long.as_str()), alike].into_iter().flatten() {
            let mut spec = spec.clone();
            spec[field] = json!(text);
            invalid(&ground, of, "named", json!({ "spec": spec }), field).await;
        }
    }
    for (of, spec) in [
        (HSM, json!({})),
        (KEY, key),
        (Watched::Recover, recover),
        (Watched::Purge, purge),
    ] {
        for name in [long.as_str(), "nаmed", "named\u{ff0e}two", "../named"] {
            invalid(&ground, of, name, json!({ "spec": spec }), "metadata.name").await;
        }
    }
}

async fn invalid(ground: &Ground, of: Watched, name: &str, data: Value, what: &str) {
    let scene = &ground.scene;
    match scene.create(&scene.admin, of, name, data).await {
        Err(kube::Error::Api(status)) => assert_eq!(
            status.code,
            422,
            "{:?} {what}: {}",
            of,
            &status.message.chars().take(300).collect::<String>()
        ),
        other => panic!("{of:?} {what} is not refused: {other:?}"),
    }
}

/// No forgery, but what remains: Kubernetes gives `edit` the right to be the namespace's ServiceAccounts.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_edit_in_the_operators_namespace_may_be_the_operator() {
    let plane = guarded_plane().await;
    let ground = Ground::new(plane, "editor").await;
    let client = &ground.scene.admin;
    let review = |namespace: &str| SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("editor-{}", ground.scene.namespace)),
            resource_attributes: Some(ResourceAttributes {
                verb: Some("impersonate".into()),
                resource: Some("serviceaccounts".into()),
                name: Some(ACCOUNT.into()),
                namespace: Some(namespace.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let binding = json!({"metadata": {"name": ground.scene.namespace}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("editor-{}", ground.scene.namespace)}]});
    let binding: RoleBinding = serde_json::from_value(binding).expect("a RoleBinding");
    let bindings = Api::<RoleBinding>::namespaced(client.clone(), HOME);
    let parameters = PostParams::default();
    bindings
        .create(&parameters, &binding)
        .await
        .expect("it is bound");
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    for (namespace, may) in [(HOME, true), (ground.scene.namespace.as_str(), false)] {
        eventually("the review says so", SOON, async || {
            let answer = reviews.create(&parameters, &review(namespace)).await;
            let status = answer.expect("an answer").status.expect("a status");
            (status.allowed == may)
                .then_some(())
                .ok_or_else(|| format!("{status:?}"))
        })
        .await;
    }
}
