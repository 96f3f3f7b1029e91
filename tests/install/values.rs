//! The chart's values: each changes what it says, and a bad one is refused with a sentence.

use std::process::Command;

use serde_json::{Value, json};

use crate::rendered::{Objects, objects, one, template};

fn rendered(values: &[&str]) -> Objects {
    objects(&template(values).expect("it renders"))
}

fn pod(objects: &Objects) -> &Value {
    &one(objects, "Deployment")["spec"]["template"]["spec"]
}

fn variable(objects: &Objects, name: &str) -> Option<Value> {
    let all = pod(objects)["containers"][0]["env"]
        .as_array()
        .expect("variables");
    all.iter()
        .find(|entry| entry["name"] == name)
        .map(|entry| entry["value"].clone())
}

#[test]
fn each_flag_of_the_operator_is_set_by_its_value() {
    for (value, name, expected) in [
        ("undeletable=true", "MHSM_UNDELETABLE", "true"),
        ("purgeQuorum=3", "MHSM_PURGE_QUORUM", "3"),
        ("purgeRate=4000000", "MHSM_PURGE_RATE", "4000000"),
        ("purgeHistory=30", "MHSM_PURGE_HISTORY", "30"),
        ("concurrency=4", "MHSM_CONCURRENCY", "4"),
        ("logFormat=\"json\"", "MHSM_LOG_FORMAT", "json"),
        (
            "adoptClusterId=\"e5e5e3e7-8b1c-4b6c-9d3a-0b6a6c1c9d0e\"",
            "MHSM_ADOPT_CLUSTER_ID",
            "e5e5e3e7-8b1c-4b6c-9d3a-0b6a6c1c9d0e",
        ),
        ("pinSecret=\"others\"", "MHSM_PIN_SECRET", "others"),
    ] {
        assert_eq!(
            variable(&rendered(&[value]), name),
            Some(json!(expected)),
            "{value}"
        );
    }
    assert_eq!(variable(&rendered(&[]), "MHSM_ADOPT_CLUSTER_ID"), None);
    let role = rendered(&["pinSecret=\"others\""]);
    assert!(one(&role, "Role").to_string().contains("\"others\""));
}

#[test]
fn the_roles_for_people_are_left_out_where_somebody_has_his_own() {
    let roles = |objects: &Objects| {
        let all = objects.keys().filter(|key| key[2].starts_with("hsm-"));
        all.count()
    };
    assert_eq!(roles(&rendered(&[])), 6);
    assert_eq!(roles(&rendered(&["roles={\"create\": false}"])), 0);
}

#[test]
fn the_pod_is_as_it_was_chosen() {
    let all = rendered(&[
        "image={\"repository\": \"example.test/hsm\", \"tag\": \"7\", \"pullPolicy\": \"Always\"}",
        "imagePullSecrets=[{\"name\": \"registry\"}]",
        "replicas=0",
        "resources={\"requests\": {\"cpu\": \"2\"}, \"limits\": null}",
        "nodeSelector={\"disk\": \"ssd\"}",
        "tolerations=[{\"key\": \"hsm\", \"operator\": \"Exists\"}]",
        "affinity={\"nodeAffinity\": {}}",
        "priorityClassName=\"system-cluster-critical\"",
        "storage={\"size\": \"5Gi\", \"className\": \"fast\"}",
    ]);
    let (pod, container) = (pod(&all), &pod(&all)["containers"][0]);
    assert_eq!(one(&all, "Deployment")["spec"]["replicas"], 0);
    assert_eq!(
        (&container["image"], &container["imagePullPolicy"]),
        (&json!("example.test/hsm:7"), &json!("Always"))
    );
    assert_eq!(container["resources"]["requests"]["cpu"], "2");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["nodeSelector"], json!({"disk": "ssd"}));
    assert_eq!(
        pod["tolerations"],
        json!([{"key": "hsm", "operator": "Exists"}])
    );
    assert_eq!(pod["affinity"], json!({"nodeAffinity": {}}));
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    let claim = &one(&all, "PersistentVolumeClaim")["spec"];
    assert_eq!(
        (
            &claim["resources"]["requests"]["storage"],
            &claim["storageClassName"]
        ),
        (&json!("5Gi"), &json!("fast"))
    );
}

