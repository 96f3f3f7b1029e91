//! What each resource shows, by kstatus' rules. A status is written only where it differs.

use super::hold;
use super::observed::{Body, Held, Material, Object, Observed, Proxy, ProxySpec, Purge, Recover};
use super::purge;
use super::recover::Outcome;
use super::step::{At, Effect, Hold, Step, Tell, Whom, Why};
use super::translate;
use crate::api::conditions::{
    self, COMPLETE, FAILED, READY, RECONCILING, SNAPSHOT_INCOMPLETE, STALLED,
};
use crate::api::{self, Condition, ConditionState, ConditionStatus, ProxyStatus, RecoverStatus};
use crate::softdelete::level::{LevelFacts, RecoveryLevel, recovery_level};
use crate::softdelete::protection::protector;
use crate::softdelete::purge::PurgeVerdict;
use crate::softdelete::record::Version;
use crate::softdelete::retention::{self, HsmFate, PurgeDate};
use crate::softdelete::{Record, RecordState, Refusal, Subject};

/// What a resource is told about itself.
struct Word {
    ready: ConditionStatus,
    reason: String,
    message: String,
    reconciling: bool,
    stalled: bool,
}

impl Word {
    fn ready(message: &str) -> Self {
        Self {
            ready: ConditionStatus::True,
            reason: "Ready".into(),
            message: message.into(),
            reconciling: false,
            stalled: false,
        }
    }

    fn progressing(message: &str) -> Self {
        Self {
            ready: ConditionStatus::Unknown,
            reason: "Progressing".into(),
            message: message.into(),
            reconciling: true,
            stalled: false,
        }
    }

    fn held(hold: &Hold) -> Self {
        match &hold.why {
            Why::Progress(sentence) => Self {
                ready: ConditionStatus::False,
                reason: "Progressing".into(),
                message: sentence.clone(),
                reconciling: true,
                stalled: false,
            },
            Why::Refused(refusal) => Self {
                ready: ConditionStatus::False,
                reason: refusal.reason().as_str().into(),
                message: refusal.to_string(),
                reconciling: !refusal.stalls(),
                stalled: refusal.stalls(),
            },
        }
    }

    fn on(&self, conditions: &mut Vec<Condition>, generation: i64, o: &Observed) {
        let now = api::Time::from(o.now);
        let state = |kind: &str, status, reason: &str, message: &str| {
            ConditionState::new(kind, status, reason, message, Some(generation))
        };
        conditions::set(
            conditions,
            state(READY, self.ready, &self.reason, &self.message),
            now,
        );
        for (kind, on) in [(RECONCILING, self.reconciling), (STALLED, self.stalled)] {
            if on {
                conditions::set(
                    conditions,
                    state(kind, ConditionStatus::True, &self.reason, &self.message),
                    now,
                );
            } else {
                conditions::remove(conditions, kind);
            }
        }
    }
}

// ---- the live object ----

/// The object's status where it differs: as it should be, or what holds it.
pub fn object(o: &Observed, life: &Result<(), &Hold>) -> Option<Step> {
    let object = o.object.as_ref()?;
    let word = match life {
        Err(hold) => Word::held(hold),
        Ok(()) if object.meta.deleted.is_some() && object.meta.finalizer() => return None,
        Ok(()) if object.meta.deleted.is_some() => Word {
            ready: ConditionStatus::False,
            ..Word::progressing(
                "It is deleted and can be used no more; it goes when its last finalizer, which is somebody else's, is taken off.",
            )
        },
        Ok(()) => Word::ready("It has its material and can be used."),
    };
    let told = told(&word, old_conditions(object), Whom::Object);
    let effect = match &object.body {
        Body::Hsm(_, shown) => hsm(o, object, shown, &word)
            .map(|next| Effect::ShowHsm(At::of(&object.meta), Box::new(next))),
        Body::Key(_, shown) => key(o, object, shown, &word)
            .map(|next| Effect::ShowKey(At::of(&object.meta), Box::new(next))),
    }?;
    Some(Step {
        effect,
        tells: told,
    })
}

fn old_conditions(object: &Object) -> &[Condition] {
    match &object.body {
        Body::Hsm(_, shown) => &shown.conditions,
        Body::Key(_, shown) => &shown.conditions,
    }
}

