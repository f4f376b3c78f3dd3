//! Errors as this contract has them: `{"error": "…"}`, and beside it what a caller needs to go on. The text of a server's
//! own error goes to the log, never into an answer.

use super::body::word;
use crate::error::NO_ROOM;
use crate::error::{CHALLENGE, DEFECT};
use crate::middleware::Fault;
use crate::rate_limit::too_many;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::StoreError;
use engine::{EngineError, Exceeded};
use protocol::ids::JobId;
use protocol::short::short;
use runtime::warn_unless_outage;
use serde_json::{Map, Value};
use utoipa::{IntoResponses, ToSchema};

/// The body of an answer that is not a success, for the OpenAPI document.
#[derive(ToSchema)]
#[schema(as = HistoricalSyncError)]
#[expect(dead_code, reason = "it describes; the answer itself is made of what there is")]
pub(crate) struct RefusalBody {
    /// A sentence for people.
    error: String,
    /// The job that is in the way.
    #[schema(nullable = false)]
    job_id: Option<JobId>,
    /// What a job that cannot be cancelled is already.
    #[schema(nullable = false)]
    current_status: Option<String>,
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
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    fields: Map<String, Value>,
    /// Whether the same request may succeed in a moment.
    again: bool,
    /// The limit that was reached.
    exceeded: Option<Exceeded>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, fields: Map::new(), again: false, exceeded: None }.with("error", short(why.into()))
    }

    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// In the place of a handler's answer.
    pub(crate) fn of_fault(fault: Fault) -> Response {
        match fault {
            Fault::Defect => Self::internal(),
            Fault::TooLate => Self::for_now(
                "the request took too long, and may or may not have been carried out; get-sync-status tells",
            ),
            Fault::NoRoom => Self::for_now(NO_ROOM),
        }
        .into_response()
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, DEFECT)
    }

    /// The contract knows no 503.
    fn for_now(why: impl Into<String>) -> Self {
        Self { again: true, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, why) }
    }

    fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    fn of_store(error: &StoreError) -> Self {
        if error.is_transient() {
            warn_unless_outage!(error, "a request was turned away: the database is not available");
            return Self::for_now("the database is not available at the moment; repeat the request");
        }
        tracing::error!(%error, "a request failed in the database");
        if matches!(error, StoreError::Refused(_)) {
            return Self::bad_request("a value of the request cannot be stored; check the dates");
        }
        Self::internal()
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let why = error.to_string();
        match error {
            EngineError::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, why),
            EngineError::TooManyRequests(exceeded) => {
                Self { exceeded: Some(exceeded), ..Self::new(StatusCode::TOO_MANY_REQUESTS, why) }
            }
            EngineError::UnknownUser
            | EngineError::NoAgency
            | EngineError::ReadOnly
            | EngineError::OthersJob(_) => Self::new(StatusCode::FORBIDDEN, why),
            EngineError::NoKeys(_) => Self::for_now(why),
            EngineError::NoJob(job) => Self::new(StatusCode::NOT_FOUND, format!("there is no job {job}")),
            EngineError::JobActive { active, .. } => {
                let why =
                    "a sync of this agency is pending or in progress; wait for its end, or cancel it first";
                Self::new(StatusCode::CONFLICT, why).with("job_id", active.to_string())
            }
            EngineError::NotCancellable { job, status } => {
                let status = word(status);
                Self::bad_request(format!("job {job} cannot be cancelled: it is already {status}"))
                    .with("current_status", status)
            }
            EngineError::NoHistoricalConnection | EngineError::NoConnection(_) | EngineError::Invalid(_) => {
                Self::bad_request(why)
            }
            // What this contract has no call for.
            EngineError::NotPausable { .. }
            | EngineError::NotResumable { .. }
            | EngineError::ResumedBefore { .. }
            | EngineError::ModeNotResumable { .. }
            | EngineError::SettingsChanged { .. }
            | EngineError::StartAnew { .. }
            | EngineError::Connection { .. }
            | EngineError::CannotSeal(_)
            | EngineError::NoSchema
            | EngineError::KeyReused => Self::bad_request(why),
            EngineError::IdTaken(_) => Self::internal(),
            EngineError::Store(error) => Self::of_store(&error),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.fields)).into_response();
        if let Some(exceeded) = self.exceeded {
            too_many(response.headers_mut(), exceeded);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if self.again {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
