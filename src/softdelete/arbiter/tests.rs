use super::*;
use crate::softdelete::examples::{at, key, origin, version};
use crate::softdelete::retention::{DAY, dates};
use crate::softdelete::{Origin, Token};
use RecordState as S;

/// Whether a path of edges leads there.
fn reaches(from: RecordState, to: RecordState) -> bool {
    let mut seen = vec![from];
    let mut next = 0;
    while let Some(state) = seen.get(next).copied() {
        next += 1;
        for other in S::ALL {
            if may_become(state, other) && !seen.contains(&other) {
                seen.push(other);
            }
        }
    }
    seen.contains(&to)
}

#[test]
fn sd01_sealing_reads_as_deleted_and_opening_as_live() {
    assert_eq!(reads_as(S::Sealing), reads_as(S::Deleted));
    assert_eq!(reads_as(S::Opening), reads_as(S::Live));
}

#[test]
fn sd28_only_the_named_clusters_records_are_taken_over_and_nothing_but_the_cluster_changes() {
    let theirs = key(S::Deleted);
    let (old, ours) = (theirs.cluster.clone(), "ours".into());
    assert_eq!(taken_over(&theirs, None, &ours), None);
    assert_eq!(taken_over(&theirs, Some(&"third".into()), &ours), None);
    let taken = taken_over(&theirs, Some(&old), &ours).expect("it was named");
    assert_eq!(taken.cluster, ours);
    assert_eq!(taken_over(&taken, Some(&ours), &ours), None, "ours already");
    let back = Record {
        cluster: old,
        ..taken
    };
    assert_eq!(back, theirs);
}

#[test]
fn sd23_etcd_is_old_exactly_where_a_later_revision_was_seen() {
    assert!(etcd_is_old(9, 10));
    assert!(!etcd_is_old(10, 10) && !etcd_is_old(11, 10));
}

#[test]
fn sd20_no_record_follows_by_an_edge_that_is_not_there() {
    for (from, to) in S::ALL.iter().flat_map(|from| S::ALL.map(|to| (*from, to))) {
        let followed = may_follow(&key(from), &key(to));
        assert_eq!(
            followed == Err(Breach::Edge),
            !may_become(from, to),
            "{from:?} to {to:?}: {followed:?}"
        );
    }
}

#[test]
fn sd20_opening_is_never_turned_into_sealing_nor_sealing_into_opening() {
    assert!(may_become(S::Sealing, S::Deleted) && !may_become(S::Sealing, S::Opening));
    assert!(may_become(S::Opening, S::Live) && !may_become(S::Opening, S::Sealing));
}

#[test]
fn sd23_only_deleted_and_creating_are_ever_destroyed_and_nothing_leaves_it_but_a_tombstone() {
    let before: Vec<_> = S::ALL
        .into_iter()
        .filter(|from| may_become(*from, S::Destroying))
        .collect();
    assert_eq!(before, [S::Creating, S::Deleted]);
    let after: Vec<_> = S::ALL
        .into_iter()
        .filter(|to| may_become(S::Destroying, *to))
        .collect();
    assert_eq!(after, [S::Tombstone]);
}

#[test]
fn sd20_these_edges_exist_and_no_others() {
    let edges: Vec<_> = S::ALL
        .iter()
        .flat_map(|from| S::ALL.map(|to| (*from, to)))
        .filter(|(from, to)| from != to && *to != S::Abandoned && may_become(*from, *to))
        .collect();
    let expected = [
        (S::Creating, S::Live),
        (S::Creating, S::Destroying),
        (S::Live, S::Sealing),
        (S::Sealing, S::Deleted),
        (S::Deleted, S::Opening),
        (S::Deleted, S::Destroying),
        (S::Opening, S::Live),
        (S::Destroying, S::Tombstone),
    ];
    assert_eq!(edges, expected);
}

#[test]
fn sd28_what_is_lost_can_be_abandoned_from_every_state_that_had_material_and_no_other() {
    let from: Vec<_> = S::ALL
        .into_iter()
        .filter(|from| may_become(*from, S::Abandoned))
        .collect();
    assert_eq!(from, [S::Live, S::Sealing, S::Deleted, S::Opening]);
}

