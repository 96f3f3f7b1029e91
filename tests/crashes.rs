//! The operator stopped dead before and after each of its effects, and started again on the same store: every life ends as
//! one that nothing disturbed. Many lives at once, each stopped at another place; then all are killed together.

#[cfg(feature = "embedded")]
#[path = "crashes/apart.rs"]
mod apart;
#[path = "crashes/house.rs"]
mod house;
mod lives;
mod operator;
mod user;

use house::{House, Place, Reached};
use lives::Life;
use lives::end::Plot;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::stops::{Stops, When};
use operator::Operator;
use serde_json::Value;
use testplane::{Options, Plane, borrow, each};
use tokio_util::task::AbortOnDropHandle;

/// A life that is about to be stopped once.
struct Doomed {
    place: String,
    stop: Reached,
    /// Its end is the undisturbed one's.
    end: AbortOnDropHandle<Value>,
}

/// Where the operator can be stopped in such a life, and what the life ends in.
struct Undisturbed {
    /// Of which of its lineages, the number among that one's, the name.
    effects: Vec<(usize, usize, &'static str)>,
    end: Value,
}

/// In memory: on which backend a life is lived makes no difference to either.
async fn undisturbed(plane: &Plane, key: Value, plot: Plot) -> Undisturbed {
    let backend = MemoryBackend::new();
    let stops = Stops::default();
    let _operator = Operator::with_stops(plane, &backend, &stops).await;
    let client = plane.client().await;
    let name = format!(
        "calm-{}",
        key["keyType"].as_str().unwrap_or_default().to_lowercase()
    );
    let life = Life::new(&client, &name, &backend, key).await;
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
async fn crash_everywhere(
    house: &House,
    key: Value,
    plot: Plot,
    lineages: &[usize],
    one_in: usize,
) {
    let plane = borrow(Options::default()).await;
    let calm = undisturbed(&plane, key.clone(), plot).await;
    let wanted = |(whose, ..): &&(usize, usize, &str)| lineages.contains(whose);
    let all: Vec<_> = calm
        .effects
        .iter()
        .filter(wanted)
        .step_by(one_in)
        .copied()
        .collect();
    let (mut lived, mut stood) = (0, 0);
    for effects in all.chunks(AT_A_TIME) {
        let (lives, places) = about_to_be_lived(&plane, house, &key, plot, effects).await;
        let (hand, stops) = house.operate(&plane, &places).await;
        let doomed: Vec<_> = lives
            .into_iter()
            .zip(stops)
            .map(|((place, life), stop)| {
                let end = tokio::spawn(async move { life.play(plot).await });
                let end = AbortOnDropHandle::new(end);
                Doomed { place, stop, end }
            })
            .collect();
        lived += doomed.len();
        let doomed = stopped(doomed, plot).await;
        stood += doomed.len();
        hand.dies().await;
        let (hand, _) = house.operate(&plane, &[]).await;
        for one in doomed {
            let end = one
                .end
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", one.place));
            lives::assert_same(&one.place, &end, &calm.end);
        }
        hand.dies().await;
    }
    assert!(stood * 10 >= lived * 9, "only {stood} of {lived} stood");
}

/// The lives, each with what it is called after, and where each is stopped.
async fn about_to_be_lived(
    plane: &Plane,
    house: &House,
    key: &Value,
    plot: Plot,
    effects: &[(usize, usize, &str)],
) -> (Vec<(String, Life)>, Vec<Place>) {
    let client = plane.client().await;
    let (mut lives, mut places) = (Vec::new(), Vec::new());
    for (whose, number, effect) in effects {
        for when in [When::Before, When::After] {
            let place = format!("{when:?}-{whose}-{number}").to_lowercase();
            let life = Life::new(&client, &place, house.store(), key.clone()).await;
            places.push(Place {
                lineage: life.lineages(plot)[*whose].clone(),
                when,
                number: *number,
            });
            lives.push((format!("{place} ({effect})"), life));
        }
    }
    (lives, places)
}

/// Waits until each life stands. How many statuses are written depends on who is faster, and whether an HSM or its key is; so a life may be
/// over without the effect that it was to stop at.
async fn stopped(doomed: Vec<Doomed>, plot: Plot) -> Vec<Doomed> {
    let mut stand = Vec::new();
    for mut one in doomed {
        tokio::select! {
            () = &mut one.stop => stand.push(one),
            end = &mut one.end => {
                assert!(end.is_ok(), "{}: {end:?}", one.place);
                assert!(plot == Plot::End || one.place.contains("(Show"), "{} was never stopped", one.place);
            }
        }
    }
    stand
}

fn memory() -> House {
    House::Memory(MemoryBackend::with(rand::random(), 1000))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_with_an_ec_key_ends_well_wherever_the_operator_dies() {
    crash_everywhere(&memory(), lives::ec(), Plot::Back, &[0, 1], each(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_with_an_oct_key_ends_well_wherever_the_operator_dies() {
    crash_everywhere(&memory(), lives::oct(), Plot::Back, &[1], each(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_with_two_keys_is_deleted_recovered_and_purged_wherever_the_operator_dies() {
    let (house, one_in) = (memory(), each(8));
    crash_everywhere(&house, lives::ec(), Plot::End, &[0, 1, 2], one_in).await;
    house.assert_empty();
}

#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_with_two_keys_in_the_embedded_store_ends_the_same_wherever_its_process_is_killed() {
    let (house, one_in) = (
        House::Embedded(tempfile::tempdir().expect("a folder")),
        each(23),
    );
    crash_everywhere(&house, lives::ec(), Plot::End, &[0, 1, 2], one_in).await;
    house.assert_empty();
}
