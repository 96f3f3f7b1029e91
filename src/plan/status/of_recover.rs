//! A Recover's status.

use super::*;

/// The Recover's status where it differs. A final outcome is never touched again.
pub fn recover(o: &Observed, recover: &Recover, outcome: &Outcome) -> Option<Step> {
    let now = api::Time::from(o.now);
    let generation = recover.meta.generation;
    let mut next = RecoverStatus {
        observed_generation: generation,
        ..recover.status.clone()
    };
    next.start_time = next.start_time.or(Some(now));
    next.proxy = Some(crate::softdelete::names::proxy_name(
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

/// The object itself, and of an HSM its keys: those that live, and with `All` those that stay deleted all the same.
fn recovered(o: &Observed, recover: &Recover) -> Vec<api::Recovered> {
    let new_uid = o.object.as_ref().map(|object| object.meta.uid.0.clone());
    let outcome = if was_never_deleted(o, recover) {
        api::Outcome::AlreadyLive
    } else {
        api::Outcome::Recovered
    };
    let itself = api::Recovered {
        kind: recover.spec.kind,
        name: recover.spec.name.clone(),
        uid: recover.spec.uid.clone(),
        new_uid,
        outcome,
        reason: None,
    };
    let all = recover.spec.include_keys == api::IncludeKeys::All;
    let keys = o.keys.iter().filter_map(|key| key_of_it(key, all));
    std::iter::once(itself)
        .chain(keys)
        .take(api::recover::MAX_RECOVERED)
        .collect()
}

fn key_of_it(key: &KeyOfHsm, all: bool) -> Option<api::Recovered> {
    let origin = &key.record.origin;
    let (outcome, uid, new_uid) = match (reads_as(key.record.state), &key.record.recovered_from) {
        (ReadsAs::Live, Some(from)) if all => (api::Outcome::Recovered, from, Some(&origin.uid)),
        (ReadsAs::Live, _) => (api::Outcome::AlreadyLive, &origin.uid, Some(&origin.uid)),
        (ReadsAs::Deleted, _) if all => (api::Outcome::Retained, &origin.uid, None),
        _ => return None,
    };
    // The HSM is live: what is not sealed yet cannot be, since it is not there.
    let missing = key.record.state == RecordState::Sealing;
    Some(api::Recovered {
        kind: api::ObjectKind::HsmKey,
        name: origin.name.clone(),
        uid: uid.0.clone(),
        new_uid: new_uid.map(|uid| uid.0.clone()),
        outcome,
        reason: missing.then(|| Reason::MaterialMissing.as_str().to_owned()),
    })
}

/// A Recover or Purge whose outcome stands.
pub fn is_final(conditions: &[Condition]) -> bool {
    conditions::is_true(conditions, COMPLETE) || conditions::is_true(conditions, FAILED)
}
