use serde_json::json;

use super::super::testing::{HOME, SETTINGS, UID, deleted_key, in_phase, uid};
use super::*;

fn spec(accept: Option<&str>) -> api::RecoverSpec {
    let text = json!({"kind": "HsmKey", "name": "it", "uid": UID, "acceptNamespaceUid": accept});
    serde_json::from_value(text).expect("a spec")
}

fn told(spec: &api::RecoverSpec, facts: &Facts) -> Vec<String> {
    let advice = judge(spec, facts, SETTINGS);
    assert_eq!(advice.refusal, None, "only the record knows");
    advice.warnings
}

fn kept(phase: Option<Phase>) -> Facts {
    let found = deleted_key(json!({}));
    Facts {
        found: Some(phase.map_or(found.clone(), |phase| in_phase(found, phase))),
        namespace: Some((uid(HOME), false)),
        ..Facts::default()
    }
}

#[test]
fn sd20_what_is_kept_comes_back_in_silence_and_what_passes_by_itself_too() {
    for phase in [None, Some(Phase::Recovering), Some(Phase::Destroying)] {
        assert_eq!(
            told(&spec(None), &kept(phase)),
            Vec::<String>::new(),
            "{phase:?}"
        );
    }
}

#[test]
fn sd20_one_of_nothing_is_told_unless_the_object_is_there_to_be_deleted() {
    let object = |of: &str, terminating| Facts {
        object: Some((uid(of), terminating)),
        namespace: Some((uid(HOME), false)),
        ..Facts::default()
    };
    for terminating in [true, false] {
        let facts = object(UID, terminating);
        assert_eq!(told(&spec(None), &facts), Vec::<String>::new());
    }
    for facts in [
        object("uid-2", false),
        object("uid-2", true),
        Facts::default(),
    ] {
        let told = told(&spec(None), &facts);
        assert!(
            told[0].starts_with("There is no deleted HsmKey it with uid uid-1"),
            "{told:?}"
        );
    }
}

#[test]
fn sd19_another_namespace_is_told_with_the_command_that_accepts_it() {
    let mut facts = kept(None);
    facts.namespace = Some((uid("namespace-2"), false));
    let told_of_it = told(&spec(None), &facts);
    assert!(
        told_of_it[0].contains("\"acceptNamespaceUid\":\"namespace-2\""),
        "{told_of_it:?}"
    );
    assert_eq!(
        told(&spec(Some("namespace-2")), &facts),
        Vec::<String>::new()
    );
    assert_eq!(told(&spec(Some("namespace-3")), &facts).len(), 1);
    facts.namespace = Some((uid(HOME), true));
    assert!(told(&spec(None), &facts)[0].starts_with("The namespace payments is being deleted"));
}

#[test]
fn sd20_a_withdrawal_that_comes_too_late_says_so() {
    let told = |phase| {
        let facts = kept(phase);
        withdrawn(&spec(None), facts.found.as_ref()).warnings
    };
    assert_eq!(told(None), Vec::<String>::new());
    assert_eq!(told(Some(Phase::Destroying)), Vec::<String>::new());
    let late = told(Some(Phase::Recovering));
    assert_eq!(
        late,
        [
            "The recovery of the HsmKey it (uid uid-1) is under way and goes on: deleting its Recover withdraws it no more; delete the object once it is back."
        ]
    );
    assert!(late[0].len() <= 256);
    assert_eq!(withdrawn(&spec(None), None), Advice::default());
}
