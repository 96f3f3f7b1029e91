//! The executor: one arm per effect, no choice of its own. Every write carries uid and resourceVersion, or the generation that it follows.

use std::sync::Arc;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::response::Status;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use super::cluster::{Cluster, Watched};
use super::{Context, Failure, observe, quota};
use crate::api;
use crate::backend::{Access, BackendError, HsmBackend, Stored, TokenLabel};
use crate::plan::observed::{No, Observed, ProxySpec, Refused, Tried};
use crate::plan::step::{At, Effect};
use crate::plan::{Lineage, encoding};
use crate::softdelete::{Kind, Record, RecordId, RecordState, Subject};

/// What became of an effect. Whatever it says, the world is looked at again.
#[derive(Debug)]
pub enum Done {
    Yes,
    /// Somebody else was faster: the precondition did not hold.
    Raced,
    /// The server or the module says no, and would say so again.
    Refused(Refused),
}

pub type Outcome = Result<Done, Failure>;

impl Effect {
    /// The effect's name in metrics, logs and fault scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer(..) => "AddFinalizer",
            Self::RemoveFinalizer(..) => "RemoveFinalizer",
            Self::CreateProxy(_) => "CreateProxy",
            Self::ShowProxy(..) => "ShowProxy",
            Self::DeleteProxy(_) => "DeleteProxy",
            Self::CreateObject(_) => "CreateObject",
            Self::RestoreOwners(..) => "RestoreOwners",
            Self::ShowHsm(..) => "ShowHsm",
            Self::ShowKey(..) => "ShowKey",
            Self::ShowRecover(..) => "ShowRecover",
            Self::ShowPurge(..) => "ShowPurge",
            Self::CreateReceipt(_) => "CreateReceipt",
            Self::OpenForDestruction(_) => "OpenForDestruction",
            Self::ReleaseToken(_) => "ReleaseToken",
            Self::WriteRecord { .. } => "WriteRecord",
            Self::RestoreRecord { .. } => "RestoreRecord",
            Self::ForgetRecord { .. } => "ForgetRecord",
            Self::DeletePurge(_) => "DeletePurge",
            Self::CreateToken(_) => "CreateToken",
            Self::SealToken(_) => "SealToken",
            Self::UnsealToken(_) => "UnsealToken",
            Self::Generate { .. } => "Generate",
            Self::Publish { .. } => "Publish",
            Self::Copy { .. } => "Copy",
            Self::Destroy { .. } => "Destroy",
        }
    }
}

/// Carries one effect out.
pub async fn execute(context: &Context, seen: &Observed, effect: &Effect) -> Outcome {
    let lineage = &seen.lineage;
    let run = Run {
        context,
        cluster: context.cluster.writing(),
        lineage,
        backend: &seen.backend,
    };
    match effect {
        Effect::AddFinalizer(at, all) | Effect::RemoveFinalizer(at, all) => {
            run.finalizers(at, all).await
        }
        Effect::CreateProxy(spec) => run.create_proxy(spec).await,
        Effect::ShowProxy(at, status) => run.show(Watched::Proxy(lineage.kind), at, status).await,
        Effect::DeleteProxy(at) => run.delete(&run.cluster.proxies(lineage.kind), at).await,
        Effect::CreateObject(snapshot) => run.create_object(snapshot).await,
        Effect::RestoreOwners(at, managers) => run.restore_owners(at, managers).await,
        Effect::ShowHsm(at, status) => run.show(Watched::Object(Kind::Hsm), at, status).await,
        Effect::ShowKey(at, status) => run.show(Watched::Object(Kind::Key), at, status).await,
        Effect::ShowRecover(at, status) => run.show(Watched::Recover, at, status).await,
        Effect::ShowPurge(at, status) => run.show(Watched::Purge, at, status).await,
        Effect::CreateReceipt(spec) => run.create_receipt(spec).await,
        Effect::OpenForDestruction(token) => {
            run.module(token.clone(), |module, token| {
                module.open_for_destruction(&token)
            })
            .await
        }
        Effect::ReleaseToken(token) => {
            run.module(token.clone(), |module, token| module.release_token(&token))
                .await
        }
        Effect::WriteRecord { generation, record } => {
            run.write_record(seen, *generation, record).await
        }
        Effect::RestoreRecord { generation, record } => {
            run.restore_record(*generation, record).await
        }
        Effect::ForgetRecord { generation, id } => run.forget_record(*generation, id).await,
        Effect::DeletePurge(at) => run.delete(&run.cluster.global(Watched::Purge), at).await,
        Effect::CreateToken(label) => run.create_token(label).await,
        Effect::SealToken(token) => {
            run.module(token.clone(), |module, token| module.seal_token(&token))
                .await
        }
        Effect::UnsealToken(token) => {
            run.module(token.clone(), |module, token| module.unseal_token(&token))
                .await
        }
        Effect::Generate {
            token,
            id,
            algorithm,
        } => {
            run.module(
                (token.clone(), *id, *algorithm),
                |module, (token, id, algorithm)| module.generate(&token, id, algorithm),
            )
            .await
        }
        Effect::Publish { token, handle } => {
            run.module((token.clone(), *handle), |module, (token, handle)| {
                module.publish(&token, handle)
            })
            .await
        }
        Effect::Copy {
            token,
            original,
            mark,
        } => {
            run.module(
                (token.clone(), *original, *mark),
                |module, (token, original, mark)| module.copy(&token, original, mark).map(drop),
            )
            .await
        }
        Effect::Destroy { token, handle } => {
            run.module((token.clone(), *handle), |module, (token, handle)| {
                module.destroy(&token, handle)
            })
            .await
        }
    }
}

