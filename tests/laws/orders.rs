//! What comes before what: each order of a protocol, and each look that it waits for, over the one observation in which only that guard stands between
//! the plan and the wrong step (`safety`).

#[path = "orders/create.rs"]
mod create;
#[path = "orders/delete.rs"]
mod delete;
#[path = "orders/recover.rs"]
mod recover;

use managed_hsm_operator::api::conditions::{self, ACCEPTED};
use managed_hsm_operator::api::{self, Phase};
use managed_hsm_operator::backend::{Handle, Mark};
use managed_hsm_operator::plan::observed::{
    Body, Material, No, Observed, ProxySpec, Refused, Tried,
};
use managed_hsm_operator::plan::plan;
use managed_hsm_operator::plan::step::Effect;
use managed_hsm_operator::softdelete::{Kind, Record, RecordState};

use super::domain::{
    Asked, Begun, Case, Hindrance, HsmCase, MaterialCase, OWN, ObjectCase, Objects, PhaseCase,
    ProxyCase, PurgeCase, RecordCase, Request, Shown, Switches, USUAL, Whose,
};
use super::inside::{KeyCase, KeyObject, KeyProxy};

const LIVES: ObjectCase = ObjectCase {
    whose: Whose::Own,
    terminating: false,
    finalizer: true,
    shown: Shown::Equal,
};

const GOES: ObjectCase = ObjectCase {
    terminating: true,
    ..LIVES
};

const KEPT: ProxyCase = ProxyCase {
    whose: Whose::Own,
    phase: PhaseCase::Retained,
    shown: Shown::Equal,
};

/// In which a key of it can be looked at, though it is not live.
const NOT_LIVE: [HsmCase; 6] = [
    HsmCase::Creating,
    HsmCase::Terminating,
    HsmCase::Vanished,
    HsmCase::Sealing,
    HsmCase::Deleted,
    HsmCase::Recovering,
];

fn record(state: RecordState) -> RecordCase {
    RecordCase::One {
        state,
        switches: Switches::Plain,
        pending: state == RecordState::Creating,
    }
}

fn pending(state: RecordState) -> RecordCase {
    RecordCase::One {
        state,
        switches: Switches::Plain,
        pending: true,
    }
}

fn protected(state: RecordState) -> RecordCase {
    RecordCase::One {
        state,
        switches: Switches::Protected,
        pending: false,
    }
}

fn pair(mark: Mark) -> MaterialCase {
    MaterialCase::Objects(Objects::Pair(mark), Begun::None)
}

fn key(state: RecordState) -> Case {
    Case {
        record: record(state),
        ..USUAL
    }
}

fn hsm(state: RecordState) -> Case {
    Case {
        kind: Kind::Hsm,
        hsm: HsmCase::Absent,
        record: record(state),
        ..USUAL
    }
}

fn step(o: &Observed) -> Option<Effect> {
    plan(o).step.map(|step| step.effect)
}

fn name(o: &Observed) -> &'static str {
    step(o).map_or("nothing", |effect| effect.name())
}

fn written(o: &Observed) -> Option<Record> {
    match step(o) {
        Some(Effect::WriteRecord { record, .. }) => Some(*record),
        _ => None,
    }
}

/// Nothing is done, or only shown.
fn rests(o: &Observed) -> bool {
    matches!(
        name(o),
        "nothing" | "ShowHsm" | "ShowKey" | "ShowProxy" | "ShowRecover" | "ShowPurge"
    )
}

fn shows_phase(o: &Observed, phase: Option<Phase>) -> bool {
    matches!(step(o), Some(Effect::ShowProxy(_, shown)) if shown.phase == phase)
}

fn destroyed(o: &Observed) -> Option<Handle> {
    match step(o) {
        Some(Effect::Destroy { handle, .. }) => Some(handle),
        _ => None,
    }
}
