//! A world without a cluster: whole protocols run in it, by the real planner and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use managed_hsm_operator::api;
use managed_hsm_operator::backend::{
    Access, Class, Fingerprint, Handle, Mark, MaterialId, ObjectFacts, TokenFacts, TokenLabel,
};
use managed_hsm_operator::plan::observed::{
    Body, Held, Hsm, KeyMaterial, KeyOfHsm, Material, Meta, Namespace, NearObject, NearProxy,
    Object, Proxy, ProxySpec, Purge, PurgeLook, Reading, Recover, Terms,
};
use managed_hsm_operator::plan::step::{At, Effect};
use managed_hsm_operator::plan::{
    Lineage, Observed, Settings, ids, may_leave_something, plan, purge_on_the_mind,
};
use managed_hsm_operator::softdelete::permission::Policies;
use managed_hsm_operator::softdelete::{
    Kind, Origin, Record, RecordId, RecordState, Subject, Uid, arbiter, names,
};

use super::reasons::{self, Shown};
use super::states::{self, Trail};

/// The observation after a status write that succeeded; None: the effect is no such write.
pub fn shown(o: &Observed, effect: &Effect) -> Option<Observed> {
    let mut next = o.clone();
    match effect {
        Effect::ShowHsm(_, status) => {
            if let Some(Body::Hsm(_, shown)) = next.object.as_mut().map(|object| &mut object.body) {
                *shown = (**status).clone();
            }
        }
        Effect::ShowKey(_, status) => {
            if let Some(Body::Key(_, shown)) = next.object.as_mut().map(|object| &mut object.body) {
                *shown = (**status).clone();
            }
        }
        Effect::ShowProxy(_, status) => {
            if let Some(found) = &mut next.proxy {
                found.status = (**status).clone();
            }
        }
        Effect::ShowRecover(at, status) => {
            let its = next
                .recovers
                .iter_mut()
                .find(|recover| recover.meta.name == at.name);
            if let Some(recover) = its {
                recover.status = (**status).clone();
            }
        }
        Effect::ShowPurge(at, status) => {
            let its = next
                .purges
                .iter_mut()
                .find(|purge| purge.meta.name == at.name);
            if let Some(purge) = its {
                purge.status = (**status).clone();
            }
        }
        _ => return None,
    }
    Some(next)
}

/// All that a cluster, a ledger and a backend hold, without any of them: effects are applied to it as they would be done, and a look sees what the
/// operator's would. A crash is nothing here: between two steps all state is in the world.
#[derive(Clone)]
pub struct World {
    pub now: DateTime<Utc>,
    pub settings: Settings,
    pub namespace: Option<Namespace>,
    pub objects: BTreeMap<Lineage, Object>,
    pub proxies: BTreeMap<Lineage, Proxy>,
    pub recovers: BTreeMap<String, Recover>,
    pub purges: BTreeMap<String, Purge>,
    pub ledger: BTreeMap<RecordId, (u64, Record)>,
    /// Tokens by their labels, and the objects in each.
    pub tokens: BTreeMap<String, (Access, Vec<ObjectFacts>)>,
    /// The states that objects went through.
    pub trail: Trail,
    /// The reasons that were shown, and where.
    pub shown: Shown,
    counter: u64,
    /// How often each was made again, so that no uid comes twice.
    made_again: BTreeMap<Lineage, usize>,
}

/// More steps than any run of one request needs: what takes more goes round in circles.
pub const MOST_STEPS: usize = 200;
const SERIAL: &str = "1";

impl World {
    pub fn new(now: DateTime<Utc>, settings: Settings) -> Self {
        Self {
            now,
            settings,
            namespace: Some(Namespace {
                uid: "ns-1".into(),
                terminating: false,
            }),
            objects: BTreeMap::new(),
            proxies: BTreeMap::new(),
            recovers: BTreeMap::new(),
            purges: BTreeMap::new(),
            ledger: BTreeMap::new(),
            tokens: BTreeMap::new(),
            trail: Trail::default(),
            shown: Shown::new(),
            counter: 0,
            made_again: BTreeMap::new(),
        }
    }

    /// A number that was never given before: uids, resourceVersions and handles are made of it.
    pub fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub fn meta(&mut self, name: &str, uid: String) -> Meta {
        Meta {
            name: name.into(),
            uid: Uid(uid),
            resource_version: self.next().to_string(),
            generation: 1,
            created: self.now,
            deleted: None,
            finalizers: Vec::new(),
        }
    }

