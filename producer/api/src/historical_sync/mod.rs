//! The agency historical sync: three functions under `/functions/v1`, called by browsers with the token of an agency's user.
//!
//! Every answer is JSON and readable across origins, errors too: `{"error": "…"}`. The checks come in the order method,
//! token, agency, body, job, and the job's agency and state. Every user of the agency may call all three, a viewer too.

mod body;
mod browser;
mod refusal;

pub(super) use refusal::{Refusal, RefusalBody};

use super::auth;
use super::middleware::{Policy, handle};
use super::untaken::Untaken;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{any, head, options};
use axum::{Json, Router};
use body::{Acknowledged, CancelBody, StartBody, SyncStatus, whole, word};
use engine::{Engine, Identity};
use protocol::job::JobStatus;
use refusal::Refusals;
use std::sync::Arc;
use std::time::Duration;
use utoipa::Path as _;
use utoipa::openapi::{RefOr, Required};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The three functions, and nothing else below their folder.
pub(super) fn router(engine: Arc<Engine>, limit: Duration, untaken: Untaken) -> Router {
    let policy = Policy { limit, answer: Refusal::of_fault, untaken };
    Router::from(routes())
        .method_not_allowed_fallback(no_such_method)
        .route("/functions/v1/{*rest}", any(no_such_path))
        .with_state(engine)
        .layer(from_fn_with_state(policy, handle))
        .layer(from_fn(browser::readable_across_origins))
}

/// The functions, with what the OpenAPI document says of them.
pub(super) fn routes() -> OpenApiRouter<Arc<Engine>> {
    let mut router =
        OpenApiRouter::new().routes(routes!(start)).routes(routes!(cancel)).routes(routes!(status));
    // One handler for all of them; an operation has one path.
    let paths: Vec<String> = router.get_openapi().paths.paths.keys().cloned().collect();
    for path in paths {
        let mut head_too = false;
        let mut asked = browser::__path_preflight::operation();
        asked.operation_id = None;
        if let Some(item) = router.get_openapi_mut().paths.paths.get_mut(&path) {
            asked.tags = Some(vec!["historical sync".to_owned()]);
            item.options = Some(asked);
            // Whatever answers GET would answer HEAD.
            head_too = item.get.is_some();
            // Only a start may have no body.
            if let Some(RefOr::T(body)) = item.post.as_mut().and_then(|post| post.request_body.as_mut())
                && path.ends_with("/start-historical-sync")
            {
                body.required = Some(Required::False);
            }
        }
        router = router.route(&path, options(browser::preflight));
        if head_too {
            router = router.route(&path, head(no_such_method));
        }
    }
    router
}

/// Starts a sync of the agency's connection. An empty body is `{}`.
#[utoipa::path(post, path = "/functions/v1/start-historical-sync", tag = "historical sync",
    operation_id = "start_historical_sync", security(("token" = [])), request_body = StartBody, responses(
    (status = 200, description = "Accepted", body = Acknowledged),
    (status = 400, description = "The body or a date cannot be read, `date_from` is not before `date_to`, or the agency has no connection for this", body = RefusalBody),
    (status = 409, description = "A job is pending or in progress: `job_id`", body = RefusalBody),
    (status = 413, description = "The body is too large", body = RefusalBody),
    Refusals))]
async fn start(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Acknowledged>, Refusal> {
    let StartBody { date_from, date_to } = StartBody::read(&whole(body)?)?;
    let job = engine.start_historical(caller.tenant, date_from, date_to, caller.user).await?;
    // As it was accepted, however soon it goes on.
    Ok(Json(Acknowledged { job_id: job.id, status: word(JobStatus::Pending) }))
}

/// Cancels a job, once: after the answer nothing more of it is imported.
#[utoipa::path(post, path = "/functions/v1/cancel-historical-sync", tag = "historical sync",
    operation_id = "cancel_historical_sync", security(("token" = [])), request_body = CancelBody, responses(
    (status = 200, description = "Cancelled", body = Acknowledged),
    (status = 400, description = "`job_id` is missing or no UUID, or the job is over: `current_status`", body = RefusalBody),
    (status = 404, description = "No such job", body = RefusalBody),
    (status = 413, description = "The body is too large", body = RefusalBody),
    Refusals))]
async fn cancel(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Acknowledged>, Refusal> {
    let CancelBody { job_id } = CancelBody::read(&whole(body)?)?;
    engine.cancel_once(caller.tenant, job_id, caller.user.as_deref().unwrap_or_default()).await?;
    Ok(Json(Acknowledged { job_id, status: word(JobStatus::Cancelled) }))
}

/// Shows the active job of the agency's connection or, if none is active, the newest one.
#[utoipa::path(get, path = "/functions/v1/get-sync-status", tag = "historical sync",
    operation_id = "get_sync_status", security(("token" = [])), responses(
    (status = 200, description = "The active job, or the newest one; none without a connection for this", body = SyncStatus),
    Refusals))]
async fn status(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
) -> Result<Json<SyncStatus>, Refusal> {
    let latest = engine.latest_historical(caller.tenant).await?;
    Ok(Json(SyncStatus::of(latest.as_ref())))
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::say(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> impl IntoResponse {
    let path = uri.path();
    let why = format!("{path} does not answer {method}; the Allow header says what it does answer");
    // The framework's own list has HEAD beside GET.
    let allow = if path.ends_with("/get-sync-status") { "GET, OPTIONS" } else { "POST, OPTIONS" };
    ([(header::ALLOW, allow)], Refusal::say(StatusCode::METHOD_NOT_ALLOWED, why))
}

/// The user whose token the request carries. As an argument of a handler it refuses everybody else.
struct Caller(Identity);

impl FromRequestParts<Arc<Engine>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Refusal> {
        Ok(Self(auth::by_token(engine, parts).await?))
    }
}
