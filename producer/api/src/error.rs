//! Errors as `application/problem+json` (RFC 9457), each with a `code` that never changes.

use super::refusal::{Form, Refusal};
use axum::http::{HeaderValue, StatusCode};
use engine::{EngineError, ErrorKind};
use protocol::command::Rejection;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::short::short;
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that is not a success (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// Never changes: what a program should look at.
    code: &'static str,
    /// A sentence for people.
    detail: String,
    /// The job that it is about, or that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    job_id: Option<JobId>,
    /// The state of that job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    job_status: Option<JobStatus>,
    /// The job that has gone on from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    resumed_by: Option<JobId>,
}

/// A refusal of the native contract.
pub(crate) type Problem = Refusal<ProblemBody>;

impl Form for ProblemBody {
    const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
    const TOO_LATE: &str = "the request took too long; it may or may not have been carried out: look, or repeat it (a start with \
                            the same job_id or command_id is applied once)";
    const DATABASE_AWAY: &str = "the database is not available at the moment; repeat the request (a start with the same job_id \
                                 or command_id is applied once)";

    fn sentence(status: StatusCode, text: String) -> Self {
        let code = if status == StatusCode::SERVICE_UNAVAILABLE { "unavailable" } else { "internal" };
        Self::coded(status, code, text)
    }

    fn unstorable(_why: &'static str) -> Problem {
        let detail = "a value of the request cannot be stored; check dates and texts";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }
}

impl ProblemBody {
    /// What a caller sent may be in the sentence: it is cut.
    fn coded(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: short(detail.into()),
            job_id: None,
            job_status: None,
            resumed_by: None,
        }
    }
}

impl Problem {
    /// A problem with a stable `code`, and a sentence for the caller.
    #[must_use]
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self::of(status, ProblemBody::coded(status, code, detail))
            .retryable(status == StatusCode::SERVICE_UNAVAILABLE)
    }

    pub(super) fn invalid_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", detail)
    }

    pub(super) fn no_job(id: &str) -> Self {
        let detail = format!("there is no job {id}; GET /api/v1/jobs lists yours");
        Self::new(StatusCode::NOT_FOUND, "job_not_found", detail)
    }

    /// Says which job it is about, and what its state is where that is the reason. (RFC 9457's `status` is a number, so the
    /// job's has another name.)
    fn about_job_of(mut self, error: &EngineError) -> Self {
        self.body.job_id = error.job();
        self.body.job_status = error.job_status();
        if let EngineError::ResumedBefore { successor, .. } = error {
            self.body.resumed_by = Some(*successor);
        }
        self
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, error.to_string()).about_job_of(&error);
        let new = |status, code| Self::new(status, code, error.to_string()).limited_by(&error);
        match error.kind() {
            ErrorKind::Unauthenticated => new(StatusCode::UNAUTHORIZED, "unauthorized"),
            ErrorKind::TooManyRequests => new(StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            ErrorKind::Forbidden => new(StatusCode::FORBIDDEN, "forbidden"),
            // Whether another tenant has it is nobody's business.
            ErrorKind::NoJob | ErrorKind::OthersJob => {
                Self::no_job(&error.job().map(|job| job.to_string()).unwrap_or_default())
            }
            ErrorKind::NoConnection => new(StatusCode::NOT_FOUND, "connection_not_found"),
            ErrorKind::NoSchema => new(StatusCode::NOT_FOUND, "schema_not_found"),
            ErrorKind::JobActive => conflict("job_active"),
            ErrorKind::NotCancellable => conflict("not_cancellable"),
            ErrorKind::NotPausable => conflict("not_pausable"),
            ErrorKind::NotResumable => conflict("not_resumable"),
            ErrorKind::KeyReused => conflict("key_reused"),
            ErrorKind::Invalid => new(StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            ErrorKind::Unavailable | ErrorKind::CannotSeal => Self::for_now(error.to_string()),
            ErrorKind::Defect => Self::defect(),
            ErrorKind::Store => Self::of_database(&error),
        }
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
