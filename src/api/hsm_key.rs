//! HsmKey: one key in an HSM, declared by users in the HSM's namespace.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CreateMode, RecoveryLevel, UNSEEN, unseen, yes};
use super::conditions::{self, Condition};
use super::time::Time;

/// The JWK type of a key.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum KeyType {
    #[serde(rename = "RSA")]
    Rsa,
    #[serde(rename = "EC")]
    Ec,
    #[serde(rename = "oct")]
    Oct,
}

/// The JWK name of an EC key's curve.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Curve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    #[serde(rename = "P-521")]
    P521,
}

/// What may be done with a key, as JWK's `key_ops` names it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    Sign,
    Verify,
    Encrypt,
    Decrypt,
    WrapKey,
    UnwrapKey,
}

/// What the users of a key ask for.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[kube(
    group = "managedhsm.dev",
    version = "v1alpha1",
    kind = "HsmKey",
    doc = "A key in an HSM, with soft-delete, recovery and purge protection.",
    namespaced,
    status = "HsmKeyStatus",
    derive = "PartialEq",
    shortname = "hkey",
    category = "hsm",
    cel,
    selectable = ".spec.hsm",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "HSM", type_ = "string", json_path = ".spec.hsm"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.keyType"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.currentVersion"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Recovery level", type_ = "string", json_path = ".status.recoveryLevel", priority = 1),
    printcolumn(name = "Thumbprint", type_ = "string", json_path = ".status.versions[-1:].thumbprint", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 180 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "The name of an HsmKey becomes part of its proxy's name; give it at most 180 lower-case letters, digits or hyphens, without a dot, neither end a hyphen."
    ),
    validation = Rule::new("has(self.spec.keyName) || self.metadata.name.size() <= 127").message(
        "A key's name inside the HSM has at most 127 characters; set spec.keyName, or shorten metadata.name."
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.keyType == 'EC' || (has(self.keySize) && (self.keyType == 'RSA' ? self.keySize in [2048, 3072, 4096] : self.keySize in [128, 192, 256]))")
        .message("A key needs a size of its type; set spec.keySize to 2048, 3072 or 4096 for RSA, to 128, 192 or 256 for oct."),
    validation = Rule::new("self.keyType != 'EC' || !has(self.keySize)")
        .message("An EC key has its size by its curve; leave spec.keySize out and set spec.curve."),
    validation = Rule::new("self.keyType != 'EC' || has(self.curve)")
        .message("An EC key needs a curve; set spec.curve to P-256, P-384 or P-521."),
    validation = Rule::new("self.keyType == 'EC' || !has(self.curve)")
        .message("Only an EC key has a curve; leave spec.curve out, or set spec.keyType to EC."),
    validation = Rule::new("!has(self.operations) || self.keyType != 'EC' || self.operations.all(o, o in ['sign', 'verify'])")
        .message("An EC key can only sign and verify; leave the others out of spec.operations, or make it an RSA key."),
    validation = Rule::new("!has(self.operations) || self.keyType != 'oct' || self.operations.all(o, o in ['encrypt', 'decrypt', 'wrapKey', 'unwrapKey'])")
        .message("An oct key can only encrypt, decrypt, wrapKey and unwrapKey; leave the others out of spec.operations, or make it an RSA key."),
    validation = Rule::new("!has(self.notBefore) || !has(self.expires) || self.notBefore < self.expires")
        .message("A key must begin before it ends; set spec.notBefore to a date before spec.expires, or leave one of them out.")
)]
pub struct HsmKeySpec {
    /// The ManagedHsm in the same namespace that holds the key. Fixed at creation.
    #[schemars(length(min = 3, max = 24))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z][-a-z0-9]{1,22}[a-z0-9]$')").message(
        "An HSM's name has 3 to 24 lower-case letters, digits and dashes, and begins with a letter; set spec.hsm to the name of a ManagedHsm in this namespace."
    ))]
    pub hsm: String,
    /// The key's name inside the HSM, unique in it with case ignored; metadata.name if not said. Fixed at creation,
    /// "not said" included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 127), regex(pattern = r"^[0-9a-zA-Z-]{1,127}$"))]
    pub key_name: Option<String>,
    /// RSA, EC or oct (AES). Fixed at creation.
    pub key_type: KeyType,
    /// The key's bits: 2048, 3072 or 4096 for RSA; 128, 192 or 256 for oct; none for EC. Fixed at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 128, max = 4096))]
    pub key_size: Option<i32>,
    /// The curve of an EC key: P-256, P-384 or P-521. Fixed at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// What may be done with the key through the key service; all that its type can do if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 6))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub operations: Option<Vec<Operation>>,
    /// Whether the key service lets the key sign, encrypt and wrap. It verifies, decrypts and unwraps all the same.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Before this date (UTC, such as 2027-01-01T00:00:00Z) the key refuses to sign, encrypt and wrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// From this date on (UTC, such as 2028-01-01T00:00:00Z) the key refuses to sign, encrypt and wrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Free text for people and tools: at most 15 tags, names and values of at most 256 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "tags_schema")]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 256)")
        .message("A tag's name has at most 256 characters; shorten it."))]
    pub tags: BTreeMap<String, String>,
    /// How many versions the key has had at least, 1 to 100: raise it to rotate the key. A lower value than there are
    /// does nothing.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub versions: i32,
    /// For how many days a deleted key can be recovered, 7 to 90, at most its HSM's; its HSM's if not said. Fixed at
    /// creation, "not said" included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // SD-08, refused early.
    #[schemars(range(min = 7, max = 90))]
    pub retention_days: Option<i32>,
    /// Whether nobody may purge the key, or the HSM while it holds it, before its time. Can be turned on later, never off again.
    #[serde(default)]
    pub purge_protection: bool,
    /// What to do if a soft-deleted key has this name: Default stands and says so, CreateOrRecover recovers it.
    #[serde(default)]
    pub create_mode: CreateMode,
}

