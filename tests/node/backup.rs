//! The store backed up and put back by the commands of docs/install.md, word by word, after a disaster that took the volume and the PINs.

use std::time::Duration;

use managed_hsm_operator::manifests::{NAME, NAMESPACE, PIN_SECRET, STORE};
use serde_json::json;
use testplane::{blocks, eventually};

use crate::house::House;
use crate::tenant::{made, proven, recover};
use crate::trouble::stopped;

const CLAIM: &str = "hsm-backups";
/// As the page names the one that is made by hand, and the example the one that is put back.
const BY_HAND: &str = "before-the-upgrade";
const IN_THE_EXAMPLE: &str = "2026-05-30T12-00-00Z";

pub async fn put_back(house: &House) {
    house.install();
    let keys = made(house, "shop").await;
    house
        .kubectl("delete hsmkey invoice-signing -n shop --timeout=60s")
        .await;
    let all = blocks("docs/install.md", "\n## Backup");
    let [pins, again_and_again, by_hand, back] = &all[..] else {
        panic!("four blocks: {all:#?}");
    };
    let desk = House::desk();
    house.typed(desk.path(), pins);

    let backups = house.claim(CLAIM);
    house.typed(desk.path(), again_and_again);
    house.at_work().await;
    eventually(
        "it is backed up by itself",
        Duration::from_secs(60),
        async || {
            let folders = std::fs::read_dir(&backups).expect("a folder");
            let mut folders = folders.filter_map(|entry| Some(entry.ok()?.path()));
            let whole = folders.find(|folder| folder.join("manifest.json").exists());
            whole.ok_or_else(|| "no whole one".to_owned())
        },
    )
    .await;

    let said = house.typed(desk.path(), by_hand);
    assert!(
        said.contains(&format!("{BY_HAND} holds 1 HSMs and ")),
        "{said}"
    );
    assert!(
        said.contains(&format!(
            "keep the Secret {NAMESPACE}/{PIN_SECRET} apart from it"
        )),
        "{said}"
    );
    let check = format!(
        "exec -n {NAMESPACE} deploy/{NAME} -- {NAME} store check /var/backups/{NAME}/{BY_HAND}"
    );
    let said = house.kubectl(&check).await;
    assert!(said.ends_with("it is whole\n"), "{said}");
    // In no backup.
    made(house, "later").await;

    let (stand_still, put_back) = back.split_once('\n').expect("lines");
    house.typed(desk.path(), stand_still);
    lost(house).await;
    let example = desk.path().join("deploy/examples/restore.yaml");
    let job = std::fs::read_to_string(&example).expect("read");
    assert!(job.contains(IN_THE_EXAMPLE), "{job}");
    std::fs::write(&example, job.replace(IN_THE_EXAMPLE, BY_HAND)).expect("written");
    house.typed(desk.path(), put_back);
    house.at_work().await;

    recover(house, "shop", "HsmKey", "invoice-signing", json!({})).await;
    proven(house, "shop", &keys).await;
    let reason = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    let missing = format!(
        "wait --for={reason}=MaterialMissing managedhsm,hsmkey --all -n later --timeout=120s"
    );
    house.kubectl(&missing).await;
}

/// What was in the volume, and the Secret.
async fn lost(house: &House) {
    stopped(house).await;
    let allow =
        format!("annotate secret {PIN_SECRET} -n {NAMESPACE} managedhsm.dev/allow-delete=true");
    house.kubectl(&allow).await;
    house
        .kubectl(&format!("delete secret {PIN_SECRET} -n {NAMESPACE}"))
        .await;
    house.wipe();
    house.volume(STORE);
}
