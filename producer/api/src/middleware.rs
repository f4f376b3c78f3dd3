//! The middleware of every request: its identifier, a limit to its time, an answer in the place of a panic, metrics.

use super::untaken::Untaken;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use engine::asking;
use engine::one_request;
use futures::FutureExt;
use metrics::{counter, histogram};
use protocol::trace;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

/// The identifier of a request, in its answer too.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;

/// Why a handler has given no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It panicked.
    Defect,
    /// It took too long; what it did may or may not stay.
    TooLate,
    /// There is an answer, and no room for it: too many others have not been taken. Nothing was changed.
    NoRoom,
}

/// How a contract's requests are treated.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// How long a handler may take.
    pub(super) limit: Duration,
    /// The answer, in the contract's form, where the handler has none.
    pub(super) answer: fn(Fault) -> Response,
    /// The answers of all contracts that are not taken yet.
    pub(super) untaken: Untaken,
}

pub(super) async fn handle(State(policy): State<Policy>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let asked = request.method().clone();
    let method = known(&asked);
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    let span = tracing::error_span!("request", id = id.to_str().unwrap_or_default(), method, route);

    // What is published for the request carries the trace that it came with.
    let traceparent =
        request.headers().get(trace::HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let untaken = policy.untaken.clone();
    let handler = one_request(async move {
        let answer = next.run(request).await;
        untaken.hold(&asked, asking(), answer).await
    });
    let handled = guarded(policy, trace::within(traceparent.as_deref(), handler));
    let mut response = handled.instrument(span.clone()).await;

    let status = response.status().as_u16().to_string();
    let elapsed = began.elapsed();
    counter!("http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    histogram!("http_request_seconds", "method" => method, "route" => route).record(elapsed.as_secs_f64());
    span.in_scope(|| {
        tracing::debug!(status = response.status().as_u16(), elapsed_ms = elapsed.as_millis(), "answered");
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The handler's answer, or one of our own if it takes too long, panics, or has no room for its own.
async fn guarded(policy: Policy, handler: impl Future<Output = Result<Response, Fault>>) -> Response {
    let Policy { limit, answer, untaken: _ } = policy;
    match tokio::time::timeout(limit, AssertUnwindSafe(handler).catch_unwind()).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(fault))) => answer(fault),
        // The panic's own text went to stderr when it happened.
        Ok(Err(_panic)) => {
            tracing::error!("a request met a defect and was answered with 500");
            answer(Fault::Defect)
        }
        Err(_elapsed) => {
            tracing::warn!(limit_ms = limit.as_millis(), "a request took too long and was given up");
            answer(Fault::TooLate)
        }
    }
}

/// The caller's own identifier, if it is short and printable, so that its logs and ours can be joined.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let usable = |id: &&HeaderValue| {
        (1..=LONGEST_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let given = headers.get(REQUEST_ID).filter(usable).cloned();
    given
        .or_else(|| HeaderValue::from_str(&Uuid::now_v7().to_string()).ok())
        .unwrap_or(HeaderValue::from_static("none"))
}

/// Methods are free text; as a label they must not be.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "(other)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;
    use crate::historical_sync::Refusal;
    use axum::http::StatusCode;

    fn id_for(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
        request_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_usable_request_id_is_kept_and_another_replaced() {
        assert_eq!(id_for("order-42"), "order-42");
        let longest = "x".repeat(LONGEST_REQUEST_ID);
        assert_eq!(id_for(&longest), longest);
        for unusable in ["", "two words", &"x".repeat(129)] {
            assert!(Uuid::parse_str(&id_for(unusable)).is_ok(), "{unusable}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_hangs_or_panics_is_answered_for() {
        let untaken = Untaken::new();
        for (answer, too_late) in [
            (Problem::of_fault as fn(Fault) -> Response, StatusCode::SERVICE_UNAVAILABLE),
            (Refusal::of_fault, StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            let policy = Policy { limit: Duration::from_secs(20), answer, untaken: untaken.clone() };
            let hangs = guarded(policy.clone(), std::future::pending()).await;
            assert_eq!(hangs.status(), too_late);
            let panics = guarded(policy.clone(), async { panic!("on purpose") }).await;
            assert_eq!(panics.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let no_room = guarded(policy, async { Err(Fault::NoRoom) }).await;
            assert_eq!(no_room.status(), too_late);
            assert_eq!(no_room.headers()["retry-after"], "1");
        }
    }
}
