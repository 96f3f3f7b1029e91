//! `docs/api.md`: the six kinds, from their definitions; where each reason is shown is read from the page of reasons.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use managed_hsm_operator::api::{self, conditions};
use serde_json::Value;
use testplane::is_current;

use super::links::project;

const HEAD: &str = "# API reference

Generated: `make docs` writes this page anew from the definitions in [crds/](../crds).

Group `managedhsm.dev`, version `v1alpha1`. All kinds are of the category `hsm`, so `kubectl get hsm` lists them together. Optional fields are left out, never null. Dates
are UTC, whole seconds, such as `2027-01-15T08:00:00Z`. Strings, lists and maps are bounded. What is wrong by itself is refused with 422 and a sentence, what
may not change any more or who may not, with 403: [who may do what](permissions.md).

";

/// Who writes the spec of each, the finalizer that it has, and an example.
const WHO: &[(&str, &str)] = &[
    ("ManagedHsm", "users"),
    ("HsmKey", "users"),
    ("DeletedManagedHsm", "the operator alone"),
    ("DeletedHsmKey", "the operator alone"),
    ("Recover", "users who may recover"),
    (
        "Purge",
        "users who may purge; of a scheduled purge, the operator, as its receipt",
    ),
];

fn text(of: &Value) -> String {
    let text = of.as_str().unwrap_or_default();
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "\\<")
}

fn anchor(kind: &str) -> String {
    kind.to_ascii_lowercase()
}

fn document() -> String {
    let mut page = HEAD.to_owned();
    let all: Vec<_> = api::crds().iter().map(Kind::new).collect();
    page.push_str(
        "| kind | scope | short name | who writes its spec | what it is |\n|---|---|---|---|---|\n",
    );
    for kind in &all {
        let short = kind.crd["spec"]["names"]["shortNames"][0].as_str();
        let short = short.map_or_else(|| "–".to_owned(), |short| format!("`{short}`"));
        let who = WHO
            .iter()
            .find(|(name, _)| *name == kind.name())
            .expect("somebody writes it")
            .1;
        let what = text(&kind.schema()["description"]);
        let (name, scope) = (kind.name(), kind.scope());
        _ = writeln!(
            page,
            "| [{name}](#{}) | {scope} | {short} | {who} | {what} |",
            anchor(&name)
        );
    }
    page.push_str("\nWhat each condition says: [conditions](#conditions).\n");
    for kind in &all {
        kind.describe(&mut page);
    }
    page.push_str(&conditions_of_all());
    page
}

/// One definition as JSON.
struct Kind {
    crd: Value,
}

impl Kind {
    fn new(crd: &CustomResourceDefinition) -> Self {
        let crd = serde_json::to_value(crd).expect("JSON");
        Self { crd }
    }

    fn name(&self) -> String {
        text(&self.crd["spec"]["names"]["kind"])
    }

    fn scope(&self) -> &str {
        match self.crd["spec"]["scope"].as_str() {
            Some("Namespaced") => "namespace",
            _ => "cluster",
        }
    }

    fn version(&self) -> &Value {
        &self.crd["spec"]["versions"][0]
    }

    fn schema(&self) -> &Value {
        &self.version()["schema"]["openAPIV3Schema"]
    }

