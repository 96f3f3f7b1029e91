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
