//! Finishing: what follows when every slice of a job is done. Its walks are judged, unless their counters decide; a full sync
//! then deletes what it proved gone. Then the job is completed, and what it makes known is written down.

use super::super::{StoreError, events};
use super::{fail_locked, lock};
use crate::handles::Jobs;
use crate::pool::Session;
use protocol::contract::EventKind;
use protocol::ids::{JobId, TenantId};
use protocol::job::JobError;
use protocol::job::{JobEvent, JobMode};
use protocol::slice::SliceKind;
use serde_json::{Value, json};

/// What came of finishing a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Nothing: slices are left, or it is over already.
    Not,
    /// This call completed it.
    Completed,
    /// This call failed it: not one of its records could be stored.
    Failed,
    /// This call made the slice that follows. The slices of the tenant are to be refilled, or the sweeper does it.
    Goes(SliceKind, TenantId),
}

/// So many records that all fail are no accident.
const ALL_FAILED: i64 = 10;

/// Of how many passes it is kept what they read.
const PASSES_KEPT: i32 = 5;

/// A job whose slices are all done.
struct Walked {
    mode: JobMode,
    /// Which slices that follow a walk are there.
    checked: bool,
    confirmed: bool,
    deleted: bool,
    /// Why nothing may be deleted.
    gap: Option<String>,
    check_due: bool,
    confirm_due: bool,
    processed: i64,
    failed: i64,
    first_failure: Option<String>,
}

impl Walked {
    /// The slice that follows; `None` is the end.
    fn following(&self) -> Option<SliceKind> {
        let deletes = self.mode == JobMode::Full && self.gap.is_none();
        if self.check_due && !self.checked {
            Some(SliceKind::Check)
        } else if deletes && self.confirm_due && !self.confirmed {
            Some(SliceKind::Confirm)
        } else if deletes && !self.deleted {
            Some(SliceKind::Deletion)
        } else {
            None
        }
    }

    /// Why the job fails, though its slices are done.
    fn failure(&self) -> Option<String> {
        let all_failed = self.failed == self.processed && self.processed >= ALL_FAILED;
        all_failed.then(|| {
            let first = self.first_failure.as_deref().unwrap_or("see the job's results");
            format!(
                "all {} records failed, so nothing was stored; the first: {first}. Repair the connection's settings \
                 (`backhaul admin connection test` shows what they find), and start anew",
                self.processed
            )
        })
    }
}

impl Jobs<'_> {
    /// Goes on with a job whose slices are all done: makes the slice that follows, or completes it. Runs after the commit of
    /// the last settle, since two last settles in one moment do not see each other. Idempotent.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper finishes the job later.
    pub async fn finish(self, job: JobId) -> Result<Finished, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let Some(locked) = lock(&mut transaction, job).await? else { return Ok(Finished::Not) };
        let Some(walked) = walked(&mut transaction, job).await? else { return Ok(Finished::Not) };
        let following = walked.following();
        if locked.status.next(JobEvent::AllDone { slice_due: following.is_some() }).is_none() {
            return Ok(Finished::Not);
        }
        let finished = match (walked.failure(), following) {
            (Some(cause), _) => {
                let error = JobError { cause, slice: None, page: None, body: None, anew: true };
                fail_locked(&mut transaction, job, &error).await?;
                Finished::Failed
            }
            (None, Some(kind)) => {
                begin(&mut transaction, job, kind).await?;
                Finished::Goes(kind, locked.tenant)
            }
            (None, None) => {
                let gap = walked.gap.filter(|_| walked.mode == JobMode::Full);
                complete(&mut transaction, job, gap.as_deref()).await?;
                Finished::Completed
            }
        };
        self.store.commit_told(transaction).await?;
        if finished == Finished::Completed {
            self.trust_account(job).await?;
        }
        Ok(finished)
    }

    /// Ends the doubt about a connection's account, if a job that began after its change has met records that were known. In a
    /// statement of its own, since whoever starts a job locks the connection first.
    async fn trust_account(self, job: JobId) -> Result<(), StoreError> {
        sqlx::query!(
            "update connections c set account_doubted_at = null
               from jobs j
              where j.id = $1 and c.id = j.connection_id and c.account_doubted_at <= j.started_at
                and exists (select from slices s where s.job_id = j.id and s.kind = 'walk' and s.updated + s.unchanged > 0)",
            job.0
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }
}

/// `None` while a slice is not done.
async fn walked(transaction: &mut Session, job: JobId) -> Result<Option<Walked>, StoreError> {
    Ok(sqlx::query_file_as!(Walked, "src/sql/walked.sql", job.0).fetch_optional(transaction).await?)
}

