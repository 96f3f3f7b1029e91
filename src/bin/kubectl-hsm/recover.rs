//! `recover`: writes the Recover, shows first what comes back, and waits for it.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, PostParams};
use managed_hsm_operator::api::{IncludeKeys, ObjectKind, Outcome, Phase, Recover, RecoverSpec};
use managed_hsm_operator::softdelete::{Kind, Refusal};
use serde_json::Value;

use crate::args::{DryRun, Format, RecoverArgs};
use crate::cluster::{Cluster, seen};
use crate::contents::{self, Contents};
use crate::deleted::{Deleted, object_kind};
use crate::ending::{Exit, Failure};
use crate::list::WITHOUT_LIST;
use crate::output::{self, Printed, tell};
use crate::table::table;
use crate::target::{Target, find};
use crate::wait::{Patience, Request as _, follow};

/// How much of the uid is in the Recover's name: the same each time, for a manifest in Git.
const OF_UID: usize = 8;

/// One recovery before it is asked for.
struct Planned {
    recover: Recover,
    /// What it is about, as a person would say it.
    said: String,
    /// What comes back and what does not, a line each.
    shown: Vec<String>,
}

pub async fn run(cluster: &Cluster, args: &RecoverArgs) -> Result<(), Failure> {
    let planned = match &args.name {
        Some(name) => vec![named(cluster, args, &Target::of(cluster, name)?).await?],
        None => everything(cluster, args).await?,
    };
    if planned.is_empty() {
        tell(&format!(
            "Nothing is deleted in the namespace {}.",
            cluster.namespace
        ));
        return Ok(());
    }
    planned
        .iter()
        .flat_map(|one| &one.shown)
        .for_each(|line| tell(line));
    match args.dry_run {
        DryRun::Client => {
            let asked: Vec<_> = planned.into_iter().map(|one| one.recover).collect();
            return manifests(&asked, args.output.output);
        }
        DryRun::Server | DryRun::None => {}
    }
    let mut asked = Vec::new();
    let mut worst = None;
    for one in &planned {
        match ask(cluster, one, args.dry_run == DryRun::Server).await {
            Ok(recover) => asked.push((recover, one)),
            Err(failure) => note(&mut worst, one, failure, planned.len()),
        }
    }
    if args.dry_run == DryRun::Server || !args.wait.wait {
        let asked: Vec<_> = asked.into_iter().map(|(recover, _)| recover).collect();
        let word = if args.wait.wait {
            "would be asked for (server dry run)"
        } else {
            "asked for"
        };
        printed(&asked, &names(&asked, word)).print(args.output.output)?;
        return worst.map_or(Ok(()), Err);
    }
    let patience = Patience::new(cluster, args.wait.timeout);
    let mut ended = Vec::new();
    for (recover, one) in asked {
        let api = recovers(cluster, &recover);
        match follow(cluster, &api, recover, &one.said, &patience).await {
            Ok(recover) => ended.push(recover),
            Err(failure) => note(&mut worst, one, failure, planned.len()),
        }
    }
    printed(&ended, &outcomes(&ended)).print(args.output.output)?;
    let kept = ended.iter().any(retained_some);
    worst.map_or_else(|| if kept { Err(some_stayed()) } else { Ok(()) }, Err)
}

/// Of several, each failure is told, and the first decides the exit code.
fn note(worst: &mut Option<Failure>, of: &Planned, failure: Failure, of_how_many: usize) {
    if of_how_many > 1 {
        tell(&format!("{}: {}", of.said, failure.sentence));
    }
    let failure = if of_how_many > 1 {
        Failure::new(
            failure.exit,
            "Not all of it came back; what did not is named above.",
        )
    } else {
        failure
    };
    worst.get_or_insert(failure);
}

fn some_stayed() -> Failure {
    Failure::new(
        Exit::Refused,
        "Some keys stay deleted, each for the reason beside it; mend that, and recover them by name.",
    )
}

