//! The HSM around a key.

use super::*;

/// The key's HSM can be used now (G6: its record is *live* and its object does not terminate).
pub fn hsm_not_open(o: &Observed) -> Check {
    match (o.lineage.kind, &o.hsm) {
        (Kind::Hsm, _) => Ok(()),
        (Kind::Key, Some(hsm)) => hsm_open(o, hsm),
        (Kind::Key, None) => Err(missing(o)),
    }
}

pub(super) fn hsm_open(o: &Observed, hsm: &Hsm) -> Check {
    let state = hsm.record.as_ref().map(|(_, record)| record.state);
    match (state, now(o, hsm).refusal()) {
        (_, None) => Ok(()),
        (Some(RecordState::Destroying | RecordState::Tombstone | RecordState::Abandoned), _) => {
            let uid = hsm
                .record
                .as_ref()
                .map(|(_, record)| record.origin.uid.clone());
            Err(refused(Refusal::MaterialDestroyed {
                uid: uid.unwrap_or_default(),
            }))
        }
        (Some(RecordState::Creating | RecordState::Live) | None, Some(_))
            if hsm.object.is_some() =>
        {
            Err(progress(format!(
                "The ManagedHsm {} is not ready yet; this goes on by itself when it is.",
                hsm.name
            )))
        }
        (
            _,
            Some(
                refusal @ Refusal::HsmDeleted {
                    recovering: true, ..
                },
            ),
        ) => Err(refused_until(refusal, SOON)),
        (_, Some(refusal)) => Err(refused_until(refusal, LATER)),
    }
}

/// The HSM around a key, in the rules' words.
pub fn hsm_now(o: &Observed) -> Option<HsmNow> {
    o.hsm.as_ref().map(|hsm| now(o, hsm))
}

fn now(o: &Observed, hsm: &Hsm) -> HsmNow {
    if hsm.is_live() {
        return HsmNow::Live;
    }
    let recovering = hsm.proxy.as_ref().is_some_and(NearProxy::recovering);
    match (hsm.record.as_ref().map(|(_, record)| record), &hsm.proxy) {
        (Some(record), _) => HsmNow::SoftDeleted {
            hsm: deleted(o, record),
            recovering: recovering || record.state == RecordState::Opening,
        },
        (None, Some(found)) => HsmNow::SoftDeleted {
            hsm: Deleted {
                kind: Kind::Hsm,
                origin: found.origin.clone(),
                purge_time: found.purge_time(),
                purgeable: false,
            },
            recovering,
        },
        (None, None) => HsmNow::NotFound {
            name: hsm.name.clone(),
        },
    }
}

/// As a record alone tells it.
pub fn deleted(o: &Observed, record: &Record) -> Deleted {
    Deleted {
        kind: record.kind(),
        origin: record.origin.clone(),
        purge_time: record.dates.and_then(|dates| dates.scheduled_purge_time),
        purgeable: !record.purge_protection && !o.settings.undeletable,
    }
}

/// A key's record as it reads beside its HSM's (SD-26).
pub fn beside_hsm(o: &Observed, record: &Record) -> RecordState {
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    hsm.map_or(record.state, |(_, hsm)| {
        arbiter::state_in_hsm(record.state, hsm.state)
    })
}

/// The key's HSM is under its own seal: no delete in it waits (SD-27).
pub fn hsm_is_sealed(o: &Observed) -> bool {
    o.lineage.kind == Kind::Key && hsm_state(o) == Some(RecordState::Deleted)
}

/// The key's HSM is being destroyed, which is not proved yet: no object in it goes before its tombstone is there (SD-26).
pub fn hsm_being_destroyed(o: &Observed) -> Check {
    match (o.hsm.as_ref(), hsm_state(o)) {
        (Some(hsm), Some(RecordState::Destroying)) => Err(refused_until(
            Refusal::PurgeInProgress {
                proxy: names::proxy_name(&o.lineage.namespace, &hsm.name),
            },
            SOON,
        )),
        _ => Ok(()),
    }
}

/// Of a purged HSM: its keys' proxies go first, each by its own pass.
pub fn keys_of_it_not_gone(o: &Observed) -> Check {
    match o.keys.iter().find(|key| key.proxy.is_some()) {
        Some(key) => Err(progress(format!(
            "The HSM is destroyed; the proxy of its key {} goes before its own.",
            key.record.origin.name
        ))),
        None => Ok(()),
    }
}

/// The key's HSM is being recovered, and its token is open already: it goes on to *live* (G4), and waits for the keys in it (SD-27).
pub fn hsm_opens(o: &Observed) -> bool {
    hsm_state(o) == Some(RecordState::Opening) && matches!(o.material, Material::Objects(_))
}

/// A key's HSM can be used, or is about to be.
pub fn hsm_not_opening(o: &Observed) -> Check {
    if hsm_opens(o) {
        return Ok(());
    }
    hsm_not_open(o)
}

fn hsm_state(o: &Observed) -> Option<RecordState> {
    let hsm = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    hsm.map(|(_, record)| record.state)
}

/// The recovery of the key's HSM brings all keys, and has not let them go on yet: each is claimed before any is made (SD-21).
pub fn follows_hsm(o: &Observed) -> Check {
    let all = |hsm: &&Hsm| hsm.proxy.as_ref().is_some_and(NearProxy::includes_keys);
    match o.hsm.as_ref().filter(all) {
        Some(hsm) => Err(progress(format!(
            "The ManagedHsm {} is recovered with all its keys; this one goes on by itself when that is live.",
            hsm.name
        ))),
        None => Ok(()),
    }
}

/// Its HSM's recovery with all keys is under way, also where its Recover was deleted since.
pub fn recovered_with_hsm(o: &Observed) -> Option<String> {
    let hsm = o.hsm.as_ref()?;
    let found = hsm.proxy.as_ref().filter(|found| found.includes_keys())?;
    let by = found.status.recovering.as_ref()?;
    Some(format!("Recover {}/{}", o.lineage.namespace, by.name))
}

/// A key's own seal waits while its HSM's is made or taken off.
pub fn hsm_seal_under_way(o: &Observed) -> Check {
    if hsm_opens(o) {
        return Ok(());
    }
    match hsm_state(o) {
        Some(RecordState::Sealing | RecordState::Opening) => Err(progress(
            "The key's HSM is changing its state; this goes on by itself after it.".into(),
        )),
        Some(RecordState::Deleted) => Err(hsm_not_open(o).err().unwrap_or_else(|| unavailable(o))),
        Some(RecordState::Destroying | RecordState::Tombstone | RecordState::Abandoned) => {
            Err(hsm_not_open(o).err().unwrap_or_else(|| unavailable(o)))
        }
        Some(RecordState::Creating | RecordState::Live) | None => Ok(()),
    }
}
