//! The agency historical sync: three functions under `/functions/v1`, called by browsers with the token of an agency's user.
//!
//! Every answer is JSON and readable across origins, errors too: `{"error": "…"}`. The checks come in the order method,
//! token, agency (and role), body, job, and the job's agency and state.

mod body;
mod refusal;

pub(super) use refusal::Refusal;

use super::around::{Treatment, around};
use super::auth;
use crate::engine::{Engine, Identity};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use body::{CancelBody, StartBody, SyncStatus, whole, word};
use common::job::JobStatus;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The three functions, and nothing else below their folder.
pub(super) fn router(engine: Arc<Engine>, limit: Duration) -> Router {
    let treatment = Treatment { limit, answer: Refusal::of_fault };
    Router::new()
        .route("/functions/v1/start-historical-sync", post(start).options(preflight))
        .route("/functions/v1/cancel-historical-sync", post(cancel).options(preflight))
        .route("/functions/v1/get-sync-status", get(status).options(preflight))
        .method_not_allowed_fallback(no_such_method)
        .route("/functions/v1/{*rest}", any(no_such_path))
        .with_state(engine)
        .layer(from_fn_with_state(treatment, around))
        .layer(map_response(readable_across_origins))
}

/// `POST start-historical-sync` `{date_from?, date_to?}`.
async fn start(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let StartBody { date_from, date_to } = StartBody::read(&whole(body)?)?;
    let job = engine.start_historical(caller.tenant, date_from, date_to, caller.user).await?;
    // As it was accepted, however soon it goes on.
    Ok(Json(json!({ "job_id": job.id, "status": word(JobStatus::Pending) })).into_response())
}

/// `POST cancel-historical-sync` `{job_id}`.
async fn cancel(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let CancelBody { job_id } = CancelBody::read(&whole(body)?)?;
    engine.cancel_once(caller.tenant, job_id, caller.user.as_deref().unwrap_or_default()).await?;
    Ok(Json(json!({ "job_id": job_id, "status": word(JobStatus::Cancelled) })).into_response())
}

/// `GET get-sync-status`.
async fn status(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
) -> Result<Json<SyncStatus>, Refusal> {
    let latest = engine.latest_historical(caller.tenant).await?;
    Ok(Json(SyncStatus::of(latest.as_ref())))
}

/// What a browser asks before it sends a token. The answer is in the headers that every answer has.
async fn preflight() -> Response {
    let keep = [(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"))];
    (StatusCode::NO_CONTENT, keep).into_response()
}

async fn readable_across_origins(mut response: Response) -> Response {
    // Any origin: a page can send only a token that it has, and no cookie counts here.
    const HEADERS: [(HeaderName, HeaderValue); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS")),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, apikey, x-client-info, x-request-id"),
        ),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id, retry-after")),
    ];
    response.headers_mut().extend(HEADERS);
    response
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let why = format!("{} does not answer {method}; the Allow header says what it does answer", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, why)
}

/// The user whose token the request carries. As an argument of a handler it refuses everybody else.
struct Caller(Identity);

impl FromRequestParts<Arc<Engine>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Refusal> {
        Ok(Self(auth::by_token(engine, &parts.headers).await?))
    }
}

/// A [`Caller`] who may start and cancel.
struct Changer(Identity);

impl FromRequestParts<Arc<Engine>> for Changer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Refusal> {
        Ok(Self(auth::by_token(engine, &parts.headers).await?.to_change()?))
    }
}
