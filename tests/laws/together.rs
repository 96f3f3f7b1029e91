//! An HSM with two keys under a storm: people, and operators that may be paused between a look and its effect, act in random order. After each
//! effect what must always hold is looked at, and each plan is judged by all laws; at the end everything comes to rest and comes back.

use std::collections::BTreeMap;

use chrono::Duration;
use managed_hsm_operator::api;
use managed_hsm_operator::backend::{Class, Mark};
use managed_hsm_operator::plan::observed::{Body, Namespace};
use managed_hsm_operator::plan::step::Effect;
use managed_hsm_operator::plan::{Lineage, ids, plan};
use managed_hsm_operator::softdelete::{Kind, Record, RecordId, RecordState, Subject, arbiter};

use super::domain;
use super::sequences;
use super::survey::LAWS;
use super::world::{World, lineage_of};

const SPACE: &str = "payments";
const STORMS: u64 = 300;
const LENGTH: usize = 160;
/// How many looks may wait with their effect at once.
const PAUSED: usize = 3;

fn hsm() -> Lineage {
    Lineage::new(Kind::Hsm, SPACE, "prod")
}

fn keys() -> [Lineage; 2] {
    ["one", "two"].map(|name| Lineage::new(Kind::Key, SPACE, name))
}

/// All of them, on as many threads as there are. `STORM=n` runs that one alone, and tells what it does.
pub fn storms() -> Result<(), String> {
    if let Ok(only) = std::env::var("STORM") {
        return Storm::new(only.parse().expect("a number"), true).run();
    }
    let shares = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let storms = std::env::var("STORMS").map_or(STORMS, |all| all.parse().expect("a number"));
    let one = |seed| {
        Storm::new(seed, false)
            .run()
            .map_err(|why| format!("STORM={seed}: {why}"))
    };
    std::thread::scope(|scope| {
        let share = |share| move || (share..storms).step_by(shares as usize).try_for_each(one);
        let workers: Vec<_> = (0..shares).map(|of| scope.spawn(share(of))).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a storm that ends"))
    })
}

struct Storm {
    world: World,
    random: u64,
    told: bool,
    /// Looks whose effect comes later.
    paused: Vec<(Lineage, Effect)>,
    /// Since when each record is protected, by its generation.
    protected: BTreeMap<RecordId, u64>,
    /// Protections that a status has shown.
    promised: BTreeMap<RecordId, Lineage>,
    asked: usize,
}

impl Storm {
    fn new(seed: u64, told: bool) -> Self {
        Self {
            world: World::new(domain::now(), domain::settings()),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d,
            told,
            paused: Vec::new(),
            protected: BTreeMap::new(),
            promised: BTreeMap::new(),
            asked: 0,
        }
    }