/// A hold that is new is told once, as an Event (SD-35).
fn told(word: &Word, before: &[Condition], whom: Whom) -> Vec<Tell> {
    let same = conditions::get(before, READY).is_some_and(|ready| ready.reason == word.reason);
    if same || word.ready != ConditionStatus::False || word.reason == "Progressing" {
        return Vec::new();
    }
    vec![Tell {
        whom,
        warning: true,
        reason: reason_of(word),
        note: word.message.clone(),
    }]
}

fn reason_of(word: &Word) -> &'static str {
    crate::softdelete::Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .find(|code| *code == word.reason)
        .unwrap_or("Held")
}

/// What a status says of a record is what an object once had (SD-28): nothing, while it is being made.
fn own<'a>(o: &'a Observed, object: &Object) -> Option<(&'a Held, &'a Record)> {
    o.record_of(&object.meta.uid)
        .filter(|(held, record)| !held.is_final() && record.state != RecordState::Creating)
}

fn hsm(
    o: &Observed,
    object: &Object,
    shown: &api::ManagedHsmStatus,
    word: &Word,
) -> Option<api::ManagedHsmStatus> {
    let mut next = shown.clone();
    next.observed_generation = object.meta.generation;
    word.on(&mut next.conditions, object.meta.generation, o);
    if let Some((held, record)) = own(o, object) {
        next.hsm_id = Some(record.id.0.clone());
        next.record_generation = i64::try_from(held.generation).ok();
        next.recovery_level = Some(level(o, record));
        next.keys = Some(count(o, |key| key.record.state == RecordState::Live));
        next.deleted_keys = Some(count(o, |key| {
            matches!(
                key.record.state,
                RecordState::Sealing | RecordState::Deleted
            )
        }));
    }
    (next != *shown).then_some(next)
}

fn count(o: &Observed, which: impl Fn(&&super::observed::KeyOfHsm) -> bool) -> i32 {
    i32::try_from(o.keys.iter().filter(which).count()).unwrap_or(i32::MAX)
}

fn key(
    o: &Observed,
    object: &Object,
    shown: &api::HsmKeyStatus,
    word: &Word,
) -> Option<api::HsmKeyStatus> {
    let mut next = shown.clone();
    next.observed_generation = object.meta.generation;
    word.on(&mut next.conditions, object.meta.generation, o);
    if let Some((held, record)) = own(o, object)
        && let Subject::Key { hsm, versions, .. } = &record.subject
    {
        next.hsm_id = Some(hsm.0.clone());
        next.record_generation = i64::try_from(held.generation).ok();
        next.recovery_level = Some(level(o, record));
        next.versions = versions
            .iter()
            .map(|version| shown_version(o, shown, version))
            .collect();
        next.current_version = versions.iter().map(|version| version.number).max();
    }
    (next != *shown).then_some(next)
}

fn shown_version(o: &Observed, shown: &api::HsmKeyStatus, version: &Version) -> api::KeyVersion {
    let before = shown
        .versions
        .iter()
        .find(|before| before.material_id == version.material.0);
    let (thumbprint, check_value) = translate::shown_fingerprint(&version.fingerprint);
    let public_key =
        public_key(o, version).or_else(|| before.and_then(|before| before.public_key.clone()));
    api::KeyVersion {
        id: version.number,
        created_at: version.created.into(),
        material_id: version.material.0.clone(),
        public_key,
        thumbprint,
        check_value,
    }
}

/// The public half as the token shows it, if it is the recorded one.
fn public_key(o: &Observed, version: &Version) -> Option<api::PublicKey> {
    let Material::Objects(found) = &o.material else {
        return None;
    };
    found
        .iter()
        .filter(|object| object.id.to_string() == version.material.0)
        .filter_map(|object| object.public.as_ref())
        .find(|public| public.fingerprint().to_string() == version.fingerprint.0)
        .and_then(translate::jwk)
}

// ---- the proxy ----

