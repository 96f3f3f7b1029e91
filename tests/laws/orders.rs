//! What comes before what: each order of a protocol, and each look that it waits for, over the one observation in which only that guard stands between
//! the plan and the wrong step (`safety`).

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

// ---- create ----

#[test]
fn sd32_the_finalizer_is_on_before_there_is_a_record() {
    for kind in [Kind::Hsm, Kind::Key] {
        for (finalizer, first) in [(false, "AddFinalizer"), (true, "WriteRecord")] {
            let object = ObjectCase {
                finalizer,
                shown: Shown::Nothing,
                ..LIVES
            };
            let case = Case {
                kind,
                object: Some(object),
                ..USUAL
            };
            assert_eq!(name(&case.observed()), first, "{kind:?}");
        }
        for state in [RecordState::Creating, RecordState::Live] {
            let shown = if state == RecordState::Live {
                Shown::Equal
            } else {
                Shown::Nothing
            };
            let object = ObjectCase {
                finalizer: false,
                shown,
                ..LIVES
            };
            let (material, hsm) = match kind {
                Kind::Hsm => (MaterialCase::Open, HsmCase::Absent),
                Kind::Key => (pair(Mark::Live), HsmCase::Live),
            };
            let case = Case {
                kind,
                material,
                hsm,
                object: Some(object),
                record: record(state),
                ..USUAL
            };
            assert_eq!(name(&case.observed()), "AddFinalizer", "{kind:?} {state:?}");
        }
    }
}

#[test]
fn g6_no_key_becomes_live_in_an_hsm_that_is_not() {
    let made = |hsm| {
        let object = ObjectCase {
            shown: Shown::Nothing,
            ..LIVES
        };
        let case = Case {
            object: Some(object),
            material: MaterialCase::Objects(Objects::None, Begun::Pair),
            hsm,
            ..key(RecordState::Creating)
        };
        case.observed()
    };
    let becomes = written(&made(HsmCase::Live)).map(|record| record.state);
    assert_eq!(becomes, Some(RecordState::Live));
    for hsm in NOT_LIVE.into_iter().chain([HsmCase::Opening]) {
        assert!(rests(&made(hsm)), "{hsm:?}: {}", name(&made(hsm)));
    }
}

#[test]
fn g6_nothing_of_a_key_is_kept_up_in_an_hsm_that_is_not_live() {
    let needs: [(&str, fn(&mut Case), fn(&mut Observed)); 3] = [
        (
            "Publish",
            |case| case.material = pair(Mark::Pending),
            |_| (),
        ),
        ("WriteRecord", |_| (), |o| spec(o).purge_protection = true),
        ("WriteRecord", |_| (), |o| spec(o).versions = 2),
    ];
    for (what, need, wish) in needs {
        for hsm in [HsmCase::Live].into_iter().chain(NOT_LIVE) {
            let mut case = Case {
                object: Some(LIVES),
                material: pair(Mark::Live),
                hsm,
                ..key(RecordState::Live)
            };
            need(&mut case);
            let mut seen = case.observed();
            wish(&mut seen);
            if hsm == HsmCase::Live {
                assert_eq!(name(&seen), what);
            } else {
                assert!(rests(&seen), "{what} in {hsm:?}: {}", name(&seen));
            }
        }
    }
}

fn spec(o: &mut Observed) -> &mut api::HsmKeySpec {
    match o.object.as_mut().map(|object| &mut object.body) {
        Some(Body::Key(spec, _)) => spec,
        other => panic!("a key: {other:?}"),
    }
}

