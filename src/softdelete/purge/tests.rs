use super::*;
use crate::softdelete::Unless;
use crate::softdelete::examples::at;
use crate::softdelete::permission::Lack;
use crate::softdelete::retention::{DAY, PurgeDate};
use crate::softdelete::sentence::Deleted;
use crate::softdelete::state::Found;
use crate::softdelete::{Origin, Reason};
use proptest::prelude::*;

fn request() -> Request {
    Request {
        asked_at: at(0),
        permission: Ok(()),
        protector: None,
        undeletable: false,
        until: None,
        policies: None,
        etcd_old: false,
        approvals: Approvals { got: 1, needed: 1 },
        rate: 10,
        next_slot: None,
    }
}

fn on_request(request: Request) -> PurgeFacts {
    PurgeFacts {
        way: Way::OnRequest(Box::new(request)),
        ..facts()
    }
}

fn facts() -> PurgeFacts {
    PurgeFacts {
        kind: Kind::Key,
        proxy: "payments.signing".into(),
        uid: "u-1".into(),
        found: Some(ProxyFound {
            uid: "u-1".into(),
            recovering: false,
        }),
        now: at(10),
        clock_trusted: true,
        definitions: None,
        hsm: None,
        held_by: None,
        evidence: Ok(()),
        named_by: None,
        way: Way::Direct,
    }
}

fn missing() -> Option<Missing> {
    Some(Missing {
        what: "requester".into(),
        lack: Lack::Absent,
    })
}

fn outcome(facts: &PurgeFacts) -> (bool, Reason) {
    match purge(facts) {
        PurgeVerdict::Fail(refusal) => (true, refusal.reason()),
        PurgeVerdict::Wait(refusal) => (false, refusal.reason()),
        other => panic!("{other:?}"),
    }
}

/// Each way in which a request is refused, with the reason that it must give.
fn refused_requests() -> Vec<(PurgeFacts, Reason)> {
    let base = || on_request(request());
    let permission = Err(Refusal::NotPermitted {
        user: "a".into(),
        verb: "b".into(),
        resource: "c".into(),
        name: "d".into(),
        unless: Unless::Role,
    });
    let hsm = Deleted {
        kind: Kind::Hsm,
        origin: Origin::default(),
        purge_time: None,
        purgeable: true,
    };
    let late = PurgeFacts {
        now: at(7 * 86_400),
        ..base()
    };
    vec![
        (
            PurgeFacts {
                found: None,
                ..base()
            },
            Reason::NothingToPurge,
        ),
        (
            PurgeFacts {
                uid: "u-2".into(),
                ..base()
            },
            Reason::UidMismatch,
        ),
        (late, Reason::Expired),
        (
            on_request(Request {
                etcd_old: true,
                ..request()
            }),
            Reason::Expired,
        ),
        (
            PurgeFacts {
                found: Some(ProxyFound {
                    uid: "u-1".into(),
                    recovering: true,
                }),
                ..base()
            },
            Reason::RecoveryInProgress,
        ),
        (
            on_request(Request {
                undeletable: true,
                ..request()
            }),
            Reason::UndeletableSubscription,
        ),
        (
            on_request(Request {
                protector: Some(Protector::Itself),
                ..request()
            }),
            Reason::PurgeProtected,
        ),
        (
            on_request(Request {
                policies: missing(),
                ..request()
            }),
            Reason::PoliciesMissing,
        ),
        (
            on_request(Request {
                permission,
                ..request()
            }),
            Reason::NotPermitted,
        ),
        (
            PurgeFacts {
                clock_trusted: false,
                ..base()
            },
            Reason::ClockNotTrusted,
        ),
        (
            PurgeFacts {
                definitions: missing(),
                ..base()
            },
            Reason::PoliciesMissing,
        ),
        (
            PurgeFacts {
                hsm: Some(HsmNow::SoftDeleted {
                    hsm,
                    recovering: false,
                }),
                ..base()
            },
            Reason::HsmDeleted,
        ),
        (
            PurgeFacts {
                held_by: Some("Recover a/b".into()),
                ..base()
            },
            Reason::PurgeHeld,
        ),
        (
            PurgeFacts {
                evidence: Err(Refusal::MaterialMissing {
                    backend: "a".into(),
                }),
                ..base()
            },
            Reason::MaterialMissing,
        ),
        (
            PurgeFacts {
                evidence: Err(Refusal::BackendUnavailable {
                    backend: "a".into(),
                    why: String::new(),
                }),
                ..base()
            },
            Reason::BackendUnavailable,
        ),
        (
            PurgeFacts {
                evidence: Err(Refusal::ForeignMaterial {
                    cluster: "a".into(),
                }),
                ..base()
            },
            Reason::ForeignMaterial,
        ),
        (
            PurgeFacts {
                named_by: Some(("HsmKey a/b".into(), "r".into())),
                ..base()
            },
            Reason::RecordDisagrees,
        ),
        (
            on_request(Request {
                approvals: Approvals { got: 1, needed: 2 },
                ..request()
            }),
            Reason::QuorumNotReached,
        ),
        (
            on_request(Request {
                next_slot: Some(at(20)),
                ..request()
            }),
            Reason::RateLimited,
        ),
    ]
}

