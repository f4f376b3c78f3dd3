//! The headers of a 429, which are the same in every contract. What counts the requests is in the engine: each contract's
//! extractor of the caller is refused with [`EngineError::TooManyRequests`](engine::EngineError), and its form of
//! errors adds these headers to its own body.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use engine::Exceeded;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Sets `Retry-After`, and `RateLimit-Limit`, `-Remaining` and `-Reset` (as in draft-ietf-httpapi-ratelimit-headers-03), in
/// whole seconds, in the place of any that are there.
pub(super) fn too_many(headers: &mut HeaderMap, exceeded: Exceeded) {
    let Exceeded { limit, retry_after } = exceeded;
    // Rounded up, or a caller who obeys comes back too early.
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    let seconds = HeaderValue::from(seconds.max(1));
    headers.insert(header::RETRY_AFTER, seconds.clone());
    headers.insert(LIMIT, HeaderValue::from(limit));
    headers.insert(REMAINING, HeaderValue::from(0));
    headers.insert(RESET, seconds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn seconds_are_rounded_up_and_never_0() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let retry_after = Duration::from_millis(millis);
            let mut headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("60"))]);
            too_many(&mut headers, Exceeded { limit: 7, retry_after });
            for (name, value) in
                [(header::RETRY_AFTER, seconds), (LIMIT, "7"), (REMAINING, "0"), (RESET, seconds)]
            {
                let values: Vec<_> = headers.get_all(&name).iter().collect();
                assert_eq!(values, [value], "{name} {millis}");
            }
        }
    }
}
