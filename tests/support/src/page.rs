//! Commands as a page of `docs/` has them: read from it, and run by a shell that finds the real kubectl and Helm.

use std::path::Path;
use std::process::Command;

use crate::{Plane, binaries, tool};

/// What stands between the fences of a page, in order, from a text of it on to the next heading. Of a console only what was typed.
pub fn blocks(page: &str, from: &str) -> Vec<String> {
    let path = binaries::project_dir().join(page);
    let text = std::fs::read_to_string(path).expect("a page");
    let at = text.find(from).unwrap_or_else(|| panic!("{page}: {from}"));
    let text = &text[at + from.len()..];
    let text = &text[..text.find("\n## ").unwrap_or(text.len())];
    let inside = text.split("```").skip(1).step_by(2);
    inside.map(typed).collect()
}

fn typed(block: &str) -> String {
    let (kind, text) = block.split_once('\n').unwrap_or_default();
    if kind != "console" {
        return text.to_owned();
    }
    let lines = text.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.map(|line| format!("{line}\n")).collect()
}

impl Plane {
    /// Runs commands in that folder to their end; answers what they printed, or what they complained of, each command before it.
    pub fn shell(&self, folder: &Path, commands: &str) -> Result<String, String> {
        let home = tempfile::tempdir().expect("a folder");
        let kubectl = binaries::kubectl_path().expect("kubectl");
        let kubectl = kubectl.parent().expect("a folder").display();
        let helm = binaries::tools("helm").expect("Helm");
        let helm = helm.display();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = tool::at(Command::new("bash"), home.path())
            .args(["-euxo", "pipefail", "-c", commands])
            .current_dir(folder)
            .env("PATH", format!("{kubectl}:{helm}:{path}"))
            .env("KUBECACHEDIR", home.path())
            .env("KUBECONFIG", self.kubeconfig())
            .output()
            .expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(text(&output.stderr) + &text(&output.stdout))
    }
}
