//! The create of a Purge: what would end it for good is refused at once, by the controller's own order of checks.

use chrono::{DateTime, Utc};

use super::look::{Around, Found};
use super::{Advice, Request, Settings, Webhook, field};
use crate::api::{self, ProxyKind};
use crate::plan;
use crate::plan::observed::{Proxy, ProxySpec};
use crate::softdelete::protection::{Protections, protector};
use crate::softdelete::purge::{self, Approvals, ProxyFound, PurgeFacts, PurgeVerdict, Way};
use crate::softdelete::{Kind, Protector, Uid};

/// What was looked up for it.
#[derive(Default)]
struct Facts {
    found: Option<Proxy>,
    /// Of a key.
    hsm: Option<Around>,
    /// Of an HSM that shows protection and is not protected itself.
    keys: Vec<(String, bool)>,
}

impl Webhook {
    pub(super) async fn purge(&self, request: &Request) -> Found<Advice> {
        let object = request.object.as_ref();
        let Some(spec) = object.and_then(|object| field::<api::PurgeSpec>(object, "spec")) else {
            return Ok(Advice::default());
        };
        let found = self.look.proxy(kind(&spec), &spec.name).await?;
        let mut facts = Facts {
            found,
            ..Facts::default()
        };
        if let Some(found) = &facts.found {
            let namespace = &found.origin().namespace;
            match &found.spec {
                ProxySpec::Key(key) => {
                    facts.hsm = Some(self.look.around(namespace, &key.hsm).await?)
                }
                ProxySpec::Hsm(hsm) if shows_protection(found) && !hsm.purge_protection => {
                    facts.keys = self.look.keys_of(namespace, &found.origin().name).await?;
                }
                ProxySpec::Hsm(_) => {}
            }
        }
        Ok(judge(&spec, &facts, self.settings, self.clock.now()))
    }
}

fn kind(spec: &api::PurgeSpec) -> Kind {
    match spec.kind {
        ProxyKind::DeletedManagedHsm => Kind::Hsm,
        ProxyKind::DeletedHsmKey => Kind::Key,
    }
}

fn shows_protection(found: &Proxy) -> bool {
    found.status.purge_protection == Some(true)
}

/// What only the record, the clock or the policies know is left to the controller: here it counts as good.
fn judge(spec: &api::PurgeSpec, facts: &Facts, settings: Settings, now: DateTime<Utc>) -> Advice {
    let found = facts.found.as_ref();
    let request = purge::Request {
        asked_at: now,
        permission: Ok(()),
        protector: found.and_then(|found| protected_by(found, &facts.keys)),
        undeletable: settings.undeletable,
        until: found.and_then(|found| plan::dates(found).scheduled_purge_time),
        policies: None,
        etcd_old: false,
        approvals: Approvals { got: 1, needed: 1 },
        rate: 1,
        next_slot: None,
    };
    let verdict = purge::purge(&PurgeFacts {
        kind: kind(spec),
        proxy: spec.name.clone(),
        uid: Uid(spec.uid.clone()),
        found: found.map(|found| ProxyFound {
            uid: Uid(found.origin().uid.clone()),
            recovering: found.status.phase == Some(api::Phase::Recovering),
        }),
        now,
        clock_trusted: true,
        definitions: None,
        hsm: facts
            .hsm
            .as_ref()
            .and_then(|hsm| hsm.now(settings.undeletable)),
        held_by: None,
        evidence: Ok(()),
        named_by: None,
        way: Way::OnRequest(Box::new(request)),
    });
    match verdict {
        PurgeVerdict::Fail(refusal) => Advice::refused(refusal),
        PurgeVerdict::Wait(refusal) => Advice::waits(&refusal),
        PurgeVerdict::Go | PurgeVerdict::NotDue(_) => Advice::default(),
    }
}

/// By its own switch, or by what its status shows, which the operator keeps: of a key its HSM, of an HSM a key in it. Nothing shown is nothing known.
fn protected_by(found: &Proxy, keys: &[(String, bool)]) -> Option<Protector> {
    let (own, hsm) = match &found.spec {
        ProxySpec::Hsm(spec) => (spec.purge_protection, None),
        ProxySpec::Key(spec) => {
            let by_it = shows_protection(found) && !spec.purge_protection;
            (
                spec.purge_protection,
                Some((spec.hsm.as_str(), Some(by_it))),
            )
        }
    };
    protector(&Protections {
        own: Some(own),
        hsm,
        keys: keys
            .iter()
            .map(|(name, on)| (name.as_str(), Some(*on)))
            .collect(),
    })
}

#[cfg(test)]
mod tests;
