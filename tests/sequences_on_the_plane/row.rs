//! One row, played in a namespace of its own: brought into its state, then acted upon.

mod seen;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use managed_hsm_operator::backend::TokenLabel;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::{Cluster, Watched};
use managed_hsm_operator::controller::stops::{Stop, Stops, When, Which};
use managed_hsm_operator::plan::Lineage;
use managed_hsm_operator::softdelete::Kind;
use managed_hsm_operator::softdelete::names::proxy_name;
use serde_json::{Value, json};

use crate::rows::{self, ANOTHER_UID, Act, HSM, KEY, ServerSays, State, THEIRS, TWIN};
use crate::table::Table;

/// What all rows share.
pub struct Stage {
    /// With caches: hundreds of rows look again and again.
    pub cluster: Cluster,
    pub backend: MemoryBackend,
    pub stops: Stops,
    pub table: Table,
}

pub struct Row {
    stage: Arc<Stage>,
    pub kind: Kind,
    pub state: State,
    pub act: Act,
    ns: String,
    /// The table's names of the uids that this row has made; any other is the operator's.
    uids: Mutex<BTreeMap<String, String>>,
    /// Where the operator stands in the middle of something.
    paused: Mutex<Option<Stop>>,
}

type Done = Result<(), ServerSays>;

impl Row {
    pub fn new(stage: &Arc<Stage>, number: usize, kind: Kind, state: State, act: Act) -> Self {
        Self {
            stage: Arc::clone(stage),
            kind,
            state,
            act,
            ns: format!("row-{number:03}"),
            uids: Mutex::default(),
            paused: Mutex::default(),
        }
    }

    pub fn title(&self) -> String {
        let (kind, state, act) = (self.kind.object(), self.state.said(), self.act.said());
        format!("{}: {kind}, {state}: {act}", self.ns)
    }

    pub fn lineages(&self) -> [Lineage; 3] {
        let of = |kind, name| Lineage::new(kind, self.ns.clone(), name);
        [of(Kind::Hsm, HSM), of(Kind::Key, KEY), of(Kind::Key, TWIN)]
    }

    /// From an empty namespace to the state, then the act, then rest. Answers what the API server said to the act.
    pub async fn play(&self) -> Done {
        let namespace = json!({"metadata": {"name": self.ns}});
        self.post(Watched::Namespace, &self.ns, namespace)
            .await
            .expect("a namespace");
        self.begin().await;
        let answer = self.act().await;
        self.go_on();
        self.is_as_in(self.state, self.act, answer).await;
        answer
    }

    // ---- states ----

    async fn begin(&self) {
        let (kind, name) = (self.kind, rows::name(self.kind));
        if kind == Kind::Key && self.state != State::WaitingForHsm {
            self.create(Kind::Hsm, HSM, "1", json!({}))
                .await
                .expect("an HSM");
            self.ready(Kind::Hsm).await;
        }
        if self.state == State::WaitingForDeletedHsm {
            self.delete(Kind::Hsm).await.expect("it is there");
            self.kept(Kind::Hsm).await;
        }
        self.create(kind, name, "1", json!({}))
            .await
            .expect("an object");
        if matches!(
            self.state,
            State::WaitingForHsm | State::WaitingForDeletedHsm
        ) {
            return self.is_as_in(self.state, Act::Nothing, Ok(())).await;
        }
        self.ready(kind).await;
        match self.state {
            State::Active => {}
            State::Terminating => {
                self.patch(
                    json!({"metadata": {"finalizers": ["managedhsm.dev/soft-delete", THEIRS]}}),
                )
                .await;
                self.delete(kind).await.expect("it is there");
            }
            State::Retained => self.deleted(kind).await,
            State::WaitingForName => {
                self.deleted(kind).await;
                self.create(kind, name, "2", json!({}))
                    .await
                    .expect("another");
            }
            State::Recovering => return self.half_recovered().await,
            State::MaterialMissing => self.lose().await,
            State::WaitingForHsm | State::WaitingForDeletedHsm => {}
            State::Destroying => return self.half_purged().await,
        }
        self.is_as_in(self.state, Act::Nothing, Ok(())).await;
    }

