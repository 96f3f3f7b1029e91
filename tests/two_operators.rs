//! Two operators at once on one store, both believing to lead. One of them is paused before each of its effects in turn, while
//! the other carries the whole life through: made, deleted, recovered. Then the first one goes on with what it had decided.

mod lives;
mod operator;
mod user;

use std::time::Duration;

use lives::Life;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::stops::{Stop, Stops, When, Which};
use managed_hsm_operator::softdelete::Kind;
use operator::Operator;
use serde_json::Value;
use testplane::{Options, borrow, eventually};
use tokio_util::task::AbortOnDropHandle;

/// How long an operator does nothing at all when it is through with everything.
const QUIET: Duration = Duration::from_secs(2);

struct Paused {
    place: String,
    life: Life,
    /// Where the first operator stands.
    first: Stop,
    /// The second one's very first effect on the same lineage.
    second: Stop,
    end: AbortOnDropHandle<Value>,
}

/// Waits until neither operator does anything any more.
async fn quiet(paused: &[Paused], both: &[&Stops]) {
    let done = || {
        let lineages = paused
            .iter()
            .flat_map(|one| [Kind::Hsm, Kind::Key].map(|kind| one.life.lineage(kind)));
        lineages
            .map(|lineage| {
                both.iter()
                    .map(|stops| stops.seen(&lineage).len())
                    .sum::<usize>()
            })
            .sum::<usize>()
    };
    let mut before = done();
    eventually(
        "both operators come to rest",
        Duration::from_secs(60),
        async || {
            tokio::time::sleep(QUIET).await;
            let now = done();
            let rest = if now == before {
                Ok(())
            } else {
                Err(format!("{} effects in {QUIET:?}", now - before))
            };
            before = now;
            rest
        },
    )
    .await;
}

async fn one_paused_at_every_effect(key: Value) {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let (first, second) = (Stops::default(), Stops::default());
    let client = plane.client().await;
    let calm = Life::new(&client, "calm", &backend, key.clone()).await;
    let one = Operator::with_stops(&plane, &backend, &first).await;
    let end = calm.whole().await;
    let two = Operator::with_stops(&plane, &backend, &second).await;

    let mut paused = Vec::new();
    for kind in [Kind::Hsm, Kind::Key] {
        for (place, seen) in first.seen(&calm.lineage(kind)).iter().enumerate() {
            let name = format!("{}-{}", kind.object(), place + 1).to_lowercase();
            let life = Life::new(&client, &name, &backend, key.clone()).await;
            let lineage = life.lineage(kind);
            let (running, place) = (life.clone(), format!("{name} ({})", seen.effect));
            paused.push(Paused {
                first: first.stop(&lineage, When::Before, Which::Number(number_of(&name))),
                second: second.stop(&lineage, When::Before, Which::Number(1)),
                end: AbortOnDropHandle::new(tokio::spawn(async move { running.whole().await })),
                place,
                life,
            });
        }
    }
    for one in &mut paused {
        // How many statuses are written depends on who is faster: such a life may be over before that place.
        tokio::select! {
            () = one.first.reached() => {}
            ended = &mut one.end => assert!(ended.is_ok() && one.place.contains("(Show"), "{}: nobody was paused: {ended:?}", one.place),
        }
        // What it had decided by then it does now, late.
        one.second.release();
    }
    for one in paused.iter_mut().filter(|one| !one.end.is_finished()) {
        (&mut one.end)
            .await
            .unwrap_or_else(|error| panic!("{}, while paused: {error}", one.place));
    }
    let identities: Vec<_> = paused.iter().map(|one| one.life.identities()).collect();
    for one in &paused {
        one.first.release();
    }
    quiet(&paused, &[&first, &second]).await;
    for (one, before) in paused.iter().zip(identities) {
        assert_eq!(
            one.life.identities(),
            before,
            "{}: the same material",
            one.place
        );
        lives::assert_same(&one.place, &once(one.life.picture().await), &end);
    }
    drop((one, two));
}

/// Two copies of one object are one: two who copy at once make two, and neither may judge that the other's is too many.
fn once(mut picture: Value) -> Value {
    if let Some(objects) = picture["objects"].as_array_mut() {
        objects.dedup();
    }
    picture
}

fn number_of(name: &str) -> usize {
    name.rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_one_of_two_operators_acts_late_on_a_pair() {
    one_paused_at_every_effect(lives::ec()).await;
}
