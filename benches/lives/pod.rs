//! What the operator's process takes of the machine, over the embedded store: at rest, while keys are made and deleted, at a start over all of them.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use managed_hsm_operator::manifests::NAMESPACE;
use testplane::{Options, borrow};

use crate::bench::Bench;
use crate::process::{Process, installed};

const HSMS: usize = 4;
/// Long enough for what is done now and then.
const REST: Duration = Duration::from_secs(60);

pub async fn run(keys: usize) {
    let plane = borrow(Options::default()).await;
    let account = installed(&plane).await;
    let store = tempfile::tempdir().expect("a folder");
    println!(
        "\n| the operator's process, {keys} keys in {HSMS} embedded HSMs | seconds | CPU, of one core | resident | at most so far |\n|---|--:|--:|--:|--:|"
    );
    let mut process = started(&account, store.path());
    let mut meter = Meter::new(&process);
    let mut benches = Vec::new();
    for number in 0..HSMS {
        benches.push(Bench::with_hsm(&plane, &format!("process-{number}"), 90).await);
    }
    meter.tell("started, and the HSMs made");
    rest(&mut meter, "at rest").await;
    each(&benches, keys, async |bench, name| {
        bench.create_key(name).await;
        bench.key_is_ready(name).await;
    })
    .await;
    meter.tell("all keys made");
    rest(&mut meter, "at rest").await;
    each(&benches, keys, async |bench, name| {
        bench.delete_key(name).await;
        bench.key_is_deleted(name).await;
    })
    .await;
    meter.tell("all keys soft-deleted");
    rest(&mut meter, "at rest").await;
    assert!(process.stop().success());
    let again = started(&account, store.path());
    rest(
        &mut Meter::new(&again),
        "started again over all, and at rest",
    )
    .await;
}

/// As in its pod: it says what it says there.
fn started(account: &Path, store: &Path) -> Process {
    let flags = ["--namespace", NAMESPACE];
    let usual = [("RUST_LOG", OsStr::new("info"))];
    Process::start_in(account, store, &flags, &usual)
}

async fn rest(meter: &mut Meter, what: &str) {
    tokio::time::sleep(REST).await;
    meter.tell(what);
}

async fn each(benches: &[Bench], keys: usize, act: impl AsyncFn(&Bench, &str)) {
    let all = (0..keys).map(|number| (&benches[number % HSMS], format!("key-{number}")));
    futures::stream::iter(all)
        .for_each_concurrent(64, async |(bench, name)| act(bench, &name).await)
        .await;
}

/// Reads a process in /proc (proc_pid_stat(5), proc_pid_status(5)).
struct Meter {
    process: u32,
    since: Instant,
    before: f64,
}

impl Meter {
    fn new(process: &Process) -> Self {
        let process = process.id();
        Self {
            process,
            since: Instant::now(),
            before: 0.0,
        }
    }

    /// What it took since it told last.
    fn tell(&mut self, what: &str) {
        let (passed, used) = (self.since.elapsed().as_secs_f64(), self.cpu());
        println!(
            "| {what} | {passed:.0} | {:.1} % | {} MiB | {} MiB |",
            (used - self.before) / passed * 100.0,
            self.memory("VmRSS:"),
            self.memory("VmHWM:"),
        );
        (self.since, self.before) = (Instant::now(), used);
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process)).expect("it runs")
    }

    /// Seconds, in its own code and in the kernel; a tick is a hundredth.
    fn cpu(&self) -> f64 {
        let stat = self.read("stat");
        let after_its_name = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = after_its_name.split(' ').skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|it| it.parse::<f64>().ok()).sum();
        ticks / 100.0
    }

    fn memory(&self, field: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a number") / 1024
    }
}
