//! `explain`: the operator's own sentence, the rule behind it, and where to read on.

use std::fmt::Debug;

use kube::api::Api;
use kube::{Resource, ResourceExt as _};
use managed_hsm_operator::api::conditions::{self, READY, RECONCILING, STALLED};
use managed_hsm_operator::api::{
    Condition, ConditionStatus, GROUP, HsmKey, ManagedHsm, Purge, Recover,
};
use managed_hsm_operator::softdelete::{Kind, Reason};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::args::NamedArgs;
use crate::cluster::Cluster;
use crate::deleted::Deleted;
use crate::ending::{Exit, Failure};
use crate::list::level;
use crate::output::{self, Printed};
use crate::target::{Sort, Target, find, kinds, short, which};

/// Something that is in a state.
struct Subject {
    /// As kubectl names it.
    resource: String,
    said: String,
    conditions: Vec<Condition>,
    /// What the conditions do not say.
    more: Vec<String>,
    /// None of a request.
    kind: Option<Kind>,
}

pub async fn run(cluster: &Cluster, args: &NamedArgs) -> Result<(), Failure> {
    let target = Target::of(cluster, &args.name)?;
    let subjects = match target.sort {
        Some(Sort::Recover) => vec![request::<Recover>(cluster, &target).await?],
        Some(Sort::Purge) => vec![request::<Purge>(cluster, &target).await?],
        _ => objects(cluster, &target).await?,
    };
    printed(&subjects).print(args.output.output)
}

/// The live one and the deleted one of that name.
async fn objects(cluster: &Cluster, target: &Target) -> Result<Vec<Subject>, Failure> {
    let (mut found, mut refused, mut missing) = (Vec::new(), None, None);
    let mut take = |looked: Result<Option<Subject>, Failure>| match looked {
        Ok(subject) => {
            found.extend(subject);
            Ok(())
        }
        Err(failure) if failure.exit == Exit::NotPermitted => {
            refused = Some(failure);
            Ok(())
        }
        Err(failure) if failure.exit == Exit::NotFound => {
            missing = Some(failure);
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    if !matches!(target.sort, Some(Sort::Proxy(_))) {
        for kind in kinds(target.kind()?) {
            take(live(cluster, kind, target).await)?;
        }
    }
    take(
        find(cluster, target)
            .await
            .map(|deleted| Some(of_deleted(&deleted))),
    )?;
    let kind = found.first().and_then(|subject| subject.kind);
    if found.iter().any(|subject| subject.kind != kind) {
        return Err(which(target));
    }
    if found.is_empty() {
        let missing = missing.map(|failure| neither(target, &failure));
        let nothing = || Failure::missing(format!("There is no {} to explain.", target.name));
        return Err(refused.or(missing).unwrap_or_else(nothing));
    }
    Ok(found)
}

fn neither(target: &Target, not_deleted: &Failure) -> Failure {
    let Target {
        namespace, name, ..
    } = target;
    Failure::missing(format!(
        "There is no HSM or key {name} in the namespace {namespace}. {}",
        not_deleted.sentence
    ))
}

async fn live(cluster: &Cluster, kind: Kind, target: &Target) -> Result<Option<Subject>, Failure> {
    match kind {
        Kind::Hsm => {
            let found = get::<ManagedHsm>(cluster, target).await?;
            Ok(found.map(|hsm| of_live(kind, target, hsm.status.unwrap_or_default().conditions)))
        }
        Kind::Key => {
            let found = get::<HsmKey>(cluster, target).await?;
            Ok(found.map(|key| of_key(target, key)))
        }
    }
}

async fn get<K>(cluster: &Cluster, target: &Target) -> Result<Option<K>, Failure>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let api: Api<K> = Api::namespaced(cluster.client.clone(), &target.namespace);
    Ok(api.get_opt(&target.name).await?)
}

fn of_live(kind: Kind, target: &Target, conditions: Vec<Condition>) -> Subject {
    let object = kind.object();
    Subject {
        resource: format!("{}.{GROUP}/{}", object.to_lowercase(), target.name),
        said: format!("{object} {}/{}", target.namespace, target.name),
        conditions,
        more: Vec::new(),
        kind: Some(kind),
    }
}

/// A key of a deleted HSM comes back with that.
fn of_key(target: &Target, key: HsmKey) -> Subject {
    let conditions = key.status.unwrap_or_default().conditions;
    let ready = conditions::get(&conditions, READY);
    let with_its_hsm = ready.is_some_and(|ready| ready.reason == Reason::HsmDeleted.as_str());
    let hsm = Target {
        name: key.spec.hsm,
        ..target.clone()
    };
    let more = with_its_hsm.then(|| back(Kind::Hsm, &hsm.namespace, &hsm.name));
    Subject {
        more: more.into_iter().collect(),
        ..of_live(Kind::Key, target, conditions)
    }
}

fn back(kind: Kind, namespace: &str, name: &str) -> String {
    format!(
        "back with kubectl hsm recover {}/{name} -n {namespace}",
        short(kind)
    )
}

fn of_deleted(deleted: &Deleted) -> Subject {
    let until = deleted.purge_time.map_or_else(
        || "without a date".to_owned(),
        |time| format!("until {time}"),
    );
    Subject {
        resource: deleted.resource(),
        said: format!(
            "{} {}, {}",
            deleted.kind.proxy(),
            deleted.name,
            deleted.state()
        ),
        conditions: deleted.status.conditions.clone(),
        more: vec![
            format!("kept {until}, {}", level(deleted)),
            back(
                deleted.kind,
                &deleted.origin.namespace,
                &deleted.origin.name,
            ),
        ],
        kind: Some(deleted.kind),
    }
}

/// A Recover is of a namespace, a Purge of none.
async fn request<K>(cluster: &Cluster, target: &Target) -> Result<Subject, Failure>
where
    K: crate::wait::Request + Serialize,
{
    let url = match K::kind(&()).as_ref() {
        "Recover" => K::url_path(&(), Some(&target.namespace)),
        _ => K::url_path(&(), None),
    };
    let get = http::Request::get(format!("{url}/{}", target.name)).body(Vec::new());
    let get = get.map_err(|_| Failure::usage(format!("{:?} is no name.", target.name)))?;
    let found: K = cluster.client.request(get).await?;
    let kind = K::kind(&());
    Ok(Subject {
        resource: format!("{}.{GROUP}/{}", kind.to_lowercase(), found.name_any()),
        said: format!("{kind} {}", found.name_any()),
        conditions: found.conditions().to_vec(),
        more: Vec::new(),
        kind: None,
    })
}

/// Ready first, then what else is true; what kstatus repeats is left out.
fn told(all: &[Condition]) -> Vec<&Condition> {
    let rest = all.iter().filter(|one| {
        ![READY, RECONCILING, STALLED].contains(&one.type_.as_str())
            && one.status == ConditionStatus::True
    });
    conditions::get(all, READY)
        .into_iter()
        .chain(rest)
        .collect()
}

fn rule(condition: &Condition) -> Option<Reason> {
    Reason::ALL
        .iter()
        .copied()
        .find(|reason| reason.as_str() == condition.reason)
}

fn page(reason: Reason) -> String {
    format!("docs/troubleshooting.md#{}", reason.as_str().to_lowercase())
}

/// Who has to do something, as kstatus says it.
fn turn(all: &[Condition]) -> Option<&'static str> {
    if conditions::is_true(all, conditions::COMPLETE) {
        None
    } else if conditions::is_true(all, conditions::FAILED) {
        Some("it has failed for good: ask anew if it is still wanted")
    } else if conditions::is_true(all, STALLED) {
        Some("it takes somebody's act, or another object's end, to get further")
    } else if conditions::is_true(all, RECONCILING) {
        Some("it goes on by itself")
    } else {
        None
    }
}

