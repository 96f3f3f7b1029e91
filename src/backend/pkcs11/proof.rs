//! Trials and proofs. A flag read back proves nothing: an object is tried, and what it did is checked outside the module.

use cryptoki::{
    mechanism::{
        Mechanism, MechanismType,
        rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource},
    },
    object::{Attribute, KeyType, ObjectHandle},
    session::Session,
};

use super::{
    error::{Fault, is_refusal},
    objects::{Found, usage},
};
use crate::backend::{BackendError, Class, Fingerprint, PublicKey, Use};

/// The DER that PKCS#1 v1.5 puts before a digest (RFC 8017 section 9.2, note 1).
fn digest_info(digest: &[u8]) -> Result<Vec<u8>, BackendError> {
    let (algorithm, length) = match digest.len() {
        32 => (1, 32),
        48 => (2, 48),
        64 => (3, 64),
        other => {
            let text = format!("a digest of {other} bytes");
            return Err(BackendError::NotSupported(text));
        }
    };
    let sha2 = [0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, algorithm];
    let algorithm = [&[0x30, 13], sha2.as_slice(), &[5, 0]].concat();
    let head = [0x30, 17 + length];
    Ok([&head, algorithm.as_slice(), &[4, length], digest].concat())
}

fn oaep() -> Mechanism<'static> {
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(
        MechanismType::SHA1,
        PkcsMgfType::MGF1_SHA1,
        PkcsOaepSource::empty(),
    ))
}

/// One use of one object.
pub(super) fn act(
    session: &Session,
    handle: ObjectHandle,
    key_type: KeyType,
    what: &Use,
) -> Result<Vec<u8>, Fault> {
    let mechanism = match (key_type, what) {
        (KeyType::EC, Use::Sign { .. }) => Mechanism::Ecdsa,
        (KeyType::RSA, Use::Sign { .. }) => Mechanism::RsaPkcs,
        (KeyType::RSA, _) => oaep(),
        (KeyType::AES, Use::Encrypt { .. } | Use::Decrypt { .. }) => Mechanism::AesCbcPad([0; 16]),
        _ => {
            return Err(
                BackendError::NotSupported("keys of that type don't do that".to_owned()).into(),
            );
        }
    };
    Ok(match what {
        Use::Sign { digest } if key_type == KeyType::RSA => {
            session.sign(&mechanism, handle, &digest_info(digest)?)?
        }
        Use::Sign { digest } => session.sign(&mechanism, handle, digest)?,
        Use::Encrypt { plain } => session.encrypt(&mechanism, handle, plain)?,
        Use::Decrypt { cipher } => session.decrypt(&mechanism, handle, cipher)?,
    })
}

/// What a proof of one object gave.
pub(super) struct Shown {
    pub(super) usable: bool,
    pub(super) proved: Option<Fingerprint>,
}

/// Tries one object. `publics`: the public halves that were found under its id.
pub(super) fn show(
    session: &Session,
    object: &Found,
    publics: &[PublicKey],
) -> Result<Shown, Fault> {
    let usable = lets_itself_be_used(session, object, publics)?;
    let proved = match object.class {
        Class::Public => object.public.as_ref().map(PublicKey::fingerprint),
        _ if usable => material(session, object.handle, object, publics)?,
        _ => through_a_copy(session, object, publics)?,
    };
    Ok(Shown { usable, proved })
}

/// True if any of the ways that the contract names is open.
fn lets_itself_be_used(
    session: &Session,
    object: &Found,
    publics: &[PublicKey],
) -> Result<bool, Fault> {
    let handle = object.handle;
    match object.class {
        Class::Private => {
            let digest = rand::random::<[u8; 32]>().to_vec();
            let signed = allowed(act(session, handle, object.key_type, &Use::Sign { digest }))?;
            Ok(signed || decrypts(session, object, publics)?)
        }
        Class::Secret => {
            let block = [0; 16];
            let encrypted = session.encrypt(&Mechanism::AesEcb, handle, &block);
            let decrypted = session.decrypt(&Mechanism::AesEcb, handle, &block);
            Ok(
                allowed(encrypted.map_err(Trial::from))?
                    || allowed(decrypted.map_err(Trial::from))?,
            )
        }
        Class::Public => public_lets(session, object),
    }
}

/// Without a public half there is no text that it could decrypt; its signature was tried. One of another pair under the same id gives a text of
/// which the module says nothing certain.
fn decrypts(session: &Session, object: &Found, publics: &[PublicKey]) -> Result<bool, Fault> {
    let mut unclear = None;
    for cipher in publics.iter().filter_map(|it| it.encrypt_oaep(b"trial")) {
        match allowed(act(
            session,
            object.handle,
            object.key_type,
            &Use::Decrypt { cipher },
        )) {
            Ok(decrypted) => return Ok(decrypted),
            Err(fault) => unclear = Some(fault),
        }
    }
    unclear.map_or(Ok(false), Err)
}

