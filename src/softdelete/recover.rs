//! Recover: whether it goes on, waits, is done or fails for good.

use super::arbiter::{ReadsAs, reads_as};
use super::names::Names;
use super::permission::{Missing, policies_in_place};
use super::sentence::Deleted;
use super::{Kind, Origin, RecordState, Refusal, Uid};

/// The namespace as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceNow<'a> {
    pub uid: &'a Uid,
    pub terminating: bool,
}

/// SD-19 Whether something may come back into the namespace of its name: into the very one of then, or into one whose uid was accepted
/// by somebody of whom admission knows that he may.
pub fn accepts_namespace(
    kind: Kind,
    origin: &Origin,
    now: &NamespaceNow<'_>,
    accepted: Option<&Uid>,
    missing: Option<&Missing>,
) -> Result<(), Refusal> {
    if now.terminating {
        return Err(Refusal::NamespaceTerminating {
            namespace: origin.namespace.clone(),
        });
    }
    if *now.uid == origin.namespace_uid {
        return Ok(());
    }
    if accepted != Some(now.uid) {
        return Err(Refusal::NamespaceChanged {
            kind,
            origin: origin.clone(),
            present: now.uid.clone(),
        });
    }
    policies_in_place(missing)
}

/// The proxy of the deletion that the Recover names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyNow {
    Absent,
    Retained,
    /// For this Recover, or for another one.
    Recovering {
        ours: bool,
    },
    Destroying,
}

/// What stands under the deleted object's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Nothing,
    /// It is live again, by this recovery or an earlier one.
    LiveAgain,
    /// The object itself, still terminating.
    Terminating,
    /// One that only waits for the name: it may take the material unless it differs (`fixed::adoption_difference`).
    Waiting(Option<Refusal>),
    /// A live one with other material (`NameTaken`).
    Other(Refusal),
}

/// A key's HSM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HsmNow {
    Live,
    SoftDeleted { hsm: Deleted, recovering: bool },
    NotFound { name: String },
}

impl HsmNow {
    /// Why nothing is recovered or purged in it on its own.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Live => None,
            Self::SoftDeleted { hsm, recovering } => Some(Refusal::HsmDeleted {
                hsm: hsm.clone(),
                recovering: *recovering,
            }),
            Self::NotFound { name } => Some(Refusal::HsmNotFound { hsm: name.clone() }),
        }
    }
}

/// All that a Recover depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverFacts {
    pub kind: Kind,
    pub name: String,
    /// The uid that the deleted object had.
    pub uid: Uid,
    /// The record of that uid's lineage, as it reads beside its HSM's (SD-26).
    pub record: Option<RecordState>,
    /// It has a retention; without one nothing can be recovered (SD-02).
    pub retained: bool,
    pub proxy: ProxyNow,
    pub standing: Standing,
    /// Of a key.
    pub hsm: Option<HsmNow>,
    /// `accepts_namespace`.
    pub namespace: Result<(), Refusal>,
    /// What else hinders it: backend, record, material.
    pub backend: Result<(), Refusal>,
}

/// What becomes of a Recover now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoverVerdict {
    Go,
    /// Nothing is left to do.
    Done,
    /// The deletion is not finished, or its proxy not written (again) yet.
    AwaitDeletion,
    Wait(Refusal),
    /// For good.
    Fail(Refusal),
}

/// SD-20 The outcome of a Recover as things are now: the first check that has something to say.
pub fn recover(facts: &RecoverFacts) -> RecoverVerdict {
    const CHECKS: [fn(&RecoverFacts) -> Option<RecoverVerdict>; 9] = [
        live_again,
        nothing_there,
        being_purged,
        not_deleted_yet,
        somebody_elses,
        hsm_hinders,
        namespace_hinders,
        place_is_taken,
        backend_hinders,
    ];
    CHECKS
        .iter()
        .find_map(|check| check(facts))
        .unwrap_or(RecoverVerdict::Go)
}

fn live_again(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    (facts.standing == Standing::LiveAgain).then_some(RecoverVerdict::Done)
}

fn nothing_there(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    let never = matches!(facts.record.map(reads_as), None | Some(ReadsAs::Creating))
        && facts.proxy == ProxyNow::Absent
        && facts.standing != Standing::Terminating;
    let purged = facts.record.map(reads_as) == Some(ReadsAs::Gone);
    (never || purged || !facts.retained).then(|| {
        let (kind, name, uid) = (facts.kind, facts.name.clone(), facts.uid.clone());
        RecoverVerdict::Fail(Refusal::NothingToRecover { kind, name, uid })
    })
}

fn being_purged(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    let purged =
        facts.proxy == ProxyNow::Destroying || facts.record == Some(RecordState::Destroying);
    purged.then(|| {
        RecoverVerdict::Wait(Refusal::PurgeInProgress {
            proxy: described(facts),
        })
    })
}

fn not_deleted_yet(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    let unfinished = facts.standing == Standing::Terminating
        || facts.proxy == ProxyNow::Absent
        || facts.record == Some(RecordState::Sealing);
    unfinished.then_some(RecoverVerdict::AwaitDeletion)
}