fn text(subject: &Subject) -> String {
    let mut lines = vec![subject.said.clone()];
    for condition in told(&subject.conditions) {
        let Condition {
            type_,
            reason,
            message,
            last_transition_time: since,
            ..
        } = condition;
        let status = format!("{:?}", condition.status);
        lines.push(format!("  {type_}={status} ({reason}) since {since}"));
        lines.extend((!message.is_empty()).then(|| format!("    {message}")));
        if let Some(reason) = rule(condition) {
            lines.push(format!("    {}", reason.background()));
            lines.push(format!("    See {}", page(reason)));
        }
    }
    if subject.conditions.is_empty() {
        lines.push("  The operator has said nothing about it yet; see whether it works with kubectl hsm status.".to_owned());
    }
    let more = turn(&subject.conditions)
        .map(str::to_owned)
        .into_iter()
        .chain(subject.more.clone());
    lines.extend(more.map(|line| format!("  {line}")));
    lines.join("\n") + "\n"
}

fn value(subject: &Subject) -> Value {
    let conditions = told(&subject.conditions).into_iter().map(|condition| {
        json!({
            "type": condition.type_, "status": condition.status, "reason": condition.reason, "message": condition.message,
            "background": rule(condition).map(Reason::background), "page": rule(condition).map(page),
        })
    });
    json!({
        "name": subject.resource, "conditions": conditions.collect::<Vec<_>>(), "turn": turn(&subject.conditions),
    })
}

fn printed(subjects: &[Subject]) -> Printed {
    let text = subjects.iter().map(text).collect::<Vec<_>>().join("\n");
    Printed {
        wide: text.clone(),
        table: text,
        names: subjects
            .iter()
            .map(|subject| subject.resource.clone())
            .collect(),
        value: output::list(subjects.iter().map(value).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use managed_hsm_operator::api::{ConditionState, Time};

    fn subject(all: &[(&str, ConditionStatus, &str, &str)]) -> Subject {
        let mut conditions = Vec::new();
        let now: Time = chrono::DateTime::UNIX_EPOCH.into();
        for (kind, status, reason, message) in all {
            conditions::set(
                &mut conditions,
                ConditionState::new(kind, *status, *reason, *message, None),
                now,
            );
        }
        Subject {
            resource: "hsmkey.managedhsm.dev/a".into(),
            said: "HsmKey demo/a".into(),
            conditions,
            more: Vec::new(),
            kind: Some(Kind::Key),
        }
    }

    #[test]
    fn sd34_the_sentence_the_rule_and_the_page_are_shown_for_each_reason() {
        use ConditionStatus::{False, True};
        for reason in Reason::ALL {
            let subject = subject(&[
                (READY, False, reason.as_str(), "Cause; way out."),
                (STALLED, True, reason.as_str(), "Cause; way out."),
            ]);
            let text = text(&subject);
            for words in [
                "Cause; way out.",
                reason.background(),
                &page(*reason),
                "somebody's act",
            ] {
                assert!(text.contains(words), "{text}");
            }
            assert_eq!(text.matches("Cause; way out.").count(), 1, "{text}");
        }
    }

    #[test]
    fn what_the_operator_has_not_seen_is_said_so() {
        assert!(text(&subject(&[])).contains("kubectl hsm status"));
    }

    #[test]
    fn what_is_ready_needs_no_rule() {
        let text = text(&subject(&[(READY, ConditionStatus::True, "Ready", "")]));
        assert_eq!(
            text,
            "HsmKey demo/a\n  Ready=True (Ready) since 1970-01-01T00:00:00Z\n"
        );
    }
}
