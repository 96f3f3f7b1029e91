//! All small observations: what a look at one lineage can show, in a few values a field, and how they are combined.
//!
//! The record's uid is `OWN`; what else stands is of it or of `OTHER`. Four products are enumerated, each whole in its
//! own fields and with the others at their usual values: the whole product of all fields has more than 10¹¹ members.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, Duration, Utc};
use managed_hsm_operator::api::{self, Phase, RecoveringKind};
use managed_hsm_operator::backend::{
    self, Access, Class, Handle, Mark, ObjectFacts, TokenFacts, TokenLabel,
};
use managed_hsm_operator::plan::ids;
use managed_hsm_operator::plan::observed::{
    Body, Held, Hsm, Material, Meta, Namespace, NearObject, NearProxy, No, Object, Observed, Proxy,
    ProxySpec, Purge, PurgeLook, Reading, Recover, Refused, Terms, Tried,
};
use managed_hsm_operator::plan::{Lineage, Settings};
use managed_hsm_operator::softdelete::permission::{Lack, Missing, Policies};
use managed_hsm_operator::softdelete::record::{Algorithm, Destroyed, Pending, Version};
use managed_hsm_operator::softdelete::retention::{self, DAY};
use managed_hsm_operator::softdelete::{
    Dates, Kind, MaterialId, Origin, Record, RecordId, RecordState, Subject, Token, Uid,
};
use serde_json::json;

use super::inside::{self, KeyCase};

pub const OWN: &str = "uid-own";
pub const OTHER: &str = "uid-other";
pub const THIRD: &str = "uid-third";
pub const HSM: &str = "uid-hsm";
/// The generation of the record, where there is one.
pub const GENERATION: u64 = 5;
const SPACE: &str = "ns-then";

/// The moment of every look: 2027-04-25T08:00:00Z.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_808_640_000, 0).expect("a date")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Own,
    Other,
}

/// What a status or proxy shows beside the record's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Nothing,
    Lower,
    Equal,
    Higher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectCase {
    pub whose: Whose,
    pub terminating: bool,
    pub finalizer: bool,
    pub shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseCase {
    Retained,
    /// The uid that it says was made.
    Recovering(Option<&'static str>),
    Destroying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyCase {
    pub whose: Whose,
    pub phase: PhaseCase,
    pub shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switches {
    Plain,
    Protected,
    NoSoftDelete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordCase {
    None,
    One {
        state: RecordState,
        switches: Switches,
        pending: bool,
    },
    Disagree,
    Unknown,
    Foreign,
}

/// The objects of the recorded version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    None,
    Pair(Mark),
    Half(Mark),
    Both,
    /// A copy of the private half only, beside the pair.
    HalfCopied(Mark),
    /// The private half is only the copy, of the public one both are there.
    HalfDestroyed(Mark),
    /// The copies are there but prove nothing.
    UnprovedCopy(Mark),
    /// A pair that proves to be another key.
    Stranger(Mark),
    /// A stranger under that mark, the true pair under the other.
    StrangerBeside(Mark),
    /// The live pair and what a crash in *generate* left.
    StrayPending,
    /// The true pair is pending while a stranger is labelled live.
    StrangerLabelled,
}

/// The objects of the pending version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    None,
    Half,
    Pair,
    Unproved,
    Labelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaterialCase {
    NotLooked,
    Unavailable,
    UnknownBackend,
    Sealed,
    NoToken,
    Objects(Objects, Begun),
    /// Of an HSM: absent, open, refused, another one of that label.
    NoSuchToken,
    Open,
    Refused,
    OtherToken,
}

/// The HSM around a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HsmCase {
    Absent,
    Creating,
    Live,
    /// Its record is live, its object terminates.
    Terminating,
    /// Its record is live, its object is gone.
    Vanished,
    Sealing,
    Deleted,
    /// Deleted, and its recovery has begun.
    Recovering,
    Opening,
    /// Live again, while the proxy of its recovery is still there.
    Ending,
    Destroying,
    Tombstone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Same,
    Other,
    Terminating,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    Own,
    Other,
    /// Of the own uid, and accepts the other namespace.
    Accepting,
    /// No Recover, but the object says CreateOrRecover.
    ByObject,
}

/// How far the retention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Young,
    /// Its time has come: not announced, announced an hour ago, announced long enough ago.
    Due(Option<i64>),
    /// There is no date, though soft-delete may be on.
    Undated,
}

/// A Purge of that uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    None,
    Unseen,
    Accepted,
    Executing,
    /// Accepted, of another uid.
    OfOther,
    /// Accepted, eight days ago.
    Expired,
}

/// What a purge looks at beside the lineage, and finds in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    None,
    /// The look asked for none of it.
    NotLooked,
    Clock,
    Definitions,
    Policies,
    Undeletable,
    EtcdOld,
    Quorum,
    Rate,
    HsmRecovery,
    KeyInDoubt,
}

/// The purge's side of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeCase {
    pub age: Age,
    pub request: Request,
    pub hindrance: Hindrance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub kind: Kind,
    pub object: Option<ObjectCase>,
    pub proxy: Option<ProxyCase>,
    pub record: RecordCase,
    pub material: MaterialCase,
    pub hsm: HsmCase,
    pub space: Space,
    pub asked: Asked,
    pub refused: Option<Tried>,
    pub purge: PurgeCase,
    /// Of an HSM: a key in it.
    pub key: Option<KeyCase>,
    /// The recovery that its proxy, or its HSM's, speaks of brings all keys.
    pub all: bool,
}

// ---- how they are combined ----

pub fn objects() -> Vec<Option<ObjectCase>> {
    let mut all = vec![None];
    for (whose, shown) in [
        (Whose::Own, Shown::Nothing),
        (Whose::Own, Shown::Lower),
        (Whose::Own, Shown::Equal),
        (Whose::Own, Shown::Higher),
        // Another uid's generation is of another record: it is not compared.
        (Whose::Other, Shown::Nothing),
        (Whose::Other, Shown::Equal),
    ] {
        for (terminating, finalizer) in [(false, false), (false, true), (true, false), (true, true)]
        {
            all.push(Some(ObjectCase {
                whose,
                terminating,
                finalizer,
                shown,
            }));
        }
    }
    all
}

