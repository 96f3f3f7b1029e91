//! A person's way out, where the protocols have none: which of several records holds (`ledger accept`), and what is given up because its store is lost for good
//! (`ledger abandon`). Nothing is ever destroyed by it.

use chrono::{DateTime, Utc};

use super::hold;
pub use super::hold::purged_since;
use super::lost;
use super::observed::{Held, Material, Observed, Proxy, ProxySpec, Reading};
use super::step::{Effect, Hold, Why};
use super::translate;
use crate::softdelete::purge::may_abandon;
use crate::softdelete::retention::{MAX_DAYS, PurgeDate};
use crate::softdelete::sentence::date;
use crate::softdelete::state::Found;
use crate::softdelete::{Record, RecordId, RecordState, Refusal, Subject, arbiter};

pub use super::lost::id_of;

/// Why a person's wish is not done: one sentence, with what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "there is neither a record nor a proxy with the id {0}; look for the right one with ledger list"
    )]
    Unknown(RecordId),
    #[error(
        "the record {0} is written by a newer operator, in the encoding version {1}; run that one again and ask it"
    )]
    Newer(RecordId, u32),
    #[error("the record {0} was written anew meanwhile; look at it again with ledger show {0}")]
    Changed(RecordId),
    #[error(
        "nothing of {0} is deleted; only what is deleted can be given up, so delete the object first, then wait for its purge date"
    )]
    NotDeleted(String),
    #[error(
        "the material of {0} is still in the backend, so nothing of it is lost; recover it, or have it purged"
    )]
    There(String),
    #[error("{0} is kept until {1}; bring its store back until then, or ask again after it")]
    Kept(String, String),
    #[error(
        "{0} was destroyed, which its record says; nothing is left to give up, and nothing has to be done"
    )]
    Destroyed(String),
    #[error("{0}")]
    Held(String),
}

/// When the object of a proxy was deleted, when it is due, and in which backend it is.
pub fn dates_of(found: &Proxy) -> (DateTime<Utc>, Option<DateTime<Utc>>, String) {
    let dates = translate::dates(found);
    let backend = match &found.spec {
        ProxySpec::Hsm(spec) => &spec.backend,
        ProxySpec::Key(spec) => &spec.backend,
    };
    (
        dates.deletion_time,
        dates.scheduled_purge_time,
        backend.clone(),
    )
}

/// Which of the records of one generation holds: `chosen` is written as the next one. A single record of an old store is written until it is above what the
/// cluster has seen. None: it holds.
pub fn accept(o: &Observed, id: &RecordId, chosen: &Record) -> Result<Option<Effect>, Denied> {
    let held = o.records.iter().find(|held| held.id == *id);
    let held = held.ok_or_else(|| Denied::Unknown(id.clone()))?;
    let write = || Effect::WriteRecord {
        generation: held.generation + 1,
        record: Box::new(chosen.clone()),
    };
    match &held.reading {
        Reading::Unknown(version) => Err(Denied::Newer(id.clone(), *version)),
        Reading::Disagree => Ok(Some(write())),
        Reading::One(record) if **record != *chosen => Err(Denied::Changed(id.clone())),
        Reading::One(_) => Ok(hold::store_is_old(o, held).is_err().then(write)),
    }
}

/// The end of a deletion whose material is lost for good: *abandoned*, over its record or, where none is left, from its proxy. None: it is given up already.
pub fn abandon(o: &Observed, id: &RecordId) -> Result<Option<Effect>, Denied> {
    hold::unreadable(o).map_err(refused)?;
    if !o.clock_trusted {
        return Err(Denied::Held(Refusal::ClockNotTrusted.to_string()));
    }
    if let Some(ended) = o
        .records
        .iter()
        .find(|held| held.id == *id && held.is_final())
    {
        return already(o, ended);
    }
    match o.standing() {
        Some((held, record)) if held.id == *id => over_record(o, held, record).map(Some),
        Some(_) => Err(Denied::Unknown(id.clone())),
        None => from_proxy(o, id).map(Some),
    }
}

fn already(o: &Observed, held: &Held) -> Result<Option<Effect>, Denied> {
    match held.record().map(|record| record.state) {
        Some(RecordState::Abandoned) => Ok(None),
        _ => Err(Denied::Destroyed(o.lineage.to_string())),
    }
}

fn refused(hold: Hold) -> Denied {
    Denied::Held(match hold.why {
        Why::Refused(refusal) => refusal.to_string(),
        Why::Progress(sentence) => sentence,
    })
}

