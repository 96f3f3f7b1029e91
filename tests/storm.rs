//! A storm: many make, delete, recover and purge HSMs and keys at once, while the operator's process dies again and again, wherever it is,
//! and is started again. Afterwards everything is where it should be: nothing lost, nothing double, nothing early.
//!
//! STORM_SEED repeats what was done, though not when; STORM_KILLS says how often the process dies.
#![cfg(feature = "embedded")]

mod operator;
mod process;
mod user;

#[path = "storm/actors.rs"]
mod actors;
#[path = "storm/proof.rs"]
mod proof;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actors::{Household, Owned, Weather};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use managed_hsm_operator::manifests::NAMESPACE;
use process::{Process, installed};
use rand::Rng;
use testplane::{Options, borrow};
use tokio::task::JoinSet;
use user::User;

/// About a minute.
const KILLS: u32 = 100;

/// `make whole` makes all of them.
fn one_in() -> u32 {
    u32::try_from(testplane::each(3)).unwrap_or(1)
}

/// A day of three seconds: the shortest retention ends within the storm, the usual one does not.
const FLAGS: [&str; 6] = [
    "--day-length",
    "3s",
    "--purge-rate",
    "1000000",
    "--namespace",
    NAMESPACE,
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Kills it that often, each time after a few more of its effects, and starts it again.
fn rage(
    account: &Path,
    store: &Path,
    kills: u32,
    weather: &Weather,
    free_lease: impl Fn(),
) -> Process {
    let mut chance = weather.chance("kills");
    let mut process = Process::start_in(account, store, &FLAGS, &[]);
    let mut idle = 0;
    for _ in 0..kills {
        if weather.is_over() {
            break;
        }
        let effects = chance.random_range(1..12);
        let seen =
            (0..effects).take_while(|_| process.steps.recv_timeout(Duration::from_secs(3)).is_ok());
        idle += u32::from(seen.count() < effects);
        std::thread::sleep(Duration::from_millis(chance.random_range(0..20)));
        assert_eq!(process.ended(), None, "it ended by itself");
        process.kill();
        // It is dead for certain, so that nobody has to wait for its Lease to run out.
        free_lease();
        process = Process::start_in(account, store, &FLAGS, &[]);
    }
    assert!(
        idle * 4 <= kills,
        "{idle} of {kills} kills met an idle operator"
    );
    process
}

/// Where the test fails, the kills end too.
struct Calm(Arc<AtomicBool>);

impl Drop for Calm {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

async fn actors(client: &kube::Client, weather: &Weather) -> JoinSet<Vec<Owned>> {
    let mut all = JoinSet::new();
    for (namespace, comes_and_goes) in [("steady", false), ("fickle", true)] {
        let user = User::new(client, namespace).await;
        let weather = weather.clone();
        all.spawn(async move {
            let hsm = Owned::hsm(&user).await;
            let mut inside = JoinSet::new();
            for number in 0..4 {
                inside.spawn(actors::key(user.clone(), number, weather.clone()));
            }
            let mut owned = actors::hsm(hsm, comes_and_goes, weather).await;
            owned.extend(inside.join_all().await.into_iter().flatten());
            owned
        });
    }
    for namespace in ["left", "right"] {
        let user = User::new(client, namespace).await;
        let weather = weather.clone();
        all.spawn(async move { Household::new(&user).await.live(weather).await });
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_storm_however_often_the_process_dies() {
    let seed = number("STORM_SEED").unwrap_or_else(rand::random);
    let kills = number("STORM_KILLS").map_or(KILLS / one_in(), |kills| {
        u32::try_from(kills).expect("a few")
    });
    let store = tempfile::tempdir().expect("a folder").keep();
    eprintln!(
        "STORM_SEED={seed} STORM_KILLS={kills}; the store and the log are in {} if it fails",
        store.display()
    );
    let plane = borrow(Options::default()).await;
    let client = plane.client().await;
    let weather = Weather {
        over: Arc::new(AtomicBool::new(false)),
        seed,
    };
    let _calm = Calm(Arc::clone(&weather.over));
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let (runtime, raging) = (tokio::runtime::Handle::current(), weather.clone());
    let (account, place) = (installed(&plane).await, store.clone());
    let mut rage = tokio::task::spawn_blocking(move || {
        rage(&account, &place, kills, &raging, || {
            // Killed before it led, it has none.
            let all = Default::default();
            _ = runtime.block_on(leases.delete("managed-hsm-operator", &all));
        })
    });
    let mut actors = actors(&client, &weather).await;
    let mut process = tokio::select! {
        process = &mut rage => process.expect("the kills"),
        // None ends before the storm does, unless it failed.
        ended = actors.join_next() => panic!("{ended:?}", ended = ended.map(|owned| owned.map(|_| ()))),
    };
    weather.over.store(true, Ordering::SeqCst);
    let all: Vec<Owned> = actors.join_all().await.into_iter().flatten().collect();
    for owned in &all {
        proof::in_cluster(owned).await;
    }
    assert_eq!(process.ended(), None, "it ended by itself");
    assert!(process.stop().success());
    proof::in_store(&store, &all);
    std::fs::remove_dir_all(store).expect("what is not needed any more goes");
}