pub const MODULE: [&str; 4] = [
    "backends=[{\"name\": \"rack\", \"kind\": \"pkcs11\", \"module\": \"/vendor/lib.so\", \"ledgerToken\": \"records\", \"pins\": {\"soPinFile\": \"/pins/so\", \"userPinFile\": \"/pins/user\"}}]",
    "volumes=[{\"name\": \"pins\", \"secret\": {\"secretName\": \"rack-pins\"}}]",
    "volumeMounts=[{\"name\": \"pins\", \"mountPath\": \"/pins\", \"readOnly\": true}]",
    "env=[{\"name\": \"RACK_CONF\", \"value\": \"/vendor/rack.conf\"}]",
];

#[test]
fn a_module_is_configured_by_a_file_that_the_executable_understands() {
    let all = rendered(&MODULE);
    let file = one(&all, "ConfigMap")["data"]["backends.yaml"]
        .as_str()
        .expect("a file");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backends.yaml");
    std::fs::write(&path, file).expect("written");
    let checked = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"))
        .args(["check-config", "--backends"])
        .arg(&path)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success() && said.contains("backend rack: PKCS#11 module /vendor/lib.so"),
        "{said}{checked:?}"
    );

    let mounts = pod(&all)["containers"][0]["volumeMounts"]
        .as_array()
        .expect("mounts");
    let mounted: Vec<_> = mounts
        .iter()
        .map(|mount| mount["mountPath"].as_str().expect("a path"))
        .collect();
    assert_eq!(
        mounted,
        [
            "/var/lib/managed-hsm-operator",
            "/tmp",
            "/etc/managed-hsm-operator",
            "/pins"
        ]
    );
    assert_eq!(
        variable(&all, "MHSM_BACKENDS"),
        Some(json!("/etc/managed-hsm-operator/backends.yaml"))
    );
    let told = variable(&all, "RACK_CONF");
    assert_eq!(told, Some(json!("/vendor/rack.conf")));
    let volumes: Vec<_> = pod(&all)["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .map(|volume| volume["name"].clone())
        .collect();
    assert_eq!(volumes, ["store", "tmp", "backends", "pins"]);
    // Another file is another pod: it is read at the start only.
    let annotation = |all: &Objects| {
        one(all, "Deployment")["spec"]["template"]["metadata"]["annotations"]["managedhsm.dev/backends"].clone()
    };
    let other = rendered(&["backends=[{\"name\": \"default\", \"kind\": \"embedded\"}]"]);
    assert!(annotation(&all).is_string() && annotation(&all) != annotation(&other));
}

/// Of modules two pods wait for their turn, and nothing of the embedded store is left.
#[test]
fn in_the_module_shape_there_are_two_pods_and_nothing_of_the_embedded_store() {
    let mut values = MODULE.to_vec();
    values.push("shape=\"module\"");
    let text = template(&values).expect("it renders");
    let all = objects(&text);
    let spec = &one(&all, "Deployment")["spec"];
    assert_eq!(spec["replicas"], 2);
    assert!(
        spec["strategy"].is_null(),
        "one pod after the other: {spec}"
    );
    assert_eq!(
        one(&all, "PodDisruptionBudget")["spec"]["maxUnavailable"],
        1
    );
    assert_eq!(
        pod(&all)["volumes"][0],
        json!({"name": "store", "emptyDir": {"sizeLimit": "16Mi"}})
    );
    assert_eq!(variable(&all, "MHSM_PIN_SECRET"), None);
    assert!(!text.contains("kind: PersistentVolumeClaim"));
    let role = one(&all, "Role").to_string();
    assert!(!role.contains("managed-hsm-operator-pins"), "{role}");

    values.push("replicas=0");
    assert_eq!(one(&rendered(&values), "Deployment")["spec"]["replicas"], 0);
    let embedded = rendered(&[]);
    let spec = &one(&embedded, "Deployment")["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["strategy"]["type"]),
        (&json!(1), &json!("Recreate"))
    );
    assert!(!embedded.keys().any(|key| key[0] == "PodDisruptionBudget"));
}

