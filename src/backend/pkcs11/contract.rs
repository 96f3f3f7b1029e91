//! The contract's methods, each on the session of its token.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectHandle},
    session::Session,
};

use super::{
    Module,
    error::{Fault, translate},
    handle_of, locked,
    objects::{self, Found},
    proof,
    token::{Refusal, Token},
};
use crate::backend::{
    Algorithm, BackendError, Class, Depth, Handle, HsmBackend, Mark, MaterialId, ObjectFacts,
    Result, Stored, TokenFacts, TokenLabel, TokenRef, Use,
};

impl HsmBackend for Module {
    fn records(&self) -> Result<Vec<Stored>> {
        self.ledger.records()
    }

    fn read(&self, id: &str) -> Result<Vec<Stored>> {
        self.ledger.read(id)
    }

    fn write(&self, stored: &Stored) -> Result<()> {
        self.ledger.write(stored)
    }

    fn restore(&self, stored: &Stored) -> Result<()> {
        self.ledger.restore(stored)
    }

    fn forget(&self, id: &str, generation: u64) -> Result<()> {
        self.ledger.forget(id, generation)
    }

    fn revision(&self) -> Result<u64> {
        self.ledger.revision()
    }

    fn note_revision(&self, revision: u64) -> Result<()> {
        self.ledger.note_revision(revision)
    }

    fn token(&self, label: &TokenLabel) -> Result<Option<TokenFacts>> {
        match self.only(label)? {
            Some((_, token)) => self.facts(&token).map(Some),
            None => Ok(None),
        }
    }

    fn tokens(&self) -> Result<Vec<TokenLabel>> {
        let mut labels = Vec::new();
        for slot in self.context.get_slots_with_token().map_err(translate)? {
            if self.slots.is_retired(slot) {
                continue;
            }
            let info = self.context.get_token_info(slot).map_err(translate)?;
            labels.extend(
                Some(TokenLabel(info.label().to_owned()))
                    .filter(|label| info.token_initialized() && label.may_be_ours()),
            );
        }
        Ok(labels)
    }

    fn create_token(&self, label: &TokenLabel) -> Result<TokenFacts> {
        let is_plain = label
            .0
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'-');
        if label.0.is_empty() || label.0.len() > 32 || !is_plain {
            let text = "a token's label has 1 to 32 letters, digits or hyphens";
            return Err(BackendError::NotSupported(text.to_owned()));
        }
        let _making = locked(&self.making);
        if self.only(label)?.is_none() {
            let slot = self.slots.fresh(&self.context, label)?;
            let _alone = self.alone.as_ref().map(locked);
            if let Err(error) = self.context.init_token(slot, self.pins.so.auth(), &label.0) {
                self.slots.discard(slot);
                return Err(translate(error));
            }
        }
        let (_, token) = self.only(label)?.ok_or_else(|| {
            BackendError::Unavailable(format!(
                "the token {} does not show after C_InitToken",
                label.0
            ))
        })?;
        self.with_token(&token, |state, slot| {
            match state.login(&self.context, slot, &self.pins)? {
                // Made just now, or by somebody who died before this.
                Some(Refusal::NeverSet) => state.unseal(&self.context, slot, &self.pins),
                _ => Ok(()),
            }
        })?;
        self.facts(&token)
    }

    fn seal_token(&self, token: &TokenRef) -> Result<()> {
        self.with_token(token, |state, slot| {
            state.seal(&self.context, slot, &self.pins)
        })
    }

    fn unseal_token(&self, token: &TokenRef) -> Result<()> {
        self.with_token(token, |state, slot| {
            state.unseal(&self.context, slot, &self.pins)
        })
    }

    fn open_for_destruction(&self, token: &TokenRef) -> Result<()> {
        self.with_token(token, |state, slot| {
            state.hold(&self.context, slot, &self.pins)
        })
    }

    fn release_token(&self, token: &TokenRef) -> Result<()> {
        self.must_be_empty(token)?;
        self.with_token(token, |state, slot| {
            *state = Token::default();
            self.slots.release(&self.context, slot, &self.pins.so)
        })?;
        locked(&self.tokens).remove(token);
        Ok(())
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
                        Depth::Proof => Some(proof::show(session, object, &publics)?),
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
        self.session(token, |session| {
            let keys = objects::keys(session)?;
            if keys.iter().filter(|it| it.class != Class::Public).count() >= self.max_keys {
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
        if mark == Mark::Pending {
            return Err(BackendError::NotSupported("a pending copy".to_owned()));
        }
        self.session(token, |session| {
            let object = readable(session, handle_of(original))?;
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
        let handle = handle_of(handle);
        self.with_token(token, |state, slot| {
            state.live.retain(|_, (live, _)| *live != handle);
            let destroy = |session: &Session| Ok(session.destroy_object(handle)?);
            state.run(&self.context, slot, &self.pins, destroy)
        })
    }

    fn use_key(&self, token: &TokenRef, id: MaterialId, what: &Use) -> Result<Vec<u8>> {
        self.with_token(token, |state, slot| {
            // The second round is for a live object that was sealed and recovered since: a copy with another handle.
            for remembered in [true, false] {
                let search = |state: &mut Token| {
                    state.run(&self.context, slot, &self.pins, |session| {
                        objects::with_id(session, id)
                    })
                };
                if state.login(&self.context, slot, &self.pins)?.is_some() {
                    return Err(BackendError::Sealed);
                }
                let (class, handle, key_type) = Self::live(state, search, id, what)?;
                let used = state.run(&self.context, slot, &self.pins, |session| {
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