fn retained_some(recover: &Recover) -> bool {
    let status = recover.status.as_ref();
    status.is_some_and(|status| {
        status
            .recovered
            .iter()
            .any(|one| one.outcome == Outcome::Retained)
    })
}

fn recovers(cluster: &Cluster, recover: &Recover) -> Api<Recover> {
    let namespace = recover.namespace().unwrap_or_default();
    Api::namespaced(cluster.client.clone(), &namespace)
}

async fn named(cluster: &Cluster, args: &RecoverArgs, target: &Target) -> Result<Planned, Failure> {
    let deleted = match (find(cluster, target).await, &args.uid) {
        (Ok(deleted), None) => deleted,
        (Ok(deleted), Some(uid)) if deleted.origin.uid == *uid => deleted,
        (Ok(deleted), Some(uid)) => {
            return Err(Refusal::UidMismatch {
                proxy: deleted.name.clone(),
                asked: uid.as_str().into(),
                found: deleted.origin.uid.as_str().into(),
            }
            .into());
        }
        (Err(failure), Some(uid)) if failure.exit == Exit::NotPermitted => {
            return unseen(cluster, args, target, uid).await;
        }
        (Err(failure), None) if failure.exit == Exit::NotPermitted => {
            return Err(failure.or(WITHOUT_LIST));
        }
        (Err(failure), _) => return Err(failure),
    };
    if args.with_keys && deleted.kind == Kind::Key {
        return Err(Failure::usage(format!(
            "{} is a key, and only an HSM has keys to bring along; leave --with-keys out.",
            deleted.origin.name
        )));
    }
    let accept = acceptance(cluster, args, &deleted.origin.namespace, Some(&deleted)).await?;
    plan(cluster, &deleted, args.with_keys, accept).await
}

/// By uid alone, where the user may not see what is deleted.
async fn unseen(
    cluster: &Cluster,
    args: &RecoverArgs,
    target: &Target,
    uid: &str,
) -> Result<Planned, Failure> {
    let Some(kind) = target.kind()? else {
        return Err(Failure::usage(format!(
            "You may not see whether {0} is an HSM or a key; write mhsm/{0} or hkey/{0}.",
            target.name
        )));
    };
    let accept = acceptance(cluster, args, &target.namespace, None).await?;
    let recover = manifest(
        kind,
        &target.namespace,
        &target.name,
        uid,
        args.with_keys,
        accept,
    );
    let said = format!("{} {}", kind.object(), target.name);
    let shown = vec![format!(
        "{said} is to come back; you may not see more of it."
    )];
    Ok(Planned {
        recover,
        said,
        shown,
    })
}

/// HSMs with all of their keys, and the deleted keys of other HSMs.
async fn everything(cluster: &Cluster, args: &RecoverArgs) -> Result<Vec<Planned>, Failure> {
    let fields = format!("spec.origin.namespace={}", cluster.namespace);
    let not_permitted = |failure: Failure| match failure.exit {
        Exit::NotPermitted => failure.or(WITHOUT_LIST),
        _ => failure,
    };
    let hsms = cluster
        .deleted(Kind::Hsm, &fields)
        .await
        .map_err(not_permitted)?;
    let keys = cluster
        .deleted(Kind::Key, &fields)
        .await
        .map_err(not_permitted)?;
    let all = not_already_included(hsms, keys);
    let mut planned = Vec::new();
    for deleted in &all {
        let accept = acceptance(cluster, args, &deleted.origin.namespace, Some(deleted)).await?;
        planned.push(plan(cluster, deleted, deleted.kind == Kind::Hsm, accept).await?);
    }
    Ok(planned)
}

/// A key whose HSM is deleted comes back with it; what is being destroyed does not come back.
fn not_already_included(hsms: Vec<Deleted>, keys: Vec<Deleted>) -> Vec<Deleted> {
    let ids: Vec<_> = hsms.iter().map(|hsm| hsm.hsm_id.clone()).collect();
    let alone = keys.into_iter().filter(|key| !ids.contains(&key.hsm_id));
    let there = |deleted: &Deleted| deleted.status.phase != Some(Phase::Destroying);
    hsms.into_iter().chain(alone).filter(there).collect()
}

