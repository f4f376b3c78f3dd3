//! Resuming: a failed or cancelled job stays what it is, and a new one goes on from its checkpoints.
//!
//! The new job has its slices from the beginning, queued or done, each at the cursor where the old one stopped, and with
//! its counters; what it took over is written down in `carried`. Its pages are numbered anew from 0, so that its page log
//! has no gaps. It is pending until the planner has seen that its connection can be worked with.

use super::super::{StoreError, events};
use super::lock;
use crate::handles::Jobs;
use crate::pool::Session;
use protocol::contract::EventKind;
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::{JobMode, JobStatus};
use protocol::trace;
use serde_json::{Value, json};

/// A connection as it is now, for whoever tells whether it still lists the same records.
#[derive(Clone, Debug)]
pub struct Current {
    /// The kind of source.
    pub source: String,
    /// The upstream's address.
    pub base_url: String,
    /// Settings of the source.
    pub settings: Value,
    /// Which account at the upstream it is.
    pub account: i32,
}

/// The answer to a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// This new job was made, and is pending.
    Accepted {
        /// The new job.
        job: JobId,
        /// Its connection.
        connection: ConnectionId,
    },
    /// Refused: this job of the connection is pending or running.
    Active {
        /// The connection.
        connection: ConnectionId,
        /// Its active job.
        active: JobId,
    },
    /// Refused: only a failed or cancelled job is resumed.
    NotEnded {
        /// What the job is instead.
        status: JobStatus,
    },
    /// Refused: it was resumed before. Its successor has come further, and can be resumed itself.
    ResumedBefore {
        /// How the job had ended.
        status: JobStatus,
        /// The successor.
        successor: JobId,
    },
    /// Refused: a job of this mode starts anew.
    WrongMode {
        /// How the job had ended.
        status: JobStatus,
        /// The mode.
        mode: JobMode,
    },
    /// Refused: the connection's settings list other records by now, or are of another account.
    SettingsChanged {
        /// How the job had ended.
        status: JobStatus,
    },
    /// Refused: its walks were over, and what they lack can only be found by another job.
    Anew {
        /// How the job had ended.
        status: JobStatus,
    },
    /// Refused: the connection has been deleted.
    NoConnection(ConnectionId),
    /// No such job (of this tenant).
    Unknown,
}

impl Jobs<'_> {
    /// Makes a job that goes on where a failed or cancelled one stopped, if the connection still lists the same records:
    /// `fingerprint` tells that of its settings, or nothing if they are of no use, which the planner will say. The job's
    /// identifier is made here, so no cancel can have come before it.
    ///
    /// # Errors
    /// When the database cannot be written. The resume may have happened: a repeat then finds the new job active.
    pub async fn resume(
        self,
        ended: JobId,
        tenant: Option<TenantId>,
        requested_by: Option<&str>,
        fingerprint: impl FnOnce(&Current) -> Option<String> + Send,
    ) -> Result<ResumeOutcome, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let Some(connection) = sqlx::query_scalar!(
            r#"select connection_id as "connection: ConnectionId" from jobs
                where id = $1 and ($2::uuid is null or tenant_id = $2)"#,
            ended.0,
            tenant.map(|tenant| tenant.0)
        )
        .fetch_optional(&mut *transaction)
        .await?
        else {
            return Ok(ResumeOutcome::Unknown);
        };
        // As a start does: whoever comes second sees the first one's job below.
        let current = sqlx::query_as!(
            Current,
            "select source, base_url, settings, account from connections where id = $1 and deleted_at is null
                for no key update",
            connection.0
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(current) = current else { return Ok(ResumeOutcome::NoConnection(connection)) };
        if let Some(refusal) = refusal(&mut transaction, ended, connection, fingerprint(&current)).await? {
            return Ok(refusal);
        }
        let job = JobId::random();
        copy(&mut transaction, ended, job, requested_by).await?;
        let told = json!({ "requested_by": requested_by, "resumed_from": ended });
        events::record(&mut transaction, job, EventKind::Accepted, told).await?;
        self.store.commit_told(transaction).await?;
        Ok(ResumeOutcome::Accepted { job, connection })
    }
}