async fn complete(transaction: &mut Session, job: JobId, gap: Option<&str>) -> Result<(), StoreError> {
    sqlx::query!(
        "update jobs set status = 'completed', finished_at = now(), paused = false, deletion_left_out = $2
          where id = $1",
        job.0,
        gap
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!("update passes set ended_at = now() where job_id = $1", job.0)
        .execute(&mut *transaction)
        .await?;
    sqlx::query_file!("src/sql/other_account.sql", job.0).execute(&mut *transaction).await?;
    sqlx::query_file!("src/sql/know.sql", job.0).execute(&mut *transaction).await?;
    sqlx::query_file!("src/sql/idle.sql", job.0).execute(&mut *transaction).await?;
    close_stragglers(transaction, job).await?;
    sqlx::query_file!("src/sql/open_stragglers.sql", job.0).execute(&mut *transaction).await?;
    let warnings = warnings(transaction, job).await?;
    let told = json!({ "deletion_left_out": gap, "warnings": warnings });
    events::record(transaction, job, EventKind::Completed, told).await
}

/// What a job warns of, as its last event tells it; null if nothing.
pub(super) async fn warnings(transaction: &mut Session, job: JobId) -> Result<Option<Value>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select json_agg(w) as warnings
             from (select kind, sum(count)::bigint as count, (array_agg(text order by slice))[1] as text
                     from warnings
                    where job_id = $1 and kind not in ('moving_list', 'dropped_by_margin', 'deferred', 'encoded_cursor')
                    group by kind order by kind) w"#,
        job.0
    )
    .fetch_one(transaction)
    .await?)
}

/// What was fetched by its id and is stored is no straggler any more.
async fn close_stragglers(transaction: &mut Session, job: JobId) -> Result<(), StoreError> {
    sqlx::query!(
        "update stragglers t set closed_at = now(), closed_by = 'stored'
           from jobs j
           join page_log p on p.job_id = j.id
           join slices s on s.job_id = p.job_id and s.slice = p.slice
          cross join lateral unnest(p.keys, string_to_array(p.outcomes, null)) as k (key, outcome)
          where j.id = $1 and s.kind in ('documents', 'stragglers') and k.outcome in ('+', '~', '=')
            and t.connection_id = j.connection_id and t.stream = j.stream and t.external_id = k.key
            and t.closed_at is null and (t.cause <> 'overtaken' or t.first_seen_at < p.settled_at)",
        job.0
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// The slice comes after all others. It processes no records, so its total is known.
async fn begin(transaction: &mut Session, job: JobId, kind: SliceKind) -> Result<(), StoreError> {
    if kind == SliceKind::Check {
        sqlx::query!("insert into checks (job_id) values ($1)", job.0).execute(&mut *transaction).await?;
        sqlx::query!(
            "insert into passes (connection_id, stream, pass, job_id, scope, began_at)
             select j.connection_id, j.stream,
                    coalesce((select max(pass) from passes p
                               where p.connection_id = j.connection_id and p.stream = j.stream), 0) + 1,
                    j.id, j.scope, j.started_at
               from jobs j where j.id = $1 and j.mode = 'full' and j.scope is not null",
            job.0
        )
        .execute(&mut *transaction)
        .await?;
        keep_walks(&mut *transaction, job).await?;
    }
    sqlx::query!(
        "insert into slices (job_id, slice, tenant_id, connection_id, span_from, span_to, kind, total)
         select id, (select coalesce(max(slice) + 1, 0) from slices where job_id = $1), tenant_id, connection_id, date_from,
                date_to, $2, 0
           from jobs where id = $1",
        job.0,
        kind as SliceKind
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Keeps what the walks of a full sync read, where a list may move while it is read; only of the last passes, since a job
/// that looks for the same pages finds them there.
async fn keep_walks(transaction: &mut Session, job: JobId) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into pass_walks (connection_id, stream, pass, span_from, pages_hash)
         select p.connection_id, p.stream, p.pass, s.span_from, (s.walk ->> 'pages_hash')::bigint
           from passes p join slices s on s.job_id = p.job_id
          where p.job_id = $1 and s.kind = 'walk' and s.walk ? 'pages_hash'
            and exists (select from warnings w
                         where w.job_id = s.job_id and w.slice = s.slice and w.kind = 'moving_list')",
        job.0
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "delete from pass_walks w using passes p
          where p.job_id = $1 and w.connection_id = p.connection_id and w.stream = p.stream and w.pass < p.pass - $2",
        job.0,
        PASSES_KEPT
    )
    .execute(transaction)
    .await?;
    Ok(())
}
