//! Identities derived from uid and version: unique, never reused, and the same for whoever goes on.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::encoding;
use crate::backend::{self, Stored, TokenLabel};
use crate::softdelete::{self, Kind, MaterialId, RecordId, RecordState, Uid};

/// The record of what was created with this uid. Of an HSM this is the hsmId and its token's label.
pub fn record_id(uid: &Uid) -> RecordId {
    RecordId(hex(&derive(uid, 0)))
}

/// The material of one version; versions begin at 1.
pub fn material_id(uid: &Uid, version: i32) -> MaterialId {
    MaterialId(hex(&derive(uid, version)))
}

pub fn token_label(hsm: &RecordId) -> TokenLabel {
    TokenLabel(hsm.0.clone())
}

/// None: no id of ours.
pub fn backend_id(id: &MaterialId) -> Option<backend::MaterialId> {
    let text = id.as_str();
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(backend::MaterialId(bytes))
}

pub fn fingerprint(of: &backend::Fingerprint) -> softdelete::Fingerprint {
    softdelete::Fingerprint(of.to_string())
}

/// The labels of the tokens that records speak of: a file of such a label is never moved aside. A record of a version that is not known stops the start:
/// an older operator must not work on a newer one's store.
pub fn tokens_to_keep(records: &[Stored]) -> Result<BTreeSet<TokenLabel>, String> {
    tokens(records, |state| {
        !matches!(state, RecordState::Creating | RecordState::Tombstone)
    })
}

/// Those of them that must be there and whole: what was given up may be lost.
pub fn tokens_needed(records: &[Stored]) -> Result<BTreeSet<TokenLabel>, String> {
    tokens(records, |state| {
        !matches!(
            state,
            RecordState::Creating | RecordState::Tombstone | RecordState::Abandoned
        )
    })
}

fn tokens(
    records: &[Stored],
    counts: impl Fn(RecordState) -> bool,
) -> Result<BTreeSet<TokenLabel>, String> {
    let mut labels = BTreeSet::new();
    for stored in records {
        let record = encoding::decode(&stored.bytes).map_err(|error| {
            format!(
                "{} is {error}; start the operator that wrote it, or a newer one",
                stored.id
            )
        })?;
        if record.kind() == Kind::Hsm && counts(record.state) {
            labels.insert(token_label(&record.id));
        }
    }
    Ok(labels)
}

fn derive(uid: &Uid, version: i32) -> [u8; 16] {
    let hash = Sha256::new()
        .chain_update(b"managedhsm.dev/id\0")
        .chain_update(uid.as_str())
        .chain_update(b"\0")
        .chain_update(version.to_be_bytes())
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_for_whoever_derives_it_and_differs_by_uid_and_version() {
        let uid = Uid::from("4f6c");
        assert_eq!(material_id(&uid, 1), material_id(&uid, 1));
        assert_ne!(material_id(&uid, 1), material_id(&uid, 2));
        assert_ne!(material_id(&uid, 1), material_id(&Uid::from("4f6d"), 1));
        assert_ne!(record_id(&uid).0, material_id(&uid, 1).0);
    }

    #[test]
    fn an_id_goes_to_the_backend_and_comes_back_unchanged() {
        let id = material_id(&Uid::from("4f6c"), 7);
        assert_eq!(backend_id(&id).map(|found| found.to_string()), Some(id.0));
        assert_eq!(backend_id(&MaterialId::from("zz")), None);
    }
}
