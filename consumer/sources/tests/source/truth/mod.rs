//! What an answer may be taken for: the small ways in which upstreams differ, each with an upstream that does it.

mod asked;
mod counted;
mod empties;
mod ends;
mod expired;
mod limits;
mod records;
mod totals;
mod transport;

use std::collections::HashMap;

use axum::http::request::Parts;
use protocol::slice::{Slicing, Span};
use serde_json::{Value, json};
use sources::{Source, planning};
use url::form_urlencoded;

use crate::upstream::{Upstream, source};
use crate::walker::{Walked, walk};

/// The parameters of a request.
fn query(parts: &Parts) -> HashMap<String, String> {
    form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

/// A number among them.
fn number(parts: &Parts, name: &str) -> Option<usize> {
    query(parts).get(name).map(|text| text.parse().unwrap())
}

fn row(id: usize) -> Value {
    json!({"id": id.to_string(), "at": "2026-01-02T03:04:05Z"})
}

fn rows(ids: impl IntoIterator<Item = usize>) -> Vec<Value> {
    ids.into_iter().map(row).collect()
}

fn ids(ids: impl IntoIterator<Item = usize>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// Settings of a list whose next page is found so.
fn settings(next: Value) -> Value {
    let mut settings = json!({
        "path": "/list",
        "page_size": {"parameter": "limit", "size": 100},
        "records": {"pointer": "/data", "id": "/id", "time": "/at"},
        "total": "/total",
    });
    settings["next"] = next;
    settings
}

fn open(upstream: &Upstream, settings: Value) -> Box<dyn Source> {
    source("paged_json", &upstream.url, settings)
}

fn ever() -> Span {
    Span { from: None, to: "2030-01-01T00:00:00Z".parse().unwrap() }
}

/// The whole list, from its beginning.
async fn read(upstream: &Upstream, settings: Value) -> Walked {
    walk(&*open(upstream, settings), &ever()).await
}

/// A job: every slice of a span, and what each walk kept.
async fn job(upstream: &Upstream, settings: &Value, from: &str, to: &str) -> Vec<Walked> {
    let span = Span { from: Some(from.parse().unwrap()), to: to.parse().unwrap() };
    let slices = Slicing::cut(planning("paged_json", settings).unwrap().slicing, span).unwrap();
    let source = open(upstream, settings.clone());
    let mut walks = Vec::new();
    for slice in slices {
        walks.push(walk(&*source, &slice).await.ended());
    }
    walks
}
