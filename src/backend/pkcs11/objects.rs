//! Objects as the module shows them: labels, templates, and what can be read of a key.

use cryptoki::{
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
    types::Ulong,
};

use super::error::Fault;
use crate::backend::{Algorithm, BackendError, Class, Mark, MaterialId, PublicKey};

/// What keys are made of.
const KEYS: [Class; 3] = [Class::Private, Class::Public, Class::Secret];

/// One object of ours in a token.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) handle: ObjectHandle,
    pub(super) id: MaterialId,
    pub(super) class: Class,
    pub(super) key_type: KeyType,
    /// None: the label is none of ours.
    pub(super) mark: Option<Mark>,
    pub(super) public: Option<PublicKey>,
}

/// The DER of a named curve (RFC 5480 section 2.1.1.1).
fn curve_der(curve: Algorithm) -> &'static [u8] {
    match curve {
        Algorithm::P256 => &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
        Algorithm::P384 => &[6, 5, 0x2b, 0x81, 4, 0, 0x22],
        Algorithm::P521 => &[6, 5, 0x2b, 0x81, 4, 0, 0x23],
        _ => &[],
    }
}

/// `p:<id>`, `k:<id>`, `d:<id>`.
pub(super) fn label(mark: Mark, id: MaterialId) -> Vec<u8> {
    let letter = match mark {
        Mark::Pending => 'p',
        Mark::Live => 'k',
        Mark::Deleted => 'd',
    };
    format!("{letter}:{id}").into_bytes()
}

fn mark_of(text: &[u8], id: MaterialId) -> Option<Mark> {
    [Mark::Pending, Mark::Live, Mark::Deleted]
        .into_iter()
        .find(|mark| label(*mark, id) == text)
}

fn class_of(class: ObjectClass) -> Option<Class> {
    match class {
        ObjectClass::PRIVATE_KEY => Some(Class::Private),
        ObjectClass::PUBLIC_KEY => Some(Class::Public),
        ObjectClass::SECRET_KEY => Some(Class::Secret),
        _ => None,
    }
}

pub(super) fn object_class(class: Class) -> ObjectClass {
    match class {
        Class::Private => ObjectClass::PRIVATE_KEY,
        Class::Public => ObjectClass::PUBLIC_KEY,
        Class::Secret => ObjectClass::SECRET_KEY,
    }
}

/// What a live key of that kind may do (`on`), or what a sealed one may not; never more than the contract uses.
pub(super) fn usage(class: Class, key_type: KeyType, on: bool) -> Vec<Attribute> {
    let rsa = on && key_type == KeyType::RSA;
    match class {
        Class::Private => vec![
            Attribute::Sign(on),
            Attribute::Decrypt(rsa),
            Attribute::SignRecover(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ],
        Class::Public => vec![
            Attribute::Verify(on),
            Attribute::Encrypt(rsa),
            Attribute::VerifyRecover(false),
            Attribute::Wrap(false),
        ],
        Class::Secret => vec![
            Attribute::Encrypt(on),
            Attribute::Decrypt(on),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ],
    }
}

/// What every key object of ours is born with: it lies in the token, behind the login, and its label may change.
pub(super) fn born(id: MaterialId, class: Class, key_type: KeyType) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Modifiable(true),
        Attribute::Id(id.0.to_vec()),
        Attribute::Label(label(Mark::Pending, id)),
    ];
    if class != Class::Public {
        template.extend([Attribute::Sensitive(true), Attribute::Extractable(false)]);
    }
    template.extend(usage(class, key_type, true));
    template
}

/// The attributes that make the algorithm, for the half or key that carries them at generation.
pub(super) fn shape(algorithm: Algorithm) -> Result<Vec<Attribute>, Fault> {
    let number = |it: usize| Ulong::try_from(it).map_err(Fault::from);
    Ok(match algorithm.kty() {
        "RSA" => vec![
            Attribute::ModulusBits(number(algorithm.bits())?),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ],
        "EC" => vec![Attribute::EcParams(curve_der(algorithm).to_vec())],
        _ => vec![Attribute::ValueLen(number(algorithm.bytes())?)],
    })
}

/// Every object in the token with that CKA_ID, of whatever label. Session objects are no part of it.
pub(super) fn with_id(session: &Session, id: MaterialId) -> Result<Vec<Found>, Fault> {
    let template = [Attribute::Token(true), Attribute::Id(id.0.to_vec())];
    all(session, &template)
}

/// Every key object in the token.
pub(super) fn keys(session: &Session) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    for class in KEYS {
        let template = [
            Attribute::Token(true),
            Attribute::Class(object_class(class)),
        ];
        found.extend(all(session, &template)?);
    }
    Ok(found)
}

/// How many key objects there are in the token, ours or not.
pub(super) fn count(session: &Session) -> Result<usize, Fault> {
    count_of(session, &KEYS)
}

