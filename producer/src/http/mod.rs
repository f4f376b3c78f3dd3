//! The HTTP API. One folder per contract, with its words, its extractor of the caller and its form of errors; what they
//! share is here: authentication, and what is done around every request.

mod around;
mod auth;
mod error;
mod historical_sync;
pub mod jobs;

pub use error::Problem;

use crate::config::ApiConfig;
use crate::engine::Engine;
use around::Treatment;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use common::command::MAX_COMMAND_BYTES;
use serde_json::Value;
use std::sync::Arc;

/// The whole API. `health` has the process's own endpoints, which need no key.
pub fn router(engine: Arc<Engine>, config: &ApiConfig, health: Router) -> Router {
    let native = Router::new()
        .route("/api/v1/jobs", get(jobs::list).post(jobs::start))
        .route("/api/v1/jobs/{id}", get(jobs::show))
        .route("/api/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/api/v1/jobs/{id}/explain", get(jobs::explain))
        .route("/api/v1/jobs/{id}/pause", post(jobs::pause))
        .route("/api/v1/jobs/{id}/unpause", post(jobs::unpause))
        .route("/api/v1/jobs/{id}/resume", post(jobs::resume))
        .route("/asyncapi.json", get(asyncapi))
        .with_state(Arc::clone(&engine));
    let treatment = Treatment { limit: config.request_timeout, answer: Problem::of_fault };
    native
        .merge(health)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn_with_state(treatment, around::around))
        .merge(historical_sync::router(engine, config.request_timeout))
        .layer(DefaultBodyLimit::max(MAX_COMMAND_BYTES))
}

/// The message contract, for whoever generates a client from it. No key is needed: it is in the repository too.
async fn asyncapi() -> Json<Value> {
    Json(common::contract::asyncapi())
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail =
        format!("{} does not answer {method}; the Allow header says what it does answer", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

#[cfg(test)]
mod tests;
