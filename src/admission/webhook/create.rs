//! The create of an HSM or a key: whether its name is reserved, and what its HSM says of it.

use kube::ResourceExt as _;

use super::look::{Around, Found};
use super::{Advice, Request, Settings, Webhook, field};
use crate::api;
use crate::plan;
use crate::plan::observed::{Proxy, ProxySpec};
use crate::softdelete::names::{self, Claim, Names, key_name};
use crate::softdelete::recover::{CreateMode, CreateStep, create_or_recover};
use crate::softdelete::{
    Kind, Origin, Reason, RecordId, RecordState, Refusal, Uid, protection, retention,
};

/// What is to be made.
struct Wanted {
    kind: Kind,
    namespace: String,
    name: String,
    uid: Uid,
    mode: api::CreateMode,
    key: Option<api::HsmKeySpec>,
}

/// What was looked up for it.
struct Facts {
    /// Of its resource name, then of its key name.
    proxies: Vec<Proxy>,
    /// The namespace's uid.
    namespace: Option<Uid>,
    /// Of a key.
    hsm: Option<Around>,
}

impl Webhook {
    pub(super) async fn create(&self, request: &Request, kind: Kind) -> Found<Advice> {
        let Some(wanted) = wanted(request, kind) else {
            return Ok(Advice::default());
        };
        let facts = self.facts(&wanted).await?;
        Ok(judge(&wanted, &facts, self.settings))
    }

    async fn kept(
        &self,
        kind: Kind,
        namespace: &str,
        name: Option<String>,
    ) -> Found<Option<Proxy>> {
        match name {
            Some(name) => {
                self.look
                    .proxy(kind, &names::proxy_name(namespace, &name))
                    .await
            }
            None => Ok(None),
        }
    }

    async fn facts(&self, wanted: &Wanted) -> Found<Facts> {
        let Wanted {
            namespace,
            name,
            kind,
            key,
            ..
        } = wanted;
        let hsm = async {
            match key {
                Some(spec) => self.look.around(namespace, &spec.hsm).await.map(Some),
                None => Ok(None),
            }
        };
        let (proxy, namesake, hsm) = tokio::try_join!(
            self.kept(*kind, namespace, Some(name.clone())),
            self.kept(*kind, namespace, wanted.namesake()),
            hsm
        )?;
        let asks = proxy.is_some() && wanted.mode == api::CreateMode::CreateOrRecover;
        let found = if asks {
            self.look.namespace(namespace).await?
        } else {
            None
        };
        Ok(Facts {
            proxies: proxy.into_iter().chain(namesake).collect(),
            namespace: found.map(|(uid, _)| uid),
            hsm,
        })
    }
}

impl Wanted {
    /// Whose key name it may be that is said: most keys are named as their resource. A deleted one that was named otherwise only the records know at this
    /// price, since a selector would have to read every proxy.
    fn namesake(&self) -> Option<String> {
        let said = self.key.as_ref()?.key_name.as_ref()?.to_ascii_lowercase();
        (said != self.name).then_some(said)
    }
}

fn wanted(request: &Request, kind: Kind) -> Option<Wanted> {
    let object = request.object.as_ref()?;
    let (mode, key) = match kind {
        Kind::Hsm => (
            field::<api::ManagedHsmSpec>(object, "spec")?.create_mode,
            None,
        ),
        Kind::Key => {
            let spec: api::HsmKeySpec = field(object, "spec")?;
            (spec.create_mode, Some(spec))
        }
    };
    Some(Wanted {
        kind,
        namespace: request.namespace.clone()?,
        name: object.name_any(),
        uid: Uid(object.uid().unwrap_or_default()),
        mode,
        key,
    })
}

fn judge(wanted: &Wanted, facts: &Facts, settings: Settings) -> Advice {
    let name = name_advice(wanted, facts, settings);
    if name.refusal.is_some() {
        return name;
    }
    let around = wanted.key.as_ref().zip(facts.hsm.as_ref());
    let hsm = around
        .map(|(spec, hsm)| in_its_hsm(spec, hsm, settings))
        .unwrap_or_default();
    Advice {
        refusal: hsm.refusal,
        warnings: name.warnings.into_iter().chain(hsm.warnings).collect(),
    }
}