    fn describe(&self, page: &mut String) {
        let name = self.name();
        _ = writeln!(
            page,
            "\n## {name}\n\n{}\n",
            text(&self.schema()["description"])
        );
        _ = writeln!(
            page,
            "- `kubectl get {}` shows {}.",
            text(&self.crd["spec"]["names"]["plural"]),
            self.columns()
        );
        let selectable = self.version()["selectableFields"]
            .as_array()
            .into_iter()
            .flatten();
        let selectable: Vec<_> = selectable
            .map(|field| format!("`{}`", text(&field["jsonPath"]).trim_start_matches('.')))
            .collect();
        if !selectable.is_empty() {
            _ = writeln!(
                page,
                "- `--field-selector` takes {}.",
                selectable.join(", ")
            );
        }
        let sample = format!("deploy/samples/{}.yaml", anchor(&name));
        let shown = format!("deploy/samples/shown/{}.yaml", anchor(&name));
        for sample in [sample, shown] {
            if project().join(&sample).exists() {
                _ = writeln!(page, "- [An example](../{sample}).");
            }
        }
        for rule in rules(self.schema()) {
            _ = writeln!(page, "- {rule}");
        }
        for (part, head) in [
            (
                "spec",
                "| field | type | if not said | what it is |\n|---|---|---|---|\n",
            ),
            ("status", "| field | type | what it is |\n|---|---|---|\n"),
        ] {
            let schema = &self.schema()["properties"][part];
            _ = writeln!(
                page,
                "\n### {name} {part}\n\n{}\n",
                text(&schema["description"])
            );
            for rule in rules(schema) {
                _ = writeln!(page, "- {rule}");
            }
            if !rules(schema).is_empty() {
                page.push('\n');
            }
            page.push_str(head);
            fields(schema, "", part == "spec", page);
        }
        page.push_str(&self.reasons());
    }

    fn columns(&self) -> String {
        let all = self.version()["additionalPrinterColumns"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let wide = |column: &&Value| column["priority"].as_i64().unwrap_or(0) > 0;
        let names = |columns: Vec<&Value>| {
            columns
                .iter()
                .map(|column| text(&column["name"]))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let usual = names(all.iter().filter(|column| !wide(column)).collect());
        let more = names(all.iter().filter(wide).collect());
        if more.is_empty() {
            usual
        } else {
            format!("{usual}; with `-o wide` also {more}")
        }
    }

    /// The codes that the page of reasons shows on this kind.
    fn reasons(&self) -> String {
        let name = self.name();
        let name = if name.starts_with("Deleted") {
            "proxy".to_owned()
        } else {
            name
        };
        let page = std::fs::read_to_string(project().join("docs/troubleshooting.md"))
            .expect("the page of reasons");
        let rows = page.lines().filter_map(|line| {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let (code, places) = (cells.next()?, cells.next()?);
            let code = code.strip_prefix('[')?.split(']').next()?;
            let here = places
                .split(", ")
                .any(|place| place.split(" (").next() == Some(&name));
            here.then(|| format!("[{code}](troubleshooting.md#{})", code.to_ascii_lowercase()))
        });
        let codes: Vec<_> = rows.collect();
        assert!(!codes.is_empty(), "{name} has no reason");
        format!("\nReasons that it may show: {}.\n", codes.join(", "))
    }
}

fn rules(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten();
    rules.map(|rule| text(&rule["message"])).collect()
}

/// A row for each field, those inside others after them.
fn fields(schema: &Value, before: &str, with_defaults: bool, page: &mut String) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{before}{name}");
        let needed = required.iter().any(|one| one == name);
        let unsaid = format!("{} | ", default(field, needed));
        let unsaid = if with_defaults { unsaid } else { String::new() };
        let (kind, meaning) = (of_type(field), meaning(&path, field));
        _ = writeln!(page, "| `{path}` | {kind} | {unsaid}{meaning} |");
        if path == "conditions" {
            continue;
        }
        fields(field, &format!("{path}."), with_defaults, page);
        fields(&field["items"], &format!("{path}[]."), with_defaults, page);
    }
}

fn meaning(path: &str, field: &Value) -> String {
    let mut said = text(&field["description"]);
    if path == "conditions" {
        said.push_str(" [What each says](#conditions).");
    }
    for rule in rules(field) {
        said.push(' ');
        said.push_str(&rule);
    }
    said
}

fn default(field: &Value, needed: bool) -> String {
    match &field["default"] {
        Value::Null if needed => "required".to_owned(),
        Value::Null => "–".to_owned(),
        said => format!("`{}`", said.to_string().trim_matches('"')),
    }
}

