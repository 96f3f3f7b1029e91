//! A release on a real API server: installed, upgraded, uninstalled, installed again, by Helm 4 and by Helm 3. There is no node, so nothing of it runs.

use std::collections::BTreeMap;
use std::path::Path;

use rstest::rstest;
use serde_json::Value;
use testplane::{Options, Plane, Said, borrow, helm, helm3};

use crate::NAMESPACE;
use crate::rendered::{CHART, established, standing};

/// One of the two.
pub type Helm = fn(Option<&Path>, &[&str]) -> Said;

const RELEASE: &str = "hsm";
/// What Helm says of objects that are another release's.
const TAKEN: &str = "exists and cannot be imported";

fn tried(helm: Helm, plane: &Plane, namespace: &str, arguments: &[&str]) -> Said {
    let mut all = arguments.to_vec();
    all.extend(["--namespace", namespace]);
    helm(Some(&plane.kubeconfig()), &all)
}

fn run(helm: Helm, plane: &Plane, arguments: &[&str]) -> String {
    tried(helm, plane, NAMESPACE, arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
}

fn kinds(standing: &BTreeMap<String, Value>) -> Vec<&str> {
    let mut kinds: Vec<_> = standing
        .values()
        .filter_map(|object| object["kind"].as_str())
        .collect();
    kinds.dedup();
    kinds
}

/// Each of these is there, and is the one that it was.
#[track_caller]
fn same(were: &BTreeMap<String, Value>, are: &BTreeMap<String, Value>) {
    for (name, was) in were {
        let is = are.get(name).unwrap_or_else(|| panic!("{name} is gone"));
        assert_eq!(is["metadata"]["uid"], was["metadata"]["uid"], "{name}");
        assert_eq!(is["spec"], was["spec"], "{name}");
        assert_eq!(is["data"], was["data"], "{name}");
    }
}

#[rstest]
#[case::by_helm_4(helm)]
#[case::by_helm_3(helm3)]
#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_upgraded_without_a_change_and_its_end_leaves_what_holds_the_keys(
    #[case] helm: Helm,
) {
    let plane = borrow(Options::default().without_crds()).await;
    let said = run(
        helm,
        &plane,
        &["install", RELEASE, CHART, "--create-namespace"],
    );
    assert!(
        said.contains("back both up, apart from each other"),
        "{said}"
    );
    // Made by the operator at its first start.
    let secret = [
        "create",
        "secret",
        "generic",
        "managed-hsm-operator-pins",
        "-n",
        NAMESPACE,
        "--from-literal=so-pin=not-a-real-one",
    ];
    plane.kubectl(&secret, "").await.ok();
    established(&plane).await;
    let hsm = r#"{"apiVersion": "managedhsm.dev/v1alpha1", "kind": "ManagedHsm", "metadata": {"name": "safe", "namespace": "default"}, "spec": {}}"#;
    plane.kubectl(&["apply", "-f", "-"], hsm).await.ok();

    let installed = standing(&plane).await;
    // Of them 12 policies with their bindings, and 6 roles for people.
    assert_eq!(installed.len(), 17 + 24 + 6, "{:?}", installed.keys());
    run(helm, &plane, &["upgrade", RELEASE, CHART]);
    assert_eq!(standing(&plane).await, installed);

    // One serves the whole cluster.
    let second = ["install", "second", CHART, "--create-namespace"];
    let refused = tried(helm, &plane, "another", &second).expect_err("there is one");
    assert!(refused.contains(TAKEN), "{refused}");
    assert_eq!(standing(&plane).await, installed);

    run(helm, &plane, &["uninstall", RELEASE, "--wait"]);
    let left = standing(&plane).await;
    assert_eq!(
        kinds(&left),
        [
            "CustomResourceDefinition",
            "Namespace",
            "PersistentVolumeClaim",
            "Secret",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ]
    );
    assert_eq!(left.len(), 9 + 24, "{:?}", left.keys());
    same(&left, &installed);
    let get = ["get", "managedhsm", "safe", "-n", "default"];
    plane.kubectl(&get, "").await.ok();

    run(helm, &plane, &["install", RELEASE, CHART]);
    let again = standing(&plane).await;
    assert_eq!(kinds(&again), kinds(&installed));
    same(&left, &again);

    // Under another name only on purpose.
    run(helm, &plane, &["uninstall", RELEASE, "--wait"]);
    let refused = tried(helm, &plane, NAMESPACE, &["install", "renamed", CHART]);
    let refused = refused.expect_err("of another release");
    assert!(refused.contains(TAKEN), "{refused}");
    run(
        helm,
        &plane,
        &["install", "renamed", CHART, "--take-ownership"],
    );
    same(&left, &standing(&plane).await);
}
