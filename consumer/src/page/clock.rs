//! The database's time right before a request is sent: what an answer is as of.

use super::PageHandler;
use super::stint::Stint;
use chrono::{DateTime, Utc};
use std::time::Duration;
use store::StoreError;
use tokio::time::Instant;

/// A reading that is older is renewed before a request is sent.
const FRESH: Duration = Duration::from_secs(1);

/// A time of the database, and when it was asked for by this process's own clock: a moment before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    at: DateTime<Utc>,
    asked: Instant,
}

impl Reading {
    pub(super) const fn new(at: DateTime<Utc>, asked: Instant) -> Self {
        Self { at, asked }
    }

    /// What an answer to a request that is sent now is as of, if the reading is fresh.
    fn fresh(self) -> Option<DateTime<Utc>> {
        (self.asked.elapsed() < FRESH).then_some(self.at)
    }
}

impl PageHandler {
    /// What an answer to the request that is sent next is as of: never later than that, and at most a second earlier.
    pub(super) async fn as_of(&self, stint: &mut Stint) -> Result<DateTime<Utc>, StoreError> {
        if let Some(at) = stint.clock.fresh() {
            return Ok(at);
        }
        let asked = Instant::now();
        stint.clock = Reading::new(self.store.clock().await?, asked);
        Ok(stint.clock.at)
    }
}
