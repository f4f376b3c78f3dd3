//! What the tenants were promised, to be compared with what became of it.

use protocol::ids::JobId;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The promises. Shared by everybody.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Promises>);

#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Starts that a producer has accepted: their jobs must be there.
    pub(super) accepted: BTreeSet<JobId>,
    /// Cancels that a producer has accepted: their jobs must be cancelled.
    pub(super) cancelled: BTreeSet<JobId>,
    /// Identifiers of commands that the broker has confirmed: they must be applied.
    pub(super) confirmed: BTreeSet<String>,
    /// Bodies that can never be applied and that the broker has confirmed: they must be dead letters.
    pub(super) poison: BTreeSet<String>,
    /// The same that were published, confirmed or not: they may be.
    pub(super) tried_poison: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn promises(&self) -> MutexGuard<'_, Promises> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
