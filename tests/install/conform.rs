//! The manifests by kubeconform, with JSON schemas made of what the API server says of its kinds, and of the definitions. It knows no CEL.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize as _;
use serde_json::{Value, json};
use testplane::{project_dir, shared, tool};

use crate::schemas::{WRONG, entries, first_json, number, of_cert_manager, shipped, written};

/// JSON schemas as kubeconform looks for them: of each kind that the server says it has, and of each definition.
struct Schemas(tempfile::TempDir);

impl Schemas {
    async fn new() -> Self {
        let this = Self(tempfile::tempdir().expect("a folder"));
        let plane = shared().await;
        let said = plane.kubectl(&["get", "--raw", "/openapi/v2"], "").await;
        let mut swagger: Value = serde_json::from_str(&said.ok()).expect("JSON");
        let definitions = swagger["definitions"].as_object_mut().expect("schemas");
        for (name, schema) in definitions.iter_mut() {
            closed(schema);
            for kind in schema["x-kubernetes-group-version-kind"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let [group, version, kind] =
                    ["group", "version", "kind"].map(|part| kind[part].as_str().expect("a name"));
                this.write(
                    group,
                    version,
                    kind,
                    &json!({"$ref": format!("all.json#/definitions/{name}")}),
                );
            }
        }
        std::fs::write(this.0.path().join("all.json"), swagger.to_string()).expect("written");
        let theirs = of_cert_manager();
        let ours = [project_dir().join("crds"), theirs];
        for path in ours
            .iter()
            .flat_map(|folder| entries(&folder.display().to_string()))
        {
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                this.of_definition(&std::fs::read_to_string(path).expect("it is there"));
            }
        }
        this
    }

    fn write(&self, group: &str, version: &str, kind: &str, schema: &Value) {
        // It takes what stands before the last slash for the group, or all.
        let group = if group.is_empty() { version } else { group };
        let name = format!("{}-{group}-{version}.json", kind.to_lowercase());
        std::fs::write(self.0.path().join(name), schema.to_string()).expect("written");
    }

    fn of_definition(&self, yaml: &str) {
        for document in serde_yaml_ng::Deserializer::from_str(yaml) {
            let definition = Value::deserialize(document).expect("YAML");
            let spec = &definition["spec"];
            for version in spec["versions"].as_array().into_iter().flatten() {
                let mut schema = version["schema"]["openAPIV3Schema"].clone();
                for field in ["apiVersion", "kind"] {
                    schema["properties"][field] = json!({"type": "string"});
                }
                schema["properties"]["metadata"] = json!({"type": "object"});
                closed(&mut schema);
                let text = |value: &Value| value.as_str().expect("a name").to_owned();
                let [group, version, kind] = [
                    text(&spec["group"]),
                    text(&version["name"]),
                    text(&spec["names"]["kind"]),
                ];
                self.write(&group, &version, &kind, &schema);
            }
        }
    }

    /// What kubeconform says of each; empty: nothing is wrong.
    fn conform<'a>(&self, texts: &'a BTreeMap<String, String>) -> BTreeMap<&'a str, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let names = texts.iter().map(|(name, text)| (&**name, &**text));
        let names = written(folder.path(), names);
        let schemas = format!(
            "{}/{{{{ .ResourceKind }}}}-{{{{ .Group }}}}-{{{{ .ResourceAPIVersion }}}}.json",
            self.0.path().display()
        );
        let path = folder.path().display().to_string();
        let arguments = [
            "-strict",
            "-verbose",
            "-output",
            "json",
            // Its schema has no end: it is a schema of schemas. The server reads ours in the other tests.
            "-skip",
            "apiextensions.k8s.io/v1/CustomResourceDefinition",
            "-schema-location",
            &schemas,
            &path,
        ];
        let said = tool("kubeconform", "kubeconform", None, &arguments);
        let found = first_json(&said.unwrap_or_else(|said| said));
        let mut all: BTreeMap<_, _> = names.iter().map(|name| (*name, String::new())).collect();
        let mut seen = BTreeSet::new();
        for it in found["resources"].as_array().expect("what it looked at") {
            let name = names[number(it["filename"].as_str().expect("a file"))];
            seen.insert(name);
            // A document that is empty is nothing.
            let fine = ["statusValid", "statusSkipped", ""];
            if !fine.contains(&it["status"].as_str().expect("a word")) {
                all.entry(name).or_default().push_str(&it.to_string());
            }
        }
        assert_eq!(seen.len(), texts.len(), "each was looked at");
        all
    }
}

/// What OpenAPI says otherwise than JSON schema does; and no field that is not there, or a typing error would pass.
fn closed(schema: &mut Value) {
    if let Value::Array(all) = schema {
        all.iter_mut().for_each(closed);
    }
    let Value::Object(fields) = schema else {
        return;
    };
    let is = |field: &str| fields.get(field) == Some(&json!(true));
    if fields.get("format") == Some(&json!("int-or-string")) || is("x-kubernetes-int-or-string") {
        fields.insert("type".into(), json!(["integer", "string"]));
    } else if is("nullable") && fields.get("type").is_some_and(Value::is_string) {
        let usual = fields["type"].clone();
        fields.insert("type".into(), json!([usual, "null"]));
    }
    let open = fields.contains_key("additionalProperties")
        || fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if fields.get("properties").is_some_and(Value::is_object) && !open {
        fields.insert("additionalProperties".into(), json!(false));
    }
    fields.values_mut().for_each(closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubeconform_takes_what_is_shipped_and_refuses_each_wrong_one_with_its_sentence() {
    let schemas = Schemas::new().await;
    let shipped = shipped();
    let mut said = schemas.conform(&shipped);
    said.retain(|_, said| !said.is_empty());
    assert!(said.is_empty(), "{said:#?}");
    let wrong = WRONG.map(|[name, text, ..]| (name.to_owned(), text.to_owned()));
    let wrong = BTreeMap::from(wrong);
    let said = schemas.conform(&wrong);
    let otherwise: Vec<_> = WRONG
        .iter()
        .filter(|[name, _, _, sentence]| !said[name].contains(sentence))
        .map(|[name, ..]| &said[name])
        .collect();
    assert!(otherwise.is_empty(), "{otherwise:#?}");
}
