//! Who calls, by what the request carries. Which of these a contract takes is the contract's business: each has an
//! extractor of its own, which refuses in the contract's form.

use axum::extract::ConnectInfo;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use engine::{Engine, EngineError, Identity};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// By `Authorization: Bearer <JSON Web Token>`.
pub(super) async fn by_token(engine: &Engine, parts: &Parts) -> Result<Identity, EngineError> {
    let token = bearer(&parts.headers)?.ok_or_else(|| missing("JSON Web Token"))?;
    engine.token_holder(token).await
}

/// By `Authorization: Bearer <API key>`.
pub(super) async fn by_key(engine: &Engine, parts: &Parts) -> Result<Identity, EngineError> {
    let key = bearer(&parts.headers)?.ok_or_else(|| missing("API key"))?;
    engine.key_holder(key, peer(parts)).await
}

/// By `Authorization: Bearer <API key or JSON Web Token>`.
pub(super) async fn by_key_or_token(engine: &Engine, parts: &Parts) -> Result<Identity, EngineError> {
    match bearer(&parts.headers)? {
        Some(token) if is_token(token) => engine.token_holder(token).await,
        Some(key) => engine.key_holder(key, peer(parts)).await,
        None => Err(missing("API key or JSON Web Token")),
    }
}

/// What `Authorization: Bearer` has, if it is no JSON Web Token.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<&str>, EngineError> {
    Ok(bearer(headers)?.filter(|credential| !is_token(credential)))
}

/// By `x-api-key: <API key>`.
pub(super) async fn by_header_key(engine: &Engine, parts: &Parts) -> Result<Identity, EngineError> {
    only_one(&parts.headers)?;
    match header_key(&parts.headers) {
        Some(key) => engine.key_holder(key, peer(parts)).await,
        None => Err(EngineError::Unauthenticated(
            "the request needs the header `x-api-key: <API key>`".to_owned(),
        )),
    }
}

/// The address that a request comes from: that of the proxy, if there is one.
pub(super) fn peer(parts: &Parts) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// A token has dots, a key has none.
fn is_token(credential: &str) -> bool {
    credential.contains('.')
}

fn missing(what: &str) -> EngineError {
    EngineError::Unauthenticated(format!("the request needs the header `Authorization: Bearer <{what}>`"))
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, EngineError> {
    only_one(headers)?;
    Ok(bearer_of(headers))
}

fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

fn header_key(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get(API_KEY)?.to_str().ok()?.trim();
    (!key.is_empty()).then_some(key)
}

/// Refuses a request with several credentials: a proxy and we might each believe another one.
fn only_one(headers: &HeaderMap) -> Result<(), EngineError> {
    let several = |name: &HeaderName| headers.get_all(name).iter().count() > 1;
    let differ =
        matches!((bearer_of(headers), header_key(headers)), (Some(one), Some(other)) if one != other);
    if several(&AUTHORIZATION) || several(&API_KEY) || differ {
        let why = "the request has several credentials (`Authorization`, `x-api-key`); send one";
        return Err(EngineError::Unauthenticated(why.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(given: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_a_bearer_key_counts() {
        let read = |value| bearer(&headers(&[(AUTHORIZATION, value)])).unwrap().map(str::to_owned);
        assert_eq!(read("Bearer bh_1"), Some("bh_1".to_owned()));
        assert_eq!(read("bearer  bh_1 "), Some("bh_1".to_owned()));
        for value in ["", "Bearer", "Bearer ", "Basic bh_1", "bh_1"] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_request_has_one_credential() {
        for one in [
            &[(AUTHORIZATION, "Bearer bh_1"), (API_KEY, "bh_1")][..],
            &[(AUTHORIZATION, "Basic eA=="), (API_KEY, "bh_1")],
            &[(API_KEY, "bh_1")],
        ] {
            assert!(only_one(&headers(one)).is_ok(), "{one:?}");
        }
        for several in [
            [(AUTHORIZATION, "Bearer bh_1"), (API_KEY, "bh_2")],
            [(AUTHORIZATION, "Bearer bh_1"), (AUTHORIZATION, "Bearer bh_2")],
            [(AUTHORIZATION, "Bearer bh_1"), (AUTHORIZATION, "Bearer bh_1")],
            [(API_KEY, "bh_1"), (API_KEY, "bh_2")],
        ] {
            assert!(only_one(&headers(&several)).is_err(), "{several:?}");
        }
    }
}