impl HsmKeySpec {
    /// A key of that type in that HSM, all else as the schema fills it in.
    pub fn new(hsm: &str, key_type: KeyType, key_size: Option<i32>, curve: Option<Curve>) -> Self {
        Self {
            hsm: hsm.to_owned(),
            key_name: None,
            key_type,
            key_size,
            curve,
            operations: None,
            enabled: true,
            not_before: None,
            expires: None,
            tags: BTreeMap::new(),
            versions: 1,
            retention_days: None,
            purge_protection: false,
            create_mode: CreateMode::Default,
        }
    }
}

fn one() -> i32 {
    1
}

fn tags_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 15,
        "additionalProperties": { "type": "string", "maxLength": 256 },
    })
}

/// What the operator saw and did; only it writes this.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HsmKeyStatus {
    /// The generation that this status is about; -1 before the operator has seen the object.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Ready, Reconciling and Stalled, and what others add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::list_schema")]
    pub conditions: Vec<Condition>,
    /// The backend's own id of the HSM that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub hsm_id: Option<String>,
    /// The generation of the backend's record that this status follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_generation: Option<i64>,
    /// What deletion would mean now, by soft-delete, retention and protection as they are in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_level: Option<RecoveryLevel>,
    /// The id of the version that signs, encrypts and wraps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<i32>,
    /// All versions, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub versions: Vec<KeyVersion>,
}

impl Default for HsmKeyStatus {
    /// As the schema fills in an absent status.
    fn default() -> Self {
        Self {
            observed_generation: UNSEEN,
            conditions: Vec::new(),
            hsm_id: None,
            record_generation: None,
            recovery_level: None,
            current_version: None,
            versions: Vec::new(),
        }
    }
}

/// One version of a key, and what tells its material from any other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyVersion {
    /// The number of the version, from 1 on.
    pub id: i32,
    /// When the version was made.
    pub created_at: Time,
    /// The backend's own id of the material, never used again for another.
    #[schemars(length(min = 1, max = 128))]
    pub material_id: String,
    /// The public half as a JWK; an oct key has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The RFC 7638 SHA-256 thumbprint of the public half, base64url; an oct key has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub thumbprint: Option<String>,
    /// Of an oct key only: the first bytes of a known block encrypted with it, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub check_value: Option<String>,
}

/// A public key as a JWK (RFC 7517, RFC 7518 section 6); numbers are base64url.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicKey {
    /// RSA or EC.
    pub kty: KeyType,
    /// The modulus of an RSA key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub n: Option<String>,
    /// The public exponent of an RSA key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub e: Option<String>,
    /// The curve of an EC key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<Curve>,
    /// The x coordinate of an EC key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub x: Option<String>,
    /// The y coordinate of an EC key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub y: Option<String>,
}
