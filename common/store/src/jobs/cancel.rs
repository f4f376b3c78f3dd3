//! Cancelling. The fence is the cancel check: once the slices are closed no settle of the job can pass.

use super::super::commands::{self, CommandIdentity, CommandKind, Known};
use super::super::{StoreError, events};
use super::{lock, lock_identity};
use crate::handles::Jobs;
use crate::pool::Session;
use protocol::contract::EventKind;
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::{JobEvent, JobStatus};
use protocol::trace;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// Which job a cancel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelTarget {
    /// This job.
    Job(JobId),
    /// The one active job of this connection; jobs over documents are not meant.
    Connection(ConnectionId),
}

/// What is asked for by a cancel.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    /// Which job.
    pub target: CancelTarget,
    /// If given, the job must belong to this tenant.
    pub tenant: Option<TenantId>,
    /// Why; stored and shown.
    pub reason: Option<String>,
    /// Who asked.
    pub requested_by: Option<String>,
    /// The identity of the command: a repeat gets the first answer.
    pub command: Option<CommandIdentity>,
    /// Whether a cancel of an unknown job is kept, to meet a start that comes later.
    pub keep_if_unknown: bool,
}

/// The answer to a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum CancelOutcome {
    /// Nothing more of the job is settled; pages in flight are being given up.
    Cancelling {
        /// The job.
        job: JobId,
        /// False when an earlier cancel had done it.
        newly: bool,
    },
    /// Nothing was in flight: the job is cancelled.
    Cancelled {
        /// The job.
        job: JobId,
    },
    /// The job had ended before.
    Over {
        /// The job.
        job: JobId,
        /// How it had ended.
        status: JobStatus,
    },
    /// No such job (of this tenant).
    Unknown,
    /// No such job yet: should it be started within a day, it is cancelled at once.
    Kept {
        /// The job.
        job: JobId,
    },
    /// The connection has no active job.
    NoEffect,
    /// Refused: the command's identifier stood for another request.
    KeyReused,
    /// Refused: there is no such connection.
    NoConnection,
}

impl Jobs<'_> {
    /// Cancels a job. From its commit on nothing of the job is settled.
    ///
    /// # Errors
    /// When the database cannot be written; the cancel may or may not have happened, and may be repeated.
    pub async fn cancel(self, request: &CancelRequest) -> Result<CancelOutcome, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let command = request.command.as_ref();
        let row = match commands::first_answer(&mut transaction, CommandKind::Cancel, command).await? {
            Known::Answered(answer) => return Ok(answer),
            Known::OtherRequest => return Ok(CancelOutcome::KeyReused),
            Known::New(row) => row,
        };
        let outcome = match request.target {
            CancelTarget::Job(job) => fence_or_keep(&mut transaction, job, request).await?,
            CancelTarget::Connection(connection) => {
                let active = sqlx::query!(
                    r#"select id as "id: JobId" from jobs
                        where connection_id = $1 and status in ('pending', 'running') and documents is null"#,
                    connection.0
                )
                .fetch_optional(&mut *transaction)
                .await?;
                match active {
                    Some(active) => {
                        fence(&mut transaction, active.id, request).await?.unwrap_or(CancelOutcome::NoEffect)
                    }
                    None if exists(&mut transaction, connection).await? => CancelOutcome::NoEffect,
                    None => CancelOutcome::NoConnection,
                }
            }
        };
        // It may yet be made, and the command sent again as it is, from the dead letters.
        if let Some(row) = row.filter(|_| outcome != CancelOutcome::NoConnection) {
            row.remember(&mut transaction, &outcome).await?;
        }
        self.store.commit_told(transaction).await?;
        Ok(outcome)
    }

    /// Ends a cancel once no lease of the job is left. Runs after the commit of a release or an expiry, since two last
    /// releases in one moment do not see each other. Idempotent; if this call ended it, how long after the request.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper ends the cancel later.
    pub async fn end_cancel(self, job: JobId) -> Result<Option<Duration>, StoreError> {
        Ok(self.end_cancels(&[job]).await?.remove(&job))
    }

    /// The same for several jobs: those that ended, and how long after their requests.
    ///
    /// # Errors
    /// As [`Jobs::end_cancel`].
    pub async fn end_cancels(self, jobs: &[JobId]) -> Result<HashMap<JobId, Duration>, StoreError> {
        self.end_cancelling(jobs, false).await
    }

    /// Ends a cancel whatever leases are left: nobody answered in time. The fence has held since the request.
    ///
    /// # Errors
    /// As [`Jobs::end_cancel`].
    pub async fn force_cancel(self, job: JobId) -> Result<Option<Duration>, StoreError> {
        Ok(self.end_cancelling(&[job], true).await?.remove(&job))
    }

    async fn end_cancelling(
        self,
        jobs: &[JobId],
        forced: bool,
    ) -> Result<HashMap<JobId, Duration>, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        // In one order, so that two of these never wait for each other.
        let locked = sqlx::query_scalar!(
            "select id from jobs where id = any ($1) and status = 'cancelling' order by id for no key update",
            &jobs.iter().map(|job| job.0).collect::<Vec<_>>()
        )
        .fetch_all(&mut *transaction)
        .await?;
        if locked.is_empty() {
            return Ok(HashMap::new());
        }
        if forced {
            sqlx::query!(
                "update slices set lease_token = null, leased_ring = null, worker = null, leased_until = null
                  where job_id = any ($1) and lease_token is not null",
                &locked
            )
            .execute(&mut *transaction)
            .await?;
        }
        let ended = sqlx::query!(
            r#"update jobs j set status = 'cancelled', finished_at = now()
                where id = any ($1)
                  and not exists (select from slices s where s.job_id = j.id and s.lease_token is not null)
               returning id as "job: JobId", cancel_reason, cancel_requested_by,
                         extract(epoch from finished_at - cancel_requested_at)::float8 as "took!""#,
            &locked
        )
        .fetch_all(&mut *transaction)
        .await?;
        let told: Vec<_> = ended
            .iter()
            .map(|it| {
                let (reason, by) = (&it.cancel_reason, &it.cancel_requested_by);
                let data = json!({ "reason": reason, "requested_by": by, "forced": forced });
                (it.job, EventKind::Cancelled, data)
            })
            .collect();
        events::record_each(&mut transaction, told).await?;
        self.store.commit_told(transaction).await?;
        // Negative if Postgres's clock was set back in between.
        let took = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Ok(ended.into_iter().map(|it| (it.job, took(it.took))).collect())
    }
}

