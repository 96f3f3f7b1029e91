//! `purge`: shows what will be destroyed, asks for the name, writes the Purge, and waits for it.

use std::io::{BufRead, IsTerminal as _, Write, stdin};

use kube::ResourceExt as _;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use managed_hsm_operator::api::{Purge, PurgeSpec};
use managed_hsm_operator::softdelete::permission::{Ask, Permission, granted};
use managed_hsm_operator::softdelete::protection::purge_on_request;
use managed_hsm_operator::softdelete::{Kind, Refusal};

use crate::args::PurgeArgs;
use crate::cluster::Cluster;
use crate::contents::{self, Contents};
use crate::deleted::{Deleted, proxy_kind};
use crate::ending::{Exit, Failure};
use crate::output::{Printed, tell};
use crate::rights::{Rights, asks};
use crate::target::{Sort, Target, find};
use crate::wait::{Patience, Request as _, follow};

pub async fn run(cluster: &Cluster, args: &PurgeArgs) -> Result<(), Failure> {
    let target = Target::of(cluster, &args.name)?;
    let deleted = find(cluster, &target).await?;
    same(&deleted, args.uid.as_deref())?;
    let contents = contents::of(cluster, &deleted).await?;
    allowed(&deleted, &contents)?;
    let user = cluster.user().await?;
    permitted(cluster, &deleted, &user).await?;
    destroyed(&deleted, &contents)
        .iter()
        .for_each(|line| tell(line));
    if !args.yes {
        let (name, terminal) = (&deleted.origin.name, stdin().is_terminal());
        confirmed(name, terminal, &mut stdin().lock(), &mut anstream::stderr())?;
    }
    let purge = ask(cluster, &again(cluster, &deleted).await?, args, &user).await?;
    if !args.wait.wait {
        return printed(&purge, "asked for").print(args.output.output);
    }
    let patience = Patience::new(cluster, args.wait.timeout);
    let api: Api<Purge> = Api::all(cluster.client.clone());
    let ended = follow(cluster, &api, purge, &deleted.said(), &patience).await;
    let ended = ended.map_err(|failure| match failure.exit {
        Exit::NotEnded => failure.or(&others(&deleted)),
        _ => failure,
    })?;
    printed(&ended, &receipt(&ended)).print(args.output.output)
}

