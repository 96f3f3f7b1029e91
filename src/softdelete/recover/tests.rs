use super::*;
use crate::softdelete::Reason;
use crate::softdelete::examples::origin;
use crate::softdelete::permission::Lack;

fn deleted() -> Deleted {
    Deleted {
        kind: Kind::Hsm,
        origin: origin(),
        purge_time: chrono::DateTime::from_timestamp(0, 0),
        purgeable: true,
    }
}

fn facts() -> RecoverFacts {
    RecoverFacts {
        kind: Kind::Key,
        name: "signing".into(),
        uid: "u-1".into(),
        record: Some(RecordState::Deleted),
        retained: true,
        proxy: ProxyNow::Retained,
        standing: Standing::Nothing,
        hsm: Some(HsmNow::Live),
        namespace: Ok(()),
        backend: Ok(()),
    }
}

fn waits(facts: &RecoverFacts) -> Option<Reason> {
    match recover(facts) {
        RecoverVerdict::Wait(refusal) => Some(refusal.reason()),
        _ => None,
    }
}

fn fails(facts: &RecoverFacts) -> Option<Reason> {
    match recover(facts) {
        RecoverVerdict::Fail(refusal) => Some(refusal.reason()),
        _ => None,
    }
}

fn accepts(present: &str, accepted: Option<&str>, missing: Option<&Missing>) -> Option<Reason> {
    let (present, accepted) = (Uid::from(present), accepted.map(Uid::from));
    let now = NamespaceNow {
        uid: &present,
        terminating: false,
    };
    accepts_namespace(Kind::Hsm, &origin(), &now, accepted.as_ref(), missing)
        .err()
        .map(|refusal| refusal.reason())
}

#[test]
fn sd19_it_comes_back_into_the_very_namespace_of_then() {
    assert_eq!(accepts("n-1", None, None), None);
}

#[test]
fn sd19_a_namespace_made_anew_must_be_accepted_by_its_present_uid() {
    assert_eq!(accepts("n-2", None, None), Some(Reason::NamespaceChanged));
    assert_eq!(
        accepts("n-2", Some("n-1"), None),
        Some(Reason::NamespaceChanged)
    );
    assert_eq!(accepts("n-2", Some("n-2"), None), None);
}

#[test]
fn sd19_an_acceptance_is_believed_only_with_the_policies_in_place() {
    let missing = Missing {
        what: "recover".into(),
        lack: Lack::Absent,
    };
    assert_eq!(
        accepts("n-2", Some("n-2"), Some(&missing)),
        Some(Reason::PoliciesMissing)
    );
    assert_eq!(accepts("n-1", None, Some(&missing)), None);
}

#[test]
fn sd19_nothing_comes_back_into_a_namespace_that_terminates() {
    let uid = Uid::from("n-1");
    let now = NamespaceNow {
        uid: &uid,
        terminating: true,
    };
    let refusal = accepts_namespace(Kind::Hsm, &origin(), &now, None, None).unwrap_err();
    assert_eq!(refusal.reason(), Reason::NamespaceTerminating);
}

#[test]
fn sd20_a_retained_deletion_is_recovered() {
    assert_eq!(recover(&facts()), RecoverVerdict::Go);
}

#[test]
fn sd20_what_was_never_there_or_is_purged_fails_for_good() {
    let never = RecoverFacts {
        record: None,
        proxy: ProxyNow::Absent,
        ..facts()
    };
    assert_eq!(fails(&never), Some(Reason::NothingToRecover));
    let purged = RecoverFacts {
        record: Some(RecordState::Tombstone),
        ..facts()
    };
    assert_eq!(fails(&purged), Some(Reason::NothingToRecover));
}

#[test]
fn sd02_without_a_retention_there_is_nothing_to_recover() {
    assert_eq!(
        fails(&RecoverFacts {
            retained: false,
            ..facts()
        }),
        Some(Reason::NothingToRecover)
    );
}

#[test]
fn sd20_one_whose_object_is_live_again_is_done_whatever_else_holds() {
    let live = RecoverFacts {
        standing: Standing::LiveAgain,
        record: None,
        proxy: ProxyNow::Absent,
        ..facts()
    };
    assert_eq!(recover(&live), RecoverVerdict::Done);
}

