//! A record as bytes: CBOR arrays by index, after a version number. A version that is not known holds everything.

use chrono::{DateTime, Utc};
use minicbor::{Decode, Encode};

use crate::softdelete::record::{Algorithm, Destroyed, Pending, Token, Version};
use crate::softdelete::{
    Dates, Fingerprint, MaterialId, Origin, Record, RecordId, RecordState, Subject, Uid,
};

/// The encoding version that this operator writes, and the only one it reads.
pub const ENCODING: u32 = 1;

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a record of the encoding version {0}, which this operator does not know")]
    Version(u32),
    #[error("no record: {0}")]
    Broken(String),
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    id: String,
    #[n(1)]
    cluster: String,
    #[n(2)]
    state: WireState,
    #[n(3)]
    origin: WireOrigin,
    #[n(4)]
    recovered_from: Option<String>,
    #[n(5)]
    subject: WireSubject,
    #[n(6)]
    retention_days: i32,
    #[n(7)]
    soft_delete: bool,
    #[n(8)]
    purge_protection: bool,
    #[n(9)]
    dates: Option<WireDates>,
    #[n(10)]
    requesters: Vec<String>,
    #[n(11)]
    destroyed: Option<WireDestroyed>,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
enum WireState {
    #[n(0)]
    Creating,
    #[n(1)]
    Live,
    #[n(2)]
    Sealing,
    #[n(3)]
    Deleted,
    #[n(4)]
    Opening,
    #[n(5)]
    Destroying,
    #[n(6)]
    Tombstone,
    #[n(7)]
    Abandoned,
}

#[derive(Encode, Decode)]
struct WireOrigin {
    #[n(0)]
    namespace: String,
    #[n(1)]
    namespace_uid: String,
    #[n(2)]
    name: String,
    #[n(3)]
    uid: String,
}