#[test]
fn sd23_a_request_with_nothing_against_it_goes() {
    assert_eq!(purge(&on_request(request())), PurgeVerdict::Go);
}

#[test]
fn sd23_each_hindrance_is_told_by_its_reason_and_ends_the_request_exactly_where_the_list_says() {
    for (facts, reason) in refused_requests() {
        assert_eq!(
            outcome(&facts),
            (reason.is_final_for_purge(), reason),
            "{facts:?}"
        );
    }
}

#[test]
fn sd23_what_ends_a_request_is_told_before_what_it_waits_for() {
    let waiting = Request {
        next_slot: Some(at(20)),
        approvals: Approvals { got: 0, needed: 2 },
        ..request()
    };
    let both = on_request(Request {
        protector: Some(Protector::Unknown),
        ..waiting
    });
    assert_eq!(outcome(&both), (true, Reason::PurgeProtected));
}

#[test]
fn sd15_an_undeletable_cluster_comes_before_protection() {
    let both = Request {
        undeletable: true,
        protector: Some(Protector::Itself),
        ..request()
    };
    assert_eq!(
        outcome(&on_request(both)),
        (true, Reason::UndeletableSubscription)
    );
}

#[test]
fn sd23_nobody_is_told_no_permission_while_nobody_knows_who_asked() {
    let permission = Err(Refusal::NotPermitted {
        user: "a".into(),
        verb: "b".into(),
        resource: "c".into(),
        name: "d".into(),
        unless: Unless::Role,
    });
    let both = on_request(Request {
        permission,
        policies: missing(),
        ..request()
    });
    assert_eq!(outcome(&both), (false, Reason::PoliciesMissing));
}

fn scheduled(date: i64, announced: Option<i64>, now: i64) -> PurgeFacts {
    let schedule = Schedule {
        date: PurgeDate::At(at(date)),
        announced_at: announced.map(at),
        day: DAY,
    };
    PurgeFacts {
        way: Way::Scheduled(schedule),
        now: at(now),
        ..facts()
    }
}

#[test]
fn sd10_a_scheduled_purge_goes_when_its_date_is_past_and_its_announcement_a_day_old() {
    assert_eq!(
        purge(&scheduled(100_000, Some(0), 100_000)),
        PurgeVerdict::Go
    );
    assert_eq!(
        purge(&scheduled(100_000, Some(0), 99_999)),
        PurgeVerdict::NotDue(Due::Wait(at(100_000)))
    );
    assert_eq!(
        purge(&scheduled(100_000, None, 100_000)),
        PurgeVerdict::NotDue(Due::Announce)
    );
}

#[test]
fn sd10_a_recovery_that_runs_or_is_asked_for_holds_a_scheduled_purge_after_its_date() {
    let due = scheduled(0, Some(0), 1_000_000);
    let asked = PurgeFacts {
        held_by: Some("Recover a/b".into()),
        ..due.clone()
    };
    assert_eq!(outcome(&asked), (false, Reason::PurgeHeld));
    let runs = PurgeFacts {
        found: Some(ProxyFound {
            uid: "u-1".into(),
            recovering: true,
        }),
        ..due
    };
    assert_eq!(outcome(&runs), (false, Reason::RecoveryInProgress));
}

#[test]
fn sd14_protection_does_not_hinder_the_purge_at_the_end() {
    // A scheduled purge has no request, so that there is nothing a switch could forbid.
    assert_eq!(protected(&scheduled(0, Some(0), 1_000_000)), None);
}

#[test]
fn sd02_a_direct_purge_is_checked_like_every_other_one() {
    assert_eq!(purge(&facts()), PurgeVerdict::Go);
    let doubtful = PurgeFacts {
        clock_trusted: false,
        ..facts()
    };
    assert_eq!(outcome(&doubtful), (false, Reason::ClockNotTrusted));
    let disagrees = PurgeFacts {
        evidence: Err(Refusal::RecordDisagrees {
            record: "r".into(),
            why: "w".into(),
        }),
        ..facts()
    };
    assert_eq!(outcome(&disagrees), (false, Reason::RecordDisagrees));
}

#[test]
fn sd23_a_request_expires_after_seven_days_of_86400_seconds() {
    assert!(expired(at(0), at(7 * 86_400 - 1), false).is_ok());
    assert!(expired(at(0), at(7 * 86_400), false).is_err());
    assert!(expired(at(0), at(0), true).is_err());
}

