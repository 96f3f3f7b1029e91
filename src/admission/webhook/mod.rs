//! The webhook: the friendly early sentence, for what takes a look at other objects. Advice, never the guarantee: where it
//! is down, slow or wrong, users go on, and the controller decides.
//!
//! It judges by `softdelete` and looks live, so that any replica can answer. What the controller would end for good, or keep
//! standing until a person acts on a reserved name, is refused; what will wait for somebody is told as a warning; what passes
//! by itself, and what could not be looked up, is let through in silence.

pub mod certificates;
pub mod configuration;
mod create;
mod delete;
mod look;
mod purge;
mod recover;
mod review;
#[cfg(test)]
mod testing;

use chrono::TimeDelta;
use kube::Client;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, Operation};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api;
use crate::clock::Clock;
use crate::softdelete::{Kind, Refusal};
use look::Look;

pub use review::{PATH, router};

/// What takes part in its judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `softdelete`: SD-15.
    pub undeletable: bool,
    /// How long a day of retention lasts.
    pub day: TimeDelta,
}

/// Whoever answers.
pub struct Webhook {
    look: Look,
    clock: Clock,
    settings: Settings,
}

/// What is said to whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Advice {
    refusal: Option<Refusal>,
    warnings: Vec<String>,
}

impl Advice {
    fn refused(refusal: Refusal) -> Self {
        Self {
            refusal: Some(refusal),
            warnings: Vec::new(),
        }
    }

    fn warned(warnings: impl IntoIterator<Item = String>) -> Self {
        Self {
            refusal: None,
            warnings: warnings.into_iter().collect(),
        }
    }

    /// Of what does not end it: what takes somebody's act is worth a word, what passes by itself is none.
    fn waits(refusal: &Refusal) -> Self {
        Self::warned(refusal.stalls().then(|| refusal.to_string()))
    }
}

/// What is asked, as far as it matters.
type Request = AdmissionRequest<DynamicObject>;

impl Webhook {
    /// `client`: one that does not try again by itself, since the API server waits.
    pub fn new(client: Client, clock: Clock, settings: Settings) -> Self {
        Self {
            look: Look::new(client),
            clock,
            settings,
        }
    }

    /// An error: something could not be looked up, so that nothing is known.
    async fn advise(&self, request: &Request) -> Result<Advice, kube::Error> {
        let known = request.resource.group == api::GROUP && request.sub_resource.is_none();
        let resource = if known {
            request.resource.resource.as_str()
        } else {
            ""
        };
        match (resource, &request.operation) {
            ("managedhsms", Operation::Create) => self.create(request, Kind::Hsm).await,
            ("hsmkeys", Operation::Create) => self.create(request, Kind::Key).await,
            ("managedhsms", Operation::Delete) => Ok(self.delete_hsm(request)),
            ("hsmkeys", Operation::Delete) => self.delete_key(request).await,
            ("recovers", Operation::Create) => self.recover(request).await,
            ("recovers", Operation::Delete) => self.withdrawal(request).await,
            ("purges", Operation::Create) => self.purge(request).await,
            _ => Ok(Advice::warned([not_known(request)])),
        }
    }
}

fn not_known(request: &Request) -> String {
    let of = &request.resource;
    let (group, dot) = (&of.group, if of.group.is_empty() { "" } else { "." });
    format!(
        "managed-hsm-operator's webhook has nothing to say of {:?} of {}{dot}{group}; take that out of its ValidatingWebhookConfiguration",
        request.operation, of.resource
    )
}

/// A field as our type says it is. None: the schema judges that, not we.
fn field<T: DeserializeOwned>(of: &DynamicObject, name: &str) -> Option<T> {
    let value = of.data.get(name).cloned();
    serde_json::from_value(value.unwrap_or_else(|| Value::Object(Default::default()))).ok()
}
