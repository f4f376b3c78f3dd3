//! The life of a page: claim → fetch → settle, again and again while the stint lasts, then ring and done.
//!
//! This module knows no broker. It is given the ids of a doorbell and says what happened ([`Outcome`]); who delivered
//! the doorbell, and what becomes of the delivery, is the intake's business.

mod admission;
mod asking;
mod circling;
mod claimer;
mod claiming;
mod clock;
mod closing;
mod conversion;
mod cursors;
mod documents;
mod ending;
mod fetching;
mod poison;
mod releaser;
mod settle;
mod settler;
mod settling;
mod step;
mod stint;

use crate::disposition::Outcome;
use crate::in_flight::InFlight;
use crate::open_sources::OpenSources;
use crate::outbox::Outbox;
use crate::slots::Slots;
pub use claimer::Claimer;
use configuration::{LeasesConfig, PagesConfig};
use containment::{Panicked, contained};
use metrics::counter;
use protocol::ids::{LeaseToken, WorkerId};
use protocol::slice::Ring;
pub use releaser::Releaser;
use runtime::fitness::Fitness;
use runtime::warn_unless_outage;
pub use settler::Settler;
use sources::Fetcher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

/// Between tries of a statement that fails in passing.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// How long a page waits whose handler panicked.
const PANIC_WAIT: Duration = Duration::from_secs(1);
/// Works on pages.
#[derive(Debug)]
pub struct PageHandler {
    /// Who works.
    pub(crate) worker: WorkerId,
    /// The store.
    pub(crate) store: Store,
    /// Claims.
    pub(crate) claimer: Claimer,
    /// Settles.
    pub(crate) settler: Settler,
    /// Releases.
    pub(crate) releaser: Releaser,
    /// Rings, and pushes aborts.
    pub(crate) outbox: Outbox,
    /// The process's HTTP client.
    pub(crate) fetcher: Arc<Fetcher>,
    /// Opened sources.
    pub(crate) sources: OpenSources,
    /// Whether the database can be worked with.
    pub(crate) fitness: Fitness,
    /// The pages in progress.
    pub(crate) in_flight: InFlight,
    /// Bound the pages in flight.
    pub(crate) slots: Arc<Slots>,
    /// Slots, quantum, budget, retries.
    pub(crate) pages: PagesConfig,
    /// How long a lease lasts.
    pub(crate) leases: LeasesConfig,
}

impl PageHandler {
    /// Answers one doorbell. `ending` ends the stint after the page in flight, not the page.
    pub async fn handle(&self, ring: Ring, redelivered: bool, ending: &CancellationToken) -> Outcome {
        let token = Mutex::new(None);
        let visited = match contained(self.visit(ring, redelivered, ending, &token)).await {
            Ok(visited) => visited,
            Err(panicked) => {
                let token = *token.lock().unwrap_or_else(PoisonError::into_inner);
                self.charge(ring, token, panicked).await
            }
        };
        let outcome = match visited {
            Ok(outcome) => outcome,
            Err(error) => {
                self.fitness.met(&error);
                warn_unless_outage!(error, job = %ring.job, slice = ring.slice, "the page is held until the database answers");
                Outcome::Unavailable
            }
        };
        counter!("page_deliveries_total", "outcome" => outcome.word()).increment(1);
        outcome
    }

    /// What becomes of a page whose handler panicked while it had this token.
    async fn charge(
        &self,
        ring: Ring,
        token: Option<LeaseToken>,
        panicked: Panicked,
    ) -> Result<Outcome, StoreError> {
        if let Some(place) = self.in_flight.take_suspect_place() {
            self.leave_suspect_place(&mut Some(place)).await?;
        }
        let Some(token) = token else { return Ok(Outcome::Panicked) };
        let held = (ring.job, ring.slice, token);
        let error = panicked.to_string();
        if self.store.slices().charge_panic(held, PANIC_WAIT, &error).await? == Some(false) {
            self.end_cancel(ring.job).await;
        }
        Ok(Outcome::Panicked)
    }
}
