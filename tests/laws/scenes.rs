//! What hinders people, played in the world without a cluster: each state of the table of sequences × each request × each hindrance. Where which
//! reason is shown then is what `docs/troubleshooting.md` tells.

use std::sync::LazyLock;

use chrono::Duration;
use managed_hsm_operator::api::{self, IncludeKeys};
use managed_hsm_operator::plan::observed::{
    Body, Material, Namespace, No, Object, Observed, Reading, Refused, Tried,
};
use managed_hsm_operator::plan::{Lineage, ids, plan};
use managed_hsm_operator::softdelete::permission::{Lack, Missing, Policies};
use managed_hsm_operator::softdelete::{Kind, Reason, RecordId, RecordState};

use super::reasons::{Place, Shown};
use super::rows::{self, ANOTHER_UID, State};
use super::sequences;
use super::world::World;

/// Enough for a protocol to come to where it is hindered.
const STEPS: usize = 40;

/// What somebody asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Nothing,
    Recover,
    Purge,
    PurgeOther,
    /// A Recover that is not finished when the Purge is made.
    Both,
    Delete,
    Create,
    CreateOrRecover,
}

const ASKS: [Ask; 8] = [
    Ask::Nothing,
    Ask::Recover,
    Ask::Purge,
    Ask::PurgeOther,
    Ask::Both,
    Ask::Delete,
    Ask::Create,
    Ask::CreateOrRecover,
];

/// Something that is wrong with the cluster's side, or with what each look sees.
enum Hindrance {
    World(fn(&mut World, &Lineage)),
    Sight(fn(&mut Observed)),
}

use Hindrance::{Sight, World as Changed};

const HINDRANCES: &[Hindrance] = &[
    Changed(|_, _| {}),
    // The operator's settings.
    Changed(|world, _| world.settings.quorum = 2),
    Changed(|world, _| world.settings.undeletable = true),
    // The namespace.
    Changed(|world, _| world.namespace = None),
    Changed(|world, _| {
        world.namespace = Some(Namespace {
            uid: "ns-2".into(),
            terminating: false,
        });
    }),
    Changed(|world, _| {
        if let Some(space) = &mut world.namespace {
            space.terminating = true;
        }
    }),
    // What the manifests say.
    Changed(|world, of| manifest(world, of, change_fixed)),
    Changed(|world, of| {
        manifest(world, of, |body| match body {
            Body::Hsm(spec, _) => spec.retention_days = 30,
            Body::Key(spec, _) => spec.retention_days = Some(30),
        });
    }),
    Changed(|world, of| {
        manifest(world, of, |body| match body {
            Body::Hsm(spec, _) => spec.soft_delete = false,
            Body::Key(spec, _) => spec.purge_protection = true,
        });
    }),
    Changed(|world, of| {
        for (_, record) in world.ledger.values_mut() {
            record.purge_protection = true;
        }
        manifest(world, of, |_| ());
    }),
    Changed(|world, of| {
        // Only where there is no HSM yet.
        _ = sequences::create(world, &sequences::hsm(), "prod-1", |body| {
            if let Body::Hsm(spec, _) = body {
                spec.retention_days = 7;
            }
        });
        manifest(world, of, |body| {
            if let Body::Key(spec, _) = body {
                spec.retention_days = Some(30);
            }
        });
    }),
    Changed(|world, of| {
        world.settings.undeletable = true;
        manifest(world, of, |body| {
            if let Body::Hsm(spec, _) = body {
                spec.soft_delete = false;
            }
        });
    }),
    Changed(|world, of| {
        for (_, record) in world.ledger.values_mut() {
            record.soft_delete = false;
        }
        manifest(world, of, |body| {
            if let Body::Key(spec, _) = body {
                spec.purge_protection = true;
            }
        });
    }),
    // The HSM around a key, and what disasters leave.
    Changed(|world, _| _ = sequences::delete(world, &sequences::hsm())),
    Changed(|world, _| {
        world.objects.remove(&sequences::hsm());
        world.ledger.remove(&hsm_record());
    }),
    Changed(|world, _| {
        if let Some((_, record)) = world.ledger.get_mut(&hsm_record()) {
            record.state = RecordState::Tombstone;
        }
    }),
    Changed(|world, _| world.ledger.clear()),
    Changed(|world, of| {
        if let Some(object) = world.objects.get_mut(of) {
            object.meta.uid = "another-one".into();
        }
    }),
    // The operator and what it finds.
    Sight(|seen| seen.clock_trusted = false),
    Sight(|seen| seen.purging.purged_at = Some(vec![seen.now; 10])),
    Sight(|seen| seen.policies = Policies::Missing("a policy".into())),
    Sight(|seen| seen.purging.definitions = Some(missing())),
    Sight(|seen| seen.purging.put_back = Some(seen.now)),
    Sight(|seen| seen.terms.allowed = false),
    Sight(|seen| seen.terms.most = Some(0)),
    Sight(|seen| seen.material = Material::Unavailable("it hangs".into())),
    Sight(|seen| seen.material = Material::NoLedger("it hangs".into())),
    Sight(|seen| seen.material = Material::UnknownBackend),
    Sight(|seen| seen.material = Material::NoToken),
    Sight(|seen| read_as(seen, &Reading::Disagree)),
    Sight(|seen| read_as(seen, &Reading::Unknown(9))),
    Sight(|seen| {
        for held in &mut seen.records {
            if let Reading::One(record) = &mut held.reading {
                record.cluster = "another".into();
            }
        }
    }),
    Sight(|seen| seen.refused = refused(Tried::CreateProxy, No::Answer)),
    Sight(|seen| seen.refused = refused(Tried::CreateObject, No::Answer)),
    Sight(|seen| seen.refused = refused(Tried::Backend, No::Full)),
    Sight(|seen| seen.refused = refused(Tried::Backend, No::Unsupported)),
    Sight(|seen| seen.refused = refused(Tried::Backend, No::Pin)),
];

