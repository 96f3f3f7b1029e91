//! Rows of the table of sequences (`docs/sequences.md`), which the pure planner made, played again on a real control plane: each in a
//! namespace of its own, all at once, and each must end in what the table says, to the word.

mod operator;
mod rows;

#[path = "sequences_on_the_plane/row.rs"]
mod row;
#[path = "sequences_on_the_plane/table.rs"]
mod table;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use kube::api::Api;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt, watcher};
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::{Caches, Cluster, Source, Watched};
use managed_hsm_operator::controller::kept::kept;
use managed_hsm_operator::controller::stops::Stops;
use managed_hsm_operator::softdelete::Kind;
use operator::Build;
use row::{Row, Stage};
use rows::{Act, State};
use table::Table;
use testplane::{Options, borrow, each, eventually};
use tokio::task::JoinSet;

/// How long the operator does nothing at all when it is through with everything.
const QUIET: Duration = Duration::from_secs(2);

/// Where a key and its HSM go at once, and something of the key is under way, either may be first: these rows are not played.
fn races(kind: Kind, state: State, act: Act) -> bool {
    let hsm_goes = matches!(act, Act::PurgeHsm | Act::HsmGone | Act::HsmAnew);
    let either_first = match state {
        State::Destroying => hsm_goes || act == Act::DeleteNamespace,
        State::Recovering => act == Act::DeleteNamespace,
        _ => false,
    };
    kind == Kind::Key && either_first
}

/// Endless watches of everything, into the caches that rows look at.
fn watched(client: &kube::Client, tasks: &mut JoinSet<()>) -> Cluster {
    let mut caches = Caches::new();
    for of in Watched::ALL {
        let writer = Writer::new(of);
        caches.insert(of, writer.as_reader());
        let all: Api<kube::api::DynamicObject> = Api::all_with(client.clone(), &of.resource());
        let stream = watcher(all, watcher::Config::default()).default_backoff();
        tasks.spawn(async move {
            kept(of, writer, stream).for_each(async |_| ()).await;
        });
    }
    Cluster::new(client.clone(), caches)
}

/// Waits until the operator does nothing any more.
async fn quiet(rows: &[Arc<Row>], stops: &Stops) {
    let done = || -> usize {
        let lineages = rows.iter().flat_map(|row| row.lineages());
        lineages.map(|of| stops.seen(&of).len()).sum()
    };
    let mut before = done();
    eventually(
        "the operator comes to rest",
        Duration::from_secs(60),
        async || {
            tokio::time::sleep(QUIET).await;
            let now = done();
            let new = now - std::mem::replace(&mut before, now);
            if new == 0 {
                Ok(())
            } else {
                Err(format!("{new} effects in {QUIET:?}"))
            }
        },
    )
    .await;
}

/// Plays them at once on a plane of their own, on which a day is as long as said.
async fn play(
    day: chrono::Duration,
    wanted: impl Fn(Kind, State, Act) -> bool,
    sample: usize,
) -> usize {
    // One after the other: the days of one must not pass while the other's rows take the machine.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::with(rand::random(), 1000);
    let stops = Stops::default();
    let mut build = Build::new(&plane, backend.clone()).await;
    (build.queue.concurrency, build.threads) = (1000, 4);
    (build.settings.day, build.stops) = (day, stops.clone());
    let _operator = build.start().await;
    let mut watches = JoinSet::new();
    let stage = Arc::new(Stage {
        cluster: watched(&plane.client().await, &mut watches),
        backend,
        stops: stops.clone(),
        table: Table::read(),
    });
    let mut rows = Vec::new();
    for kind in [Kind::Hsm, Kind::Key] {
        let wanted = rows::rows(kind).filter(|(state, act)| wanted(kind, *state, *act));
        for (state, act) in wanted.step_by(sample) {
            rows.push(Arc::new(Row::new(&stage, rows.len(), kind, state, act)));
        }
    }
    let play = |row: &Arc<Row>| {
        let row = Arc::clone(row);
        async move {
            let played = AssertUnwindSafe(row.play()).catch_unwind().await;
            (row, played)
        }
    };
    let (mut played, mut wrong) = (Vec::new(), Vec::new());
    for (row, outcome) in join_all(rows.iter().map(play)).await {
        match outcome {
            Ok(answer) => played.push((row, answer)),
            Err(_) => wrong.push(format!("{}: see above", row.title())),
        }
    }
    quiet(&rows, &stops).await;
    for (row, answer) in played {
        let still = row.compared(Source::Live, row.state, row.act, answer);
        wrong.extend(still.await.err());
    }
    let all = rows.len();
    assert!(
        wrong.is_empty(),
        "{} of {all} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_ends_in_what_the_table_of_sequences_says() {
    let rows = play(
        chrono::Duration::days(1),
        |kind, state, act| act != Act::RetentionOver && !races(kind, state, act),
        each(3),
    );
    assert!(rows.await > 150 / each(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_ends_in_what_the_table_of_sequences_says_when_retention_is_over() {
    let rows = play(
        chrono::Duration::milliseconds(500),
        |_, _, act| act == Act::RetentionOver,
        1,
    );
    assert!(rows.await > 10);
}
