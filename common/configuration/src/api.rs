//! `[api]`: how the HTTP API behaves. Only the producer reads it.

use protocol::millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Requests per second in the long run, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests per second in the long run; 0 is no limit.
    pub per_second: u32,
    /// Requests at once, after a silence.
    pub burst: u32,
}

/// `[api]`: how the HTTP API behaves. Keys that end in `_ms` are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// How long an answer waits for the broker to confirm a command (`publish_wait_ms`, default 2 s). A start that is
    /// not confirmed by then is accepted all the same: its row is planned by a sweeper.
    #[serde(rename = "publish_wait_ms", with = "millis")]
    pub publish_wait: Duration,
    /// Longest handling of one request (`request_timeout_ms`, default 20 s).
    #[serde(rename = "request_timeout_ms", with = "millis")]
    pub request_timeout: Duration,
    /// What each API key and each user may ask for (`each_caller.per_second`, default 100; 0 is no limit;
    /// `each_caller.burst`, default 500), of each producer. More is answered with 429.
    pub each_caller: Rate,
    /// How many keys that are not known may be tried from one address, for each way in which keys begin
    /// (`unknown_callers.per_second`, default 10; `unknown_callers.burst`, default 100): it makes guessing slow.
    pub unknown_callers: Rate,
    /// Where people reach this installation, without a slash at the end (`public_url`, default none): links for them are
    /// made of it, and are null without it.
    pub public_url: String,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            publish_wait: Duration::from_secs(2),
            request_timeout: Duration::from_secs(20),
            each_caller: Rate { per_second: 100, burst: 500 },
            unknown_callers: Rate { per_second: 10, burst: 100 },
            public_url: String::new(),
        }
    }
}

impl ApiConfig {
    /// Whether the values make sense together.
    ///
    /// # Errors
    /// A sentence that names the keys and values.
    pub fn check(&self) -> Result<(), String> {
        if self.publish_wait.is_zero() {
            return Err("api.publish_wait_ms must not be 0".to_owned());
        }
        if self.request_timeout <= self.publish_wait {
            return Err(format!(
                "api.request_timeout_ms ({}) must be above api.publish_wait_ms ({}), or no start is answered while the \
                 broker is away",
                self.request_timeout.as_millis(),
                self.publish_wait.as_millis()
            ));
        }
        for (key, rate) in [("each_caller", self.each_caller), ("unknown_callers", self.unknown_callers)] {
            if rate.per_second > 0 && rate.burst == 0 {
                return Err(format!(
                    "api.{key}.burst must not be 0 while api.{key}.per_second is {}; for no limit, set per_second to 0",
                    rate.per_second
                ));
            }
        }
        let url = &self.public_url;
        let usable = url.parse::<url::Url>().is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !url.is_empty() && (!usable || url.ends_with('/') || url.contains(['?', '#'])) {
            return Err(format!(
                "api.public_url ({url}) must be an http or https address, without a slash at its end, ? or #"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_no_limit_or_has_a_burst() {
        let with = |per_second, burst| {
            let unknown_callers = Rate { per_second, burst };
            ApiConfig { unknown_callers, ..ApiConfig::default() }.check()
        };
        assert_eq!((ApiConfig::default().check(), with(0, 0), with(1, 1)), (Ok(()), Ok(()), Ok(())));
        assert!(with(1, 0).is_err_and(|said| said.contains("api.unknown_callers.burst must not be 0")));
    }
}
