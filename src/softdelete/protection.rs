//! Soft-delete and purge protection: two switches that only turn on, and what they forbid.

use chrono::{DateTime, Utc};

use super::arbiter::{ReadsAs, reads_as};
use super::names::proxy_name;
use super::sentence::{Deleted, Protector};
use super::{Origin, RecordState, Refusal};

/// SD-02 Soft-delete as it is in effect for an HSM that is made now: on if not said, and on whatever is said in an undeletable
/// cluster. Once there is a record its `soft_delete` holds, which never goes back; a key's is its HSM's.
pub fn soft_delete_in_effect(said: Option<bool>, undeletable: bool) -> bool {
    said.unwrap_or(true) || undeletable
}

/// Whether an HSM may be made so: an undeletable cluster refuses one without soft-delete (SD-02).
pub fn new_soft_delete(said: Option<bool>, undeletable: bool) -> Result<(), Refusal> {
    if undeletable && said == Some(false) {
        Err(Refusal::SoftDeleteRequired)
    } else {
        Ok(())
    }
}

/// SD-12 Soft-delete can be turned on, never off again.
pub fn soft_delete_switch(on: bool, wanted: bool) -> Result<(), Refusal> {
    if on && !wanted {
        Err(Refusal::SoftDeleteIrreversible)
    } else {
        Ok(())
    }
}

/// SD-13 Purge protection can be turned on, never off again, and only with soft-delete. `hsm`: the HSM of a key, whose soft-delete then is meant.
pub fn purge_protection_switch(
    on: bool,
    wanted: bool,
    soft_delete: bool,
    hsm: Option<&str>,
) -> Result<(), Refusal> {
    if on && !wanted {
        return Err(Refusal::PurgeProtectionIrreversible);
    }
    if wanted && !soft_delete {
        return Err(Refusal::PurgeProtectionNeedsSoftDelete {
            hsm: hsm.map(str::to_owned),
        });
    }
    Ok(())
}

/// What turning protection on depends on, read anew after it was written to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectionLook<'a> {
    pub record: RecordState,
    /// The object as a refusal shows it where it is deleted.
    pub deleted: &'a Deleted,
    /// A key's HSM, and how it is deleted, if it is.
    pub hsm: Option<(RecordState, &'a Deleted)>,
}

/// Protection may be shown only for what is live by its record or being made, and for a key only in an HSM whose record is live (SD-13).
pub fn may_protect(look: &ProtectionLook<'_>) -> Result<(), Refusal> {
    own_record_hinders(look)?;
    match look.hsm {
        Some((state, hsm)) if state != RecordState::Live => Err(Refusal::HsmDeleted {
            hsm: hsm.clone(),
            recovering: state == RecordState::Opening,
        }),
        _ => Ok(()),
    }
}

fn own_record_hinders(look: &ProtectionLook<'_>) -> Result<(), Refusal> {
    let Origin {
        namespace,
        name,
        uid,
        ..
    } = &look.deleted.origin;
    match reads_as(look.record) {
        ReadsAs::Creating | ReadsAs::Live => Ok(()),
        ReadsAs::Deleted => Err(Refusal::ObjectIsDeletedButRecoverable(look.deleted.clone())),
        ReadsAs::Destroying => Err(Refusal::PurgeInProgress {
            proxy: proxy_name(namespace, name),
        }),
        ReadsAs::Gone => Err(Refusal::MaterialDestroyed { uid: uid.clone() }),
    }
}

