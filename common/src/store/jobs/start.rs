//! Starting: a pending job is made, once per identifier and once per command, and only while no other is active.

use super::super::commands::{self, CommandIdentity};
use super::super::{Store, StoreError, events};
use super::{lock, lock_identity};
use crate::ids::{ConnectionId, JobId, TenantId};
use crate::job::JobMode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
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
                  -- The cancel may have come while this transaction, whose now() is older, was under way.
                  case when t.job_id is not null then greatest(now(), t.created_at) end
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
