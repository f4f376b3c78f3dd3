//! Jobs: starting, planning, ending. Each transition locks the job's row first, and looks at the slices in a later
//! statement of the same transaction: a statement that waits for the lock would see the slices as they were before.

mod cancel;
mod explain;
mod finish;
mod latest;
mod pause;
mod plan;
mod resume;
mod start;
mod status;
mod stragglers;
mod together;

pub(super) use cancel::fence;
pub use cancel::{CancelOutcome, CancelRequest, CancelTarget};
pub use explain::{JobSituation, SkippedPage, SliceSituation};
pub use finish::Finished;
pub use pause::PauseOutcome;
pub use plan::{Known, Plan, Plannable, Shown};
pub use resume::{Current, ResumeOutcome};
pub use start::{StartOutcome, StartRequest};
pub use status::{JobFilter, JobSchema, JobView, SliceCounts};
pub use together::{Commanded, ShownIn};

use super::{StoreError, events};
use crate::handles::Jobs;
use crate::pool::Session;
use crate::slices::Lease;
use protocol::contract::EventKind;
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::{JobError, JobEvent, JobStatus};

/// What gives the right to fail a job. A worker that was taken for dead must not fail it on its way out.
#[derive(Clone, Copy, Debug)]
pub enum FailRight<'a> {
    /// The lease of the page that failed.
    Lease(&'a Lease),
    /// A page that this many workers died on.
    Deaths {
        /// The slice.
        slice: i32,
        /// How many it takes.
        at_least: i32,
    },
    /// The job as a whole: it cannot be planned, or has outgrown a limit.
    Job,
}

impl FailRight<'_> {
    async fn holds(self, transaction: &mut Session, job: JobId) -> Result<bool, StoreError> {
        Ok(match self {
            Self::Job => true,
            Self::Lease(lease) => {
                sqlx::query_scalar!(
                    r#"select exists (select from slices where job_id = $1 and slice = $2 and page = $3
                                         and lease_token = $4 and status = 'ready') as "holds!""#,
                    job.0,
                    lease.slice(),
                    lease.page(),
                    lease.token().0
                )
                .fetch_one(transaction)
                .await?
            }
            Self::Deaths { slice, at_least } => {
                sqlx::query_scalar!(
                    r#"select exists (select from slices where job_id = $1 and slice = $2
                                         and cardinality(charges) >= $3 and status = 'ready') as "holds!""#,
                    job.0,
                    slice,
                    at_least
                )
                .fetch_one(transaction)
                .await?
            }
        })
    }
}

/// A job's row under its lock.
struct Locked {
    status: JobStatus,
    tenant: TenantId,
    connection: ConnectionId,
}

async fn lock(transaction: &mut Session, job: JobId) -> Result<Option<Locked>, StoreError> {
    Ok(sqlx::query_as!(
        Locked,
        r#"select status as "status: JobStatus", tenant_id as "tenant: TenantId",
                  connection_id as "connection: ConnectionId"
             from jobs where id = $1 for no key update"#,
        job.0
    )
    .fetch_optional(transaction)
    .await?)
}

/// Serialises a start and a cancel of the same job that have no row to meet at.
async fn lock_identity(transaction: &mut Session, job: JobId) -> Result<(), StoreError> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock(hashtextextended($1, 0)) as "locked?: ()""#,
        job.to_string()
    )
    .fetch_one(transaction)
    .await?;
    Ok(())
}

impl Jobs<'_> {
    /// Fails a job: every open slice is closed and every lease cleared. True if this call failed it; the caller then
    /// pushes the abort to whoever holds a page.
    ///
    /// # Errors
    /// When the database cannot be written; the page that failed comes back and fails again.
    pub async fn fail(self, job: JobId, error: &JobError, right: FailRight<'_>) -> Result<bool, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let Some(locked) = lock(&mut transaction, job).await? else { return Ok(false) };
        if locked.status.next(JobEvent::Failed).is_none() || !right.holds(&mut transaction, job).await? {
            return Ok(false);
        }
        fail_locked(&mut transaction, job, error).await?;
        self.store.commit_told(transaction).await?;
        Ok(true)
    }
}

/// Closes what is open of a job, and makes it failed. Its row is locked.
async fn fail_locked(transaction: &mut Session, job: JobId, error: &JobError) -> Result<(), StoreError> {
    sqlx::query!(
        "update slices set status = 'failed', not_before = null, lease_token = null, leased_ring = null,
                    worker = null, leased_until = null
              where job_id = $1 and status in ('queued', 'ready', 'waiting')",
        job.0
    )
    .execute(&mut *transaction)
    .await?;
    let error = serde_json::to_value(error).unwrap_or_default();
    sqlx::query!(
        "update jobs set status = 'failed', finished_at = now(), error = $2, paused = false where id = $1",
        job.0,
        error
    )
    .execute(&mut *transaction)
    .await?;
    let mut told = error;
    if let (Some(told), Some(warnings)) = (told.as_object_mut(), finish::warnings(transaction, job).await?) {
        told.insert("warnings".to_owned(), warnings);
    }
    events::record(transaction, job, EventKind::Failed, told).await
}
