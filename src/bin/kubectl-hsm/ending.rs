//! How a command ends that does not go well: one exit code and one sentence.

use kube::core::Status;
use managed_hsm_operator::api::GROUP;
use managed_hsm_operator::softdelete::{Refusal, Unless};

/// The exit codes; `EXIT_CODES` says them to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Refused = 1,
    Usage = 2,
    NotPermitted = 3,
    NotFound = 4,
    NoCluster = 5,
    NotEnded = 6,
}

/// As `--help` and the page show them.
pub const EXIT_CODES: &str = "Exit codes:
  0  it is done
  1  it was refused, has failed or is stalled, or not all of it came back
  2  the command line is not right, or it needs an answer
  3  you may not do this
  4  there is no such thing
  5  the cluster does not answer, or has no definitions of managed-hsm-operator
  6  it has not ended within --timeout, or waits for other people's approval";

/// What went wrong, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub sentence: String,
}

impl Failure {
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { exit, sentence }
    }

    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    pub fn missing(sentence: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, sentence)
    }

    /// The same with a second way out.
    pub fn or(mut self, way_out: &str) -> Self {
        self.sentence = format!("{} {way_out}", self.sentence);
        self
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(Exit::Refused, refusal.to_string())
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => answered(&status),
            kube::Error::Auth(why) => Self::new(
                Exit::NotPermitted,
                format!(
                    "You could not be logged in ({}); log in again, or choose another --context.",
                    words(&why)
                ),
            ),
            other => unanswered(&other),
        }
    }
}

fn unanswered(error: &dyn std::error::Error) -> Failure {
    Failure::new(
        Exit::NoCluster,
        format!(
            "The cluster does not answer as it should ({}); start it, or choose another one with --context or KUBECONFIG.",
            words(error)
        ),
    )
}

fn answered(status: &Status) -> Failure {
    let named = status
        .details
        .as_ref()
        .is_some_and(|details| !details.name.is_empty());
    match status.code {
        401 => Failure::new(
            Exit::NotPermitted,
            "The cluster does not know you; log in again, or choose another --context.",
        ),
        403 => forbidden(&status.message),
        404 if !named => Failure::new(
            Exit::NoCluster,
            format!(
                "The cluster does not serve the definitions of {GROUP}; install managed-hsm-operator there, or choose another --context."
            ),
        ),
        404 => Failure::missing(sentence(&status.message)),
        _ => Failure::new(Exit::Refused, sentence(&status.message)),
    }
}

/// What a policy or the webhook said, or what RBAC's answer means.
fn forbidden(message: &str) -> Failure {
    let said = ["denied request: ", "denied the request: "]
        .iter()
        .find_map(|mark| message.split_once(mark));
    match said {
        Some((_, said)) if is_about_rights(said) => {
            Failure::new(Exit::NotPermitted, sentence(said))
        }
        Some((_, said)) => Failure::new(Exit::Refused, sentence(said)),
        None => Failure::new(
            Exit::NotPermitted,
            not_permitted(message).map_or_else(|| sentence(message), |refusal| refusal.to_string()),
        ),
    }
}

/// Every refusal by a policy is a 403; these are what `NotPermitted` says.
fn is_about_rights(said: &str) -> bool {
    ["The user ", "Only the operator may "]
        .iter()
        .any(|start| said.starts_with(start))
}

fn not_permitted(message: &str) -> Option<Refusal> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, rest) = rest.split_once("\" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, rest) = rest.split_once('"')?;
    let namespace = rest
        .split_once("in the namespace \"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let name = namespace.map_or_else(
        || "in the cluster".to_owned(),
        |(namespace, _)| format!("in the namespace {namespace}"),
    );
    Some(Refusal::NotPermitted {
        user: user.to_owned(),
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        name,
        unless: Unless::Role,
    })
}

/// Somebody else's words, ending like a sentence.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{text}{end}")
}

/// An error with what caused it.
pub fn words(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_said = inner.to_string();
        if !said.contains(&inner_said) {
            said = format!("{said}: {inner_said}");
        }
        cause = inner.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> Status {
        Status::failure(message, "").with_code(code)
    }

    #[test]
    fn what_rbac_refuses_is_the_projects_own_sentence() {
        let message = "deletedhsmkeys.managedhsm.dev is forbidden: User \"eve\" cannot list resource \"deletedhsmkeys\" in API group \"managedhsm.dev\" at the cluster scope";
        let failure = answered(&status(403, message));
        assert_eq!(failure.exit, Exit::NotPermitted);
        assert_eq!(
            failure.sentence,
            "The user eve may not list deletedhsmkeys in the cluster; ask an administrator for a role with that verb, or somebody who has it."
        );
        let message = message.replace("at the cluster scope", "in the namespace \"demo\"");
        let sentence = answered(&status(403, &message)).sentence;
        assert!(sentence.contains("in the namespace demo;"), "{sentence}");
    }

    #[test]
    fn what_a_policy_or_the_webhook_refuses_is_its_sentence_alone() {
        for by in [
            "purges.managedhsm.dev \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: Cause; way out.",
            "admission webhook \"w\" denied the request: Cause; way out.",
        ] {
            let failure = answered(&status(403, by));
            assert_eq!(
                (failure.exit, failure.sentence.as_str()),
                (Exit::Refused, "Cause; way out.")
            );
        }
        let refusal =
            not_permitted("User \"eve\" cannot purge resource \"deletedhsmkeys\"").unwrap();
        let by_policy = answered(&status(403, &format!("x denied request: {refusal}")));
        assert_eq!(
            (by_policy.exit, by_policy.sentence),
            (Exit::NotPermitted, refusal.to_string())
        );
    }

    #[test]
    fn an_answer_that_names_nothing_means_that_the_definitions_are_not_there() {
        let failure = answered(&status(404, "404 page not found"));
        assert_eq!(failure.exit, Exit::NoCluster);
        assert!(failure.sentence.contains("definitions of managedhsm.dev"));
    }

    #[test]
    fn each_exit_code_is_told() {
        for exit in [
            Exit::Done,
            Exit::Refused,
            Exit::Usage,
            Exit::NotPermitted,
            Exit::NotFound,
            Exit::NoCluster,
            Exit::NotEnded,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", exit as u8)));
        }
    }
}
