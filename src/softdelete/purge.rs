//! Purge: whether it may be done, in the one order of checks for all three ways that lead to it.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};

use super::permission::{Missing, policies_in_place};
use super::retention::{Due, Schedule, due};
use super::sentence::{Deleted, Protector};
use super::{Kind, RecordState, Refusal, Uid, protection};

/// The reason of the receipt that a scheduled purge leaves.
pub const RETENTION_ENDED: &str = "RetentionEnded";

/// How long a request may wait; a day-length does not scale it.
const PATIENCE: Duration = Duration::days(7);

/// How many purges on request may follow at once after a quiet time.
const BUCKET: i32 = 10;

/// The proxy as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFound {
    pub uid: Uid,
    /// Its phase is *Recovering*.
    pub recovering: bool,
}

/// How many different users have asked, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Approvals {
    pub got: usize,
    pub needed: usize,
}

impl Approvals {
    pub const fn enough(self) -> bool {
        self.got >= self.needed
    }
}

/// A Purge that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub asked_at: DateTime<Utc>,
    /// `purge_needs`, answered no: that refusal.
    pub permission: Result<(), Refusal>,
    pub protector: Option<Protector>,
    pub undeletable: bool,
    /// When it is purged anyway.
    pub until: Option<DateTime<Utc>>,
    /// The policies that make `requestedBy` true, where they are not in place.
    pub policies: Option<Missing>,
    /// etcd turned out to be old since it was asked.
    pub etcd_old: bool,
    pub approvals: Approvals,
    /// An hour.
    pub rate: u32,
    /// `next_slot`.
    pub next_slot: Option<DateTime<Utc>>,
}

/// What leads to a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Soft-delete was off when the proxy was written (SD-02).
    Direct,
    /// Its time has come (SD-10).
    Scheduled(Schedule),
    OnRequest(Box<Request>),
}

/// All that a purge depends on, looked at live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeFacts {
    pub kind: Kind,
    /// The proxy's name.
    pub proxy: String,
    /// The uid that the deleted object had.
    pub uid: Uid,
    pub found: Option<ProxyFound>,
    pub now: DateTime<Utc>,
    pub clock_trusted: bool,
    /// One of our six definitions, where not all of them are there and stay: then absence proves nothing.
    pub definitions: Option<Missing>,
    /// A key's HSM, while that is soft-deleted.
    pub hsm_deleted: Option<Deleted>,
    /// An unfinished Recover or CreateOrRecover of it, or of its HSM with `All`.
    pub held_by: Option<String>,
    /// Backend, record and material agree: `evidence::record_agrees`, `evidence::material_agrees`.
    pub evidence: Result<(), Refusal>,
    /// A live resource whose status names the material, and the record's id.
    pub named_by: Option<(String, super::RecordId)>,
    pub way: Way,
}

/// What becomes of a purge now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeVerdict {
    Go,
    /// By the clock, and it is not time.
    NotDue(Due),
    Wait(Refusal),
    /// For good; only a request can fail.
    Fail(Refusal),
}

/// SD-23 The outcome of a purge as things are now. First what ends a request for good, then what it waits for; of each kind the first.
pub fn purge(facts: &PurgeFacts) -> PurgeVerdict {
    type Check = fn(&PurgeFacts) -> Option<Refusal>;
    const CHECKS: [Check; 15] = [
        nothing_there,
        another_uid,
        expired_request,
        recovery_runs,
        protected,
        policies_missing,
        not_permitted,
        clock_not_trusted,
        definitions_missing,
        hsm_is_deleted,
        held,
        evidence_disagrees,
        live_resource_names_it,
        quorum_not_reached,
        rate_limited,
    ];
    if let Some(not_due) = not_due(facts) {
        return PurgeVerdict::NotDue(not_due);
    }
    let refusal = CHECKS.iter().find_map(|check| check(facts));
    refusal.map_or(PurgeVerdict::Go, |refusal| verdict(&facts.way, refusal))
}

fn verdict(way: &Way, refusal: Refusal) -> PurgeVerdict {
    let fails = matches!(way, Way::OnRequest(_)) && refusal.reason().is_final_for_purge();
    if fails { PurgeVerdict::Fail(refusal) } else { PurgeVerdict::Wait(refusal) }
}

fn not_due(facts: &PurgeFacts) -> Option<Due> {
    let Way::Scheduled(schedule) = &facts.way else { return None };
    Some(due(schedule, facts.now)).filter(|due| *due != Due::Purge)
}

