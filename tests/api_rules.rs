//! What one object shows by itself, judged by the CEL of its schema: one manifest that passes and one that is refused
//! with its sentence, for each rule.

use kube::core::cel::ValidationErrors;
use managed_hsm_operator::api::{
    DeletedHsmKey, DeletedManagedHsm, HsmKey, ManagedHsm, Purge, Recover,
};
use managed_hsm_operator::softdelete::Refusal;
use rstest::rstest;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const HSM_NAME: &str = "The name of a ManagedHsm becomes a DNS name; give it 3 to 24 lower-case letters, digits or hyphens, the first a letter, the last no hyphen.";
const PROTECTION: &str = "Purge protection needs soft-delete; set spec.softDelete to true, or leave spec.purgeProtection out.";
const KEY_NAME: &str = "The name of an HsmKey becomes part of its proxy's name; give it at most 180 lower-case letters, digits or hyphens, without a dot, neither end a hyphen.";
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
const INCLUDE: &str =
    "Only an HSM has keys to include; leave spec.includeKeys out, or set spec.kind to ManagedHsm.";
const PURGE_NAME: &str = "A proxy is named <namespace>.<name> of the deleted object; set spec.name as kubectl get dmhsm,dhkey shows it.";
const PROXY_NAME: &str = "A proxy is named <namespace>.<name> of its origin; name it so.";

#[rstest]
#[case::shortest("abc", json!({}))]
#[case::longest("a23456789012345678901234", json!({}))]
#[case::inner_hyphen("a-1", json!({}))]
#[case::protected("abc", json!({"purgeProtection": true}))]
#[case::neither("abc", json!({"softDelete": false}))]
fn a_managed_hsm_that_holds_together_passes(#[case] name: &str, #[case] spec: Value) {
    assert_eq!(
        refusals(&object::<ManagedHsm>("ManagedHsm", name, spec)),
        [""; 0]
    );
}

#[rstest]
#[case::too_short("ab")]
#[case::too_long("a234567890123456789012345")]
#[case::starts_with_a_digit("1ab")]
#[case::ends_with_a_hyphen("ab-")]
#[case::dotted("a.bc")]
fn a_managed_hsm_of_another_name_is_refused(#[case] name: &str) {
    assert_eq!(
        refusals(&object::<ManagedHsm>("ManagedHsm", name, json!({}))),
        [HSM_NAME]
    );
}

#[test]
fn sd13_protection_without_soft_delete_is_refused_with_the_sentence_of_the_rule() {
    let spec = json!({"softDelete": false, "purgeProtection": true});
    let hsm = object::<ManagedHsm>("ManagedHsm", "abc", spec);
    assert_eq!(refusals(&hsm), [PROTECTION]);
    let rule = Refusal::PurgeProtectionNeedsSoftDelete { hsm: None };
    assert_eq!(rule.to_string(), PROTECTION);
}

#[rstest]
#[case::rsa(json!({"keyType": "RSA", "keySize": 2048}))]
#[case::rsa_does_all(json!({"keyType": "RSA", "keySize": 4096, "operations": ["sign", "verify", "encrypt", "decrypt", "wrapKey", "unwrapKey"]}))]
#[case::ec(json!({"keyType": "EC", "curve": "P-521", "operations": ["sign", "verify"]}))]
#[case::oct(json!({"keyType": "oct", "keySize": 192, "operations": ["encrypt", "decrypt", "wrapKey", "unwrapKey"]}))]
#[case::lifetime(json!({"keyType": "EC", "curve": "P-256", "notBefore": "2026-01-01T00:00:00Z", "expires": "2026-01-01T00:00:01Z"}))]
#[case::only_one_end(json!({"keyType": "EC", "curve": "P-256", "expires": "2026-01-01T00:00:00Z"}))]
#[case::long_tag(json!({"keyType": "EC", "curve": "P-256", "tags": {"x".repeat(256): "y"}}))]
fn a_key_that_holds_together_passes(#[case] spec: Value) {
    assert_eq!(refusals(&key("k", spec)), [""; 0]);
}

#[rstest]
#[case::rsa_without_size(json!({"keyType": "RSA"}), SIZE)]
#[case::rsa_with_an_aes_size(json!({"keyType": "RSA", "keySize": 256}), SIZE)]
#[case::oct_with_an_rsa_size(json!({"keyType": "oct", "keySize": 2048}), SIZE)]
#[case::oct_without_size(json!({"keyType": "oct"}), SIZE)]
#[case::odd_size(json!({"keyType": "RSA", "keySize": 2049}), SIZE)]
#[case::ec_with_size(json!({"keyType": "EC", "curve": "P-256", "keySize": 256}), EC_SIZE)]
#[case::ec_without_curve(json!({"keyType": "EC"}), EC_CURVE)]
#[case::rsa_with_curve(json!({"keyType": "RSA", "keySize": 2048, "curve": "P-256"}), NO_CURVE)]
#[case::oct_with_curve(json!({"keyType": "oct", "keySize": 128, "curve": "P-256"}), NO_CURVE)]
#[case::ec_that_encrypts(json!({"keyType": "EC", "curve": "P-256", "operations": ["sign", "encrypt"]}), EC_OPS)]
#[case::oct_that_signs(json!({"keyType": "oct", "keySize": 128, "operations": ["encrypt", "sign"]}), OCT_OPS)]
#[case::ends_first(json!({"keyType": "EC", "curve": "P-256", "notBefore": "2026-01-02T00:00:00Z", "expires": "2026-01-01T00:00:00Z"}), LIFETIME)]
#[case::ends_at_once(json!({"keyType": "EC", "curve": "P-256", "notBefore": "2026-01-01T00:00:00Z", "expires": "2026-01-01T00:00:00Z"}), LIFETIME)]
#[case::tag_name_too_long(json!({"keyType": "EC", "curve": "P-256", "tags": {"x".repeat(257): "y"}}), TAG)]
fn a_key_that_does_not_hold_together_is_refused(#[case] spec: Value, #[case] sentence: &str) {
    assert_eq!(refusals(&key("k", spec)), [sentence]);
}

