//! Where the document is, and a page to read it with. Its scripts and styles are in this program, so it needs no other host;
//! an answer points to them and copies nothing, however many are asked for.

use super::document;
use crate::untaken::Shared;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use std::borrow::Cow;
use std::sync::Arc;
use utoipa_swagger_ui::Config;

/// The document.
const DOCUMENT: &str = "/openapi.json";
/// The page.
pub(crate) const PAGE: &str = "/docs";

/// Both.
pub(crate) fn pages() -> Router {
    let text = Bytes::from(document().to_json().unwrap_or_default());
    let config = Config::new([DOCUMENT]);
    let config = config.validator_url("none").display_request_duration(true).use_base_layout();
    let config = Arc::new(config);
    let index = Arc::clone(&config);
    Router::new()
        .route(
            DOCUMENT,
            get(async move || {
                (Extension(Shared), [(header::CONTENT_TYPE, "application/json")], text.clone())
            }),
        )
        .route(PAGE, get(async || Redirect::permanent("/docs/")))
        .route("/docs/", get(async move || file("index.html", &index)))
        .route("/docs/{*file}", get(async move |Path(name): Path<String>| file(&name, &config)))
}

fn file(name: &str, config: &Arc<Config<'static>>) -> Response {
    let Ok(Some(file)) = utoipa_swagger_ui::serve(name, Arc::clone(config)) else {
        return (StatusCode::NOT_FOUND, "there is no such file of the documentation").into_response();
    };
    let mut response = match file.bytes {
        Cow::Borrowed(bytes) => (Extension(Shared), bytes).into_response(),
        Cow::Owned(bytes) => bytes.into_response(),
    };
    response.headers_mut().extend(
        HeaderValue::from_str(&file.content_type)
            .ok()
            .map(|content_type| (header::CONTENT_TYPE, content_type)),
    );
    if file.gzpipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