async fn refusal(
    transaction: &mut Session,
    ended: JobId,
    connection: ConnectionId,
    fingerprint: Option<String>,
) -> Result<Option<ResumeOutcome>, StoreError> {
    let Some(locked) = lock(transaction, ended).await? else { return Ok(Some(ResumeOutcome::Unknown)) };
    let status = locked.status;
    match status {
        JobStatus::Failed | JobStatus::Cancelled => {}
        JobStatus::Pending | JobStatus::Running | JobStatus::Cancelling | JobStatus::Completed => {
            return Ok(Some(ResumeOutcome::NotEnded { status }));
        }
    }
    let found = sqlx::query!(
        r#"select mode as "mode: JobMode", coalesce((error ->> 'anew')::boolean, false) as "anew!",
                  (select id from jobs where connection_id = $2 and status in ('pending', 'running') and documents is null
                                       and this.documents is null) as "active: JobId",
                  (select id from jobs where resumed_from = $1) as "successor: JobId",
                  exists (select from scopes c
                           where c.connection_id = $2 and c.stream = this.stream and c.scope = this.scope
                             and c.fingerprint <> $3) as "changed!"
             from jobs this where id = $1"#,
        ended.0,
        connection.0,
        fingerprint
    )
    .fetch_one(transaction)
    .await?;
    Ok(if !found.mode.is_resumable() {
        Some(ResumeOutcome::WrongMode { status, mode: found.mode })
    } else if found.anew {
        Some(ResumeOutcome::Anew { status })
    } else if found.changed {
        Some(ResumeOutcome::SettingsChanged { status })
    } else if let Some(active) = found.active {
        Some(ResumeOutcome::Active { connection, active })
    } else {
        found.successor.map(|successor| ResumeOutcome::ResumedBefore { status, successor })
    })
}

/// The new job, its slices, and what they carry. The old job is over: nothing of it changes any more.
async fn copy(
    transaction: &mut Session,
    ended: JobId,
    job: JobId,
    requested_by: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into jobs (id, tenant_id, connection_id, mode, date_from, date_to, name, requested_by, resumed_from,
                           schema_id, documents, stream, settings_version, scope, floor, counted, total_is, time_is,
                           by_id, straggler_days, traceparent)
         select $2, tenant_id, connection_id, mode, date_from, date_to, name, $3, id, schema_id, documents, stream,
                settings_version, scope, floor, counted, total_is, time_is, by_id, straggler_days, $4
           from jobs where id = $1",
        ended.0,
        job.0,
        requested_by,
        trace::current()
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into documents (job_id, place, id) select $2, place, id from documents where job_id = $1",
        ended.0,
        job.0
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into slices (job_id, slice, tenant_id, connection_id, span_from, span_to, ids_from, ids_to, filled, status, cursor, anchor, total,
                             kind, walk, upstream_total, first_asked_at, newest_at, oldest_met_at, newest_met_at, whole,
                             inserted, updated, unchanged, deferred, failed, deleted)
         select $2, slice, tenant_id, connection_id, span_from, span_to, ids_from, ids_to, filled,
                (case when status = 'done' then 'done' else 'queued' end)::slice_status, cursor, anchor, total,
                kind,
                -- Pages are numbered anew: where the walk began, and the page of its anchor, are told from here.
                walk || jsonb_build_object('first_page', coalesce((walk ->> 'first_page')::int, 0) - page)
                     || case when walk ? 'anchor'
                             then jsonb_build_object('anchor', jsonb_build_array(walk -> 'anchor' -> 0, (walk -> 'anchor' ->> 1)::int - page))
                             else '{}' end,
                upstream_total, first_asked_at, newest_at, oldest_met_at, newest_met_at, whole,
                inserted, updated, unchanged, deferred, failed, deleted
           from slices where job_id = $1 and kind in ('walk', 'documents', 'stragglers')",

        ended.0,
        job.0
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into warnings (job_id, slice, kind, count, text)
         select $2, w.slice, w.kind, w.count, w.text
           from warnings w join slices s on s.job_id = w.job_id and s.slice = w.slice
          where w.job_id = $1 and s.kind in ('walk', 'documents', 'stragglers')",
        ended.0,
        job.0
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into carried (job_id, slice, pages, inserted, updated, unchanged, deferred, failed, deleted, pages_skipped,
                              filled)
         select $2, s.slice, s.page + coalesce(c.pages, 0), s.inserted, s.updated, s.unchanged, s.deferred, s.failed,
                s.deleted, s.pages_skipped + coalesce(c.pages_skipped, 0), s.filled
           from slices s left join carried c on c.job_id = s.job_id and c.slice = s.slice
          where s.job_id = $1 and s.kind in ('walk', 'documents', 'stragglers')",
        ended.0,
        job.0
    )
    .execute(transaction)
    .await?;
    Ok(())
}
