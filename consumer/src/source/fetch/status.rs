//! What an answer other than 200 means.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::source::FetchError;
use crate::source::error::{EXCERPT_BYTES, excerpt};

/// An upstream may ask to be left alone for this long, no less and no more.
const RETRY_AFTER_WITHIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// How long the beginning of an error's body is waited for. What has come until then has to do.
const EXCERPT_WITHIN: Duration = Duration::from_secs(2);

/// Turns an answer other than 200 into an error. Nothing in its body is trusted to have a form.
pub(super) async fn refusal(mut response: Response, deadline: Instant) -> FetchError {
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
    verdict(response.status(), response.headers(), Some(excerpt(&start)))
}

pub(super) fn cause(status: StatusCode) -> String {
    format!("the upstream answered {status}")
}

pub(super) fn verdict(status: StatusCode, headers: &HeaderMap, body: Option<String>) -> FetchError {
    let cause = cause(status);
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            FetchError::RateLimited { retry_after: retry_after(headers), forbidden: false, body }
        }
        StatusCode::SERVICE_UNAVAILABLE if headers.contains_key(RETRY_AFTER) => {
            FetchError::RateLimited { retry_after: retry_after(headers), forbidden: false, body }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => FetchError::Transient { cause, body },
        status if status.is_server_error() => FetchError::Transient { cause, body },
        _ => FetchError::Permanent { cause, body },
    }
}

/// Reads `Retry-After`: seconds, or a date. `None` for anything else.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let (least, most) = RETRY_AFTER_WITHIN;
    let asked = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number can hold are a very long time.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(value).ok()?;
        // The upstream's own clock, if it tells: ours may differ.
        let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        until.duration_since(date.unwrap_or_else(SystemTime::now)).unwrap_or_default()
    };
    Some(asked.clamp(least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> FetchError {
        let headers =
            headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        verdict(StatusCode::from_u16(status).unwrap(), &headers, None)
    }

    fn limited(seconds: Option<u64>) -> FetchError {
        FetchError::RateLimited {
            retry_after: seconds.map(Duration::from_secs),
            forbidden: false,
            body: None,
        }
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        for (value, seconds) in [
            ("7", Some(7)),
            ("0", Some(1)),
            ("86400", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(1)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(3600)),
        ] {
            let headers = [("retry-after", value), ("date", "Wed, 21 Oct 2015 07:28:00 GMT")];
            assert_eq!(answer(429, &headers), limited(seconds), "{value:?}");
        }
        assert_eq!(answer(429, &[]), limited(None));
        // Long ago by this machine's clock.
        assert_eq!(answer(429, &[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")]), limited(Some(1)));
    }

    #[test]
    fn every_status_has_a_verdict() {
        assert_eq!(answer(503, &[("retry-after", "9")]), limited(Some(9)));
        for transient in [408, 425, 500, 502, 503, 504, 599] {
            assert!(matches!(answer(transient, &[]), FetchError::Transient { .. }), "{transient}");
        }
        for permanent in [204, 206, 302, 304, 400, 401, 403, 404, 410, 422, 451] {
            assert!(matches!(answer(permanent, &[]), FetchError::Permanent { .. }), "{permanent}");
        }
    }
}
