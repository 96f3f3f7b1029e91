//! Whether the cluster's definitions are those that this version needs: what a schema of another version does not know, the API server drops without
//! a word, such as a record's generation or a date.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::{Api, Client};

use crate::api;

/// What the cluster's definitions lack, as a sentence with its way out; newer ones may know more. Err: they could not be read.
pub(super) async fn outdated(client: &Client) -> Result<Option<String>, kube::Error> {
    let all = Api::<CustomResourceDefinition>::all(client.clone());
    for ours in api::crds() {
        let name = ours.metadata.name.as_deref().unwrap_or_default();
        // One that is gone by now is told as a kind that is not served.
        let Some(theirs) = all.get_opt(name).await? else {
            continue;
        };
        if let Some(field) = unknown_field(&ours, &theirs) {
            return Ok(Some(format!(
                "the cluster's definition {name} is of another version and does not know {field}, so it would be lost; apply those of this version: kubectl apply -f crds/"
            )));
        }
    }
    Ok(None)
}

/// A field of our version's schema that theirs does not have.
fn unknown_field(
    ours: &CustomResourceDefinition,
    theirs: &CustomResourceDefinition,
) -> Option<String> {
    let schema = |crd: &CustomResourceDefinition| {
        let mut versions = crd.spec.versions.iter();
        let version = versions.find(|version| version.name == api::VERSION)?;
        version.schema.as_ref()?.open_api_v3_schema.clone()
    };
    let (Some(ours), Some(theirs)) = (schema(ours), schema(theirs)) else {
        return Some(format!("the version {}", api::VERSION));
    };
    lacking(&ours, &theirs).map(|path| path.trim_start_matches('.').to_owned())
}

fn lacking(ours: &JSONSchemaProps, theirs: &JSONSchemaProps) -> Option<String> {
    if theirs.x_kubernetes_preserve_unknown_fields == Some(true) {
        return None;
    }
    for (name, field) in ours.properties.iter().flatten() {
        let known = theirs.properties.as_ref().and_then(|all| all.get(name));
        let path = match known {
            None => Some(String::new()),
            Some(known) => lacking(field, known),
        };
        if let Some(rest) = path {
            return Some(format!(".{name}{rest}"));
        }
    }
    let (inside, theirs) = (inner(ours)?, inner(theirs));
    theirs.map_or_else(
        || Some("[]".into()),
        |theirs| lacking(inside, theirs).map(|rest| format!("[]{rest}")),
    )
}

/// The schema of a list's or map's members.
fn inner(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match (&schema.items, &schema.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(inside)), _)
        | (_, Some(JSONSchemaPropsOrBool::Schema(inside))) => Some(inside),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(kind: &str) -> CustomResourceDefinition {
        let mut all = api::crds().into_iter();
        all.find(|crd| crd.spec.names.kind == kind).unwrap()
    }

    /// Without the field at that JSON pointer below the schema.
    fn without(kind: &str, way: &str, field: &str) -> CustomResourceDefinition {
        let mut json = serde_json::to_value(ours(kind)).unwrap();
        let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
        let fields = json.pointer_mut(&format!("{schema}/{way}/properties"));
        let gone = fields.unwrap().as_object_mut().unwrap().remove(field);
        assert!(gone.is_some());
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn our_own_definitions_lack_nothing() {
        for crd in api::crds() {
            assert_eq!(unknown_field(&crd, &crd), None);
        }
    }

    #[test]
    fn a_field_that_would_be_lost_is_named_wherever_it_is() {
        for (kind, way, field, told) in [
            (
                "HsmKey",
                "status",
                "recordGeneration",
                "status.recordGeneration",
            ),
            (
                "HsmKey",
                "status/properties/versions/items",
                "materialId",
                "status.versions[].materialId",
            ),
            (
                "Recover",
                "spec",
                "acceptNamespaceUid",
                "spec.acceptNamespaceUid",
            ),
        ] {
            let lacking = without(kind, way, field);
            assert_eq!(unknown_field(&ours(kind), &lacking).as_deref(), Some(told));
            // One that knows more is as good.
            assert_eq!(unknown_field(&lacking, &ours(kind)), None);
        }
    }

    #[test]
    fn a_definition_without_our_version_is_another() {
        let mut theirs = ours("Purge");
        theirs.spec.versions[0].name = "v1".into();
        assert_eq!(
            unknown_field(&ours("Purge"), &theirs).as_deref(),
            Some("the version v1alpha1")
        );
    }
}
