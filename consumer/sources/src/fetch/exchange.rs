//! What was asked of upstreams and what they answered, for whoever wants to see it; and how often they may be asked.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::time::Instant;
use url::Url;

/// One request.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Where the answer came from, redirects followed; what was asked for, if none came.
    pub url: Url,
    /// What was asked for, if that was redirected.
    pub redirected_from: Option<Url>,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// Until the answer's headers, or until it was given up.
    pub elapsed: Duration,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body, decoded, if it was what was asked for and came whole.
    pub body: Option<Vec<u8>>,
}

/// Requests in the order of their ends.
#[derive(Clone, Debug, Default)]
pub struct Exchanges(Arc<Mutex<Vec<Exchange>>>);

impl Exchanges {
    /// Those that ended since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn begin(&self, url: &Url) -> Noted {
        let exchange = Exchange {
            url: url.clone(),
            redirected_from: None,
            status: None,
            elapsed: Duration::ZERO,
            headers: HeaderMap::new(),
            body: None,
        };
        Noted { exchanges: self.clone(), began: Instant::now(), exchange }
    }
}

/// A request under way. It is noted when this is dropped, so one that is given up is noted too.
#[derive(Debug)]
pub(super) struct Noted {
    exchanges: Exchanges,
    began: Instant,
    exchange: Exchange,
}

impl Noted {
    pub(super) fn answered(&mut self, status: StatusCode, from: &Url, headers: &HeaderMap) {
        self.exchange.status = Some(status.as_u16());
        if self.exchange.url != *from {
            self.exchange.redirected_from = Some(std::mem::replace(&mut self.exchange.url, from.clone()));
        }
        self.exchange.headers.clone_from(headers);
        self.exchange.elapsed = self.began.elapsed();
    }

    pub(super) fn read(&mut self, body: &[u8]) {
        self.exchange.body = Some(body.to_vec());
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if self.exchange.status.is_none() {
            self.exchange.elapsed = self.began.elapsed();
        }
        self.exchanges.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.exchange.clone());
    }
}

/// How many requests may be sent, redirects included. Cheap to clone; the clones share it.
#[derive(Clone, Debug)]
pub struct Ration {
    most: u32,
    left: Arc<AtomicU32>,
}

impl Ration {
    /// So many, and never more.
    #[must_use]
    pub fn of(most: u32) -> Self {
        Self { most, left: Arc::new(AtomicU32::new(most)) }
    }

    /// How many were sent.
    #[must_use]
    pub fn spent(&self) -> u32 {
        self.most - self.left()
    }

    /// How many may still be sent.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left.load(Ordering::Acquire)
    }

    /// Takes one, if there is one left.
    pub(super) fn take(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ration_is_never_exceeded() {
        let ration = Ration::of(2);
        let other = ration.clone();
        assert_eq!([ration.take(), other.take(), ration.take(), other.take()], [true, true, false, false]);
        assert_eq!((ration.spent(), ration.left()), (2, 0));
    }
}
