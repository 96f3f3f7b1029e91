//! The acts that the table has: each verb on each of our kinds, in each way that is judged in another way.

use kube::api::{Api, DynamicObject};
use managed_hsm_operator::api::FINALIZER;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use managed_hsm_operator::softdelete::permission::{
    Write, acceptance_needs, create_or_recover_needs, purge_needs, recover_needs,
};
use serde_json::{Value, json};

use super::acts::{Act, Http, ME, Then};
use crate::admission::scene::{DELETED_HSM, DELETED_KEY, HSM, KEY, OURS, Scene, object};

const KINDS: [Kind; 2] = [Kind::Hsm, Kind::Key];

/// One of each of our kinds, and a Purge that is executing.
pub async fn all(scene: &Scene) -> Vec<Act> {
    let standing = Standing::new(scene).await;
    let mut all = Vec::new();
    for kind in KINDS {
        all.extend(on_objects(scene, &standing, kind));
    }
    for kind in KINDS {
        all.extend(on_proxies(scene, &standing, kind));
    }
    all.extend(on_recovers(scene, &standing));
    all.extend(on_purges(scene, &standing));
    for of in OURS {
        all.extend(on_status(scene, &standing, of));
    }
    for of in OURS {
        all.extend(on_scale(scene, &standing, of));
    }
    all
}

/// What stands in the scene, by kind; the last is the Purge that is executing.
struct Standing(Vec<(Watched, DynamicObject)>);

impl Standing {
    async fn new(scene: &Scene) -> Self {
        let recover = json!({"spec": {"kind": "HsmKey", "name": "gone", "uid": "u-gone"}});
        let hsm_proxy = json!({"spec": {
            "origin": {"namespace": scene.namespace, "namespaceUid": "n-1", "name": "old", "uid": "u-old"},
            "backend": "default", "hsmId": "h-2", "deletionTime": "2026-02-20T16:00:00Z",
            "purgeProtection": false, "recoveryLevel": "Purgeable"}});
        let proxy = scene.proxy("old");
        let all = [
            (HSM, Ok(scene.hsm("payments").await)),
            (KEY, Ok(scene.key("signing").await)),
            (
                DELETED_HSM,
                scene
                    .create(&scene.operator, DELETED_HSM, &proxy, hsm_proxy)
                    .await,
            ),
            (
                DELETED_KEY,
                scene.deleted_key(&scene.operator, "gone").await,
            ),
            (
                Watched::Recover,
                scene
                    .create(&scene.admin, Watched::Recover, "back", recover)
                    .await,
            ),
            (
                Watched::Purge,
                scene.purge(&scene.operator, "ask", "gone", "alice").await,
            ),
            (
                Watched::Purge,
                scene.purge(&scene.operator, "busy", "gone", "alice").await,
            ),
        ];
        let executing = json!({"conditions": [{"type": "Executing", "status": "True", "reason": "Executing", "message": "", "lastTransitionTime": "2026-03-01T00:00:00Z"}]});
        let busy = format!("{}-busy", scene.namespace);
        scene
            .merge_status(&scene.operator, Watched::Purge, &busy, executing)
            .await
            .expect("the operator's own");
        Self(
            all.into_iter()
                .map(|(of, made)| (of, made.expect("it is made")))
                .collect(),
        )
    }

    fn one(&self, of: Watched) -> &DynamicObject {
        let (_, found) = self.0.iter().find(|(kind, _)| *kind == of).expect("one");
        found
    }

    fn busy(&self) -> &DynamicObject {
        &self.0.last().expect("the last").1
    }
}

fn url(scene: &Scene, of: Watched, name: &str, below: &str, query: &str) -> String {
    let api: Api<DynamicObject> = scene.api(&scene.admin, of);
    let mut url = api.resource_url().to_owned();
    for part in [name, below].into_iter().filter(|part| !part.is_empty()) {
        url += &format!("/{part}");
    }
    format!("{url}?{query}")
}

const DRY: &str = "dryRun=All";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// An act upon the one that stands, or, where that has no name, upon what it makes.
fn act(
    of: Watched,
    verb: &'static str,
    how: &'static str,
    name: &str,
    request: Option<Http>,
    then: Then,
) -> Act {
    Act {
        verb,
        resource: of.resource().plural,
        how,
        of,
        name: name.to_owned(),
        request,
        then,
    }
}

fn name_of(it: &DynamicObject) -> String {
    it.metadata.name.clone().unwrap_or_default()
}

