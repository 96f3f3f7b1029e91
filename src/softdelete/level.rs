//! The recovery level: what one word in the status says about how an object can be got back.

/// The seven levels, with Azure's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecoveryLevel {
    Purgeable,
    RecoverablePurgeable,
    Recoverable,
    RecoverableProtectedSubscription,
    CustomizedRecoverablePurgeable,
    CustomizedRecoverable,
    CustomizedRecoverableProtectedSubscription,
}

impl RecoveryLevel {
    /// Every level, in the order of the specification's table.
    pub const ALL: [Self; 7] = [
        Self::Purgeable,
        Self::RecoverablePurgeable,
        Self::Recoverable,
        Self::RecoverableProtectedSubscription,
        Self::CustomizedRecoverablePurgeable,
        Self::CustomizedRecoverable,
        Self::CustomizedRecoverableProtectedSubscription,
    ];

    /// As it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Purgeable => "Purgeable",
            Self::RecoverablePurgeable => "Recoverable+Purgeable",
            Self::Recoverable => "Recoverable",
            Self::RecoverableProtectedSubscription => "Recoverable+ProtectedSubscription",
            Self::CustomizedRecoverablePurgeable => "CustomizedRecoverable+Purgeable",
            Self::CustomizedRecoverable => "CustomizedRecoverable",
            Self::CustomizedRecoverableProtectedSubscription => {
                "CustomizedRecoverable+ProtectedSubscription"
            }
        }
    }
}

impl std::fmt::Display for RecoveryLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the level depends on, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelFacts {
    /// As it is in effect (SD-02).
    pub soft_delete: bool,
    /// In effect: a key's own or its HSM's.
    pub retention_days: i32,
    /// By anything of SD-14.
    pub protected: bool,
    /// The cluster is (SD-15).
    pub undeletable: bool,
}

/// SD-16 The recovery level by the specification's table. An undeletable cluster has no soft-delete that is off.
pub const fn recovery_level(facts: LevelFacts) -> RecoveryLevel {
    use RecoveryLevel as L;
    if !facts.soft_delete && !facts.undeletable {
        return L::Purgeable;
    }
    let customized = facts.retention_days < super::retention::MAX_DAYS;
    match (customized, facts.undeletable, facts.protected) {
        (false, true, _) => L::RecoverableProtectedSubscription,
        (false, false, true) => L::Recoverable,
        (false, false, false) => L::RecoverablePurgeable,
        (true, true, _) => L::CustomizedRecoverableProtectedSubscription,
        (true, false, true) => L::CustomizedRecoverable,
        (true, false, false) => L::CustomizedRecoverablePurgeable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> impl Iterator<Item = LevelFacts> {
        (7..=90).flat_map(|retention_days| {
            (0..8).map(move |bits| LevelFacts {
                soft_delete: bits & 1 != 0,
                retention_days,
                protected: bits & 2 != 0,
                undeletable: bits & 4 != 0,
            })
        })
    }

    #[test]
    fn sd16_the_table_holds_line_by_line() {
        let table = [
            (false, 90, false, false, "Purgeable"),
            (false, 7, false, false, "Purgeable"),
            (true, 90, false, false, "Recoverable+Purgeable"),
            (true, 90, true, false, "Recoverable"),
            (true, 90, false, true, "Recoverable+ProtectedSubscription"),
            (true, 90, true, true, "Recoverable+ProtectedSubscription"),
            (true, 89, false, false, "CustomizedRecoverable+Purgeable"),
            (true, 7, true, false, "CustomizedRecoverable"),
            (
                true,
                7,
                false,
                true,
                "CustomizedRecoverable+ProtectedSubscription",
            ),
            (
                true,
                89,
                true,
                true,
                "CustomizedRecoverable+ProtectedSubscription",
            ),
        ];
        for (soft_delete, retention_days, protected, undeletable, level) in table {
            let facts = LevelFacts {
                soft_delete,
                retention_days,
                protected,
                undeletable,
            };
            assert_eq!(recovery_level(facts).as_str(), level, "{facts:?}");
        }
    }

    #[test]
    fn sd16_it_contains_purgeable_exactly_when_a_privileged_user_may_purge() {
        for facts in domain() {
            let may_purge = !facts.undeletable && (!facts.soft_delete || !facts.protected);
            let says = recovery_level(facts).as_str().contains("Purgeable");
            assert_eq!(says, may_purge, "{facts:?}");
        }
    }

    #[test]
    fn sd16_it_is_customized_exactly_when_soft_delete_is_on_for_less_than_ninety_days() {
        for facts in domain() {
            let customized = (facts.soft_delete || facts.undeletable) && facts.retention_days < 90;
            let says = recovery_level(facts).as_str().starts_with("Customized");
            assert_eq!(says, customized, "{facts:?}");
        }
    }

    #[test]
    fn sd16_every_level_is_reached_and_has_a_name_of_its_own() {
        let reached: std::collections::BTreeSet<_> = domain().map(recovery_level).collect();
        let names: std::collections::BTreeSet<_> =
            RecoveryLevel::ALL.iter().map(|l| l.as_str()).collect();
        assert_eq!((reached.len(), names.len()), (7, 7));
    }
}
