//! The one place that words a refusal: the cause, and the way out. Admission, conditions, events, the command line and
//! REST all show the same sentence.

use chrono::{DateTime, SecondsFormat, Utc};

use super::permission::Lack;
use super::{Kind, Origin, Reason, Uid};

/// What protects something from a purge on request (SD-14).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Protector {
    /// Its own switch.
    Itself,
    /// The HSM around it.
    Hsm(String),
    /// A protected key inside it, live or deleted.
    Key(String),
    /// It could not be learnt, which counts as protected.
    Unknown,
}

/// Who may do what a user may not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unless {
    /// Whoever a role lets.
    Role,
    /// The operator alone; what a user does instead.
    Operator(String),
    /// Whoever put this annotation on it first.
    Annotated(String),
}

/// A soft-deleted object as a refusal shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deleted {
    pub kind: Kind,
    pub origin: Origin,
    /// Absent: there is no date by which it goes by itself.
    pub purge_time: Option<DateTime<Utc>>,
    /// Whether a privileged user may purge it on request (SD-16).
    pub purgeable: bool,
}

/// One refusal with the data that its sentence needs; one variant for each reason (SD-34).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Refusal {
    ObjectIsDeletedButRecoverable(Deleted),
    /// `name` is what was wanted, as a person would say it; `holder` the resource that has it.
    NameTaken { name: String, holder: String },
    PurgeProtected { by: Protector, until: Option<DateTime<Utc>> },
    UndeletableSubscription { until: Option<DateTime<Utc>> },
    /// `field` as a path, such as `spec.keyType`.
    FieldImmutable { field: String, fixed: String, wanted: String },
    RetentionImmutable { fixed: i32, wanted: i32 },
    RetentionExceedsHsm { days: i32, hsm_days: i32 },
    SoftDeleteIrreversible,
    SoftDeleteRequired,
    PurgeProtectionIrreversible,
    /// `hsm`: the HSM of a key; absent for an HSM itself.
    PurgeProtectionNeedsSoftDelete { hsm: Option<String> },
    NothingToRecover { kind: Kind, name: String, uid: Uid },
    NothingToPurge { kind: Kind, proxy: String, uid: Uid },
    UidMismatch { proxy: String, asked: Uid, found: Uid },
    SnapshotDisagrees { field: String, deleted: String, standing: String },
    /// `answer`: what the API server said to the create.
    CreateRefused { name: String, answer: String },
    ProxyRefused { proxy: String, answer: String },
    NamespaceTerminating { namespace: String },
    NamespaceChanged { kind: Kind, origin: Origin, present: Uid },
    HsmNotFound { hsm: String },
    /// `recovering`: its recovery runs, so that this passes by itself.
    HsmDeleted { hsm: Deleted, recovering: bool },
    MaterialDestroyed { uid: Uid },
    MaterialMissing { backend: String },
    NotPermitted { user: String, verb: String, resource: String, name: String, unless: Unless },
    PurgeInProgress { proxy: String },
    RecoveryInProgress { proxy: String },
    /// `by`: the Recover, or the object with CreateOrRecover, as `Kind namespace/name`.
    PurgeHeld { by: String },
    QuorumNotReached { got: usize, needed: usize, proxy: String },
    RateLimited { rate: u32, next: DateTime<Utc> },
    Expired { asked: DateTime<Utc> },
    BackendUnknown { backend: String },
    /// `why`: what it answered instead, if anything.
    BackendUnavailable { backend: String, why: String },
    /// `why`: what it has no more of, in its own words.
    BackendFull { backend: String, why: String },
    BackendNotAllowed { backend: String, namespace: String },
    MechanismNotSupported { backend: String, mechanism: String },
    /// `record`: its id; `why`: a few words.
    RecordDisagrees { record: String, why: String },
    ForeignMaterial { cluster: Uid },
    PoliciesMissing { missing: String, lack: Lack },
    ClockNotTrusted,
    EndpointNameTaken { service: String },
}

