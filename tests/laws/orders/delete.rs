//! Delete.

use super::*;

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
