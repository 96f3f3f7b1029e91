//! What Helm and kustomize make of the chart and of `deploy/`, as objects.

use std::collections::BTreeMap;
use std::process::Command;

use rstest::rstest;
use serde::Deserialize as _;
use serde_json::Value;
use testplane::{Plane, Said, helm, helm3, kubectl_path, project_dir};

use crate::NAMESPACE;
use crate::helm::Helm;
use crate::values::MODULE;

pub const CHART: &str = "charts/managed-hsm-operator";

/// By kind, namespace and name.
pub type Objects = BTreeMap<[String; 3], Value>;

pub fn objects(yaml: &str) -> Objects {
    let mut objects = Objects::new();
    for document in serde_yaml_ng::Deserializer::from_str(yaml) {
        let object = Value::deserialize(document).expect("YAML");
        if object.is_null() {
            continue;
        }
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let key = [
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name"),
        ];
        assert!(
            !key[0].is_empty() && !key[2].is_empty(),
            "no object: {object}"
        );
        let twice = objects.insert(key, object);
        assert!(twice.is_none(), "it stands twice: {twice:?}");
    }
    objects
}

/// The chart with these values (`--set-json`), as one YAML text, without what `helm test` makes.
pub fn template(values: &[&str]) -> Said {
    template_by(helm, values)
}

fn template_by(helm: Helm, values: &[&str]) -> Said {
    let mut arguments = vec![
        "template",
        "any-name",
        CHART,
        "--namespace",
        NAMESPACE,
        "--skip-tests",
    ];
    for value in values {
        arguments.extend(["--set-json", value]);
    }
    helm(None, &arguments)
}

pub fn kustomize(folder: &str) -> String {
    let output = Command::new(kubectl_path().expect("kubectl"))
        .args(["kustomize", folder])
        .current_dir(project_dir())
        .output()
        .expect("kubectl runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

pub fn file(path: &str) -> String {
    std::fs::read_to_string(project_dir().join(path)).expect("it is there")
}

/// Each of our objects as it stands on the server, in full. (Not its resourceVersion: the server moves a claim's at the first apply that changes nothing.)
pub async fn standing(plane: &Plane) -> BTreeMap<String, Value> {
    let kinds = "crd,ns,clusterroles,clusterrolebindings,serviceaccounts,roles,rolebindings,pvc,deployments,services,secrets,validatingadmissionpolicies,validatingadmissionpolicybindings,validatingwebhookconfigurations";
    let all = plane
        .kubectl(&["get", kinds, "-n", NAMESPACE, "-o", "json"], "")
        .await
        .ok();
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let mut standing = BTreeMap::new();
    for mut object in all["items"].as_array().expect("a list").clone() {
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let prefixes = ["managed-hsm-operator", "hsm-"];
        let ours = prefixes.iter().any(|prefix| name.starts_with(prefix));
        if ours || name.ends_with("managedhsm.dev") {
            object["metadata"]["resourceVersion"] = Value::Null;
            object["status"] = Value::Null;
            let kind = object["kind"].as_str().expect("a kind");
            standing.insert(format!("{kind}/{name}"), object);
        }
    }
    standing
}

/// The API server serves our kinds.
pub async fn established(plane: &Plane) {
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=60s",
    ];
    plane.kubectl(&wait, "").await.ok();
}

/// The one of that kind.
pub fn one<'a>(objects: &'a Objects, kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|(key, _)| key[0] == kind);
    let (_, object) = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    object
}

#[test]
fn helm_kustomize_and_the_one_file_say_the_same_object_by_object() {
    let file = objects(&file("deploy/install.yaml"));
    assert_eq!(objects(&kustomize("deploy/base")), file);
    let mut chart = objects(&template(&[]).expect("it renders"));
    // A release's namespace is made by whoever installs it.
    let namespace = one(&file, "Namespace").clone();
    chart.insert(
        ["Namespace".to_owned(), String::new(), NAMESPACE.to_owned()],
        namespace,
    );
    assert_eq!(
        chart.keys().collect::<Vec<_>>(),
        file.keys().collect::<Vec<_>>()
    );
    for (key, object) in &file {
        assert_eq!(&chart[key], object, "{key:?}");
    }
}

/// Helm 3 as well, in each shape.
#[test]
fn both_helms_render_the_same() {
    let module = [&MODULE[..], &["shape=\"module\""]].concat();
    let everything = ["networkPolicy={\"enabled\": true}", "undeletable=true"];
    for values in [&[][..], &module, &everything] {
        let [now, before] = [helm as Helm, helm3].map(|helm| {
            objects(&template_by(helm, values).unwrap_or_else(|said| panic!("{values:?}: {said}")))
        });
        assert_eq!(now, before);
    }
}

#[rstest]
#[case::helm_4(helm)]
#[case::helm_3(helm3)]
fn helm_finds_nothing_to_complain_of(#[case] helm: Helm) {
    let said = helm(None, &["lint", "--strict", CHART]).expect("clean");
    assert!(said.contains("0 chart(s) failed"), "{said}");
}
