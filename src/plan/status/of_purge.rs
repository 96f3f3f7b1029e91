//! A Purge's status.

use super::*;

/// What is being purged is not kept any more; it shows what holds that up.
pub fn being_purged(o: &Observed, found: &Proxy, life: Option<&Hold>) -> ProxyStatus {
    let mut next = found.status.clone();
    let under_way = hold::purge_in_progress(found);
    Word::held(life.unwrap_or(&under_way)).on(&mut next.conditions, found.meta.generation, o);
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

/// From here on its DELETE is refused; taken back if the purge is.
pub fn executing(o: &Observed, purge: &Purge) -> Step {
    let mut next = api::PurgeStatus {
        approvals: Some(approvals(o, purge)),
        ..purge.status.clone()
    };
    let state = ConditionState::new(
        conditions::EXECUTING,
        ConditionStatus::True,
        conditions::EXECUTING,
        "It is being carried out.",
        Some(purge.meta.generation),
    );
    conditions::set(&mut next.conditions, state, o.now.into());
    Step::quiet(Effect::ShowPurge(At::of(&purge.meta), Box::new(next)))
}

/// The receipt.
pub fn purge_complete(o: &Observed, purge: &Purge, record: &Record) -> Step {
    let generation = purge.meta.generation;
    let mut tombstones = o.records.iter().filter(|held| held.id == record.id);
    let recorded = tombstones.next().map(|held| held.generation);
    let mut next = api::PurgeStatus {
        observed_generation: generation,
        record_generation: recorded.and_then(|recorded| i64::try_from(recorded).ok()),
        completion_time: Some(o.now.into()),
        destroyed: record.destroyed.as_ref().map(|destroyed| api::Destroyed {
            count: destroyed.count,
            digest: destroyed.digest.clone(),
            items: destroyed_items(o, record),
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

/// Of an HSM: each version of each of its keys (SD-26).
fn destroyed_items(o: &Observed, record: &Record) -> Vec<api::DestroyedItem> {
    let Some(destroyed) = &record.destroyed else {
        return Vec::new();
    };
    let keys = o.keys.iter().map(|key| &key.record);
    std::iter::once(record)
        .chain(keys)
        .flat_map(|record| items_of(record, destroyed.at.into()))
        .take(api::purge::MAX_DESTROYED_ITEMS)
        .collect()
}

fn items_of(record: &Record, when: api::Time) -> Vec<api::DestroyedItem> {
    let Subject::Key {
        versions,
        algorithm,
        ..
    } = &record.subject
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
            when,
        }
    };
    versions.iter().map(item).collect()
}

/// A Purge's status where it differs: accepted or not at first sight, then what the rule says of it.
pub fn purge(o: &Observed, purge: &Purge, asked: &Asked, life: Option<&Hold>) -> Option<Step> {
    let generation = purge.meta.generation;
    let mut next = purge.status.clone();
    let fails = matches!(asked, Asked::Judged(PurgeVerdict::Fail(_)));
    let unseen = next.observed_generation == api::common::UNSEEN;
    if unseen {
        accept(o, purge, &mut next);
    }
    next.observed_generation = generation;
    // From the next look on it is counted itself.
    let word = if unseen && !fails {
        Word::progressing("It was seen, and is judged now.")
    } else {
        next.approvals = Some(approvals(o, purge));
        word_of(o, asked, life)
    };
    let tells = told(
        &word,
        &purge.status.conditions,
        Whom::Purge(purge.meta.name.clone()),
    );
    word.on(&mut next.conditions, generation, o);
    match asked {
        Asked::Executing => {}
        Asked::NotYet | Asked::Judged(_) => {
            conditions::remove(&mut next.conditions, conditions::EXECUTING);
        }
    }
    if fails {
        finally(&mut next.conditions, FAILED, &word, generation, o);
        next.completion_time = Some(o.now.into());
    }
    (next != purge.status).then(|| Step {
        effect: Effect::ShowPurge(At::of(&purge.meta), Box::new(next)),
        tells,
    })
}

fn approvals(o: &Observed, purge: &Purge) -> api::Approvals {
    let now = purge::approvals(o, &purge.spec.uid);
    let shown = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    api::Approvals {
        got: shown(now.got),
        needed: shown(now.needed),
    }
}

fn word_of(o: &Observed, asked: &Asked, life: Option<&Hold>) -> Word {
    match asked {
        Asked::NotYet => Word::progressing(
            "The deletion is not finished yet; the purge goes on by itself after it.",
        ),
        Asked::Executing => {
            life.map_or_else(|| Word::progressing("It is being carried out."), Word::held)
        }
        Asked::Judged(PurgeVerdict::Go | PurgeVerdict::NotDue(_)) => Word::progressing(&format!(
            "It is about to be carried out: {} is destroyed{}.",
            o.lineage,
            purge::with_its_keys(o)
        )),
        Asked::Judged(PurgeVerdict::Wait(refusal)) => Word::held(&hold::later(refusal.clone())),
        Asked::Judged(PurgeVerdict::Fail(refusal)) => Word {
            stalled: true,
            reconciling: false,
            ..Word::held(&hold::later(refusal.clone()))
        },
    }
}

/// Accepted only if the policies that make `requestedBy` true stood when it was made; never later.
fn accept(o: &Observed, purge: &Purge, next: &mut api::PurgeStatus) {
    let believed = o.policies.missing_for(purge.meta.created).is_none();
    let in_place = o.purging.looked && believed;
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
