//! What one object shows by itself, judged by kube's own reading of the schema's CEL.

mod api_cases;

use std::collections::BTreeSet;

use api_cases::{Case, HSM_NAME, INCLUDE, KEY_NAME, PROTECTION, cases};
use kube::core::cel::ValidationErrors;
use managed_hsm_operator::api::{
    self, DeletedHsmKey, DeletedManagedHsm, HsmKey, ManagedHsm, Purge, Recover,
};
use managed_hsm_operator::softdelete::Refusal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[test]
fn each_case_is_refused_with_exactly_its_sentence_or_passes() {
    let wrong: Vec<_> = cases()
        .into_iter()
        .filter(|case| judged(case) != Vec::from_iter(case.sentence))
        .map(|case| (judged(&case), case))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_rule_of_every_schema_is_met_by_a_case() {
    let mut messages = BTreeSet::new();
    for crd in api::crds() {
        collect_messages(&serde_json::to_value(&crd).expect("json"), &mut messages);
    }
    let met: BTreeSet<_> = cases()
        .iter()
        .filter_map(|case| case.sentence)
        .map(str::to_owned)
        .collect();
    assert_eq!(met, messages);
}

#[test]
fn sd13_protection_without_soft_delete_is_refused_with_the_sentence_of_the_rule() {
    let rule = Refusal::PurgeProtectionNeedsSoftDelete { hsm: None };
    assert_eq!(rule.to_string(), PROTECTION);
    let refused = cases()
        .into_iter()
        .find(|case| case.sentence == Some(PROTECTION));
    assert_eq!(judged(&refused.expect("a case of it")), [PROTECTION]);
}

#[test]
fn sd21_only_the_recovery_of_an_hsm_includes_keys() {
    let recovers = cases().into_iter().filter(|case| case.kind == "Recover");
    for case in recovers.filter(|case| case.spec["name"] == "abc") {
        let refused = case.spec["kind"] == "HsmKey" && case.spec["includeKeys"] == "All";
        let sentences = if refused {
            vec![INCLUDE.to_owned()]
        } else {
            vec![]
        };
        assert_eq!(judged(&case), sentences, "{case:?}");
    }
}

#[test]
fn a_name_that_ends_with_a_hyphen_is_refused_even_before_the_server_sees_it() {
    let hsm = Case {
        kind: "ManagedHsm",
        name: "ab-".into(),
        spec: json!({}),
        sentence: None,
    };
    assert_eq!(judged(&hsm), [HSM_NAME]);
    let spec = json!({"hsm": "abc", "keyType": "EC", "curve": "P-256"});
    let key = Case {
        kind: "HsmKey",
        name: "k-".into(),
        spec,
        sentence: None,
    };
    assert_eq!(judged(&key), [KEY_NAME]);
}

/// The sentences with which a case is refused, in order.
fn judged(case: &Case) -> Vec<String> {
    let manifest = case.manifest();
    let outcome = match case.kind {
        "ManagedHsm" => through(manifest, ManagedHsm::validate_cel),
        "HsmKey" => through(manifest, HsmKey::validate_cel),
        "DeletedManagedHsm" => through(manifest, DeletedManagedHsm::validate_cel),
        "DeletedHsmKey" => through(manifest, DeletedHsmKey::validate_cel),
        "Recover" => through(manifest, Recover::validate_cel),
        "Purge" => through(manifest, Purge::validate_cel),
        other => panic!("{other:?} is no kind of ours"),
    };
    let failures = outcome.err().map(ValidationErrors::into_vec);
    failures
        .into_iter()
        .flatten()
        .map(|failure| failure.message)
        .collect()
}

fn through<T: DeserializeOwned>(
    manifest: Value,
    judge: fn(&T) -> Result<(), ValidationErrors>,
) -> Result<(), ValidationErrors> {
    judge(&serde_json::from_value(manifest).expect("a manifest of that kind"))
}

fn collect_messages(value: &Value, messages: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let rules = fields
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                messages.insert(rule["message"].as_str().unwrap_or_default().to_owned());
            }
            fields
                .values()
                .for_each(|field| collect_messages(field, messages));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_messages(item, messages)),
        _ => {}
    }
}
