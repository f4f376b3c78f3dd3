//! What this contract refuses, and how it says so. The text of a server's own error goes to the log, never into an answer.

use super::status::Word;
use crate::error::NO_ROOM;
use crate::error::{CHALLENGE, DEFECT};
use crate::middleware::Fault;
use crate::rate_limit::too_many;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use engine::StoreError;
use engine::{EngineError, Exceeded};
use protocol::ids::JobId;
use protocol::short::short;
use runtime::warn_unless_outage;
use serde_json::{Map, Value};
use utoipa::{IntoResponses, ToSchema};

/// Why a request was refused.
// It only describes: the answer itself is made by the [envelope](super::envelope).
#[derive(ToSchema)]
#[schema(as = DocumentJobError, rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes")]
pub(crate) struct RefusalBody {
    #[schema(rename = "statusCode")]
    status_code: u16,
    /// Never changes: what a program should look at.
    #[schema(
        pattern = "^(validation_error|unauthorized|not_found|method_not_allowed|conflict|rate_limited|internal_error)$"
    )]
    code: &'static str,
    /// The status in words.
    error: &'static str,
    /// A sentence for people.
    message: String,
    /// Whether the same request may succeed in a moment.
    retryable: bool,
    /// The header `x-request-id`, by which the operator finds the request in the log.
    request_id: String,
    timestamp: DateTime<Utc>,
    path: String,
    /// The job that is in the way, or that the request is about.
    #[schema(nullable = false)]
    job_id: Option<JobId>,
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

/// An answer that is not a success. It travels in the response's extensions, to where the [envelope](super::envelope) is
/// written.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Whether the same request may succeed in a moment.
    pub(super) retryable: bool,
    pub(super) more: Map<String, Value>,
    /// The limit that was reached.
    exceeded: Option<Exceeded>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: short(message.into()),
            retryable: false,
            more: Map::new(),
            exceeded: None,
        }
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

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", DEFECT)
    }

    fn for_now(why: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "internal_error", why) }
    }

    fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }

    /// In the place of a handler's answer.
    pub(super) fn of_fault(fault: Fault) -> Response {
        match fault {
            Fault::Defect => Self::internal(),
            Fault::TooLate => Self::for_now(
                "the request took too long, and may or may not have been carried out; repeat it with the same \
                 Idempotency-Key",
            ),
            Fault::NoRoom => Self::for_now(NO_ROOM),
        }
        .into_response()
    }

    fn of_store(error: &StoreError) -> Self {
        if error.is_transient() {
            warn_unless_outage!(error, "a request was turned away: the database is not available");
            return Self::for_now(
                "the database is not available at the moment; repeat the request (a new job with the same \
                 Idempotency-Key)",
            );
        }
        tracing::error!(%error, "a request failed in the database");
        if matches!(error, StoreError::Refused(_)) {
            return Self::bad_request("a value of the request cannot be stored; check dates and texts");
        }
        Self::internal()
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let why = error.to_string();
        match error {
            EngineError::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", why),
            EngineError::TooManyRequests(exceeded) => Self {
                retryable: true,
                exceeded: Some(exceeded),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", why)
            },
            EngineError::UnknownUser | EngineError::NoAgency | EngineError::ReadOnly => {
                Self::new(StatusCode::FORBIDDEN, "unauthorized", why)
            }
            EngineError::NoKeys(_) => Self::for_now(why),
            // Whether another tenant has it is nobody's business.
            EngineError::NoJob(job) | EngineError::OthersJob(job) => {
                Self::not_found(format!("there is no job {job}; GET /v1/jobs lists yours"))
            }
            EngineError::NoConnection(_) | EngineError::NoHistoricalConnection | EngineError::NoSchema => {
                Self::not_found(why)
            }
            EngineError::JobActive { active, .. } => Self::conflict(why).with("job_id", active.to_string()),
            EngineError::NotCancellable { job, status } => {
                let word = Word::of(status).text();
                Self::conflict(format!("job {job} cannot be cancelled: it is already {word}"))
                    .with("job_id", job.to_string())
            }
            EngineError::IdTaken(_) => Self::internal(),
            EngineError::KeyReused
            | EngineError::NotPausable { .. }
            | EngineError::NotResumable { .. }
            | EngineError::ResumedBefore { .. }
            | EngineError::ModeNotResumable { .. }
            | EngineError::SettingsChanged { .. }
            | EngineError::StartAnew { .. } => Self::conflict(why),
            EngineError::CannotSeal(_) => Self::for_now(why),
            EngineError::Connection { .. } | EngineError::Invalid(_) => Self::bad_request(why),
            EngineError::Store(error) => Self::of_store(&error),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if self.retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(exceeded) = self.exceeded {
            too_many(headers, exceeded);
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!((refusal.code, refusal.retryable), ("internal_error", retryable));
        }
    }
}
