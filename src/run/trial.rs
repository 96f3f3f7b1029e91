//! A trial of an installation, as a person would make it: a key is made, deleted, recovered, and is the same; then all of it goes.

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RunError;
use super::cluster::{Clients, user};
use crate::api::conditions::{self, Condition};
use crate::api::time::Time;
use crate::api::{
    DeletedHsmKey, DeletedManagedHsm, HsmKey, HsmKeySpec, ManagedHsm, ManagedHsmSpec, Purge,
    PurgeSpec, Recover, RecoverSpec, common, proxy,
};
use crate::clock;
use crate::softdelete::names::proxy_name;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A purge on request may have to wait for other people; what is left goes by itself.
const PURGE_WITHIN: Duration = Duration::from_secs(30);

/// The sentence says which step did not end, and what stands there.
type Step<T> = Result<T, String>;

#[derive(Clone)]
struct Trial {
    client: Client,
    namespace: String,
    name: String,
    patience: Duration,
}

/// Makes and deletes in `namespace`, and tells each step on standard output. `patience` is for each step.
///
/// # Errors
/// One sentence: the step that failed, the condition of the object that it waited for, and how what was made is removed.
pub async fn trial(namespace: String, patience: Duration) -> Result<(), RunError> {
    let clients = Clients::infer().await.map_err(RunError::NoCluster)?;
    let trial = Trial {
        client: clients.normal,
        namespace,
        name: format!("trial-{:08x}", rand::random::<u32>()),
        patience,
    };
    let Trial {
        namespace, name, ..
    } = &trial;
    trial.run().await.map_err(|why| {
        RunError::Trial(format!(
            "{why}; look at {namespace}/{name}, and remove it by kubectl -n {namespace} delete recover,hsmkey,managedhsm {name} --ignore-not-found"
        ))
    })
}

impl Trial {
    async fn run(&self) -> Step<()> {
        let before = self.make().await?;
        let uid = self.delete_key().await?;
        self.recover(uid, &before).await?;
        self.leave().await
    }

    fn of<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn proxy(&self) -> String {
        proxy_name(&self.namespace, &self.name)
    }

    /// An HSM with a key; the key's thumbprint.
    async fn make(&self) -> Step<String> {
        let spec = ManagedHsmSpec {
            retention_days: 7,
            ..ManagedHsmSpec::default()
        };
        create(&self.of(), &ManagedHsm::new(&self.name, spec)).await?;
        let spec = serde_json::json!({"hsm": self.name, "keyType": "EC", "curve": "P-256"});
        let spec: HsmKeySpec = serde_json::from_value(spec).map_err(|error| error.to_string())?;
        create(&self.of(), &HsmKey::new(&self.name, spec)).await?;
        let key = self.key_is_ready().await?;
        println!("made the HSM and the key {}/{}", self.namespace, self.name);
        thumbprint(&key)
    }

    async fn key_is_ready(&self) -> Step<HsmKey> {
        let state = |key: &HsmKey| {
            shown(
                key.status.as_ref().map(|status| &status.conditions),
                "Ready",
            )
        };
        self.seen("the key is ready", &self.of(), state).await
    }

    /// The uid that the deleted key had.
    async fn delete_key(&self) -> Step<String> {
        let keys: Api<HsmKey> = self.of();
        delete(&keys, &self.name).await?;
        self.gone("the key is gone", &keys).await?;
        let proxies: Api<DeletedHsmKey> = Api::all(self.client.clone());
        let found = proxies
            .get(&self.proxy())
            .await
            .map_err(failed("the proxy cannot be read"))?;
        println!(
            "deleted the key: it is kept as {} until {}",
            self.proxy(),
            date(found.spec.scheduled_purge_time)
        );
        Ok(found.spec.origin.uid)
    }

    async fn recover(&self, uid: String, before: &str) -> Step<()> {
        let spec = RecoverSpec {
            kind: common::ObjectKind::HsmKey,
            name: self.name.clone(),
            uid,
            include_keys: common::IncludeKeys::None,
            accept_namespace_uid: None,
        };
        let recovers: Api<Recover> = self.of();
        create(&recovers, &Recover::new(&self.name, spec)).await?;
        let state = |it: &Recover| {
            shown(
                it.status.as_ref().map(|status| &status.conditions),
                "Complete",
            )
        };
        self.seen("the Recover is complete", &recovers, state)
            .await?;
        let after = thumbprint(&self.key_is_ready().await?)?;
        if after != before {
            return Err(format!(
                "the recovered key is another one: its thumbprint was {before} and is {after}"
            ));
        }
        println!("recovered the key: it is the same, thumbprint {after}");
        delete(&recovers, &self.name).await.map(drop)
    }

