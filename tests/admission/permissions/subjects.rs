//! Who asks.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject as Bound,
};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};
use managed_hsm_operator::api::GROUP;
use managed_hsm_operator::manifests;
use managed_hsm_operator::softdelete::Kind;
use managed_hsm_operator::softdelete::permission::{Permission, Right, needs};
use testplane::{Plane, eventually};

use crate::admission::scene::{SOON, Scene, apply, installation};

/// Verb and resource, with its subresource.
pub type Rights = BTreeSet<(String, String)>;

/// What the name of somebody begins with who has only half of what a permission needs.
pub const HALF: &str = "only ";

pub struct Subject {
    pub name: String,
    pub user: String,
    pub client: Client,
    /// All there is.
    everything: bool,
    everywhere: Rights,
    /// In the scene's namespace only.
    here: Rights,
}

impl Subject {
    pub fn is_nobody(&self) -> bool {
        self.user == "system:anonymous"
    }

    pub fn is_operator(&self) -> bool {
        self.user == installation(false).user
    }

    /// By his roles. `here`: it is asked in the scene's namespace.
    pub fn may(&self, verb: &str, resource: &str, here: bool) -> bool {
        let right = (verb.to_owned(), resource.to_owned());
        self.everything || self.everywhere.contains(&right) || (here && self.here.contains(&right))
    }
}

pub async fn all(plane: &Plane, scene: &Scene) -> Vec<Subject> {
    let roles = Roles::installed(scene).await;
    let mut all = Vec::new();
    for (at, one) in Permission::ALL.into_iter().enumerate() {
        all.push(holder(plane, scene, &[one]).await);
        for other in &Permission::ALL[at + 1..] {
            all.push(holder(plane, scene, &[one, *other]).await);
        }
    }
    // The four alone first.
    all.sort_by_key(|subject| subject.name.contains('+'));
    // Half of a permission is none, and that for HSMs is none for keys.
    for (name, half) in [
        ("create recovers", vec![("create", "recovers")]),
        (
            "create recovers and managedhsms",
            vec![("create", "recovers"), ("create", "managedhsms")],
        ),
        ("create purges", vec![("create", "purges")]),
    ] {
        let name = format!("{HALF}{name}");
        all.push(with(plane, scene, &name, half.into_iter()).await);
    }
    for (name, _) in &roles.0 {
        if name.starts_with("hsm-") {
            all.push(bound(plane, scene, name, roles.rights(name)).await);
        }
    }
    all.push(bound_here(plane, scene, roles.rights("hsm-admin")).await);
    for (name, as_much_as) in [
        ("view", "hsm-viewer"),
        ("edit", "hsm-user"),
        ("admin", "hsm-user"),
    ] {
        aggregated(scene, name).await;
        all.push(bound(plane, scene, name, roles.rights(as_much_as)).await);
    }
    let mut root = bound(plane, scene, "cluster-admin", Rights::new()).await;
    root.everything = true;
    all.push(root);
    all.push(nobody(plane).await);
    all.push(account_of_another(plane, scene).await);
    all.push(operator(plane, scene, roles.rights(manifests::NAME)).await);
    all
}

/// The ClusterRoles of the manifests, as they stand there.
struct Roles(Vec<(String, ClusterRole)>);

impl Roles {
    async fn installed(scene: &Scene) -> Self {
        let objects = manifests::objects(manifests::NAMESPACE).expect("objects");
        let roles = objects
            .into_iter()
            .filter(|object| object.value["kind"].as_str() == Some("ClusterRole"));
        let roles =
            roles.map(|object| serde_yaml_ng::from_value(object.value).expect("a ClusterRole"));
        let roles: Vec<ClusterRole> = roles.collect();
        for role in &roles {
            apply(&scene.admin, role).await;
        }
        Self(
            roles
                .into_iter()
                .map(|role| (role.name_any(), role))
                .collect(),
        )
    }

    fn rights(&self, name: &str) -> Rights {
        let (_, role) = self
            .0
            .iter()
            .find(|(own, _)| own == name)
            .expect("it is installed");
        let ours = role
            .rules
            .iter()
            .flatten()
            .filter(|rule| rule.api_groups.iter().flatten().any(|group| group == GROUP));
        ours.flat_map(|rule| {
            let resources = rule.resources.iter().flatten();
            resources.flat_map(|of| rule.verbs.iter().map(|verb| (verb.clone(), of.clone())))
        })
        .collect()
    }
}

/// Waits until the built-in role has what ours adds to it.
async fn aggregated(scene: &Scene, name: &str) {
    let roles: Api<ClusterRole> = Api::all(scene.admin.clone());
    eventually("our roles are part of the built-in one", SOON, async || {
        let role = roles.get(name).await.map_err(|error| error.to_string())?;
        let mut rules = role.rules.iter().flatten();
        let has = rules.any(|rule| {
            let verb = if name == "view" { "list" } else { "delete" };
            let of = |all: &Option<Vec<String>>, one: &str| {
                all.iter().flatten().any(|other| other == one)
            };
            of(&rule.api_groups, GROUP)
                && of(&rule.resources, "hsmkeys")
                && rule.verbs.iter().any(|own| own == verb)
        });
        has.then_some(()).ok_or_else(|| format!("{role:?}"))
    })
    .await;
}

