//! Errors as `application/problem+json` (RFC 9457), each with a `code` that never changes. The text of a server's own
//! error goes to the log, never into an answer.

use super::middleware::Fault;
use super::rate_limit::too_many;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::StoreError;
use engine::{EngineError, Exceeded};
use protocol::command::Rejection;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::short::short;
use runtime::warn_unless_outage;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// All that a caller may know of a defect.
pub(super) const DEFECT: &str =
    "the request failed for a reason that the operator can find in the log by x-request-id";

/// To whoever has not taken their other answers.
pub(super) const NO_ROOM: &str = "there is no room for the answer while others are not taken; read those to their ends, and repeat the request";

/// Beside every 401.
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"backhaul\"");

/// An answer that is not a success (RFC 9457). Some have more fields, such as `job_id` and `job_status`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// Never changes: what a program should look at.
    code: &'static str,
    /// A sentence for people.
    detail: String,
    #[serde(flatten)]
    #[schema(ignore)]
    more: Map<String, Value>,
    #[serde(skip)]
    exceeded: Option<Box<Exceeded>>,
}

impl Problem {
    /// A problem with a stable `code`, and a sentence for the caller, which may repeat what the caller sent: it is cut.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: short(detail.into()),
            more: Map::new(),
            exceeded: None,
        }
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }

    #[cfg(test)]
    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// A defect of ours. What it is stays in the log.
    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", DEFECT)
    }

    /// In the place of a handler's answer.
    pub(super) fn of_fault(fault: Fault) -> Response {
        match fault {
            Fault::Defect => Self::internal(),
            Fault::TooLate => Self::unavailable(
                "the request took too long; it may or may not have been carried out: look, or repeat it (a start with \
                 the same job_id or command_id is applied once)",
            ),
            Fault::NoRoom => Self::unavailable(NO_ROOM),
        }
        .into_response()
    }

    /// No answer in time, or the database is away.
    fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    pub(super) fn invalid_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", detail)
    }

    pub(super) fn no_job(id: &str) -> Self {
        let detail = format!("there is no job {id}; GET /api/v1/jobs lists yours");
        Self::new(StatusCode::NOT_FOUND, "job_not_found", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let exceeded = self.exceeded.take();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        if let Some(exceeded) = exceeded {
            too_many(headers, *exceeded);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let detail = error.to_string();
        match error {
            EngineError::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail),
            EngineError::TooManyRequests(exceeded) => {
                let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
                Self { exceeded: Some(Box::new(exceeded)), ..refused }
            }
            EngineError::UnknownUser | EngineError::NoAgency | EngineError::ReadOnly => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
            }
            EngineError::NoKeys(_) => Self::unavailable(detail),
            // Whether another tenant has it is nobody's business.
            EngineError::NoJob(job) | EngineError::OthersJob(job) => Self::no_job(&job.to_string()),
            EngineError::NoConnection(_) | EngineError::NoHistoricalConnection => {
                Self::new(StatusCode::NOT_FOUND, "connection_not_found", detail)
            }
            EngineError::JobActive { active, .. } => {
                Self::new(StatusCode::CONFLICT, "job_active", detail).with("job_id", active.to_string())
            }
            EngineError::IdTaken(_) => Self::internal(),
            EngineError::NotCancellable { job, status } => {
                Self::wrong_state("not_cancellable", detail, job, status)
            }
            EngineError::NotPausable { job, status } => {
                Self::wrong_state("not_pausable", detail, job, status)
            }
            EngineError::NotResumable { job, status }
            | EngineError::SettingsChanged { job, status }
            | EngineError::StartAnew { job, status }
            | EngineError::ModeNotResumable { job, status, .. } => {
                Self::wrong_state("not_resumable", detail, job, status)
            }
            EngineError::ResumedBefore { job, status, successor } => {
                Self::wrong_state("not_resumable", detail, job, status)
                    .with("resumed_by", successor.to_string())
            }
            EngineError::CannotSeal(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail),
            EngineError::NoSchema => Self::new(StatusCode::NOT_FOUND, "schema_not_found", detail),
            EngineError::KeyReused => Self::new(StatusCode::CONFLICT, "key_reused", detail),
            EngineError::Invalid(_) | EngineError::Connection { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
            }
            EngineError::Store(error) => Self::of_store(&error),
        }
    }
}

impl Problem {
    /// What a job cannot do in its state. RFC 9457's `status` is a number, so the job's has another name beside it.
    fn wrong_state(code: &'static str, detail: String, job: JobId, status: JobStatus) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
            .with("job_id", job.to_string())
            .with("job_status", status.word())
    }

    fn of_store(error: &StoreError) -> Self {
        if error.is_transient() {
            warn_unless_outage!(error, "a request was turned away: the database is not available");
            return Self::unavailable(
                "the database is not available at the moment; repeat the request (a start with the same job_id or \
                 command_id is applied once)",
            );
        }
        tracing::error!(%error, "a request failed in the database");
        if matches!(error, StoreError::Refused(_)) {
            let detail = "a value of the request cannot be stored; check dates and texts";
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
        }
        Self::internal()
    }
}

impl From<Rejection> for Problem {
    fn from(fault: Rejection) -> Self {
        let status = match fault.reason {
            "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
            "not_json" => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, fault.reason, fault.detail)
    }
}
