//! What the sessions of a process learn of their server together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Since when sessions have been of use, and whether they have a server of their own.
#[derive(Debug, Default)]
pub(crate) struct Known {
    retired: Mutex<Option<Instant>>,
    own_server: AtomicBool,
}

impl Known {
    /// Sessions that were opened before now are given up: each when it is asked for next, or given back.
    pub(crate) fn retire(&self) {
        *self.retired.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a session that was opened then is to be given up.
    pub(super) fn has_retired(&self, opened: Instant) -> bool {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|since| opened < since)
    }

    /// No pooler gives a session's server to others.
    pub(super) fn own_server(&self) -> bool {
        self.own_server.load(Ordering::Relaxed)
    }

    pub(super) fn note_own_server(&self) {
        self.own_server.store(true, Ordering::Relaxed);
    }
}
