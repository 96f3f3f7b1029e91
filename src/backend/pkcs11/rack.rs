//! A module's tokens: found by label and serial, each behind its own lock, made where there are none.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use cryptoki::{context::Pkcs11, session::Session, slot::Slot};

use super::{
    error::{Fault, translate},
    locked,
    pins::Pins,
    slots::Slots,
    token::{Refusal, Token},
};
use crate::backend::{Access, BackendError, Result, TokenLabel, TokenRef};

/// The tokens of a module that show themselves.
pub(super) struct Shown {
    pub(super) tokens: Vec<(Slot, TokenRef)>,
    /// Why a slot did not answer: it was passed over.
    pub(super) silent: Option<BackendError>,
}

/// A module, and what is open of it.
pub(super) struct Rack {
    pub(super) context: Pkcs11,
    pub(super) pins: Pins,
    pub(super) slots: Box<dyn Slots>,
    tokens: Mutex<HashMap<TokenRef, Arc<Mutex<Token>>>>,
    /// C_InitToken on one slot at a time.
    making: Mutex<()>,
    /// Where the module bears one call at a time only.
    alone: Option<Mutex<()>>,
}

impl Rack {
    pub(super) fn new(
        context: Pkcs11,
        pins: Pins,
        slots: Box<dyn Slots>,
        one_at_a_time: bool,
    ) -> Self {
        Self {
            context,
            pins,
            slots,
            tokens: Mutex::default(),
            making: Mutex::default(),
            alone: one_at_a_time.then(Mutex::default),
        }
    }

    fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        self.alone.as_ref().map(locked)
    }

    /// Every token, with its slot.
    pub(super) fn all(&self) -> Result<Shown> {
        let (mut tokens, mut silent) = (Vec::new(), None);
        for slot in self.context.get_slots_with_token().map_err(translate)? {
            if self.slots.is_retired(slot) {
                continue;
            }
            match self.context.get_token_info(slot) {
                Ok(info) if info.token_initialized() => tokens.push((
                    slot,
                    TokenRef {
                        label: TokenLabel(info.label().to_owned()),
                        serial: info.serial_number().to_owned(),
                    },
                )),
                Ok(_) => {}
                Err(error) => silent = Some(translate(error)),
            }
        }
        Ok(Shown { tokens, silent })
    }

    /// All tokens of that label.
    fn find(&self, label: &TokenLabel) -> Result<Vec<(Slot, TokenRef)>> {
        if let Some(reason) = self.slots.damaged(label) {
            return Err(BackendError::Unavailable(reason));
        }
        let Shown { mut tokens, silent } = self.all()?;
        tokens.retain(|(_, token)| token.label == *label);
        match silent {
            // It may be the one that does not answer.
            Some(error) if tokens.is_empty() => Err(BackendError::Unavailable(error.to_string())),
            _ => Ok(tokens),
        }
    }

    /// The one token of that label. Two are for a person to sort out.
    pub(super) fn only(&self, label: &TokenLabel) -> Result<Option<TokenRef>> {
        let mut found = self.find(label)?;
        if found.len() > 1 {
            return Err(BackendError::Unavailable(format!(
                "{} tokens carry the label {}",
                found.len(),
                label.0
            )));
        }
        Ok(found.pop().map(|(_, token)| token))
    }

    /// The slot in which a token is now: label and serial agree.
    fn locate(&self, token: &TokenRef, known: Option<Slot>) -> Result<Slot> {
        let agrees = |slot: &Slot| {
            let info = self.context.get_token_info(*slot);
            let agrees = info
                .is_ok_and(|it| it.label() == token.label.0 && it.serial_number() == token.serial);
            agrees && !self.slots.is_retired(*slot)
        };
        if let Some(slot) = known.filter(agrees) {
            return Ok(slot);
        }
        let found = self.find(&token.label)?;
        let slot = found.into_iter().find(|(_, other)| other == token);
        slot.map(|(slot, _)| slot).ok_or_else(|| {
            BackendError::NotThere(format!(
                "token {} with serial {}",
                token.label.0, token.serial
            ))
        })
    }

    /// Runs `act` with the token's state, found and locked.
    pub(super) fn with_token<T>(
        &self,
        token: &TokenRef,
        act: impl FnOnce(&mut Token, Slot) -> Result<T>,
    ) -> Result<T> {
        let shared = Arc::clone(locked(&self.tokens).entry(token.clone()).or_default());
        let mut state = locked(&shared);
        let located = self.locate(token, state.slot);
        if let Err(BackendError::NotThere(_)) = located {
            locked(&self.tokens).remove(token);
        }
        let slot = located?;
        let _alone = self.alone();
        state.slot = Some(slot);
        act(&mut state, slot)
    }

    /// Runs `act` in the token's session, logged in as user.
    pub(super) fn session<T>(
        &self,
        token: &TokenRef,
        act: impl FnOnce(&Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.with_token(token, |state, slot| {
            state.run(&self.context, slot, &self.pins, act)
        })
    }

    pub(super) fn access(&self, token: &TokenRef) -> Result<Access> {
        let refusal = self.with_token(token, |state, slot| {
            state.login(&self.context, slot, &self.pins)
        })?;
        Ok(refusal.map_or(Access::Open, |_| Access::Refused))
    }

    pub(super) fn seal(&self, token: &TokenRef) -> Result<()> {
        self.with_token(token, |state, slot| {
            state.seal(&self.context, slot, &self.pins)
        })
    }

    pub(super) fn unseal(&self, token: &TokenRef) -> Result<()> {
        self.with_token(token, |state, slot| {
            state.unseal(&self.context, slot, &self.pins)
        })
    }

    pub(super) fn hold(&self, token: &TokenRef) -> Result<()> {
        self.with_token(token, |state, slot| {
            state.hold(&self.context, slot, &self.pins)
        })
    }

    /// Makes a token of that label on a fresh slot, with our PINs; one that is there already is answered as it is.
    pub(super) fn make(&self, label: &TokenLabel) -> Result<TokenRef> {
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
            let _alone = self.alone();
            if let Err(error) = self.context.init_token(slot, self.pins.so.auth(), &label.0) {
                self.slots.discard(slot);
                return Err(translate(error));
            }
        }
        let token = self.only(label)?.ok_or_else(|| {
            BackendError::Unavailable(format!(
                "the token {} does not show after C_InitToken",
                label.0
            ))
        })?;
        self.finish(&token)?;
        Ok(token)
    }

    /// A token that was made just now, or by somebody who died before it had a user PIN, gets ours.
    pub(super) fn finish(&self, token: &TokenRef) -> Result<()> {
        self.with_token(token, |state, slot| {
            match state.login(&self.context, slot, &self.pins)? {
                Some(Refusal::NeverSet) => state.unseal(&self.context, slot, &self.pins),
                _ => Ok(()),
            }
        })
    }

    /// Gives the slot of an empty token back.
    pub(super) fn release(&self, token: &TokenRef) -> Result<()> {
        self.with_token(token, |state, slot| {
            *state = Token::default();
            self.slots.release(&self.context, slot, &self.pins.so)
        })?;
        locked(&self.tokens).remove(token);
        Ok(())
    }
}
