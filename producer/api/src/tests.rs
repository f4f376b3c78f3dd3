//! What the API answers before it needs a database, and when there is none.

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response, header};
use broker::Publisher;
use configuration::AmqpConfig;
use runtime::health::Health;
use runtime::telemetry::Metrics;
use serde_json::Value;
use std::time::Duration;
use store::{SessionLimits, Store};
use tower::ServiceExt;

/// An API whose database and broker are at a port where nobody listens.
pub(super) fn without_services() -> Router {
    let limits = SessionLimits { acquire_timeout: Duration::from_millis(200), ..SessionLimits::default() };
    let store = Store::new("postgres://nobody@127.0.0.1:1/none", "test", 1, limits).unwrap();
    let amqp = AmqpConfig { url: "amqp://127.0.0.1:1".to_owned(), ..AmqpConfig::default() };
    let engine = Engine::new(store, Publisher::start(amqp, "test", "test"));
    let health = Health::new(Metrics::detached()).router();
    router(Arc::new(engine), &ApiConfig::default(), health)
}

pub(super) async fn send(request: Request<Body>) -> Response<Body> {
    without_services().oneshot(request).await.unwrap()
}

async fn problem(response: Response<Body>) -> Value {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(response.headers().contains_key("x-request-id"));
    let status = response.status().as_u16();
    let body: Value =
        serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap();
    assert_eq!(body["status"], status, "{body}");
    body
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

#[tokio::test]
async fn a_wrong_path_or_method_is_a_problem_too() {
    let wrong = problem(send(request("GET", "/api/v1/nothing").body(Body::empty()).unwrap()).await).await;
    assert_eq!((&wrong["code"], &wrong["status"]), (&"no_such_path".into(), &404.into()));

    let wrong = send(request("DELETE", "/api/v1/jobs").body(Body::empty()).unwrap()).await;
    let allow = wrong.headers()[header::ALLOW].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    assert_eq!(problem(wrong).await["code"], "method_not_allowed");

    let head = send(request("HEAD", "/api/v1/jobs/x/cancel").body(Body::empty()).unwrap()).await;
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn without_a_key_nothing_is_answered() {
    for (method, path) in [
        ("GET", "/api/v1/jobs"),
        ("POST", "/api/v1/jobs"),
        ("GET", "/api/v1/jobs/not-a-uuid"),
        ("POST", "/api/v1/jobs/018f0000-0000-7000-8000-000000000001/cancel"),
        ("POST", "/api/v1/jobs/018f0000-0000-7000-8000-000000000001/pause"),
        ("POST", "/api/v1/jobs/018f0000-0000-7000-8000-000000000001/unpause"),
        ("POST", "/api/v1/jobs/018f0000-0000-7000-8000-000000000001/resume"),
    ] {
        let response = send(request(method, path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"backhaul\"");
        assert_eq!(problem(response).await["code"], "unauthorized", "{method} {path}");
    }
}

#[tokio::test]
async fn without_a_database_the_answer_says_so_and_no_more() {
    let key = format!("Bearer {}", identity::api_key::ApiKey::generate().expose());
    let with_key = request("GET", "/api/v1/jobs").header(header::AUTHORIZATION, key);
    let response = send(with_key.body(Body::empty()).unwrap()).await;
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    let body = problem(response).await;
    assert_eq!(body["code"], "unavailable");
    let text = body.to_string();
    assert!(!text.contains("127.0.0.1") && !text.contains("refused"), "{text}");
}

/// One call of each contract, with a key that nobody has.
fn calls() -> [(&'static str, &'static str, &'static str, String); 4] {
    let key = identity::api_key::ApiKey::generate().expose().to_owned();
    [
        ("GET", "/api/v1/jobs", "authorization", format!("Bearer {key}")),
        ("GET", "/functions/v1/get-sync-status", "authorization", "Bearer a.b.c".to_owned()),
        ("GET", "/source-connections", "x-api-key", key.clone()),
        ("GET", "/v1/jobs", "authorization", format!("Bearer {key}")),
    ]
}

fn stands_once(headers: &HeaderMap, what: &str) {
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{what}: {name} {values:?}");
    }
}

#[tokio::test]
async fn no_header_stands_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for (method, path, header, credential) in calls() {
        let router = without_services();
        for credential in [credential.as_str(); 4].into_iter().chain([""]) {
            for method in [method, "HEAD", "DELETE", "OPTIONS", "BREW"] {
                let asked = request(method, path)
                    .header(header, credential)
                    .header("access-control-request-headers", "x-region")
                    .header("x-request-id", "one");
                let response = router.clone().oneshot(asked.body(Body::empty()).unwrap()).await.unwrap();
                stands_once(response.headers(), &format!("{method} {path} {}", response.status()));
                seen.insert((path, response.status().as_u16()));
            }
        }
        for status in [405, 401] {
            assert!(seen.contains(&(path, status)), "{path} never answered {status}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_has_a_code_of_its_own() {
    let wrong = send(request("DELETE", "/v1/jobs").body(Body::empty()).unwrap()).await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    let body: Value = serde_json::from_slice(&to_bytes(wrong.into_body(), 1 << 20).await.unwrap()).unwrap();
    assert_eq!((&body["code"], &body["statusCode"]), (&"method_not_allowed".into(), &405.into()));
}

#[tokio::test]
async fn the_callers_request_id_comes_back() {
    let asked = request("GET", "/healthz").header("x-request-id", "order-42");
    let response = send(asked.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-request-id"], "order-42");
}