fn over_record(o: &Observed, held: &Held, record: &Record) -> Result<Effect, Denied> {
    let deleted = matches!(record.state, RecordState::Sealing | RecordState::Deleted);
    let object = o
        .object
        .as_ref()
        .is_some_and(|object| object.meta.uid == record.origin.uid);
    if !deleted || object {
        return Err(Denied::NotDeleted(o.lineage.to_string()));
    }
    let proxy = o
        .proxy
        .as_ref()
        .filter(|found| found.is_of(&record.origin.uid));
    proxy.map_or(Ok(()), settled)?;
    let scheduled = proxy.and_then(|found| translate::dates(found).scheduled_purge_time);
    let since = record.dates.map(|dates| dates.deletion_time);
    let until = dated(o, arbiter::stricter_date(record, scheduled), since);
    judge(o, missing(o, record), until)?;
    Ok(Effect::WriteRecord {
        generation: held.generation + 1,
        record: Box::new(Record {
            state: RecordState::Abandoned,
            ..record.clone()
        }),
    })
}

fn from_proxy(o: &Observed, id: &RecordId) -> Result<Effect, Denied> {
    let found = o.proxy.as_ref().filter(|found| id_of(found) == *id);
    let found = found.ok_or_else(|| Denied::Unknown(id.clone()))?;
    let object = o
        .object
        .as_ref()
        .is_some_and(|object| found.is_of(&object.meta.uid));
    if object {
        return Err(Denied::NotDeleted(o.lineage.to_string()));
    }
    settled(found)?;
    let dates = translate::dates(found);
    let date = dates
        .scheduled_purge_time
        .map_or(PurgeDate::Never, PurgeDate::At);
    let until = dated(o, date, Some(dates.deletion_time));
    judge(o, unrecorded(o), until)?;
    Ok(Effect::WriteRecord {
        generation: 1,
        record: Box::new(lost::given_up(o, found)),
    })
}

/// Nobody is recovering or purging it.
fn settled(found: &Proxy) -> Result<(), Denied> {
    match found.status.phase {
        None => Ok(()),
        Some(crate::api::Phase::Recovering) => Err(refused(hold::recovery_in_progress(found))),
        Some(crate::api::Phase::Destroying) => Err(refused(hold::purge_in_progress(found))),
    }
}

/// Where no date is known the longest retention there is counts.
fn dated(o: &Observed, date: PurgeDate, since: Option<DateTime<Utc>>) -> PurgeDate {
    match (date, since) {
        (PurgeDate::Never, Some(since)) => PurgeDate::At(since + o.settings.day * MAX_DAYS),
        (date, _) => date,
    }
}

fn judge(o: &Observed, found: Result<Found, Denied>, until: PurgeDate) -> Result<(), Denied> {
    let found = found?;
    if may_abandon(found, until, o.now) {
        return Ok(());
    }
    let what = o.lineage.to_string();
    Err(match (found, until) {
        (Found::Not, PurgeDate::At(time)) => Denied::Kept(what, date(time)),
        (Found::Not, PurgeDate::Never | PurgeDate::Direct) => {
            Denied::Kept(what, "a date that is not known".to_owned())
        }
        _ => Denied::There(what),
    })
}

/// Whether the material is proved not to be there, in the token that the record names.
fn missing(o: &Observed, record: &Record) -> Result<Found, Denied> {
    match (&record.subject, &o.material) {
        (Subject::Hsm { .. }, Material::Token(None)) => Ok(Found::Not),
        (Subject::Key { .. }, Material::Objects(found)) if found.is_empty() => Ok(Found::Not),
        (Subject::Key { .. }, Material::NoToken) if hsm_is_lost(o) => Ok(Found::Not),
        _ => seen(o),
    }
}

/// The same where only the proxy names it.
fn unrecorded(o: &Observed) -> Result<Found, Denied> {
    match &o.material {
        Material::Token(None) | Material::NoToken => Ok(Found::Not),
        Material::Objects(found) if found.is_empty() => Ok(Found::Not),
        _ => seen(o),
    }
}

fn seen(o: &Observed) -> Result<Found, Denied> {
    match &o.material {
        Material::Token(Some(_)) | Material::Objects(_) => Ok(Found::There),
        other => Err(refused(hold::no_material_seen(o, other))),
    }
}

/// The token around a key is gone, by its HSM's own record: where that is not there, nothing is proved.
fn hsm_is_lost(o: &Observed) -> bool {
    let record = o.hsm.as_ref().and_then(|hsm| hsm.record.as_ref());
    record.is_some_and(|(_, hsm)| matches!(&hsm.subject, Subject::Hsm { token: Some(_) }))
}
