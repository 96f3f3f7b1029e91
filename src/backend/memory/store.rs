//! What the reference backend holds, and the contract's rules on it. No fault and no lock in here.

use std::collections::BTreeMap;

use rand::{RngCore, SeedableRng, rngs::StdRng};

use super::{
    Access, Algorithm, BackendError, Class, Depth, Handle, Mark, MaterialId, ObjectFacts, Result,
    Stored, TokenFacts, TokenLabel, TokenRef, Use, material::Material,
};
use crate::backend::Fingerprint;

/// Who knows the user PIN of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    Ours,
    Nobodys,
    /// Until the process ends.
    InMemory,
    /// Somebody changed both.
    Changed,
    /// Not set yet: what a crash leaves that comes after C_InitToken and before C_InitPIN.
    Unset,
}

impl Pin {
    fn opens(self) -> bool {
        matches!(self, Self::Ours | Self::InMemory)
    }
}

#[derive(Clone)]
struct Token {
    serial: String,
    pin: Pin,
    objects: BTreeMap<Handle, Object>,
    /// Somebody else's keys, by the ids that they carry.
    foreign: Vec<Option<MaterialId>>,
}

#[derive(Clone)]
struct Object {
    id: MaterialId,
    class: Class,
    mark: Mark,
    usable: bool,
    material: Material,
}

/// One object as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    pub token: TokenLabel,
    pub handle: Handle,
    pub id: MaterialId,
    pub class: Class,
    pub mark: Mark,
    pub usable: bool,
    /// The material's identity: both halves of a pair, and every copy, have the same.
    pub material: [u8; 32],
}

/// A copy of a store at one time.
#[derive(Clone)]
pub struct Backup {
    tokens: BTreeMap<TokenLabel, Token>,
    records: BTreeMap<String, Vec<Stored>>,
    revision: u64,
}

pub(super) struct Store {
    tokens: BTreeMap<TokenLabel, Token>,
    /// Of each id the records of its highest generation; several only if planted.
    records: BTreeMap<String, Vec<Stored>>,
    revision: u64,
    slots: usize,
    handles: u64,
    random: StdRng,
    /// Not there yet, for whoever looks.
    aside: Vec<(TokenLabel, Handle, Object)>,
}