struct Run<'a> {
    context: &'a Context,
    cluster: Cluster,
    lineage: &'a Lineage,
    backend: &'a str,
}

impl Run<'_> {
    /// A merge patch that carries the resourceVersion: a clean 409 where it is another.
    async fn finalizers(&self, at: &At, all: &[String]) -> Outcome {
        let patch = json!({"metadata": {"uid": at.uid, "resourceVersion": at.resource_version, "finalizers": all}});
        let objects = self.cluster.objects(self.lineage);
        settle(
            Tried::Other,
            objects
                .patch(&at.name, &PatchParams::default(), &Patch::Merge(patch))
                .await,
        )
    }

    async fn create_proxy(&self, spec: &ProxySpec) -> Outcome {
        let spec = match spec {
            ProxySpec::Hsm(spec) => serde_json::to_value(spec),
            ProxySpec::Key(spec) => serde_json::to_value(spec),
        }?;
        let mut proxy = DynamicObject::new(
            &crate::softdelete::names::proxy_name(&self.lineage.namespace, &self.lineage.name),
            &Watched::Proxy(self.lineage.kind).resource(),
        );
        proxy.data = json!({"spec": spec});
        settle(
            Tried::CreateProxy,
            self.cluster
                .proxies(self.lineage.kind)
                .create(&posted(api::MANAGER), &proxy)
                .await,
        )
    }

    async fn delete(&self, api: &Api<DynamicObject>, at: &At) -> Outcome {
        let exact = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(at.uid.clone()),
                resource_version: Some(at.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        settle(Tried::Other, api.delete(&at.name, &exact).await)
    }

    /// The server makes its name, so that nobody can take it beforehand.
    async fn create_receipt(&self, spec: &api::PurgeSpec) -> Outcome {
        let mut receipt = DynamicObject::new("", &Watched::Purge.resource());
        receipt.metadata.name = None;
        receipt.metadata.generate_name = Some(format!("{}-", spec.name));
        receipt.data = json!({"spec": serde_json::to_value(spec)?});
        let purges = self.cluster.global(Watched::Purge);
        settle(
            Tried::Other,
            purges.create(&posted(api::MANAGER), &receipt).await,
        )
    }

    /// POST under a manager of its own, so that the look after it can tell that nobody else owns a field yet.
    async fn create_object(&self, snapshot: &api::Snapshot) -> Outcome {
        let mut object = DynamicObject::new(
            &self.lineage.name,
            &Watched::Object(self.lineage.kind).resource(),
        )
        .within(&self.lineage.namespace);
        object.metadata.labels = (!snapshot.labels.is_empty()).then(|| snapshot.labels.clone());
        object.metadata.annotations =
            (!snapshot.annotations.is_empty()).then(|| snapshot.annotations.clone());
        object.metadata.finalizers = Some(vec![api::FINALIZER.to_owned()]);
        object.data = json!({"spec": snapshot.spec});
        settle(
            Tried::CreateObject,
            self.cluster
                .objects(self.lineage)
                .create(&posted(api::RECOVER_MANAGER), &object)
                .await,
        )
    }

    async fn restore_owners(&self, at: &At, managers: &Value) -> Outcome {
        let patch = exact(
            at,
            json!({"op": "replace", "path": "/metadata/managedFields", "value": managers}),
        )?;
        settle(
            Tried::Other,
            self.cluster
                .objects(self.lineage)
                .patch(&at.name, &PatchParams::default(), &patch)
                .await,
        )
    }

    /// The whole status, at the resourceVersion that it was decided on.
    async fn show(&self, of: Watched, at: &At, status: &impl Serialize) -> Outcome {
        let patch = exact(
            at,
            json!({"op": "add", "path": "/status", "value": serde_json::to_value(status)?}),
        )?;
        let api = match of {
            Watched::Object(_) | Watched::Recover => {
                self.cluster.namespaced(of, &self.lineage.namespace)
            }
            Watched::Proxy(_) | Watched::Purge | Watched::Namespace => self.cluster.global(of),
        };
        let params = PatchParams {
            field_manager: Some(api::MANAGER.to_owned()),
            ..PatchParams::default()
        };
        settle(
            Tried::Other,
            api.patch_status(&at.name, &params, &patch).await,
        )
    }

    /// G2: after the write the record is read again; the next look goes by what stands there.
    async fn write_record(&self, seen: &Observed, generation: u64, record: &Record) -> Outcome {
        // A new record's precondition, beside its generation: the key name, and a place within the limits, are as free as the look saw them. Held until
        // memory knows the record.
        let claim = (record.state == RecordState::Creating).then(|| {
            let most = self.context.most(self.backend, record.kind());
            let place = quota::place_of(self.backend, record);
            self.context.index.claim(record, place, most)
        });
        if matches!(claim, Some(None)) {
            return Ok(Done::Raced);
        }
        // And a requested purge's: as many were done, or begun, as the look saw (`purge::next_slot`).
        let slot = self.purge_slot(record).await;
        if slot.is_some()
            && self
                .context
                .purged_on_request(seen.now)
                .map(|all| all.len())
                != seen.purging.purged_at.as_ref().map(Vec::len)
        {
            return Ok(Done::Raced);
        }
        self.put(generation, record, |module, stored| module.write(&stored))
            .await
    }

    async fn restore_record(&self, generation: u64, record: &Record) -> Outcome {
        self.put(generation, record, |module, stored| module.restore(&stored))
            .await
    }

    async fn put(
        &self,
        generation: u64,
        record: &Record,
        how: impl FnOnce(&dyn HsmBackend, Stored) -> Result<(), BackendError> + Send + 'static,
    ) -> Outcome {
        let stored = Stored {
            id: record.id.0.clone(),
            generation,
            bytes: encoding::encode(record),
        };
        let outcome = self.module(stored, how).await?;
        if let Some(module) = self.context.backends.get(self.backend) {
            observe::read(
                self.context,
                module,
                self.backend,
                &RecordId(record.id.0.clone()),
            )
            .await?;
        }
        self.context.record_changed(self.lineage, record);
        Ok(outcome)
    }

    /// Requested purges pass the point of no return one after the other.
    async fn purge_slot(&self, record: &Record) -> Option<MutexGuard<'_, ()>> {
        let requested = record.state == RecordState::Destroying && !record.requesters.is_empty();
        if !requested {
            return None;
        }
        Some(self.context.purge_slot.lock().await)
    }

    /// One that is there, but that our user PIN does not open, is nothing to work with.
    async fn create_token(&self, label: &TokenLabel) -> Outcome {
        self.module(label.clone(), |module, label| {
            match module.create_token(&label)?.access {
                Access::Open => Ok(()),
                Access::Refused => Err(BackendError::Pin(format!(
                    "the token {} is made, and does not take our user PIN",
                    label.0
                ))),
            }
        })
        .await
    }

    async fn forget_record(&self, generation: u64, id: &RecordId) -> Outcome {
        let name = id.0.clone();
        let outcome = self
            .module(name, move |module, id| module.forget(&id, generation))
            .await?;
        if matches!(outcome, Done::Yes) {
            let known = self.context.index.get(id);
            self.context.index.forget(id);
            // The HSM's tombstone waits for its keys' records.
            if let Some(Subject::Key { hsm_name, .. }) = known
                .as_ref()
                .and_then(|entry| entry.held.record())
                .map(|record| &record.subject)
            {
                let namespace = self.lineage.namespace.clone();
                let around = Lineage::new(Kind::Hsm, namespace, hsm_name.clone());
                self.context.waker.wake(around);
            }
        }
        Ok(outcome)
    }

    /// A call on the backend's own threads.
    async fn module<T: Send + 'static>(
        &self,
        with: T,
        call: impl FnOnce(&dyn HsmBackend, T) -> Result<(), BackendError> + Send + 'static,
    ) -> Outcome {
        let Some(module) = self.context.backends.get(self.backend) else {
            return Err(BackendError::NotThere(format!("the backend {}", self.backend)).into());
        };
        match self
            .context
            .pool
            .run(Arc::clone(module), move |module| call(module, with))
            .await
        {
            Ok(()) => Ok(Done::Yes),
            Err(
                BackendError::DeadHandle
                | BackendError::Superseded
                | BackendError::Sealed
                | BackendError::NotThere(_),
            ) => Ok(Done::Raced),
            Err(error) => {
                tracing::warn!(lineage = %self.lineage, backend = self.backend, %error, "the backend refused a step");
                Ok(Done::Refused(refused_by_module(error)))
            }
        }
    }
}

