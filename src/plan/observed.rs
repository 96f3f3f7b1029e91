//! What one look saw of a *lineage*: the live object of one name, its proxy, its Recovers and
//! Purges, its records, its material, and of a key also its HSM. Plain values: the same in the
//! operator, in tests and under a model checker.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};

use super::hold;
use crate::api;
use crate::backend::{Assurance, ObjectFacts, TokenFacts};
use crate::softdelete::permission::{Missing, Policies};
use crate::softdelete::{Kind, Origin, Record, RecordId, RecordState, Uid};

/// One name of one kind in one namespace: all that ever stood under it, live or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lineage {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// The operator's settings, as far as they take part in judgement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The uid of the namespace kube-system.
    pub cluster: Uid,
    /// `softdelete`: SD-15.
    pub undeletable: bool,
    /// `softdelete`: SD-24.
    pub quorum: usize,
    /// Purges on request an hour.
    pub purge_rate: u32,
    /// How long a day of retention and announcement lasts.
    pub day: Duration,
    /// The cluster whose material this one takes over.
    pub adopts: Option<Uid>,
    /// How long what ended is remembered.
    pub history: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// The earlier of the local clock and the API server's, where they agree.
    pub now: DateTime<Utc>,
    /// They do.
    pub clock_trusted: bool,
    pub settings: Settings,
    pub lineage: Lineage,
    /// The backend that holds it, or is to hold it.
    pub backend: String,
    pub namespace: Option<Namespace>,
    pub object: Option<Object>,
    pub proxy: Option<Proxy>,
    pub recovers: Vec<Recover>,
    pub purges: Vec<Purge>,
    /// All records of this lineage, each read anew; at most one of them is not final.
    pub records: Vec<Held>,
    pub material: Material,
    /// Of a key.
    pub hsm: Option<Hsm>,
    /// Of a key: the records of other lineages that have its key name in its HSM.
    pub namesakes: Vec<Record>,
    /// Of an HSM: its keys.
    pub keys: Vec<KeyOfHsm>,
    /// When the records that may be forgotten one day ended: their own end, or their HSM's; an HSM's once no record of a key in it is left.
    pub ended: BTreeMap<RecordId, DateTime<Utc>>,
    /// The backend as whoever wants to be in it finds it.
    pub terms: Terms,
    /// The policies that make `requestedBy` and `acceptNamespaceUid` true.
    pub policies: Policies,
    /// What only a purge asks for.
    pub purging: PurgeLook,
    /// What the cluster or the backend answered to this pass's last step, if it refused it.
    pub refused: Option<Refused>,
}

/// A backend's terms: what it promises, and whom it takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// What its seals rest on; None: it is not open.
    pub assurance: Option<Assurance>,
    /// The namespace may use it.
    pub allowed: bool,
    /// Live and deleted: the HSMs of its namespace in this backend, or the keys of its HSM; without itself. Counted only where there is a limit.
    pub taken: usize,
    /// So many of them there may be.
    pub most: Option<usize>,
}

impl Terms {
    /// For everybody, without a limit, sealed by the module itself.
    pub const FREE: Terms = Terms {
        assurance: Some(Assurance::FULL),
        allowed: true,
        taken: 0,
        most: None,
    };

    /// A deleted key of it is only labelled so.
    pub fn seals_by_label(&self) -> bool {
        self.assurance.is_some_and(|it| !it.seals_keys)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    pub uid: Uid,
    pub terminating: bool,
}

/// What every Kubernetes object carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    pub name: String,
    pub uid: Uid,
    pub resource_version: String,
    pub generation: i64,
    pub created: DateTime<Utc>,
    /// `metadata.deletionTimestamp`.
    pub deleted: Option<DateTime<Utc>>,
    pub finalizers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    Hsm(api::ManagedHsmSpec, api::ManagedHsmStatus),
    Key(api::HsmKeySpec, api::HsmKeyStatus),
}

