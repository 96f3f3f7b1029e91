//! The definitions under `crds/`, judged by a real API server and shown by the real kubectl.

mod api_cases;

use api_cases::cases;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use managed_hsm_operator::api::{GROUP, HsmKey, ManagedHsm, ManagedHsmStatus, VERSION};
use serde_json::{Value, json};
use testplane::{Plane, shared};

#[tokio::test(flavor = "multi_thread")]
async fn each_case_passes_or_is_refused_with_422_and_its_sentence() {
    let plane = shared().await;
    let (client, namespace) = (plane.client().await, plane.namespace("cases").await);
    for case in cases() {
        let answer = dry_run(&client, &namespace, &case.manifest()).await;
        let right = match (&answer, case.sentence) {
            (Ok(_), None) => true,
            (Err((422, message)), Some(sentence)) => message.contains(sentence),
            _ => false,
        };
        assert!(right, "{case:?}\nwas answered {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_its_bounds_is_refused_with_422() {
    let plane = shared().await;
    let (client, namespace) = (plane.client().await, plane.namespace("bounds").await);
    for (kind, name, spec, says) in out_of_bounds() {
        let answer = dry_run(&client, &namespace, &manifest(kind, name, spec.clone())).await;
        let (code, message) = answer.expect_err(&format!("{kind} {spec} should be refused"));
        assert_eq!(code, 422, "{message}");
        assert!(message.contains(says), "{message}\nshould say {says}");
    }
}

/// One object that the types cannot read would hide all others of its kind from the operator.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_server_lets_in_the_types_can_read() {
    let plane = shared().await;
    let (client, namespace) = (plane.client().await, plane.namespace("odd").await);
    let odd = [
        json!({"tags": {"t": null}}),
        json!({"tags": null, "operations": null, "enabled": null, "createMode": null}),
        json!({"operations": [null]}),
        json!({"operations": "sign"}),
        json!({"versions": 1.0}),
        json!({"versions": 1e1}),
        json!({"versions": 1.5}),
        json!({"versions": "1"}),
        json!({"retentionDays": 4_294_967_306_i64}),
        json!({"expires": "2026-01-01T00:00:00+30:00"}),
        json!({"expires": "2026-01-01T00:00:00x5Z"}),
        json!({"expires": "2026-01-01t00:00:00z"}),
        json!({"expires": "2026-02-30T00:00:00Z"}),
        json!({"expires": "2026-01-01T24:00:00Z"}),
        json!({"expires": "0000-01-01T00:00:00Z"}),
        json!({"expires": "2026-06-30T23:59:60Z"}),
        json!({"unknown": {"deep": [1]}}),
    ];
    let mut let_in = Vec::new();
    for (index, more) in odd.into_iter().enumerate() {
        let mut spec = json!({"hsm": "abc", "keyType": "EC", "curve": "P-256"});
        more.as_object()
            .into_iter()
            .flatten()
            .for_each(|(key, value)| spec[key] = value.clone());
        let key = manifest("HsmKey", &format!("k{index}"), spec);
        let answer = post(&client, &namespace, &key, &PostParams::default()).await;
        match answer {
            Ok(_) => let_in.push(more.to_string()),
            Err((code, message)) => assert_eq!(code, 422, "{message}"),
        }
    }
    let keys = Api::<HsmKey>::namespaced(client, &namespace)
        .list(&Default::default())
        .await;
    let keys = keys.unwrap_or_else(|error| panic!("{error}\nlet in: {let_in:#?}"));
    assert_eq!(keys.items.len(), let_in.len());
    assert!(
        let_in.contains(&json!({"versions": 1.0}).to_string()),
        "{let_in:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_accepted_with_no_unknown_field() {
    let plane = shared().await;
    for folder in ["deploy/samples", "deploy/samples/shown"] {
        let path = testplane::project_dir().join(folder);
        let path = path.to_string_lossy();
        let arguments = [
            "create",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            &path,
        ];
        let printed = plane.kubectl(&arguments, "").await.ok();
        assert!(printed.contains("created (server dry run)"), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_fills_in_the_defaults_and_leaves_the_rest_unsaid() {
    let plane = shared().await;
    let (client, namespace) = (plane.client().await, plane.namespace("defaults").await);
    let hsm = create(
        &client,
        &namespace,
        &manifest("ManagedHsm", "abc", json!({})),
    )
    .await;
    let spec = json!({"backend": "default", "retentionDays": 90, "softDelete": true, "purgeProtection": false, "createMode": "Default"});
    assert_eq!(hsm["spec"], spec);
    assert_eq!(hsm["status"], json!({"observedGeneration": -1}));
    let typed = Api::<ManagedHsm>::namespaced(client.clone(), &namespace)
        .get("abc")
        .await;
    assert_eq!(
        typed.expect("the HSM").status,
        Some(ManagedHsmStatus::default())
    );

    // A null is taken for "not said".
    let said = json!({"hsm": "abc", "keyType": "EC", "curve": "P-256", "keySize": null, "keyName": null, "retentionDays": null});
    let key = create(&client, &namespace, &manifest("HsmKey", "k", said)).await;
    let spec = json!({"hsm": "abc", "keyType": "EC", "curve": "P-256", "enabled": true, "versions": 1, "purgeProtection": false, "createMode": "Default"});
    assert_eq!(key["spec"], spec);
    assert_eq!(key["status"], json!({"observedGeneration": -1}));

    let recover = json!({"kind": "HsmKey", "name": "k", "uid": "u"});
    let recover = create(&client, &namespace, &manifest("Recover", "r", recover)).await;
    assert_eq!(recover["spec"]["includeKeys"], "None");
    assert_eq!(recover["status"], json!({"observedGeneration": -1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd06_a_snapshot_comes_back_as_it_was_written() {
    let plane = shared().await;
    let (client, namespace) = (plane.client().await, plane.namespace("snapshot").await);
    let snapshot = json!({
        "apiVersion": "managedhsm.dev/v1alpha0",
        "labels": {"": "even what no server takes today"},
        "spec": {
            "retentionDays": 100_000, "gone": null, "empty": {}, "none": [], "large": 9_007_199_254_740_993_i64,
            "nested": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}},
        },
        "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:backend": {}, ".": {}}}}],
    });
    let mut facts = facts(&namespace, "abc");
    facts["snapshot"] = snapshot.clone();
    let name = format!("{namespace}.abc");
    create(
        &client,
        &namespace,
        &manifest("DeletedManagedHsm", &name, facts),
    )
    .await;
    let read = api(&client, &namespace, "DeletedManagedHsm")
        .get(&name)
        .await
        .expect("the proxy");
    assert_eq!(read.data["spec"]["snapshot"], snapshot);
    let fields = serde_json::to_string(&read.metadata.managed_fields).expect("json");
    assert!(
        fields.contains("f:snapshot") && !fields.contains("f:nested"),
        "{fields}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_prints_the_columns_of_live_kinds() {
    let plane = shared().await;
    let (client, namespace) = (plane.client().await, plane.namespace("columns").await);
    create(
        &client,
        &namespace,
        &manifest("ManagedHsm", "abc", json!({})),
    )
    .await;
    let ready = json!([{"type": "Ready", "status": "True", "reason": "Active", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let status = json!({"observedGeneration": 1, "conditions": ready, "keys": 3, "recoveryLevel": "Recoverable+Purgeable", "endpoint": "https://abc"});
    patch_status(&client, &namespace, "ManagedHsm", "abc", status).await;
    let table = table(plane, &["mhsm", "-n", &namespace, "-o", "wide"]).await;
    assert_eq!(
        table[0],
        [
            "NAME",
            "READY",
            "REASON",
            "RETENTION",
            "PROTECTED",
            "KEYS",
            "AGE",
            "BACKEND",
            "RECOVERY",
            "LEVEL",
            "ENDPOINT"
        ]
    );
    assert_eq!(
        &table[1][..6],
        ["abc", "True", "Active", "90", "false", "3"]
    );
    assert_eq!(
        &table[1][7..],
        ["default", "Recoverable+Purgeable", "https://abc"]
    );

    let spec = json!({"hsm": "abc", "keyType": "EC", "curve": "P-256", "versions": 2});
    create(&client, &namespace, &manifest("HsmKey", "k", spec)).await;
    let version = |id: i32| json!({"id": id, "createdAt": "2026-01-01T00:00:00Z", "materialId": format!("m{id}"), "thumbprint": format!("t{id}")});
    let status = json!({"observedGeneration": 1, "conditions": ready, "currentVersion": 2, "versions": [version(1), version(2)]});
    patch_status(&client, &namespace, "HsmKey", "k", status).await;
    let table = table_of_all(plane, &namespace).await;
    assert!(
        table.contains("managedhsm.managedhsm.dev/abc")
            && table.contains("hsmkey.managedhsm.dev/k"),
        "{table}"
    );
    let wide = self::table(plane, &["hkey", "-n", &namespace, "-o", "wide"]).await;
    assert_eq!(&wide[1][..6], ["k", "True", "Active", "abc", "EC", "2"]);
    assert_eq!(
        wide[1].last().map(String::as_str),
        Some("t2"),
        "the newest version's thumbprint"
    );
    let typed = Api::<HsmKey>::namespaced(client, &namespace)
        .get("k")
        .await
        .expect("the key");
    assert_eq!(typed.status.map(|status| status.versions.len()), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_prints_a_future_purge_date_and_selects_by_origin() {
    let plane = shared().await;
    let (client, namespace) = (plane.client().await, plane.namespace("proxies").await);
    let name = format!("{namespace}.k");
    let mut facts = facts(&namespace, "k");
    facts["hsm"] = json!("abc");
    facts["keyName"] = json!("Other");
    create(
        &client,
        &namespace,
        &manifest("DeletedHsmKey", &name, facts),
    )
    .await;
    let status = json!({"observedGeneration": 1, "purgeTime": "2999-01-01T00:00:00Z", "recoveryLevel": "Recoverable", "phase": "Recovering"});
    patch_status(&client, &namespace, "DeletedHsmKey", &name, status).await;
    let selector = format!(
        "--field-selector=spec.origin.namespace={namespace},spec.hsm=abc,spec.keyName=Other,spec.origin.name=k"
    );
    let table = table(plane, &["dhkey", &selector, "-o", "wide"]).await;
    assert_eq!(&table[1][..4], [&*name, &namespace, "abc", "Other"]);
    assert_eq!(
        &table[1][5..],
        ["2999-01-01T00:00:00Z", "Recoverable", "Recovering", "u"]
    );
    let none = plane
        .kubectl(&["get", "dhkey", &selector.replace("abc", "abd")], "")
        .await
        .ok();
    assert_eq!(none, "");
}

#[rustfmt::skip]
fn out_of_bounds() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let ec = |more: Value| {
        let mut spec = json!({"hsm": "abc", "keyType": "EC", "curve": "P-256"});
        more.as_object().into_iter().flatten().for_each(|(key, value)| spec[key] = value.clone());
        spec
    };
    let tags: serde_json::Map<_, _> = (0..16).map(|n| (format!("t{n}"), json!(""))).collect();
    let long = "x".repeat(257);
    vec![
        ("ManagedHsm", "abc", json!({"retentionDays": 6}), "greater than or equal to 7"),
        ("ManagedHsm", "abc", json!({"retentionDays": 91}), "less than or equal to 90"),
        ("ManagedHsm", "abc", json!({"createMode": "Recover"}), "supported values: \"Default\", \"CreateOrRecover\""),
        ("HsmKey", "k", ec(json!({"retentionDays": 6})), "greater than or equal to 7"),
        ("HsmKey", "k", ec(json!({"versions": 0})), "greater than or equal to 1"),
        ("HsmKey", "k", ec(json!({"versions": 101})), "less than or equal to 100"),
        ("HsmKey", "k", ec(json!({"keyName": "under_score"})), "should match '^[0-9a-zA-Z-]{1,127}$'"),
        ("HsmKey", "k", ec(json!({"keyName": "n".repeat(128)})), "127"),
        ("HsmKey", "k", ec(json!({"curve": "P-255"})), "supported values: \"P-256\", \"P-384\", \"P-521\""),
        ("HsmKey", "k", ec(json!({"operations": ["sign", "sign"]})), "Duplicate value"),
        ("HsmKey", "k", ec(json!({"operations": []})), "at least 1"),
        ("HsmKey", "k", ec(json!({"expires": "tomorrow"})), "date-time"),
        ("HsmKey", "k", ec(json!({"tags": tags})), "at most 15"),
        ("HsmKey", "k", ec(json!({"tags": {"t": long}})), "256"),
        ("HsmKey", "k", json!({"hsm": "abc"}), "spec.keyType: Required value"),
        ("Recover", "r", json!({"kind": "HsmKey", "name": "k"}), "spec.uid: Required value"),
        ("Purge", "p", json!({"kind": "DeletedHsmKey", "name": "a.b", "uid": "u"}), "spec.requestedBy: Required value"),
        ("Purge", "p", json!({"kind": "HsmKey", "name": "a.b", "uid": "u", "requestedBy": "jo"}), "supported values: \"DeletedManagedHsm\", \"DeletedHsmKey\""),
    ]
}

fn manifest(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn facts(namespace: &str, name: &str) -> Value {
    json!({
        "origin": {"namespace": namespace, "namespaceUid": "n", "name": name, "uid": "u"},
        "backend": "default", "hsmId": "1", "deletionTime": "2026-01-01T00:00:00Z",
        "purgeProtection": false, "recoveryLevel": "Recoverable+Purgeable",
    })
}

fn api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind));
    match kind {
        "DeletedManagedHsm" | "DeletedHsmKey" | "Purge" => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

async fn post(
    client: &Client,
    namespace: &str,
    manifest: &Value,
    params: &PostParams,
) -> Result<Value, (u16, String)> {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).expect("an object");
    let kind = manifest["kind"].as_str().unwrap_or_default();
    match api(client, namespace, kind).create(params, &object).await {
        Ok(made) => Ok(made.data),
        Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
        Err(other) => panic!("{other}"),
    }
}

async fn dry_run(
    client: &Client,
    namespace: &str,
    manifest: &Value,
) -> Result<Value, (u16, String)> {
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    post(client, namespace, manifest, &params).await
}

async fn create(client: &Client, namespace: &str, manifest: &Value) -> Value {
    let made = post(client, namespace, manifest, &PostParams::default()).await;
    made.unwrap_or_else(|(code, message)| panic!("{code} {message}\n{manifest}"))
}

async fn patch_status(client: &Client, namespace: &str, kind: &str, name: &str, status: Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    let patched = api(client, namespace, kind)
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
    patched.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
}

/// What `kubectl get` prints, line by line, word by word.
async fn table(plane: &Plane, arguments: &[&str]) -> Vec<Vec<String>> {
    let printed = plane
        .kubectl(&[&["get"], arguments].concat(), "")
        .await
        .ok();
    printed
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

async fn table_of_all(plane: &Plane, namespace: &str) -> String {
    plane
        .kubectl(&["get", "hsm", "-n", namespace, "-o", "name"], "")
        .await
        .ok()
}
