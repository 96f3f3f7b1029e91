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
        return Err(Refusal::NamespaceTerminating { namespace: origin.namespace.clone() });
    }
    if *now.uid == origin.namespace_uid {
        return Ok(());
    }
    if accepted != Some(now.uid) {
        return Err(Refusal::NamespaceChanged { kind, origin: origin.clone(), present: now.uid.clone() });
    }
    policies_in_place(missing)
}

/// The proxy of the deletion that the Recover names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyNow {
    Absent,
    Retained,
    /// For this Recover, or for another one.
    Recovering { ours: bool },
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
    CHECKS.iter().find_map(|check| check(facts)).unwrap_or(RecoverVerdict::Go)
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
    let purged = facts.proxy == ProxyNow::Destroying || facts.record == Some(RecordState::Destroying);
    purged.then(|| RecoverVerdict::Wait(Refusal::PurgeInProgress { proxy: described(facts) }))
}

fn not_deleted_yet(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    let unfinished = facts.standing == Standing::Terminating
        || facts.proxy == ProxyNow::Absent
        || facts.record == Some(RecordState::Sealing);
    unfinished.then_some(RecoverVerdict::AwaitDeletion)
}

fn somebody_elses(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    let others = facts.proxy == (ProxyNow::Recovering { ours: false });
    others.then(|| RecoverVerdict::Wait(Refusal::RecoveryInProgress { proxy: described(facts) }))
}

/// SD-21 A key does not come back before its HSM.
fn hsm_hinders(facts: &RecoverFacts) -> Option<RecoverVerdict> {
    let refusal = match facts.hsm.as_ref()? {
        HsmNow::Live => return None,
        HsmNow::SoftDeleted { hsm, recovering } => Refusal::HsmDeleted { hsm: hsm.clone(), recovering: *recovering },
        HsmNow::NotFound { name } => Refusal::HsmNotFound { hsm: name.clone() },
    };
    Some(RecoverVerdict::Wait(refusal))
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
    format!("of the {} {} (uid {})", facts.kind.object(), facts.name, facts.uid)
}

/// SD-20 Whether a proxy that says *Recovering* may go back to retained: the object cannot be made, its new uid was not written, and nothing was unsealed.
pub const fn may_turn_back(new_uid_written: bool, record: RecordState) -> bool {
    !new_uid_written && matches!(record, RecordState::Deleted)
}

/// SD-20 Whether a recovery goes on although its Recover is gone: from the proxy's *Recovering* on a withdrawal changes nothing.
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
pub fn create_or_recover(mode: CreateMode, wanted: &Names<'_>, reserved: Option<Refusal>, namespace: &Uid) -> CreateStep {
    match (reserved, mode) {
        (None, _) => CreateStep::Create,
        (Some(Refusal::ObjectIsDeletedButRecoverable(deleted)), CreateMode::CreateOrRecover) if is_its_own(wanted, &deleted) => {
            recover_here(deleted, namespace)
        }
        (Some(refusal), _) => CreateStep::Stand(refusal),
    }
}

fn is_its_own(wanted: &Names<'_>, deleted: &Deleted) -> bool {
    deleted.kind == wanted.kind && deleted.origin.namespace == wanted.namespace && deleted.origin.name == wanted.name
}