fn hsm_record() -> RecordId {
    ids::record_id(&"prod-1".into())
}

fn missing() -> Missing {
    Missing {
        what: "definition".into(),
        lack: Lack::Absent,
    }
}

fn refused(what: Tried, how: No) -> Option<Refused> {
    let why = "no".into();
    Some(Refused { what, why, how })
}

fn read_as(seen: &mut Observed, reading: &Reading) {
    for held in &mut seen.records {
        held.reading = reading.clone();
    }
}

fn change_fixed(body: &mut Body) {
    match body {
        Body::Hsm(spec, _) => spec.backend = "other".into(),
        Body::Key(spec, _) => spec.curve = Some(api::Curve::P384),
    }
}

fn manifest(world: &mut World, of: &Lineage, change: fn(&mut Body)) {
    let version = world.next().to_string();
    if let Some(Object { meta, body, .. }) = world.objects.get_mut(of) {
        change(body);
        meta.generation += 1;
        meta.resource_version = version;
    }
}

/// What no scene leads to: only a small observation shows it (`documents` compares).
pub const BEYOND: &[(Reason, Place)] = &[
    (Reason::NameTaken, Place::Hsm),
    (Reason::HsmNotFound, Place::Proxy),
    (Reason::HsmDeleted, Place::Held),
    (Reason::MaterialDestroyed, Place::Proxy),
];

static SHOWN: LazyLock<Shown> = LazyLock::new(play_all);

/// What is shown on the way through all of it.
pub fn shown() -> &'static Shown {
    &SHOWN
}

fn play_all() -> Shown {
    let beyond = BEYOND.iter().map(|at| (*at, Default::default()));
    let mut all: Shown = beyond.collect();
    for kind in [Kind::Hsm, Kind::Key] {
        for (state, act) in rows::rows(kind) {
            let mut world = sequences::begin(kind, state).expect("a state that can be reached");
            _ = sequences::act(&mut world, kind, act);
            all.extend(world.shown);
        }
        let mut states: Vec<State> = rows::rows(kind).map(|(state, _)| state).collect();
        states.dedup();
        for state in states {
            let begun = sequences::begin(kind, state).expect("a state that can be reached");
            for ask in ASKS {
                for hindrance in HINDRANCES {
                    all.extend(play(begun.clone(), kind, ask, hindrance).shown);
                }
            }
        }
    }
    all
}

fn play(mut world: World, kind: Kind, ask: Ask, hindrance: &Hindrance) -> World {
    let of = sequences::lineage(kind);
    let uid = sequences::uid_now(&world, &of);
    done(&mut world, &of, &uid, ask);
    if let Changed(change) = hindrance {
        change(&mut world, &of);
    }
    // After a week a request is too old; then the retention ends; then a day after the announcement has passed.
    for days in [8, 91, 2] {
        go_on(&mut world, &of, hindrance);
        world.now += Duration::days(days);
    }
    go_on(&mut world, &of, hindrance);
    world
}

/// Whether the API server takes it is nothing to this.
fn done(world: &mut World, of: &Lineage, uid: &str, ask: Ask) {
    let again = format!("{}-3", of.name);
    match ask {
        Ask::Nothing => {}
        Ask::Recover => sequences::recover(world, of, uid, IncludeKeys::None),
        Ask::Purge => sequences::purge(world, of, uid),
        Ask::PurgeOther => sequences::purge(world, of, ANOTHER_UID),
        Ask::Both => {
            sequences::recover(world, of, uid, IncludeKeys::None);
            sequences::purge(world, of, uid);
        }
        Ask::Delete => _ = sequences::delete(world, of),
        Ask::Create => _ = sequences::create(world, of, &again, |_| ()),
        Ask::CreateOrRecover => {
            _ = sequences::create(world, of, &again, |body| match body {
                Body::Hsm(spec, _) => spec.create_mode = api::CreateMode::CreateOrRecover,
                Body::Key(spec, _) => spec.create_mode = api::CreateMode::CreateOrRecover,
            });
        }
    }
}

fn go_on(world: &mut World, of: &Lineage, hindrance: &Hindrance) {
    for _ in 0..STEPS {
        let mut seen = world.look(of);
        if let Sight(change) = hindrance {
            change(&mut seen);
        }
        match plan(&seen).step {
            Some(step) => world.apply(of, &step.effect),
            None if world.step(&sequences::hsm()) => {}
            None => return,
        }
    }
}
