//! What a recovery shows: what is to come back, the manifest for Git, and what became of it.

use kube::ResourceExt as _;
use managed_hsm_operator::api::{ObjectKind, Outcome, Recover};
use managed_hsm_operator::softdelete::Kind;
use serde_json::Value;

use crate::args::Format;
use crate::contents::Contents;
use crate::deleted::Deleted;
use crate::ending::Failure;
use crate::output::{self, Printed};
use crate::table::table;

/// What is to come back, and what stays deleted, in lines.
pub fn comes_back(deleted: &Deleted, contents: &Contents, with_keys: bool) -> Vec<String> {
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

/// One manifest is printed as it is, several as a list.
pub fn manifests(asked: &[Recover], format: Option<Format>) -> Result<(), Failure> {
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
pub fn for_git(recover: &Recover) -> Value {
    let mut value = serde_json::to_value(recover).unwrap_or_default();
    if let Some(all) = value.as_object_mut() {
        all.remove("status");
    }
    value
}

pub fn names(asked: &[Recover], word: &str) -> String {
    let lines = asked
        .iter()
        .map(|recover| format!("{} {word}\n", resource(recover)));
    lines.collect()
}

fn resource(recover: &Recover) -> String {
    format!("recover.managedhsm.dev/{}", recover.name_any())
}

pub fn printed(all: &[Recover], text: &str) -> Printed {
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

pub fn outcomes(ended: &[Recover]) -> String {
    let all = ended
        .iter()
        .filter_map(|recover| recover.status.as_ref())
        .flat_map(|status| &status.recovered);
    let mut rows: Vec<_> = all
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
    // HSMs first; the operator lists keys in no order that a person knows.
    rows.sort_by_key(|row| (row[0] != Kind::Hsm.object(), row[1].clone()));
    if rows.is_empty() {
        String::new()
    } else {
        table(&["KIND", "NAME", "OUTCOME", "REASON"], &rows)
    }
}
