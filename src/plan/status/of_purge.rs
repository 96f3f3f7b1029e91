//! A Purge's status.

use super::*;

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
