//! The chart's own suites, run by the real helm-unittest, as whoever changes the chart runs them.

use std::path::Path;
use std::process::Command;

use testplane::{helm, project_dir, tool};

use crate::rendered::CHART;

fn run(chart: &str) -> Result<String, String> {
    let arguments = ["--strict", chart];
    tool("helm-unittest", "helm-unittest", None, &arguments)
}

#[test]
fn the_charts_own_suites_pass_and_a_chart_that_keeps_nothing_fails_them() {
    // A copy: it leaves a folder for snapshots.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("managed-hsm-operator");
    let mut copied = Command::new("cp");
    copied.arg("-R").arg(project_dir().join(CHART)).arg(&copy);
    assert!(copied.status().expect("cp runs").success());
    let chart = copy.display().to_string();
    let suites = std::fs::read_dir(copy.join("tests")).expect("a folder");
    let suites = suites.count();
    let said = run(&chart).unwrap_or_else(|said| panic!("{said}"));
    let all = format!("Test Suites: {suites} passed, {suites} total");
    assert!(suites > 0 && said.contains(&all), "{said}");

    let claim = copy.join("templates/store.yaml");
    let text = std::fs::read_to_string(&claim).expect("it is there");
    let lost = text.replace("helm.sh/resource-policy: keep", "of: nothing");
    assert_ne!(text, lost);
    std::fs::write(&claim, lost).expect("written");
    let said = run(&chart).expect_err("nothing is kept");
    assert!(
        said.contains("keeps definitions, policies and the claim"),
        "{said}"
    );
}

/// Who installs the chart gets what `helm test` runs, and not the suites.
#[test]
fn a_package_of_the_chart_holds_no_suite() {
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().display().to_string();
    helm(None, &["package", CHART, "--destination", &into]).expect("a package");
    let version = env!("CARGO_PKG_VERSION");
    let package = format!("managed-hsm-operator-{version}.tgz");
    let files = listed(&folder.path().join(package));
    assert!(
        files.contains("managed-hsm-operator/templates/tests/trial.yaml"),
        "{files}"
    );
    assert!(!files.contains("_test.yaml"), "{files}");
}

fn listed(archive: &Path) -> String {
    let listed = Command::new("tar").arg("-tzf").arg(archive).output();
    String::from_utf8_lossy(&listed.expect("tar runs").stdout).into_owned()
}
