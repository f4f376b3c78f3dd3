//! The sweeper's duties, one by one.

use super::{Duty, Sweeper};
use crate::warnings;
use broker::PublishError;
use metrics::counter;
use protocol::ids::JobId;
use protocol::job::JobError;
use relay::RelayError;
use runtime::telemetry::{CancelEnd, cancel_ended};
use std::time::Duration;
use store::StoreError;
use store::jobs::{FailRight, Finished};
use store::removal::Removed;
use store::slices::RAMP_STEP;
use store::sweep::Expired;
use tokio::time::Instant;

/// How long a sweep goes on removing the rows of deleted connections, batch by batch.
const REMOVE_FOR: Duration = Duration::from_millis(200);

/// Why a duty failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DutyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// Begun all the same, the duty would wait for its publishes, job by job, until this process seems stuck.
    #[error("there is no connection to the broker, or the broker blocks it; it is done when that is over")]
    NoBroker,
}

impl Sweeper {
    pub(super) async fn perform(&self, duty: Duty) -> Result<(), DutyError> {
        if Duty::OF_THE_BROKER.contains(&duty) {
            self.can_publish()?;
        }
        match duty {
            Duty::Cancels => self.cancels().await,
            Duty::Leases => self.leases().await,
            Duty::Finish => self.finish().await,
            Duty::Refill => self.refill().await,
            Duty::Doorbells => self.doorbells().await,
            Duty::Markers => self.markers().await,
            Duty::Starts => self.starts().await,
            Duty::Events => self.events().await,
            Duty::Limits => self.limits().await,
            Duty::Removal => self.removal().await,
            Duty::Prune => Ok(self.store.sweeps().prune(self.batch()).await.map(drop)?),
        }
    }

    fn can_publish(&self) -> Result<(), DutyError> {
        if self.outbox.is_open() { Ok(()) } else { Err(DutyError::NoBroker) }
    }

    fn batch(&self) -> i64 {
        i64::from(self.config.batch)
    }

    /// Cancels end, by the deadline at the latest, with no worker's help.
    async fn cancels(&self) -> Result<(), DutyError> {
        for due in self.store.sweeps().cancels_due(self.cancel.deadline, self.batch()).await? {
            if !due.overdue {
                self.end_cancel(due.job).await?;
            } else if let Some(took) = self.store.jobs().force_cancel(due.job).await? {
                cancel_ended(CancelEnd::Forced, took);
                counter!("cancels_forced_total").increment(1);
                tracing::warn!(job = %due.job, "nobody answered a cancel in time; the job is cancelled all the same");
            }
        }
        Ok(())
    }

    async fn end_cancel(&self, job: JobId) -> Result<(), StoreError> {
        if let Some(took) = self.store.jobs().end_cancel(job).await? {
            cancel_ended(CancelEnd::Released, took);
        }
        Ok(())
    }

    /// Leases that nobody renews end.
    async fn leases(&self) -> Result<(), DutyError> {
        let mut rings = Vec::new();
        for expired in self.store.sweeps().expire_leases(self.batch()).await? {
            counter!("leases_expired_total").increment(1);
            match expired {
                Expired::Ring(ring) => {
                    tracing::info!(job = %ring.job, slice = ring.slice, page = ring.page, "a lease expired; the page is rung again");
                    rings.push(ring);
                }
                Expired::Closed(job) => self.end_cancel(job).await?,
            }
        }
        // Not waited for: a broker that is away must not keep the next leases from ending.
        if !rings.is_empty() {
            let outbox = self.outbox.clone();
            tokio::spawn(async move { outbox.ring_all(rings).await });
        }
        Ok(())
    }

    /// Jobs whose finish was lost.
    async fn finish(&self) -> Result<(), DutyError> {
        for job in self.store.sweeps().unfinished(self.batch()).await? {
            match self.store.jobs().finish(job).await? {
                Finished::Completed => {
                    tracing::info!(%job, "a job is completed");
                    warnings::count(&self.store, job).await;
                }
                Finished::Failed => {
                    tracing::warn!(%job, "a job failed: not one of its records could be stored");
                    warnings::count(&self.store, job).await;
                }
                // Its slice is rung by the duty that refills.
                Finished::Goes(..) | Finished::Not => {}
            }
        }
        Ok(())
    }

    /// Slices whose turn has come, whose back-off is over, or whose connection's pause has ended.
    async fn refill(&self) -> Result<(), DutyError> {
        for tenant in self.store.sweeps().tenants_wanting().await? {
            self.can_publish()?;
            let rings = self.store.slices().refill(tenant, RAMP_STEP).await?;
            self.outbox.ring_all(rings).await;
        }
        Ok(())
    }

    /// Doorbells that the markers have overtaken are lost.
    async fn doorbells(&self) -> Result<(), DutyError> {
        let rings = self.store.sweeps().rering_lost(self.batch()).await?;
        if !rings.is_empty() {
            counter!("doorbells_lost_total").increment(u64::try_from(rings.len()).unwrap_or_default());
            tracing::warn!(doorbells = rings.len(), "doorbells were lost, and are rung again");
            self.outbox.ring_all(rings).await;
        }
        Ok(())
    }

    /// Sends the next marker, if it is this process that may.
    async fn markers(&self) -> Result<(), DutyError> {
        if let Some(number) = self.store.sweeps().admit_marker(self.config.marker_every).await? {
            self.outbox.marker(number).await?;
        }
        Ok(())
    }

    /// Pending jobs whose start command did not arrive: planned here, since planning needs nothing that a message has.
    async fn starts(&self) -> Result<(), DutyError> {
        for job in self.store.sweeps().unplanned(self.config.start_grace, self.batch()).await? {
            self.can_publish()?;
            self.planner.plan(job).await?;
        }
        Ok(())
    }

    /// What happened to jobs is published from the rows that say so.
    async fn events(&self) -> Result<(), DutyError> {
        Ok(self.relay.sweep().await?)
    }

    /// Jobs that have outgrown a limit fail.
    async fn limits(&self) -> Result<(), DutyError> {
        for (job, over) in self.store.sweeps().overgrown(&self.jobs, self.batch()).await? {
            let cause = format!(
                "{over}; if its upstream's list is as long as that, raise the limit and resume the job"
            );
            if self.store.jobs().fail(job, &JobError::of_job(cause), FailRight::Job).await? {
                tracing::warn!(%job, over, "a job has outgrown a limit, and failed");
            }
        }
        Ok(())
    }

    /// What deleted connections have left behind, and the working tables of deletions that are over.
    async fn removal(&self) -> Result<(), DutyError> {
        let begun = Instant::now();
        while let Removed::Rows(rows) = self.store.connections().remove_deleted(self.batch()).await? {
            counter!("rows_removed_total").increment(rows);
            if begun.elapsed() >= REMOVE_FOR {
                return Ok(());
            }
        }
        while let Removed::Rows(rows) = self.store.connections().remove_working_rows(self.batch()).await? {
            counter!("rows_removed_total").increment(rows);
            if begun.elapsed() >= REMOVE_FOR {
                break;
            }
        }
        Ok(())
    }
}
