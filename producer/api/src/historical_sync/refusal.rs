//! Errors as this contract has them: `{"error": "…"}`, and beside it what a caller needs to go on.

use super::body::word;
use crate::refusal::{self, Form};
use axum::http::StatusCode;
use engine::{EngineError, ErrorKind};
use protocol::ids::JobId;
use protocol::short::short;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// Why a request was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = HistoricalSyncError)]
pub(crate) struct RefusalBody {
    /// A sentence for people.
    error: String,
    /// The job that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    job_id: Option<JobId>,
    /// What a job that cannot be cancelled is already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    current_status: Option<&'static str>,
}

/// What every function may answer, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes")]
pub(super) enum Refusals {
    /// The token is missing, or does not count
    #[response(status = 401)]
    Unauthorized(RefusalBody),
    /// You are unknown here, or have no agency, or the job is another agency's
    #[response(status = 403)]
    Forbidden(RefusalBody),
    /// The method is another one
    #[response(status = 405)]
    WrongMethod(RefusalBody),
    /// Too many requests: the headers say when to come back
    #[response(status = 429)]
    TooMany(RefusalBody),
    /// A defect, which the operator finds in the log, or a passing failure (`Retry-After`)
    #[response(status = 500)]
    Failed(RefusalBody),
}

/// An answer that is not a success.
pub(crate) type Refusal = refusal::Refusal<RefusalBody>;

impl Form for RefusalBody {
    /// The contract knows no 503.
    const FOR_NOW: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
    const TOO_LATE: &str =
        "the request took too long, and may or may not have been carried out; get-sync-status tells";
    const DATABASE_AWAY: &str = "the database is not available at the moment; repeat the request";

    fn sentence(_status: StatusCode, text: String) -> Self {
        Self { error: short(text), job_id: None, current_status: None }
    }

    fn unstorable(_why: &'static str) -> Refusal {
        Refusal::bad_request("a value of the request cannot be stored; check the dates")
    }
}

impl Refusal {
    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self::say(StatusCode::BAD_REQUEST, why)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let say = |status| Self::say(status, error.to_string()).limited_by(&error);
        match error.kind() {
            ErrorKind::Unauthenticated => say(StatusCode::UNAUTHORIZED),
            ErrorKind::TooManyRequests => say(StatusCode::TOO_MANY_REQUESTS),
            ErrorKind::Forbidden | ErrorKind::OthersJob => say(StatusCode::FORBIDDEN),
            ErrorKind::NoJob => {
                let job = error.job().map(|job| job.to_string()).unwrap_or_default();
                Self::say(StatusCode::NOT_FOUND, format!("there is no job {job}"))
            }
            ErrorKind::JobActive => {
                let why =
                    "a sync of this agency is pending or in progress; wait for its end, or cancel it first";
                let mut refusal = Self::say(StatusCode::CONFLICT, why);
                refusal.body.job_id = error.job();
                refusal
            }
            ErrorKind::NotCancellable => {
                let job = error.job().map(|job| job.to_string()).unwrap_or_default();
                let status = error.job_status().map(word);
                let is = status.unwrap_or_default();
                let mut refusal = Self::bad_request(format!("job {job} cannot be cancelled: it is already {is}"));
                refusal.body.current_status = status;
                refusal
            }
            ErrorKind::Unavailable => Self::for_now(error.to_string()),
            ErrorKind::NoConnection | ErrorKind::Invalid
            // What this contract has no call for.
            | ErrorKind::NotPausable
            | ErrorKind::NotResumable
            | ErrorKind::CannotSeal
            | ErrorKind::NoSchema
            | ErrorKind::KeyReused => say(StatusCode::BAD_REQUEST),
            ErrorKind::Defect => Self::defect(),
            ErrorKind::Store => Self::of_database(&error),
        }
    }
}
