//! The reference backend: the whole contract in memory, with a fault script. Clones share one store, so that two
//! executors, or one and its successor, meet in it. Key material is 32 random bytes; what a key does depends on them alone.

mod faults;
mod material;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use faults::{Call, Method, When};
pub use store::{Backup, Inspected};

use super::{
    Access, Algorithm, Assurance, BackendError, Class, Depth, Handle, HsmBackend, Mark, MaterialId,
    ObjectFacts, Result, Stored, TokenFacts, TokenLabel, TokenRef, Use,
};
use faults::{Faults, Observer};
use store::Store;

/// How many tokens fit, if not said.
const SLOTS: usize = 256;

/// A backend in memory.
#[derive(Clone)]
pub struct MemoryBackend {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    assurance: Option<Assurance>,
    store: Store,
    faults: Faults,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// An empty store whose material nobody else has.
    pub fn new() -> Self {
        Self::with(rand::random(), SLOTS)
    }

    /// An empty store with room for `slots` tokens, whose material follows from `seed`.
    pub fn with(seed: [u8; 32], slots: usize) -> Self {
        let shared = Shared {
            assurance: Some(Assurance::FULL),
            store: Store::new(seed, slots),
            faults: Faults::default(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `number`-th call of `method` from now (1: the next) fails with `error`, before or after having worked.
    pub fn fail(&self, method: Method, number: usize, when: When, error: BackendError) {
        self.shared().faults.add(method, number, when, error);
    }

    /// Every call fails with this, before having worked, until None is said.
    pub fn away(&self, error: Option<BackendError>) {
        self.shared().faults.away = error;
    }

    /// What its seals rest on: without `seals_keys` a key is relabelled in place. An HSM's seal does the same whatever is said.
    pub fn assure(&self, assurance: Option<Assurance>) {
        self.shared().assurance = assurance;
    }

    /// Forgets all scripted faults.
    pub fn heal(&self) {
        self.shared().faults.clear();
    }

    /// Runs `observer` before each call, with no lock held: it may call this backend itself.
    pub fn observe(&self, observer: impl Fn(&Call) + Send + Sync + 'static) {
        self.shared().faults.observer = Some(Arc::new(observer));
    }

    /// All calls so far, in their order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared().faults.calls.clone()
    }

    /// How often `method` was called.
    pub fn count(&self, method: Method) -> usize {
        self.shared()
            .faults
            .calls
            .iter()
            .filter(|it| it.method == method)
            .count()
    }

    /// Every object, with what tells its material from others'.
    pub fn inspect(&self) -> Vec<Inspected> {
        self.shared().store.inspect()
    }

    /// What a restart of the process loses: PINs that were held in memory only.
    pub fn restart(&self) {
        self.shared().store.restart();
    }

    /// A copy of all tokens and records, as a backup of the store would hold it.
    pub fn backup(&self) -> Backup {
        self.shared().store.backup()
    }

    /// Puts a backup back. Handles go on: none that was ever given out comes back.
    pub fn restore(&self, backup: &Backup) {
        self.shared().store.restore(backup);
    }

    /// Puts a record beside those that stand, whatever they are: how two of one generation come to disagree.
    pub fn plant(&self, record: Stored) {
        self.shared().store.plant(record);
    }

    /// Takes an id's records away, as a torn ledger does.
    pub fn lose_record(&self, id: &str) {
        self.shared().store.lose_record(id);
    }

    /// Takes a token away with all in it, as a lost disk does.
    pub fn lose_token(&self, label: &TokenLabel) {
        self.shared().store.lose(label);
    }

    /// Leaves a token as a crash in the middle of making it does: there, and without a user PIN.
    pub fn half_make(&self, label: &TokenLabel) {
        self.shared().store.half_make(label);
    }

    /// Both PINs of a token are others from now on: neither opens or seals it.
    pub fn change_pins(&self, label: &TokenLabel) {
        self.shared().store.change_pins(label);
    }

    /// Puts somebody else's key into a token, under an id of ours or of his own.
    pub fn plant_key(&self, label: &TokenLabel, id: Option<MaterialId>) {
        self.shared().store.plant_key(label, id);
    }

    /// Takes one object away, as a torn generation does.
    pub fn lose_object(&self, handle: Handle) {
        self.shared().store.lose_object(handle);
    }

    /// Hides one object until it is put back: a pair whose halves come one after the other.
    pub fn take_aside(&self, handle: Handle) {
        self.shared().store.take_aside(handle);
    }

    /// Puts back, under their own handles, what was taken aside.
    pub fn put_back(&self) {
        self.shared().store.put_back();
    }

    /// Lets an object be used, or not, whatever its label says: a module that lies.
    pub fn tamper(&self, handle: Handle, usable: bool) {
        self.shared().store.tamper(handle, usable);
    }

    /// One call: told to the observer, counted, failed if the script says so.
    fn call<T>(
        &self,
        method: Method,
        subject: impl std::fmt::Debug,
        act: impl FnOnce(&mut Store) -> Result<T>,
    ) -> Result<T> {
        let call = Call {
            method,
            subject: format!("{subject:?}"),
        };
        let observer: Option<Observer> = self.shared().faults.observer.clone();
        if let Some(observer) = observer {
            observer(&call);
        }
        let mut shared = self.shared();
        match shared.faults.strike(call) {
            None => act(&mut shared.store),
            Some((When::Before, error)) => Err(error),
            Some((When::After, error)) => {
                // The answer is lost, not the effect.
                let _ = act(&mut shared.store);
                Err(error)
            }
        }
    }
}

impl HsmBackend for MemoryBackend {
    fn assurance(&self) -> Option<Assurance> {
        self.shared().assurance
    }

    fn records(&self) -> Result<Vec<Stored>> {
        self.call(Method::Records, (), |store| Ok(store.records()))
    }

    fn read(&self, id: &str) -> Result<Vec<Stored>> {
        self.call(Method::Read, id, |store| Ok(store.read(id)))
    }

    fn write(&self, stored: &Stored) -> Result<()> {
        self.call(Method::Write, (&stored.id, stored.generation), |store| {
            store.write(stored)
        })
    }

    fn restore(&self, stored: &Stored) -> Result<()> {
        self.call(Method::Restore, (&stored.id, stored.generation), |store| {
            store.restore_record(stored)
        })
    }

    fn forget(&self, id: &str, generation: u64) -> Result<()> {
        self.call(Method::Forget, (id, generation), |store| {
            store.forget(id, generation)
        })
    }

    fn revision(&self) -> Result<u64> {
        self.call(Method::Revision, (), |store| Ok(store.revision()))
    }

    fn note_revision(&self, revision: u64) -> Result<()> {
        self.call(Method::NoteRevision, revision, |store| {
            store.note_revision(revision);
            Ok(())
        })
    }

    fn token(&self, label: &TokenLabel) -> Result<Option<TokenFacts>> {
        self.call(Method::Token, label, |store| Ok(store.token(label)))
    }

    fn tokens(&self) -> Result<Vec<TokenLabel>> {
        self.call(Method::Tokens, (), |store| Ok(store.tokens()))
    }

    fn create_token(&self, label: &TokenLabel) -> Result<TokenFacts> {
        self.call(Method::CreateToken, label, |store| {
            store.create_token(label)
        })
    }

    fn seal_token(&self, token: &TokenRef) -> Result<()> {
        self.call(Method::SealToken, &token.label, |store| {
            store.set_pin(token, store::Pin::Nobodys)
        })
    }

    fn unseal_token(&self, token: &TokenRef) -> Result<()> {
        self.call(Method::UnsealToken, &token.label, |store| {
            store.set_pin(token, store::Pin::Ours)
        })
    }

    fn open_for_destruction(&self, token: &TokenRef) -> Result<()> {
        self.call(Method::OpenForDestruction, &token.label, |store| {
            store.set_pin(token, store::Pin::InMemory)
        })
    }

    fn release_token(&self, token: &TokenRef) -> Result<()> {
        self.call(Method::ReleaseToken, &token.label, |store| {
            store.release_token(token)
        })
    }

    fn objects(
        &self,
        token: &TokenRef,
        ids: &[MaterialId],
        depth: Depth,
    ) -> Result<Vec<ObjectFacts>> {
        self.call(Method::Objects, (&token.label, ids, depth), |store| {
            store.objects(token, ids, depth)
        })
    }

    fn inventory(&self, token: &TokenRef) -> Result<Vec<ObjectFacts>> {
        self.call(Method::Inventory, &token.label, |store| {
            store.inventory(token)
        })
    }

    fn generate(&self, token: &TokenRef, id: MaterialId, algorithm: Algorithm) -> Result<()> {
        self.call(Method::Generate, (&token.label, id, algorithm), |store| {
            store.generate(token, id, algorithm)
        })
    }

    fn publish(&self, token: &TokenRef, handle: Handle) -> Result<()> {
        self.call(Method::Publish, (&token.label, handle), |store| {
            store.publish(token, handle)
        })
    }

    fn copy(&self, token: &TokenRef, original: Handle, mark: Mark) -> Result<Handle> {
        let in_place = self.assurance().is_some_and(|it| !it.seals_keys);
        self.call(Method::Copy, (&token.label, original, mark), |store| {
            if in_place {
                store.relabel(token, original, mark)
            } else {
                store.copy(token, original, mark)
            }
        })
    }

    fn destroy(&self, token: &TokenRef, handle: Handle) -> Result<()> {
        self.call(Method::Destroy, (&token.label, handle), |store| {
            store.destroy(token, handle)
        })
    }

    fn use_key(&self, token: &TokenRef, id: MaterialId, what: &Use) -> Result<Vec<u8>> {
        self.call(Method::UseKey, (&token.label, id), |store| {
            store.use_key(token, id, what)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> TokenLabel {
        TokenLabel("0123456789abcdef0123456789abcdef".to_owned())
    }

    #[test]
    fn a_scripted_fault_strikes_the_call_it_names_and_no_other() {
        let backend = MemoryBackend::new();
        let lost = BackendError::Unavailable("lost".to_owned());
        backend.fail(Method::NoteRevision, 2, When::Before, lost.clone());
        backend.fail(Method::NoteRevision, 3, When::After, lost.clone());
        assert_eq!(backend.note_revision(1), Ok(()));
        assert_eq!(backend.note_revision(2), Err(lost.clone()));
        assert_eq!(backend.revision(), Ok(1));
        assert_eq!(backend.note_revision(3), Err(lost));
        assert_eq!(backend.revision(), Ok(3));
        assert_eq!(backend.note_revision(4), Ok(()));
        assert_eq!(backend.count(Method::NoteRevision), 4);
    }

    #[test]
    fn an_observer_may_act_in_between() {
        let backend = MemoryBackend::new();
        let other = backend.clone();
        backend.observe(move |call| {
            if call.method == Method::Token {
                other.create_token(&label()).unwrap();
            }
        });
        assert!(backend.token(&label()).unwrap().is_some());
        assert_eq!(
            backend
                .calls()
                .iter()
                .map(|it| it.method)
                .collect::<Vec<_>>(),
            [Method::CreateToken, Method::Token]
        );
    }

    #[test]
    fn a_module_that_lies_is_seen_by_a_proof() {
        let backend = MemoryBackend::new();
        let facts = backend.create_token(&label()).unwrap();
        let token = TokenRef {
            label: facts.label,
            serial: facts.serial,
        };
        let id = MaterialId([1; 16]);
        backend.generate(&token, id, Algorithm::Aes256).unwrap();
        let pending = backend.objects(&token, &[id], Depth::Labels).unwrap()[0].handle;
        let sealed = backend.copy(&token, pending, Mark::Deleted).unwrap();
        backend.tamper(sealed, true);
        let looked = backend.objects(&token, &[id], Depth::Proof).unwrap();
        let lying = looked.iter().find(|it| it.handle == sealed).unwrap();
        assert_eq!((lying.mark, lying.usable), (Mark::Deleted, Some(true)));
    }

    #[test]
    fn a_restored_backup_brings_material_back_but_no_handle() {
        let backend = MemoryBackend::new();
        let facts = backend.create_token(&label()).unwrap();
        let token = TokenRef {
            label: facts.label,
            serial: facts.serial,
        };
        let id = MaterialId([1; 16]);
        backend.generate(&token, id, Algorithm::Aes256).unwrap();
        let (backup, before) = (backend.backup(), backend.inspect());
        backend.destroy(&token, before[0].handle).unwrap();
        assert_eq!(backend.inspect(), vec![]);
        backend.restore(&backup);
        let after = backend.inspect();
        assert_eq!(after[0].material, before[0].material);
        assert_ne!(after[0].handle, before[0].handle);
    }
}
