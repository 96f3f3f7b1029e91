//! Without a cluster, without our definitions, without a kubeconfig: a sentence each. And what needs no cluster.

use std::path::Path;

use testplane::{Options, Server, borrow};

use crate::scene::{DONE, NO_CLUSTER, USAGE, hsm};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_or_our_definitions_each_command_says_so() {
    let plane = borrow(Options::without_controllers().without_crds()).await;
    let at = plane.kubeconfig();
    let commands: [&[&str]; 6] = [
        &["list-deleted"],
        &["recover", "signing"],
        &["recover", "--all"],
        &["purge", "signing", "--yes"],
        &["tree", "payments"],
        &["explain", "signing"],
    ];
    for arguments in commands {
        hsm(&at, arguments).await.says(
            NO_CLUSTER,
            "does not serve the definitions of managedhsm.dev",
        );
    }
    hsm(&at, &["list-deleted", "--context", "elsewhere"])
        .await
        .says(NO_CLUSTER, "a context in it with --context");
    plane.kill_server(Server::ApiServer).expect("it runs");
    for arguments in commands.into_iter().chain([&["status"][..]]) {
        hsm(&at, arguments)
            .await
            .says(NO_CLUSTER, "The cluster does not answer as it should");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_kubeconfig_it_says_how_to_name_one() {
    let nowhere = Path::new("/nonexistent/kubeconfig");
    hsm(nowhere, &["list-deleted"]).await.says(
        NO_CLUSTER,
        "name a kubeconfig with --kubeconfig or KUBECONFIG",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn help_completions_and_man_pages_need_no_cluster() {
    let nowhere = Path::new("/nonexistent/kubeconfig");
    hsm(nowhere, &["--help"]).await.says(DONE, "Exit codes:");
    hsm(nowhere, &["recover", "--help"])
        .await
        .says(DONE, "kubectl hsm recover");
    for (shell, words) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef kubectl-hsm"),
        ("fish", "complete -c kubectl-hsm"),
    ] {
        hsm(nowhere, &["completion", shell]).await.says(DONE, words);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let shown = folder.path().display().to_string();
    hsm(nowhere, &["man", &shown]).await.ended(DONE);
    let page = std::fs::read_to_string(folder.path().join("kubectl-hsm-recover.1"))
        .expect("a page for each command");
    assert!(page.contains("accept\\-namespace"), "{page}");
    hsm(nowhere, &["man", &format!("{shown}/none")])
        .await
        .says(USAGE, "name a folder that is there");
}

/// What krew would install is this plugin, for where a release fills it in.
#[test]
fn the_manifest_for_krew_names_this_version_and_its_program() {
    let file = testplane::project_dir().join("deploy/krew/hsm.yaml");
    let text = std::fs::read_to_string(file).expect("a file");
    let manifest: serde_json::Value = serde_yaml_ng::from_str(&text).expect("YAML");
    assert_eq!(manifest["kind"], "Plugin");
    assert_eq!(manifest["metadata"]["name"], "hsm");
    assert_eq!(
        manifest["spec"]["version"],
        concat!("v", env!("CARGO_PKG_VERSION"))
    );
    let platforms = manifest["spec"]["platforms"].as_array().expect("a list");
    assert_eq!(platforms.len(), 4);
    for platform in platforms {
        assert_eq!(platform["bin"], "kubectl-hsm");
        let labels = &platform["selector"]["matchLabels"];
        let (os, arch) = (
            labels["os"].as_str().expect("text"),
            labels["arch"].as_str().expect("text"),
        );
        let uri = platform["uri"].as_str().expect("text");
        assert!(
            uri.ends_with(&format!("kubectl-hsm-{os}-{arch}.tar.gz")),
            "{uri}"
        );
        assert_eq!(platform["sha256"].as_str().map(str::len), Some(64));
    }
}