/// What holds now for a soft-deleted object.
pub fn proxy(
    o: &Observed,
    found: &Proxy,
    held: Option<&Held>,
    hold: Option<&Refusal>,
) -> ProxyStatus {
    let mut next = found.status.clone();
    next.observed_generation = found.meta.generation;
    let record = held.and_then(Held::record);
    if let (Some(held), Some(record)) = (held, record) {
        next.record_generation = i64::try_from(held.generation).ok();
        next.recovery_level = Some(level(o, record));
        next.purge_protection = Some(protected(o, record));
    }
    next.purge_time = purge_time(o, found, record).map(Into::into);
    Word::ready("It is kept, and can be recovered.").on(
        &mut next.conditions,
        found.meta.generation,
        o,
    );
    match hold {
        Some(refusal) => {
            let state = ConditionState::new(
                conditions::PURGE_HELD,
                ConditionStatus::True,
                refusal.reason().as_str(),
                refusal.to_string(),
                Some(found.meta.generation),
            );
            conditions::set(&mut next.conditions, state, o.now.into());
        }
        None => conditions::remove(&mut next.conditions, conditions::PURGE_HELD),
    }
    let snapshot = match &found.spec {
        ProxySpec::Hsm(spec) => &spec.snapshot,
        ProxySpec::Key(spec) => &spec.snapshot,
    };
    if snapshot.is_none() {
        let message = "Labels, annotations and field owners are not known any more: the fixed fields, the switches and the material come back.";
        conditions::set(
            &mut next.conditions,
            ConditionState::new(
                SNAPSHOT_INCOMPLETE,
                ConditionStatus::True,
                SNAPSHOT_INCOMPLETE,
                message,
                Some(found.meta.generation),
            ),
            o.now.into(),
        );
    }
    next
}

/// The later of the proxy's date and the record's; of a key in a deleted HSM, the HSM's (`retention::date_in_hsm`).
fn purge_time(
    o: &Observed,
    found: &Proxy,
    record: Option<&Record>,
) -> Option<chrono::DateTime<chrono::Utc>> {
    let own = scheduled(record).max(translate::dates(found).scheduled_purge_time);
    let soft_delete = record.is_none_or(|record| record.soft_delete);
    retention::date_in_hsm(retention::purge_date(own, soft_delete), hsm_fate(o))
        .and_then(PurgeDate::time)
}

fn scheduled(record: Option<&Record>) -> Option<chrono::DateTime<chrono::Utc>> {
    record
        .and_then(|record| record.dates)
        .and_then(|dates| dates.scheduled_purge_time)
}

fn hsm_fate(o: &Observed) -> HsmFate {
    let Some((hsm, (_, record))) = o
        .hsm
        .as_ref()
        .and_then(|hsm| hsm.record.as_ref().map(|record| (hsm, record)))
    else {
        return HsmFate::Live;
    };
    match record.state {
        RecordState::Creating | RecordState::Live => HsmFate::Live,
        RecordState::Sealing
        | RecordState::Deleted
        | RecordState::Opening
        | RecordState::Destroying => {
            let shown = hsm.proxy.as_ref().and_then(|found| found.purge_time);
            let date = scheduled(Some(record)).max(shown);
            HsmFate::SoftDeleted(retention::purge_date(date, record.soft_delete))
        }
        RecordState::Tombstone | RecordState::Abandoned => HsmFate::Purged,
    }
}

/// By anything that can be seen from this lineage (`protection::protector`).
fn protected(o: &Observed, record: &Record) -> bool {
    protector(&purge::protections(o, record)).is_some()
}

/// In the API's words (SD-16).
pub fn level(o: &Observed, record: &Record) -> api::RecoveryLevel {
    let facts = LevelFacts {
        soft_delete: record.soft_delete,
        retention_days: record.retention_days,
        protected: protected(o, record),
        undeletable: o.settings.undeletable,
    };
    match recovery_level(facts) {
        RecoveryLevel::Purgeable => api::RecoveryLevel::Purgeable,
        RecoveryLevel::RecoverablePurgeable => api::RecoveryLevel::RecoverablePurgeable,
        RecoveryLevel::Recoverable => api::RecoveryLevel::Recoverable,
        RecoveryLevel::RecoverableProtectedSubscription => {
            api::RecoveryLevel::RecoverableProtectedSubscription
        }
        RecoveryLevel::CustomizedRecoverablePurgeable => {
            api::RecoveryLevel::CustomizedRecoverablePurgeable
        }
        RecoveryLevel::CustomizedRecoverable => api::RecoveryLevel::CustomizedRecoverable,
        RecoveryLevel::CustomizedRecoverableProtectedSubscription => {
            api::RecoveryLevel::CustomizedRecoverableProtectedSubscription
        }
    }
}

/// Said only where it is not 24 hours.
pub fn day_length(o: &Observed) -> Option<String> {
    (o.settings.day != crate::softdelete::retention::DAY)
        .then(|| format!("{}s", o.settings.day.num_seconds()))
}

// ---- a Recover ----

