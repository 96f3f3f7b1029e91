//! Who may ask for what: a purge in his own name and with the verb for it, a recovery where he might create, a mode that recovers.

use super::words::{hole, literal, not_permitted, sentence};
use super::writers::alone;
use super::{Check, Installation, On, Policy};
use crate::api::{GROUP, conditions};
use crate::softdelete::permission::Write;
use crate::softdelete::{Kind, Refusal, Unless};

const NOT_PERMITTED: &str =
    "You may not do this; ask an administrator for a role that lets you, or somebody who has one.";

const ALL_KEYS: &str = "hsmkeys, which includeKeys All brings back,";

pub(super) fn policies(of: &Installation) -> Vec<Policy> {
    let mut all = vec![purges(), withdrawal(), recovers(), create_mode()];
    if of.undeletable {
        all.extend([undeletable_purges(of), undeletable_hsms()]);
    }
    all
}

fn policy(name: &'static str, rules: On, validations: Vec<Check>) -> Policy {
    Policy {
        name,
        rules: vec![rules],
        spares_operator: true,
        only_if: Vec::new(),
        validations,
    }
}

/// The operator may name the true user of a request that it relays, and writes receipts.
fn purges() -> Policy {
    // SD-33, refused early.
    let own_name = Check {
        holds: "object.spec.requestedBy == request.userInfo.username".into(),
        sentence: not_permitted(
            "create",
            "a Purge requested by",
            &hole("object.spec.requestedBy"),
            Unless::Operator(
                "set spec.requestedBy to the name that kubectl auth whoami prints".into(),
            ),
        ),
        otherwise: "A Purge says who asks for it; set spec.requestedBy to your own name.",
    };
    // SD-31, refused early.
    let resource = proxies_of("object.spec.kind", "Deleted");
    let namespace = "object.spec.name.split('.')[0]";
    let verb = Check {
        holds: allowed(&resource, namespace, Some("object.spec.name"), "purge"),
        sentence: not_permitted(
            "purge",
            &hole(&resource),
            &hole("object.spec.name"),
            Unless::Role,
        ),
        otherwise: NOT_PERMITTED,
    };
    policy(
        "purges",
        On::ours(&["CREATE"], &["purges"]),
        vec![own_name, verb],
    )
}

/// What executes or is finished is deleted by the operator alone (SD-31).
fn withdrawal() -> Policy {
    let ends = [
        conditions::EXECUTING,
        conditions::COMPLETE,
        conditions::FAILED,
    ]
    .map(literal)
    .join(", ");
    let open = Check {
        holds: format!(
            "!oldObject.?status.?conditions.orValue([]).exists(c, c.status == 'True' && c.type in [{ends}])"
        ),
        sentence: alone(Write::PurgeUnderWay),
        otherwise: "Only the operator deletes a Purge that is executing or finished.",
    };
    policy("withdrawal", On::ours(&["DELETE"], &["purges"]), vec![open])
}

/// What a Recover brings back its author might have created there; another namespace he accepts only with the verb for it.
fn recovers() -> Policy {
    // SD-30, refused early.
    let objects = choice(
        "object.spec.kind == 'HsmKey'",
        Kind::Key.objects(),
        Kind::Hsm.objects(),
    );
    let create = Check {
        holds: allowed(&objects, "request.namespace", None, "create"),
        sentence: not_permitted("create", &hole(&objects), &here(), Unless::Role),
        otherwise: NOT_PERMITTED,
    };
    // What `includeKeys: All` brings back are keys, whatever the Recover names.
    let keys = Check {
        holds: format!(
            "object.spec.?includeKeys.orValue('None') != 'All' || {}",
            allowed(
                &literal(Kind::Key.objects()),
                "request.namespace",
                None,
                "create"
            )
        ),
        sentence: not_permitted("create", ALL_KEYS, &here(), Unless::Role),
        otherwise: NOT_PERMITTED,
    };
    // SD-19, refused early.
    let resource = proxies_of("object.spec.kind", "");
    let name = "request.namespace + '.' + object.spec.name";
    let accept = Check {
        holds: format!(
            "!has(object.spec.acceptNamespaceUid) || {}",
            allowed(&resource, "request.namespace", Some(name), "recover")
        ),
        sentence: not_permitted("recover", &hole(&resource), &hole(name), Unless::Role),
        otherwise: NOT_PERMITTED,
    };
    policy(
        "recovers",
        On::ours(&["CREATE"], &["recovers"]),
        vec![create, keys, accept],
    )
}

/// The same for the mode (SD-30), judged only where it changes.
fn create_mode() -> Policy {
    let recovers = "object.spec.createMode == 'CreateOrRecover'";
    let did = "(oldObject != null && oldObject.spec.createMode == 'CreateOrRecover')";
    let resource = literal("recovers");
    let check = Check {
        holds: format!(
            "!({recovers}) || {did} || {}",
            allowed(&resource, "request.namespace", None, "create")
        ),
        sentence: not_permitted(
            "create",
            "recovers, which createMode CreateOrRecover asks for,",
            &here(),
            Unless::Role,
        ),
        otherwise: NOT_PERMITTED,
    };
    let objects = [Kind::Hsm.objects(), Kind::Key.objects()];
    policy(
        "create-mode",
        On::ours(&["CREATE", "UPDATE"], &objects),
        vec![check],
    )
}

/// Of an undeletable cluster (SD-15): the operator writes its receipts, and relays nobody's request.
fn undeletable_purges(of: &Installation) -> Policy {
    let receipt = Check {
        holds: format!(
            "{} && object.spec.requestedBy == {}",
            of.is_operator(),
            literal(&of.user)
        ),
        sentence: sentence(&Refusal::UndeletableSubscription { until: None }),
        otherwise: "This cluster is undeletable: nothing is purged on request.",
    };
    Policy {
        spares_operator: false,
        ..policy(
            "undeletable-purges",
            On::ours(&["CREATE"], &["purges"]),
            vec![receipt],
        )
    }
}

/// On an undeletable cluster (SD-02). The operator makes again what was made before.
fn undeletable_hsms() -> Policy {
    let on = Check {
        holds: "object.spec.softDelete == true".into(),
        sentence: sentence(&Refusal::SoftDeleteRequired),
        otherwise: "This cluster is undeletable: every HSM has soft-delete.",
    };
    policy(
        "undeletable-hsms",
        On::ours(&["CREATE"], &[Kind::Hsm.objects()]),
        vec![on],
    )
}

/// That the requesting user may do this, as CEL; each argument but the verb is CEL.
fn allowed(resource: &str, namespace: &str, name: Option<&str>, verb: &str) -> String {
    let name = name
        .map(|name| format!(".name({name})"))
        .unwrap_or_default();
    format!(
        "authorizer.group({}).resource({resource}).namespace({namespace}){name}.check({}).allowed()",
        literal(GROUP),
        literal(verb),
    )
}

/// The proxies' resource by the kind that a field names, with `prefix` before an object's kind.
fn proxies_of(kind: &str, prefix: &str) -> String {
    let key = format!(
        "{kind} == {}",
        literal(&format!("{prefix}{}", Kind::Key.object()))
    );
    choice(&key, Kind::Key.proxies(), Kind::Hsm.proxies())
}

fn choice(condition: &str, then: &str, otherwise: &str) -> String {
    format!("({condition} ? {} : {})", literal(then), literal(otherwise))
}

fn here() -> String {
    format!("in the namespace {}", hole("request.namespace"))
}