fn request(facts: &PurgeFacts) -> Option<&Request> {
    match &facts.way {
        Way::OnRequest(request) => Some(request),
        Way::Direct | Way::Scheduled(_) => None,
    }
}

fn nothing_there(facts: &PurgeFacts) -> Option<Refusal> {
    let (kind, proxy, uid) = (facts.kind, facts.proxy.clone(), facts.uid.clone());
    facts.found.is_none().then_some(Refusal::NothingToPurge { kind, proxy, uid })
}

fn another_uid(facts: &PurgeFacts) -> Option<Refusal> {
    let found = facts.found.as_ref().filter(|found| found.uid != facts.uid)?.uid.clone();
    Some(Refusal::UidMismatch { proxy: facts.proxy.clone(), asked: facts.uid.clone(), found })
}

fn expired_request(facts: &PurgeFacts) -> Option<Refusal> {
    let request = request(facts)?;
    expired(request.asked_at, facts.now, request.etcd_old).err()
}

fn recovery_runs(facts: &PurgeFacts) -> Option<Refusal> {
    facts.found.as_ref().filter(|found| found.recovering)?;
    Some(Refusal::RecoveryInProgress { proxy: facts.proxy.clone() })
}

fn protected(facts: &PurgeFacts) -> Option<Refusal> {
    let request = request(facts)?;
    protection::purge_on_request(request.protector.clone(), request.undeletable, request.until).err()
}

fn policies_missing(facts: &PurgeFacts) -> Option<Refusal> {
    policies_in_place(request(facts)?.policies.as_ref()).err()
}

fn not_permitted(facts: &PurgeFacts) -> Option<Refusal> {
    request(facts)?.permission.clone().err()
}

fn clock_not_trusted(facts: &PurgeFacts) -> Option<Refusal> {
    (!facts.clock_trusted).then_some(Refusal::ClockNotTrusted)
}

fn definitions_missing(facts: &PurgeFacts) -> Option<Refusal> {
    policies_in_place(facts.definitions.as_ref()).err()
}

/// SD-11 A key shares its HSM's fate.
fn hsm_is_deleted(facts: &PurgeFacts) -> Option<Refusal> {
    let hsm = facts.hsm_deleted.clone()?;
    Some(Refusal::HsmDeleted { hsm, recovering: false })
}

/// SD-10 Recovery wins, also after the date.
fn held(facts: &PurgeFacts) -> Option<Refusal> {
    facts.held_by.clone().map(|by| Refusal::PurgeHeld { by })
}

fn evidence_disagrees(facts: &PurgeFacts) -> Option<Refusal> {
    facts.evidence.clone().err()
}

fn live_resource_names_it(facts: &PurgeFacts) -> Option<Refusal> {
    let (resource, record) = facts.named_by.clone()?;
    Some(Refusal::RecordDisagrees { record: record.0, why: format!("{resource} is live and names this material") })
}

fn quorum_not_reached(facts: &PurgeFacts) -> Option<Refusal> {
    let Approvals { got, needed } = request(facts)?.approvals;
    (got < needed).then(|| Refusal::QuorumNotReached { got, needed, proxy: facts.proxy.clone() })
}

fn rate_limited(facts: &PurgeFacts) -> Option<Refusal> {
    let request = request(facts)?;
    request.next_slot.filter(|next| *next > facts.now).map(|next| Refusal::RateLimited { rate: request.rate, next })
}

/// SD-23 A request that waited for seven days, or that an old etcd brought back, must be asked again.
pub fn expired(asked_at: DateTime<Utc>, now: DateTime<Utc>, etcd_old: bool) -> Result<(), Refusal> {
    let late = now.signed_duration_since(asked_at) >= PATIENCE;
    if late || etcd_old { Err(Refusal::Expired { asked: asked_at }) } else { Ok(()) }
}

/// SD-24 How many different users have asked for that uid, of all requests (`user`, `uid`) that are accepted, permitted and not expired.
pub fn approvals<'a>(uid: &Uid, requests: impl IntoIterator<Item = (&'a str, &'a Uid)>, quorum: usize) -> Approvals {
    let needed = quorum.max(1);
    let asked = requests.into_iter().filter(|(user, of)| *of == uid && counts(user, needed));
    let users: BTreeSet<_> = asked.map(|(user, _)| user).collect();
    Approvals { got: users.len(), needed }
}

/// With a quorum above 1 a ServiceAccount does not count: whoever may make pods has as many of them as he likes.
fn counts(user: &str, needed: usize) -> bool {
    !user.is_empty() && (needed == 1 || !user.starts_with("system:serviceaccount:"))
}

