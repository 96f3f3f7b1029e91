//! What a manifest may not change any more: the controller's truth where no policy refused it.

use super::names::same_key_name;
use super::record::Algorithm;
use super::{Record, RecordId, Refusal, Subject, protection};

/// What a manifest asks for, with what it left unsaid filled in as at creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub retention_days: i32,
    /// As it is in effect (SD-02).
    pub soft_delete: bool,
    pub purge_protection: bool,
    /// Of a ManagedHsm.
    pub backend: Option<String>,
    /// Of an HsmKey.
    pub key: Option<WantedKey>,
}

/// What a key's manifest asks for besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedKey {
    pub hsm: RecordId,
    pub hsm_name: String,
    pub key_name: String,
    pub algorithm: Algorithm,
}

/// The first of a manifest's fields that disagrees with what the record fixed, or with a switch that only turns on (SD-08, SD-12, SD-13).
/// `kept_in` is the backend whose ledger the record is in: it is not said in the record itself.
pub fn changed_fixed_field(record: &Record, kept_in: &str, wanted: &Wanted) -> Option<Refusal> {
    changed_retention(record, wanted)
        .or_else(|| changed_backend(kept_in, wanted))
        .or_else(|| protection::soft_delete_switch(record.soft_delete, wanted.soft_delete).err())
        .or_else(|| changed_protection(record, wanted))
        .or_else(|| changed_key(record, wanted))
}

fn changed_retention(record: &Record, wanted: &Wanted) -> Option<Refusal> {
    let (fixed, wanted) = (record.retention_days, wanted.retention_days);
    (fixed != wanted).then_some(Refusal::RetentionImmutable { fixed, wanted })
}

fn changed_backend(kept_in: &str, wanted: &Wanted) -> Option<Refusal> {
    let other = wanted
        .backend
        .as_ref()
        .filter(|backend| *backend != kept_in)?;
    Some(Refusal::FieldImmutable {
        field: "spec.backend".into(),
        fixed: kept_in.into(),
        wanted: other.clone(),
    })
}

fn changed_protection(record: &Record, wanted: &Wanted) -> Option<Refusal> {
    let hsm = wanted.key.as_ref().map(|key| key.hsm_name.as_str());
    let soft_delete = record.soft_delete || wanted.soft_delete;
    protection::purge_protection_switch(
        record.purge_protection,
        wanted.purge_protection,
        soft_delete,
        hsm,
    )
    .err()
}

fn changed_key(record: &Record, wanted: &Wanted) -> Option<Refusal> {
    let (
        Subject::Key {
            hsm,
            hsm_name,
            key_name,
            algorithm,
            ..
        },
        Some(key),
    ) = (&record.subject, &wanted.key)
    else {
        return None;
    };
    let fields = [
        (
            "spec.hsm",
            hsm == &key.hsm,
            hsm_name.clone(),
            key.hsm_name.clone(),
        ),
        (
            "spec.keyName",
            same_key_name(key_name, &key.key_name),
            key_name.clone(),
            key.key_name.clone(),
        ),
        (
            "spec.keyType",
            algorithm == &key.algorithm,
            algorithm.to_string(),
            key.algorithm.to_string(),
        ),
    ];
    let changed = fields.into_iter().find(|(_, same, _, _)| !same);
    changed.map(|(field, _, fixed, wanted)| Refusal::FieldImmutable {
        field: field.into(),
        fixed,
        wanted,
    })
}

/// Why a manifest that stands cannot be given a deleted object's material: the field in which it disagrees, with both values. A switch
/// that is on in it and off in the deleted object is stricter, and no difference (SD-20).
pub fn adoption_difference(record: &Record, kept_in: &str, wanted: &Wanted) -> Option<Refusal> {
    changed_fixed_field(record, kept_in, wanted)
        .map(|refusal| disagreement(record, wanted, refusal))
}

fn disagreement(record: &Record, wanted: &Wanted, refusal: Refusal) -> Refusal {
    let (field, deleted, standing) = match refusal {
        Refusal::FieldImmutable {
            field,
            fixed,
            wanted,
        } => (field, fixed, wanted),
        Refusal::RetentionImmutable { fixed, wanted } => (
            "spec.retentionDays".into(),
            fixed.to_string(),
            wanted.to_string(),
        ),
        Refusal::SoftDeleteIrreversible => {
            switch("spec.softDelete", record.soft_delete, wanted.soft_delete)
        }
        Refusal::PurgeProtectionIrreversible | Refusal::PurgeProtectionNeedsSoftDelete { .. } => {
            switch(
                "spec.purgeProtection",
                record.purge_protection,
                wanted.purge_protection,
            )
        }
        other => return other,
    };
    Refusal::SnapshotDisagrees {
        field,
        deleted,
        standing,
    }
}

