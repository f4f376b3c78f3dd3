//! What a sample upstream has seen, for tests to wait on and to assert.

use super::script::Asked;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that have arrived.
    pub requests: u64,
    /// Requests whose answer has been handed over whole (sending its last bytes may still be going on).
    pub answered: u64,
    /// Requests that are neither answered nor given up by their client.
    pub open: u64,
    /// The most that were ever open at once.
    pub most_open: u64,
    /// Open requests that wait to be released: held ones, and scripted ones that hang or stall.
    pub held: u64,
    /// Requests refused with 429 by [`Limit`](super::Limit); scripted ones are not counted.
    pub limited: u64,
    /// Requests whose client closed the connection before it had its answer.
    pub disconnects: u64,
}

/// A client that did not wait for its answer.
#[derive(Clone, Debug)]
pub struct Disconnect {
    /// When the server noticed: within a millisecond or so of the client's close.
    pub at: Instant,
    /// What it had asked for.
    pub asked: Arc<Asked>,
}

/// The counters, and the lists behind them.
#[derive(Debug)]
pub(super) struct Board {
    seen: watch::Sender<Seen>,
    disconnects: Mutex<Vec<Disconnect>>,
    fetches: Option<Mutex<BTreeMap<String, u64>>>,
}

impl Board {
    pub(super) fn new(count_pages: bool) -> Self {
        let fetches = count_pages.then(|| Mutex::new(BTreeMap::new()));
        Self { seen: watch::Sender::default(), disconnects: Mutex::default(), fetches }
    }

    /// Counts a request and gives its number, from 1.
    pub(super) fn arrive(&self) -> u64 {
        let mut number = 0;
        self.seen.send_modify(|seen| {
            seen.requests += 1;
            seen.open += 1;
            seen.most_open = seen.most_open.max(seen.open);
            number = seen.requests;
        });
        number
    }

    /// Counts a fetch of a page, and says how many there had been before.
    pub(super) fn fetched(&self, page: &str) -> u64 {
        let Some(fetches) = &self.fetches else { return 0 };
        let mut fetches = unpoisoned(fetches);
        let count = fetches.entry(page.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(super) async fn until(&self, mut enough: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let found = seen.wait_for(|seen| enough(seen)).await;
        found.map_or_else(|_closed| Seen::default(), |seen| seen.clone())
    }

    pub(super) fn disconnects(&self) -> Vec<Disconnect> {
        unpoisoned(&self.disconnects).clone()
    }

    pub(super) fn fetches(&self) -> BTreeMap<String, u64> {
        self.fetches.as_ref().map(|fetches| unpoisoned(fetches).clone()).unwrap_or_default()
    }
}

/// A request until its answer is complete. Dropped before that, its client has gone.
#[derive(Debug)]
pub(super) struct OpenRequest {
    board: Arc<Board>,
    pub(super) asked: Arc<Asked>,
    answered: bool,
}

impl OpenRequest {
    pub(super) fn new(board: Arc<Board>, asked: Arc<Asked>) -> Self {
        Self { board, asked, answered: false }
    }

    pub(super) fn answered(mut self) {
        self.answered = true;
    }

    /// Counts the request as held until the guard is dropped.
    pub(super) fn held(&self) -> HeldRequest {
        self.board.update(|seen| seen.held += 1);
        HeldRequest(Arc::clone(&self.board))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if !self.answered {
            // The list first: who waits for the counter then finds the entry.
            let gone = Disconnect { at: Instant::now(), asked: Arc::clone(&self.asked) };
            unpoisoned(&self.board.disconnects).push(gone);
        }
        let answered = self.answered;
        self.board.update(|seen| {
            seen.open -= 1;
            if answered {
                seen.answered += 1;
            } else {
                seen.disconnects += 1;
            }
        });
    }
}

#[derive(Debug)]
pub(super) struct HeldRequest(Arc<Board>);

impl Drop for HeldRequest {
    fn drop(&mut self) {
        self.0.update(|seen| seen.held -= 1);
    }
}

/// A test that has panicked with the lock held must not hide its own message behind another panic.
pub(super) fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
