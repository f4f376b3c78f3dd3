//! Upstreams: one that is as it should be, and those that a tenant would use against others.

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::pending;
use tokio::net::TcpListener;

/// What a silent answer announces.
const ANNOUNCED: usize = 300_000;
/// Records of a page, and the bytes of each, of a list that never ends.
const ENDLESS: (usize, usize) = (100, 100);
/// The same of pages that are huge.
const HUGE: (usize, usize) = (300, 20_000);
/// Of a page whose results make a large answer.
const WIDE: (usize, usize) = (500, 16_000);

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    page: usize,
}

/// Serves all of them, below a path each, until the program ends; returns the address.
pub(super) async fn start() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let list = |path: &'static str, (records, bytes): (usize, usize)| {
        let base = base.clone();
        get(async move |Query(Asked { page }): Query<Asked>| {
            let next = format!("{base}{path}?page={}", page + 1);
            axum::Json(page_of(page, records, bytes, Some(&next)))
        })
    };
    let router = Router::new()
        .route("/small", get(async || axum::Json(page_of(0, 1, 20, None))))
        .route("/wide", get(async || axum::Json(page_of(0, WIDE.0, WIDE.1, None))))
        .route("/endless", list("/endless", ENDLESS))
        .route("/huge", list("/huge", HUGE))
        .route("/silent", get(silent))
        .fallback(hangs);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(base)
}

/// The settings of a connection that reads one of them.
pub(super) fn settings(path: &str) -> Value {
    json!({
        "path": path, "records": { "pointer": "/records", "id": "/id" },
        "next": { "style": "next_url", "pointer": "/next" },
    })
}

fn page_of(page: usize, records: usize, bytes: usize, next: Option<&str>) -> Value {
    let record = |number: usize| json!({ "id": page * records + number, "text": "x".repeat(bytes) });
    json!({ "records": (0..records).map(record).collect::<Vec<_>>(), "next": next })
}

/// Announces an answer, and sends its first byte.
async fn silent() -> Response {
    let first = futures::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"{")) });
    let rest = futures::StreamExt::chain(first, futures::stream::pending());
    ([(CONTENT_LENGTH, ANNOUNCED.to_string())], Body::from_stream(rest)).into_response()
}

async fn hangs() -> Response {
    pending().await
}
