//! Pages of cancelled jobs that are given up at the same time are released together, and their jobs ended together.

use protocol::ids::{JobId, LeaseToken};
use runtime::telemetry::{CancelEnd, cancel_ended};
use runtime::warn_unless_outage;
use std::collections::BTreeSet;
use store::batches::{Batches, Kind};
use store::jobs::Commanded;
use store::slices::Lease;
use store::{Store, StoreError};
use uuid::Uuid;

/// Releases the pages of a process.
#[derive(Clone, Debug)]
pub struct Releaser {
    batches: Batches<Releases>,
}

#[derive(Debug)]
struct Releases {
    store: Store,
}

impl Releaser {
    /// Releases with one of the store's sessions.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { batches: Batches::new(Releases { store }) }
    }

    /// Ends a lease without a result, and the cancel of its job if it was the last one. True if it was ours.
    ///
    /// # Errors
    /// When the database cannot be written; the lease then expires by itself.
    pub(super) async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.batches.apply(lease.held()).await
    }
}

impl Kind for Releases {
    type Request = (JobId, i32, LeaseToken);
    type Outcome = bool;
    const WORD: &'static str = "release";

    fn subject((.., token): &Self::Request) -> Uuid {
        token.0
    }

    async fn together(
        &self,
        leases: &[Commanded<'_, Self::Request>],
    ) -> Result<Vec<Option<bool>>, StoreError> {
        let leases: Vec<Self::Request> = leases.iter().map(|lease| *lease.request).collect();
        let released = self.store.slices().release_together(&leases).await?;
        let jobs: BTreeSet<JobId> = leases
            .iter()
            .zip(&released)
            .filter(|(_, released)| **released)
            .map(|((job, ..), _)| *job)
            .collect();
        self.end(&jobs.into_iter().collect::<Vec<_>>()).await;
        Ok(released.into_iter().map(|released| released.then_some(true)).collect())
    }

    async fn alone(&self, lease: &Self::Request) -> Result<bool, StoreError> {
        let released = self.store.slices().release_held(*lease).await?;
        if released {
            self.end(&[lease.0]).await;
        }
        Ok(released)
    }
}

impl Releases {
    /// After the commit of the releases: cancels may have come to their end.
    async fn end(&self, jobs: &[JobId]) {
        match self.store.jobs().end_cancels(jobs).await {
            Ok(ended) => {
                for (job, took) in ended {
                    cancel_ended(CancelEnd::Released, took);
                    tracing::info!(%job, "a job is cancelled");
                }
            }
            Err(error) => warn_unless_outage!(error, jobs = jobs.len(), "the sweeper will end the cancels"),
        }
    }
}