fn reads(scene: &Scene, standing: &Standing, of: Watched) -> Vec<Act> {
    let name = name_of(standing.one(of));
    let only = format!("fieldSelector=metadata.name%3D{name}");
    let request = |verb: &'static str| match verb {
        "get" => url(scene, of, &name, "", ""),
        "list" => url(scene, of, "", "", "limit=1"),
        _ => url(scene, of, "", "", &format!("watch=true&{only}")),
    };
    ["get", "list", "watch"]
        .map(|verb| {
            let request = ("GET", request(verb), JSON, Value::Null);
            act(of, verb, "", &name, Some(request), Then::Nothing)
        })
        .into()
}

/// Edits that RBAC calls update, patch, delete and deletecollection, of one that stands.
fn writes(
    scene: &Scene,
    of: Watched,
    it: &DynamicObject,
    verbs: &[&'static str],
    how: &'static str,
    then: fn() -> Then,
) -> Vec<Act> {
    let name = name_of(it);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let mut whole = serde_json::to_value(it).expect("JSON");
    whole["metadata"]["labels"] = label["metadata"]["labels"].clone();
    let only = format!("{DRY}&fieldSelector=metadata.name%3D{name}");
    let here = url(scene, of, &name, "", DRY);
    let request = |verb: &'static str| match verb {
        "update" => ("PUT", here.clone(), JSON, whole.clone()),
        "patch" => ("PATCH", here.clone(), MERGE, label.clone()),
        "delete" => ("DELETE", here.clone(), JSON, Value::Null),
        _ => ("DELETE", url(scene, of, "", "", &only), JSON, Value::Null),
    };
    verbs
        .iter()
        .map(|verb| act(of, verb, how, &name, Some(request(verb)), then()))
        .collect()
}

const EDITS: [&str; 2] = ["update", "patch"];
const DELETES: [&str; 2] = ["delete", "deletecollection"];
const ALL_WRITES: [&str; 4] = ["update", "patch", "delete", "deletecollection"];

fn creates(
    scene: &Scene,
    of: Watched,
    name: &str,
    how: &'static str,
    spec: Value,
    then: Then,
) -> Act {
    let made = object(of, name, json!({ "spec": spec }));
    let mut made = serde_json::to_value(made).expect("JSON");
    if matches!(of, Watched::Object(_) | Watched::Recover) {
        made["metadata"]["namespace"] = json!(scene.namespace);
    }
    let request = ("POST", url(scene, of, "", "", DRY), JSON, made);
    act(of, "create", how, name, Some(request), then)
}

fn on_objects(scene: &Scene, standing: &Standing, kind: Kind) -> Vec<Act> {
    let of = Watched::Object(kind);
    let it = standing.one(of);
    let spec = match kind {
        Kind::Hsm => json!({}),
        Kind::Key => json!({"hsm": "payments", "keyType": "EC", "curve": "P-256"}),
    };
    let mut recovering = spec.clone();
    recovering["createMode"] = json!("CreateOrRecover");
    let besides = (
        create_or_recover_needs(&scene.namespace),
        Some("recovers, which createMode CreateOrRecover asks for,"),
    );
    let name = name_of(it);
    let finalizer = json!({"metadata": {"finalizers": [FINALIZER]}});
    let finalizer = ("PATCH", url(scene, of, &name, "", DRY), MERGE, finalizer);
    let mut all = reads(scene, standing, of);
    all.push(creates(scene, of, "new", "", spec, Then::Nothing));
    all.push(creates(
        scene,
        of,
        "new",
        "with createMode CreateOrRecover",
        recovering,
        Then::Needs(vec![besides]),
    ));
    all.extend(writes(scene, of, it, &ALL_WRITES, "", || Then::Nothing));
    all.push(act(
        of,
        "patch",
        "our finalizer",
        &name,
        Some(finalizer),
        Then::Alone(Write::Finalizer),
    ));
    all
}

fn on_proxies(scene: &Scene, standing: &Standing, kind: Kind) -> Vec<Act> {
    let of = Watched::Proxy(kind);
    let it = standing.one(of);
    let name = name_of(it);
    let mut all = reads(scene, standing, of);
    let mut spec = it.data["spec"].clone();
    spec["origin"]["name"] = json!("new");
    let new = scene.proxy("new");
    let alone = || Then::Alone(Write::Proxy);
    all.push(creates(scene, of, &new, "", spec, alone()));
    all.extend(writes(scene, of, it, &ALL_WRITES, "", alone));
    for verb in ["recover", "purge"] {
        all.push(act(of, verb, "", &name, None, Then::Nothing));
    }
    all
}