    /// The operator stands after it wrote which object it recovers to.
    async fn half_recovered(&self) {
        let (kind, of) = (self.kind, self.lineage(self.kind));
        self.deleted(kind).await;
        self.is_as_in(State::Retained, Act::Nothing, Ok(())).await;
        let seen = self.stage.stops.seen(&of);
        let shown = seen.iter().filter(|seen| seen.effect == "ShowProxy");
        // The claim, then the new uid.
        let named = Which::Named("ShowProxy", shown.count() + 2);
        let stop = self.stage.stops.stop(&of, When::After, named);
        self.recover(kind, &self.uid_now(kind).await, "None").await;
        self.reached(&stop).await;
        *self.paused.lock().expect("no test panics in here") = Some(stop);
    }

    /// The operator stands where the record says *destroying* and nothing is destroyed yet.
    async fn half_purged(&self) {
        let (kind, of) = (self.kind, self.lineage(self.kind));
        self.deleted(kind).await;
        self.is_as_in(State::Retained, Act::Nothing, Ok(())).await;
        let first = match kind {
            Kind::Hsm => "OpenForDestruction",
            Kind::Key => "Destroy",
        };
        let seen = self.stage.stops.seen(&of);
        let done = seen.iter().filter(|seen| seen.effect == first).count();
        let destroys = Which::Named(first, done + 1);
        let stop = self.stage.stops.stop(&of, When::Before, destroys);
        let uid = self.uid_now(kind).await;
        // Not the act's own Purge.
        self.ask_purge(&format!("first-{}", self.ns), kind, &uid)
            .await;
        self.reached(&stop).await;
        *self.paused.lock().expect("no test panics in here") = Some(stop);
    }

    async fn lose(&self) {
        let record = self.record(Kind::Hsm).expect("the HSM's record");
        let token = TokenLabel(record.id.0);
        match self.kind {
            Kind::Hsm => self.stage.backend.lose_token(&token),
            Kind::Key => {
                let objects = self.stage.backend.inspect();
                let its = objects.iter().filter(|object| object.token == token);
                its.for_each(|object| self.stage.backend.lose_object(object.handle));
            }
        }
        self.patch(json!({"metadata": {"annotations": {"look": "again"}}}))
            .await;
    }

    fn go_on(&self) {
        let paused = self.paused.lock().expect("no test panics in here").take();
        paused.iter().for_each(Stop::release);
    }

    // ---- acts ----

    async fn act(&self) -> Done {
        let (kind, name) = (self.kind, rows::name(self.kind));
        let uid = self.uid_now(kind).await;
        match self.act {
            Act::Nothing => {}
            Act::Create => self.create(kind, name, "3", json!({})).await?,
            Act::CreateTwin => {
                let spec = json!({"keyName": KEY.to_uppercase()});
                self.create(Kind::Key, TWIN, "1", spec).await?;
            }
            Act::Delete => self.delete(kind).await?,
            Act::Recover => self.recover(kind, &uid, "None").await,
            Act::RecoverOther => self.recover(kind, ANOTHER_UID, "None").await,
            Act::CreateOrRecover => {
                let spec = json!({"createMode": "CreateOrRecover"});
                self.create(kind, name, "3", spec).await?;
            }
            Act::Purge => self.purge(kind, &uid).await,
            Act::DeleteHsm | Act::RecoverHsm | Act::RecoverHsmWithKeys | Act::PurgeHsm => {
                return self.around().await;
            }
            Act::DeleteNamespace => {
                let namespaces = self.stage.cluster.global(Watched::Namespace);
                let asked = namespaces.delete(&self.ns, &DeleteParams::default()).await;
                asked.expect("the namespace goes");
            }
            Act::HsmGone | Act::HsmAnew => return self.without_hsm().await,
            // The days pass by themselves.
            Act::RetentionOver => self.go_on(),
        }
        Ok(())
    }

    async fn around(&self) -> Done {
        let uid = self.uid_now(Kind::Hsm).await;
        match self.delete(Kind::Hsm).await {
            Err(no) if self.act == Act::DeleteHsm => return Err(no),
            Err(_) => {}
            Ok(()) => {
                self.kept(Kind::Hsm).await;
                self.go_on();
                self.is_as_in(self.state, Act::DeleteHsm, Ok(())).await;
            }
        }
        match self.act {
            Act::RecoverHsm => self.recover(Kind::Hsm, &uid, "None").await,
            Act::RecoverHsmWithKeys => self.recover(Kind::Hsm, &uid, "All").await,
            Act::PurgeHsm => self.purge(Kind::Hsm, &uid).await,
            _ => {}
        }
        Ok(())
    }

