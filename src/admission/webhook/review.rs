//! The wire: an AdmissionReview in, one out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{self, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionResponse, AdmissionReview, META_API_VERSION_V1, META_KIND};
use tokio::sync::Semaphore;

use super::{Advice, Request, Webhook};

/// Where reviews are sent.
pub const PATH: &str = "/review";

/// Room for an object as large as the API server takes.
const MOST_BYTES: usize = 4 << 20;

/// How many are answered at a time: whoever reaches the port may ask, and memory and API server are not his.
const AT_ONCE: usize = 32;

/// How long one answer may take, well inside the time-out of the ValidatingWebhookConfiguration.
const PATIENCE: Duration = Duration::from_millis(1200);

pub fn router(webhook: Arc<Webhook>) -> Router {
    let desk = Desk {
        webhook,
        seats: Arc::new(Semaphore::new(AT_ONCE)),
    };
    Router::new().route(PATH, post(answer)).with_state(desk)
}

#[derive(Clone)]
struct Desk {
    webhook: Arc<Webhook>,
    seats: Arc<Semaphore>,
}

async fn answer(State(desk): State<Desk>, request: extract::Request) -> Response {
    let answered = tokio::time::timeout(PATIENCE, async {
        let _seat = desk.seats.acquire().await;
        let body = to_bytes(request.into_body(), MOST_BYTES).await;
        let body = body.map_err(|error| (StatusCode::PAYLOAD_TOO_LARGE, causes(&error)))?;
        let request = read(&body).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
        let advice = desk.webhook.advise(&request).await;
        let advice = advice.unwrap_or_else(|error| silent(&request, &error));
        serde_json::to_vec(&written(&request, advice).into_review())
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    });
    match answered.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Ok(Err((status, why))) => not_understood(status, &why),
        Err(_) => not_understood(
            StatusCode::SERVICE_UNAVAILABLE,
            "no answer was found in time",
        ),
    }
}

/// With what caused it: "length limit exceeded" is beneath.
fn causes(error: &axum::Error) -> String {
    let beneath = std::error::Error::source(error);
    beneath.map_or_else(|| error.to_string(), ToString::to_string)
}

/// It is only advice: without a look there is none.
fn silent(request: &Request, error: &kube::Error) -> Advice {
    tracing::debug!(resource = request.resource.resource, name = request.name, %error, "nothing could be looked up for the webhook, so it lets this through");
    Advice::default()
}

fn not_understood(status: StatusCode, why: &str) -> Response {
    let sentence = format!(
        "This is no AdmissionReview of {META_API_VERSION_V1} that can be answered: {why}; only an API server has something to ask here.\n"
    );
    (status, sentence).into_response()
}

fn read(body: &[u8]) -> Result<Request, String> {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let (kind, version) = (&review.types.kind, &review.types.api_version);
    if kind != META_KIND || version != META_API_VERSION_V1 {
        return Err(format!("it says {kind} of {version}"));
    }
    review
        .try_into()
        .map_err(|_| "it has no request".to_owned())
}

/// 403: a 409 or 422 would make GitOps tools try again, or delete and recreate.
fn written(request: &Request, advice: Advice) -> AdmissionResponse {
    let mut response = AdmissionResponse::from(request);
    response.warnings = (!advice.warnings.is_empty()).then_some(advice.warnings);
    if let Some(refusal) = advice.refusal {
        response = response.deny(refusal);
        response.result.code = 403;
        response.result.reason = "Forbidden".to_owned();
    }
    response
}

#[cfg(test)]
mod tests;
