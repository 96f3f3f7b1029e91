//! What an HSM's protocol waits for in its keys. Each key's own pass does its part, since it alone writes the key's records and proxy; the HSM
//! only looks whether it is done, at the source and after its own record was written.

use super::*;

/// G6, after *sealing* was written: no purge of a key that was begun while the HSM lived goes on; each is turned back one record up.
pub fn keys_not_turned_back(o: &Observed) -> Check {
    until(o, purge_undecided, |key| {
        format!(
            "The purge of its key {key} is turned back before the HSM counts as deleted; this goes on by itself after it."
        )
    })
}

/// After the token was opened: what was deleted under the HSM's seal is sealed itself before anything in the HSM can be used (SD-27).
pub fn keys_not_sealed(o: &Observed) -> Check {
    until(o, unsealed, |key| {
        format!(
            "Its key {key} was deleted and is sealed before anything in the HSM can be used; this goes on by itself after it, and \
             what holds it up is told on that HsmKey or on its DeletedHsmKey."
        )
    })
}

/// The dates of its deleted keys are announced anew (SD-11).
pub fn keys_still_announced(o: &Observed) -> Check {
    let announced =
        |key: &KeyOfHsm| retained(key).is_some_and(|found| found.status.announced_at.is_some());
    until(o, announced, |key| {
        format!(
            "The purge of its key {key} was announced before the HSM was deleted and is to be announced anew; this goes on by itself."
        )
    })
}

/// An HSM's protection is shown once no purge of a key can be one that it forbids, and each deleted key's proxy shows it (SD-13).
pub fn protection_not_shown(o: &Observed, held: &Held, object: &Object) -> Check {
    let protected = held.record().is_some_and(|record| record.purge_protection);
    if !protected || translate::shown_generation(object) == Some(held.generation) {
        return Ok(());
    }
    let plain = |key: &KeyOfHsm| {
        purge_undecided(key)
            || retained(key).is_some_and(|found| found.status.purge_protection != Some(true))
    };
    until(o, plain, |key| {
        format!(
            "The protection is recorded and is shown once it covers the deleted key {key} too; this goes on by itself."
        )
    })
}

/// Step 9 of a recovery with all keys: each of them is claimed, or cannot be (SD-21).
pub fn keys_not_claimed(o: &Observed) -> Check {
    let by = o.proxy.as_ref().and_then(|found| {
        let recovering = found.status.phase == Some(api::Phase::Recovering);
        found.status.recovering.as_ref().filter(|_| recovering)
    });
    if by.is_none_or(|by| by.include_keys != api::IncludeKeys::All) {
        return Ok(());
    }
    until(o, unclaimed, |key| {
        format!(
            "The deletion of its key {key} is not finished yet; the recovery goes on by itself after it, and what holds that up is told \
             on that HsmKey or on its DeletedHsmKey."
        )
    })
}

/// What a purge of the HSM would destroy is known: no record of a key in it is unreadable, foreign, or of an old store, which may have forgotten a protection (I6).
pub fn keys_agree(o: &Observed) -> Result<(), Refusal> {
    let doubt = |record: &crate::softdelete::RecordId, why: &str| Refusal::RecordDisagrees {
        record: record.0.clone(),
        why: why.to_owned(),
    };
    if let Some(id) = &o.purging.unreadable_key {
        return Err(doubt(
            id,
            "it is of a key in this HSM, and nobody can go by it",
        ));
    }
    let old = |key: &&KeyOfHsm| {
        let uid = &key.record.origin.uid;
        let object = key.object.as_ref().filter(|object| object.uid == *uid);
        let proxy = key.proxy.as_ref().filter(|found| found.origin.uid == *uid);
        let shown = proxy.and_then(|found| found.status.record_generation);
        let shown = shown.and_then(|shown| u64::try_from(shown).ok());
        let seen = [object.and_then(|object| object.record_generation), shown];
        arbiter::store_is_old(key.generation, seen)
    };
    let foreign = |key: &&KeyOfHsm| key.record.cluster != o.settings.cluster;
    match o.keys.iter().find(|key| old(key) || foreign(key)) {
        Some(key) if foreign(&key) => Err(Refusal::ForeignMaterial {
            cluster: key.record.cluster.clone(),
        }),
        Some(key) => Err(doubt(
            &key.record.id,
            "it is of a key in this HSM, and the cluster has seen a later one",
        )),
        None => Ok(()),
    }
}

/// What holds an HSM's recovery up now, for those who wait for it.
pub fn keys_hold_up(o: &Observed) -> Check {
    match o.standing().map(|(_, record)| record.state) {
        Some(RecordState::Opening) => {
            keys_not_sealed(o)?;
            keys_still_announced(o)
        }
        Some(RecordState::Live) => keys_not_claimed(o),
        _ => Ok(()),
    }
}

fn until(
    o: &Observed,
    waits: impl Fn(&KeyOfHsm) -> bool,
    sentence: impl Fn(&str) -> String,
) -> Check {
    match o.keys.iter().find(|key| waits(key)) {
        Some(key) => Err(progress(sentence(&key.record.origin.name))),
        None => Ok(()),
    }
}

/// The retained proxy of a key that is deleted.
fn retained(key: &KeyOfHsm) -> Option<&NearProxy> {
    key.proxy.as_ref().filter(|found| {
        key.record.state == RecordState::Deleted
            && found.origin.uid == key.record.origin.uid
            && found.status.phase.is_none()
    })
}

/// A purge has the proxy and not yet the record: it goes on, or turns back.
fn purge_undecided(key: &KeyOfHsm) -> bool {
    let claimed = |found: &NearProxy| found.status.phase == Some(api::Phase::Destroying);
    key.record.state == RecordState::Deleted && key.proxy.as_ref().is_some_and(claimed)
}

/// Its object is there and stays.
fn lives(key: &KeyOfHsm) -> bool {
    key.object
        .as_ref()
        .is_some_and(|object| !object.terminating && object.uid == key.record.origin.uid)
}

/// It is to refuse every use and does not yet. What is not there at all is waited for by nobody: it is sealed when it comes back (SD-28).
fn unsealed(key: &KeyOfHsm) -> bool {
    match key.record.state {
        RecordState::Sealing => key.material.is_none_or(|seen| seen.unsealed),
        RecordState::Live if !lives(key) => key.material.is_none_or(|seen| seen.unsealed),
        RecordState::Opening if !lives(key) => key.material.is_none_or(|seen| !seen.missing),
        _ => false,
    }
}

/// It was deleted and can be recovered, and its proxy does not say yet that it is.
fn unclaimed(key: &KeyOfHsm) -> bool {
    let whole = key.material.is_none_or(|seen| !seen.missing);
    match key.record.state {
        RecordState::Deleted => {
            let dated = |dates: &crate::softdelete::Dates| dates.scheduled_purge_time.is_some();
            let claimed =
                |found: &NearProxy| found.origin.uid == key.record.origin.uid && found.recovering();
            key.record.dates.as_ref().is_some_and(dated) && !key.proxy.as_ref().is_some_and(claimed)
        }
        RecordState::Sealing => whole,
        RecordState::Live => whole && !lives(key),
        _ => false,
    }
}
