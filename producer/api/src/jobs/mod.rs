//! The native contract: `/api/v1/jobs`. What is not known of a request, a member of its body or a parameter of its query, is
//! refused by its name: ignoring it would do something else than was asked for.

mod etag;
mod events;
mod request;
mod stragglers;

pub use engine::JobBody;

use super::error::{Problem, ProblemBody};
use super::openapi::{MayNotChange, Refusals};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::JobView;
use engine::explain::{self, Reason};
use engine::{Engine, Identity};
use protocol::command::{StartCommand, decode_exactly};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use request::{Asked, Caller, CancelBody, JobPath, ListQuery, NoQuery, VisibleJob, Writer, nothing, whole};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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
        .routes(routes!(stragglers::stragglers))
}

/// Starts a job. The body is that of a start message without `job_id`: the answer names the job.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs",
    operation_id = "start_job", security(("key" = [])), request_body = StartCommand, responses(
    (status = 202, description = "Accepted", body = JobBody, headers(
        ("Location" = String, description = "The job"))),
    (status = 400, description = "The body is no JSON", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such connection", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Another job of the connection is active (`job_active`, with its `job_id`), or `command_id` stood for another request (`key_reused`)", body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
pub(super) async fn start(
    Writer(caller): Writer,
    State(engine): State<Arc<Engine>>,
    _: Asked<NoQuery>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let mut command = decode_exactly::<StartCommand>(&whole(body)?)?;
    command.requested_by.get_or_insert_with(|| requested_by(&caller).to_owned());
    Ok(made(&engine.start(caller.tenant, command).await?))
}

/// Shows a job. With `If-None-Match`, 304 while nothing about the job has changed.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs",
    operation_id = "show_job", security(("key" = [])), params(
    ("id" = JobId, Path, description = "The job"),
    ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an answer before")), responses(
    (status = 200, description = "The job", body = JobBody, headers(("ETag" = String, description = "For `If-None-Match`"))),
    (status = 304, description = "Nothing has changed since", headers(("ETag" = String))),
    (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    Refusals))]
pub(super) async fn show(
    VisibleJob(job): VisibleJob,
    _: Asked<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let body = JobBody::from(&job);
    let tag = etag::of(&body);
    let unchanged = etag::matches(&headers, &tag);
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { Json(body).into_response() };
    let headers = response.headers_mut();
    // A cache may keep the answer for this caller, and must ask before it uses it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
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
    (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    Refusals))]
pub(super) async fn explain(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    _: Asked<NoQuery>,
) -> Result<Response, Problem> {
    let situation = engine.situation(caller.tenant, job).await?;
    let (status, paused) = (situation.job.status, situation.job.paused);
    Ok(Json(ExplainBody { job_id: job, status, paused, reasons: explain::explain(&situation) })
        .into_response())
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
    (status = 400, description = "The query makes no sense", body = ProblemBody, content_type = "application/problem+json"),
    Refusals))]
pub(super) async fn list(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, Problem> {
    let query = query.read()?;
    let page = engine.jobs(caller.tenant, &query).await?;
    let next_cursor = page.next.map(|cursor| cursor.to_string());
    let pagination = Pagination { limit: query.limit, has_more: next_cursor.is_some(), next_cursor };
    Ok(Json(ListBody { data: page.jobs.iter().map(JobBody::from).collect(), pagination }).into_response())
}

/// Cancels a job: once this is answered nothing more of it is imported. The body may be empty.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs",
    operation_id = "cancel_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), request_body = Option<CancelBody>, responses(
    (status = 202, description = "Nothing more of it is imported", body = JobBody),
    (status = 400, description = "The body is no JSON", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "It is over already, as `job_status` says", body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
pub(super) async fn cancel(
    Writer(caller): Writer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    _: Asked<NoQuery>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let CancelBody { reason } = CancelBody::read(&whole(body)?)?;
    Ok(accepted(&engine.cancel(caller.tenant, job, reason, requested_by(&caller)).await?))
}

/// Holds a job back: no further page of it is fetched. It takes no body but an empty one.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/pause", tag = "jobs",
    operation_id = "pause_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 202, description = "No further page is fetched", body = JobBody),
    (status = 400, description = "The body is no JSON", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "The job is in the wrong state, which `job_status` names", body = ProblemBody, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
pub(super) async fn pause(
    Writer(caller): Writer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    _: Asked<NoQuery>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    nothing(&whole(body)?)?;
    Ok(accepted(&engine.pause(caller.tenant, job, requested_by(&caller)).await?))
}

/// Lets a paused job go on. It takes no body but an empty one.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/unpause", tag = "jobs",
    operation_id = "unpause_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 202, description = "It goes on", body = JobBody),
    (status = 400, description = "The body is no JSON", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "The job is in the wrong state, which `job_status` names", body = ProblemBody, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
pub(super) async fn unpause(
    Writer(caller): Writer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    _: Asked<NoQuery>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    nothing(&whole(body)?)?;
    Ok(accepted(&engine.unpause(caller.tenant, job, requested_by(&caller)).await?))
}

/// Goes on where a failed or cancelled job stopped, with a new job, which is the answer. It takes no body but an empty one.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/resume", tag = "jobs",
    operation_id = "resume_job", security(("key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 202, description = "The new job", body = JobBody, headers(("Location" = String, description = "The new job"))),
    (status = 400, description = "The body is no JSON", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "The job is in the wrong state (`job_status`), was resumed before (`resumed_by`), or another one is active (`job_id`)", body = ProblemBody, content_type = "application/problem+json"),
    Refusals, MayNotChange))]
pub(super) async fn resume(
    Writer(caller): Writer,
    State(engine): State<Arc<Engine>>,
    JobPath(job): JobPath,
    _: Asked<NoQuery>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    nothing(&whole(body)?)?;
    Ok(made(&engine.resume(caller.tenant, job, requested_by(&caller)).await?))
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

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod tests;
