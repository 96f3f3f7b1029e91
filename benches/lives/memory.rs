//! What a soft-deleted key costs in memory while nothing happens to it: heap bytes in use, with the ledger's own apart.

use std::time::Duration;

use futures::StreamExt;
use managed_hsm_operator::backend::memory::MemoryBackend;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};
use testplane::{Options, Plane, borrow};

use crate::bench::Bench;
use crate::operator::Build;

#[global_allocator]
static COUNTED: &stats_alloc::StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// Long enough for whatever ends or begins.
const REST: Duration = Duration::from_secs(20);

pub async fn run(deleted: usize) {
    let plane = borrow(Options::default()).await;
    let empty = working(&plane, MemoryBackend::new()).await;
    let backend = soft_delete(&plane, deleted).await;
    let full = working(&plane, backend).await;
    println!(
        "\nHeap of an operator at rest, beside the store: {} KiB with nothing, {} KiB with {deleted} soft-deleted keys: {} bytes a key (goal 1024)",
        empty / 1024,
        full / 1024,
        full.saturating_sub(empty) / deleted
    );
}

/// The bytes that an operator holds once it has seen all there is.
async fn working(plane: &Plane, backend: MemoryBackend) -> usize {
    // What ran before lets go of its own first.
    tokio::time::sleep(REST).await;
    let before = Region::new(COUNTED);
    let operator = Build::new(plane, backend).await.start().await;
    tokio::time::sleep(REST).await;
    let change = before.change();
    operator.crash().await;
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

async fn soft_delete(plane: &Plane, keys: usize) -> MemoryBackend {
    let mut build = Build::new(plane, MemoryBackend::new()).await;
    build.queue.concurrency = 64;
    build.threads = 4;
    let operator = build.start().await;
    let bench = Bench::with_hsm(plane, "memory", 90).await;
    let names = (0..keys).map(|number| format!("key-{number}"));
    futures::stream::iter(names)
        .for_each_concurrent(64, async |name| {
            bench.create_key(&name).await;
            bench.key_is_ready(&name).await;
            bench.delete_key(&name).await;
            bench.key_is_deleted(&name).await;
        })
        .await;
    operator.crash().await
}