fn few_objects() -> Vec<Option<ObjectCase>> {
    let usual = |object: &Option<ObjectCase>| {
        object.is_none_or(|object| {
            object.finalizer
                && object.shown
                    == match object.whose {
                        Whose::Own => Shown::Equal,
                        Whose::Other => Shown::Nothing,
                    }
        })
    };
    objects().into_iter().filter(usual).collect()
}

pub fn proxies() -> Vec<Option<ProxyCase>> {
    let mut all = vec![None];
    let phases = [
        PhaseCase::Retained,
        PhaseCase::Recovering(None),
        PhaseCase::Recovering(Some(OWN)),
        PhaseCase::Recovering(Some(OTHER)),
        PhaseCase::Recovering(Some(THIRD)),
        PhaseCase::Destroying,
    ];
    for phase in phases {
        for shown in [Shown::Nothing, Shown::Lower, Shown::Equal, Shown::Higher] {
            all.push(Some(ProxyCase {
                whose: Whose::Own,
                phase,
                shown,
            }));
        }
        // Another uid's generation is of another record.
        for shown in [Shown::Nothing, Shown::Equal] {
            all.push(Some(ProxyCase {
                whose: Whose::Other,
                phase,
                shown,
            }));
        }
    }
    all
}

fn few_proxies() -> Vec<Option<ProxyCase>> {
    let usual = |proxy: &Option<ProxyCase>| {
        proxy.is_none_or(|proxy| {
            proxy.shown == Shown::Equal
                || proxy
                    == ProxyCase {
                        whose: Whose::Own,
                        phase: PhaseCase::Retained,
                        shown: Shown::Nothing,
                    }
        })
    };
    proxies().into_iter().filter(usual).collect()
}

pub fn records() -> Vec<RecordCase> {
    let mut all = vec![
        RecordCase::None,
        RecordCase::Disagree,
        RecordCase::Unknown,
        RecordCase::Foreign,
    ];
    for state in RecordState::ALL {
        for switches in [Switches::Plain, Switches::Protected, Switches::NoSoftDelete] {
            for pending in [false, true] {
                all.push(RecordCase::One {
                    state,
                    switches,
                    pending,
                });
            }
        }
    }
    all
}

fn few_records() -> Vec<RecordCase> {
    let usual = |record: &RecordCase| match record {
        RecordCase::None => true,
        RecordCase::One {
            state,
            switches,
            pending,
        } => *switches == Switches::Plain && *pending == (*state == RecordState::Creating),
        RecordCase::Disagree | RecordCase::Unknown | RecordCase::Foreign => false,
    };
    records().into_iter().filter(usual).collect()
}

const MARKS: [Mark; 3] = [Mark::Pending, Mark::Live, Mark::Deleted];
const SIDES: [Mark; 2] = [Mark::Live, Mark::Deleted];

fn version_objects() -> Vec<Objects> {
    let mut all = vec![
        Objects::None,
        Objects::Both,
        Objects::StrayPending,
        Objects::StrangerLabelled,
    ];
    for mark in MARKS {
        all.extend([
            Objects::Pair(mark),
            Objects::Half(mark),
            Objects::Stranger(mark),
        ]);
    }
    for mark in SIDES {
        all.extend([
            Objects::HalfCopied(mark),
            Objects::HalfDestroyed(mark),
            Objects::UnprovedCopy(mark),
            Objects::StrangerBeside(mark),
        ]);
    }
    all
}

const BEGUN: [Begun; 5] = [
    Begun::None,
    Begun::Half,
    Begun::Pair,
    Begun::Unproved,
    Begun::Labelled,
];

pub const HSMS: [HsmCase; 12] = [
    HsmCase::Absent,
    HsmCase::Creating,
    HsmCase::Live,
    HsmCase::Terminating,
    HsmCase::Vanished,
    HsmCase::Sealing,
    HsmCase::Deleted,
    HsmCase::Recovering,
    HsmCase::Opening,
    HsmCase::Ending,
    HsmCase::Destroying,
    HsmCase::Tombstone,
];

/// What the look can show of a key's material beside its HSM: without a token of the HSM there is nothing in it, and without a standing record nothing is looked at.
fn materials_of_key(record: RecordCase, hsm: HsmCase) -> Vec<MaterialCase> {
    let RecordCase::One { state, pending, .. } = record else {
        return vec![MaterialCase::NotLooked, MaterialCase::UnknownBackend];
    };
    if matches!(state, RecordState::Tombstone | RecordState::Abandoned) {
        return vec![MaterialCase::NotLooked, MaterialCase::UnknownBackend];
    }
    if matches!(hsm, HsmCase::Absent | HsmCase::Creating) {
        return vec![MaterialCase::NoToken];
    }
    let mut all = vec![
        MaterialCase::Unavailable,
        MaterialCase::Sealed,
        MaterialCase::NoToken,
    ];
    if hsm == HsmCase::Tombstone {
        return all;
    }
    // Only ids that the record names are looked for: a *creating* names no version, and most name nothing pending.
    let versions = if state == RecordState::Creating {
        vec![Objects::None]
    } else {
        version_objects()
    };
    let begun: &[Begun] = if pending { &BEGUN } else { &[Begun::None] };
    for objects in versions {
        for begun in begun {
            all.push(MaterialCase::Objects(objects, *begun));
        }
    }
    all
}

const MATERIALS_OF_HSM: [MaterialCase; 6] = [
    MaterialCase::Unavailable,
    MaterialCase::UnknownBackend,
    MaterialCase::NoSuchToken,
    MaterialCase::Open,
    MaterialCase::Refused,
    MaterialCase::OtherToken,
];