    // ---- looking ----

    pub fn lineages(&self) -> BTreeSet<Lineage> {
        let recorded = self.ledger.values().map(|(_, record)| lineage_of(record));
        self.objects
            .keys()
            .chain(self.proxies.keys())
            .cloned()
            .chain(recorded)
            .chain(self.recovers.values().map(asked_for))
            .chain(self.purges.values().filter_map(to_purge))
            .collect()
    }

    /// What the operator's look would see.
    pub fn look(&self, lineage: &Lineage) -> Observed {
        let object = self.objects.get(lineage).cloned();
        let proxy = self.proxies.get(lineage).cloned();
        let own = object
            .as_ref()
            .map(|object| ids::record_id(&object.meta.uid));
        let its = |(id, (_, record)): &(&RecordId, &(u64, Record))| {
            lineage_of(record) == *lineage || Some(*id) == own.as_ref()
        };
        let records: Vec<_> = self
            .ledger
            .iter()
            .filter(its)
            .map(|(id, (generation, record))| Held {
                id: id.clone(),
                generation: *generation,
                reading: Reading::One(Box::new(self.as_it_reads(record))),
            })
            .collect();
        let standing = records
            .iter()
            .find(|held| !held.is_final())
            .and_then(Held::record)
            .cloned();
        let hsm = self.hsm_around(lineage, object.as_ref(), proxy.as_ref(), standing.as_ref());
        let ended = records
            .iter()
            .filter_map(Held::record)
            .filter(|record| may_leave_something(record))
            .find(|record| self.tokens.contains_key(&record.id.0));
        let looked_at = standing.as_ref().or(ended);
        let mut seen = Observed {
            now: self.now,
            clock_trusted: true,
            settings: self.settings.clone(),
            lineage: lineage.clone(),
            backend: "default".into(),
            namespace: self.namespace.clone(),
            recovers: self
                .recovers
                .values()
                .filter(|recover| asked_for(recover) == *lineage)
                .cloned()
                .collect(),
            purges: self.purges_of(lineage),
            terms: Terms::FREE,
            policies: Policies::Since(chrono::DateTime::<chrono::Utc>::MIN_UTC),
            purging: PurgeLook {
                contents: looked_at.and_then(|record| self.contents(record)),
                purged_at: Some(Vec::new()),
                ..PurgeLook::default()
            },
            material: self.material(looked_at, hsm.as_ref()),
            namesakes: self.namesakes(lineage, object.as_ref(), hsm.as_ref()),
            keys: self.keys_of(standing.as_ref().or(self.purged(&records, proxy.as_ref()))),
            object,
            proxy,
            records,
            ended: BTreeMap::new(),
            hsm,
            refused: None,
        };
        seen.purging.looked = purge_on_the_mind(&seen);
        seen
    }

    /// A key's record beside its HSM's.
    fn as_it_reads(&self, record: &Record) -> Record {
        let hsm = match &record.subject {
            Subject::Key { hsm, .. } => self.ledger.get(hsm).map(|(_, hsm)| hsm.state),
            Subject::Hsm { .. } => None,
        };
        let gone = hsm.filter(|state| !arbiter::holds_names(*state));
        Record {
            state: gone.map_or(record.state, |hsm| arbiter::state_in_hsm(record.state, hsm)),
            ..record.clone()
        }
    }

    /// What is in the token of an HSM that is being destroyed, or was, if our PIN, or the one in memory, opens it.
    fn contents(&self, record: &Record) -> Option<Vec<ObjectFacts>> {
        let ends = matches!(
            record.state,
            RecordState::Destroying | RecordState::Tombstone
        );
        let (access, objects) = self.tokens.get(&record.id.0).filter(|_| ends)?;
        (*access == Access::Open).then(|| objects.clone())
    }

