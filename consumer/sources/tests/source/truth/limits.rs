//! How upstreams ask to be left alone.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, StatusCode};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sources::FetchError;

use super::{read, settings};
use crate::upstream::Upstream;

async fn answered(status: u16, headers: &[(&'static str, String)], limits: Value) -> FetchError {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
    let status = StatusCode::from_u16(status).unwrap();
    let upstream = Upstream::start(move |_| (status, headers.clone(), "slow down")).await;
    let mut settings = settings(json!({"style": "next_url", "pointer": "/next"}));
    settings["limits"] = limits;
    read(&upstream, settings).await.error.unwrap()
}

/// How long it is left alone for, and whether it said that it was forbidden.
async fn rest(status: u16, headers: &[(&'static str, String)], limits: Value) -> (Option<u64>, bool) {
    let error = answered(status, headers, limits).await;
    let FetchError::RateLimited { retry_after, forbidden, body } = error else { panic!("{error:?}") };
    assert_eq!(body.as_deref(), Some("slow down"));
    (retry_after.map(|rest| rest.as_secs()), forbidden)
}

fn in_an_hour() -> String {
    (Utc::now() + TimeDelta::hours(1)).timestamp().to_string()
}

fn about_an_hour(rest: Option<u64>) -> bool {
    rest.is_some_and(|rest| (3590..=3601).contains(&rest))
}

#[tokio::test]
async fn a_403_that_is_about_a_limit_lets_the_connection_rest() {
    let of = |left: &str, reset: &str| {
        [("x-ratelimit-remaining", left.to_owned()), ("x-ratelimit-reset", reset.to_owned())]
    };
    let (github, forbidden) = rest(403, &of("0", &in_an_hour()), json!({})).await;
    assert!(about_an_hour(github) && forbidden, "{github:?}");
    assert_eq!(rest(403, &[("retry-after", "60".to_owned())], json!({})).await, (Some(60), true));
    // About the credentials, then.
    for headers in [&of("0", "1704844800")[..], &of("12", &in_an_hour()), &[]] {
        assert!(
            matches!(answered(403, headers, json!({})).await, FetchError::Permanent { .. }),
            "{headers:?}"
        );
    }
    assert!(matches!(answered(401, &of("0", &in_an_hour()), json!({})).await, FetchError::Permanent { .. }));
}

#[tokio::test]
async fn a_reset_is_read_where_there_is_no_retry_after() {
    for name in ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"] {
        assert_eq!(rest(429, &[(name, "90".to_owned())], json!({})).await, (Some(90), false), "{name}");
        assert!(about_an_hour(rest(429, &[(name, in_an_hour())], json!({})).await.0), "{name}");
    }
    assert_eq!(rest(429, &[], json!({})).await, (None, false));
}

#[tokio::test]
async fn a_rest_may_be_as_long_as_the_settings_say() {
    let day = [("retry-after", "86400".to_owned())];
    assert_eq!(rest(429, &day, json!({})).await.0, Some(86_400));
    assert_eq!(rest(503, &[("retry-after", "999999".to_owned())], json!({})).await.0, Some(86_400));
    assert_eq!(rest(429, &day, json!({"longest_rest": "2h"})).await.0, Some(7200));
    let week = json!({"longest_rest": "7 days"});
    assert_eq!(rest(429, &[("retry-after", "200000".to_owned())], week).await.0, Some(200_000));
}

#[tokio::test]
async fn headers_of_the_settings_are_read() {
    let named = json!({"reset_header": "X-Quota-Reset", "remaining_header": "X-Quota-Left"});
    let headers = [("x-quota-reset", in_an_hour()), ("x-quota-left", "0".to_owned())];
    let (rested, forbidden) = rest(403, &headers, named.clone()).await;
    assert!(about_an_hour(rested) && forbidden);
    let date = (Utc::now() + Duration::from_secs(3600)).to_rfc3339();
    assert!(about_an_hour(rest(429, &[("x-quota-reset", date)], named).await.0));
}
