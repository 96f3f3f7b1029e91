//! What a backend offers: tokens, keys in them, and a ledger beside them. It knows nothing of
//! retention and judges nothing; `plan` decides, the executor calls.
//!
//! Every call blocks and belongs on the backend's own threads, never on the async runtime. A call that failed may
//! have worked: after any effect the caller looks again. Every effect is idempotent in the sense of its comment.

#[forbid(unsafe_code)]
pub mod jwk;
#[forbid(unsafe_code)]
pub mod ledger;
#[forbid(unsafe_code)]
pub mod memory;
pub mod pkcs11;
#[forbid(unsafe_code)]
pub mod pool;
#[forbid(unsafe_code)]
pub mod store;
#[forbid(unsafe_code)]
pub mod waiting;

use std::path::Path;

use store::{About, Manifest, StoreError};

/// 16 bytes derived from uid and version, never reused: the CKA_ID. As 32 hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaterialId(pub [u8; 16]);

/// The label of an HSM's token: 32 hex digits, derived from a uid, never reused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenLabel(pub String);

/// A PKCS#11 object handle as this process got it at one look. Once its object is destroyed it is dead for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// What an object's label says: `p:<id>`, `k:<id>`, `d:<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    Pending,
    Live,
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Private,
    Public,
    Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
    P521,
    Aes128,
    Aes192,
    Aes256,
}

/// A public key by its numbers, big-endian, as JWK wants them (RFC 7518 section 6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    Ec {
        curve: Algorithm,
        x: Vec<u8>,
        y: Vec<u8>,
    },
}

/// What tells one key's material from another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fingerprint {
    /// RFC 7638, SHA-256.
    Thumbprint([u8; 32]),
    /// The first 8 bytes of a zero block encrypted with CKM_AES_ECB.
    CheckValue([u8; 8]),
}

/// How closely a look looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// Labels only.
    Labels,
    /// Each object is tried as well: `usable` and `proved` are filled in.
    Proof,
}

/// One object with one of the CKA_IDs asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectFacts {
    pub handle: Handle,
    pub id: MaterialId,
    pub class: Class,
    pub mark: Mark,
    /// A trial of the object itself, not its attributes: did it let itself be used (private: sign and decrypt, secret: encrypt, public: verify)?
    /// `CKR_OK proves nothing`: a sealed object must answer CKR_KEY_FUNCTION_NOT_PERMITTED. None: not tried.
    pub usable: Option<bool>,
    /// What the material proved to be. Private: a signature (through a session copy with the flag on, if sealed) verified outside the module with the public
    /// half found beside it; public: its own thumbprint; secret: its check value (through a session copy, if sealed). None: not tried, or it could not be proved.
    pub proved: Option<Fingerprint>,
    /// Of a public object, whenever it could be read.
    pub public: Option<PublicKey>,
}

/// Whether the user PIN that we hold opens a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    Open,
    /// CKR_PIN_INCORRECT (or locked): sealed, or somebody changed it. Never tried again by itself.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenFacts {
    pub label: TokenLabel,
    pub serial: String,
    pub access: Access,
}

/// A record as the ledger keeps it: opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stored {
    /// 32 hex digits.
    pub id: String,
    pub generation: u64,
    pub bytes: Vec<u8>,
}

/// Where an HSM lives from its keys' point of view. Label and serial both must agree with the token found, else `NotThere`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenRef {
    pub label: TokenLabel,
    pub serial: String,
}

/// One use of a live key: what the key service and tests ask for. `digest` is already hashed (SHA-256; RSA: PKCS#1 v1.5 over the DigestInfo; EC: raw r||s).
#[derive(Clone, Debug)]
pub enum Use {
    Sign {
        digest: Vec<u8>,
    },
    /// RSA-OAEP with SHA-1 (every module has it); AES: CBC_PAD with a zero IV is for tests only, the key service brings its own.
    Encrypt {
        plain: Vec<u8>,
    },
    Decrypt {
        cipher: Vec<u8>,
    },
}

/// What a seal rests on. Where it is not the module itself, the operator alone refuses, and says so on what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Assurance {
    /// K1: a key's sealed copy refuses every use.
    pub seals_keys: bool,
    /// T2: the SO gives a token a PIN that nobody has.
    pub seals_hsms: bool,
}

impl Assurance {
    pub const FULL: Assurance = Assurance {
        seals_keys: true,
        seals_hsms: true,
    };
}

/// Why a call did not do what it should. The class decides what the caller does; the text is for people, and never holds a PIN.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BackendError {
    /// No token of that label and serial, or no such object.
    #[error("not there: {0}")]
    NotThere(String),
    /// The handle is dead: its object was destroyed (CKR_OBJECT_HANDLE_INVALID). Look again.
    #[error("the handle is dead")]
    DeadHandle,
    /// The ledger holds another generation than the write follows. Look again.
    #[error("the record was written by somebody else meanwhile")]
    Superseded,
    /// The user PIN is refused: the token is sealed.
    #[error("the token is sealed")]
    Sealed,
    /// CKR_KEY_FUNCTION_NOT_PERMITTED.
    #[error("the key refuses this use")]
    Refused,
    /// No room for another token or object.
    #[error("full: {0}")]
    Full(String),
    /// The module has no such mechanism or function.
    #[error("not supported: {0}")]
    NotSupported(String),
    /// A PIN of ours is refused where it must not be, or locked: final until the PIN file changes.
    #[error("PIN refused: {0}")]
    Pin(String),
    /// Away, hung, or failing: it may have worked. Wait and look again.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

