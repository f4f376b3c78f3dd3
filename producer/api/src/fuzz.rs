//! Fuzz tests of whole requests, up to where a database would be asked. See the crate `fuzz`.

use super::tests::without_services;
use ::fuzz::proptest::prelude::*;
use ::fuzz::{TEXTS, document, run, text};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode, header};
use tower::ServiceExt;

const PATHS: &[&str] = &[
    "/api/v1/jobs",
    "/api/v1/jobs?limit=20&cursor=0",
    "/api/v1/jobs/018f0000-0000-7000-8000-000000000001",
    "/api/v1/jobs/018f0000-0000-7000-8000-000000000001/cancel",
    "/api/v1/jobs/018f0000-0000-7000-8000-000000000001/explain",
    "/functions/v1/start-historical-sync",
    "/functions/v1/cancel-historical-sync",
    "/functions/v1/get-sync-status?x=1",
    "/source-connections",
    "/source-connections/018f0000-0000-7000-8000-000000000001/run?force_full_sync=true",
    "/v1/schemas/018f0000-0000-7000-8000-000000000001",
    "/v1/jobs?limit=20&status=running",
    "/v1/jobs/018f0000-0000-7000-8000-000000000001/results?cursor=0",
    "/asyncapi.json",
    "/healthz",
];

/// The longest answer but for what is fetched on purpose, in bytes.
const LONGEST_ANSWER: usize = 8 << 10;

#[test]
fn requests() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let router = runtime.block_on(async { without_services() });
    let methods =
        prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]);
    // None of them is a key, which the database would be asked about.
    let authorization = text(&["Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30.", "Basic YTpi."]);
    let body =
        document(&[r#"{"connection_id": "018f0000-0000-7000-8000-000000000001"}"#, r#"{"reason": "x"}"#]);
    let id = prop::sample::select(TEXTS.to_vec());
    let inputs = (methods, text(PATHS), authorization, body, id);
    run("requests", inputs, |(method, path, authorization, body, id)| {
        let path = String::from_utf8_lossy(&path).into_owned();
        let mut request = Request::builder().method(method).uri(&path);
        if let Ok(value) = HeaderValue::from_bytes(&authorization) {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Ok(id) = HeaderValue::from_str(id) {
            request = request.header("x-request-id", id);
        }
        // What is no request at all does not come through the listener.
        let Ok(request) = request.body(Body::from(body.0)) else { return Ok(()) };
        let open = ["/healthz", "/readyz", "/metrics", "/asyncapi.json"].contains(&request.uri().path());
        let response =
            runtime.block_on(router.clone().oneshot(request)).unwrap_or_else(|never| match never {});
        let status = response.status();
        prop_assert!(
            status.is_client_error() || open || status == StatusCode::NO_CONTENT,
            "{} {}: {}",
            method,
            path,
            status
        );
        prop_assert!(
            !status.is_server_error() && response.headers().contains_key("x-request-id"),
            "{}",
            status
        );
        if status == StatusCode::UNAUTHORIZED {
            prop_assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        }
        if !open {
            let bytes = runtime.block_on(to_bytes(response.into_body(), 1 << 20));
            let bytes = bytes.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(bytes.len() <= LONGEST_ANSWER, "{} bytes", bytes.len());
            let json = bytes.is_empty() || serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
            prop_assert!(json, "{:?}", bytes);
        }
        Ok(())
    });
}
