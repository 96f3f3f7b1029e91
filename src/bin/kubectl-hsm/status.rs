//! `status`: the operator as the cluster shows it. What cannot be read says so in its line, and is no failure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use managed_hsm_operator::api::conditions::{self, EXECUTING, READY};
use managed_hsm_operator::api::{Condition, ConditionStatus, ManagedHsm, Purge, Time};
use managed_hsm_operator::manifests::NAME;
use serde_json::{Value, json};

use crate::args::StatusArgs;
use crate::cluster::{Cluster, KINDS};
use crate::deleted::Deleted;
use crate::ending::{Exit, Failure};
use crate::output::Printed;
use crate::table::{human, table};
use crate::wait::Request as _;

mod numbers;

/// What is looked at, and what it says.
struct Line(&'static str, String);

pub async fn run(cluster: &Cluster, args: &StatusArgs) -> Result<(), Failure> {
    let namespace = &args.operator_namespace;
    let now = cluster.clock.now();
    let lease: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    let lease = lease.get(NAME).await.map_err(Failure::from);
    let holder = lease.as_ref().ok().and_then(holder);
    let mut lines = vec![Line(
        "Leader",
        line(lease.map(|lease| leader(&lease, now)))?,
    )];
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let deployment = deployments.get(NAME).await.map_err(Failure::from);
    lines.push(Line(
        "Deployment",
        line(deployment.map(|found| deployed(&found)))?,
    ));
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let mine = ListParams::default().labels(&format!("app.kubernetes.io/name={NAME}"));
    let pods = pods
        .list(&mine)
        .await
        .map(|found| found.items)
        .map_err(Failure::from);
    let leads = pods
        .as_ref()
        .ok()
        .and_then(|pods| leading(pods, holder.as_deref()));
    lines.push(Line("Pods", line(pods.map(|pods| running(&pods)))?));
    lines.extend(numbers::of_leader(cluster, namespace, leads.as_deref()).await);
    let hsms: Api<ManagedHsm> = Api::all(cluster.client.clone());
    let hsms = hsms
        .list(&ListParams::default())
        .await
        .map_err(Failure::from);
    lines.push(Line(
        "Backends",
        line(hsms.map(|found| backends(&found.items)))?,
    ));
    let purges: Api<Purge> = Api::all(cluster.client.clone());
    let purges = purges
        .list(&ListParams::default())
        .await
        .map_err(Failure::from);
    lines.push(Line(
        "Purges asked for",
        line(purges.map(|found| asked(&found.items)))?,
    ));
    let deleted = deleted(cluster).await;
    lines.push(Line(
        "Purges announced",
        line(
            deleted
                .as_ref()
                .map(|all| announced(all))
                .map_err(Clone::clone),
        )?,
    ));
    lines.push(Line("Purges held", line(deleted.map(|all| held(&all)))?));
    printed(&lines).print(args.output.output)
}

/// No right and no such thing are said; a cluster that does not answer is a failure.
fn line(found: Result<String, Failure>) -> Result<String, Failure> {
    match found {
        Err(failure) if failure.exit == Exit::NotPermitted => {
            Ok(format!("unknown: {}", failure.sentence))
        }
        Err(failure) if failure.exit == Exit::NotFound => {
            Ok("not there; where the operator runs elsewhere, say --operator-namespace".to_owned())
        }
        other => other,
    }
}

async fn deleted(cluster: &Cluster) -> Result<Vec<Deleted>, Failure> {
    let mut all = Vec::new();
    for kind in KINDS {
        all.extend(cluster.deleted(kind, "").await?);
    }
    Ok(all)
}

fn holder(lease: &Lease) -> Option<String> {
    let holder = lease.spec.as_ref()?.holder_identity.clone();
    holder.filter(|holder| !holder.is_empty())
}

fn leader(lease: &Lease, now: DateTime<Utc>) -> String {
    let Some(holder) = holder(lease) else {
        return "nobody: no operator works; look at its Deployment".to_owned();
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let LeaseSpec {
        renew_time,
        lease_duration_seconds,
        ..
    } = spec;
    let Some(renewed) = renew_time.and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0))
    else {
        return holder;
    };
    let age = now - renewed;
    let lasts = chrono::Duration::seconds(i64::from(lease_duration_seconds.unwrap_or(15)));
    let stale = if age > lasts {
        "; it ran out, so no operator works"
    } else {
        ""
    };
    format!("{holder}, renewed {} ago{stale}", human(age))
}

fn deployed(found: &Deployment) -> String {
    let wanted = found
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let ready = found
        .status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0);
    format!("{ready} of {wanted} ready")
}

/// The pod of that identity: a pod's name, and some chance after it.
fn leading(pods: &[Pod], holder: Option<&str>) -> Option<String> {
    let (pod, _) = holder?.rsplit_once('_')?;
    pods.iter()
        .map(ResourceExt::name_any)
        .find(|name| name == pod)
}

fn running(pods: &[Pod]) -> String {
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    let all = pods.iter().map(|pod| {
        format!(
            "{} ({})",
            pod.name_any(),
            phase(pod).unwrap_or_else(|| "Unknown".to_owned())
        )
    });
    some(all)
}

