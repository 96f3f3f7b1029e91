//! `list-deleted`: what is deleted, until when it is kept, and what the user may do about it.

use chrono::{DateTime, Utc};
use kube::core::SelectorExt as _;
use managed_hsm_operator::softdelete::permission::Permission;

use crate::args::{Format, ListArgs};
use crate::cluster::{Cluster, KINDS};
use crate::deleted::Deleted;
use crate::ending::{Exit, Failure};
use crate::output::{self, Printed, tell};
use crate::rights::{Rights, asks};
use crate::selector;
use crate::table::{bad, good, human, table};

/// What somebody may do who may not see what is deleted.
pub const WITHOUT_LIST: &str =
    "Where you know the uid you need not see it: kubectl hsm recover TYPE/NAME --uid UID.";

pub async fn run(cluster: &Cluster, args: &ListArgs) -> Result<(), Failure> {
    // Proxies carry no labels of their own (SD-07): what is chosen by are those that their origin had.
    let selector = selector::parse(args.selector.as_deref().unwrap_or_default())?;
    let fields = if args.all_namespaces {
        String::new()
    } else {
        format!("spec.origin.namespace={}", cluster.namespace)
    };
    let mut all = Vec::new();
    let mut refused = Vec::new();
    for kind in KINDS {
        match cluster.deleted(kind, &fields).await {
            Ok(found) => all.extend(found),
            Err(failure) if failure.exit == Exit::NotPermitted => refused.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    if let (2, Some(failure)) = (refused.len(), refused.first()) {
        return Err(failure.clone().or(WITHOUT_LIST));
    }
    refused.iter().for_each(|failure| tell(&failure.sentence));
    all.retain(|deleted| selector.matches(&deleted.labels));
    all.sort_by(|one, other| {
        (&one.origin.namespace, one.kind, &one.name).cmp(&(
            &other.origin.namespace,
            other.kind,
            &other.name,
        ))
    });
    if all.is_empty() && matches!(args.output.output, None | Some(Format::Wide)) {
        tell(&nothing(&cluster.namespace, args));
        return Ok(());
    }
    let rights = learn(cluster, &all).await?;
    let now = cluster.clock.now();
    let rows: Vec<_> = all
        .iter()
        .map(|deleted| Row::new(deleted, &rights, now))
        .collect();
    printed(&all, &rows, args.all_namespaces).print(args.output.output)
}

fn nothing(namespace: &str, args: &ListArgs) -> String {
    let of = match args.selector {
        Some(_) => "Nothing with these labels",
        None => "Nothing",
    };
    if args.all_namespaces {
        format!("{of} is deleted.")
    } else {
        format!("{of} is deleted in the namespace {namespace}.")
    }
}

const MAY: [Permission; 2] = [Permission::Recover, Permission::Purge];

/// For whole namespaces first, then by name where that was no.
async fn learn(cluster: &Cluster, all: &[Deleted]) -> Result<Rights, Failure> {
    let mut rights = Rights::default();
    let asks_of = |deleted: &Deleted, may, by_name: bool| {
        let name = by_name.then_some(deleted.origin.name.as_str());
        asks(may, deleted.kind, &deleted.origin.namespace, name)
    };
    let whole = all
        .iter()
        .flat_map(|deleted| MAY.map(|may| asks_of(deleted, may, false)));
    rights
        .learn(&cluster.client, whole.flatten().collect())
        .await?;
    let named = all
        .iter()
        .filter(|deleted| !rights.granted(&asks_of(deleted, Permission::Purge, false)))
        .flat_map(|deleted| asks_of(deleted, Permission::Purge, true));
    let named = named.collect();
    rights.learn(&cluster.client, named).await?;
    Ok(rights)
}

/// One line, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    namespace: String,
    kind: &'static str,
    name: String,
    hsm: String,
    deleted: String,
    purge_at: String,
    left: String,
    recover: &'static str,
    purge: &'static str,
    state: String,
    level: String,
    uid: String,
}

impl Row {
    fn new(deleted: &Deleted, rights: &Rights, now: DateTime<Utc>) -> Self {
        let origin = &deleted.origin;
        let may = |permission, name| {
            rights.granted(&asks(permission, deleted.kind, &origin.namespace, name))
        };
        let may_purge = may(Permission::Purge, None) || may(Permission::Purge, Some(&origin.name));
        let unknown = || "unknown".to_owned();
        Self {
            namespace: origin.namespace.clone(),
            kind: deleted.kind.object(),
            name: origin.name.clone(),
            hsm: deleted.hsm.clone(),
            deleted: deleted.deleted.to_string(),
            purge_at: deleted
                .purge_time
                .map_or_else(unknown, |time| time.to_string()),
            left: deleted
                .purge_time
                .map_or_else(unknown, |time| left(time.utc() - now)),
            recover: yes(may(Permission::Recover, None)),
            purge: purge_word(deleted, may_purge),
            state: deleted.state().to_owned(),
            level: level(deleted),
            uid: origin.uid.clone(),
        }
    }

    fn cells(&self, with_namespace: bool, wide: bool) -> Vec<String> {
        let mut cells = Vec::new();
        if with_namespace {
            cells.push(self.namespace.clone());
        }
        cells.extend(
            [
                self.kind,
                &self.name,
                &self.hsm,
                &self.deleted,
                &self.purge_at,
                &self.left,
            ]
            .map(str::to_owned),
        );
        cells.extend([painted(self.recover), painted(self.purge)]);
        if wide {
            cells.extend([self.state.clone(), self.level.clone(), self.uid.clone()]);
        }
        cells
    }
}

fn left(left: chrono::Duration) -> String {
    if left <= chrono::Duration::zero() {
        "due".to_owned()
    } else {
        human(left)
    }
}

fn purge_word(deleted: &Deleted, may: bool) -> &'static str {
    if deleted.undeletable() {
        "undeletable"
    } else if deleted.protected() {
        "protected"
    } else {
        yes(may)
    }
}

const fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn painted(word: &str) -> String {
    match word {
        "yes" => good(word),
        "no" => bad(word),
        _ => word.to_owned(),
    }
}

/// As the API writes it.
pub fn level(deleted: &Deleted) -> String {
    let value = serde_json::to_value(deleted.level).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn printed(all: &[Deleted], rows: &[Row], with_namespace: bool) -> Printed {
    let text = |wide: bool| {
        let mut head = Vec::new();
        if with_namespace {
            head.push("NAMESPACE");
        }
        head.extend([
            "KIND", "NAME", "HSM", "DELETED", "PURGE AT", "LEFT", "RECOVER", "PURGE",
        ]);
        if wide {
            head.extend(["STATE", "RECOVERY LEVEL", "UID"]);
        }
        let rows: Vec<_> = rows
            .iter()
            .map(|row| row.cells(with_namespace, wide))
            .collect();
        table(&head, &rows)
    };
    Printed {
        table: text(false),
        wide: text(true),
        names: all.iter().map(Deleted::resource).collect(),
        value: output::list(all.iter().map(|deleted| deleted.value.clone()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn what_is_protected_says_so_whatever_one_may() {
        let mut deleted = samples::deleted_key("signing");
        deleted.status.purge_protection = Some(true);
        assert_eq!(purge_word(&deleted, true), "protected");
        // What is not known counts as protected.
        deleted.status.purge_protection = None;
        assert_eq!(purge_word(&deleted, true), "protected");
        deleted.status.purge_protection = Some(false);
        assert_eq!(
            (purge_word(&deleted, true), purge_word(&deleted, false)),
            ("yes", "no")
        );
    }

    #[test]
    fn a_row_says_how_long_is_left() {
        let deleted = samples::deleted_key("signing");
        let date = deleted.purge_time.unwrap().utc();
        let rights = Rights::default();
        let row = Row::new(&deleted, &rights, date - chrono::Duration::days(3));
        assert_eq!(
            (row.left.as_str(), row.recover, row.purge),
            ("3d", "no", "no")
        );
        assert_eq!(Row::new(&deleted, &rights, date).left, "due");
    }
}
