//! Job events: written in the transaction of the transition that they tell, published from here at least once, and in
//! that order; see the crate `relay`.

use super::{Store, StoreError};
use crate::handles::Events;
use crate::pool::Session;
use chrono::{DateTime, Utc};
use protocol::contract::{EventData, EventKind, EventMessage, JobCounters};
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::{Counters, JobStatus};
use protocol::trace;
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

/// A transition of a job.
#[derive(Clone, Debug)]
pub struct JobEventRow {
    /// Position in the order of writing; gaps are normal.
    pub id: i64,
    /// The job; of a refused start the one that it would have been.
    pub job: JobId,
    /// The tenant, where it is known.
    pub tenant: Option<TenantId>,
    /// The connection, where it is known.
    pub connection: Option<ConnectionId>,
    /// A word of [`EventKind`].
    pub kind: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What there is to say about it (reason, error, by whom).
    pub data: Value,
    /// The state that the job was in by it; none for a refused start.
    pub status: Option<JobStatus>,
    /// The counters at that moment.
    pub counters: Option<Json<StoredCounters>>,
    /// The trace of the command that it happened for.
    pub traceparent: Option<String>,
}

/// Counters as they are stored with an event.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct StoredCounters {
    /// The counters.
    #[serde(flatten)]
    pub counters: Counters,
    /// How many records there were, where that was known.
    pub total: Option<i64>,
}

impl JobEventRow {
    /// The message that tells it; `None` for a kind that only a newer version knows.
    #[must_use]
    pub fn message(&self) -> Option<EventMessage> {
        let (reason, data) = EventData::split(self.data.clone());
        let counters =
            self.counters.as_ref().map(|Json(stored)| JobCounters::new(&stored.counters, stored.total));
        Some(EventMessage {
            job_id: self.job,
            tenant_id: self.tenant,
            connection_id: self.connection,
            event: EventKind::of(&self.kind)?,
            status: self.status,
            counters,
            at: self.at,
            reason,
            data,
        })
    }
}

/// A turn at telling progress: no two of them begin within the time that [`Events::take_relay`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressTurn {
    /// When the last turn began.
    pub since: DateTime<Utc>,
    /// When this one began.
    pub at: DateTime<Utc>,
}

/// What an attempt to take the relay came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayTurn {
    /// It is ours: publish, then give it back.
    Ours {
        /// Tell progress too.
        progress: Option<ProgressTurn>,
    },
    /// Somebody else has it, and may not have seen the newest events.
    Busy,
    /// There is nothing to publish.
    Idle,
}

/// Writes an event in the transaction of the transition, after the statements that make it.
pub(super) async fn record(
    transaction: &mut Session,
    job: JobId,
    kind: EventKind,
    data: Value,
) -> Result<(), StoreError> {
    record_each(transaction, vec![(job, kind, data)]).await
}

