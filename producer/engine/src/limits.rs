//! How many requests a caller may make. Each process counts for itself, and in memory that has a limit.
//!
//! A caller who is known has a bucket of their own: a key by its hash, a user by the subject of a token whose signature was
//! right. A key that is not known has one per address and first characters, so that whoever guesses a key slows down nobody
//! but themselves.

use super::EngineError;
use configuration::Rate;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// No more buckets of a kind than this are remembered.
const MOST_BUCKETS: usize = 10_000;
/// A bucket that was not used for so long may be forgotten. By then it is full again, unless it is a very slow one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// How many requests may be made at once, after a silence.
    pub limit: u32,
    /// When the next one may be made.
    pub retry_after: Duration,
}

/// Who is counted: a key by its hash, or a user by the subject of their tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    Key([u8; 32]),
    User(String),
}

/// Somebody who presents a key that is not known: from where, and how the key begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Guesser {
    pub(super) peer: IpAddr,
    pub(super) prefix: String,
}

/// The limits of this process.
#[derive(Debug)]
pub(super) struct CallLimits {
    /// One for each caller.
    pub(super) callers: Buckets<Caller>,
    /// One for each guesser.
    pub(super) guessers: Buckets<Guesser>,
}

impl CallLimits {
    /// `each` caller who is known, and each guesser.
    pub(super) fn new(each: Rate, guesser: Rate) -> Self {
        Self { callers: Buckets::new(each), guessers: Buckets::new(guesser) }
    }

    /// A limit for nobody.
    pub(super) fn none() -> Self {
        let none = Rate { per_second: 0, burst: 0 };
        Self::new(none, none)
    }
}

/// Buckets of one size.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    quota: Option<(Quota, u32)>,
    held: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    limiter: Option<DefaultDirectRateLimiter>,
    used: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self { quota: quota(rate), held: Mutex::default() }
    }

    /// Counts a request.
    pub(super) fn count(&self, of: K) -> Result<(), EngineError> {
        let now = Instant::now();
        let mut held = self.held();
        if held.len() >= MOST_BUCKETS && !held.contains_key(&of) {
            held.retain(|_, bucket| now.duration_since(bucket.used) < FORGOTTEN_AFTER);
            if held.len() >= MOST_BUCKETS {
                held.clear();
            }
        }
        let quota = self.quota;
        let bucket = held.entry(of).or_insert_with(|| Bucket {
            limiter: quota.map(|(quota, _)| RateLimiter::direct(quota)),
            used: now,
        });
        bucket.check(now, quota)
    }

    /// Counts a request of somebody who has a bucket already. `None` if they have none.
    pub(super) fn count_known(&self, of: &K) -> Option<Result<(), EngineError>> {
        Some(self.held().get_mut(of)?.check(Instant::now(), self.quota))
    }

    /// Somebody who is not known any more.
    pub(super) fn forget(&self, of: &K) {
        self.held().remove(of);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<K, Bucket>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn check(&mut self, now: Instant, quota: Option<(Quota, u32)>) -> Result<(), EngineError> {
        self.used = now;
        let (Some(limiter), Some((_, limit))) = (&self.limiter, quota) else { return Ok(()) };
        limiter.check().map_err(|not_until| {
            let retry_after = not_until.wait_time_from(DefaultClock::default().now());
            EngineError::TooManyRequests(Exceeded { limit, retry_after })
        })
    }
}

fn quota(rate: Rate) -> Option<(Quota, u32)> {
    let (per_second, burst) = (NonZeroU32::new(rate.per_second)?, NonZeroU32::new(rate.burst)?);
    Some((Quota::per_second(per_second).allow_burst(burst), burst.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Rate = Rate { per_second: 1, burst: 3 };

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
        let limits = Buckets::new(SLOW);
        for _ in 0..3 {
            assert_eq!(exceeded(limits.count(key(1))), None);
        }
        let refused = exceeded(limits.count(key(1))).expect("the fourth at once");
        assert_eq!(refused.limit, 3);
        assert!(refused.retry_after > Duration::ZERO && refused.retry_after <= Duration::from_secs(1));
        assert_eq!(exceeded(limits.count(key(2))), None);
        assert_eq!(exceeded(limits.count(Caller::User("ann".to_owned()))), None);
    }

    #[test]
    fn whoever_has_a_bucket_is_counted_before_they_are_looked_up() {
        let limits = Buckets::new(SLOW);
        assert!(limits.count_known(&key(1)).is_none());
        for _ in 0..3 {
            assert_eq!(exceeded(limits.count(key(1))), None);
        }
        assert!(limits.count_known(&key(1)).and_then(exceeded).is_some());
        limits.forget(&key(1));
        assert!(limits.count_known(&key(1)).is_none());
    }

    #[test]
    fn a_guesser_slows_down_nobody_else() {
        let limits = Buckets::new(SLOW);
        let guesser = |peer: [u8; 4], prefix: &str| Guesser { peer: peer.into(), prefix: prefix.to_owned() };
        for _ in 0..3 {
            assert_eq!(exceeded(limits.count(guesser([192, 0, 2, 1], "bh_00000000"))), None);
        }
        assert!(exceeded(limits.count(guesser([192, 0, 2, 1], "bh_00000000"))).is_some());
        assert_eq!(exceeded(limits.count(guesser([192, 0, 2, 1], "bh_00000001"))), None);
        assert_eq!(exceeded(limits.count(guesser([192, 0, 2, 2], "bh_00000000"))), None);
    }

    #[test]
    fn without_a_rate_nobody_is_limited() {
        let limits = CallLimits::none();
        for _ in 0..1000 {
            assert_eq!(exceeded(limits.callers.count(key(1))), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_silent_are_forgotten_and_memory_has_an_end() {
        let limits = Buckets::new(SLOW);
        for caller in 0..MOST_BUCKETS {
            assert_eq!(exceeded(limits.count(key(caller))), None);
        }
        assert_eq!(limits.held().len(), MOST_BUCKETS);
        tokio::time::advance(FORGOTTEN_AFTER / 2).await;
        assert_eq!(exceeded(limits.count(key(0))), None);
        tokio::time::advance(FORGOTTEN_AFTER / 2).await;
        assert_eq!(exceeded(limits.count(key(MOST_BUCKETS))), None);
        assert_eq!(limits.held().len(), 2, "the one that was used meanwhile, and the new one");
        for caller in 0..=2 * MOST_BUCKETS {
            drop(limits.count(key(caller)));
            assert!(limits.held().len() <= MOST_BUCKETS);
        }
    }
}
