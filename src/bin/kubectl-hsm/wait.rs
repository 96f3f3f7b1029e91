//! Waits for the end of what was asked, and tells each step that the operator shows.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::Api;
use kube::{Resource, ResourceExt as _};
use managed_hsm_operator::api::conditions::{self, COMPLETE, FAILED, READY, STALLED};
use managed_hsm_operator::api::{Condition, Purge, Recover};
use managed_hsm_operator::softdelete::Reason;
use serde::de::DeserializeOwned;

use crate::cluster::Cluster;
use crate::ending::{Exit, Failure};
use crate::output::tell;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What somebody asked the operator for.
pub trait Request: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned {
    fn conditions(&self) -> &[Condition];

    fn finished(&self) -> bool {
        [COMPLETE, FAILED]
            .iter()
            .any(|end| conditions::is_true(self.conditions(), end))
    }
}

impl Request for Recover {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

impl Request for Purge {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

/// How far a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    Complete,
    Failed(String),
    /// The reason's code, and the sentence.
    Stalled(String, String),
    /// What it waits for, if that was said.
    Going(String),
}

fn stand(conditions: &[Condition]) -> Stand {
    let ready = conditions::get(conditions, READY);
    let message = ready.map(|ready| ready.message.clone()).unwrap_or_default();
    let is = |kind| conditions::is_true(conditions, kind);
    if is(COMPLETE) {
        Stand::Complete
    } else if is(FAILED) {
        Stand::Failed(message)
    } else if is(STALLED) {
        let code = ready.map(|ready| ready.reason.clone()).unwrap_or_default();
        Stand::Stalled(code, message)
    } else {
        Stand::Going(message)
    }
}

/// Until when is waited.
pub struct Patience {
    deadline: Duration,
    timeout: Duration,
}

impl Patience {
    pub fn new(cluster: &Cluster, timeout: Duration) -> Self {
        let deadline = cluster.clock.monotonic().saturating_add(timeout);
        Self { deadline, timeout }
    }
}

/// Follows a request to its end, and answers it as it is then. `said` is what it is about.
pub async fn follow<K: Request>(
    cluster: &Cluster,
    api: &Api<K>,
    mut request: K,
    said: &str,
    patience: &Patience,
) -> Result<K, Failure> {
    let name = request.name_any();
    let mut told = String::new();
    loop {
        match stand(request.conditions()) {
            Stand::Complete => return Ok(request),
            Stand::Failed(why) => return Err(Failure::new(Exit::Refused, why)),
            Stand::Stalled(code, why) => return Err(stalled(&code, &why, &K::kind(&()), &name)),
            Stand::Going(now) if !now.is_empty() && now != told => {
                tell(&format!("... {said}: {now}"));
                told = now;
            }
            Stand::Going(_) => {}
        }
        if cluster.clock.monotonic() >= patience.deadline {
            return Err(late(said, &told, patience.timeout, &K::kind(&()), &name));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        request = api
            .get(&name)
            .await
            .map_err(|error| lost(error, said, &K::kind(&()), &name))?;
    }
}

/// It waits for somebody's act, and goes on by itself after that.
fn stalled(code: &str, why: &str, kind: &str, name: &str) -> Failure {
    let exit = if code == Reason::QuorumNotReached.as_str() {
        Exit::NotEnded
    } else {
        Exit::Refused
    };
    Failure::new(
        exit,
        format!("{why} The {kind} {name} stands and waits for it; delete it to withdraw it."),
    )
}

fn late(said: &str, told: &str, timeout: Duration, kind: &str, name: &str) -> Failure {
    let why = if told.is_empty() {
        "the operator has said nothing about it (see kubectl hsm status)".to_owned()
    } else {
        format!("its last word: {told}")
    };
    Failure::new(
        Exit::NotEnded,
        format!(
            "{said} has not ended within {timeout:?}; {why} The {kind} {name} stands and goes on by itself; follow it with kubectl hsm explain {}/{name}.",
            kind.to_lowercase()
        ),
    )
}

fn lost(error: kube::Error, said: &str, kind: &str, name: &str) -> Failure {
    match Failure::from(error) {
        failure if failure.exit == Exit::NotFound => Failure::missing(format!(
            "{said}: the {kind} {name} was deleted meanwhile, so it may have been withdrawn; see kubectl hsm list-deleted, and ask again."
        )),
        failure => failure.or(&format!(
            "The {kind} {name} stands, and goes on without you."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use managed_hsm_operator::api::{ConditionState, ConditionStatus, Time};

    fn shown(all: &[(&str, ConditionStatus, &str)]) -> Stand {
        let mut conditions = Vec::new();
        let now: Time = chrono::DateTime::UNIX_EPOCH.into();
        for (kind, status, reason) in all {
            conditions::set(
                &mut conditions,
                ConditionState::new(kind, *status, *reason, "Why; way out.", None),
                now,
            );
        }
        stand(&conditions)
    }

    #[test]
    fn a_requests_end_is_read_off_its_conditions() {
        use ConditionStatus::{False, True};
        let why = || "Why; way out.".to_owned();
        assert_eq!(shown(&[]), Stand::Going(String::new()));
        assert_eq!(shown(&[(READY, False, "Progressing")]), Stand::Going(why()));
        let stalled = Stand::Stalled("CreateRefused".into(), why());
        assert_eq!(
            shown(&[
                (READY, False, "CreateRefused"),
                (STALLED, True, "CreateRefused")
            ]),
            stalled
        );
        // What has failed is stalled as well.
        let failed = [
            (READY, False, "X"),
            (STALLED, True, "X"),
            (FAILED, True, "X"),
        ];
        assert_eq!(shown(&failed), Stand::Failed(why()));
        assert_eq!(
            shown(&[(READY, True, "Complete"), (COMPLETE, True, "Complete")]),
            Stand::Complete
        );
    }

    #[test]
    fn who_waits_for_other_people_has_not_failed() {
        assert_eq!(
            stalled("QuorumNotReached", "a.", "Purge", "p").exit,
            Exit::NotEnded
        );
        assert_eq!(
            stalled("CreateRefused", "a.", "Recover", "r").exit,
            Exit::Refused
        );
    }
}
