//! The release goes: what stays, what happens to HSMs meanwhile, and how all goes for good.

use std::path::Path;
use std::process::Command;

use managed_hsm_operator::manifests::{NAME, NAMESPACE, PIN_SECRET, STORE};
use serde_json::json;
use testplane::{blocks, project_dir};

use crate::house::{CHART, House, RELEASE};
use crate::tenant::{self, HSM, Keys, made, proven, recover};

const LABEL: &str = "app.kubernetes.io/name=managed-hsm-operator";

pub async fn uninstalled_and_back(house: &House) {
    house.install();
    let keys = made(house, "shop").await;
    house
        .kubectl("delete hsmkey invoice-signing -n shop --timeout=60s")
        .await;
    let secret = house
        .get(&format!("secret {PIN_SECRET} -n {NAMESPACE}"))
        .await;

    house.helm(&format!("uninstall {RELEASE} --wait"));
    house
        .kubectl(&format!(
            "wait --for=delete pod --all -n {NAMESPACE} --timeout=120s"
        ))
        .await;
    stays(house).await;
    // Nobody is there to seal it: it waits, and its material with it.
    house
        .kubectl("delete hsmkey archive-wrapping -n shop --wait=false")
        .await;
    let waits = house.get("hsmkey archive-wrapping -n shop").await;
    assert!(
        waits["metadata"]["deletionTimestamp"].is_string(),
        "{waits}"
    );
    house
        .asked(&format!("delete namespace {NAMESPACE}"))
        .await
        .refused();

    house.install();
    let again = house
        .get(&format!("secret {PIN_SECRET} -n {NAMESPACE}"))
        .await;
    assert!(again["data"] == secret["data"], "other PINs");
    house
        .kubectl("wait --for=delete hsmkey/archive-wrapping -n shop --timeout=120s")
        .await;
    for name in ["archive-wrapping", "invoice-signing"] {
        recover(house, "shop", "HsmKey", name, json!({})).await;
    }
    proven(house, "shop", &keys).await;
}

/// What an uninstall leaves.
async fn stays(house: &House) {
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings,pvc,deployments,services,serviceaccounts,clusterroles,validatingwebhookconfigurations";
    let left = house
        .kubectl(&format!("get {kinds} -A -o name -l {LABEL}"))
        .await;
    let count = |kind: &str| left.lines().filter(|line| line.starts_with(kind)).count();
    assert_eq!(count("validatingadmissionpolicy."), 12, "{left}");
    assert_eq!(count("validatingadmissionpolicybinding."), 12, "{left}");
    assert_eq!(left.lines().count(), 12 + 12 + 1, "{left}");
    let crds = house.kubectl("get crd -o name").await;
    let ours = crds
        .lines()
        .filter(|line| line.ends_with(".managedhsm.dev"));
    assert_eq!(ours.count(), 6, "{crds}");
    assert!(left.contains(STORE), "{left}");
    house
        .kubectl(&format!("get secret {PIN_SECRET} -n {NAMESPACE}"))
        .await;
    house.kubectl("get managedhsm payments -n shop").await;
    house
        .kubectl("get deletedhsmkey shop.invoice-signing")
        .await;
}

/// A chart of somebody's own with the operator's in it. Helm refuses HSMs there at its first install; an upgrade may bring them.
pub async fn in_one_release(house: &House) {
    let chart = tempfile::tempdir().expect("a folder");
    let path = chart.path().display().to_string();
    umbrella(chart.path());
    let install = format!("install {RELEASE} {path} --create-namespace --wait --timeout 3m");
    let said = house
        .tried(&format!("{install} --set hsms=true"))
        .expect_err("the kinds are not there yet");
    assert!(said.contains("ensure CRDs are installed first"), "{said}");
    house.helm(&install);
    house.helm(&format!(
        "upgrade {RELEASE} {path} --set hsms=true --wait --timeout 3m"
    ));
    let keys = tenant::keys(house, NAMESPACE).await;
    assert_eq!(keys.len(), 2);

    house.helm(&format!("uninstall {RELEASE} --timeout 1m"));
    house
        .kubectl(&format!(
            "wait --for=delete pod --all -n {NAMESPACE} --timeout=120s"
        ))
        .await;
    waits_or_is_kept(house, &keys).await;
    house.helm(&install);
    comes_back(house, &keys).await;
}

