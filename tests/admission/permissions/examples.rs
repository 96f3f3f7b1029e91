//! The examples of roles of one's own, applied as they are.

use kube::Client;
use kube::api::ListParams;
use managed_hsm_operator::controller::cluster::Watched;
use serde_json::json;
use testplane::{Options, Plane, borrow, project_dir};

use crate::admission::scene::{DELETED_KEY, Scene, install, installation, refused};

const FILE: &str = "deploy/examples/roles.yaml";

async fn member(plane: &Plane, group: &str) -> Client {
    plane.client_as("alice", &[group]).await
}

/// Asks for a purge of the scene's deleted key in her own name.
async fn purge(scene: &Scene, by: &Client, name: &str) -> kube::Result<()> {
    scene.purge(by, name, "gone", "alice").await.map(|_| ())
}

async fn list_deleted(scene: &Scene, by: &Client) -> kube::Result<()> {
    let list = ListParams::default();
    scene.api(by, DELETED_KEY).list(&list).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn sd29_the_examples_of_roles_recover_without_purging_and_purge_in_their_namespace() {
    let plane = borrow(Options::default()).await;
    install(&plane, &installation(false)).await;
    let mut scene = Scene::of(&plane, "elsewhere").await;
    plane
        .kubectl(&["create", "namespace", "payments"], "")
        .await
        .ok();
    // `hsm-purger` is installed with the operator.
    let roles = std::fs::read_to_string(project_dir().join("deploy/base/roles.yaml"));
    let examples = std::fs::read_to_string(project_dir().join(FILE));
    for yaml in [roles, examples] {
        let yaml = yaml.expect("it is there");
        let apply = ["apply", "--server-side", "--validate=strict", "-f", "-"];
        plane.kubectl(&apply, &yaml).await.ok();
    }

    let rescuer = member(&plane, "on-call").await;
    let recover = json!({"spec": {"kind": "HsmKey", "name": "gone", "uid": "u-gone", "acceptNamespaceUid": "n-2"}});
    scene
        .create(&rescuer, Watched::Recover, "back", recover.clone())
        .await
        .expect("she recovers");
    list_deleted(&scene, &rescuer)
        .await
        .expect("she sees what is deleted");
    not_by_role(purge(&scene, &rescuer, "rescuer").await);

    let team = member(&plane, "payments-team").await;
    refused(
        purge(&scene, &team, "team").await,
        "purges",
        "may not purge",
    );
    scene.namespace = "payments".into();
    purge(&scene, &team, "team")
        .await
        .expect("in its own namespace");
    let answer = scene.create(&team, Watched::Recover, "back", recover).await;
    not_by_role(answer.map(|_| ()));
    not_by_role(list_deleted(&scene, &team).await);
}

#[track_caller]
fn not_by_role(answer: kube::Result<()>) {
    match answer {
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.code, 403);
            assert!(
                !status.message.contains("ValidatingAdmissionPolicy"),
                "{}",
                status.message
            );
        }
        other => panic!("not refused: {other:?}"),
    }
}
