//! The closed list of reasons (SD-34): which there are, which of them end a Recover or a Purge, and
//! which take somebody's act. The sentences are `sentence`'s.

macro_rules! reasons {
    ($($name:ident),+ $(,)?) => {
        /// The reason codes: each refusal and each hold has exactly one (SD-34).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($name),+
        }

        impl Reason {
            /// The whole list, in the specification's order.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),+];

            /// The code as it stands in conditions, events and answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }
        }
    };
}

reasons!(
    ObjectIsDeletedButRecoverable,
    NameTaken,
    PurgeProtected,
    UndeletableSubscription,
    FieldImmutable,
    RetentionImmutable,
    RetentionExceedsHsm,
    SoftDeleteIrreversible,
    SoftDeleteRequired,
    PurgeProtectionIrreversible,
    PurgeProtectionNeedsSoftDelete,
    NothingToRecover,
    NothingToPurge,
    UidMismatch,
    SnapshotDisagrees,
    CreateRefused,
    ProxyRefused,
    NamespaceTerminating,
    NamespaceChanged,
    HsmNotFound,
    HsmDeleted,
    MaterialDestroyed,
    MaterialMissing,
    NotPermitted,
    PurgeInProgress,
    RecoveryInProgress,
    PurgeHeld,
    QuorumNotReached,
    RateLimited,
    Expired,
    BackendUnknown,
    BackendUnavailable,
    BackendFull,
    BackendNotAllowed,
    MechanismNotSupported,
    RecordDisagrees,
    ForeignMaterial,
    PoliciesMissing,
    ClockNotTrusted,
    EndpointNameTaken,
);

impl Reason {
    /// Whether a Recover fails with it for good (SD-20); with every other one it waits.
    pub const fn is_final_for_recover(self) -> bool {
        matches!(self, Self::NothingToRecover | Self::SnapshotDisagrees)
    }

    /// Whether a Purge fails with it for good (SD-23); with every other one it waits.
    pub const fn is_final_for_purge(self) -> bool {
        matches!(
            self,
            Self::NothingToPurge
                | Self::UidMismatch
                | Self::PurgeProtected
                | Self::UndeletableSubscription
                | Self::NotPermitted
                | Self::RecoveryInProgress
                | Self::Expired
        )
    }

    /// Whether it takes somebody's act, or another object's end, to get further: then kstatus's
    /// `Stalled` is shown. What passes by itself does not stall. A Recover or Purge that has failed is stalled
    /// whatever its reason; where the facts matter too, ask `Refusal::stalls`.
    pub const fn stalls(self) -> bool {
        !matches!(
            self,
            Self::HsmNotFound
                | Self::PurgeInProgress
                | Self::RecoveryInProgress
                | Self::RateLimited
                | Self::BackendUnavailable
                | Self::ClockNotTrusted
        )
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sd34_the_list_has_forty_different_codes_and_is_closed() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!((codes.len(), Reason::ALL.len()), (40, 40));
    }

    #[test]
    fn sd34_a_code_is_a_condition_reason_by_kubernetes_pattern() {
        for reason in Reason::ALL {
            assert!(
                reason.as_str().chars().all(|c| c.is_ascii_alphanumeric()),
                "{reason}"
            );
        }
    }

    #[test]
    fn sd20_exactly_two_reasons_end_a_recover() {
        let finals: Vec<_> = Reason::ALL
            .iter()
            .filter(|r| r.is_final_for_recover())
            .collect();
        assert_eq!(
            finals,
            [&Reason::NothingToRecover, &Reason::SnapshotDisagrees]
        );
    }

    #[test]
    fn sd23_exactly_seven_reasons_end_a_purge() {
        let finals: Vec<_> = Reason::ALL
            .iter()
            .filter(|r| r.is_final_for_purge())
            .map(|r| r.as_str())
            .collect();
        let expected = [
            "PurgeProtected",
            "UndeletableSubscription",
            "NothingToPurge",
            "UidMismatch",
            "NotPermitted",
            "RecoveryInProgress",
            "Expired",
        ];
        assert_eq!(finals, expected);
    }

    #[test]
    fn sd34_a_missing_hsm_never_stalls_and_what_a_person_must_mend_does() {
        assert!(!Reason::HsmNotFound.stalls());
        for reason in [
            Reason::ObjectIsDeletedButRecoverable,
            Reason::NameTaken,
            Reason::HsmDeleted,
            Reason::MaterialDestroyed,
            Reason::MaterialMissing,
            Reason::BackendFull,
            Reason::BackendUnknown,
            Reason::FieldImmutable,
            Reason::RetentionImmutable,
            Reason::SoftDeleteIrreversible,
            Reason::PurgeProtectionIrreversible,
            Reason::QuorumNotReached,
        ] {
            assert!(reason.stalls(), "{reason}");
        }
    }
}
