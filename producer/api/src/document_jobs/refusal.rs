//! What this contract refuses, and how it says so.

use super::status::Word;
use crate::refusal::{self, Form};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::{EngineError, ErrorKind};
use protocol::ids::JobId;
use protocol::short::short;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// Why a request was refused.
#[derive(Serialize, ToSchema)]
#[schema(as = DocumentJobError)]
pub(crate) struct RefusalBody {
    #[serde(rename = "statusCode")]
    pub(super) status_code: u16,
    /// Never changes: what a program should look at.
    #[schema(
        pattern = "^(validation_error|unauthorized|not_found|method_not_allowed|conflict|rate_limited|internal_error)$"
    )]
    pub(super) code: &'static str,
    /// The status in words.
    pub(super) error: &'static str,
    /// A sentence for people.
    pub(super) message: String,
    /// Whether the same request may succeed in a moment.
    pub(super) retryable: bool,
    /// The header `x-request-id`, by which the operator finds the request in the log.
    pub(super) request_id: String,
    #[schema(format = DateTime)]
    pub(super) timestamp: String,
    /// As it was asked for; a long one, which leads nowhere, is cut.
    pub(super) path: String,
    /// The job that is in the way, or that the request is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) job_id: Option<JobId>,
}

/// What every call may answer, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes")]
pub(super) enum Refusals {
    /// The key is missing, unknown or revoked
    #[response(status = 401)]
    Unauthorized(RefusalBody),
    /// The method is another one
    #[response(status = 405, headers(("Allow" = String, description = "Those that there are")))]
    WrongMethod(RefusalBody),
    /// Too many requests: the headers say when to come back
    #[response(status = 429)]
    TooMany(RefusalBody),
    /// A defect, which the operator finds in the log
    #[response(status = 500)]
    Failed(RefusalBody),
    /// For now: repeat the request (`Retry-After`), a start with the same `Idempotency-Key`
    #[response(status = 503)]
    Unavailable(RefusalBody),
}

/// What a handler knows of a refusal; the [envelope](super::envelope) knows the rest.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Said {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) job_id: Option<JobId>,
}

/// An answer that is not a success. It travels in the response's extensions, to where the [envelope](super::envelope) is
/// written.
pub(super) type Refusal = refusal::Refusal<Said>;

impl Form for Said {
    const TOO_LATE: &str = "the request took too long, and may or may not have been carried out; repeat it with the same \
                            Idempotency-Key";
    const DATABASE_AWAY: &str = "the database is not available at the moment; repeat the request (a new job with the same Idempotency-Key)";

    fn sentence(_status: StatusCode, text: String) -> Self {
        Self::coded("internal_error", text)
    }

    fn unstorable(_why: &'static str) -> Refusal {
        Refusal::bad_request("a value of the request cannot be stored; check dates and texts")
    }

    fn answer(refusal: Refusal) -> Response {
        let mut response = refusal.status.into_response();
        refusal.set_headers(response.headers_mut());
        response.extensions_mut().insert(refusal);
        response
    }
}

impl Said {
    fn coded(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: short(message.into()), job_id: None }
    }
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::of(status, Said::coded(code, message))
    }

    /// What was asked for makes no sense.
    pub(super) fn invalid(status: StatusCode, why: impl Into<String>) -> Self {
        Self::new(status, "validation_error", why)
    }

    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self::invalid(StatusCode::BAD_REQUEST, why)
    }

    pub(super) fn not_found(why: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", why)
    }

    pub(super) fn wrong_method(why: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", why)
    }

    fn conflict(why: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", why)
    }

    fn about(mut self, job: Option<JobId>) -> Self {
        self.body.job_id = job;
        self
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let why = error.to_string();
        match error.kind() {
            ErrorKind::Unauthenticated => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", why),
            ErrorKind::TooManyRequests => Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", why)
                .limited_by(&error)
                .retryable(true),
            ErrorKind::Forbidden => Self::new(StatusCode::FORBIDDEN, "unauthorized", why),
            // Whether another tenant has it is nobody's business.
            ErrorKind::NoJob | ErrorKind::OthersJob => {
                let job = error.job().map(|job| job.to_string()).unwrap_or_default();
                Self::not_found(format!("there is no job {job}; GET /v1/jobs lists yours"))
            }
            ErrorKind::NoConnection | ErrorKind::NoSchema => Self::not_found(why),
            ErrorKind::JobActive => Self::conflict(why).about(error.job()),
            ErrorKind::NotCancellable => {
                let job = error.job().map(|job| job.to_string()).unwrap_or_default();
                let word = error.job_status().map(|status| Word::of(status).text()).unwrap_or_default();
                Self::conflict(format!("job {job} cannot be cancelled: it is already {word}"))
                    .about(error.job())
            }
            ErrorKind::KeyReused | ErrorKind::NotPausable | ErrorKind::NotResumable => Self::conflict(why),
            ErrorKind::Unavailable | ErrorKind::CannotSeal => Self::for_now(why),
            ErrorKind::Invalid => Self::bad_request(why),
            ErrorKind::Defect => Self::defect(),
            ErrorKind::Store => Self::of_database(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::Fault;
    use axum::http::header;

    #[test]
    fn only_what_may_succeed_in_a_moment_is_retryable() {
        for (fault, status, retryable) in [
            (Fault::Defect, StatusCode::INTERNAL_SERVER_ERROR, false),
            (Fault::TooLate, StatusCode::SERVICE_UNAVAILABLE, true),
            (Fault::NoRoom, StatusCode::SERVICE_UNAVAILABLE, true),
        ] {
            let response = Refusal::of_fault(fault);
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), retryable);
            let refusal = response.extensions().get::<Refusal>().unwrap();
            assert_eq!((refusal.body.code, refusal.again), ("internal_error", retryable));
        }
    }
}
