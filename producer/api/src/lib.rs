//! The HTTP API. One folder per contract, with its words, its extractor of the caller and its form of errors; what they
//! share is here: authentication, and what is done around every request.

mod auth;
mod document_jobs;
mod error;
mod headers;
mod historical_sync;
pub mod jobs;
mod middleware;
mod openapi;
mod rate_limit;
mod refusal;
mod source_connections;
mod untaken;

pub use openapi::{Route, document as openapi, routes};

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use configuration::ApiConfig;
use engine::Engine;
use error::Problem;
use middleware::Policy;
use protocol::command::{MAX_COMMAND_BYTES, warning};
use std::sync::Arc;
use std::sync::LazyLock;
use untaken::{Shared, Untaken};

/// Which fields of a body were ignored.
const X_WARNING: HeaderName = HeaderName::from_static("x-warning");

/// The whole API. `health` has the process's own endpoints, which need no key.
pub fn router(engine: Arc<Engine>, config: &ApiConfig, health: Router) -> Router {
    let native = Router::from(jobs::routes())
        .route("/asyncapi.json", get(asyncapi))
        .with_state(Arc::clone(&engine))
        .merge(openapi::pages());
    let (limit, untaken) = (config.request_timeout, Untaken::new());
    let policy = Policy { limit, answer: Problem::of_fault, untaken: untaken.clone() };
    native
        .merge(health)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn_with_state(policy, middleware::handle))
        .merge(historical_sync::router(Arc::clone(&engine), limit, untaken.clone()))
        .merge(source_connections::router(Arc::clone(&engine), limit, untaken.clone()))
        .merge(document_jobs::router(engine, config, untaken))
        .layer(DefaultBodyLimit::max(MAX_COMMAND_BYTES))
        .layer(axum::middleware::from_fn(headers::guard))
}

/// The message contract, for whoever generates a client from it. No key is needed: it is in the repository too.
async fn asyncapi() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(protocol::contract::asyncapi().to_string()));
    let mut response = ([(header::CONTENT_TYPE, "application/json")], TEXT.clone()).into_response();
    response.extensions_mut().insert(Shared);
    response
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail =
        format!("{} does not answer {method}; the Allow header says what it does answer", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Names in a header the fields of a body that were ignored.
fn warn(response: &mut Response, unknown: &[String]) {
    let Some(warning) = warning(unknown) else { return };
    tracing::warn!(warning, "fields of a request are ignored");
    response.headers_mut().extend(HeaderValue::from_str(&warning).ok().map(|value| (X_WARNING, value)));
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
