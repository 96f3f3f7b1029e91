//! The wire: an AdmissionReview in, one out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionResponse, AdmissionReview, META_API_VERSION_V1, META_KIND};

use super::{Advice, Request, Webhook};

/// Where reviews are sent.
pub const PATH: &str = "/review";

/// Room for an object as large as the API server takes, and the one before it.
const MOST_BYTES: usize = 8 << 20;

/// How long the look-ups of one review may take, well inside the time-out of the ValidatingWebhookConfiguration.
const PATIENCE: Duration = Duration::from_millis(800);

pub fn router(webhook: Arc<Webhook>) -> Router {
    Router::new()
        .route(PATH, post(answer))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(webhook)
}

async fn answer(
    State(webhook): State<Arc<Webhook>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(error) => return not_understood(error.status(), &error.body_text()),
    };
    let request = match read(&body) {
        Ok(request) => request,
        Err(why) => return not_understood(StatusCode::BAD_REQUEST, &why),
    };
    let advice = match tokio::time::timeout(PATIENCE, webhook.advise(&request)).await {
        Ok(Ok(advice)) => advice,
        Ok(Err(error)) => silent(&request, &error.to_string()),
        Err(_) => silent(&request, "the API server was too slow"),
    };
    match serde_json::to_vec(&written(&request, advice).into_review()) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => not_understood(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// It is only advice: without a look there is none.
fn silent(request: &Request, why: &str) -> Advice {
    tracing::debug!(resource = request.resource.resource, name = request.name, %why, "nothing could be looked up for the webhook, so it lets this through");
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
