//! An upstream on a port of its own, and the ways to ask it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use protocol::slice::Span;
use serde_json::{Value, json};
use sources::{Endpoint, FetchConfig, FetchError, FetchedPage, Fetcher, PageRequest, Source, open};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

pub(crate) struct Upstream {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Parts>>>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Serves what `answer` says, for every path.
    pub(crate) async fn start<A: IntoResponse>(answer: impl Fn(&Parts) -> A + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let app = Router::new().fallback(move |request: Request| {
            let (parts, _body) = request.into_parts();
            let answered: Response = answer(&parts).into_response();
            log.lock().unwrap().push(parts);
            async { answered }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, seen, server }
    }

    pub(crate) async fn text(body: impl Into<String>) -> Self {
        let body = body.into();
        Self::start(move |_| body.clone()).await
    }

    /// Path and query of every request, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|parts| parts.uri.to_string()).collect()
    }

    pub(crate) fn seen_header(&self, name: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|parts| Some(parts.headers.get(name)?.to_str().unwrap().to_owned())).collect()
    }

    pub(crate) async fn fetch(&self) -> Result<FetchedPage, FetchError> {
        self.fetch_with(&fetcher(), None).await
    }

    pub(crate) async fn fetch_at(&self, cursor: &str) -> Result<FetchedPage, FetchError> {
        self.fetch_with(&fetcher(), Some(cursor)).await
    }

    pub(crate) async fn fetch_with(
        &self,
        http: &Fetcher,
        cursor: Option<&str>,
    ) -> Result<FetchedPage, FetchError> {
        fetch(&*list(&self.url), http, cursor, Duration::from_secs(20)).await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) async fn fetch(
    source: &dyn Source,
    http: &Fetcher,
    cursor: Option<&str>,
    budget: Duration,
) -> Result<FetchedPage, FetchError> {
    source.fetch(PageRequest { cursor, ..PageRequest::first(&span(), budget) }, http).await
}

/// The settings that these tests use where it does not matter.
pub(crate) fn list_settings() -> Value {
    json!({
        "path": "/list",
        "records": {"pointer": "/items", "id": "/id", "time": "/at", "deferred_when_null": "/end"},
        "next": {"style": "next_url", "pointer": "/next"},
        "total": "/total",
        "auth": {"header": "X-API-Key", "value": "{api_key}"},
    })
}

pub(crate) fn list(url: &Url) -> Box<dyn Source> {
    source("paged_json", url, list_settings())
}

pub(crate) fn source(kind: &str, url: &Url, settings: Value) -> Box<dyn Source> {
    let credentials = json!({"api_key": "s3cret"});
    open(&Endpoint { kind: kind.to_owned(), base_url: url.clone(), credentials, settings }).unwrap()
}

/// The first ten days of 2026.
pub(crate) fn span() -> Span {
    Span { from: Some("2026-01-01T00:00:00Z".parse().unwrap()), to: "2026-01-11T00:00:00Z".parse().unwrap() }
}

/// A record that can be imported.
pub(crate) fn record(id: &str) -> Value {
    json!({"id": id, "at": "2026-01-02T03:04:05Z", "end": "2026-01-02T03:05:00Z"})
}

/// An answer with these records and no next page.
pub(crate) fn answer(records: &[Value]) -> String {
    json!({"items": records, "next": null}).to_string()
}

pub(crate) fn small_limits() -> FetchConfig {
    FetchConfig {
        max_page_bytes: 64 << 10,
        small_page_bytes: 4 << 10,
        byte_budget: (64 << 10) + (4 << 10),
        max_page_records: 100,
        allow_private_addresses: true,
        ..FetchConfig::default()
    }
}

pub(crate) fn fetcher() -> Fetcher {
    limited(FetchConfig { allow_private_addresses: true, ..FetchConfig::default() })
}

pub(crate) fn limited(config: FetchConfig) -> Fetcher {
    Fetcher::new(config, 2).unwrap()
}

/// A body that repeats a chunk for ever, and counts how often it was asked for one.
pub(crate) fn endless(chunk: &'static str, sent: &Arc<Mutex<usize>>) -> Body {
    let sent = Arc::clone(sent);
    Body::from_stream(futures::stream::repeat_with(move || {
        *sent.lock().unwrap() += chunk.len();
        Ok::<_, std::convert::Infallible>(chunk)
    }))
}

/// A body that begins and does not go on.
pub(crate) fn stuck(start: &'static str) -> Body {
    use futures::StreamExt;
    let start = futures::stream::iter([Ok::<_, std::convert::Infallible>(start)]);
    Body::from_stream(start.chain(futures::stream::pending()))
}

pub(crate) fn transient(result: Result<FetchedPage, FetchError>) -> String {
    match result {
        Err(FetchError::Transient { cause, .. }) => cause,
        other => panic!("not transient: {other:?}"),
    }
}

pub(crate) fn permanent(result: Result<FetchedPage, FetchError>) -> String {
    match result {
        Err(FetchError::Permanent { cause, .. } | FetchError::Unreadable { cause, .. }) => cause,
        other => panic!("not permanent: {other:?}"),
    }
}