fn materials_of_hsm(record: RecordCase) -> Vec<MaterialCase> {
    match record {
        RecordCase::One { state, .. }
            if !matches!(state, RecordState::Tombstone | RecordState::Abandoned) =>
        {
            MATERIALS_OF_HSM.to_vec()
        }
        _ => vec![MaterialCase::NotLooked, MaterialCase::UnknownBackend],
    }
}

/// A few looks at the material that belong together, for the products that are about something else.
fn usual_backends(kind: Kind, record: RecordCase) -> Vec<(MaterialCase, HsmCase)> {
    let standing = matches!(record, RecordCase::One { state, .. }
        if !matches!(state, RecordState::Tombstone | RecordState::Abandoned));
    match (kind, standing) {
        (Kind::Hsm, false) => vec![(MaterialCase::NotLooked, HsmCase::Absent)],
        (Kind::Hsm, true) => vec![
            (MaterialCase::Open, HsmCase::Absent),
            (MaterialCase::Refused, HsmCase::Absent),
            (MaterialCase::NoSuchToken, HsmCase::Absent),
        ],
        (Kind::Key, false) => vec![
            (MaterialCase::NotLooked, HsmCase::Live),
            (MaterialCase::NotLooked, HsmCase::Absent),
            (MaterialCase::NotLooked, HsmCase::Deleted),
        ],
        (Kind::Key, true) => vec![
            (
                MaterialCase::Objects(Objects::Pair(Mark::Live), Begun::None),
                HsmCase::Live,
            ),
            (
                MaterialCase::Objects(Objects::Pair(Mark::Deleted), Begun::None),
                HsmCase::Live,
            ),
            (MaterialCase::Sealed, HsmCase::Deleted),
            (MaterialCase::NoToken, HsmCase::Tombstone),
        ],
    }
}

/// *deleted* and *opening* never name anything pending: only a *sealing* that ended it goes on to them; a *creating* without it is damage, and is looked at too.
fn pending_can_be(record: &RecordCase) -> bool {
    !matches!(
        record,
        RecordCase::One {
            state: RecordState::Deleted | RecordState::Opening | RecordState::Tombstone,
            pending: true,
            ..
        }
    )
}

/// Soft-delete off and protected at once cannot be (SD-13), and an HSM has nothing pending.
fn records_of(kind: Kind) -> Vec<RecordCase> {
    records()
        .into_iter()
        .filter(pending_can_be)
        .filter(|record| {
            kind == Kind::Key || !matches!(record, RecordCase::One { pending: true, .. })
        })
        .collect()
}

pub const USUAL: Case = Case {
    kind: Kind::Key,
    object: None,
    proxy: None,
    record: RecordCase::None,
    material: MaterialCase::NotLooked,
    hsm: HsmCase::Live,
    space: Space::Same,
    asked: Asked::Nothing,
    refused: None,
    purge: PurgeCase {
        age: Age::Young,
        request: Request::None,
        hindrance: Hindrance::None,
    },
    key: None,
    all: false,
};

/// One of the five products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Every look at the backend: record × material × HSM, beside few objects and proxies.
    Backend,
    /// Every object × proxy × record, beside few looks at the backend.
    Cluster,
    /// Every namespace × Recover × refusal, beside few of all else.
    Wishes,
    /// Every age × Purge × hindrance over what is deleted or being destroyed, beside few of all else.
    Purges,
    /// HSMs that change their state beside every key in them; keys beside an HSM that is recovered with all of them.
    Inside,
}

pub const PRODUCTS: [Product; 5] = [
    Product::Backend,
    Product::Cluster,
    Product::Wishes,
    Product::Purges,
    Product::Inside,
];

/// Calls `each` with every case of the product whose running number is `share` modulo `shares`; answers how many there are in all.
pub fn each(
    kind: Kind,
    product: Product,
    share: usize,
    shares: usize,
    mut each: impl FnMut(&Case),
) -> usize {
    let mut count = 0;
    let mut give = |case: Case| {
        if count % shares == share {
            each(&case);
        }
        count += 1;
    };
    match product {
        Product::Backend => backend(kind, &mut give),
        Product::Cluster => cluster(kind, &mut give),
        Product::Wishes => wishes(kind, &mut give),
        Product::Purges => purges(kind, &mut give),
        Product::Inside => match kind {
            Kind::Hsm => inside::of_hsm(&mut give),
            Kind::Key => with_all(&mut give),
        },
    }
    count
}

/// Keys whose HSM is recovered with all of them, at each point of it.
fn with_all(give: &mut impl FnMut(Case)) {
    let hsms = [
        (HsmCase::Recovering, MaterialCase::Sealed),
        (HsmCase::Opening, MaterialCase::Sealed),
        (
            HsmCase::Opening,
            MaterialCase::Objects(Objects::Pair(Mark::Deleted), Begun::None),
        ),
        (
            HsmCase::Opening,
            MaterialCase::Objects(Objects::Pair(Mark::Live), Begun::None),
        ),
        (
            HsmCase::Ending,
            MaterialCase::Objects(Objects::Pair(Mark::Deleted), Begun::None),
        ),
        (
            HsmCase::Ending,
            MaterialCase::Objects(Objects::Pair(Mark::Live), Begun::None),
        ),
    ];
    for record in few_records() {
        for (hsm, material) in hsms {
            if !materials_of_key(record, hsm).contains(&material) {
                continue;
            }
            for object in few_objects() {
                for proxy in few_proxies() {
                    for space in [Space::Same, Space::Other, Space::Terminating] {
                        for asked in [Asked::Nothing, Asked::Own] {
                            give(Case {
                                kind: Kind::Key,
                                object,
                                proxy,
                                record,
                                material,
                                hsm,
                                space,
                                asked,
                                all: true,
                                ..USUAL
                            });
                        }
                    }
                }
            }
        }
    }
}