#[test]
fn sd20_for_an_object_that_still_terminates_it_waits_for_the_proxy() {
    let early = RecoverFacts {
        standing: Standing::Terminating,
        record: Some(RecordState::Live),
        proxy: ProxyNow::Absent,
        ..facts()
    };
    assert_eq!(recover(&early), RecoverVerdict::AwaitDeletion);
}

#[test]
fn sd20_sealing_is_finished_before_a_recovery_begins() {
    let sealing = RecoverFacts {
        record: Some(RecordState::Sealing),
        ..facts()
    };
    assert_eq!(recover(&sealing), RecoverVerdict::AwaitDeletion);
}

#[test]
fn sd25_a_proxy_that_is_gone_is_waited_for_until_it_is_written_again() {
    let gone = RecoverFacts {
        proxy: ProxyNow::Absent,
        ..facts()
    };
    assert_eq!(recover(&gone), RecoverVerdict::AwaitDeletion);
}

#[test]
fn sd23_a_recovery_waits_from_destroying_on_and_fails_when_it_is_gone() {
    let purging = RecoverFacts {
        proxy: ProxyNow::Destroying,
        ..facts()
    };
    assert_eq!(waits(&purging), Some(Reason::PurgeInProgress));
    let beyond = RecoverFacts {
        record: Some(RecordState::Destroying),
        ..purging.clone()
    };
    assert_eq!(waits(&beyond), Some(Reason::PurgeInProgress));
    let gone = RecoverFacts {
        record: Some(RecordState::Tombstone),
        ..purging
    };
    assert_eq!(fails(&gone), Some(Reason::NothingToRecover));
}

#[test]
fn sd20_two_recovers_of_one_deletion_do_not_run_together() {
    let others = RecoverFacts {
        proxy: ProxyNow::Recovering { ours: false },
        ..facts()
    };
    assert_eq!(waits(&others), Some(Reason::RecoveryInProgress));
    let ours = RecoverFacts {
        proxy: ProxyNow::Recovering { ours: true },
        ..facts()
    };
    assert_eq!(recover(&ours), RecoverVerdict::Go);
}

#[test]
fn sd20_one_that_stands_in_its_place_takes_the_material_unless_it_differs() {
    assert_eq!(
        recover(&RecoverFacts {
            standing: Standing::Waiting(None),
            ..facts()
        }),
        RecoverVerdict::Go
    );
    let difference = Refusal::SnapshotDisagrees {
        field: "f".into(),
        deleted: "a".into(),
        standing: "b".into(),
    };
    let differs = RecoverFacts {
        standing: Standing::Waiting(Some(difference)),
        ..facts()
    };
    assert_eq!(fails(&differs), Some(Reason::SnapshotDisagrees));
}

#[test]
fn sd20_whatever_else_hinders_it_makes_it_wait() {
    let namespace = RecoverFacts {
        namespace: Err(Refusal::NamespaceTerminating {
            namespace: "a".into(),
        }),
        ..facts()
    };
    assert_eq!(waits(&namespace), Some(Reason::NamespaceTerminating));
    let backend = RecoverFacts {
        backend: Err(Refusal::BackendUnavailable {
            backend: "a".into(),
            why: String::new(),
        }),
        ..facts()
    };
    assert_eq!(waits(&backend), Some(Reason::BackendUnavailable));
    let taken = Refusal::NameTaken {
        name: "a".into(),
        holder: "b".into(),
    };
    assert_eq!(
        waits(&RecoverFacts {
            standing: Standing::Other(taken),
            ..facts()
        }),
        Some(Reason::NameTaken)
    );
}

#[test]
fn sd20_a_recovery_turns_back_only_before_its_new_uid_and_before_anything_is_unsealed() {
    assert!(may_turn_back(false, RecordState::Deleted));
    assert!(!may_turn_back(true, RecordState::Deleted));
    assert!(!may_turn_back(false, RecordState::Opening));
}

#[test]
fn sd20_a_recover_that_is_deleted_withdraws_only_what_has_not_begun() {
    assert!(!goes_on_without_its_recover(ProxyNow::Retained));
    assert!(goes_on_without_its_recover(ProxyNow::Recovering {
        ours: true
    }));
}

