//! The record: the backend's own note beside the material, the arbiter of all four protocols
//! (`design: the record decides`). Its encoding is `plan`'s, its storage the backend's.

use chrono::{DateTime, Utc};

use super::{Fingerprint, Kind, MaterialId, RecordId, Uid};

/// What a record says of its material. *sealing* reads as *deleted*, *opening* as *live*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordState {
    Creating,
    Live,
    Sealing,
    Deleted,
    Opening,
    Destroying,
    Tombstone,
    Abandoned,
}

impl RecordState {
    pub const ALL: [Self; 8] = [
        Self::Creating,
        Self::Live,
        Self::Sealing,
        Self::Deleted,
        Self::Opening,
        Self::Destroying,
        Self::Tombstone,
        Self::Abandoned,
    ];
}

/// Where an object stood, and which one it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    pub namespace: String,
    pub namespace_uid: Uid,
    pub name: String,
    pub uid: Uid,
}

/// When an object was deleted and when it is due. Without `scheduled_purge_time` the purge is direct
/// (SD-02), and only where the record's `soft_delete` is off; absent otherwise it counts as protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dates {
    pub deletion_time: DateTime<Utc>,
    pub scheduled_purge_time: Option<DateTime<Utc>>,
    pub retention_days: Option<i32>,
}

/// The token that holds an HSM's keys: both must agree with what the module shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    pub label: String,
    pub serial: String,
}

/// One version of a key, with the fingerprint that its material must show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub number: i32,
    pub material: MaterialId,
    pub fingerprint: Fingerprint,
    pub created: DateTime<Utc>,
}

/// A version that is being made: it exists only once it is among the versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    pub number: i32,
    pub material: MaterialId,
}

/// What kind of material a key is: RSA with bits, EC with a curve's JWK name, oct with bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Rsa(i32),
    Ec(String),
    Oct(i32),
}

/// As a person would say it: "RSA 2048", "EC P-256", "oct 256".
impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ec(curve) => write!(f, "EC {curve}"),
            Self::Oct(bits) => write!(f, "oct {bits}"),
        }
    }
}

/// What the record is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Hsm {
        /// Absent while *creating*.
        token: Option<Token>,
    },
    Key {
        /// The record of the HSM that holds it.
        hsm: RecordId,
        hsm_name: String,
        /// As declared; compared without case.
        key_name: String,
        algorithm: Algorithm,
        versions: Vec<Version>,
        pending: Option<Pending>,
    },
}

/// What was destroyed, for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destroyed {
    pub at: DateTime<Utc>,
    /// How many keys (an HSM's), or versions (a key's).
    pub count: i32,
    /// SHA-256 over the sorted ids and fingerprints, hex.
    pub digest: String,
}

/// One record. Its generation is beside it in the ledger, not in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub id: RecordId,
    /// The uid of the namespace kube-system: whose material this is.
    pub cluster: Uid,
    pub state: RecordState,
    pub origin: Origin,
    /// The uid that the last recovery brought back as `origin.uid`: what its Recover asks for.
    pub recovered_from: Option<Uid>,
    pub subject: Subject,
    /// Fixed at creation (SD-08).
    pub retention_days: i32,
    /// Soft-delete as it is in effect (SD-02).
    pub soft_delete: bool,
    pub purge_protection: bool,
    /// Of the last deletion; kept through a recovery, since no date may ever be earlier than it was.
    pub dates: Option<Dates>,
    /// Who asked for the purge, from *destroying* on.
    pub requesters: Vec<String>,
    pub destroyed: Option<Destroyed>,
}

impl Record {
    pub fn kind(&self) -> Kind {
        match self.subject {
            Subject::Hsm { .. } => Kind::Hsm,
            Subject::Key { .. } => Kind::Key,
        }
    }
}
