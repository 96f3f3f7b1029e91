//! The specification, rule by rule. Std and chrono only: no client, no clock, no chance, no
//! `await`. Each rule is one function whose doc comment begins with its id.

pub mod arbiter;
mod background;
pub mod evidence;
#[cfg(test)]
pub(crate) mod examples;
pub mod fixed;
pub mod level;
pub mod names;
pub mod permission;
pub mod protection;
pub mod purge;
pub mod record;
pub mod recover;
pub mod refusal;
pub mod retention;
pub mod sentence;
pub mod state;

pub use record::{Dates, Origin, Record, RecordState, Subject, Token, Version};
pub use refusal::Reason;
pub use sentence::{Deleted, Protector, Refusal, Unless};

/// What an object is: an HSM, or a key inside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Hsm,
    Key,
}

impl Kind {
    /// The kind of the object's resource.
    pub const fn object(self) -> &'static str {
        match self {
            Self::Hsm => "ManagedHsm",
            Self::Key => "HsmKey",
        }
    }

    /// The kind of its proxy.
    pub const fn proxy(self) -> &'static str {
        match self {
            Self::Hsm => "DeletedManagedHsm",
            Self::Key => "DeletedHsmKey",
        }
    }

    /// The plural of the object's resource, as RBAC names it.
    pub const fn objects(self) -> &'static str {
        match self {
            Self::Hsm => "managedhsms",
            Self::Key => "hsmkeys",
        }
    }

    /// The plural of the proxy's resource, as RBAC names it.
    pub const fn proxies(self) -> &'static str {
        match self {
            Self::Hsm => "deletedmanagedhsms",
            Self::Key => "deletedhsmkeys",
        }
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}

text!(
    /// A Kubernetes uid.
    Uid
);
text!(
    /// Names one record of the ledger, for all of a lineage's lives: 32 hex digits, derived from the uid that was created first.
    RecordId
);
text!(
    /// Names the material of one version, never reused: 32 hex digits, the CKA_ID.
    MaterialId
);
text!(
    /// What tells one key's material from another's: the RFC 7638 thumbprint of its public key, or `kcv:` and the hex check value of an `oct` key.
    Fingerprint
);
