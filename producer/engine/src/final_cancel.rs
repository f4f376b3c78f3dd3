//! A cancel whose answer is final: it returns when the job is over, and does not wait for long.

use super::{Engine, EngineError};
use protocol::ids::{JobId, TenantId};
use protocol::job::JobStatus;
use runtime::telemetry::{CancelEnd, cancel_ended};
use std::time::Duration;
use store::StoreError;
use store::jobs::JobView;
use tokio::time::{Instant, sleep};

/// How long workers have to let go of the job's pages before they are not asked any more.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at the job: at first, and in the end.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

impl Engine {
    /// Cancels a job and returns it as it ended. Whoever holds a page of it has two seconds to let go; then the job is ended
    /// without them (nothing of theirs can be settled any more in any case). A cancel that comes second waits for the
    /// same end, and is refused like any cancel of a job that is over.
    ///
    /// # Errors
    /// [`EngineError::NoJob`], [`EngineError::OthersJob`], [`EngineError::NotCancellable`], [`EngineError::Invalid`] or
    /// [`EngineError::Store`]; after the last the job may or may not be cancelled.
    pub async fn cancel_to_the_end(
        &self,
        tenant: TenantId,
        job: JobId,
        reason: Option<String>,
        requested_by: &str,
    ) -> Result<JobView, EngineError> {
        let closed = self.close(tenant, job, reason, requested_by).await?;
        if closed.in_flight {
            // A broker that is away must not make the answer late.
            let told = self.broadcast_abort(job);
            let ended = self.ended(tenant, job, Instant::now() + PATIENCE);
            futures::future::join(told, ended).await.1?;
        }
        if !closed.newly {
            return Err(EngineError::NotCancellable { job, status: JobStatus::Cancelled });
        }
        self.job(tenant, job).await
    }

    /// Returns once a job that is being cancelled is over, and sees to it at the deadline.
    async fn ended(&self, tenant: TenantId, job: JobId, deadline: Instant) -> Result<(), EngineError> {
        let (mut pause, longest) = LOOKS;
        while Instant::now() < deadline {
            match self.store.jobs().get(job, Some(tenant)).await {
                Ok(Some(view)) if view.status.is_terminal() => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) => return Err(EngineError::NoJob(job)),
                // The fence holds, and there is time.
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = longest.min(pause * 2);
        }
        self.force(job).await?;
        Ok(())
    }

    async fn force(&self, job: JobId) -> Result<(), StoreError> {
        if let Some(took) = self.store.jobs().force_cancel(job).await? {
            cancel_ended(CancelEnd::Forced, took);
            tracing::warn!(%job, "workers did not let go of a cancelled job in time; it is over all the same");
        }
        Ok(())
    }
}
