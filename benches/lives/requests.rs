//! API requests of each transition, beside the least that the protocol needs.

use std::collections::BTreeMap;
use std::time::Duration;

use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use serde_json::json;
use testplane::{Options, Plane, borrow};

use crate::bench::Bench;
use crate::counted::{self, Sent, Sort};
use crate::operator::{Build, Operator};

struct Row {
    sent: Sent,
    /// How many share what is counted.
    among: usize,
}

impl Row {
    async fn show(&self, what: &str, least: u32, run: impl Future<Output = ()>) {
        let before = self.sent.so_far();
        run.await;
        // What follows by itself: Events, an HSM's counts.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = self.sent.so_far();
        let each = |sort: Sort| (count(&after, sort) - count(&before, sort)) / self.among as f64;
        println!(
            "| {what:<30} | {least:>12} | {:>6.1} | {:>5.1} | {:>6.1} | {:>10.2} |",
            each(Sort::Write),
            each(Sort::Read),
            each(Sort::Event),
            each(Sort::HsmCount)
        );
    }
}

fn count(of: &BTreeMap<Sort, u64>, sort: Sort) -> f64 {
    of.get(&sort).copied().unwrap_or(0) as f64
}

/// A counted operator, for which so much is a day.
async fn operator(plane: &Plane, backend: MemoryBackend) -> (Operator, Sent) {
    let mut build = Build::new(plane, backend).await;
    let (client, sent) = counted::client(plane).await;
    build.client = client;
    build.settings.day = chrono::Duration::seconds(10);
    (build.start().await, sent)
}

pub async fn run(keys: usize) {
    let plane = borrow(Options::default()).await;
    let (working, sent) = operator(&plane, MemoryBackend::new()).await;
    let bench = Bench::with_hsm(&plane, "requests", 7).await;
    let names: Vec<String> = (0..keys).map(|number| format!("key-{number}")).collect();
    println!(
        "\nAPI requests of the operator, a key ({keys} keys at once in one HSM, on memory; watches apart):\n"
    );
    println!(
        "| transition                     | least writes | writes | reads | Events | HSM status |"
    );
    println!(
        "|:-------------------------------|-------------:|-------:|------:|-------:|-----------:|"
    );
    let row = Row { sent, among: keys };
    row.show("create → Ready", 2, async {
        for name in &names {
            bench.create_key(name).await;
        }
        for name in &names {
            bench.key_is_ready(name).await;
        }
    })
    .await;
    row.show("nothing changed (an annotation)", 0, async {
        for name in &names {
            bench.annotate_key(name, "1").await;
        }
    })
    .await;
    let backend = working.crash().await;
    let (_working, sent) = operator(&plane, backend).await;
    let (row, start) = (
        Row {
            sent: sent.clone(),
            among: keys,
        },
        sent,
    );
    // Since the start, before anything happens: a row of its own would begin too late.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let of = start.so_far();
    println!(
        "| a start over all of them, in all | 0 | {} | {} | {} | {} |",
        count(&of, Sort::Write),
        count(&of, Sort::Read),
        count(&of, Sort::Event),
        count(&of, Sort::HsmCount)
    );
    delete_and_the_rest(&bench, &names, row).await;
}

async fn delete_and_the_rest(bench: &Bench, names: &[String], row: Row) {
    let delete = async || {
        for name in names {
            bench.delete_key(name).await;
        }
        for name in names {
            bench.key_is_deleted(name).await;
        }
    };
    row.show("delete → proxy complete", 3, delete()).await;
    // The claim, the object, its owners, the new uid, its status, the proxy's end, the Recover's status.
    row.show("recover", 7, async {
        for name in names {
            let spec = json!({"kind": "HsmKey", "name": name, "uid": uid(bench, name)});
            bench
                .create(Watched::Recover, &format!("back-{name}"), spec)
                .await;
        }
        for name in names {
            bench.proxy_is_gone(name).await;
            bench.key_is_ready(name).await;
        }
    })
    .await;
    row.show("delete again", 3, delete()).await;
    let half = Row {
        among: names.len().div_ceil(2),
        ..row
    };
    // Accepted, Destroying, Executing, Complete, the proxy's end.
    half.show("purge on request", 5, async {
        for name in names.iter().step_by(2) {
            let spec = json!({"kind": "DeletedHsmKey", "name": format!("{}.{name}", bench.namespace),
                "uid": uid(bench, name), "requestedBy": "admin"});
            bench.create(Watched::Purge, &format!("purge-{name}"), spec).await;
        }
        for name in names.iter().step_by(2) {
            bench.proxy_is_gone(name).await;
        }
    })
    .await;
    // The announcement, Destroying, the receipt and its status, the proxy's end.
    half.show("the end of retention", 5, async {
        for name in names {
            bench.proxy_is_gone(name).await;
        }
    })
    .await;
}

fn uid(bench: &Bench, name: &str) -> serde_json::Value {
    let proxy = bench.proxy(name).expect("a proxy");
    proxy.data["spec"]["origin"]["uid"].clone()
}
