//! Vendors' HSMs: two pods, of which one leads and opens them. The vendor here is SoftHSM, from a volume, set up as docs/install.md has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use managed_hsm_operator::manifests::{NAME, NAMESPACE};
use serde_json::json;
use testplane::{blocks, eventually};

use crate::house::House;
use crate::softhsm::{SO_PIN, USER_PIN, library};
use crate::tenant::{Keys, Load, keys, made, proven, ready, recover};
use crate::trouble::{kill, processes};

/// The library's file, which a process that has opened it shows among its memory.
const LIBRARY: &str = "libsofthsm2.so";

pub async fn two_pods(house: &House) {
    let Some(library) = library() else {
        return;
    };
    house
        .kubectl(&format!("create namespace {NAMESPACE}"))
        .await;
    vendor(&house.claim("vendor"), &library);
    house.claim("tokens");
    let all = blocks("docs/install.md", "\n## HSMs behind PKCS#11");
    let [values, commands] = &all[..] else {
        panic!("two blocks: {all:#?}");
    };
    let desk = House::desk();
    let write =
        |name: &str, text: &str| std::fs::write(desk.path().join(name), text).expect("written");
    write("rack.yaml", values);
    write("so-pin", SO_PIN);
    write("user-pin", USER_PIN);
    house.typed(desk.path(), commands);
    let status = house
        .get(&format!("deployment {NAME} -n {NAMESPACE}"))
        .await["status"]
        .clone();
    assert_eq!(status["readyReplicas"], 2, "{status}");

    let mut all = made(house, "shop").await;
    let first = one_leads(house).await;
    comes_back(house, &all).await;
    kill(&first.process).await;
    let second = another_leads(house, &first).await;
    // It stood by: nothing was started for it.
    assert!(
        first.standby == second.process,
        "{second:?} after {first:?}"
    );

    let load = Load::start(house, "shop").await;
    let went = format!("delete pod {} -n {NAMESPACE}", second.pod);
    house.kubectl(&went).await;
    another_leads(house, &second).await;
    load.goes_on().await;
    all.extend(load.end().await);
    proven(house, "shop", &all).await;
}

/// What the vendor ships, as far as the operator's image lacks it, and where the tokens are.
fn vendor(folder: &Path, library: &Path) {
    let linked = |file: &Path| {
        let said = Command::new("ldd").arg(file).output().expect("ldd runs");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let words = said.split_whitespace().filter(|word| word.starts_with('/'));
        words.map(PathBuf::from).collect::<Vec<_>>()
    };
    let there = linked(Path::new(env!("CARGO_BIN_EXE_managed-hsm-operator")));
    let lacks = linked(library).into_iter().filter(|it| !there.contains(it));
    for file in lacks.chain([library.to_owned()]) {
        let name = file.file_name().expect("a name");
        std::fs::copy(&file, folder.join(name)).expect("copied");
    }
    let text = "directories.tokendir = /tokens\nobjectstore.backend = file\n";
    std::fs::write(folder.join("softhsm2.conf"), text).expect("written");
}

/// Deleted, and recovered as the very same.
async fn comes_back(house: &House, all: &Keys) {
    house
        .kubectl("delete hsmkey archive-wrapping -n shop --timeout=60s")
        .await;
    recover(house, "shop", "HsmKey", "archive-wrapping", json!({})).await;
    ready(house, "shop").await;
    assert_eq!(&keys(house, "shop").await, all);
}

/// Who leads, and who stands by.
#[derive(Debug)]
struct Pair {
    pod: String,
    process: PathBuf,
    standby: PathBuf,
}

/// Waits until there are two, of which the holder of the Lease has the library open and the other has not.
async fn one_leads(house: &House) -> Pair {
    eventually("one of two leads", Duration::from_secs(120), async || {
        let lease = house.get(&format!("lease {NAME} -n {NAMESPACE}")).await;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let pod = holder.split('_').next().unwrap_or_default();
        let all = processes();
        let (open, shut): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| opened(it));
        match (&open[..], &shut[..]) {
            ([leader], [standby]) if pod_of(leader) == pod => Ok(Pair {
                pod: pod.to_owned(),
                process: leader.clone(),
                standby: standby.clone(),
            }),
            found => Err(format!("{holder}: {found:?}")),
        }
    })
    .await
}

async fn another_leads(house: &House, before: &Pair) -> Pair {
    let began = Instant::now();
    let now = eventually("another leads", Duration::from_secs(120), async || {
        let now = one_leads(house).await;
        if now.pod == before.pod {
            Err(format!("{now:?}"))
        } else {
            Ok(now)
        }
    })
    .await;
    println!(
        "[{:5.1} s] another leads, and has the library open",
        began.elapsed().as_secs_f32()
    );
    now
}

fn opened(process: &Path) -> bool {
    let memory = std::fs::read_to_string(process.join("maps")).unwrap_or_default();
    memory.contains(LIBRARY)
}

fn pod_of(process: &Path) -> String {
    let all = std::fs::read(process.join("environ")).unwrap_or_default();
    let all = String::from_utf8_lossy(&all);
    let name = all.split('\0').find_map(|it| it.strip_prefix("POD_NAME="));
    name.unwrap_or_default().to_owned()
}