fn same(deleted: &Deleted, uid: Option<&str>) -> Result<(), Failure> {
    match uid {
        Some(uid) if uid != deleted.origin.uid => Err(Refusal::UidMismatch {
            proxy: deleted.name.clone(),
            asked: uid.into(),
            found: deleted.origin.uid.as_str().into(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// What nobody may override is said before anything is asked (SD-14, SD-15).
fn allowed(deleted: &Deleted, contents: &Contents) -> Result<(), Refusal> {
    let until = deleted.purge_time.map(managed_hsm_operator::api::Time::utc);
    purge_on_request(contents.protector(deleted), deleted.undeletable(), until)
}

async fn permitted(cluster: &Cluster, deleted: &Deleted, user: &str) -> Result<(), Failure> {
    let origin = &deleted.origin;
    let mut rights = Rights::default();
    let needed = asks(
        Permission::Purge,
        deleted.kind,
        &origin.namespace,
        Some(&origin.name),
    );
    rights.learn(&cluster.client, needed.clone()).await?;
    for ask in needed {
        let yes = rights.granted(std::slice::from_ref(&ask));
        let shown = named(ask);
        granted(&shown, user, yes)
            .map_err(|refusal| Failure::new(Exit::NotPermitted, refusal.to_string()))?;
    }
    Ok(())
}

/// Purges are of no namespace.
fn named(mut ask: Ask) -> Ask {
    if ask.namespace.is_empty() && ask.name.is_empty() {
        ask.name = "in the cluster".to_owned();
    }
    ask
}

/// What will be destroyed, in lines.
fn destroyed(deleted: &Deleted, contents: &Contents) -> Vec<String> {
    let origin = &deleted.origin;
    let mut lines = vec![format!(
        "{} of the namespace {} (uid {}) will be destroyed, and never comes back:",
        deleted.said(),
        origin.namespace,
        origin.uid
    )];
    if deleted.kind == Kind::Key {
        lines.extend(deleted.versions.iter().map(|version| {
            let print = version.thumbprint.as_ref().or(version.check_value.as_ref());
            format!(
                "  version {} {}",
                version.id,
                print.map_or("", String::as_str)
            )
        }));
        return lines;
    }
    let live: Vec<_> = contents
        .made()
        .map(|key| format!("  HsmKey {}", key.name_any()))
        .collect();
    let alone = contents.deleted.items().iter();
    let alone: Vec<_> = alone
        .map(|key| format!("  HsmKey {}, deleted on its own", key.origin.name))
        .collect();
    let count = live.len() + alone.len();
    lines.extend(live.into_iter().chain(alone));
    let unseen = [contents.live.unseen(), contents.deleted.unseen()];
    let unseen: Vec<_> = unseen.into_iter().flatten().collect();
    lines.push(match unseen.first() {
        None => format!("  keys in all: {count}"),
        Some(why) => format!("  and keys that you may not see: {why}"),
    });
    lines
}

/// Goes on only where a person typed the name. Without a terminal there is nobody to ask.
fn confirmed(
    name: &str,
    terminal: bool,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if !terminal {
        return Err(Failure::usage(
            "Nothing was asked for: there is no terminal to type the name at; say --yes if it is to be destroyed.",
        ));
    }
    _ = write!(out, "Type {name} to have it destroyed: ").and_then(|()| out.flush());
    let mut typed = String::new();
    // What cannot be read was not typed.
    _ = input.read_line(&mut typed);
    if typed.trim() == name {
        Ok(())
    } else {
        Err(Failure::new(
            Exit::Refused,
            "Nothing was asked for: that is not its name; call it again to try once more.",
        ))
    }
}

/// It may have been recovered, purged or deleted anew while somebody read what would be destroyed.
async fn again(cluster: &Cluster, shown: &Deleted) -> Result<Deleted, Failure> {
    let origin = &shown.origin;
    let target = Target {
        sort: Some(Sort::Proxy(shown.kind)),
        namespace: origin.namespace.clone(),
        name: origin.name.clone(),
    };
    match find(cluster, &target).await {
        Ok(now) => same(&now, Some(&origin.uid)).map(|()| now),
        Err(failure) if failure.exit == Exit::NotFound => Err(Failure::missing(
            Refusal::NothingToPurge {
                kind: shown.kind,
                proxy: shown.name.clone(),
                uid: origin.uid.as_str().into(),
            }
            .to_string(),
        )),
        Err(failure) => Err(failure),
    }
}

/// What the user has asked for already is waited for, so that nobody counts twice or leaves requests behind.
async fn ask(
    cluster: &Cluster,
    deleted: &Deleted,
    args: &PurgeArgs,
    user: &str,
) -> Result<Purge, Failure> {
    let api: Api<Purge> = Api::all(cluster.client.clone());
    let spec = PurgeSpec {
        kind: proxy_kind(deleted.kind),
        name: deleted.name.clone(),
        uid: deleted.origin.uid.clone(),
        requested_by: user.to_owned(),
        reason: args.reason.clone(),
    };
    let fields = ListParams::default().fields(&format!("spec.name={}", deleted.name));
    // Who may not list Purges asks anew.
    let standing = api
        .list(&fields)
        .await
        .map(|found| found.items)
        .unwrap_or_default();
    if let Some(purge) = standing.into_iter().find(|purge| is_asked(purge, &spec)) {
        tell(&format!(
            "{} is asked for already, by the Purge {}.",
            deleted.said(),
            purge.name_any()
        ));
        return Ok(purge);
    }
    let purge = Purge {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", deleted.name)),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    let params = PostParams {
        dry_run: false,
        field_manager: Some("kubectl-hsm".to_owned()),
    };
    Ok(api.create(&params, &purge).await?)
}

fn is_asked(standing: &Purge, wanted: &PurgeSpec) -> bool {
    let spec = &standing.spec;
    let same = (spec.kind, &spec.uid, &spec.requested_by)
        == (wanted.kind, &wanted.uid, &wanted.requested_by);
    same && !standing.finished() && standing.metadata.deletion_timestamp.is_none()
}

fn others(deleted: &Deleted) -> String {
    let kind = match deleted.kind {
        Kind::Hsm => "mhsm",
        Kind::Key => "hkey",
    };
    let origin = &deleted.origin;
    format!(
        "Who else may purge it approves with kubectl hsm purge {kind}/{} -n {} --uid {}.",
        origin.name, origin.namespace, origin.uid
    )
}

fn resource(purge: &Purge) -> String {
    format!("purge.managedhsm.dev/{}", purge.name_any())
}

fn receipt(purge: &Purge) -> String {
    let destroyed = purge
        .status
        .as_ref()
        .and_then(|status| status.destroyed.as_ref());
    let what = destroyed.map_or_else(String::new, |destroyed| {
        format!(
            ", {} destroyed, digest {}",
            destroyed.count, destroyed.digest
        )
    });
    format!("{} complete{what}\n", resource(purge))
}

fn printed(purge: &Purge, text: &str) -> Printed {
    let text = if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{} {text}\n", resource(purge))
    };
    Printed {
        table: text.clone(),
        wide: text,
        names: vec![resource(purge)],
        value: serde_json::to_value(purge).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Seen;
    use crate::samples;

    #[test]
    fn nothing_is_destroyed_unless_the_name_is_typed_at_a_terminal() {
        let try_it = |terminal, typed: &str| {
            confirmed("signing", terminal, &mut typed.as_bytes(), &mut Vec::new())
        };
        try_it(true, "signing\n").unwrap();
        for typed in ["", "yes\n", "Signing\n", "signing2\n"] {
            assert_eq!(
                try_it(true, typed).unwrap_err().exit,
                Exit::Refused,
                "{typed:?}"
            );
        }
        // A pipe that says the right name is no person.
        assert_eq!(try_it(false, "signing\n").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn sd26_it_says_which_keys_and_how_many() {
        let mut contents = Contents::none();
        contents.live = Seen::All(vec![samples::key("signing")]);
        contents.deleted = Seen::All(vec![samples::deleted_key("old")]);
        let told = destroyed(&samples::deleted_hsm("payments"), &contents).join("\n");
        for words in [
            "HsmKey signing",
            "HsmKey old, deleted on its own",
            "keys in all: 2",
            "uid u-payments",
        ] {
            assert!(told.contains(words), "{told}");
        }
        contents.live = Seen::Not("You may not.".into());
        let told = destroyed(&samples::deleted_hsm("payments"), &contents).join("\n");
        assert!(
            told.contains("keys that you may not see") && !told.contains("in all"),
            "{told}"
        );
    }

    #[test]
    fn sd14_what_is_protected_is_refused_before_anything_is_asked() {
        let mut deleted = samples::deleted_key("signing");
        allowed(&deleted, &Contents::none()).unwrap();
        deleted.status.purge_protection = Some(true);
        let refused = allowed(&deleted, &Contents::none())
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("of the HSM payments around it"),
            "{refused}"
        );
        deleted.status.purge_protection = None;
        let refused = allowed(&deleted, &Contents::none())
            .unwrap_err()
            .to_string();
        assert!(refused.contains("counts as on"), "{refused}");
    }

    #[test]
    fn another_uid_is_another_deletion() {
        let deleted = samples::deleted_key("signing");
        same(&deleted, None).unwrap();
        same(&deleted, Some(&deleted.origin.uid)).unwrap();
        let refused = same(&deleted, Some("u-other")).unwrap_err();
        assert!(
            refused.sentence.contains("not u-other"),
            "{}",
            refused.sentence
        );
    }
}
