//! `docs/permissions.md`, from what came out.

use std::fmt::Write as _;

use managed_hsm_operator::softdelete::Kind;
use managed_hsm_operator::softdelete::permission::{Permission, needs};

use super::acts::{Act, Answer};
use super::subjects::{HALF, Subject};

const INTRO: &str = "# Who may do what

Written by `make docs`, from a run on a real API server: each line was asked there (a SelfSubjectAccessReview) and tried. A test compares.

Four permissions, each given on its own (SD-29). None of the last three is part of `view`, `edit` or `admin`:

";

const ROLES: &str = "
Two ClusterRoles are part of the built-in ones by aggregation: `hsm-viewer` of `view` (so of `edit` and `admin` too), `hsm-user` of `edit` and `admin`.
The others you bind. Proxies and Purges are cluster-scoped, so reading and creating them takes a ClusterRoleBinding. The verb `purge` on a proxy,
and `recover` (to accept a namespace that was made anew, SD-19), are asked by the proxy's name in the namespace that the object had: a ClusterRoleBinding, a RoleBinding there
and `resourceNames` all work. Who recovers needs to be able to create what comes back (SD-30). Bind `hsm-admin` in a namespace only to somebody who may have
whatever was deleted under that name before. [Roles of your own](../deploy/examples/roles.yaml): one that may recover and not purge, one that may purge
in its team's namespace.

What RBAC lets through the policies still judge, for cluster-admin as well. `yes`: it is done. `–`: the roles refuse it. A number: a policy refuses it, with the sentence
of that number below; what stands there in capitals is filled in.

";

pub fn page(subjects: &[Subject], acts: &[Act], columns: &[Vec<Answer>]) -> String {
    let mut page = INTRO.to_owned() + &permissions() + ROLES;
    let mut notes = Vec::new();
    let (alone, bound): (Vec<usize>, Vec<usize>) =
        (0..subjects.len()).partition(|at| is_of_permissions(&subjects[*at]));
    for (heading, which) in [
        ("Roles", bound),
        (
            "The four permissions, alone, two together, and half of one",
            alone,
        ),
    ] {
        let _ = writeln!(page, "## {heading}\n");
        page += &table(subjects, acts, columns, &which, &mut notes);
    }
    page += "## The sentences\n\n";
    for (at, note) in notes.iter().enumerate() {
        let _ = writeln!(page, "{}. {note}", at + 1);
    }
    page
}

fn is_of_permissions(subject: &Subject) -> bool {
    let mut names = Permission::ALL.iter().map(|one| format!("{one:?}"));
    subject.name.starts_with(HALF) || names.any(|name| subject.name.starts_with(&name))
}

fn permissions() -> String {
    let mut table =
        "| permission | needs, for HSMs | needs, for keys | role |\n|---|---|---|---|\n".to_owned();
    for (one, role) in Permission::ALL.into_iter().zip([
        "hsm-user",
        "hsm-deleted-viewer",
        "hsm-recoverer",
        "hsm-purger",
    ]) {
        let needed = [Kind::Hsm, Kind::Key].map(|kind| {
            let all: Vec<_> = needs(one, kind)
                .into_iter()
                .map(|(verb, resource)| format!("`{verb} {resource}`"))
                .collect();
            all.join(", ")
        });
        let _ = writeln!(table, "| {one:?} | {} | `{role}` |", needed.join(" | "));
    }
    table
}

/// Verbs, resources, in which way, and what each subject got.
type Row = (Vec<String>, Vec<String>, String, Vec<String>);

fn table(
    subjects: &[Subject],
    acts: &[Act],
    columns: &[Vec<Answer>],
    which: &[usize],
    notes: &mut Vec<String>,
) -> String {
    let mut rows: Vec<Row> = Vec::new();
    for (at, act) in acts.iter().enumerate() {
        let cells: Vec<String> = which
            .iter()
            .map(|column| shown(&columns[*column][at], notes))
            .collect();
        let same = rows
            .iter_mut()
            .find(|row| row.1[0] == act.resource && row.2 == act.how && row.3 == cells);
        match same {
            Some(row) => row.0.push(act.verb.to_owned()),
            None => rows.push((
                vec![act.verb.to_owned()],
                vec![act.resource.clone()],
                act.how.to_owned(),
                cells,
            )),
        }
    }
    let mut text = "| verb | resource |".to_owned();
    for column in which {
        let _ = write!(text, " {} |", subjects[*column].name);
    }
    text += "\n|---|---|";
    text += &":-:|".repeat(which.len());
    text += "\n";
    for (verbs, resources, how, cells) in joined(rows) {
        let how = if how.is_empty() {
            how
        } else {
            format!(" ({how})")
        };
        let _ = writeln!(
            text,
            "| {} | {}{how} | {} |",
            verbs.join(", "),
            resources.join(", "),
            cells.join(" | ")
        );
    }
    text + "\n"
}

/// Resources of which the same is true stand in one row.
fn joined(rows: Vec<Row>) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    for row in rows {
        let same = all
            .iter_mut()
            .find(|other| (&other.0, &other.2, &other.3) == (&row.0, &row.2, &row.3));
        match same {
            Some(other) => other.1.extend(row.1),
            None => all.push(row),
        }
    }
    all
}

fn shown(answer: &Answer, notes: &mut Vec<String>) -> String {
    match answer {
        Answer::Allowed => "yes".into(),
        Answer::NotByRole => "–".into(),
        Answer::NoSuch => "not found".into(),
        Answer::NotByPolicy { note, .. } => {
            let at = notes.iter().position(|known| known == note);
            let at = at.unwrap_or_else(|| {
                notes.push(note.clone());
                notes.len() - 1
            });
            (at + 1).to_string()
        }
    }
}
