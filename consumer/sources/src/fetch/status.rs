//! What an answer means that is not what was asked for.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::RestRules;
use super::encoding::{Layers, beginning};
use crate::FetchError;
use crate::error::{EXCERPT_BYTES, excerpt};

/// How long the beginning of an error's body is waited for. What has come until then has to do.
const EXCERPT_WITHIN: Duration = Duration::from_secs(2);

/// Turns an answer other than 200 into an error. Nothing in its body is trusted to have a form.
pub(super) async fn refusal(mut response: Response, rules: &RestRules, deadline: Instant) -> FetchError {
    let mut start = Vec::new();
    let reading = async {
        while start.len() < EXCERPT_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            start.extend_from_slice(&chunk);
        }
    };
    // The status is known, so an endless or broken body must not change the verdict.
    let deadline = deadline.min(Instant::now() + EXCERPT_WITHIN);
    if timeout_at(deadline, reading).await.is_err() {
        tracing::debug!("the body of an answer that refuses did not end in time");
    }
    let start = beginning(&start, Layers::of(response.headers()), EXCERPT_BYTES);
    verdict(response.status(), response.headers(), rules, Some(excerpt(&start)))
}

pub(super) fn cause(status: StatusCode) -> String {
    format!("the upstream answered {status}")
}

pub(super) fn verdict(
    status: StatusCode,
    headers: &HeaderMap,
    rules: &RestRules,
    body: Option<String>,
) -> FetchError {
    let cause = cause(status);
    let limited = |forbidden| FetchError::RateLimited {
        retry_after: rules.rest(headers),
        forbidden,
        body: body.clone(),
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS => limited(false),
        StatusCode::SERVICE_UNAVAILABLE if headers.contains_key(RETRY_AFTER) => limited(false),
        // Some say so that a limit is reached; without a sign of that it is about the credentials.
        StatusCode::FORBIDDEN if headers.contains_key(RETRY_AFTER) || rules.is_used_up(headers) => {
            limited(true)
        }
        // Accepted: what was asked for is still being made.
        StatusCode::ACCEPTED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
            FetchError::Transient { cause, body }
        }
        status if status.is_server_error() => FetchError::Transient { cause, body },
        _ => FetchError::Permanent { cause, body },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> FetchError {
        let headers =
            headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        verdict(StatusCode::from_u16(status).unwrap(), &headers, &RestRules::DEFAULT, None)
    }

    fn limited(seconds: Option<u64>, forbidden: bool) -> FetchError {
        FetchError::RateLimited { retry_after: seconds.map(Duration::from_secs), forbidden, body: None }
    }

    #[test]
    fn every_status_has_a_verdict() {
        assert_eq!(answer(429, &[("retry-after", "9")]), limited(Some(9), false));
        assert_eq!(answer(429, &[]), limited(None, false));
        assert_eq!(answer(503, &[("retry-after", "9")]), limited(Some(9), false));
        for transient in [202, 408, 425, 500, 502, 503, 504, 599] {
            assert!(matches!(answer(transient, &[]), FetchError::Transient { .. }), "{transient}");
        }
        for permanent in [206, 302, 304, 400, 401, 403, 404, 410, 422, 451] {
            assert!(matches!(answer(permanent, &[]), FetchError::Permanent { .. }), "{permanent}");
        }
    }

    #[test]
    fn a_403_is_about_a_limit_only_with_a_sign_of_it() {
        assert_eq!(answer(403, &[("retry-after", "60")]), limited(Some(60), true));
        let github = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99")];
        assert_eq!(answer(403, &github), limited(Some(99), true));
        for [left, reset] in [["5", "99"], ["0", "0"], ["0", "soon"]] {
            let headers = [("x-ratelimit-remaining", left), ("x-ratelimit-reset", reset)];
            assert!(matches!(answer(403, &headers), FetchError::Permanent { .. }), "{left} {reset}");
        }
        assert!(matches!(answer(401, &github), FetchError::Permanent { .. }));
    }
}
