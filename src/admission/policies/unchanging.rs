//! What no write may change, the operator's included: fixed fields, switches that only turn on, specs that are written once.
//!
//! Optional fields compare as they were said, so that "not said" is fixed as well. An update that changes nothing passes.

use super::words::{fixed, literal, retention, sentence};
use super::{Check, On, Policy};
use crate::softdelete::{Kind, Refusal};

/// How a field that may be left out reads in a sentence.
const UNSAID: &str = "'(not said)'";

pub(super) fn policies() -> Vec<Policy> {
    vec![hsms(), keys(), requests_and_proxies()]
}

fn policy(name: &'static str, resources: &[&str], validations: Vec<Check>) -> Policy {
    Policy {
        name,
        rules: vec![On::ours(&["UPDATE"], resources)],
        spares_operator: false,
        only_if: Vec::new(),
        validations,
    }
}

fn hsms() -> Policy {
    let checks = vec![
        same("backend"),
        // SD-08, refused early.
        Check {
            holds: "object.spec.retentionDays == oldObject.spec.retentionDays".into(),
            sentence: retention(
                "string(oldObject.spec.retentionDays)",
                "string(object.spec.retentionDays)",
            ),
            otherwise: OTHERWISE,
        },
        // SD-12, refused early.
        only_on("softDelete", &Refusal::SoftDeleteIrreversible),
        protection(),
    ];
    policy("fixed-in-hsms", &[Kind::Hsm.objects()], checks)
}

fn keys() -> Policy {
    let checks = vec![
        same("hsm"),
        // Another spelling is the same name (SD-17).
        Check {
            holds: "object.spec.?keyName.orValue('').lowerAscii() == oldObject.spec.?keyName.orValue('').lowerAscii()".into(),
            ..same_if_said("keyName", |field| format!("{field}.orValue({UNSAID})"))
        },
        same("keyType"),
        same_if_said("keySize", |field| format!("({field}.hasValue() ? string({field}.value()) : {UNSAID})")),
        same_if_said("curve", |field| format!("{field}.orValue({UNSAID})")),
        // SD-08, refused early.
        same_if_said("retentionDays", |field| format!("({field}.hasValue() ? string({field}.value()) : {UNSAID})")),
        protection(),
    ];
    policy("fixed-in-keys", &[Kind::Key.objects()], checks)
}

fn requests_and_proxies() -> Policy {
    let all = [
        "recovers",
        "purges",
        Kind::Hsm.proxies(),
        Kind::Key.proxies(),
    ];
    // SD-04, SD-20 and SD-23, refused early.
    let whole = Check {
        holds: "object.spec == oldObject.spec".into(),
        sentence: fixed("spec", &literal("a whole"), &literal("another")),
        otherwise: OTHERWISE,
    };
    policy("written-once", &all, vec![whole])
}

const OTHERWISE: &str =
    "This field was fixed at creation; set it back, or create another object under another name.";

fn same(field: &str) -> Check {
    let (old, new) = (
        format!("oldObject.spec.{field}"),
        format!("object.spec.{field}"),
    );
    Check {
        holds: format!("{new} == {old}"),
        sentence: fixed(&format!("spec.{field}"), &old, &new),
        otherwise: OTHERWISE,
    }
}

/// `shown`: CEL that shows the optional value as a string.
fn same_if_said(field: &str, shown: impl Fn(&str) -> String) -> Check {
    let (old, new) = (
        format!("oldObject.spec.?{field}"),
        format!("object.spec.?{field}"),
    );
    Check {
        holds: format!("{new} == {old}"),
        sentence: fixed(&format!("spec.{field}"), &shown(&old), &shown(&new)),
        otherwise: OTHERWISE,
    }
}

/// Of both kinds (SD-13).
fn protection() -> Check {
    only_on("purgeProtection", &Refusal::PurgeProtectionIrreversible)
}

fn only_on(switch: &str, refusal: &Refusal) -> Check {
    Check {
        holds: format!("object.spec.{switch} || !oldObject.spec.{switch}"),
        sentence: sentence(refusal),
        otherwise: "This switch can be turned on, and never off again; set it back.",
    }
}