/// Of permissions.
async fn holder(plane: &Plane, scene: &Scene, permissions: &[Permission]) -> Subject {
    let names: Vec<_> = permissions.iter().map(|one| format!("{one:?}")).collect();
    let rights = permissions
        .iter()
        .flat_map(|one| [Kind::Hsm, Kind::Key].map(|kind| needs(*one, kind)))
        .flatten();
    with(plane, scene, &names.join(" + "), rights).await
}

/// With a role of exactly these.
async fn with(
    plane: &Plane,
    scene: &Scene,
    name: &str,
    rights: impl Iterator<Item = Right>,
) -> Subject {
    let rights = rights.map(|(verb, resource)| (verb.to_owned(), resource.to_owned()));
    let rights: Rights = rights.collect();
    let rules = rights.iter().map(|(verb, resource)| PolicyRule {
        api_groups: Some(vec![GROUP.into()]),
        resources: Some(vec![resource.clone()]),
        verbs: vec![verb.clone()],
        ..PolicyRule::default()
    });
    let plain = name.to_lowercase().replace(" + ", "-").replace(' ', "-");
    let role = ClusterRole {
        metadata: named(&format!("{}-{plain}", scene.namespace)),
        rules: Some(rules.collect()),
        ..ClusterRole::default()
    };
    apply(&scene.admin, &role).await;
    let mut subject = bound(plane, scene, &role.name_any(), rights).await;
    subject.name = name.to_owned();
    subject
}

/// Has a ClusterRole everywhere.
async fn bound(plane: &Plane, scene: &Scene, role: &str, everywhere: Rights) -> Subject {
    let user = format!("{}:{role}", scene.namespace);
    bind(scene, &user, role, user_of(&user)).await;
    Subject {
        name: role.to_owned(),
        client: plane.client_as(&user, &[]).await,
        user,
        everything: false,
        everywhere,
        here: Rights::new(),
    }
}

/// Is `hsm-admin` by a RoleBinding.
async fn bound_here(plane: &Plane, scene: &Scene, here: Rights) -> Subject {
    let user = format!("{}:here", scene.namespace);
    bind_in(scene, &scene.namespace, "hsm-admin", user_of(&user)).await;
    Subject {
        name: "hsm-admin, in this namespace".to_owned(),
        client: plane.client_as(&user, &[]).await,
        user,
        everything: false,
        everywhere: Rights::new(),
        here,
    }
}

/// By a client without any credentials.
async fn nobody(plane: &Plane) -> Subject {
    let mut config = plane.config().await;
    config.auth_info = Default::default();
    Subject {
        name: "anonymous".to_owned(),
        user: "system:anonymous".to_owned(),
        client: Client::try_from(config).expect("a client"),
        everything: false,
        everywhere: Rights::new(),
        here: Rights::new(),
    }
}

/// Is `hsm-admin` in its own namespace, by its own token.
async fn account_of_another(plane: &Plane, scene: &Scene) -> Subject {
    let home = plane.namespace("another").await;
    let wait = [
        "wait",
        "--for=create",
        "serviceaccount/default",
        "-n",
        &home,
    ];
    plane.kubectl(&wait, "").await.ok();
    let account = Bound {
        kind: "ServiceAccount".into(),
        name: "default".into(),
        namespace: Some(home.clone()),
        api_group: None,
    };
    bind_in(scene, &home, "hsm-admin", account).await;
    Subject {
        name: "ServiceAccount, hsm-admin of another namespace".to_owned(),
        user: format!("system:serviceaccount:{home}:default"),
        client: plane.client_as_service_account(&home, "default").await,
        everything: false,
        everywhere: Rights::new(),
        here: Rights::new(),
    }
}

async fn operator(plane: &Plane, scene: &Scene, everywhere: Rights) -> Subject {
    let user = installation(false).user;
    bind(scene, &user, manifests::NAME, user_of(&user)).await;
    Subject {
        name: "the operator".to_owned(),
        client: plane.client_as(&user, &[]).await,
        user,
        everything: false,
        everywhere,
        here: Rights::new(),
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

fn user_of(name: &str) -> Bound {
    Bound {
        kind: "User".into(),
        name: name.to_owned(),
        api_group: Some("rbac.authorization.k8s.io".into()),
        namespace: None,
    }
}

fn refer(role: &str) -> RoleRef {
    RoleRef {
        kind: "ClusterRole".into(),
        name: role.into(),
        api_group: "rbac.authorization.k8s.io".into(),
    }
}

async fn bind(scene: &Scene, name: &str, role: &str, subject: Bound) {
    let binding = ClusterRoleBinding {
        metadata: named(name),
        role_ref: refer(role),
        subjects: Some(vec![subject]),
    };
    apply(&scene.admin, &binding).await;
}

async fn bind_in(scene: &Scene, namespace: &str, role: &str, subject: Bound) {
    let binding = RoleBinding {
        metadata: named(role),
        role_ref: refer(role),
        subjects: Some(vec![subject]),
    };
    let all = Api::namespaced(scene.admin.clone(), namespace);
    all.create(&PostParams::default(), &binding)
        .await
        .expect("it is bound");
}
