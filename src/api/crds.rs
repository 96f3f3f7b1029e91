//! The CustomResourceDefinitions of the six kinds, as they are applied to a cluster.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use kube::{CustomResourceExt, ResourceExt as _};
use serde_json::json;
use serde_yaml_ng::{Number, Value as Yaml};

use apiextensions::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::common::UNSEEN;
use super::{DeletedHsmKey, DeletedManagedHsm, HsmKey, ManagedHsm, Purge, Recover};

/// What keeps an object when its Helm release is uninstalled.
pub const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// All six, always in this order.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        ManagedHsm::crd(),
        HsmKey::crd(),
        DeletedManagedHsm::crd(),
        DeletedHsmKey::crd(),
        Recover::crd(),
        Purge::crd(),
    ]
    .map(finished)
    .into()
}

/// Name and text of the files under `crds/`. The texts differ only where the types do.
///
/// # Errors
/// Where a definition cannot be written as YAML; none of ours can fail so.
pub fn crds_yaml() -> Result<Vec<(String, String)>, serde_yaml_ng::Error> {
    crds()
        .iter()
        .map(|crd| {
            let mut value = serde_yaml_ng::to_value(crd)?;
            whole_numbers(&mut value);
            let name = crd.metadata.name.as_deref().unwrap_or_default();
            Ok((
                format!("{name}.yaml"),
                quoted(&serde_yaml_ng::to_string(&value)?),
            ))
        })
        .collect()
}

/// A JWK's `n` and `y` as keys in quotes: to Kubernetes' YAML 1.1 they are booleans, and the fields would be called `false` and `true`.
fn quoted(yaml: &str) -> String {
    let line = |line: &str| match line.trim_start() {
        name @ ("n:" | "y:") => line.replace(name, &format!("\"{}\":", &name[..1])),
        _ => line.to_owned(),
    };
    yaml.lines().map(|text| line(text) + "\n").collect()
}

/// What the derive cannot say: the default status, that nothing is ever null, and what the definition has and its objects have not (the derive's
/// `annotation` would be on each object that `new` makes, too).
fn finished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let (key, value) = KEEP;
    crd.annotations_mut().insert(key.into(), value.into());
    let schemas = crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for schema in schemas {
        never_null(schema);
        let status = schema
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            // kstatus: without any status an object looks ready to Helm and Flux.
            status.default = Some(JSON(json!({ "observedGeneration": UNSEEN })));
        }
    }
    crd
}

/// Without `nullable` the server prunes a null, so that an optional field is there or not, and never a third thing.
fn never_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for values in schema.enum_.iter_mut() {
        values.retain(|value| !value.0.is_null());
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        never_null(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        never_null(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        never_null(values);
    }
}

/// Bounds are floats in k8s-openapi's types; in a file `90` reads better than `90.0`.
fn whole_numbers(value: &mut Yaml) {
    match value {
        Yaml::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|float| number.is_f64() && float.fract() == 0.0);
            if let Some(float) = whole {
                *number = Number::from(float as i64);
            }
        }
        Yaml::Sequence(items) => items.iter_mut().for_each(whole_numbers),
        Yaml::Mapping(entries) => entries.values_mut().for_each(whole_numbers),
        Yaml::Null | Yaml::Bool(_) | Yaml::String(_) | Yaml::Tagged(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GROUP, VERSION};
    use super::*;

    #[test]
    fn no_key_of_a_definition_is_a_boolean_of_yaml_1_1() {
        for (name, yaml) in crds_yaml().expect("yaml") {
            let boolean =
                |line: &&str| matches!(line.trim(), "n:" | "y:" | "no:" | "yes:" | "on:" | "off:");
            assert_eq!(yaml.lines().find(boolean), None, "{name}");
        }
    }

    #[test]
    fn the_six_kinds_come_in_a_fixed_order() {
        let names: Vec<_> = crds()
            .into_iter()
            .map(|crd| crd.metadata.name.unwrap_or_default())
            .collect();
        assert_eq!(
            names,
            [
                "managedhsms.managedhsm.dev",
                "hsmkeys.managedhsm.dev",
                "deletedmanagedhsms.managedhsm.dev",
                "deletedhsmkeys.managedhsm.dev",
                "recovers.managedhsm.dev",
                "purges.managedhsm.dev",
            ]
        );
        for crd in crds() {
            assert_eq!(crd.spec.group, GROUP);
            assert_eq!(crd.spec.versions[0].name, VERSION);
        }
    }

    #[test]
    fn a_definition_is_kept_at_an_uninstall_and_its_objects_say_nothing_of_it() {
        for crd in crds() {
            assert_eq!(crd.annotations()[KEEP.0], KEEP.1);
        }
        let spec = json!({"kind": "HsmKey", "name": "a", "uid": "u"});
        let object = Recover::new("a", serde_json::from_value(spec).expect("a spec"));
        assert_eq!(object.metadata.annotations, None);
    }

    #[test]
    fn every_kind_starts_with_a_status_that_says_unseen() {
        for crd in crds() {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).expect("json");
            assert_eq!(
                schema["openAPIV3Schema"]["properties"]["status"]["default"],
                json!({ "observedGeneration": -1 }),
                "{:?}",
                crd.metadata.name
            );
        }
    }

    #[test]
    fn nothing_may_be_null() {
        for (name, yaml) in crds_yaml().expect("yaml") {
            assert!(!yaml.contains("null"), "{name}");
        }
    }
}
