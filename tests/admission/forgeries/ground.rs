//! What the forgeries are tried upon, and by whom. Each act is a dry run: the ground stays as it is.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use managed_hsm_operator::api::FINALIZER;
use managed_hsm_operator::controller::cluster::Watched;
use serde_json::{Value, json};
use testplane::Plane;

use crate::admission::scene::{DELETED_KEY, HOME, HSM, KEY, Scene, apply, object};

/// The executing Purge's name without its namespace.
pub const BUSY: &str = "busy";

pub struct Ground {
    pub scene: Scene,
    /// May declare and recover, and accepts no namespace.
    tenant: Client,
    /// May declare, and recovers nothing.
    plain: Client,
}

impl Ground {
    pub async fn new(plane: &Plane, purpose: &str) -> Self {
        let scene = Scene::of(plane, purpose).await;
        let tenant = user(
            plane,
            &scene,
            "tenant",
            &["managedhsms", "hsmkeys", "recovers"],
        )
        .await;
        let plain = user(plane, &scene, "plain", &["managedhsms", "hsmkeys"]).await;
        let ground = Self {
            scene,
            tenant,
            plain,
        };
        ground.laid().await;
        ground
    }

    async fn laid(&self) {
        let scene = &self.scene;
        let finalizers = json!([FINALIZER]);
        let hsm = json!({"metadata": {"finalizers": finalizers}, "spec": {"retentionDays": 30}});
        let key = json!({"metadata": {"finalizers": finalizers}, "spec": {
            "hsm": "payments", "keyType": "EC", "curve": "P-256", "purgeProtection": true}});
        let recover = json!({"spec": {"kind": "HsmKey", "name": "gone", "uid": "u-gone"}});
        for (of, name, data) in [
            (HSM, "payments", hsm),
            (KEY, "signing", key),
            (Watched::Recover, "back", recover),
        ] {
            scene
                .create(&scene.admin, of, name, data)
                .await
                .expect("it is taken");
        }
        scene
            .deleted_key(&scene.operator, "gone")
            .await
            .expect("it is taken");
        for name in ["ask", BUSY] {
            scene
                .purge(&scene.operator, name, "gone", "alice")
                .await
                .expect("it is taken");
        }
        let executing = json!({"conditions": [{"type": "Executing", "status": "True", "reason": "Executing", "message": "", "lastTransitionTime": "2026-03-01T00:00:00Z"}]});
        let busy = self.purge_name(BUSY);
        scene
            .merge_status(&scene.operator, Watched::Purge, &busy, executing)
            .await
            .expect("the operator's own");
        let home = Namespace {
            metadata: named(HOME),
            ..Namespace::default()
        };
        apply(&scene.admin, &home).await;
        let pins = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pins"}, "immutable": true, "stringData": {"user-pin": "not-a-real-one"}});
        let applied = PatchParams::apply("install").force();
        self.pins()
            .patch("pins", &applied, &Patch::Apply(&pins))
            .await
            .expect("it is taken");
    }

    pub fn purge_name(&self, name: &str) -> String {
        format!("{}-{name}", self.scene.namespace)
    }

    pub fn pins(&self) -> Api<Secret> {
        Api::namespaced(self.scene.admin.clone(), HOME)
    }

    async fn make(&self, by: &Client, of: Watched, name: &str, data: Value) -> kube::Result<()> {
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let made = object(of, name, data);
        self.scene.api(by, of).create(&dry, &made).await.map(|_| ())
    }

    async fn change(&self, by: &Client, of: Watched, name: &str, to: Value) -> kube::Result<()> {
        let patch = Patch::Merge(to);
        self.scene
            .api(by, of)
            .patch(name, &dry_patch(), &patch)
            .await
            .map(|_| ())
    }

    async fn asks(&self, requested_by: &str) -> kube::Result<()> {
        let spec = json!({"kind": "DeletedHsmKey", "name": self.scene.proxy("gone"), "uid": "u-gone", "requestedBy": requested_by});
        let name = self.purge_name("forged");
        self.make(
            &self.scene.admin,
            Watched::Purge,
            &name,
            json!({ "spec": spec }),
        )
        .await
    }

    pub async fn asks_in_anothers_name(&self) -> kube::Result<()> {
        self.asks("alice").await
    }

    pub async fn asks_in_his_own_name(&self) -> kube::Result<()> {
        self.asks("admin").await
    }

    pub async fn withdraws_what_executes(&self) -> kube::Result<()> {
        let purges = self.scene.api(&self.scene.admin, Watched::Purge);
        let name = self.purge_name(BUSY);
        purges.delete(&name, &dry_delete()).await.map(|_| ())
    }

