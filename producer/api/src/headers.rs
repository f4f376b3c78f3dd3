//! The headers of every answer that keep it away from those it is not for: caches, pages that frame it, and browsers that
//! take it for something else.

use super::openapi::PAGE;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// Whether a cache may keep an answer. Only the files of the documentation are the same for everybody.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=3600");
/// What an answer depends on, for caches that keep it all the same.
const VARY: &str = "authorization, x-api-key, accept";
const GUARDS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
];

/// Sets them.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let of_documentation = request.uri().path().starts_with(PAGE);
    let mut response = next.run(request).await;
    let kept = of_documentation && response.status().is_success();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, if kept { KEPT } else { NOT_KEPT });
    if !kept {
        // A header stands once: what the handler said comes first.
        let vary = headers.get(header::VARY).and_then(|said| said.to_str().ok());
        let vary = vary.and_then(|said| HeaderValue::from_str(&format!("{said}, {VARY}")).ok());
        headers.insert(header::VARY, vary.unwrap_or(HeaderValue::from_static(VARY)));
    }
    for (name, value) in GUARDS {
        headers.insert(name, value);
    }
    response
}
