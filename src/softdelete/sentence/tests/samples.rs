//! At least one refusal of each reason, and each variation that changes the words, as somebody could meet it: for the tests of the
//! sentences, and for `docs/troubleshooting.md`, which shows them (`tests/laws`).

use chrono::{DateTime, Utc};

use super::{Deleted, Kind, Lack, Origin, Protector, Refusal, Uid, Unless};

const HSM: &str = "eca2a3b7-660a-494a-adf7-dd2f7270ae90";
const KEY: &str = "c3c2816d-24c0-406a-9d6a-e972b12627c4";
const OTHER: &str = "2d81d35b-b399-4fb4-97ef-9ecd56feaa7c";
const NAMESPACE: &str = "be70d017-38b8-43d5-bbe9-4ac81605e2fe";
const CLUSTER: &str = "a0d1f3a6-5c7b-4f0e-9a52-7f1f6f0c2b11";
const RECORD: &str = "fa2417e07cc387230374aeb617ea7492";

fn day() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a date")
}

fn origin(name: &str, uid: &str) -> Origin {
    Origin {
        namespace: "payments".into(),
        namespace_uid: "6a9f1c0e-2f0a-4a57-9d4f-0b7f1c0d5e21".into(),
        name: name.into(),
        uid: uid.into(),
    }
}

fn hsm() -> Deleted {
    Deleted {
        kind: Kind::Hsm,
        origin: origin("prod", HSM),
        purge_time: Some(day()),
        purgeable: true,
    }
}

fn key() -> Deleted {
    Deleted {
        kind: Kind::Key,
        origin: origin("signing", KEY),
        ..hsm()
    }
}

#[rustfmt::skip]
pub fn refusals() -> Vec<Refusal> {
    let text = |text: &str| text.to_owned();
    let proxy = || text("payments.signing");
    let uid = |uid: &str| Uid::from(uid);
    vec![
        Refusal::ObjectIsDeletedButRecoverable(key()),
        Refusal::ObjectIsDeletedButRecoverable(Deleted { purgeable: false, ..hsm() }),
        Refusal::ObjectIsDeletedButRecoverable(Deleted { purgeable: false, purge_time: None, ..hsm() }),
        Refusal::NameTaken { name: text("the key name signing in this HSM"), holder: text("the HsmKey payments/invoice-signing (uid 2d81d35b-b399-4fb4-97ef-9ecd56feaa7c)") },
        Refusal::PurgeProtected { by: Protector::Itself, until: Some(day()) },
        Refusal::PurgeProtected { by: Protector::Hsm(text("prod")), until: Some(day()) },
        Refusal::PurgeProtected { by: Protector::Key(text("root-ca")), until: Some(day()) },
        Refusal::PurgeProtected { by: Protector::Unknown, until: None },
        Refusal::UndeletableSubscription { until: Some(day()) },
        Refusal::FieldImmutable { field: text("spec.keyType"), fixed: text("EC"), wanted: text("RSA") },
        Refusal::RetentionImmutable { fixed: 90, wanted: 7 },
        Refusal::RetentionExceedsHsm { days: 90, hsm_days: 7 },
        Refusal::SoftDeleteIrreversible,
        Refusal::SoftDeleteRequired,
        Refusal::PurgeProtectionIrreversible,
        Refusal::PurgeProtectionNeedsSoftDelete { hsm: None },
        Refusal::PurgeProtectionNeedsSoftDelete { hsm: Some(text("scratch")) },
        Refusal::NothingToRecover { kind: Kind::Key, name: text("signing"), uid: uid(OTHER) },
        Refusal::NothingToPurge { kind: Kind::Key, proxy: proxy(), uid: uid(OTHER) },
        Refusal::UidMismatch { proxy: proxy(), asked: uid(OTHER), found: uid(KEY) },
        Refusal::SnapshotDisagrees { field: text("spec.curve"), deleted: text("P-256"), standing: text("P-384") },
        Refusal::CreateRefused { name: text("HsmKey payments/signing"), answer: text("exceeded quota: keys, requested: count/hsmkeys.managedhsm.dev=1") },
        Refusal::ProxyRefused { proxy: text("DeletedHsmKey payments.signing"), answer: text("admission webhook \"policy.example.com\" denied the request") },
        Refusal::NamespaceTerminating { namespace: text("payments") },
        Refusal::NamespaceChanged { kind: Kind::Hsm, origin: origin("prod", HSM), present: uid(NAMESPACE) },
        Refusal::HsmNotFound { hsm: text("prod") },
        Refusal::HsmDeleted { hsm: hsm(), recovering: false },
        Refusal::HsmDeleted { hsm: hsm(), recovering: true },
        Refusal::MaterialDestroyed { uid: uid(KEY) },
        Refusal::MaterialMissing { backend: text("default") },
        Refusal::NotPermitted { user: text("ann"), verb: text("purge"), resource: text("deletedhsmkeys"), name: proxy(), unless: Unless::Role },
        Refusal::NotPermitted {
            user: text("ann"), verb: text("delete"), resource: text("deletedhsmkeys"), name: proxy(),
            unless: Unless::Operator(text("recover the object with a Recover, have it purged with a Purge, or let it be purged at its date")),
        },
        Refusal::NotPermitted {
            user: text("ann"), verb: text("delete"), resource: text("persistentvolumeclaims"), name: text("store"),
            unless: Unless::Annotated(text("managedhsm.dev/allow-delete")),
        },
        Refusal::PurgeInProgress { proxy: proxy() },
        Refusal::RecoveryInProgress { proxy: proxy() },
        Refusal::PurgeHeld { by: text("Recover payments/signing-back") },
        Refusal::QuorumNotReached { got: 1, needed: 2, proxy: proxy() },
        Refusal::RateLimited { rate: 10, next: day() },
        Refusal::Expired { asked: day() },
        Refusal::BackendUnknown { backend: text("rack") },
        Refusal::BackendUnavailable { backend: text("rack"), why: text("CKR_DEVICE_REMOVED") },
        Refusal::BackendFull { backend: text("default"), why: text("the store holds 256 tokens at most") },
        Refusal::BackendNotAllowed { backend: text("rack"), namespace: text("payments") },
        Refusal::MechanismNotSupported { backend: text("rack"), mechanism: text("key of type EC on curve P-521") },
        Refusal::RecordDisagrees { record: text(RECORD), why: text("it has generation 4, while the cluster has seen a later one") },
        Refusal::ForeignMaterial { cluster: uid(CLUSTER) },
        Refusal::PoliciesMissing { missing: text("definition purges.managedhsm.dev"), lack: Lack::Absent },
        Refusal::PoliciesMissing { missing: text("policy purges.managedhsm.dev"), lack: Lack::Unseen },
        Refusal::PoliciesMissing { missing: text("policies' last change"), lack: Lack::Settling },
        Refusal::PoliciesMissing { missing: text("policies' last change"), lack: Lack::CameLater },
        Refusal::ClockNotTrusted,
        Refusal::EndpointNameTaken { service: text("payments/prod") },
    ]
}
