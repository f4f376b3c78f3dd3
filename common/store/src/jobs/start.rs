//! Starting: a pending job is made, once per identifier and once per command, and only while no other is active.

use super::super::commands::{self, CommandIdentity, CommandKind, Known};
use super::super::{StoreError, events};
use super::cancel::{CancelOutcome, CancelRequest, CancelTarget, fence};
use super::{lock, lock_identity};
use crate::handles::Jobs;
use crate::pool::Session;
use chrono::{DateTime, Utc};
use protocol::command::OnConflict;
use protocol::contract::EventKind;
use protocol::ids::{ConnectionId, JobId, SchemaId, TenantId};
use protocol::job::JobMode;
use protocol::trace;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
    /// What if a job of the connection is active.
    pub on_conflict: OnConflict,
    /// A name for people.
    pub name: Option<String>,
    /// Who asked.
    pub requested_by: Option<String>,
    /// The identity of the command: a repeat gets the first answer.
    pub command: Option<CommandIdentity>,
    /// How its results are shown as rows. A schema of the connection's tenant.
    pub schema: Option<SchemaId>,
    /// The ids of the records to fetch; none for a job over a span. A job over documents conflicts with no other.
    pub documents: Vec<String>,
}

/// The answer to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer", content = "job")]
pub enum StartOutcome {
    /// The job was made, and is pending.
    Accepted(JobId),
    /// The job is there already: a repeat of its start.
    Known(JobId),
    /// The job was made, and is pending; the one that was active is cancelled for it.
    Superseding {
        /// The new job.
        job: JobId,
        /// The job that was active. Whoever holds a page of it is to be told.
        superseded: JobId,
    },
    /// No job was made: this one of the connection is pending or running, and serves.
    Existing(JobId),
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
    /// Refused: the connection's tenant has no such schema.
    NoSchema,
    /// Refused: the command's key stood for another request.
    KeyReused,
}

impl StartOutcome {
    /// Whether a repeat of the command is to get this answer.
    const fn is_kept(&self, command: Option<&CommandIdentity>) -> bool {
        match self {
            Self::Accepted(_)
            | Self::Known(_)
            | Self::Superseding { .. }
            | Self::Existing(_)
            | Self::CancelledBefore(_) => true,
            // Whoever has a key for a request tries again with it until the request is accepted.
            Self::Active(_) | Self::EmptySpan | Self::IdTaken(_) => {
                !matches!(command, Some(CommandIdentity::Key { .. }))
            }
            // They may yet be made, and the command sent again as it is, from the dead letters for instance.
            Self::NoConnection | Self::NoSchema | Self::KeyReused => false,
        }
    }
}

impl Jobs<'_> {
    /// Makes a pending job, once per job identifier and once per command.
    ///
    /// # Errors
    /// When the database cannot be written; the start may or may not have happened, and may be repeated.
    pub async fn start(self, request: &StartRequest) -> Result<StartOutcome, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let command = request.command.as_ref();
        let row = match commands::first_answer(&mut transaction, CommandKind::Start, command).await? {
            Known::Answered(answer) => return Ok(answer),
            Known::OtherRequest => return Ok(StartOutcome::KeyReused),
            Known::New(row) => row,
        };
        let outcome = insert(&mut transaction, request).await?;
        if let Some(row) = row.filter(|_| outcome.is_kept(command)) {
            row.remember(&mut transaction, &outcome).await?;
        }
        self.store.commit_told(transaction).await?;
        Ok(outcome)
    }

    /// Notes that the broker confirmed a job's start command.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper then plans the job itself.
    pub async fn start_confirmed(self, job: JobId) -> Result<(), StoreError> {
        self.starts_confirmed(&[job]).await
    }

    /// The same of several jobs.
    ///
    /// # Errors
    /// As [`Jobs::start_confirmed`].
    pub async fn starts_confirmed(self, jobs: &[JobId]) -> Result<(), StoreError> {
        // A job that somebody else holds is being planned, noted, or ended: then the note tells nobody anything.
        sqlx::query!(
            "update jobs set start_confirmed_at = now()
              where id in (select id from jobs where id = any ($1) and start_confirmed_at is null
                            for no key update skip locked)",
            &jobs.iter().map(|job| job.0).collect::<Vec<_>>()
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }
}

async fn insert(transaction: &mut Session, request: &StartRequest) -> Result<StartOutcome, StoreError> {
    let job = request.job;
    lock_identity(transaction, job).await?;
    if let Some(known) = lock(transaction, job).await? {
        let same = known.connection == request.connection
            && request.tenant.is_none_or(|tenant| tenant == known.tenant);
        return Ok(if same { StartOutcome::Known(job) } else { StartOutcome::IdTaken(job) });
    }
    // What is answered by the job that is active needs no lock: a thousand starts at once do not queue up for a refusal.
    let Some(found) = look(transaction, request).await? else { return Ok(StartOutcome::NoConnection) };
    if !found.schema_exists {
        return Ok(StartOutcome::NoSchema);
    }
    if let Some(answer) = yield_to_active(transaction, request, &found).await? {
        return Ok(answer);
    }
    // Starts of one connection wait for each other here; whoever comes second sees the first one's job below.
    sqlx::query!("select id from connections where id = $1 for no key update", request.connection.0)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(found) = look(transaction, request).await? else { return Ok(StartOutcome::NoConnection) };
    if let Some(answer) = yield_to_active(transaction, request, &found).await? {
        return Ok(answer);
    }
    let superseded = match found.active.filter(|_| !found.cancelled_before) {
        Some(active) => supersede(transaction, active, request).await?,
        None => None,
    };
    make(transaction, request, &found, superseded).await
}

