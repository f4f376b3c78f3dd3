//! Who follows jobs, for how long: a follower has a share of the places, grows no older than ten minutes, and is sent away
//! once whatever let it in is no longer good.

use super::Identity;
use super::limits::Caller;
use protocol::ids::TenantId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use store::Store;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Followers of one process.
const MOST: usize = 100;
/// Of them, those of one tenant, and of one caller.
const MOST_OF_TENANT: usize = 50;
const MOST_OF_CALLER: usize = 20;
/// How long one may follow before it has to come again.
const LONGEST: Duration = Duration::from_secs(10 * 60);
/// Between two looks at what lets the followers in.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a follower is sent away before its job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentAway {
    /// It has followed for ten minutes: it may go on with another request.
    Age,
    /// Its API key was revoked, or its user disabled, removed or moved to another tenant.
    NoLonger,
    /// Its token has expired.
    Expired,
}

/// Why a follower is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The process has no place left.
    Process,
    /// The tenant has its share.
    Tenant,
    /// The key or user has its share.
    Caller,
}

/// The followers of this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Followers(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    entries: HashMap<u64, Entry>,
    next: u64,
    watched: bool,
}

#[derive(Debug)]
struct Entry {
    tenant: TenantId,
    caller: Caller,
    away: watch::Sender<Option<SentAway>>,
}

impl Followers {
    /// Takes a follower. Inside a runtime.
    pub(super) fn admit(&self, identity: &Identity, store: &Store) -> Result<Following, NoPlace> {
        let mut held = self.held();
        let of = |same: &dyn Fn(&Entry) -> bool| held.entries.values().filter(|entry| same(entry)).count();
        if of(&|entry| entry.caller == identity.caller) >= MOST_OF_CALLER {
            return Err(NoPlace::Caller);
        }
        if of(&|entry| entry.tenant == identity.tenant) >= MOST_OF_TENANT {
            return Err(NoPlace::Tenant);
        }
        if held.entries.len() >= MOST {
            return Err(NoPlace::Process);
        }
        let (away, sent_away) = watch::channel(None);
        let number = held.next;
        held.next += 1;
        let entry = Entry { tenant: identity.tenant, caller: identity.caller.clone(), away };
        held.entries.insert(number, entry);
        if !std::mem::replace(&mut held.watched, true) {
            tokio::spawn(self.clone().watch(store.clone()));
        }
        Ok(Following { followers: self.clone(), number, sent_away, expires: identity.expires })
    }

    /// Looks again and again whether those who follow still may, for as long as anybody does.
    async fn watch(self, store: Store) {
        loop {
            sleep(LOOK_EVERY).await;
            let (mut keys, mut users) = (HashSet::new(), HashSet::new());
            {
                let mut held = self.held();
                if held.entries.is_empty() {
                    held.watched = false;
                    return;
                }
                for entry in held.entries.values() {
                    match &entry.caller {
                        Caller::Key(hash) => drop(keys.insert(*hash)),
                        Caller::User(subject) => drop(users.insert(subject.clone())),
                    }
                }
            }
            let (keys, users): (Vec<_>, Vec<_>) = (keys.into_iter().collect(), users.into_iter().collect());
            match tokio::try_join!(store.tenants().good_keys(&keys), store.tenants().good_users(&users)) {
                Ok((keys, users)) => self.send_away(&keys, &users),
                Err(error) => tracing::debug!(%error, "followers stay until the database answers"),
            }
        }
    }

    fn send_away(&self, keys: &HashSet<[u8; 32]>, users: &HashMap<String, TenantId>) {
        for entry in self.held().entries.values() {
            let good = match &entry.caller {
                Caller::Key(hash) => keys.contains(hash),
                Caller::User(subject) => users.get(subject) == Some(&entry.tenant),
            };
            if !good {
                entry.away.send_replace(Some(SentAway::NoLonger));
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A follower's place, for as long as it lives.
#[derive(Debug)]
pub struct Following {
    followers: Followers,
    number: u64,
    sent_away: watch::Receiver<Option<SentAway>>,
    expires: Option<SystemTime>,
}

impl Following {
    /// Resolves when the follower has to go.
    pub async fn end(&self) -> SentAway {
        let mut sent_away = self.sent_away.clone();
        let told = async {
            let why = sent_away.wait_for(Option::is_some).await.ok().and_then(|why| *why);
            // The entry is gone only together with this place.
            if let Some(why) = why { why } else { std::future::pending().await }
        };
        let left = self.expires.map(|expires| expires.duration_since(SystemTime::now()).unwrap_or_default());
        let (within, late) = match left {
            Some(left) if left < LONGEST => (left, SentAway::Expired),
            Some(_) | None => (LONGEST, SentAway::Age),
        };
        timeout(within, told).await.unwrap_or(late)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.followers.held().entries.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(expires: Option<SystemTime>) -> (watch::Sender<Option<SentAway>>, Following) {
        let (away, sent_away) = watch::channel(None);
        (away, Following { followers: Followers::default(), number: 0, sent_away, expires })
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_goes_when_it_is_too_old_and_when_its_token_expires() {
        let now = SystemTime::now();
        let soon = Duration::from_secs(30);
        for (expires, why, within) in [
            (None, SentAway::Age, LONGEST),
            (Some(now + 2 * LONGEST), SentAway::Age, LONGEST),
            (Some(now + soon), SentAway::Expired, soon),
            (Some(now - soon), SentAway::Expired, Duration::ZERO),
        ] {
            let (_away, following) = following(expires);
            let began = tokio::time::Instant::now();
            assert_eq!(following.end().await, why, "{expires:?}");
            let took = began.elapsed();
            // The time of the token passes beside the test's own.
            assert!(took <= within + Duration::from_secs(1), "{took:?}");
            assert!(took + Duration::from_secs(10) >= within, "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_goes_when_it_is_sent_away() {
        let (away, following) = following(None);
        away.send_replace(Some(SentAway::NoLonger));
        let began = tokio::time::Instant::now();
        assert_eq!((following.end().await, began.elapsed()), (SentAway::NoLonger, Duration::ZERO));
    }
}
