//! What a request of this contract says: who calls, its path, its query, its body.

use crate::auth;
use crate::error::Problem;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use engine::JobView;
use engine::{Cursor, CursorError, Engine, Identity, JobQuery};
use protocol::command::{MAX_COMMAND_BYTES, Rejection, UnknownName, fields};
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobStatus;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

const DEFAULT_LIMIT: u16 = 20;
pub(super) const MAX_LIMIT: u16 = 100;

/// Whose key or token the request carries. As an argument of a handler it refuses everybody else.
pub(crate) struct Caller(pub(super) Identity);

impl FromRequestParts<Arc<Engine>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Problem> {
        Ok(Self(auth::by_key_or_token(engine, parts).await?))
    }
}

/// A [`Caller`] who may start and cancel.
pub(crate) struct Writer(pub(super) Identity);

impl FromRequestParts<Arc<Engine>> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Problem> {
        Ok(Self(auth::by_key_or_token(engine, parts).await?.to_change()?))
    }
}

/// The job of the path, if the caller may see it.
pub(crate) struct VisibleJob(pub(super) JobView);

impl FromRequestParts<Arc<Engine>> for VisibleJob {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Problem> {
        let path = JobPath::from_request_parts(parts, engine).await;
        if let (Some(key), Ok(JobPath(job))) = (auth::key(&parts.headers)?, &path) {
            return Ok(Self(engine.job_of_key_holder(key, auth::peer(parts), *job).await?));
        }
        let caller = auth::by_key_or_token(engine, parts).await?;
        let JobPath(job) = path?;
        Ok(Self(engine.job(caller.tenant, job).await?))
    }
}

/// The job that a path names. What is no UUID names none.
pub(crate) struct JobPath(pub(super) JobId);

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

/// The parameters of a query.
pub(crate) trait Parameters: DeserializeOwned {
    /// All that there are.
    const NAMES: &'static [&'static str];
}

/// What a query asks for. One with a parameter that is not known is refused.
pub(crate) struct Asked<P>(pub(super) P);

impl<P: Parameters> Asked<P> {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let query = uri.query().unwrap_or_default();
        if let Some(unknown) =
            form_urlencoded::parse(query.as_bytes()).find_map(|(name, _)| UnknownName::of(&name, P::NAMES))
        {
            let detail = format!("the parameter {unknown}");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_parameter", detail));
        }
        match Query::try_from_uri(uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => {
                let text = rejection.body_text();
                let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Problem::invalid_query(text))
            }
        }
    }
}

impl<S: Send + Sync, P: Parameters> FromRequestParts<S> for Asked<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(&parts.uri)
    }
}

/// Of a call that has no parameters.
#[derive(Deserialize)]
pub(crate) struct NoQuery {}

impl Parameters for NoQuery {
    const NAMES: &'static [&'static str] = &[];
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
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

impl Parameters for ListQuery {
    const NAMES: &'static [&'static str] = &["connection_id", "status", "limit", "cursor"];
}

impl ListQuery {
    pub(super) fn read(self) -> Result<JobQuery, Problem> {
        let limit = limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        let after: Option<Cursor> = match self.cursor.as_deref() {
            Some(text) => {
                Some(text.parse().map_err(|error: CursorError| Problem::invalid_query(error.to_string()))?)
            }
            None => None,
        };
        Ok(JobQuery {
            connection: self.connection_id,
            statuses: self.status.into_iter().collect(),
            limit,
            after,
            oldest_first: false,
        })
    }
}

/// How much of a list is wanted.
pub(super) fn limit(given: Option<u16>, default: u16, most: u16) -> Result<u16, Problem> {
    let limit = given.unwrap_or(default);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid_query(format!("limit is {limit}; it must be between 1 and {most}")))
}

/// Why a job is cancelled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobCancel)]
pub(crate) struct CancelBody {
    /// Stored and shown.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub(super) reason: Option<String>,
}

impl CancelBody {
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let fields = known(body, &["reason"])?;
        serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
            let detail = format!("the body must be empty or {{\"reason\": \"…\"}}: {error}");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
        })
    }
}

/// The body of a call that takes none: empty, or an object with nothing in it.
pub(super) fn nothing(body: &[u8]) -> Result<(), Problem> {
    known(body, &[]).map(drop)
}

/// The members of a body that may be left out, all of them known.
fn known(body: &[u8], names: &'static [&'static str]) -> Result<Map<String, Value>, Problem> {
    if matches!(body.trim_ascii(), b"" | b"null") {
        return Ok(Map::new());
    }
    let fields = fields(body)?;
    match fields.keys().find_map(|name| UnknownName::of(name, names)) {
        Some(unknown) => Err(Rejection::from(&unknown).into()),
        None => Ok(fields),
    }
}

/// A body, read to its end.
pub(super) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is larger than {MAX_COMMAND_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "unreadable", "the body could not be read to its end"),
    })
}