/// The uid of the namespace to accept, where it is not the one of then (SD-19).
async fn acceptance(
    cluster: &Cluster,
    args: &RecoverArgs,
    namespace: &str,
    deleted: Option<&Deleted>,
) -> Result<Option<String>, Failure> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let present = match namespaces.get(namespace).await.map_err(Failure::from) {
        Ok(found) if found.metadata.deletion_timestamp.is_some() => {
            let namespace = namespace.to_owned();
            return Err(Refusal::NamespaceTerminating { namespace }.into());
        }
        Ok(found) => found.uid(),
        Err(failure) if failure.exit == Exit::NotFound => {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "There is no namespace {namespace} any more; make it with kubectl create namespace {namespace}, and ask again with --accept-namespace."
                ),
            ));
        }
        Err(failure) if failure.exit == Exit::NotPermitted => None,
        Err(failure) => return Err(failure),
    };
    accepted(args.accept_namespace.as_ref(), present, namespace, deleted)
}

fn accepted(
    said: Option<&Option<String>>,
    present: Option<String>,
    namespace: &str,
    deleted: Option<&Deleted>,
) -> Result<Option<String>, Failure> {
    let Some(present) = present else {
        // Whether it is the one of then the operator finds out.
        return match said {
            Some(None) => Err(Failure::new(
                Exit::NotPermitted,
                format!(
                    "You may not read the namespace {namespace}; say which one you accept with --accept-namespace=UID."
                ),
            )),
            Some(Some(uid)) => Ok(Some(uid.clone())),
            None => Ok(None),
        };
    };
    if deleted.is_some_and(|deleted| deleted.origin.namespace_uid == present) {
        return Ok(None);
    }
    match (said, deleted) {
        (Some(Some(uid)), _) if *uid != present => Err(Failure::usage(format!(
            "The namespace {namespace} has the uid {present}, not {uid}; accept that one if it is the one that you mean."
        ))),
        (Some(_), _) => Ok(Some(present)),
        (None, None) => Ok(None),
        (None, Some(deleted)) => Err(Failure::from(Refusal::NamespaceChanged {
            kind: deleted.kind,
            origin: deleted.spec_origin(),
            present: present.as_str().into(),
        })
        .or("Here that is: kubectl hsm recover --accept-namespace, and the name.")),
    }
}

async fn plan(
    cluster: &Cluster,
    deleted: &Deleted,
    with_keys: bool,
    accept: Option<String>,
) -> Result<Planned, Failure> {
    let origin = &deleted.origin;
    let recover = manifest(
        deleted.kind,
        &origin.namespace,
        &origin.name,
        &origin.uid,
        with_keys,
        accept,
    );
    let contents = match deleted.kind {
        Kind::Key => Contents::none(),
        Kind::Hsm => {
            contents::look(
                cluster,
                &origin.namespace,
                &origin.name,
                Some(&deleted.hsm_id),
            )
            .await?
        }
    };
    Ok(Planned {
        recover,
        said: deleted.said(),
        shown: comes_back(deleted, &contents, with_keys),
    })
}

fn manifest(
    kind: Kind,
    namespace: &str,
    name: &str,
    uid: &str,
    with_keys: bool,
    accept: Option<String>,
) -> Recover {
    let start: String = uid.chars().take(OF_UID).collect();
    let spec = RecoverSpec {
        kind: object_kind(kind),
        name: name.to_owned(),
        uid: uid.to_owned(),
        include_keys: if with_keys {
            IncludeKeys::All
        } else {
            IncludeKeys::None
        },
        accept_namespace_uid: accept,
    };
    let mut recover = Recover::new(&format!("{name}-{}", start.trim_end_matches('-')), spec);
    recover.metadata.namespace = Some(namespace.to_owned());
    recover
}

