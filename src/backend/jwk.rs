//! Public keys and fingerprints outside the module: JWK (RFC 7517, 7518), thumbprints (RFC 7638), and the checks that
//! need a public key only, so that a proof never rests on the module's own word.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{BigUint, Oaep, Pkcs1v15Sign, RsaPublicKey, traits::PublicKeyParts};
use sha2::{Digest, Sha256};

use super::{Algorithm, Fingerprint, PublicKey};

/// The prefix of a check value's text form.
const CHECK_VALUE_PREFIX: &str = "kcv:";

impl Algorithm {
    /// All that the contract knows.
    pub const ALL: [Algorithm; 9] = [
        Algorithm::Rsa2048,
        Algorithm::Rsa3072,
        Algorithm::Rsa4096,
        Algorithm::P256,
        Algorithm::P384,
        Algorithm::P521,
        Algorithm::Aes128,
        Algorithm::Aes192,
        Algorithm::Aes256,
    ];

    /// The JWK `kty`: `RSA`, `EC` or `oct` (RFC 7518 section 6.1).
    pub fn kty(self) -> &'static str {
        match self {
            Algorithm::Rsa2048 | Algorithm::Rsa3072 | Algorithm::Rsa4096 => "RSA",
            Algorithm::P256 | Algorithm::P384 | Algorithm::P521 => "EC",
            Algorithm::Aes128 | Algorithm::Aes192 | Algorithm::Aes256 => "oct",
        }
    }

    /// The JWK `crv` of an elliptic curve (RFC 7518 section 6.2.1.1).
    pub fn curve(self) -> Option<&'static str> {
        match self {
            Algorithm::P256 => Some("P-256"),
            Algorithm::P384 => Some("P-384"),
            Algorithm::P521 => Some("P-521"),
            _ => None,
        }
    }

    /// Modulus, field, or key size in bits.
    pub fn bits(self) -> usize {
        match self {
            Algorithm::Rsa2048 => 2048,
            Algorithm::Rsa3072 => 3072,
            Algorithm::Rsa4096 => 4096,
            Algorithm::P256 | Algorithm::Aes256 => 256,
            Algorithm::P384 => 384,
            Algorithm::P521 => 521,
            Algorithm::Aes128 => 128,
            Algorithm::Aes192 => 192,
        }
    }

    /// The same in bytes, rounded up: the length of a modulus, of a coordinate, of a key.
    pub fn bytes(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// The RSA algorithm of that modulus size.
    pub fn rsa(bits: usize) -> Option<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .find(|it| it.kty() == "RSA" && it.bits() == bits)
    }

    /// The curve of that JWK name.
    pub fn ec(crv: &str) -> Option<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .find(|it| it.curve() == Some(crv))
    }

    /// The AES key of that size.
    pub fn oct(bits: usize) -> Option<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .find(|it| it.kty() == "oct" && it.bits() == bits)
    }
}

