//! Errors as this contract has them: `{"detail": "…"}`, or for a request that is not as it should be a list of what is
//! wrong where. The text of a server's own error goes to the log, never into an answer.

use super::body::word;
use crate::error::DEFECT;
use crate::error::NO_ROOM;
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
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoResponses, ToSchema};

/// Why a request was refused.
#[derive(ToSchema)]
#[schema(as = SourceConnectionError)]
#[expect(dead_code, reason = "it describes; the answer itself is made of what there is")]
pub(crate) struct RefusalBody {
    /// A sentence for people.
    detail: String,
    /// The job that is in the way.
    #[schema(nullable = false)]
    job_id: Option<JobId>,
}

/// What is wrong with a request.
#[derive(ToSchema)]
#[schema(as = SourceConnectionInvalid)]
#[expect(dead_code, reason = "it describes")]
pub(crate) struct Invalid {
    /// All that is wrong.
    detail: Vec<Wrong>,
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
    /// For now: look before you repeat the request (`Retry-After`)
    #[response(status = 503)]
    Unavailable(RefusalBody),
}

/// What a call that names something may answer beside it.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes")]
pub(super) enum Unknown {
    /// You have no such connection, or it has no such job
    #[response(status = 404)]
    NotFound(RefusalBody),
}

/// The same of a call that can be asked wrongly.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes")]
pub(super) enum Mistaken {
    /// The request is not as it should be: `detail` lists what is wrong where
    #[response(status = 422)]
    Invalid(Invalid),
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    fields: Map<String, Value>,
    /// Whether the same request may succeed in a moment.
    again: bool,
    exceeded: Option<Exceeded>,
}

/// Something that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SourceConnectionFault)]
pub(super) struct Wrong {
    /// Where: `body`, `query` or `path`, and the field.
    pub(super) loc: Vec<&'static str>,
    /// What it should be.
    pub(super) msg: String,
    /// A stable word.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

impl Wrong {
    pub(super) fn new(loc: &[&'static str], kind: &'static str, msg: impl Into<String>) -> Self {
        Self { loc: loc.to_vec(), msg: short(msg.into()), kind }
    }
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self {
            status,
            fields: Map::from_iter([("detail".to_owned(), detail.into())]),
            again: false,
            exceeded: None,
        }
    }

    /// The request is not as it should be, in these places.
    pub(super) fn of_request(wrong: &[Wrong]) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, json!(wrong))
    }

    /// In the place of a handler's answer.
    pub(crate) fn of_fault(fault: Fault) -> Response {
        match fault {
            Fault::Defect => Self::internal(),
            Fault::TooLate => Self::unavailable(
                "the request took too long, and may or may not have been carried out; look before you repeat it",
            ),
            Fault::NoRoom => Self::unavailable(NO_ROOM),
        }
        .into_response()
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, DEFECT)
    }

    fn unavailable(why: impl Into<Value>) -> Self {
        Self { again: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, why) }
    }

    fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    fn of_store(error: &StoreError) -> Self {
        if error.is_transient() {
            warn_unless_outage!(error, "a request was turned away: the database is not available");
            return Self::unavailable("the database is not available at the moment; repeat the request");
        }
        tracing::error!(%error, "a request failed in the database");
        if matches!(error, StoreError::Refused(_)) {
            let why = match error.sqlstate().as_deref() {
                // A character that no text of Postgres has, in a text or in JSON.
                Some("22021" | "22P05") => "a text has a NUL",
                // What a check or a type of the schema refuses.
                Some("23514" | "22001" | "22003") => "one is larger than the database takes",
                _ => "the database refuses it",
            };
            let msg = format!("Value error, a value of the request cannot be stored: {why}");
            return Self::of_request(&[Wrong::new(&["body"], "value_error", msg)]);
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
            EngineError::UnknownUser | EngineError::NoAgency | EngineError::ReadOnly => {
                Self::new(StatusCode::FORBIDDEN, why)
            }
            EngineError::NoKeys(_) => Self::unavailable(why),
            // Whether another tenant has it is nobody's business.
            EngineError::NoJob(_) | EngineError::OthersJob(_) => {
                Self::new(StatusCode::NOT_FOUND, "Sync job not found")
            }
            EngineError::NoConnection(_) | EngineError::NoHistoricalConnection => {
                Self::new(StatusCode::NOT_FOUND, "Source connection not found")
            }
            EngineError::JobActive { active, .. } => {
                let why = "Cannot start new sync: a sync job is already running";
                Self::new(StatusCode::CONFLICT, why).with("job_id", active.to_string())
            }
            EngineError::NotCancellable { status, .. } => {
                let why = format!("Cannot cancel job in {} state", word(status));
                Self::new(StatusCode::BAD_REQUEST, why)
            }
            EngineError::Connection { field, reason } => {
                let wrong = Wrong::new(&["body", field], "value_error", format!("Value error, {reason}"));
                Self::of_request(&[wrong])
            }
            EngineError::CannotSeal(error) => {
                tracing::error!(%error, "a connection was refused: its credentials cannot be sealed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
            }
            EngineError::Invalid(_) => {
                Self::of_request(&[Wrong::new(&["body"], "value_error", format!("Value error, {why}"))])
            }
            // What this contract has no call for.
            EngineError::NotPausable { .. }
            | EngineError::NotResumable { .. }
            | EngineError::ResumedBefore { .. }
            | EngineError::ModeNotResumable { .. }
            | EngineError::SettingsChanged { .. }
            | EngineError::StartAnew { .. }
            | EngineError::NoSchema
            | EngineError::KeyReused => Self::new(StatusCode::BAD_REQUEST, why),
            EngineError::IdTaken(_) => Self::internal(),
            EngineError::Store(error) => Self::of_store(&error),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.fields)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("ApiKey realm=\"backhaul\", header=\"x-api-key\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(exceeded) = self.exceeded {
            too_many(response.headers_mut(), exceeded);
        }
        if self.again {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use std::time::Duration;

    async fn detail(response: Response) -> Value {
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["detail"].clone()
    }

    #[tokio::test]
    async fn who_calls_too_often_is_told_when_to_come_back() {
        let exceeded = Exceeded { limit: 7, retry_after: Duration::from_millis(1200) };
        let response = Refusal::from(EngineError::TooManyRequests(exceeded)).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        for (header, value) in [
            ("retry-after", "2"),
            ("ratelimit-limit", "7"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "2"),
        ] {
            assert_eq!(response.headers()[header], value, "{header}");
        }
        assert!(detail(response).await.as_str().unwrap().starts_with("too many requests"));
    }

    #[tokio::test]
    async fn a_defect_is_a_500_and_says_no_more() {
        let response = Refusal::of_fault(Fault::Defect);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(detail(response).await, DEFECT);
        let response = Refusal::of_fault(Fault::TooLate);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