/// Those of these classes alone. None is read: a soft token may scan all of them for each.
pub(super) fn count_of(session: &Session, classes: &[Class]) -> Result<usize, Fault> {
    let mut count = 0;
    for class in classes {
        let template = [
            Attribute::Token(true),
            Attribute::Class(object_class(*class)),
        ];
        count += session.find_objects(&template)?.len();
    }
    Ok(count)
}

fn all(session: &Session, template: &[Attribute]) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    for handle in session.find_objects(template)? {
        match read(session, handle) {
            Ok(Some(object)) => found.push(object),
            // No key of a kind that could be ours.
            Ok(None) => {}
            // Destroyed by somebody else since it was found.
            Err(fault) if fault.error == BackendError::DeadHandle => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(found)
}

/// Reads one object. None: it is no key, or its CKA_ID none of ours.
pub(super) fn read(session: &Session, handle: ObjectHandle) -> Result<Option<Found>, Fault> {
    let wanted = [
        AttributeType::Class,
        AttributeType::KeyType,
        AttributeType::Id,
        AttributeType::Label,
    ];
    let (mut class, mut kind, mut id, mut text) = (None, None, None, Vec::new());
    for attribute in session.get_attributes(handle, &wanted)? {
        match attribute {
            Attribute::Class(it) => class = class_of(it),
            Attribute::KeyType(it) => kind = Some(it),
            Attribute::Id(it) => id = it.try_into().ok().map(MaterialId),
            Attribute::Label(it) => text = it,
            _ => {}
        }
    }
    let (Some(class), Some(key_type), Some(id)) = (class, kind, id) else {
        return Ok(None);
    };
    let public = match class {
        Class::Public => public_key(session, handle, key_type)?,
        _ => None,
    };
    let mark = mark_of(&text, id);
    Ok(Some(Found {
        handle,
        id,
        class,
        key_type,
        mark,
        public,
    }))
}

fn public_key(
    session: &Session,
    handle: ObjectHandle,
    key_type: KeyType,
) -> Result<Option<PublicKey>, Fault> {
    let wanted: &[AttributeType] = match key_type {
        KeyType::RSA => &[AttributeType::Modulus, AttributeType::PublicExponent],
        KeyType::EC => &[AttributeType::EcParams, AttributeType::EcPoint],
        _ => return Ok(None),
    };
    let read = session.get_attributes(handle, wanted)?;
    Ok(match read.as_slice() {
        [Attribute::Modulus(n), Attribute::PublicExponent(e)] => Some(PublicKey::Rsa {
            n: n.clone(),
            e: e.clone(),
        }),
        [Attribute::EcParams(curve), Attribute::EcPoint(point)] => ec_key(curve, point),
        _ => None,
    })
}

/// The point is bare (PKCS#11 3.x allows it, kryoptic does it) or in a DER OCTET STRING (2.40).
fn ec_key(curve: &[u8], point: &[u8]) -> Option<PublicKey> {
    let curve = [Algorithm::P256, Algorithm::P384, Algorithm::P521]
        .into_iter()
        .find(|it| curve_der(*it) == curve)?;
    let bare = 1 + 2 * curve.bytes();
    // The wrapping is two bytes, or three above 127.
    let point = &point[point.len().checked_sub(bare)?..];
    let (&first, coordinates) = point.split_first()?;
    let (x, y) = coordinates.split_at(curve.bytes());
    (first == 4).then(|| PublicKey::Ec {
        curve,
        x: x.to_vec(),
        y: y.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_reads_back_only_with_its_own_id() {
        let (one, two) = (MaterialId([1; 16]), MaterialId([2; 16]));
        for mark in [Mark::Pending, Mark::Live, Mark::Deleted] {
            assert_eq!(mark_of(&label(mark, one), one), Some(mark));
            assert_eq!(mark_of(&label(mark, one), two), None);
        }
        assert_eq!(
            label(Mark::Live, one),
            b"k:01010101010101010101010101010101"
        );
        assert_eq!(mark_of(b"somebody else's", one), None);
    }

    #[test]
    fn a_point_is_read_bare_and_wrapped() {
        for curve in [Algorithm::P256, Algorithm::P384, Algorithm::P521] {
            let (x, y) = (vec![1; curve.bytes()], vec![2; curve.bytes()]);
            let bare = [&[4], x.as_slice(), &y].concat();
            let wrapped = match bare.len() {
                length @ 0..=127 => [&[4, length as u8], bare.as_slice()].concat(),
                length => [&[4, 0x81, length as u8], bare.as_slice()].concat(),
            };
            let key = Some(PublicKey::Ec { curve, x, y });
            assert_eq!(ec_key(curve_der(curve), &bare), key);
            assert_eq!(ec_key(curve_der(curve), &wrapped), key);
        }
        assert_eq!(ec_key(curve_der(Algorithm::P256), &[4; 10]), None);
    }

    #[test]
    fn nothing_sealed_keeps_a_usage() {
        for class in [Class::Private, Class::Public, Class::Secret] {
            for attribute in usage(class, KeyType::RSA, false) {
                assert!(!format!("{attribute:?}").contains("true"), "{attribute:?}");
            }
        }
    }
}
