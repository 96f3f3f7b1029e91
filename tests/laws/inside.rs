//! The other side of a look: an HSM with a key inside it, and a key whose HSM is recovered with all keys.

use managed_hsm_operator::api::{self, IncludeKeys, Phase, RecoveringKind};
use managed_hsm_operator::plan::observed::{KeyMaterial, KeyOfHsm, NearObject, NearProxy};
use managed_hsm_operator::softdelete::{Kind, Origin, RecordState};

use super::domain::{
    self, Case, HsmCase, MaterialCase, OTHER, OWN, ObjectCase, PhaseCase, ProxyCase, RecordCase,
    Shown, Switches, THIRD, USUAL, Whose,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProxy {
    None,
    /// Announced, and showing a protection.
    Retained(bool, bool),
    Recovering,
    Destroying,
    OfAnother,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyObject {
    None,
    Lives,
    Terminates,
    Another,
}

/// A key as its HSM sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCase {
    pub state: RecordState,
    pub proxy: KeyProxy,
    pub object: KeyObject,
    /// Missing, unsealed.
    pub material: Option<(bool, bool)>,
}

const PROXIES: [KeyProxy; 8] = [
    KeyProxy::None,
    KeyProxy::Retained(false, false),
    KeyProxy::Retained(false, true),
    KeyProxy::Retained(true, false),
    KeyProxy::Retained(true, true),
    KeyProxy::Recovering,
    KeyProxy::Destroying,
    KeyProxy::OfAnother,
];

const OBJECTS: [KeyObject; 4] = [
    KeyObject::None,
    KeyObject::Lives,
    KeyObject::Terminates,
    KeyObject::Another,
];

const MATERIALS: [Option<(bool, bool)>; 4] = [
    None,
    Some((false, false)),
    Some((false, true)),
    Some((true, false)),
];

fn keys() -> Vec<KeyCase> {
    let mut all = Vec::new();
    for state in RecordState::ALL {
        for proxy in PROXIES {
            for object in OBJECTS {
                for material in MATERIALS {
                    all.push(KeyCase {
                        state,
                        proxy,
                        object,
                        material,
                    });
                }
            }
        }
    }
    all
}

/// HSMs whose protocol looks at its keys, each beside every key.
pub fn of_hsm(give: &mut impl FnMut(Case)) {
    let states = [
        (RecordState::Sealing, MaterialCase::Refused),
        (RecordState::Opening, MaterialCase::Open),
        (RecordState::Live, MaterialCase::Open),
        (RecordState::Deleted, MaterialCase::Refused),
    ];
    let objects = [
        None,
        Some((false, Shown::Lower)),
        Some((false, Shown::Equal)),
        Some((true, Shown::Equal)),
    ];
    for (state, material) in states {
        for switches in [Switches::Plain, Switches::Protected] {
            for object in objects {
                for phase in [
                    None,
                    Some(PhaseCase::Retained),
                    Some(PhaseCase::Recovering(Some(OWN))),
                ] {
                    for all in [false, true] {
                        for key in keys() {
                            give(Case {
                                kind: Kind::Hsm,
                                hsm: HsmCase::Absent,
                                record: RecordCase::One {
                                    state,
                                    switches,
                                    pending: false,
                                },
                                material,
                                object: object.map(|(terminating, shown)| ObjectCase {
                                    whose: Whose::Own,
                                    terminating,
                                    finalizer: true,
                                    shown,
                                }),
                                proxy: phase.map(|phase| ProxyCase {
                                    whose: Whose::Own,
                                    phase,
                                    shown: Shown::Equal,
                                }),
                                key: Some(key),
                                all,
                                ..USUAL
                            });
                        }
                    }
                }
            }
        }
    }
}

pub fn near(case: KeyCase, all: &Case) -> KeyOfHsm {
    let mut record = all.record_of(case.state, Switches::Plain, false);
    record.id = domain::record_id(OTHER);
    record.subject = domain::key_subject(case.state, false);
    let origin = Origin {
        name: "signing".into(),
        uid: OTHER.into(),
        ..record.origin
    };
    record.origin = origin.clone();
    let (phase, announced, protected) = match case.proxy {
        KeyProxy::None | KeyProxy::OfAnother => (None, false, false),
        KeyProxy::Retained(announced, protected) => (None, announced, protected),
        KeyProxy::Recovering => (Some(Phase::Recovering), false, false),
        KeyProxy::Destroying => (Some(Phase::Destroying), false, false),
    };
    let status = api::ProxyStatus {
        phase,
        recovering: (phase == Some(Phase::Recovering)).then(|| recovering(None, IncludeKeys::None)),
        announced_at: announced.then(|| domain::now().into()),
        purge_protection: Some(protected),
        record_generation: Some(2),
        ..api::ProxyStatus::default()
    };
    let uid = if case.proxy == KeyProxy::OfAnother {
        THIRD
    } else {
        OTHER
    };
    let proxy = NearProxy {
        origin: Origin {
            uid: uid.into(),
            ..origin
        },
        status,
    };
    KeyOfHsm {
        generation: 2,
        record,
        proxy: (case.proxy != KeyProxy::None).then_some(proxy),
        object: (case.object != KeyObject::None).then(|| NearObject {
            uid: if case.object == KeyObject::Another {
                THIRD
            } else {
                OTHER
            }
            .into(),
            terminating: case.object == KeyObject::Terminates,
            record_generation: None,
        }),
        material: case
            .material
            .map(|(missing, unsealed)| KeyMaterial { missing, unsealed }),
    }
}

pub fn recovering(new_uid: Option<&str>, include_keys: IncludeKeys) -> api::Recovering {
    api::Recovering {
        kind: RecoveringKind::Recover,
        name: "back".into(),
        uid: "uid-recover".into(),
        include_keys,
        new_uid: new_uid.map(str::to_owned),
    }
}
