//! `docs/metrics.md`: what the operator counts, and what somebody on call is told of. Names, kinds and help are those of the registry, the
//! alerts those of the manifests, and words of labels those that the code gives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use managed_hsm_operator::manifests;
use managed_hsm_operator::metrics::{Counted, Metrics, Place};
use managed_hsm_operator::softdelete::{Kind, Reason};
use testplane::is_current;

use super::links::project;

const HEAD: &str = "# Metrics and alerts

Generated: `make docs` writes this page anew from the registry, the rules and the code that counts.

Each pod answers with its metrics at `/metrics` on port 8080 (`--metrics-addr`), in the OpenMetrics text format; the Service `managed-hsm-operator` has that port. The
chart's `serviceMonitor.enabled`, `prometheusRule.enabled` and `dashboard.enabled` bring what Prometheus Operator and Grafana read: [its README](../charts/managed-hsm-operator/README.md).

One pod leads and does the work. Of another one `managedhsm_leader` is 0 and the other gauges say nothing, so a query takes the `max` over the pods. A metric
with labels shows a row once there is something to count; `managedhsm_objects` shows all of its rows from the first count on. Counters begin at 0 with each start. No label holds a name, a namespace or a
uid: what is meant is in the conditions and Events of the object, and in the log.

";

/// One metric, as the registry shows it.
#[derive(Debug, Default)]
struct Shown {
    help: String,
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
}

/// Every metric, each with something counted, since one without a number is not shown.
fn shown() -> BTreeMap<String, Shown> {
    let metrics = Metrics::default();
    metrics.reconciled("HsmKey", "done");
    metrics.failed("cluster");
    metrics.effect("Generate", "done");
    metrics.told("HsmKey", "Created");
    metrics.day_length(Duration::from_secs(86_400));
    metrics.counted(&Counted::default());
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    let text = metrics.text();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match [words.next(), words.next(), words.next()] {
            [Some("#"), Some("HELP"), Some(name)] => {
                all.entry(name.to_owned()).or_default().help = words
                    .next()
                    .expect("a help")
                    .trim_end_matches('.')
                    .to_owned();
            }
            [Some("#"), Some("TYPE"), Some(name)] => {
                all.entry(name.to_owned()).or_default().kind =
                    words.next().expect("a type").to_owned();
            }
            [Some("#"), Some("UNIT"), Some(name)] => {
                all.entry(name.to_owned()).or_default().unit =
                    words.next().expect("a unit").to_owned();
            }
            _ => row(line, &mut all),
        }
    }
    all
}

fn row(line: &str, all: &mut BTreeMap<String, Shown>) {
    let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
    let name = name.strip_suffix("_total").unwrap_or(name);
    let Some(of) = all.get_mut(name) else { return };
    let labels = rest.split('}').next().unwrap_or_default();
    let labels = labels.trim_start_matches('{').split(',');
    of.labels
        .extend(labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned())));
}

fn source(file: &str) -> String {
    std::fs::read_to_string(project().join(file)).expect("a source file")
}

/// The words in quotes between two places of a file.
fn words(file: &str, from: &str, to: &str) -> BTreeSet<String> {
    let text = source(file);
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("{file}: {from}"));
    let (inside, _) = rest
        .split_once(to)
        .unwrap_or_else(|| panic!("{file}: {to}"));
    let words: BTreeSet<_> = quoted(inside).map(str::to_owned).collect();
    assert!(!words.is_empty(), "{file}: no words after {from}");
    words
}

fn quoted(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').skip(1).step_by(2)
}

/// What is told apart from the reason codes, each with what it means.
const EVENTS: &[(&str, &str)] = &[
    ("Created", "the material was made"),
    ("Rotated", "another version of a key was made"),
    ("SoftDeleted", "it was deleted, and can be recovered"),
    ("Sealed", "its material refuses every use"),
    (
        "Recovering",
        "its recovery has begun, or its object was made again",
    ),
    ("Recovered", "it is back, with the same material"),
    ("PurgeAnnounced", "it is purged by schedule in a day"),
    ("Purging", "its purge has begun"),
    (
        "PurgeTurnedBack",
        "its purge was given up before anything was destroyed",
    ),
    ("Purged", "it was destroyed for good"),
    (
        "RecordWrittenAgain",
        "its record was lost, and written again",
    ),
    ("Held", "it waits for what has no reason code"),
];

