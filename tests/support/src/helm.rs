//! The real Helm.

use std::path::Path;
use std::process::Command;

use crate::binaries;

/// Runs Helm to its end, without a cluster unless a kubeconfig is given; answers what it printed, or what it complained of.
pub fn helm(kubeconfig: Option<&Path>, arguments: &[&str]) -> Result<String, String> {
    let home = tempfile::tempdir().expect("a folder");
    let output = Command::new(binaries::helm().expect("Helm"))
        .args(arguments)
        .current_dir(binaries::project_dir())
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .env(
            "KUBECONFIG",
            kubeconfig.unwrap_or(&home.path().join("none")),
        )
        .output()
        .expect("Helm runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(text(&output.stderr))
}