#[test]
fn what_stands_beside_the_operator_is_there_where_it_is_wanted() {
    let kinds = ["NetworkPolicy", "ServiceMonitor"];
    let without = rendered(&[]);
    assert!(!without.keys().any(|key| kinds.contains(&key[0].as_str())));
    let all = rendered(&[
        "networkPolicy={\"enabled\": true}",
        "serviceMonitor={\"enabled\": true, \"interval\": \"15s\", \"labels\": {\"release\": \"prometheus\"}}",
    ]);
    let (network, monitor) = (one(&all, "NetworkPolicy"), one(&all, "ServiceMonitor"));
    let ports = network["spec"]["ingress"][0]["ports"]
        .as_array()
        .expect("ports");
    let ports: Vec<_> = ports.iter().map(|port| port["port"].clone()).collect();
    let exposed = pod(&all)["containers"][0]["ports"]
        .as_array()
        .expect("ports");
    let exposed: Vec<_> = exposed.iter().map(|port| port["name"].clone()).collect();
    assert_eq!(ports, exposed);
    let chosen = &network["spec"]["podSelector"]["matchLabels"];
    assert_eq!(
        *chosen,
        one(&all, "Deployment")["spec"]["selector"]["matchLabels"]
    );
    let labels = one(&all, "Service")["metadata"]["labels"]
        .as_object()
        .expect("labels");
    let wanted = monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .expect("labels");
    assert!(
        wanted
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    );
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(*endpoint, json!({"port": "metrics", "interval": "15s"}));
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
}

#[test]
fn backups_go_to_the_claim_that_is_named_by_flags_that_the_executable_understands() {
    let without = template(&["backup={\"every\": \"1h\"}"]).expect("it renders");
    assert!(!without.contains("BACKUP") && !without.contains("backups"));

    let all = rendered(&["backup={\"claim\": \"hsm-backups\", \"every\": \"12h\", \"keep\": 30}"]);
    let names = ["MHSM_BACKUP_TO", "MHSM_BACKUP_EVERY", "MHSM_BACKUP_KEEP"];
    let values = names.map(|name| {
        let value = variable(&all, name).unwrap_or_else(|| panic!("no {name}"));
        value.as_str().expect("text").to_owned()
    });
    let checked = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"))
        .arg("check-config")
        .envs(names.iter().zip(&values))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(
        said.contains("backups: into /var/backups/managed-hsm-operator, every 43200s, 30 stay"),
        "{said}{checked:?}"
    );
    let mount = &pod(&all)["containers"][0]["volumeMounts"][2];
    assert_eq!(mount["mountPath"], json!(values[0]));
    assert!(mount["readOnly"].is_null());
    assert_eq!(
        pod(&all)["volumes"][2],
        json!({"name": "backups", "persistentVolumeClaim": {"claimName": "hsm-backups"}})
    );
    // Nobody gets a right for it, and nothing else runs.
    let plain = rendered(&[]);
    assert_eq!(all.len(), plain.len());
    for (key, object) in all
        .iter()
        .filter(|(_, object)| object["kind"] != "Deployment")
    {
        assert_eq!(plain.get(key), Some(object));
    }
}

#[test]
fn the_webhook_is_there_or_leaves_no_trace() {
    let with = rendered(&[]);
    assert_eq!(
        variable(&with, "MHSM_WEBHOOK_ADDR"),
        Some(json!("0.0.0.0:8443"))
    );
    assert_eq!(variable(&with, "MHSM_WEBHOOK_CERT_DIR"), None);
    let configuration = one(&with, "ValidatingWebhookConfiguration");
    assert!(configuration["metadata"]["annotations"].is_null());
    let service = &configuration["webhooks"][0]["clientConfig"]["service"];
    let offered = &one(&with, "Service")["spec"]["ports"][1];
    assert_eq!(
        (&service["namespace"], &service["port"]),
        (&json!(crate::NAMESPACE), &offered["port"])
    );

    let without = template(&["webhook={\"enabled\": false, \"certSecret\": \"hsm-tls\"}"]);
    let without = without.expect("it renders");
    for trace in [
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        "MHSM_WEBHOOK",
        "8443",
        "managed-hsm-operator-webhook",
        "hsm-tls",
    ] {
        assert!(!without.contains(trace), "{trace}");
    }

    let managed = rendered(&[
        "webhook={\"certSecret\": \"hsm-tls\", \"annotations\": {\"cert-manager.io/inject-ca-from\": \"hsm/webhook\"}}",
    ]);
    let folder = variable(&managed, "MHSM_WEBHOOK_CERT_DIR").expect("a folder");
    let mounts = &pod(&managed)["containers"][0]["volumeMounts"];
    assert_eq!(mounts[2]["mountPath"], folder);
    assert_eq!(
        pod(&managed)["volumes"][2]["secret"],
        json!({"secretName": "hsm-tls", "optional": true})
    );
    let configuration = one(&managed, "ValidatingWebhookConfiguration");
    assert_eq!(
        configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"],
        "hsm/webhook"
    );
}

