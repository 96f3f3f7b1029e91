//! Every kind has an example that is what it says: of the types, without an unknown field, lawful.

use std::{collections::BTreeSet, fs, path::Path};

use kube::core::cel::ValidationErrors;
use managed_hsm_operator::api::{
    self, DeletedHsmKey, DeletedManagedHsm, HsmKey, ManagedHsm, Purge, Recover,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

#[test]
fn there_is_a_lawful_sample_of_every_kind_and_no_unknown_field_in_any() {
    let mut kinds = BTreeSet::new();
    for folder in ["deploy/samples", "deploy/samples/shown"] {
        for (file, sample) in samples(folder) {
            let kind = sample["kind"].as_str().unwrap_or_default().to_owned();
            let back = read_back(&kind, &sample).unwrap_or_else(|error| panic!("{file}: {error}"));
            let lost = lost(&sample, &back, "");
            assert!(lost.is_empty(), "{file}: not in {kind}: {lost:?}");
            let file_name = Path::new(&file)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            assert_eq!(
                file_name,
                kind.to_lowercase(),
                "a file holds the samples of its kind"
            );
            assert_eq!(
                kind.starts_with("Deleted"),
                folder.ends_with("shown"),
                "{file}"
            );
            kinds.insert(kind);
        }
    }
    let all: BTreeSet<_> = api::crds()
        .into_iter()
        .map(|crd| crd.spec.names.kind)
        .collect();
    assert_eq!(kinds, all);
}

#[test]
fn a_status_that_only_the_schema_filled_in_is_read_as_unseen_and_empty() {
    let unseen = serde_json::json!({"observedGeneration": -1});
    fn both<T: DeserializeOwned + Serialize + Default + PartialEq + std::fmt::Debug>(
        unseen: &Value,
    ) {
        let status: T = serde_json::from_value(unseen.clone()).expect("a status");
        assert_eq!(status, T::default());
        assert_eq!(serde_json::to_value(&status).expect("json"), *unseen);
    }
    both::<api::ManagedHsmStatus>(&unseen);
    both::<api::HsmKeyStatus>(&unseen);
    both::<api::ProxyStatus>(&unseen);
    both::<api::RecoverStatus>(&unseen);
    both::<api::PurgeStatus>(&unseen);
}

#[test]
fn an_empty_spec_of_a_managed_hsm_is_read_with_its_defaults() {
    let spec: api::ManagedHsmSpec = serde_json::from_str("{}").expect("a spec");
    assert_eq!(spec, api::ManagedHsmSpec::default());
    assert_eq!(
        (spec.retention_days, spec.soft_delete, spec.purge_protection),
        (90, true, false)
    );
    assert_eq!(spec.backend, "default");
}

#[test]
fn what_a_key_did_not_say_stays_unsaid() {
    let said = serde_json::json!({"hsm": "payments", "keyType": "EC", "curve": "P-256"});
    let spec: api::HsmKeySpec = serde_json::from_value(said).expect("a spec");
    assert_eq!(
        spec,
        api::HsmKeySpec::new("payments", api::KeyType::Ec, None, Some(api::Curve::P256))
    );
    let written = serde_json::to_value(&spec).expect("json");
    for field in [
        "keyName",
        "retentionDays",
        "operations",
        "keySize",
        "notBefore",
        "expires",
        "tags",
    ] {
        assert!(written.get(field).is_none(), "{field}");
    }
}

/// The sample as its type writes it again, if the type reads it and its rules let it pass.
fn read_back(kind: &str, sample: &Value) -> Result<Value, String> {
    match kind {
        "ManagedHsm" => through(sample, ManagedHsm::validate_cel),
        "HsmKey" => through(sample, HsmKey::validate_cel),
        "DeletedManagedHsm" => through(sample, DeletedManagedHsm::validate_cel),
        "DeletedHsmKey" => through(sample, DeletedHsmKey::validate_cel),
        "Recover" => through(sample, Recover::validate_cel),
        "Purge" => through(sample, Purge::validate_cel),
        other => Err(format!("{other:?} is no kind of ours")),
    }
}

fn through<T>(
    sample: &Value,
    judge: fn(&T) -> Result<(), ValidationErrors>,
) -> Result<Value, String>
where
    T: DeserializeOwned + Serialize,
{
    let object: T = serde_json::from_value(sample.clone()).map_err(|error| error.to_string())?;
    judge(&object).map_err(|errors| errors.to_string())?;
    serde_json::to_value(&object).map_err(|error| error.to_string())
}

/// The paths that are in `sample` and not, or not the same, in `back`.
fn lost(sample: &Value, back: &Value, path: &str) -> Vec<String> {
    match (sample, back) {
        (Value::Object(ours), Value::Object(theirs)) => ours
            .iter()
            .flat_map(|(key, value)| {
                lost(
                    value,
                    theirs.get(key).unwrap_or(&Value::Null),
                    &format!("{path}.{key}"),
                )
            })
            .collect(),
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => ours
            .iter()
            .zip(theirs)
            .flat_map(|(ours, theirs)| lost(ours, theirs, &format!("{path}[]")))
            .collect(),
        _ if sample == back => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

/// Every document of every file in a folder, with the file's name.
fn samples(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("a folder of samples");
    let files = entries.map(|entry| entry.expect("an entry").path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .flat_map(|path| {
            let text = fs::read_to_string(&path).expect("a readable sample");
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let documents: Vec<_> = serde_yaml_ng::Deserializer::from_str(&text)
                .map(|document| Value::deserialize(document).expect("YAML"))
                .collect();
            documents
                .into_iter()
                .map(move |document| (name.clone(), document))
        })
        .collect()
}