#[test]
fn sd13_a_switch_is_in_the_record_before_anything_shows_it() {
    for kind in [Kind::Hsm, Kind::Key] {
        let (material, around) = match kind {
            Kind::Hsm => (MaterialCase::Open, HsmCase::Absent),
            Kind::Key => (pair(Mark::Live), HsmCase::Live),
        };
        let mut seen = Case {
            kind,
            material,
            hsm: around,
            object: Some(LIVES),
            record: record(RecordState::Live),
            ..USUAL
        }
        .observed();
        match seen.object.as_mut().map(|object| &mut object.body) {
            Some(Body::Hsm(spec, _)) => spec.purge_protection = true,
            Some(Body::Key(spec, _)) => spec.purge_protection = true,
            None => panic!("it lives"),
        }
        assert!(
            written(&seen).is_some_and(|record| record.purge_protection),
            "{kind:?}"
        );
        // Before it is there, nothing says so.
        seen.clock_trusted = false;
        seen.records[0].generation += 1;
        seen.refused = Some(Refused {
            what: Tried::Backend,
            why: "it hangs".into(),
            how: No::Failed,
        });
        let level = match step(&seen) {
            Some(Effect::ShowHsm(_, shown)) => shown.recovery_level,
            Some(Effect::ShowKey(_, shown)) => shown.recovery_level,
            other => panic!("it shows why it waits: {other:?}"),
        };
        assert_eq!(
            level,
            Some(api::RecoveryLevel::RecoverablePurgeable),
            "{kind:?}"
        );
    }
}

#[test]
fn sd12_soft_delete_that_was_turned_on_is_in_the_record() {
    let off = RecordCase::One {
        state: RecordState::Live,
        switches: Switches::NoSoftDelete,
        pending: false,
    };
    let case = Case {
        material: MaterialCase::Open,
        object: Some(LIVES),
        record: off,
        ..hsm(RecordState::Live)
    };
    let next = written(&case.observed());
    assert!(next.is_some_and(|record| record.soft_delete));
}

#[test]
fn sd13_a_keys_protection_is_first_shown_while_its_hsms_record_is_live() {
    for (hsm, shown) in [
        (HsmCase::Live, true),
        (HsmCase::Terminating, true),
        (HsmCase::Sealing, false),
        (HsmCase::Deleted, false),
        (HsmCase::Recovering, false),
        (HsmCase::Opening, false),
    ] {
        let case = Case {
            object: Some(LIVES),
            record: protected(RecordState::Live),
            material: pair(Mark::Live),
            hsm,
            ..USUAL
        };
        let Some(Effect::ShowKey(_, status)) = step(&case.observed()) else {
            panic!("{hsm:?}: a status");
        };
        let level = Some(api::RecoveryLevel::Recoverable);
        assert_eq!(status.recovery_level == level, shown, "{hsm:?}");
    }
}

#[test]
fn i3_nothing_is_made_nor_let_go_while_the_ledger_cannot_be_read() {
    for kind in [Kind::Hsm, Kind::Key] {
        for terminating in [false, true] {
            for shown in [Shown::Nothing, Shown::Equal] {
                for proxy in [None, Some(KEPT)] {
                    let object = ObjectCase {
                        terminating,
                        shown,
                        ..LIVES
                    };
                    let mut seen = Case {
                        kind,
                        proxy,
                        object: Some(object),
                        ..USUAL
                    }
                    .observed();
                    seen.material = Material::NoLedger("it is away".into());
                    assert!(rests(&seen), "{kind:?} {object:?}: {}", name(&seen));
                }
            }
        }
    }
}

// ---- delete ----

#[test]
fn delete_1_a_version_that_is_pending_still_is_labelled_before_it_is_sealed() {
    for (mark, first) in [(Mark::Pending, "Publish"), (Mark::Live, "WriteRecord")] {
        let case = Case {
            object: Some(GOES),
            proxy: Some(KEPT),
            material: pair(mark),
            ..key(RecordState::Live)
        };
        assert_eq!(name(&case.observed()), first);
    }
}

#[test]
fn delete_3_what_is_pending_is_ended_before_anything_counts_as_sealed() {
    for mark in [Mark::Live, Mark::Deleted] {
        let case = Case {
            object: Some(GOES),
            proxy: Some(KEPT),
            record: pending(RecordState::Sealing),
            material: MaterialCase::Objects(Objects::Pair(mark), Begun::Pair),
            ..USUAL
        };
        let seen = case.observed();
        let Material::Objects(found) = &seen.material else {
            panic!("objects");
        };
        let mut begun = found.iter().filter(|it| it.mark == Mark::Pending);
        let its = destroyed(&seen).is_some_and(|handle| begun.any(|it| it.handle == handle));
        assert!(its, "{mark:?}: {}", name(&seen));
    }
}

