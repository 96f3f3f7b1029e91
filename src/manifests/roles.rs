//! The roles for people. What the four permissions need is [`permission::needs`]'s to say; here stands who gets which, and what goes with
//! it: to read what one works with, and to take back what one asked for. Nobody gets a wildcard, a status or the writing of a proxy.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Error, Object, named};
use crate::api;
use crate::softdelete::Kind;
use crate::softdelete::permission::{self, Permission, Right};

pub(super) const SUBJECT: &str = "roles";

const KINDS: [Kind; 2] = [Kind::Hsm, Kind::Key];
const READ: [&str; 3] = ["get", "list", "watch"];

/// What goes with the right to ask: to follow it, to apply it again (what was asked never changes), to withdraw it.
const ASKED: [&str; 5] = ["delete", "get", "list", "patch", "watch"];

/// A role before it is written out.
struct Role {
    name: &'static str,
    /// The built-in role that has it too.
    part_of: Option<&'static str>,
    what: &'static str,
    rights: BTreeSet<Right>,
}

pub(super) fn objects() -> Result<Vec<Object>, Error> {
    let roles = all().into_iter().map(Role::written);
    roles.map(|role| Object::new(SUBJECT, &role)).collect()
}

fn all() -> [Role; 6] {
    let viewer = on_objects(&READ);
    let user = join([
        viewer.clone(),
        on_objects(&["create", "patch", "update"]),
        given(Permission::Delete),
    ]);
    // Purges name what was deleted, and what became of it.
    let deleted_viewer = join([
        given(Permission::ListDeleted),
        on_proxies(&READ),
        on("purges", &READ),
    ]);
    let recoverer = join([given(Permission::Recover), on("recovers", &ASKED)]);
    let purger = join([given(Permission::Purge), on("purges", &ASKED)]);
    let accept = KINDS.map(|kind| permission::acceptance_needs(kind, "", "").right());
    let admin = join([
        user.clone(),
        deleted_viewer.clone(),
        recoverer.clone(),
        purger.clone(),
        accept.into(),
    ]);
    let role = |name, part_of, what, rights| Role {
        name,
        part_of,
        what,
        rights,
    };
    [
        role(
            "hsm-viewer",
            Some("view"),
            "Reads live HSMs and keys. Part of view.",
            viewer,
        ),
        role(
            "hsm-user",
            Some("edit"),
            "Declares and deletes HSMs and keys. Part of edit and admin; sees, recovers and purges nothing that is deleted.",
            user,
        ),
        role(
            "hsm-deleted-viewer",
            None,
            "Reads what is deleted, in all namespaces: bind it in the cluster.",
            deleted_viewer,
        ),
        role(
            "hsm-recoverer",
            None,
            "Recovers deleted HSMs and keys, where it is bound. May not accept a namespace that was made anew.",
            recoverer,
        ),
        role(
            "hsm-purger",
            None,
            "Asks for purges: bound in the cluster, of anything. Bound in a namespace it has the verb purge there, and needs create purges from elsewhere.",
            purger,
        ),
        role(
            "hsm-admin",
            None,
            "All of the other roles, and accepts namespaces that were made anew (the verb recover).",
            admin,
        ),
    ]
}

fn given(permission: Permission) -> BTreeSet<Right> {
    let needs = KINDS.map(|kind| permission::needs(permission, kind));
    needs.into_iter().flatten().collect()
}

fn on_objects(verbs: &[&'static str]) -> BTreeSet<Right> {
    join(KINDS.map(|kind| on(kind.objects(), verbs)))
}

fn on_proxies(verbs: &[&'static str]) -> BTreeSet<Right> {
    join(KINDS.map(|kind| on(kind.proxies(), verbs)))
}

fn on(resource: &'static str, verbs: &[&'static str]) -> BTreeSet<Right> {
    verbs.iter().map(|verb| (*verb, resource)).collect()
}

fn join<const N: usize>(sets: [BTreeSet<Right>; N]) -> BTreeSet<Right> {
    sets.into_iter().flatten().collect()
}

impl Role {
    fn written(self) -> ClusterRole {
        let ObjectMeta { labels, .. } = named(self.name);
        let mut labels = labels.unwrap_or_default();
        if let Some(part_of) = self.part_of {
            let label = format!("rbac.authorization.k8s.io/aggregate-to-{part_of}");
            labels.insert(label, "true".to_owned());
        }
        let what = ("kubernetes.io/description".to_owned(), self.what.to_owned());
        ClusterRole {
            metadata: ObjectMeta {
                labels: Some(labels),
                annotations: Some(BTreeMap::from([what])),
                ..named(self.name)
            },
            rules: Some(rules(&self.rights)),
            aggregation_rule: None,
        }
    }
}

/// As few rules as say it: one for all resources of the same verbs.
fn rules(rights: &BTreeSet<Right>) -> Vec<PolicyRule> {
    let mut of: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (verb, resource) in rights {
        of.entry(resource).or_default().push((*verb).to_owned());
    }
    let mut rules: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for (resource, verbs) in of {
        rules.entry(verbs).or_default().push(resource.to_owned());
    }
    let rule = |(verbs, resources)| PolicyRule {
        api_groups: Some(vec![api::GROUP.to_owned()]),
        resources: Some(resources),
        verbs,
        ..PolicyRule::default()
    };
    rules.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The six, by name.
    fn rights(name: &str) -> BTreeSet<Right> {
        let role = all().into_iter().find(|role| role.name == name);
        role.expect("it is there").rights
    }

    fn has(name: &str, permission: Permission) -> bool {
        given(permission).is_subset(&rights(name))
    }

    #[test]
    fn sd29_each_role_has_its_permissions_and_no_other() {
        use Permission::{Delete, ListDeleted, Purge, Recover};
        for (name, expected) in [
            ("hsm-viewer", vec![]),
            ("hsm-user", vec![Delete]),
            ("hsm-deleted-viewer", vec![ListDeleted]),
            ("hsm-recoverer", vec![Recover]),
            ("hsm-purger", vec![Purge]),
            ("hsm-admin", vec![Delete, ListDeleted, Recover, Purge]),
        ] {
            let found: Vec<_> = Permission::ALL
                .into_iter()
                .filter(|one| has(name, *one))
                .collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn sd29_what_view_and_edit_get_is_about_live_objects_alone() {
        for role in all() {
            let live = [Kind::Hsm.objects(), Kind::Key.objects()];
            let only_live = role.rights.iter().all(|(_, of)| live.contains(of));
            assert_eq!(role.part_of.is_some(), only_live, "{}", role.name);
        }
    }

    #[test]
    fn sd32_no_role_writes_a_proxy_or_a_status_and_none_has_a_wildcard() {
        for role in all() {
            for (verb, resource) in role.rights {
                let proxy = resource.starts_with("deleted");
                let reads = READ.contains(&verb);
                let asked = ["purge", "recover"].contains(&verb);
                assert!(!proxy || reads || asked, "{} {verb} {resource}", role.name);
                let text = format!("{verb} {resource}");
                assert!(!text.contains(['*', '/']), "{} {text}", role.name);
                assert_ne!(verb, "deletecollection", "{}", role.name);
            }
        }
    }

    #[test]
    fn sd19_a_namespace_made_anew_is_accepted_by_the_administrator_alone() {
        let accept = permission::acceptance_needs(Kind::Key, "", "").right();
        let may: Vec<_> = all()
            .into_iter()
            .filter(|role| role.rights.contains(&accept))
            .map(|role| role.name)
            .collect();
        assert_eq!(may, ["hsm-admin"]);
    }
}
