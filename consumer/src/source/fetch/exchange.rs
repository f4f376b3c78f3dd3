//! What was asked of upstreams, for whoever wants to see it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::Instant;
use url::Url;

/// One request.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Where the answer came from, redirects followed; what was asked for, if none came.
    pub url: Url,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// Until the answer's headers, or until it was given up.
    pub elapsed: Duration,
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
        let exchange = Exchange { url: url.clone(), status: None, elapsed: Duration::ZERO };
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
    pub(super) fn answered(&mut self, status: StatusCode, from: &Url) {
        self.exchange.status = Some(status.as_u16());
        self.exchange.url.clone_from(from);
        self.exchange.elapsed = self.began.elapsed();
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
