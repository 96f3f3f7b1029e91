//! `kubectl hsm <TAB>`, as kubectl's own completion asks for it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use managed_hsm_operator::softdelete::Kind;
use testplane::{Options, borrow, kubectl_path};

use crate::scene::{Scene, roles, with_roles};

/// A folder of somebody's PATH, with the plugin in it under both of its names.
struct Shell {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Shell {
    fn of(kubeconfig: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["kubectl-hsm", "kubectl_complete-hsm"] {
            let link = symlink(env!("CARGO_BIN_EXE_kubectl-hsm"), folder.path().join(name));
            link.expect("a link");
        }
        Self { folder, kubeconfig }
    }

    /// What kubectl offers for the last of these words, without what is said about it; and its directive to the shell.
    async fn offers(&self, words: &[&str]) -> (Vec<String>, String) {
        let output = tokio::process::Command::new(kubectl_path().expect("kubectl"))
            .args(["__complete", "hsm"])
            .args(words)
            .env("PATH", self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.folder.path().join("cache"))
            .output()
            .await
            .expect("kubectl starts");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let mut lines: Vec<_> = text
            .lines()
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
            .collect();
        let directive = lines.pop().expect("a directive");
        (lines, directive)
    }

    #[track_caller]
    fn same((offered, directive): (Vec<String>, String), expected: &[&str]) {
        assert_eq!(
            (offered.as_slice(), directive.as_str()),
            (owned(expected).as_slice(), ":4")
        );
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_completes_commands_flags_and_the_names_of_what_is_deleted() {
    let scene = Scene::new("tab").await;
    scene.made_hsm("payments", false).await;
    let signing = scene.made_key("payments", "signing").await;
    scene.made_key("payments", "live").await;
    let twin = scene.made_hsm("signing", false).await;
    let root = scene.made_key("payments", "root-ca").await;
    scene.delete(Kind::Key, &signing).await;
    scene.delete(Kind::Key, &root).await;
    let shell = Shell::of(scene.plane.kubeconfig());

    Shell::same(shell.offers(&["re"]).await, &["recover"]);
    Shell::same(shell.offers(&["-n", "tab", "l"]).await, &["list-deleted"]);
    Shell::same(shell.offers(&["purge", "--y"]).await, &["--yes"]);
    // kubectl's own flags are none of the plugin's.
    Shell::same(shell.offers(&["recover", "--c"]).await, &["--context"]);
    Shell::same(
        shell.offers(&["recover", "--dry-run", "c"]).await,
        &["client"],
    );
    Shell::same(
        shell.offers(&["recover", "--dry-run=c"]).await,
        &["--dry-run=client"],
    );
    Shell::same(shell.offers(&["recover", "-n", "ta"]).await, &["tab"]);
    for command in ["recover", "purge"] {
        let offered = shell.offers(&[command, "-n", "tab", ""]).await;
        Shell::same(offered, &["root-ca", "signing"]);
        let offered = shell.offers(&[command, "-n", "tab", "hkey/s"]).await;
        Shell::same(offered, &["hkey/signing"]);
        let offered = shell.offers(&[command, "-n", "default", ""]).await;
        Shell::same(offered, &[]);
    }
    let offered = shell.offers(&["tree", "--namespace=tab", ""]).await;
    Shell::same(offered, &["payments", "signing"]);
    let offered = shell.offers(&["explain", "-n", "tab", "l"]).await;
    Shell::same(offered, &["live"]);
    let (offered, directive) = shell.offers(&["man", ""]).await;
    assert_eq!((offered.len(), directive.as_str()), (0, ":0"));

    // One name of two things is offered so that it means one.
    scene.delete(Kind::Hsm, &twin).await;
    let offered = shell.offers(&["recover", "-n", "tab", ""]).await;
    Shell::same(offered, &["hkey/signing", "mhsm/signing", "root-ca"]);

    // Who may not see what is deleted is offered nothing, and told nothing in the middle of his line.
    roles(&scene.plane).await;
    let blind = Shell::of(with_roles(&scene.plane, "tabea", &["hsm-recoverer"]).await);
    Shell::same(blind.offers(&["recover", "-n", "tab", ""]).await, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_commands_and_flags_are_completed_all_the_same() {
    let shell = Shell::of(Path::new("/nonexistent/kubeconfig").into());
    Shell::same(shell.offers(&["tr"]).await, &["tree"]);
    Shell::same(shell.offers(&["recover", ""]).await, &[]);
    let plane = borrow(Options::without_controllers().without_crds()).await;
    let shell = Shell::of(plane.kubeconfig());
    Shell::same(shell.offers(&["recover", ""]).await, &[]);
    let (contexts, _) = shell.offers(&["status", "--context", ""]).await;
    assert_eq!(contexts.len(), 1, "{contexts:?}");
}
