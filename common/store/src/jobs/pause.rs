//! Holding a job back, and letting it go on. The flag is read by claim, settle and refill: a page in flight is settled,
//! and its slice then waits in Postgres, without a doorbell.

use super::super::{StoreError, events};
use super::lock;
use crate::handles::Jobs;
use protocol::contract::EventKind;
use protocol::ids::{JobId, TenantId};
use protocol::job::JobStatus;
use serde_json::json;

/// The answer to a pause or an unpause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseOutcome {
    /// The job is as it was asked to be.
    Done {
        /// Whose it is: after an unpause the tenant's slices are to be rung.
        tenant: TenantId,
        /// False when it was so before.
        newly: bool,
    },
    /// Only a pending or running job can be held back.
    NotActive {
        /// What it is instead.
        status: JobStatus,
    },
    /// No such job (of this tenant).
    Unknown,
}

impl Jobs<'_> {
    /// Holds a job back: after its commit no page of the job is claimed. Pages in flight are settled, one for each slice
    /// (two, where a settle was under way). A pending job is planned all the same, and begins when it is let go. Idempotent.
    ///
    /// # Errors
    /// When the database cannot be written; the pause may or may not have happened, and may be repeated.
    pub async fn pause(
        self,
        job: JobId,
        tenant: Option<TenantId>,
        requested_by: Option<&str>,
    ) -> Result<PauseOutcome, StoreError> {
        self.set_paused(job, tenant, requested_by, true).await
    }

    /// Lets a job go on. The caller then refills and rings; the next sweep does it otherwise. Idempotent.
    ///
    /// # Errors
    /// As [`Jobs::pause`].
    pub async fn unpause(
        self,
        job: JobId,
        tenant: Option<TenantId>,
        requested_by: Option<&str>,
    ) -> Result<PauseOutcome, StoreError> {
        self.set_paused(job, tenant, requested_by, false).await
    }

    async fn set_paused(
        self,
        job: JobId,
        tenant: Option<TenantId>,
        requested_by: Option<&str>,
        paused: bool,
    ) -> Result<PauseOutcome, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let Some(locked) = lock(&mut transaction, job).await? else { return Ok(PauseOutcome::Unknown) };
        if tenant.is_some_and(|tenant| tenant != locked.tenant) {
            return Ok(PauseOutcome::Unknown);
        }
        if !locked.status.is_active() {
            return Ok(PauseOutcome::NotActive { status: locked.status });
        }
        let newly = sqlx::query!(
            "update jobs set paused = $2, unpaused_at = case when $2 then unpaused_at else now() end
              where id = $1 and paused <> $2",
            job.0,
            paused
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected()
            == 1;
        if newly {
            if paused {
                // Slices that nobody holds give their room back to the tenant's other jobs at once. A doorbell of theirs
                // that is still out finds them queued, and changes nothing.
                sqlx::query!(
                    "update slices set status = 'queued'
                      where job_id = $1 and status = 'ready' and lease_token is null",
                    job.0
                )
                .execute(&mut *transaction)
                .await?;
            }
            let kind = if paused { EventKind::Paused } else { EventKind::Unpaused };
            events::record(&mut transaction, job, kind, json!({ "requested_by": requested_by })).await?;
            self.store.commit_told(transaction).await?;
        }
        Ok(PauseOutcome::Done { tenant: locked.tenant, newly })
    }
}