#[test]
fn in_the_module_shape_there_is_no_store_to_back_up() {
    let mut values = MODULE.to_vec();
    values.extend(["shape=\"module\"", "backup={\"claim\": \"hsm-backups\"}"]);
    let refused = template(&values).expect_err("nothing to back up");
    assert!(refused.contains("/backup/claim"), "{refused}");
}

#[test]
fn a_bad_value_is_refused_by_its_name() {
    for (value, said) in [
        ("replicas=2", "at '/replicas': maximum: got 2, want 1"),
        (
            "shape=\"module\"",
            "at '/backends': minItems: got 0, want 1",
        ),
        (
            "shape=\"rack\"",
            "at '/shape': value must be one of 'embedded', 'module'",
        ),
        ("purgeQuorum=0", "at '/purgeQuorum': minimum: got 0, want 1"),
        (
            "purgeQuorum=\"two\"",
            "at '/purgeQuorum': got string, want integer",
        ),
        (
            "logFormat=\"xml\"",
            "at '/logFormat': value must be one of 'text', 'json'",
        ),
        (
            "undeleteable=true",
            "additional properties 'undeleteable' not allowed",
        ),
        (
            "env=[{\"name\": \"MHSM_DAY_LENGTH\", \"value\": \"1s\"}]",
            "at '/env/0/name': 'not' failed",
        ),
        (
            "dayLength=\"1s\"",
            "additional properties 'dayLength' not allowed",
        ),
        (
            "image={\"name\": \"x\"}",
            "at '/image': additional properties 'name' not allowed",
        ),
        (
            "storage={\"size\": \"much\"}",
            "at '/storage/size': 'much' does not match pattern",
        ),
        (
            "adoptClusterId=\"mine\"",
            "at '/adoptClusterId': 'mine' does not match pattern",
        ),
        (
            "backends=[{\"kind\": \"embedded\"}]",
            "at '/backends/0': missing property 'name'",
        ),
    ] {
        let refused = template(&[value]).expect_err(value);
        assert!(refused.contains(said), "{value}: {refused}");
    }
}

/// Also what the server says of it: `server.rs` asks.
pub fn with_everything(more: &[&'static str]) -> String {
    let mut values = MODULE.to_vec();
    values.extend([
        "adoptClusterId=\"e5e5e3e7-8b1c-4b6c-9d3a-0b6a6c1c9d0e\"",
        "imagePullSecrets=[{\"name\": \"registry\"}]",
        "nodeSelector={\"disk\": \"ssd\"}",
        "tolerations=[{\"key\": \"hsm\", \"operator\": \"Exists\"}]",
        "affinity={\"nodeAffinity\": {\"requiredDuringSchedulingIgnoredDuringExecution\": {\"nodeSelectorTerms\": [{\"matchExpressions\": [{\"key\": \"disk\", \"operator\": \"Exists\"}]}]}}}",
        "storage={\"className\": \"fast\"}",
        "webhook={\"certSecret\": \"hsm-tls\", \"annotations\": {\"cert-manager.io/inject-ca-from\": \"hsm/webhook\"}}",
        "networkPolicy={\"enabled\": true}",
    ]);
    values.extend(more);
    // Where there is a store.
    if !more.contains(&"shape=\"module\"") {
        values.push("backup={\"claim\": \"hsm-backups\"}");
    }
    template(&values).expect("it renders")
}
