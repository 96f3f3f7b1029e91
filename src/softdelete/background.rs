//! What the sentences leave unsaid: which rule is at work, and what it is for. The page of reason codes and `kubectl hsm explain` show it.

use super::Reason;

impl Reason {
    /// What the sentence leaves unsaid. Exhaustive, so that no code comes without it.
    #[rustfmt::skip]
    pub const fn background(self) -> &'static str {
        match self {
            Self::ObjectIsDeletedButRecoverable => "A deleted object keeps its resource's name, and a key also its name in the HSM, case ignored (SD-17). The new resource stands without material until the name is free or it is given the deleted one's.",
            Self::NameTaken => "Two resources ask for one key name in one HSM, case ignored; the one that the record names has it (SD-17).",
            Self::PurgeProtected => "The switch may be the object's own, that of the HSM around it, or that of a key in it (SD-14). The purge at the end of retention is not hindered.",
            Self::UndeletableSubscription => "The operator runs with `--undeletable` (SD-15). The purge at the end of retention is not hindered.",
            Self::FieldImmutable => "The manifest changed what was fixed at creation. Nothing is done to the material.",
            Self::RetentionImmutable => "`spec.retentionDays` is fixed at creation, \"not said\" included (SD-08). Nothing is done to the material.",
            Self::RetentionExceedsHsm => "No key keeps longer than its HSM (SD-08).",
            Self::SoftDeleteIrreversible => "Soft-delete can be turned on later, never off (SD-12); it stays on.",
            Self::SoftDeleteRequired => "The operator runs, or once ran, with `--undeletable` (SD-02).",
            Self::PurgeProtectionIrreversible => "Purge protection can be turned on later, never off (SD-13); it stays on.",
            Self::PurgeProtectionNeedsSoftDelete => "What is not kept after its deletion cannot be protected from a purge (SD-02, SD-13).",
            Self::NothingToRecover => "A Recover is about one deletion, by its uid, and its outcome is final (SD-20): it is not tried again.",
            Self::NothingToPurge => "A Purge is about one deletion, by its uid, and its outcome is final (SD-23).",
            Self::UidMismatch => "The proxy of that name is of another deletion than the one that was asked for (SD-23).",
            Self::SnapshotDisagrees => "An object of that name stands already, and is not the same in what is fixed or protected, so it is not given the material (SD-20).",
            Self::CreateRefused => "The API server, a quota or somebody's policy refuses the object that is to come back. Nothing was unsealed; the proxy is kept (SD-20).",
            Self::ProxyRefused => "A quota or somebody's policy refuses the proxy. Until it can be written the deleted object keeps its finalizer, so that neither is ever missing (SD-03).",
            Self::NamespaceTerminating => "Nothing can be made in a namespace that is going or gone (SD-20). Proxies are cluster-scoped and outlive it (SD-05).",
            Self::NamespaceChanged => "The namespace was deleted and made anew: keys don't pass to whoever takes a free name (SD-19).",
            Self::HsmNotFound => "Never `Stalled`, since manifests may come in any order.",
            Self::HsmDeleted => "While an HSM is soft-deleted its keys refuse every use, and none is recovered or purged on its own (SD-11, SD-21, SD-27). A key that says `createMode: CreateOrRecover` is not `Stalled` by it, since its HSM is expected back (SD-22).",
            Self::MaterialDestroyed => "It was purged, by itself or with its HSM, and is never made anew under the same resource (SD-28).",
            Self::MaterialMissing => "The backend answers, and the material is not there: a lost or an old store, or another one than it was made in. Nothing is made in its place (SD-28).",
            Self::NotPermitted => "Purging, recovering and listing deleted objects are permissions of their own (SD-29 to SD-31).",
            Self::PurgeInProgress => "Until its record says *destroying* the purge may still turn back (SD-23).",
            Self::RecoveryInProgress => "While a recovery runs nothing is purged (SD-20).",
            Self::PurgeHeld => "Recovery wins, also after the date (SD-10). An unfinished Recover or CreateOrRecover is withdrawn by deleting it.",
            Self::QuorumNotReached => "The operator runs with `--purge-quorum` above 1; ServiceAccounts do not count then (SD-24).",
            Self::RateLimited => "`--purge-rate` limits what a mistake or a stolen account can destroy before somebody sees it. Scheduled purges are not limited.",
            Self::Expired => "A request is good for seven days, and only in the cluster's store that it was written to (SD-23).",
            Self::BackendUnknown => "`spec.backend` names none of `--backends`, or one that was taken out of it since (SD-28).",
            Self::BackendUnavailable => "The module does not answer, refuses a PIN, or its ledger cannot be read; the operator's log says what it tried. Nothing is judged missing meanwhile.",
            Self::BackendFull => "Deleted HSMs and keys take their room until they are purged.",
            Self::BackendNotAllowed => "The backend's `allowedNamespaces` leaves this namespace out.",
            Self::MechanismNotSupported => "The module cannot make such keys, or what it makes does not prove to work.",
            Self::RecordDisagrees => "The store or the cluster was put back from an older backup, or records contradict each other. Nothing is written, nothing destroyed, until it is settled.",
            Self::ForeignMaterial => "The record carries the id (the uid of the namespace kube-system) of another cluster.",
            Self::PoliciesMissing => "Without our definitions and policies in place an absence proves nothing, and who asked is not known.",
            Self::ClockNotTrusted => "The local clock and the API server's differ by more than `--clock-tolerance`, or one jumped. Everything but purges goes on.",
            Self::EndpointNameTaken => "The endpoint of an HSM is a Service of its own.",
        }
    }
}
