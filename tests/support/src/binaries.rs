//! Where the servers and kubectl come from: `controlplane/build.sh`, which builds what its cache lacks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::{Failure, failed};

/// The project's root folder.
pub fn project_dir() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().nth(2).unwrap_or(here).to_path_buf()
    })
}

/// The folder of etcd, kube-apiserver, kube-controller-manager and kubectl; built first where it is missing.
pub(crate) fn control_plane() -> Result<&'static Path, Failure> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(found) = FOLDER.get() {
        return Ok(found);
    }
    let folder = built(&project_dir().join("controlplane/build.sh"), &[])?;
    Ok(FOLDER.get_or_init(|| folder))
}

/// The folder of what the module `tools/<module>` makes; built first where it is missing.
pub fn tools(module: &str) -> Result<PathBuf, Failure> {
    static FOLDERS: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = folders.get(module) {
        return Ok(found.clone());
    }
    let folder = built(&project_dir().join("tools/build.sh"), &[module])?;
    folders.insert(module.to_owned(), folder.clone());
    Ok(folder)
}

/// Runs a script that builds what its cache lacks, and answers the path that it prints last.
fn built(script: &Path, arguments: &[&str]) -> Result<PathBuf, Failure> {
    let output = Command::new(script)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed(format!("starting {}", script.display())))?;
    if !output.status.success() {
        return Err(Failure(format!(
            "{} failed ({}): what the tests run on cannot be built; what it printed says why",
            script.display(),
            output.status
        )));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(PathBuf::from(
        printed.lines().last().unwrap_or_default().trim(),
    ))
}

/// The real kubectl of the same release as the servers.
pub fn kubectl_path() -> Result<PathBuf, Failure> {
    Ok(control_plane()?.join("kubectl"))
}