    pub async fn accepts_a_taken_namespace(&self) -> kube::Result<()> {
        let spec =
            json!({"kind": "HsmKey", "name": "gone", "uid": "u-gone", "acceptNamespaceUid": "n-2"});
        self.make(
            &self.tenant,
            Watched::Recover,
            "theft",
            json!({ "spec": spec }),
        )
        .await
    }

    pub async fn switches_the_mode(&self) -> kube::Result<()> {
        let mode = json!({"spec": {"createMode": "CreateOrRecover"}});
        self.change(&self.plain, HSM, "payments", mode).await
    }

    pub async fn makes_an_hsm_without_soft_delete(&self) -> kube::Result<()> {
        let off = json!({"spec": {"softDelete": false}});
        self.make(&self.plain, HSM, "fleeting", off).await
    }

    pub async fn writes_a_proxy(&self) -> kube::Result<()> {
        let gone = self.scene.proxy("gone");
        let stored = self.scene.api(&self.scene.operator, DELETED_KEY);
        let mut spec = stored.get(&gone).await?.data["spec"].clone();
        spec["origin"]["name"] = json!("forged");
        let name = self.scene.proxy("forged");
        self.make(
            &self.scene.admin,
            DELETED_KEY,
            &name,
            json!({ "spec": spec }),
        )
        .await
    }

    pub async fn swaps_a_public_key(&self) -> kube::Result<()> {
        let patch = Patch::Merge(json!({ "status": swapped() }));
        let keys = self.scene.api(&self.scene.admin, KEY);
        keys.patch_status("signing", &dry_patch(), &patch)
            .await
            .map(|_| ())
    }

    pub async fn strips_our_finalizer(&self) -> kube::Result<()> {
        let none = json!({"metadata": {"finalizers": null}});
        self.change(&self.scene.admin, HSM, "payments", none).await
    }

    pub async fn shortens_a_retention(&self) -> kube::Result<()> {
        let short = json!({"spec": {"retentionDays": 7}});
        self.change(&self.scene.admin, HSM, "payments", short).await
    }

    pub async fn takes_protection_off(&self) -> kube::Result<()> {
        let off = json!({"spec": {"purgeProtection": false}});
        self.change(&self.scene.admin, KEY, "signing", off).await
    }

    pub async fn turns_a_recover(&self) -> kube::Result<()> {
        let other = json!({"spec": {"uid": "u-other"}});
        self.change(&self.scene.admin, Watched::Recover, "back", other)
            .await
    }

    pub async fn deletes_a_definition(&self) -> kube::Result<()> {
        let all = Api::<CustomResourceDefinition>::all(self.scene.admin.clone());
        let name = "deletedhsmkeys.managedhsm.dev";
        all.delete(name, &dry_delete()).await.map(|_| ())
    }

    pub async fn deletes_the_pins(&self) -> kube::Result<()> {
        self.pins().delete("pins", &dry_delete()).await.map(|_| ())
    }
}

/// Somebody else's public key in a key's status.
pub fn swapped() -> Value {
    let jwk = json!({"kty": "EC", "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
    json!({"currentVersion": 1, "versions": [{"id": 1, "createdAt": "2026-03-01T00:00:00Z",
        "materialId": "0123456789abcdef0123456789abcdef", "publicKey": jwk, "thumbprint": "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"}]})
}

pub fn dry_patch() -> PatchParams {
    PatchParams {
        dry_run: true,
        ..PatchParams::default()
    }
}

pub fn dry_delete() -> DeleteParams {
    DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    }
}

pub fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

/// May do what one does with these, everywhere.
async fn user(plane: &Plane, scene: &Scene, name: &str, resources: &[&str]) -> Client {
    let user = format!("{name}-{}", scene.namespace);
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let role = ClusterRole {
        metadata: named(&user),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec!["managedhsm.dev".into()]),
            resources: Some(owned(resources)),
            verbs: owned(&["create", "get", "patch", "update"]),
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    };
    apply(&scene.admin, &role).await;
    let subject = Subject {
        kind: "User".into(),
        name: user.clone(),
        api_group: Some("rbac.authorization.k8s.io".into()),
        namespace: None,
    };
    bind(scene, &user, &user, subject).await;
    plane.client_as(&user, &[]).await
}

pub async fn bind(scene: &Scene, name: &str, role: &str, subject: Subject) {
    let binding = ClusterRoleBinding {
        metadata: named(name),
        role_ref: RoleRef {
            kind: "ClusterRole".into(),
            name: role.into(),
            api_group: "rbac.authorization.k8s.io".into(),
        },
        subjects: Some(vec![subject]),
    };
    apply(&scene.admin, &binding).await;
}