#[test]
fn sd01_nothing_leaves_tombstone_or_abandoned() {
    for to in S::ALL {
        assert!(
            !may_become(S::Tombstone, to) && !may_become(S::Abandoned, to),
            "{to:?}"
        );
    }
}

#[test]
fn sd01_every_life_can_end_and_every_deletion_can_be_turned_back_before_its_end() {
    for from in S::ALL {
        assert_eq!(
            reaches(from, S::Tombstone),
            from != S::Abandoned,
            "{from:?}"
        );
    }
    assert!(reaches(S::Deleted, S::Live) && reaches(S::Live, S::Deleted));
}

#[test]
fn sd28_a_first_record_never_claims_a_destruction_or_a_recovery() {
    for state in [S::Opening, S::Destroying, S::Tombstone] {
        assert!(!may_be_first(state), "{state:?}");
    }
    assert!(may_be_first(S::Creating) && may_be_first(S::Abandoned));
}

#[test]
fn sd17_names_are_held_until_the_tombstone() {
    for state in S::ALL {
        let gone = matches!(state, S::Tombstone | S::Abandoned);
        assert_eq!(holds_names(state), !gone, "{state:?}");
    }
}

#[test]
fn sd26_an_hsms_tombstone_stands_for_all_its_keys() {
    for state in S::ALL {
        let read = state_in_hsm(state, S::Tombstone);
        assert_eq!(reads_as(read), ReadsAs::Gone, "{state:?}");
        assert_eq!(state_in_hsm(state, S::Deleted), state);
    }
}

#[test]
fn sd20_the_highest_generation_decides() {
    assert_eq!(highest::<u8>(&[]), Highest::None);
    assert_eq!(
        highest(&[(1, 'a'), (3, 'c'), (2, 'b')]),
        Highest::One(3, &'c')
    );
}

#[test]
fn sd20_equal_records_of_one_generation_are_one_and_different_ones_hold() {
    assert_eq!(highest(&[(3, 'c'), (3, 'c')]), Highest::One(3, &'c'));
    assert_eq!(
        highest(&[(3, 'c'), (3, 'd'), (2, 'b')]),
        Highest::Disagree(3)
    );
    assert_eq!(
        highest(&[(4, 'e'), (3, 'c'), (3, 'd')]),
        Highest::One(4, &'e')
    );
}

#[test]
fn sd23_a_store_is_old_when_the_cluster_has_seen_a_higher_generation() {
    assert!(store_is_old(4, [Some(3), Some(5)]));
    assert!(!store_is_old(4, [Some(4), None]));
    assert!(!store_is_old(4, []));
}

#[test]
fn sd10_of_record_and_proxy_the_later_date_holds_and_a_missing_one_never_comes() {
    let record = key(S::Deleted);
    let own = at(90 * 86_400);
    assert_eq!(stricter_date(&record, Some(at(0))), PurgeDate::At(own));
    assert_eq!(
        stricter_date(&record, Some(own + DAY)),
        PurgeDate::At(own + DAY)
    );
    assert_eq!(stricter_date(&record, None), PurgeDate::Never);
}

#[test]
fn sd02_only_a_record_without_soft_delete_and_without_dates_is_purged_directly() {
    let off = Record {
        soft_delete: false,
        dates: None,
        ..key(S::Deleted)
    };
    assert_eq!(stricter_date(&off, None), PurgeDate::Direct);
    assert_eq!(stricter_date(&off, Some(at(0))), PurgeDate::At(at(0)));
}

#[test]
fn sd08_no_record_changes_its_retention() {
    let old = key(S::Live);
    let new = Record {
        retention_days: 91,
        ..key(S::Sealing)
    };
    assert_eq!(may_follow(&old, &new), Err(Breach::Loosened));
}

#[test]
fn sd13_no_record_turns_a_switch_off() {
    let old = Record {
        purge_protection: true,
        ..key(S::Live)
    };
    assert_eq!(may_follow(&old, &key(S::Sealing)), Err(Breach::Loosened));
    let off = Record {
        soft_delete: false,
        ..key(S::Sealing)
    };
    assert_eq!(may_follow(&key(S::Live), &off), Err(Breach::Loosened));
}

