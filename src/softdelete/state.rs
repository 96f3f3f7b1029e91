//! The four states of an object, the edges between them, what each still allows, and what an object once had.

use super::arbiter::{ReadsAs, reads_as};
use super::{Reason, RecordState};

/// What an object is to the one who declared it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectState {
    Waiting,
    Active,
    SoftDeleted,
    Purged,
}

impl ObjectState {
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Active, Self::SoftDeleted, Self::Purged];
}

/// What moves an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    Make,
    Delete,
    Recover,
    /// On request, or at the end of retention.
    Purge,
}

/// SD-01 The state of an object, by its record, or else by whether its status says that it had material. From *destroying* on there is no way back.
pub fn object_state(record: Option<RecordState>, status_names_material: bool) -> ObjectState {
    match record.map(reads_as) {
        None | Some(ReadsAs::Creating) if !status_names_material => ObjectState::Waiting,
        None | Some(ReadsAs::Creating | ReadsAs::Live) => ObjectState::Active,
        Some(ReadsAs::Deleted) => ObjectState::SoftDeleted,
        Some(ReadsAs::Destroying | ReadsAs::Gone) => ObjectState::Purged,
    }
}

/// Where an edge leads, if it leaves that state (SD-01).
pub const fn after(state: ObjectState, edge: Edge) -> Option<ObjectState> {
    match (state, edge) {
        (ObjectState::Waiting, Edge::Make) => Some(ObjectState::Active),
        (ObjectState::Active, Edge::Delete) => Some(ObjectState::SoftDeleted),
        (ObjectState::SoftDeleted, Edge::Recover) => Some(ObjectState::Active),
        (ObjectState::SoftDeleted, Edge::Purge) => Some(ObjectState::Purged),
        _ => None,
    }
}

/// Whether a delete makes a proxy: only of what has material. A waiting object touches none and is let go at once (SD-01).
pub const fn delete_makes_proxy(state: ObjectState) -> bool {
    after(state, Edge::Delete).is_some()
}

/// What stands when the finalizer is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LettingGo {
    /// By record and status of this uid.
    pub state: ObjectState,
    /// A proxy of this uid is there.
    pub proxy: bool,
    /// Absent: the record is lost.
    pub record: Option<RecordState>,
    /// The material is not there (SD-28).
    pub missing: bool,
    /// The HSM of a key is sealed, and its recovery finishes the key's own seal (SD-27).
    pub hsm_sealed: bool,
}

/// SD-03 Whether the finalizer may go: nothing was made, or nothing is left, or the proxy is there and the material refuses every use.
pub fn may_let_go(facts: &LettingGo) -> bool {
    match facts.state {
        ObjectState::Waiting => facts
            .record
            .is_none_or(|state| reads_as(state) != ReadsAs::Creating),
        ObjectState::Purged => facts.record != Some(RecordState::Destroying),
        ObjectState::Active | ObjectState::SoftDeleted => facts.proxy && refuses_use(facts),
    }
}

fn refuses_use(facts: &LettingGo) -> bool {
    facts.missing || facts.hsm_sealed || facts.record == Some(RecordState::Deleted)
}

/// What somebody may want to do with an object or its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Use,
    Edit,
    Delete,
    List,
    Read,
    Recover,
    Purge,
    /// Move the purge date, either way.
    Reschedule,
}

/// SD-04 What a state allows: a soft-deleted object can only be listed, read, recovered or purged, and its date is moved by nobody.
pub const fn allows(state: ObjectState, act: Act) -> bool {
    match state {
        ObjectState::SoftDeleted => {
            matches!(act, Act::List | Act::Read | Act::Recover | Act::Purge)
        }
        ObjectState::Active => matches!(
            act,
            Act::Use | Act::Edit | Act::Delete | Act::List | Act::Read
        ),
        ObjectState::Waiting => matches!(act, Act::Edit | Act::Delete | Act::List | Act::Read),
        ObjectState::Purged => false,
    }
}

/// SD-27 Whether a key may be used: its own record and its HSM's are *live*, not merely on the way there.
pub const fn may_use(key: RecordState, hsm: RecordState) -> bool {
    matches!((key, hsm), (RecordState::Live, RecordState::Live))
}

/// What the backend says about an object's material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// It is there, whole and the same.
    There,
    /// The backend answers, and it is not.
    Not,
    /// No such backend is configured.
    BackendUnknown,
    /// It does not answer.
    BackendUnavailable,
}

/// What is known of an object's material. Status or record is enough for knowing that there was some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaterialFacts {
    pub status_names_material: bool,
    /// The record by its uid, as it reads beside its HSM's (SD-26).
    pub record: Option<RecordState>,
    pub found: Found,
}

/// What follows for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Material {
    /// It never had any: some may be made.
    Never,
    /// It has its own.
    Its,
}

/// SD-28 What an object may count on: its own material or, if it never had any, new one; else why it stands. It never gets other material.
pub fn material(facts: &MaterialFacts) -> Result<Material, Reason> {
    let state = facts.record.map(reads_as);
    match (state, facts.found) {
        (Some(ReadsAs::Destroying), _) => Err(Reason::MaterialDestroyed),
        (Some(ReadsAs::Gone), _) => Err(gone(facts.record)),
        (_, Found::BackendUnknown) => Err(Reason::BackendUnknown),
        (_, Found::BackendUnavailable) => Err(Reason::BackendUnavailable),
        (None | Some(ReadsAs::Creating), _) if !facts.status_names_material => Ok(Material::Never),
        (_, Found::There) => Ok(Material::Its),
        (_, Found::Not) => Err(Reason::MaterialMissing),
    }
}

/// An abandoned one was never proved destroyed.
fn gone(record: Option<RecordState>) -> Reason {
    if record == Some(RecordState::Abandoned) {
        Reason::MaterialMissing
    } else {
        Reason::MaterialDestroyed
    }
}

/// Where an event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventPlace {
    Object,
    /// The cluster-scoped proxy, which stays.
    Proxy,
}

/// SD-35 Where a step is told: on the object it happened to, but on its proxy when the namespace is going away or the object is gone.
pub const fn event_place(namespace_going: bool, object_there: bool) -> EventPlace {
    if object_there && !namespace_going {
        EventPlace::Object
    } else {
        EventPlace::Proxy
    }
}

#[cfg(test)]
mod tests;
