use crate::softdelete::Kind;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Notes who ran when, takes a second for each run, and answers as it was told to.
struct Worker {
    started: Instant,
    next: Next,
    runs: Mutex<Vec<(String, Duration)>>,
    now_running: AtomicUsize,
    most_running: AtomicUsize,
}

impl Worker {
    fn that_answers(next: Next) -> Arc<Self> {
        Arc::new(Self {
            started: clock::instant(),
            next,
            runs: Mutex::default(),
            now_running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        })
    }

    fn runs(&self) -> Vec<(String, Duration)> {
        self.runs.lock().expect("not poisoned").clone()
    }
}

impl Reconcile for Worker {
    async fn reconcile(&self, lineage: Lineage) -> Next {
        self.runs
            .lock()
            .expect("not poisoned")
            .push((lineage.name.clone(), clock::instant() - self.started));
        let running = self.now_running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        assert_ne!(lineage.name, "boom", "this one is told to panic");
        tokio::time::sleep(SECOND).await;
        self.now_running.fetch_sub(1, Ordering::SeqCst);
        self.next.clone()
    }
}

struct Running {
    waker: Waker,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<usize>,
}

fn run(worker: &Arc<Worker>, settings: Settings) -> Running {
    let metrics = Arc::new(Metrics::default());
    let queue = Queue::new(settings, Arc::clone(&metrics), || 0.0);
    let (waker, stop) = (queue.waker(), CancellationToken::new());
    let task = tokio::spawn(queue.run(Arc::clone(worker), stop.clone()));
    Running {
        waker,
        metrics,
        stop,
        task,
    }
}

fn settings(concurrency: usize) -> Settings {
    Settings {
        concurrency,
        debounce: Duration::from_millis(100),
        grace: SECOND * 5,
    }
}

fn hsm(name: &str) -> Lineage {
    Lineage::new(Kind::Hsm, "team", name)
}

#[tokio::test(start_paused = true)]
async fn events_that_come_together_make_one_run_and_do_not_put_it_off() {
    let worker = Worker::that_answers(Next::Done);
    let queue = run(&worker, settings(16));
    for _ in 0..30 {
        queue.waker.wake(hsm("a"));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(worker.runs(), [("a".into(), Duration::from_millis(100))]);
}

#[tokio::test(start_paused = true)]
async fn a_wake_during_a_run_makes_it_run_again_afterwards() {
    let worker = Worker::that_answers(Next::Done);
    let queue = run(&worker, settings(16));
    queue.waker.wake(hsm("a"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    queue.waker.wake(hsm("a"));
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(
        worker.runs(),
        [
            ("a".into(), Duration::from_millis(100)),
            ("a".into(), Duration::from_millis(1100))
        ]
    );
    assert_eq!(worker.most_running.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_a_time_than_allowed_and_all_get_their_turn() {
    let worker = Worker::that_answers(Next::Done);
    let queue = run(&worker, settings(3));
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        queue.waker.wake(hsm(name));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        queue.metrics.text().contains("managedhsm_queue_depth 4"),
        "{}",
        queue.metrics.text()
    );
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(worker.runs().len(), 7);
    assert_eq!(worker.most_running.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_asks_for_another_look_gets_it_and_an_event_comes_before_it() {
    let worker = Worker::that_answers(Next::Again(SECOND * 60));
    let queue = run(&worker, settings(16));
    queue.waker.wake(hsm("a"));
    tokio::time::sleep(SECOND * 30).await;
    queue.waker.wake(hsm("a"));
    tokio::time::sleep(SECOND * 32).await;
    let at: Vec<_> = worker
        .runs()
        .into_iter()
        .map(|(_, at)| at.as_millis())
        .collect();
    assert_eq!(at, [100, 30_100, 61_100]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_later_and_later_and_counted_by_its_class() {
    let backoff = Backoff {
        first: SECOND,
        most: SECOND * 3,
    };
    let worker = Worker::that_answers(Next::Failed {
        class: "conflict",
        backoff,
    });
    let queue = run(&worker, settings(16));
    queue.waker.wake_in(hsm("a"), Duration::ZERO);
    tokio::time::sleep(SECOND * 12).await;
    let at: Vec<_> = worker
        .runs()
        .into_iter()
        .map(|(_, at)| at.as_secs())
        .collect();
    assert_eq!(at, [0, 2, 5, 9]);
    let text = queue.metrics.text();
    assert!(
        text.contains(r#"managedhsm_errors_total{class="conflict"} 4"#),
        "{text}"
    );
    assert!(
        text.contains(r#"managedhsm_reconciles_total{kind="ManagedHsm",result="failed"} 4"#),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_lineage_that_panics_does_not_keep_the_others_from_their_work() {
    let worker = Worker::that_answers(Next::Done);
    let queue = run(&worker, settings(1));
    queue.waker.wake(hsm("boom"));
    queue.waker.wake(hsm("a"));
    tokio::time::sleep(SECOND * 4).await;
    assert!(worker.runs().iter().any(|(name, _)| name == "a"));
    assert!(
        queue
            .metrics
            .text()
            .contains(r#"managedhsm_errors_total{class="panic"} 1"#)
    );
    tokio::time::sleep(SECOND * 4).await;
    assert_eq!(
        worker
            .runs()
            .iter()
            .filter(|(name, _)| name == "boom")
            .count(),
        2,
        "it is tried again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_finishes_what_runs_and_starts_nothing_new() {
    let worker = Worker::that_answers(Next::Again(Duration::ZERO));
    let queue = run(&worker, settings(1));
    queue.waker.wake(hsm("a"));
    queue.waker.wake(hsm("b"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    queue.stop.cancel();
    assert_eq!(queue.task.await.expect("no panic"), 0);
    assert_eq!(worker.runs().len(), 1);
    assert_eq!(worker.now_running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_does_not_wait_longer_than_its_grace() {
    let worker = Worker::that_answers(Next::Done);
    let queue = run(
        &worker,
        Settings {
            grace: Duration::from_millis(200),
            ..settings(1)
        },
    );
    queue.waker.wake(hsm("a"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stopped = clock::instant();
    queue.stop.cancel();
    assert_eq!(queue.task.await.expect("no panic"), 1);
    assert_eq!(clock::instant() - stopped, Duration::from_millis(200));
}

#[test]
fn the_backoff_doubles_up_to_its_bound_and_chance_takes_away_at_most_half() {
    let backoff = Backoff {
        first: SECOND,
        most: SECOND * 10,
    };
    let delays: Vec<_> = (1..=6)
        .map(|failures| backoff.delay(failures, 0.0).as_secs())
        .collect();
    assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
    assert_eq!(backoff.delay(u32::MAX, 0.999_999).as_secs(), 5);
    assert_eq!(
        backoff.delay(1, 7.0),
        Duration::from_millis(500),
        "a chance out of bounds is held to them"
    );
}

#[test]
fn a_lineage_is_written_as_people_know_it() {
    assert_eq!(hsm("vault").to_string(), "ManagedHsm team/vault");
    assert_eq!(
        Lineage::new(Kind::Key, "team", "signing").to_string(),
        "HsmKey team/signing"
    );
}
