//! Who calls: `Authorization: Bearer <API key>`.

use super::error::Problem;
use crate::api_key;
use crate::engine::Engine;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use common::ids::TenantId;
use std::sync::Arc;

/// The tenant whose key the request carries. As an argument of a handler it refuses everybody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(pub(super) TenantId);

impl FromRequestParts<Arc<Engine>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, engine: &Arc<Engine>) -> Result<Self, Problem> {
        let key = bearer(&parts.headers).ok_or_else(|| {
            Problem::unauthorized("the request needs the header `Authorization: Bearer <API key>`")
        })?;
        let tenant = engine.tenant_of_key(&api_key::hash(key)).await?;
        tenant.map(Self).ok_or_else(|| {
            Problem::unauthorized("the API key is unknown or was revoked; ask the operator for another")
        })
    }
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
