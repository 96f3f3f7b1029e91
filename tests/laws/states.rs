//! Which ways an object's states are really left by, as the planner goes them in the world without a cluster: what `docs/states.svg` draws.

use std::collections::{BTreeMap, BTreeSet};

use managed_hsm_operator::api;
use managed_hsm_operator::plan::observed::{Body, No, Object, Proxy, Refused, Tried};
use managed_hsm_operator::plan::{Lineage, ids, plan};
use managed_hsm_operator::softdelete::state::{Edge, ObjectState, after, object_state};
use managed_hsm_operator::softdelete::{Kind, Record, RecordId, RecordState, Subject, Uid};

use super::rows::{self, Act, State};
use super::sequences;
use super::world::{World, lineage_of};

/// SD-01's states; what is soft-deleted by its proxy's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The resource was never there, or was let go without a proxy.
    Nothing,
    Waiting,
    Active,
    Retained,
    Recovering,
    Destroying,
    Purged,
}

impl Stage {
    /// None: there is no object.
    pub fn state(self) -> Option<ObjectState> {
        Some(match self {
            Self::Nothing => return None,
            Self::Waiting => ObjectState::Waiting,
            Self::Active => ObjectState::Active,
            Self::Retained | Self::Recovering | Self::Destroying => ObjectState::SoftDeleted,
            Self::Purged => ObjectState::Purged,
        })
    }
}

/// What makes an object go from one stage to another, in a word or two.
pub type Ways = BTreeMap<(Stage, Stage), BTreeSet<&'static str>>;

/// The stage of each object of the world, by its record's id, which it keeps through all its lives.
#[derive(Clone, Default)]
pub struct Trail {
    now: BTreeMap<RecordId, Stage>,
    passed: Passed,
}

type Passed = BTreeSet<(RecordId, Stage, Stage)>;

impl Trail {
    /// Looks at the world after something happened in it.
    pub fn note(&mut self, next: BTreeMap<RecordId, Stage>, taken_over: &BTreeSet<RecordId>) {
        for (id, before) in &self.now {
            let after = next.get(id).copied().unwrap_or(Stage::Nothing);
            // What a recovery made goes on under the record of the deleted one, which tells its ways.
            if after != *before && !taken_over.contains(id) {
                self.passed.insert((id.clone(), *before, after));
            }
        }
        for (id, stage) in &next {
            if !self.now.contains_key(id) && !taken_over.contains(id) {
                self.passed.insert((id.clone(), Stage::Nothing, *stage));
            }
        }
        self.now = next;
    }
}

/// The stages that the world shows.
pub fn stages(world: &World) -> BTreeMap<RecordId, Stage> {
    let recorded = world.ledger.iter();
    let mut all: BTreeMap<_, _> = recorded
        .map(|(id, (_, record))| (id.clone(), of_record(world, record)))
        .collect();
    for object in world.objects.values() {
        let id = ids::record_id(&object.meta.uid);
        let named = |(_, record): &(u64, Record)| record.origin.uid == object.meta.uid;
        if !world.ledger.values().any(named) {
            let state = object_state(None, had_material(object));
            all.entry(id).or_insert(if state == ObjectState::Active {
                Stage::Active
            } else {
                Stage::Waiting
            });
        }
    }
    all
}

/// Ids of objects that go on under the record of a deleted one: what its recovery made, or found standing there.
pub fn taken_over(world: &World) -> BTreeSet<RecordId> {
    let named = |uid: &Uid| {
        let mut records = world.ledger.values();
        records.any(|(_, record)| record.origin.uid == *uid)
    };
    let uids = world.objects.values().map(|object| &object.meta.uid);
    uids.filter(|uid| uid.as_str().ends_with("-again") || named(uid))
        .map(ids::record_id)
        .filter(|id| !world.ledger.contains_key(id))
        .collect()
}

fn had_material(object: &Object) -> bool {
    match &object.body {
        Body::Hsm(_, status) => status.hsm_id.is_some(),
        Body::Key(_, status) => status.hsm_id.is_some(),
    }
}

fn of_record(world: &World, record: &Record) -> Stage {
    let around = match &record.subject {
        Subject::Key { hsm, .. } => world.ledger.get(hsm),
        Subject::Hsm { .. } => None,
    };
    let gone = |state| matches!(state, RecordState::Tombstone | RecordState::Abandoned);
    let state = around
        .map(|(_, hsm)| hsm.state)
        .filter(|state| gone(*state))
        .unwrap_or(record.state);
    let found = world.proxies.get(&lineage_of(record));
    let phase = found
        .filter(|found| found.is_of(&record.origin.uid) || recovered_as(found, record))
        .and_then(|found| found.status.phase);
    match (object_state(Some(state), false), phase) {
        (ObjectState::Waiting, _) => Stage::Waiting,
        (ObjectState::Purged, _) => Stage::Purged,
        (_, Some(api::Phase::Recovering)) => Stage::Recovering,
        (_, Some(api::Phase::Destroying)) => Stage::Destroying,
        (ObjectState::Active, None) => Stage::Active,
        (ObjectState::SoftDeleted, None) => Stage::Retained,
    }
}