/// Refused early where the name is reserved (SD-17); told where what it asks for cannot follow yet (SD-22).
fn name_advice(wanted: &Wanted, facts: &Facts, settings: Settings) -> Advice {
    let hsm = wanted.key.as_ref().map(|spec| within(&spec.hsm));
    let key = wanted
        .key
        .as_ref()
        .map(|spec| key_name(spec.key_name.as_deref(), &wanted.name));
    let needed = Names {
        kind: wanted.kind,
        namespace: &wanted.namespace,
        name: &wanted.name,
        key: hsm.as_ref().zip(key),
    };
    let held: Vec<_> = facts
        .proxies
        .iter()
        .map(|found| Held::by(found, wanted.kind, settings))
        .collect();
    let claims = held.iter().filter_map(Held::claim);
    let reserved = names::reserved(&needed, &wanted.uid, claims);
    let mode = match wanted.mode {
        api::CreateMode::Default => CreateMode::Default,
        api::CreateMode::CreateOrRecover => CreateMode::CreateOrRecover,
    };
    let Some(namespace) = facts.namespace.as_ref() else {
        return advise_on(reserved);
    };
    match create_or_recover(mode, &needed, reserved, namespace) {
        CreateStep::Create | CreateStep::Recover(_) => Advice::default(),
        CreateStep::Stand(refusal) => advise_on(Some(refusal)),
    }
}

fn advise_on(reserved: Option<Refusal>) -> Advice {
    match reserved {
        Some(refusal) if refusal.reason() == Reason::ObjectIsDeletedButRecoverable => {
            Advice::refused(refusal)
        }
        Some(refusal) => Advice::waits(&refusal),
        None => Advice::default(),
    }
}

/// Within a namespace an HSM that has deleted keys is the only one of its name.
fn within(hsm: &str) -> RecordId {
    RecordId(hsm.to_owned())
}

/// What a proxy keeps from others.
struct Held {
    deleted: crate::softdelete::Deleted,
    origin: Origin,
    key: Option<(RecordId, String)>,
    /// None: it comes back, or goes, by itself.
    state: Option<RecordState>,
}

impl Held {
    fn by(found: &Proxy, kind: Kind, settings: Settings) -> Self {
        let deleted = plan::kept_by(kind, found, settings.undeletable);
        let key = match &found.spec {
            ProxySpec::Hsm(_) => None,
            ProxySpec::Key(spec) => Some((within(&spec.hsm), spec.key_name.clone())),
        };
        Self {
            origin: deleted.origin.clone(),
            deleted,
            key,
            state: found.status.phase.is_none().then_some(RecordState::Deleted),
        }
    }

    fn claim(&self) -> Option<Claim<'_>> {
        Some(Claim {
            origin: &self.origin,
            names: Names {
                kind: self.deleted.kind,
                namespace: &self.origin.namespace,
                name: &self.origin.name,
                key: self.key.as_ref().map(|(hsm, key)| (hsm, key.as_str())),
            },
            state: self.state?,
            purge_time: self.deleted.purge_time,
            purgeable: self.deleted.purgeable,
        })
    }
}

/// What would stand for good is refused (SD-08); an HSM that is deleted, or without soft-delete, may change.
fn in_its_hsm(spec: &api::HsmKeySpec, hsm: &Around, settings: Settings) -> Advice {
    match hsm {
        Around::Live(live) => {
            let days =
                retention::retention_days(spec.retention_days, Some(live.spec.retention_days));
            let on = protection::soft_delete_in_effect(
                Some(live.spec.soft_delete),
                settings.undeletable,
            );
            let protects = protection::purge_protection_switch(
                false,
                spec.purge_protection,
                on,
                Some(&spec.hsm),
            );
            match (days, protects) {
                (Err(refusal), _) => Advice::refused(refusal),
                (Ok(_), Err(refusal)) => Advice::waits(&refusal),
                (Ok(_), Ok(())) => Advice::default(),
            }
        }
        Around::Deleted(_) => {
            let refusal = hsm.now(settings.undeletable).and_then(|now| now.refusal());
            refusal
                .map(|refusal| Advice::waits(&refusal))
                .unwrap_or_default()
        }
        // It may come with the next manifest.
        Around::Absent => Advice::default(),
    }
}

#[cfg(test)]
mod tests;
