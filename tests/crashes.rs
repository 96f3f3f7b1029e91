//! The operator stopped dead before and after each of its effects, and started again on the same store: every life ends as
//! one that nothing disturbed. Many lives at once, each stopped at another place; then all are killed together.

mod lives;
mod operator;
mod user;

use lives::Life;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::stops::{Stop, Stops, When, Which};
use managed_hsm_operator::softdelete::Kind;
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
    effects: Vec<(Kind, usize, &'static str)>,
    end: Value,
}

async fn undisturbed(plane: &Plane, backend: &MemoryBackend, key: Value) -> Undisturbed {
    let stops = Stops::default();
    let _operator = Operator::with_stops(plane, backend, &stops).await;
    let client = plane.client().await;
    let name = format!(
        "calm-{}",
        key["keyType"].as_str().unwrap_or_default().to_lowercase()
    );
    let life = Life::new(&client, &name, backend, key).await;
    let end = life.whole().await;
    let mut effects = Vec::new();
    for kind in [Kind::Hsm, Kind::Key] {
        for (place, seen) in stops.seen(&life.lineage(kind)).iter().enumerate() {
            effects.push((kind, place + 1, seen.effect));
        }
    }
    Undisturbed { effects, end }
}

/// One life for each effect of these kinds, before and after it; the operator dies once all of them stand.
async fn crash_everywhere(key: Value, kinds: &[Kind]) {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let calm = undisturbed(&plane, &backend, key.clone()).await;
    let stops = Stops::default();
    let operator = Operator::with_stops(&plane, &backend, &stops).await;
    let client = plane.client().await;
    let mut doomed = Vec::new();
    for (kind, number, effect) in calm
        .effects
        .iter()
        .filter(|(kind, ..)| kinds.contains(kind))
    {
        for when in [When::Before, When::After] {
            let place = format!("{when:?}-{}-{number}", kind.object()).to_lowercase();
            let life = Life::new(&client, &place, &backend, key.clone()).await;
            let stop = stops.stop(&life.lineage(*kind), when, Which::Number(*number));
            let end = AbortOnDropHandle::new(tokio::spawn(async move { life.whole().await }));
            doomed.push(Doomed {
                place: format!("{place} ({effect})"),
                stop,
                end,
            });
        }
    }
    let doomed = stopped(doomed).await;
    let backend = operator.crash().await;
    let _operator = Operator::with_stops(&plane, &backend, &Stops::default()).await;
    for one in doomed {
        let end = one
            .end
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", one.place));
        lives::assert_same(&one.place, &end, &calm.end);
    }
}

/// Waits until each life stands. How many statuses are written depends on who is faster, so that a life may be over without
/// the one that it was to stop at; every other effect is in every life.
async fn stopped(doomed: Vec<Doomed>) -> Vec<Doomed> {
    let mut stand = Vec::new();
    for mut one in doomed {
        tokio::select! {
            () = one.stop.reached() => stand.push(one),
            end = &mut one.end => {
                assert!(end.is_ok(), "{}: {end:?}", one.place);
                assert!(one.place.contains("(Show"), "{} was never stopped", one.place);
            }
        }
    }
    stand
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_with_an_ec_key_ends_well_wherever_the_operator_dies() {
    crash_everywhere(lives::ec(), &[Kind::Hsm, Kind::Key]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_with_an_oct_key_ends_well_wherever_the_operator_dies() {
    crash_everywhere(lives::oct(), &[Kind::Key]).await;
}