impl Refusal {
    /// Its code.
    pub const fn reason(&self) -> Reason {
        // A variant's reason is the one of its own name, which a written-out table could get wrong.
        macro_rules! same_name {
            ($($name:ident $(($($tuple:tt)*))? $({$($fields:tt)*})?),+ $(,)?) => {
                match self { $(Self::$name $(($($tuple)*))? $({$($fields)*})? => Reason::$name),+ }
            };
        }
        same_name!(
            ObjectIsDeletedButRecoverable(_),
            NameTaken { .. },
            PurgeProtected { .. },
            UndeletableSubscription { .. },
            FieldImmutable { .. },
            RetentionImmutable { .. },
            RetentionExceedsHsm { .. },
            SoftDeleteIrreversible,
            SoftDeleteRequired,
            PurgeProtectionIrreversible,
            PurgeProtectionNeedsSoftDelete { .. },
            NothingToRecover { .. },
            NothingToPurge { .. },
            UidMismatch { .. },
            SnapshotDisagrees { .. },
            CreateRefused { .. },
            ProxyRefused { .. },
            NamespaceTerminating { .. },
            NamespaceChanged { .. },
            HsmNotFound { .. },
            HsmDeleted { .. },
            MaterialDestroyed { .. },
            MaterialMissing { .. },
            NotPermitted { .. },
            PurgeInProgress { .. },
            RecoveryInProgress { .. },
            PurgeHeld { .. },
            QuorumNotReached { .. },
            RateLimited { .. },
            Expired { .. },
            BackendUnknown { .. },
            BackendUnavailable { .. },
            BackendFull { .. },
            BackendNotAllowed { .. },
            MechanismNotSupported { .. },
            RecordDisagrees { .. },
            ForeignMaterial { .. },
            PoliciesMissing { .. },
            ClockNotTrusted,
            EndpointNameTaken { .. },
        )
    }

    /// Whether it is shown as `Stalled`: by its reason, unless the facts say that it passes by itself.
    pub const fn stalls(&self) -> bool {
        match self {
            Self::HsmDeleted { recovering, .. } => !*recovering,
            Self::PoliciesMissing { lack, .. } => !matches!(lack, Lack::Settling),
            _ => self.reason().stalls(),
        }
    }