/// SD-23 When the next purge on request may run, by when the last ones did (their tombstones' times, in any order): a bucket of 10 that fills at the rate an hour.
/// None: now. With a rate of 0 none ever does.
pub fn next_slot(purged_at: &[DateTime<Utc>], now: DateTime<Utc>, rate: u32) -> Option<DateTime<Utc>> {
    if rate == 0 {
        return Some(now + Duration::hours(1));
    }
    let interval = Duration::milliseconds(i64::from(3_600_000_u32.div_ceil(rate)));
    let mut times = purged_at.to_vec();
    times.sort_unstable();
    let next = full_again(&times, interval)? - interval * (BUCKET - 1);
    (next > now).then_some(next)
}

/// When the bucket is full again after the purges at these times, the earliest first.
fn full_again(times: &[DateTime<Utc>], interval: Duration) -> Option<DateTime<Utc>> {
    times.iter().fold(None, |full: Option<DateTime<Utc>>, time| Some(full.max(Some(*time))? + interval))
}

/// What a proxy that is gone calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyGone {
    /// It is written again from the record; nothing is destroyed.
    WriteAgain,
    /// The destruction that its record speaks of is finished without it.
    FinishDestruction,
    Nothing,
}

/// SD-25 What follows when an object's proxy is not there: by the record alone, never a purge.
pub const fn proxy_gone(record: RecordState) -> ProxyGone {
    match record {
        RecordState::Sealing | RecordState::Deleted => ProxyGone::WriteAgain,
        RecordState::Destroying => ProxyGone::FinishDestruction,
        RecordState::Creating
        | RecordState::Live
        | RecordState::Opening
        | RecordState::Tombstone
        | RecordState::Abandoned => ProxyGone::Nothing,
    }
}

