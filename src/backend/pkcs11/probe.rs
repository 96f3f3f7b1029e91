//! What a module can seal, tried on a token that holds nothing of anybody's: never read off a flag, a version or a vendor's name.

use crate::backend::{
    Access, Algorithm, Assurance, BackendError, Depth, Handle, HsmBackend, Mark, MaterialId,
    ObjectFacts, Result, TokenRef,
};

/// Tries both seals on the scratch token. An error is an outage, and no verdict.
pub(super) fn probe(backend: &dyn HsmBackend, scratch: &TokenRef) -> Result<Assurance> {
    clear(backend, scratch)?;
    let mut seals_keys = true;
    for algorithm in [Algorithm::P256, Algorithm::Aes256] {
        let id = MaterialId(rand::random());
        let sealed = can(seals_a_key(backend, scratch, id, algorithm))?;
        seals_keys = seals_keys && sealed;
    }
    clear(backend, scratch)?;
    let seals_hsms = can(seals_a_token(backend, scratch))?;
    Ok(Assurance {
        seals_keys,
        seals_hsms,
    })
}

/// A module that has no such function, or refuses it, cannot do it.
fn can(tried: Result<bool>) -> Result<bool> {
    match tried {
        Err(BackendError::NotSupported(why) | BackendError::Pin(why)) => {
            tracing::info!(why, "the module refuses what a seal needs");
            Ok(false)
        }
        Err(BackendError::Refused | BackendError::DeadHandle | BackendError::Sealed) => Ok(false),
        tried => tried,
    }
}

/// K1: the copy with its usage off refuses every use and proves to be the same; the copy of that with its usage on works.
fn seals_a_key(
    backend: &dyn HsmBackend,
    token: &TokenRef,
    id: MaterialId,
    algorithm: Algorithm,
) -> Result<bool> {
    backend.generate(token, id, algorithm)?;
    let look = || backend.objects(token, &[id], Depth::Proof);
    for original in look()? {
        let sealed = backend.copy(token, original.handle, Mark::Deleted)?;
        if !is_copy(&look()?, sealed, &original, false) {
            return Ok(false);
        }
        let opened = backend.copy(token, sealed, Mark::Live)?;
        if !is_copy(&look()?, opened, &original, true) {
            return Ok(false);
        }
        backend.destroy(token, opened)?;
        // A handle that still works after that would let somebody who was paused use what is sealed.
        if backend.destroy(token, opened) != Err(BackendError::DeadHandle) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_copy(found: &[ObjectFacts], copy: Handle, of: &ObjectFacts, usable: bool) -> bool {
    let same = |it: &&ObjectFacts| it.handle == copy && it.proved.is_some();
    let copied = found.iter().find(same);
    copied.is_some_and(|it| it.proved == of.proved && it.usable == Some(usable))
}

/// T2: after C_InitPIN by the SO our PIN is refused, and after another one it opens again.
fn seals_a_token(backend: &dyn HsmBackend, token: &TokenRef) -> Result<bool> {
    backend.seal_token(token)?;
    let sealed = backend.token(&token.label)?;
    backend.unseal_token(token)?;
    let opened = backend.token(&token.label)?;
    Ok(sealed.is_some_and(|it| it.access == Access::Refused)
        && opened.is_some_and(|it| it.access == Access::Open))
}

/// What an earlier try left, if it was killed: the token is known to be ours to try on.
fn clear(backend: &dyn HsmBackend, token: &TokenRef) -> Result<()> {
    if backend
        .token(&token.label)?
        .is_some_and(|it| it.access == Access::Refused)
    {
        backend.unseal_token(token)?;
    }
    for object in backend.inventory(token)? {
        match backend.destroy(token, object.handle) {
            Ok(()) | Err(BackendError::DeadHandle) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