fn public_lets(session: &Session, object: &Found) -> Result<bool, Fault> {
    let (mechanism, length) = match &object.public {
        Some(PublicKey::Rsa { n, .. }) => (Mechanism::RsaPkcs, n.len()),
        Some(PublicKey::Ec { curve, .. }) => (Mechanism::Ecdsa, 2 * curve.bytes()),
        None => return Ok(false),
    };
    // A signature that cannot be right: only whether the module would look at it counts.
    let verified = session.verify(&mechanism, object.handle, &[1; 32], &vec![1; length]);
    let verifies = match verified {
        Err(error) if is_refusal(&error) => false,
        Err(error) if is_bad_signature(&error) => true,
        Err(error) => return Err(error.into()),
        Ok(()) => true,
    };
    if object.key_type != KeyType::RSA {
        return Ok(verifies);
    }
    let encrypted = session.encrypt(&oaep(), object.handle, b"trial");
    Ok(allowed(encrypted.map_err(Trial::from))? || verifies)
}

fn is_bad_signature(error: &cryptoki::error::Error) -> bool {
    use cryptoki::error::{Error, RvError::*};
    matches!(
        error,
        Error::Pkcs11(SignatureInvalid | SignatureLenRange, _)
    )
}

/// A failed trial: refused by the key's flag, or by something else.
struct Trial {
    refused: bool,
    fault: Fault,
}

impl From<cryptoki::error::Error> for Trial {
    fn from(error: cryptoki::error::Error) -> Self {
        Trial {
            refused: is_refusal(&error),
            fault: error.into(),
        }
    }
}

impl From<Fault> for Trial {
    fn from(fault: Fault) -> Self {
        Trial {
            refused: fault.error == BackendError::Refused,
            fault,
        }
    }
}

/// Whether a trial went through; what is neither yes nor no is an error.
fn allowed(trial: Result<Vec<u8>, impl Into<Trial>>) -> Result<bool, Fault> {
    match trial.map_err(Into::into) {
        Ok(_) => Ok(true),
        Err(Trial { refused: true, .. }) => Ok(false),
        Err(Trial { fault, .. }) => Err(fault),
    }
}

/// Proves sealed material by a copy that lives in this session only, with its usage on.
fn through_a_copy(
    session: &Session,
    object: &Found,
    publics: &[PublicKey],
) -> Result<Option<Fingerprint>, Fault> {
    let mut template = vec![Attribute::Token(false)];
    template.extend(usage(object.class, object.key_type, true));
    let copy = session.copy_object(object.handle, &template)?;
    let proved = material(session, copy, object, publics);
    session.destroy_object(copy)?;
    match proved {
        // The copy took the flags over, so the material cannot be shown.
        Err(fault) if fault.error == BackendError::Refused => Ok(None),
        proved => proved,
    }
}

/// What material stands behind `handle`: the original's own, or its session copy's.
fn material(
    session: &Session,
    handle: ObjectHandle,
    object: &Found,
    publics: &[PublicKey],
) -> Result<Option<Fingerprint>, Fault> {
    if object.class == Class::Secret {
        let block = session.encrypt(&Mechanism::AesEcb, handle, &[0; 16])?;
        let value = block.get(..8).and_then(|it| it.try_into().ok());
        return Ok(value.map(Fingerprint::CheckValue));
    }
    let digest = rand::random::<[u8; 32]>().to_vec();
    let what = Use::Sign {
        digest: digest.clone(),
    };
    let signature = act(session, handle, object.key_type, &what)?;
    let Some(public) = publics.iter().find(|it| it.verifies(&digest, &signature)) else {
        return Ok(None);
    };
    // An RSA key has to decrypt the known answer as well.
    if let Some(cipher) = public.encrypt_oaep(&digest) {
        let plain = act(session, handle, object.key_type, &Use::Decrypt { cipher })?;
        if plain != digest {
            return Ok(None);
        }
    }
    Ok(Some(public.fingerprint()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_info_is_the_rfcs() {
        let info = digest_info(&[7; 32]).unwrap();
        let prefix = [
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x01, 0x05, 0x00, 0x04, 0x20,
        ];
        assert_eq!(info, [prefix.as_slice(), &[7; 32]].concat());
        assert_eq!(digest_info(&[7; 48]).unwrap()[..2], [0x30, 0x41]);
        assert_eq!(digest_info(&[7; 64]).unwrap()[..2], [0x30, 0x51]);
        assert!(digest_info(&[7; 20]).is_err());
    }
}
