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