    /// The HSM is purged with all that is in it; then, where the act says so, both are made anew.
    async fn without_hsm(&self) -> Done {
        let uid = self.uid_now(Kind::Hsm).await;
        if self.delete(Kind::Hsm).await.is_ok() {
            self.kept(Kind::Hsm).await;
        }
        self.go_on();
        if self.state != State::WaitingForHsm {
            let purge = format!("away-{}", self.ns);
            self.ask_purge(&purge, Kind::Hsm, &uid).await;
            self.complete(&purge).await;
        }
        self.is_as_in(self.state, Act::HsmGone, Ok(())).await;
        if self.act == Act::HsmGone {
            return Ok(());
        }
        if self.delete(Kind::Key).await.is_ok() {
            self.settled_after_delete().await;
        }
        self.create(Kind::Hsm, HSM, "3", json!({})).await?;
        self.create(Kind::Key, KEY, "3", json!({})).await
    }

    // ---- what people do ----

    async fn create(&self, kind: Kind, name: &str, number: &str, mut spec: Value) -> Done {
        if kind == Kind::Key {
            spec["hsm"] = HSM.into();
            spec["keyType"] = "EC".into();
            spec["curve"] = "P-256".into();
        }
        let made = self
            .post(Watched::Object(kind), name, json!({"spec": spec}))
            .await?;
        let first = if name == TWIN { "twin" } else { name };
        let uid = made.metadata.uid.expect("a uid");
        self.uids().insert(uid, format!("{first}-{number}"));
        Ok(())
    }

    async fn delete(&self, kind: Kind) -> Done {
        let objects = self.stage.cluster.objects(&self.lineage(kind));
        answer(
            objects
                .delete(rows::name(kind), &DeleteParams::default())
                .await,
        )
        .map(drop)
    }

    async fn recover(&self, kind: Kind, uid: &str, keys: &str) {
        let name = rows::name(kind);
        let mut spec = json!({"kind": kind.object(), "name": name, "uid": uid});
        if kind == Kind::Hsm {
            spec["includeKeys"] = keys.into();
        }
        let of = format!("recover-{name}");
        // Of a recovery that has begun the Recover may go: it changes nothing.
        let recovers = self.api(Watched::Recover);
        let former = recovers.delete(&of, &DeleteParams::default()).await;
        assert!(former.is_err() || self.state == State::Recovering);
        let asked = self
            .post(Watched::Recover, &of, json!({"spec": spec}))
            .await;
        asked.expect("the Recover is taken");
    }

    async fn purge(&self, kind: Kind, uid: &str) {
        self.ask_purge(&self.purge_name(kind), kind, uid).await;
    }

    async fn ask_purge(&self, name: &str, kind: Kind, uid: &str) {
        let proxy = proxy_name(&self.ns, rows::name(kind));
        let spec = json!({"kind": kind.proxy(), "name": proxy, "uid": uid, "requestedBy": "ann"});
        let asked = self.post(Watched::Purge, name, json!({"spec": spec})).await;
        asked.expect("the Purge is taken");
    }

    async fn patch(&self, change: Value) {
        let objects = self.stage.cluster.objects(&self.lineage(self.kind));
        let name = rows::name(self.kind);
        let done = objects
            .patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await;
        done.expect("anybody may");
    }

    async fn post(
        &self,
        of: Watched,
        name: &str,
        data: Value,
    ) -> Result<DynamicObject, ServerSays> {
        let mut object = DynamicObject::new(name, &of.resource());
        object.data = data;
        answer(self.api(of).create(&PostParams::default(), &object).await)
    }

    fn lineage(&self, kind: Kind) -> Lineage {
        Lineage::new(kind, self.ns.clone(), rows::name(kind))
    }

    fn purge_name(&self, kind: Kind) -> String {
        format!("purge-{}-{}", self.ns, rows::name(kind))
    }

    fn api(&self, of: Watched) -> kube::Api<DynamicObject> {
        match of {
            Watched::Object(_) | Watched::Recover => self.stage.cluster.namespaced(of, &self.ns),
            Watched::Proxy(_) | Watched::Purge | Watched::Namespace => {
                self.stage.cluster.global(of)
            }
        }
    }
}

/// What the server refuses for a reason of its own.
fn answer<T>(answer: Result<T, kube::Error>) -> Result<T, ServerSays> {
    match answer {
        Ok(done) => Ok(done),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(ServerSays::Taken),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(ServerSays::NotThere),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(ServerSays::NamespaceGoing),
        Err(error) => panic!("the API server: {error}"),
    }
}