    /// Nothing of it stays, but where nobody may purge at once.
    async fn leave(&self) -> Step<()> {
        let (keys, hsms): (Api<HsmKey>, Api<ManagedHsm>) = (self.of(), self.of());
        delete(&keys, &self.name).await?;
        self.gone("the key is gone", &keys).await?;
        let uid = delete(&hsms, &self.name).await?;
        self.gone("the HSM is gone", &hsms).await?;
        let proxies: Api<DeletedManagedHsm> = Api::all(self.client.clone());
        let found = proxies
            .get(&self.proxy())
            .await
            .map_err(failed("the proxy cannot be read"))?;
        if uid.as_ref() != Some(&found.spec.origin.uid) {
            return Err(format!(
                "{} is not of the HSM that was made here, so nothing is purged",
                self.proxy()
            ));
        }
        let spec = PurgeSpec {
            kind: proxy::ProxyKind::DeletedManagedHsm,
            name: self.proxy(),
            uid: found.spec.origin.uid.clone(),
            requested_by: user(&self.client)
                .await
                .map_err(failed("the API server does not say who asks"))?,
            reason: Some("a trial of the installation is over".to_owned()),
        };
        let purges: Api<Purge> = Api::all(self.client.clone());
        let Err(why) = self.purge(&purges, spec, &proxies).await else {
            println!("purged the HSM with its key");
            return Ok(());
        };
        println!(
            "deleted the HSM with its key: nobody purges it at once here ({why}), so {} goes by itself at {}",
            self.proxy(),
            date(found.spec.scheduled_purge_time)
        );
        Ok(())
    }

    async fn purge(
        &self,
        purges: &Api<Purge>,
        spec: PurgeSpec,
        proxies: &Api<DeletedManagedHsm>,
    ) -> Step<()> {
        let proxy = spec.name.clone();
        create(purges, &Purge::new(&self.name, spec)).await?;
        let patience = PURGE_WITHIN.min(self.patience);
        let began = clock::instant();
        while began.elapsed() < patience {
            if found(proxies, &proxy).await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let stands = found(purges, &self.name).await?;
        let stands = stands
            .and_then(|it| it.status)
            .map(|status| status.conditions);
        // A Purge that other people are to join is no trial's affair.
        delete(purges, &self.name).await?;
        Err(shown(stands.as_ref(), "Complete").err().unwrap_or_default())
    }

    /// What it shows is told where it does not come to what is wanted.
    async fn seen<K, S>(&self, what: &str, api: &Api<K>, state: S) -> Step<K>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
        S: Fn(&K) -> Result<(), String>,
    {
        let began = clock::instant();
        loop {
            let stands = match found(api, &self.name).await? {
                None => "it is not there".to_owned(),
                Some(seen) => match state(&seen) {
                    Ok(()) => return Ok(seen),
                    Err(stands) => stands,
                },
            };
            if began.elapsed() >= self.patience {
                return Err(self.late(what, &stands));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn gone<K>(&self, what: &str, api: &Api<K>) -> Step<()>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let began = clock::instant();
        while found(api, &self.name).await?.is_some() {
            if began.elapsed() >= self.patience {
                return Err(self.late(what, "it is still there"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn late(&self, what: &str, stands: &str) -> String {
        format!("not within {:?}: {what} ({stands})", self.patience)
    }
}

/// Ok where the condition is true; else what stands there.
fn shown(all: Option<&Vec<Condition>>, wanted: &str) -> Result<(), String> {
    let all = all.map(Vec::as_slice).unwrap_or_default();
    if conditions::is_true(all, wanted) {
        return Ok(());
    }
    let ready = conditions::get(all, "Ready");
    Err(ready.map_or_else(
        || "no operator has seen it".to_owned(),
        |ready| format!("{}: {}", ready.reason, ready.message),
    ))
}

fn thumbprint(key: &HsmKey) -> Step<String> {
    let mut versions = key.status.iter().flat_map(|status| &status.versions).rev();
    let last = versions.find_map(|version| version.thumbprint.clone());
    last.ok_or_else(|| "the key is ready and shows no thumbprint".to_owned())
}

fn date(time: Option<Time>) -> String {
    time.map_or_else(|| "for ever".to_owned(), |time| time.to_string())
}

fn failed(what: &str) -> impl Fn(kube::Error) -> String {
    move |error| format!("{what}: {error}")
}

async fn create<K>(api: &Api<K>, object: &K) -> Step<()>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let made = api.create(&PostParams::default(), object).await;
    let what = format!("{} {} cannot be made", K::kind(&()), object.name_any());
    made.map(drop).map_err(failed(&what))
}

/// Deletes what is there now, and nothing that came in its place: its uid. None: nothing was there.
async fn delete<K>(api: &Api<K>, name: &str) -> Step<Option<String>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let Some(uid) = found(api, name).await?.and_then(|found| found.uid()) else {
        return Ok(None);
    };
    let this = DeleteParams::default().preconditions(Preconditions {
        uid: Some(uid.clone()),
        resource_version: None,
    });
    match api.delete(name, &this).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        other => other.map(|_| Some(uid)).map_err(failed(&format!(
            "{} {name} cannot be deleted",
            K::kind(&())
        ))),
    }
}

async fn found<K>(api: &Api<K>, name: &str) -> Step<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    api.get_opt(name)
        .await
        .map_err(failed(&format!("{name} cannot be read")))
}
