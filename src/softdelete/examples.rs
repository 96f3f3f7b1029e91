//! Records and times that the rules' tests share.

use chrono::{DateTime, Utc};

use super::record::{Algorithm, Version};
use super::retention::{DAY, dates};
use super::{Origin, Record, RecordState, Subject};

/// Seconds after one fixed moment, 2027-01-15T08:00:00Z.
pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

pub fn version(number: i32) -> Version {
    let (material, fingerprint) = (format!("m{number}").into(), format!("f{number}").into());
    Version {
        number,
        material,
        fingerprint,
        created: at(0),
    }
}

pub fn origin() -> Origin {
    Origin {
        namespace: "payments".into(),
        namespace_uid: "n-1".into(),
        name: "prod".into(),
        uid: "u-1".into(),
    }
}

/// The record `k-1` of the key `Signing` with one version in the HSM `h-1`, deleted once, for 90 days.
pub fn key(state: RecordState) -> Record {
    Record {
        id: "k-1".into(),
        cluster: "c-1".into(),
        state,
        origin: origin(),
        recovered_from: None,
        subject: key_in("h-1", vec![version(1)]),
        retention_days: 90,
        soft_delete: true,
        purge_protection: false,
        dates: Some(dates(at(0), Some(90), DAY)),
        requesters: vec![],
        destroyed: None,
    }
}

pub fn key_in(hsm: &str, versions: Vec<Version>) -> Subject {
    Subject::Key {
        hsm: hsm.into(),
        hsm_name: "prod".into(),
        key_name: "Signing".into(),
        algorithm: Algorithm::Ec("P-256".into()),
        versions,
        pending: None,
    }
}