fn switch(field: &str, deleted: bool, standing: bool) -> (String, String, String) {
    (field.into(), deleted.to_string(), standing.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::examples::key;
    use crate::softdelete::{Reason, RecordState};

    fn record() -> Record {
        Record {
            retention_days: 30,
            purge_protection: true,
            ..key(RecordState::Deleted)
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            retention_days: 30,
            soft_delete: true,
            purge_protection: true,
            backend: None,
            key: Some(wanted_key()),
        }
    }

    fn wanted_key() -> WantedKey {
        WantedKey {
            hsm: "h-1".into(),
            hsm_name: "prod".into(),
            key_name: "Signing".into(),
            algorithm: Algorithm::Ec("P-256".into()),
        }
    }

    fn reason(wanted: &Wanted) -> Option<Reason> {
        changed_fixed_field(&record(), "default", wanted).map(|refusal| refusal.reason())
    }

    #[test]
    fn sd08_an_unchanged_manifest_has_no_refusal() {
        assert_eq!(reason(&wanted()), None);
    }

    #[test]
    fn sd08_a_changed_retention_stands() {
        assert_eq!(
            reason(&Wanted {
                retention_days: 90,
                ..wanted()
            }),
            Some(Reason::RetentionImmutable)
        );
        assert_eq!(
            reason(&Wanted {
                retention_days: 7,
                ..wanted()
            }),
            Some(Reason::RetentionImmutable)
        );
    }

    #[test]
    fn sd08_another_backend_than_the_one_that_holds_it_stands_and_is_no_adoption() {
        let hsm = Record {
            retention_days: 30,
            purge_protection: true,
            subject: Subject::Hsm { token: None },
            ..key(RecordState::Live)
        };
        let wants = |backend: &str| Wanted {
            backend: Some(backend.into()),
            key: None,
            ..wanted()
        };
        assert_eq!(
            changed_fixed_field(&hsm, "default", &wants("default")),
            None
        );
        let changed = changed_fixed_field(&hsm, "default", &wants("rack")).unwrap();
        assert!(
            changed
                .to_string()
                .starts_with("The field spec.backend was fixed as default"),
            "{changed}"
        );
        let adopted = adoption_difference(&hsm, "default", &wants("rack"));
        assert_eq!(
            adopted.map(|refusal| refusal.reason()),
            Some(Reason::SnapshotDisagrees)
        );
    }

    #[test]
    fn sd12_soft_delete_turned_off_stands() {
        assert_eq!(
            reason(&Wanted {
                soft_delete: false,
                ..wanted()
            }),
            Some(Reason::SoftDeleteIrreversible)
        );
    }

    #[test]
    fn sd13_protection_turned_off_stands_and_turned_on_does_not() {
        assert_eq!(
            reason(&Wanted {
                purge_protection: false,
                ..wanted()
            }),
            Some(Reason::PurgeProtectionIrreversible)
        );
        let unprotected = Record {
            purge_protection: false,
            ..record()
        };
        assert_eq!(
            changed_fixed_field(&unprotected, "default", &wanted()),
            None
        );
    }

    #[test]
    fn sd13_a_key_in_an_hsm_without_soft_delete_cannot_be_protected() {
        let off = Record {
            soft_delete: false,
            purge_protection: false,
            ..record()
        };
        let refusal = changed_fixed_field(
            &off,
            "default",
            &Wanted {
                soft_delete: false,
                ..wanted()
            },
        );
        assert_eq!(
            refusal,
            Some(Refusal::PurgeProtectionNeedsSoftDelete {
                hsm: Some("prod".into())
            })
        );
    }

    #[test]
    fn sd13_soft_delete_and_protection_may_be_turned_on_together() {
        let hsm = Record {
            soft_delete: false,
            purge_protection: false,
            ..record()
        };
        assert_eq!(changed_fixed_field(&hsm, "default", &wanted()), None);
    }

    #[test]
    fn sd34_each_of_a_keys_fixed_fields_is_named() {
        let changed = |key| {
            changed_fixed_field(
                &record(),
                "default",
                &Wanted {
                    key: Some(key),
                    ..wanted()
                },
            )
            .map(|r| r.to_string())
            .unwrap()
        };
        assert!(
            changed(WantedKey {
                hsm: "h-2".into(),
                hsm_name: "test".into(),
                ..wanted_key()
            })
            .starts_with("The field spec.hsm was fixed as prod")
        );
        assert!(
            changed(WantedKey {
                key_name: "other".into(),
                ..wanted_key()
            })
            .starts_with("The field spec.keyName")
        );
        assert!(
            changed(WantedKey {
                algorithm: Algorithm::Rsa(2048),
                ..wanted_key()
            })
            .contains("EC P-256 at creation and cannot become RSA 2048")
        );
    }

    #[test]
    fn sd17_another_spelling_of_the_same_key_name_is_no_change_of_it() {
        let key = WantedKey {
            key_name: "SIGNING".into(),
            ..wanted_key()
        };
        assert_eq!(
            reason(&Wanted {
                key: Some(key),
                ..wanted()
            }),
            None
        );
    }

    #[test]
    fn sd20_what_stands_may_be_stricter_but_not_looser() {
        let unprotected = Record {
            purge_protection: false,
            ..record()
        };
        assert_eq!(
            adoption_difference(&unprotected, "default", &wanted()),
            None
        );
        let looser = Wanted {
            purge_protection: false,
            ..wanted()
        };
        let named = Refusal::SnapshotDisagrees {
            field: "spec.purgeProtection".into(),
            deleted: "true".into(),
            standing: "false".into(),
        };
        assert_eq!(
            adoption_difference(&record(), "default", &looser),
            Some(named)
        );
    }

    #[test]
    fn sd20_each_difference_ends_the_recovery_and_names_both_values() {
        let key = WantedKey {
            algorithm: Algorithm::Oct(256),
            ..wanted_key()
        };
        for (wanted, standing) in [
            (
                Wanted {
                    retention_days: 90,
                    ..wanted()
                },
                "90",
            ),
            (
                Wanted {
                    soft_delete: false,
                    ..wanted()
                },
                "false",
            ),
            (
                Wanted {
                    key: Some(key),
                    ..wanted()
                },
                "oct 256",
            ),
        ] {
            let refusal = adoption_difference(&record(), "default", &wanted).unwrap();
            assert!(refusal.reason().is_final_for_recover(), "{refusal}");
            assert!(refusal.to_string().contains(standing), "{refusal}");
        }
    }
}
