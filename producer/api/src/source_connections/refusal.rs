//! Errors as this contract has them: `{"detail": "…"}`, or for a request that is not as it should be a list of what is
//! wrong where.

use super::body::word;
use crate::refusal::{self, Form};
use axum::http::{HeaderValue, StatusCode};
use engine::{EngineError, ErrorKind};
use protocol::ids::JobId;
use protocol::short::short;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// Why a request was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SourceConnectionError)]
pub(crate) struct RefusalBody {
    /// A sentence for people.
    detail: String,
    /// The job that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    job_id: Option<JobId>,
}

/// What is wrong with a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SourceConnectionInvalid)]
pub(crate) struct Invalid {
    /// All that is wrong.
    detail: Vec<Wrong>,
}

/// The body of a refusal.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Body {
    Said(RefusalBody),
    Invalid(Invalid),
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

/// An answer that is not a success.
pub(crate) type Refusal = refusal::Refusal<Body>;

impl Form for Body {
    const CHALLENGE: HeaderValue =
        HeaderValue::from_static("ApiKey realm=\"backhaul\", header=\"x-api-key\"");
    const TOO_LATE: &str =
        "the request took too long, and may or may not have been carried out; look before you repeat it";
    const DATABASE_AWAY: &str = "the database is not available at the moment; repeat the request";

    fn sentence(_status: StatusCode, text: String) -> Self {
        Self::Said(RefusalBody { detail: text, job_id: None })
    }

    fn unstorable(why: &'static str) -> Refusal {
        let msg = format!("Value error, a value of the request cannot be stored: {why}");
        Refusal::of_request(vec![Wrong::new(&["body"], "value_error", msg)])
    }
}

impl Refusal {
    /// The request is not as it should be, in these places.
    pub(super) fn of_request(detail: Vec<Wrong>) -> Self {
        Self::of(StatusCode::UNPROCESSABLE_ENTITY, Body::Invalid(Invalid { detail }))
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let say = |status| Self::say(status, error.to_string()).limited_by(&error);
        match error.kind() {
            ErrorKind::Unauthenticated => say(StatusCode::UNAUTHORIZED),
            ErrorKind::TooManyRequests => say(StatusCode::TOO_MANY_REQUESTS),
            ErrorKind::Forbidden => say(StatusCode::FORBIDDEN),
            // Whether another tenant has it is nobody's business.
            ErrorKind::NoJob | ErrorKind::OthersJob => Self::say(StatusCode::NOT_FOUND, "Sync job not found"),
            ErrorKind::NoConnection => Self::say(StatusCode::NOT_FOUND, "Source connection not found"),
            ErrorKind::JobActive => {
                let why = "Cannot start new sync: a sync job is already running";
                let body = RefusalBody { detail: why.to_owned(), job_id: error.job() };
                Self::of(StatusCode::CONFLICT, Body::Said(body))
            }
            ErrorKind::NotCancellable => {
                let is = error.job_status().map(word).unwrap_or_default();
                Self::say(StatusCode::BAD_REQUEST, format!("Cannot cancel job in {is} state"))
            }
            ErrorKind::Invalid => {
                let (loc, why) = if let EngineError::Connection { field, reason } = &error {
                    (vec!["body", field], reason.clone())
                } else {
                    (vec!["body"], error.to_string())
                };
                Self::of_request(vec![Wrong::new(&loc, "value_error", format!("Value error, {why}"))])
            }
            ErrorKind::CannotSeal => {
                tracing::error!(%error, "a connection was refused: its credentials cannot be sealed");
                say(StatusCode::SERVICE_UNAVAILABLE)
            }
            ErrorKind::Unavailable => Self::for_now(error.to_string()),
            // What this contract has no call for.
            ErrorKind::NotPausable | ErrorKind::NotResumable | ErrorKind::NoSchema | ErrorKind::KeyReused => {
                say(StatusCode::BAD_REQUEST)
            }
            ErrorKind::Defect => Self::defect(),
            ErrorKind::Store => Self::of_database(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::Fault;
    use crate::refusal::DEFECT;
    use axum::body::to_bytes;
    use axum::http::header;
    use axum::response::{IntoResponse, Response};
    use engine::Exceeded;
    use serde_json::Value;
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