/// A ManagedHsm or HsmKey.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    pub meta: Meta,
    pub body: Body,
    /// Labels, annotations, spec and field ownership as they are, for the proxy.
    pub snapshot: api::Snapshot,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProxySpec {
    Hsm(api::DeletedManagedHsmSpec),
    Key(api::DeletedHsmKeySpec),
}

/// A DeletedManagedHsm or DeletedHsmKey.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub meta: Meta,
    pub spec: ProxySpec,
    pub status: api::ProxyStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recover {
    pub meta: Meta,
    pub spec: api::RecoverSpec,
    pub status: api::RecoverStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Purge {
    pub meta: Meta,
    pub spec: api::PurgeSpec,
    pub status: api::PurgeStatus,
}

/// A record as it was read: the single highest one, or why it says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    pub id: RecordId,
    pub generation: u64,
    pub reading: Reading,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    One(Box<Record>),
    /// Different records of one generation: a person says which holds.
    Disagree,
    /// Of an encoding version that this operator does not know.
    Unknown(u32),
}

/// What the backend showed of the lineage's material.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Material {
    /// There is no record that names any, so nothing was looked at.
    NotLooked,
    Token(Option<TokenFacts>),
    Objects(Vec<ObjectFacts>),
    /// The token around the key is sealed.
    Sealed,
    /// The token around the key is not there.
    NoToken,
    Unavailable(String),
    /// Not even the records could be read: nothing is known of them.
    NoLedger(String),
    /// The object's backend is not configured.
    UnknownBackend,
}

/// A key's HSM, as far as the key needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hsm {
    pub name: String,
    /// The ManagedHsm of that name.
    pub object: Option<NearObject>,
    /// The record that the key's record names, else that of the object's uid, with its generation.
    pub record: Option<(u64, Record)>,
    /// The proxy of that name.
    pub proxy: Option<NearProxy>,
    /// The Purges that name it.
    pub purges: Vec<Purge>,
}

/// The object of a lineage beside this one: a key's HSM, or an HSM's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NearObject {
    pub uid: Uid,
    pub terminating: bool,
    /// The generation of its record that its status shows.
    pub record_generation: Option<u64>,
}

/// The proxy of a lineage beside this one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NearProxy {
    pub origin: Origin,
    pub status: api::ProxyStatus,
}

/// What only a purge asks for; without `looked` nothing is purged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PurgeLook {
    /// This look asked for all of it, live.
    pub looked: bool,
    /// One of our six definitions that is not there, or not to stay.
    pub definitions: Option<Missing>,
    /// When etcd was last found to have been put back: what was asked before it must be asked again.
    pub put_back: Option<DateTime<Utc>>,
    /// When the last purges on request were done; those that are under way count too. None: a ledger could not be read since the start, so nobody knows.
    pub purged_at: Option<Vec<DateTime<Utc>>>,
    /// An unfinished Recover of the key's HSM with All.
    pub hsm_recovery: Option<String>,
    /// Of an HSM: a record of a key in it that nobody can read.
    pub unreadable_key: Option<RecordId>,
    /// What is in an HSM's token that is being destroyed; absent while it cannot be opened.
    pub contents: Option<Vec<ObjectFacts>>,
}

/// A key as its HSM needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyOfHsm {
    pub generation: u64,
    pub record: Record,
    pub proxy: Option<NearProxy>,
    pub object: Option<NearObject>,
    /// Where the HSM's protocol depends on it and its token is open; absent: not looked at.
    pub material: Option<KeyMaterial>,
}

/// What an HSM's open token holds of a key, by its private or secret objects: nobody can do harm with a public half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyMaterial {
    /// Of one of its versions there is nothing.
    pub missing: bool,
    /// Something of it can be used.
    pub unsealed: bool,
}

/// A step that was refused for good, for this pass: what was tried, and the server's or the module's own words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    pub what: Tried,
    pub why: String,
    pub how: No,
}