/// The switches say nothing about material.
fn backend(kind: Kind, give: &mut impl FnMut(Case)) {
    let plain = |record: &RecordCase| !matches!(record, RecordCase::One { switches, .. } if *switches != Switches::Plain);
    for record in records_of(kind).into_iter().filter(plain) {
        let hsms: &[HsmCase] = if kind == Kind::Key {
            &HSMS
        } else {
            &[HsmCase::Absent]
        };
        for &hsm in hsms {
            let materials = match kind {
                Kind::Key => materials_of_key(record, hsm),
                Kind::Hsm => materials_of_hsm(record),
            };
            for material in materials {
                for object in few_objects() {
                    for proxy in few_proxies() {
                        give(Case {
                            kind,
                            object,
                            proxy,
                            record,
                            material,
                            hsm,
                            ..USUAL
                        });
                    }
                }
            }
        }
    }
}

fn cluster(kind: Kind, give: &mut impl FnMut(Case)) {
    for record in records_of(kind) {
        for (material, hsm) in usual_backends(kind, record) {
            for object in objects() {
                for proxy in proxies() {
                    give(Case {
                        kind,
                        object,
                        proxy,
                        record,
                        material,
                        hsm,
                        ..USUAL
                    });
                }
            }
        }
    }
}

/// Each namespace × Recover × answer to the POST of the object; the two other refusals have nothing to do with either.
fn wished(object: Option<ObjectCase>) -> Vec<(Space, Asked, Option<Tried>)> {
    let mut all = vec![
        (Space::Same, Asked::Nothing, Some(Tried::CreateProxy)),
        (Space::Same, Asked::Nothing, Some(Tried::Backend)),
    ];
    for space in [Space::Same, Space::Other, Space::Terminating, Space::Absent] {
        // An object is never in a namespace that is not there.
        if space == Space::Absent && object.is_some() {
            continue;
        }
        for asked in [
            Asked::Nothing,
            Asked::Own,
            Asked::Other,
            Asked::Accepting,
            Asked::ByObject,
        ] {
            all.push((space, asked, None));
            all.push((space, asked, Some(Tried::CreateObject)));
        }
    }
    all
}

fn wishes(kind: Kind, give: &mut impl FnMut(Case)) {
    for record in few_records() {
        for (material, hsm) in usual_backends(kind, record) {
            for object in few_objects() {
                let wished = wished(object);
                for proxy in few_proxies() {
                    for &(space, asked, refused) in &wished {
                        give(Case {
                            kind,
                            object,
                            proxy,
                            record,
                            material,
                            hsm,
                            space,
                            asked,
                            refused,
                            ..USUAL
                        });
                    }
                }
            }
        }
    }
}

const AGES: [Age; 5] = [
    Age::Young,
    Age::Due(None),
    Age::Due(Some(1)),
    Age::Due(Some(25)),
    Age::Undated,
];

const REQUESTS: [Request; 6] = [
    Request::None,
    Request::Unseen,
    Request::Accepted,
    Request::Executing,
    Request::OfOther,
    Request::Expired,
];

const HINDRANCES: [Hindrance; 11] = [
    Hindrance::None,
    Hindrance::NotLooked,
    Hindrance::Clock,
    Hindrance::Definitions,
    Hindrance::Policies,
    Hindrance::Undeletable,
    Hindrance::EtcdOld,
    Hindrance::Quorum,
    Hindrance::Rate,
    Hindrance::HsmRecovery,
    Hindrance::KeyInDoubt,
];

/// What a purge is about: records from *deleted* on.
fn purged_records() -> Vec<RecordCase> {
    let of = |state, switches| RecordCase::One {
        state,
        switches,
        pending: false,
    };
    vec![
        of(RecordState::Deleted, Switches::Plain),
        of(RecordState::Deleted, Switches::Protected),
        of(RecordState::Deleted, Switches::NoSoftDelete),
        // From *destroying* on no switch says anything any more.
        of(RecordState::Destroying, Switches::Plain),
        of(RecordState::Tombstone, Switches::Plain),
    ]
}

fn purged_backends(kind: Kind) -> Vec<(MaterialCase, HsmCase)> {
    match kind {
        Kind::Hsm => vec![
            (MaterialCase::Refused, HsmCase::Absent),
            (MaterialCase::OtherToken, HsmCase::Absent),
        ],
        Kind::Key => vec![
            (
                MaterialCase::Objects(Objects::Pair(Mark::Deleted), Begun::None),
                HsmCase::Live,
            ),
            (
                MaterialCase::Objects(Objects::Stranger(Mark::Deleted), Begun::None),
                HsmCase::Live,
            ),
            (MaterialCase::Sealed, HsmCase::Deleted),
        ],
    }
}

fn purged_proxies() -> Vec<Option<ProxyCase>> {
    let phases = [
        PhaseCase::Retained,
        PhaseCase::Recovering(None),
        PhaseCase::Destroying,
    ];
    let of = |whose, phase, shown| {
        Some(ProxyCase {
            whose,
            phase,
            shown,
        })
    };
    let mut all = vec![None];
    for phase in phases {
        all.push(of(Whose::Own, phase, Shown::Equal));
        all.push(of(Whose::Other, phase, Shown::Equal));
    }
    all.push(of(Whose::Own, PhaseCase::Retained, Shown::Nothing));
    all.push(of(Whose::Own, PhaseCase::Destroying, Shown::Lower));
    all
}

