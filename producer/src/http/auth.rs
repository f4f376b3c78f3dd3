//! Who calls, by what the request carries. Which of these a contract takes is the contract's business: each has an
//! extractor of its own, which refuses in the contract's form.

use crate::engine::{Engine, EngineError, Identity};
use axum::http::{HeaderMap, header};

/// By `Authorization: Bearer <JSON Web Token>`.
pub(super) async fn by_token(engine: &Engine, headers: &HeaderMap) -> Result<Identity, EngineError> {
    let token = bearer(headers).ok_or_else(|| missing("JSON Web Token"))?;
    engine.token_holder(token).await
}

/// By `Authorization: Bearer <API key>`.
pub(super) async fn by_key(engine: &Engine, headers: &HeaderMap) -> Result<Identity, EngineError> {
    let key = bearer(headers).ok_or_else(|| missing("API key"))?;
    engine.key_holder(key).await
}

/// By `Authorization: Bearer <API key or JSON Web Token>`.
pub(super) async fn by_key_or_token(engine: &Engine, headers: &HeaderMap) -> Result<Identity, EngineError> {
    match bearer(headers) {
        Some(token) if is_token(token) => engine.token_holder(token).await,
        Some(key) => engine.key_holder(key).await,
        None => Err(missing("API key or JSON Web Token")),
    }
}

/// What `Authorization: Bearer` has, if it is no JSON Web Token.
pub(super) fn key(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).filter(|credential| !is_token(credential))
}

/// A token has dots, a key has none.
fn is_token(credential: &str) -> bool {
    credential.contains('.')
}

/// By `x-api-key: <API key>`.
pub(super) async fn by_header_key(engine: &Engine, headers: &HeaderMap) -> Result<Identity, EngineError> {
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok()).map(str::trim);
    match key.filter(|key| !key.is_empty()) {
        Some(key) => engine.key_holder(key).await,
        None => Err(EngineError::Unauthenticated(
            "the request needs the header `x-api-key: <API key>`".to_owned(),
        )),
    }
}

fn missing(what: &str) -> EngineError {
    EngineError::Unauthenticated(format!("the request needs the header `Authorization: Bearer <{what}>`"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_a_bearer_key_counts() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer bh_1"), Some("bh_1".to_owned()));
        assert_eq!(read("bearer  bh_1 "), Some("bh_1".to_owned()));
        for value in ["", "Bearer", "Bearer ", "Basic bh_1", "bh_1"] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
