//! What is the operator's alone (SD-32): proxies, every status, our finalizer on what exists.

use super::words::{hole, literal, sentence};
use super::{Check, On, Policy};
use crate::api;
use crate::softdelete::Kind;
use crate::softdelete::permission::{Write, operators_alone};

const OURS: [&str; 6] = [
    "deletedhsmkeys",
    "deletedmanagedhsms",
    "hsmkeys",
    "managedhsms",
    "purges",
    "recovers",
];
const OTHERWISE: &str = "Only the operator writes this; ask for what you want with a Recover or a Purge, or in the spec.";

pub(super) fn policies() -> Vec<Policy> {
    vec![proxies(), status(), finalizer()]
}

/// The refusal of a write, with the request's verb and object filled in.
pub(super) fn alone(write: Write) -> String {
    let (verb, resource, name) = (
        hole("request.operation.lowerAscii()"),
        hole("request.resource.resource"),
        // `request.name` is empty for each of a collection.
        hole("(object == null ? oldObject : object).metadata.name"),
    );
    let user = hole("request.userInfo.username");
    operators_alone(write, &user, &verb, &resource, &name)
        .map_or_else(|| literal(OTHERWISE), |refusal| sentence(&refusal))
}

/// Neither forged, edited nor deleted (SD-04, SD-25). What changes nothing passes, or a stored version could not be migrated.
fn proxies() -> Policy {
    Policy {
        name: "proxies",
        rules: vec![On::ours(
            &["CREATE", "UPDATE", "DELETE"],
            &[Kind::Hsm.proxies(), Kind::Key.proxies()],
        )],
        spares_operator: true,
        only_if: Vec::new(),
        validations: vec![Check {
            holds: "request.operation == 'UPDATE' && object == oldObject".into(),
            sentence: alone(Write::Proxy),
            otherwise: OTHERWISE,
        }],
    }
}

fn status() -> Policy {
    let of = OURS.map(|resource| format!("{resource}/status"));
    let of: Vec<&str> = of.iter().map(String::as_str).collect();
    Policy {
        name: "status",
        rules: vec![On::ours(&["CREATE", "UPDATE"], &of)],
        spares_operator: true,
        only_if: Vec::new(),
        validations: vec![Check {
            holds: "false".into(),
            sentence: alone(Write::Status),
            otherwise: OTHERWISE,
        }],
    }
}

/// A create may bring it along, as backups do.
fn finalizer() -> Policy {
    let has = |of: &str| {
        format!(
            "({} in {of}.metadata.?finalizers.orValue([]))",
            literal(api::FINALIZER)
        )
    };
    let objects = [Kind::Hsm.objects(), Kind::Key.objects()];
    let of = objects
        .iter()
        .flat_map(|name| [(*name).to_owned(), format!("{name}/*")]);
    let of: Vec<String> = of.collect();
    let of: Vec<&str> = of.iter().map(String::as_str).collect();
    Policy {
        name: "finalizer",
        rules: vec![On::ours(&["UPDATE"], &of)],
        spares_operator: true,
        only_if: Vec::new(),
        validations: vec![Check {
            holds: format!("{} == {}", has("object"), has("oldObject")),
            sentence: alone(Write::Finalizer),
            otherwise: OTHERWISE,
        }],
    }
}
