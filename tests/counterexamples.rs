//! The shortest ways to lose a key, one for each rule of the protocols (`safety`: what happens without): driven step by step.
//! Each was seen to fail without its rule, but three, which a second guard holds as well: G1's order the proxy's generation, the
//! cluster before the ledger the preconditions of every write (both orders are therefore looked at by themselves:
//! `g1_each_look…`), and a recovery out of *sealing* the record's lawful edges.

mod lives;
mod operator;
mod user;

use std::sync::{Mutex, mpsc};

use lives::{KEY, Life};
use managed_hsm_operator::backend::Class;
use managed_hsm_operator::backend::memory::{MemoryBackend, Method};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::controller::stops::{Stops, When, Which};
use managed_hsm_operator::softdelete::{Kind, RecordState};
use operator::Operator;
use serde_json::json;
use testplane::{Borrowed, Options, borrow};
use tokio::sync::oneshot;

/// A plane, a store, and one operator on them with a key that is ready.
struct Stage {
    plane: Borrowed,
    backend: MemoryBackend,
    life: Life,
    stops: Stops,
    /// The first operator: the one that is paused.
    first: Operator,
}

async fn empty_stage() -> Stage {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let stops = Stops::default();
    let first = Operator::with_stops(&plane, &backend, &stops).await;
    let life = Life::new(&plane.client().await, "stage", &backend, lives::ec()).await;
    Stage {
        plane,
        backend,
        life,
        stops,
        first,
    }
}

async fn stage() -> Stage {
    let stage = empty_stage().await;
    stage.life.create().await;
    stage
}

impl Stage {
    /// Somebody else who believes to lead, stopped nowhere or where its own stops say.
    async fn second(&self, stops: &Stops) -> Operator {
        Operator::with_stops(&self.plane, &self.backend, stops).await
    }

    fn before(
        &self,
        effect: &'static str,
        number: usize,
    ) -> managed_hsm_operator::controller::stops::Stop {
        self.stops.stop(
            &self.life.lineage(Kind::Key),
            When::Before,
            Which::Named(effect, number),
        )
    }

    /// Waits until that effect's answer was that somebody else was faster.
    async fn raced(&self, effect: &'static str, number: usize) {
        let key = self.life.lineage(Kind::Key);
        testplane::eventually("it was told so", operator::SOON, async || {
            let seen = self.stops.seen(&key);
            let mut those = seen.iter().filter(|seen| seen.effect == effect);
            match those.nth(number - 1).and_then(|seen| seen.outcome) {
                Some("raced") => Ok(()),
                _ => Err(format!("{seen:?}")),
            }
        })
        .await;
    }

    fn outcome(&self, effect: &str) -> Option<&'static str> {
        let seen = self.stops.seen(&self.life.lineage(Kind::Key));
        let first = seen.iter().find(|seen| seen.effect == effect);
        first.and_then(|seen| seen.outcome)
    }

    /// The next call of `method`, after one of `after` if that is said, waits inside the backend. Answers when it stands, and what lets it go on.
    fn block(
        &self,
        after: Option<Method>,
        method: Method,
    ) -> (oneshot::Receiver<()>, mpsc::Sender<()>) {
        let (stands, standing) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let armed = Mutex::new((after, Some((stands, may_go_on))));
        self.backend.observe(move |call| {
            let waiting = {
                let mut armed = armed.lock().expect("no test panics in here");
                match armed.0 {
                    Some(first) => {
                        if call.method == first {
                            armed.0 = None;
                        }
                        None
                    }
                    None if call.method == method => armed.1.take(),
                    None => None,
                }
            };
            if let Some((stands, may_go_on)) = waiting {
                let _ = stands.send(());
                let _ = may_go_on.recv();
            }
        });
        (standing, go_on)
    }
}

