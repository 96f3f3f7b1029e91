//! The specification's rules and which of them still lack something, each with the reason.

use std::collections::BTreeSet;

/// SD-01 to SD-35.
const LAST: u8 = 35;

/// Public functions of `softdelete` that carry no rule, and why.
pub const WITHOUT_RULE: &[(&str, &str)] = &[
    ("key_name", "a spelling shared by the rules on names"),
    (
        "whole_seconds_up",
        "arithmetic shared by the rules on dates",
    ),
    ("date", "how every sentence writes a date"),
];

/// Rules that no function carries, and why.
pub const WITHOUT_FUNCTION: &[(u8, &str)] = &[
    (21, "waiting for the planner of recoveries"),
    (22, "waiting for the planner of recoveries"),
    (24, "waiting for the planner of purges"),
    (
        25,
        "waiting for the admission policies and the orphan sweep",
    ),
    (29, "RBAC: waiting for the chart's roles"),
    (30, "RBAC: waiting for the admission policies"),
    (31, "RBAC: waiting for the admission policies"),
    (32, "waiting for the admission policies"),
    (33, "waiting for the admission policies"),
    (35, "waiting for the planners' events"),
];

/// Rules that no test is named after yet, and why.
pub const WITHOUT_TEST: &[(u8, &str)] = &[
    (22, "waiting for the planner of recoveries"),
    (24, "waiting for the planner of purges"),
    (
        25,
        "waiting for the admission policies and the orphan sweep",
    ),
    (29, "waiting for the chart's roles"),
    (30, "waiting for the admission policies"),
    (31, "waiting for the admission policies"),
    (32, "waiting for the admission policies"),
    (33, "waiting for the admission policies"),
    (35, "waiting for the planners' events"),
];

/// The ids that a doc comment begins with: of `SD-14 SD-15 Whether …` they are 14 and 15.
pub fn leading_ids(doc: &str) -> Vec<u8> {
    let words = doc.split_whitespace();
    words
        .map_while(|word| {
            word.strip_prefix("SD-")?
                .trim_end_matches(['.', ':', ','])
                .parse()
                .ok()
        })
        .collect()
}

/// Fails unless each rule is either found or excused, and none is both.
#[track_caller]
pub fn agree(what: &str, found: &BTreeSet<u8>, excused: &[(u8, &str)]) {
    let mut broken = Vec::new();
    for rule in 1..=LAST {
        let excuse = excused.iter().find(|(id, _)| *id == rule);
        match (found.contains(&rule), excuse) {
            (false, None) => broken.push(format!(
                "SD-{rule:02} lacks {what}, and no reason is given in tests/tidy/rules.rs"
            )),
            (true, Some(_)) => broken.push(format!(
                "SD-{rule:02} has {what} now: take it off the list in tests/tidy/rules.rs"
            )),
            (false, Some((_, reason))) => {
                assert!(reason.len() > 10, "SD-{rule:02} needs a true reason")
            }
            (true, None) => {}
        }
    }
    let unknown: Vec<&u8> = found
        .iter()
        .filter(|id| !(1..=LAST).contains(*id))
        .collect();
    assert!(
        unknown.is_empty(),
        "the specification has no such rules: {unknown:?}"
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn ids_are_read_from_the_beginning_only() {
    assert_eq!(leading_ids(" SD-14 SD-15 Whether it may"), [14, 15]);
    assert_eq!(leading_ids(" SD-15."), [15]);
    assert_eq!(leading_ids(" Whether it may (SD-15)"), [0; 0]);
}