/// Those that the planner has in quotes beside whom it tells.
fn told(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            told(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for mark in ["Step::told(", "Tell {"] {
            for rest in code.split(mark).skip(1) {
                let call = rest.split(";\n").next().unwrap_or_default();
                found.extend(
                    quoted(call)
                        .filter(|word| is_a_code(word))
                        .map(str::to_owned),
                );
                let announced = call.contains("PURGE_ANNOUNCED");
                found.extend(announced.then(|| "PurgeAnnounced".to_owned()));
            }
        }
    }
}

fn is_a_code(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.len() > 3
        && word.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Each label of each metric, with what it may say. Most of it is read from where it is counted.
fn values(metric: &str, label: &str) -> String {
    let list = |words: &BTreeSet<String>| {
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    let objects = || BTreeSet::from([Kind::Hsm, Kind::Key].map(|kind| kind.object().to_owned()));
    match (metric.trim_start_matches("managedhsm_"), label) {
        ("reconciles", "kind") | ("events", "kind") => list(&objects()),
        ("reconciles", "result") => {
            let said = words("src/controller/queue.rs", "fn result_label", "\n}");
            assert_eq!(list(&said), "`again`, `done`, `failed`");
            "`done` (nothing is left to do until something changes or its time comes), `again` (there is more to do), `failed`".into()
        }
        ("errors", "class") => list(&words(
            "src/controller/mod.rs",
            "fn class(&self)",
            "\n    }",
        )),
        ("effects", "effect") => list(&words(
            "src/controller/execute.rs",
            "fn name(&self)",
            "\n    }",
        )),
        ("effects", "outcome") => {
            let said = words("src/controller/mod.rs", "let word = match &outcome", "};");
            assert_eq!(list(&said), "`done`, `failed`, `raced`, `refused`");
            "`done`, `raced` (somebody else wrote first), `refused` (the API server or the backend says no), `failed`".into()
        }
        ("events", "reason") => {
            let told: Vec<_> = EVENTS
                .iter()
                .map(|(word, what)| format!("`{word}` ({what})"))
                .collect();
            format!(
                "{}; or a [reason code](troubleshooting.md), where something waits or was refused",
                told.join(", ")
            )
        }
        ("objects", label) => of_objects(label),
        ("next_purge_timestamp_seconds", "protected") => "`true`, `false`".into(),
        other => panic!("nobody says what {other:?} may be"),
    }
}

fn of_objects(label: &str) -> String {
    let mut states: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for place in Place::all() {
        states
            .entry(place.kind)
            .or_default()
            .insert(format!("`{:?}`", place.state));
    }
    match label {
        "kind" => states
            .keys()
            .map(|kind| format!("`{kind}`"))
            .collect::<Vec<_>>()
            .join(", "),
        "protected" => "`true`, `false`".into(),
        "state" => {
            let mut of: BTreeMap<BTreeSet<String>, Vec<&str>> = BTreeMap::new();
            for (kind, states) in states {
                of.entry(states).or_default().push(kind);
            }
            let each = of.into_iter().map(|(states, kinds)| {
                let states: Vec<_> = states.into_iter().collect();
                format!("of {}: {}", kinds.join(" and "), states.join(", "))
            });
            each.collect::<Vec<_>>().join("; ")
        }
        other => panic!("a label that nobody knows: {other}"),
    }
}

/// Where more of each alert stands.
const MORE: &[(&str, &str)] = &[
    ("ManagedHsmNoLeader", "operations.md#nothing-goes-on"),
    ("ManagedHsmPurgeAhead", "use.md#look-and-get-it-back"),
    ("ManagedHsmPurgeOverdue", "operations.md#nothing-goes-on"),
    ("ManagedHsmPurgeHeld", "troubleshooting.md#purgeheld"),
    (
        "ManagedHsmClockNotTrusted",
        "operations.md#the-clocks-disagree",
    ),
    (
        "ManagedHsmMaterialMissing",
        "operations.md#the-store-is-lost-or-old",
    ),
    (
        "ManagedHsmMaterialOrphaned",
        "operations.md#material-that-no-record-explains",
    ),
    ("ManagedHsmBackendAway", "operations.md#a-backend-is-away"),
    ("ManagedHsmManyDeletions", "operations.md#much-was-deleted"),
    (
        "ManagedHsmManyPurges",
        "operations.md#many-purges-are-asked-for",
    ),
    (
        "ManagedHsmPoliciesMissing",
        "operations.md#the-policies-are-missing",
    ),
    ("ManagedHsmStorePutBack", "operations.md#etcd-was-put-back"),
    (
        "ManagedHsmUndeletableEnded",
        "operations.md#much-was-deleted",
    ),
    ("ManagedHsmBackupFailed", "operations.md#backup"),
];

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## Metrics\n\n| metric | kind | what it says |\n|---|---|---|\n");
    let mut labels = String::new();
    for (name, of) in shown() {
        let counter = of.kind == "counter";
        let full = if counter {
            format!("{name}_total")
        } else {
            name.clone()
        };
        let unit = if of.unit.is_empty() {
            String::new()
        } else {
            format!(", {}", of.unit)
        };
        text.push_str(&format!(
            "| `{full}` | {}{unit} | {} |\n",
            of.kind,
            cell(&of.help)
        ));
        for label in &of.labels {
            labels.push_str(&format!(
                "| `{full}` | `{label}` | {} |\n",
                cell(&values(&name, label))
            ));
        }
    }
    text.push_str("\n## Labels\n\n| metric | label | values |\n|---|---|---|\n");
    text.push_str(&labels);
    text.push_str("\n## States\n\n");
    text.push_str(STATES);
    text.push_str("\n## Alerts\n\n");
    text.push_str("The rules of the chart's `prometheusRule.enabled`. Each is tried with promtool: when it fires, and that it does not before.\n");
    for rule in rules() {
        let of = |path: &str| {
            rule.pointer(path)
                .and_then(|value| value.as_str())
                .expect("a text")
                .to_owned()
        };
        let name = of("/alert");
        let more = MORE
            .iter()
            .find(|(alert, _)| *alert == name)
            .unwrap_or_else(|| panic!("{name}: where is more of it?"))
            .1;
        let lasts = match of("/for").as_str() {
            "0m" => "at once".to_owned(),
            lasts => format!("after {lasts}"),
        };
        text.push_str(&format!(
            "\n### {name}\n\n{}, {lasts}: {} {}\n\n```promql\n{}\n```\n\nMore: [{}]({more})\n",
            of("/labels/severity"),
            of("/annotations/summary"),
            of("/annotations/description"),
            of("/expr"),
            more.replace(".md#", ": ").replace('-', " "),
        ));
    }
    text
}

const STATES: &str = "What `managedhsm_objects` counts, every half minute:

| state | of | means |
|---|---|---|
| `Ready` | ManagedHsm, HsmKey | it has its material and can be used |
| `Waiting` | ManagedHsm, HsmKey, Recover, Purge | it goes on by itself |
| `Stalled` | the same | it takes somebody's act, or another object's end |
| `Missing` | ManagedHsm, HsmKey | it stands, and its material is not where it should be ([MaterialMissing](troubleshooting.md#materialmissing)) |
| `Retained` | proxies | it is kept until its date |
| `Announced` | proxies | it is purged within about a day |
| `Held` | proxies | its date has come, and something holds the purge (its condition `PurgeHeld`) |
| `Recovering`, `Destroying` | proxies | that is under way |
";

fn rules() -> Vec<serde_json::Value> {
    let rule = manifests::alerts("any");
    let rules = rule
        .pointer("/spec/groups/0/rules")
        .and_then(|rules| rules.as_array());
    rules.expect("rules").clone()
}

#[test]
fn the_page_of_metrics_is_what_is_counted() {
    is_current("metrics.md", &document());
}

#[test]
fn each_metric_that_is_registered_is_shown_and_named_as_prometheus_wants_it() {
    let shown = shown();
    let registered = source("src/metrics.rs")
        .split("mod tests")
        .next()
        .unwrap_or_default()
        .matches("all.register")
        .count();
    assert_eq!(
        shown.len(),
        registered,
        "one of them has nothing counted: {shown:?}"
    );
    for (name, of) in &shown {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(
            name.starts_with("managedhsm_") && name.bytes().all(plain),
            "{name}"
        );
        // A counter's `_total` is added where it is shown; base units alone.
        assert!(
            ["counter", "gauge"].contains(&of.kind.as_str()),
            "{name}: {of:?}"
        );
        assert!(!name.ends_with("_total"), "{name}");
        assert_eq!(
            of.unit == "seconds",
            name.ends_with("_seconds"),
            "{name}: {of:?}"
        );
        assert!(
            ["", "seconds"].contains(&of.unit.as_str()),
            "{name}: {of:?}"
        );
        assert!(of.help.len() > 20, "{name}: {of:?}");
    }
}

#[test]
fn each_event_is_on_the_page() {
    let mut found = BTreeSet::new();
    told(&project().join("src/plan"), &mut found);
    let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    found.retain(|word| !codes.contains(word.as_str()));
    let listed: BTreeSet<_> = EVENTS.iter().map(|(word, _)| (*word).to_owned()).collect();
    assert_eq!(found, listed);
}
