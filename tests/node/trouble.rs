//! What happens to a pod: it is killed, forced away, drained; its volume goes from it and comes back. No acknowledged key is lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use managed_hsm_operator::manifests::{NAME, NAMESPACE, STORE};
use rustix::process::{Pid, Signal, kill_process};
use testplane::{NODE, eventually};

use crate::house::House;
use crate::tenant::{Load, made, proven};

pub async fn of_the_pod(house: &House) {
    house.install();
    let mut keys = made(house, "shop").await;
    let load = Load::start(house, "shop").await;
    killed(house).await;
    // While it waits for its turn, and at work again.
    killed(house).await;
    load.goes_on().await;
    forced_away(house).await;
    load.goes_on().await;
    drained(house).await;
    keys.extend(load.end().await);
    proven(house, "shop", &keys).await;
}

pub async fn of_the_volume(house: &House) {
    house.install();
    let mut keys = made(house, "shop").await;
    let load = Load::start(house, "shop").await;
    stopped(house).await;
    eventually(
        "the volume is let go",
        Duration::from_secs(60),
        async || {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
            match mounts.lines().find(|line| line.contains(STORE)) {
                None => Ok(()),
                Some(mount) => Err(mount.to_owned()),
            }
        },
    )
    .await;
    assert!(!house.stored().is_empty());
    house
        .kubectl(&format!(
            "scale deployment/{NAME} -n {NAMESPACE} --replicas=1"
        ))
        .await;
    house.at_work().await;
    keys.extend(load.end().await);
    proven(house, "shop", &keys).await;
}

/// No pod of it is there any more.
pub async fn stopped(house: &House) {
    let scale = format!("scale deployment/{NAME} -n {NAMESPACE} --replicas=0");
    house.kubectl(&scale).await;
    let gone = format!("wait --for=delete pod --all -n {NAMESPACE} --timeout=120s");
    house.kubectl(&gone).await;
}

/// SIGKILL to the operator's process, from the machine.
async fn killed(house: &House) {
    let one = one_process().await;
    kill(&one).await;
    one_process().await;
    house.at_work().await;
}

/// SIGKILL, and waits until it is gone.
pub async fn kill(process: &Path) {
    let pid = process
        .file_name()
        .and_then(|name| name.to_str()?.parse().ok());
    let pid = pid.and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::KILL).expect("it may be killed");
    eventually("it is gone", Duration::from_secs(10), async || {
        if process.exists() {
            Err("it is there".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
}

/// The operator's processes, each by its folder in /proc.
pub fn processes() -> Vec<PathBuf> {
    let program = format!("/usr/bin/{NAME}");
    let all = std::fs::read_dir("/proc").expect("/proc");
    let all = all.filter_map(|entry| Some(entry.ok()?.path()));
    let ours = |path: &PathBuf| {
        std::fs::read_link(path.join("exe")).is_ok_and(|exe| exe.ends_with(&program))
    };
    all.filter(ours).collect()
}

async fn one_process() -> PathBuf {
    eventually(
        "the operator runs",
        Duration::from_secs(120),
        async || match &processes()[..] {
            [one] => Ok(one.clone()),
            all => Err(format!("{all:?}")),
        },
    )
    .await
}

/// Its record goes at once, and another pod comes while it may still be at work.
async fn forced_away(house: &House) {
    house
        .kubectl(&format!(
            "delete pod --all -n {NAMESPACE} --grace-period=0 --force"
        ))
        .await;
    house.at_work().await;
}

async fn drained(house: &House) {
    house
        .kubectl(&format!(
            "drain {NODE} --delete-emptydir-data --timeout=120s"
        ))
        .await;
    let pending = house.get(&format!("pods -n {NAMESPACE}")).await;
    assert_eq!(
        pending["items"][0]["status"]["phase"], "Pending",
        "{pending}"
    );
    house.kubectl(&format!("uncordon {NODE}")).await;
    house.at_work().await;
}