/// Neither is ever missing: what the operator did not come to is terminating, and the rest has its proxy.
async fn waits_or_is_kept(house: &House, keys: &Keys) {
    let keys = keys
        .keys()
        .map(|name| ("hsmkeys", "deletedhsmkeys", name.as_str()));
    for (kind, proxies, name) in keys.chain([("managedhsms", "deletedmanagedhsms", HSM)]) {
        let living = format!(
            "get {kind} {name} -n {NAMESPACE} --ignore-not-found -o jsonpath={{.metadata.deletionTimestamp}}"
        );
        let living = house.kubectl(&living).await;
        let kept = format!("get {proxies} {NAMESPACE}.{name} --ignore-not-found -o name");
        let kept = house.kubectl(&kept).await;
        assert!(
            !living.is_empty() || !kept.is_empty(),
            "{kind} {name} is gone"
        );
    }
}

/// Each that waited for an operator, or was sealed before it went, is kept, and comes back.
async fn comes_back(house: &House, keys: &Keys) {
    let gone = format!("wait --for=delete managedhsm,hsmkey --all -n {NAMESPACE} --timeout=120s");
    house.kubectl(&gone).await;
    recover(
        house,
        NAMESPACE,
        "ManagedHsm",
        HSM,
        json!({"includeKeys": "All"}),
    )
    .await;
    proven(house, NAMESPACE, keys).await;
}

fn umbrella(folder: &Path) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    for name in ["templates", "charts"] {
        std::fs::create_dir(folder.join(name)).expect("a folder");
    }
    write(
        "Chart.yaml",
        &format!(
            "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n- name: {NAME}\n  version: {}\n",
            env!("CARGO_PKG_VERSION")
        ),
    );
    let hsms =
        std::fs::read_to_string(project_dir().join("hack/demo/payments.yaml")).expect("read");
    write(
        "templates/hsms.yaml",
        &format!("{{{{- if .Values.hsms }}}}\n{hsms}{{{{- end }}}}\n"),
    );
    write("values.yaml", "hsms: false\n");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(project_dir().join(CHART))
        .arg(folder.join("charts"))
        .status();
    assert!(copied.expect("cp runs").success());
}

/// As docs/install.md says it, word by word; then nothing is left, and a new operator begins anew.
pub async fn for_good(house: &House) {
    house.install();
    made(house, "shop").await;
    let before = house
        .get(&format!("secret {PIN_SECRET} -n {NAMESPACE}"))
        .await;
    let [commands] = &blocks("docs/install.md", "To end it for good")[..] else {
        panic!("one block of commands");
    };
    house.typed(project_dir(), commands);
    let kinds = "crd,validatingadmissionpolicies,validatingadmissionpolicybindings,validatingwebhookconfigurations,clusterroles,clusterrolebindings,pvc,pv,secrets";
    let left = house.kubectl(&format!("get {kinds} -A -o name")).await;
    let ours: Vec<_> = left.lines().filter(|line| line.contains("hsm")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
    house
        .asked(&format!("get namespace {NAMESPACE}"))
        .await
        .refused();

    house.wipe();
    house.volume(STORE);
    house.install();
    let after = house
        .get(&format!("secret {PIN_SECRET} -n {NAMESPACE}"))
        .await;
    assert!(after["data"] != before["data"], "the old PINs");
    house.kubectl("delete namespace shop --timeout=60s").await;
    let keys = made(house, "shop").await;
    proven(house, "shop", &keys).await;
}
