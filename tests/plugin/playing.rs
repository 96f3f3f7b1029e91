//! `make play`: what somebody types in that shell first, and that nothing is left of it.

use std::process::Stdio;

use testplane::{Options, borrow, kubectl_path, project_dir};
use tokio::io::AsyncWriteExt as _;

/// As the shell proposes it, then what it promises besides.
const TYPED: &str = "set -e
kubectl apply -f hack/demo/payments.yaml
kubectl wait --for=condition=Ready --timeout=60s -f hack/demo/payments.yaml
kubectl get hsm
kubectl delete hsmkey invoice-signing --timeout=60s
kubectl hsm list-deleted
kubectl __complete hsm recover inv
kubectl hsm recover invoice-signing
kubectl auth can-i list deletedhsmkeys --as=somebody || kubectl get clusterrole hsm-deleted-viewer -o name
echo this was all
";

#[tokio::test(flavor = "multi_thread")]
async fn the_playground_has_an_operator_and_the_plugin_and_leaves_nothing() {
    let plane = borrow(Options::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    // It makes its namespace the context's.
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::copy(plane.kubeconfig(), &kubeconfig).expect("a copy");
    let kubectl = kubectl_path().expect("kubectl");
    let kubectl = kubectl.parent().expect("a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut play = tokio::process::Command::new(project_dir().join("hack/demo/play.sh"))
        .env("OPERATOR", env!("CARGO_BIN_EXE_managed-hsm-operator"))
        .env("KUBECONFIG", &kubeconfig)
        .env("KUBECACHEDIR", folder.path().join("cache"))
        .env("PATH", format!("{kubectl}:{path}"))
        .env("SHELL", "bash")
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut typed = play.stdin.take().expect("its input");
    typed.write_all(TYPED.as_bytes()).await.expect("typed");
    drop(typed);
    let output = play.wait_with_output().await.expect("its end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    for words in [
        "hsmkey.managedhsm.dev/invoice-signing condition met",
        "HsmKey   invoice-signing   payments",
        "invoice-signing\tdeleted HsmKey, kept until ",
        "HsmKey   invoice-signing   Recovered",
        "clusterrole.rbac.authorization.k8s.io/hsm-deleted-viewer",
        "this was all",
    ] {
        assert!(out.contains(words), "without {words:?}:\n{out}\n{err}");
    }
    let left = std::fs::read_dir(folder.path()).expect("the folder");
    let left: Vec<_> = left
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with("mhsm-play"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
