//! How the controller begins: the ledgers are read and the caches filled; then it works, or answers one question and ends.

use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::index::Index;
use super::queue::Queue;
use super::{
    Context, Failure, Parts, Stops, alarm, etcd, ledger, loading, orphans, tally, tell, watch,
};

/// Ready to work, with all that looks beside the queue.
struct Begun {
    context: Arc<Context>,
    queue: Queue,
    wishes: ledger::Wishes,
    tasks: JoinSet<String>,
}

/// Reads the ledgers, fills the caches, and works until told to stop. Leads already; an error is final.
pub async fn run(
    parts: Parts,
    ready: impl FnOnce(),
    stop: CancellationToken,
) -> Result<(), Failure> {
    work(parts, Stops::default(), ready, stop).await
}

/// The same, stopped where a test says so.
#[cfg(feature = "faults")]
pub async fn run_with_stops(
    parts: Parts,
    stops: super::stops::Stops,
    ready: impl FnOnce(),
    stop: CancellationToken,
) -> Result<(), Failure> {
    work(parts, stops, ready, stop).await
}

/// Reads the ledgers, fills the caches, and does what one person asks of the records, and nothing else.
pub async fn answer(parts: Parts, wish: ledger::Wish) -> Result<ledger::Answer, Failure> {
    let never = CancellationToken::new();
    match begin(parts, Stops::default(), &never).await? {
        Some(begun) => ledger::answer(&begun.context, wish).await,
        None => Err(Failure::WatchEnded("a cache".to_owned())),
    }
}

async fn work(
    parts: Parts,
    stops: Stops,
    ready: impl FnOnce(),
    stop: CancellationToken,
) -> Result<(), Failure> {
    let Some(mut begun) = begin(parts, stops, &stop).await? else {
        return Ok(());
    };
    ready();
    let wishes = ledger::serve(Arc::clone(&begun.context), begun.wishes);
    let work = begun.queue.run(begun.context, stop);
    tokio::select! {
        broken_off = work => {
            // Not in good order: the Lease then runs out by itself, and nobody else opens the store before.
            if broken_off == 0 { Ok(()) } else { Err(Failure::BrokenOff(broken_off)) }
        }
        () = wishes => Err(Failure::WatchEnded("answering of questions".to_owned())),
        Some(ended) = begun.tasks.join_next() => Err(Failure::WatchEnded(ended.unwrap_or_else(|error| error.to_string()))),
    }
}

/// None: told to stop before all was there.
async fn begin(
    parts: Parts,
    #[cfg_attr(
        not(feature = "faults"),
        expect(unused_variables, reason = "nothing stops a release")
    )]
    stops: Stops,
    stop: &CancellationToken,
) -> Result<Option<Begun>, Failure> {
    let queue = Queue::new(parts.queue, Arc::clone(&parts.metrics), rand::random::<f64>);
    let (caches, watches) = watch::prepare();
    let readers: Vec<_> = caches.values().cloned().collect();
    let context = Arc::new(Context {
        cluster: Cluster::new(parts.client.clone(), caches).with_writer(parts.writer),
        backends: parts.backends,
        quotas: parts.quotas,
        policies: super::policies::Policies::new(parts.policies),
        alarm: alarm::Alarm::new(parts.alarm),
        pool: parts.pool,
        index: Index::default(),
        time: parts.time,
        settings: parts.settings,
        pins_kept: parts.pins_kept,
        metrics: Arc::clone(&parts.metrics),
        waker: queue.waker(),
        teller: tell::Teller::new(parts.client.clone(), parts.instance, parts.metrics),
        purge_slot: tokio::sync::Mutex::default(),
        etcd: etcd::Etcd::default(),
        loading: loading::Loading::default(),
        counted: Mutex::default(),
        refusals: super::refusals::Refusals::default(),

        #[cfg(feature = "faults")]
        stops,
    });
    loading::begin(&context).await;
    let mut tasks = JoinSet::new();
    let all = watches.run(&parts.client, &context);
    for (name, task) in all.into_iter().chain(looks(&context)) {
        tasks.spawn(async move {
            task.await;
            name
        });
    }
    for reader in readers {
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            filled = reader.wait_until_ready() => filled.map_err(|_| Failure::WatchEnded("a cache".to_owned()))?,
        }
    }
    alarm::undeletable_no_more(&context).await;
    Ok(Some(Begun {
        context,
        queue,
        wishes: parts.wishes,
        tasks,
    }))
}

/// What looks again and again beside the queue.
fn looks(context: &Arc<Context>) -> Vec<(String, watch::Task)> {
    let of = || Arc::clone(context);
    let (ledgers, etcd, policies, strays, counts) = (of(), of(), of(), of(), of());
    vec![
        (
            "reading of the ledgers".to_owned(),
            Box::pin(async move { loading::keep(&ledgers).await }),
        ),
        (
            "look at etcd".to_owned(),
            Box::pin(async move { etcd::keep(&etcd).await }),
        ),
        (
            "look at the admission policies".to_owned(),
            Box::pin(async move { super::policies::keep(&policies).await }),
        ),
        (
            "look for orphans".to_owned(),
            Box::pin(async move { orphans::keep(&strays).await }),
        ),
        (
            "count of what is there".to_owned(),
            Box::pin(async move { tally::keep(&counts).await }),
        ),
    ]
}