#[test]
fn delete_3_a_key_is_not_sealed_while_its_hsms_own_seal_is_made_or_taken_off() {
    let seals = |hsm| {
        let case = Case {
            object: Some(GOES),
            proxy: Some(KEPT),
            material: pair(Mark::Live),
            hsm,
            ..key(RecordState::Sealing)
        };
        name(&case.observed())
    };
    for hsm in [
        HsmCase::Live,
        HsmCase::Terminating,
        HsmCase::Vanished,
        HsmCase::Opening,
    ] {
        assert_eq!(seals(hsm), "Copy", "{hsm:?}");
    }
    // In a sealed one its object only goes.
    for (hsm, does) in [
        (HsmCase::Sealing, "ShowKey"),
        (HsmCase::Deleted, "RemoveFinalizer"),
        (HsmCase::Recovering, "RemoveFinalizer"),
    ] {
        assert_eq!(seals(hsm), does, "{hsm:?}");
    }
}

#[test]
fn delete_4_the_proxy_says_which_record_stands_behind_it_before_the_finalizer_goes() {
    for kind in [Kind::Hsm, Kind::Key] {
        let (material, around) = match kind {
            Kind::Hsm => (MaterialCase::Refused, HsmCase::Absent),
            Kind::Key => (pair(Mark::Deleted), HsmCase::Live),
        };
        for (shown, first) in [
            (Shown::Nothing, "ShowProxy"),
            (Shown::Lower, "ShowProxy"),
            (Shown::Equal, "RemoveFinalizer"),
        ] {
            let case = Case {
                kind,
                material,
                hsm: around,
                object: Some(GOES),
                proxy: Some(ProxyCase { shown, ..KEPT }),
                record: record(RecordState::Deleted),
                ..USUAL
            };
            assert_eq!(name(&case.observed()), first, "{kind:?} {shown:?}");
        }
    }
}

#[test]
fn delete_2_a_proxy_that_was_refused_is_not_tried_again_in_this_pass_and_the_finalizer_stays() {
    for kind in [Kind::Hsm, Kind::Key] {
        let (material, around) = match kind {
            Kind::Hsm => (MaterialCase::Open, HsmCase::Absent),
            Kind::Key => (pair(Mark::Live), HsmCase::Live),
        };
        // Over a record, and from the status alone.
        for record in [record(RecordState::Live), RecordCase::None] {
            for (refused, does) in [
                (None, "CreateProxy"),
                (
                    Some(Tried::CreateProxy),
                    if kind == Kind::Hsm {
                        "ShowHsm"
                    } else {
                        "ShowKey"
                    },
                ),
            ] {
                let case = Case {
                    kind,
                    refused,
                    record,
                    material: if record == RecordCase::None {
                        MaterialCase::NotLooked
                    } else {
                        material
                    },
                    hsm: around,
                    object: Some(GOES),
                    ..USUAL
                };
                assert_eq!(name(&case.observed()), does, "{kind:?} {record:?}");
            }
        }
    }
}

#[test]
fn g6_a_token_of_the_same_label_and_another_serial_is_neither_sealed_nor_opened_nor_believed() {
    for state in [
        RecordState::Live,
        RecordState::Sealing,
        RecordState::Deleted,
        RecordState::Opening,
    ] {
        for material in [MaterialCase::Open, MaterialCase::Refused] {
            let live = matches!(state, RecordState::Live | RecordState::Opening);
            let case = Case {
                material,
                object: live.then_some(LIVES),
                proxy: (!live).then_some(KEPT),
                ..hsm(state)
            };
            let mut seen = case.observed();
            match &mut seen.material {
                Material::Token(Some(facts)) => facts.serial = "2".into(),
                other => panic!("a token: {other:?}"),
            }
            assert!(rests(&seen), "{state:?} {material:?}: {}", name(&seen));
        }
    }
}

