//! The create of a Recover, and its withdrawal. It may be applied before what it is about is deleted, and only the record knows whether there is
//! nothing: so none is refused, and what it will wait for, or fail with, is told.

use super::look::{Around, Found};
use super::{Advice, Request, Settings, Webhook, field};
use crate::api::{self, ObjectKind, Phase};
use crate::plan;
use crate::plan::observed::{Proxy, ProxySpec};
use crate::softdelete::names::proxy_name;
use crate::softdelete::recover::{
    self, NamespaceNow, ProxyNow, RecoverFacts, RecoverVerdict, Standing, accepts_namespace,
};
use crate::softdelete::{Kind, RecordState, Uid};

/// What was looked up for it.
#[derive(Default)]
struct Facts {
    /// Of that uid.
    found: Option<Proxy>,
    /// What stands under the name: its uid, and whether it is about to go.
    object: Option<(Uid, bool)>,
    namespace: Option<(Uid, bool)>,
    /// Of a key.
    hsm: Option<Around>,
}

impl Webhook {
    pub(super) async fn recover(&self, request: &Request) -> Found<Advice> {
        let object = request.object.as_ref();
        let spec = object.and_then(|object| field::<api::RecoverSpec>(object, "spec"));
        let (Some(spec), Some(namespace)) = (spec, &request.namespace) else {
            return Ok(Advice::default());
        };
        let facts = self.around_it(&spec, namespace).await?;
        Ok(judge(&spec, &facts, self.settings))
    }

    /// From the proxy's *Recovering* on a withdrawal changes nothing (SD-20).
    pub(super) async fn withdrawal(&self, request: &Request) -> Found<Advice> {
        let old = request.old_object.as_ref();
        let spec = old.and_then(|old| field::<api::RecoverSpec>(old, "spec"));
        let (Some(spec), Some(namespace)) = (spec, &request.namespace) else {
            return Ok(Advice::default());
        };
        let proxy = proxy_name(namespace, &spec.name);
        let found = self.look.proxy(kind(&spec), &proxy).await?;
        Ok(withdrawn(&spec, found.as_ref()))
    }

    async fn around_it(&self, spec: &api::RecoverSpec, namespace: &str) -> Found<Facts> {
        let proxy = proxy_name(namespace, &spec.name);
        let (found, object, home) = tokio::try_join!(
            self.look.proxy(kind(spec), &proxy),
            self.look.object(kind(spec), namespace, &spec.name),
            self.look.namespace(namespace),
        )?;
        let found = found.filter(|found| found.origin().uid == spec.uid);
        let hsm = match found.as_ref().map(|found| &found.spec) {
            Some(ProxySpec::Key(key)) => Some(self.look.around(namespace, &key.hsm).await?),
            _ => None,
        };
        Ok(Facts {
            found,
            object,
            namespace: home,
            hsm,
        })
    }
}

fn kind(spec: &api::RecoverSpec) -> Kind {
    match spec.kind {
        ObjectKind::ManagedHsm => Kind::Hsm,
        ObjectKind::HsmKey => Kind::Key,
    }
}

fn withdrawn(spec: &api::RecoverSpec, found: Option<&Proxy>) -> Advice {
    let found = found.filter(|found| found.origin().uid == spec.uid);
    if !recover::goes_on_without_its_recover(now(found)) {
        return Advice::default();
    }
    Advice::warned([format!(
        "The recovery of the {} {} (uid {}) is under way and goes on: deleting its Recover withdraws it no more; delete the object once it is back.",
        kind(spec).object(),
        spec.name,
        spec.uid
    )])
}

/// By whom it is recovered is not asked here.
fn now(found: Option<&Proxy>) -> ProxyNow {
    match found.map(|found| found.status.phase) {
        None => ProxyNow::Absent,
        Some(None) => ProxyNow::Retained,
        Some(Some(Phase::Recovering)) => ProxyNow::Recovering { ours: false },
        Some(Some(Phase::Destroying)) => ProxyNow::Destroying,
    }
}

fn judge(spec: &api::RecoverSpec, facts: &Facts, settings: Settings) -> Advice {
    let uid = Uid(spec.uid.clone());
    let found = facts.found.as_ref();
    let accepted = spec.accept_namespace_uid.clone().map(Uid);
    let namespace = match (found, &facts.namespace) {
        (Some(found), Some((uid, terminating))) => {
            let origin = plan::kept_by(kind(spec), found, settings.undeletable).origin;
            let now = NamespaceNow {
                uid,
                terminating: *terminating,
            };
            accepts_namespace(kind(spec), &origin, &now, accepted.as_ref(), None)
        }
        _ => Ok(()),
    };
    let verdict = recover::recover(&RecoverFacts {
        kind: kind(spec),
        name: spec.name.clone(),
        uid: uid.clone(),
        // A proxy stands for its record here.
        record: found.map(|_| RecordState::Deleted),
        retained: true,
        proxy: now(found),
        standing: match &facts.object {
            Some((its, false)) if *its == uid => Standing::LiveAgain,
            Some((its, true)) if *its == uid => Standing::Terminating,
            _ => Standing::Nothing,
        },
        hsm: facts
            .hsm
            .as_ref()
            .and_then(|hsm| hsm.now(settings.undeletable)),
        namespace,
        backend: Ok(()),
    });
    match verdict {
        RecoverVerdict::Fail(refusal) | RecoverVerdict::Wait(refusal) => Advice::waits(&refusal),
        RecoverVerdict::Go | RecoverVerdict::Done | RecoverVerdict::AwaitDeletion => {
            Advice::default()
        }
    }
}

#[cfg(test)]
mod tests;
