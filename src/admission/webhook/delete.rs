//! The delete of an HSM or a key: what becomes of it, until when, and the command that brings it back.

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use kube::core::DynamicObject;

use super::look::{Around, Found};
use super::{Advice, Request, Settings, Webhook, field};
use crate::api::{self, RecoveryLevel};
use crate::plan;
use crate::softdelete::names::proxy_name;
use crate::softdelete::sentence::{date, recover_command};
use crate::softdelete::{Kind, Origin, Uid, protection, retention};

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// There was never anything to keep.
    Nothing,
    /// Soft-delete is off.
    Destroyed,
    /// Its date is reckoned from now, seconds off the operator's own. None: nobody knows its HSM's retention.
    Kept(Option<DateTime<Utc>>),
    /// It shares its HSM's fate (SD-11).
    KeptWithItsHsm(Option<DateTime<Utc>>),
}

/// What is about to go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Going {
    kind: Kind,
    origin: Origin,
    fate: Fate,
    /// Live ones, of an HSM.
    keys: i32,
    /// One of many at once: the API server cuts long warnings then.
    one_of_many: bool,
}

impl Webhook {
    pub(super) fn delete_hsm(&self, request: &Request) -> Advice {
        let Some(old) = &request.old_object else {
            return Advice::default();
        };
        let spec: Option<api::ManagedHsmSpec> = field(old, "spec");
        let status: Option<api::ManagedHsmStatus> = field(old, "status");
        let (Some(spec), Some(status)) = (spec, status) else {
            return Advice::default();
        };
        let fate = hsm_fate(&spec, &status, self.settings, self.began(old));
        Advice::warned(farewell(&going(request, old, Kind::Hsm, fate, status.keys)))
    }

    pub(super) async fn delete_key(&self, request: &Request) -> Found<Advice> {
        let Some(old) = &request.old_object else {
            return Ok(Advice::default());
        };
        let spec: Option<api::HsmKeySpec> = field(old, "spec");
        let status: Option<api::HsmKeyStatus> = field(old, "status");
        let (Some(spec), Some(status)) = (spec, status) else {
            return Ok(Advice::default());
        };
        let namespace = old.namespace().unwrap_or_default();
        let hsm = self.look.around(&namespace, &spec.hsm).await?;
        let fate = key_fate(&spec, &status, &hsm, self.settings, self.began(old));
        Ok(Advice::warned(farewell(&going(
            request,
            old,
            Kind::Key,
            fate,
            None,
        ))))
    }

    /// When its deletion was accepted, or is now.
    fn began(&self, old: &DynamicObject) -> DateTime<Utc> {
        let deleted = old.metadata.deletion_timestamp.as_ref();
        deleted.map_or_else(|| self.clock.now(), |at| api::Time::from(at).utc())
    }
}

fn going(
    request: &Request,
    old: &DynamicObject,
    kind: Kind,
    fate: Fate,
    keys: Option<i32>,
) -> Going {
    Going {
        kind,
        origin: Origin {
            namespace: old.namespace().unwrap_or_default(),
            name: old.name_any(),
            uid: Uid(old.uid().unwrap_or_default()),
            ..Origin::default()
        },
        fate,
        keys: keys.unwrap_or_default(),
        // Of a collection only the objects have names.
        one_of_many: request.name.is_empty(),
    }
}

fn hsm_fate(
    spec: &api::ManagedHsmSpec,
    status: &api::ManagedHsmStatus,
    settings: Settings,
    began: DateTime<Utc>,
) -> Fate {
    let had_material = status.hsm_id.is_some() || status.record_generation.is_some();
    let on = match status.recovery_level {
        Some(level) => level != RecoveryLevel::Purgeable,
        None => protection::soft_delete_in_effect(Some(spec.soft_delete), settings.undeletable),
    };
    match (had_material, on) {
        (false, _) => Fate::Nothing,
        (true, false) => Fate::Destroyed,
        (true, true) => Fate::Kept(until(began, Some(spec.retention_days), settings)),
    }
}

fn key_fate(
    spec: &api::HsmKeySpec,
    status: &api::HsmKeyStatus,
    hsm: &Around,
    settings: Settings,
    began: DateTime<Utc>,
) -> Fate {
    if status.hsm_id.is_none() && status.record_generation.is_none() && status.versions.is_empty() {
        return Fate::Nothing;
    }
    if status.recovery_level == Some(RecoveryLevel::Purgeable) {
        return Fate::Destroyed;
    }
    match hsm {
        Around::Deleted(found) => {
            let deleted = plan::kept_by(Kind::Hsm, found, settings.undeletable);
            Fate::KeptWithItsHsm(deleted.purge_time)
        }
        Around::Live(live) => {
            let days =
                retention::retention_days(spec.retention_days, Some(live.spec.retention_days));
            // One that says more than its HSM's keeps what its record says; that much is sure.
            let days = days.unwrap_or(live.spec.retention_days);
            Fate::Kept(until(began, Some(days), settings))
        }
        Around::Absent => Fate::Kept(until(began, spec.retention_days, settings)),
    }
}

fn until(began: DateTime<Utc>, days: Option<i32>, settings: Settings) -> Option<DateTime<Utc>> {
    retention::dates(began, days, settings.day).scheduled_purge_time
}

/// The warnings, each of 256 bytes at most unless names are very long; of one of many only what is short.
fn farewell(going: &Going) -> Vec<String> {
    let Going {
        kind,
        origin,
        fate,
        keys,
        one_of_many,
    } = going;
    let it = format!("{} {}/{}", kind.object(), origin.namespace, origin.name);
    let with = match keys {
        0 => String::new(),
        1 => ", and its key with it".to_owned(),
        many => format!(", and its {many} keys with it"),
    };
    let (at, once) = match fate {
        Fate::Nothing => return vec![format!("{it} had no material yet: nothing of it is kept.")],
        Fate::Destroyed => {
            return vec![format!(
                "Soft-delete is off for {it}: it is destroyed now{with}, and nothing can bring it back."
            )];
        }
        Fate::Kept(at) => (at, ""),
        Fate::KeptWithItsHsm(at) => (at, ", once its HSM is back,"),
    };
    let at = at.map_or_else(
        || "the end of its retention".to_owned(),
        |at| format!("about {}", date(at)),
    );
    let proxy = proxy_name(&origin.namespace, &origin.name);
    let kept = format!(
        "Soft-deleted, not destroyed: kept as {}/{proxy} until {at}{with}.",
        kind.proxies()
    );
    if *one_of_many {
        return vec![kept];
    }
    let command = recover_command(*kind, origin, None);
    vec![kept, format!("Bring it back{once} with: {command}")]
}

#[cfg(test)]
mod tests;
