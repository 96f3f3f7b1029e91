//! What a plan says: the protocol's next step, and when to look again.

use std::time::Duration;

use serde_json::Value;

use super::hold;
use super::observed::{Meta, Observed, ProxySpec};
use crate::api;
use crate::backend::{Algorithm, Handle, Mark, MaterialId, TokenLabel, TokenRef};
use crate::softdelete::state::{EventPlace, event_place};
use crate::softdelete::{Record, RecordId, Refusal, arbiter};

/// One step at most: after it the world is looked at again. Without a step everything is as it should be, or waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    pub step: Option<Step>,
    /// When to look again if nothing wakes us earlier; never longer than a day.
    pub wake: Option<Duration>,
}

/// An effect, and what people are told once it has happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    pub effect: Effect,
    pub tells: Vec<Tell>,
}

/// Which state of which object a write was decided on: its precondition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct At {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
}

/// Everything the operator ever does to the cluster or the backend, one arm each in the executor. Cluster effects concern the
/// object, the proxy, the Recovers and Purges of the observed lineage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The finalizers that are to stand, ours among them.
    AddFinalizer(At, Vec<String>),
    /// The finalizers that are to stand, without ours.
    RemoveFinalizer(At, Vec<String>),
    CreateProxy(Box<ProxySpec>),
    ShowProxy(At, Box<api::ProxyStatus>),
    DeleteProxy(At),
    /// The object again, as the snapshot has it, with our finalizer on.
    CreateObject(Box<api::Snapshot>),
    /// The snapshot's managedFields instead of ours alone.
    RestoreOwners(At, Value),
    ShowHsm(At, Box<api::ManagedHsmStatus>),
    ShowKey(At, Box<api::HsmKeyStatus>),
    ShowRecover(At, Box<api::RecoverStatus>),
    ShowPurge(At, Box<api::PurgeStatus>),
    /// The receipt of a scheduled or direct purge: a Purge that the operator writes.
    CreateReceipt(Box<api::PurgeSpec>),
    WriteRecord {
        generation: u64,
        record: Box<Record>,
    },
    /// A lost record again, where the id has none.
    RestoreRecord {
        generation: u64,
        record: Box<Record>,
    },
    /// A tombstone whose history is over.
    ForgetRecord {
        generation: u64,
        id: RecordId,
    },
    /// A finished Purge whose history is over.
    DeletePurge(At),
    CreateToken(TokenLabel),
    SealToken(TokenRef),
    UnsealToken(TokenRef),
    /// Only under a *destroying* record, or over a tombstone.
    OpenForDestruction(TokenRef),
    /// The slot or file of an empty token, over its tombstone.
    ReleaseToken(TokenRef),
    Generate {
        token: TokenRef,
        id: MaterialId,
        algorithm: Algorithm,
    },
    Publish {
        token: TokenRef,
        handle: Handle,
    },
    Copy {
        token: TokenRef,
        original: Handle,
        mark: Mark,
    },
    Destroy {
        token: TokenRef,
        handle: Handle,
    },
}

/// On whom an Event is told (SD-35).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    Object,
    Proxy,
    Recover(String),
    Purge(String),
}

/// One Event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tell {
    pub whom: Whom,
    pub warning: bool,
    /// UpperCamelCase, of a closed list.
    pub reason: &'static str,
    pub note: String,
}

/// Why something goes no further for now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// In SD-34's words.
    Refused(Refusal),
    /// Something else is under way and ends by itself.
    Progress(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    pub why: Why,
    /// Look again by itself after this time; what somebody else's act ends wakes us anyway.
    pub again: Option<Duration>,
}

/// What a protocol says: its next step, nothing to do, or what it waits for.
pub type Move = Result<Option<Step>, Hold>;

impl Effect {
    /// On a ledger or a token, not on the cluster.
    pub fn is_on_backend(&self) -> bool {
        match self {
            Self::WriteRecord { .. }
            | Self::RestoreRecord { .. }
            | Self::ForgetRecord { .. }
            | Self::CreateToken(_)
            | Self::SealToken(_)
            | Self::UnsealToken(_)
            | Self::OpenForDestruction(_)
            | Self::ReleaseToken(_)
            | Self::Generate { .. }
            | Self::Publish { .. }
            | Self::Copy { .. }
            | Self::Destroy { .. } => true,
            Self::AddFinalizer(..)
            | Self::RemoveFinalizer(..)
            | Self::CreateProxy(_)
            | Self::ShowProxy(..)
            | Self::DeleteProxy(_)
            | Self::CreateObject(_)
            | Self::RestoreOwners(..)
            | Self::ShowHsm(..)
            | Self::ShowKey(..)
            | Self::ShowRecover(..)
            | Self::ShowPurge(..)
            | Self::CreateReceipt(_)
            | Self::DeletePurge(_) => false,
        }
    }
}

impl Step {
    pub fn quiet(effect: Effect) -> Self {
        Self {
            effect,
            tells: Vec::new(),
        }
    }

    pub fn told(effect: Effect, whom: Whom, reason: &'static str, note: String) -> Self {
        Self {
            effect,
            tells: vec![Tell {
                whom,
                warning: false,
                reason,
                note,
            }],
        }
    }
}

impl At {
    pub fn of(meta: &Meta) -> Self {
        Self {
            name: meta.name.clone(),
            uid: meta.uid.0.clone(),
            resource_version: meta.resource_version.clone(),
        }
    }
}

/// Where a step of the lineage's life is told (`state::event_place`).
pub fn place(o: &Observed) -> Whom {
    let namespace_stays = o
        .namespace
        .as_ref()
        .is_some_and(|namespace| !namespace.terminating);
    match event_place(!namespace_stays, o.object.is_some()) {
        EventPlace::Object => Whom::Object,
        EventPlace::Proxy => Whom::Proxy,
    }
}

/// A protocol's step that is known to be due.
pub fn act(step: Step) -> Move {
    Ok(Some(step))
}

/// A record of the cluster that this one was told to take over becomes ours before anything is judged by it.
pub fn take_over(o: &Observed) -> Option<Effect> {
    let (from, ours) = (o.settings.adopts.as_ref(), &o.settings.cluster);
    o.records.iter().find_map(|held| {
        let record = arbiter::taken_over(held.record()?, from, ours)?;
        Some(Effect::WriteRecord {
            generation: held.generation + 1,
            record: Box::new(record),
        })
    })
}

/// A record's next generation, written against the one of this look; never one that loosens or forgets anything.
pub fn write_record(o: &Observed, record: Record) -> Result<Effect, Hold> {
    let before = o.records.iter().find(|held| held.id == record.id);
    let lawful = match before.and_then(|held| held.record()) {
        Some(old) => arbiter::may_follow(old, &record).is_ok(),
        None => before.is_none() && arbiter::may_be_first(record.state),
    };
    if !lawful {
        return Err(hold::record_disagrees(
            o,
            "what would be written next may not follow it",
        ));
    }
    Ok(Effect::WriteRecord {
        generation: before.map_or(0, |held| held.generation) + 1,
        record: Box::new(record),
    })
}
