//! What a browser asks of a page's requests to another origin: the preflight, and the headers that every answer has.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What a page may send if its browser does not say what it wants to.
const USUAL: HeaderValue =
    HeaderValue::from_static("authorization, content-type, apikey, x-client-info, x-request-id");
/// An answer repeats no more than this of what a browser asks for, in bytes.
const LONGEST: usize = 2048;

/// What a browser asks before it sends a token. The answer is in the headers that every answer has.
#[utoipa::path(
    options,
    path = "",
    tag = "historical sync",
    responses((status = 204, description = "Any origin may call, with whatever headers the browser asks for"))
)]
pub(super) async fn preflight() -> Response {
    let keep = [(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"))];
    (StatusCode::NO_CONTENT, keep).into_response()
}

/// Any origin may read any answer: a page can send only a token that it has, and no cookie counts here.
pub(super) async fn readable_across_origins(request: Request, next: Next) -> Response {
    const ALWAYS: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS")),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(
                "x-request-id, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset",
            ),
        ),
    ];
    let preflight = request.method() == Method::OPTIONS;
    let allowed = asked_for(request.headers()).filter(|_| preflight).unwrap_or(USUAL);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    if preflight {
        // A cache between must not give one page's answer to another.
        let of = HeaderValue::from_static("access-control-request-headers");
        headers.append(header::VARY, of);
    }
    response
}

/// Those names that a browser asks for, as far as they are names of headers, and fit.
fn asked_for(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut allowed = String::new();
    let asked = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let lists = asked.iter().filter_map(|list| list.to_str().ok());
    for name in lists.flat_map(|list| list.split(',')).map(str::trim) {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            continue;
        }
        if allowed.len() + 2 + name.len() > LONGEST {
            break;
        }
        if !allowed.is_empty() {
            allowed.push_str(", ");
        }
        allowed.push_str(name);
    }
    HeaderValue::try_from(allowed).ok().filter(|allowed| !allowed.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(asked: &[&str]) -> Option<String> {
        let asked = asked.iter().map(|list| HeaderValue::from_bytes(list.as_bytes()).unwrap());
        let name = header::ACCESS_CONTROL_REQUEST_HEADERS;
        let mut headers = HeaderMap::new();
        asked.for_each(|list| {
            headers.append(name.clone(), list);
        });
        asked_for(&headers).map(|allowed| allowed.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_a_browser_asks_for_is_allowed() {
        let list = "authorization,baggage,traceparent,tracestate,x-region";
        assert_eq!(allowed(&[list]).unwrap(), list.replace(',', ", "));
        assert_eq!(allowed(&["X-Region , apikey", "baggage"]).unwrap(), "X-Region, apikey, baggage");
        assert_eq!(allowed(&[]), None);
        for nothing in ["", " , ,", "a b", "ö", "x:y", "(x)", "\"x\""] {
            assert_eq!(allowed(&[nothing]), None, "{nothing}");
        }
        assert_eq!(allowed(&["x-one, a b, , x-two"]).unwrap(), "x-one, x-two");
    }

    #[test]
    fn an_answer_has_an_end() {
        let many: Vec<_> = (0..1000).map(|number| format!("x-header-{number}")).collect();
        let allowed = allowed(&[&many.join(",")]).unwrap();
        assert!(allowed.len() <= LONGEST && allowed.starts_with("x-header-0, x-header-1, "), "{allowed}");
        assert!(allowed.len() > LONGEST - 20, "{}", allowed.len());
        assert_eq!(self::allowed(&["x".repeat(LONGEST).as_str()]), None);
    }
}