    fn purged<'a>(&self, records: &'a [Held], proxy: Option<&Proxy>) -> Option<&'a Record> {
        let of_it = |record: &&Record| proxy.is_some_and(|found| found.is_of(&record.origin.uid));
        records.iter().filter_map(Held::record).find(of_it)
    }

    fn purges_of(&self, lineage: &Lineage) -> Vec<Purge> {
        let name =
            managed_hsm_operator::softdelete::names::proxy_name(&lineage.namespace, &lineage.name);
        let kind = match lineage.kind {
            Kind::Hsm => api::ProxyKind::DeletedManagedHsm,
            Kind::Key => api::ProxyKind::DeletedHsmKey,
        };
        let its = |purge: &&Purge| purge.spec.name == name && purge.spec.kind == kind;
        self.purges.values().filter(its).cloned().collect()
    }

    fn hsm_around(
        &self,
        lineage: &Lineage,
        object: Option<&Object>,
        proxy: Option<&Proxy>,
        standing: Option<&Record>,
    ) -> Option<Hsm> {
        if lineage.kind == Kind::Hsm {
            return None;
        }
        let recorded = standing.and_then(|record| match &record.subject {
            Subject::Key { hsm, hsm_name, .. } => Some((Some(hsm.clone()), hsm_name.clone())),
            Subject::Hsm { .. } => None,
        });
        let said = || match (
            object.map(|object| &object.body),
            proxy.map(|found| &found.spec),
        ) {
            (Some(Body::Key(spec, _)), _) => Some((None, spec.hsm.clone())),
            (_, Some(ProxySpec::Key(spec))) => Some((None, spec.hsm.clone())),
            _ => None,
        };
        let (id, name) = recorded.or_else(said)?;
        let of = Lineage::new(Kind::Hsm, lineage.namespace.clone(), name.clone());
        let object = self.objects.get(&of);
        let standing = || {
            let records = self.ledger.iter().filter(|(_, (_, record))| {
                lineage_of(record) == of && arbiter::holds_names(record.state)
            });
            records.map(|(id, _)| id.clone()).next()
        };
        let id = id
            .or_else(standing)
            .or_else(|| object.map(|object| ids::record_id(&object.meta.uid)));
        Some(Hsm {
            name,
            object: object.map(near_object),
            record: id.and_then(|id| self.ledger.get(&id).cloned()),
            proxy: self.proxies.get(&of).map(near_proxy),
            // No store of this world is ever put back.
            purges: Vec::new(),
        })
    }

    fn material(&self, standing: Option<&Record>, hsm: Option<&Hsm>) -> Material {
        let Some(record) = standing else {
            return Material::NotLooked;
        };
        let token = match &record.subject {
            Subject::Hsm { .. } => {
                let label = record.id.0.clone();
                return Material::Token(self.tokens.get(&label).map(|(access, _)| TokenFacts {
                    label: TokenLabel(label.clone()),
                    serial: SERIAL.into(),
                    access: *access,
                }));
            }
            Subject::Key { .. } => hsm
                .and_then(|hsm| hsm.record.as_ref())
                .and_then(|(_, hsm)| self.tokens.get(&hsm.id.0)),
        };
        match token {
            None => Material::NoToken,
            Some((Access::Refused, _)) => Material::Sealed,
            Some((Access::Open, objects)) => {
                let named = material_ids(record);
                let its = |object: &&ObjectFacts| named.contains(&object.id.to_string());
                Material::Objects(objects.iter().filter(its).cloned().collect())
            }
        }
    }

    fn namesakes(
        &self,
        lineage: &Lineage,
        object: Option<&Object>,
        hsm: Option<&Hsm>,
    ) -> Vec<Record> {
        let (Some(Body::Key(spec, _)), Some((_, around))) = (
            object.map(|object| &object.body),
            hsm.and_then(|hsm| hsm.record.as_ref()),
        ) else {
            return Vec::new();
        };
        let wanted = names::key_name(spec.key_name.as_deref(), &lineage.name);
        let same = |record: &&Record| {
            matches!(&record.subject, Subject::Key { key_name, hsm, .. }
                if names::same_key_name(key_name, wanted) && *hsm == around.id)
                && lineage_of(record) != *lineage
                && arbiter::holds_names(record.state)
        };
        let records = self.ledger.values().map(|(_, record)| record);
        records.filter(same).cloned().collect()
    }

    fn keys_of(&self, standing: Option<&Record>) -> Vec<KeyOfHsm> {
        let Some(around) = standing.filter(|record| record.kind() == Kind::Hsm) else {
            return Vec::new();
        };
        let inside = |(_, record): &&(u64, Record)| {
            matches!(&record.subject, Subject::Key { hsm, .. } if *hsm == around.id)
                && arbiter::holds_names(record.state)
        };
        self.ledger
            .values()
            .filter(inside)
            .map(|(generation, record)| KeyOfHsm {
                generation: *generation,
                record: record.clone(),
                proxy: self.proxies.get(&lineage_of(record)).map(near_proxy),
                object: self.objects.get(&lineage_of(record)).map(near_object),
                material: self.material_of_key(&around.id, record),
            })
            .collect()
    }

    fn material_of_key(&self, hsm: &RecordId, key: &Record) -> Option<KeyMaterial> {
        let Subject::Key { versions, .. } = &key.subject else {
            return None;
        };
        let (access, objects) = self.tokens.get(&hsm.0)?;
        let private = || {
            let named = material_ids(key);
            let its = objects
                .iter()
                .filter(|object| object.class != Class::Public);
            its.filter(|object| named.contains(&object.id.to_string()))
                .collect::<Vec<_>>()
        };
        let of = |id: &str| private().iter().any(|object| object.id.to_string() == id);
        (*access == Access::Open).then(|| KeyMaterial {
            missing: !versions.iter().all(|version| of(&version.material.0)),
            unsealed: private().iter().any(|object| object.mark != Mark::Deleted),
        })
    }

    // ---- doing ----

    /// The next step of one lineage, done. False: it has none.
    pub fn step(&mut self, lineage: &Lineage) -> bool {
        let Some(step) = plan(&self.look(lineage)).step else {
            return false;
        };
        self.apply(lineage, &step.effect);
        true
    }

    /// Runs until nobody has a step; Err: they go round in circles.
    pub fn settle(&mut self) -> Result<usize, String> {
        // What somebody did just now.
        self.note();
        for steps in 0..MOST_STEPS {
            let moved = self.lineages().iter().any(|lineage| self.step(lineage));
            if !moved {
                return Ok(steps);
            }
        }
        Err(format!("not at rest after {MOST_STEPS} steps"))
    }

    pub fn apply(&mut self, lineage: &Lineage, effect: &Effect) {
        self.carry_out(lineage, effect);
        reasons::note(effect, &mut self.shown);
        self.note();
    }

    /// What the states are now.
    pub fn note(&mut self) {
        let (now, taken_over) = (states::stages(self), states::taken_over(self));
        self.trail.note(now, &taken_over);
    }

    fn carry_out(&mut self, lineage: &Lineage, effect: &Effect) {
        let version = self.next().to_string();
        match effect {
            Effect::AddFinalizer(_, all) | Effect::RemoveFinalizer(_, all) => {
                self.set_finalizers(lineage, all, version);
            }
            Effect::CreateProxy(spec) => self.create_proxy(lineage, spec),
            Effect::DeleteProxy(_) => _ = self.proxies.remove(lineage),
            Effect::CreateObject(snapshot) => self.create_object(lineage, snapshot),
            Effect::RestoreOwners(_, managers) => {
                if let Some(object) = self.objects.get_mut(lineage) {
                    object.snapshot.managed_fields = managers.clone();
                    object.meta.resource_version = version;
                }
            }
            Effect::ShowHsm(..)
            | Effect::ShowKey(..)
            | Effect::ShowProxy(..)
            | Effect::ShowRecover(..)
            | Effect::ShowPurge(..) => self.show(lineage, effect),
            Effect::ForgetRecord { id, .. } => _ = self.ledger.remove(id),
            Effect::DeletePurge(at) => _ = self.purges.remove(&at.name),
            Effect::WriteRecord { generation, record }
            | Effect::RestoreRecord { generation, record } => {
                self.ledger
                    .insert(record.id.clone(), (*generation, (**record).clone()));
            }
            Effect::CreateToken(label) => {
                self.tokens
                    .entry(label.0.clone())
                    .or_insert((Access::Open, Vec::new()));
            }
            Effect::SealToken(token) => self.access(&token.label.0, Access::Refused),
            Effect::UnsealToken(token) | Effect::OpenForDestruction(token) => {
                self.access(&token.label.0, Access::Open);
            }
            Effect::Generate { token, id, .. } => self.generate(&token.label.0, *id),
            Effect::Publish { token, handle } => {
                self.change(&token.label.0, *handle, |object| object.mark = Mark::Live);
            }
            Effect::Copy {
                token,
                original,
                mark,
            } => self.copy(&token.label.0, *original, *mark),
            Effect::Destroy { token, handle } => {
                if let Some((_, objects)) = self.tokens.get_mut(&token.label.0) {
                    objects.retain(|object| object.handle != *handle);
                }
            }
            Effect::ReleaseToken(token) => {
                self.tokens.remove(&token.label.0);
            }
            Effect::CreateReceipt(spec) => {
                let meta = self.meta("receipt", "uid-receipt".into());
                let (spec, status) = ((**spec).clone(), api::PurgeStatus::default());
                self.purges
                    .insert(meta.name.clone(), Purge { meta, spec, status });
            }
        }
    }

    /// The effect, if what it was decided on still is so: what the API server, the ledger and the backend see to. It may come long after its look.
    pub fn try_apply(&mut self, lineage: &Lineage, effect: &Effect) -> bool {
        if !self.holds(lineage, effect) {
            return false;
        }
        self.apply(lineage, effect);
        true
    }

    fn holds(&self, lineage: &Lineage, effect: &Effect) -> bool {
        let is = |meta: Option<&Meta>, at: &At| meta.map(At::of).as_ref() == Some(at);
        let object = || self.objects.get(lineage).map(|object| &object.meta);
        let proxy = || self.proxies.get(lineage).map(|found| &found.meta);
        match effect {
            Effect::AddFinalizer(at, _)
            | Effect::RemoveFinalizer(at, _)
            | Effect::RestoreOwners(at, _)
            | Effect::ShowHsm(at, _)
            | Effect::ShowKey(at, _) => is(object(), at),
            Effect::ShowProxy(at, _) | Effect::DeleteProxy(at) => is(proxy(), at),
            Effect::ShowRecover(at, _) => is(self.recovers.get(&at.name).map(|of| &of.meta), at),
            Effect::ShowPurge(at, _) => is(self.purges.get(&at.name).map(|of| &of.meta), at),
            Effect::CreateProxy(_) => proxy().is_none(),
            Effect::CreateObject(_) => {
                let space = self.namespace.as_ref();
                object().is_none() && space.is_some_and(|space| !space.terminating)
            }
            Effect::WriteRecord { generation, record } => {
                let now = self.ledger.get(&record.id).map_or(0, |(now, _)| *now);
                *generation == now + 1
            }
            _ => true,
        }
    }

    fn set_finalizers(&mut self, lineage: &Lineage, all: &[String], version: String) {
        let Some(object) = self.objects.get_mut(lineage) else {
            return;
        };
        object.meta.finalizers = all.to_vec();
        object.meta.resource_version = version;
        if object.meta.deleted.is_some() && all.is_empty() {
            self.objects.remove(lineage);
        }
    }

    fn create_proxy(&mut self, lineage: &Lineage, spec: &ProxySpec) {
        let name =
            managed_hsm_operator::softdelete::names::proxy_name(&lineage.namespace, &lineage.name);
        let uid = format!("uid-proxy-{}", self.counter);
        let meta = self.meta(&name, uid);
        let (spec, status) = (spec.clone(), api::ProxyStatus::default());
        self.proxies
            .entry(lineage.clone())
            .or_insert(Proxy { meta, spec, status });
    }

    fn create_object(&mut self, lineage: &Lineage, snapshot: &api::Snapshot) {
        let times = self.made_again.entry(lineage.clone()).or_insert(0);
        *times += 1;
        let again = "-again".repeat(*times);
        let uid = format!("{}{again}", lineage.name);
        let mut meta = self.meta(&lineage.name, uid);
        meta.finalizers.push(api::FINALIZER.into());
        let spec = snapshot.spec.clone();
        let body = match lineage.kind {
            Kind::Hsm => Body::Hsm(
                serde_json::from_value(spec).expect("a spec"),
                Default::default(),
            ),
            Kind::Key => Body::Key(
                serde_json::from_value(spec).expect("a spec"),
                Default::default(),
            ),
        };
        let mut snapshot = snapshot.clone();
        snapshot.managed_fields = serde_json::json!([{"manager": api::RECOVER_MANAGER}]);
        self.objects.entry(lineage.clone()).or_insert(Object {
            meta,
            body,
            snapshot,
        });
    }

    fn show(&mut self, lineage: &Lineage, effect: &Effect) {
        let Some(mut next) = shown(&self.look(lineage), effect) else {
            return;
        };
        let version = self.next().to_string();
        let meta = match effect {
            Effect::ShowHsm(..) | Effect::ShowKey(..) => {
                next.object.as_mut().map(|object| &mut object.meta)
            }
            Effect::ShowProxy(..) => next.proxy.as_mut().map(|found| &mut found.meta),
            Effect::ShowRecover(at, _) => {
                let mut all = next.recovers.iter_mut().map(|recover| &mut recover.meta);
                all.find(|meta| meta.name == at.name)
            }
            Effect::ShowPurge(at, _) => {
                let mut all = next.purges.iter_mut().map(|purge| &mut purge.meta);
                all.find(|meta| meta.name == at.name)
            }
            _ => None,
        };
        if let Some(meta) = meta {
            meta.resource_version = version;
        }
        if let Some(object) = next.object {
            self.objects.insert(lineage.clone(), object);
        }
        if let Some(found) = next.proxy {
            self.proxies.insert(lineage.clone(), found);
        }
        for recover in next.recovers {
            self.recovers.insert(recover.meta.name.clone(), recover);
        }
        for purge in next.purges {
            self.purges.insert(purge.meta.name.clone(), purge);
        }
    }

    fn access(&mut self, label: &str, to: Access) {
        if let Some((access, _)) = self.tokens.get_mut(label) {
            *access = to;
        }
    }

    fn generate(&mut self, label: &str, id: MaterialId) {
        let made = self.next();
        for class in [Class::Private, Class::Public] {
            let handle = Handle(self.next());
            let fact = ObjectFacts {
                handle,
                id,
                class,
                mark: Mark::Pending,
                usable: Some(true),
                proved: Some(Fingerprint::Thumbprint([made as u8; 32])),
                public: None,
            };
            if let Some((_, objects)) = self.tokens.get_mut(label) {
                objects.push(fact);
            }
        }
    }

    fn change(&mut self, label: &str, handle: Handle, change: impl Fn(&mut ObjectFacts)) {
        let objects = self.tokens.get_mut(label).map(|(_, objects)| objects);
        let found = objects
            .into_iter()
            .flatten()
            .find(|object| object.handle == handle);
        found.into_iter().for_each(change);
    }

    fn copy(&mut self, label: &str, original: Handle, mark: Mark) {
        let handle = Handle(self.next());
        let Some((_, objects)) = self.tokens.get_mut(label) else {
            return;
        };
        let found = objects.iter().find(|object| object.handle == original);
        let copy = found.map(|object| ObjectFacts {
            handle,
            mark,
            usable: Some(mark == Mark::Live),
            ..object.clone()
        });
        objects.extend(copy);
    }
}

