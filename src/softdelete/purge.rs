//! Purge: whether it may be done, in the one order of checks for all three ways that lead to it.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};

use super::permission::{Missing, policies_in_place};
use super::recover::HsmNow;
use super::retention::{Due, PurgeDate, Schedule, due};
use super::sentence::Protector;
use super::state::Found;
use super::{Kind, RecordId, RecordState, Refusal, Uid, protection};

/// The reason of the receipt that a scheduled purge leaves.
pub const RETENTION_ENDED: &str = "RetentionEnded";

/// The reason of the receipt that a direct purge leaves (SD-02).
pub const SOFT_DELETE_OFF: &str = "SoftDeleteOff";

/// How long a request may wait; a day-length does not scale it.
const PATIENCE: Duration = Duration::days(7);

/// How many purges on request may follow at once after a quiet time.
pub const BUCKET: usize = 10;

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
    /// Of a key.
    pub hsm: Option<HsmNow>,
    /// An unfinished Recover or CreateOrRecover of it, or of its HSM with `All`.
    pub held_by: Option<String>,
    /// Backend, record and material agree: `evidence::record_agrees`, `evidence::material_agrees`.
    pub evidence: Result<(), Refusal>,
    /// A live resource whose status names the material, and the record's id.
    pub named_by: Option<(String, RecordId)>,
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
        hsm_hinders,
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
    if fails {
        PurgeVerdict::Fail(refusal)
    } else {
        PurgeVerdict::Wait(refusal)
    }
}

fn not_due(facts: &PurgeFacts) -> Option<Due> {
    let Way::Scheduled(schedule) = &facts.way else {
        return None;
    };
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
    facts
        .found
        .is_none()
        .then_some(Refusal::NothingToPurge { kind, proxy, uid })
}

fn another_uid(facts: &PurgeFacts) -> Option<Refusal> {
    let found = facts
        .found
        .as_ref()
        .filter(|found| found.uid != facts.uid)?
        .uid
        .clone();
    Some(Refusal::UidMismatch {
        proxy: facts.proxy.clone(),
        asked: facts.uid.clone(),
        found,
    })
}

fn expired_request(facts: &PurgeFacts) -> Option<Refusal> {
    let request = request(facts)?;
    expired(request.asked_at, facts.now, request.etcd_old).err()
}

fn recovery_runs(facts: &PurgeFacts) -> Option<Refusal> {
    facts.found.as_ref().filter(|found| found.recovering)?;
    Some(Refusal::RecoveryInProgress {
        proxy: facts.proxy.clone(),
    })
}

fn protected(facts: &PurgeFacts) -> Option<Refusal> {
    let request = request(facts)?;
    protection::purge_on_request(
        request.protector.clone(),
        request.undeletable,
        request.until,
    )
    .err()
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

/// A key shares its HSM's fate (SD-11).
fn hsm_hinders(facts: &PurgeFacts) -> Option<Refusal> {
    facts.hsm.as_ref()?.refusal()
}

/// Recovery wins, also after the date (SD-10).
fn held(facts: &PurgeFacts) -> Option<Refusal> {
    facts.held_by.clone().map(|by| Refusal::PurgeHeld { by })
}

fn evidence_disagrees(facts: &PurgeFacts) -> Option<Refusal> {
    facts.evidence.clone().err()
}

fn live_resource_names_it(facts: &PurgeFacts) -> Option<Refusal> {
    let (resource, record) = facts.named_by.clone()?;
    Some(Refusal::RecordDisagrees {
        record: record.0,
        why: format!("{resource} is live and names this material"),
    })
}

fn quorum_not_reached(facts: &PurgeFacts) -> Option<Refusal> {
    let Approvals { got, needed } = request(facts)?.approvals;
    (got < needed).then(|| Refusal::QuorumNotReached {
        got,
        needed,
        proxy: facts.proxy.clone(),
    })
}

fn rate_limited(facts: &PurgeFacts) -> Option<Refusal> {
    let request = request(facts)?;
    request
        .next_slot
        .filter(|next| *next > facts.now)
        .map(|next| Refusal::RateLimited {
            rate: request.rate,
            next,
        })
}

/// A request that waited for seven days, or that an old etcd brought back, must be asked again (SD-23).
pub fn expired(asked_at: DateTime<Utc>, now: DateTime<Utc>, etcd_old: bool) -> Result<(), Refusal> {
    let late = now.signed_duration_since(asked_at) >= PATIENCE;
    if late || etcd_old {
        Err(Refusal::Expired { asked: asked_at })
    } else {
        Ok(())
    }
}

/// Until when what ended is remembered; beyond what a date can say it is for ever (SD-23).
pub fn history_ends(ended: DateTime<Utc>, history: Duration) -> DateTime<Utc> {
    ended
        .checked_add_signed(history)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// SD-24 How many different users have asked for that uid, of all requests (`user`, `uid`) that are accepted, permitted and not expired.
pub fn approvals<'a>(
    uid: &Uid,
    requests: impl IntoIterator<Item = (&'a str, &'a Uid)>,
    quorum: usize,
) -> Approvals {
    let needed = quorum.max(1);
    let asked = requests
        .into_iter()
        .filter(|(user, of)| *of == uid && counts(user, needed));
    let users: BTreeSet<_> = asked.map(|(user, _)| user).collect();
    Approvals {
        got: users.len(),
        needed,
    }
}

/// With a quorum above 1 a ServiceAccount does not count: whoever may make pods has as many of them as he likes.
fn counts(user: &str, needed: usize) -> bool {
    !user.is_empty() && (needed == 1 || !user.starts_with("system:serviceaccount:"))
}

/// When the next purge on request may run, by when the last ones did (the times of the tombstones that name requesters, in any order): a bucket of 10 that fills at the rate an hour.
/// None: now. With a rate of 0 none ever does (SD-23).
pub fn next_slot(
    purged_at: &[DateTime<Utc>],
    now: DateTime<Utc>,
    rate: u32,
) -> Option<DateTime<Utc>> {
    if rate == 0 {
        return Some(now + Duration::hours(1));
    }
    let interval = Duration::milliseconds(i64::from(3_600_000_u32.div_ceil(rate)));
    let mut times = purged_at.to_vec();
    times.sort_unstable();
    let all_but_one = i32::try_from(BUCKET - 1).unwrap_or(i32::MAX);
    let next = full_again(&times, interval)? - interval * all_but_one;
    (next > now).then_some(next)
}

/// When the bucket is full again after the purges at these times, the earliest first.
fn full_again(times: &[DateTime<Utc>], interval: Duration) -> Option<DateTime<Utc>> {
    times
        .iter()
        .fold(None, |full: Option<DateTime<Utc>>, time| {
            Some(full.max(Some(*time))? + interval)
        })
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

/// Whether a person may end a deletion whose material is lost for good: the store answers and it is not there, and its date is past (SD-28).
pub fn may_abandon(found: Found, date: PurgeDate, now: DateTime<Utc>) -> bool {
    let past = match date {
        PurgeDate::Direct => true,
        PurgeDate::At(time) => now >= time,
        PurgeDate::Never => false,
    };
    found == Found::Not && past
}

#[cfg(test)]
mod tests;
