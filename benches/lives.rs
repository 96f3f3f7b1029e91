//! What a life costs: requests, lives a second, the store's own work, memory, the process, the webhook. Figures to compare side by side in one
//! run, on a real control plane; none of them is a test's pass or fail.
//!
//! `KEYS` says how many keys are counted (50), `LIVES` how many lives are lived by each contender (640), `KEPT` and `DELETED` how many
//! soft-deleted keys the memory (2000) and the webhook (10000) are measured with, `HELD` how many keys the process makes and deletes (1000),
//! `ASKED` how often the webhook is asked for each kind of request (500). A name as argument runs that part alone.

#[path = "../tests/operator/mod.rs"]
mod operator;

#[path = "../tests/process/mod.rs"]
mod process;

#[path = "lives/bench.rs"]
mod bench;
#[path = "lives/contenders.rs"]
mod contenders;
#[path = "lives/counted.rs"]
mod counted;
#[path = "lives/memory.rs"]
mod memory;
#[path = "lives/pod.rs"]
mod pod;
#[path = "lives/requests.rs"]
mod requests;
#[path = "lives/store.rs"]
mod store;
#[path = "lives/webhook.rs"]
mod webhook;

#[tokio::main]
async fn main() {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|word| word == part);
    if wanted("requests") {
        requests::run(size("KEYS", 50)).await;
    }
    if wanted("lives") {
        contenders::run(size("LIVES", 640)).await;
    }
    if wanted("store") {
        store::run(size("KEYS", 50));
    }
    if wanted("memory") {
        memory::run(size("KEPT", 2000)).await;
    }
    if wanted("process") {
        pod::run(size("HELD", 1000)).await;
    }
    if wanted("webhook") {
        webhook::run(size("DELETED", 10_000), size("ASKED", 500)).await;
    }
}

fn size(name: &str, usual: usize) -> usize {
    let said = std::env::var(name).ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(usual)
}