fn somebody_elses(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    let others = facts.proxy == (ProxyNow::Recovering { ours: false });
    others.then(|| {
        RecoverVerdict::Wait(Refusal::RecoveryInProgress {
            proxy: described(facts),
        })
    })
}

/// A key does not come back before its HSM (SD-21).
fn hsm_hinders(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    facts.hsm.as_ref()?.refusal().map(RecoverVerdict::Wait)
}

fn namespace_hinders(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    facts.namespace.clone().err().map(RecoverVerdict::Wait)
}

fn place_is_taken(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    match &facts.standing {
        Standing::Waiting(difference) => difference.clone().map(RecoverVerdict::Fail),
        Standing::Other(refusal) => Some(RecoverVerdict::Wait(refusal.clone())),
        Standing::Nothing | Standing::LiveAgain | Standing::Terminating => None,
    }
}

fn backend_hinders(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    facts.backend.clone().err().map(RecoverVerdict::Wait)
}

fn described(facts: &RecoverFacts) -> String {
    format!(
        "of the {} {} (uid {})",
        facts.kind.object(),
        facts.name,
        facts.uid
    )
}

/// Whether a proxy that says *Recovering* may go back to retained: the object cannot be made, its new uid was not written, and nothing was unsealed (SD-20).
pub const fn may_turn_back(new_uid_written: bool, record: RecordState) -> bool {
    !new_uid_written && matches!(record, RecordState::Deleted)
}

/// Whether a recovery goes on although its Recover is gone: from the proxy's *Recovering* on a withdrawal changes nothing (SD-20).
pub const fn goes_on_without_its_recover(proxy: ProxyNow) -> bool {
    matches!(proxy, ProxyNow::Recovering { .. })
}

/// Which keys a recovery of an HSM brings back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IncludeKeys {
    #[default]
    None,
    All,
}

/// What becomes of a key in its HSM's recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOutcome {
    /// It was live and is again, without anyone's help (SD-27).
    Returns,
    /// It was deleted on its own and is recovered as well.
    Recovered,
    /// It stays soft-deleted, sealed on its own, with its own dates.
    StaysDeleted,
    /// It is being destroyed, or gone, or was never made.
    None,
}

/// SD-21 Which of an HSM's keys come back with it: all that were live, and with `All` also those that were deleted on their own.
pub const fn with_its_hsm(key: RecordState, include: IncludeKeys) -> KeyOutcome {
    match (reads_as(key), include) {
        (ReadsAs::Live, _) => KeyOutcome::Returns,
        (ReadsAs::Deleted, IncludeKeys::All) => KeyOutcome::Recovered,
        (ReadsAs::Deleted, IncludeKeys::None) => KeyOutcome::StaysDeleted,
        (ReadsAs::Creating | ReadsAs::Destroying | ReadsAs::Gone, _) => KeyOutcome::None,
    }
}

/// `spec.createMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CreateMode {
    #[default]
    Default,
    CreateOrRecover,
}

/// Whether what hinders an object is shown as `Stalled` on it. With SD-22, a key that says `CreateOrRecover` expects its HSM back as it comes back itself,
/// without anybody's act on the key: Helm and Flux, which give up at the first `Stalled` that they see, then wait for both.
pub const fn stands_still(mode: CreateMode, refusal: &Refusal) -> bool {
    match (mode, refusal) {
        (CreateMode::CreateOrRecover, Refusal::HsmDeleted { .. }) => false,
        _ => refusal.stalls(),
    }
}

/// What an object without material does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateStep {
    Create,
    /// Recover what reserves its name.
    Recover(Deleted),
    Stand(Refusal),
}

/// SD-22 What an object does whose name is free, or is kept from it (`names::reserved`): with `CreateOrRecover` it recovers what was deleted under
/// its own resource name in the same namespace; in one made anew it waits for a Recover that accepts it.
pub fn create_or_recover(
    mode: CreateMode,
    wanted: &Names<'_>,
    reserved: Option<Refusal>,
    namespace: &Uid,
) -> CreateStep {
    match (reserved, mode) {
        (None, _) => CreateStep::Create,
        (Some(Refusal::ObjectIsDeletedButRecoverable(deleted)), CreateMode::CreateOrRecover)
            if is_its_own(wanted, &deleted) =>
        {
            recover_here(deleted, namespace)
        }
        (Some(refusal), _) => CreateStep::Stand(refusal),
    }
}

fn is_its_own(wanted: &Names<'_>, deleted: &Deleted) -> bool {
    deleted.kind == wanted.kind
        && deleted.origin.namespace == wanted.namespace
        && deleted.origin.name == wanted.name
}

fn recover_here(deleted: Deleted, namespace: &Uid) -> CreateStep {
    let now = NamespaceNow {
        uid: namespace,
        terminating: false,
    };
    match accepts_namespace(deleted.kind, &deleted.origin, &now, None, None) {
        Ok(()) => CreateStep::Recover(deleted),
        Err(refusal) => CreateStep::Stand(refusal),
    }
}

#[cfg(test)]
mod tests;
