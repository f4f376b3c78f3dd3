//! What the refusals of all contracts have in common: one answer with its headers, and one reading of what went wrong. The
//! body is the contract's, and the type that is written is the one that the OpenAPI document describes.
//!
//! The text of a server's own error goes to the log, never into an answer.

use super::middleware::Fault;
use super::rate_limit::too_many;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::{EngineError, Exceeded, StoreError};
use runtime::warn_unless_outage;
use serde::Serialize;

/// All that a caller may know of a defect.
pub(super) const DEFECT: &str =
    "the request failed for a reason that the operator can find in the log by x-request-id";

/// Why there is no answer although it was made.
const NO_ROOM: &str = "there is no room for the answer while others are not taken; read those to their ends, and repeat the request";

/// Beside every 401 of a contract whose callers send `Authorization`.
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"backhaul\"");

/// A contract's form of a refusal.
pub(crate) trait Form: Serialize + Sized {
    /// How a caller makes himself known.
    const CHALLENGE: HeaderValue = BEARER;
    /// The media type of the body.
    const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/json");
    /// The status of what may succeed in a moment.
    const FOR_NOW: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    /// What to do after a request of which nobody knows whether it was carried out.
    const TOO_LATE: &str;
    /// What to do while the database is away.
    const DATABASE_AWAY: &str;

    /// The body of an answer with this status that says no more than a sentence.
    fn sentence(status: StatusCode, text: String) -> Self;

    /// A value of the request that the database cannot store.
    fn unstorable(why: &'static str) -> Refusal<Self>;

    /// The answer.
    fn answer(refusal: Refusal<Self>) -> Response {
        let mut response = (refusal.status, Json(&refusal.body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, Self::MEDIA_TYPE);
        refusal.set_headers(response.headers_mut());
        response
    }
}

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub(crate) struct Refusal<B> {
    pub(super) status: StatusCode,
    pub(super) body: Box<B>,
    /// Whether the same request may succeed in a moment.
    pub(super) again: bool,
    exceeded: Option<Exceeded>,
}

impl<B: Form> Refusal<B> {
    /// A refusal with this body.
    pub(super) fn of(status: StatusCode, body: B) -> Self {
        Self { status, body: Box::new(body), again: false, exceeded: None }
    }

    /// A refusal that says no more than a sentence.
    pub(super) fn say(status: StatusCode, text: impl Into<String>) -> Self {
        Self::of(status, B::sentence(status, text.into()))
    }

    /// A defect of ours. What it is stays in the log.
    pub(super) fn defect() -> Self {
        Self::say(StatusCode::INTERNAL_SERVER_ERROR, DEFECT)
    }

    /// The same request may succeed in a moment.
    pub(super) fn for_now(why: impl Into<String>) -> Self {
        Self::say(B::FOR_NOW, why).retryable(true)
    }

    /// The same, which may succeed in a moment or not.
    pub(super) fn retryable(self, again: bool) -> Self {
        Self { again, ..self }
    }

    /// The limit that was reached, if the error is about one.
    pub(super) fn limited_by(self, error: &EngineError) -> Self {
        let EngineError::TooManyRequests(exceeded) = error else { return self };
        Self { exceeded: Some(*exceeded), ..self }
    }

    /// In the place of a handler's answer.
    pub(super) fn of_fault(fault: Fault) -> Response {
        match fault {
            Fault::Defect => Self::defect(),
            Fault::TooLate => Self::for_now(B::TOO_LATE),
            Fault::NoRoom => Self::for_now(NO_ROOM),
        }
        .into_response()
    }

    /// What an error of the [kind](engine::ErrorKind) `Store` means for the caller.
    pub(super) fn of_database(error: &EngineError) -> Self {
        let EngineError::Store(error) = error else { return Self::defect() };
        if error.is_transient() {
            warn_unless_outage!(error, "a request was turned away: the database is not available");
            return Self::for_now(B::DATABASE_AWAY);
        }
        tracing::error!(%error, "a request failed in the database");
        if !matches!(error, StoreError::Refused(_)) {
            return Self::defect();
        }
        B::unstorable(match error.sqlstate().as_deref() {
            // A character that no text of Postgres has, in a text or in JSON.
            Some("22021" | "22P05") => "a text has a NUL",
            // What a check or a type of the schema refuses.
            Some("23514" | "22001" | "22003") => "one is larger than the database takes",
            _ => "the database refuses it",
        })
    }

    /// Sets the headers that go with it.
    pub(super) fn set_headers(&self, headers: &mut HeaderMap) {
        if self.again {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(exceeded) = &self.exceeded {
            too_many(headers, *exceeded);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, B::CHALLENGE);
        }
    }
}

impl<B: Form> IntoResponse for Refusal<B> {
    fn into_response(self) -> Response {
        B::answer(self)
    }
}