/// Whether there is such a connection, or was until a moment ago: one that was deleted has no job, which is what a cancel
/// is for.
async fn exists(transaction: &mut Session, connection: ConnectionId) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from connections where id = $1) as "exists!""#,
        connection.0
    )
    .fetch_one(transaction)
    .await?)
}

async fn fence_or_keep(
    transaction: &mut Session,
    job: JobId,
    request: &CancelRequest,
) -> Result<CancelOutcome, StoreError> {
    if let Some(outcome) = fence(transaction, job, request).await? {
        return Ok(outcome);
    }
    if !request.keep_if_unknown {
        return Ok(CancelOutcome::Unknown);
    }
    // A start of this very job may be about to commit: wait for it, then look again.
    lock_identity(transaction, job).await?;
    if let Some(outcome) = fence(transaction, job, request).await? {
        return Ok(outcome);
    }
    sqlx::query!(
        "insert into tombstones (job_id, reason, requested_by) values ($1, $2, $3) on conflict (job_id) do nothing",
        job.0,
        request.reason,
        request.requested_by
    )
    .execute(transaction)
    .await?;
    Ok(CancelOutcome::Kept { job })
}

/// Closes a job. `None` if there is no such job; another tenant's is `Unknown`.
pub(crate) async fn fence(
    transaction: &mut Session,
    job: JobId,
    request: &CancelRequest,
) -> Result<Option<CancelOutcome>, StoreError> {
    let Some(locked) = lock(transaction, job).await? else { return Ok(None) };
    if request.tenant.is_some_and(|tenant| tenant != locked.tenant) {
        return Ok(Some(CancelOutcome::Unknown));
    }
    if locked.status == JobStatus::Cancelling {
        return Ok(Some(CancelOutcome::Cancelling { job, newly: false }));
    }
    // A settle that is under way is waited for here; the next statement sees what it wrote.
    sqlx::query!(
        "update slices set status = 'cancelled', not_before = null
          where job_id = $1 and status in ('queued', 'ready', 'waiting') and $2",
        job.0,
        !locked.status.is_terminal()
    )
    .execute(&mut *transaction)
    .await?;
    let held = sqlx::query!(
        r#"select coalesce(sum(page), 0)::bigint as "pages!", count(lease_token) as "leases!"
             from slices where job_id = $1"#,
        job.0
    )
    .fetch_one(&mut *transaction)
    .await?;
    let Some(status) = locked.status.next(JobEvent::CancelRequested { leased: held.leases > 0 }) else {
        return Ok(Some(CancelOutcome::Over { job, status: locked.status }));
    };
    sqlx::query!(
        "update jobs set status = $2, cancel_requested_at = now(), cancel_reason = $3, cancel_requested_by = $4,
                traceparent = coalesce($6, traceparent), pages_at_fence = $5, paused = false, finished_at = case when $2 = 'cancelled'::job_status then now() end
          where id = $1",
        job.0,
        status as JobStatus,
        request.reason,
        request.requested_by,
        held.pages,
        trace::current()
    )
    .execute(&mut *transaction)
    .await?;
    let told = asked_for(request);
    events::record(transaction, job, EventKind::Cancelling, told.clone()).await?;
    if status == JobStatus::Cancelled {
        events::record(transaction, job, EventKind::Cancelled, told).await?;
        return Ok(Some(CancelOutcome::Cancelled { job }));
    }
    Ok(Some(CancelOutcome::Cancelling { job, newly: true }))
}

/// What is told of a cancel.
pub(super) fn asked_for(request: &CancelRequest) -> Value {
    json!({ "reason": request.reason, "requested_by": request.requested_by })
}