/// SD-28 Whether a person may end a deletion whose material is lost for good: the store answers and it is not there, and its date is past.
pub fn may_abandon(found: super::state::Found, date: super::retention::PurgeDate, now: DateTime<Utc>) -> bool {
    use super::retention::PurgeDate;
    let past = match date {
        PurgeDate::Direct => true,
        PurgeDate::At(time) => now >= time,
        PurgeDate::Never => false,
    };
    found == super::state::Found::Not && past
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::retention::{DAY, PurgeDate};
    use crate::softdelete::state::Found;
    use crate::softdelete::{Origin, Reason};
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

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
        PurgeFacts { way: Way::OnRequest(Box::new(request)), ..facts() }
    }

    fn facts() -> PurgeFacts {
        PurgeFacts {
            kind: Kind::Key,
            proxy: "payments.signing".into(),
            uid: "u-1".into(),
            found: Some(ProxyFound { uid: "u-1".into(), recovering: false }),
            now: at(10),
            clock_trusted: true,
            definitions: None,
            hsm_deleted: None,
            held_by: None,
            evidence: Ok(()),
            named_by: None,
            way: Way::Direct,
        }
    }

    fn missing() -> Option<Missing> {
        Some(Missing { what: "requester".into(), settling: false })
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
        let permission = Err(Refusal::NotPermitted { user: "a".into(), verb: "b".into(), resource: "c".into(), name: "d".into() });
        let hsm = Deleted { kind: Kind::Hsm, origin: Origin::default(), purge_time: None, purgeable: true };
        let late = PurgeFacts { now: at(7 * 86_400), ..base() };
        vec![
            (PurgeFacts { found: None, ..base() }, Reason::NothingToPurge),
            (PurgeFacts { uid: "u-2".into(), ..base() }, Reason::UidMismatch),
            (late, Reason::Expired),
            (on_request(Request { etcd_old: true, ..request() }), Reason::Expired),
            (PurgeFacts { found: Some(ProxyFound { uid: "u-1".into(), recovering: true }), ..base() }, Reason::RecoveryInProgress),
            (on_request(Request { undeletable: true, ..request() }), Reason::UndeletableSubscription),
            (on_request(Request { protector: Some(Protector::Itself), ..request() }), Reason::PurgeProtected),
            (on_request(Request { policies: missing(), ..request() }), Reason::PoliciesMissing),
            (on_request(Request { permission, ..request() }), Reason::NotPermitted),
            (PurgeFacts { clock_trusted: false, ..base() }, Reason::ClockNotTrusted),
            (PurgeFacts { definitions: missing(), ..base() }, Reason::PoliciesMissing),
            (PurgeFacts { hsm_deleted: Some(hsm), ..base() }, Reason::HsmDeleted),
            (PurgeFacts { held_by: Some("Recover a/b".into()), ..base() }, Reason::PurgeHeld),
            (PurgeFacts { evidence: Err(Refusal::MaterialMissing { backend: "a".into() }), ..base() }, Reason::MaterialMissing),
            (PurgeFacts { evidence: Err(Refusal::BackendUnavailable { backend: "a".into() }), ..base() }, Reason::BackendUnavailable),
            (PurgeFacts { evidence: Err(Refusal::ForeignMaterial { cluster: "a".into() }), ..base() }, Reason::ForeignMaterial),
            (PurgeFacts { named_by: Some(("HsmKey a/b".into(), "r".into())), ..base() }, Reason::RecordDisagrees),
            (on_request(Request { approvals: Approvals { got: 1, needed: 2 }, ..request() }), Reason::QuorumNotReached),
            (on_request(Request { next_slot: Some(at(20)), ..request() }), Reason::RateLimited),
        ]
    }

    #[test]
    fn sd23_a_request_with_nothing_against_it_goes() {
        assert_eq!(purge(&on_request(request())), PurgeVerdict::Go);
    }

    #[test]
    fn sd23_each_hindrance_is_told_by_its_reason_and_ends_the_request_exactly_where_the_list_says() {
        for (facts, reason) in refused_requests() {
            assert_eq!(outcome(&facts), (reason.is_final_for_purge(), reason), "{facts:?}");
        }
    }

    #[test]
    fn sd23_what_ends_a_request_is_told_before_what_it_waits_for() {
        let waiting = Request { next_slot: Some(at(20)), approvals: Approvals { got: 0, needed: 2 }, ..request() };
        let both = on_request(Request { protector: Some(Protector::Unknown), ..waiting });
        assert_eq!(outcome(&both), (true, Reason::PurgeProtected));
    }

    #[test]
    fn sd15_an_undeletable_cluster_comes_before_protection() {
        let both = Request { undeletable: true, protector: Some(Protector::Itself), ..request() };
        assert_eq!(outcome(&on_request(both)), (true, Reason::UndeletableSubscription));
    }

    #[test]
    fn sd23_nobody_is_told_no_permission_while_nobody_knows_who_asked() {
        let permission = Err(Refusal::NotPermitted { user: "a".into(), verb: "b".into(), resource: "c".into(), name: "d".into() });
        let both = on_request(Request { permission, policies: missing(), ..request() });
        assert_eq!(outcome(&both), (false, Reason::PoliciesMissing));
    }

    fn scheduled(date: i64, announced: Option<i64>, now: i64) -> PurgeFacts {
        let schedule = Schedule { date: PurgeDate::At(at(date)), announced_at: announced.map(at), day: DAY };
        PurgeFacts { way: Way::Scheduled(schedule), now: at(now), ..facts() }
    }

    #[test]
    fn sd10_a_scheduled_purge_goes_when_its_date_is_past_and_its_announcement_a_day_old() {
        assert_eq!(purge(&scheduled(100_000, Some(0), 100_000)), PurgeVerdict::Go);
        assert_eq!(purge(&scheduled(100_000, Some(0), 99_999)), PurgeVerdict::NotDue(Due::Wait(at(100_000))));
        assert_eq!(purge(&scheduled(100_000, None, 100_000)), PurgeVerdict::NotDue(Due::Announce));
    }

    #[test]
    fn sd10_a_recovery_that_runs_or_is_asked_for_holds_a_scheduled_purge_after_its_date() {
        let due = scheduled(0, Some(0), 1_000_000);
        let asked = PurgeFacts { held_by: Some("Recover a/b".into()), ..due.clone() };
        assert_eq!(outcome(&asked), (false, Reason::PurgeHeld));
        let runs = PurgeFacts { found: Some(ProxyFound { uid: "u-1".into(), recovering: true }), ..due };
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
        let doubtful = PurgeFacts { clock_trusted: false, ..facts() };
        assert_eq!(outcome(&doubtful), (false, Reason::ClockNotTrusted));
        let disagrees = PurgeFacts { evidence: Err(Refusal::RecordDisagrees { record: "r".into(), why: "w".into() }), ..facts() };
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
    fn sd23_a_rate_of_zero_lets_none_run() {
        assert!(next_slot(&[], at(0), 0).is_some());
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
        assert!(!may_abandon(Found::Not, past, at(-1)));
        assert!(!may_abandon(Found::Not, PurgeDate::Never, at(0)));
        for found in [Found::There, Found::BackendUnknown, Found::BackendUnavailable] {
            assert!(!may_abandon(found, past, at(0)), "{found:?}");
        }
    }
}