    /// xorshift64*.
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let mixed = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
        (mixed >> 33) as usize % bound
    }

    fn run(mut self) -> Result<(), String> {
        sequences::create(&mut self.world, &hsm(), "prod-1", |_| ())?;
        for of in keys() {
            sequences::create(&mut self.world, &of, &format!("{}-1", of.name), |_| ())?;
        }
        self.rest()?;
        for _ in 0..LENGTH {
            match self.below(10) {
                0 | 1 => self.somebody_acts(),
                2 => self.look_and_pause(),
                3 => self.go_on(),
                _ => self.step()?,
            }
            self.holds()?;
        }
        self.paused.clear();
        self.rest()?;
        self.all_comes_back()
    }

    // ---- operators ----

    fn planned(&self, of: &Lineage) -> Result<Option<Effect>, String> {
        let seen = self.world.look(of);
        let planned = plan(&seen);
        // How many statuses a look may change is counted for one request; here are many, and whether all comes to rest is seen.
        for (name, law) in LAWS.iter().filter(|(name, _)| *name != "settles") {
            law(&seen, &planned).map_err(|why| format!("{of}: {name}: {why}: {planned:?}"))?;
        }
        Ok(planned.step.map(|step| step.effect))
    }

    fn any(&mut self) -> Option<Lineage> {
        let all: Vec<_> = self.world.lineages().into_iter().collect();
        (!all.is_empty()).then(|| all[self.below(all.len())].clone())
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(of) = self.any() else { return Ok(()) };
        match self.planned(&of)? {
            Some(effect) => self.apply(&of, &effect),
            None => Ok(()),
        }
    }

    fn look_and_pause(&mut self) {
        let Some(of) = self.any() else { return };
        if let Some(step) = plan(&self.world.look(&of)).step
            && self.paused.len() < PAUSED
        {
            self.tell(&format!("{of} is paused before {}", step.effect.name()));
            self.paused.push((of, step.effect));
        }
    }

    fn go_on(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        let place = self.below(self.paused.len());
        let (of, effect) = self.paused.swap_remove(place);
        self.tell("the paused one goes on:");
        _ = self.apply(&of, &effect);
    }

    fn apply(&mut self, of: &Lineage, effect: &Effect) -> Result<(), String> {
        self.keeps_its_promise(of, effect)?;
        let done = self.world.try_apply(of, effect);
        let record = match effect {
            Effect::WriteRecord { record, generation } => {
                format!(" {:?} {} {generation}", record.state, record.origin.uid)
            }
            Effect::ShowProxy(_, status) => format!(" {:?}", status.phase),
            _ => String::new(),
        };
        let word = if done { "" } else { " (raced)" };
        self.tell(&format!("  {of} {}{record}{word}", effect.name()));
        Ok(())
    }

    fn tell(&self, what: &str) {
        if self.told {
            println!("{what}");
        }
    }

    /// Runs until nobody has a step.
    fn rest(&mut self) -> Result<(), String> {
        for _ in 0..600 {
            let mut moved = false;
            for of in self.world.lineages() {
                if let Some(effect) = self.planned(&of)? {
                    self.apply(&of, &effect)?;
                    self.holds()?;
                    moved = true;
                }
            }
            if !moved {
                return Ok(());
            }
        }
        Err("never at rest".into())
    }

    // ---- people ----

    fn somebody_acts(&mut self) {
        let key = keys()[self.below(2)].clone();
        let done = match self.below(16) {
            0 | 1 => sequences::delete(&mut self.world, &key).map(|()| format!("delete {key}")),
            2 | 3 => sequences::delete(&mut self.world, &hsm()).map(|()| "delete the HSM".into()),
            4 | 5 => self.recover(&key, api::IncludeKeys::None),
            6 => self.recover(&hsm(), api::IncludeKeys::None),
            7 | 8 => self.recover(&hsm(), api::IncludeKeys::All),
            9 => self.purge(&key),
            10 if self.below(4) == 0 => self.purge(&hsm()),
            11 => self.withdraw(),
            12 => self.protect(&key),
            13 if self.below(2) == 0 => self.protect(&hsm()),
            14 => self.create(&key),
            15 if self.below(4) == 0 => self.end_namespace(),
            _ => self.namespace_anew(),
        };
        if let Ok(what) = done {
            self.tell(&format!("somebody: {what}"));
        }
    }

    fn create(&mut self, of: &Lineage) -> Result<String, String> {
        let uid = format!("{}-new-{}", of.name, self.world.next());
        sequences::create(&mut self.world, of, &uid, |_| ())?;
        Ok(format!("create {uid}"))
    }

    fn recover(&mut self, of: &Lineage, keys: api::IncludeKeys) -> Result<String, String> {
        let found = self.world.proxies.get(of).ok_or("nothing")?;
        let uid = found.origin().uid.clone();
        let space = self.world.namespace.clone().ok_or("no namespace")?;
        if space.terminating {
            return Err("the namespace goes".into());
        }
        self.asked += 1;
        let name = format!("recover-{}", self.asked);
        sequences::recover(&mut self.world, of, &uid, keys);
        if let Some(mut asked) = self.world.recovers.remove(&format!("recover-{}", of.name)) {
            asked.meta.name = name.clone();
            asked.meta.uid = format!("uid-{name}").into();
            asked.spec.accept_namespace_uid = (self.below(2) == 0).then_some(space.uid.0);
            self.world.recovers.insert(name, asked);
        }
        Ok(format!("recover {uid} {keys:?}"))
    }

    fn purge(&mut self, of: &Lineage) -> Result<String, String> {
        let found = self.world.proxies.get(of).ok_or("nothing")?;
        let uid = found.origin().uid.clone();
        self.asked += 1;
        let name = format!("purge-{}", self.asked);
        sequences::purge(&mut self.world, of, &uid);
        if let Some(mut asked) = self.world.purges.remove(&format!("purge-{}", of.name)) {
            asked.meta.name = name.clone();
            asked.meta.uid = format!("uid-{name}").into();
            self.world.purges.insert(name, asked);
        }
        Ok(format!("purge {uid}"))
    }

    /// The last Recover, or the last Purge that is not carried out yet.
    fn withdraw(&mut self) -> Result<String, String> {
        if self.below(2) == 0 {
            let (name, _) = self.world.recovers.pop_last().ok_or("nothing")?;
            return Ok(format!("withdraw {name}"));
        }
        let open = self.world.purges.iter().rev().find(|(_, purge)| {
            let all = &purge.status.conditions;
            ![
                api::conditions::EXECUTING,
                api::conditions::COMPLETE,
                api::conditions::FAILED,
            ]
            .iter()
            .any(|kind| api::conditions::is_true(all, kind))
        });
        let name = open.map(|(name, _)| name.clone()).ok_or("nothing")?;
        self.world.purges.remove(&name);
        Ok(format!("withdraw {name}"))
    }

    fn protect(&mut self, of: &Lineage) -> Result<String, String> {
        let version = self.world.next().to_string();
        let object = self.world.objects.get_mut(of).ok_or("nothing")?;
        match &mut object.body {
            Body::Hsm(spec, _) => spec.purge_protection = true,
            Body::Key(spec, _) => spec.purge_protection = true,
        }
        object.snapshot.spec["purgeProtection"] = true.into();
        object.meta.generation += 1;
        object.meta.resource_version = version;
        Ok(format!("protect {of}"))
    }

    fn end_namespace(&mut self) -> Result<String, String> {
        let space = self.world.namespace.as_mut().ok_or("none")?;
        space.terminating = true;
        self.world.recovers.clear();
        for of in self.world.objects.keys().cloned().collect::<Vec<_>>() {
            sequences::delete(&mut self.world, &of)?;
        }
        Ok("delete the namespace".into())
    }

    /// One that is empty and terminates is gone, and made anew.
    fn namespace_anew(&mut self) -> Result<String, String> {
        let goes = |space: &Namespace| space.terminating;
        let ends = self.world.namespace.as_ref().is_some_and(goes);
        if !ends || !self.world.objects.is_empty() {
            self.world.now += Duration::minutes(1);
            return Err("time goes on".into());
        }
        let uid = format!("ns-{}", self.world.next()).into();
        let terminating = false;
        self.world.namespace = Some(Namespace { uid, terminating });
        Ok("the namespace is made anew".into())
    }

    // ---- what must hold ----

    fn hsm_of<'a>(&'a self, key: &Record) -> Option<&'a Record> {
        let Subject::Key { hsm, .. } = &key.subject else {
            return None;
        };
        self.world.ledger.get(hsm).map(|(_, record)| record)
    }

    /// A purge on request never comes after a protection was shown, nor after its HSM counts as deleted.
    fn keeps_its_promise(&self, of: &Lineage, effect: &Effect) -> Result<(), String> {
        let Effect::WriteRecord { record, generation } = effect else {
            return Ok(());
        };
        let now = self.world.ledger.get(&record.id);
        let lands = now
            .is_some_and(|(now, old)| *generation == now + 1 && old.state == RecordState::Deleted);
        if record.state != RecordState::Destroying || !lands {
            return Ok(());
        }
        let around = self.hsm_of(record);
        let shown = [Some(&record.id), around.map(|hsm| &hsm.id)];
        let mut promises = self.promised.keys().filter(|id| shown.contains(&Some(id)));
        if let Some(id) = promises.next().filter(|_| !record.requesters.is_empty()) {
            return Err(format!("{of} is purged though {id} was shown protected"));
        }
        match around.map(|hsm| hsm.state) {
            Some(RecordState::Deleted | RecordState::Opening) => {
                Err(format!("{of} is purged in a deleted HSM"))
            }
            _ => Ok(()),
        }
    }

    fn holds(&mut self) -> Result<(), String> {
        for (id, (generation, record)) in &self.world.ledger {
            if record.purge_protection {
                self.protected.entry(id.clone()).or_insert(*generation);
            }
        }
        self.note_promises();
        for (_, record) in self.world.ledger.values() {
            self.something_stands(record)?;
            self.nothing_is_lost(record)?;
            self.what_is_deleted_refuses(record)?;
        }
        Ok(())
    }

    fn note_promises(&mut self) {
        for (of, object) in &self.world.objects {
            let (level, generation) = match &object.body {
                Body::Hsm(_, shown) => (shown.recovery_level, shown.record_generation),
                Body::Key(_, shown) => (shown.recovery_level, shown.record_generation),
            };
            let id = self
                .world
                .ledger
                .iter()
                .find(|(_, (_, record))| record.origin.uid == object.meta.uid)
                .map(|(id, _)| id.clone());
            let since = id.as_ref().and_then(|id| self.protected.get(id));
            let known = since.is_some_and(|since| generation >= Some(*since as i64));
            let shows = level.is_some_and(|level| !format!("{level:?}").contains("Purgeable"));
            if let Some(id) = id.filter(|_| known && shows) {
                self.promised.insert(id, of.clone());
            }
        }
    }

    /// SD-03: neither object nor proxy missing at once.
    fn something_stands(&self, record: &Record) -> Result<(), String> {
        let read = self.as_it_reads(record);
        let matters = matches!(
            read,
            RecordState::Live | RecordState::Sealing | RecordState::Deleted | RecordState::Opening
        );
        let of = lineage_of(record);
        let uid = &record.origin.uid;
        let object = self.world.objects.get(&of);
        let found = self.world.proxies.get(&of);
        let object = object.is_some_and(|object| object.meta.uid == *uid);
        let proxy = found.is_some_and(|found| found.is_of(uid));
        if matters && !object && !proxy {
            return Err(format!("{of}: neither object nor proxy of {uid}"));
        }
        Ok(())
    }

    fn as_it_reads(&self, record: &Record) -> RecordState {
        self.hsm_of(record).map_or(record.state, |hsm| {
            arbiter::state_in_hsm(record.state, hsm.state)
        })
    }

    /// I2, I4: of each version that is not destroyed something is there that is it.
    fn nothing_is_lost(&self, record: &Record) -> Result<(), String> {
        let (Subject::Key { versions, .. }, Some(hsm)) = (&record.subject, self.hsm_of(record))
        else {
            return Ok(());
        };
        let gone = |state| {
            matches!(
                state,
                RecordState::Destroying | RecordState::Tombstone | RecordState::Abandoned
            )
        };
        if gone(record.state) || gone(hsm.state) {
            return Ok(());
        }
        let objects = self.world.tokens.get(&hsm.id.0).map(|(_, all)| all);
        let lost = versions.iter().find(|version| {
            !objects.into_iter().flatten().any(|object| {
                let proved = object.proved.as_ref().map(ids::fingerprint);
                object.class != Class::Public && proved.as_ref() == Some(&version.fingerprint)
            })
        });
        lost.map_or(Ok(()), |_| Err(format!("{} is lost", record.origin.uid)))
    }

    /// I8: what is *deleted* has nothing that works.
    fn what_is_deleted_refuses(&self, record: &Record) -> Result<(), String> {
        let (Subject::Key { versions, .. }, Some(hsm)) = (&record.subject, self.hsm_of(record))
        else {
            return Ok(());
        };
        if record.state != RecordState::Deleted {
            return Ok(());
        }
        let objects = self.world.tokens.get(&hsm.id.0).map(|(_, all)| all);
        let open = objects.into_iter().flatten().any(|object| {
            let its = |version: &managed_hsm_operator::softdelete::record::Version| {
                version.material.0 == object.id.to_string()
            };
            object.class != Class::Public
                && object.mark != Mark::Deleted
                && versions.iter().any(its)
        });
        if open {
            return Err(format!("{} is deleted and works", record.origin.uid));
        }
        Ok(())
    }

    // ---- the end ----

    /// Everything that is not destroyed comes back, by one Recover of the HSM with all its keys, or of each key.
    fn all_comes_back(&mut self) -> Result<(), String> {
        if self
            .world
            .namespace
            .as_ref()
            .is_none_or(|space| space.terminating)
        {
            if let Some(of) = self.world.objects.keys().next() {
                return Err(format!("{of} hangs in a namespace that goes"));
            }
            self.namespace_anew().ok();
        }
        self.world.recovers.clear();
        self.world.purges.clear();
        // What only stands under a name may be another one than what reserves it.
        for of in self.world.objects.keys().cloned().collect::<Vec<_>>() {
            let uid = &self.world.objects[&of].meta.uid;
            let mut records = self.world.ledger.values();
            if !records.any(|(_, record)| record.origin.uid == *uid) {
                sequences::delete(&mut self.world, &of)?;
            }
        }
        self.rest()?;
        for of in std::iter::once(hsm()).chain(keys()) {
            if self.world.proxies.contains_key(&of) {
                let all = match of.kind {
                    Kind::Hsm => api::IncludeKeys::All,
                    Kind::Key => api::IncludeKeys::None,
                };
                self.recover(&of, all)?;
                let space = self
                    .world
                    .namespace
                    .as_ref()
                    .map(|space| space.uid.0.clone());
                for asked in self.world.recovers.values_mut() {
                    asked.spec.accept_namespace_uid.clone_from(&space);
                }
                self.rest()?;
            }
        }
        for (_, record) in self.world.ledger.values() {
            let read = self.as_it_reads(record);
            let of = lineage_of(record);
            let object = self.world.objects.get(&of);
            let ready = object.is_some_and(|object| {
                let conditions = sequences::conditions(object);
                object.meta.uid == record.origin.uid
                    && api::conditions::is_true(conditions, api::conditions::READY)
            });
            let gone = matches!(read, RecordState::Tombstone | RecordState::Abandoned);
            if !gone && !ready {
                let shown = object.map(|object| sequences::conditions(object).to_vec());
                return Err(format!(
                    "{of} ({}) does not come back: {read:?} {shown:?}, Recovers {:?}",
                    record.origin.uid,
                    self.world
                        .recovers
                        .values()
                        .map(|recover| &recover.status.conditions)
                        .collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
    }
}
