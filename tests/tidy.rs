//! The house rules, as tests: who may import whom, who may read a clock, where unsafe code may stand, and
//! that each rule of the specification has its function and its test.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/threats.rs"]
mod threats;

use std::collections::BTreeSet;

use source::{Source, project};

/// The rooms that know the domain. Plumbing knows none of them.
const PLUMBING: &[&str] = &["clock", "metrics", "http", "config", "telemetry", "leader"];

/// Who may import whom. A room may always use itself; imports point only downward.
const LAW: &[(&str, &[&str])] = &[
    ("softdelete", &[]),
    ("clock", &[]),
    ("api", &[]),
    ("metrics", &[]),
    // It serves the registry at /metrics.
    ("http", &["metrics"]),
    ("backend", &[]),
    ("plan", &["api", "softdelete", "backend"]),
    (
        // Of the specification only its words: `Kind`, `Record`.
        "controller",
        &["api", "plan", "softdelete", "backend", "clock", "metrics"],
    ),
    // Of the specification only its words, as SD-34 has them.
    ("admission", &["api", "plan", "softdelete", "clock"]),
    (
        "keyservice",
        &["api", "plan", "softdelete", "backend", "clock", "metrics"],
    ),
    ("config", PLUMBING),
    ("telemetry", PLUMBING),
    ("leader", PLUMBING),
    // The definitions, the flags of `run`, the policies and the webhook, and of the specification which permission needs what.
    ("manifests", &["admission", "api", "config", "softdelete"]),
    // The composition root.
    ("run", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
    ("bin", &["*"]),
];

#[test]
fn each_room_imports_only_what_it_may() {
    let mut broken = Vec::new();
    for file in source::product() {
        let room = file.room();
        let Some((_, may)) = LAW.iter().find(|(name, _)| *name == room) else {
            broken.push(format!(
                "{}: the room `{room}` is not in the law",
                file.path
            ));
            continue;
        };
        for (line, used) in file.imports() {
            if used != room && !may.contains(&"*") && !may.contains(&used.as_str()) {
                broken.push(format!(
                    "{}:{line}: `{room}` may not use `{used}`",
                    file.path
                ));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "imports that point where they may not:\n{}",
        broken.join("\n")
    );
}

#[test]
fn judgement_is_pure() {
    // What would be a client, a clock, chance, logging or waiting inside a decision.
    let never = [
        "async fn",
        ".await",
        "tokio::",
        "tracing::",
        "rand::",
        "Instant::",
        "kube::Client",
        "std::fs",
        "std::env",
        "println!",
    ];
    found_nowhere(&never, |file| ["softdelete", "plan"].contains(&file.room()));
}

#[test]
fn the_specification_needs_std_and_chrono_only() {
    let dependencies = source::dependencies();
    assert!(
        dependencies.contains("kube"),
        "the dependencies were not read: {dependencies:?}"
    );
    let never: Vec<String> = dependencies
        .iter()
        .filter(|name| *name != "chrono")
        .map(|name| format!("{name}::"))
        .collect();
    let never: Vec<&str> = never.iter().map(String::as_str).collect();
    found_nowhere(&never, |file| file.room() == "softdelete");
}

#[test]
fn only_the_clock_reads_a_clock() {
    // Clippy finds the calls (clippy.toml); this finds who turns it off.
    found_nowhere(&["clippy::disallowed_methods"], |file| {
        file.room() != "clock"
    });
    let config = std::fs::read_to_string(project().join("clippy.toml")).unwrap();
    for banned in [
        "chrono::Utc::now",
        "chrono::Local::now",
        "std::time::SystemTime::now",
        "jiff::Timestamp::now",
        "jiff::Zoned::now",
    ] {
        assert!(
            config.contains(&format!("\"{banned}\"")),
            "clippy.toml no longer bans {banned}"
        );
    }
}

#[test]
fn unsafe_code_stands_only_where_pkcs11_is_spoken() {
    found_nowhere(
        &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
        |file| !file.path.starts_with("src/backend/pkcs11"),
    );
}

#[test]
fn product_code_does_not_panic() {
    // Clippy finds the calls in whatever such a root reaches; this finds a root that lost the lint.
    let roots: Vec<Source> = source::product()
        .into_iter()
        .filter(Source::is_crate_root)
        .collect();
    assert!(roots.len() >= 2, "src/lib.rs and src/main.rs at least");
    for root in roots {
        let start = root.text.find("#![cfg_attr(").unwrap_or(root.text.len());
        let attribute = root.text[start..].split(")]").next().unwrap();
        for lint in [
            "not(test)",
            "warn(",
            "clippy::unwrap_used",
            "clippy::expect_used",
            "clippy::panic",
            "clippy::unreachable",
        ] {
            assert!(
                attribute.contains(lint),
                "{} must begin like src/lib.rs: it lacks {lint}",
                root.path
            );
        }
    }
}

#[test]
fn each_exception_from_a_lint_says_why() {
    // `allow_attributes_without_reason` is on in Cargo.toml; an exception for a whole file would turn it off unseen.
    found_nowhere(&["#![allow("], |_| true);
    let manifest = std::fs::read_to_string(project().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("allow_attributes_without_reason = \"warn\""));
}

#[test]
fn nothing_names_this_or_that_machine() {
    let home = ["/ho", "me/"].concat();
    let root = ["/ro", "ot/"].concat();
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["X", "XX"].concat(),
    ];
    let mut broken = Vec::new();
    for file in source::all() {
        for (number, line) in file.text.lines().enumerate() {
            let marked = marks.iter().any(|mark| {
                line.split(|c: char| !c.is_ascii_alphanumeric())
                    .any(|word| word == mark)
            });
            if marked || line.contains(&home) || line.contains(&root) {
                broken.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "a path of one machine, or something put off:\n{}",
        broken.join("\n")
    );
}

#[test]
fn no_test_is_switched_off() {
    let ignored = ["#[ig", "nore"].concat();
    let broken: Vec<String> = source::all()
        .into_iter()
        .filter(|f| f.path.ends_with(".rs") && f.text.contains(&ignored))
        .map(|f| f.path)
        .collect();
    assert!(broken.is_empty(), "tests that are ignored in {broken:?}");
}

#[test]
fn each_rule_lives_in_exactly_one_function() {
    let found: Vec<u8> = source::product()
        .iter()
        .flat_map(Source::docs)
        .flat_map(|doc| rules::leading_ids(&doc))
        .collect();
    let wrong: Vec<String> = rules::ALL
        .map(|rule| (rule, found.iter().filter(|id| **id == rule).count()))
        .filter(|(_, times)| *times != 1)
        .map(|(rule, times)| format!("SD-{rule:02}: {times}"))
        .collect();
    assert!(
        wrong.is_empty(),
        "rules whose id does not begin the doc of exactly one item:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn each_rule_has_a_test_named_after_it() {
    let found: BTreeSet<u8> = source::all()
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .flat_map(Source::rule_tests)
        .collect();
    let missing: Vec<u8> = rules::ALL.filter(|rule| !found.contains(rule)).collect();
    assert!(missing.is_empty(), "rules without a test: {missing:?}");
}

/// Fails, with each place, where product code of the chosen files contains one of `texts`.
#[track_caller]
fn found_nowhere(texts: &[&str], chosen: impl Fn(&Source) -> bool) {
    let mut broken = Vec::new();
    for file in source::product().into_iter().filter(chosen) {
        for (line, code) in file.code() {
            broken.extend(
                texts
                    .iter()
                    .filter(|text| contains_word(code, text))
                    .map(|text| format!("{}:{line}: `{text}`", file.path)),
            );
        }
    }
    assert!(
        broken.is_empty(),
        "found where it may not be:\n{}",
        broken.join("\n")
    );
}

/// Whether `text` stands in `code` and is not the end of a longer name.
fn contains_word(code: &str, text: &str) -> bool {
    code.match_indices(text).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let joined = |c: char| c.is_alphanumeric() || c == '_';
        !text.starts_with(joined) || !before.is_some_and(joined)
    })
}
