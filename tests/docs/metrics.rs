//! `docs/metrics.md`: what the operator counts, and what somebody on call is told of. Names, kinds and help are those of the registry, the
//! alerts those of the manifests, and words of labels those that the code gives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use managed_hsm_operator::manifests;
use managed_hsm_operator::metrics::{Counted, Metrics};
use managed_hsm_operator::softdelete::Reason;
use testplane::is_current;

use super::links::project;
use super::words::{EVENTS, source, told, values};

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

fn full(name: &str, of: &Shown) -> String {
    let ending = if of.kind == "counter" { "_total" } else { "" };
    format!("{name}{ending}")
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## Metrics\n\n| metric | kind | what it says |\n|---|---|---|\n");
    let mut labels = String::new();
    for (name, of) in shown() {
        let full = full(&name, &of);
        let kind = match of.unit.as_str() {
            "" => of.kind.clone(),
            unit => format!("{}, {unit}", of.kind),
        };
        text.push_str(&format!("| `{full}` | {kind} | {} |\n", cell(&of.help)));
        for label in &of.labels {
            let values = cell(&values(&name, label));
            labels.push_str(&format!("| `{full}` | `{label}` | {values} |\n"));
        }
    }
    text.push_str("\n## Labels\n\n| metric | label | values |\n|---|---|---|\n");
    text.push_str(&labels);
    text.push_str("\n## States\n\n");
    text.push_str(STATES);
    text.push_str(ALERTS);
    text.extend(rules().iter().map(alert));
    text
}

const ALERTS: &str = "
## Alerts

The rules of the chart's `prometheusRule.enabled`. Each is tried with promtool: when it fires, and that it does not before.
";

fn alert(rule: &serde_json::Value) -> String {
    let of = |path: &str| {
        let text = rule.pointer(path).and_then(|value| value.as_str());
        text.expect("a text").to_owned()
    };
    let name = of("/alert");
    let more = MORE.iter().find(|(alert, _)| *alert == name);
    let (_, more) = more.unwrap_or_else(|| panic!("{name}: where is more of it?"));
    let lasts = match of("/for").as_str() {
        "0m" => "at once".to_owned(),
        lasts => format!("after {lasts}"),
    };
    format!(
        "\n### {name}\n\n{}, {lasts}: {} {}\n\n```promql\n{}\n```\n\nMore: [{}]({more})\n",
        of("/labels/severity"),
        of("/annotations/summary"),
        of("/annotations/description"),
        of("/expr"),
        more.replace(".md#", ": ").replace('-', " "),
    )
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
fn each_metric_and_alert_that_a_page_names_is_there() {
    let metrics: BTreeSet<_> = shown()
        .into_iter()
        .map(|(name, of)| full(&name, &of))
        .collect();
    let alerts = rules()
        .into_iter()
        .map(|rule| rule["alert"].as_str().expect("a name").to_owned());
    let known: BTreeSet<_> = metrics.into_iter().chain(alerts).collect();
    let mut named = 0;
    for page in std::fs::read_dir(project().join("docs")).expect("docs/") {
        let page = page.expect("an entry").path();
        let text = std::fs::read_to_string(&page).expect("a page");
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let is_a_name = |word: &&str| {
            word.starts_with("managedhsm_")
                || word
                    .strip_prefix("ManagedHsm")
                    .is_some_and(|rest| rest.len() > 1)
        };
        for word in words.filter(is_a_name) {
            named += 1;
            assert!(known.contains(word), "{}: {word} is none", page.display());
        }
    }
    assert!(named > known.len(), "the names were not found");
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