fn purges(kind: Kind, give: &mut impl FnMut(Case)) {
    // One that is on its way out matters only where it has something to wait for: it had material of its own.
    let stays = |object: &Option<ObjectCase>| object.is_none_or(|object| !object.terminating);
    let leaves = ObjectCase {
        whose: Whose::Other,
        terminating: true,
        finalizer: true,
        shown: Shown::Equal,
    };
    let mut objects: Vec<_> = few_objects().into_iter().filter(stays).collect();
    objects.push(Some(leaves));
    let mut wishes = Vec::new();
    for age in AGES {
        for request in REQUESTS {
            for hindrance in HINDRANCES {
                wishes.push(PurgeCase {
                    age,
                    request,
                    hindrance,
                });
            }
        }
    }
    for record in purged_records() {
        for (material, hsm) in purged_backends(kind) {
            for &object in &objects {
                for proxy in purged_proxies() {
                    for &purge in &wishes {
                        give(Case {
                            kind,
                            object,
                            proxy,
                            record,
                            material,
                            hsm,
                            purge,
                            ..USUAL
                        });
                    }
                }
            }
        }
    }
}

// ---- what a case looks like ----

impl Case {
    pub fn observed(&self) -> Observed {
        let kind = self.kind;
        Observed {
            now: now(),
            clock_trusted: self.purge.hindrance != Hindrance::Clock,
            settings: Settings {
                undeletable: self.purge.hindrance == Hindrance::Undeletable,
                quorum: if self.purge.hindrance == Hindrance::Quorum {
                    2
                } else {
                    1
                },
                purge_rate: if self.purge.hindrance == Hindrance::Rate {
                    0
                } else {
                    10
                },
                ..settings()
            },
            lineage: Lineage::new(kind, "payments", name(kind)),
            backend: "default".into(),
            namespace: self.namespace(),
            object: self.object.map(|object| self.object_of(object)),
            proxy: self.proxy.map(|proxy| self.proxy_of(proxy)),
            recovers: self.recover().into_iter().collect(),
            purges: self.purge_of().into_iter().collect(),
            purging: self.purging(),
            terms: Terms::FREE,
            policies: match self.purge.hindrance {
                Hindrance::Policies => Policies::Missing("it".into()),
                _ => Policies::Since(chrono::DateTime::<chrono::Utc>::MIN_UTC),
            },
            records: self.held().into_iter().collect(),
            ended: self.ended(),
            material: self.material_of(),
            hsm: (kind == Kind::Key).then(|| hsm_of(self.hsm, self.all)),
            namesakes: Vec::new(),
            keys: self
                .key
                .iter()
                .map(|key| inside::near(*key, self))
                .collect(),
            refused: self.refused.map(|what| Refused {
                what,
                why: "a policy says no".into(),
                how: No::Full,
            }),
        }
    }

    /// What ended long ago, of the cases whose dates are long past too.
    fn ended(&self) -> BTreeMap<RecordId, DateTime<Utc>> {
        let tombstone = matches!(
            self.record,
            RecordCase::One {
                state: RecordState::Tombstone,
                ..
            }
        );
        let long_ago = match self.purge.age {
            Age::Due(_) => now() - Duration::days(400),
            Age::Young | Age::Undated => now(),
        };
        let its = tombstone.then(|| (record_id(OWN), long_ago));
        its.into_iter().collect()
    }

    fn namespace(&self) -> Option<Namespace> {
        let (uid, terminating) = match self.space {
            Space::Same => (SPACE, false),
            Space::Other => ("ns-now", false),
            Space::Terminating => (SPACE, true),
            Space::Absent => return None,
        };
        Some(Namespace {
            uid: uid.into(),
            terminating,
        })
    }

    fn object_of(&self, case: ObjectCase) -> Object {
        let uid = uid_of(case.whose);
        let mut finalizers = vec!["example.com/theirs".to_owned()];
        if case.finalizer {
            finalizers.push(api::FINALIZER.to_owned());
        }
        let meta = Meta {
            deleted: case.terminating.then(|| now() - Duration::hours(1)),
            finalizers,
            ..meta(name(self.kind), uid)
        };
        let body = self.body(case.shown, uid);
        let spec = match &body {
            Body::Hsm(spec, _) => json!(spec),
            Body::Key(spec, _) => json!(spec),
        };
        Object {
            meta,
            body,
            snapshot: snapshot(spec),
        }
    }

    fn create_mode(&self) -> api::CreateMode {
        if self.asked == Asked::ByObject {
            api::CreateMode::CreateOrRecover
        } else {
            api::CreateMode::Default
        }
    }

    fn body(&self, shown: Shown, uid: &str) -> Body {
        let generation = generation(shown);
        match self.kind {
            Kind::Hsm => {
                let spec = api::ManagedHsmSpec {
                    create_mode: self.create_mode(),
                    ..api::ManagedHsmSpec::default()
                };
                let status = api::ManagedHsmStatus {
                    hsm_id: generation.map(|_| record_id(uid).0),
                    record_generation: generation,
                    ..api::ManagedHsmStatus::default()
                };
                Body::Hsm(spec, status)
            }
            Kind::Key => {
                let mut spec =
                    api::HsmKeySpec::new("prod", api::KeyType::Ec, None, Some(api::Curve::P256));
                spec.create_mode = self.create_mode();
                let status = api::HsmKeyStatus {
                    hsm_id: generation.map(|_| record_id(HSM).0),
                    record_generation: generation,
                    current_version: generation.map(|_| 1),
                    ..api::HsmKeyStatus::default()
                };
                Body::Key(spec, status)
            }
        }
    }

