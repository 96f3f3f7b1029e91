//! The leader's own numbers, where the user may reach them through its pod.

use super::Line;
use crate::cluster::Cluster;
use crate::ending::Failure;

const PREFIX: &str = "managedhsm";

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
    let of = |name: &str| value(text, &format!("{PREFIX}_{name}"));
    let say = |name: &str, yes: &str, no: &str| match of(name) {
        Some(found) if found > 0.0 => yes.to_owned(),
        Some(_) => no.to_owned(),
        None => "unknown: this operator has no such metric".to_owned(),
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
        Line(
            "Orphans",
            of("orphans").map_or_else(|| "unknown".to_owned(), |count| count.to_string()),
        ),
    ]
}

fn value(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics
        .lines()
        .find(|line| line.split([' ', '{']).next() == Some(name))?;
    line.rsplit(' ').next()?.parse().ok()
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
        let trusted = of_metrics("managedhsm_clock_trusted 1\nmanagedhsm_orphans 2\n");
        assert_eq!(
            (trusted[0].1.as_str(), trusted[3].1.as_str()),
            ("trusted", "2")
        );
    }
}
