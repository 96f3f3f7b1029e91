//! A proxy's status.

use super::*;

/// What holds now for a soft-deleted object. `held`: the record behind it, once it says *deleted*.
pub fn proxy(
    o: &Observed,
    found: &Proxy,
    held: Option<&Held>,
    hold: Option<&Refusal>,
) -> ProxyStatus {
    let mut next = found.status.clone();
    next.observed_generation = found.meta.generation;
    if let Some(held) = held {
        next.record_generation = i64::try_from(held.generation).ok();
    }
    let record = o.record_of(&Uid(found.origin().uid.clone()));
    let record = record.map(|(_, record)| record);
    if let Some(record) = record {
        next.recovery_level = Some(level(o, record));
        next.purge_protection = Some(protected(o, record));
    }
    next.purge_time = purge_time(o, found, record).map(Into::into);
    if matches!(hsm_fate(o), HsmFate::SoftDeleted(_)) {
        next = not_announced(next);
    }
    kept(o, found).on(&mut next.conditions, found.meta.generation, o);
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

/// What is kept can be recovered, unless its material is not there.
fn kept(o: &Observed, found: &Proxy) -> Word {
    match lost::kept(o, found) {
        Ok(()) => Word::ready("It is kept, and can be recovered."),
        Err(hold) => Word::held(&hold),
    }
}

/// While its record is in doubt a proxy is told why, and nothing else of it is touched.
pub fn proxy_in_doubt(o: &Observed, doubt: &Hold) -> Option<Step> {
    let found = o.proxy.as_ref()?;
    let mut next = found.status.clone();
    next.observed_generation = found.meta.generation;
    let word = Word::held(doubt);
    let tells = told(&word, &next.conditions, Whom::Proxy);
    word.on(&mut next.conditions, found.meta.generation, o);
    (next != found.status).then(|| Step {
        effect: Effect::ShowProxy(At::of(&found.meta), Box::new(next)),
        tells,
    })
}

/// What was announced counts no more: after its HSM's recovery, or its own that turned back, a date is announced anew (SD-11).
pub fn not_announced(mut shown: ProxyStatus) -> ProxyStatus {
    shown.announced_at = None;
    conditions::remove(&mut shown.conditions, conditions::PURGE_ANNOUNCED);
    shown
}

/// A purge that is due and held is told once for each reason, as an Event on the proxy (SD-35).
pub fn purge_held(found: &Proxy, hold: Option<&Refusal>) -> Vec<Tell> {
    let shown = conditions::get(&found.status.conditions, conditions::PURGE_HELD);
    let is_new =
        |refusal: &&Refusal| shown.is_none_or(|shown| shown.reason != refusal.reason().as_str());
    hold.filter(is_new)
        .map(|refusal| Tell {
            whom: Whom::Proxy,
            warning: true,
            reason: refusal.reason().as_str(),
            note: refusal.to_string(),
        })
        .into_iter()
        .collect()
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
            let shown = hsm.proxy.as_ref().and_then(NearProxy::purge_time);
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
