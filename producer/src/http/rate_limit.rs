//! The headers of a 429, which are the same in every contract. What counts the requests is in the engine: each contract's
//! extractor of the caller is refused with [`EngineError::TooManyRequests`](crate::engine::EngineError), and its form of
//! errors adds these headers to its own body.

use crate::engine::Exceeded;
use axum::http::{HeaderName, HeaderValue, header};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// `Retry-After`, and `RateLimit-Limit`, `-Remaining` and `-Reset` (as in draft-ietf-httpapi-ratelimit-headers-03), in
/// whole seconds.
pub(super) fn too_many(exceeded: Exceeded) -> [(HeaderName, HeaderValue); 4] {
    let Exceeded { limit, retry_after } = exceeded;
    // Rounded up, or a caller who obeys comes back too early.
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    let seconds = HeaderValue::from(seconds.max(1));
    [
        (header::RETRY_AFTER, seconds.clone()),
        (LIMIT, HeaderValue::from(limit)),
        (REMAINING, HeaderValue::from(0)),
        (RESET, seconds),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn seconds_are_rounded_up_and_never_0() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let retry_after = Duration::from_millis(millis);
            let headers = too_many(Exceeded { limit: 7, retry_after });
            let values: Vec<_> = headers.iter().map(|(_, value)| value.to_str().unwrap()).collect();
            assert_eq!(values, [seconds, "7", "0", seconds], "{millis}");
        }
    }
}
