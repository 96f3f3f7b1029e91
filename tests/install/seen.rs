//! What the chart gives to whoever watches from afar: alerts and a dashboard, which ask for nothing but what the operator shows.

use std::collections::BTreeSet;
use std::path::Path;

use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use testplane::{Options, borrow, eventually, tool};

use crate::operator::{Build, SOON};
use crate::rendered::{objects, one, template};
use crate::user::User;

const SUITE: &str = include_str!("alerts.yaml");

fn rendered(kind: &str) -> Value {
    let values = [
        "prometheusRule={\"enabled\": true, \"labels\": {\"release\": \"prometheus\"}}",
        "dashboard={\"enabled\": true}",
    ];
    let all = objects(&template(&values).expect("it renders"));
    one(&all, kind).clone()
}

fn panels() -> Vec<Value> {
    let map = rendered("ConfigMap");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = map["data"]["managed-hsm-operator.json"].as_str();
    let dashboard: Value = serde_json::from_str(text.expect("a file")).expect("JSON");
    dashboard["panels"].as_array().expect("panels").clone()
}

fn queries() -> Vec<String> {
    let of = |panel: &Value| {
        let targets = panel["targets"].as_array().expect("queries").clone();
        targets.into_iter().map(|target| target["expr"].clone())
    };
    let all = panels();
    let each = all.iter().flat_map(of);
    each.map(|query| query.as_str().expect("a query").to_owned())
        .collect()
}

fn rules() -> Vec<Value> {
    let rule = rendered("PrometheusRule");
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let rules = rule["spec"]["groups"][0]["rules"].as_array();
    rules.expect("rules").clone()
}

fn promtool(arguments: &[&str]) {
    let said = tool("promtool", "promtool", None, arguments);
    said.unwrap_or_else(|said| panic!("promtool {arguments:?}: {said}"));
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

/// The chart's own rules, and `alerts.yaml`, which says for each when it fires and when not.
#[test]
fn each_alert_fires_when_it_should_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let groups = json!({"groups": [{"name": "alerts", "rules": rules()}]});
    written(folder.path(), "rules.yaml", &groups.to_string());
    let suite = written(folder.path(), "alerts.yaml", SUITE);
    promtool(&["test", "rules", &suite]);

    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name");
        let quiet = SUITE.contains(&format!("alertname: {name}}}"));
        let fires = SUITE.contains(&format!("alertname=\"{name}\""));
        assert!(quiet && fires, "{name} is tried both ways");
        for field in ["summary", "description"] {
            let text = rule["annotations"][field].as_str();
            assert!(text.is_some_and(|text| text.ends_with('.')), "{rule}");
        }
    }
}

#[test]
fn the_dashboards_queries_are_promql_and_its_panels_do_not_overlap() {
    let record = |(number, expr)| json!({"record": format!("query:{number}"), "expr": expr});
    let rules: Vec<_> = queries().into_iter().enumerate().map(record).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let groups = json!({"groups": [{"name": "queries", "rules": rules}]});
    let file = written(folder.path(), "queries.yaml", &groups.to_string());
    promtool(&["check", "rules", &file]);

    let mut taken = BTreeSet::new();
    for panel in panels() {
        let of = |field: &str| panel["gridPos"][field].as_u64().expect("a number");
        for x in of("x")..of("x") + of("w") {
            assert!(x < 24 && taken.insert((x, of("y"))), "{panel}");
        }
    }
}

/// Of an operator that has had something to do.
async fn shown() -> BTreeSet<String> {
    let plane = borrow(Options::default()).await;
    let operator = Build::new(&plane, MemoryBackend::new()).await.start().await;
    let user = User::new(&plane.client().await, "seen").await;
    let hsm = Watched::Object(Kind::Hsm);
    user.create(hsm, "safe", json!({"spec": {}})).await;
    user.ready(Kind::Hsm, "safe").await;
    // What has no number yet is not shown, and nothing has failed.
    operator.metrics.failed("cluster");
    let passes = "managedhsm_reconciles_total";
    eventually("a pass is over", SOON, async || {
        let shown = names(&operator.metrics.text());
        if shown.contains(passes) {
            Ok(shown)
        } else {
            Err(format!("{shown:?}"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_ask_for_metrics_that_the_operator_shows() {
    let shown = shown().await;
    let exprs = rules().into_iter().map(|rule| rule["expr"].clone());
    let exprs = exprs.map(|expr| expr.as_str().expect("an expression").to_owned());
    for query in exprs.chain(queries()) {
        let asked = query.split(|other: char| !(other.is_ascii_alphanumeric() || other == '_'));
        for name in asked.filter(|word| word.starts_with("managedhsm_")) {
            assert!(
                shown.contains(name),
                "{name} of {query} is none of {shown:?}"
            );
        }
    }
}

/// What `# TYPE` lines promise; a counter is shown with `_total`.
fn names(text: &str) -> BTreeSet<String> {
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    typed
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        })
        .collect()
}
