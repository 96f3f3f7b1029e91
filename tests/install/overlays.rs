//! `deploy/overlays`: what kustomize makes of them is what the chart makes of the values that say the same, the API server takes it, and the examples
//! that stand on it do what they say.

use kube::api::DynamicObject;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use testplane::{Options, borrow, project_dir};

use crate::NAMESPACE;
use crate::rendered::{Objects, established, file, kustomize, objects, template};
use crate::role::Installed;
use crate::schemas::of_cert_manager;
use crate::server::{apply, pod_of};
use crate::user::{User, material, uid};

/// A server merges these by name, so their order says nothing.
const BY_NAME: [&str; 3] = [
    "/spec/template/spec/containers/0/env",
    "/spec/template/spec/containers/0/volumeMounts",
    "/spec/template/spec/volumes",
];

fn by_name(objects: Objects) -> Objects {
    let ordered = |(key, mut object): ([String; 3], Value)| {
        for list in BY_NAME {
            if let Some(items) = object.pointer_mut(list).and_then(Value::as_array_mut) {
                items.sort_by_key(|item| item["name"].as_str().map(str::to_owned));
            }
        }
        (key, object)
    };
    objects.into_iter().map(ordered).collect()
}

/// The objects of an overlay beside those of the chart; a release's namespace is made by whoever installs it.
#[track_caller]
fn same(overlay: Objects, values: &[&str]) {
    let (mut overlay, chart) = (by_name(overlay), by_name(chart(values)));
    let namespace = overlay.keys().find(|key| key[0] == "Namespace").cloned();
    overlay.remove(&namespace.expect("a namespace"));
    let names = |all: &Objects| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&overlay), names(&chart));
    for (key, object) in &chart {
        assert_eq!(&overlay[key], object, "{key:?}");
    }
}

fn chart(values: &[&str]) -> Objects {
    objects(&template(values).expect("it renders"))
}

fn deployment(objects: &mut Objects) -> &mut Value {
    let key = ["Deployment", NAMESPACE, "managed-hsm-operator"].map(str::to_owned);
    objects.get_mut(&key).expect("a Deployment")
}

#[test]
fn the_embedded_overlay_is_the_chart_with_its_defaults() {
    same(objects(&kustomize("deploy/overlays/embedded")), &[]);
}

#[test]
fn the_cert_manager_overlay_is_the_chart_with_the_values_that_name_the_certificate() {
    let mut overlay = objects(&kustomize("deploy/overlays/cert-manager"));
    let certificates: Vec<_> = overlay
        .extract_if(.., |_, object| object["apiVersion"] == "cert-manager.io/v1")
        .collect();
    let served = certificates
        .iter()
        .map(|(_, it)| it)
        .find(|it| !it["spec"]["dnsNames"].is_null())
        .expect("one for the webhook");
    let service = format!("managed-hsm-operator.{NAMESPACE}.svc");
    assert_eq!(served["spec"]["dnsNames"], json!([service]));
    let name = served["metadata"]["name"].as_str().expect("a name");
    let annotations = json!({"cert-manager.io/inject-ca-from": format!("{NAMESPACE}/{name}")});
    let webhook =
        json!({"certSecret": served["spec"]["secretName"], "annotations": annotations}).to_string();
    same(overlay, &[&format!("webhook={webhook}")]);
}

/// The component goes with the other shape as well.
#[test]
fn cert_manager_keeps_the_certificate_of_the_module_shape_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("a path");
    // Kustomize takes no absolute ones.
    let up = "../".repeat(path.components().count() - 1);
    let deploy = project_dir().join("deploy").display().to_string();
    let deploy = up + deploy.trim_start_matches('/');
    let both = json!({"resources": [format!("{deploy}/overlays/module")], "components": [format!("{deploy}/components/cert-manager")]});
    std::fs::write(path.join("kustomization.yaml"), both.to_string()).expect("written");
    let mut all = objects(&kustomize(&path.display().to_string()));
    let pod = &deployment(&mut all)["spec"]["template"]["spec"];
    let mut volumes: Vec<_> = pod["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    volumes.sort_unstable();
    assert_eq!(volumes, ["backends", "store", "tmp", "webhook"]);
    let certificates = all.keys().filter(|key| key[0] == "Certificate").count();
    assert_eq!(certificates, 2);
}

