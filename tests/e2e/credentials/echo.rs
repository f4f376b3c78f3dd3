//! An upstream that sends back what it was sent, in every writing, as debugging pages do.

use super::hunt::base64;
use anyhow::Result;
use axum::Router;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// It runs until it is dropped. The first part of a path says how it behaves.
pub(crate) struct Echo {
    pub(crate) address: String,
    asked: Arc<Mutex<BTreeMap<String, u64>>>,
    _stop: DropGuard,
}

impl Echo {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let (asked, stop) = (Arc::<Mutex<BTreeMap<String, u64>>>::default(), CancellationToken::new());
        let counter = Arc::clone(&asked);
        let answer = move |Path(way): Path<String>, request: Request| {
            let mut asked = counter.lock().unwrap_or_else(PoisonError::into_inner);
            let times = asked.entry(way.clone()).or_default();
            *times += 1;
            let before = *times - 1;
            drop(asked);
            async move { answer(&way, before, request.headers()) }
        };
        let router = Router::new().route("/{way}/api/calls", get(answer));
        tokio::spawn(runtime::health::serve(listener, router, stop.clone()));
        Ok(Self { address, asked, _stop: stop.drop_guard() })
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

fn answer(way: &str, before: u64, headers: &HeaderMap) -> Response {
    let key = headers.get("x-api-key").map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    let key = key.unwrap_or_default();
    let all: BTreeMap<&str, String> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let echo = json!(all).to_string();
    let words = [
        format!("you sent {headers:?} and {key}"),
        echo.clone(),
        json!(echo).to_string(),
        base64(echo.as_bytes()),
        base64(key.as_bytes()),
        url::form_urlencoded::byte_serialize(key.as_bytes()).collect(),
        key.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ];
    let word = |number: u64| words[usize::try_from(number).unwrap_or_default() % words.len()].clone();
    match way {
        "denied" => (StatusCode::FORBIDDEN, words.join("\n")).into_response(),
        // Cut in the middle of the secret: only its beginning is within the first KiB.
        "cut" => {
            (StatusCode::FORBIDDEN, format!("{}{key}", "x".repeat(1024 - key.len() / 2))).into_response()
        }
        "garbage" => (StatusCode::OK, format!("<html>{}", words.join("<br>"))).into_response(),
        "elsewhere" => page(&json!([]), &json!(format!("http://elsewhere.example/{key}"))),
        "cursor" if before == 0 => {
            page(&json!([call("first")]), &json!(format!("/cursor/api/calls?cursor=2&key={key}")))
        }
        "cursor" => page(&json!([call("second")]), &json!(null)),
        "busy" => (StatusCode::SERVICE_UNAVAILABLE, word(before)).into_response(),
        // Fails with every writing first, then answers with records that cannot be read.
        _ if before < 7 => (StatusCode::BAD_GATEWAY, word(before)).into_response(),
        _ => {
            let time = TIME;
            let good = call("good");
            let wrong_time = json!({ "callId": "bad-time", "created": key, "ended": time });
            let wrong_id = json!({ "callId": [key], "created": time, "ended": time });
            page(&json!([good, wrong_time, wrong_id, key]), &json!(null))
        }
    }
}

const TIME: &str = "2026-01-01T00:00:00Z";

fn call(id: &str) -> serde_json::Value {
    json!({ "callId": id, "created": TIME, "ended": TIME })
}

fn page(results: &serde_json::Value, next: &serde_json::Value) -> Response {
    axum::Json(json!({ "results": results, "next": next, "total": 4 })).into_response()
}