/// What is to come back, and what stays deleted, in lines.
fn comes_back(deleted: &Deleted, contents: &Contents, with_keys: bool) -> Vec<String> {
    let mut lines = vec![format!(
        "{} comes back, with the same material:",
        deleted.said()
    )];
    if deleted.kind == Kind::Key {
        let versions = deleted.versions.iter().map(|version| {
            let print = version.thumbprint.as_ref().or(version.check_value.as_ref());
            format!(
                "  version {} {}",
                version.id,
                print.map_or("", String::as_str)
            )
        });
        lines.extend(versions);
        return lines;
    }
    lines.extend(
        contents
            .made()
            .map(|key| format!("  HsmKey {}", key.name_any())),
    );
    let alone = contents
        .deleted
        .items()
        .iter()
        .map(|key| key.origin.name.clone());
    let alone: Vec<_> = alone.collect();
    if with_keys {
        lines.extend(
            alone
                .iter()
                .map(|name| format!("  HsmKey {name}, deleted on its own")),
        );
    } else if !alone.is_empty() {
        lines.push(format!(
            "  and these keys stay deleted without --with-keys: {}",
            alone.join(", ")
        ));
    }
    let unseen = [contents.live.unseen(), contents.deleted.unseen()];
    lines.extend(
        unseen
            .into_iter()
            .flatten()
            .map(|why| format!("  Not all of it can be shown: {why}")),
    );
    lines
}

/// A Recover of the same name and for the same is waited for while it is unfinished; else another one is made.
async fn ask(cluster: &Cluster, planned: &Planned, dry_run: bool) -> Result<Recover, Failure> {
    let api = recovers(cluster, &planned.recover);
    let params = PostParams {
        dry_run,
        field_manager: Some("kubectl-hsm".to_owned()),
    };
    match api.create(&params, &planned.recover).await {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
        other => return Ok(other?),
    }
    let name = planned.recover.name_any();
    let standing = seen(
        api.get(&name)
            .await
            .map(|found| vec![found])
            .map_err(Failure::from),
    )?;
    if let Some(standing) = standing.into_items().pop()
        && standing.spec == planned.recover.spec
        && !standing.finished()
    {
        tell(&format!(
            "{} is asked for already, by the Recover {name}.",
            planned.said
        ));
        return Ok(standing);
    }
    let again = Recover {
        metadata: ObjectMeta {
            name: None,
            generate_name: Some(format!("{name}-")),
            ..planned.recover.metadata.clone()
        },
        ..planned.recover.clone()
    };
    Ok(api.create(&params, &again).await?)
}

/// One manifest is printed as it is, several as a list.
fn manifests(asked: &[Recover], format: Option<Format>) -> Result<(), Failure> {
    let mut all: Vec<Value> = asked.iter().map(for_git).collect();
    let value = if all.len() == 1 {
        all.remove(0)
    } else {
        output::list(all)
    };
    let lines = names(asked, "would be asked for (client dry run)");
    Printed {
        value,
        ..printed(asked, &lines)
    }
    .print(format)
}

/// Without what only the cluster fills in.
fn for_git(recover: &Recover) -> Value {
    let mut value = serde_json::to_value(recover).unwrap_or_default();
    if let Some(all) = value.as_object_mut() {
        all.remove("status");
    }
    value
}

fn names(asked: &[Recover], word: &str) -> String {
    let lines = asked
        .iter()
        .map(|recover| format!("{} {word}\n", resource(recover)));
    lines.collect()
}

fn resource(recover: &Recover) -> String {
    format!("recover.managedhsm.dev/{}", recover.name_any())
}

fn printed(all: &[Recover], text: &str) -> Printed {
    let values = all
        .iter()
        .map(|recover| serde_json::to_value(recover).unwrap_or_default());
    Printed {
        table: text.to_owned(),
        wide: text.to_owned(),
        names: all.iter().map(resource).collect(),
        value: output::list(values.collect()),
    }
}

