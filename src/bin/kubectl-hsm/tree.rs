//! `tree`: what is in an HSM, and what its deletion or its purge would mean.

use kube::ResourceExt as _;
use kube::api::Api;
use managed_hsm_operator::api::conditions::{self, READY};
use managed_hsm_operator::api::{
    Condition, ConditionStatus, Curve, GROUP, HsmKey, HsmKeySpec, KeyType, ManagedHsm,
    RecoveryLevel,
};
use managed_hsm_operator::softdelete::Kind;
use serde_json::Value;

use crate::args::NamedArgs;
use crate::cluster::Cluster;
use crate::contents::{self, Contents};
use crate::deleted::Deleted;
use crate::ending::{Exit, Failure};
use crate::output::{self, Printed, tell};
use crate::table::{bad, good, table};
use crate::target::{Sort, Target, find};

/// The HSM at the root.
enum Root {
    Live(Box<ManagedHsm>),
    Deleted(Box<Deleted>),
}

pub async fn run(cluster: &Cluster, args: &NamedArgs) -> Result<(), Failure> {
    let target = Target::of(cluster, &args.name)?;
    if matches!(target.sort, Some(sort) if sort.kind() != Some(Kind::Hsm)) {
        return Err(Failure::usage(format!(
            "{} is no HSM, and only an HSM has something in it; name its HSM.",
            args.name
        )));
    }
    let root = root(cluster, &target).await?;
    let id = match &root {
        Root::Live(hsm) => hsm.status.as_ref().and_then(|status| status.hsm_id.clone()),
        Root::Deleted(hsm) => Some(hsm.hsm_id.clone()),
    };
    let contents = contents::look(cluster, &target.namespace, &target.name, id.as_deref()).await?;
    let unseen = [contents.live.unseen(), contents.deleted.unseen()];
    let unseen = unseen.into_iter().flatten();
    unseen.for_each(|why| tell(&format!("Not all of it can be shown: {why}")));
    printed(&root, &contents).print(args.output.output)
}