// ---- recover ----

#[test]
fn recover_1_it_begins_only_where_the_proxy_shows_the_record_of_the_look() {
    for (shown, begins) in [
        (Shown::Nothing, false),
        (Shown::Lower, false),
        (Shown::Equal, true),
    ] {
        let case = Case {
            proxy: Some(ProxyCase { shown, ..KEPT }),
            // What the backend does not answer leaves the proxy as it was.
            material: MaterialCase::OtherToken,
            asked: Asked::Own,
            ..hsm(RecordState::Deleted)
        };
        let seen = case.observed();
        assert_eq!(
            shows_phase(&seen, Some(Phase::Recovering)),
            begins,
            "{shown:?}"
        );
    }
}

#[test]
fn recover_3_an_object_that_was_refused_is_not_tried_again_in_this_pass() {
    for kind in [Kind::Hsm, Kind::Key] {
        let (material, around) = match kind {
            Kind::Hsm => (MaterialCase::Refused, HsmCase::Absent),
            Kind::Key => (pair(Mark::Deleted), HsmCase::Live),
        };
        let recovering = ProxyCase {
            phase: PhaseCase::Recovering(None),
            ..KEPT
        };
        let case = |refused, proxy| Case {
            kind,
            refused,
            material,
            hsm: around,
            proxy: Some(proxy),
            record: record(RecordState::Deleted),
            asked: Asked::Own,
            ..USUAL
        };
        assert_eq!(name(&case(None, recovering).observed()), "CreateObject");
        let refused = Some(Tried::CreateObject);
        let back = case(refused, recovering).observed();
        assert!(
            shows_phase(&back, None),
            "{kind:?}: the proxy is kept again"
        );
        let kept = case(refused, KEPT).observed();
        assert!(
            !shows_phase(&kept, Some(Phase::Recovering)),
            "{kind:?}: the Recover waits"
        );
    }
}

#[test]
fn sd21_a_key_is_made_only_once_its_hsms_recovery_with_all_keys_has_let_them_go_on() {
    let recovering = ProxyCase {
        phase: PhaseCase::Recovering(None),
        ..KEPT
    };
    for (hsm, all, made) in [
        (HsmCase::Live, true, true),
        (HsmCase::Ending, false, true),
        (HsmCase::Ending, true, false),
        (HsmCase::Opening, true, false),
    ] {
        let case = Case {
            proxy: Some(recovering),
            material: pair(Mark::Deleted),
            hsm,
            all,
            ..key(RecordState::Deleted)
        };
        let does = name(&case.observed());
        assert_eq!(does == "CreateObject", made, "{hsm:?} {all}: {does}");
        let stays = made || !shows_phase(&case.observed(), None);
        assert!(stays, "{hsm:?} {all}: it stays claimed");
    }
}

#[test]
fn sd21_what_cannot_be_recovered_is_not_claimed_with_its_hsm() {
    for (dated, claimed) in [(true, true), (false, false)] {
        let case = Case {
            proxy: Some(KEPT),
            material: pair(Mark::Deleted),
            hsm: HsmCase::Ending,
            all: true,
            ..key(RecordState::Deleted)
        };
        let mut seen = case.observed();
        if let (false, Some(ProxySpec::Key(spec))) =
            (dated, seen.proxy.as_mut().map(|found| &mut found.spec))
        {
            spec.scheduled_purge_time = None;
        }
        assert_eq!(
            shows_phase(&seen, Some(Phase::Recovering)),
            claimed,
            "{dated}"
        );
    }
    // Not before its deletion is finished either.
    let unsettled = Case {
        proxy: Some(ProxyCase {
            shown: Shown::Lower,
            ..KEPT
        }),
        material: pair(Mark::Deleted),
        hsm: HsmCase::Ending,
        all: true,
        ..key(RecordState::Deleted)
    };
    assert!(shows_phase(&unsettled.observed(), None));
}

