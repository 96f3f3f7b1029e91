//! Which permission is asked for which act, always in the same way.

use chrono::{DateTime, Duration, Utc};

use super::{Kind, Refusal, Unless};

/// One question to RBAC. The group is always ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    pub verb: &'static str,
    pub resource: &'static str,
    pub namespace: String,
    /// Empty: any.
    pub name: String,
}

impl Ask {
    /// What a role must have for a yes.
    pub const fn right(&self) -> Right {
        (self.verb, self.resource)
    }
}

/// SD-31 The virtual verb on a proxy that purging needs: by the proxy's name, in its origin's namespace.
pub fn purge_needs(kind: Kind, namespace: &str, name: &str) -> Ask {
    on_proxy("purge", kind, namespace, name)
}

/// The virtual verb on a proxy that accepting another namespace needs (SD-19).
pub fn acceptance_needs(kind: Kind, namespace: &str, name: &str) -> Ask {
    on_proxy("recover", kind, namespace, name)
}

fn on_proxy(verb: &'static str, kind: Kind, namespace: &str, name: &str) -> Ask {
    let name = super::names::proxy_name(namespace, name);
    Ask {
        verb,
        resource: kind.proxies(),
        namespace: namespace.to_owned(),
        name,
    }
}

/// SD-30 What a Recover needs besides `create recovers`: to create such an object there. With `includeKeys: All` it needs
/// that for keys as well.
pub fn recover_needs(kind: Kind, namespace: &str) -> Ask {
    create(kind.objects(), namespace)
}

/// What setting `CreateOrRecover` needs, at creation or later: to create Recovers there (SD-30).
pub fn create_or_recover_needs(namespace: &str) -> Ask {
    create("recovers", namespace)
}

fn create(resource: &'static str, namespace: &str) -> Ask {
    Ask {
        verb: "create",
        resource,
        namespace: namespace.to_owned(),
        name: String::new(),
    }
}

/// What somebody may do about deletion, each given on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    Delete,
    ListDeleted,
    Recover,
    Purge,
}

impl Permission {
    pub const ALL: [Self; 4] = [Self::Delete, Self::ListDeleted, Self::Recover, Self::Purge];
}

/// What RBAC grants: a verb on a resource of ours.
pub type Right = (&'static str, &'static str);

/// SD-29 The four permissions, of which none includes another: what each needs of RBAC for that kind, all of it.
pub fn needs(permission: Permission, kind: Kind) -> Vec<Right> {
    match permission {
        Permission::Delete => vec![("delete", kind.objects())],
        Permission::ListDeleted => vec![("list", kind.proxies())],
        Permission::Recover => vec![
            create_or_recover_needs("").right(),
            recover_needs(kind, "").right(),
        ],
        Permission::Purge => vec![("create", "purges"), purge_needs(kind, "", "").right()],
    }
}

/// The answer to a question, as a refusal if it was no.
pub fn granted(ask: &Ask, user: &str, yes: bool) -> Result<(), Refusal> {
    if yes {
        Ok(())
    } else {
        Err(not_permitted(ask, user))
    }
}

fn not_permitted(ask: &Ask, user: &str) -> Refusal {
    let (verb, resource) = (ask.verb.to_owned(), ask.resource.to_owned());
    let name = if ask.name.is_empty() {
        format!("in the namespace {}", ask.namespace)
    } else {
        ask.name.clone()
    };
    Refusal::NotPermitted {
        user: user.to_owned(),
        verb,
        resource,
        name,
        unless: Unless::Role,
    }
}

/// SD-33 Whether a Purge says truly who asks: its `requestedBy` is the requesting user's name, to the letter.
pub fn names_its_requester(requested_by: &str, user: &str) -> bool {
    !user.is_empty() && requested_by == user
}

/// Whether a DELETE of a Purge by anybody but the operator passes: until it says `Executing`, and not when it is finished (SD-31).
pub const fn may_withdraw(executing: bool, finished: bool) -> bool {
    !executing && !finished
}

/// What only the operator does, whoever else RBAC lets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// Its DELETE included: it would purge nothing (SD-25).
    Proxy,
    Status,
    /// Puts our finalizer on something that exists, or takes it off.
    Finalizer,
    /// The DELETE of a Purge that is Executing or finished (SD-31).
    PurgeUnderWay,
    /// Creates an object that brings our finalizer along, as backups do.
    CreateWithFinalizer,
    /// Anything else of an object.
    Spec,
}

