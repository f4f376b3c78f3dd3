//! The native contract: `/api/v1/jobs`.

mod body;
mod etag;
mod events;

pub use body::JobBody;
pub(super) use body::whole_seconds;

use super::error::Problem;
use super::openapi::{MayNotChange, Refusals};
use super::{auth, warn};
use crate::engine::{Cursor, CursorError, Engine, Identity, JobQuery};
use crate::explain::{self, Reason};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::command::{MAX_COMMAND_BYTES, StartCommand, decode};
use common::ids::{ConnectionId, JobId};
use common::job::JobStatus;
use common::store::jobs::JobView;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const DEFAULT_LIMIT: u16 = 20;
const MAX_LIMIT: u16 = 100;
/// Who asked, where the caller does not say and is no user.
const REQUESTED_BY: &str = "api";

/// The calls, with what the OpenAPI document says of them.
pub(super) fn routes() -> OpenApiRouter<Arc<Engine>> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(explain))
        .routes(routes!(events::events))
        .routes(routes!(pause))
        .routes(routes!(unpause))
        .routes(routes!(resume))
}

/// Starts a job. The body is that of a start message.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs",
    operation_id = "start_job", security(("key" = [])), request_body = StartCommand, responses(
    (status = 202, description = "Accepted", body = JobBody, headers(
        ("Location" = String, description = "The job"),
        ("x-warning" = Option<String>, description = "Which fields of the body were ignored"))),
    (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such connection", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Another job of the connection is active (`job_active`, with its `job_id`), or the identifier is taken (`job_id_taken`)", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is missing, or makes no sense", body = Problem, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
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

/// Shows a job. With `If-None-Match`, 304 while nothing about the job has changed.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs",
    operation_id = "show_job", security(("key" = [])), params(
    ("id" = JobId, Path, description = "The job"),
    ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer before")), responses(
    (status = 200, description = "The job", body = JobBody, headers(("ETag" = String, description = "For `If-None-Match`"))),
    (status = 304, description = "Nothing has changed since", headers(("ETag" = String))),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    Refusals))]
pub(super) async fn show(Shown(job): Shown, headers: HeaderMap) -> Result<Response, Problem> {
    let body = JobBody::from(&job);
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

/// Why a job is where it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(super) struct ExplainBody {
    job_id: JobId,
    status: JobStatus,
    paused: bool,
    reasons: Vec<Reason>,
}

/// Says in words why a job is where it is.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/explain", tag = "jobs",
    operation_id = "explain_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 200, description = "The reasons, the most telling one first", body = ExplainBody),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    Refusals))]
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
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Jobs of this connection.
    connection_id: Option<ConnectionId>,
    /// Jobs in this state.
    status: Option<JobStatus>,
    /// How many at most; 20 if absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ListQuery {
    fn read(query: Result<Query<Self>, QueryRejection>) -> Result<JobQuery, Problem> {
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
        Ok(JobQuery {
            connection: query.connection_id,
            statuses: query.status.into_iter().collect(),
            limit,
            after,
            oldest_first: false,
        })
    }
}

/// A part of the list of jobs.
#[derive(Serialize, ToSchema)]
#[schema(as = JobList)]
pub(super) struct ListBody {
    data: Vec<JobBody>,
    pagination: Pagination,
}

/// Where the list goes on.
#[derive(Serialize, ToSchema)]
#[schema(as = JobListPagination)]
pub(super) struct Pagination {
    limit: u16,
    has_more: bool,
    next_cursor: Option<String>,
}

/// Lists jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs",
    operation_id = "list_jobs", security(("key" = [])), params(ListQuery), responses(
    (status = 200, description = "Jobs, newest first", body = ListBody),
    (status = 400, description = "The query makes no sense", body = Problem, content_type = "application/problem+json"),
    Refusals))]
pub(super) async fn list(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = ListQuery::read(query)?;
    let page = engine.jobs(caller.tenant, &query).await?;
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    let pagination = Pagination { limit: query.limit, has_more: next_cursor.is_some(), next_cursor };
    Ok(Json(ListBody { data: page.jobs.iter().map(JobBody::from).collect(), pagination }).into_response())
}

/// Why a job is cancelled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = JobCancel)]
pub(super) struct CancelBody {
    /// Stored and shown.
    #[serde(default)]
    #[schema(max_length = 200)]
    reason: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    unknown: BTreeMap<String, IgnoredAny>,
}

impl CancelBody {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice::<Option<Self>>(body).map(Option::unwrap_or_default).map_err(|error| {
            let status =
                if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
            let code = if error.is_data() { "invalid" } else { "not_json" };
            Problem::new(status, code, format!("the body must be empty or {{\"reason\": \"…\"}}: {error}"))
        })
    }
}

/// Cancels a job: once this is answered nothing more of it is imported. The body may be empty.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs",
    operation_id = "cancel_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), request_body = Option<CancelBody>, responses(
    (status = 202, description = "Nothing more of it is imported", body = JobBody, headers(
        ("x-warning" = Option<String>, description = "Which fields of the body were ignored"))),
    (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is over already, as `job_status` says", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field makes no sense", body = Problem, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
pub(super) async fn cancel(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let CancelBody { reason, unknown } = CancelBody::read(&whole(body)?)?;
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

/// The job of the path, if the caller may see it.
pub(super) struct Shown(JobView);

impl FromRequestParts<Arc<Engine>> for Shown {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Problem> {
        let path = JobPath::from_request_parts(parts, engine).await;
        if let (Some(key), Ok(JobPath(job))) = (auth::key(&parts.headers), &path) {
            return Ok(Self(engine.job_of_key_holder(key, *job).await?));
        }
        let caller = auth::by_key_or_token(engine, &parts.headers).await?;
        let JobPath(job) = path?;
        Ok(Self(engine.job(caller.tenant, job).await?))
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

/// Holds a job back: no further page of it is fetched. A body is not read.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/pause", tag = "jobs",
    operation_id = "pause_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 202, description = "No further page is fetched", body = JobBody),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The job is in the wrong state, which `job_status` names", body = Problem, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
pub(super) async fn pause(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
) -> Result<Response, Problem> {
    Ok(accepted(&engine.pause(caller.tenant, job, requested_by(&caller)).await?))
}

/// Lets a paused job go on. A body is not read.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/unpause", tag = "jobs",
    operation_id = "unpause_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 202, description = "It goes on", body = JobBody),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The job is in the wrong state, which `job_status` names", body = Problem, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
pub(super) async fn unpause(
    Changer(caller): Changer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
) -> Result<Response, Problem> {
    Ok(accepted(&engine.unpause(caller.tenant, job, requested_by(&caller)).await?))
}

/// Goes on where a failed or cancelled job stopped, with a new job, which is the answer. A body is not read.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/resume", tag = "jobs",
    operation_id = "resume_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 202, description = "The new job", body = JobBody, headers(("Location" = String, description = "The new job"))),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The job is in the wrong state (`job_status`), was resumed before (`resumed_by`), or another one is active (`job_id`)", body = Problem, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
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

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
