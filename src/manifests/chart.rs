//! The Helm chart: templates, `values.yaml` with its schema, and `Chart.yaml`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Map, Value as Json, json};

use super::template::{all_found, escaped, template};
use super::values::{self, BACKENDS_FILE, Value, shape};
use super::{
    Error, GENERATED, NAME, Object, admission, beside, definitions, objects, roles, trial, webhook,
    within, workload,
};
use crate::api::crds;

/// Stands for the release's namespace until the text is written.
const NAMESPACE_MARK: &str = "NAMESPACEMARK";

pub(super) fn files() -> Result<Vec<(String, String)>, Error> {
    let objects = objects(NAMESPACE_MARK)?;
    let values = values::all(&objects)?;
    let mut templates: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for object in &objects {
        let text = template(object, &values)?;
        let text = match object.subject {
            roles::SUBJECT => only_if(".Values.roles.create", &text),
            webhook::SUBJECT => only_if(".Values.webhook.enabled", &text),
            workload::CLAIM => only_if(shape::EMBEDDED, &text),
            _ => text,
        };
        templates.entry(object.subject).or_default().push(text);
    }
    for object in &admission::undeletable(NAMESPACE_MARK)? {
        let text = only_if(".Values.undeletable", &template(object, &values)?);
        templates.entry(object.subject).or_default().push(text);
    }
    let mut chosen = vec![(".Values.backends", backends_file()?)];
    chosen.extend(beside::objects(NAMESPACE_MARK)?);
    let trial = trial::objects(NAMESPACE_MARK)?;
    let every: Vec<_> = objects
        .iter()
        .chain(chosen.iter().map(|(_, it)| it))
        .chain(&trial)
        .collect();
    all_found(&every, &values)?;
    for (when, object) in &chosen {
        let text = only_if(when, &template(object, &values)?);
        templates.entry(object.subject).or_default().push(text);
    }
    for object in &trial {
        let text = template(object, &values)?;
        templates.entry(object.subject).or_default().push(text);
    }
    let definitions = escaped(&definitions()?);
    templates.entry("crds").or_default().push(definitions);
    let mut files: Vec<_> = templates
        .into_iter()
        .map(|(subject, texts)| {
            let text = in_its_namespace(&texts.join("---\n"));
            (
                format!("templates/{subject}.yaml"),
                format!("{GENERATED}{text}"),
            )
        })
        .collect();
    files.push(("values.yaml".to_owned(), values_yaml(&values)?));
    files.push((
        "values.schema.json".to_owned(),
        serde_json::to_string_pretty(&schema(&values))? + "\n",
    ));
    files.push(("README.md".to_owned(), readme(&values)?));
    files.push(("Chart.yaml".to_owned(), chart_yaml()?));
    let inside = |(path, text): (String, String)| (format!("charts/{NAME}/{path}"), text);
    Ok(files.into_iter().map(inside).collect())
}

/// As a scalar of its own it is quoted; inside of CEL it is a word.
fn in_its_namespace(text: &str) -> String {
    let whole = format!(": {NAMESPACE_MARK}");
    let lines = text.lines().map(|line| match line.strip_suffix(&whole) {
        Some(key) => format!("{key}: {{{{ .Release.Namespace | quote }}}}\n"),
        None => line.replace(NAMESPACE_MARK, "{{ .Release.Namespace }}") + "\n",
    });
    lines.collect()
}

fn only_if(condition: &str, text: &str) -> String {
    format!("{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n")
}

/// Only a chart has it: where backends are chosen.
fn backends_file() -> Result<Object, Error> {
    let file = ConfigMap {
        metadata: within(NAMESPACE_MARK, &format!("{NAME}-backends")),
        data: Some(BTreeMap::from([(BACKENDS_FILE.to_owned(), String::new())])),
        ..ConfigMap::default()
    };
    Object::new("backends", &file)
}