/// With its example around it, since a module has no defaults.
#[test]
fn the_module_overlay_is_the_chart_in_its_module_shape() {
    let mut overlay = objects(&kustomize("deploy/examples/module"));
    let file = file("deploy/examples/module/backends.yaml");
    let backends: Value = serde_yaml_ng::from_str(&file).expect("YAML");
    let values = [
        "shape=\"module\"".to_owned(),
        format!("backends={backends}"),
        "image={\"repository\": \"registry.example.com/managed-hsm-operator-with-vendor\"}".into(),
        "volumes=[{\"name\": \"rack-pins\", \"secret\": {\"secretName\": \"rack-pins\"}}]".into(),
        "volumeMounts=[{\"name\": \"rack-pins\", \"mountPath\": \"/etc/managed-hsm-pins/rack\", \"readOnly\": true}]".into(),
    ];
    let values = values.each_ref().map(String::as_str);

    // Another file is another pod: kustomize has a hash in the name, the chart one in the pod.
    let (_, backends_file) = overlay
        .extract_if(.., |key, _| key[0] == "ConfigMap")
        .next()
        .expect("the backends file");
    let named = backends_file["metadata"]["name"].as_str().expect("a name");
    let hash = named.strip_prefix("managed-hsm-operator-backends-");
    assert!(hash.is_some_and(|hash| hash.len() == 10), "{named}");
    let mut chart = chart(&values);
    let (_, its_file) = chart
        .extract_if(.., |key, _| key[0] == "ConfigMap")
        .next()
        .expect("the backends file");
    let text = |of: &Value| -> Value {
        let text = of["data"]["backends.yaml"].as_str().expect("a file");
        serde_yaml_ng::from_str(text).expect("YAML")
    };
    assert_eq!(text(&backends_file), text(&its_file));
    let mounted = deployment(&mut overlay)["spec"]["template"]["spec"]["volumes"]
        .as_array_mut()
        .and_then(|all| all.iter_mut().find(|it| it["name"] == "backends"))
        .expect("its volume");
    assert_eq!(mounted["configMap"]["name"], named);
    mounted["configMap"]["name"] = its_file["metadata"]["name"].clone();
    let template = &mut deployment(&mut chart)["spec"]["template"]["metadata"];
    let annotations = template.as_object_mut().expect("it");
    annotations.remove("annotations").expect("the chart's hash");
    let (mut overlay, chart) = (by_name(overlay), by_name(chart));
    overlay.retain(|key, _| key[0] != "Namespace");
    assert_eq!(overlay, chart);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_overlay_is_taken_strictly_and_its_pod_is_admitted() {
    for folder in [
        "deploy/overlays/embedded",
        "deploy/overlays/module",
        "deploy/overlays/cert-manager",
        "deploy/examples/module",
    ] {
        let plane = borrow(Options::default().without_crds()).await;
        if folder.ends_with("cert-manager") {
            let theirs = of_cert_manager().display().to_string();
            let apply = ["apply", "--server-side", "-f", &theirs];
            plane.kubectl(&apply, "").await.ok();
            established(&plane).await;
        }
        let all = objects(&kustomize(folder));
        let list = |items: &mut dyn Iterator<Item = &Value>| {
            json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()})
                .to_string()
        };
        let mut namespace = all.values().filter(|it| it["kind"] == "Namespace");
        apply(&plane, &list(&mut namespace), &[]).await;
        apply(&plane, &list(&mut all.values()), &[]).await;
        let create = ["create", "--dry-run=server", "-f", "-"];
        let output = plane.kubectl(&create, &pod_of(&all).to_string()).await;
        assert_eq!(output.stderr, "", "{folder}: {output:?}");
        output.ok();
    }
}

const KEYS: [&str; 2] = ["invoices", "orders"];

async fn materials(user: &User) -> Vec<Vec<[Value; 4]>> {
    let mut all = Vec::new();
    user.ready(Kind::Hsm, "shop").await;
    for name in KEYS {
        all.push(material(&user.ready(Kind::Key, name).await));
    }
    all
}

/// What the example promises: whoever applies it again has the same keys again, by the right to recover and not without.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_applied_again_has_its_keys_again() {
    let installed = Installed::new().await;
    let _process = installed.start(&[]).await;
    let plane = &installed.plane;
    let yaml = file("deploy/examples/application.yaml");
    apply(plane, &yaml, &[]).await;
    let user = User::of(&plane.client().await, "shop");
    let made = materials(&user).await;

    let hsm = user.api(Watched::Object(Kind::Hsm)).get("shop").await;
    let hsm: DynamicObject = hsm.expect("it stands");
    user.delete(Watched::Object(Kind::Hsm), "shop").await;
    user.deleted(Kind::Hsm, "shop", &uid(&hsm)).await;
    let orders = user.api(Watched::Object(Kind::Key)).get("orders").await;
    user.delete(Watched::Object(Kind::Key), "orders").await;
    let orders = uid(&orders.expect("it stands"));
    user.deleted(Kind::Key, "orders", &orders).await;

    let kubeconfig = plane
        .kubeconfig_of_service_account("shop", "shop-from-git")
        .await;
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let ours = objects(&yaml);
    let ours = ours
        .values()
        .filter(|it| it["apiVersion"] == "managedhsm.dev/v1alpha1");
    let ours: Vec<_> = ours.map(Value::to_string).collect();
    let again = [&*kubeconfig, "apply", "--server-side", "-f", "-"];
    let force = [
        &again[..],
        &["--force-conflicts", "--field-manager=shop-from-git"],
    ]
    .concat();
    plane.kubectl(&force, &ours.join("\n---\n")).await.ok();
    assert_eq!(materials(&user).await, made);
}
