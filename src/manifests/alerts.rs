//! What somebody on call is told of, as a PrometheusRule. One metric or two each, so that a test can say for each when it fires.

use serde_json::{Value, json};

use super::{NAME, within};

struct Alert {
    name: &'static str,
    /// PromQL; it fires while this has a value,
    expr: &'static str,
    /// for so long.
    lasts: &'static str,
    severity: &'static str,
    summary: &'static str,
    description: &'static str,
}

const ALERTS: &[Alert] = &[
    Alert {
        name: "ManagedHsmNoLeader",
        expr: "absent(managedhsm_leader == 1)",
        lasts: "2m",
        severity: "critical",
        summary: "No operator leads.",
        description: "No key is made, recovered or purged, and deletes wait, with them namespaces. Nothing is lost: look at the operator's pods and their logs.",
    },
    Alert {
        name: "ManagedHsmPurgeAhead",
        expr: r#"(max(managedhsm_next_purge_timestamp_seconds{protected="false"} > 0) - time()) < 86400"#,
        lasts: "0m",
        severity: "warning",
        summary: "Something deleted that is not protected is purged within a day, for good.",
        description: "kubectl get deletedmanagedhsms,deletedhsmkeys shows what, in the column PURGE AT. A Recover brings it back, until then.",
    },
    Alert {
        name: "ManagedHsmPurgeOverdue",
        expr: "(max(managedhsm_next_purge_timestamp_seconds > 0) - time()) < -3600",
        lasts: "10m",
        severity: "warning",
        summary: "What was to be purged an hour ago is still there, and nothing is known that holds it.",
        description: "Nothing is lost. kubectl describe of the deleted object and the operator's log say why; a clock that is not trusted and a backend that is away have alerts of their own.",
    },
    Alert {
        name: "ManagedHsmPurgeHeld",
        expr: r#"sum(managedhsm_objects{state="Held"}) > 0"#,
        lasts: "15m",
        severity: "warning",
        summary: "A purge is held.",
        description: "The condition PurgeHeld of the deleted object names what holds it, and the way out. Nothing is lost.",
    },
    Alert {
        name: "ManagedHsmClockNotTrusted",
        expr: "managedhsm_clock_trusted == 0 and managedhsm_leader == 1",
        lasts: "15m",
        severity: "warning",
        summary: "The operator does not trust its clock, so nothing is purged.",
        description: "Its clock jumped, or is not the API server's. Set both by NTP; it goes on by itself an hour after the last jump.",
    },
    Alert {
        name: "ManagedHsmMaterialMissing",
        expr: r#"sum(managedhsm_objects{state="Missing"}) > 0"#,
        lasts: "5m",
        severity: "critical",
        summary: "The material of a live HSM or key is not where it should be.",
        description: "kubectl get managedhsms,hsmkeys -A shows which, with the reason MaterialMissing. Delete nothing: a backend that was put back or swapped is the usual cause, and a backup of the store the usual way out.",
    },
    Alert {
        name: "ManagedHsmMaterialOrphaned",
        expr: "max(managedhsm_orphans) > 0",
        lasts: "1h",
        severity: "info",
        summary: "A backend holds material that no record explains.",
        description: "It is never destroyed. managed-hsm-operator ledger list shows it.",
    },
    Alert {
        name: "ManagedHsmBackendAway",
        expr: "max(managedhsm_backends_away) > 0",
        lasts: "5m",
        severity: "critical",
        summary: "The records of a backend cannot be read.",
        description: "Its HSMs and keys are neither made nor recovered, and their deletes wait. Nothing is lost: the operator's log says what the backend answers.",
    },
    Alert {
        name: "ManagedHsmManyDeletions",
        expr: "increase(managedhsm_mass_deletions_total[10m]) > 0",
        lasts: "0m",
        severity: "critical",
        summary: "Much was deleted within a minute.",
        description: "It was soft-deleted, and can be recovered. Who deletes is in the API server's audit log; kubectl get deletedmanagedhsms,deletedhsmkeys shows what.",
    },
    Alert {
        name: "ManagedHsmManyPurges",
        expr: r#"sum(max by (state, protected) (managedhsm_objects{kind="Purge"})) > 10"#,
        lasts: "0m",
        severity: "critical",
        summary: "More purges are asked for than the rate lets through in an hour.",
        description: "Those over the rate wait, and go on by themselves. kubectl get purges shows who asked; deleting a Purge before it says Executing withdraws it.",
    },
    Alert {
        name: "ManagedHsmPoliciesMissing",
        expr: "managedhsm_policies_in_place == 0 and managedhsm_leader == 1",
        lasts: "5m",
        severity: "critical",
        summary: "An admission policy is not there, or not as it should be.",
        description: "Until it is, nobody's request to purge is believed. Apply the operator's policies again; the operator's log names the one.",
    },
    Alert {
        name: "ManagedHsmStorePutBack",
        expr: "increase(managedhsm_etcd_put_back_total[1h]) > 0",
        lasts: "0m",
        severity: "critical",
        summary: "The cluster's own store was put back to an older state.",
        description: "Open requests to purge failed and must be made anew. Compare what stands in the cluster with managed-hsm-operator ledger list.",
    },
    Alert {
        name: "ManagedHsmUndeletableEnded",
        expr: "increase(managedhsm_undeletable_ended_total[1h]) > 0",
        lasts: "0m",
        severity: "warning",
        summary: "The cluster was undeletable and is no more.",
        description: "Somebody took --undeletable away: from now on Purges are carried out.",
    },
    Alert {
        name: "ManagedHsmBackupFailed",
        expr: "increase(managedhsm_backups_failed_total[1d]) > 0",
        lasts: "0m",
        severity: "warning",
        summary: "A backup of the store was not made.",
        description: "The operator's log says why. The one before is still there.",
    },
];

/// Prometheus Operator's; its definitions must be there.
pub fn rule(namespace: &str) -> Value {
    let rules: Vec<_> = ALERTS.iter().map(Alert::rule).collect();
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": within(namespace, NAME),
        "spec": {"groups": [{"name": NAME, "rules": rules}]},
    })
}

impl Alert {
    fn rule(&self) -> Value {
        json!({
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasts,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description},
        })
    }
}