fn outcomes(ended: &[Recover]) -> String {
    let all = ended
        .iter()
        .filter_map(|recover| recover.status.as_ref())
        .flat_map(|status| &status.recovered);
    let rows: Vec<_> = all
        .map(|one| {
            let kind = match one.kind {
                ObjectKind::ManagedHsm => Kind::Hsm.object(),
                ObjectKind::HsmKey => Kind::Key.object(),
            };
            let outcome = match one.outcome {
                Outcome::Recovered => "Recovered",
                Outcome::AlreadyLive => "AlreadyLive",
                Outcome::Retained => "Retained",
            };
            let reason = one.reason.clone().unwrap_or_default();
            vec![
                kind.to_owned(),
                one.name.clone(),
                outcome.to_owned(),
                reason,
            ]
        })
        .collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(&["KIND", "NAME", "OUTCOME", "REASON"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Seen;
    use crate::samples;

    #[test]
    fn sd19_the_manifest_is_the_same_each_time_and_names_the_uid() {
        let deleted = samples::deleted_key("signing");
        let uid = deleted.origin.uid.as_str();
        let make = || manifest(Kind::Key, "demo", "signing", uid, false, None);
        assert_eq!(make(), make());
        assert_eq!(make().spec.uid, uid);
        assert!(
            make().name_any().starts_with("signing-u-sign"),
            "{}",
            make().name_any()
        );
        assert_eq!(for_git(&make()).get("status"), None);
    }

    #[test]
    fn sd21_all_of_a_namespace_is_its_hsms_with_their_keys_and_keys_of_other_hsms() {
        let (inside, mut outside) = (samples::deleted_key("a"), samples::deleted_key("b"));
        outside.hsm_id = "h-2".into();
        let mut going = samples::deleted_hsm("going");
        going.hsm_id = "h-3".into();
        going.status.phase = Some(Phase::Destroying);
        let hsm = samples::deleted_hsm("payments");
        let all = not_already_included(vec![hsm, going], vec![inside, outside]);
        let names: Vec<_> = all.iter().map(|one| one.origin.name.as_str()).collect();
        assert_eq!(names, ["payments", "b"]);
    }

    #[test]
    fn what_comes_back_and_what_stays_is_shown() {
        let hsm = samples::deleted_hsm("payments");
        let mut contents = Contents::none();
        contents.live = Seen::All(vec![samples::key("signing")]);
        contents.deleted = Seen::All(vec![samples::deleted_key("old")]);
        let shown = |with_keys| comes_back(&hsm, &contents, with_keys).join("\n");
        assert!(shown(false).contains("HsmKey signing"), "{}", shown(false));
        assert!(
            shown(false).contains("stay deleted without --with-keys: old"),
            "{}",
            shown(false)
        );
        assert!(
            shown(true).contains("HsmKey old, deleted on its own"),
            "{}",
            shown(true)
        );
        contents.live = Seen::Not("You may not.".into());
        let told = comes_back(&hsm, &contents, true).join("\n");
        assert!(
            told.contains("Not all of it can be shown: You may not."),
            "{told}"
        );
    }

    #[test]
    fn sd19_another_namespace_is_accepted_only_where_that_was_said() {
        let deleted = samples::deleted_key("signing");
        let of = |said: Option<&Option<String>>, present: Option<&str>| {
            accepted(said, present.map(str::to_owned), "demo", Some(&deleted))
        };
        assert_eq!(of(None, Some("n-1")), Ok(None));
        assert_eq!(of(Some(&None), Some("n-1")), Ok(None));
        let refused = of(None, Some("n-2")).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused);
        assert!(
            refused.sentence.contains("--accept-namespace"),
            "{}",
            refused.sentence
        );
        assert_eq!(of(Some(&None), Some("n-2")), Ok(Some("n-2".into())));
        let exact = Some("n-2".to_owned());
        assert_eq!(of(Some(&exact), Some("n-2")), Ok(exact.clone()));
        assert_eq!(of(Some(&exact), Some("n-3")).unwrap_err().exit, Exit::Usage);
        // Who may not read the namespace names its uid.
        assert_eq!(of(Some(&None), None).unwrap_err().exit, Exit::NotPermitted);
        assert_eq!(of(Some(&exact), None), Ok(exact.clone()));
    }
}
