//! What a module's ledger notes of its tokens beside the records: which provisioned token is whose, where C_InitToken can make none, and which
//! tokens the operator itself refuses to use, where C_InitPIN can seal none.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use super::{locked, objects, rack::Rack, shelf::TokenShelf};
use crate::backend::{BackendError, Result, TokenLabel, TokenRef, ledger::shelf::ShelfLedger};

/// `owner/<label of ours>`: the serial and the label of the provisioned token.
const OWNER: &str = "owner/";
/// `sealed/<label of ours>`: it is refused.
const SEALED: &str = "sealed/";

pub(super) struct Desk {
    pub(super) notes: Arc<ShelfLedger<TokenShelf>>,
    /// Labels of the tokens that were made outside, for HSMs. None: C_InitToken makes them.
    pub(super) provisioned: Option<Vec<String>>,
    /// C_InitPIN cannot seal: the operator alone refuses.
    pub(super) refuses: bool,
    /// Uses hold it for reading, a seal for writing: none is under way when it says that it is sealed.
    gate: RwLock<()>,
    /// Sealed ones that are open for their destruction, until the process ends.
    opened: Mutex<HashSet<TokenLabel>>,
    assigning: Mutex<()>,
}

impl Desk {
    pub(super) fn new(
        notes: Arc<ShelfLedger<TokenShelf>>,
        provisioned: Option<Vec<String>>,
        refuses: bool,
    ) -> Self {
        Self {
            notes,
            provisioned,
            refuses,
            gate: RwLock::default(),
            opened: Mutex::default(),
            assigning: Mutex::default(),
        }
    }

    // ---- provisioned tokens ----

    /// The token that has that label of ours. None: it has none.
    pub(super) fn owned(&self, rack: &Rack, label: &TokenLabel) -> Result<Option<TokenRef>> {
        let Some(real) = self.owner(label)? else {
            return Ok(None);
        };
        let mut shown = rack.all()?;
        shown.tokens.retain(|(_, token)| *token == real);
        match (shown.tokens.pop(), shown.silent) {
            (Some((_, token)), _) => Ok(Some(token)),
            (None, None) => Ok(None),
            // It may be the one that does not answer.
            (None, Some(error)) => Err(BackendError::Unavailable(error.to_string())),
        }
    }

    fn owner(&self, label: &TokenLabel) -> Result<Option<TokenRef>> {
        let noted = self.notes.noted(&format!("{OWNER}{}", label.0))?;
        noted.map(|bytes| named(&bytes)).transpose()
    }

    /// Gives a free provisioned token that label, and answers it.
    pub(super) fn assign(
        &self,
        rack: &Rack,
        provisioned: &[String],
        label: &TokenLabel,
    ) -> Result<TokenRef> {
        let _assigning = locked(&self.assigning);
        match (self.owned(rack, label)?, self.owner(label)?) {
            (Some(real), _) => return Ok(real),
            // What has one gets no other, wherever that is now.
            (None, Some(real)) => {
                return Err(BackendError::Unavailable(format!(
                    "the token {} with serial {}, which was given to it, is not there",
                    real.label.0, real.serial
                )));
            }
            (None, None) => {}
        }
        let taken = self.owners()?;
        for (_, token) in rack.all()?.tokens {
            let free = provisioned.contains(&token.label.0)
                && !taken.iter().any(|(_, other)| *other == token);
            if free && is_ready(rack, &token)? {
                let note = format!("{}\n{}", token.serial, token.label.0);
                self.notes
                    .note(&format!("{OWNER}{}", label.0), note.as_bytes())?;
                return self.not_twice(label, token);
            }
        }
        Err(BackendError::Full(
            "each of the tokens for HSMs is taken, holds something, or refuses the PIN".to_owned(),
        ))
    }

    /// Somebody else may have given it away at the same time: then neither has it.
    fn not_twice(&self, label: &TokenLabel, token: TokenRef) -> Result<TokenRef> {
        let mut owners = self.owners()?.into_iter();
        if owners.any(|(other, owned)| owned == token && other != *label) {
            self.notes.unnote(&format!("{OWNER}{}", label.0))?;
            return Err(BackendError::Unavailable(
                "another operator took the same token at the same time".to_owned(),
            ));
        }
        Ok(token)
    }

    /// Labels of ours that provisioned tokens have.
    pub(super) fn owners(&self) -> Result<Vec<(TokenLabel, TokenRef)>> {
        let noted = self.notes.notes(OWNER)?.into_iter();
        noted
            .map(|(label, bytes)| Ok((TokenLabel(label), named(&bytes)?)))
            .collect()
    }

    /// An empty token is free again, and takes our PIN.
    pub(super) fn give_back(&self, rack: &Rack, label: &TokenLabel, real: &TokenRef) -> Result<()> {
        rack.unseal(real)?;
        self.set_sealed(label, false)?;
        self.notes.unnote(&format!("{OWNER}{}", label.0))
    }

    // ---- what the operator alone refuses ----

    /// Held while a token is used: `Sealed` if it is not to be.
    pub(super) fn may_use(&self, label: &TokenLabel) -> Result<Option<RwLockReadGuard<'_, ()>>> {
        if !self.refuses {
            return Ok(None);
        }
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        if self.is_refused(label)? {
            return Err(BackendError::Sealed);
        }
        Ok(Some(gate))
    }

    pub(super) fn is_refused(&self, label: &TokenLabel) -> Result<bool> {
        if !self.refuses || locked(&self.opened).contains(label) {
            return Ok(false);
        }
        let noted = self.notes.noted(&format!("{SEALED}{}", label.0))?;
        Ok(noted.is_some())
    }

    pub(super) fn set_sealed(&self, label: &TokenLabel, sealed: bool) -> Result<()> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        locked(&self.opened).remove(label);
        let name = format!("{SEALED}{}", label.0);
        match (sealed, self.notes.noted(&name)?) {
            (true, None) => self.notes.note(&name, b"sealed"),
            (false, Some(_)) => self.notes.unnote(&name),
            _ => Ok(()),
        }
    }

    /// Only this process uses it, only to destroy what is in it.
    pub(super) fn open_for_destruction(&self, label: &TokenLabel) {
        locked(&self.opened).insert(label.clone());
    }
}

fn named(note: &[u8]) -> Result<TokenRef> {
    let text = String::from_utf8_lossy(note);
    match text.split_once('\n') {
        Some((serial, label)) => Ok(TokenRef {
            label: TokenLabel(label.to_owned()),
            serial: serial.to_owned(),
        }),
        None => Err(BackendError::Unavailable(
            "the ledger's token holds a note of a token that cannot be read".to_owned(),
        )),
    }
}

/// It takes our PIN, and nothing of anybody's is in it.
fn is_ready(rack: &Rack, token: &TokenRef) -> Result<bool> {
    rack.finish(token)?;
    match rack.session(token, objects::count) {
        Ok(left) => Ok(left == 0),
        Err(BackendError::Sealed | BackendError::NotThere(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
