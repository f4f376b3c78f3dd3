//! Pages of cancelled jobs that are given up at the same time are released together, and their jobs ended together.

use common::batches::{Batcher, stood_in};
use common::ids::{JobId, LeaseToken};
use common::store::slices::Lease;
use common::store::{Store, StoreError};
use common::telemetry::{CancelEnd, cancel_ended};
use common::warn_unless_outage;
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The most that a statement is given.
const MOST: usize = 256;

/// Releases the pages of a process.
#[derive(Clone, Debug)]
pub struct Leaver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    batcher: Batcher<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    lease: (JobId, i32, LeaseToken),
    answer: oneshot::Sender<bool>,
}

impl Leaver {
    /// Releases with one of the store's sessions.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { shared: Arc::new(Shared { store, batcher: Batcher::new(1) }) }
    }

    /// Ends a lease without a result, and the cancel of its job if it was the last one. True if it was ours.
    ///
    /// # Errors
    /// When the database cannot be written; the lease then expires by itself.
    pub(super) async fn leave(&self, lease: &Lease) -> Result<bool, StoreError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { lease: (lease.job(), lease.slice(), lease.token()), answer };
        if self.shared.batcher.join(waiting, |_waiting| false) {
            tokio::spawn(Arc::clone(&self.shared).run());
        }
        if answered.await.unwrap_or(false) {
            return Ok(true);
        }
        let released = self.shared.store.release(lease).await?;
        if released {
            self.shared.end(&[lease.job()]).await;
        }
        Ok(released)
    }
}

impl Shared {
    /// Until nothing waits.
    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while let Some(batch) =
                self.batcher.next(|waiting| waiting.drain(..waiting.len().min(MOST)).collect())
            {
                let stand_in = || drop(tokio::spawn(Arc::clone(&self).run()));
                if stood_in(self.release(batch), stand_in).await {
                    return;
                }
            }
        })
    }

    async fn release(&self, batch: Vec<Waiting>) {
        let leases: Vec<_> = batch.iter().map(|it| it.lease).collect();
        let released = match self.store.release_together(&leases).await {
            Ok(released) => released,
            Err(error) => {
                tracing::info!(%error, leases = leases.len(), "leases that were to be released together are released alone");
                vec![false; leases.len()]
            }
        };
        let jobs: BTreeSet<JobId> = leases
            .iter()
            .zip(&released)
            .filter(|(_, released)| **released)
            .map(|((job, ..), _)| *job)
            .collect();
        self.end(&jobs.into_iter().collect::<Vec<_>>()).await;
        for (Waiting { answer, .. }, released) in batch.into_iter().zip(released) {
            if answer.send(released).is_err() {
                tracing::debug!("whoever gave a page up is not there any more");
            }
        }
    }

    /// After the commit of the releases: cancels may have come to their end.
    async fn end(&self, jobs: &[JobId]) {
        if jobs.is_empty() {
            return;
        }
        match self.store.end_cancels(jobs).await {
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