/// SD-32 What to do instead, where a write is the operator's alone.
pub const fn only_operator(write: Write) -> Option<&'static str> {
    match write {
        Write::Proxy => Some(
            "recover the object with a Recover, have it purged with a Purge, or let it be purged at its date",
        ),
        Write::Status => Some("change the spec, and the operator shows what became of it"),
        Write::Finalizer => Some(
            "keep metadata.finalizers as they are, in the manifest too, and use kubectl apply or patch, since replace drops what it does not name",
        ),
        Write::PurgeUnderWay => Some(
            "leave it, since what is executing ends by itself, and what has ended is removed after --purge-history days",
        ),
        Write::CreateWithFinalizer | Write::Spec => None,
    }
}

/// The refusal of a write that is the operator's alone.
pub fn operators_alone(
    write: Write,
    user: &str,
    verb: &str,
    resource: &str,
    name: &str,
) -> Option<Refusal> {
    Some(Refusal::NotPermitted {
        user: user.to_owned(),
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        unless: Unless::Operator(only_operator(write)?.to_owned()),
    })
}

/// What a decision that believes what admission saw depends on, where it is not in place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Missing {
    /// Which policy or definition.
    pub what: String,
    pub lack: Lack,
}

/// How it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lack {
    Absent,
    /// It is there, but not for long enough.
    Settling,
    /// Absent, and this was asked without it: that cannot be believed any more.
    Unseen,
    /// It is there, but was not when this was asked.
    CameLater,
}

/// How long policies must have stood before what they let through is believed: the API server enforces a change on a tick of about a second.
const SETTLED: Duration = Duration::seconds(5);

/// The policies as a look found them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Policies {
    /// This one is not there, or another one than it should be.
    Missing(String),
    /// All are, since then.
    Since(DateTime<Utc>),
}

impl Policies {
    /// What keeps a decision from being made by what they let through before.
    pub fn missing(&self, now: DateTime<Utc>) -> Option<Missing> {
        match self {
            Self::Missing(what) => Some(lack(what, Lack::Absent)),
            Self::Since(since) if now < settled(*since) => Some(lack(ALL_POLICIES, Lack::Settling)),
            Self::Since(_) => None,
        }
    }

    /// What keeps from believing who asked for something at that time.
    pub fn missing_for(&self, asked: DateTime<Utc>) -> Option<Missing> {
        match self {
            Self::Missing(what) => Some(lack(what, Lack::Unseen)),
            Self::Since(since) if asked < settled(*since) => Some(unbelieved()),
            Self::Since(_) => None,
        }
    }
}

/// Asked for while they did not stand, by what was found then.
pub fn unbelieved() -> Missing {
    lack(ALL_POLICIES, Lack::CameLater)
}

const ALL_POLICIES: &str = "policies' last change";

fn settled(since: DateTime<Utc>) -> DateTime<Utc> {
    since.checked_add_signed(SETTLED).unwrap_or(since)
}

fn lack(what: &str, lack: Lack) -> Missing {
    let what = what.to_owned();
    Missing { what, lack }
}

