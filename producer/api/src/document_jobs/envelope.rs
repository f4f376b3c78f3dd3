//! The envelope of errors. What a handler refuses knows neither the request's identifier nor its path, so the envelope is
//! written here, around everything.

use super::refusal::{Refusal, RefusalBody, Said};
use crate::middleware::REQUEST_ID;
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use protocol::short::short;

/// Writes the envelope of an answer that refuses; any other answer is left as it is.
pub(super) async fn seal(request: Request, next: Next) -> Response {
    let path = short(request.uri().path());
    let mut response = next.run(request).await;
    let Some(refusal) = response.extensions_mut().remove::<Refusal>() else { return response };
    let (mut parts, _empty) = response.into_parts();
    let Said { code, message, job_id } = *refusal.body;
    let envelope = RefusalBody {
        status_code: parts.status.as_u16(),
        code,
        error: parts.status.canonical_reason().unwrap_or("Error"),
        message,
        retryable: refusal.again,
        request_id: request_id(&parts.headers).to_owned(),
        timestamp: Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        path,
        job_id,
    };
    let (written, body) = Json(envelope).into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(written.headers);
    Response::from_parts(parts, body)
}

fn request_id(headers: &HeaderMap) -> &str {
    headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
}