/// The same for several transitions, in their order.
pub(super) async fn record_each(
    transaction: &mut Session,
    told: Vec<(JobId, EventKind, Value)>,
) -> Result<(), StoreError> {
    let (jobs, kinds): (Vec<Uuid>, Vec<EventKind>) = told.iter().map(|(job, kind, _)| (job.0, *kind)).unzip();
    let data: Vec<Value> = told.into_iter().map(|(.., data)| data).collect();
    sqlx::query_file!(
        "src/sql/record_events.sql",
        &jobs,
        &kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>() as &[&str],
        &data,
        kinds.iter().map(|kind| kind.status()).collect::<Vec<_>>() as Vec<Option<JobStatus>>
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Writes that a start was refused, in the transaction that refuses it.
pub(super) async fn record_rejected(
    transaction: &mut Session,
    job: JobId,
    (tenant, connection): (TenantId, ConnectionId),
    data: Value,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into job_events (job_id, kind, data, tenant_id, connection_id, traceparent)
         values ($1, $2, $3, $4, $5, $6)",
        job.0,
        EventKind::Rejected.word(),
        data,
        tenant.0,
        connection.0,
        trace::current()
    )
    .execute(transaction)
    .await?;
    Ok(())
}

impl Events<'_> {
    /// Takes the relay of events for `lease`, if nobody has it and there is something to publish. `token` is a fresh one.
    /// With `progress`, also to tell progress, if nobody has within that time.
    pub async fn take_relay(
        self,
        token: Uuid,
        lease: Duration,
        progress: Option<Duration>,
    ) -> Result<RelayTurn, StoreError> {
        let row = sqlx::query_file!(
            "src/sql/take_relay.sql",
            token,
            lease.as_secs_f64() * 1000.0,
            progress.unwrap_or_default().as_secs_f64() * 1000.0,
            progress.is_some()
        )
        .fetch_one(&self.store.pool)
        .await?;
        let progress = row.since.zip(row.at).map(|(since, at)| ProgressTurn { since, at });
        Ok(match (row.taken, row.waiting) {
            (true, _) => RelayTurn::Ours { progress },
            (false, true) => RelayTurn::Busy,
            (false, false) => RelayTurn::Idle,
        })
    }

    /// Marks events as published, after the broker's confirm, and gives the relay back if it still is this token's. Those that
    /// the queue of some listener refused are published again later, each time after a longer while, and at the fourth refusal
    /// no more: the broker does not say which listener it was, and the others have had them each time.
    ///
    /// # Errors
    /// When the database cannot be written; the events are then published once more.
    pub async fn give_relay_back(
        self,
        token: Uuid,
        published: &[i64],
        refused: &[i64],
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "with told as (update job_events set published_at = now() where id = any ($2)),
             refused as (
                update job_events
                   set refusals = refusals + 1, again_at = now() + (2 * 5 ^ refusals)::float8 * interval '1 s',
                       published_at = case when refusals >= 3 then now() end
                 where id = any ($3) and published_at is null)
             update event_relay set held_until = now() where holder = $1 and held_until > now()",
            token,
            published,
            refused
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }

    /// The oldest events that were not published yet.
    pub async fn unpublished(self, limit: i64) -> Result<Vec<JobEventRow>, StoreError> {
        Ok(sqlx::query_as!(
            JobEventRow,
            r#"select e.id, e.job_id as "job: JobId", coalesce(e.tenant_id, j.tenant_id) as "tenant?: TenantId",
                      coalesce(e.connection_id, j.connection_id) as "connection?: ConnectionId", e.kind, e.at, e.data,
                      e.status as "status: JobStatus", e.counters as "counters: Json<StoredCounters>",
                      e.traceparent
                 from job_events e left join jobs j on j.id = e.job_id
                where e.published_at is null and (e.again_at is null or e.again_at <= now()) order by e.id limit $1"#,
            limit
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// The progress of running jobs that have settled a page since the last turn; at most `limit` of them.
    pub async fn progress(self, turn: ProgressTurn, limit: i64) -> Result<Vec<EventMessage>, StoreError> {
        let rows = sqlx::query_file!("src/sql/progress.sql", turn.since, limit, turn.at)
            .fetch_all(&self.store.pool)
            .await?;
        let messages = rows.into_iter().map(|row| EventMessage {
            job_id: row.job,
            tenant_id: Some(row.tenant),
            connection_id: Some(row.connection),
            event: EventKind::Progressed,
            status: Some(JobStatus::Running),
            counters: Some(JobCounters::new(&row.counters.0, row.total)),
            at: row.at,
            reason: None,
            data: EventData::default(),
        });
        Ok(messages.collect())
    }

    /// All events of a job, oldest first.
    pub async fn of_job(self, job: JobId) -> Result<Vec<JobEventRow>, StoreError> {
        self.after(job, None, 0, i64::MAX).await
    }

    /// The events of a job after the one with this id (0: from the first), oldest first, at most `limit`.
    ///
    /// Ids grow along a job's transitions, each of which holds the job's row, so that none can appear behind one that was
    /// read.
    pub async fn after(
        self,
        job: JobId,
        tenant: Option<TenantId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<JobEventRow>, StoreError> {
        Ok(sqlx::query_as!(
            JobEventRow,
            r#"select e.id, e.job_id as "job: JobId", coalesce(e.tenant_id, j.tenant_id) as "tenant?: TenantId",
                      coalesce(e.connection_id, j.connection_id) as "connection?: ConnectionId", e.kind, e.at, e.data,
                      e.status as "status: JobStatus", e.counters as "counters: Json<StoredCounters>",
                      e.traceparent
                 from job_events e left join jobs j on j.id = e.job_id
                where e.job_id = $1 and e.id > $2
                  -- The refusal of somebody else's start, who chose the same id, is not for this tenant.
                  and ($4::uuid is null or coalesce(e.tenant_id, j.tenant_id) = $4)
                order by e.id limit $3"#,
            job.0,
            after,
            limit,
            tenant.map(|tenant| tenant.0)
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// The trace of the command that a job obeys, if it had one. None if there is no such job.
    pub async fn traceparent(self, job: JobId) -> Result<Option<Option<String>>, StoreError> {
        Ok(sqlx::query_scalar!("select traceparent from jobs where id = $1", job.0)
            .fetch_optional(&self.store.pool)
            .await?)
    }
}

impl Store {
    /// Waits until this store (or one that [shares](Self::sharing_transitions_with) with it) has committed a transition since the last
    /// call. Only a hint: another process's transitions are not seen.
    pub async fn next_transition(&self) {
        self.transitions.notified().await;
    }

    /// The same store, whose transitions wake whoever waits for those of `other`, and whose sessions are given up together with
    /// those of `other`.
    #[must_use]
    pub fn sharing_transitions_with(self, other: &Self) -> Self {
        Self {
            transitions: std::sync::Arc::clone(&other.transitions),
            pool: self.pool.beside(&other.pool),
            ..self
        }
    }
}
