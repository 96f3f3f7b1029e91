//! The contract's methods, each on the session of its token.

use std::{path::Path, sync::PoisonError};

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectHandle},
    session::Session,
};

use super::{
    Module,
    error::Fault,
    handle_of,
    objects::{self, Found},
    proof,
    token::Token,
};
use crate::backend::{
    Algorithm, Assurance, BackendError, Class, Depth, Handle, HsmBackend, Mark, MaterialId,
    ObjectFacts, PublicKey, Result, Stored, TokenFacts, TokenLabel, TokenRef, Use,
    store::{self, About, Draft, Manifest, StoreError},
};

impl HsmBackend for Module {
    fn records(&self) -> Result<Vec<Stored>> {
        self.ledger.records()
    }

    fn read(&self, id: &str) -> Result<Vec<Stored>> {
        self.ledger.read(id)
    }

    fn write(&self, stored: &Stored) -> Result<()> {
        let _change = self.change();
        self.ledger.write(stored)
    }

    fn restore(&self, stored: &Stored) -> Result<()> {
        let _change = self.change();
        self.ledger.restore(stored)
    }

    fn forget(&self, id: &str, generation: u64) -> Result<()> {
        let _change = self.change();
        self.ledger.forget(id, generation)
    }

    fn revision(&self) -> Result<u64> {
        self.ledger.revision()
    }

    fn note_revision(&self, revision: u64) -> Result<()> {
        let _change = self.change();
        self.ledger.note_revision(revision)
    }

    fn back_up(&self, folder: &Path, about: &About) -> store::Result<Manifest> {
        if self.rack.slots.contents().is_none() {
            return Err(StoreError::NotEmbedded);
        }
        let draft = Draft::begin(folder)?;
        {
            let _still = self.changes.write().unwrap_or_else(PoisonError::into_inner);
            let contents = self.rack.slots.contents();
            draft.copy(&contents.ok_or(StoreError::NotEmbedded)?)?;
        }
        draft.finish(about)
    }

    fn assurance(&self) -> Option<Assurance> {
        Some(self.assurance)
    }

    fn token(&self, label: &TokenLabel) -> Result<Option<TokenFacts>> {
        let found = match self.provisioned() {
            Some((desk, _)) => desk.owned(&self.rack, label)?,
            None => self.rack.only(label)?,
        };
        found.map(|real| self.facts(label, &real)).transpose()
    }

    fn tokens(&self) -> Result<Vec<TokenLabel>> {
        let labels: Vec<_> = match self.provisioned() {
            Some((desk, _)) => desk.owners()?.into_iter().map(|(label, _)| label).collect(),
            None => {
                let shown = self.rack.all()?;
                if let Some(error) = shown.silent {
                    tracing::warn!(%error, "a slot does not answer and is in no list");
                }
                shown
                    .tokens
                    .into_iter()
                    .map(|(_, token)| token.label)
                    .collect()
            }
        };
        Ok(labels.into_iter().filter(TokenLabel::may_be_ours).collect())
    }

    fn create_token(&self, label: &TokenLabel) -> Result<TokenFacts> {
        let _change = self.change();
        let real = match self.provisioned() {
            Some((desk, provisioned)) => desk.assign(&self.rack, provisioned, label)?,
            None => self.rack.make(label)?,
        };
        self.facts(label, &real)
    }

    fn seal_token(&self, token: &TokenRef) -> Result<()> {
        let _change = self.change();
        let real = self.reach(token)?;
        match self.desk.as_ref().filter(|desk| desk.refuses) {
            Some(desk) => {
                self.rack.with_token(&real, |_, _| Ok(()))?;
                desk.set_sealed(&token.label, true)
            }
            None => self.rack.seal(&real),
        }
    }

    fn unseal_token(&self, token: &TokenRef) -> Result<()> {
        let _change = self.change();
        let real = self.reach(token)?;
        self.rack.unseal(&real)?;
        match self.desk.as_ref().filter(|desk| desk.refuses) {
            Some(desk) => desk.set_sealed(&token.label, false),
            None => Ok(()),
        }
    }

    fn open_for_destruction(&self, token: &TokenRef) -> Result<()> {
        let _change = self.change();
        self.hold_open(token)
    }

    fn release_token(&self, token: &TokenRef) -> Result<()> {
        let _change = self.change();
        self.must_be_empty(token)?;
        let real = self.reach(token)?;
        match self.provisioned() {
            Some((desk, _)) => desk.give_back(&self.rack, &token.label, &real),
            None => {
                self.rack.release(&real)?;
                match &self.desk {
                    Some(desk) => desk.set_sealed(&token.label, false),
                    None => Ok(()),
                }
            }
        }
    }

    fn objects(
        &self,
        token: &TokenRef,
        ids: &[MaterialId],
        depth: Depth,
    ) -> Result<Vec<ObjectFacts>> {
        self.session(token, |session| {
            let mut facts = Vec::new();
            for id in ids {
                let found = objects::with_id(session, *id)?;
                let publics: Vec<_> = found.iter().filter_map(|it| it.public.clone()).collect();
                for object in &found {
                    let shown = match depth {
                        Depth::Labels => None,
                        Depth::Proof => Some(self.show(session, object, &publics)?),
                    };
                    let mark = object.mark.ok_or_else(|| foreign_label(object.id))?;
                    facts.push(object_facts(object, mark, shown));
                }
            }
            Ok(facts)
        })
    }

    fn inventory(&self, token: &TokenRef) -> Result<Vec<ObjectFacts>> {
        let found = self.session(token, objects::keys)?;
        Ok(found
            .iter()
            .filter_map(|it| it.mark.map(|mark| object_facts(it, mark, None)))
            .collect())
    }

