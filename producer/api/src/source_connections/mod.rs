//! Source connections and their sync jobs: `/source-connections`, called with an API key in the header `x-api-key`.
//!
//! Errors are `{"detail": "…"}`; a request that is not as it should be is a 422, whose detail lists what is wrong where.
//! The checks come in the order key, request, connection, job, and the job's state.

mod body;
mod refusal;
mod request;

pub(super) use refusal::{Invalid, Refusal, RefusalBody};

use super::auth;
use super::middleware::{Policy, handle};
use super::untaken::Untaken;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use body::{ConnectionBody, CreateBody, JobBody};
use engine::{Engine, Identity};
use protocol::ids::{ConnectionId, JobId};
use protocol::short::short;
use refusal::{Mistaken, Refusals, Unknown};
use request::{ConnectionPath, ConnectionsQuery, JobPath, JobsQuery, NewConnection, RunQuery, Selection};
use std::sync::Arc;
use std::time::Duration;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Where the contract's calls are.
const PATH: &str = "/source-connections";
/// Who asked: a key is nobody in particular.
const REQUESTED_BY: &str = "api";

/// The calls of the contract, and nothing else below their folder.
pub(super) fn router(engine: Arc<Engine>, limit: Duration, untaken: Untaken) -> Router {
    let policy = Policy { limit, answer: Refusal::of_fault, untaken };
    let calls = Router::from(routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(engine)
        .layer(from_fn_with_state(policy, handle));
    Router::new().nest(PATH, calls)
}

/// The calls, by their paths below [`PATH`], with what the OpenAPI document says of them.
fn routes() -> OpenApiRouter<Arc<Engine>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, remove))
        .routes(routes!(run))
        .routes(routes!(jobs))
        .routes(routes!(job))
        .routes(routes!(cancel))
}

/// This contract's part of the OpenAPI document.
pub(super) fn described() -> OpenApi {
    OpenApiRouter::new().nest(PATH, routes()).into_openapi()
}

/// Makes a connection to an upstream.
#[utoipa::path(post, path = "", tag = "source connections", operation_id = "create_source_connection",
    security(("header_key" = [])), request_body = CreateBody, responses(
    (status = 200, description = "The connection, without its credentials", body = ConnectionBody, headers(
        ("x-warning" = Option<String>, description = "Which fields of the body were ignored"))),
    (status = 400, description = "The body could not be read to its end", body = RefusalBody),
    (status = 413, description = "The body is too large", body = RefusalBody),
    Mistaken, Refusals))]
async fn create(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let NewConnection { draft, unknown } = NewConnection::read(body)?;
    let connection = engine.create_connection(caller.tenant, draft, REQUESTED_BY).await?;
    let mut response = Json(ConnectionBody::from(&connection)).into_response();
    super::warn(&mut response, &unknown);
    Ok(response)
}

/// Lists your connections, by name, so many at a time.
#[utoipa::path(get, path = "", tag = "source connections", operation_id = "list_source_connections",
    security(("header_key" = [])), params(ConnectionsQuery), responses(
    (status = 200, description = "The connections, without their credentials", body = Vec<ConnectionBody>, headers(
        ("link" = Option<String>, description = "Where the list goes on, with `rel=\"next\"`; none at its end"))),
    Mistaken, Refusals))]
async fn list(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    query: ConnectionsQuery,
) -> Result<Response, Refusal> {
    let (after, limit) = (query.after.as_deref(), query.limit);
    let (connections, more) = engine.connections(caller.tenant, after, limit, query.settings).await?;
    let next = connections.last().filter(|_| more).map(|last| query.following(&last.name));
    let shown = connections.iter().map(ConnectionBody::from);
    let bodies: Vec<_> = match query.settings {
        true => shown.collect(),
        false => shown.map(ConnectionBody::without_settings).collect(),
    };
    let mut response = Json(bodies).into_response();
    let link = next.map(|next| HeaderValue::from_str(&format!("<{PATH}?{next}>; rel=\"next\"")));
    response.headers_mut().extend(link.and_then(Result::ok).map(|link| (header::LINK, link)));
    Ok(response)
}

/// Shows a connection.
#[utoipa::path(get, path = "/{connection}", tag = "source connections", operation_id = "show_source_connection",
    security(("header_key" = [])), params(("connection" = ConnectionId, Path, description = "The connection")), responses(
    (status = 200, description = "The connection, without its credentials", body = ConnectionBody),
    Unknown, Mistaken, Refusals))]
async fn show(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    ConnectionPath(connection): ConnectionPath,
) -> Result<Json<ConnectionBody>, Refusal> {
    Ok(Json(ConnectionBody::from(&engine.connection(caller.tenant, connection).await?)))
}

