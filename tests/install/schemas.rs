//! The manifests as people check them before any reaches a cluster: by kubectl-validate, which is the API server's own code, CEL and all (and by kubeconform:
//! `conform.rs`). What we ship passes; what is wrong does not, with the right sentence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testplane::{project_dir, source, tool};

use crate::api_cases::cases;
use crate::rendered::{file, kustomize, template};
use crate::values::{MODULE, with_everything};

/// Samples, examples, overlays, and the chart in its shapes, each by what it is.
pub fn shipped() -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        ("install.yaml".into(), file("deploy/install.yaml")),
        ("chart".into(), template(&[]).expect("it renders")),
        ("chart, embedded".into(), with_everything(&[])),
        (
            "chart, module".into(),
            with_everything(&["shape=\"module\""]),
        ),
        (
            "chart, undeletable".into(),
            template(&[MODULE[0], "undeletable=true"]).expect("it renders"),
        ),
    ]);
    for folder in [
        "deploy/samples",
        "deploy/samples/shown",
        "deploy/examples",
        "crds",
    ] {
        for path in entries(folder) {
            if path.is_file() {
                let text = std::fs::read_to_string(&path).expect("it is there");
                all.insert(path.display().to_string(), text);
            }
        }
    }
    for folder in ["deploy/base", "deploy/examples/module"] {
        all.insert(folder.into(), kustomize(folder));
    }
    for path in entries("deploy/overlays") {
        let path = path.display().to_string();
        let text = kustomize(&path);
        all.insert(path, text);
    }
    all
}

pub fn entries(folder: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(project_dir().join(folder)).expect("a folder");
    found.map(|entry| entry.expect("an entry").path()).collect()
}

/// Where cert-manager's own definitions are.
pub fn of_cert_manager() -> PathBuf {
    source("cert-manager").join("deploy/crds")
}

/// Wrong ones, each with what kubectl-validate and kubeconform say of it.
pub const WRONG: [[&str; 4]; 8] = [
    [
        "an unknown field",
        "{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {name: abc}, spec: {retentionDay: 7}}",
        "spec.retentionDay: Invalid value: value provided for unknown field",
        "additional properties 'retentionDay' not allowed",
    ],
    [
        "a value that is none of the enum's",
        "{apiVersion: managedhsm.dev/v1alpha1, kind: HsmKey, metadata: {name: k}, spec: {hsm: abc, keyType: DSA}}",
        "Unsupported value: \"DSA\"",
        "value must be one of 'RSA', 'EC', 'oct'",
    ],
    [
        "a number out of its range",
        "{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {name: abc}, spec: {retentionDays: 91}}",
        "should be less than or equal to 90",
        "maximum: got 91, want 90",
    ],
    [
        "a required field that is missing",
        "{apiVersion: managedhsm.dev/v1alpha1, kind: Recover, metadata: {name: r}, spec: {kind: HsmKey, name: abc}}",
        "spec.uid: Required value",
        "missing property 'uid'",
    ],
    [
        "another type",
        "{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {name: abc}, spec: {softDelete: \"yes\"}}",
        "must be of type boolean",
        "got string, want boolean",
    ],
    [
        "a version that is not served",
        "{apiVersion: managedhsm.dev/v1, kind: ManagedHsm, metadata: {name: abc}, spec: {}}",
        "managedhsm.dev/v1",
        "could not find schema for ManagedHsm",
    ],
    [
        "an unknown field of the server's own kind",
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: abc}, spec: {maxUnavailible: 1}}",
        "spec.maxUnavailible: Invalid value: value provided for unknown field",
        "additional properties 'maxUnavailible' not allowed",
    ],
    [
        "a Certificate without its issuer",
        "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: abc}, spec: {secretName: abc}}",
        "spec.issuerRef: Required value",
        "missing property 'issuerRef'",
    ],
];

/// Each text in a file of its own; answers which is whose.
pub fn written<'a>(into: &Path, texts: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<&'a str> {
    let write = |(number, (name, text)): (usize, (&'a str, &'a str))| {
        std::fs::write(into.join(format!("{number}.yaml")), text).expect("written");
        name
    };
    texts.enumerate().map(write).collect()
}

/// The first JSON of what a tool says: where it refuses, a sentence comes after it.
pub fn first_json(said: &str) -> Value {
    let mut documents = serde_json::Deserializer::from_str(said).into_iter();
    let first = documents.next().and_then(Result::ok);
    first.unwrap_or_else(|| panic!("{said}"))
}

pub fn number(path: &str) -> usize {
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str());
    stem.and_then(|stem| stem.parse().ok()).expect("a number")
}

/// What kubectl-validate says of each; empty: nothing is wrong.
fn validated(texts: &BTreeMap<String, String>) -> BTreeMap<&str, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let names = texts.iter().map(|(name, text)| (&**name, &**text));
    let names = written(folder.path(), names);
    let definitions = of_cert_manager().display().to_string();
    let path = folder.path().display().to_string();
    let arguments = [
        "--version",
        "1.30",
        "--local-crds",
        "crds",
        "--local-crds",
        &definitions,
        "-o",
        "json",
        &path,
    ];
    let said = tool("kubectl-validate", "kubectl-validate", None, &arguments);
    let found = first_json(&said.unwrap_or_else(|said| said));
    let found = found.as_object().expect("files");
    assert_eq!(found.len(), texts.len(), "each was looked at");
    let one = |(path, statuses): (&String, &Value)| {
        let statuses = statuses.as_array().expect("a list");
        assert!(!statuses.is_empty(), "{path} holds nothing");
        let failures = statuses.iter().filter(|it| it["status"] != "Success");
        let failures: Vec<_> = failures.map(Value::to_string).collect();
        (names[number(path)], failures.join("\n"))
    };
    found.iter().map(one).collect()
}

#[test]
fn what_is_shipped_is_right_by_the_servers_own_code() {
    let shipped = shipped();
    for (name, said) in validated(&shipped) {
        assert_eq!(said, "", "{name}");
    }
}

#[test]
fn the_servers_own_code_refuses_each_bad_case_with_its_sentence_without_a_server() {
    let mut texts = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for (number, case) in cases().iter().enumerate() {
        let name = format!("{number}: {case:?}");
        texts.insert(name.clone(), case.manifest().to_string());
        expected.insert(name, case.sentence);
    }
    for [name, text, sentence, _] in WRONG {
        texts.insert(name.to_owned(), text.to_owned());
        expected.insert(name.to_owned(), Some(sentence));
    }
    let otherwise: Vec<_> = validated(&texts)
        .into_iter()
        .map(|(name, said)| (name, said.replace("\\\"", "\"")))
        .filter(|(name, said)| match expected[*name] {
            None => !said.is_empty(),
            Some(sentence) => !said.contains(sentence),
        })
        .collect();
    assert!(otherwise.is_empty(), "{otherwise:#?}");
}
