//! How much there is of each kind, and in which state: counted from the caches every half minute, for whoever watches from afar.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::api::DynamicObject;

use super::Context;
use super::cluster::Watched;
use crate::api;
use crate::api::conditions::{PURGE_ANNOUNCED, PURGE_HELD, READY, STALLED};
use crate::metrics::{Counted, Place, State};
use crate::softdelete::Reason;

const EVERY: Duration = Duration::from_secs(30);

/// What one object counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    place: Place,
    /// When it is purged by itself, as its proxy shows it, if nothing holds it.
    purge: Option<DateTime<Utc>>,
}

/// None: a namespace, and what is finished.
pub fn mark(of: Watched, found: &DynamicObject) -> Option<Mark> {
    let (kind, state) = match of {
        Watched::Object(kind) => (kind.object(), of_object(found)),
        Watched::Proxy(kind) => (kind.proxy(), of_proxy(found)),
        Watched::Recover => ("Recover", of_request(found)?),
        Watched::Purge => ("Purge", of_request(found)?),
        Watched::Namespace => return None,
    };
    let awaits = matches!(state, State::Retained | State::Announced);
    let date = |path| text(found, path).and_then(|text| text.parse().ok());
    let purge = match of {
        Watched::Proxy(_) if awaits => {
            date("/status/purgeTime").or_else(|| date("/spec/scheduledPurgeTime"))
        }
        _ => None,
    };
    let protected = is_protected(of, found);
    let place = Place {
        kind,
        state,
        protected,
    };
    Some(Mark { place, purge })
}

fn of_object(found: &DynamicObject) -> State {
    let missing = reason(found, READY) == Some(Reason::MaterialMissing.as_str());
    match () {
        () if missing => State::Missing,
        () if is(found, STALLED) => State::Stalled,
        () if is(found, READY) => State::Ready,
        () => State::Waiting,
    }
}

fn of_proxy(found: &DynamicObject) -> State {
    match text(found, "/status/phase") {
        Some("Recovering") => State::Recovering,
        Some(_) => State::Destroying,
        None if is(found, PURGE_HELD) => State::Held,
        None if is(found, PURGE_ANNOUNCED) => State::Announced,
        None => State::Retained,
    }
}

fn of_request(found: &DynamicObject) -> Option<State> {
    if is(found, api::conditions::COMPLETE) || is(found, api::conditions::FAILED) {
        return None;
    }
    let stalled = is(found, STALLED);
    Some(if stalled {
        State::Stalled
    } else {
        State::Waiting
    })
}

/// What is not said of something deleted counts as protected.
fn is_protected(of: Watched, found: &DynamicObject) -> bool {
    let said = |path| {
        found
            .data
            .pointer(path)
            .and_then(serde_json::Value::as_bool)
    };
    match of {
        Watched::Proxy(_) => said("/status/purgeProtection")
            .or_else(|| said("/spec/purgeProtection"))
            .unwrap_or(true),
        _ => said("/spec/purgeProtection").unwrap_or(false),
    }
}

fn is(found: &DynamicObject, condition: &str) -> bool {
    field(found, condition, "status") == Some("True")
}

fn reason<'a>(found: &'a DynamicObject, condition: &str) -> Option<&'a str> {
    field(found, condition, "reason")
}

fn field<'a>(found: &'a DynamicObject, condition: &str, field: &str) -> Option<&'a str> {
    let all = found.data.pointer("/status/conditions")?.as_array()?;
    let one = all.iter().find(|one| one["type"] == condition)?;
    one[field].as_str()
}

fn text<'a>(found: &'a DynamicObject, path: &str) -> Option<&'a str> {
    found.data.pointer(path).and_then(|value| value.as_str())
}

/// Counts again and again.
pub async fn keep(context: &Context) {
    loop {
        let marks = Watched::ALL.map(|of| context.cluster.marks(of)).concat();
        context.metrics.counted(&counted(&marks));
        context.metrics.backends_away(away(context).await);
        tokio::time::sleep(EVERY).await;
    }
}

fn counted(marks: &[Mark]) -> Counted {
    let mut of: BTreeMap<Place, usize> = BTreeMap::new();
    let mut next: BTreeMap<bool, DateTime<Utc>> = BTreeMap::new();
    for mark in marks {
        *of.entry(mark.place).or_default() += 1;
        if let Some(purge) = mark.purge {
            let first = next.entry(mark.place.protected).or_insert(purge);
            *first = purge.min(*first);
        }
    }
    Counted { of, next }
}

