//! The native contract: `/api/v1/jobs`.

mod body;
mod etag;

pub use body::JobBody;

use super::auth;
use super::error::Problem;
use crate::engine::{Cursor, CursorError, Engine, Identity, JobQuery};
use crate::explain::{self, Reason};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::command::{MAX_COMMAND_BYTES, StartCommand, decode, warning};
use common::ids::{ConnectionId, JobId};
use common::job::JobStatus;
use common::store::jobs::JobView;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

const DEFAULT_LIMIT: u16 = 20;
const MAX_LIMIT: u16 = 100;
/// Who asked, where the caller does not say and is no user.
const REQUESTED_BY: &str = "api";
/// Which fields of a body were ignored.
const X_WARNING: HeaderName = HeaderName::from_static("x-warning");

/// `POST /api/v1/jobs`: the body of a start message.
pub(super) async fn start(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let decoded = decode::<StartCommand>(&whole(body)?, None)?;
    let mut command = decoded.command;
    command.requested_by.get_or_insert_with(|| requested_by(&caller).to_owned());
    let job = engine.start(caller.tenant, command).await?;
    let mut response = made(&job);
    warn(&mut response, &decoded.unknown);
    Ok(response)
}

/// `GET /api/v1/jobs/{id}`. With `If-None-Match`, 304 while nothing about the job has changed.
pub(super) async fn show(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let body = JobBody::from(&engine.job(caller.tenant, job).await?);
    let tag = etag::of(&body);
    let unchanged = etag::matches(&headers, &tag);
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { Json(body).into_response() };
    let headers = response.headers_mut();
    // A cache may keep the answer for this caller, and must ask before it uses it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    Ok(response)
}

#[derive(Serialize)]
struct ExplainBody {
    job_id: JobId,
    status: JobStatus,
    paused: bool,
    reasons: Vec<Reason>,
}

/// `GET /api/v1/jobs/{id}/explain`: why the job is where it is, in words.
pub(super) async fn explain(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
) -> Result<Response, Problem> {
    let situation = engine.situation(caller.tenant, job).await?;
    let (status, paused) = (situation.job.status, situation.job.paused);
    Ok(Json(ExplainBody { job_id: job, status, paused, reasons: explain::explain(&situation) })
        .into_response())
}

/// The query of a list. A misspelt filter is refused: ignoring it would list what was not asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    connection_id: Option<ConnectionId>,
    status: Option<JobStatus>,
    limit: Option<u16>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct ListBody {
    data: Vec<JobBody>,
    pagination: Pagination,
}

#[derive(Serialize)]
struct Pagination {
    limit: u16,
    has_more: bool,
    next_cursor: Option<String>,
}

/// `GET /api/v1/jobs`: newest first.
pub(super) async fn list(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let refused = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail);
    let Query(query) = query.map_err(|rejection| {
        let text = rejection.body_text();
        refused(text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned())
    })?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(refused(format!("limit is {limit}; it must be between 1 and {MAX_LIMIT}")));
    }
    let after: Option<Cursor> = match query.cursor.as_deref() {
        Some(text) => Some(text.parse().map_err(|error: CursorError| refused(error.to_string()))?),
        None => None,
    };
    let page = engine
        .jobs(
            caller.tenant,
            &JobQuery { connection: query.connection_id, status: query.status, limit, after },
        )
        .await?;
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    let pagination = Pagination { limit, has_more: next_cursor.is_some(), next_cursor };
    Ok(Json(ListBody { data: page.jobs.iter().map(JobBody::from).collect(), pagination }).into_response())
}

#[derive(Debug, Default, Deserialize)]
struct CancelBody {
    #[serde(default)]
    reason: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

/// `POST /api/v1/jobs/{id}/cancel`. The body may be empty, or `{"reason": "…"}`.
pub(super) async fn cancel(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = whole(body)?;
    let CancelBody { reason, unknown } = if body.trim_ascii().is_empty() {
        CancelBody::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            let status =
                if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
            let code = if error.is_data() { "invalid" } else { "not_json" };
            Problem::new(status, code, format!("the body must be empty or {{\"reason\": \"…\"}}: {error}"))
        })?
    };
    let mut response = accepted(&engine.cancel(caller.tenant, job, reason, requested_by(&caller)).await?);
    warn(&mut response, &unknown.into_keys().collect::<Vec<_>>());
    Ok(response)
}

/// Whose key or token the request carries. As an argument of a handler it refuses everybody else.
pub(super) struct Caller(Identity);

impl FromRequestParts<Arc<Engine>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Problem> {
        Ok(Self(auth::by_key_or_token(engine, &parts.headers).await?))
    }
}

/// A [`Caller`] who may start and cancel.
pub(super) struct Changer(Identity);

impl FromRequestParts<Arc<Engine>> for Changer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Problem> {
        Ok(Self(auth::by_key_or_token(engine, &parts.headers).await?.to_change()?))
    }
}

/// `POST /api/v1/jobs/{id}/pause`. A body is not read.
pub(super) async fn pause(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
) -> Result<Response, Problem> {
    Ok(accepted(&engine.pause(caller.tenant, job, requested_by(&caller)).await?))
}

/// `POST /api/v1/jobs/{id}/unpause`. A body is not read.
pub(super) async fn unpause(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
) -> Result<Response, Problem> {
    Ok(accepted(&engine.unpause(caller.tenant, job, requested_by(&caller)).await?))
}

/// `POST /api/v1/jobs/{id}/resume`: answers with the new job. A body is not read.
pub(super) async fn resume(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
) -> Result<Response, Problem> {
    Ok(made(&engine.resume(caller.tenant, job, requested_by(&caller)).await?))
}

/// The job that a path names. What is no UUID names none.
pub(super) struct JobPath(JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|_unreadable| Problem::no_job("of that identifier"))?;
        id.parse()
            .map(Self)
            .map_err(|_not_a_uuid| Problem::no_job(&format!("{id:?} (an identifier is a UUID)")))
    }
}

fn requested_by(caller: &Identity) -> &str {
    caller.user.as_deref().unwrap_or(REQUESTED_BY)
}

fn accepted(job: &JobView) -> Response {
    (StatusCode::ACCEPTED, Json(JobBody::from(job))).into_response()
}

/// As [`accepted`], and where the new job is from now on.
fn made(job: &JobView) -> Response {
    let mut response = accepted(job);
    let location = HeaderValue::from_str(&format!("/api/v1/jobs/{}", job.id)).ok();
    response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
    response
}

fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is larger than {MAX_COMMAND_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "unreadable", "the body could not be read to its end"),
    })
}

fn warn(response: &mut Response, unknown: &[String]) {
    let Some(warning) = warning(unknown) else { return };
    tracing::warn!(warning, "fields of a request are ignored");
    response.headers_mut().extend(HeaderValue::from_str(&warning).ok().map(|value| (X_WARNING, value)));
}

#[cfg(test)]
mod tests;