#[test]
fn recover_6_a_key_is_unsealed_only_in_an_hsm_that_is_open_by_its_record() {
    let opens = |hsm| {
        let case = Case {
            object: Some(ObjectCase {
                shown: Shown::Nothing,
                ..LIVES
            }),
            material: pair(Mark::Deleted),
            hsm,
            ..key(RecordState::Opening)
        };
        case.observed()
    };
    for hsm in [HsmCase::Live, HsmCase::Opening] {
        assert_eq!(name(&opens(hsm)), "Copy", "{hsm:?}");
    }
    for hsm in NOT_LIVE {
        assert!(rests(&opens(hsm)), "{hsm:?}: {}", name(&opens(hsm)));
    }
}

#[test]
fn recover_8_the_objects_status_shows_the_record_before_the_proxy_goes() {
    for kind in [Kind::Hsm, Kind::Key] {
        let (material, around) = match kind {
            Kind::Hsm => (MaterialCase::Open, HsmCase::Absent),
            Kind::Key => (pair(Mark::Live), HsmCase::Live),
        };
        for (shown, goes) in [
            (Shown::Nothing, false),
            (Shown::Lower, false),
            (Shown::Equal, true),
        ] {
            let recovered = ProxyCase {
                phase: PhaseCase::Recovering(Some(OWN)),
                ..KEPT
            };
            let case = Case {
                kind,
                material,
                hsm: around,
                object: Some(ObjectCase { shown, ..LIVES }),
                proxy: Some(recovered),
                record: record(RecordState::Live),
                ..USUAL
            };
            let does = name(&case.observed());
            assert_eq!(does == "DeleteProxy", goes, "{kind:?} {shown:?}: {does}");
        }
    }
}

// ---- purge ----

#[test]
fn sd33_a_purge_is_accepted_only_while_the_policies_that_say_who_asks_are_in_place() {
    for kind in [Kind::Hsm, Kind::Key] {
        let (material, around) = match kind {
            Kind::Hsm => (MaterialCase::Refused, HsmCase::Absent),
            Kind::Key => (pair(Mark::Deleted), HsmCase::Live),
        };
        for (hindrance, accepted) in [
            (Hindrance::None, Some(true)),
            (Hindrance::Policies, Some(false)),
            (Hindrance::NotLooked, None),
        ] {
            let case = Case {
                kind,
                material,
                hsm: around,
                proxy: Some(KEPT),
                record: record(RecordState::Deleted),
                purge: PurgeCase {
                    request: Request::Unseen,
                    hindrance,
                    ..USUAL.purge
                },
                ..USUAL
            };
            let mut seen = case.observed();
            // What the proxy shows comes before.
            while let Some(Effect::ShowProxy(_, shown)) = step(&seen) {
                seen.proxy.as_mut().expect("it is kept").status = *shown;
            }
            let shown = match step(&seen) {
                Some(Effect::ShowPurge(_, shown)) => {
                    Some(conditions::is_true(&shown.conditions, ACCEPTED))
                }
                _ => None,
            };
            assert_eq!(shown, accepted, "{kind:?} {hindrance:?}");
        }
    }
}

#[test]
fn purge_7_an_hsms_proxy_goes_after_those_of_its_keys() {
    for (proxy, goes) in [
        (KeyProxy::None, true),
        (KeyProxy::Retained(false, false), false),
        (KeyProxy::OfAnother, false),
    ] {
        let key = KeyCase {
            state: RecordState::Deleted,
            proxy,
            object: KeyObject::None,
            material: None,
        };
        let case = Case {
            key: Some(key),
            proxy: Some(ProxyCase {
                phase: PhaseCase::Destroying,
                ..KEPT
            }),
            purge: PurgeCase {
                request: Request::Executing,
                ..USUAL.purge
            },
            ..hsm(RecordState::Tombstone)
        };
        let mut seen = case.observed();
        // Its Purge tells first.
        if let Some(Effect::ShowPurge(_, shown)) = step(&seen) {
            seen.purges[0].status = *shown;
        }
        let does = name(&seen);
        assert_eq!(does == "DeleteProxy", goes, "{proxy:?}: {does}");
    }
}
