//! A release on a real API server: installed, upgraded, uninstalled, installed again. There is no node, so nothing of it runs.

use testplane::{Options, Plane, borrow};

use crate::NAMESPACE;
use crate::rendered::{CHART, helm};

const RELEASE: &str = "hsm";

fn run(plane: &Plane, arguments: &[&str]) -> String {
    let mut all = arguments.to_vec();
    all.extend(["--namespace", NAMESPACE]);
    helm(Some(&plane.kubeconfig()), &all).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
}

/// Each object of the release with its uid and version, and the Secret with the PINs.
async fn standing(plane: &Plane) -> Vec<String> {
    let kinds = "crd,clusterroles,clusterrolebindings,serviceaccounts,roles,rolebindings,pvc,deployments,services,secrets";
    let show = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let all = plane
        .kubectl(&["get", kinds, "-n", NAMESPACE, "-o", show], "")
        .await
        .ok();
    let ours =
        |line: &&str| line.contains("managed-hsm-operator") || line.contains("managedhsm.dev");
    // Helm's own records of its releases.
    let record = |line: &&str| line.contains("sh.helm.release");
    let mut lines: Vec<_> = all
        .lines()
        .filter(ours)
        .filter(|line| !record(line))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

fn kinds(lines: &[String]) -> Vec<&str> {
    let mut kinds: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split('/').next())
        .collect();
    kinds.dedup();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_upgraded_without_a_change_and_its_end_leaves_what_holds_the_keys() {
    let plane = borrow(Options::default().without_crds()).await;
    let said = run(&plane, &["install", RELEASE, CHART, "--create-namespace"]);
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
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=60s",
    ];
    plane.kubectl(&wait, "").await.ok();
    let hsm = r#"{"apiVersion": "managedhsm.dev/v1alpha1", "kind": "ManagedHsm", "metadata": {"name": "safe", "namespace": "default"}, "spec": {}}"#;
    plane.kubectl(&["apply", "-f", "-"], hsm).await.ok();

    let installed = standing(&plane).await;
    assert_eq!(installed.len(), 16, "{installed:#?}");
    run(&plane, &["upgrade", RELEASE, CHART]);
    assert_eq!(standing(&plane).await, installed);

    run(&plane, &["uninstall", RELEASE, "--wait"]);
    let left = standing(&plane).await;
    assert_eq!(
        kinds(&left),
        [
            "CustomResourceDefinition",
            "PersistentVolumeClaim",
            "Secret"
        ]
    );
    assert_eq!(left.len(), 8, "{left:#?}");
    assert!(
        left.iter().all(|line| installed.contains(line)),
        "touched: {left:#?}"
    );
    plane
        .kubectl(&["get", "managedhsm", "safe", "-n", "default"], "")
        .await
        .ok();

    run(&plane, &["install", RELEASE, CHART]);
    let again = standing(&plane).await;
    let uid = |line: &String| line.rsplit_once(' ').expect("a version").0.to_owned();
    let kept: Vec<_> = left.iter().map(uid).collect();
    let back: Vec<_> = again.iter().map(uid).collect();
    assert_eq!(again.len(), 16);
    assert!(
        kept.iter().all(|line| back.contains(line)),
        "{kept:#?}\n{back:#?}"
    );
}
