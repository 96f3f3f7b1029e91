//! `helm test`'s own command, as its account: what it tells is so, and it leaves nothing that could have gone.

use std::path::Path;
use std::process::{Command, Output};

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use testplane::{helm, project_dir};

use crate::NAMESPACE;
use crate::role::Installed;
use crate::user::{User, is};

const TRIAL: &str = "managed-hsm-operator-trial";

fn trial(kubeconfig: &Path, timeout: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"));
    command
        .args(["trial", "--namespace", NAMESPACE, "--timeout", timeout])
        .env("KUBECONFIG", kubeconfig)
        .env_remove("KUBERNETES_SERVICE_HOST");
    command.output().expect("it runs")
}

/// The account that the chart makes for it, without the pod.
fn account() -> String {
    let chart = project_dir().join("charts/managed-hsm-operator");
    let chart = chart.display().to_string();
    let show = "templates/tests/trial.yaml";
    let shown = helm(
        None,
        &[
            "template",
            "hsm",
            &chart,
            "--namespace",
            NAMESPACE,
            "--show-only",
            show,
        ],
    );
    let shown = shown.expect("it renders");
    let objects = shown.split("\n---\n");
    let objects: Vec<_> = objects.filter(|text| !text.contains("kind: Pod")).collect();
    objects.join("\n---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_test_brings_a_key_back_with_the_rights_that_the_chart_gives_it() {
    let installed = Installed::new().await;
    let plane = &installed.plane;
    let apply = ["apply", "--server-side", "-f", "-"];
    plane.kubectl(&apply, &account()).await.ok();
    let kubeconfig = plane.kubeconfig_of_service_account(NAMESPACE, TRIAL).await;
    let user = User::of(&plane.client().await, NAMESPACE);

    // Nobody is at work.
    let output = trial(&kubeconfig, "2s");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("not within 2s: the key is ready (no operator has seen it); look at"),
        "{said}"
    );
    let (_, command) = said.split_once("remove it by kubectl ").expect("a way out");
    let words: Vec<_> = command.split_whitespace().collect();
    plane.kubectl(&words, "").await.ok();

    let mut process = installed.start(&[]).await;
    let output = trial(&kubeconfig, "1m");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{output:?}");
    let lines: Vec<_> = told.lines().collect();
    let begins = [
        "made the HSM and the key",
        "deleted the key: it is kept as",
        "recovered the key: it is the same, thumbprint",
        "purged the HSM with its key",
    ];
    assert_eq!(lines.len(), begins.len(), "{told}");
    assert!(
        lines
            .iter()
            .zip(begins)
            .all(|(line, begin)| line.starts_with(begin)),
        "{told}"
    );
    for of in [
        Watched::Object(Kind::Hsm),
        Watched::Object(Kind::Key),
        Watched::Proxy(Kind::Hsm),
        Watched::Proxy(Kind::Key),
        Watched::Recover,
    ] {
        let left = user
            .api(of)
            .list(&Default::default())
            .await
            .expect("a list");
        assert!(left.items.is_empty(), "{:?}", left.items);
    }

    // Where more than one must ask, it goes by itself, and no request of the trial's waits for others.
    assert!(process.stop().success());
    let _process = installed
        .start_with(&[], &[("MHSM_PURGE_QUORUM", "2")])
        .await;
    let output = trial(&kubeconfig, "15s");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{output:?}");
    assert!(
        told.contains("nobody purges it at once here") && told.contains("goes by itself at"),
        "{told}"
    );
    let proxies = user
        .api(Watched::Proxy(Kind::Hsm))
        .list(&Default::default())
        .await
        .expect("a list");
    assert_eq!(proxies.items.len(), 1);
    let purges = user
        .api(Watched::Purge)
        .list(&Default::default())
        .await
        .expect("a list");
    let waiting = purges.items.iter().filter(|purge| !is(purge, "Complete"));
    assert_eq!(waiting.count(), 0);
}
