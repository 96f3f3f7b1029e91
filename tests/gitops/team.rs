//! What one team has in Git: a namespace, an HSM and a key in it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::house::House;

/// The team's folder in the repository.
pub const TEAM: &str = "payments";

const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: shop
";

const KEY: &str = "apiVersion: managedhsm.dev/v1alpha1
kind: HsmKey
metadata:
  name: signing
  namespace: shop
spec:
  hsm: payments
  keyType: EC
  curve: P-256
  tags: {owner: payments}
";

/// An HSM of that name with a label, and what its spec says besides.
pub fn hsm(name: &str, label: &str, spec: &str) -> String {
    format!(
        "apiVersion: managedhsm.dev/v1alpha1
kind: ManagedHsm
metadata:
  name: {name}
  namespace: shop
  labels: {{tier: {label}}}
spec:
  retentionDays: 30
{spec}"
    )
}

pub const BY_ITSELF: &str = "  createMode: CreateOrRecover\n";

/// Pushes all of it, with that in the specs besides.
pub fn begins(house: &House, spec: &str) {
    house.repository.push(
        "Payments",
        &[
            ("payments/namespace.yaml", NAMESPACE),
            ("payments/hsm.yaml", &hsm("payments", "gold", spec)),
            ("payments/key.yaml", &format!("{KEY}{spec}")),
        ],
    );
}

/// Of each key in the namespace, which is ready at this very moment, its public half.
pub fn thumbprints(house: &House) -> BTreeMap<String, String> {
    let all = house.does("kubectl -n shop get managedhsms,hsmkeys -o json");
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let mut found = BTreeMap::new();
    for object in all["items"].as_array().expect("a list") {
        let conditions = object["status"]["conditions"].as_array();
        let ready = conditions.and_then(|all| all.iter().find(|it| it["type"] == "Ready"));
        assert_eq!(ready.expect("a condition")["status"], "True", "{object}");
        let thumbprint = object["status"]["versions"][0]["thumbprint"].as_str();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        found.extend(thumbprint.map(|it| (name.to_owned(), it.to_owned())));
    }
    found
}

/// The uid of what is there.
pub fn uid(house: &House, what: &str) -> String {
    house.does(&format!(
        "kubectl -n shop get {what} -o jsonpath={{.metadata.uid}}"
    ))
}

/// The command that a sentence names.
pub fn command(sentence: &str) -> &str {
    let from = sentence.find("kubectl apply -f - <<<'").expect("a command");
    let command = &sentence[from..];
    let end = command.find("}'").expect("its end");
    &command[..end + 2]
}
