//! Another image under load and back, and an operator that is older than what it finds.

use std::path::Path;
use std::time::Duration;

use managed_hsm_operator::manifests::{NAME, NAMESPACE};
use testplane::eventually;

use crate::house::{CHART, House, RELEASE};
use crate::tenant::{Load, made, proven};
use crate::trouble::stopped;

pub async fn upgraded_and_back(house: &House) {
    house.install();
    let first = image_of(house).await;
    let mut keys = made(house, "shop").await;
    let load = Load::start(house, "shop").await;

    house.image(&format!("{NAME}:next"), 2);
    house.helm(&format!(
        "upgrade {RELEASE} {CHART} --set image.tag=next --wait --timeout 3m"
    ));
    let next = image_of(house).await;
    assert!(next != first, "the same image: {next}");
    load.goes_on().await;
    house.helm(&format!("rollback {RELEASE} 1 --wait --timeout 3m"));
    assert_eq!(image_of(house).await, first);

    keys.extend(load.end().await);
    proven(house, "shop", &keys).await;

    refused(house).await;
    proven(house, "shop", &keys).await;
}

/// What the one pod runs, by its digest.
async fn image_of(house: &House) -> String {
    let pods = house.get(&format!("pods -n {NAMESPACE}")).await;
    let ids: Vec<_> = pods["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pod| pod["status"]["containerStatuses"][0]["imageID"].as_str())
        .collect();
    assert_eq!(ids.len(), 1, "{pods}");
    ids[0].to_owned()
}

/// A record as a newer operator would write it: this one does not start, says why, and touches nothing.
async fn refused(house: &House) {
    stopped(house).await;
    let ledger = house
        .stored()
        .into_iter()
        .find(|path| path.ends_with("ledger.db"));
    let ledger = ledger.expect("a ledger");
    let (id, bytes) = a_record(&ledger);
    assert_eq!(bytes[0], 1, "the encoding version stands first");
    write(&ledger, &id, &[&[9], &bytes[1..]].concat());

    let scale = format!("scale deployment/{NAME} -n {NAMESPACE}");
    house.kubectl(&format!("{scale} --replicas=1")).await;
    let says = "a record of the encoding version 9, which this operator does not know; start the operator that wrote it, or a newer one";
    eventually("it says why", Duration::from_secs(60), async || {
        let logs = house
            .asked(&format!("logs deployment/{NAME} -n {NAMESPACE}"))
            .await;
        let pods = house.get(&format!("pods -n {NAMESPACE}")).await;
        let state = &pods["items"][0]["status"]["containerStatuses"][0];
        let ended =
            [&state["state"], &state["lastState"]].map(|it| it["terminated"]["exitCode"] == 1);
        if logs.stdout.contains(says) && ended.contains(&true) {
            return Ok(());
        }
        Err(format!("{}{state}", logs.stdout))
    })
    .await;
    stopped(house).await;
    assert_eq!(read(&ledger, &id)[0], 9, "nothing was written");

    write(&ledger, &id, &bytes);
    house.kubectl(&format!("{scale} --replicas=1")).await;
    house.at_work().await;
}

fn a_record(ledger: &Path) -> (String, Vec<u8>) {
    let file = rusqlite::Connection::open(ledger).expect("a ledger");
    let one = "SELECT id, bytes FROM record LIMIT 1";
    file.query_row(one, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("a record")
}

fn read(ledger: &Path, id: &str) -> Vec<u8> {
    let file = rusqlite::Connection::open(ledger).expect("a ledger");
    let one = "SELECT bytes FROM record WHERE id = ?1";
    file.query_row(one, [id], |row| row.get(0))
        .expect("the record")
}

fn write(ledger: &Path, id: &str, bytes: &[u8]) {
    let file = rusqlite::Connection::open(ledger).expect("a ledger");
    let change = "UPDATE record SET bytes = ?1 WHERE id = ?2";
    let changed = file.execute(change, rusqlite::params![bytes, id]);
    assert_eq!(changed.expect("written"), 1);
}
