//! The real tools of `tools/`, run to their end.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries;

/// What it printed; Err: what it said, and complained of.
pub type Said = Result<String, String>;

/// Runs what the module `tools/<module>` makes in the project's folder, without a cluster unless a kubeconfig is given.
pub fn tool(module: &str, program: &str, kubeconfig: Option<&Path>, arguments: &[&str]) -> Said {
    let home = tempfile::tempdir().expect("a folder");
    let folder = binaries::tools(module).unwrap_or_else(|failure| panic!("{failure}"));
    let output = at(Command::new(folder.join(program)), home.path())
        .args(arguments)
        .current_dir(binaries::project_dir())
        .env(
            "KUBECONFIG",
            kubeconfig.unwrap_or(&home.path().join("none")),
        )
        .output()
        .unwrap_or_else(|error| panic!("{program} does not run: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(text(&output.stdout) + &text(&output.stderr))
}

/// Where the module is unpacked that `tools/<module>` requires for what lies in it.
pub fn source(module: &str) -> PathBuf {
    let folder = binaries::tools(module).unwrap_or_else(|failure| panic!("{failure}"));
    folder.join("source")
}

/// The real Helm, as it is now.
pub fn helm(kubeconfig: Option<&Path>, arguments: &[&str]) -> Said {
    tool("helm", "helm", kubeconfig, arguments)
}

/// Helm 3, which many still install with.
pub fn helm3(kubeconfig: Option<&Path>, arguments: &[&str]) -> Said {
    tool("helm3", "helm", kubeconfig, arguments)
}

/// What Helm keeps for itself is there, and not in the caller's home.
pub(crate) fn at(mut command: Command, home: &Path) -> Command {
    for kept in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(kept, home);
    }
    command
}