/// A failure may have worked: the world is looked at again before anybody is told.
fn refused_by_module(error: BackendError) -> Refused {
    let (how, why) = match error {
        BackendError::Full(why) => (No::Full, why),
        BackendError::NotSupported(why) => (No::Unsupported, why),
        BackendError::Pin(why) => (No::Pin, why),
        BackendError::Unavailable(why) => (No::Failed, why),
        other => (No::Failed, other.to_string()),
    };
    Refused {
        what: Tried::Backend,
        why,
        how,
    }
}

fn posted(manager: &str) -> PostParams {
    PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    }
}

/// A JSON patch that holds only for exactly this state of exactly this object.
fn exact(at: &At, change: Value) -> Result<Patch<Value>, Failure> {
    let operations = json!([
        {"op": "test", "path": "/metadata/uid", "value": at.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": at.resource_version},
        change,
    ]);
    Ok(Patch::Json(serde_json::from_value(operations)?))
}

/// Sorts the API server's answer: a precondition that failed is a race, a plain no is a refusal where the protocol has a place for it.
fn settle<T>(what: Tried, answer: Result<T, kube::Error>) -> Outcome {
    let error = match answer {
        Ok(_) => return Ok(Done::Yes),
        Err(error) => error,
    };
    match &error {
        kube::Error::Api(status) if raced(what, status) => Ok(Done::Raced),
        kube::Error::Api(status) if what != Tried::Other && refuses(status) => {
            Ok(Done::Refused(Refused {
                what,
                why: status.message.clone(),
                how: No::Answer,
            }))
        }
        _ => Err(error.into()),
    }
}

/// 404 and 409 (AlreadyExists too), and the 422 with empty details of a JSON patch whose test failed.
fn raced(what: Tried, status: &Status) -> bool {
    let no_causes = status
        .details
        .as_ref()
        .is_none_or(|details| details.causes.is_empty());
    status.code == 409
        || (status.code == 404 && what == Tried::Other)
        || (status.code == 422 && no_causes)
}

/// What would be answered again: a policy, a quota, a schema, a size.
fn refuses(status: &Status) -> bool {
    matches!(status.code, 400 | 403 | 413 | 422)
        || (status.code == 500 && status.message.contains("too large"))
}

#[cfg(test)]
mod tests;