/// By what the HSMs in them say.
fn backends(hsms: &[ManagedHsm]) -> String {
    let mut of: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    for hsm in hsms {
        let (count, troubled) = of.entry(&hsm.spec.backend).or_default();
        *count += 1;
        let conditions = hsm
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        if let Some(trouble) = trouble(conditions) {
            let namespace = hsm.namespace().unwrap_or_default();
            troubled.push(format!("{namespace}/{}: {trouble}", hsm.name_any()));
        }
    }
    some(
        of.into_iter()
            .map(|(name, (count, troubled))| match troubled.len() {
                0 => format!("{name} ({count} HSMs)"),
                _ => format!("{name} ({count} HSMs; {})", troubled.join(", ")),
            }),
    )
}

fn trouble(all: &[Condition]) -> Option<&str> {
    let ready =
        conditions::get(all, READY).filter(|ready| ready.status == ConditionStatus::False)?;
    ready
        .reason
        .starts_with("Backend")
        .then_some(ready.reason.as_str())
}

fn asked(purges: &[Purge]) -> String {
    let waiting = purges.iter().filter(|purge| !purge.finished());
    some(waiting.map(|purge| {
        let state = if conditions::is_true(purge.conditions(), EXECUTING) {
            "executing".to_owned()
        } else {
            let ready = conditions::get(purge.conditions(), READY);
            ready.map_or_else(|| "not looked at".to_owned(), |ready| ready.reason.clone())
        };
        format!(
            "{} by {} ({state})",
            purge.spec.name, purge.spec.requested_by
        )
    }))
}

fn announced(all: &[Deleted]) -> String {
    let due = all.iter().filter(|deleted| deleted.announced());
    some(due.map(|deleted| {
        let at = deleted.purge_time.map_or_else(
            || "an unknown date".to_owned(),
            |time: Time| time.to_string(),
        );
        format!("{} at {at}", deleted.name)
    }))
}

fn held(all: &[Deleted]) -> String {
    let held = all
        .iter()
        .filter_map(|deleted| Some((deleted, deleted.held()?)));
    some(held.map(|(deleted, held)| format!("{} ({})", deleted.name, held.reason)))
}

fn some(all: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = all.collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join("\n")
    }
}

fn printed(lines: &[Line]) -> Printed {
    let rows = lines.iter().flat_map(|Line(what, says)| {
        says.lines().enumerate().map(|(place, says)| {
            let what = if place == 0 { *what } else { "" };
            vec![what.to_owned(), says.to_owned()]
        })
    });
    let text = table(&["WHAT", "STATE"], &rows.collect::<Vec<_>>());
    let value = lines
        .iter()
        .map(|Line(what, says)| ((*what).to_owned(), json!(says)));
    Printed {
        wide: text.clone(),
        table: text,
        names: lines
            .iter()
            .map(|Line(what, _)| (*what).to_owned())
            .collect(),
        value: Value::Object(value.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_lease_that_ran_out_is_no_leader() {
        let lease: Lease = serde_json::from_value(json!({
            "metadata": {"name": NAME},
            "spec": {"holderIdentity": "pod-1", "renewTime": "2026-02-20T16:00:00.000000Z", "leaseDurationSeconds": 15},
        }))
        .unwrap();
        let at = |seconds: i64| DateTime::from_timestamp(1_771_603_200 + seconds, 0).unwrap();
        assert_eq!(leader(&lease, at(3)), "pod-1, renewed 3s ago");
        assert!(leader(&lease, at(16)).contains("no operator works"));
        assert!(leader(&Lease::default(), at(0)).starts_with("nobody"));
    }

    #[test]
    fn what_is_held_and_announced_is_named() {
        let mut deleted = samples::deleted_key("signing");
        let none = std::slice::from_ref(&deleted);
        assert_eq!(
            (held(none).as_str(), announced(none).as_str()),
            ("none", "none")
        );
        let now: Time = DateTime::UNIX_EPOCH.into();
        for (kind, reason) in [
            (conditions::PURGE_HELD, "ClockNotTrusted"),
            (conditions::PURGE_ANNOUNCED, "PurgeAnnounced"),
        ] {
            let state = managed_hsm_operator::api::ConditionState::new(
                kind,
                ConditionStatus::True,
                reason,
                "",
                None,
            );
            conditions::set(&mut deleted.status.conditions, state, now);
        }
        let one = std::slice::from_ref(&deleted);
        assert_eq!(held(one), "demo.signing (ClockNotTrusted)");
        assert_eq!(announced(one), "demo.signing at 2026-03-22T16:00:00Z");
    }

    #[test]
    fn no_right_is_a_line_and_no_cluster_a_failure() {
        let failed = |exit| line(Err(Failure::new(exit, "Why.")));
        assert_eq!(failed(Exit::NotPermitted), Ok("unknown: Why.".to_owned()));
        assert_eq!(failed(Exit::NoCluster).unwrap_err().exit, Exit::NoCluster);
    }
}