#[test]
fn sd21_a_key_waits_for_its_hsms_recovery() {
    let hsm = HsmNow::SoftDeleted {
        hsm: deleted(),
        recovering: false,
    };
    assert_eq!(
        waits(&RecoverFacts {
            hsm: Some(hsm),
            ..facts()
        }),
        Some(Reason::HsmDeleted)
    );
    let absent = HsmNow::NotFound {
        name: "prod".into(),
    };
    assert_eq!(
        waits(&RecoverFacts {
            hsm: Some(absent),
            ..facts()
        }),
        Some(Reason::HsmNotFound)
    );
}

#[test]
fn sd21_what_was_live_in_an_hsm_returns_with_it() {
    for include in [IncludeKeys::None, IncludeKeys::All] {
        assert_eq!(
            with_its_hsm(RecordState::Live, include),
            KeyOutcome::Returns
        );
        assert_eq!(
            with_its_hsm(RecordState::Destroying, include),
            KeyOutcome::None
        );
    }
}

#[test]
fn sd21_what_was_deleted_on_its_own_stays_so_unless_all_are_included() {
    for state in [RecordState::Deleted, RecordState::Sealing] {
        assert_eq!(
            with_its_hsm(state, IncludeKeys::None),
            KeyOutcome::StaysDeleted
        );
        assert_eq!(with_its_hsm(state, IncludeKeys::All), KeyOutcome::Recovered);
    }
}

fn step(mode: CreateMode, reserved: Option<Refusal>, namespace: &str) -> CreateStep {
    let wanted = Names {
        kind: Kind::Hsm,
        namespace: "payments",
        name: "prod",
        key: None,
    };
    create_or_recover(mode, &wanted, reserved, &namespace.into())
}

#[test]
fn sd22_create_or_recover_recovers_what_reserves_its_name_and_creates_otherwise() {
    let reserved = Refusal::ObjectIsDeletedButRecoverable(deleted());
    assert_eq!(
        step(CreateMode::CreateOrRecover, None, "n-1"),
        CreateStep::Create
    );
    assert_eq!(
        step(CreateMode::CreateOrRecover, Some(reserved.clone()), "n-1"),
        CreateStep::Recover(deleted())
    );
    assert_eq!(
        step(CreateMode::Default, Some(reserved.clone()), "n-1"),
        CreateStep::Stand(reserved)
    );
}

#[test]
fn sd22_in_a_namespace_made_anew_it_waits_for_a_recover_that_accepts_it() {
    let reserved = Refusal::ObjectIsDeletedButRecoverable(deleted());
    let CreateStep::Stand(refusal) = step(CreateMode::CreateOrRecover, Some(reserved), "n-2")
    else {
        panic!("it did not stand");
    };
    assert_eq!(refusal.reason(), Reason::NamespaceChanged);
}

#[test]
fn sd22_it_recovers_nothing_of_another_resource_name() {
    let mut other = deleted();
    other.origin.name = "test".into();
    let reserved = Refusal::ObjectIsDeletedButRecoverable(other);
    assert_eq!(
        step(CreateMode::CreateOrRecover, Some(reserved.clone()), "n-1"),
        CreateStep::Stand(reserved)
    );
}

#[test]
fn sd22_a_key_that_comes_back_by_itself_waits_for_its_hsm_and_never_stalls_for_it() {
    let waits = |recovering| Refusal::HsmDeleted {
        hsm: deleted(),
        recovering,
    };
    let changed = Refusal::NamespaceChanged {
        kind: Kind::Key,
        origin: deleted().origin,
        present: "n-2".into(),
    };
    for (mode, refusal, stalled) in [
        (CreateMode::CreateOrRecover, waits(false), false),
        (CreateMode::CreateOrRecover, waits(true), false),
        (CreateMode::Default, waits(false), true),
        (CreateMode::Default, waits(true), false),
        (CreateMode::CreateOrRecover, changed, true),
    ] {
        assert_eq!(stands_still(mode, &refusal), stalled, "{mode:?} {refusal}");
    }
}
