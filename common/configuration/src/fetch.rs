//! `[fetch]`: the limits of fetching, with their defaults.

use std::path::PathBuf;
use std::time::Duration;

use protocol::millis;
use serde::{Deserialize, Serialize};

/// No body may be configured to be larger: Postgres stores no `jsonb` text above 256 MiB.
const LARGEST_PAGE: usize = 128 << 20;

/// `[fetch]`: the limits of fetching in one process.
///
/// How long a fetch may take is not among them: that is the page's budget (`pages.budget_ms`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchConfig {
    /// No body is larger than this, decompressed. Default 16 MiB, at most 128 MiB.
    pub max_page_bytes: usize,
    /// What every page in flight may use without asking. Default 256 KiB.
    pub small_page_bytes: usize,
    /// What all bodies in flight may use together; a large page waits for its part. Default 64 MiB.
    ///
    /// It must hold the small share of every slot and one page of the largest size. While its records are copied
    /// out of the body, a page takes up to twice its bytes for a moment.
    pub byte_budget: usize,
    /// No page has more records than this. Default 10 000.
    pub max_page_records: usize,
    /// How long connecting may take (`connect_timeout_ms`, default 5 s).
    #[serde(rename = "connect_timeout_ms", with = "millis")]
    pub connect_timeout: Duration,
    /// A file of PEM certificates that vouch for upstreams, beside the system's; read at the start. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Whether upstreams may have private, loopback or link-local addresses. Default false.
    pub allow_private_addresses: bool,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            max_page_bytes: 16 << 20,
            small_page_bytes: 256 << 10,
            byte_budget: 64 << 20,
            max_page_records: 10_000,
            connect_timeout: Duration::from_secs(5),
            ca_file: None,
            allow_private_addresses: false,
        }
    }
}

impl FetchConfig {
    /// How many pages can be larger than small at the same time, after the small shares of all slots.
    #[must_use]
    pub fn large_pages(&self, slots: usize) -> usize {
        let shared = self.byte_budget.saturating_sub(self.small_page_bytes.saturating_mul(slots));
        match self.max_page_bytes.saturating_sub(self.small_page_bytes) {
            0 => slots.max(1),
            extra => shared / extra,
        }
    }

    /// Whether the limits are in range and agree with each other and with this many slots.
    ///
    /// # Errors
    /// A sentence that names the keys and values.
    pub fn check(&self, slots: usize) -> Result<(), String> {
        let wrong = |text: String| Err(format!("fetch.{text}"));
        if self.max_page_bytes > LARGEST_PAGE {
            return wrong(format!("max_page_bytes ({}) must be at most {LARGEST_PAGE}", self.max_page_bytes));
        }
        if self.small_page_bytes == 0 || self.small_page_bytes > self.max_page_bytes {
            return wrong(format!(
                "small_page_bytes ({}) must be between 1 and fetch.max_page_bytes ({})",
                self.small_page_bytes, self.max_page_bytes
            ));
        }
        if self.max_page_records == 0 {
            return wrong("max_page_records must be at least 1".to_owned());
        }
        if self.connect_timeout.is_zero() {
            return wrong("connect_timeout_ms must be at least 1".to_owned());
        }
        let others = self.small_page_bytes.saturating_mul(slots.saturating_sub(1));
        let least = others.saturating_add(self.max_page_bytes);
        if self.byte_budget < least {
            return wrong(format!(
                "byte_budget ({}) must be at least {least}: one page of fetch.max_page_bytes beside \
                 fetch.small_page_bytes for each of the other {} slots",
                self.byte_budget,
                slots.saturating_sub(1)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_allow_three_large_pages_beside_forty_small_ones() {
        let config = FetchConfig::default();
        assert!(config.check(40).is_ok());
        assert_eq!(config.large_pages(40), 3);
    }

    #[test]
    fn what_is_at_a_limit_is_accepted() {
        let (slots, small) = (40, 256 << 10);
        let largest = FetchConfig {
            max_page_bytes: LARGEST_PAGE,
            byte_budget: LARGEST_PAGE + 39 * small,
            ..FetchConfig::default()
        };
        assert_eq!(largest.check(slots), Ok(()));
        let past =
            FetchConfig { max_page_bytes: LARGEST_PAGE + 1, byte_budget: usize::MAX, ..largest.clone() };
        assert!(past.check(slots).is_err_and(|said| said.contains("at most 134217728")));
        for fine in [
            FetchConfig { small_page_bytes: 1, ..FetchConfig::default() },
            FetchConfig { small_page_bytes: 16 << 20, byte_budget: 16 << 20, ..FetchConfig::default() },
            FetchConfig {
                max_page_records: 1,
                connect_timeout: Duration::from_millis(1),
                ..FetchConfig::default()
            },
        ] {
            assert_eq!(fine.check(1), Ok(()), "{fine:?}");
        }
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let least = FetchConfig { byte_budget: (16 << 20) + 39 * (256 << 10), ..FetchConfig::default() };
        assert!(least.check(40).is_ok());
        assert_eq!(least.large_pages(40), 1);
        for wrong in [
            FetchConfig { byte_budget: least.byte_budget - 1, ..least.clone() },
            FetchConfig { small_page_bytes: 0, ..FetchConfig::default() },
            FetchConfig { small_page_bytes: 17 << 20, ..FetchConfig::default() },
            FetchConfig { max_page_bytes: 1 << 30, byte_budget: 1 << 32, ..FetchConfig::default() },
            FetchConfig { max_page_records: 0, ..FetchConfig::default() },
        ] {
            assert!(wrong.check(40).is_err(), "{wrong:?}");
        }
    }
}
