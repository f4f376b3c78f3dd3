//! Whether a job has changed since the caller last looked.

use axum::http::{HeaderMap, header};
use engine::JobBody;

/// The validator of a job's state. It leaves out the rate and the estimate, which change with the clock alone; hence
/// it is a weak one: two answers with the same tag say the same, and may differ in those two numbers.
pub(super) fn of(job: &JobBody) -> String {
    let still = JobBody { rate_per_second: None, estimated_seconds_remaining: None, ..job.clone() };
    let text = serde_json::to_vec(&still).unwrap_or_default();
    let hash = blake3::hash(&text).to_hex();
    format!("W/\"{}\"", hash.get(..32).unwrap_or(&hash))
}

/// Whether `If-None-Match` names this tag. `W/` makes no difference to it.
pub(super) fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let ours = opaque(tag);
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|theirs| theirs.trim() == "*" || opaque(theirs) == ours)
}