pub fn lineage_of(record: &Record) -> Lineage {
    Lineage::new(
        record.kind(),
        record.origin.namespace.clone(),
        record.origin.name.clone(),
    )
}

fn asked_for(recover: &Recover) -> Lineage {
    let kind = match recover.spec.kind {
        api::ObjectKind::ManagedHsm => Kind::Hsm,
        api::ObjectKind::HsmKey => Kind::Key,
    };
    Lineage::new(kind, "payments", recover.spec.name.clone())
}

fn to_purge(purge: &Purge) -> Option<Lineage> {
    let kind = match purge.spec.kind {
        api::ProxyKind::DeletedManagedHsm => Kind::Hsm,
        api::ProxyKind::DeletedHsmKey => Kind::Key,
    };
    let (namespace, name) = purge.spec.name.split_once('.')?;
    Some(Lineage::new(kind, namespace, name))
}

fn material_ids(record: &Record) -> Vec<String> {
    match &record.subject {
        Subject::Hsm { .. } => Vec::new(),
        Subject::Key {
            versions, pending, ..
        } => {
            let pending = pending.iter().map(|pending| pending.material.0.clone());
            let versions = versions.iter().map(|version| version.material.0.clone());
            versions.chain(pending).collect()
        }
    }
}

fn near_object(found: &Object) -> NearObject {
    NearObject {
        uid: found.meta.uid.clone(),
        terminating: found.meta.deleted.is_some(),
        record_generation: match &found.body {
            Body::Hsm(_, shown) => shown.record_generation,
            Body::Key(_, shown) => shown.record_generation,
        }
        .and_then(|shown| u64::try_from(shown).ok()),
    }
}

fn near_proxy(found: &Proxy) -> NearProxy {
    let origin = found.origin();
    NearProxy {
        origin: Origin {
            namespace: origin.namespace.clone(),
            namespace_uid: Uid(origin.namespace_uid.clone()),
            name: origin.name.clone(),
            uid: Uid(origin.uid.clone()),
        },
        status: found.status.clone(),
    }
}
