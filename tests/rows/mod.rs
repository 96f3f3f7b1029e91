//! The rows of the table of sequences: which states and acts there are, and how the cells of a row are written. The pure world makes
//! the table of them (`laws`), the real control plane plays some of them again (`sequences_on_the_plane`).

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use managed_hsm_operator::softdelete::Kind;

pub const NAMESPACE: &str = "payments";
pub const HSM: &str = "prod";
pub const KEY: &str = "signing";
/// Another resource that asks for the key's name, in capitals.
pub const TWIN: &str = "signing-twin";
/// Somebody else's finalizer.
pub const THEIRS: &str = "example.com/theirs";
/// A uid that nothing ever had.
pub const ANOTHER_UID: &str = "uid-of-another";
/// What is asked for where there is nothing that has a uid.
pub const NOBODYS_UID: &str = "uid-nobody";

pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Hsm => HSM,
        Kind::Key => KEY,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    WaitingForHsm,
    WaitingForDeletedHsm,
    WaitingForName,
    Active,
    Terminating,
    Retained,
    Recovering,
    Destroying,
    MaterialMissing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Create,
    CreateTwin,
    Delete,
    Recover,
    RecoverOther,
    CreateOrRecover,
    Purge,
    DeleteHsm,
    RecoverHsm,
    RecoverHsmWithKeys,
    PurgeHsm,
    HsmGone,
    HsmAnew,
    DeleteNamespace,
    RetentionOver,
}

const STATES: [State; 9] = [
    State::WaitingForHsm,
    State::WaitingForDeletedHsm,
    State::WaitingForName,
    State::Active,
    State::Terminating,
    State::Retained,
    State::Recovering,
    State::Destroying,
    State::MaterialMissing,
];

const ACTS: [Act; 16] = [
    Act::Nothing,
    Act::Create,
    Act::CreateTwin,
    Act::Delete,
    Act::Recover,
    Act::RecoverOther,
    Act::CreateOrRecover,
    Act::Purge,
    Act::DeleteHsm,
    Act::RecoverHsm,
    Act::RecoverHsmWithKeys,
    Act::PurgeHsm,
    Act::HsmGone,
    Act::HsmAnew,
    Act::DeleteNamespace,
    Act::RetentionOver,
];

impl State {
    pub fn said(self) -> &'static str {
        match self {
            Self::WaitingForHsm => "Waiting: its HSM is not there",
            Self::WaitingForDeletedHsm => "Waiting: its HSM is soft-deleted",
            Self::WaitingForName => "Waiting: its name is reserved by a deleted one",
            Self::Active => "Active",
            Self::Terminating => "deleted, and kept there by somebody else's finalizer",
            Self::Retained => "soft-deleted",
            Self::Recovering => "Recovering, the object is there, nothing is unsealed yet",
            Self::Destroying => "Destroying, past the point of no return",
            Self::MaterialMissing => "MaterialMissing",
        }
    }

    fn can_be(self, kind: Kind) -> bool {
        kind == Kind::Key || !matches!(self, Self::WaitingForHsm | Self::WaitingForDeletedHsm)
    }
}

impl Act {
    pub fn said(self) -> &'static str {
        match self {
            Self::Nothing => "nothing more",
            Self::Create => "create one of the same name",
            Self::CreateTwin => "create another resource for the same key",
            Self::Delete => "delete it",
            Self::Recover => "Recover of its uid",
            Self::RecoverOther => "Recover of another uid",
            Self::CreateOrRecover => "create one with CreateOrRecover",
            Self::Purge => "Purge of its uid",
            Self::DeleteHsm => "the HSM is deleted",
            Self::RecoverHsm => "the HSM is deleted and recovered without its deleted keys",
            Self::RecoverHsmWithKeys => "the HSM is deleted and recovered with all keys",
            Self::PurgeHsm => "the HSM is deleted, and a Purge asks for it",
            Self::HsmGone => "the HSM is purged",
            Self::HsmAnew => "the HSM is purged, then both are created anew",
            Self::DeleteNamespace => "the namespace is deleted",
            Self::RetentionOver => "91 days pass",
        }
    }

    fn of(self, kind: Kind) -> bool {
        use Act::{
            CreateTwin, DeleteHsm, HsmAnew, HsmGone, PurgeHsm, RecoverHsm, RecoverHsmWithKeys,
        };
        let around = matches!(
            self,
            CreateTwin | HsmAnew | DeleteHsm | RecoverHsm | RecoverHsmWithKeys | PurgeHsm | HsmGone
        );
        kind == Kind::Key || !around
    }

    /// Whose Recover or Purge tells what becomes of it.
    pub fn told_about(self, kind: Kind) -> Kind {
        match self {
            Self::RecoverHsm | Self::RecoverHsmWithKeys | Self::PurgeHsm => Kind::Hsm,
            _ => kind,
        }
    }
}

/// All rows of one kind, in the table's order.
pub fn rows(kind: Kind) -> impl Iterator<Item = (State, Act)> {
    let states = STATES.into_iter().filter(move |state| state.can_be(kind));
    states.flat_map(move |state| {
        let acts = ACTS.into_iter().filter(move |act| act.of(kind));
        acts.map(move |act| (state, act))
    })
}

/// What the API server says to an act that it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerSays {
    Taken,
    NotThere,
    NamespaceGoing,
}

impl ServerSays {
    pub fn said(self) -> &'static str {
        match self {
            Self::Taken => "the API server: there is one already",
            Self::NotThere => "the API server: there is none",
            Self::NamespaceGoing => "the API server: the namespace is not there, or going away",
        }
    }
}

/// What a row ends in: the cells beside its state and act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    pub object: String,
    pub proxy: String,
    pub record: String,
    pub told: String,
}

const NONE: &str = "–";

/// uid, the reason of Ready, whether it terminates.
pub fn object_cell(object: Option<(String, Option<String>, bool)>) -> String {
    object.map_or(NONE.into(), |(uid, reason, terminating)| {
        let going = if terminating { ", terminating" } else { "" };
        format!("{uid}: {}{going}", reason.as_deref().unwrap_or("not seen"))
    })
}

/// The origin's uid, and the phase.
pub fn proxy_cell(proxy: Option<(String, Option<String>)>) -> String {
    proxy.map_or(NONE.into(), |(uid, phase)| {
        format!("{uid}: {}", phase.as_deref().unwrap_or("retained"))
    })
}

/// Each record's uid and state; the oldest uid first.
pub fn record_cell(records: impl Iterator<Item = (String, String)>) -> String {
    let mut all: Vec<_> = records
        .map(|(uid, state)| format!("{uid}: {}", state.to_lowercase()))
        .collect();
    all.sort();
    if all.is_empty() {
        NONE.into()
    } else {
        all.join(", ")
    }
}

/// Of the places where somebody may be told something, in this order, the first that is there: its Ready's reason and message.
pub fn told_cell(places: [Option<Option<(String, String)>>; 5]) -> String {
    const NAMES: [&str; 5] = ["Purge", "Recover", "the other resource", "object", "proxy"];
    let first = NAMES
        .into_iter()
        .zip(places)
        .find_map(|(name, place)| place.map(|ready| (name, ready)));
    match first {
        None => "nothing is left to tell it on".into(),
        Some((place, None)) => format!("{place}: nothing yet"),
        Some((place, Some((reason, message)))) => format!("{place}: `{reason}` {message}"),
    }
}
