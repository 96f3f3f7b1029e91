//! Where a fresh slot comes from, and where one goes that is done with.

use cryptoki::{context::Pkcs11, slot::Slot};

use super::{error::translate, pins::Pin};
use crate::backend::{BackendError, Result, TokenLabel, store::Contents};

/// The supply of slots behind a module.
pub(super) trait Slots: Send + Sync {
    /// Why the token of that label is out of reach though its store is there.
    fn damaged(&self, _label: &TokenLabel) -> Option<String> {
        None
    }

    /// Whether a slot was given back and is to be passed over.
    fn is_retired(&self, _slot: Slot) -> bool {
        false
    }

    /// A slot without a token, for one of that label. `Full` if there is none.
    fn fresh(&self, context: &Pkcs11, label: &TokenLabel) -> Result<Slot>;

    /// C_InitToken failed in this fresh slot: whatever it left is put away.
    fn discard(&self, _slot: Slot) {}

    /// The files that its tokens and the ledger are in. None: they are in the module.
    fn contents(&self) -> Option<Contents> {
        None
    }

    /// Takes back the slot of an empty token.
    fn release(&self, context: &Pkcs11, slot: Slot, so: &Pin) -> Result<()>;
}

/// The slots that a module has of itself (a network HSM's partitions, SoftHSM's).
pub(super) struct Provisioned;

/// The label of a token that was given back.
const FREE: &str = "free";

impl Slots for Provisioned {
    fn fresh(&self, context: &Pkcs11, _label: &TokenLabel) -> Result<Slot> {
        let is_free = |slot: &Slot| {
            let info = context.get_token_info(*slot);
            info.is_ok_and(|it| !it.token_initialized() || it.label() == FREE)
        };
        let slots = context.get_slots_with_token().map_err(translate)?;
        slots
            .into_iter()
            .find(is_free)
            .ok_or_else(|| BackendError::Full("the module has no free slot".to_owned()))
    }

    fn release(&self, context: &Pkcs11, slot: Slot, so: &Pin) -> Result<()> {
        context.init_token(slot, so.auth(), FREE).map_err(translate)
    }
}