/// How many backends' records cannot be read.
async fn away(context: &Context) -> usize {
    let mut away = 0;
    for (name, module) in &context.backends {
        let nobodys = "0".repeat(32);
        let answer = context
            .pool
            .run(Arc::clone(module), move |module| module.read(&nobodys))
            .await;
        if context.loading.why(name).is_some() || answer.is_err() {
            away += 1;
        }
    }
    away
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::softdelete::Kind;

    fn marked(of: Watched, object: serde_json::Value) -> Option<Mark> {
        mark(of, &serde_json::from_value(object).expect("an object"))
    }

    fn state(of: Watched, status: serde_json::Value) -> Option<State> {
        let object = json!({"metadata": {"name": "a.b"}, "spec": {}, "status": status});
        marked(of, object).map(|mark| mark.place.state)
    }

    fn conditions(all: &[(&str, &str, &str)]) -> serde_json::Value {
        let all = all.iter();
        let each = all.map(
            |(kind, status, reason)| json!({"type": kind, "status": status, "reason": reason}),
        );
        json!(each.collect::<Vec<_>>())
    }

    #[test]
    fn each_object_is_in_one_state() {
        let key = Watched::Object(Kind::Key);
        let of = |all: &[(&str, &str, &str)]| state(key, json!({"conditions": conditions(all)}));
        assert_eq!(of(&[("Ready", "True", "Ready")]), Some(State::Ready));
        assert_eq!(state(key, json!({})), Some(State::Waiting));
        let stalled = ("Stalled", "True", "NameTaken");
        assert_eq!(
            of(&[("Ready", "False", "NameTaken"), stalled]),
            Some(State::Stalled)
        );
        let missing = [
            ("Stalled", "True", "MaterialMissing"),
            ("Ready", "False", "MaterialMissing"),
        ];
        assert_eq!(of(&missing), Some(State::Missing));
    }

    #[test]
    fn each_proxy_is_in_one_state() {
        let proxy = Watched::Proxy(Kind::Hsm);
        let of = |all: &[(&str, &str, &str)]| state(proxy, json!({"conditions": conditions(all)}));
        assert_eq!(of(&[]), Some(State::Retained));
        assert_eq!(
            of(&[("PurgeAnnounced", "True", "")]),
            Some(State::Announced)
        );
        assert_eq!(
            of(&[("PurgeAnnounced", "True", ""), ("PurgeHeld", "True", "")]),
            Some(State::Held)
        );
        assert_eq!(
            state(proxy, json!({"phase": "Recovering"})),
            Some(State::Recovering)
        );
        assert_eq!(
            state(proxy, json!({"phase": "Destroying"})),
            Some(State::Destroying)
        );
    }

    #[test]
    fn a_request_counts_until_it_is_finished() {
        let of = |all: &[(&str, &str, &str)]| {
            state(Watched::Purge, json!({"conditions": conditions(all)}))
        };
        assert_eq!(of(&[("Accepted", "True", "")]), Some(State::Waiting));
        assert_eq!(of(&[("Stalled", "True", "")]), Some(State::Stalled));
        assert_eq!(of(&[("Complete", "True", "")]), None);
        assert_eq!(of(&[("Failed", "True", "")]), None);
    }

    #[test]
    fn the_next_purge_is_the_earliest_that_nothing_holds_and_unsaid_is_protected() {
        let proxy = |spec: serde_json::Value, status: serde_json::Value| {
            let object = json!({"metadata": {"name": "a.b"}, "spec": spec, "status": status});
            marked(Watched::Proxy(Kind::Key), object).expect("counted")
        };
        let marks = [
            proxy(
                json!({"purgeProtection": false, "scheduledPurgeTime": "2026-03-02T00:00:00Z"}),
                json!({"purgeTime": "2026-03-05T00:00:00Z"}),
            ),
            proxy(
                json!({"purgeProtection": false, "scheduledPurgeTime": "2026-03-04T00:00:00Z"}),
                json!({}),
            ),
            proxy(
                json!({"purgeProtection": false, "scheduledPurgeTime": "2026-03-01T00:00:00Z"}),
                json!({"conditions": conditions(&[("PurgeHeld", "True", "")])}),
            ),
            proxy(
                json!({"scheduledPurgeTime": "2026-03-03T00:00:00Z"}),
                json!({}),
            ),
        ];
        let counted = counted(&marks);
        let next = |protected| counted.next.get(&protected).map(|at| at.to_rfc3339());
        assert_eq!(next(false).as_deref(), Some("2026-03-04T00:00:00+00:00"));
        assert_eq!(next(true).as_deref(), Some("2026-03-03T00:00:00+00:00"));
        assert_eq!(counted.of.values().sum::<usize>(), 4);
    }
}
