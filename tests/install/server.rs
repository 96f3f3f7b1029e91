//! What the real API server says of the objects.

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::manifests::STORE;
use managed_hsm_operator::softdelete::Kind;
use std::time::Duration;

use serde_json::{Value, json};
use testplane::{Options, Plane, borrow, eventually};

use crate::NAMESPACE;
use crate::rendered::{Objects, established, file, kustomize, objects, one, standing, template};
use crate::user::{PATIENCE, User};
use crate::values::with_everything;

const SHAPES: [&str; 2] = ["shape=\"embedded\"", "shape=\"module\""];

/// As a person installs it, and looks at each warning.
pub async fn apply(plane: &Plane, yaml: &str, more: &[&str]) {
    let mut arguments = vec!["apply", "--server-side", "--validate=strict", "-f", "-"];
    arguments.extend(more);
    let output = plane.kubectl(&arguments, yaml).await;
    assert_eq!(output.stderr, "", "{output:?}");
    output.ok();
}

/// A pod of the Deployment's template, as its ReplicaSet would make it.
pub fn pod_of(objects: &Objects) -> Value {
    let template = &one(objects, "Deployment")["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = json!("it");
    metadata["namespace"] = json!(NAMESPACE);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_taken_strictly_and_applying_it_again_changes_nothing() {
    let plane = borrow(Options::default().without_crds()).await;
    let yaml = file("deploy/install.yaml");
    apply(&plane, &yaml, &[]).await;
    established(&plane).await;
    let before = standing(&plane).await;
    assert_eq!(before.len(), objects(&yaml).len(), "{:?}", before.keys());
    apply(&plane, &yaml, &[]).await;
    assert_eq!(standing(&plane).await, before);
    for shape in SHAPES {
        let all = with_everything(&[shape]);
        apply(&plane, &all, &["--dry-run=server", "--force-conflicts"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_is_admitted_where_only_restricted_ones_are() {
    let plane = borrow(Options::default().without_crds()).await;
    let yaml = file("deploy/install.yaml");
    apply(&plane, &yaml, &[]).await;
    let labels = one(&objects(&yaml), "Namespace")["metadata"]["labels"].clone();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let create = ["create", "--dry-run=server", "-f", "-"];
    let shapes = SHAPES.map(|shape| with_everything(&[shape]));
    for rendered in [yaml].into_iter().chain(shapes) {
        let pod = pod_of(&objects(&rendered));
        let output = plane.kubectl(&create, &pod.to_string()).await;
        assert_eq!(output.stderr, "", "{output:?}");
        output.ok();
        // Admission is at work: without each of these it is refused.
        for (pointer, asked) in [
            ("/spec/securityContext/runAsNonRoot", "runAsNonRoot != true"),
            ("/spec/securityContext/seccompProfile", "seccompProfile"),
            (
                "/spec/containers/0/securityContext/capabilities",
                "unrestricted capabilities",
            ),
            (
                "/spec/containers/0/securityContext/allowPrivilegeEscalation",
                "allowPrivilegeEscalation != false",
            ),
        ] {
            let mut loose = pod.clone();
            *loose.pointer_mut(pointer).expect("it is set") = Value::Null;
            let refused = plane.kubectl(&create, &loose.to_string()).await.refused();
            assert!(
                refused.contains("violates PodSecurity") && refused.contains(asked),
                "{refused}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_restore_is_taken_and_has_the_operators_user_claim_and_folders() {
    let plane = borrow(Options::default().without_crds()).await;
    let (yaml, example) = (
        file("deploy/install.yaml"),
        file("deploy/examples/restore.yaml"),
    );
    apply(&plane, &yaml, &[]).await;
    // A pod that violates the namespace's level would be warned of here.
    apply(&plane, &example, &["--dry-run=server"]).await;
    let with_backups = template(&["backup={\"claim\": \"hsm-backups\"}"]).expect("it renders");
    let (operator, job) = (pod_of(&objects(&with_backups)), objects(&example));
    let restore = &one(&job, "Job")["spec"]["template"]["spec"];
    let security = restore["securityContext"].as_object().expect("it is set");
    for (field, value) in security {
        assert_eq!(
            operator["spec"]["securityContext"][field], *value,
            "{field}"
        );
    }
    let of = |pod: &Value, list: &str, name: &str, field: &str| {
        let all = pod.pointer(list).and_then(Value::as_array);
        let found = all.and_then(|all| all.iter().find(|it| it["name"] == name));
        found.map(|it| it.pointer(field).cloned())
    };
    let pod = json!({"spec": restore});
    for (list, field) in [
        ("/spec/volumes", "/persistentVolumeClaim/claimName"),
        ("/spec/containers/0/volumeMounts", "/mountPath"),
    ] {
        for name in ["store", "backups"] {
            let was = of(&operator, list, name, field);
            assert!(
                was.is_some() && was == of(&pod, list, name, field),
                "{name} {field}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pins_are_copied_and_put_back_by_the_commands_of_the_page_and_never_over_others() {
    let plane = borrow(Options::default().without_crds()).await;
    let page = file("docs/install.md");
    let mut quoted = page.split("-o go-template='").skip(1);
    let template = quoted.next().and_then(|rest| rest.split('\'').next());
    let template = format!("go-template={}", template.expect("it is on the page"));
    let (ns, name) = (plane.namespace("pins").await, "managed-hsm-operator-pins");
    let make = |so: &str| {
        let data = json!({"so-pin": so, "user-pin": "12345678"});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": ns}, "immutable": true, "stringData": data})
    };
    let create = ["create", "-f", "-"];
    plane
        .kubectl(&create, &make("abcdefgh").to_string())
        .await
        .ok();
    let data = ["get", "secret", name, "-n", &ns, "-o", "jsonpath={.data}"];
    let was = plane.kubectl(&data, "").await.ok();
    let get = ["get", "secret", name, "-n", &ns, "-o", &template];
    let copy = plane.kubectl(&get, "").await.ok();

    let delete = ["delete", "secret", name, "-n", &ns];
    plane.kubectl(&delete, "").await.ok();
    plane.kubectl(&["apply", "-f", "-"], &copy).await.ok();
    assert_eq!(plane.kubectl(&data, "").await.ok(), was);
    plane.kubectl(&["apply", "-f", "-"], &copy).await.ok();

    plane.kubectl(&delete, "").await.ok();
    plane
        .kubectl(&create, &make("ijklmnop").to_string())
        .await
        .ok();
    let refused = plane.kubectl(&["apply", "-f", "-"], &copy).await.refused();
    assert!(refused.contains("immutable"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_all_of_it_in_one_command_is_refused_for_what_holds_the_keys() {
    let plane = borrow(Options::default().without_crds()).await;
    let yaml = file("deploy/install.yaml");
    apply(&plane, &yaml, &[]).await;
    established(&plane).await;
    let user = User::new(&plane.client().await, "tenant").await;
    user.create(Watched::Object(Kind::Hsm), "safe", json!({"spec": {}}))
        .await;
    let probe = ["delete", "namespace", NAMESPACE, "--dry-run=server"];
    eventually("the policies' start", PATIENCE, async || {
        let answer = plane.kubectl(&probe, "").await;
        let refused = answer.stderr.contains("ValidatingAdmissionPolicy");
        refused.then_some(()).ok_or(answer.stderr)
    })
    .await;
    // In the order of the file, and in the one that kustomize prefers.
    for yaml in [yaml, kustomize("deploy/base")] {
        apply(&plane, &yaml, &[]).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        what_holds_the_keys_stands(&plane, &user, &yaml).await;
    }
}

async fn what_holds_the_keys_stands(plane: &Plane, user: &User, yaml: &str) {
    let delete = ["delete", "--wait=false", "-f", "-"];
    let answer = plane.kubectl(&delete, yaml).await;
    for (kind, name) in [
        ("customresourcedefinitions", "managedhsms.managedhsm.dev"),
        ("customresourcedefinitions", "deletedhsmkeys.managedhsm.dev"),
        ("namespaces", NAMESPACE),
        ("persistentvolumeclaims", STORE),
    ] {
        let refused = format!("{kind} \"{name}\" is forbidden");
        let refused = refused.replace(
            "customresourcedefinitions",
            "customresourcedefinitions.apiextensions.k8s.io",
        );
        assert!(
            answer.stderr.contains(&refused),
            "{refused}: {}",
            answer.stderr
        );
    }
    assert!(
        answer.stderr.contains("managedhsm.dev/allow-delete"),
        "{}",
        answer.stderr
    );
    let stands = user.api(Watched::Object(Kind::Hsm)).get("safe").await;
    let stands = stands.expect("it stands").metadata;
    assert_eq!(stands.deletion_timestamp, None);
    let claim = [
        "get",
        "persistentvolumeclaims",
        STORE,
        "-n",
        NAMESPACE,
        "-o",
        "jsonpath={.metadata.deletionTimestamp}",
    ];
    assert_eq!(plane.kubectl(&claim, "").await.ok(), "");
}