impl PublicKey {
    /// The JWK members that RFC 7638 hashes, in the order it wants: by name, without white space.
    fn members(&self) -> Vec<(&'static str, String)> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            PublicKey::Rsa { n, e } => {
                vec![
                    ("e", text(trim(e))),
                    ("kty", "RSA".to_owned()),
                    ("n", text(trim(n))),
                ]
            }
            PublicKey::Ec { curve, x, y } => vec![
                ("crv", curve.curve().unwrap_or_default().to_owned()),
                ("kty", "EC".to_owned()),
                ("x", text(&padded(x, curve.bytes()))),
                ("y", text(&padded(y, curve.bytes()))),
            ],
        }
    }

    /// The key as a JWK object with its required members: `kty` with `n`, `e`, or with `crv`, `x`, `y`.
    pub fn to_jwk(&self) -> serde_json::Map<String, serde_json::Value> {
        self.members()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }

    /// The key that a JWK object shows; None if it is none of ours, or not whole.
    pub fn from_jwk(jwk: &serde_json::Map<String, serde_json::Value>) -> Option<PublicKey> {
        let text = |name: &str| jwk.get(name).and_then(|it| it.as_str());
        let bytes = |name: &str| text(name).and_then(|it| URL_SAFE_NO_PAD.decode(it).ok());
        match text("kty")? {
            "RSA" => Some(PublicKey::Rsa {
                n: bytes("n")?,
                e: bytes("e")?,
            }),
            "EC" => {
                let curve = Algorithm::ec(text("crv")?)?;
                let (x, y) = (bytes("x")?, bytes("y")?);
                (x.len() == curve.bytes() && y.len() == curve.bytes()).then_some(PublicKey::Ec {
                    curve,
                    x,
                    y,
                })
            }
            _ => None,
        }
    }

    /// RFC 7638 with SHA-256.
    pub fn thumbprint(&self) -> [u8; 32] {
        let members: Vec<String> = self
            .members()
            .iter()
            .map(|(name, value)| format!("\"{name}\":\"{value}\""))
            .collect();
        Sha256::digest(format!("{{{}}}", members.join(","))).into()
    }

    /// What tells this key from others.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::Thumbprint(self.thumbprint())
    }

    /// Whether `signature` is this key's over `digest` (SHA-256, -384 or -512, told by its length): RSA PKCS#1 v1.5, EC raw r||s. Computed here, not in the module.
    pub fn verifies(&self, digest: &[u8], signature: &[u8]) -> bool {
        match self {
            PublicKey::Rsa { n, e } => verify_rsa(n, e, digest, signature),
            PublicKey::Ec { curve, x, y } => {
                let point = [
                    &[4],
                    padded(x, curve.bytes()).as_slice(),
                    padded(y, curve.bytes()).as_slice(),
                ]
                .concat();
                match curve {
                    Algorithm::P256 => verify_ec::p256(&point, digest, signature),
                    Algorithm::P384 => verify_ec::p384(&point, digest, signature),
                    Algorithm::P521 => verify_ec::p521(&point, digest, signature),
                    _ => false,
                }
            }
        }
    }

    /// `plain` under this RSA key, OAEP with SHA-1 and no label: the known answer of a decryption. None for EC, or if it is too long.
    pub fn encrypt_oaep(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let PublicKey::Rsa { n, e } = self else {
            return None;
        };
        // The rsa crate still takes its random numbers by rand_core 0.6, which it brings along.
        rsa_key(n, e)?
            .encrypt(&mut rsa::rand_core::OsRng, Oaep::new::<sha1::Sha1>(), plain)
            .ok()
    }
}

fn rsa_key(n: &[u8], e: &[u8]) -> Option<RsaPublicKey> {
    RsaPublicKey::new_with_max_size(BigUint::from_bytes_be(n), BigUint::from_bytes_be(e), 4096).ok()
}

fn verify_rsa(n: &[u8], e: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    let scheme = match digest.len() {
        32 => Pkcs1v15Sign::new::<Sha256>(),
        48 => Pkcs1v15Sign::new::<sha2::Sha384>(),
        64 => Pkcs1v15Sign::new::<sha2::Sha512>(),
        _ => return false,
    };
    let Some(key) = rsa_key(n, e) else {
        return false;
    };
    signature.len() == key.size() && key.verify(scheme, digest, signature).is_ok()
}

/// One function a curve: their types differ, their text does not.
mod verify_ec {
    macro_rules! curve {
        ($name:ident, $field:literal) => {
            pub fn $name(point: &[u8], digest: &[u8], signature: &[u8]) -> bool {
                use $name::ecdsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier};
                let Ok(key) = VerifyingKey::from_sec1_bytes(point) else {
                    return false;
                };
                let Ok(signature) = Signature::from_slice(signature) else {
                    return false;
                };
                key.verify_prehash(&super::widened(digest, $field), &signature)
                    .is_ok()
            }
        };
    }
    curve!(p256, 32);
    curve!(p384, 48);
    curve!(p521, 66);
}

/// ECDSA reads a short digest as a number: zeros in front change nothing, and the crates want at least half a field of
/// it (33 bytes for P-521).
pub(crate) fn widened(digest: &[u8], field: usize) -> Vec<u8> {
    padded(digest, field.div_ceil(2))
}

/// Without leading zeros, as `Base64urlUInt` wants it.
fn trim(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros.min(number.len().saturating_sub(1))..]
}

/// With leading zeros up to `length`.
pub(crate) fn padded(number: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length.saturating_sub(number.len())];
    bytes.extend_from_slice(number);
    bytes
}

impl std::fmt::Display for Fingerprint {
    /// A thumbprint as base64url without padding (RFC 7638 section 3.1); a check value as `kcv:` and hex.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fingerprint::Thumbprint(hash) => f.write_str(&URL_SAFE_NO_PAD.encode(hash)),
            Fingerprint::CheckValue(value) => {
                f.write_str(CHECK_VALUE_PREFIX)?;
                value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// The text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a base64url thumbprint of 32 bytes nor kcv: and 16 hex digits")]
pub struct NotAFingerprint;

impl std::str::FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let parsed = match text.strip_prefix(CHECK_VALUE_PREFIX) {
            Some(hex) => unhex(hex).map(Fingerprint::CheckValue),
            None => URL_SAFE_NO_PAD
                .decode(text)
                .ok()
                .and_then(|it| it.try_into().ok())
                .map(Fingerprint::Thumbprint),
        };
        parsed.ok_or(NotAFingerprint)
    }
}

