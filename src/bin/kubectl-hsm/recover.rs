//! `recover`: writes the Recover, shows first what comes back, and waits for it.

use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, PostParams};
use managed_hsm_operator::api::{IncludeKeys, Outcome, Phase, Recover, RecoverSpec};
use managed_hsm_operator::softdelete::{Kind, Refusal};

use crate::args::{DryRun, RecoverArgs};
use crate::cluster::{Cluster, seen};
use crate::contents;
use crate::deleted::{Deleted, object_kind};
use crate::ending::{Exit, Failure};
use crate::list::WITHOUT_LIST;
use crate::output::tell;
use crate::target::{Target, find, unsure};
use crate::wait::{Patience, Request as _, follow};

mod namespace;
mod shown;

use namespace::acceptance;
use shown::{comes_back, manifests, names, outcomes, printed};

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
    if args.dry_run == DryRun::Client {
        let asked: Vec<_> = planned.into_iter().map(|one| one.recover).collect();
        return manifests(&asked, args.output.output);
    }
    let mut failures = Failures::of(planned.len());
    let mut asked = Vec::new();
    for one in &planned {
        let recover = ask(cluster, one, args.dry_run == DryRun::Server).await;
        let recover = recover.map_err(|failure| failures.note(one, failure));
        asked.extend(recover.map(|recover| (recover, one)));
    }
    let word = match (args.dry_run, args.wait.wait) {
        (DryRun::Server, _) => "would be asked for (server dry run)",
        (_, false) => "asked for",
        (_, true) => return ended(cluster, args, asked, failures).await,
    };
    let asked: Vec<_> = asked.into_iter().map(|(recover, _)| recover).collect();
    printed(&asked, &names(&asked, word)).print(args.output.output)?;
    failures.result()
}

/// Waits for all of them, and shows what became of each.
async fn ended(
    cluster: &Cluster,
    args: &RecoverArgs,
    asked: Vec<(Recover, &Planned)>,
    mut failures: Failures,
) -> Result<(), Failure> {
    let patience = Patience::new(cluster, args.wait.timeout);
    let mut ended = Vec::new();
    for (recover, one) in asked {
        let api = recovers(cluster, &recover);
        let end = follow(cluster, &api, recover, &one.said, &patience).await;
        ended.extend(end.map_err(|failure| failures.note(one, failure)));
    }
    printed(&ended, &outcomes(&ended)).print(args.output.output)?;
    failures.result()?;
    if ended.iter().any(retained_some) {
        return Err(some_stayed());
    }
    Ok(())
}

/// Of several, each failure is told, and the first decides the exit code.
struct Failures {
    of_how_many: usize,
    first: Option<Failure>,
}

impl Failures {
    const fn of(of_how_many: usize) -> Self {
        Self {
            of_how_many,
            first: None,
        }
    }

    fn note(&mut self, of: &Planned, mut failure: Failure) {
        if self.of_how_many > 1 {
            tell(&format!("{}: {}", of.said, failure.sentence));
            failure.sentence = "Not all of it came back; what did not is named above.".to_owned();
        }
        self.first.get_or_insert(failure);
    }

    fn result(&self) -> Result<(), Failure> {
        self.first.clone().map_or(Ok(()), Err)
    }
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
        return Err(unsure(target));
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
    let contents = contents::of(cluster, deleted).await?;
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

#[cfg(test)]
mod tests;
