//! The leader's own numbers, where the user may reach them through its pod.

use std::collections::BTreeMap;

use chrono::DateTime;
use managed_hsm_operator::api::Time;

use super::{Line, some};
use crate::cluster::Cluster;
use crate::ending::Failure;

const PREFIX: &str = "managedhsm";
const UNKNOWN: &str = "unknown: this operator has no such metric";

/// A pod that cannot be reached is no failure of the whole: its line says why.
pub async fn of_leader(cluster: &Cluster, namespace: &str, pod: Option<&str>) -> Vec<Line> {
    match text(cluster, namespace, pod).await {
        Ok(text) => of_metrics(&text),
        Err(failure) => vec![Line("Clock", format!("unknown: {}", failure.sentence))],
    }
}

async fn text(cluster: &Cluster, namespace: &str, pod: Option<&str>) -> Result<String, Failure> {
    let not_known =
        || Failure::missing("The leader's pod is not known, so its metrics cannot be read.");
    let pod = pod.ok_or_else(not_known)?;
    // Without a port the API server takes the pod's first, which is that of the metrics.
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/proxy/metrics");
    let get = http::Request::get(path)
        .body(Vec::new())
        .map_err(|_| not_known())?;
    Ok(cluster.client.request_text(get).await?)
}

fn of_metrics(text: &str) -> Vec<Line> {
    let of = |name: &str| rows(text, name).next().map(|(_, number)| number);
    let say = |name: &str, yes: &str, no: &str| match of(name) {
        Some(found) if found > 0.0 => yes.to_owned(),
        Some(_) => no.to_owned(),
        None => UNKNOWN.to_owned(),
    };
    vec![
        Line(
            "Clock",
            say(
                "clock_trusted",
                "trusted",
                "not trusted, so nothing is purged",
            ),
        ),
        Line(
            "Policies",
            say(
                "policies_in_place",
                "in place",
                "not in place, so nothing is purged on request",
            ),
        ),
        Line(
            "Undeletable",
            say("undeletable", "yes: nothing is purged on request", "no"),
        ),
        Line("Backends away", whole(of("backends_away"), AWAY)),
        Line("Orphans", whole(of("orphans"), "")),
        Line("Objects", objects(text)),
        Line("Next purge", next_purge(text)),
        Line(
            "Last backup",
            some(
                of("last_backup_timestamp_seconds")
                    .and_then(date)
                    .into_iter(),
            ),
        ),
    ]
}

const AWAY: &str = ", so what is in them waits; the operator's log has what they answer";

/// None at 0; else how many, and what that means.
fn whole(found: Option<f64>, meaning: &str) -> String {
    match found {
        None => UNKNOWN.to_owned(),
        Some(count) if count > 0.0 => format!("{count}{meaning}"),
        Some(_) => "none".to_owned(),
    }
}

/// How many are in which state, a line for each kind.
fn objects(text: &str) -> String {
    let mut of: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for (labels, count) in rows(text, "objects").filter(|(_, count)| *count > 0.0) {
        let (kind, state) = (label(labels, "kind"), label(labels, "state"));
        *of.entry(kind).or_default().entry(state).or_default() += count;
    }
    some(of.into_iter().map(|(kind, states)| {
        let states = states
            .iter()
            .map(|(state, count)| format!("{count} {state}"));
        format!("{kind}: {}", states.collect::<Vec<_>>().join(", "))
    }))
}

/// Those by schedule that nothing holds: the next of what is protected, and of the rest.
fn next_purge(text: &str) -> String {
    some(
        rows(text, "next_purge_timestamp_seconds").filter_map(|(labels, at)| {
            let of = match label(labels, "protected") {
                "true" => "what is protected",
                _ => "what is not protected",
            };
            date(at).map(|at| format!("{at}, of {of}"))
        }),
    )
}

/// 0 is no date.
fn date(seconds: f64) -> Option<String> {
    let at = DateTime::from_timestamp(seconds as i64, 0).filter(|_| seconds > 0.0)?;
    Some(Time::from(at).to_string())
}

/// The rows of one metric: labels as they stand there, and the number.
fn rows<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    metrics.lines().filter_map(move |line| {
        let rest = line
            .strip_prefix(PREFIX)?
            .strip_prefix('_')?
            .strip_prefix(name)?;
        let (labels, number) = rest.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then_some(())?;
        Some((labels, number.parse().ok()?))
    })
}

/// No label of these holds a quote or a comma: their values are closed lists.
fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let mut all = labels.trim_matches(['{', '}']).split(',');
    let found = all.find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\""));
    found.map_or("", |value| value.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use managed_hsm_operator::metrics::Metrics;

    #[test]
    fn the_operators_own_metrics_are_understood() {
        let text = Metrics::default().text();
        for Line(what, says) in of_metrics(&text) {
            assert!(!says.starts_with("unknown"), "{what}: {says} in\n{text}");
        }
        let told = |name: &str, text: &str| {
            let lines = of_metrics(text);
            let found = lines.into_iter().find(|Line(what, _)| *what == name);
            found.expect("a line").1
        };
        let text = [
            "managedhsm_clock_trusted 1",
            "managedhsm_orphans 2",
            "managedhsm_backends_away 1",
            "managedhsm_last_backup_timestamp_seconds 1728000000.0",
            r#"managedhsm_objects{kind="DeletedHsmKey",state="Held",protected="true"} 3"#,
            r#"managedhsm_objects{kind="DeletedHsmKey",state="Held",protected="false"} 1"#,
            r#"managedhsm_objects{kind="DeletedHsmKey",state="Retained",protected="false"} 2"#,
            r#"managedhsm_objects{kind="HsmKey",state="Ready",protected="false"} 0"#,
            r#"managedhsm_next_purge_timestamp_seconds{protected="true"} 1728000000.0"#,
            r#"managedhsm_next_purge_timestamp_seconds{protected="false"} 0.0"#,
        ]
        .join("\n");
        for (name, says) in [
            ("Clock", "trusted"),
            ("Orphans", "2"),
            ("Objects", "DeletedHsmKey: 4 Held, 2 Retained"),
            ("Next purge", "2024-10-04T00:00:00Z, of what is protected"),
            ("Last backup", "2024-10-04T00:00:00Z"),
        ] {
            assert_eq!(told(name, &text), says, "{name}");
        }
        assert!(told("Backends away", &text).starts_with("1, so what is in them waits"));
        let text = Metrics::default().text();
        for name in ["Backends away", "Objects", "Next purge", "Last backup"] {
            assert_eq!(told(name, &text), "none", "{name}");
        }
    }
}
