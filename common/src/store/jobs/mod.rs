//! Jobs: starting, planning, ending. Each transition locks the job's row first, and looks at the slices in a later
//! statement of the same transaction: a statement that waits for the lock would see the slices as they were before.

mod cancel;
mod status;

pub use cancel::{CancelOutcome, CancelRequest, CancelTarget};
pub use status::{JobFilter, JobView, SliceCounts};

use super::commands::{self, CommandIdentity};
use super::{Store, StoreError, events};
use crate::ids::{ConnectionId, JobId, TenantId};
use crate::job::{JobEvent, JobMode, JobStatus};
use crate::slice::{Slicing, Span};
use crate::store::slices::Lease;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// What is asked for by a start.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The job's identifier, chosen by the sender or made by the first receiver.
    pub job: JobId,
    /// The connection to sync.
    pub connection: ConnectionId,
    /// If given, the connection must belong to this tenant.
    pub tenant: Option<TenantId>,
    /// No lower bound if absent.
    pub date_from: Option<DateTime<Utc>>,
    /// The time of the start if absent.
    pub date_to: Option<DateTime<Utc>>,
    /// What to pull.
    pub mode: JobMode,
    /// A name for people.
    pub name: Option<String>,
    /// Who asked.
    pub requested_by: Option<String>,
    /// The identity of the command: a repeat gets the first answer.
    pub command: Option<CommandIdentity>,
}

/// The answer to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer", content = "job")]
pub enum StartOutcome {
    /// The job was made, and is pending.
    Accepted(JobId),
    /// The job is there already: a repeat of its start.
    Known(JobId),
    /// Refused: this job of the connection is pending or running.
    Active(JobId),
    /// The job was cancelled before it was started; it is recorded as cancelled.
    CancelledBefore(JobId),
    /// Refused: there is no such connection (of this tenant).
    NoConnection,
    /// Refused: `date_from` is not before `date_to`.
    EmptySpan,
    /// Refused: the identifier belongs to a job of another connection.
    IdTaken(JobId),
}

/// Why a job failed; stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// What happened, in words.
    pub cause: String,
    /// The slice in which it happened, if in one.
    pub slice: Option<i32>,
    /// The page at which it happened.
    pub page: Option<i32>,
    /// The first KiB of the upstream's answer.
    pub body: Option<String>,
}

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
    /// The job as a whole: it cannot be planned, or makes no progress.
    Job,
}

impl FailRight<'_> {
    async fn holds(self, transaction: &mut PgConnection, job: JobId) -> Result<bool, StoreError> {
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

/// What the planner needs to know of a job.
#[derive(Clone, Debug)]
pub struct Plannable {
    /// The job.
    pub job: JobId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The span to cut.
    pub span: Span,
    /// The kind of source of the connection.
    pub source: String,
    /// The settings of the connection.
    pub settings: Value,
}

/// A job's row under its lock.
struct Locked {
    status: JobStatus,
    tenant: TenantId,
    connection: ConnectionId,
}

async fn lock(transaction: &mut PgConnection, job: JobId) -> Result<Option<Locked>, StoreError> {
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
async fn lock_identity(transaction: &mut PgConnection, job: JobId) -> Result<(), StoreError> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock(hashtextextended($1, 0)) as "locked?: ()""#,
        job.to_string()
    )
    .fetch_one(transaction)
    .await?;
    Ok(())
}

impl Store {
    /// Makes a pending job, once per job identifier and once per command.
    ///
    /// # Errors
    /// When the database cannot be written; the start may or may not have happened, and may be repeated.
    pub async fn start(&self, request: &StartRequest) -> Result<StartOutcome, StoreError> {
        let mut transaction = self.pool.begin().await?;
        if let Some(answer) = commands::first_answer(&mut transaction, request.command.as_ref()).await? {
            return Ok(answer);
        }
        let outcome = insert(&mut transaction, request).await?;
        commands::remember(&mut transaction, request.command.as_ref(), "start", &outcome).await?;
        transaction.commit().await?;
        Ok(outcome)
    }

