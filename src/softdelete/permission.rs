//! Which permission is asked for which act, always in the same way.

use super::{Kind, Refusal};

/// One question to RBAC. The group is always ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    pub verb: &'static str,
    pub resource: &'static str,
    pub namespace: String,
    /// Empty: any.
    pub name: String,
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

/// SD-30 What a Recover needs besides `create recovers`: of an HSM, to create one there.
pub fn recover_needs(kind: Kind, namespace: &str) -> Option<Ask> {
    (kind == Kind::Hsm).then(|| create(kind.objects(), namespace))
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

/// SD-29 The four permissions, of which none includes another, and the resource that each is about.
pub fn four_permissions(kind: Kind) -> [(&'static str, &'static str); 4] {
    [
        ("delete", kind.objects()),
        ("list", kind.proxies()),
        ("create", "recovers"),
        ("purge", kind.proxies()),
    ]
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

/// A DELETE of a proxy is refused to everybody but the operator: it would purge nothing (SD-25).
pub fn delete_proxy(kind: Kind, proxy: &str, user: &str, operator: bool) -> Result<(), Refusal> {
    let ask = Ask {
        verb: "delete",
        resource: kind.proxies(),
        namespace: String::new(),
        name: proxy.to_owned(),
    };
    granted(&ask, user, operator)
}

/// What only the operator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    Proxy,
    Status,
    /// Puts our finalizer on something that exists, or takes it off.
    Finalizer,
    /// Creates an object that brings our finalizer along, as backups do.
    CreateWithFinalizer,
    /// Anything else of an object.
    Spec,
}

/// SD-32 Whether a write is the operator's alone.
pub const fn only_operator(write: Write) -> bool {
    match write {
        Write::Proxy | Write::Status | Write::Finalizer => true,
        Write::CreateWithFinalizer | Write::Spec => false,
    }
}

/// What a decision that believes what admission saw depends on, where it is not in place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Missing {
    /// Which policy or definition.
    pub what: String,
    /// It is there, but not for long enough.
    pub settling: bool,
}

/// Whether who asked can be believed: only while the policies have been in place for some seconds (SD-23).
pub fn policies_in_place(missing: Option<&Missing>) -> Result<(), Refusal> {
    let refusal = |missing: &Missing| Refusal::PoliciesMissing {
        missing: missing.what.clone(),
        settling: missing.settling,
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
    fn sd30_recovering_an_hsm_needs_to_create_one_and_a_key_does_not() {
        let ask = recover_needs(Kind::Hsm, "payments").unwrap();
        assert_eq!(
            (ask.verb, ask.resource, ask.namespace.as_str()),
            ("create", "managedhsms", "payments")
        );
        assert_eq!(recover_needs(Kind::Key, "payments"), None);
    }

    #[test]
    fn sd30_create_or_recover_needs_to_create_recovers() {
        let ask = create_or_recover_needs("payments");
        assert_eq!((ask.verb, ask.resource), ("create", "recovers"));
    }

    #[test]
    fn sd29_the_four_permissions_are_four() {
        for kind in [Kind::Hsm, Kind::Key] {
            let different: std::collections::BTreeSet<_> =
                four_permissions(kind).into_iter().collect();
            assert_eq!(different.len(), 4);
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
    fn sd25_nobody_but_the_operator_deletes_a_proxy() {
        let refused = delete_proxy(Kind::Hsm, "payments.prod", "admin", false).unwrap_err();
        assert_eq!(refused.reason(), Reason::NotPermitted);
        assert_eq!(
            delete_proxy(Kind::Hsm, "payments.prod", "operator", true),
            Ok(())
        );
    }

    #[test]
    fn sd32_only_the_operator_writes_proxies_status_and_finalizers_on_what_exists() {
        assert!(
            only_operator(Write::Proxy)
                && only_operator(Write::Status)
                && only_operator(Write::Finalizer)
        );
        assert!(!only_operator(Write::CreateWithFinalizer) && !only_operator(Write::Spec));
    }

    #[test]
    fn sd23_policies_that_came_only_now_are_waited_for() {
        let missing = Missing {
            what: "requester".into(),
            settling: true,
        };
        let refusal = policies_in_place(Some(&missing)).unwrap_err();
        assert_eq!(
            (refusal.reason(), refusal.stalls()),
            (Reason::PoliciesMissing, false)
        );
        assert_eq!(policies_in_place(None), Ok(()));
    }
}
