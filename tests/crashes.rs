//! The operator stopped dead before and after each of its effects, and started again on the same store: every life ends as
//! one that nothing disturbed. Many lives at once, each stopped at another place; then all are killed together.

mod lives;
mod operator;
mod user;

use lives::Life;
use lives::end::Plot;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::stops::{Stop, Stops, When, Which};
use operator::Operator;
use serde_json::Value;
use testplane::{Options, Plane, borrow};
use tokio_util::task::AbortOnDropHandle;

/// A life that is about to be stopped once.
struct Doomed {
    place: String,
    stop: Stop,
    /// Its end is the undisturbed one's.
    end: AbortOnDropHandle<Value>,
}

/// Where the operator can be stopped in such a life, and what the life ends in.
struct Undisturbed {
    /// Of which of its lineages, the number among that one's, the name.
    effects: Vec<(usize, usize, &'static str)>,
    end: Value,
}

async fn undisturbed(
    plane: &Plane,
    backend: &MemoryBackend,
    key: Value,
    plot: Plot,
) -> Undisturbed {
    let stops = Stops::default();
    let _operator = Operator::with_stops(plane, backend, &stops).await;
    let client = plane.client().await;
    let name = format!(
        "calm-{}",
        key["keyType"].as_str().unwrap_or_default().to_lowercase()
    );
    let life = Life::new(&client, &name, backend, key).await;
    let end = life.play(plot).await;
    let mut effects = Vec::new();
    for (whose, lineage) in life.lineages(plot).iter().enumerate() {
        let seen = stops.seen(lineage);
        // How it is made is the other plot's.
        let from = match plot {
            Plot::Back => 0,
            Plot::End => seen
                .iter()
                .position(|seen| seen.effect == "CreateProxy")
                .unwrap_or(seen.len()),
        };
        for (place, seen) in seen.iter().enumerate().skip(from) {
            effects.push((whose, place + 1, seen.effect));
        }
    }
    Undisturbed { effects, end }
}

/// How many effects' lives are stopped at a time: each waits for all the others.
const AT_A_TIME: usize = 20;

/// One life for each effect (or each so manieth) of these of its lineages, before and after it; the operator dies once all of them stand.
async fn crash_everywhere(key: Value, plot: Plot, lineages: &[usize], each: usize) {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::with(rand::random(), 1000);
    let calm = undisturbed(&plane, &backend, key.clone(), plot).await;
    let wanted = |(whose, ..): &&(usize, usize, &str)| lineages.contains(whose);
    let all: Vec<_> = calm
        .effects
        .iter()
        .filter(wanted)
        .step_by(each)
        .copied()
        .collect();
    let (mut lived, mut stood) = (0, 0);
    for effects in all.chunks(AT_A_TIME) {
        let stops = Stops::default();
        let operator = Operator::with_stops(&plane, &backend, &stops).await;
        let doomed = doomed(&plane, &backend, &key, plot, effects, &stops).await;
        lived += doomed.len();
        let doomed = stopped(doomed, plot).await;
        stood += doomed.len();
        operator.crash().await;
        let _operator = Operator::with_stops(&plane, &backend, &Stops::default()).await;
        for one in doomed {
            let end = one
                .end
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", one.place));
            lives::assert_same(&one.place, &end, &calm.end);
        }
    }
    assert!(stood * 10 >= lived * 9, "only {stood} of {lived} stood");
}

async fn doomed(
    plane: &Plane,
    backend: &MemoryBackend,
    key: &Value,
    plot: Plot,
    effects: &[(usize, usize, &str)],
    stops: &Stops,
) -> Vec<Doomed> {
    let client = plane.client().await;
    let mut doomed = Vec::new();
    for (whose, number, effect) in effects {
        for when in [When::Before, When::After] {
            let place = format!("{when:?}-{whose}-{number}").to_lowercase();
            let life = Life::new(&client, &place, backend, key.clone()).await;
            let stop = stops.stop(&life.lineages(plot)[*whose], when, Which::Number(*number));
            let end = AbortOnDropHandle::new(tokio::spawn(async move { life.play(plot).await }));
            doomed.push(Doomed {
                place: format!("{place} ({effect})"),
                stop,
                end,
            });
        }
    }
    doomed
}

/// Waits until each life stands. How many statuses are written depends on who is faster, and whether an HSM or its key is; so a life may be
/// over without the effect that it was to stop at.
async fn stopped(doomed: Vec<Doomed>, plot: Plot) -> Vec<Doomed> {
    let mut stand = Vec::new();
    for mut one in doomed {
        tokio::select! {
            () = one.stop.reached() => stand.push(one),
            end = &mut one.end => {
                assert!(end.is_ok(), "{}: {end:?}", one.place);
                assert!(plot == Plot::End || one.place.contains("(Show"), "{} was never stopped", one.place);
            }
        }
    }
    stand
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_with_an_ec_key_ends_well_wherever_the_operator_dies() {
    crash_everywhere(lives::ec(), Plot::Back, &[0, 1], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_with_an_oct_key_ends_well_wherever_the_operator_dies() {
    crash_everywhere(lives::oct(), Plot::Back, &[1], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_with_two_keys_is_deleted_recovered_and_purged_wherever_the_operator_dies() {
    // All of them take minutes: `make crashes`.
    let all = std::env::var_os("CRASH_AT_EACH").is_some();
    let each = if all { 1 } else { 4 };
    crash_everywhere(lives::ec(), Plot::End, &[0, 1, 2], each).await;
}
