//! How many requests a caller may make. Each process counts for itself, and in memory that has a limit.
//!
//! A caller who is known has a bucket of their own. Keys that are not known share one: that makes guessing slow and
//! keeps guesses away from the database, whatever addresses they come from. A key that was good a moment ago is not a
//! guess, so its owner does not suffer from those who guess.

use super::{EngineError, Identity};
use common::ids::TenantId;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// No more callers than this are remembered.
const MOST_CALLERS: usize = 10_000;
/// A caller who has been silent for so long may be forgotten. By then their bucket is full again, unless it is a very slow one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// Requests per second in the long run, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests per second in the long run; 0 is no limit.
    pub per_second: u32,
    /// Requests at once, after a silence.
    pub burst: u32,
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// How many requests may be made at once, after a silence.
    pub limit: u32,
    /// When the next one may be made.
    pub retry_after: Duration,
}

/// Who is counted: a key by its hash, or a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    Key([u8; 32]),
    User(TenantId, String),
}

impl Caller {
    /// The user of an identity that a token has shown.
    pub(super) fn user(identity: &Identity) -> Self {
        Self::User(identity.tenant, identity.user.clone().unwrap_or_default())
    }
}

/// The buckets of this process.
#[derive(Debug)]
pub(super) struct CallLimits {
    each: Option<(Quota, u32)>,
    unknown: Option<(DefaultDirectRateLimiter, u32)>,
    callers: Mutex<HashMap<Caller, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    limiter: Option<DefaultDirectRateLimiter>,
    used: Instant,
}

impl CallLimits {
    /// `each` caller who is known, and all others together.
    pub(super) fn new(each: Rate, unknown: Rate) -> Self {
        let unknown = quota(unknown).map(|(quota, burst)| (RateLimiter::direct(quota), burst));
        Self { each: quota(each), unknown, callers: Mutex::default() }
    }

    /// A limit for nobody.
    pub(super) fn none() -> Self {
        let none = Rate { per_second: 0, burst: 0 };
        Self::new(none, none)
    }

    /// Before a key is looked up: whether it may be.
    pub(super) fn before(&self, caller: &Caller) -> Result<(), EngineError> {
        if self.callers().contains_key(caller) { Ok(()) } else { self.stranger() }
    }

    /// Somebody is not known, or not any more.
    pub(super) fn stranger(&self) -> Result<(), EngineError> {
        let Some((limiter, burst)) = &self.unknown else { return Ok(()) };
        check(limiter, *burst)
    }

    /// A key or user that is not good any more.
    pub(super) fn forget(&self, caller: &Caller) {
        self.callers().remove(caller);
    }

    /// Counts a request of somebody who is known.
    pub(super) fn count(&self, caller: Caller) -> Result<(), EngineError> {
        let now = Instant::now();
        let mut callers = self.callers();
        if callers.len() >= MOST_CALLERS && !callers.contains_key(&caller) {
            callers.retain(|_, bucket| now.duration_since(bucket.used) < FORGOTTEN_AFTER);
            if callers.len() >= MOST_CALLERS {
                callers.clear();
            }
        }
        let each = self.each;
        let bucket = callers.entry(caller).or_insert_with(|| Bucket {
            limiter: each.map(|(quota, _)| RateLimiter::direct(quota)),
            used: now,
        });
        bucket.used = now;
        match (&bucket.limiter, each) {
            (Some(limiter), Some((_, burst))) => check(limiter, burst),
            (None, _) | (_, None) => Ok(()),
        }
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<Caller, Bucket>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quota(rate: Rate) -> Option<(Quota, u32)> {
    let (per_second, burst) = (NonZeroU32::new(rate.per_second)?, NonZeroU32::new(rate.burst)?);
    Some((Quota::per_second(per_second).allow_burst(burst), burst.get()))
}

fn check(limiter: &DefaultDirectRateLimiter, limit: u32) -> Result<(), EngineError> {
    limiter.check().map_err(|not_until| {
        let retry_after = not_until.wait_time_from(DefaultClock::default().now());
        EngineError::TooManyRequests(Exceeded { limit, retry_after })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Rate = Rate { per_second: 1, burst: 3 };
    const NONE: Rate = Rate { per_second: 0, burst: 0 };

    fn key(number: usize) -> Caller {
        Caller::Key(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn exceeded(result: Result<(), EngineError>) -> Option<Exceeded> {
        match result {
            Err(EngineError::TooManyRequests(exceeded)) => Some(exceeded),
            Ok(()) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_caller_has_a_limit_of_their_own() {
        let limits = CallLimits::new(SLOW, NONE);
        for _ in 0..3 {
            assert_eq!(exceeded(limits.count(key(1))), None);
        }
        let refused = exceeded(limits.count(key(1))).expect("the fourth at once");
        assert_eq!(refused.limit, 3);
        assert!(refused.retry_after > Duration::ZERO && refused.retry_after <= Duration::from_secs(1));
        assert_eq!(exceeded(limits.count(key(2))), None);
        let user = Caller::User(TenantId::random(), "ann".to_owned());
        assert_eq!(exceeded(limits.count(user)), None);
    }

    #[test]
    fn strangers_share_one_and_leave_the_known_alone() {
        let limits = CallLimits::new(NONE, SLOW);
        assert_eq!(exceeded(limits.before(&key(0))), None);
        assert_eq!(exceeded(limits.count(key(0))), None);
        for guess in 1..3 {
            assert_eq!(exceeded(limits.before(&key(guess))), None);
        }
        assert!(exceeded(limits.before(&key(3))).is_some());
        for _ in 0..10 {
            assert_eq!(exceeded(limits.before(&key(0))), None);
        }
        limits.forget(&key(0));
        assert!(exceeded(limits.before(&key(0))).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_silent_are_forgotten_and_memory_has_an_end() {
        let limits = CallLimits::new(SLOW, SLOW);
        for caller in 0..MOST_CALLERS {
            assert_eq!(exceeded(limits.count(key(caller))), None);
        }
        assert_eq!(limits.callers().len(), MOST_CALLERS);
        tokio::time::advance(FORGOTTEN_AFTER / 2).await;
        assert_eq!(exceeded(limits.count(key(0))), None);
        tokio::time::advance(FORGOTTEN_AFTER / 2).await;
        assert_eq!(exceeded(limits.count(key(MOST_CALLERS))), None);
        assert_eq!(limits.callers().len(), 2, "the one that was used meanwhile, and the new one");
        for caller in 0..=2 * MOST_CALLERS {
            drop(limits.count(key(caller)));
            assert!(limits.callers().len() <= MOST_CALLERS);
        }
    }
}
