//! An upstream that sends back the key that it was asked with, in every place of an answer that is read.

use super::hunt::base64;
use anyhow::Result;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where the key comes back, and whether a job gets over it.
pub(super) const WAYS: [(&str, bool); 13] = [
    ("link", true),
    ("next-encoded", true),
    ("cursor", false),
    ("cursor-in-base64", false),
    ("redirect", true),
    ("redirect-elsewhere", false),
    ("flag", false),
    ("limit", true),
    ("content-type", false),
    ("total", true),
    ("records", true),
    ("refusal", false),
    ("items", true),
];

/// The ids of records that are answered each in another way.
pub(super) const ITEMS: [&str; 4] = ["with-error", "another", "gone", "without-time"];

/// It runs until it is dropped. The first part of a path says how it behaves.
pub(super) struct Mirror {
    pub(super) address: String,
    /// Second pages that were asked for with the key in their URL.
    given_back: Arc<Mutex<u32>>,
    _stop: DropGuard,
}

impl Mirror {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let (asked, stop) = (Arc::<Mutex<BTreeMap<String, u32>>>::default(), CancellationToken::new());
        let given_back = Arc::<Mutex<u32>>::default();
        let counter = Arc::clone(&given_back);
        let router = Router::new().fallback(move |request: Request| {
            let path = request.uri().path().to_owned();
            let before = {
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                let times = asked.entry(path.clone()).or_default();
                *times += 1;
                *times - 1
            };
            let query = request.uri().query().unwrap_or_default();
            let query: BTreeMap<String, String> =
                url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let key = key(request.headers());
            if query.get("key").is_some_and(|given| *given == key) {
                *counter.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
            let is_second = query.contains_key("page");
            let way = path.split('/').nth(1).unwrap_or_default().to_owned();
            async move { answer(&way, &path, &key, before, is_second) }
        });
        tokio::spawn(runtime::health::serve(listener, router, stop.clone()));
        Ok(Self { address, given_back, _stop: stop.drop_guard() })
    }

    /// How many requests had the key in their URL.
    pub(super) fn given_back(&self) -> u32 {
        *self.given_back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What authenticates a request.
fn key(headers: &HeaderMap) -> String {
    let names = ["authorization", "x-auth", "x-api-key"];
    let value = names.iter().find_map(|name| headers.get(*name));
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

const TIME: &str = "2026-01-01T00:00:00Z";

fn answer(way: &str, path: &str, key: &str, before: u32, is_second: bool) -> Response {
    let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
    let next = format!("{path}?page=2&key={encoded}");
    let row = |id: &str| json!({"id": id, "at": TIME});
    let page = |next: Value| json!({"data": [row(&format!("{path} {is_second}"))], "next": next});
    let ok = |body: Value| axum::Json(body).into_response();
    match way {
        "link" if !is_second => {
            ([("link", format!("<{next}>; rel=\"next\""))], axum::Json(page(Value::Null))).into_response()
        }
        // As some writers do it, every byte.
        "next-encoded" if !is_second => {
            let all: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
            ok(page(json!(format!("{path}?page=2&key={all}"))))
        }
        "cursor" => ok(page(json!(key))),
        "cursor-in-base64" => ok(page(json!(base64(format!("after {key} comes more").as_bytes())))),
        "redirect" if !path.ends_with("/there") => {
            (StatusCode::FOUND, [("location", format!("{path}/there?key={encoded}"))]).into_response()
        }
        "redirect-elsewhere" => {
            let word: String = key.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
            (StatusCode::FOUND, [("location", format!("http://{word}.example/{encoded}"))]).into_response()
        }
        "flag" => ok(json!({"data": [row("a")], "next": null, "more": key})),
        "limit" if before == 0 => {
            let headers = [("retry-after", key), ("x-ratelimit-reset", "1"), ("x-ratelimit-policy", key)];
            (StatusCode::TOO_MANY_REQUESTS, headers, key.to_owned()).into_response()
        }
        "content-type" => {
            ([("content-type", format!("text/{key}")), ("server", key.to_owned())], "<html>").into_response()
        }
        "total" => ok(json!({"data": [row(path)], "next": null, "total": key})),
        "records" => {
            let wrong_time = json!({"id": "wrong-time", "at": key});
            let wrong_id = json!({"id": {"is": key}, "at": TIME});
            ok(json!({"data": [row(path), wrong_time, wrong_id, key], "next": null, "error": key}))
        }
        "items" => item(path.rsplit('/').next().unwrap_or_default(), key),
        "refusal" => (StatusCode::BAD_REQUEST, [("x-echo", key)], format!("you are {key}")).into_response(),
        _ => ok(page(Value::Null)),
    }
}

fn item(id: &str, key: &str) -> Response {
    match id {
        "with-error" => axum::Json(json!({"error": key})).into_response(),
        "another" => axum::Json(json!({"id": key, "at": TIME})).into_response(),
        "gone" => (StatusCode::GONE, [("x-echo", key)], key.to_owned()).into_response(),
        _ => axum::Json(json!({"id": id, "at": key})).into_response(),
    }
}