fn recovered_as(found: &Proxy, record: &Record) -> bool {
    let by = found.status.recovering.as_ref();
    by.is_some_and(|by| by.new_uid.as_deref() == Some(record.origin.uid.as_str()))
}

/// All ways that are found: from each state by each act of the table of sequences, and by what turns a recovery or a purge back.
pub fn ways() -> Ways {
    let mut ways = Ways::new();
    for kind in [Kind::Hsm, Kind::Key] {
        for (state, act) in rows::rows(kind) {
            let Some(word) = word(act) else { continue };
            let mut passed = played(kind, state, act);
            if matches!(act, Act::RecoverHsmWithKeys | Act::PurgeHsm) {
                // Both delete the HSM first.
                let by_that = played(kind, state, Act::DeleteHsm);
                passed.retain(|way| !by_that.contains(way));
            }
            take(passed, kind, word, &mut ways);
        }
        let made = sequences::begin(kind, State::Active).expect("it can be made");
        take(made.trail.passed, kind, "create", &mut ways);
        take(
            refused(kind).trail.passed,
            kind,
            "create refused",
            &mut ways,
        );
        take(withdrawn(kind).trail.passed, kind, "turned back", &mut ways);
    }
    ways
}

fn played(kind: Kind, state: State, act: Act) -> Passed {
    let mut world = sequences::begin(kind, state).expect("a state that can be reached");
    world.note();
    world.trail.passed.clear();
    _ = sequences::act(&mut world, kind, act);
    world.trail.passed
}

/// Of the objects of that kind, not of the HSM around a key.
fn take(passed: Passed, kind: Kind, word: &'static str, ways: &mut Ways) {
    let its: Vec<_> = (1..=3)
        .map(|life| ids::record_id(&Uid(format!("{}-{life}", rows::name(kind)))))
        .collect();
    for (id, from, to) in passed {
        if its.contains(&id) {
            ways.entry((from, to)).or_default().insert(word);
        }
    }
}

/// How the picture calls it; None: it says nothing about one object that the others don't.
fn word(act: Act) -> Option<&'static str> {
    Some(match act {
        Act::Delete => "delete",
        Act::DeleteNamespace => "namespace deleted",
        Act::Recover => "Recover",
        Act::CreateOrRecover => "CreateOrRecover",
        Act::RecoverHsmWithKeys => "Recover of its HSM (All)",
        Act::Purge => "Purge",
        Act::RetentionOver => "retention over",
        Act::DeleteHsm => "its HSM deleted",
        Act::PurgeHsm => "its HSM purged",
        Act::Create | Act::Nothing | Act::CreateTwin | Act::RecoverOther => return None,
        Act::RecoverHsm | Act::HsmGone | Act::HsmAnew => return None,
    })
}

/// A recovery whose object the API server refuses: from there on.
fn refused(kind: Kind) -> World {
    let (mut world, of) = deleted(kind);
    let uid = sequences::uid_now(&world, &of);
    sequences::recover(&mut world, &of, &uid, api::IncludeKeys::None);
    until_a_phase(&mut world, &of);
    let mut seen = world.look(&of);
    seen.refused = Some(Refused {
        what: Tried::CreateObject,
        why: "exceeded quota".into(),
        how: No::Answer,
    });
    let step = plan(&seen).step.expect("it turns back");
    world.apply(&of, &step.effect);
    world
}

/// A purge that was claimed when its Purge was withdrawn: from there on.
fn withdrawn(kind: Kind) -> World {
    let (mut world, of) = deleted(kind);
    let uid = sequences::uid_now(&world, &of);
    sequences::purge(&mut world, &of, &uid);
    until_a_phase(&mut world, &of);
    world.purges.clear();
    world.settle().expect("it comes to rest");
    world
}

fn until_a_phase(world: &mut World, of: &Lineage) {
    while world.proxies[of].status.phase.is_none() {
        assert!(world.step(of), "it never begins");
    }
    world.trail.passed.clear();
}

fn deleted(kind: Kind) -> (World, Lineage) {
    let world = sequences::begin(kind, State::Retained).expect("it can be deleted");
    (world, sequences::lineage(kind))
}

/// SD-01: between the four states only the edges are gone, and each of them is. Two more ends there are: a Waiting one that is deleted
/// leaves nothing, and an HSM's purge takes its keys along whatever they are (SD-26).
pub fn along_the_edges(ways: &Ways) -> Result<(), String> {
    let edges = [Edge::Make, Edge::Delete, Edge::Recover, Edge::Purge];
    let mut gone = BTreeSet::new();
    for ((from, to), words) in ways {
        let (Some(from), Some(to)) = (from.state(), to.state()) else {
            continue;
        };
        let edge = edges.iter().position(|edge| after(from, *edge) == Some(to));
        let with_its_hsm = to == ObjectState::Purged && words.iter().eq([&"its HSM purged"]);
        match edge {
            Some(edge) => _ = gone.insert(edge),
            None if from == to || with_its_hsm => {}
            None => return Err(format!("{from:?} to {to:?} by {words:?}")),
        }
    }
    if gone.len() == edges.len() {
        Ok(())
    } else {
        Err(format!("only the edges {gone:?} were gone"))
    }
}
