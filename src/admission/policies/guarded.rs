//! What must not go by mistake: our definitions, with which every object of ours would go, and the store that holds every key.
//!
//! A person allows it with an annotation. Policies cannot guard one another: the operator notices, and holds.

use super::words::{hole, literal, not_permitted};
use super::{Check, Installation, On, Policy};
use crate::api::{self, ALLOW_DELETE};
use crate::softdelete::Unless;

pub(super) fn policies(of: &Installation) -> Vec<Policy> {
    vec![definitions(), store(of)]
}

/// Judged by the name of what goes: a DELETE of the whole collection passes by resourceNames.
fn definitions() -> Policy {
    let ours = format!("oldObject.spec.group == {}", literal(api::GROUP));
    Policy {
        name: "definitions",
        rules: vec![On {
            group: "apiextensions.k8s.io",
            version: "v1",
            operations: &["DELETE"],
            resources: vec!["customresourcedefinitions".into()],
        }],
        spares_operator: false,
        only_if: vec![("ours", ours)],
        validations: vec![guard(&annotated("oldObject"))],
    }
}

/// What is in an annotated namespace may go with it, or the namespace would stay Terminating.
fn store(of: &Installation) -> Policy {
    let namespace = literal(&of.namespace);
    let named = |resource: &str, names: &[String]| {
        let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
        format!(
            "(request.resource.resource == {} && request.namespace == {namespace} && oldObject.metadata.name in [{}])",
            literal(resource),
            names.join(", "),
        )
    };
    let itself = format!(
        "(request.resource.resource == 'namespaces' && oldObject.metadata.name == {namespace})"
    );
    let ours = [
        itself,
        named("persistentvolumeclaims", &of.claims),
        named("secrets", &of.secrets),
    ];
    Policy {
        name: "store",
        rules: vec![On {
            group: "",
            version: "v1",
            operations: &["DELETE"],
            resources: vec![
                "namespaces".into(),
                "persistentvolumeclaims".into(),
                "secrets".into(),
            ],
        }],
        spares_operator: false,
        only_if: vec![("ours", ours.join(" || "))],
        validations: vec![guard(&format!(
            "{} || (request.resource.resource != 'namespaces' && {})",
            annotated("oldObject"),
            annotated("namespaceObject"),
        ))],
    }
}

fn annotated(object: &str) -> String {
    format!(
        "{object}.metadata.?annotations[?{}].orValue('') == 'true'",
        literal(ALLOW_DELETE)
    )
}

fn guard(allowed: &str) -> Check {
    Check {
        holds: allowed.to_owned(),
        sentence: not_permitted(
            "delete",
            &hole("request.resource.resource"),
            &hole("oldObject.metadata.name"),
            Unless::Annotated(ALLOW_DELETE.into()),
        ),
        otherwise: "Every key hangs on this; annotate it managedhsm.dev/allow-delete=true first if it is to go for good.",
    }
}