fn on_recovers(scene: &Scene, standing: &Standing) -> Vec<Act> {
    let of = Watched::Recover;
    let mut all = reads(scene, standing, of);
    let namespace = scene.namespace.as_str();
    for kind in KINDS {
        let spec = json!({"kind": kind.object(), "name": "gone", "uid": "u-1"});
        let create = (recover_needs(kind, namespace), None);
        let how = match kind {
            Kind::Hsm => "of a ManagedHsm",
            Kind::Key => "of an HsmKey",
        };
        let needs = Then::Needs(vec![create.clone()]);
        all.push(creates(scene, of, "new", how, spec.clone(), needs));
        let mut accepting = spec;
        accepting["acceptNamespaceUid"] = json!("n-2");
        let how = match kind {
            Kind::Hsm => "of a ManagedHsm, with acceptNamespaceUid",
            Kind::Key => "of an HsmKey, with acceptNamespaceUid",
        };
        let accept = (acceptance_needs(kind, namespace, "gone"), None);
        let needs = Then::Needs(vec![create, accept]);
        all.push(creates(scene, of, "new", how, accepting, needs));
    }
    let with_keys =
        json!({"kind": "ManagedHsm", "name": "gone", "uid": "u-1", "includeKeys": "All"});
    let keys = (
        recover_needs(Kind::Key, namespace),
        Some("hsmkeys, which includeKeys All brings back,"),
    );
    let needs = Then::Needs(vec![(recover_needs(Kind::Hsm, namespace), None), keys]);
    let how = "of a ManagedHsm, with includeKeys All";
    all.push(creates(scene, of, "new", how, with_keys, needs));
    let it = standing.one(of);
    all.extend(writes(scene, of, it, &ALL_WRITES, "", || Then::Nothing));
    all
}

fn on_purges(scene: &Scene, standing: &Standing) -> Vec<Act> {
    let of = Watched::Purge;
    let mut all = reads(scene, standing, of);
    let new = format!("{}-new", scene.namespace);
    for kind in KINDS {
        let spec = json!({"kind": kind.proxy(), "name": scene.proxy("gone"), "uid": "u-1", "requestedBy": ME});
        let how = match kind {
            Kind::Hsm => "of a DeletedManagedHsm",
            Kind::Key => "of a DeletedHsmKey",
        };
        let needs = Then::Needs(vec![(purge_needs(kind, &scene.namespace, "gone"), None)]);
        all.push(creates(scene, of, &new, how, spec, needs));
    }
    let forged = json!({"kind": "DeletedHsmKey", "name": scene.proxy("gone"), "uid": "u-1", "requestedBy": "somebody-else"});
    let how = "in another's name";
    all.push(creates(scene, of, &new, how, forged, Then::InOwnName));
    let (waiting, busy) = (standing.one(of), standing.busy());
    let nothing = || Then::Nothing;
    all.extend(writes(scene, of, waiting, &EDITS, "", nothing));
    all.extend(writes(scene, of, waiting, &DELETES, "waiting", nothing));
    all.extend(writes(
        scene,
        of,
        busy,
        &DELETES,
        "executing or finished",
        || Then::Alone(Write::PurgeUnderWay),
    ));
    all
}

fn on_status(scene: &Scene, standing: &Standing, of: Watched) -> Vec<Act> {
    let it = standing.one(of);
    let name = name_of(it);
    let whole = serde_json::to_value(it).expect("JSON");
    let change = json!({"status": {"observedGeneration": 7}});
    let path = |query: &str| url(scene, of, &name, "status", query);
    [
        ("get", ("GET", path(""), JSON, Value::Null), Then::Nothing),
        (
            "update",
            ("PUT", path(DRY), JSON, whole),
            Then::Alone(Write::Status),
        ),
        (
            "patch",
            ("PATCH", path(DRY), MERGE, change),
            Then::Alone(Write::Status),
        ),
    ]
    .map(|(verb, request, then)| Act {
        resource: format!("{}/status", of.resource().plural),
        ..act(of, verb, "", &name, Some(request), then)
    })
    .into()
}

fn on_scale(scene: &Scene, standing: &Standing, of: Watched) -> Vec<Act> {
    let name = name_of(standing.one(of));
    let path = url(scene, of, &name, "scale", DRY);
    let change = json!({"spec": {"replicas": 7}});
    [
        ("get", ("GET", path.clone(), JSON, Value::Null)),
        ("patch", ("PATCH", path, MERGE, change)),
    ]
    .map(|(verb, request)| Act {
        resource: format!("{}/scale", of.resource().plural),
        ..act(of, verb, "", &name, Some(request), Then::NoSuch)
    })
    .into()
}