    /// SD-34 The sentence's two halves: the cause, and the way out.
    #[rustfmt::skip]
    fn halves(&self) -> (String, String) {
        match self {
            Self::ObjectIsDeletedButRecoverable(deleted) => (
                format!("this name is reserved for {}", described(deleted)), ways_out(deleted)),
            Self::NameTaken { name, holder } => (
                format!("{name} belongs to {holder}"),
                "choose another name, or delete that one and have it purged".into()),
            Self::PurgeProtected { by, until } => (
                format!("purge protection{} forbids a purge on request", protector(by)), wait_or_recover(*until)),
            Self::UndeletableSubscription { until } => (
                "this cluster is undeletable, so nothing is purged on request".into(), wait_or_recover(*until)),
            Self::FieldImmutable { field, fixed, wanted } => (
                format!("the field {field} was fixed as {fixed} at creation and cannot become {wanted}"),
                "set it back, or create another object under another name".into()),
            Self::RetentionImmutable { fixed, wanted } => (
                format!("the field spec.retentionDays was fixed at creation, {fixed} days in effect, and cannot become {wanted}"),
                "set it back to what was said at creation, or create another object under another name".into()),
            Self::RetentionExceedsHsm { days, hsm_days } => (
                format!("a key cannot be kept for {days} days in an HSM that is kept for {hsm_days}"),
                format!("create the key anew with spec.retentionDays of at most {hsm_days}, or without it")),
            Self::SoftDeleteIrreversible => (
                "soft-delete is on for this HSM and can never be turned off again".into(),
                "set spec.softDelete to true or leave it out".into()),
            Self::SoftDeleteRequired => (
                "this cluster is undeletable, so no HSM may be without soft-delete".into(),
                "set spec.softDelete to true or leave it out".into()),
            Self::PurgeProtectionIrreversible => (
                "purge protection was turned on and can never be turned off again".into(),
                "set spec.purgeProtection to true".into()),
            Self::PurgeProtectionNeedsSoftDelete { hsm: None } => (
                "purge protection needs soft-delete".into(),
                "set spec.softDelete to true, or leave spec.purgeProtection out".into()),
            Self::PurgeProtectionNeedsSoftDelete { hsm: Some(hsm) } => (
                format!("no key can be protected in the ManagedHsm {hsm}, which is without soft-delete"),
                "turn that HSM's soft-delete on, or leave the key's spec.purgeProtection out".into()),
            Self::NothingToRecover { kind, name, uid } => (
                format!("there is no deleted {} {name} with uid {uid} to recover: it was never there, or it was purged", kind.object()),
                format!("look for the right uid with kubectl get {} -o wide, or create a new object", kind.proxies())),
            Self::NothingToPurge { kind, proxy, uid } => (
                format!("there is no {} {proxy} of an object with uid {uid} to purge", kind.proxy()),
                format!("nothing is left to do, or look for the right one with kubectl get {} -o wide", kind.proxies())),
            Self::UidMismatch { proxy, asked, found } => (
                format!("the proxy {proxy} is the deleted object with uid {found}, not {asked}"),
                "ask again with that uid if this is the one that you mean".into()),
            Self::SnapshotDisagrees { field, deleted, standing } => (
                format!("the deleted object has {field} {deleted}, the one that stands in its place has {standing}"),
                "correct or delete the one that stands, then create a new Recover".into()),
            Self::CreateRefused { name, answer } => (
                format!("the object {name} cannot be made again, since the API server answers \"{}\"", quoted(answer)),
                "remove what hinders it, and the recovery goes on by itself".into()),
            Self::ProxyRefused { proxy, answer } => (
                format!("the proxy {proxy} cannot be written, so the object is kept; the API server answers \"{}\"", quoted(answer)),
                "remove what hinders it, and the deletion goes on by itself".into()),
            Self::NamespaceTerminating { namespace } => (
                format!("the namespace {namespace} is being deleted"),
                "wait until it is gone, make it anew and create the request there".into()),
            Self::NamespaceChanged { kind, origin, present } => (
                format!("the namespace {} is not the one that the deleted {} with uid {} was in", origin.namespace, kind.object(), origin.uid),
                format!("whoever holds the verb recover on it accepts the present one with {}", recover_command(*kind, origin, Some(present)))),
            Self::HsmNotFound { hsm } => (
                format!("there is no ManagedHsm {hsm} in this namespace"),
                "create it, and this goes on by itself".into()),
            Self::HsmDeleted { hsm, recovering: true } => (
                format!("its HSM is {} and is being recovered", described(hsm)),
                "wait until that is done, and this goes on by itself".into()),
            Self::HsmDeleted { hsm, recovering: false } => (format!("its HSM is {}", described(hsm)), ways_out(hsm)),
            Self::MaterialDestroyed { uid } => (
                format!("the material of the object with uid {uid} was destroyed and never comes back"),
                "delete this resource, and create a new one if you need one".into()),
            Self::MaterialMissing { backend } => (
                format!("the material of this object is not in the backend {backend}"),
                "bring its store back, or, where that is lost for good, delete the object if it still stands and let an administrator give its proxy up with ledger abandon once its purge date is past".into()),
            Self::NotPermitted { user, verb, resource, name, unless: Unless::Role } => (
                format!("the user {user} may not {verb} {resource} {name}"),
                "ask an administrator for a role with that verb, or somebody who has it".into()),
            Self::NotPermitted { user, verb, resource, name, unless: Unless::Operator(instead) } => (
                format!("only the operator may {verb} {resource} {name}, not the user {user}"), instead.clone()),
            Self::NotPermitted { verb, resource, name, unless: Unless::Annotated(annotation), .. } => (
                format!("every key hangs on {resource} {name}, so nobody may {verb} it by mistake"),
                format!("annotate it {annotation}=true with kubectl annotate first, if it is to go for good")),
            Self::PurgeInProgress { proxy } => (
                format!("the proxy {proxy} is being purged"),
                "wait for its end: if the purge turns back this goes on by itself, else the name becomes free".into()),
            Self::RecoveryInProgress { proxy } => (
                format!("the proxy {proxy} is being recovered"),
                "wait for its end, and delete the object again if it is to be purged".into()),
            Self::PurgeHeld { by } => (
                format!("the recovery that {by} asks for goes before a purge"),
                "let it finish, or delete it, and this goes on by itself".into()),
            Self::QuorumNotReached { got, needed, proxy } => (
                format!("{got} of {needed} different users have asked for the purge of {proxy}"),
                "let others who may purge create a Purge for the same uid, or delete this one to withdraw it".into()),
            Self::RateLimited { rate, next } => (
                format!("no more than {rate} purges an hour run on request"),
                format!("wait, since it goes on by itself from {} on, or delete this Purge to withdraw it", date(*next))),
            Self::Expired { asked } => (
                format!("the request of {} waited for more than seven days, or the cluster's store was put back since", date(*asked)),
                "create a new Purge if it is still wanted".into()),
            Self::BackendUnknown { backend } => (
                format!("the backend {backend} is not configured"),
                "let an administrator add it to the operator's backends, or correct spec.backend in a new object".into()),
            Self::BackendUnavailable { backend, why } => (
                format!("the backend {backend} does not answer as it should{}", because(why)),
                "wait, since this goes on by itself when it does, or let an administrator look at it".into()),
            Self::BackendFull { backend, why } => (
                format!("the backend {backend} has no more room{}", because(why)),
                "have deleted HSMs and keys purged, or let an administrator raise its limits or make room on its disk, and this goes on by itself".into()),
            Self::BackendNotAllowed { backend, namespace } => (
                format!("the backend {backend} is not open to the namespace {namespace}"),
                "use another backend, or let an administrator add the namespace to its allowedNamespaces".into()),
            Self::MechanismNotSupported { backend, mechanism } => (
                format!("the backend {backend} has no {mechanism}"),
                "create the key with another type, size or curve, or in another backend".into()),
            Self::RecordDisagrees { record, why } => (
                format!("the backend's record {record} does not agree with the cluster ({})", quoted(why)),
                format!("let an administrator compare them with ledger show {record}, then restore what is old or decide with ledger accept")),
            Self::ForeignMaterial { cluster } => (
                format!("this material belongs to the cluster {cluster}"),
                format!("leave it to that cluster, or let an administrator take it over with --adopt-cluster-id {cluster}")),
            Self::PoliciesMissing { lack: Lack::CameLater, .. } => (
                "this was asked before the admission policies stood as they should, and nothing is destroyed or handed out on what they did not see".into(),
                "delete it and create it again".into()),
            Self::PoliciesMissing { missing, lack: Lack::Unseen } => (
                format!("the {missing} is not in place, and nothing is destroyed or handed out on what it did not see"),
                "let an administrator apply the operator's manifests again, then delete this and create it again".into()),
            Self::PoliciesMissing { missing, lack: Lack::Settling } => (
                format!("the {missing} came into place only now, and nothing is destroyed or handed out on what it may not have seen"),
                "wait some seconds, and this goes on by itself".into()),
            Self::PoliciesMissing { missing, lack: Lack::Absent } => (
                format!("the {missing} is not in place, and nothing is destroyed or handed out without it"),
                "let an administrator install the operator's definitions and policies again, and this goes on by itself".into()),
            Self::ClockNotTrusted => (
                "the clocks of the operator and of the API server do not agree, so nothing is purged".into(),
                "set the clocks right, and this goes on by itself".into()),
            Self::EndpointNameTaken { service } => (
                format!("the Service {service} has the name that this HSM's endpoint needs"),
                "delete or rename that Service, and the endpoint is made by itself".into()),
        }
    }
}