/// What a start meets.
struct Found {
    tenant: TenantId,
    date_to: DateTime<Utc>,
    /// Whether `date_from` is before `date_to`.
    spans: bool,
    /// The pending or running job of the connection that is in this one's way.
    active: Option<JobId>,
    /// Whether the schema is the tenant's, if one was named.
    schema_exists: bool,
    /// Whether this very job was cancelled before its start.
    cancelled_before: bool,
}

/// `None` if there is no such connection (of this tenant).
async fn look(transaction: &mut Session, request: &StartRequest) -> Result<Option<Found>, StoreError> {
    let found = sqlx::query_as!(
        Found,
        r#"select c.tenant_id as "tenant: TenantId", coalesce($2, now()) as "date_to!",
                  coalesce($3 < coalesce($2, now()), true) as "spans!", j.id as "active?: JobId",
                  exists (select from tombstones where job_id = $4) as "cancelled_before!",
                  $5::uuid is null or exists (select from schemas where id = $5 and tenant_id = c.tenant_id)
                      as "schema_exists!"
             from connections c
             left join jobs j on j.connection_id = c.id and j.status in ('pending', 'running')
                             and j.documents is null and not $6
            where c.id = $1 and c.deleted_at is null"#,
        request.connection.0,
        request.date_to,
        request.date_from,
        request.job.0,
        request.schema.map(|schema| schema.0),
        !request.documents.is_empty()
    )
    .fetch_optional(transaction)
    .await?;
    Ok(found.filter(|found| request.tenant.is_none_or(|tenant| tenant == found.tenant)))
}

/// The answer to a start that makes no job.
async fn yield_to_active(
    transaction: &mut Session,
    request: &StartRequest,
    found: &Found,
) -> Result<Option<StartOutcome>, StoreError> {
    if !found.spans {
        return Ok(Some(StartOutcome::EmptySpan));
    }
    let Some(active) = found.active.filter(|_| !found.cancelled_before) else { return Ok(None) };
    match request.on_conflict {
        OnConflict::Supersede => Ok(None),
        OnConflict::UseExisting => Ok(Some(StartOutcome::Existing(active))),
        OnConflict::Reject => {
            let told = json!({
                "reason": format!("job {active} of this connection is pending or running"),
                "active_job_id": active, "requested_by": request.requested_by,
            });
            events::record_rejected(transaction, request.job, (found.tenant, request.connection), told)
                .await?;
            Ok(Some(StartOutcome::Active(active)))
        }
    }
}

/// Cancels the active job in favour of another. `None` if it has ended in the meantime.
async fn supersede(
    transaction: &mut Session,
    active: JobId,
    request: &StartRequest,
) -> Result<Option<JobId>, StoreError> {
    let cancel = CancelRequest {
        target: CancelTarget::Job(active),
        tenant: None,
        reason: Some(format!("superseded by job {}", request.job)),
        requested_by: request.requested_by.clone(),
        command: None,
        keep_if_unknown: false,
    };
    Ok(match fence(transaction, active, &cancel).await? {
        Some(CancelOutcome::Cancelling { .. } | CancelOutcome::Cancelled { .. }) => Some(active),
        None
        | Some(
            CancelOutcome::Over { .. }
            | CancelOutcome::Unknown
            | CancelOutcome::Kept { .. }
            | CancelOutcome::NoEffect
            | CancelOutcome::KeyReused
            | CancelOutcome::NoConnection,
        ) => None,
    })
}

/// Makes the job: pending, or cancelled if its cancel came first.
async fn make(
    transaction: &mut Session,
    request: &StartRequest,
    found: &Found,
    superseded: Option<JobId>,
) -> Result<StartOutcome, StoreError> {
    let job = request.job;
    let documents = i32::try_from(request.documents.len()).ok().filter(|documents| *documents > 0);
    sqlx::query!(
        r#"insert into jobs (id, tenant_id, connection_id, mode, date_from, date_to, name, requested_by, schema_id,
                             documents, traceparent, status, cancel_requested_at, cancel_reason, cancel_requested_by, pages_at_fence, finished_at)
           select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                  case when t.job_id is null then 'pending' else 'cancelled' end::job_status,
                  t.created_at, t.reason, t.requested_by, case when t.job_id is not null then 0 end,
                  -- The cancel may have come while this transaction, whose now() is older, was under way.
                  case when t.job_id is not null then greatest(now(), t.created_at) end
             from (select) one left join tombstones t on t.job_id = $1"#,
        job.0,
        found.tenant.0,
        request.connection.0,
        request.mode as JobMode,
        request.date_from,
        found.date_to,
        request.name,
        request.requested_by,
        request.schema.map(|schema| schema.0),
        documents,
        trace::current()
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into documents (job_id, place, id)
         select $1, (ord - 1)::int, id from unnest($2::text[]) with ordinality as d (id, ord)",
        job.0,
        &request.documents
    )
    .execute(&mut *transaction)
    .await?;
    let told = accepted(request.requested_by.as_deref(), superseded);
    events::record(transaction, job, EventKind::Accepted, told).await?;
    if found.cancelled_before {
        let asked = sqlx::query!("select reason, requested_by from tombstones where job_id = $1", job.0)
            .fetch_one(&mut *transaction)
            .await?;
        let told = json!({ "reason": asked.reason, "requested_by": asked.requested_by });
        events::record(transaction, job, EventKind::Cancelled, told).await?;
        return Ok(StartOutcome::CancelledBefore(job));
    }
    Ok(match superseded {
        Some(superseded) => StartOutcome::Superseding { job, superseded },
        None => StartOutcome::Accepted(job),
    })
}

/// What is told of a job that is made.
pub(super) fn accepted(requested_by: Option<&str>, supersedes: Option<JobId>) -> Value {
    json!({ "requested_by": requested_by, "supersedes": supersedes })
}
