//! The committed definitions under `crds/` are those of the types, and hold to the house rules for schemas.

use std::{env, fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use managed_hsm_operator::api;
use serde_json::Value;

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let wanted = api::crds_yaml().expect("definitions as YAML");
    if env::var_os("UPDATE_CRDS").is_some() {
        for (name, yaml) in &wanted {
            fs::write(folder.join(name), yaml).expect("a writable crds/");
        }
    }
    for (name, yaml) in &wanted {
        let committed = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            committed == *yaml,
            "crds/{name} is stale: run `make crds` and commit what it writes"
        );
    }
    let files = fs::read_dir(&folder).expect("crds/").count();
    assert_eq!(
        files,
        wanted.len(),
        "crds/ holds a file that is no kind of ours"
    );
}

#[test]
fn every_field_has_a_description() {
    let faults = faults(|schema, path, faults| {
        if schema["description"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
            && !path.ends_with("[]")
        {
            faults.push(format!("{path} has no description"));
        }
    });
    assert_eq!(faults, [""; 0]);
}

#[test]
fn every_string_list_and_map_is_bounded() {
    let faults = faults(|schema, path, faults| {
        let has = |key: &str| !schema[key].is_null();
        let bounded = match schema["type"].as_str() {
            Some("string") => has("maxLength") || has("enum"),
            Some("array") => has("maxItems"),
            Some("object") if has("additionalProperties") => has("maxProperties"),
            Some("integer") => schema["format"] == "int32" || schema["format"] == "int64",
            Some("boolean" | "object") => true,
            other => panic!("{path} is of type {other:?}"),
        };
        if !bounded {
            faults.push(format!("{path} is not bounded"));
        }
    });
    assert_eq!(faults, [""; 0]);
}

#[test]
fn the_snapshot_is_atomic_and_holds_no_rule_inside() {
    for crd in schemas() {
        let snapshot = &crd.schema["properties"]["spec"]["properties"]["snapshot"];
        if crd.kind.starts_with("Deleted") {
            let mut keys: Vec<_> = snapshot.as_object().expect("a schema").keys().collect();
            keys.sort();
            assert_eq!(
                keys,
                [
                    "description",
                    "type",
                    "x-kubernetes-map-type",
                    "x-kubernetes-preserve-unknown-fields"
                ]
            );
            assert_eq!(snapshot["x-kubernetes-map-type"], "atomic");
            assert_eq!(snapshot["x-kubernetes-preserve-unknown-fields"], true);
        } else {
            assert!(snapshot.is_null(), "{}", crd.kind);
        }
    }
}

#[test]
fn no_rule_of_a_schema_compares_with_the_old_object() {
    for (name, yaml) in api::crds_yaml().expect("definitions as YAML") {
        assert!(
            !yaml.contains("oldSelf"),
            "{name}: that is an admission policy's"
        );
    }
}

#[test]
fn every_rule_says_cause_and_way_out_in_one_sentence() {
    let mut rules = 0;
    for crd in schemas() {
        every_rule(&crd.schema, &mut |rule| {
            rules += 1;
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(
                message.contains("; ") && message.ends_with('.'),
                "{message:?}"
            );
            assert_eq!(message.matches(". ").count(), 0, "{message:?}");
        });
    }
    assert_eq!(rules, 18);
}

#[test]
fn names_scopes_and_categories_are_the_published_ones() {
    let told: Vec<_> = api::crds()
        .into_iter()
        .map(|crd| {
            let names = crd.spec.names;
            assert_eq!(
                names.categories,
                Some(vec!["hsm".to_owned()]),
                "{}",
                names.kind
            );
            let keep = crd.metadata.annotations.unwrap_or_default();
            assert_eq!(
                keep.get("helm.sh/resource-policy").map(String::as_str),
                Some("keep")
            );
            assert!(
                crd.spec.versions[0].subresources.is_some(),
                "{}",
                names.kind
            );
            (
                names.kind,
                crd.spec.scope,
                names.short_names.unwrap_or_default().join(","),
            )
        })
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|(kind, scope, short)| (&**kind, &**scope, &**short))
        .collect();
    assert_eq!(
        told,
        [
            ("ManagedHsm", "Namespaced", "mhsm"),
            ("HsmKey", "Namespaced", "hkey"),
            ("DeletedManagedHsm", "Cluster", "dmhsm"),
            ("DeletedHsmKey", "Cluster", "dhkey"),
            ("Recover", "Namespaced", ""),
            ("Purge", "Cluster", ""),
        ]
    );
}

#[test]
fn the_columns_are_the_published_ones() {
    let columns: Vec<_> = api::crds()
        .iter()
        .map(|crd| {
            let columns = crd.spec.versions[0]
                .additional_printer_columns
                .iter()
                .flatten();
            columns
                .map(|column| match column.priority {
                    Some(1) => format!("({})", column.name),
                    _ => column.name.clone(),
                })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        columns,
        [
            "Ready Reason Retention Protected Keys Age (Backend) (Recovery level) (Endpoint)",
            "Ready Reason HSM Type Version Age (Recovery level) (Thumbprint)",
            "Namespace HSM Deleted Purge at Recovery level Phase (UID)",
            "Namespace HSM Key Deleted Purge at Recovery level Phase (UID)",
            "Kind Target State Age",
            "Target Requested by State Age",
        ]
    );
}

struct Schema {
    kind: String,
    schema: Value,
}

fn schemas() -> Vec<Schema> {
    let schema = |crd: &CustomResourceDefinition| Schema {
        kind: crd.spec.names.kind.clone(),
        schema:
            serde_json::to_value(&crd.spec.versions[0].schema).expect("json")["openAPIV3Schema"]
                .clone(),
    };
    api::crds().iter().map(schema).collect()
}

/// What `check` finds in every field of every kind.
fn faults(check: impl Fn(&Value, &str, &mut Vec<String>)) -> Vec<String> {
    let mut faults = Vec::new();
    for crd in schemas() {
        walk(&crd.schema, &crd.kind, &mut |schema, path| {
            check(schema, path, &mut faults)
        });
    }
    faults
}

fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&Value, &str)) {
    visit(schema, path);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), visit);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            walk(&schema[inner], &format!("{path}[]"), visit);
        }
    }
}

fn every_rule(schema: &Value, visit: &mut impl FnMut(&Value)) {
    walk(schema, "", &mut |schema, _| {
        schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(&mut *visit);
    });
}