    fn proxy_of(&self, case: ProxyCase) -> Proxy {
        let uid = uid_of(case.whose);
        let dates = self.dates();
        let origin = api::Origin {
            namespace: "payments".into(),
            namespace_uid: SPACE.into(),
            name: name(self.kind).into(),
            uid: uid.into(),
        };
        let snapshot = Some(snapshot(match self.body(Shown::Nothing, uid) {
            Body::Hsm(spec, _) => json!(spec),
            Body::Key(spec, _) => json!(spec),
        }));
        let spec = match self.kind {
            Kind::Hsm => ProxySpec::Hsm(api::DeletedManagedHsmSpec {
                origin,
                backend: "default".into(),
                hsm_id: record_id(uid).0,
                deletion_time: dates.deletion_time.into(),
                scheduled_purge_time: dates.scheduled_purge_time.map(Into::into),
                retention_days: dates.retention_days,
                purge_protection: false,
                recovery_level: api::RecoveryLevel::RecoverablePurgeable,
                day_length: None,
                snapshot,
            }),
            Kind::Key => ProxySpec::Key(api::DeletedHsmKeySpec {
                origin,
                backend: "default".into(),
                hsm_id: record_id(HSM).0,
                hsm: "prod".into(),
                key_name: name(self.kind).into(),
                versions: Vec::new(),
                deletion_time: dates.deletion_time.into(),
                scheduled_purge_time: dates.scheduled_purge_time.map(Into::into),
                retention_days: dates.retention_days,
                purge_protection: false,
                recovery_level: api::RecoveryLevel::RecoverablePurgeable,
                day_length: None,
                snapshot,
            }),
        };
        let recovering = |new_uid: Option<&str>| api::Recovering {
            kind: RecoveringKind::Recover,
            name: "back".into(),
            uid: "uid-recover".into(),
            include_keys: include_keys(self.kind == Kind::Hsm && self.all),
            new_uid: new_uid.map(str::to_owned),
        };
        let (phase, recovering) = match case.phase {
            PhaseCase::Retained => (None, None),
            PhaseCase::Recovering(new_uid) => (Some(Phase::Recovering), Some(recovering(new_uid))),
            PhaseCase::Destroying => (Some(Phase::Destroying), None),
        };
        Proxy {
            meta: meta(
                &managed_hsm_operator::softdelete::names::proxy_name("payments", name(self.kind)),
                "uid-proxy",
            ),
            spec,
            status: api::ProxyStatus {
                phase,
                recovering,
                record_generation: generation(case.shown),
                announced_at: match self.purge.age {
                    Age::Due(hours) => hours.map(|hours| (now() - Duration::hours(hours)).into()),
                    Age::Young | Age::Undated => None,
                },
                ..api::ProxyStatus::default()
            },
        }
    }

    fn recover(&self) -> Option<Recover> {
        let (uid, accept) = match self.asked {
            Asked::Nothing | Asked::ByObject => return None,
            Asked::Own => (OWN, None),
            Asked::Other => (OTHER, None),
            Asked::Accepting => (OWN, Some("ns-now")),
        };
        Some(Recover {
            meta: meta("back", "uid-recover"),
            spec: api::RecoverSpec {
                kind: match self.kind {
                    Kind::Hsm => api::ObjectKind::ManagedHsm,
                    Kind::Key => api::ObjectKind::HsmKey,
                },
                name: name(self.kind).into(),
                uid: uid.into(),
                include_keys: api::IncludeKeys::None,
                accept_namespace_uid: accept.map(str::to_owned),
            },
            status: api::RecoverStatus::default(),
        })
    }

    fn purge_of(&self) -> Option<Purge> {
        let days = if self.purge.request == Request::Expired {
            8
        } else {
            1
        };
        let uid = match self.purge.request {
            Request::None => return None,
            Request::OfOther => OTHER,
            _ => OWN,
        };
        let on = |kind: &str| {
            let status = api::ConditionStatus::True;
            api::Condition {
                type_: kind.into(),
                status,
                observed_generation: Some(1),
                last_transition_time: now().into(),
                reason: kind.into(),
                message: String::new(),
            }
        };
        let mut status = api::PurgeStatus::default();
        if self.purge.request != Request::Unseen {
            status.observed_generation = 1;
            status.conditions.push(on(api::conditions::ACCEPTED));
        }
        if self.purge.request == Request::Executing {
            status.conditions.push(on(api::conditions::EXECUTING));
        }
        Some(Purge {
            meta: Meta {
                created: now() - Duration::days(days),
                ..meta("gone", "uid-purge")
            },
            spec: api::PurgeSpec {
                kind: match self.kind {
                    Kind::Hsm => api::ProxyKind::DeletedManagedHsm,
                    Kind::Key => api::ProxyKind::DeletedHsmKey,
                },
                name: managed_hsm_operator::softdelete::names::proxy_name(
                    "payments",
                    name(self.kind),
                ),
                uid: uid.into(),
                requested_by: "ann".into(),
                reason: None,
            },
            status,
        })
    }

    fn purging(&self) -> PurgeLook {
        let missing = |on: bool| {
            on.then(|| Missing {
                what: "it".into(),
                lack: Lack::Absent,
            })
        };
        let hindrance = self.purge.hindrance;
        if hindrance == Hindrance::NotLooked {
            return PurgeLook::default();
        }
        PurgeLook {
            looked: true,
            definitions: missing(hindrance == Hindrance::Definitions),
            put_back: (hindrance == Hindrance::EtcdOld).then(now),
            purged_at: Some(Vec::new()),
            hsm_recovery: (hindrance == Hindrance::HsmRecovery && self.kind == Kind::Key)
                .then(|| "Recover payments/all".to_owned()),
            unreadable_key: (hindrance == Hindrance::KeyInDoubt && self.kind == Kind::Hsm)
                .then(|| record_id(OTHER)),
            contents: None,
        }
    }

    fn dates(&self) -> Dates {
        match self.purge.age {
            Age::Young => dates(),
            Age::Due(_) => retention::dates(now() - Duration::days(95), Some(90), DAY),
            Age::Undated => retention::dates(now() - Duration::hours(1), None, DAY),
        }
    }

    fn held(&self) -> Option<Held> {
        let one = |record| Reading::One(Box::new(record));
        let reading = match self.record {
            RecordCase::None => return None,
            RecordCase::Disagree => Reading::Disagree,
            RecordCase::Unknown => Reading::Unknown(9),
            RecordCase::Foreign => one(Record {
                cluster: "cluster-other".into(),
                ..self.record_of(RecordState::Live, Switches::Plain, false)
            }),
            RecordCase::One {
                state,
                switches,
                pending,
            } => one(self.record_of(state, switches, pending)),
        };
        Some(Held {
            id: record_id(OWN),
            generation: GENERATION,
            reading,
        })
    }

