//! What each resource shows, by kstatus' rules. A status is written only where it differs.

mod of_object;
mod of_proxy;
mod of_purge;
mod of_recover;

pub use of_object::*;
pub use of_proxy::*;
pub use of_purge::*;
pub use of_recover::*;

use crate::api::conditions::{
    self, COMPLETE, FAILED, READY, RECONCILING, SNAPSHOT_INCOMPLETE, STALLED, WEAK_SEAL,
};
use crate::api::{self, Condition, ConditionState, ConditionStatus, ProxyStatus, RecoverStatus};
use crate::plan::hold;
use crate::plan::lost;
use crate::plan::observed::{
    Body, Held, KeyOfHsm, Material, NearProxy, Object, Observed, Proxy, ProxySpec, Purge, Recover,
};
use crate::plan::purge::{self, Asked};
use crate::plan::recover::Outcome;
use crate::plan::step::{At, Effect, Hold, Step, Tell, Whom, Why};
use crate::plan::translate;
use crate::softdelete::arbiter::{ReadsAs, reads_as};
use crate::softdelete::level::{LevelFacts, RecoveryLevel, recovery_level};
use crate::softdelete::protection::{ProtectionLook, may_protect, protector};
use crate::softdelete::purge::PurgeVerdict;
use crate::softdelete::record::Version;
use crate::softdelete::recover::stands_still;
use crate::softdelete::retention::{self, HsmFate, PurgeDate};
use crate::softdelete::{Reason, Record, RecordState, Refusal, Subject, Uid};

/// What a resource is told about itself.
struct Word {
    ready: ConditionStatus,
    reason: String,
    message: String,
    reconciling: bool,
    stalled: bool,
}

impl Word {
    fn ready(message: &str) -> Self {
        Self {
            ready: ConditionStatus::True,
            reason: "Ready".into(),
            message: message.into(),
            reconciling: false,
            stalled: false,
        }
    }

    fn progressing(message: &str) -> Self {
        Self {
            ready: ConditionStatus::Unknown,
            reason: "Progressing".into(),
            message: message.into(),
            reconciling: true,
            stalled: false,
        }
    }

    fn held(hold: &Hold) -> Self {
        match &hold.why {
            Why::Progress(sentence) => Self {
                ready: ConditionStatus::False,
                reason: "Progressing".into(),
                message: sentence.clone(),
                reconciling: true,
                stalled: false,
            },
            Why::Refused(refusal) => Self {
                ready: ConditionStatus::False,
                reason: refusal.reason().as_str().into(),
                message: refusal.to_string(),
                reconciling: !refusal.stalls(),
                stalled: refusal.stalls(),
            },
        }
    }

    fn on(&self, conditions: &mut Vec<Condition>, generation: i64, o: &Observed) {
        let now = api::Time::from(o.now);
        let state = |kind: &str, status, reason: &str, message: &str| {
            ConditionState::new(kind, status, reason, message, Some(generation))
        };
        conditions::set(
            conditions,
            state(READY, self.ready, &self.reason, &self.message),
            now,
        );
        for (kind, on) in [(RECONCILING, self.reconciling), (STALLED, self.stalled)] {
            if on {
                conditions::set(
                    conditions,
                    state(kind, ConditionStatus::True, &self.reason, &self.message),
                    now,
                );
            } else {
                conditions::remove(conditions, kind);
            }
        }
    }
}

/// A hold that is new is told once, as an Event (SD-35).
fn told(word: &Word, before: &[Condition], whom: Whom) -> Vec<Tell> {
    let same = conditions::get(before, READY).is_some_and(|ready| ready.reason == word.reason);
    if same || word.ready != ConditionStatus::False || word.reason == "Progressing" {
        return Vec::new();
    }
    vec![Tell {
        whom,
        warning: true,
        reason: reason_of(word),
        note: word.message.clone(),
    }]
}

fn reason_of(word: &Word) -> &'static str {
    crate::softdelete::Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .find(|code| *code == word.reason)
        .unwrap_or("Held")
}

fn finally(
    conditions: &mut Vec<Condition>,
    kind: &str,
    word: &Word,
    generation: i64,
    o: &Observed,
) {
    let state = ConditionState::new(
        kind,
        ConditionStatus::True,
        word.reason.clone(),
        word.message.clone(),
        Some(generation),
    );
    conditions::set(conditions, state, o.now.into());
}