/// The live one goes before a deleted one of its name.
async fn root(cluster: &Cluster, target: &Target) -> Result<Root, Failure> {
    let mut refused = None;
    if target.sort != Some(Sort::Proxy(Kind::Hsm)) {
        let api: Api<ManagedHsm> = Api::namespaced(cluster.client.clone(), &target.namespace);
        match api.get_opt(&target.name).await.map_err(Failure::from) {
            Ok(Some(hsm)) => return Ok(Root::Live(Box::new(hsm))),
            Ok(None) => {}
            Err(failure) if failure.exit == Exit::NotPermitted => refused = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    let proxy = Target {
        sort: Some(Sort::Proxy(Kind::Hsm)),
        ..target.clone()
    };
    match find(cluster, &proxy).await {
        Ok(deleted) => Ok(Root::Deleted(Box::new(deleted))),
        Err(failure) if failure.exit == Exit::NotFound => {
            Err(refused.unwrap_or_else(|| neither(target, &failure)))
        }
        Err(failure) => Err(refused.unwrap_or(failure)),
    }
}

fn neither(target: &Target, not_deleted: &Failure) -> Failure {
    Failure::missing(format!(
        "There is no ManagedHsm {} in the namespace {}. {}",
        target.name, target.namespace, not_deleted.sentence
    ))
}

fn printed(root: &Root, contents: &Contents) -> Printed {
    let mut rows = vec![root_row(root)];
    let live = contents.live.items();
    let deleted = contents.deleted.items();
    let count = live.len() + deleted.len();
    for (place, key) in live.iter().enumerate() {
        key_rows(key, place + 1 == count, &mut rows);
    }
    for (place, key) in deleted.iter().enumerate() {
        deleted_rows(key, live.len() + place + 1 == count, &mut rows);
    }
    let mut text = table(
        &["NAME", "STATE", "TYPE", "RECOVERY LEVEL", "THUMBPRINT"],
        &rows,
    );
    text.push_str(&loss(root, contents));
    let (mut names, mut values) = (Vec::new(), Vec::new());
    let mut add = |name: String, value: Value| {
        names.push(name);
        values.push(value);
    };
    match root {
        Root::Live(hsm) => add(live_name(Kind::Hsm, &hsm.name_any()), json(hsm)),
        Root::Deleted(hsm) => add(hsm.resource(), hsm.value.clone()),
    }
    live.iter()
        .for_each(|key| add(live_name(Kind::Key, &key.name_any()), json(key)));
    deleted
        .iter()
        .for_each(|key| add(key.resource(), key.value.clone()));
    Printed {
        wide: text.clone(),
        table: text,
        names,
        value: output::list(values),
    }
}

fn json(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn live_name(kind: Kind, name: &str) -> String {
    format!("{}.{GROUP}/{name}", kind.object().to_lowercase())
}

fn root_row(root: &Root) -> Vec<String> {
    match root {
        Root::Live(hsm) => {
            let status = hsm.status.clone().unwrap_or_default();
            row(
                format!("ManagedHsm/{}", hsm.name_any()),
                state(&status.conditions),
                String::new(),
                level(status.recovery_level),
                String::new(),
            )
        }
        Root::Deleted(hsm) => row(
            format!("DeletedManagedHsm/{}", hsm.name),
            hsm.state().to_owned(),
            String::new(),
            level(Some(hsm.level)),
            String::new(),
        ),
    }
}

fn key_rows(key: &HsmKey, last: bool, rows: &mut Vec<Vec<String>>) {
    let status = key.status.clone().unwrap_or_default();
    rows.push(row(
        format!("{}HsmKey/{}", branch(last), key.name_any()),
        state(&status.conditions),
        algorithm(&key.spec),
        level(status.recovery_level),
        String::new(),
    ));
    let count = status.versions.len();
    for (place, version) in status.versions.iter().enumerate() {
        let current = if status.current_version == Some(version.id) {
            "current"
        } else {
            ""
        };
        let print = print_of(version.thumbprint.as_ref(), version.check_value.as_ref());
        let under = (trunk(last), branch(place + 1 == count));
        rows.push(version_row(under, version.id, current, print));
    }
}

fn deleted_rows(key: &Deleted, last: bool, rows: &mut Vec<Vec<String>>) {
    rows.push(row(
        format!("{}DeletedHsmKey/{}", branch(last), key.name),
        key.state().to_owned(),
        String::new(),
        level(Some(key.level)),
        String::new(),
    ));
    let count = key.versions.len();
    for (place, version) in key.versions.iter().enumerate() {
        let print = print_of(version.thumbprint.as_ref(), version.check_value.as_ref());
        let under = (trunk(last), branch(place + 1 == count));
        rows.push(version_row(under, version.id, "", print));
    }
}

fn version_row(under: (&str, &str), id: i32, state: &str, print: String) -> Vec<String> {
    let name = format!("{}{}version {id}", under.0, under.1);
    row(name, state.to_owned(), String::new(), String::new(), print)
}

fn row(name: String, state: String, kind: String, level: String, print: String) -> Vec<String> {
    vec![name, state, kind, level, print]
}

const fn branch(last: bool) -> &'static str {
    if last { "└─" } else { "├─" }
}

const fn trunk(last: bool) -> &'static str {
    if last { "  " } else { "│ " }
}

fn print_of(thumbprint: Option<&String>, check_value: Option<&String>) -> String {
    let check = check_value.map(|check| format!("check value {check}"));
    thumbprint.cloned().or(check).unwrap_or_default()
}

/// The reason of Ready, which is `Ready` where it is.
fn state(conditions: &[Condition]) -> String {
    match conditions::get(conditions, READY) {
        None => "Unknown".to_owned(),
        Some(ready) if ready.status == ConditionStatus::True => good(&ready.reason),
        Some(ready) if ready.status == ConditionStatus::False => bad(&ready.reason),
        Some(ready) => ready.reason.clone(),
    }
}

fn level(level: Option<RecoveryLevel>) -> String {
    let value = serde_json::to_value(level).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn algorithm(spec: &HsmKeySpec) -> String {
    let curve = |curve| match curve {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
        Curve::P521 => "P-521",
    };
    let size = spec.key_size.map(|size| size.to_string());
    let size = size.or_else(|| spec.curve.map(|of| curve(of).to_owned()));
    let kind = match spec.key_type {
        KeyType::Rsa => "RSA",
        KeyType::Ec => "EC",
        KeyType::Oct => "oct",
    };
    format!("{kind} {}", size.unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// What would be lost, by which act.
fn loss(root: &Root, contents: &Contents) -> String {
    let (live, deleted) = (contents.made().count(), contents.deleted.items().len());
    let versions: usize = contents
        .made()
        .map(|key| {
            key.status
                .as_ref()
                .map_or(0, |status| status.versions.len())
        })
        .chain(
            contents
                .deleted
                .items()
                .iter()
                .map(|key| key.versions.len()),
        )
        .sum();
    let keys = format!("{live} live and {deleted} deleted keys, {versions} versions");
    let all = match (contents.live.unseen(), contents.deleted.unseen()) {
        (None, None) => keys,
        _ => format!("at least {keys}"),
    };
    match root {
        Root::Live(hsm) if hsm.spec.soft_delete => {
            let days = hsm.spec.retention_days;
            format!(
                "\nIts deletion seals {live} live keys, to be recovered for {days} days; its purge destroys all of it: {all}.\n"
            )
        }
        Root::Live(_) => {
            format!("\nIt is without soft-delete: its deletion destroys all of it: {all}.\n")
        }
        Root::Deleted(hsm) => {
            let until = hsm.purge_time.map_or_else(
                || "at a date that is not known".to_owned(),
                |time| format!("at {time}"),
            );
            format!("\nIts purge, {until} if nobody recovers it, destroys all of it: {all}.\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Seen;
    use crate::samples;

    fn text(contents: &Contents) -> String {
        let root = Root::Deleted(Box::new(samples::deleted_hsm("payments")));
        let printed = printed(&root, contents);
        anstream::adapter::strip_str(&printed.table).to_string()
    }

    #[test]
    fn the_tree_shows_keys_and_versions_and_counts_what_would_be_lost() {
        let mut contents = Contents::none();
        contents.live = Seen::All(vec![samples::key("signing")]);
        contents.deleted = Seen::All(vec![samples::deleted_key("old")]);
        let shown = text(&contents);
        let names: Vec<_> = shown
            .lines()
            .map(|line| line.split("   ").next().unwrap_or_default())
            .collect();
        let expected = [
            "NAME",
            "DeletedManagedHsm/demo.payments",
            "├─HsmKey/signing",
            "│ └─version 1",
            "└─DeletedHsmKey/demo.old",
            "  └─version 1",
        ];
        assert_eq!(&names[..6], expected, "{shown}");
        assert!(
            shown.contains("destroys all of it: 1 live and 1 deleted keys, 2 versions."),
            "{shown}"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_counted_as_more() {
        let mut contents = Contents::none();
        contents.live = Seen::Not("You may not.".into());
        assert!(text(&contents).contains("at least 0 live"));
    }
}