    pub fn record_of(&self, state: RecordState, switches: Switches, pending: bool) -> Record {
        let subject = match self.kind {
            Kind::Hsm => Subject::Hsm {
                token: (state != RecordState::Creating).then(|| token(&record_id(OWN))),
            },
            Kind::Key => key_subject(state, pending),
        };
        Record {
            id: record_id(OWN),
            cluster: settings().cluster,
            state,
            origin: Origin {
                namespace: "payments".into(),
                namespace_uid: SPACE.into(),
                name: name(self.kind).into(),
                uid: OWN.into(),
            },
            recovered_from: None,
            subject,
            retention_days: 90,
            soft_delete: switches != Switches::NoSoftDelete,
            purge_protection: switches == Switches::Protected,
            dates: (!matches!(state, RecordState::Creating | RecordState::Live))
                .then(|| self.dates()),
            requesters: Vec::new(),
            destroyed: (state == RecordState::Tombstone).then(|| Destroyed {
                at: now(),
                count: 1,
                digest: "digest".into(),
            }),
        }
    }

    fn material_of(&self) -> Material {
        let facts = |access, serial: &str| {
            Material::Token(Some(TokenFacts {
                label: TokenLabel(record_id(OWN).0),
                serial: serial.into(),
                access,
            }))
        };
        match self.material {
            MaterialCase::NotLooked => Material::NotLooked,
            MaterialCase::Unavailable => Material::Unavailable("it hangs".into()),
            MaterialCase::UnknownBackend => Material::UnknownBackend,
            MaterialCase::Sealed => Material::Sealed,
            MaterialCase::NoToken => Material::NoToken,
            MaterialCase::NoSuchToken => Material::Token(None),
            MaterialCase::Open => facts(Access::Open, "1"),
            MaterialCase::Refused => facts(Access::Refused, "1"),
            MaterialCase::OtherToken => facts(Access::Open, "2"),
            MaterialCase::Objects(objects, begun) => {
                let mut all = version_facts(objects);
                all.extend(begun_facts(begun, self.record));
                for (place, object) in all.iter_mut().enumerate() {
                    object.handle = Handle(place as u64 + 1);
                }
                Material::Objects(all)
            }
        }
    }
}

/// SHA-256 without optimisation is most of what a case costs: each id is derived once.
pub fn record_id(uid: &str) -> RecordId {
    static IDS: LazyLock<BTreeMap<&str, RecordId>> = LazyLock::new(|| {
        [OWN, OTHER, HSM]
            .map(|uid| (uid, ids::record_id(&uid.into())))
            .into()
    });
    IDS[uid].clone()
}

fn material_id(number: i32) -> MaterialId {
    static IDS: LazyLock<[MaterialId; 2]> =
        LazyLock::new(|| [1, 2].map(|number| ids::material_id(&OWN.into(), number)));
    IDS[usize::from(number == 2)].clone()
}

/// A live object over a record of another cluster.
pub fn foreign(kind: Kind) -> Observed {
    Case {
        kind,
        record: RecordCase::Foreign,
        ..USUAL
    }
    .observed()
}

pub fn settings() -> Settings {
    Settings {
        cluster: "cluster".into(),
        undeletable: false,
        quorum: 1,
        purge_rate: 10,
        day: DAY,
        adopts: None,
        history: Duration::days(365),
    }
}

pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Hsm => "prod",
        Kind::Key => "signing",
    }
}

fn include_keys(all: bool) -> api::IncludeKeys {
    if all {
        api::IncludeKeys::All
    } else {
        api::IncludeKeys::None
    }
}

fn uid_of(whose: Whose) -> &'static str {
    match whose {
        Whose::Own => OWN,
        Whose::Other => OTHER,
    }
}

fn generation(shown: Shown) -> Option<i64> {
    match shown {
        Shown::Nothing => None,
        Shown::Lower => Some(GENERATION as i64 - 1),
        Shown::Equal => Some(GENERATION as i64),
        Shown::Higher => Some(GENERATION as i64 + 1),
    }
}

fn dates() -> Dates {
    retention::dates(now() - Duration::hours(1), Some(90), DAY)
}

pub fn meta(name: &str, uid: &str) -> Meta {
    Meta {
        name: name.into(),
        uid: uid.into(),
        resource_version: "7".into(),
        generation: 1,
        created: now() - Duration::days(100),
        deleted: None,
        finalizers: Vec::new(),
    }
}

fn snapshot(spec: serde_json::Value) -> api::Snapshot {
    api::Snapshot {
        api_version: "managedhsm.dev/v1alpha1".into(),
        labels: [("team".to_owned(), "pay".to_owned())].into(),
        annotations: Default::default(),
        spec,
        managed_fields: json!([{"manager": "kubectl", "apiVersion": "managedhsm.dev/v1alpha1"}]),
    }
}

fn token(id: &RecordId) -> Token {
    Token {
        label: id.0.clone(),
        serial: "1".into(),
    }
}

/// What the recorded version proves to be.
pub fn true_fingerprint() -> backend::Fingerprint {
    backend::Fingerprint::Thumbprint([7; 32])
}

pub fn key_subject(state: RecordState, pending: bool) -> Subject {
    let first = state == RecordState::Creating;
    let version = Version {
        number: 1,
        material: material_id(1),
        fingerprint: ids::fingerprint(&true_fingerprint()),
        created: now() - Duration::days(100),
    };
    let number = if first { 1 } else { 2 };
    Subject::Key {
        hsm: record_id(HSM),
        hsm_name: "prod".into(),
        key_name: name(Kind::Key).into(),
        algorithm: Algorithm::Ec("P-256".into()),
        versions: if first { Vec::new() } else { vec![version] },
        pending: pending.then(|| Pending {
            number,
            material: material_id(number),
        }),
    }
}

