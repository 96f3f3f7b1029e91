//! What the labels of the metrics may say, read from where the code says it.

use std::collections::{BTreeMap, BTreeSet};

use managed_hsm_operator::metrics::Place;
use managed_hsm_operator::softdelete::Kind;

use super::links::project;

pub fn source(file: &str) -> String {
    std::fs::read_to_string(project().join(file)).expect("a source file")
}

/// The words in quotes between two places of a file.
fn words(file: &str, from: &str, to: &str) -> BTreeSet<String> {
    let text = source(file);
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("{file}: {from}"));
    let (inside, _) = rest
        .split_once(to)
        .unwrap_or_else(|| panic!("{file}: {to}"));
    let words: BTreeSet<_> = quoted(inside).map(str::to_owned).collect();
    assert!(!words.is_empty(), "{file}: no words after {from}");
    words
}

fn quoted(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').skip(1).step_by(2)
}

/// What is told apart from the reason codes, each with what it means.
pub const EVENTS: &[(&str, &str)] = &[
    ("Created", "the material was made"),
    ("Rotated", "another version of a key was made"),
    ("SoftDeleted", "it was deleted, and can be recovered"),
    ("Sealed", "its material refuses every use"),
    (
        "Recovering",
        "its recovery has begun, or its object was made again",
    ),
    ("Recovered", "it is back, with the same material"),
    ("PurgeAnnounced", "it is purged by schedule in a day"),
    ("Purging", "its purge has begun"),
    (
        "PurgeTurnedBack",
        "its purge was given up before anything was destroyed",
    ),
    ("Purged", "it was destroyed for good"),
    (
        "RecordWrittenAgain",
        "its record was lost, and written again",
    ),
    ("Held", "it waits for what has no reason code"),
];

/// Those that the planner has in quotes beside whom it tells.
pub fn told(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            told(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for mark in ["Step::told(", "Tell {"] {
            for rest in code.split(mark).skip(1) {
                let call = rest.split(";\n").next().unwrap_or_default();
                found.extend(
                    quoted(call)
                        .filter(|word| is_a_code(word))
                        .map(str::to_owned),
                );
                let announced = call.contains("PURGE_ANNOUNCED");
                found.extend(announced.then(|| "PurgeAnnounced".to_owned()));
            }
        }
    }
}

fn is_a_code(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.len() > 3
        && word.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Each label of each metric, with what it may say. Most of it is read from where it is counted.
pub fn values(metric: &str, label: &str) -> String {
    let list = |words: &BTreeSet<String>| {
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    let objects = || BTreeSet::from([Kind::Hsm, Kind::Key].map(|kind| kind.object().to_owned()));
    match (metric.trim_start_matches("managedhsm_"), label) {
        ("reconciles", "kind") | ("events", "kind") => list(&objects()),
        ("reconciles", "result") => {
            let said = words("src/controller/queue.rs", "fn result_label", "\n}");
            assert_eq!(list(&said), "`again`, `done`, `failed`");
            "`done` (nothing is left to do until something changes or its time comes), `again` (there is more to do), `failed`".into()
        }
        ("errors", "class") => list(&words(
            "src/controller/mod.rs",
            "fn class(&self)",
            "\n    }",
        )),
        ("effects", "effect") => list(&words(
            "src/controller/execute.rs",
            "fn name(&self)",
            "\n    }",
        )),
        ("effects", "outcome") => {
            let said = words("src/controller/mod.rs", "let word = match &outcome", "};");
            assert_eq!(list(&said), "`done`, `failed`, `raced`, `refused`");
            "`done`, `raced` (somebody else wrote first), `refused` (the API server or the backend says no), `failed`".into()
        }
        ("events", "reason") => {
            let told: Vec<_> = EVENTS
                .iter()
                .map(|(word, what)| format!("`{word}` ({what})"))
                .collect();
            format!(
                "{}; or a [reason code](troubleshooting.md), where something waits or was refused",
                told.join(", ")
            )
        }
        ("objects", label) => of_objects(label),
        ("next_purge_timestamp_seconds", "protected") => "`true`, `false`".into(),
        other => panic!("nobody says what {other:?} may be"),
    }
}

fn of_objects(label: &str) -> String {
    let mut states: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for place in Place::all() {
        states
            .entry(place.kind)
            .or_default()
            .insert(format!("`{:?}`", place.state));
    }
    match label {
        "kind" => states
            .keys()
            .map(|kind| format!("`{kind}`"))
            .collect::<Vec<_>>()
            .join(", "),
        "protected" => "`true`, `false`".into(),
        "state" => {
            let mut of: BTreeMap<BTreeSet<String>, Vec<&str>> = BTreeMap::new();
            for (kind, states) in states {
                of.entry(states).or_default().push(kind);
            }
            let each = of.into_iter().map(|(states, kinds)| {
                let states: Vec<_> = states.into_iter().collect();
                format!("of {}: {}", kinds.join(" and "), states.join(", "))
            });
            each.collect::<Vec<_>>().join("; ")
        }
        other => panic!("a label that nobody knows: {other}"),
    }
}
