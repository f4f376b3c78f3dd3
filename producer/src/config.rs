//! The section that only the producer reads.

use common::config::millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { publish_wait: Duration::from_secs(2), request_timeout: Duration::from_secs(20) }
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
        Ok(())
    }
}