pub type Result<T> = std::result::Result<T, BackendError>;

/// The contract. Each method says what holds after it, what a crash in it leaves, and what an error leaves unknown.
pub trait HsmBackend: Send + Sync + 'static {
    /// What its seals rest on, as it was tried when it was opened. None: it is not open. Answers at once.
    fn assurance(&self) -> Option<Assurance> {
        Some(Assurance::FULL)
    }

    // ---- the ledger: open while tokens are sealed ----

    /// All highest records in one pass, for lists and names. An id comes several times if different records of one generation stand.
    fn records(&self) -> Result<Vec<Stored>>;

    /// The highest record of an id, read at the source. Empty: none. Several: they disagree, and hold until a person says which.
    fn read(&self, id: &str) -> Result<Vec<Stored>>;

    /// Adds a record that follows `stored.generation - 1` (0: the id has none). `Superseded` if the highest is another one; writing the very same bytes and
    /// generation again is Ok. After an `Unavailable` it may be there or not. A crash leaves the old record or the new one, never neither.
    fn write(&self, stored: &Stored) -> Result<()>;

    /// Writes a lost record again, at the generation that the cluster has seen: only where the id has none. `Superseded` if it has; writing the very same bytes
    /// and generation again is Ok. What an error or a crash leaves is as with `write`.
    fn restore(&self, stored: &Stored) -> Result<()>;

    /// Removes an id's records; the caller has judged that they are done with (tombstones after their history).
    fn forget(&self, id: &str, generation: u64) -> Result<()>;

    /// The highest resourceVersion of the cluster that was ever noted; `note_revision` never lowers it.
    fn revision(&self) -> Result<u64>;
    fn note_revision(&self, revision: u64) -> Result<()>;

    // ---- both as files ----

    /// Backs ledger and tokens up as they are at one moment, which every change waits for and no use does, into a folder that is empty or not there
    /// yet. What an error or a crash leaves is no backup; an error removes it.
    fn back_up(&self, _folder: &Path, _about: &About) -> store::Result<Manifest> {
        Err(StoreError::NotEmbedded)
    }

    // ---- tokens: one an HSM ----

    /// Looks for a token by its label. None: there is no such token.
    fn token(&self, label: &TokenLabel) -> Result<Option<TokenFacts>>;

    /// The labels of all tokens that may be ours: those of 32 hex digits.
    fn tokens(&self) -> Result<Vec<TokenLabel>>;

    /// Makes a token with our SO and user PIN on a fresh slot; if there is one of that label already, answers it. A crash may leave a torn file, which the
    /// next open moves aside (`facts: C_InitToken is not atomic`). `Full` when no slot is left.
    fn create_token(&self, label: &TokenLabel) -> Result<TokenFacts>;

    /// T2: a user PIN that nobody keeps. After it every use of any key in it is refused, also through sessions that were open. Sealing what is sealed is Ok.
    fn seal_token(&self, token: &TokenRef) -> Result<()>;

    /// T2 back: our user PIN again. Unsealing what is open is Ok.
    fn unseal_token(&self, token: &TokenRef) -> Result<()>;

    /// The SO gives the token a user PIN that is held in memory only, so that its objects can be destroyed one by one. Only under a *destroying* record.
    fn open_for_destruction(&self, token: &TokenRef) -> Result<()>;

    /// Gives the slot or file of an empty token back. Only after the tombstone. `NotThere` counts as done.
    fn release_token(&self, token: &TokenRef) -> Result<()>;

    // ---- keys ----

    /// All objects with one of `ids` in the token, looked up now. `Sealed` if the token is.
    fn objects(
        &self,
        token: &TokenRef,
        ids: &[MaterialId],
        depth: Depth,
    ) -> Result<Vec<ObjectFacts>>;

    /// Every object in the token that carries one of our labels, by labels only.
    fn inventory(&self, token: &TokenRef) -> Result<Vec<ObjectFacts>>;

    /// Generates the key (pair) of that id as *pending*: CKA_TOKEN, PRIVATE, SENSITIVE, not EXTRACTABLE, MODIFIABLE. A crash may leave one half.
    /// The caller looked before; two calls make two.
    fn generate(&self, token: &TokenRef, id: MaterialId, algorithm: Algorithm) -> Result<()>;

    /// Relabels a pending object *live*. `DeadHandle` if it is gone.
    fn publish(&self, token: &TokenRef, handle: Handle) -> Result<()>;

    /// K1: copies one object as *deleted* with all usage off, or as *live* with its usage on. The copy is whole or absent.
    /// `DeadHandle` if the original is gone. Two calls make two; the caller looks. Where the module cannot do it ([`Assurance::seals_keys`]) the
    /// object itself gets the label, keeps its handle, and is refused by us.
    fn copy(&self, token: &TokenRef, original: Handle, mark: Mark) -> Result<Handle>;

    /// Destroys one object by the handle of a look. A dead handle is `DeadHandle`: whatever it was, it is gone.
    fn destroy(&self, token: &TokenRef, handle: Handle) -> Result<()>;

    /// Uses the *live* object of that id; a pending or sealed one is `Refused`, none `NotThere`.
    fn use_key(&self, token: &TokenRef, id: MaterialId, what: &Use) -> Result<Vec<u8>>;
}

impl TokenLabel {
    /// By its looks: 32 hex digits.
    pub fn may_be_ours(&self) -> bool {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        self.0.len() == 32 && self.0.bytes().all(hex)
    }
}

impl std::fmt::Display for MaterialId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for MaterialId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
