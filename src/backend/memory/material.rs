//! What stands for key material: 32 random bytes, from which all else of a key follows. EC keys are real ones and their
//! signatures verify outside; RSA and AES are simulated (an RSA key takes seconds to make), but depend on the bytes all the same.

use sha2::{Digest, Sha256};

use crate::backend::{
    Algorithm, BackendError, PublicKey, Result, Use,
    jwk::{padded, widened},
};

/// Length of the nonce and of the tag around a simulated cipher text.
const EDGE: usize = 16;

/// The identity of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) bytes: [u8; 32],
    pub(super) algorithm: Algorithm,
    /// Kept, since it takes milliseconds to compute.
    pub(super) public: Option<PublicKey>,
}

impl Material {
    pub(super) fn new(bytes: [u8; 32], algorithm: Algorithm) -> Self {
        Self {
            bytes,
            algorithm,
            public: public(&bytes, algorithm),
        }
    }

    pub(super) fn check_value(&self) -> [u8; 8] {
        let mut value = [0; 8];
        value.copy_from_slice(&stream(&[b"check value", &self.bytes], 8));
        value
    }

    pub(super) fn act(&self, what: &Use, nonce: [u8; EDGE]) -> Result<Vec<u8>> {
        match (self.algorithm.kty(), what) {
            ("EC", Use::Sign { digest }) => sign_ec(&self.bytes, self.algorithm, digest),
            ("RSA", Use::Sign { digest }) => Ok(stream(
                &[b"signature", &self.bytes, digest],
                self.algorithm.bytes(),
            )),
            ("RSA" | "oct", Use::Encrypt { plain }) => Ok(self.seal(plain, nonce)),
            ("RSA" | "oct", Use::Decrypt { cipher }) => self.open(cipher),
            (kty, _) => Err(BackendError::NotSupported(format!(
                "{kty} keys don't do that"
            ))),
        }
    }

    /// nonce, masked text, tag.
    fn seal(&self, plain: &[u8], nonce: [u8; EDGE]) -> Vec<u8> {
        let tag = stream(&[b"tag", &self.bytes, &nonce, plain], EDGE);
        [nonce.as_slice(), &self.mask(&nonce, plain), &tag].concat()
    }

    fn open(&self, cipher: &[u8]) -> Result<Vec<u8>> {
        let wrong = || BackendError::NotSupported("this is no cipher text of this key".to_owned());
        let (nonce, rest) = cipher.split_at_checked(EDGE).ok_or_else(wrong)?;
        let (masked, tag) = rest
            .split_at_checked(rest.len().saturating_sub(EDGE))
            .ok_or_else(wrong)?;
        let plain = self.mask(nonce, masked);
        if stream(&[b"tag", &self.bytes, nonce, &plain], EDGE) == tag {
            Ok(plain)
        } else {
            Err(wrong())
        }
    }

    fn mask(&self, nonce: &[u8], text: &[u8]) -> Vec<u8> {
        let mask = stream(&[b"mask", &self.bytes, nonce], text.len());
        text.iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect()
    }
}

/// As many bytes as asked for, a function of all parts.
fn stream(parts: &[&[u8]], length: usize) -> Vec<u8> {
    let mut seed = Sha256::new();
    for part in parts {
        seed.update(part.len().to_be_bytes());
        seed.update(part);
    }
    let seed = seed.finalize();
    let block = |number: usize| {
        Sha256::new()
            .chain_update(seed)
            .chain_update(number.to_be_bytes())
            .finalize()
    };
    (0..length.div_ceil(32))
        .flat_map(block)
        .take(length)
        .collect()
}

fn public(bytes: &[u8; 32], algorithm: Algorithm) -> Option<PublicKey> {
    match algorithm.kty() {
        "RSA" => {
            let mut n = stream(&[b"modulus", bytes], algorithm.bytes());
            // Of the full size, and odd, as a modulus is.
            *n.first_mut()? |= 0x80;
            *n.last_mut()? |= 1;
            Some(PublicKey::Rsa {
                n,
                e: vec![1, 0, 1],
            })
        }
        "EC" => ec(bytes, algorithm),
        _ => None,
    }
}

/// A scalar below every curve's order: its first byte is zero, so is not its last.
fn scalar(bytes: &[u8; 32], algorithm: Algorithm) -> Vec<u8> {
    let mut short = stream(&[b"scalar", bytes], 31);
    short[30] |= 1;
    padded(&short, algorithm.bytes())
}

macro_rules! curves {
    ($($algorithm:ident => $curve:ident),*) => {
        fn ec(bytes: &[u8; 32], algorithm: Algorithm) -> Option<PublicKey> {
            match algorithm {
                $(Algorithm::$algorithm => {
                    let key = $curve::ecdsa::SigningKey::from_slice(&scalar(bytes, algorithm)).ok()?;
                    let point = $curve::ecdsa::VerifyingKey::from(&key).to_encoded_point(false);
                    Some(PublicKey::Ec { curve: algorithm, x: point.x()?.to_vec(), y: point.y()?.to_vec() })
                })*
                _ => None,
            }
        }

        fn sign_ec(bytes: &[u8; 32], algorithm: Algorithm, digest: &[u8]) -> Result<Vec<u8>> {
            let digest = widened(digest, algorithm.bytes());
            let failed = |_| BackendError::NotSupported("a digest of that length".to_owned());
            match algorithm {
                $(Algorithm::$algorithm => {
                    use $curve::ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner};
                    let key = SigningKey::from_slice(&scalar(bytes, algorithm)).map_err(failed)?;
                    let signature: Signature = key.sign_prehash(&digest).map_err(failed)?;
                    Ok(signature.to_bytes().to_vec())
                })*
                _ => Err(BackendError::NotSupported("not an EC key".to_owned())),
            }
        }
    };
}

curves!(P256 => p256, P384 => p384, P521 => p521);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ec_signatures_verify_outside_and_with_no_other_key() {
        for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::P521] {
            let (one, two) = (
                Material::new([1; 32], algorithm),
                Material::new([2; 32], algorithm),
            );
            let signature = one
                .act(
                    &Use::Sign {
                        digest: vec![9; 32],
                    },
                    [0; EDGE],
                )
                .unwrap();
            assert!(
                one.public.unwrap().verifies(&[9; 32], &signature),
                "{algorithm:?}"
            );
            assert!(
                !two.public.unwrap().verifies(&[9; 32], &signature),
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn only_the_same_material_decrypts() {
        let (one, two) = (
            Material::new([1; 32], Algorithm::Aes128),
            Material::new([2; 32], Algorithm::Aes128),
        );
        let cipher = one
            .act(
                &Use::Encrypt {
                    plain: b"hello".to_vec(),
                },
                [7; EDGE],
            )
            .unwrap();
        assert_eq!(
            one.act(
                &Use::Decrypt {
                    cipher: cipher.clone()
                },
                [0; EDGE]
            ),
            Ok(b"hello".to_vec())
        );
        assert!(two.act(&Use::Decrypt { cipher }, [0; EDGE]).is_err());
        assert_ne!(one.check_value(), two.check_value());
    }
}
