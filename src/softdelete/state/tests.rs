use super::*;
use ObjectState as O;

fn facts(status: bool, record: Option<RecordState>, found: Found) -> MaterialFacts {
    MaterialFacts {
        status_names_material: status,
        record,
        found,
    }
}

#[test]
fn sd01_waiting_is_what_neither_record_nor_status_says_had_material() {
    assert_eq!(object_state(None, false), O::Waiting);
    assert_eq!(object_state(Some(RecordState::Creating), false), O::Waiting);
    assert_eq!(object_state(None, true), O::Active);
    assert_eq!(object_state(Some(RecordState::Live), false), O::Active);
}

#[test]
fn sd01_each_record_state_is_one_state() {
    let states = RecordState::ALL.map(|record| object_state(Some(record), true));
    use O::*;
    assert_eq!(
        states,
        [
            Active,
            Active,
            SoftDeleted,
            SoftDeleted,
            Active,
            Purged,
            Purged,
            Purged
        ]
    );
}

#[test]
fn sd01_exactly_four_edges_exist_and_none_leaves_purged() {
    let edges = [Edge::Make, Edge::Delete, Edge::Recover, Edge::Purge];
    let all: Vec<_> = O::ALL
        .iter()
        .flat_map(|s| edges.map(|e| (*s, after(*s, e))))
        .filter(|(_, to)| to.is_some())
        .collect();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|(from, _)| *from != O::Purged));
}

#[test]
fn sd01_an_edge_agrees_with_the_records_edges() {
    assert_eq!(
        after(O::SoftDeleted, Edge::Recover),
        Some(object_state(Some(RecordState::Opening), false))
    );
    assert_eq!(
        after(O::Active, Edge::Delete),
        Some(object_state(Some(RecordState::Sealing), false))
    );
    assert_eq!(
        after(O::SoftDeleted, Edge::Purge),
        Some(object_state(Some(RecordState::Destroying), false))
    );
}

#[test]
fn sd01_deleting_a_waiting_object_makes_no_proxy() {
    assert!(!delete_makes_proxy(O::Waiting));
    assert!(delete_makes_proxy(O::Active));
}

#[test]
fn sd03_the_finalizer_stays_until_the_proxy_is_there_and_the_material_sealed() {
    let sealed = LettingGo {
        state: O::SoftDeleted,
        proxy: true,
        record: Some(RecordState::Deleted),
        missing: false,
        hsm_sealed: false,
    };
    assert!(may_let_go(&sealed));
    assert!(!may_let_go(&LettingGo {
        proxy: false,
        ..sealed
    }));
    assert!(!may_let_go(&LettingGo {
        record: Some(RecordState::Sealing),
        ..sealed
    }));
    assert!(!may_let_go(&LettingGo {
        state: O::Active,
        record: Some(RecordState::Live),
        ..sealed
    }));
}

#[test]
fn sd27_in_a_sealed_hsm_no_delete_waits_but_the_proxy_must_be_there() {
    let key = LettingGo {
        state: O::SoftDeleted,
        proxy: true,
        record: Some(RecordState::Sealing),
        missing: false,
        hsm_sealed: true,
    };
    assert!(may_let_go(&key));
    assert!(!may_let_go(&LettingGo {
        proxy: false,
        ..key
    }));
}

#[test]
fn sd28_one_whose_material_is_missing_is_let_go_with_its_proxy() {
    let lost = LettingGo {
        state: O::Active,
        proxy: true,
        record: None,
        missing: true,
        hsm_sealed: false,
    };
    assert!(may_let_go(&lost));
    assert!(!may_let_go(&LettingGo {
        proxy: false,
        ..lost
    }));
}

#[test]
fn sd01_a_waiting_object_is_let_go_once_what_was_begun_is_ended() {
    let waiting = LettingGo {
        state: O::Waiting,
        proxy: false,
        record: None,
        missing: false,
        hsm_sealed: false,
    };
    assert!(may_let_go(&waiting));
    assert!(!may_let_go(&LettingGo {
        record: Some(RecordState::Creating),
        ..waiting
    }));
    assert!(!may_let_go(&LettingGo {
        state: O::Purged,
        record: Some(RecordState::Destroying),
        ..waiting
    }));
    assert!(may_let_go(&LettingGo {
        state: O::Purged,
        record: Some(RecordState::Tombstone),
        ..waiting
    }));
}

#[test]
fn sd04_a_deleted_object_can_only_be_listed_read_recovered_or_purged() {
    let acts = [
        Act::Use,
        Act::Edit,
        Act::Delete,
        Act::List,
        Act::Read,
        Act::Recover,
        Act::Purge,
        Act::Reschedule,
    ];
    let allowed: Vec<_> = acts
        .into_iter()
        .filter(|act| allows(O::SoftDeleted, *act))
        .collect();
    assert_eq!(allowed, [Act::List, Act::Read, Act::Recover, Act::Purge]);
}

#[test]
fn sd04_nobody_moves_a_purge_date() {
    assert!(O::ALL.iter().all(|state| !allows(*state, Act::Reschedule)));
}

#[test]
fn sd27_a_key_is_used_only_while_its_own_record_and_its_hsms_are_live() {
    for key in RecordState::ALL {
        for hsm in RecordState::ALL {
            let both = key == RecordState::Live && hsm == RecordState::Live;
            assert_eq!(may_use(key, hsm), both, "{key:?} in {hsm:?}");
        }
    }
}

#[test]
fn sd28_new_material_is_made_only_where_neither_status_nor_record_says_there_was_some() {
    for record in RecordState::ALL.map(Some).into_iter().chain([None]) {
        for status in [false, true] {
            for found in [Found::There, Found::Not] {
                let never = !status && matches!(record, None | Some(RecordState::Creating));
                let says = material(&facts(status, record, found)) == Ok(Material::Never);
                assert_eq!(says, never, "{record:?} {status} {found:?}");
            }
        }
    }
}

#[test]
fn sd28_material_that_is_gone_has_three_names() {
    let live = Some(RecordState::Live);
    assert_eq!(
        material(&facts(true, Some(RecordState::Tombstone), Found::Not)),
        Err(Reason::MaterialDestroyed)
    );
    assert_eq!(
        material(&facts(false, live, Found::Not)),
        Err(Reason::MaterialMissing)
    );
    assert_eq!(
        material(&facts(true, None, Found::Not)),
        Err(Reason::MaterialMissing)
    );
    assert_eq!(
        material(&facts(true, live, Found::BackendUnknown)),
        Err(Reason::BackendUnknown)
    );
}

#[test]
fn sd28_nothing_is_claimed_destroyed_of_what_was_abandoned() {
    assert_eq!(
        material(&facts(true, Some(RecordState::Abandoned), Found::Not)),
        Err(Reason::MaterialMissing)
    );
}

#[test]
fn sd28_a_backend_that_does_not_answer_is_waited_for_whatever_was_there() {
    for record in [
        None,
        Some(RecordState::Creating),
        Some(RecordState::Live),
        Some(RecordState::Deleted),
    ] {
        let waits = material(&facts(false, record, Found::BackendUnavailable));
        assert_eq!(waits, Err(Reason::BackendUnavailable), "{record:?}");
    }
}

#[test]
fn sd35_a_step_is_told_on_the_proxy_when_object_or_namespace_go() {
    assert_eq!(event_place(false, true), EventPlace::Object);
    assert_eq!(event_place(true, true), EventPlace::Proxy);
    assert_eq!(event_place(false, false), EventPlace::Proxy);
}