/// With what Artifact Hub shows of it.
fn chart_yaml() -> Result<String, Error> {
    let version = env!("CARGO_PKG_VERSION");
    let description = env!("CARGO_PKG_DESCRIPTION");
    let license = env!("CARGO_PKG_LICENSE");
    let kinds: Vec<_> = crds()
        .iter()
        .map(|crd| {
            let (names, versions) = (&crd.spec.names, &crd.spec.versions);
            let version = versions.first().map(|version| version.name.as_str());
            let schema = versions.first().and_then(|version| version.schema.as_ref());
            let schema = schema.and_then(|schema| schema.open_api_v3_schema.as_ref());
            json!({
                "kind": names.kind,
                "version": version,
                "name": format!("{}.{}", names.plural, crd.spec.group),
                "displayName": names.kind,
                "description": schema.and_then(|schema| schema.description.clone()),
            })
        })
        .collect();
    let annotations = json!({
        "artifacthub.io/category": "security",
        "artifacthub.io/crds": serde_yaml_ng::to_string(&kinds)?,
        "artifacthub.io/license": license,
        "artifacthub.io/operator": "true",
        "artifacthub.io/operatorCapabilities": "Full Lifecycle",
    });
    let annotations = serde_yaml_ng::to_string(&json!({ "annotations": annotations }))?;
    Ok(format!(
        "{GENERATED}apiVersion: v2\nname: {NAME}\ntype: application\nversion: {version}\nappVersion: \"{version}\"\ndescription: {description}\nkeywords: [hsm, pkcs11, soft-delete, keys]\n# The oldest server that it is made for.\nkubeVersion: \">=1.33.0-0\"\n{annotations}"
    ))
}

/// What the chart is, and all its values.
fn readme(values: &[Value]) -> Result<String, Error> {
    let mut text = format!(
        "<!-- Written by `make manifests` from src/manifests; a test compares them. -->\n# {NAME}\n\n{}.\n\n```console\nhelm install hsm charts/{NAME} --namespace {NAME} --create-namespace --wait\n```\n\n\
         Before and after: [docs/install.md](../../docs/install.md). A value that is misspelt or out of its bounds is refused by its name.\n\n| value | default | what it does |\n|---|---|---|\n",
        env!("CARGO_PKG_DESCRIPTION")
    );
    for value in values {
        let default = serde_json::to_string(&value.default)?;
        let comment = value.comment.replace('|', "\\|");
        text += &format!("| `{}` | `{default}` | {comment} |\n", value.name);
    }
    Ok(text)
}

/// `a.b` stands in the group `a`.
fn values_yaml(values: &[Value]) -> Result<String, Error> {
    let mut text = GENERATED.to_owned();
    let mut open = None;
    for value in values {
        let (group, key) = match value.name.split_once('.') {
            Some((group, key)) => (Some(group), key),
            None => (None, value.name),
        };
        if open != group {
            open = group;
            text += &group
                .map(|group| format!("\n{group}:\n"))
                .unwrap_or_default();
        }
        if group.is_none() {
            text += "\n";
        }
        let indent = if group.is_some() { "  " } else { "" };
        let entry = serde_yaml_ng::to_string(&BTreeMap::from([(key, &value.default)]))?;
        let lines = folded(&value.comment)
            .into_iter()
            .map(|line| format!("# {line}"));
        let lines = lines.chain(entry.lines().map(str::to_owned));
        text.extend(lines.map(|line| format!("{indent}{line}\n")));
    }
    Ok(text)
}

/// Lines of at most 110 letters.
fn folded(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, String::len);
        if last > 0 && last + word.len() >= 110 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let space = if line.is_empty() { "" } else { " " };
            *line += &format!("{space}{word}");
        }
    }
    lines
}

/// Refuses what it does not know: a value that is misspelt would do nothing.
fn schema(values: &[Value]) -> Json {
    let mut groups: BTreeMap<&str, Map<String, Json>> = BTreeMap::new();
    let mut top = Map::new();
    for value in values {
        let mut schema = value.schema.clone();
        schema["description"] = json!(value.comment);
        match value.name.split_once('.') {
            Some((group, key)) => {
                groups
                    .entry(group)
                    .or_default()
                    .insert(key.to_owned(), schema);
            }
            None => {
                top.insert(value.name.to_owned(), schema);
            }
        }
    }
    for (group, properties) in groups {
        top.insert(group.to_owned(), closed(properties));
    }
    // Helm's own, for charts that have this one inside.
    top.insert("global".to_owned(), json!({"type": "object"}));
    let mut schema = closed(top);
    schema["allOf"] = shape::rules();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema
}

fn closed(properties: Map<String, Json>) -> Json {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