#[derive(Encode, Decode)]
enum WireSubject {
    #[n(0)]
    Hsm(#[n(0)] Option<WireToken>),
    #[n(1)]
    Key(#[n(0)] WireKey),
}

#[derive(Encode, Decode)]
struct WireToken {
    #[n(0)]
    label: String,
    #[n(1)]
    serial: String,
}

#[derive(Encode, Decode)]
struct WireKey {
    #[n(0)]
    hsm: String,
    #[n(1)]
    hsm_name: String,
    #[n(2)]
    key_name: String,
    #[n(3)]
    algorithm: WireAlgorithm,
    #[n(4)]
    versions: Vec<WireVersion>,
    #[n(5)]
    pending: Option<WirePending>,
}

#[derive(Encode, Decode)]
enum WireAlgorithm {
    #[n(0)]
    Rsa(#[n(0)] i32),
    #[n(1)]
    Ec(#[n(0)] String),
    #[n(2)]
    Oct(#[n(0)] i32),
}

#[derive(Encode, Decode)]
struct WireVersion {
    #[n(0)]
    number: i32,
    #[n(1)]
    material: String,
    #[n(2)]
    fingerprint: String,
    /// Seconds.
    #[n(3)]
    created: i64,
}

#[derive(Encode, Decode)]
struct WirePending {
    #[n(0)]
    number: i32,
    #[n(1)]
    material: String,
}

/// All in seconds.
#[derive(Encode, Decode)]
struct WireDates {
    #[n(0)]
    deletion_time: i64,
    #[n(1)]
    scheduled_purge_time: Option<i64>,
    #[n(2)]
    retention_days: Option<i32>,
}

#[derive(Encode, Decode)]
struct WireDestroyed {
    #[n(0)]
    at: i64,
    #[n(1)]
    count: i32,
    #[n(2)]
    digest: String,
}

/// The record's bytes: the same record gives the same bytes.
pub fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into a Vec cannot fail.
    let written = minicbor::encode(ENCODING, &mut bytes)
        .and_then(|()| minicbor::encode(wire(record), &mut bytes));
    debug_assert!(written.is_ok());
    bytes
}

/// The record that `encode` made these bytes of.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let broken = |error: minicbor::decode::Error| DecodeError::Broken(error.to_string());
    let mut decoder = minicbor::Decoder::new(bytes);
    let version = decoder.u32().map_err(broken)?;
    if version != ENCODING {
        return Err(DecodeError::Version(version));
    }
    let wire: Wire = decoder.decode().map_err(broken)?;
    if decoder.position() != bytes.len() {
        return Err(DecodeError::Broken("bytes are left over".into()));
    }
    record(wire)
}

fn wire(of: &Record) -> Wire {
    Wire {
        id: of.id.0.clone(),
        cluster: of.cluster.0.clone(),
        state: wire_state(of.state),
        origin: WireOrigin {
            namespace: of.origin.namespace.clone(),
            namespace_uid: of.origin.namespace_uid.0.clone(),
            name: of.origin.name.clone(),
            uid: of.origin.uid.0.clone(),
        },
        recovered_from: of.recovered_from.as_ref().map(|uid| uid.0.clone()),
        subject: wire_subject(&of.subject),
        retention_days: of.retention_days,
        soft_delete: of.soft_delete,
        purge_protection: of.purge_protection,
        dates: of.dates.map(|dates| WireDates {
            deletion_time: dates.deletion_time.timestamp(),
            scheduled_purge_time: dates.scheduled_purge_time.map(|time| time.timestamp()),
            retention_days: dates.retention_days,
        }),
        requesters: of.requesters.clone(),
        destroyed: of.destroyed.as_ref().map(|destroyed| WireDestroyed {
            at: destroyed.at.timestamp(),
            count: destroyed.count,
            digest: destroyed.digest.clone(),
        }),
    }
}

fn wire_state(state: RecordState) -> WireState {
    match state {
        RecordState::Creating => WireState::Creating,
        RecordState::Live => WireState::Live,
        RecordState::Sealing => WireState::Sealing,
        RecordState::Deleted => WireState::Deleted,
        RecordState::Opening => WireState::Opening,
        RecordState::Destroying => WireState::Destroying,
        RecordState::Tombstone => WireState::Tombstone,
        RecordState::Abandoned => WireState::Abandoned,
    }
}

fn wire_subject(subject: &Subject) -> WireSubject {
    match subject {
        Subject::Hsm { token } => WireSubject::Hsm(token.as_ref().map(|token| WireToken {
            label: token.label.clone(),
            serial: token.serial.clone(),
        })),
        Subject::Key {
            hsm,
            hsm_name,
            key_name,
            algorithm,
            versions,
            pending,
        } => WireSubject::Key(WireKey {
            hsm: hsm.0.clone(),
            hsm_name: hsm_name.clone(),
            key_name: key_name.clone(),
            algorithm: match algorithm {
                Algorithm::Rsa(bits) => WireAlgorithm::Rsa(*bits),
                Algorithm::Ec(curve) => WireAlgorithm::Ec(curve.clone()),
                Algorithm::Oct(bits) => WireAlgorithm::Oct(*bits),
            },
            versions: versions.iter().map(wire_version).collect(),
            pending: pending.as_ref().map(|pending| WirePending {
                number: pending.number,
                material: pending.material.0.clone(),
            }),
        }),
    }
}

fn wire_version(version: &Version) -> WireVersion {
    WireVersion {
        number: version.number,
        material: version.material.0.clone(),
        fingerprint: version.fingerprint.0.clone(),
        created: version.created.timestamp(),
    }
}

fn time(seconds: i64) -> Result<DateTime<Utc>, DecodeError> {
    DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| DecodeError::Broken(format!("{seconds} is no time")))
}

fn record(wire: Wire) -> Result<Record, DecodeError> {
    Ok(Record {
        id: RecordId(wire.id),
        cluster: Uid(wire.cluster),
        state: state(wire.state),
        origin: Origin {
            namespace: wire.origin.namespace,
            namespace_uid: Uid(wire.origin.namespace_uid),
            name: wire.origin.name,
            uid: Uid(wire.origin.uid),
        },
        recovered_from: wire.recovered_from.map(Uid),
        subject: subject(wire.subject)?,
        retention_days: wire.retention_days,
        soft_delete: wire.soft_delete,
        purge_protection: wire.purge_protection,
        dates: wire.dates.map(dates).transpose()?,
        requesters: wire.requesters,
        destroyed: wire
            .destroyed
            .map(|destroyed| {
                time(destroyed.at).map(|at| Destroyed {
                    at,
                    count: destroyed.count,
                    digest: destroyed.digest,
                })
            })
            .transpose()?,
    })
}

fn state(wire: WireState) -> RecordState {
    match wire {
        WireState::Creating => RecordState::Creating,
        WireState::Live => RecordState::Live,
        WireState::Sealing => RecordState::Sealing,
        WireState::Deleted => RecordState::Deleted,
        WireState::Opening => RecordState::Opening,
        WireState::Destroying => RecordState::Destroying,
        WireState::Tombstone => RecordState::Tombstone,
        WireState::Abandoned => RecordState::Abandoned,
    }
}

fn dates(wire: WireDates) -> Result<Dates, DecodeError> {
    Ok(Dates {
        deletion_time: time(wire.deletion_time)?,
        scheduled_purge_time: wire.scheduled_purge_time.map(time).transpose()?,
        retention_days: wire.retention_days,
    })
}

fn subject(wire: WireSubject) -> Result<Subject, DecodeError> {
    Ok(match wire {
        WireSubject::Hsm(token) => Subject::Hsm {
            token: token.map(|token| Token {
                label: token.label,
                serial: token.serial,
            }),
        },
        WireSubject::Key(key) => Subject::Key {
            hsm: RecordId(key.hsm),
            hsm_name: key.hsm_name,
            key_name: key.key_name,
            algorithm: match key.algorithm {
                WireAlgorithm::Rsa(bits) => Algorithm::Rsa(bits),
                WireAlgorithm::Ec(curve) => Algorithm::Ec(curve),
                WireAlgorithm::Oct(bits) => Algorithm::Oct(bits),
            },
            versions: key
                .versions
                .into_iter()
                .map(version)
                .collect::<Result<_, _>>()?,
            pending: key.pending.map(|pending| Pending {
                number: pending.number,
                material: MaterialId(pending.material),
            }),
        },
    })
}

fn version(wire: WireVersion) -> Result<Version, DecodeError> {
    Ok(Version {
        number: wire.number,
        material: MaterialId(wire.material),
        fingerprint: Fingerprint(wire.fingerprint),
        created: time(wire.created)?,
    })
}
