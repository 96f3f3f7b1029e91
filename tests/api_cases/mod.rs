//! What one object shows by itself: manifests that pass, and those that are refused with their sentence. Both kube's
//! reading of the CEL and a real API server must judge each of them so.

use serde_json::{Value, json};

pub const HSM_NAME: &str = "The name of a ManagedHsm becomes a DNS name; give it 3 to 24 lower-case letters, digits or hyphens, the first a letter, the last no hyphen.";
pub const PROTECTION: &str = "Purge protection needs soft-delete; set spec.softDelete to true, or leave spec.purgeProtection out.";
pub const KEY_NAME: &str = "The name of an HsmKey becomes part of its proxy's name; give it at most 180 lower-case letters, digits or hyphens, without a dot, neither end a hyphen.";
const NEEDS_KEY_NAME: &str = "A key's name inside the HSM has at most 127 characters; set spec.keyName, or shorten metadata.name.";
const SIZE: &str = "A key needs a size of its type; set spec.keySize to 2048, 3072 or 4096 for RSA, to 128, 192 or 256 for oct.";
const EC_SIZE: &str =
    "An EC key has its size by its curve; leave spec.keySize out and set spec.curve.";
const EC_CURVE: &str = "An EC key needs a curve; set spec.curve to P-256, P-384 or P-521.";
const NO_CURVE: &str =
    "Only an EC key has a curve; leave spec.curve out, or set spec.keyType to EC.";
const EC_OPS: &str = "An EC key can only sign and verify; leave the others out of spec.operations, or make it an RSA key.";
const OCT_OPS: &str = "An oct key can only encrypt, decrypt, wrapKey and unwrapKey; leave the others out of spec.operations, or make it an RSA key.";
const LIFETIME: &str = "A key must begin before it ends; set spec.notBefore to a date before spec.expires, or leave one of them out.";
const TAG: &str = "A tag's name has at most 256 characters; shorten it.";
pub const INCLUDE: &str =
    "Only an HSM has keys to include; leave spec.includeKeys out, or set spec.kind to ManagedHsm.";
const PURGE_NAME: &str = "A proxy is named <namespace>.<name> of the deleted object; set spec.name as kubectl get dmhsm,dhkey shows it.";
const RECOVER_NAME: &str = "A deleted object's name has lower-case letters, digits and dashes only; set spec.name to the name that it had in this namespace.";
const HSM_OF_KEY: &str = "An HSM's name has 3 to 24 lower-case letters, digits and dashes, and begins with a letter; set spec.hsm to the name of a ManagedHsm in this namespace.";
const PROXY_NAME: &str = "A proxy is named <namespace>.<name> of its origin; name it so.";

/// One manifest, and how it is judged.
#[derive(Clone, Debug)]
pub struct Case {
    pub kind: &'static str,
    pub name: String,
    pub spec: Value,
    /// The one sentence that refuses it, if it is refused.
    pub sentence: Option<&'static str>,
}

impl Case {
    fn new(kind: &'static str, name: &str, spec: Value, sentence: Option<&'static str>) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            spec,
            sentence,
        }
    }

    pub fn manifest(&self) -> Value {
        json!({
            "apiVersion": "managedhsm.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": self.name},
            "spec": self.spec,
        })
    }
}

pub fn cases() -> Vec<Case> {
    [
        hsms(),
        lawful_keys(),
        unlawful_keys(),
        key_names(),
        requests(),
        names_elsewhere(),
        proxies(),
    ]
    .concat()
}

#[rustfmt::skip]
fn hsms() -> Vec<Case> {
    [
        ("abc", json!({}), None),
        ("a23456789012345678901234", json!({}), None),
        ("a-1", json!({"purgeProtection": true}), None),
        ("abc", json!({"softDelete": false}), None),
        ("ab", json!({}), Some(HSM_NAME)),
        ("a234567890123456789012345", json!({}), Some(HSM_NAME)),
        ("1ab", json!({}), Some(HSM_NAME)),
        ("a.bc", json!({}), Some(HSM_NAME)),
        ("abc", json!({"softDelete": false, "purgeProtection": true}), Some(PROTECTION)),
    ]
    .map(|(name, spec, sentence)| Case::new("ManagedHsm", name, spec, sentence))
    .into()
}

#[rustfmt::skip]
fn lawful_keys() -> Vec<Case> {
    let all = json!(["sign", "verify", "encrypt", "decrypt", "wrapKey", "unwrapKey"]);
    [
        json!({"keyType": "RSA", "keySize": 2048}),
        json!({"keyType": "RSA", "keySize": 4096, "operations": all}),
        json!({"keyType": "EC", "curve": "P-521", "operations": ["sign", "verify"]}),
        json!({"keyType": "oct", "keySize": 192, "operations": ["encrypt", "decrypt", "wrapKey", "unwrapKey"]}),
        json!({"keyType": "EC", "curve": "P-256", "notBefore": "2026-01-01T00:00:00Z", "expires": "2026-01-01T00:00:01Z"}),
        json!({"keyType": "EC", "curve": "P-256", "expires": "2026-01-01T00:00:00Z"}),
        json!({"keyType": "EC", "curve": "P-256", "tags": {"x".repeat(256): "y"}}),
    ]
    .map(|spec| key("k", spec, None))
    .into()
}