fn got(quorum: usize, users: &[&str]) -> Approvals {
    let uid = Uid::from("u-1");
    approvals(&uid, users.iter().map(|user| (*user, &uid)), quorum)
}

#[test]
fn sd24_a_quorum_counts_different_users() {
    assert!(!got(2, &["alice", "alice"]).enough());
    assert!(got(2, &["alice", "bob"]).enough());
    assert!(got(1, &["alice"]).enough());
}

#[test]
fn sd24_above_one_service_accounts_do_not_count() {
    let robots = ["system:serviceaccount:a:b", "system:serviceaccount:a:c"];
    assert_eq!(got(2, &robots), Approvals { got: 0, needed: 2 });
    assert!(got(1, &robots[..1]).enough());
}

#[test]
fn sd24_a_quorum_is_at_least_one_and_nobody_counts_for_another_uid() {
    assert_eq!(got(0, &[]), Approvals { got: 0, needed: 1 });
    let (asked, other) = (Uid::from("u-1"), Uid::from("u-2"));
    assert!(!approvals(&asked, [("alice", &other)], 1).enough());
}

#[test]
fn sd23_ten_purges_run_at_once_and_the_eleventh_six_minutes_later() {
    let ten = vec![at(0); 10];
    assert_eq!(next_slot(&ten[..9], at(0), 10), None);
    assert_eq!(next_slot(&ten, at(0), 10), Some(at(360)));
    assert_eq!(next_slot(&ten, at(360), 10), None);
}

#[test]
fn sd23_after_an_hour_of_quiet_the_bucket_is_full_again_and_not_fuller() {
    let mut purges = vec![at(0); 10];
    assert_eq!(next_slot(&purges, at(3600), 10), None);
    purges.extend([at(100_000); 10]);
    assert_eq!(next_slot(&purges, at(100_000), 10), Some(at(100_360)));
}

#[test]
fn sd23_a_purge_runs_at_the_very_moment_of_its_slot() {
    let now = on_request(Request {
        next_slot: Some(at(10)),
        ..request()
    });
    assert_eq!(purge(&now), PurgeVerdict::Go);
}

#[test]
fn sd23_a_rate_of_zero_lets_none_run() {
    assert!(next_slot(&[], at(0), 0).is_some_and(|next| next > at(0)));
}

proptest! {
    #[test]
    fn sd23_no_hour_sees_more_than_bucket_and_rate(asks in proptest::collection::vec(0i64..20_000, 1..120), rate in 1u32..30) {
        let mut asks = asks;
        asks.sort_unstable();
        let mut ran = vec![];
        for ask in asks {
            if next_slot(&ran, at(ask), rate).is_none() {
                ran.push(at(ask));
            }
        }
        for start in &ran {
            let in_hour = ran.iter().filter(|time| *time >= start && **time < *start + Duration::hours(1)).count();
            prop_assert!(in_hour <= 10 + rate as usize);
        }
    }

    #[test]
    fn sd23_what_is_over_goes_on_by_itself(purges in proptest::collection::vec(0i64..5_000, 0..60), now in 0i64..5_000, rate in 1u32..30) {
        let purges: Vec<_> = purges.into_iter().map(at).collect();
        if let Some(next) = next_slot(&purges, at(now), rate) {
            prop_assert!(next > at(now));
            prop_assert_eq!(next_slot(&purges, next, rate), None);
        }
    }
}

#[test]
fn sd25_a_proxy_that_is_gone_is_written_again_and_never_starts_a_purge() {
    for state in RecordState::ALL {
        let finishes = proxy_gone(state) == ProxyGone::FinishDestruction;
        assert_eq!(finishes, state == RecordState::Destroying, "{state:?}");
    }
    assert_eq!(proxy_gone(RecordState::Deleted), ProxyGone::WriteAgain);
    assert_eq!(proxy_gone(RecordState::Sealing), ProxyGone::WriteAgain);
    assert_eq!(proxy_gone(RecordState::Tombstone), ProxyGone::Nothing);
}

#[test]
fn sd28_only_what_is_lost_and_past_its_date_may_be_abandoned() {
    let past = PurgeDate::At(at(0));
    assert!(may_abandon(Found::Not, past, at(0)));
    assert!(may_abandon(Found::Not, PurgeDate::Direct, at(0)));
    assert!(!may_abandon(Found::Not, past, at(-1)));
    assert!(!may_abandon(Found::Not, PurgeDate::Never, at(0)));
    for found in [
        Found::There,
        Found::BackendUnknown,
        Found::BackendUnavailable,
    ] {
        assert!(!may_abandon(found, past, at(0)), "{found:?}");
    }
}
