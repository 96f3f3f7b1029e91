//! The harness itself: what other tests, the benchmarks and the demo rely on.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use testplane::{Options, Plane, Server, borrow, eventually, shared};

const SOON: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options::default().without_crds()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_gets_its_service_account_and_goes_when_it_is_deleted() {
    let plane = borrow(options()).await;
    let name = plane.namespace("life").await;
    eventually("the ServiceAccount's token works", SOON, async || {
        let seen = plane
            .kubectl(&["create", "token", "default", "-n", &name], "")
            .await;
        if seen.success {
            Ok(())
        } else {
            Err(seen.stderr)
        }
    })
    .await;
    let client = plane.client_as_service_account(&name, "default").await;
    let refused = Api::<ConfigMap>::namespaced(client, &name)
        .list(&Default::default())
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains(&format!("system:serviceaccount:{name}:default")),
        "{refused}"
    );

    plane
        .kubectl(&["delete", "namespace", &name, "--wait=false"], "")
        .await
        .ok();
    let namespaces: Api<Namespace> = Api::all(plane.client().await);
    eventually("the namespace is gone", SOON, async || {
        match namespaces.get_opt(&name).await {
            Ok(None) => Ok(()),
            other => Err(format!(
                "{:?}",
                other.map(|found| found.and_then(|n| n.status))
            )),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_plane_serves_the_projects_six_kinds() {
    let plane = shared().await;
    let list = [
        "api-resources",
        "--api-group=managedhsm.dev",
        "--categories=hsm",
        "--output=name",
    ];
    let printed = plane.kubectl(&list, "").await.ok();
    let mut kinds: Vec<&str> = printed.lines().collect();
    kinds.sort_unstable();
    let wanted = [
        "deletedhsmkeys",
        "deletedmanagedhsms",
        "hsmkeys",
        "managedhsms",
        "purges",
        "recovers",
    ];
    assert_eq!(kinds, wanted.map(|kind| format!("{kind}.managedhsm.dev")));
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_is_who_the_client_says() {
    let plane = borrow(Options::without_controllers().without_crds()).await;
    plane
        .kubectl(
            &[
                "create",
                "role",
                "reader",
                "--verb=list",
                "--resource=configmaps",
            ],
            "",
        )
        .await
        .ok();
    plane
        .kubectl(
            &[
                "create",
                "rolebinding",
                "reader",
                "--role=reader",
                "--group=readers",
            ],
            "",
        )
        .await
        .ok();
    let reader: Api<ConfigMap> =
        Api::namespaced(plane.client_as("jo", &["readers"]).await, "default");
    eventually("the role is bound", SOON, async || {
        reader
            .list(&Default::default())
            .await
            .map_err(|e| e.to_string())
    })
    .await;
    let stranger: Api<ConfigMap> =
        Api::namespaced(plane.client_as("jo", &["others"]).await, "default");
    let refused = stranger.list(&Default::default()).await.unwrap_err();
    assert!(
        refused.to_string().contains("User \"jo\" cannot list"),
        "{refused}"
    );
    let output = plane
        .kubectl(&["get", "secrets", "--as=jo", "--as-group=readers"], "")
        .await;
    assert!(
        output
            .refused()
            .contains("User \"jo\" cannot list resource \"secrets\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_api_server_and_etcd_come_back_with_what_they_knew() {
    let plane = borrow(Options::without_controllers().without_crds()).await;
    let name = plane.namespace("kept").await;
    for server in [Server::ApiServer, Server::Etcd] {
        plane.kill_server(server).unwrap();
        let refused = plane
            .kubectl(&["get", "namespace", &name, "--request-timeout=2s"], "")
            .await
            .refused();
        assert!(
            !refused.contains("NotFound"),
            "a dead {server:?} must not look like a NotFound: {refused}"
        );
        plane.start_server(server).unwrap();
        eventually("the namespace is read again", SOON, async || {
            let seen = plane
                .kubectl(&["get", "namespace", &name, "-o", "name"], "")
                .await;
            if seen.stdout.trim() == format!("namespace/{name}") {
                Ok(())
            } else {
                Err(seen.stderr)
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_etcd_forgets_what_came_after_the_copy() {
    let plane = borrow(Options::without_controllers().without_crds()).await;
    let before = plane.namespace("before").await;
    let copy = plane.copy_etcd().unwrap();
    let after = plane.namespace("after").await;
    plane.restore_etcd(&copy).unwrap();
    plane.kubectl(&["get", "namespace", &before], "").await.ok();
    assert!(
        plane
            .kubectl(&["get", "namespace", &after], "")
            .await
            .refused()
            .contains("NotFound")
    );
}

#[test]
fn nothing_is_left_of_a_plane_that_was_dropped() {
    let plane = Plane::start(Options::without_controllers().without_crds()).unwrap();
    let (folder, port) = (plane.folder().to_path_buf(), plane.port());
    assert!(folder.join("kube-apiserver.log").exists());
    drop(plane);
    assert!(!folder.exists());
    std::net::TcpListener::bind(("127.0.0.1", port)).expect("the API server's port is free again");
    let left = processes_that_name(&folder.display().to_string());
    assert!(left.is_empty(), "still running: {left:?}");
}

/// The command lines of all processes that mention `text`.
#[cfg(target_os = "linux")]
fn processes_that_name(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let lines = entries.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn processes_that_name(text: &str) -> Vec<String> {
    let listed = std::process::Command::new("ps")
        .args(["-A", "-o", "args="])
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&listed.stdout).into_owned();
    lines
        .lines()
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let mut options = Options::without_controllers().without_crds();
    options.api_server_flags.push("--no-such-flag=1".to_owned());
    let failure = Plane::start(options)
        .err()
        .expect("such a plane cannot start")
        .to_string();
    assert!(
        failure.contains("kube-apiserver ended by itself"),
        "{failure}"
    );
    assert!(
        failure.contains("unknown flag: --no-such-flag"),
        "{failure}"
    );
}