#[rustfmt::skip]
fn unlawful_keys() -> Vec<Case> {
    [
        (json!({"keyType": "RSA"}), SIZE),
        (json!({"keyType": "RSA", "keySize": 256}), SIZE),
        (json!({"keyType": "RSA", "keySize": 2049}), SIZE),
        (json!({"keyType": "oct"}), SIZE),
        (json!({"keyType": "oct", "keySize": 2048}), SIZE),
        (json!({"keyType": "EC", "curve": "P-256", "keySize": 256}), EC_SIZE),
        (json!({"keyType": "EC"}), EC_CURVE),
        (json!({"keyType": "RSA", "keySize": 2048, "curve": "P-256"}), NO_CURVE),
        (json!({"keyType": "oct", "keySize": 128, "curve": "P-256"}), NO_CURVE),
        (json!({"keyType": "EC", "curve": "P-256", "operations": ["sign", "encrypt"]}), EC_OPS),
        (json!({"keyType": "oct", "keySize": 128, "operations": ["encrypt", "sign"]}), OCT_OPS),
        (json!({"keyType": "EC", "curve": "P-256", "notBefore": "2026-01-02T00:00:00Z", "expires": "2026-01-01T00:00:00Z"}), LIFETIME),
        (json!({"keyType": "EC", "curve": "P-256", "notBefore": "2026-01-01T00:00:00Z", "expires": "2026-01-01T00:00:00Z"}), LIFETIME),
        (json!({"keyType": "EC", "curve": "P-256", "tags": {"x".repeat(257): "y"}}), TAG),
    ]
    .map(|(spec, sentence)| key("k", spec, Some(sentence)))
    .into()
}

fn key_names() -> Vec<Case> {
    let unnamed = json!({"keyType": "EC", "curve": "P-256"});
    let named = json!({"keyType": "EC", "curve": "P-256", "keyName": "Other"});
    vec![
        key(&"k".repeat(127), unnamed.clone(), None),
        key(&"k".repeat(128), unnamed, Some(NEEDS_KEY_NAME)),
        key(&"k".repeat(180), named.clone(), None),
        key(&"k".repeat(181), named.clone(), Some(KEY_NAME)),
        key("a.b", named, Some(KEY_NAME)),
    ]
}

fn key(name: &str, mut spec: Value, sentence: Option<&'static str>) -> Case {
    spec["hsm"] = json!("payments");
    Case::new("HsmKey", name, spec, sentence)
}

fn requests() -> Vec<Case> {
    let recover = |kind: &str, keys: &str, sentence| {
        let spec = json!({"kind": kind, "name": "abc", "uid": "u", "includeKeys": keys});
        Case::new("Recover", "r", spec, sentence)
    };
    let purge = |name: &str, sentence| {
        let spec =
            json!({"kind": "DeletedHsmKey", "name": name, "uid": "u", "requestedBy": "alice"});
        Case::new("Purge", "p", spec, sentence)
    };
    vec![
        recover("ManagedHsm", "All", None),
        recover("ManagedHsm", "None", None),
        recover("HsmKey", "None", None),
        recover("HsmKey", "All", Some(INCLUDE)),
        purge("default.abc", None),
        purge("a-b.c-d", None),
        purge("abc", Some(PURGE_NAME)),
        purge("a.b.c", Some(PURGE_NAME)),
        purge("A.b", Some(PURGE_NAME)),
    ]
}

/// A name is looked up as a part of a path: none may lead out of its namespace.
fn names_elsewhere() -> Vec<Case> {
    let mut all = Vec::new();
    for name in [
        "other.abc",
        "abc/status",
        "../../other/managedhsms/abc",
        "abc?watch=1",
        "a c",
        "ABC",
    ] {
        let spec = json!({"kind": "ManagedHsm", "name": name, "uid": "u"});
        all.push(Case::new("Recover", "r", spec, Some(RECOVER_NAME)));
    }
    for hsm in ["other.abc", "ab/c", "../../other", "abc?a", "a c", "Abc"] {
        let spec = json!({"hsm": hsm, "keyType": "EC", "curve": "P-256"});
        all.push(Case::new("HsmKey", "k", spec, Some(HSM_OF_KEY)));
    }
    all
}

fn proxies() -> Vec<Case> {
    let names = [
        ("there.abc", None),
        ("elsewhere.abc", Some(PROXY_NAME)),
        ("there.abd", Some(PROXY_NAME)),
    ];
    let both = names.map(|(name, sentence)| {
        let mut of_key = facts();
        of_key["hsm"] = json!("payments");
        of_key["keyName"] = json!("abc");
        [
            Case::new("DeletedManagedHsm", name, facts(), sentence),
            Case::new("DeletedHsmKey", name, of_key, sentence),
        ]
    });
    both.into_iter().flatten().collect()
}

/// The spec of a proxy of `there/abc`, with no more than it must hold.
fn facts() -> Value {
    json!({
        "origin": {"namespace": "there", "namespaceUid": "n", "name": "abc", "uid": "u"},
        "backend": "default",
        "hsmId": "1",
        "deletionTime": "2026-01-01T00:00:00Z",
        "purgeProtection": false,
        "recoveryLevel": "Recoverable+Purgeable",
    })
}
