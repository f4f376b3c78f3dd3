//! The `limits` setting: how the upstream asks to be left alone.

use reqwest::header::HeaderName;
use serde::Deserialize;

use super::Length;
use crate::SourceError;
use crate::fetch::RestRules;

/// How the upstream asks to be left alone. `Retry-After`, `RateLimit-Reset` and `X-RateLimit-Reset` are known anyway.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// It is not left alone for longer than this at a time. Default a day, since some limits are daily.
    pub longest_rest: Option<Length>,
    /// The header that says when its limit is reset: seconds, a moment since 1970, or a date.
    pub reset_header: Option<String>,
    /// The header that says how much of its limit is left. With 0 in it, and a reset in the future, a 403 is about the limit.
    pub remaining_header: Option<String>,
}

impl Limits {
    pub(in crate::paged_json) fn rules(&self) -> Result<RestRules, SourceError> {
        let header = |setting: &str, name: &Option<String>| -> Result<Option<HeaderName>, SourceError> {
            let parse = |name: &String| {
                name.parse().map_err(|_none| {
                    SourceError::settings(format!("{setting}: {name:?} is no header's name"))
                })
            };
            name.as_ref().map(parse).transpose()
        };
        let longest = match self.longest_rest {
            None => RestRules::DEFAULT.longest,
            Some(Length(longest)) => longest
                .to_std()
                .ok()
                .filter(|longest| longest.as_secs() > 0)
                .ok_or_else(|| SourceError::settings("limits.longest_rest: must be a second at least"))?,
        };
        Ok(RestRules {
            longest,
            reset: header("limits.reset_header", &self.reset_header)?,
            remaining: header("limits.remaining_header", &self.remaining_header)?,
        })
    }
}