/// The Recover's status where it differs. A final outcome is never touched again.
pub fn recover(o: &Observed, recover: &Recover, outcome: &Outcome) -> Option<Step> {
    let now = api::Time::from(o.now);
    let generation = recover.meta.generation;
    let mut next = RecoverStatus {
        observed_generation: generation,
        ..recover.status.clone()
    };
    next.start_time = next.start_time.or(Some(now));
    next.proxy = Some(api::proxy::proxy_name(
        &o.lineage.namespace,
        &o.lineage.name,
    ));
    let word = match outcome {
        Outcome::Begin(_) | Outcome::Running => Word::progressing("The recovery is under way."),
        Outcome::Waits(hold) => Word::held(hold),
        Outcome::Complete => Word {
            reason: COMPLETE.into(),
            ..Word::ready(if was_never_deleted(o, recover) {
                "It was not deleted, or is live again already: nothing was left to do."
            } else {
                "It is back, with the same material."
            })
        },
        Outcome::Failed(hold) => Word {
            stalled: true,
            reconciling: false,
            ..Word::held(hold)
        },
    };
    let tells = told(
        &word,
        &recover.status.conditions,
        Whom::Recover(recover.meta.name.clone()),
    );
    word.on(&mut next.conditions, generation, o);
    if let Outcome::Complete | Outcome::Failed(_) = outcome {
        let kind = if matches!(outcome, Outcome::Complete) {
            COMPLETE
        } else {
            FAILED
        };
        finally(&mut next.conditions, kind, &word, generation, o);
        next.completion_time = Some(now);
    }
    if matches!(outcome, Outcome::Complete) {
        next.recovered = recovered(o, recover);
    }
    (next != recover.status).then(|| Step {
        effect: Effect::ShowRecover(At::of(&recover.meta), Box::new(next)),
        tells,
    })
}

/// The uid that it asks for is that of what lives.
fn was_never_deleted(o: &Observed, recover: &Recover) -> bool {
    let uid = o.object.as_ref().map(|object| object.meta.uid.as_str());
    uid == Some(recover.spec.uid.as_str())
}

fn recovered(o: &Observed, recover: &Recover) -> Vec<api::Recovered> {
    let new_uid = o.object.as_ref().map(|object| object.meta.uid.0.clone());
    let outcome = if was_never_deleted(o, recover) {
        api::Outcome::AlreadyLive
    } else {
        api::Outcome::Recovered
    };
    vec![api::Recovered {
        kind: recover.spec.kind,
        name: recover.spec.name.clone(),
        uid: recover.spec.uid.clone(),
        new_uid,
        outcome,
        reason: None,
    }]
}

/// A Recover or Purge whose outcome stands.
pub fn is_final(conditions: &[Condition]) -> bool {
    conditions::is_true(conditions, COMPLETE) || conditions::is_true(conditions, FAILED)
}

// ---- a Purge ----

/// What is being purged is not kept any more.
pub fn being_purged(o: &Observed, found: &Proxy) -> ProxyStatus {
    let mut next = found.status.clone();
    let hold = hold::purge_in_progress(found);
    Word::held(&hold).on(&mut next.conditions, found.meta.generation, o);
    next
}

/// The announcement on the proxy.
pub fn announced(o: &Observed, found: &Proxy) -> ProxyStatus {
    let mut next = found.status.clone();
    next.announced_at = Some(o.now.into());
    let message = "It is purged at status.purgeTime, unless it is recovered before.";
    let state = ConditionState::new(
        conditions::PURGE_ANNOUNCED,
        ConditionStatus::True,
        conditions::PURGE_ANNOUNCED,
        message,
        Some(found.meta.generation),
    );
    conditions::set(&mut next.conditions, state, o.now.into());
    next
}

/// From here on, or not any more, its DELETE is refused.
pub fn executing(o: &Observed, purge: &Purge, on: bool) -> Step {
    let mut next = purge.status.clone();
    if on {
        let state = ConditionState::new(
            conditions::EXECUTING,
            ConditionStatus::True,
            conditions::EXECUTING,
            "It is being carried out.",
            Some(purge.meta.generation),
        );
        conditions::set(&mut next.conditions, state, o.now.into());
    } else {
        conditions::remove(&mut next.conditions, conditions::EXECUTING);
    }
    Step::quiet(Effect::ShowPurge(At::of(&purge.meta), Box::new(next)))
}

