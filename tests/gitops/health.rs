//! What Argo CD's own binary says of the health of objects as the operator writes them, by the scripts of `deploy/argocd/`. The folders are
//! those of Argo's repository, whose tests read them in the same way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use testplane::{project_dir, tools};

const SETTINGS: &str = "deploy/argocd/argocd-cm.yaml";
const CUSTOMIZATIONS: &str = "deploy/argocd/resource_customizations/managedhsm.dev";
/// What is broken in the script, and how.
const BREAKS: &[(&str, &str)] = &[
    (r#"status = "Progressing""#, r#"status = "Healthy""#),
    (r#"hs.status = "Degraded""#, r#"hs.status = "Progressing""#),
    (r#"hs.status = "Healthy""#, r#"hs.status = "Progressing""#),
    ("hs.message = ready.message", ""),
    ("(obj.metadata.generation or 1)", "0"),
];

#[derive(Deserialize)]
struct Suite {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    health_status: Health,
    input_path: PathBuf,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Health {
    status: String,
    message: String,
}

/// All that is tried: the object's file, and what is to be said of it.
fn cases() -> Vec<(PathBuf, Health)> {
    let mut all = Vec::new();
    for kind in fs::read_dir(project_dir().join(CUSTOMIZATIONS)).expect("a folder") {
        let folder = kind.expect("a kind").path();
        let suite = fs::read_to_string(folder.join("health_test.yaml")).expect("a suite");
        let suite: Suite = serde_yaml_ng::from_str(&suite).expect("cases");
        let named: BTreeSet<_> = suite
            .tests
            .iter()
            .map(|case| folder.join(&case.input_path))
            .collect();
        let data = fs::read_dir(folder.join("testdata")).expect("a folder");
        let there: BTreeSet<_> = data.map(|file| file.expect("a file").path()).collect();
        assert_eq!(
            named,
            there,
            "{}: each object is tried once",
            folder.display()
        );
        let tests = suite.tests.into_iter();
        all.extend(tests.map(|case| (folder.join(case.input_path), case.health_status)));
    }
    all
}

/// What `argocd` says with these settings.
fn said(argocd: &Path, settings: &Path, object: &Path) -> String {
    let output = Command::new(argocd)
        .args(["admin", "settings", "resource-overrides", "health"])
        .arg(object)
        .arg("--argocd-cm-path")
        .arg(settings)
        .output()
        .expect("argocd");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The objects of which something else is said than wanted, each with what.
fn wrong<'a>(
    argocd: &Path,
    settings: &Path,
    cases: &'a [(PathBuf, Health)],
) -> Vec<(&'a Path, String)> {
    let mut wrong = Vec::new();
    for (object, wanted) in cases {
        let said = said(argocd, settings, object);
        let Health { status, message } = wanted;
        if said != format!("STATUS: {status}\nMESSAGE: {message}\n") {
            wrong.push((object.as_path(), said));
        }
    }
    wrong
}

pub async fn of_each_object() {
    let argocd = tools("argocd").expect("Argo CD").join("argocd");
    let cases = cases();
    assert!(cases.len() > 30, "{}", cases.len());
    let settings = project_dir().join(SETTINGS);
    let found = wrong(&argocd, &settings, &cases);
    assert!(found.is_empty(), "{found:#?}");

    let text = fs::read_to_string(&settings).expect("settings");
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("argocd-cm.yaml");
    let mut noticed = BTreeSet::new();
    for (whole, part) in BREAKS {
        assert!(text.contains(whole), "{whole}");
        fs::write(&broken, text.replace(whole, part)).expect("written");
        let found = wrong(&argocd, &broken, &cases);
        assert!(
            !found.is_empty(),
            "nobody notices {part} instead of {whole}"
        );
        noticed.extend(found.into_iter().map(|(object, _)| object));
    }
    let unnoticed: Vec<_> = cases
        .iter()
        .map(|(object, _)| object.as_path())
        .filter(|object| !noticed.contains(object))
        .collect();
    // Of what is being deleted Argo CD says so itself, without a script, unless it is one of its hooks.
    let by_itself = |object: &&Path| object.ends_with("progressing_pending_deletion.yaml");
    assert!(
        unnoticed.iter().all(by_itself) && unnoticed.len() == 2,
        "no broken script changes what is said of {unnoticed:#?}"
    );
}