impl Store {
    pub(super) fn new(seed: [u8; 32], slots: usize) -> Self {
        Self {
            tokens: BTreeMap::new(),
            records: BTreeMap::new(),
            revision: 0,
            slots,
            aside: Vec::new(),
            handles: 0,
            random: StdRng::from_seed(seed),
        }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    fn handle(&mut self) -> Handle {
        self.handles += 1;
        Handle(self.handles)
    }

    // ---- the ledger ----

    pub(super) fn records(&self) -> Vec<Stored> {
        self.records.values().flatten().cloned().collect()
    }

    pub(super) fn read(&self, id: &str) -> Vec<Stored> {
        self.records.get(id).cloned().unwrap_or_default()
    }

    fn highest(&self, id: &str) -> u64 {
        self.records
            .get(id)
            .and_then(|it| it.first())
            .map_or(0, |it| it.generation)
    }

    pub(super) fn write(&mut self, new: &Stored) -> Result<()> {
        let there = self
            .records
            .get(&new.id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if there == [new.clone()] {
            return Ok(());
        }
        if new.generation == 0 || self.highest(&new.id) != new.generation - 1 {
            return Err(BackendError::Superseded);
        }
        self.records.insert(new.id.clone(), vec![new.clone()]);
        Ok(())
    }

    pub(super) fn restore_record(&mut self, lost: &Stored) -> Result<()> {
        match self.read(&lost.id).as_slice() {
            [] if lost.generation > 0 => {
                self.records.insert(lost.id.clone(), vec![lost.clone()]);
                Ok(())
            }
            [there] if there == lost => Ok(()),
            _ => Err(BackendError::Superseded),
        }
    }

    pub(super) fn tokens(&self) -> Vec<TokenLabel> {
        let labels = self.tokens.keys().cloned();
        labels.filter(TokenLabel::may_be_ours).collect()
    }

    pub(super) fn forget(&mut self, id: &str, generation: u64) -> Result<()> {
        if self.records.contains_key(id) && self.highest(id) != generation {
            return Err(BackendError::Superseded);
        }
        self.records.remove(id);
        Ok(())
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn note_revision(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    // ---- tokens ----

    pub(super) fn token(&self, label: &TokenLabel) -> Option<TokenFacts> {
        let token = self.tokens.get(label)?;
        let access = if token.pin.opens() {
            Access::Open
        } else {
            Access::Refused
        };
        Some(TokenFacts {
            label: label.clone(),
            serial: token.serial.clone(),
            access,
        })
    }

    pub(super) fn create_token(&mut self, label: &TokenLabel) -> Result<TokenFacts> {
        if !self.tokens.contains_key(label) {
            if self.tokens.len() >= self.slots {
                return Err(BackendError::Full(format!(
                    "all {} slots are taken",
                    self.slots
                )));
            }
            let serial = format!("{:016x}", u64::from_be_bytes(self.bytes()));
            self.tokens.insert(
                label.clone(),
                Token {
                    serial,
                    pin: Pin::Ours,
                    objects: BTreeMap::new(),
                    foreign: Vec::new(),
                },
            );
        }
        if let Some(half_made) = self.tokens.get_mut(label).filter(|it| it.pin == Pin::Unset) {
            half_made.pin = Pin::Ours;
        }
        self.token(label).ok_or_else(|| nowhere(label))
    }

    fn find(&mut self, token: &TokenRef) -> Result<&mut Token> {
        self.tokens
            .get_mut(&token.label)
            .filter(|it| it.serial == token.serial)
            .ok_or_else(|| nowhere(&token.label))
    }

    fn open(&mut self, token: &TokenRef) -> Result<&mut Token> {
        let found = self.find(token)?;
        if !found.pin.opens() {
            Err(BackendError::Sealed)
        } else {
            Ok(found)
        }
    }

    pub(super) fn set_pin(&mut self, token: &TokenRef, pin: Pin) -> Result<()> {
        let found = self.find(token)?;
        if found.pin == Pin::Changed {
            return Err(BackendError::Pin("the SO PIN is refused".to_owned()));
        }
        found.pin = pin;
        Ok(())
    }

    pub(super) fn release_token(&mut self, token: &TokenRef) -> Result<()> {
        if self.find(token)?.pin == Pin::Changed {
            return Err(BackendError::Pin("the SO PIN is refused".to_owned()));
        }
        let found = self.find(token)?;
        if !found.objects.is_empty() || !found.foreign.is_empty() {
            return Err(BackendError::Unavailable(
                "the token still holds keys".to_owned(),
            ));
        }
        self.tokens.remove(&token.label);
        Ok(())
    }

    // ---- keys ----

    pub(super) fn objects(
        &mut self,
        token: &TokenRef,
        ids: &[MaterialId],
        depth: Depth,
    ) -> Result<Vec<ObjectFacts>> {
        let found = self.open(token)?;
        if found.foreign.iter().flatten().any(|id| ids.contains(id)) {
            return Err(BackendError::Unavailable(
                "an object carries a label that is not ours".to_owned(),
            ));
        }
        let objects = &found.objects;
        let of_ids = objects.iter().filter(|(_, it)| ids.contains(&it.id));
        Ok(of_ids
            .map(|(handle, it)| facts(*handle, it, objects, depth))
            .collect())
    }

    pub(super) fn inventory(&mut self, token: &TokenRef) -> Result<Vec<ObjectFacts>> {
        let objects = &self.open(token)?.objects;
        Ok(objects
            .iter()
            .map(|(handle, it)| facts(*handle, it, objects, Depth::Labels))
            .collect())
    }

    pub(super) fn generate(
        &mut self,
        token: &TokenRef,
        id: MaterialId,
        algorithm: Algorithm,
    ) -> Result<()> {
        self.open(token)?;
        let material = Material::new(self.bytes(), algorithm);
        let classes: &[Class] = if algorithm.kty() == "oct" {
            &[Class::Secret]
        } else {
            &[Class::Public, Class::Private]
        };
        for class in classes {
            let handle = self.handle();
            let object = Object {
                id,
                class: *class,
                mark: Mark::Pending,
                usable: true,
                material: material.clone(),
            };
            self.open(token)?.objects.insert(handle, object);
        }
        Ok(())
    }

    fn object(&mut self, token: &TokenRef, handle: Handle) -> Result<&mut Object> {
        self.open(token)?
            .objects
            .get_mut(&handle)
            .ok_or(BackendError::DeadHandle)
    }

    pub(super) fn publish(&mut self, token: &TokenRef, handle: Handle) -> Result<()> {
        let object = self.object(token, handle)?;
        if object.mark == Mark::Deleted {
            return Err(BackendError::Refused);
        }
        object.mark = Mark::Live;
        Ok(())
    }

    /// As a module does it that cannot copy: the operator goes by the label.
    pub(super) fn relabel(
        &mut self,
        token: &TokenRef,
        handle: Handle,
        mark: Mark,
    ) -> Result<Handle> {
        if mark == Mark::Pending {
            return Err(BackendError::NotSupported("a pending copy".to_owned()));
        }
        let object = self.object(token, handle)?;
        object.mark = mark;
        object.usable = mark == Mark::Live;
        Ok(handle)
    }

    pub(super) fn copy(
        &mut self,
        token: &TokenRef,
        original: Handle,
        mark: Mark,
    ) -> Result<Handle> {
        if mark == Mark::Pending {
            return Err(BackendError::NotSupported("a pending copy".to_owned()));
        }
        let copy = Object {
            mark,
            usable: mark == Mark::Live,
            ..self.object(token, original)?.clone()
        };
        let handle = self.handle();
        self.open(token)?.objects.insert(handle, copy);
        Ok(handle)
    }

    pub(super) fn destroy(&mut self, token: &TokenRef, handle: Handle) -> Result<()> {
        self.open(token)?
            .objects
            .remove(&handle)
            .map(|_| ())
            .ok_or(BackendError::DeadHandle)
    }

    pub(super) fn use_key(
        &mut self,
        token: &TokenRef,
        id: MaterialId,
        what: &Use,
    ) -> Result<Vec<u8>> {
        let nonce = self.bytes();
        let wanted = |it: &&Object| {
            it.class == Class::Secret
                || (it.class == Class::Public) == matches!(what, Use::Encrypt { .. })
        };
        let of_id: Vec<&Object> = self
            .open(token)?
            .objects
            .values()
            .filter(|it| it.id == id)
            .collect();
        if of_id.is_empty() {
            return Err(BackendError::NotThere(format!("key {id}")));
        }
        let live = of_id
            .into_iter()
            .filter(wanted)
            .find(|it| it.mark == Mark::Live && it.usable);
        live.ok_or(BackendError::Refused)?.material.act(what, nonce)
    }

    // ---- for tests ----

    pub(super) fn inspect(&self) -> Vec<Inspected> {
        let of_token = |(label, token): (&TokenLabel, &Token)| {
            let object = |(handle, it): (&Handle, &Object)| Inspected {
                token: label.clone(),
                handle: *handle,
                id: it.id,
                class: it.class,
                mark: it.mark,
                usable: it.usable,
                material: it.material.bytes,
            };
            token.objects.iter().map(object).collect::<Vec<_>>()
        };
        self.tokens.iter().flat_map(of_token).collect()
    }

    pub(super) fn restart(&mut self) {
        for token in self
            .tokens
            .values_mut()
            .filter(|it| it.pin == Pin::InMemory)
        {
            token.pin = Pin::Nobodys;
        }
    }

    pub(super) fn backup(&self) -> Backup {
        Backup {
            tokens: self.tokens.clone(),
            records: self.records.clone(),
            revision: self.revision,
        }
    }

    pub(super) fn restore(&mut self, backup: &Backup) {
        let mut tokens = backup.tokens.clone();
        for token in tokens.values_mut() {
            let old = std::mem::take(&mut token.objects);
            token.objects = old.into_values().map(|it| (self.handle(), it)).collect();
        }
        self.tokens = tokens;
        self.records = backup.records.clone();
        self.revision = backup.revision;
    }

    pub(super) fn plant(&mut self, record: Stored) {
        let standing = self.records.entry(record.id.clone()).or_default();
        standing.retain(|it| it.generation == record.generation);
        standing.push(record);
    }

    pub(super) fn lose_record(&mut self, id: &str) {
        self.records.remove(id);
    }

    pub(super) fn lose(&mut self, label: &TokenLabel) {
        self.tokens.remove(label);
    }

    pub(super) fn half_make(&mut self, label: &TokenLabel) {
        if let Some(token) = self.tokens.get_mut(label) {
            token.pin = Pin::Unset;
        }
    }

    pub(super) fn change_pins(&mut self, label: &TokenLabel) {
        if let Some(token) = self.tokens.get_mut(label) {
            token.pin = Pin::Changed;
        }
    }

    pub(super) fn plant_key(&mut self, label: &TokenLabel, id: Option<MaterialId>) {
        if let Some(token) = self.tokens.get_mut(label) {
            token.foreign.push(id);
        }
    }

    pub(super) fn lose_object(&mut self, handle: Handle) {
        for token in self.tokens.values_mut() {
            token.objects.remove(&handle);
        }
    }

    pub(super) fn take_aside(&mut self, handle: Handle) {
        for (label, token) in &mut self.tokens {
            let taken = token.objects.remove(&handle);
            self.aside
                .extend(taken.map(|object| (label.clone(), handle, object)));
        }
    }

    pub(super) fn put_back(&mut self) {
        for (label, handle, object) in std::mem::take(&mut self.aside) {
            if let Some(token) = self.tokens.get_mut(&label) {
                token.objects.insert(handle, object);
            }
        }
    }

    pub(super) fn tamper(&mut self, handle: Handle, usable: bool) {
        for object in self
            .tokens
            .values_mut()
            .filter_map(|it| it.objects.get_mut(&handle))
        {
            object.usable = usable;
        }
    }
}

fn nowhere(label: &TokenLabel) -> BackendError {
    BackendError::NotThere(format!("token {}", label.0))
}

fn facts(
    handle: Handle,
    it: &Object,
    objects: &BTreeMap<Handle, Object>,
    depth: Depth,
) -> ObjectFacts {
    let proof = depth == Depth::Proof;
    ObjectFacts {
        handle,
        id: it.id,
        class: it.class,
        mark: it.mark,
        usable: proof.then_some(it.usable),
        proved: if proof { proved(it, objects) } else { None },
        public: it
            .material
            .public
            .clone()
            .filter(|_| it.class == Class::Public),
    }
}

fn proved(it: &Object, objects: &BTreeMap<Handle, Object>) -> Option<Fingerprint> {
    let half = |other: &&Object| {
        other.class == Class::Public
            && other.id == it.id
            && other.material.bytes == it.material.bytes
    };
    match it.class {
        Class::Secret => Some(Fingerprint::CheckValue(it.material.check_value())),
        Class::Public => it.material.public.as_ref().map(|it| it.fingerprint()),
        Class::Private => objects
            .values()
            .find(half)?
            .material
            .public
            .as_ref()
            .map(|it| it.fingerprint()),
    }
}