/// A sealer that has copied everything pauses inside its look, before a call. Another one seals to the end, and stands in the
/// unsealing before its `effect`. Then the first goes on, and then the other: the key must be there.
async fn a_sealer_pauses_in_its_look(after: Option<Method>, method: Method, effect: &'static str) {
    let stage = stage().await;
    let made = stage.life.identities();
    let key = stage.life.lineage(Kind::Key);
    let copied = stage.stops.stop(&key, When::After, Which::Named("Copy", 2));
    let uid = stage.life.uid(Kind::Key).await;
    stage.life.start_delete(Kind::Key).await;
    copied.reached().await;
    let (standing, go_on) = stage.block(after, method);
    copied.release();
    standing
        .await
        .expect("the first operator stands in its look");

    let others = Stops::default();
    let unsealing = others.stop(
        &stage.life.lineage(Kind::Key),
        When::Before,
        Which::Named(effect, if effect == "Destroy" { 3 } else { 1 }),
    );
    let second = stage.second(&others).await;
    stage.life.deleted(Kind::Key, &uid).await;
    stage.life.start_recover(Kind::Key, &uid).await;
    unsealing.reached().await;
    // Should it destroy anything now, it does not mend that itself.
    let destroyed = stage
        .stops
        .stop(&key, When::After, Which::Named("Destroy", 1));
    let looked = stage.stops.seen(&key).len();
    go_on.send(()).expect("it stands there");
    // It has decided by then, on whatever it saw.
    testplane::eventually("the first operator goes on", operator::SOON, async || {
        let seen = stage.stops.seen(&key);
        if seen.len() > looked && seen.iter().skip(looked).all(|seen| seen.outcome.is_some()) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
    unsealing.release();
    stage.life.recovered(Kind::Key).await;
    destroyed.release();
    assert_eq!(stage.life.identities(), made);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_whoever_read_the_record_before_the_handles_destroys_no_later_life() {
    a_sealer_pauses_in_its_look(None, Method::Objects, "Destroy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_handles_from_before_the_opening_decide_nothing_in_it() {
    a_sealer_pauses_in_its_look(Some(Method::Objects), Method::Read, "Copy").await;
}

/// Another one's look falls between the two halves of a pair that is just being generated. Whatever it decides on that, it does when the
/// key is recorded and ready.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_saw_half_of_a_pair_destroys_nothing_of_it_when_the_key_lives() {
    let stage = empty_stage().await;
    let key = stage.life.lineage(Kind::Key);
    let recorded = stage.before("WriteRecord", 2);
    stage.life.apply_both().await;
    recorded.reached().await;
    let made = stage.life.identities();
    let later = stage.life.material();
    let later = later.iter().find(|object| object.class == Class::Public);
    stage.backend.take_aside(later.expect("a pair").handle);

    let others = Stops::default();
    let late = others.stop(&key, When::Before, Which::Number(1));
    let second = stage.second(&others).await;
    late.reached().await;
    stage.backend.put_back();
    recorded.release();
    stage.life.create().await;
    late.release();
    let swept = async || {
        let seen = others.seen(&key);
        let done = seen.iter().all(|seen| seen.outcome.is_some());
        match done && stage.life.identities() == made && stage.life.material().len() == 2 {
            true => Ok(()),
            false => Err(format!("{seen:?} {:#?}", stage.life.material())),
        }
    };
    testplane::eventually("the key alone is there", operator::SOON, swept).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn g2_a_record_decided_on_an_older_one_is_never_written() {
    let stage = stage().await;
    let made = stage.life.identities();
    let sealing = stage.before("WriteRecord", 3);
    let uid = stage.life.uid(Kind::Key).await;
    stage.life.start_delete(Kind::Key).await;
    sealing.reached().await;
    let second = stage.second(&Stops::default()).await;
    stage.life.deleted(Kind::Key, &uid).await;
    stage.life.recover(Kind::Key, &uid).await;
    let before = stage.life.record(Kind::Key);
    sealing.release();
    stage.raced("WriteRecord", 3).await;
    assert_eq!(stage.life.record(Kind::Key), before);
    assert_eq!(stage.life.identities(), made);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_an_opening_goes_on_to_live_before_its_object_is_sealed_again() {
    let stage = stage().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Key).await;
    // Two copies were sealed; one of the two back is made.
    let half_open = stage.before("Copy", 4);
    stage.life.start_recover(Kind::Key, &uid).await;
    half_open.reached().await;
    let again = stage.life.uid(Kind::Key).await;
    stage.life.start_delete(Kind::Key).await;
    half_open.release();
    stage.life.deleted(Kind::Key, &again).await;
    assert_eq!(stage.life.identities(), made);
    // Sealing, deleted; opening, live; sealing, deleted: none was left out.
    assert_eq!(
        stage
            .life
            .record(Kind::Key)
            .map(|(generation, record)| (generation, record.state)),
        Some((8, RecordState::Deleted))
    );
    assert!(stage.life.material().iter().all(|object| !object.usable));
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_recovery_waits_for_the_end_of_the_sealing() {
    let stage = stage().await;
    let made = stage.life.identities();
    let half_sealed = stage.before("Copy", 2);
    let uid = stage.life.uid(Kind::Key).await;
    stage.life.start_delete(Kind::Key).await;
    half_sealed.reached().await;
    // Somebody forces the object away: its name is free, and only the record says that the sealing is not over.
    stage.force_away().await;
    let others = Stops::default();
    stage.life.start_recover(Kind::Key, &uid).await;
    let second = stage.second(&others).await;
    stage.life.recovered(Kind::Key).await;
    half_sealed.release();
    let seen = others.seen(&stage.life.lineage(Kind::Key));
    let place = |name: &str| seen.iter().position(|seen| seen.effect == name);
    // Its first record is *deleted*.
    assert!(place("WriteRecord").is_some(), "{seen:?}");
    assert!(place("WriteRecord") < place("CreateObject"), "{seen:?}");
    assert_eq!(stage.life.identities(), made);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_refused_does_not_turn_back_what_another_carries_on() {
    let stage = stage().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Key).await;
    stage.forbid_keys().await;
    // ShowProxy: the deletion's, the claim, and then the way back.
    let way_back = stage.before("ShowProxy", 3);
    stage.life.start_recover(Kind::Key, &uid).await;
    way_back.reached().await;
    assert_eq!(stage.outcome("CreateObject"), Some("refused"));
    stage.allow_keys().await;
    let others = Stops::default();
    let opened = others.stop(
        &stage.life.lineage(Kind::Key),
        When::Before,
        Which::Named("WriteRecord", 1),
    );
    let second = stage.second(&others).await;
    opened.reached().await;
    way_back.release();
    stage.raced("ShowProxy", 3).await;
    opened.release();
    stage.life.recovered(Kind::Key).await;
    assert_eq!(stage.life.identities(), made);
    drop(second);
}

impl Stage {
    /// The terminating key loses its finalizer by somebody's force.
    async fn force_away(&self) {
        let none = kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let keys = self.life.api(Watched::Object(Kind::Key));
        keys.patch(KEY, &Default::default(), &none)
            .await
            .expect("anybody may");
        let gone = |found: Option<&kube::api::DynamicObject>| found.is_none();
        self.life
            .until("gone", Watched::Object(Kind::Key), KEY, gone)
            .await;
    }

    async fn forbid_keys(&self) {
        let quota = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: none, namespace: stage}, spec: {hard: {count/hsmkeys.managedhsm.dev: '0'}}}";
        self.plane.kubectl(&["apply", "-f", "-"], quota).await.ok();
        self.plane
            .kubectl(
                &[
                    "wait",
                    "resourcequota/none",
                    "-n",
                    "stage",
                    "--for=jsonpath={.status.hard}",
                    "--timeout=30s",
                ],
                "",
            )
            .await
            .ok();
    }

    async fn allow_keys(&self) {
        self.plane
            .kubectl(&["delete", "resourcequota", "none", "-n", "stage"], "")
            .await
            .ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_create_at_once_make_one_key() {
    let stage = empty_stage().await;
    let late = stage.before("WriteRecord", 1);
    stage.life.apply_both().await;
    late.reached().await;
    let second = stage.second(&Stops::default()).await;
    stage.life.create().await;
    let made = stage.life.identities();
    late.release();
    stage.raced("WriteRecord", 1).await;
    assert_eq!(stage.life.identities(), made);
    assert_eq!(stage.life.records().len(), 2, "the HSM's and the key's");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_generated_late_is_swept_and_what_is_recorded_stays() {
    let stage = empty_stage().await;
    let late = stage.before("Generate", 1);
    stage.life.apply_both().await;
    late.reached().await;
    let second = stage.second(&Stops::default()).await;
    stage.life.create().await;
    let made = stage.life.identities();
    late.release();
    testplane::eventually("what came late is swept", operator::SOON, async || {
        let now = stage.life.material();
        let swept = stage.outcome("Generate").is_some() && now.len() == 2;
        if swept {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    assert_eq!(stage.life.identities(), made);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_written_for_an_object_that_was_gone_by_then_is_ended() {
    let stage = empty_stage().await;
    let late = stage.before("WriteRecord", 1);
    stage.life.apply_both().await;
    late.reached().await;
    stage.life.start_delete(Kind::Key).await;
    // The operator that would have let it go is the one that stands.
    stage.force_away().await;
    late.release();
    ended(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_a_creation_whose_object_goes_is_ended_with_all_it_made() {
    let stage = empty_stage().await;
    let made = stage.before("WriteRecord", 2);
    stage.life.apply_both().await;
    made.reached().await;
    assert_eq!(stage.life.material().len(), 2);
    stage.life.start_delete(Kind::Key).await;
    // Going on it would still write *live*, by the look from before, and then delete what lives: here it does not go on.
    stage.force_away().await;
    let backend = stage.first.crash().await;
    let _after = Operator::start(&stage.plane, backend).await;
    let stage = Gone { life: stage.life };
    stage.ended().await;
}

struct Gone {
    life: Life,
}

impl Gone {
    /// A tombstone, not an object, not a proxy.
    async fn ended(&self) {
        testplane::eventually("a tombstone", operator::SOON, async || {
            let state = self.life.record(Kind::Key).map(|(_, record)| record.state);
            if state == Some(RecordState::Tombstone) {
                Ok(())
            } else {
                Err(format!("{state:?}"))
            }
        })
        .await;
        assert_eq!(self.life.material(), []);
        let proxy = self
            .life
            .api(Watched::Proxy(Kind::Key))
            .get_opt(&self.life.proxy_name(Kind::Key))
            .await;
        assert!(proxy.expect("a GET").is_none());
    }
}

async fn ended(stage: &Stage) {
    Gone {
        life: stage.life.clone(),
    }
    .ended()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_deleted_as_it_was_seen_and_no_later_one() {
    let stage = stage().await;
    let made = stage.life.identities();
    let first = stage.life.delete(Kind::Key).await;
    let late = stage.before("DeleteProxy", 1);
    stage.life.start_recover(Kind::Key, &first).await;
    late.reached().await;
    let second = stage.second(&Stops::default()).await;
    stage.life.recovered(Kind::Key).await;
    let again = stage.life.delete(Kind::Key).await;
    late.release();
    stage.raced("DeleteProxy", 1).await;
    let proxy = stage
        .life
        .api(Watched::Proxy(Kind::Key))
        .get(&stage.life.proxy_name(Kind::Key))
        .await
        .expect("the proxy");
    assert_eq!(proxy.data["spec"]["origin"]["uid"], again);
    assert!(
        proxy.data["spec"]["snapshot"].is_object(),
        "it is the one that was written from the object"
    );
    assert_eq!(stage.life.identities(), made);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_saw_the_cluster_before_the_ledger_seals_nothing_that_is_live_again() {
    let stage = stage().await;
    let made = stage.life.identities();
    let key = stage.life.lineage(Kind::Key);
    let written = stage
        .stops
        .stop(&key, When::After, Which::Named("CreateProxy", 1));
    let uid = stage.life.uid(Kind::Key).await;
    stage.life.start_delete(Kind::Key).await;
    written.reached().await;
    let (standing, go_on) = stage.block(None, Method::Read);
    written.release();
    standing.await.expect("the first stands before the ledger");
    // A look that had the cluster's side already would hold a terminating object and a retained proxy.
    let second = stage.second(&Stops::default()).await;
    stage.life.deleted(Kind::Key, &uid).await;
    stage.life.recover(Kind::Key, &uid).await;
    let live = stage.life.record(Kind::Key);
    let looked = stage.stops.seen(&key).len();
    go_on.send(()).expect("it stands there");
    drop(second);
    // The first goes on alone, and has nothing to do: what it is asked next shows that it is past its look.
    let again = stage.life.uid(Kind::Key).await;
    assert_eq!(stage.life.record(Kind::Key), live);
    stage.life.delete(Kind::Key).await;
    let seen = stage.stops.seen(&key);
    let next = seen.get(looked).map(|seen| seen.effect);
    assert_eq!(next, Some("CreateProxy"), "{seen:?}");
    assert_ne!(again, uid);
    assert_eq!(stage.life.identities(), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_and_the_deletion_of_its_object_do_not_wait_for_each_other() {
    let stage = stage().await;
    let made = stage.life.identities();
    let uid = stage.life.delete(Kind::Key).await;
    let made_again = stage.stops.stop(
        &stage.life.lineage(Kind::Key),
        When::After,
        Which::Named("CreateObject", 1),
    );
    stage.life.start_recover(Kind::Key, &uid).await;
    made_again.reached().await;
    // The proxy says Recovering, and no new uid yet; the object holds our finalizer.
    let in_between = stage.life.uid(Kind::Key).await;
    stage.life.start_delete(Kind::Key).await;
    made_again.release();
    stage.life.recovered(Kind::Key).await;
    assert_ne!(stage.life.uid(Kind::Key).await, in_between);
    assert_eq!(stage.life.identities(), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_labelled_live_before_its_record_says_that_it_exists() {
    use managed_hsm_operator::backend::Mark;
    let stage = empty_stage().await;
    let recorded = stage.before("WriteRecord", 2);
    let labelled = stage.before("Publish", 1);
    stage.life.apply_both().await;
    recorded.reached().await;
    let marks = |life: &Life| -> Vec<Mark> { life.material().iter().map(|one| one.mark).collect() };
    assert_eq!(marks(&stage.life), [Mark::Pending, Mark::Pending]);
    recorded.release();
    labelled.reached().await;
    let state = stage.life.record(Kind::Key).map(|(_, record)| record.state);
    assert_eq!(state, Some(RecordState::Live));
    assert_eq!(marks(&stage.life), [Mark::Pending, Mark::Pending]);
    labelled.release();
    stage.life.create().await;
    assert_eq!(marks(&stage.life), [Mark::Live, Mark::Live]);
}

/// What a crash leaves in the middle of making a token. Seen first when a process was killed there: its HSM stood for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_half_made_is_finished_by_whoever_goes_on() {
    let stage = empty_stage().await;
    let hsm = stage.life.lineage(Kind::Hsm);
    let made = stage
        .stops
        .stop(&hsm, When::After, Which::Named("CreateToken", 1));
    stage.life.apply_both().await;
    made.reached().await;
    let record = stage.life.record(Kind::Hsm).expect("its record").1;
    let label = managed_hsm_operator::plan::ids::token_label(&record.id);
    let backend = stage.first.crash().await;
    backend.half_make(&label);
    let _after = Operator::start(&stage.plane, backend).await;
    stage.life.create().await;
}

/// One that is there and opens to nobody is shown, and goes on when it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_refuses_our_pin_while_it_is_made_is_told_and_not_tried_in_a_loop() {
    use managed_hsm_operator::backend::{HsmBackend, TokenRef};
    let stage = empty_stage().await;
    let hsm = stage.life.lineage(Kind::Hsm);
    let made = stage
        .stops
        .stop(&hsm, When::After, Which::Named("CreateToken", 1));
    stage.life.apply_both().await;
    made.reached().await;
    let record = stage.life.record(Kind::Hsm).expect("its record").1;
    let label = managed_hsm_operator::plan::ids::token_label(&record.id);
    let facts = stage
        .backend
        .token(&label)
        .expect("a look")
        .expect("a token");
    let (label, serial) = (facts.label, facts.serial);
    let token = TokenRef { label, serial };
    stage.backend.seal_token(&token).expect("it seals");
    made.release();
    let told = |found: Option<&kube::api::DynamicObject>| {
        let ready = found.and_then(|found| operator::condition(found, "Ready"));
        ready.is_some_and(|(_, reason, _)| reason == "BackendUnavailable")
    };
    stage
        .life
        .until("told so", Watched::Object(Kind::Hsm), lives::HSM, told)
        .await;
    let tries = |seen: Vec<managed_hsm_operator::controller::stops::Seen>| {
        let those = seen.iter().filter(|seen| seen.effect == "CreateToken");
        those.count()
    };
    assert!(
        tries(stage.stops.seen(&hsm)) <= 20,
        "{:?}",
        stage.stops.seen(&hsm)
    );
    stage.backend.unseal_token(&token).expect("it opens");
    stage.life.create().await;
}

/// One thing that a look, or a step, does about the key.
#[derive(Clone, Debug, PartialEq)]
enum Deed {
    Handles,
    Record(String),
    Object,
    Change,
}

/// Watches what goes to the API server about the key, and what to the backend.
fn watched(
    through: kube::Client,
    backend: &MemoryBackend,
) -> (kube::Client, std::sync::Arc<Mutex<Vec<Deed>>>) {
    use kube::client::Body;
    let log = std::sync::Arc::new(Mutex::new(Vec::new()));
    let calls = log.clone();
    backend.observe(move |call| {
        let deed = match call.method {
            Method::Objects => Deed::Handles,
            Method::Read => Deed::Record(call.subject.clone()),
            Method::Write | Method::Generate | Method::Publish | Method::Copy | Method::Destroy => {
                Deed::Change
            }
            _ => return,
        };
        calls.lock().expect("no test panics in here").push(deed);
    });
    let requests = log.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let path = request.uri().path();
        let deed = match request.method() == http::Method::GET {
            true if path.ends_with(&format!("/hsmkeys/{KEY}")) => Some(Deed::Object),
            false if path.contains("hsmkeys") => Some(Deed::Change),
            true | false => None,
        };
        requests
            .lock()
            .expect("no test panics in here")
            .extend(deed);
        let through = through.clone();
        async move { through.send(request).await }
    });
    (kube::Client::new(service, "default"), log)
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_each_look_takes_the_handles_then_the_record_then_the_object() {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let mut build = operator::Build::new(&plane, backend.clone()).await;
    let (client, log) = watched(plane.client().await, &backend);
    build.client = client;
    let _operator = build.start().await;
    let life = Life::new(&plane.client().await, "order", &backend, lives::ec()).await;
    life.create().await;
    let uid = life.delete(Kind::Key).await;
    life.recover(Kind::Key, &uid).await;

    let id = life.record(Kind::Key).expect("its record").1.id.0;
    let log = log.lock().expect("no test panics in here").clone();
    let mut looks = 0;
    for (place, _) in log
        .iter()
        .enumerate()
        .filter(|(_, deed)| **deed == Deed::Object)
    {
        let before = &log[..place];
        let last = |wanted: &dyn Fn(&Deed) -> bool| before.iter().rposition(wanted);
        let record = last(&|deed| matches!(deed, Deed::Record(of) if of.contains(&id)));
        let handles = last(&|deed| *deed == Deed::Handles);
        let change = last(&|deed| *deed == Deed::Change);
        if handles.is_none() {
            continue;
        }
        looks += 1;
        assert!(
            handles < record,
            "a record older than the handles: {before:?}"
        );
        assert!(
            change < record,
            "a GET that no look at the record precedes: {before:?}"
        );
        assert!(
            change < handles,
            "handles from before the last change: {before:?}"
        );
    }
    assert!(looks > 10, "{log:?}");
}