    /// Notes that the broker confirmed a job's start command.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper then plans the job itself.
    pub async fn start_confirmed(&self, job: JobId) -> Result<(), StoreError> {
        sqlx::query!(
            "update jobs set start_confirmed_at = now() where id = $1 and start_confirmed_at is null",
            job.0
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What the planner needs, if the job is pending.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn plannable(&self, job: JobId) -> Result<Option<Plannable>, StoreError> {
        let row = sqlx::query!(
            r#"select j.tenant_id as "tenant: TenantId", j.date_from, j.date_to, c.source, c.settings
                 from jobs j join connections c on c.id = j.connection_id
                where j.id = $1 and j.status = 'pending'"#,
            job.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Plannable {
            job,
            tenant: row.tenant,
            span: Span { from: row.date_from, to: row.date_to },
            source: row.source,
            settings: row.settings,
        }))
    }

    /// Plans a pending job: all its slices and `running`, in one transaction. False if it was not pending any more.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the plan is then there.
    pub async fn plan(&self, plannable: &Plannable, slicing: Option<Slicing>) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(locked) = lock(&mut transaction, plannable.job).await? else { return Ok(false) };
        if locked.status.next(JobEvent::Planned).is_none() {
            return Ok(false);
        }
        let spans = Slicing::cut(slicing, plannable.span);
        let from: Vec<Option<DateTime<Utc>>> = spans.iter().map(|span| span.from).collect();
        let to: Vec<DateTime<Utc>> = spans.iter().map(|span| span.to).collect();
        sqlx::query!(
            "insert into slices (job_id, slice, tenant_id, connection_id, span_from, span_to)
             select $1, (ord - 1)::int, $2, $3, span_from, span_to
               from unnest($4::timestamptz[], $5::timestamptz[]) with ordinality as s (span_from, span_to, ord)",
            plannable.job.0,
            locked.tenant.0,
            locked.connection.0,
            from.as_slice() as &[Option<DateTime<Utc>>],
            &to
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!("update jobs set status = 'running', started_at = now() where id = $1", plannable.job.0)
            .execute(&mut *transaction)
            .await?;
        events::record(&mut transaction, plannable.job, "started", json!({ "slices": spans.len() })).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Completes a job whose slices are all done. Runs after the commit of the last settle, since two last settles in one
    /// moment do not see each other. Idempotent; true if this call completed the job.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper finishes the job later.
    pub async fn finish(&self, job: JobId) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(locked) = lock(&mut transaction, job).await? else { return Ok(false) };
        if locked.status.next(JobEvent::AllDone).is_none() {
            return Ok(false);
        }
        let finished = sqlx::query!(
            "update jobs set status = 'completed', finished_at = now()
              where id = $1 and not exists (select from slices where job_id = $1 and status <> 'done')",
            job.0
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected()
            == 1;
        if finished {
            events::record(&mut transaction, job, "completed", json!({})).await?;
        }
        transaction.commit().await?;
        Ok(finished)
    }

    /// Fails a job: every open slice is closed and every lease cleared. True if this call failed it; the caller then
    /// pushes the abort to whoever holds a page.
    ///
    /// # Errors
    /// When the database cannot be written; the page that failed comes back and fails again.
    pub async fn fail(&self, job: JobId, error: &JobError, right: FailRight<'_>) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(locked) = lock(&mut transaction, job).await? else { return Ok(false) };
        if locked.status.next(JobEvent::Failed).is_none() || !right.holds(&mut transaction, job).await? {
            return Ok(false);
        }
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
            "update jobs set status = 'failed', finished_at = now(), error = $2 where id = $1",
            job.0,
            error
        )
        .execute(&mut *transaction)
        .await?;
        events::record(&mut transaction, job, "failed", error).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn insert(transaction: &mut PgConnection, request: &StartRequest) -> Result<StartOutcome, StoreError> {
    let job = request.job;
    lock_identity(transaction, job).await?;
    if let Some(known) = lock(transaction, job).await? {
        let same = known.connection == request.connection
            && request.tenant.is_none_or(|tenant| tenant == known.tenant);
        return Ok(if same { StartOutcome::Known(job) } else { StartOutcome::IdTaken(job) });
    }
    // Starts of one connection wait for each other here; whoever comes second sees the first one's job below.
    let connection = sqlx::query!(
        r#"select tenant_id as "tenant: TenantId", coalesce($2, now()) as "date_to!",
                  coalesce($3 < coalesce($2, now()), true) as "spans!"
             from connections where id = $1 and deleted_at is null for no key update"#,
        request.connection.0,
        request.date_to,
        request.date_from
    )
    .fetch_optional(&mut *transaction)
    .await?
    .filter(|connection| request.tenant.is_none_or(|tenant| tenant == connection.tenant));
    let Some(connection) = connection else { return Ok(StartOutcome::NoConnection) };
    if !connection.spans {
        return Ok(StartOutcome::EmptySpan);
    }
    let tombstone =
        sqlx::query!("select reason, requested_by, created_at from tombstones where job_id = $1", job.0)
            .fetch_optional(&mut *transaction)
            .await?;
    if tombstone.is_none() {
        let active = sqlx::query!(
            r#"select id as "id: JobId" from jobs where connection_id = $1 and status in ('pending', 'running')"#,
            request.connection.0
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(active) = active {
            return Ok(StartOutcome::Active(active.id));
        }
    }
    sqlx::query!(
        r#"insert into jobs (id, tenant_id, connection_id, mode, date_from, date_to, name, requested_by, status,
                             cancel_requested_at, cancel_reason, cancel_requested_by, pages_at_fence, finished_at)
           select $1, $2, $3, $4, $5, $6, $7, $8, case when t.job_id is null then 'pending' else 'cancelled' end::job_status,
                  t.created_at, t.reason, t.requested_by, case when t.job_id is not null then 0 end,
                  case when t.job_id is not null then now() end
             from (select) one left join tombstones t on t.job_id = $1"#,
        job.0,
        connection.tenant.0,
        request.connection.0,
        request.mode as JobMode,
        request.date_from,
        connection.date_to,
        request.name,
        request.requested_by
    )
    .execute(&mut *transaction)
    .await?;
    events::record(transaction, job, "accepted", json!({ "requested_by": request.requested_by })).await?;
    if let Some(tombstone) = tombstone {
        let told = json!({ "reason": tombstone.reason, "requested_by": tombstone.requested_by });
        events::record(transaction, job, "cancelled", told).await?;
        return Ok(StartOutcome::CancelledBefore(job));
    }
    Ok(StartOutcome::Accepted(job))
}
