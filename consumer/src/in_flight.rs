//! The pages that this process holds: which to renew, which to abort, and whether one of them is a suspect.

use protocol::ids::{JobId, LeaseToken};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::slices::Lease;
use tokio::sync::watch;

/// Why a page in flight is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// Its job was cancelled or has failed.
    JobEnded,
    /// A renewal did not get the lease back.
    LeaseLost,
    /// The process ends: the page is handed to another.
    HandBack,
}

#[derive(Debug)]
struct Entry {
    job: JobId,
    slice: i32,
    abort: watch::Sender<Option<Abort>>,
}

#[derive(Debug, Default)]
struct Pages {
    held: HashMap<LeaseToken, Entry>,
    suspect_place_taken: bool,
    handing_back: bool,
}

/// All pages in flight of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Mutex<Pages>>);

impl InFlight {
    /// Registers a page for as long as the guard lives.
    #[must_use]
    pub fn enter(&self, lease: &Lease) -> Held {
        let mut pages = self.lock();
        let (abort, aborted) = watch::channel(pages.handing_back.then_some(Abort::HandBack));
        let entry = Entry { job: lease.job(), slice: lease.slice(), abort };
        pages.held.insert(lease.token(), entry);
        metrics::gauge!("pages_in_flight").increment(1.0);
        Held { pages: self.clone(), token: lease.token(), aborted }
    }

    /// Resolves when no page of this slice is held (any more).
    ///
    /// A message that comes back to the very process that works on its page (the broker's connection broke, the page did
    /// not) waits here instead of taking the page over from itself and fetching it twice.
    pub async fn left(&self, job: JobId, slice: i32) {
        loop {
            let held = self
                .lock()
                .held
                .values()
                .find(|entry| entry.job == job && entry.slice == slice)
                .map(|entry| entry.abort.subscribe());
            let Some(mut entry) = held else { return };
            // Its sender lives as long as the entry.
            while entry.changed().await.is_ok() {}
        }
    }

    /// Takes the place for the one suspect that the process may hold, for as long as the guard lives. `None` if it is taken.
    #[must_use]
    pub fn take_suspect_place(&self) -> Option<SuspectPlace> {
        let taken = std::mem::replace(&mut self.lock().suspect_place_taken, true);
        (!taken).then(|| SuspectPlace(self.clone()))
    }

    /// What a renewal names: the pages in progress, never "all of this worker's".
    #[must_use]
    pub fn held(&self) -> Vec<(JobId, i32, LeaseToken)> {
        self.lock().held.iter().map(|(token, entry)| (entry.job, entry.slice, *token)).collect()
    }

    /// Aborts the pages of a job. Returns how many there were.
    pub fn abort_job(&self, job: JobId) -> usize {
        let mut aborted = 0;
        for entry in self.lock().held.values().filter(|entry| entry.job == job) {
            entry.abort.send_replace(Some(Abort::JobEnded));
            aborted += 1;
        }
        aborted
    }

    /// Aborts a page whose lease is lost.
    pub fn abort_lost(&self, token: LeaseToken) {
        if let Some(entry) = self.lock().held.get(&token) {
            entry.abort.send_replace(Some(Abort::LeaseLost));
        }
    }

    /// Aborts every page, and those still to come: the process ends.
    pub fn hand_back_all(&self) {
        let mut pages = self.lock();
        pages.handing_back = true;
        for entry in pages.held.values() {
            entry.abort.send_replace(Some(Abort::HandBack));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place for the one suspect that a process may hold. It is taken before the claim: with two suspects in hand, nobody
/// could tell which of them killed the process.
#[derive(Debug)]
pub struct SuspectPlace(InFlight);

impl Drop for SuspectPlace {
    fn drop(&mut self) {
        self.0.lock().suspect_place_taken = false;
    }
}

/// A page's entry; leaving the scope takes it out.
#[derive(Debug)]
pub struct Held {
    pages: InFlight,
    token: LeaseToken,
    aborted: watch::Receiver<Option<Abort>>,
}

impl Held {
    /// Resolves when the page is to be given up.
    pub async fn aborted(&mut self) -> Abort {
        loop {
            if let Some(abort) = *self.aborted.borrow_and_update() {
                return abort;
            }
            if self.aborted.changed().await.is_err() {
                // The entry is gone only together with this guard.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Forgets an abort that turned out to be none: the lease is still ours, the slice still open.
    pub fn go_on(&mut self) {
        if let Some(entry) = self.pages.lock().held.get(&self.token) {
            entry.abort.send_if_modified(|abort| {
                let spurious = abort.is_some_and(|abort| abort != Abort::HandBack);
                if spurious {
                    *abort = None;
                }
                spurious
            });
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.pages.lock().held.remove(&self.token).is_some() {
            metrics::gauge!("pages_in_flight").decrement(1.0);
        }
    }
}
