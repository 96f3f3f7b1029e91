use super::*;
use crate::softdelete::examples::at;
use proptest::prelude::*;

fn facts(deleted: Option<i64>, now: i64) -> DeletionFacts {
    DeletionFacts {
        deleted: deleted.map(at),
        created: Some(at(-1000)),
        last_deletion: None,
        now: at(now),
        clock_trusted: true,
    }
}

fn schedule(date: i64, announced: Option<i64>) -> Schedule {
    Schedule {
        date: PurgeDate::At(at(date)),
        announced_at: announced.map(at),
        day: DAY,
    }
}

#[test]
fn sd08_ninety_days_if_nothing_is_said() {
    assert_eq!(retention_days(None, None), Ok(90));
    assert_eq!(retention_days(Some(7), None), Ok(7));
}

#[test]
fn sd08_a_key_that_says_nothing_has_its_hsms_days() {
    assert_eq!(retention_days(None, Some(30)), Ok(30));
    assert_eq!(retention_days(Some(10), Some(30)), Ok(10));
    assert_eq!(retention_days(Some(30), Some(30)), Ok(30));
}

#[test]
fn sd08_a_key_that_says_more_than_its_hsm_stands() {
    let refusal = retention_days(Some(31), Some(30)).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::RetentionExceedsHsm {
            days: 31,
            hsm_days: 30
        }
    );
}

#[test]
fn sd09_the_clock_starts_at_the_accepted_delete_however_late_it_is_seen() {
    assert_eq!(deletion_time(&facts(Some(0), 5_000_000)), at(0));
}

#[test]
fn sd09_an_unknown_time_of_deletion_is_the_discovery() {
    assert_eq!(deletion_time(&facts(None, 500)), at(500));
}

#[test]
fn sd09_with_a_clock_that_is_not_trusted_the_later_time_counts() {
    let doubtful = |deleted, now| DeletionFacts {
        clock_trusted: false,
        ..facts(Some(deleted), now)
    };
    assert_eq!(deletion_time(&doubtful(0, 500)), at(500));
    assert_eq!(deletion_time(&doubtful(500, 0)), at(500));
}

#[test]
fn sd09_a_deletion_before_the_creation_or_before_the_last_one_counts_from_discovery() {
    assert_eq!(deletion_time(&facts(Some(-2000), 500)), at(500));
    let again = DeletionFacts {
        last_deletion: Some(at(10)),
        ..facts(Some(0), 500)
    };
    assert_eq!(deletion_time(&again), at(500));
}

#[test]
fn sd09_a_deletion_in_the_second_of_its_creation_is_believed() {
    assert_eq!(deletion_time(&facts(Some(-1000), 500)), at(-1000));
}

#[test]
fn sd09_a_deletion_in_the_future_stays_there_and_gives_no_earlier_date() {
    assert_eq!(deletion_time(&facts(Some(900), 500)), at(900));
}

#[test]
fn sd09_the_purge_time_is_days_times_86400_seconds_later() {
    let dates = dates(at(0), Some(90), DAY);
    assert_eq!(dates.scheduled_purge_time, Some(at(90 * 86_400)));
    assert_eq!(dates.retention_days, Some(90));
}

#[test]
fn sd09_parts_of_a_second_round_up() {
    let dates = dates(
        at(0) + Duration::milliseconds(1),
        Some(7),
        Duration::seconds(1),
    );
    assert_eq!(dates.deletion_time, at(1));
    assert_eq!(dates.scheduled_purge_time, Some(at(8)));
}

#[test]
fn sd02_without_days_there_is_no_date_and_only_a_record_without_soft_delete_makes_that_direct() {
    let scheduled = dates(at(0), None, DAY).scheduled_purge_time;
    assert_eq!(purge_date(scheduled, false), PurgeDate::Direct);
    assert_eq!(purge_date(scheduled, true), PurgeDate::Never);
}

#[test]
fn sd10_a_purge_is_announced_a_day_ahead_and_not_before() {
    assert_eq!(
        due(&schedule(90_000, None), at(3_599)),
        Due::Wait(at(3_600))
    );
    assert_eq!(due(&schedule(90_000, None), at(3_600)), Due::Announce);
}

#[test]
fn sd10_announced_in_time_it_is_due_at_its_date() {
    let schedule = schedule(90_000, Some(3_600));
    assert_eq!(due(&schedule, at(89_999)), Due::Wait(at(90_000)));
    assert_eq!(due(&schedule, at(90_000)), Due::Purge);
}

