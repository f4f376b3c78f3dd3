//! Finishing: what follows when every slice of a job is done. For most jobs that is their end; a full sync deletes first
//! what it has not seen.

use super::super::{Store, StoreError, events};
use super::lock;
use crate::contract::EventKind;
use crate::ids::{JobId, TenantId};
use crate::job::{JobEvent, JobMode, JobStatus};
use serde_json::json;
use sqlx::PgConnection;

/// What came of finishing a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Nothing: slices are left, or it is over already.
    Not,
    /// This call completed it.
    Completed,
    /// This call made its deletion slice. The slices of its tenant are to be refilled, or the sweeper does it.
    Deleting(TenantId),
}

/// A job whose slices are all done.
struct Walked {
    mode: JobMode,
    /// Whether its deletion slice is among them.
    deleted: bool,
    /// Why nothing may be deleted.
    gap: Option<String>,
}

impl Store {
    /// Completes a job whose slices are all done, or begins the deletion of a full sync that has walked them all. Runs after
    /// the commit of the last settle, since two last settles in one moment do not see each other. Idempotent.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper finishes the job later.
    pub async fn finish(&self, job: JobId) -> Result<Finished, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(locked) = lock(&mut transaction, job).await? else { return Ok(Finished::Not) };
        let Some(walked) = walked(&mut transaction, job).await? else { return Ok(Finished::Not) };
        let deletion_due = match walked.mode {
            JobMode::Range | JobMode::Incremental => false,
            JobMode::Full => !walked.deleted && walked.gap.is_none(),
        };
        let finished = match locked.status.next(JobEvent::AllDone { deletion_due }) {
            None => return Ok(Finished::Not),
            Some(JobStatus::Completed) => {
                let gap = walked.gap.filter(|_| walked.mode == JobMode::Full);
                complete(&mut transaction, job, gap.as_deref()).await?;
                Finished::Completed
            }
            Some(
                JobStatus::Pending
                | JobStatus::Running
                | JobStatus::Cancelling
                | JobStatus::Failed
                | JobStatus::Cancelled,
            ) => {
                begin_deletion(&mut transaction, job).await?;
                Finished::Deleting(locked.tenant)
            }
        };
        self.commit_told(transaction).await?;
        Ok(finished)
    }
}

/// `None` while a slice is not done.
async fn walked(transaction: &mut PgConnection, job: JobId) -> Result<Option<Walked>, StoreError> {
    Ok(sqlx::query_as!(
        Walked,
        r#"select mode as "mode: JobMode", walk_gap(id) as gap,
                  exists (select from slices where job_id = $1 and deletion) as "deleted!"
             from jobs
            where id = $1 and not exists (select from slices where job_id = $1 and status <> 'done')"#,
        job.0
    )
    .fetch_optional(transaction)
    .await?)
}

async fn complete(transaction: &mut PgConnection, job: JobId, gap: Option<&str>) -> Result<(), StoreError> {
    sqlx::query!(
        "update jobs set status = 'completed', finished_at = now(), paused = false, covered_to = coverage(jobs),
                deletion_left_out = $2
          where id = $1",
        job.0,
        gap
    )
    .execute(&mut *transaction)
    .await?;
    let told = gap.map_or_else(|| json!({}), |gap| json!({ "deletion_left_out": gap }));
    events::record(transaction, job, EventKind::Completed, told).await
}

/// The slice comes after all others. It processes no records, so its total is known.
async fn begin_deletion(transaction: &mut PgConnection, job: JobId) -> Result<(), StoreError> {
    sqlx::query!("insert into deletions (job_id) values ($1)", job.0).execute(&mut *transaction).await?;
    sqlx::query!(
        "insert into slices (job_id, slice, tenant_id, connection_id, span_from, span_to, deletion, total)
         select id, (select coalesce(max(slice) + 1, 0) from slices where job_id = $1), tenant_id, connection_id, date_from,
                date_to, true, 0
           from jobs where id = $1",
        job.0
    )
    .execute(transaction)
    .await?;
    Ok(())
}
