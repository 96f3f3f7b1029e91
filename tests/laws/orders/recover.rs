//! Recover, and purge.

use super::*;
use managed_hsm_operator::softdelete::permission::Policies;

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
fn sd33_what_was_not_accepted_at_first_sight_never_is_and_says_so() {
    let case = Case {
        kind: Kind::Key,
        material: pair(Mark::Deleted),
        hsm: HsmCase::Live,
        proxy: Some(KEPT),
        record: record(RecordState::Deleted),
        purge: PurgeCase {
            request: Request::Unseen,
            hindrance: Hindrance::Policies,
            ..USUAL.purge
        },
        ..USUAL
    };
    let mut seen = case.observed();
    // By now they stand, and have since long before it was asked.
    let mut stand = false;
    for _ in 0..6 {
        match step(&seen) {
            Some(Effect::ShowProxy(_, shown)) => {
                seen.proxy.as_mut().expect("it is kept").status = *shown;
            }
            Some(Effect::ShowPurge(_, shown)) => {
                seen.purges[0].status = *shown;
                seen.policies = Policies::Since(chrono::DateTime::<chrono::Utc>::MIN_UTC);
                stand = true;
            }
            None => break,
            Some(other) => panic!("{other:?}"),
        }
    }
    assert!(stand, "it was seen");
    let shown = &seen.purges[0].status.conditions;
    assert!(!conditions::is_true(shown, ACCEPTED));
    let ready = conditions::get(shown, conditions::READY).expect("it says why");
    assert_eq!(ready.reason, "PoliciesMissing");
    assert!(
        ready.message.contains("create it again"),
        "{}",
        ready.message
    );
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