#[test]
fn sd13_protection_is_recorded_only_for_what_is_live() {
    let on = |state| Record {
        purge_protection: true,
        ..key(state)
    };
    assert_eq!(may_follow(&key(S::Live), &on(S::Live)), Ok(()));
    assert_eq!(
        may_follow(&key(S::Deleted), &on(S::Deleted)),
        Err(Breach::ProtectedTooLate)
    );
}

#[test]
fn sd04_no_record_moves_a_purge_date_earlier_or_forgets_it() {
    let earlier = Record {
        dates: Some(dates(at(-1), Some(90), DAY)),
        ..key(S::Deleted)
    };
    assert_eq!(may_follow(&key(S::Deleted), &earlier), Err(Breach::Earlier));
    let forgotten = Record {
        dates: None,
        ..key(S::Live)
    };
    assert_eq!(
        may_follow(&key(S::Opening), &forgotten),
        Err(Breach::Earlier)
    );
}

#[test]
fn sd04_no_record_moves_one_of_its_two_dates_alone_earlier() {
    let dated = |start, days| Record {
        dates: Some(dates(at(start), Some(days), DAY)),
        ..key(S::Deleted)
    };
    assert_eq!(
        may_follow(&key(S::Deleted), &dated(0, 89)),
        Err(Breach::Earlier)
    );
    assert_eq!(
        may_follow(&key(S::Deleted), &dated(-1, 91)),
        Err(Breach::Earlier)
    );
}

#[test]
fn sd09_a_first_deletion_brings_dates_where_there_were_none() {
    let never_deleted = Record {
        dates: None,
        ..key(S::Live)
    };
    assert_eq!(may_follow(&never_deleted, &key(S::Sealing)), Ok(()));
}

#[test]
fn sd28_a_key_never_becomes_an_hsm() {
    let hsm = Record {
        subject: Subject::Hsm { token: None },
        ..key(S::Live)
    };
    assert_eq!(may_follow(&key(S::Live), &hsm), Err(Breach::Identity));
}

#[test]
fn sd10_a_second_deletion_starts_a_new_full_interval() {
    let again = Record {
        dates: Some(dates(at(500), Some(90), DAY)),
        ..key(S::Sealing)
    };
    assert_eq!(may_follow(&key(S::Live), &again), Ok(()));
}

#[test]
fn sd20_a_record_gets_another_uid_only_at_the_start_of_a_recovery() {
    let moved = |state| Record {
        origin: Origin {
            uid: "u-2".into(),
            ..origin()
        },
        ..key(state)
    };
    assert_eq!(may_follow(&key(S::Deleted), &moved(S::Opening)), Ok(()));
    assert_eq!(
        may_follow(&key(S::Deleted), &moved(S::Deleted)),
        Err(Breach::Holder)
    );
}

#[test]
fn sd28_a_record_never_drops_a_version_and_never_becomes_another_key() {
    let with = |versions, name: &str| {
        let mut record = key(S::Live);
        if let Subject::Key {
            versions: held,
            key_name,
            ..
        } = &mut record.subject
        {
            *held = versions;
            *key_name = name.into();
        }
        record
    };
    assert_eq!(
        may_follow(
            &key(S::Live),
            &with(vec![version(1), version(2)], "Signing")
        ),
        Ok(())
    );
    assert_eq!(
        may_follow(&key(S::Live), &with(vec![version(2)], "Signing")),
        Err(Breach::Material)
    );
    assert_eq!(
        may_follow(&key(S::Live), &with(vec![version(1)], "other")),
        Err(Breach::Identity)
    );
}

#[test]
fn sd28_an_hsm_gets_its_token_once_and_never_another() {
    let hsm = |label: Option<&str>, state| Record {
        subject: Subject::Hsm {
            token: label.map(|label| Token {
                label: label.into(),
                serial: "1".into(),
            }),
        },
        ..key(state)
    };
    assert_eq!(
        may_follow(&hsm(None, S::Creating), &hsm(Some("a"), S::Live)),
        Ok(())
    );
    assert_eq!(
        may_follow(&hsm(Some("a"), S::Live), &hsm(Some("b"), S::Live)),
        Err(Breach::Identity)
    );
    assert_eq!(
        may_follow(&hsm(Some("a"), S::Live), &hsm(None, S::Live)),
        Err(Breach::Identity)
    );
}
