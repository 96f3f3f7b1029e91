//! Conditions of our own (k8s-openapi's are neither Eq nor Hash), and the one way to set them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::time::Time;

/// Whether the object is what its spec asks for; of a Recover or Purge: whether it is done.
pub const READY: &str = "Ready";
/// kstatus: the operator is at work on it, or waits for something that comes by itself.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: it takes somebody's act, or another object's end, to get further.
pub const STALLED: &str = "Stalled";
/// Recover and Purge: done, finally.
pub const COMPLETE: &str = "Complete";
/// Recover and Purge: it never will be done, finally.
pub const FAILED: &str = "Failed";
/// Purge: seen while the policies stood that make `requestedBy` true.
pub const ACCEPTED: &str = "Accepted";
/// Purge: it counts towards a purge that is under way, and can be withdrawn no more.
pub const EXECUTING: &str = "Executing";
/// Proxies: the scheduled purge was announced (SD-10).
pub const PURGE_ANNOUNCED: &str = "PurgeAnnounced";
/// Proxies: the snapshot holds the fixed fields and switches only (SD-06).
pub const SNAPSHOT_INCOMPLETE: &str = "SnapshotIncomplete";
/// Proxies: something holds the purge; the message names it.
pub const PURGE_HELD: &str = "PurgeHeld";

/// ManagedHsm and HsmKey: while it is deleted nothing but the operator refuses its use.
pub const WEAK_SEAL: &str = "WeakSeal";

/// How long a message may be; `set` cuts what is longer, so that no status write is refused for it.
pub const MAX_MESSAGE: usize = 4096;
const MAX_CONDITIONS: u32 = 64;

/// What a condition says of its type.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// One aspect of the object's state, as metav1.Condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect, in CamelCase; unique in the list.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// The generation of the object that this was said about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status last changed from one value to another.
    pub last_transition_time: Time,
    /// Why, as one code in CamelCase.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Why, as a sentence for people that names the cause and the way out; may be empty.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// A condition as somebody wants it, before it has a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConditionState {
    pub type_: String,
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
    pub observed_generation: Option<i64>,
}

impl ConditionState {
    /// A condition with its sentence, said about `generation`.
    pub fn new(
        type_: &str,
        status: ConditionStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
        generation: Option<i64>,
    ) -> Self {
        Self {
            type_: type_.to_owned(),
            status,
            reason: reason.into(),
            message: message.into(),
            observed_generation: generation,
        }
    }
}

/// The condition of that type, if there is one.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of that type is there and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// Puts `wanted` in its place, or at the end if its type is new. Every other condition stays as it is and where it is,
/// and `last_transition_time` moves to `now` only if the status changes.
pub fn set(conditions: &mut Vec<Condition>, wanted: ConditionState, now: Time) {
    let place = conditions
        .iter()
        .position(|condition| condition.type_ == wanted.type_);
    let unchanged = place
        .map(|index| &conditions[index])
        .filter(|old| old.status == wanted.status)
        .map(|old| old.last_transition_time);
    let new = Condition {
        type_: wanted.type_,
        status: wanted.status,
        observed_generation: wanted.observed_generation,
        last_transition_time: unchanged.unwrap_or(now),
        reason: wanted.reason,
        message: shortened(wanted.message),
    };
    match place {
        Some(index) => conditions[index] = new,
        None => conditions.push(new),
    }
}

/// Takes the condition of that type out, if it is there.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

fn shortened(mut message: String) -> String {
    if message.chars().count() > MAX_MESSAGE {
        message = message.chars().take(MAX_MESSAGE - 1).chain(['…']).collect();
    }
    message
}

/// The schema of a status's `conditions`: a list-map by type.
pub fn list_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": generator.subschema_for::<Condition>(),
        "maxItems": MAX_CONDITIONS,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn at(seconds: i64) -> Time {
        DateTime::from_timestamp(seconds, 0)
            .expect("in range")
            .into()
    }

    fn ready(status: ConditionStatus, reason: &str) -> ConditionState {
        ConditionState::new(READY, status, reason, "", Some(1))
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_changes() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            ready(ConditionStatus::False, "HsmNotFound"),
            at(1),
        );
        set(
            &mut conditions,
            ready(ConditionStatus::False, "HsmDeleted"),
            at(2),
        );
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert_eq!(conditions[0].reason, "HsmDeleted");
        set(
            &mut conditions,
            ready(ConditionStatus::True, "Active"),
            at(3),
        );
        assert_eq!(conditions[0].last_transition_time, at(3));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn foreign_conditions_are_kept_and_the_order_is_stable() {
        let foreign = Condition {
            type_: "audit.example/Seen".into(),
            status: ConditionStatus::True,
            observed_generation: None,
            last_transition_time: at(0),
            reason: "Seen".into(),
            message: "as it was".into(),
        };
        let mut conditions = vec![foreign.clone()];
        set(
            &mut conditions,
            ready(ConditionStatus::Unknown, "Progressing"),
            at(1),
        );
        set(
            &mut conditions,
            ConditionState::new(STALLED, ConditionStatus::True, "NameTaken", "", None),
            at(2),
        );
        set(
            &mut conditions,
            ready(ConditionStatus::True, "Active"),
            at(3),
        );
        let types: Vec<_> = conditions
            .iter()
            .map(|condition| condition.type_.as_str())
            .collect();
        assert_eq!(types, ["audit.example/Seen", READY, STALLED]);
        assert_eq!(conditions[0], foreign);
    }

    #[test]
    fn setting_the_same_again_changes_nothing() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            ready(ConditionStatus::True, "Active"),
            at(1),
        );
        let before = conditions.clone();
        set(
            &mut conditions,
            ready(ConditionStatus::True, "Active"),
            at(9),
        );
        assert_eq!(conditions, before);
    }

    #[test]
    fn a_message_beyond_the_bound_is_cut_between_characters() {
        let mut conditions = Vec::new();
        let long = "ä".repeat(MAX_MESSAGE + 1);
        set(
            &mut conditions,
            ConditionState::new(READY, ConditionStatus::False, "X", long, None),
            at(1),
        );
        assert_eq!(conditions[0].message.chars().count(), MAX_MESSAGE);
        assert!(conditions[0].message.ends_with("ä…"));
    }

    #[test]
    fn a_removed_condition_is_gone_and_the_others_stay() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            ready(ConditionStatus::True, "Active"),
            at(1),
        );
        set(
            &mut conditions,
            ConditionState::new(STALLED, ConditionStatus::True, "NameTaken", "", None),
            at(1),
        );
        remove(&mut conditions, STALLED);
        assert_eq!(get(&conditions, STALLED), None);
        assert!(is_true(&conditions, READY));
    }
}
