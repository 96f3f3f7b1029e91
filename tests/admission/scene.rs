//! A control plane with our policies, the operator as its ServiceAccount, an administrator whom RBAC lets do all, and users.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use managed_hsm_operator::admission::policies::{self, Installation};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testplane::{Plane, eventually};

pub const SOON: Duration = Duration::from_secs(60);
pub const HOME: &str = "hsm-system";
pub const ACCOUNT: &str = "managed-hsm-operator";

pub fn installation(undeletable: bool) -> Installation {
    Installation {
        user: format!("system:serviceaccount:{HOME}:{ACCOUNT}"),
        namespace: HOME.into(),
        undeletable,
        claims: vec!["store".into()],
        secrets: vec!["pins".into()],
    }
}

/// Whoever asks, in a namespace of the test's own.
pub struct Scene {
    pub admin: Client,
    pub operator: Client,
    pub namespace: String,
}

impl Scene {
    /// On a plane whose policies are in force.
    pub async fn of(plane: &Plane, purpose: &str) -> Self {
        Self {
            admin: plane.client().await,
            operator: plane
                .client_as(&installation(false).user, &["system:masters"])
                .await,
            namespace: plane.namespace(purpose).await,
        }
    }

    pub fn api(&self, by: &Client, of: Watched) -> Api<DynamicObject> {
        match of {
            Watched::Object(_) | Watched::Recover => {
                Api::namespaced_with(by.clone(), &self.namespace, &of.resource())
            }
            Watched::Proxy(_) | Watched::Purge | Watched::Namespace => {
                Api::all_with(by.clone(), &of.resource())
            }
        }
    }

    pub async fn create(
        &self,
        by: &Client,
        of: Watched,
        name: &str,
        data: Value,
    ) -> kube::Result<DynamicObject> {
        let made = object(of, name, data);
        self.api(by, of).create(&PostParams::default(), &made).await
    }

    pub async fn merge(
        &self,
        by: &Client,
        of: Watched,
        name: &str,
        change: Value,
    ) -> kube::Result<DynamicObject> {
        self.api(by, of)
            .patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
    }

    pub async fn merge_status(
        &self,
        by: &Client,
        of: Watched,
        name: &str,
        status: Value,
    ) -> kube::Result<DynamicObject> {
        let change = Patch::Merge(json!({"status": status}));
        self.api(by, of)
            .patch_status(name, &PatchParams::default(), &change)
            .await
    }

    pub fn proxy(&self, name: &str) -> String {
        format!("{}.{name}", self.namespace)
    }

    pub async fn hsm(&self, name: &str) -> DynamicObject {
        let made = self
            .create(
                &self.admin,
                HSM,
                name,
                json!({"spec": {"retentionDays": 30}}),
            )
            .await;
        made.expect("an HSM is taken")
    }

    pub async fn key(&self, name: &str) -> DynamicObject {
        let spec = json!({"spec": {"hsm": "payments", "keyType": "EC", "curve": "P-256"}});
        self.create(&self.admin, KEY, name, spec)
            .await
            .expect("a key is taken")
    }

    pub async fn deleted_key(&self, by: &Client, name: &str) -> kube::Result<DynamicObject> {
        let spec = json!({
            "origin": {"namespace": self.namespace, "namespaceUid": "n-1", "name": name, "uid": format!("u-{name}")},
            "backend": "default", "hsmId": "h-1", "hsm": "payments", "keyName": name, "versions": [],
            "deletionTime": "2026-02-20T16:00:00Z", "scheduledPurgeTime": "2026-05-21T16:00:00Z",
            "retentionDays": 90, "purgeProtection": false, "recoveryLevel": "Recoverable+Purgeable",
        });
        self.create(by, DELETED_KEY, &self.proxy(name), json!({"spec": spec}))
            .await
    }

    pub async fn purge(
        &self,
        by: &Client,
        name: &str,
        of: &str,
        requested_by: &str,
    ) -> kube::Result<DynamicObject> {
        let name = format!("{}-{name}", self.namespace);
        let spec = json!({"kind": "DeletedHsmKey", "name": self.proxy(of), "uid": format!("u-{of}"), "requestedBy": requested_by});
        self.create(by, Watched::Purge, &name, json!({"spec": spec}))
            .await
    }
}

pub const HSM: Watched = Watched::Object(Kind::Hsm);
pub const KEY: Watched = Watched::Object(Kind::Key);
pub const DELETED_HSM: Watched = Watched::Proxy(Kind::Hsm);
pub const DELETED_KEY: Watched = Watched::Proxy(Kind::Key);
pub const OURS: [Watched; 6] = [
    HSM,
    KEY,
    DELETED_HSM,
    DELETED_KEY,
    Watched::Recover,
    Watched::Purge,
];

pub fn object(of: Watched, name: &str, data: Value) -> DynamicObject {
    let mut made = DynamicObject::new(name, &of.resource());
    if let Some(meta) = data.get("metadata") {
        let meta: ObjectMeta = serde_json::from_value(meta.clone()).expect("metadata");
        made.metadata = ObjectMeta {
            name: Some(name.into()),
            ..meta
        };
    }
    made.data = data;
    if let Some(all) = made.data.as_object_mut() {
        all.remove("metadata");
    }
    made
}

/// Puts all policies in place, and waits until each of them is in force.
pub async fn install(plane: &Plane, of: &Installation) {
    let client = plane.client().await;
    for policy in policies::policies(of) {
        apply(&client, &policy).await;
    }
    for binding in policies::bindings(of) {
        apply(&client, &binding).await;
    }
    // A binding that is seen before its policy refuses nothing: a refusal of each of the last two says that all are there.
    let probe = Api::<DynamicObject>::all_with(client, &Watched::Purge.resource());
    let forged = object(
        Watched::Purge,
        "probe",
        json!({"spec": {
        "kind": "DeletedHsmKey", "name": "a.b", "uid": "u", "requestedBy": "nobody"}}),
    );
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the policies are in force", SOON, async || {
        match probe.create(&dry, &forged).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // The server compiles them on a tick, all of one tick at once.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

pub async fn apply<K>(client: &Client, object: &K)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let parameters = PatchParams::apply("install").force();
    let done = api
        .patch(&object.name_any(), &parameters, &Patch::Apply(object))
        .await;
    done.unwrap_or_else(|error| panic!("{} is not taken: {error}", object.name_any()));
}

pub async fn standing(
    client: &Client,
    of: &Installation,
) -> Result<chrono::DateTime<chrono::Utc>, String> {
    let found = Api::<ValidatingAdmissionPolicy>::all(client.clone());
    let bound = Api::<ValidatingAdmissionPolicyBinding>::all(client.clone());
    let found = found.list(&Default::default()).await.expect("a list");
    let bound = bound.list(&Default::default()).await.expect("a list");
    policies::standing(of, &found.items, &bound.items)
}

/// Refused with 403 by that policy, with those words.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: kube::Result<T>, policy: &str, words: &str) {
    match answer {
        Err(kube::Error::Api(status)) => {
            let by = format!("ValidatingAdmissionPolicy '{policy}.managedhsm.dev'");
            assert_eq!(status.code, 403, "{}", status.message);
            assert!(
                status.message.contains(&by),
                "not by {policy}: {}",
                status.message
            );
            assert!(
                status.message.contains(words),
                "without {words:?}: {}",
                status.message
            );
        }
        other => panic!("not refused: {other:?}"),
    }
}
