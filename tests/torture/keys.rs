//! What both sides know: the keys as they were acknowledged.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    Live,
    Deleted,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Act {
    Create,
    Seal,
    Unseal,
    Destroy,
    /// Of the record alone.
    Record,
    /// Its HSM's token is sealed and unsealed.
    SealHsm,
}

pub const ACTS: [(Act, &str); 6] = [
    (Act::Create, "create"),
    (Act::Seal, "seal"),
    (Act::Unseal, "unseal"),
    (Act::Destroy, "destroy"),
    (Act::Record, "record"),
    (Act::SealHsm, "seal and unseal an HSM"),
];

/// One key, as its child last told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub id: String,
    pub token: (String, String),
    pub ec: bool,
    /// None: not acknowledged yet.
    pub state: Option<State>,
    pub fingerprint: Option<String>,
    /// Of its record.
    pub generation: u64,
    /// What was begun and not told to be done.
    pub under_way: Option<Act>,
}

/// What the child tells: one JSON line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    Token(String, String),
    /// All that was acknowledged was found, what was under way was finished.
    Working,
    Key(Key),
    Forgotten(String),
    /// Something that was acknowledged is not as it was.
    Lost(String),
}

/// What the parent hands to the next child.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct World {
    pub tokens: Vec<(String, String)>,
    pub keys: Vec<Key>,
}
