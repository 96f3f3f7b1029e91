//! One token: its anchor session, who is logged in, and what is known of its PINs. Behind a mutex, since a login holds
//! for the whole process and a session for one thread at a time.

use std::collections::HashMap;

use cryptoki::{
    context::Pkcs11,
    object::{KeyType, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
};

use super::{
    error::{Fault, is_pin_refusal, is_pin_unset, translate},
    pins::{Pin, Pins},
};
use crate::backend::{BackendError, Class, MaterialId, Result};

/// Why the user PIN that we hold does not open a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Wrong,
    /// C_InitToken was done, C_InitPIN never.
    NeverSet,
}

#[derive(Default)]
pub(super) struct Token {
    /// Where it was last seen; looked at again before each use.
    pub(super) slot: Option<Slot>,
    /// Logged in as user, for as long as it stands.
    session: Option<Session>,
    /// A refused PIN is not tried again: each try counts, and ten lock.
    refusal: Option<Refusal>,
    so_refused: bool,
    /// The user PIN that was set for a destruction.
    held: Option<Pin>,
    /// Live objects by id and class, so that a use need not search. A dead handle is looked up again.
    pub(super) live: HashMap<(MaterialId, Class), (ObjectHandle, KeyType)>,
}

impl Token {
    /// Logs out, as far as we are concerned.
    fn close(&mut self) {
        self.live.clear();
        self.session = None;
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some() && self.session.is_some()
    }

    /// Opens and logs in, if that is not so already. None: it is open.
    pub(super) fn login(
        &mut self,
        context: &Pkcs11,
        slot: Slot,
        pins: &Pins,
    ) -> Result<Option<Refusal>> {
        if self.session.is_some() || self.refusal.is_some() {
            return Ok(self.refusal.filter(|_| self.session.is_none()));
        }
        let session = context.open_rw_session(slot).map_err(translate)?;
        let pin = self.held.as_ref().unwrap_or(&pins.user);
        match session.login(UserType::User, Some(pin.auth())) {
            Ok(()) => self.session = Some(session),
            Err(error) if is_pin_unset(&error) => self.refusal = Some(Refusal::NeverSet),
            Err(error) if is_pin_refusal(&error) => self.refusal = Some(Refusal::Wrong),
            Err(error) => return Err(translate(error)),
        }
        Ok(self.refusal)
    }

    /// Runs `act` in the logged-in session. One that is lost is closed, and opened again at the next call.
    pub(super) fn run<T>(
        &mut self,
        context: &Pkcs11,
        slot: Slot,
        pins: &Pins,
        act: impl FnOnce(&Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        if self.login(context, slot, pins)?.is_some() {
            return Err(BackendError::Sealed);
        }
        let Some(session) = &self.session else {
            return Err(BackendError::Sealed);
        };
        act(session).map_err(|fault| {
            if fault.session_lost {
                self.close();
            }
            fault.error
        })
    }

    /// Sets the user PIN as SO. None: our own. Our sessions of the token are closed first: the SO cannot log in beside the user, and an open
    /// one would go on working.
    pub(super) fn set_user_pin(
        &mut self,
        context: &Pkcs11,
        slot: Slot,
        pins: &Pins,
        pin: Option<&Pin>,
    ) -> Result<()> {
        self.so_may_try(context, slot)?;
        self.close();
        let session = context.open_rw_session(slot).map_err(translate)?;
        if let Err(error) = session.login(UserType::So, Some(pins.so.auth())) {
            self.so_refused = is_pin_refusal(&error);
            return Err(if self.so_refused {
                so_pin_refused()
            } else {
                translate(error)
            });
        }
        let set = session.init_pin(pin.unwrap_or(&pins.user).auth());
        // Closing the only session logs out as well; a failure here changes nothing.
        let _ = session.logout();
        drop(session);
        // Whatever came of it, what was known of the user PIN may be wrong now.
        self.refusal = None;
        self.held = None;
        set.map_err(translate)
    }

    /// A wrong SO PIN is final: ten lock the token, and what is sealed in it, for ever.
    fn so_may_try(&self, context: &Pkcs11, slot: Slot) -> Result<()> {
        let info = context.get_token_info(slot).map_err(translate)?;
        if self.so_refused || info.so_pin_locked() || info.so_pin_final_try() {
            return Err(so_pin_refused());
        }
        Ok(())
    }

    /// Gives the token a PIN that nobody keeps, and proves that ours is refused.
    pub(super) fn seal(&mut self, context: &Pkcs11, slot: Slot, pins: &Pins) -> Result<()> {
        self.set_user_pin(context, slot, pins, Some(&Pin::random()))?;
        match self.login(context, slot, pins)? {
            Some(_) => Ok(()),
            None => {
                let text = "C_InitPIN answered well, but the old user PIN still opens the token";
                Err(BackendError::NotSupported(text.to_owned()))
            }
        }
    }

    /// Sets our PIN where it does not open the token, and proves that it does.
    pub(super) fn unseal(&mut self, context: &Pkcs11, slot: Slot, pins: &Pins) -> Result<()> {
        if self.held.is_none() && self.login(context, slot, pins)?.is_none() {
            return Ok(());
        }
        self.set_user_pin(context, slot, pins, None)?;
        match self.login(context, slot, pins)? {
            None => Ok(()),
            Some(_) => {
                let text = "the user PIN is refused right after it was set";
                Err(BackendError::Pin(text.to_owned()))
            }
        }
    }

    /// Gives the token a PIN that lives in this process only, and opens it with that.
    pub(super) fn hold(&mut self, context: &Pkcs11, slot: Slot, pins: &Pins) -> Result<()> {
        if self.is_held() {
            return Ok(());
        }
        let pin = Pin::random();
        self.set_user_pin(context, slot, pins, Some(&pin))?;
        self.held = Some(pin);
        match self.login(context, slot, pins)? {
            None => Ok(()),
            Some(_) => {
                let text = "the user PIN is refused right after it was set";
                Err(BackendError::Pin(text.to_owned()))
            }
        }
    }
}

fn so_pin_refused() -> BackendError {
    let text = "the SO PIN was refused and is not tried again: put the right one in its file or Secret, then restart";
    BackendError::Pin(text.to_owned())
}
