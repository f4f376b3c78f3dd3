//! Jobs with results: `/v1/schemas` and `/v1/jobs`, called with an API key.
//!
//! Every error has one envelope ([`Refusal`]). The checks come in the order path, method, key, body or query, and then what
//! there is and in which state.

mod body;
mod envelope;
mod query;
mod refusal;
mod request;
mod results;
mod schemas;
mod status;

pub(super) use refusal::RefusalBody;

use super::middleware::{Policy, handle};
use super::untaken::Untaken;
use super::{auth, warn};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use body::{JobBody, JobList, Pagination, Started};
use configuration::ApiConfig;
use engine::{Engine, Identity, JobQuery};
use protocol::ids::JobId;
use query::{JobsQuery, ResultsQuery};
use refusal::{Refusal, Refusals};
use request::{IdPath, StartBody, StartFields, idempotency_key};
use results::ResultsBody;
use std::sync::Arc;
use std::time::Duration;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Who asked, since a key is nobody in particular.
const REQUESTED_BY: &str = "api";
/// Stored as the reason of every cancel that comes by this contract, and shown as its error.
const CANCELLED: &str = "Cancelled via API";

/// What the handlers of this contract share.
struct Contract {
    engine: Arc<Engine>,
    /// Where people reach this installation; empty if that is not configured.
    public_url: String,
}

type Shared = State<Arc<Contract>>;

/// Everything below `/v1`.
pub(super) fn router(engine: Arc<Engine>, config: &ApiConfig, untaken: Untaken) -> Router {
    let limit: Duration = config.request_timeout;
    let policy = Policy { limit, answer: Refusal::of_fault, untaken };
    let contract = Contract { engine, public_url: config.public_url.clone() };
    Router::from(routes())
        .method_not_allowed_fallback(no_such_method)
        .route("/v1/{*rest}", any(no_such_path))
        .with_state(Arc::new(contract))
        .layer(from_fn_with_state(policy, handle))
        // Outside of it, where the request has its identifier.
        .layer(from_fn(envelope::seal))
}

/// The calls, with what the OpenAPI document says of them.
fn routes() -> OpenApiRouter<Arc<Contract>> {
    OpenApiRouter::new()
        .routes(routes!(schemas::list, schemas::create))
        .routes(routes!(schemas::show))
        .routes(routes!(list, start))
        .routes(routes!(show))
        .routes(routes!(results))
        .routes(routes!(cancel))
}

/// This contract's part of the OpenAPI document.
pub(super) fn described() -> OpenApi {
    routes().into_openapi()
}

/// Starts a job. With an `Idempotency-Key` a repeat within a day is answered like the first.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs with results", operation_id = "start_document_job",
    security(("bearer_key" = [])), request_body = StartFields, params(
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters of your choice",
        min_length = 1, max_length = 255)), responses(
    (status = 201, description = "Accepted", body = Started, headers(
        ("x-warning" = Option<String>, description = "Which fields of the body were ignored"))),
    (status = 400, description = "The body cannot be read, or a field or the key makes no sense", body = RefusalBody),
    (status = 404, description = "No such connection, or no such schema", body = RefusalBody),
    (status = 409, description = "A job of the connection is active (`job_id`), or the key was used with another body", body = RefusalBody),
    (status = 413, description = "The body is too large", body = RefusalBody),
    Refusals))]
async fn start(
    Caller(caller): Caller,
    State(contract): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let key = idempotency_key(&headers)?;
    let StartBody { command, unknown } = StartBody::read(&request::whole(body)?, REQUESTED_BY)?;
    let job = contract.engine.start_keyed(caller.tenant, command, key).await?.id;
    let mut response = (StatusCode::CREATED, Json(Started::new(job))).into_response();
    warn(&mut response, &unknown);
    Ok(response)
}

/// Lists your jobs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs with results", operation_id = "list_document_jobs",
    security(("bearer_key" = [])), params(JobsQuery), responses(
    (status = 200, description = "Jobs", body = JobList),
    (status = 400, description = "The query makes no sense", body = RefusalBody),
    Refusals))]
async fn list(
    Caller(caller): Caller,
    State(contract): Shared,
    query: Result<Query<JobsQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let query: JobQuery = query::checked(query)?.read()?;
    let total = contract.engine.count_jobs(caller.tenant, &query.statuses).await?;
    let page = contract.engine.jobs(caller.tenant, &query).await?;
    let data: Vec<_> = page.jobs.iter().map(|job| JobBody::new(job, &contract.public_url)).collect();
    let next = page.next.map(|cursor| cursor.to_string());
    let pagination = Pagination { total, limit: query.limit, has_more: next.is_some(), next_cursor: next };
    Ok(Json(JobList { data, pagination }).into_response())
}

/// Shows a job.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs with results", operation_id = "show_document_job",
    security(("bearer_key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 200, description = "The job", body = JobBody),
    (status = 400, description = "The path names no UUID", body = RefusalBody),
    (status = 404, description = "No such job", body = RefusalBody),
    Refusals))]
async fn show(
    Caller(caller): Caller,
    State(contract): Shared,
    IdPath(job): IdPath<JobId>,
) -> Result<Response, Refusal> {
    let job = contract.engine.job(caller.tenant, job).await?;
    Ok(Json(JobBody::new(&job, &contract.public_url)).into_response())
}

/// Lists the rows of a job, in every state of it. While it is active there may be more later, at `next_cursor`.
#[utoipa::path(get, path = "/v1/jobs/{id}/results", tag = "jobs with results", operation_id = "document_job_results",
    security(("bearer_key" = [])), params(("id" = JobId, Path, description = "The job"), ResultsQuery), responses(
    (status = 200, description = "Rows, in the order in which they came in", body = ResultsBody<'_>),
    (status = 400, description = "The path names no UUID, or the query makes no sense", body = RefusalBody),
    (status = 404, description = "No such job", body = RefusalBody),
    Refusals))]
async fn results(
    Caller(caller): Caller,
    State(contract): Shared,
    IdPath(job): IdPath<JobId>,
    query: Result<Query<ResultsQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (limit, after) = query::checked(query)?.read()?;
    let page = contract.engine.results(caller.tenant, job, after, limit).await?;
    Ok(Json(ResultsBody::new(&page, limit)).into_response())
}

/// Cancels a job, and answers when it is over: what is answered does not change any more. A body is not read.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs with results", operation_id = "cancel_document_job",
    security(("bearer_key" = [])), params(("id" = JobId, Path, description = "The job")), responses(
    (status = 200, description = "The job, `failed`", body = JobBody),
    (status = 400, description = "The path names no UUID", body = RefusalBody),
    (status = 404, description = "No such job", body = RefusalBody),
    (status = 409, description = "It was over already", body = RefusalBody),
    Refusals))]
async fn cancel(
    Caller(caller): Caller,
    State(contract): Shared,
    IdPath(job): IdPath<JobId>,
) -> Result<Response, Refusal> {
    let reason = Some(CANCELLED.to_owned());
    let job = contract.engine.cancel_to_the_end(caller.tenant, job, reason, REQUESTED_BY).await?;
    Ok(Json(JobBody::new(&job, &contract.public_url)).into_response())
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::not_found(format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let why = format!("{} does not answer {method}; the Allow header says what it does answer", uri.path());
    Refusal::wrong_method(why)
}

/// Whose key the request carries. As an argument of a handler it refuses everybody else.
struct Caller(Identity);

impl FromRequestParts<Arc<Contract>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, contract: &Arc<Contract>) -> Result<Self, Refusal> {
        Ok(Self(auth::by_key(&contract.engine, parts).await?))
    }
}
