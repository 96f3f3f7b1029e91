//! G6: the PIN follows the record.

use super::hold;
use super::observed::{Material, Observed};
use super::step::{Effect, Move, Step, act};
use super::translate;
use crate::backend::Access;
use crate::softdelete::{Record, Subject};

/// The token that an HSM's record names is opened, or sealed, where it is not. One of the same label and another serial is not it.
pub fn set(o: &Observed, record: &Record, to: Access) -> Move {
    let Subject::Hsm { token } = &record.subject else {
        return Ok(None);
    };
    let Some(token) = token else {
        return Err(hold::record_disagrees(o, "it had a token but names none"));
    };
    match &o.material {
        Material::Token(Some(facts)) if facts.serial == token.serial => {
            let token = translate::token_ref(token);
            match to {
                _ if facts.access == to => Ok(None),
                Access::Open => act(Step::quiet(Effect::UnsealToken(token))),
                Access::Refused => act(Step::quiet(Effect::SealToken(token))),
            }
        }
        Material::Token(_) => Err(hold::missing(o)),
        other => Err(hold::no_material_seen(o, other)),
    }
}