    fn generate(&self, token: &TokenRef, id: MaterialId, algorithm: Algorithm) -> Result<()> {
        let _change = self.change();
        self.session(token, |session| {
            if objects::count_of(session, &[Class::Private, Class::Secret])? >= self.max_keys {
                let text = format!("an HSM holds {} keys at most", self.max_keys);
                return Err(BackendError::Full(text).into());
            }
            let shape = objects::shape(algorithm)?;
            if algorithm.kty() == "oct" {
                let template = [objects::born(id, Class::Secret, KeyType::AES), shape].concat();
                session.generate_key(&Mechanism::AesKeyGen, &template)?;
                return Ok(());
            }
            let (mechanism, key_type) = match algorithm.kty() {
                "RSA" => (Mechanism::RsaPkcsKeyPairGen, KeyType::RSA),
                _ => (Mechanism::EccKeyPairGen, KeyType::EC),
            };
            let public = [objects::born(id, Class::Public, key_type), shape].concat();
            let private = objects::born(id, Class::Private, key_type);
            session.generate_key_pair(&mechanism, &public, &private)?;
            Ok(())
        })
    }

    fn publish(&self, token: &TokenRef, handle: Handle) -> Result<()> {
        let _change = self.change();
        self.session(token, |session| {
            let object = readable(session, handle_of(handle))?;
            match object.mark {
                Some(Mark::Live) => Ok(()),
                Some(Mark::Pending) => {
                    let label = objects::label(Mark::Live, object.id);
                    Ok(session.update_attributes(object.handle, &[Attribute::Label(label)])?)
                }
                Some(Mark::Deleted) | None => Err(BackendError::Refused.into()),
            }
        })
    }

    fn copy(&self, token: &TokenRef, original: Handle, mark: Mark) -> Result<Handle> {
        let _change = self.change();
        if mark == Mark::Pending {
            return Err(BackendError::NotSupported("a pending copy".to_owned()));
        }
        self.session(token, |session| {
            let object = readable(session, handle_of(original))?;
            if !self.assurance.seals_keys {
                // The object itself is relabelled, and the operator goes by its label.
                let label = objects::label(mark, object.id);
                session.update_attributes(object.handle, &[Attribute::Label(label)])?;
                return Ok(original);
            }
            let mut template = vec![
                Attribute::Token(true),
                Attribute::Label(objects::label(mark, object.id)),
            ];
            template.extend(objects::usage(
                object.class,
                object.key_type,
                mark == Mark::Live,
            ));
            let copy = session.copy_object(object.handle, &template)?;
            Ok(Handle(copy.handle()))
        })
    }

    fn destroy(&self, token: &TokenRef, handle: Handle) -> Result<()> {
        let _change = self.change();
        let handle = handle_of(handle);
        self.with_token(token, |state, slot| {
            state.live.retain(|_, (live, _)| *live != handle);
            let destroy = |session: &Session| Ok(session.destroy_object(handle)?);
            state.run(&self.rack.context, slot, &self.rack.pins, destroy)
        })
    }

    fn use_key(&self, token: &TokenRef, id: MaterialId, what: &Use) -> Result<Vec<u8>> {
        self.with_token(token, |state, slot| {
            if !self.assurance.seals_keys {
                // What was relabelled keeps its handle: each use looks what the label says now.
                state.live.clear();
            }
            // The second round is for a live object that was sealed and recovered since: a copy with another handle.
            for remembered in [true, false] {
                let search = |state: &mut Token| {
                    state.run(&self.rack.context, slot, &self.rack.pins, |session| {
                        objects::with_id(session, id)
                    })
                };
                if state
                    .login(&self.rack.context, slot, &self.rack.pins)?
                    .is_some()
                {
                    return Err(BackendError::Sealed);
                }
                let (class, handle, key_type) = Self::live(state, search, id, what)?;
                let used = state.run(&self.rack.context, slot, &self.rack.pins, |session| {
                    proof::act(session, handle, key_type, what)
                });
                match used {
                    Err(BackendError::DeadHandle) if remembered => state.live.remove(&(id, class)),
                    used => return used,
                };
            }
            Err(BackendError::DeadHandle)
        })
    }
}

impl Module {
    /// Where the module's own flags do not seal, what is labelled so is refused all the same: by us.
    fn show(
        &self,
        session: &Session,
        object: &Found,
        publics: &[PublicKey],
    ) -> std::result::Result<proof::Shown, Fault> {
        let shown = proof::show(session, object, publics)?;
        let refused = !self.assurance.seals_keys && object.mark == Some(Mark::Deleted);
        Ok(proof::Shown {
            usable: shown.usable && !refused,
            ..shown
        })
    }
}

fn readable(session: &Session, handle: ObjectHandle) -> std::result::Result<Found, Fault> {
    let object = objects::read(session, handle)?;
    object
        .ok_or_else(|| BackendError::NotThere("a key of ours behind that handle".to_owned()).into())
}

fn foreign_label(id: MaterialId) -> Fault {
    BackendError::Unavailable(format!(
        "an object of key {id} carries a label that is not ours"
    ))
    .into()
}

fn object_facts(object: &Found, mark: Mark, shown: Option<proof::Shown>) -> ObjectFacts {
    let (usable, proved) = shown.map_or((None, None), |it| (Some(it.usable), it.proved));
    ObjectFacts {
        handle: Handle(object.handle.handle()),
        id: object.id,
        class: object.class,
        mark,
        usable,
        proved,
        public: object.public.clone(),
    }
}