/// The sentence (SD-34).
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (cause, way_out) = self.halves();
        write!(f, "{}; {way_out}.", capitalised(&cause))
    }
}

/// A date as every sentence shows it: RFC 3339, UTC, whole seconds.
pub fn date(time: DateTime<Utc>) -> String {
    super::retention::whole_seconds_up(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A Recover of exactly this deletion, as one line to paste into a shell. Its name comes from the uid: applying it again does nothing (SD-19).
/// Where a namespace was deleted its HSMs' keys were deleted with it, each on its own, and come back with them (SD-21).
pub fn recover_command(kind: Kind, origin: &Origin, accept: Option<&Uid>) -> String {
    let keys = match kind {
        Kind::Hsm => r#","includeKeys":"All""#,
        Kind::Key => "",
    };
    let accept = accept
        .map(|uid| format!(r#"{keys},"acceptNamespaceUid":"{uid}""#))
        .unwrap_or_default();
    format!(
        r#"kubectl apply -f - <<<'{{"apiVersion":"managedhsm.dev/v1alpha1","kind":"Recover","metadata":{{"name":"recover-{uid}","namespace":"{namespace}"}},"spec":{{"kind":"{kind}","name":"{name}","uid":"{uid}"{accept}}}}}'"#,
        uid = origin.uid,
        namespace = origin.namespace,
        name = origin.name,
        kind = kind.object(),
    )
}

fn described(deleted: &Deleted) -> String {
    let Deleted {
        kind,
        origin,
        purge_time,
        ..
    } = deleted;
    let until = purge_time.map_or("kept without a date".into(), |time| {
        format!("to be purged at {}", date(time))
    });
    format!(
        "{} {}.{} (uid {}, {until})",
        kind.proxy(),
        origin.namespace,
        origin.name,
        origin.uid
    )
}

fn ways_out(deleted: &Deleted) -> String {
    let recover = recover_command(deleted.kind, &deleted.origin, None);
    let purge = match (deleted.purgeable, deleted.purge_time) {
        (true, _) => "have it purged with a Purge that names it and that uid",
        (false, Some(_)) => {
            "wait for its purge at that date, since it is protected from an earlier one"
        }
        (false, None) => "let an administrator look at it, since it is protected from a purge",
    };
    format!("recover it with {recover} or {purge}")
}

fn wait_or_recover(until: Option<DateTime<Utc>>) -> String {
    let wait = until.map_or("recover it, or keep it".into(), |time| {
        format!(
            "wait for the scheduled purge at {}, or recover it",
            date(time)
        )
    });
    format!("{wait}, since nobody can override this")
}

fn protector(by: &Protector) -> String {
    match by {
        Protector::Itself => String::new(),
        Protector::Hsm(name) => format!(" of the HSM {name} around it"),
        Protector::Key(name) => format!(" of the key {name} in it"),
        Protector::Unknown => ", which counts as on while it cannot be read,".into(),
    }
}

/// The backend's own words, where there are some.
fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", quoted(why))
    }
}

/// Somebody else's words, cut and smoothed so that the whole stays one sentence; Flux deletes and recreates on "immutable field".
fn quoted(text: &str) -> String {
    let line: Vec<_> = text.split_whitespace().collect();
    let line = line
        .join(" ")
        .replace("is immutable", "is fixed")
        .replace("immutable field", "fixed field");
    let line = line
        .replace(". ", "; ")
        .replace("! ", "; ")
        .replace("? ", "; ");
    line.trim_end_matches('.').chars().take(256).collect()
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests;