fn one(class: Class, mark: Mark, proved: Option<backend::Fingerprint>, number: i32) -> ObjectFacts {
    ObjectFacts {
        handle: Handle(0),
        id: ids::backend_id(&material_id(number)).expect("an id"),
        class,
        mark,
        usable: Some(mark != Mark::Deleted),
        proved,
        public: None,
    }
}

fn other_side(mark: Mark) -> Mark {
    if mark == Mark::Live {
        Mark::Deleted
    } else {
        Mark::Live
    }
}

fn version_facts(objects: Objects) -> Vec<ObjectFacts> {
    use Class::{Private, Public};
    let mine = |class, mark| one(class, mark, Some(true_fingerprint()), 1);
    let pair = |mark| vec![mine(Private, mark), mine(Public, mark)];
    let strangers = |mark| {
        let fingerprint = Some(backend::Fingerprint::Thumbprint([9; 32]));
        vec![
            one(Private, mark, fingerprint.clone(), 1),
            one(Public, mark, fingerprint, 1),
        ]
    };
    match objects {
        Objects::None => Vec::new(),
        Objects::Pair(mark) => pair(mark),
        Objects::Half(mark) => vec![mine(Private, mark)],
        Objects::Both => [pair(Mark::Live), pair(Mark::Deleted)].concat(),
        Objects::HalfCopied(mark) => [pair(other_side(mark)), vec![mine(Private, mark)]].concat(),
        Objects::HalfDestroyed(mark) => [pair(mark), vec![mine(Public, other_side(mark))]].concat(),
        Objects::UnprovedCopy(mark) => {
            let copies = vec![one(Private, mark, None, 1), one(Public, mark, None, 1)];
            [pair(other_side(mark)), copies].concat()
        }
        Objects::Stranger(mark) => strangers(mark),
        Objects::StrangerBeside(mark) => [strangers(mark), pair(other_side(mark))].concat(),
        Objects::StrayPending => [pair(Mark::Live), vec![mine(Private, Mark::Pending)]].concat(),
        Objects::StrangerLabelled => [strangers(Mark::Live), pair(Mark::Pending)].concat(),
    }
}

fn begun_facts(begun: Begun, record: RecordCase) -> Vec<ObjectFacts> {
    use Class::{Private, Public};
    let first = matches!(
        record,
        RecordCase::One {
            state: RecordState::Creating,
            ..
        }
    );
    let number = if first { 1 } else { 2 };
    let proved = Some(backend::Fingerprint::Thumbprint([number as u8 + 1; 32]));
    let both = |mark, proved: Option<backend::Fingerprint>| {
        vec![
            one(Private, mark, proved.clone(), number),
            one(Public, mark, proved, number),
        ]
    };
    match begun {
        Begun::None => Vec::new(),
        Begun::Half => vec![one(Private, Mark::Pending, None, number)],
        Begun::Pair => both(Mark::Pending, proved),
        Begun::Unproved => both(Mark::Pending, None),
        Begun::Labelled => both(Mark::Live, proved),
    }
}

fn hsm_of(case: HsmCase, all: bool) -> Hsm {
    let uid = Uid::from(HSM);
    let state = match case {
        HsmCase::Absent => None,
        HsmCase::Creating => Some(RecordState::Creating),
        HsmCase::Live | HsmCase::Ending | HsmCase::Terminating | HsmCase::Vanished => {
            Some(RecordState::Live)
        }
        HsmCase::Sealing => Some(RecordState::Sealing),
        HsmCase::Deleted | HsmCase::Recovering => Some(RecordState::Deleted),
        HsmCase::Opening => Some(RecordState::Opening),
        HsmCase::Destroying => Some(RecordState::Destroying),
        HsmCase::Tombstone => Some(RecordState::Tombstone),
    };
    let there = matches!(
        case,
        HsmCase::Creating
            | HsmCase::Live
            | HsmCase::Ending
            | HsmCase::Terminating
            | HsmCase::Sealing
            | HsmCase::Opening
    );
    let origin = Origin {
        namespace: "payments".into(),
        namespace_uid: SPACE.into(),
        name: "prod".into(),
        uid: uid.clone(),
    };
    let proxied = matches!(
        case,
        HsmCase::Sealing
            | HsmCase::Deleted
            | HsmCase::Recovering
            | HsmCase::Opening
            | HsmCase::Ending
            | HsmCase::Destroying
    );
    let phase = match case {
        HsmCase::Recovering | HsmCase::Opening | HsmCase::Ending => Some(Phase::Recovering),
        HsmCase::Destroying => Some(Phase::Destroying),
        _ => None,
    };
    Hsm {
        name: "prod".into(),
        purges: Vec::new(),
        object: there.then(|| NearObject {
            uid: uid.clone(),
            terminating: matches!(case, HsmCase::Terminating | HsmCase::Sealing),
            record_generation: None,
        }),
        record: state.map(|state| (3, hsm_record(state, &origin))),
        proxy: proxied.then(|| NearProxy {
            origin,
            status: api::ProxyStatus {
                phase,
                recovering: (phase == Some(Phase::Recovering)).then(|| {
                    let made = there.then_some(HSM);
                    inside::recovering(made, include_keys(all))
                }),
                purge_time: dates().scheduled_purge_time.map(Into::into),
                ..api::ProxyStatus::default()
            },
        }),
    }
}

fn hsm_record(state: RecordState, origin: &Origin) -> Record {
    let id = record_id(origin.uid.as_str());
    Record {
        subject: Subject::Hsm {
            token: (state != RecordState::Creating).then(|| token(&id)),
        },
        id,
        cluster: settings().cluster,
        state,
        origin: origin.clone(),
        recovered_from: None,
        retention_days: 90,
        soft_delete: true,
        purge_protection: false,
        dates: (!matches!(state, RecordState::Creating | RecordState::Live)).then(dates),
        requesters: Vec::new(),
        destroyed: None,
    }
}