fn recover_here(deleted: Deleted, namespace: &Uid) -> CreateStep {
    let now = NamespaceNow { uid: namespace, terminating: false };
    match accepts_namespace(deleted.kind, &deleted.origin, &now, None, None) {
        Ok(()) => CreateStep::Recover(deleted),
        Err(refusal) => CreateStep::Stand(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::Reason;

    fn origin() -> Origin {
        Origin { namespace: "payments".into(), namespace_uid: "n-1".into(), name: "prod".into(), uid: "u-1".into() }
    }

    fn deleted() -> Deleted {
        Deleted { kind: Kind::Hsm, origin: origin(), purge_time: chrono::DateTime::from_timestamp(0, 0), purgeable: true }
    }

    fn facts() -> RecoverFacts {
        RecoverFacts {
            kind: Kind::Key,
            name: "signing".into(),
            uid: "u-1".into(),
            record: Some(RecordState::Deleted),
            retained: true,
            proxy: ProxyNow::Retained,
            standing: Standing::Nothing,
            hsm: Some(HsmNow::Live),
            namespace: Ok(()),
            backend: Ok(()),
        }
    }

    fn waits(facts: &RecoverFacts) -> Option<Reason> {
        match recover(facts) {
            RecoverVerdict::Wait(refusal) => Some(refusal.reason()),
            _ => None,
        }
    }

    fn fails(facts: &RecoverFacts) -> Option<Reason> {
        match recover(facts) {
            RecoverVerdict::Fail(refusal) => Some(refusal.reason()),
            _ => None,
        }
    }

    fn accepts(present: &str, accepted: Option<&str>, missing: Option<&Missing>) -> Option<Reason> {
        let (present, accepted) = (Uid::from(present), accepted.map(Uid::from));
        let now = NamespaceNow { uid: &present, terminating: false };
        accepts_namespace(Kind::Hsm, &origin(), &now, accepted.as_ref(), missing).err().map(|refusal| refusal.reason())
    }

    #[test]
    fn sd19_it_comes_back_into_the_very_namespace_of_then() {
        assert_eq!(accepts("n-1", None, None), None);
    }

    #[test]
    fn sd19_a_namespace_made_anew_must_be_accepted_by_its_present_uid() {
        assert_eq!(accepts("n-2", None, None), Some(Reason::NamespaceChanged));
        assert_eq!(accepts("n-2", Some("n-1"), None), Some(Reason::NamespaceChanged));
        assert_eq!(accepts("n-2", Some("n-2"), None), None);
    }

    #[test]
    fn sd19_an_acceptance_is_believed_only_with_the_policies_in_place() {
        let missing = Missing { what: "recover".into(), settling: false };
        assert_eq!(accepts("n-2", Some("n-2"), Some(&missing)), Some(Reason::PoliciesMissing));
        assert_eq!(accepts("n-1", None, Some(&missing)), None);
    }

    #[test]
    fn sd19_nothing_comes_back_into_a_namespace_that_terminates() {
        let uid = Uid::from("n-1");
        let now = NamespaceNow { uid: &uid, terminating: true };
        let refusal = accepts_namespace(Kind::Hsm, &origin(), &now, None, None).unwrap_err();
        assert_eq!(refusal.reason(), Reason::NamespaceTerminating);
    }

    #[test]
    fn sd20_a_retained_deletion_is_recovered() {
        assert_eq!(recover(&facts()), RecoverVerdict::Go);
    }

    #[test]
    fn sd20_what_was_never_there_or_is_purged_fails_for_good() {
        let never = RecoverFacts { record: None, proxy: ProxyNow::Absent, ..facts() };
        assert_eq!(fails(&never), Some(Reason::NothingToRecover));
        let purged = RecoverFacts { record: Some(RecordState::Tombstone), ..facts() };
        assert_eq!(fails(&purged), Some(Reason::NothingToRecover));
    }

    #[test]
    fn sd02_without_a_retention_there_is_nothing_to_recover() {
        assert_eq!(fails(&RecoverFacts { retained: false, ..facts() }), Some(Reason::NothingToRecover));
    }

    #[test]
    fn sd20_one_whose_object_is_live_again_is_done_whatever_else_holds() {
        let live = RecoverFacts { standing: Standing::LiveAgain, record: None, proxy: ProxyNow::Absent, ..facts() };
        assert_eq!(recover(&live), RecoverVerdict::Done);
    }

    #[test]
    fn sd20_for_an_object_that_still_terminates_it_waits_for_the_proxy() {
        let early = RecoverFacts {
            standing: Standing::Terminating,
            record: Some(RecordState::Live),
            proxy: ProxyNow::Absent,
            ..facts()
        };
        assert_eq!(recover(&early), RecoverVerdict::AwaitDeletion);
    }

    #[test]
    fn sd20_sealing_is_finished_before_a_recovery_begins() {
        let sealing = RecoverFacts { record: Some(RecordState::Sealing), ..facts() };
        assert_eq!(recover(&sealing), RecoverVerdict::AwaitDeletion);
    }

    #[test]
    fn sd25_a_proxy_that_is_gone_is_waited_for_until_it_is_written_again() {
        let gone = RecoverFacts { proxy: ProxyNow::Absent, ..facts() };
        assert_eq!(recover(&gone), RecoverVerdict::AwaitDeletion);
    }

    #[test]
    fn sd23_a_recovery_waits_from_destroying_on_and_fails_when_it_is_gone() {
        let purging = RecoverFacts { proxy: ProxyNow::Destroying, ..facts() };
        assert_eq!(waits(&purging), Some(Reason::PurgeInProgress));
        let beyond = RecoverFacts { record: Some(RecordState::Destroying), ..purging.clone() };
        assert_eq!(waits(&beyond), Some(Reason::PurgeInProgress));
        let gone = RecoverFacts { record: Some(RecordState::Tombstone), ..purging };
        assert_eq!(fails(&gone), Some(Reason::NothingToRecover));
    }

    #[test]
    fn sd20_two_recovers_of_one_deletion_do_not_run_together() {
        let others = RecoverFacts { proxy: ProxyNow::Recovering { ours: false }, ..facts() };
        assert_eq!(waits(&others), Some(Reason::RecoveryInProgress));
        let ours = RecoverFacts { proxy: ProxyNow::Recovering { ours: true }, ..facts() };
        assert_eq!(recover(&ours), RecoverVerdict::Go);
    }

    #[test]
    fn sd20_one_that_stands_in_its_place_takes_the_material_unless_it_differs() {
        assert_eq!(recover(&RecoverFacts { standing: Standing::Waiting(None), ..facts() }), RecoverVerdict::Go);
        let difference = Refusal::SnapshotDisagrees { field: "f".into(), deleted: "a".into(), standing: "b".into() };
        let differs = RecoverFacts { standing: Standing::Waiting(Some(difference)), ..facts() };
        assert_eq!(fails(&differs), Some(Reason::SnapshotDisagrees));
    }

    #[test]
    fn sd20_whatever_else_hinders_it_makes_it_wait() {
        let namespace = RecoverFacts { namespace: Err(Refusal::NamespaceTerminating { namespace: "a".into() }), ..facts() };
        assert_eq!(waits(&namespace), Some(Reason::NamespaceTerminating));
        let backend = RecoverFacts { backend: Err(Refusal::BackendUnavailable { backend: "a".into() }), ..facts() };
        assert_eq!(waits(&backend), Some(Reason::BackendUnavailable));
        let taken = Refusal::NameTaken { name: "a".into(), holder: "b".into() };
        assert_eq!(waits(&RecoverFacts { standing: Standing::Other(taken), ..facts() }), Some(Reason::NameTaken));
    }

    #[test]
    fn sd20_a_recovery_turns_back_only_before_its_new_uid_and_before_anything_is_unsealed() {
        assert!(may_turn_back(false, RecordState::Deleted));
        assert!(!may_turn_back(true, RecordState::Deleted));
        assert!(!may_turn_back(false, RecordState::Opening));
    }

    #[test]
    fn sd20_a_recover_that_is_deleted_withdraws_only_what_has_not_begun() {
        assert!(!goes_on_without_its_recover(ProxyNow::Retained));
        assert!(goes_on_without_its_recover(ProxyNow::Recovering { ours: true }));
    }

    #[test]
    fn sd21_a_key_waits_for_its_hsms_recovery() {
        let hsm = HsmNow::SoftDeleted { hsm: deleted(), recovering: false };
        assert_eq!(waits(&RecoverFacts { hsm: Some(hsm), ..facts() }), Some(Reason::HsmDeleted));
        let absent = HsmNow::NotFound { name: "prod".into() };
        assert_eq!(waits(&RecoverFacts { hsm: Some(absent), ..facts() }), Some(Reason::HsmNotFound));
    }

    #[test]
    fn sd21_what_was_live_in_an_hsm_returns_with_it() {
        for include in [IncludeKeys::None, IncludeKeys::All] {
            assert_eq!(with_its_hsm(RecordState::Live, include), KeyOutcome::Returns);
            assert_eq!(with_its_hsm(RecordState::Destroying, include), KeyOutcome::None);
        }
    }

    #[test]
    fn sd21_what_was_deleted_on_its_own_stays_so_unless_all_are_included() {
        for state in [RecordState::Deleted, RecordState::Sealing] {
            assert_eq!(with_its_hsm(state, IncludeKeys::None), KeyOutcome::StaysDeleted);
            assert_eq!(with_its_hsm(state, IncludeKeys::All), KeyOutcome::Recovered);
        }
    }

    fn step(mode: CreateMode, reserved: Option<Refusal>, namespace: &str) -> CreateStep {
        let wanted = Names { kind: Kind::Hsm, namespace: "payments", name: "prod", key: None };
        create_or_recover(mode, &wanted, reserved, &namespace.into())
    }

    #[test]
    fn sd22_create_or_recover_recovers_what_reserves_its_name_and_creates_otherwise() {
        let reserved = Refusal::ObjectIsDeletedButRecoverable(deleted());
        assert_eq!(step(CreateMode::CreateOrRecover, None, "n-1"), CreateStep::Create);
        assert_eq!(step(CreateMode::CreateOrRecover, Some(reserved.clone()), "n-1"), CreateStep::Recover(deleted()));
        assert_eq!(step(CreateMode::Default, Some(reserved.clone()), "n-1"), CreateStep::Stand(reserved));
    }

    #[test]
    fn sd22_in_a_namespace_made_anew_it_waits_for_a_recover_that_accepts_it() {
        let reserved = Refusal::ObjectIsDeletedButRecoverable(deleted());
        let CreateStep::Stand(refusal) = step(CreateMode::CreateOrRecover, Some(reserved), "n-2") else {
            panic!("it did not stand");
        };
        assert_eq!(refusal.reason(), Reason::NamespaceChanged);
    }

    #[test]
    fn sd22_it_recovers_nothing_of_another_resource_name() {
        let mut other = deleted();
        other.origin.name = "test".into();
        let reserved = Refusal::ObjectIsDeletedButRecoverable(other);
        assert_eq!(step(CreateMode::CreateOrRecover, Some(reserved.clone()), "n-1"), CreateStep::Stand(reserved));
    }
}