/// Removes a connection. Its active job is cancelled; its records go later.
#[utoipa::path(delete, path = "/{connection}", tag = "source connections", operation_id = "delete_source_connection",
    security(("header_key" = [])), params(("connection" = ConnectionId, Path, description = "The connection")), responses(
    (status = 200, description = "The connection as it was", body = ConnectionBody),
    Unknown, Mistaken, Refusals))]
async fn remove(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    ConnectionPath(connection): ConnectionPath,
) -> Result<Json<ConnectionBody>, Refusal> {
    let body = ConnectionBody::from(&engine.connection(caller.tenant, connection).await?);
    engine.delete_connection(caller.tenant, connection, REQUESTED_BY).await?;
    Ok(Json(body))
}

/// Starts a sync of a connection. A body is not read.
#[utoipa::path(post, path = "/{connection}/run", tag = "source connections", operation_id = "run_source_connection",
    security(("header_key" = [])), params(("connection" = ConnectionId, Path, description = "The connection"), RunQuery), responses(
    (status = 200, description = "The new job, `PENDING`", body = JobBody),
    (status = 409, description = "A job of the connection is pending or running: `job_id`", body = RefusalBody),
    Unknown, Mistaken, Refusals))]
async fn run(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    Selection(ConnectionPath(connection), query): Selection<ConnectionPath, RunQuery>,
) -> Result<Json<JobBody>, Refusal> {
    let job = engine.run(caller.tenant, connection, query.force_full_sync, REQUESTED_BY).await?;
    Ok(Json(JobBody::from(&job)))
}

/// Lists the jobs of a connection, newest first.
#[utoipa::path(get, path = "/{connection}/jobs", tag = "source connections", operation_id = "list_source_connection_jobs",
    security(("header_key" = [])), params(("connection" = ConnectionId, Path, description = "The connection"), JobsQuery), responses(
    (status = 200, description = "Jobs, newest first", body = Vec<JobBody>),
    Unknown, Mistaken, Refusals))]
async fn jobs(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    Selection(ConnectionPath(connection), query): Selection<ConnectionPath, JobsQuery>,
) -> Result<Json<Vec<JobBody>>, Refusal> {
    let jobs = engine.jobs_of(caller.tenant, connection, query.limit).await?;
    Ok(Json(jobs.iter().map(JobBody::from).collect()))
}

/// Shows a job of a connection.
#[utoipa::path(get, path = "/{connection}/jobs/{job}", tag = "source connections", operation_id = "show_source_connection_job",
    security(("header_key" = [])), params(("connection" = ConnectionId, Path, description = "The connection"), ("job" = JobId, Path, description = "The job")), responses(
    (status = 200, description = "The job", body = JobBody),
    Unknown, Mistaken, Refusals))]
async fn job(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    JobPath(connection, job): JobPath,
) -> Result<Json<JobBody>, Refusal> {
    Ok(Json(JobBody::from(&engine.job_of(caller.tenant, connection, job).await?)))
}

/// Cancels a job: once this is answered nothing more of it is imported. A repeat while it is cancelling gets the same job. A
/// body is not read.
#[utoipa::path(post, path = "/{connection}/jobs/{job}/cancel", tag = "source connections", operation_id = "cancel_source_connection_job",
    security(("header_key" = [])), params(("connection" = ConnectionId, Path, description = "The connection"), ("job" = JobId, Path, description = "The job")), responses(
    (status = 200, description = "The job, `CANCELLING`; it is `CANCELLED` when it is read later, at once if nothing of it was in flight", body = JobBody),
    (status = 400, description = "The job is over already", body = RefusalBody),
    Unknown, Mistaken, Refusals))]
async fn cancel(
    Caller(caller): Caller,
    State(engine): State<Arc<Engine>>,
    JobPath(connection, job): JobPath,
) -> Result<Json<JobBody>, Refusal> {
    let job = engine.cancel_of(caller.tenant, connection, job, REQUESTED_BY).await?;
    Ok(Json(JobBody::cancelling(&job)))
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::say(StatusCode::NOT_FOUND, short(format_args!("there is nothing at {PATH}{}", uri.path())))
}

async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let why = short(format_args!(
        "{PATH}{} does not answer {method}; the Allow header says what it does answer",
        uri.path()
    ));
    Refusal::say(StatusCode::METHOD_NOT_ALLOWED, why)
}

/// Whose key the request carries. As an argument of a handler it refuses everybody else.
struct Caller(Identity);

impl FromRequestParts<Arc<Engine>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Refusal> {
        Ok(Self(auth::by_header_key(engine, parts).await?))
    }
}