/// Every switch that bears on a purge. Absent: it could not be learnt, which counts as on (I6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protections<'a> {
    pub own: Option<bool>,
    /// A key's HSM, by name.
    pub hsm: Option<(&'a str, Option<bool>)>,
    /// An HSM's keys, live or deleted, by name; those that are destroyed are not among them.
    pub keys: Vec<(&'a str, Option<bool>)>,
}

/// SD-14 What protects it, if anything: its own switch, the HSM around it, or a key inside it.
pub fn protector(switches: &Protections<'_>) -> Option<Protector> {
    let own = (switches.own, Protector::Itself);
    let hsm = switches
        .hsm
        .map(|(name, on)| (on, Protector::Hsm(name.to_owned())));
    let keys = switches
        .keys
        .iter()
        .map(|(name, on)| (*on, Protector::Key((*name).to_owned())));
    let all: Vec<_> = std::iter::once(own).chain(hsm).chain(keys).collect();
    let on = all
        .iter()
        .find(|(on, _)| *on == Some(true))
        .map(|(_, by)| by.clone());
    let unknown = all.iter().any(|(on, _)| on.is_none());
    on.or(unknown.then_some(Protector::Unknown))
}

/// Whether it may be purged on request at all. Protection holds as long as the object is there; `until` says when its own end comes (SD-14, SD-15).
pub fn purge_on_request(
    by: Option<Protector>,
    undeletable: bool,
    until: Option<DateTime<Utc>>,
) -> Result<(), Refusal> {
    undeletable_subscription(undeletable, until)?;
    by.map_or(Ok(()), |by| Err(Refusal::PurgeProtected { by, until }))
}

/// SD-15 In an undeletable cluster nothing is purged on request.
pub fn undeletable_subscription(
    undeletable: bool,
    until: Option<DateTime<Utc>>,
) -> Result<(), Refusal> {
    if undeletable {
        Err(Refusal::UndeletableSubscription { until })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::level::{LevelFacts, recovery_level};
    use crate::softdelete::{Kind, Origin, Reason};

    fn deleted(kind: Kind) -> Deleted {
        Deleted {
            kind,
            origin: Origin::default(),
            purge_time: None,
            purgeable: false,
        }
    }

    fn may(own: RecordState, hsm: Option<RecordState>) -> Result<(), Reason> {
        let (key, around) = (deleted(Kind::Key), deleted(Kind::Hsm));
        let look = ProtectionLook {
            record: own,
            deleted: &key,
            hsm: hsm.map(|state| (state, &around)),
        };
        may_protect(&look).map_err(|refusal| refusal.reason())
    }

    #[test]
    fn sd02_soft_delete_is_on_unless_turned_off_in_a_cluster_that_allows_it() {
        assert!(soft_delete_in_effect(None, false));
        assert!(!soft_delete_in_effect(Some(false), false));
        assert!(soft_delete_in_effect(Some(false), true));
    }

    #[test]
    fn sd02_an_undeletable_cluster_refuses_a_new_hsm_without_soft_delete() {
        assert_eq!(
            new_soft_delete(Some(false), true),
            Err(Refusal::SoftDeleteRequired)
        );
        assert_eq!(new_soft_delete(Some(false), false), Ok(()));
        assert_eq!(new_soft_delete(None, true), Ok(()));
    }

    #[test]
    fn sd12_soft_delete_goes_on_and_never_off() {
        assert_eq!(
            soft_delete_switch(true, false),
            Err(Refusal::SoftDeleteIrreversible)
        );
        for (on, wanted) in [(false, true), (false, false), (true, true)] {
            assert_eq!(soft_delete_switch(on, wanted), Ok(()));
        }
    }

    #[test]
    fn sd13_purge_protection_goes_on_and_never_off() {
        let refused = purge_protection_switch(true, false, true, None);
        assert_eq!(refused, Err(Refusal::PurgeProtectionIrreversible));
        assert_eq!(purge_protection_switch(false, true, true, None), Ok(()));
        assert_eq!(purge_protection_switch(false, false, false, None), Ok(()));
    }

    #[test]
    fn sd13_purge_protection_needs_soft_delete() {
        let refused = purge_protection_switch(false, true, false, Some("prod"));
        assert_eq!(
            refused,
            Err(Refusal::PurgeProtectionNeedsSoftDelete {
                hsm: Some("prod".into())
            })
        );
    }

    #[test]
    fn sd13_it_cannot_be_turned_on_for_what_is_itself_deleted() {
        for state in RecordState::ALL {
            let expected = match state {
                RecordState::Creating | RecordState::Live | RecordState::Opening => Ok(()),
                RecordState::Sealing | RecordState::Deleted => {
                    Err(Reason::ObjectIsDeletedButRecoverable)
                }
                RecordState::Destroying => Err(Reason::PurgeInProgress),
                RecordState::Tombstone | RecordState::Abandoned => Err(Reason::MaterialDestroyed),
            };
            assert_eq!(may(state, None), expected, "{state:?}");
        }
    }

    #[test]
    fn sd13_it_cannot_be_turned_on_for_a_key_unless_its_hsms_record_is_live() {
        for state in RecordState::ALL {
            let expected = if state == RecordState::Live {
                Ok(())
            } else {
                Err(Reason::HsmDeleted)
            };
            assert_eq!(may(RecordState::Live, Some(state)), expected, "{state:?}");
        }
    }

    #[test]
    fn sd13_while_its_hsm_is_being_recovered_a_keys_protection_waits_without_stalling() {
        let (key, around) = (deleted(Kind::Key), deleted(Kind::Hsm));
        for (state, recovering) in [(RecordState::Opening, true), (RecordState::Deleted, false)] {
            let look = ProtectionLook {
                record: RecordState::Live,
                deleted: &key,
                hsm: Some((state, &around)),
            };
            assert_eq!(
                may_protect(&look).unwrap_err().stalls(),
                !recovering,
                "{state:?}"
            );
        }
    }

    #[test]
    fn sd14_a_key_is_protected_by_itself_or_by_its_hsm() {
        let key = |own, hsm| {
            protector(&Protections {
                own: Some(own),
                hsm: Some(("prod", Some(hsm))),
                keys: vec![],
            })
        };
        assert_eq!(key(false, false), None);
        assert_eq!(key(true, false), Some(Protector::Itself));
        assert_eq!(key(false, true), Some(Protector::Hsm("prod".into())));
    }

    #[test]
    fn sd14_an_hsm_that_holds_a_protected_key_is_protected() {
        let keys = vec![("a", Some(false)), ("b", Some(true))];
        let hsm = Protections {
            own: Some(false),
            hsm: None,
            keys,
        };
        assert_eq!(protector(&hsm), Some(Protector::Key("b".into())));
    }

    #[test]
    fn sd14_what_is_not_known_counts_as_protected() {
        assert_eq!(protector(&Protections::default()), Some(Protector::Unknown));
        let hsm = Protections {
            own: Some(false),
            hsm: None,
            keys: vec![("a", None)],
        };
        assert_eq!(protector(&hsm), Some(Protector::Unknown));
    }

    #[test]
    fn sd15_an_undeletable_cluster_purges_nothing_on_request() {
        let refused = purge_on_request(None, true, None);
        assert_eq!(
            refused,
            Err(Refusal::UndeletableSubscription { until: None })
        );
    }

    #[test]
    fn sd16_a_purge_on_request_is_allowed_exactly_where_the_level_says_purgeable() {
        for bits in 0..4 {
            let (protected, undeletable) = (bits & 1 != 0, bits & 2 != 0);
            let facts = LevelFacts {
                soft_delete: true,
                retention_days: 90,
                protected,
                undeletable,
            };
            let allowed =
                purge_on_request(protected.then_some(Protector::Itself), undeletable, None).is_ok();
            assert_eq!(
                allowed,
                recovery_level(facts).as_str().contains("Purgeable"),
                "{facts:?}"
            );
        }
    }
}
