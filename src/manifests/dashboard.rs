//! A Grafana dashboard, in a ConfigMap as Grafana's sidecar looks for it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{Error, NAME, within};

pub(super) const CONFIG_MAP: &str = "managed-hsm-operator-dashboard";

struct Panel {
    title: &'static str,
    what: &'static str,
    /// Of Grafana: `stat` or `timeseries`.
    kind: &'static str,
    unit: &'static str,
    width: u32,
    queries: &'static [&'static str],
}

/// From left to right, then the next row; a row is 24 wide.
const PANELS: &[Panel] = &[
    Panel {
        title: "Leader",
        what: "1: one operator leads.",
        kind: "stat",
        unit: "none",
        width: 4,
        queries: &["sum(managedhsm_leader)"],
    },
    Panel {
        title: "Backends away",
        what: "Whose records cannot be read.",
        kind: "stat",
        unit: "none",
        width: 4,
        queries: &["max(managedhsm_backends_away)"],
    },
    Panel {
        title: "Clock trusted",
        what: "0: nothing is purged.",
        kind: "stat",
        unit: "none",
        width: 4,
        queries: &["max(managedhsm_clock_trusted)"],
    },
    Panel {
        title: "Policies in place",
        what: "0: no request to purge is believed.",
        kind: "stat",
        unit: "none",
        width: 4,
        queries: &["max(managedhsm_policies_in_place)"],
    },
    Panel {
        title: "Orphans",
        what: "Material that no record explains.",
        kind: "stat",
        unit: "none",
        width: 4,
        queries: &["max(managedhsm_orphans)"],
    },
    Panel {
        title: "Newest backup",
        what: "How long ago the operator made it.",
        kind: "stat",
        unit: "s",
        width: 4,
        queries: &["time() - max(managedhsm_last_backup_timestamp_seconds > 0)"],
    },
    Panel {
        title: "Live",
        what: "HSMs and keys by state.",
        kind: "timeseries",
        unit: "none",
        width: 12,
        queries: &[
            r#"sum by (kind, state) (max by (kind, state, protected) (managedhsm_objects{kind=~"ManagedHsm|HsmKey"}))"#,
        ],
    },
    Panel {
        title: "Deleted",
        what: "What can still be recovered, and what is being purged.",
        kind: "timeseries",
        unit: "none",
        width: 12,
        queries: &[
            r#"sum by (kind, state) (max by (kind, state, protected) (managedhsm_objects{kind=~"Deleted.*"}))"#,
        ],
    },
    Panel {
        title: "Until the next purge",
        what: "Of what is not protected, and of what is.",
        kind: "stat",
        unit: "s",
        width: 8,
        queries: &["max by (protected) (managedhsm_next_purge_timestamp_seconds > 0) - time()"],
    },
    Panel {
        title: "Recovers and Purges",
        what: "Those that are not finished.",
        kind: "timeseries",
        unit: "none",
        width: 16,
        queries: &[
            r#"sum by (kind, state) (max by (kind, state, protected) (managedhsm_objects{kind=~"Recover|Purge"}))"#,
        ],
    },
    Panel {
        title: "Told",
        what: "Events a minute, by reason.",
        kind: "timeseries",
        unit: "cpm",
        width: 12,
        queries: &["sum by (reason) (rate(managedhsm_events_total[5m])) * 60"],
    },
    Panel {
        title: "Effects",
        what: "On the cluster and the backends, a second.",
        kind: "timeseries",
        unit: "ops",
        width: 12,
        queries: &["sum by (effect, outcome) (rate(managedhsm_effects_total[5m]))"],
    },
    Panel {
        title: "Passes",
        what: "Runs a second, by kind and result; failed ones by class.",
        kind: "timeseries",
        unit: "ops",
        width: 12,
        queries: &[
            "sum by (kind, result) (rate(managedhsm_reconciles_total[5m]))",
            "sum by (class) (rate(managedhsm_errors_total[5m]))",
        ],
    },
    Panel {
        title: "Queue",
        what: "What is due, runs, and waits for its time.",
        kind: "timeseries",
        unit: "none",
        width: 12,
        queries: &[
            "sum(managedhsm_queue_depth)",
            "sum(managedhsm_queue_running)",
            "sum(managedhsm_queue_scheduled)",
        ],
    },
];

const HEIGHT: u32 = 7;
const ROW: u32 = 24;

pub(super) fn config_map(namespace: &str) -> Result<ConfigMap, Error> {
    let mut metadata = within(namespace, CONFIG_MAP);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert("grafana_dashboard".to_owned(), "1".to_owned());
    let text = serde_json::to_string_pretty(&dashboard())?;
    let data = BTreeMap::from([(format!("{NAME}.json"), text)]);
    Ok(ConfigMap {
        metadata,
        data: Some(data),
        ..ConfigMap::default()
    })
}

fn dashboard() -> Value {
    let (mut x, mut y) = (0, 0);
    let mut panels = Vec::new();
    for panel in PANELS {
        if x + panel.width > ROW {
            (x, y) = (0, y + HEIGHT);
        }
        panels.push(panel.shown(panels.len() + 1, x, y));
        x += panel.width;
    }
    json!({
        "title": "Managed HSMs", "uid": NAME, "tags": ["managed-hsm"], "schemaVersion": 39, "editable": true,
        "time": {"from": "now-24h", "to": "now"}, "refresh": "1m",
        "templating": {"list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    })
}

impl Panel {
    fn shown(&self, id: usize, x: u32, y: u32) -> Value {
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        let targets: Vec<_> = self
            .queries
            .iter()
            .zip(["A", "B", "C"])
            .map(|(query, id)| json!({"refId": id, "datasource": source, "expr": query, "legendFormat": "__auto"}))
            .collect();
        json!({
            "id": id, "title": self.title, "description": self.what, "type": self.kind, "datasource": source,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": self.unit}, "overrides": []},
            "targets": targets,
        })
    }
}