/// The receipt.
pub fn purge_complete(o: &Observed, purge: &Purge, record: &Record) -> Step {
    let generation = purge.meta.generation;
    let mut next = api::PurgeStatus {
        observed_generation: generation,
        completion_time: Some(o.now.into()),
        destroyed: record.destroyed.as_ref().map(|destroyed| api::Destroyed {
            count: destroyed.count,
            digest: destroyed.digest.clone(),
            items: destroyed_items(record),
        }),
        ..purge.status.clone()
    };
    let word = Word {
        reason: COMPLETE.into(),
        ..Word::ready("It was destroyed for good.")
    };
    word.on(&mut next.conditions, generation, o);
    finally(&mut next.conditions, COMPLETE, &word, generation, o);
    Step::quiet(Effect::ShowPurge(At::of(&purge.meta), Box::new(next)))
}

fn destroyed_items(record: &Record) -> Vec<api::DestroyedItem> {
    let (
        Subject::Key {
            versions,
            algorithm,
            ..
        },
        Some(destroyed),
    ) = (&record.subject, &record.destroyed)
    else {
        return Vec::new();
    };
    let item = |version: &Version| {
        let (thumbprint, check_value) = translate::shown_fingerprint(&version.fingerprint);
        api::DestroyedItem {
            id: version.material.0.clone(),
            type_: translate::key_type(algorithm),
            thumbprint,
            check_value,
            when: destroyed.at.into(),
        }
    };
    versions
        .iter()
        .map(item)
        .take(api::purge::MAX_DESTROYED_ITEMS)
        .collect()
}

fn finally(
    conditions: &mut Vec<Condition>,
    kind: &str,
    word: &Word,
    generation: i64,
    o: &Observed,
) {
    let state = ConditionState::new(
        kind,
        ConditionStatus::True,
        word.reason.clone(),
        word.message.clone(),
        Some(generation),
    );
    conditions::set(conditions, state, o.now.into());
}

/// A Purge's status where it differs: accepted or not at first sight, then what the rule says of it.
pub fn purge(o: &Observed, purge: &Purge, verdict: &PurgeVerdict) -> Option<Step> {
    let generation = purge.meta.generation;
    let mut next = purge.status.clone();
    if next.observed_generation == api::common::UNSEEN {
        accept(o, purge, &mut next);
    }
    next.observed_generation = generation;
    let word = match verdict {
        PurgeVerdict::Go | PurgeVerdict::NotDue(_) => {
            Word::progressing("It is about to be carried out.")
        }
        PurgeVerdict::Wait(refusal) => Word::held(&hold::later(refusal.clone())),
        PurgeVerdict::Fail(refusal) => Word {
            stalled: true,
            reconciling: false,
            ..Word::held(&hold::later(refusal.clone()))
        },
    };
    let tells = told(
        &word,
        &purge.status.conditions,
        Whom::Purge(purge.meta.name.clone()),
    );
    word.on(&mut next.conditions, generation, o);
    if let PurgeVerdict::Fail(_) = verdict {
        finally(&mut next.conditions, FAILED, &word, generation, o);
        next.completion_time = Some(o.now.into());
    }
    (next != purge.status).then(|| Step {
        effect: Effect::ShowPurge(At::of(&purge.meta), Box::new(next)),
        tells,
    })
}

/// Accepted only if the policies that make `requestedBy` true stood when it was first seen; never later.
fn accept(o: &Observed, purge: &Purge, next: &mut api::PurgeStatus) {
    let in_place = o.purging.looked && o.purging.policies.is_none();
    let status = if in_place {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    let (reason, message) = if in_place {
        (
            conditions::ACCEPTED,
            "Who asked is known by the policies in place.",
        )
    } else {
        (
            "PoliciesMissing",
            "Who asked could not be known when it was made: it must be made again.",
        )
    };
    let state = ConditionState::new(
        conditions::ACCEPTED,
        status,
        reason,
        message,
        Some(purge.meta.generation),
    );
    conditions::set(&mut next.conditions, state, o.now.into());
}

/// What a version that carries no purges out says of one: nothing is destroyed, and how it goes on.
pub fn purge_later(o: &Observed, purge: &Purge) -> Option<Step> {
    let generation = purge.meta.generation;
    let mut next = purge.status.clone();
    next.observed_generation = generation;
    let word = Word {
        ready: ConditionStatus::False,
        ..Word::progressing(
            "This version of the operator carries no purges out and destroys nothing; delete this Purge to withdraw it, or wait for a version that does.",
        )
    };
    word.on(&mut next.conditions, generation, o);
    (next != purge.status)
        .then(|| Step::quiet(Effect::ShowPurge(At::of(&purge.meta), Box::new(next))))
}
