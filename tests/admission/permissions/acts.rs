//! What is asked for. Writes are a dry run, so that one scene serves all: admission judges a dry run as it judges the write.

use http::Request;
use kube::Client;
use kube::client::Body;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::permission::{
    Ask, Write, granted, operators_alone, purge_needs, recover_needs,
};
use managed_hsm_operator::softdelete::{Kind, Refusal, Unless};
use serde_json::{Value, json};

use super::subjects::Subject;
use crate::admission::scene::Scene;

/// Whoever asks, in a body that is made before he is known.
pub const ME: &str = "ME";

pub struct Act {
    /// As RBAC has it.
    pub verb: &'static str,
    /// With its subresource.
    pub resource: String,
    /// In which way, where there are several.
    pub how: &'static str,
    pub of: Watched,
    pub name: String,
    pub request: Option<Http>,
    pub then: Then,
}

/// Method, path with query, content type, body.
pub type Http = (&'static str, String, &'static str, Value);

/// What is between the role and the deed.
pub enum Then {
    Nothing,
    /// It is the operator's (SD-25, SD-31, SD-32).
    Alone(Write),
    /// All of these, too; each with how the sentence calls its resource, where it does so in another way (SD-19, SD-30, SD-31).
    Needs(Vec<(Ask, Option<&'static str>)>),
    /// It is in another's name (SD-33).
    InOwnName,
    /// There is no such subresource.
    NoSuch,
}

/// What is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Allowed,
    NotByRole,
    /// `note`: the sentence with words in the place of what is this scene's.
    NotByPolicy {
        sentence: String,
        note: String,
    },
    NoSuch,
}

/// What came out.
#[derive(Debug)]
pub enum Done {
    Well,
    Refused(u16, String),
    /// A verb without a request of its own.
    NothingToDo,
}

impl Act {
    pub fn resource_and_below(&self) -> (&str, Option<&str>) {
        match self.resource.split_once('/') {
            Some((resource, below)) => (resource, Some(below)),
            None => (&self.resource, None),
        }
    }

    /// The verbs on proxies that policies ask for are asked in their origin's namespace.
    pub fn asked_in_namespace(&self) -> bool {
        let virtual_verb = ["purge", "recover"].contains(&self.verb);
        virtual_verb || matches!(self.of, Watched::Object(_) | Watched::Recover)
    }

    pub fn expected(&self, subject: &Subject) -> Answer {
        let here = self.asked_in_namespace();
        if !subject.may(self.verb, &self.resource, here) {
            return Answer::NotByRole;
        }
        match &self.then {
            Then::NoSuch => Answer::NoSuch,
            _ if subject.is_operator() => Answer::Allowed,
            Then::Nothing => Answer::Allowed,
            Then::Alone(write) => self.alone(*write, subject),
            Then::InOwnName => in_own_name(subject),
            Then::Needs(asks) => {
                let refused = |(ask, called): &(Ask, Option<&'static str>)| {
                    let may = subject.may(ask.verb, ask.resource, true);
                    (!may).then(|| needs(ask, *called, subject))
                };
                asks.iter().find_map(refused).unwrap_or(Answer::Allowed)
            }
        }
    }

    fn alone(&self, write: Write, subject: &Subject) -> Answer {
        let verb = match self.verb {
            "patch" => "update",
            "deletecollection" => "delete",
            verb => verb,
        };
        let (resource, _) = self.resource_and_below();
        let said = |user: &str, verb: &str, resource: &str, name: &str| {
            let refusal = operators_alone(write, user, verb, resource, name);
            refusal.expect("it is the operator's").to_string()
        };
        Answer::NotByPolicy {
            sentence: said(&subject.user, verb, resource, &self.name),
            note: said("USER", "VERB", "RESOURCE", "NAME"),
        }
    }

    pub async fn done(&self, subject: &Subject) -> Done {
        let Some((method, path, content, body)) = &self.request else {
            return Done::NothingToDo;
        };
        let body = if body.is_null() {
            Vec::new()
        } else {
            let me = subject.user.as_str();
            body.to_string()
                .replace(&format!("\"{ME}\""), &json!(me).to_string())
                .into_bytes()
        };
        let request = Request::builder()
            .method(*method)
            .uri(path)
            .header("content-type", *content)
            .body(body)
            .expect("a request");
        if self.verb == "watch" {
            return watched(&subject.client, request).await;
        }
        match subject.client.request_text(request).await {
            Ok(_) => Done::Well,
            Err(kube::Error::Api(status)) => Done::Refused(status.code, status.message.clone()),
            Err(other) => panic!("{method} {path}: {other}"),
        }
    }
}

/// A watch that was allowed begins; it is not waited for.
async fn watched(client: &Client, request: Request<Vec<u8>>) -> Done {
    let answer = client.send(request.map(Body::from)).await;
    let status = answer.expect("an answer").status();
    if status.is_success() {
        Done::Well
    } else {
        Done::Refused(status.as_u16(), String::new())
    }
}

fn in_own_name(subject: &Subject) -> Answer {
    let said = |user: &str, other: &str| {
        let refusal = Refusal::NotPermitted {
            user: user.to_owned(),
            verb: "create".into(),
            resource: "a Purge requested by".into(),
            name: other.to_owned(),
            unless: Unless::Operator(
                "set spec.requestedBy to the name that kubectl auth whoami prints".into(),
            ),
        };
        refusal.to_string()
    };
    Answer::NotByPolicy {
        sentence: said(&subject.user, "somebody-else"),
        note: said("USER", "ANOTHER"),
    }
}

fn needs(ask: &Ask, called: Option<&'static str>, subject: &Subject) -> Answer {
    let resource = called.unwrap_or(ask.resource);
    let said = |user: &str, ask: Ask| {
        let ask = Ask { resource, ..ask };
        let refusal = granted(&ask, user, false);
        refusal.expect_err("it was a no").to_string()
    };
    let anywhere = Ask {
        namespace: "NAMESPACE".into(),
        name: if ask.name.is_empty() {
            String::new()
        } else {
            "NAMESPACE.NAME".into()
        },
        ..ask.clone()
    };
    Answer::NotByPolicy {
        sentence: said(&subject.user, ask.clone()),
        note: said("USER", anywhere),
    }
}

/// Whether a subject may create a key, a Recover of one, or a Purge of one.
pub fn may_create(scene: &Scene, subject: &Subject, of: Watched) -> bool {
    let plural = of.resource().plural;
    let here = of != Watched::Purge;
    let besides = match of {
        Watched::Recover => recover_needs(Kind::Key, &scene.namespace),
        Watched::Purge => purge_needs(Kind::Key, &scene.namespace, "gone"),
        _ => return subject.may("create", &plural, here),
    };
    subject.may("create", &plural, here)
        && (subject.is_operator() || subject.may(besides.verb, besides.resource, true))
}