/// In which way a step was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum No {
    /// The API server, for reasons of its own.
    Answer,
    /// The backend has no room.
    Full,
    /// The backend has no such mechanism.
    Unsupported,
    /// The backend refuses a PIN of ours: final until somebody puts the right one in its file.
    Pin,
    /// The backend failed: it may have worked.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tried {
    CreateProxy,
    CreateObject,
    Backend,
    Other,
}

impl Meta {
    /// Ours is on it.
    pub fn finalizer(&self) -> bool {
        self.finalizers
            .iter()
            .any(|finalizer| finalizer == api::FINALIZER)
    }

    pub fn with_ours(&self) -> Vec<String> {
        let mut all = self.without_ours();
        all.push(api::FINALIZER.to_owned());
        all
    }

    pub fn without_ours(&self) -> Vec<String> {
        self.finalizers
            .iter()
            .filter(|finalizer| *finalizer != api::FINALIZER)
            .cloned()
            .collect()
    }
}

impl Held {
    /// The record, if there is exactly one that can be read.
    pub fn record(&self) -> Option<&Record> {
        match &self.reading {
            Reading::One(record) => Some(record),
            Reading::Disagree | Reading::Unknown(_) => None,
        }
    }

    pub fn is_final(&self) -> bool {
        self.record().is_some_and(|record| {
            matches!(
                record.state,
                RecordState::Tombstone | RecordState::Abandoned
            )
        })
    }
}

impl Lineage {
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind.object(), self.namespace, self.name)
    }
}

impl Observed {
    /// The record that names this uid as the holder of its material.
    pub fn record_of(&self, uid: &Uid) -> Option<(&Held, &Record)> {
        self.records.iter().find_map(|held| {
            held.record()
                .filter(|record| record.origin.uid == *uid)
                .map(|record| (held, record))
        })
    }

    /// The lineage's record that is neither a tombstone nor given up: it holds the name.
    pub fn standing(&self) -> Option<(&Held, &Record)> {
        self.records.iter().find_map(|held| {
            held.record()
                .filter(|_| !held.is_final())
                .map(|record| (held, record))
        })
    }

    /// The live object, if it is not on its way out.
    pub fn alive(&self) -> Option<&Object> {
        self.object
            .as_ref()
            .filter(|object| object.meta.deleted.is_none())
    }

    /// A status has seen a higher generation than a record has.
    pub fn store_seems_old(&self) -> bool {
        self.records
            .iter()
            .any(|held| hold::store_is_old(self, held).is_err())
    }

    /// The key's HSM can be used: its record is *live* and its object does not terminate (G6).
    pub fn hsm_is_live(&self) -> bool {
        self.hsm.as_ref().is_some_and(Hsm::is_live)
    }
}

impl Hsm {
    pub fn is_live(&self) -> bool {
        let holder = self
            .record
            .as_ref()
            .filter(|(_, record)| record.state == RecordState::Live)
            .map(|(_, record)| &record.origin.uid);
        let object = self
            .object
            .as_ref()
            .filter(|object| !object.terminating)
            .map(|object| &object.uid);
        holder.is_some() && holder == object
    }
}

impl NearProxy {
    pub fn recovering(&self) -> bool {
        self.status.phase == Some(api::Phase::Recovering)
    }

    /// Its recovery brings what was deleted in it too (SD-21).
    pub fn includes_keys(&self) -> bool {
        let by = self.status.recovering.as_ref();
        self.recovering() && by.is_some_and(|by| by.include_keys == api::IncludeKeys::All)
    }

    pub fn purge_time(&self) -> Option<DateTime<Utc>> {
        self.status.purge_time.map(api::Time::utc)
    }
}

impl Proxy {
    pub fn origin(&self) -> &api::Origin {
        match &self.spec {
            ProxySpec::Hsm(spec) => &spec.origin,
            ProxySpec::Key(spec) => &spec.origin,
        }
    }

    pub fn is_of(&self, uid: &Uid) -> bool {
        self.origin().uid == uid.0
    }
}