impl std::str::FromStr for super::MaterialId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        unhex(text).map(super::MaterialId).ok_or(NotAnId)
    }
}

/// The text is not 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hex digits")]
pub struct NotAnId;

/// Exactly 2·N lower-case hex digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use p521::ecdsa::signature::hazmat::PrehashSigner;

    fn jwk(text: &str) -> PublicKey {
        PublicKey::from_jwk(
            serde_json::from_str::<serde_json::Value>(text)
                .unwrap()
                .as_object()
                .unwrap(),
        )
        .unwrap()
    }

    /// The example of RFC 7638 section 3.1.
    const RFC7638: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

    #[test]
    fn the_thumbprint_of_the_rfcs_example_is_the_rfcs() {
        let fingerprint = jwk(RFC7638).fingerprint();
        assert_eq!(
            fingerprint.to_string(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }

    #[test]
    fn a_modulus_with_leading_zeros_is_the_same_key() {
        let PublicKey::Rsa { n, e } = jwk(RFC7638) else {
            panic!("an RSA key")
        };
        let wide = PublicKey::Rsa {
            n: padded(&n, n.len() + 1),
            e: padded(&e, 4),
        };
        assert_eq!(wide.thumbprint(), jwk(RFC7638).thumbprint());
        assert_eq!(
            PublicKey::from_jwk(&wide.to_jwk()),
            Some(PublicKey::Rsa { n, e })
        );
    }

    #[test]
    fn a_short_coordinate_is_padded_to_the_field() {
        let key = PublicKey::Ec {
            curve: Algorithm::P521,
            x: vec![1],
            y: vec![2],
        };
        let PublicKey::Ec { x, y, .. } = PublicKey::from_jwk(&key.to_jwk()).unwrap() else {
            panic!("an EC key")
        };
        assert_eq!((x.len(), y.len()), (66, 66));
        assert_eq!(
            key.thumbprint(),
            PublicKey::Ec {
                curve: Algorithm::P521,
                x,
                y
            }
            .thumbprint()
        );
    }

    #[test]
    fn a_check_value_reads_back() {
        let value = Fingerprint::CheckValue([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        assert_eq!(value.to_string(), "kcv:00010203fcfdfeff");
        assert_eq!("kcv:00010203fcfdfeff".parse(), Ok(value));
        for wrong in [
            "kcv:",
            "kcv:00010203FCFDFEFF",
            "00010203fcfdfeff",
            "",
            "NzbLsXh8uDCcd",
        ] {
            assert_eq!(
                wrong.parse::<Fingerprint>(),
                Err(NotAFingerprint),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_id_reads_back() {
        let id = super::super::MaterialId([0xa0; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("a0".parse::<super::super::MaterialId>(), Err(NotAnId));
    }

    #[test]
    fn a_signature_over_a_short_digest_verifies_on_the_widest_curve() {
        let key = p521::ecdsa::SigningKey::from_slice(&padded(&[7; 60], 66)).unwrap();
        let point = p521::ecdsa::VerifyingKey::from(&key).to_encoded_point(false);
        let public = PublicKey::Ec {
            curve: Algorithm::P521,
            x: point.x().unwrap().to_vec(),
            y: point.y().unwrap().to_vec(),
        };
        let signature: p521::ecdsa::Signature = key.sign_prehash(&padded(&[9; 32], 34)).unwrap();
        assert!(public.verifies(&[9; 32], &signature.to_bytes()));
        assert!(!public.verifies(&[8; 32], &signature.to_bytes()));
    }

    #[test]
    fn each_algorithm_is_found_by_what_the_record_says_of_it() {
        for algorithm in Algorithm::ALL {
            let found = match algorithm.kty() {
                "RSA" => Algorithm::rsa(algorithm.bits()),
                "EC" => Algorithm::ec(algorithm.curve().unwrap()),
                _ => Algorithm::oct(algorithm.bits()),
            };
            assert_eq!(found, Some(algorithm));
        }
        assert_eq!(Algorithm::rsa(1024), None);
    }
}
