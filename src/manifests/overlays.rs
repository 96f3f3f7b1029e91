//! `deploy/overlays/` and `deploy/components/`: the base in its other shapes, as kustomize makes them. Real kustomize and real Helm are
//! compared by a test: each overlay is what the chart makes of the values that say the same.

use serde_json::{Value as Json, json};

use super::values::webhook::CERTIFICATE_FOLDER;
use super::values::{BACKENDS_FILE, BACKENDS_FOLDER};
use super::{
    Error, GENERATED, NAME, NAMESPACE, Object, PIN_SECRET, STORE, access, beside, flags, text,
    within,
};

/// The ConfigMap with the backends file; whoever installs modules makes it.
const BACKENDS: &str = "managed-hsm-operator-backends";
/// The Certificate that the webhook serves, and its issuer.
const SERVED: &str = "managed-hsm-operator-webhook";
/// Who signs it, and what signs that.
const AUTHORITY: &str = "managed-hsm-operator-webhook-ca";
const ROOT: &str = "managed-hsm-operator-webhook-root";
/// What cert-manager fills, and the pod mounts. Not the operator's own, which is the name of what it makes itself.
const SERVED_SECRET: &str = "managed-hsm-operator-webhook-tls";

pub(super) fn files() -> Result<Vec<(String, String)>, Error> {
    let embedded = json!({"resources": ["../../base"]});
    let mut module = json!({"resources": ["../../base", "disruption.yaml"]});
    module["patches"] = module_patches()?;
    let with_cert_manager =
        json!({"resources": ["../embedded"], "components": ["../../components/cert-manager"]});
    let mut component = json!({"resources": ["certificate.yaml"]});
    component["patches"] = certificate_patches()?;
    let disruption = beside::budget(NAMESPACE);
    let disruption = serde_yaml_ng::to_value(&disruption)?;
    let certificate = serde_yaml_ng::to_value(certificates())?;
    let certificate = text(certificate.as_sequence().into_iter().flatten())?;
    Ok(vec![
        kustomization("overlays/embedded", "v1beta1", "Kustomization", &embedded)?,
        kustomization("overlays/module", "v1beta1", "Kustomization", &module)?,
        file("overlays/module/disruption.yaml", &text([&disruption])?),
        kustomization(
            "overlays/cert-manager",
            "v1beta1",
            "Kustomization",
            &with_cert_manager,
        )?,
        kustomization(
            "components/cert-manager",
            "v1alpha1",
            "Component",
            &component,
        )?,
        file("components/cert-manager/certificate.yaml", &certificate),
    ])
}

fn file(path: &str, text: &str) -> (String, String) {
    (format!("deploy/{path}"), format!("{GENERATED}{text}"))
}

fn kustomization(
    folder: &str,
    version: &str,
    kind: &str,
    says: &Json,
) -> Result<(String, String), Error> {
    let head = format!("apiVersion: kustomize.config.k8s.io/{version}\nkind: {kind}\n");
    let text = head + &serde_yaml_ng::to_string(says)?;
    Ok(file(&format!("{folder}/kustomization.yaml"), &text))
}

/// Modules alone: two pods of which one leads, and nothing of the embedded store.
fn module_patches() -> Result<Json, Error> {
    let claim = json!({
        "$patch": "delete", "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": name(STORE),
    });
    let pod = json!({
        "containers": [{
            "name": "operator",
            "env": [
                {"name": flags::variable("pin-secret")?, "$patch": "delete"},
                {"name": flags::variable("backends")?, "value": format!("{BACKENDS_FOLDER}/{BACKENDS_FILE}")},
            ],
            "volumeMounts": [{"name": "backends", "mountPath": BACKENDS_FOLDER, "readOnly": true}],
        }],
        "volumes": [
            // A lock and a socket, and no key.
            {"name": "store", "persistentVolumeClaim": null, "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "backends", "configMap": {"name": BACKENDS}},
        ],
    });
    let deployment =
        deployment(json!({"replicas": 2, "strategy": null, "template": {"spec": pod}}));
    let rule = pins_rule()?;
    let role = serde_yaml_ng::to_string(&json!([
        {"op": "test", "path": format!("/rules/{rule}/resourceNames/0"), "value": PIN_SECRET},
        {"op": "remove", "path": format!("/rules/{rule}")},
    ]))?;
    Ok(json!([
        {"patch": serde_yaml_ng::to_string(&claim)?},
        {"patch": serde_yaml_ng::to_string(&deployment)?},
        {"target": {"kind": "Role", "name": NAME}, "patch": role},
    ]))
}

/// Where the operator's Role lets it read the embedded store's PINs.
fn pins_rule() -> Result<usize, Error> {
    let objects = access::objects(NAMESPACE)?;
    let role = objects.iter().find(|it| it.id() == format!("Role/{NAME}"));
    let rules = role.and_then(|role: &Object| role.value["rules"].as_sequence());
    let mut names = rules
        .into_iter()
        .flatten()
        .map(|it| &it["resourceNames"][0]);
    let found = names.position(|name| name == PIN_SECRET);
    found.ok_or_else(|| Error::NoSuchPlace(format!("Role/{NAME} {PIN_SECRET}")))
}

/// The webhook serves what cert-manager issues, and the API server trusts whom cert-manager names.
fn certificate_patches() -> Result<Json, Error> {
    let pod = json!({
        "containers": [{
            "name": "operator",
            "env": [{"name": flags::variable("webhook-cert-dir")?, "value": CERTIFICATE_FOLDER}],
            "volumeMounts": [{"name": "webhook", "mountPath": CERTIFICATE_FOLDER, "readOnly": true}],
        }],
        // The operator does not wait for advice.
        "volumes": [{"name": "webhook", "secret": {"secretName": SERVED_SECRET, "optional": true}}],
    });
    let deployment = deployment(json!({"template": {"spec": pod}}));
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {
            "name": NAME,
            "annotations": {"cert-manager.io/inject-ca-from": format!("{NAMESPACE}/{SERVED}")},
        },
    });
    Ok(json!([
        {"patch": serde_yaml_ng::to_string(&deployment)?},
        {"patch": serde_yaml_ng::to_string(&configuration)?},
    ]))
}

/// An authority of the operator's own, which stays while what it signs changes: so no new certificate is served before it is trusted.
fn certificates() -> Vec<Json> {
    let key = json!({"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"});
    let by = |issuer: &str| json!({"group": "cert-manager.io", "kind": "Issuer", "name": issuer});
    let service = format!("{NAME}.{NAMESPACE}.svc");
    vec![
        of_cert_manager("Issuer", ROOT, &json!({"selfSigned": {}})),
        of_cert_manager(
            "Certificate",
            AUTHORITY,
            &json!({
                "isCA": true,
                "commonName": AUTHORITY,
                "secretName": AUTHORITY,
                "duration": "87600h",
                "privateKey": key,
                "issuerRef": by(ROOT),
            }),
        ),
        of_cert_manager("Issuer", SERVED, &json!({"ca": {"secretName": AUTHORITY}})),
        of_cert_manager(
            "Certificate",
            SERVED,
            &json!({
                "dnsNames": [service],
                "secretName": SERVED_SECRET,
                "usages": ["server auth"],
                "privateKey": key,
                "issuerRef": by(SERVED),
            }),
        ),
    ]
}

fn of_cert_manager(kind: &str, name: &str, spec: &Json) -> Json {
    json!({"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": within(NAMESPACE, name), "spec": spec})
}

fn deployment(spec: Json) -> Json {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": name(NAME), "spec": spec})
}

fn name(name: &str) -> Json {
    json!({"name": name, "namespace": NAMESPACE})
}
