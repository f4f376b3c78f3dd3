//! Renewal: one statement for all leases of the process. What it does not get back is aborted.

use crate::in_flight::InFlight;
use configuration::LeasesConfig;
use metrics::counter;
use protocol::ids::WorkerId;
use runtime::warn_unless_outage;
use store::Store;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Renews the leases of pages in flight.
#[derive(Debug)]
pub struct Renewal {
    store: Store,
    worker: WorkerId,
    in_flight: InFlight,
    leases: LeasesConfig,
}

impl Renewal {
    /// A renewal of `worker`'s pages.
    #[must_use]
    pub const fn new(store: Store, worker: WorkerId, in_flight: InFlight, leases: LeasesConfig) -> Self {
        Self { store, worker, in_flight, leases }
    }

    /// Renews until `ended`, at the configured interval.
    pub async fn run(&self, ended: CancellationToken, beat: runtime::health::Beat) {
        let mut ticks = tokio::time::interval(self.leases.renew_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.run_once().await;
            beat.touch();
        }
    }

    /// One round.
    pub async fn run_once(&self) {
        let held = self.in_flight.held();
        match self.store.slices().renew(self.worker, &held, self.leases.duration).await {
            Ok(lost) => {
                for token in lost {
                    counter!("leases_lost_total").increment(1);
                    self.in_flight.abort_lost(token);
                }
            }
            Err(error) => {
                counter!("lease_renewal_failures_total").increment(1);
                warn_unless_outage!(error, pages = held.len(), "leases are not renewed");
            }
        }
    }
}