/// Whether who asked can be believed: only while the policies have been in place for some seconds (SD-23).
pub fn policies_in_place(missing: Option<&Missing>) -> Result<(), Refusal> {
    let refusal = |missing: &Missing| Refusal::PoliciesMissing {
        missing: missing.what.clone(),
        lack: missing.lack,
    };
    missing.map_or(Ok(()), |missing| Err(refusal(missing)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::Reason;

    #[test]
    fn sd31_purging_is_asked_by_the_proxys_name_in_its_origins_namespace() {
        let ask = purge_needs(Kind::Key, "payments", "signing");
        assert_eq!((ask.verb, ask.resource), ("purge", "deletedhsmkeys"));
        assert_eq!(
            (ask.namespace.as_str(), ask.name.as_str()),
            ("payments", "payments.signing")
        );
    }

    #[test]
    fn sd19_accepting_a_namespace_is_asked_in_the_same_way_with_another_verb() {
        let (accept, purge) = (
            acceptance_needs(Kind::Hsm, "a", "b"),
            purge_needs(Kind::Hsm, "a", "b"),
        );
        assert_eq!(
            accept,
            Ask {
                verb: "recover",
                ..purge
            }
        );
    }

    #[test]
    fn sd30_recovering_an_object_needs_to_create_one_there() {
        for (kind, resource) in [(Kind::Hsm, "managedhsms"), (Kind::Key, "hsmkeys")] {
            let ask = recover_needs(kind, "payments");
            assert_eq!((ask.verb, ask.resource), ("create", resource));
            assert_eq!(ask.namespace, "payments");
        }
    }

    #[test]
    fn sd30_create_or_recover_needs_to_create_recovers() {
        let ask = create_or_recover_needs("payments");
        assert_eq!((ask.verb, ask.resource), ("create", "recovers"));
    }

    #[test]
    fn sd29_none_of_the_four_permissions_includes_another() {
        for (kind, one, other) in [Kind::Hsm, Kind::Key]
            .into_iter()
            .flat_map(|kind| Permission::ALL.map(|one| (kind, one)))
            .flat_map(|(kind, one)| Permission::ALL.map(|other| (kind, one, other)))
            .filter(|(_, one, other)| one != other)
        {
            let has = needs(one, kind);
            assert!(
                needs(other, kind).iter().any(|right| !has.contains(right)),
                "{one:?} includes {other:?}"
            );
        }
    }

    #[test]
    fn sd31_a_no_names_user_verb_and_proxy() {
        let ask = purge_needs(Kind::Hsm, "payments", "prod");
        let sentence = granted(&ask, "alice", false).unwrap_err().to_string();
        assert!(
            sentence.starts_with("The user alice may not purge deletedmanagedhsms payments.prod"),
            "{sentence}"
        );
        assert_eq!(granted(&ask, "alice", true), Ok(()));
    }

    #[test]
    fn sd33_the_requester_is_the_true_user_to_the_letter() {
        assert!(names_its_requester("alice", "alice"));
        assert!(!names_its_requester("Alice", "alice"));
        assert!(!names_its_requester("", ""));
    }

    #[test]
    fn sd31_a_purge_is_withdrawn_only_until_it_executes() {
        assert!(may_withdraw(false, false));
        assert!(!may_withdraw(true, false));
        assert!(!may_withdraw(false, true));
    }

    #[test]
    fn sd25_nobody_but_the_operator_deletes_a_proxy_and_the_way_to_purge_is_named() {
        let (resource, name) = ("deletedmanagedhsms", "payments.prod");
        let refused = operators_alone(Write::Proxy, "admin", "delete", resource, name).unwrap();
        let sentence = refused.to_string();
        assert!(
            sentence.contains("have it purged with a Purge"),
            "{sentence}"
        );
    }

    #[test]
    fn sd32_only_the_operator_writes_proxies_status_and_finalizers_on_what_exists() {
        for alone in [
            Write::Proxy,
            Write::Status,
            Write::Finalizer,
            Write::PurgeUnderWay,
        ] {
            let refused = operators_alone(alone, "eve", "update", "hsmkeys", "signing").unwrap();
            assert_eq!(refused.reason(), Reason::NotPermitted);
            let way_out = only_operator(alone).unwrap();
            let sentence = refused.to_string();
            assert!(
                sentence.starts_with(
                    "Only the operator may update hsmkeys signing, not the user eve; "
                ),
                "{sentence}"
            );
            assert!(sentence.contains(way_out), "{sentence}");
        }
        for free in [Write::CreateWithFinalizer, Write::Spec] {
            assert_eq!(
                operators_alone(free, "eve", "create", "hsmkeys", "signing"),
                None
            );
        }
    }

    #[test]
    fn sd23_policies_that_came_only_now_are_waited_for() {
        let missing = Missing {
            what: "requester".into(),
            lack: Lack::Settling,
        };
        let refusal = policies_in_place(Some(&missing)).unwrap_err();
        assert_eq!(
            (refusal.reason(), refusal.stalls()),
            (Reason::PoliciesMissing, false)
        );
        assert_eq!(policies_in_place(None), Ok(()));
    }

    #[test]
    fn sd23_what_was_asked_before_the_policies_stood_is_never_believed() {
        let at = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        let stand = Policies::Since(at(0));
        let lack = |missing: Option<Missing>| missing.map(|missing| missing.lack);
        assert_eq!(lack(stand.missing(at(4))), Some(Lack::Settling));
        assert_eq!(stand.missing(at(5)), None);
        // However much later it is looked at.
        assert_eq!(lack(stand.missing_for(at(4))), Some(Lack::CameLater));
        assert_eq!(stand.missing_for(at(5)), None);
        let gone = Policies::Missing("it".into());
        assert_eq!(lack(gone.missing(at(100))), Some(Lack::Absent));
        assert_eq!(lack(gone.missing_for(at(100))), Some(Lack::Unseen));
    }
}