/// Type and bounds in few words.
fn of_type(field: &Value) -> String {
    let number = |key: &str| field[key].as_f64().map(|number| number.to_string());
    if let Some(words) = field["enum"].as_array() {
        let words: Vec<_> = words
            .iter()
            .map(|word| format!("`{}`", text(word)))
            .collect();
        return words.join(", ");
    }
    match field["type"].as_str().expect("a type") {
        "integer" => match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => format!("integer, {least} to {most}"),
            _ => "integer".to_owned(),
        },
        "string" if field["format"] == "date-time" => "date".to_owned(),
        "string" => {
            let least = number("minLength").unwrap_or_else(|| "0".to_owned());
            match (number("maxLength"), field["pattern"].as_str()) {
                (_, Some(pattern)) => format!("string, `{}`", pattern.replace('|', "\\|")),
                (Some(most), None) => format!("string, {least} to {most}"),
                (None, None) => "string".to_owned(),
            }
        }
        "array" => {
            let most = number("maxItems").expect("a bound");
            let each = match field["items"]["type"].as_str() {
                Some("object") | None => "objects".to_owned(),
                Some(_) => format!("of {}", of_type(&field["items"])),
            };
            format!("list {each}, at most {most}")
        }
        "object" if !field["additionalProperties"].is_null() => {
            let most = number("maxProperties").expect("a bound");
            format!(
                "map to {}, at most {most}",
                of_type(&field["additionalProperties"])
            )
        }
        other => other.to_owned(),
    }
}

/// Each type, on what it stands, and what it says.
const CONDITIONS: &[(&str, &str, &str)] = &[
    (
        conditions::READY,
        "all",
        "the object is what its spec asks for; of a proxy: it can be recovered; of a Recover or Purge: it is done. Its reason and message say why not",
    ),
    (
        conditions::RECONCILING,
        "all",
        "the operator is at work on it, or waits for something that comes by itself (kstatus)",
    ),
    (
        conditions::STALLED,
        "all",
        "it takes somebody's act, or another object's end, to get further (kstatus)",
    ),
    (
        conditions::WEAK_SEAL,
        "ManagedHsm, HsmKey",
        "while it is deleted nothing but the operator refuses its use: [what the module cannot do](backends.md#what-weaker-assurance-means)",
    ),
    (
        conditions::PURGE_ANNOUNCED,
        "proxies",
        "the scheduled purge was announced, and comes no less than a day after (SD-10)",
    ),
    (
        conditions::PURGE_HELD,
        "proxies",
        "its date has come and something holds the purge; the reason names it",
    ),
    (
        conditions::SNAPSHOT_INCOMPLETE,
        "proxies",
        "the snapshot holds the fixed fields and switches only; it can be recovered all the same (SD-06)",
    ),
    (
        conditions::ACCEPTED,
        "Purge",
        "it was seen while the policies stood that make `requestedBy` true",
    ),
    (
        conditions::EXECUTING,
        "Purge",
        "it counts towards a purge that is under way, and is withdrawn no more",
    ),
    (
        conditions::COMPLETE,
        "Recover, Purge",
        "it is done, finally",
    ),
    (
        conditions::FAILED,
        "Recover, Purge",
        "it never will be done, finally; the reason says why",
    ),
];

fn conditions_of_all() -> String {
    let mut page = "\n## Conditions\n\nAs `metav1.Condition`: `type`, `status`, `reason`, `message`, `observedGeneration`, and `lastTransitionTime`, which moves only when the status does. \
        Those of others are kept. A reason is `Ready`, `Progressing`, or one of the [reason codes](troubleshooting.md).\n\n| type | on | `True` means |\n|---|---|---|\n"
        .to_owned();
    for (kind, on, means) in CONDITIONS {
        _ = writeln!(page, "| `{kind}` | {on} | {means} |");
    }
    page
}

#[test]
fn the_page_of_the_api_is_what_the_definitions_say() {
    is_current("api.md", &document());
}

#[test]
fn each_condition_is_on_the_page() {
    let code = std::fs::read_to_string(project().join("src/api/conditions.rs")).expect("read");
    let listed = |word: &str| CONDITIONS.iter().any(|(kind, ..)| *kind == word);
    let constants = code.lines().filter_map(|line| {
        let (_, word) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
        word.strip_suffix("\";")
    });
    let constants: Vec<_> = constants.collect();
    assert_eq!(constants.len(), CONDITIONS.len(), "{constants:?}");
    assert!(constants.iter().all(|word| listed(word)), "{constants:?}");
}
