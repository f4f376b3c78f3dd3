//! How long to wait before trying again: reconnects to the broker, and pages that failed for a passing reason.
//!
//! This is the only file that names the `backoff` crate. That crate is unmaintained (RUSTSEC-2025-0012) and no
//! patched version exists; replacing it is the work of this one file, and nothing else would notice.
//!
//! Every delay has *full jitter*: it is uniform between (almost) nothing and a cap that doubles with each try.
//! A fleet that lost its broker at one instant therefore does not come back at one instant.

use crate::millis;
use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The least delay there is. Jitter may draw zero; a loop that then retries at once would spin.
const FLOOR: Duration = Duration::from_millis(10);

/// Where delays start, and what they never exceed.
///
/// Deserialized from `initial_ms` and `max_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// The cap of the first delay.
    #[serde(rename = "initial_ms", with = "millis")]
    pub initial: Duration,
    /// The cap that doubling ends at.
    #[serde(rename = "max_ms", with = "millis")]
    pub max: Duration,
}

impl RetryPolicy {
    /// A policy whose first delay is at most `initial` and whose later ones grow to at most `max`.
    #[must_use]
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The delays of one run of failures. It never ends: who wants to give up counts for itself.
    #[must_use]
    pub fn delays(&self) -> Delays {
        Delays { policy: *self, backoff: self.backoff(self.initial) }
    }

    /// The delay before try number `attempt + 1`, where `attempt` failures (1 for the first) have been counted
    /// elsewhere: a page's attempts live in Postgres, and each may fail in another process. 0 counts as 1.
    #[must_use]
    pub fn delay_for(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let cap = self.initial.checked_mul(1 << doublings).unwrap_or(self.max);
        draw(&mut self.backoff(cap), self.max)
    }

    /// The crate draws from `interval ± interval × factor`. With half the cap as its interval and a factor of 1
    /// that is uniform in `[0, cap]`, which is full jitter.
    fn backoff(&self, cap: Duration) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(cap.min(self.max) / 2)
            .with_max_interval(self.max / 2)
            .with_randomization_factor(1.0)
            .with_multiplier(2.0)
            .with_max_elapsed_time(None)
            .build()
    }
}

/// An endless iterator of delays; see [`RetryPolicy::delays`].
#[derive(Debug)]
pub struct Delays {
    policy: RetryPolicy,
    backoff: ExponentialBackoff,
}

impl Delays {
    /// The next delay. Unlike `next`, its type says that there is always one.
    pub fn next_delay(&mut self) -> Duration {
        draw(&mut self.backoff, self.policy.max)
    }

    /// Starts again from the first delay: what was retried has worked.
    pub fn reset(&mut self) {
        self.backoff.reset();
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.next_delay())
    }
}

/// `None` from the crate means that its elapsed-time limit was reached. We set none; the cap stands in for it.
fn draw(backoff: &mut ExponentialBackoff, max: Duration) -> Duration {
    backoff.next_backoff().unwrap_or(max).clamp(FLOOR.min(max), max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RetryPolicy = RetryPolicy::new(Duration::from_millis(200), Duration::from_secs(30));

    #[test]
    fn the_cap_doubles_and_stops_at_the_maximum() {
        for _ in 0..200 {
            let caps = [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
            for (delay, cap) in POLICY.delays().zip(caps) {
                assert!(delay >= FLOOR && delay <= Duration::from_millis(cap), "{delay:?} over {cap} ms");
            }
        }
    }

    #[test]
    fn jitter_is_full() {
        let first: Vec<_> = (0..400).map(|_| POLICY.delay_for(1)).collect();
        assert!(first.iter().any(|d| *d < Duration::from_millis(50)), "the lower quarter is drawn from");
        assert!(first.iter().any(|d| *d > Duration::from_millis(150)), "the upper quarter is drawn from");
    }

    #[test]
    fn a_reset_starts_from_the_first_delay() {
        let mut delays = POLICY.delays();
        for _ in 0..20 {
            delays.next_delay();
        }
        delays.reset();
        assert!(delays.next_delay() <= POLICY.initial);
    }

    #[test]
    fn is_read_from_milliseconds() {
        let read: RetryPolicy =
            serde_json::from_str(r#"{"initial_ms": 200, "max_ms": 30000}"#).expect("reads");
        assert_eq!(read, POLICY);
    }

    proptest! {
        #[test]
        fn every_attempt_has_a_bounded_delay(attempt: u32, initial in 0u64..100_000, max in 0u64..100_000) {
            let policy = RetryPolicy::new(Duration::from_millis(initial), Duration::from_millis(max));
            let delay = policy.delay_for(attempt);
            let cap = policy.initial.saturating_mul(1 << attempt.saturating_sub(1).min(31)).min(policy.max);
            prop_assert!(delay <= cap.max(FLOOR).min(policy.max));
            prop_assert!(delay >= FLOOR.min(policy.max));
        }
    }
}