#[test]
fn sd10_after_an_outage_it_is_announced_first_and_due_a_day_later() {
    assert_eq!(due(&schedule(0, None), at(1_000_000)), Due::Announce);
    let announced = schedule(0, Some(1_000_000));
    assert_eq!(due(&announced, at(1_086_399)), Due::Wait(at(1_086_400)));
    assert_eq!(due(&announced, at(1_086_400)), Due::Purge);
}

#[test]
fn sd10_the_announcements_day_rounds_up_to_whole_seconds() {
    let announced = at(0) + Duration::milliseconds(1);
    assert_eq!(earliest_purge(at(0), announced, DAY), at(86_401));
}

#[test]
fn sd10_a_missing_date_is_never_due() {
    let never = Schedule {
        date: PurgeDate::Never,
        ..schedule(0, Some(0))
    };
    assert_eq!(due(&never, at(i64::from(i32::MAX))), Due::Never);
}

#[test]
fn sd02_a_direct_purge_waits_for_no_date() {
    let direct = Schedule {
        date: PurgeDate::Direct,
        ..schedule(0, None)
    };
    assert_eq!(due(&direct, at(-1)), Due::Purge);
}

#[test]
fn sd10_the_stricter_of_two_dates_is_the_later_and_a_missing_one_is_strictest() {
    let (early, late) = (PurgeDate::At(at(0)), PurgeDate::At(at(1)));
    assert_eq!(early.max(late), late);
    assert_eq!(PurgeDate::Direct.max(early), early);
    assert_eq!(late.max(PurgeDate::Never), PurgeDate::Never);
}

#[test]
fn sd11_a_key_of_a_deleted_hsm_has_the_hsms_date_and_its_own_again_after_recovery() {
    let (own, hsm) = (PurgeDate::At(at(5)), PurgeDate::At(at(9)));
    assert_eq!(date_in_hsm(own, HsmFate::SoftDeleted(hsm)), Some(hsm));
    assert_eq!(date_in_hsm(own, HsmFate::Live), Some(own));
    assert_eq!(date_in_hsm(own, HsmFate::Purged), None);
}

#[test]
fn sd10_the_next_look_is_at_the_next_thing_due_and_a_day_off_at_most() {
    let seconds = std::time::Duration::from_secs;
    assert_eq!(next_look(at(0), [at(50), at(20)]), seconds(20));
    assert_eq!(next_look(at(0), [at(-50), at(0), at(7)]), seconds(7));
    assert_eq!(next_look(at(0), [at(1_000_000)]), seconds(86_400));
    assert_eq!(next_look(at(0), []), seconds(86_400));
}

proptest! {
    #[test]
    fn sd09_no_doubt_ever_makes_a_deletion_earlier(
        deleted in -5000i64..5000, now in -5000i64..5000, last in proptest::option::of(-5000i64..5000), trusted: bool,
    ) {
        let facts = DeletionFacts { last_deletion: last.map(at), clock_trusted: trusted, ..facts(Some(deleted), now) };
        prop_assert!(deletion_time(&facts) >= at(deleted));
    }

    #[test]
    fn sd09_a_date_is_exactly_its_days_away_and_grows_with_them(start in 0i64..10_000_000, days in 7i32..90) {
        let date = |days| dates(at(start), Some(days), DAY).scheduled_purge_time.unwrap();
        prop_assert_eq!(date(days) - at(start), Duration::days(i64::from(days)));
        prop_assert!(date(days) < date(days + 1));
    }

    #[test]
    fn sd10_what_is_due_stays_due(date in 0i64..500_000, announced in 0i64..500_000, now in 0i64..1_000_000, more in 0i64..1_000_000) {
        let schedule = schedule(date, Some(announced));
        if due(&schedule, at(now)) == Due::Purge {
            prop_assert_eq!(due(&schedule, at(now + more)), Due::Purge);
        }
    }

    #[test]
    fn sd10_nothing_is_due_before_its_date_nor_less_than_a_day_after_its_announcement(
        date in 0i64..500_000, announced in proptest::option::of(0i64..500_000), now in 0i64..1_000_000,
    ) {
        if due(&schedule(date, announced), at(now)) == Due::Purge {
            prop_assert!(now >= date);
            prop_assert!(announced.is_some_and(|announced| now >= announced + 86_400));
        }
    }

    #[test]
    fn sd10_a_wait_ends_later_than_now_and_then_something_is_due(
        date in 0i64..500_000, announced in proptest::option::of(0i64..500_000), now in 0i64..1_000_000,
    ) {
        let schedule = schedule(date, announced);
        if let Due::Wait(until) = due(&schedule, at(now)) {
            prop_assert!(until > at(now));
            prop_assert!(!matches!(due(&schedule, until), Due::Wait(_)));
        }
    }
}
