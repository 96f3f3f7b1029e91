//! Create, and the upkeep of what lives.

use super::*;

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

/// What a case needs, and what its manifest wishes.
type Need = fn(&mut Case);
type Wish = fn(&mut Observed);

#[test]
fn g6_nothing_of_a_key_is_kept_up_in_an_hsm_that_is_not_live() {
    let needs: [(&str, Need, Wish); 3] = [
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