#[rstest]
#[case::short("k", false)]
#[case::longest_without_key_name(&"k".repeat(127), false)]
#[case::longest(&"k".repeat(180), true)]
fn a_key_of_a_lawful_name_passes(#[case] name: &str, #[case] key_name: bool) {
    assert_eq!(refusals(&named_key(name, key_name)), [""; 0]);
}

#[rstest]
#[case::dotted("a.b", true, KEY_NAME)]
#[case::too_long(&"k".repeat(181), true, KEY_NAME)]
#[case::ends_with_a_hyphen("k-", false, KEY_NAME)]
#[case::too_long_for_a_key_name(&"k".repeat(128), false, NEEDS_KEY_NAME)]
fn a_key_of_an_unlawful_name_is_refused(
    #[case] name: &str,
    #[case] key_name: bool,
    #[case] sentence: &str,
) {
    assert_eq!(refusals(&named_key(name, key_name)), [sentence]);
}

#[rstest]
#[case("ManagedHsm", "All", None)]
#[case("ManagedHsm", "None", None)]
#[case("HsmKey", "None", None)]
#[case("HsmKey", "All", Some(INCLUDE))]
fn sd21_only_the_recovery_of_an_hsm_includes_keys(
    #[case] kind: &str,
    #[case] keys: &str,
    #[case] sentence: Option<&str>,
) {
    let spec = json!({"kind": kind, "name": "abc", "uid": "u", "includeKeys": keys});
    let recover = object::<Recover>("Recover", "r", spec);
    assert_eq!(refusals(&recover), Vec::from_iter(sentence));
}

#[rstest]
#[case("default.abc", None)]
#[case("a-b.c-d", None)]
#[case("abc", Some(PURGE_NAME))]
#[case("a.b.c", Some(PURGE_NAME))]
#[case("A.b", Some(PURGE_NAME))]
fn a_purge_names_a_proxy(#[case] name: &str, #[case] sentence: Option<&str>) {
    let spec = json!({"kind": "DeletedHsmKey", "name": name, "uid": "u", "requestedBy": "alice"});
    assert_eq!(
        refusals(&object::<Purge>("Purge", "p", spec)),
        Vec::from_iter(sentence)
    );
}

#[rstest]
#[case("there.abc", None)]
#[case("elsewhere.abc", Some(PROXY_NAME))]
#[case("there.abd", Some(PROXY_NAME))]
fn a_proxy_bears_the_name_of_its_origin(#[case] name: &str, #[case] sentence: Option<&str>) {
    let hsm = object::<DeletedManagedHsm>("DeletedManagedHsm", name, facts(json!({})));
    assert_eq!(refusals(&hsm), Vec::from_iter(sentence));
    let of_key = json!({"hsm": "payments", "keyName": "abc"});
    let key = object::<DeletedHsmKey>("DeletedHsmKey", name, facts(of_key));
    assert_eq!(refusals(&key), Vec::from_iter(sentence));
}

/// The sentences with which kube's reading of the CEL refuses an object, in order.
fn refusals<T: Judged>(object: &T) -> Vec<String> {
    let failures = object.judge().err().map(ValidationErrors::into_vec);
    failures
        .into_iter()
        .flatten()
        .map(|failure| failure.message)
        .collect()
}

trait Judged {
    fn judge(&self) -> Result<(), ValidationErrors>;
}

macro_rules! judged {
    ($($kind:ident)+) => {
        $(impl Judged for $kind {
            fn judge(&self) -> Result<(), ValidationErrors> {
                self.validate_cel()
            }
        })+
    };
}

judged!(ManagedHsm HsmKey DeletedManagedHsm DeletedHsmKey Recover Purge);

fn object<T: DeserializeOwned>(kind: &str, name: &str, spec: Value) -> T {
    let manifest = json!({
        "apiVersion": "managedhsm.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    });
    serde_json::from_value(manifest).expect("a manifest of that kind")
}

fn key(name: &str, mut spec: Value) -> HsmKey {
    spec["hsm"] = json!("payments");
    object("HsmKey", name, spec)
}

fn named_key(name: &str, key_name: bool) -> HsmKey {
    let mut spec = json!({"keyType": "EC", "curve": "P-256"});
    if key_name {
        spec["keyName"] = json!("Other");
    }
    key(name, spec)
}

fn facts(more: Value) -> Value {
    let mut facts = json!({
        "origin": {"namespace": "there", "namespaceUid": "n", "name": "abc", "uid": "u"},
        "backend": "default",
        "hsmId": "1",
        "deletionTime": "2026-01-01T00:00:00Z",
        "purgeProtection": false,
        "recoveryLevel": "Recoverable+Purgeable",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        facts[key] = value.clone();
    }
    facts
}
