//! Reading jobs: what the status endpoint, the list and `watch` show. One statement each.

use super::super::StoreError;
use crate::handles::Jobs;
use chrono::{DateTime, Utc};
use protocol::ids::{ConnectionId, JobId, SchemaId, TenantId};
use protocol::job::{Counters, JobError, JobMode, JobStatus};
use protocol::warning::Warning;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{Executor, Postgres};

/// How many slices of a job are in which state; `leased` ones are also counted as ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct SliceCounts {
    /// All of them.
    pub total: i64,
    /// Waiting for their tenant's turn.
    pub queued: i64,
    /// Rung.
    pub ready: i64,
    /// Held by a worker at this moment.
    pub leased: i64,
    /// Backing off.
    pub waiting: i64,
    /// Walked to their end.
    pub done: i64,
}

/// The schema of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct JobSchema {
    /// The schema.
    pub id: SchemaId,
    /// Its name.
    pub name: String,
    /// How many fields it has.
    pub fields: i64,
}

/// A job as it is seen from outside.
#[derive(Clone, Debug, Serialize)]
pub struct JobView {
    /// The job.
    pub id: JobId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its connection.
    pub connection: ConnectionId,
    /// A name for people.
    pub name: Option<String>,
    /// Its state.
    pub status: JobStatus,
    /// Whether it is held back on request.
    pub paused: bool,
    /// What it pulls.
    pub mode: JobMode,
    /// Start of its span, if bounded.
    pub date_from: Option<DateTime<Utc>>,
    /// End of its span.
    pub date_to: DateTime<Utc>,
    /// True in every state, a cancelled one too. A resumed job's go on from where the job before had come to.
    pub counters: Counters,
    /// How many records there are; unknown until the upstream has said so for every slice.
    pub total: Option<i64>,
    /// Pages settled, those of the jobs that it resumes included.
    pub pages_settled: i64,
    /// How many of them were skipped: what was in them is not known.
    pub pages_skipped: i64,
    /// The job whose checkpoints it took over.
    pub resumed_from: Option<JobId>,
    /// How many of the records were processed by the jobs that it resumes.
    pub carried: i64,
    /// Its slices.
    pub slices: SliceCounts,
    /// Why it failed.
    pub error: Option<JobError>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When it was planned.
    pub started_at: Option<DateTime<Utc>>,
    /// When a cancel was asked for.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Why.
    pub cancel_reason: Option<String>,
    /// By whom.
    pub cancel_requested_by: Option<String>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why a full sync that is completed has deleted nothing, if it has not.
    pub deletion_left_out: Option<String>,
    /// When a page was last settled, or the job last changed its state.
    pub last_activity_at: DateTime<Utc>,
    /// The database's clock when this was read.
    pub read_at: DateTime<Utc>,
    /// How its results are shown as rows.
    pub schema: Option<JobSchema>,
    /// How many documents it is over; none for a job over a span.
    pub documents: Option<i32>,
    /// Values of its rows that are not null, as they were when the job fetched them; 0 without a schema.
    pub filled: i64,
    /// What the upstream last said of the total, over all slices; never overwritten by what was processed.
    pub upstream_total: Option<i64>,
    /// Whether every walk that has ended is whole; unknown while none has.
    pub whole: Option<bool>,
    /// What may differ from the upstream, by kind.
    pub warnings: Vec<Warning>,
    /// What is expected and harmless, by kind.
    pub notes: Vec<Warning>,
}

/// Which jobs to list. Newest first (or oldest), in pages: `after` is the (created_at, id) of the last job of the page before.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Jobs of this tenant.
    pub tenant: Option<TenantId>,
    /// Jobs of this connection.
    pub connection: Option<ConnectionId>,
    /// Jobs in one of these states; in any if there is none.
    pub statuses: Vec<JobStatus>,
    /// This job alone.
    pub job: Option<JobId>,
    /// Jobs of the tenant whose API key has this hash; none if there is no such key, it was revoked, or its use is to be noted.
    pub key: Option<[u8; 32]>,
    /// Where to go on.
    pub after: Option<(DateTime<Utc>, JobId)>,
    /// Whether the oldest come first.
    pub oldest_first: bool,
    /// How many at most.
    pub limit: i64,
}

struct Row {
    id: JobId,
    tenant: TenantId,
    connection: ConnectionId,
    name: Option<String>,
    status: JobStatus,
    paused: bool,
    mode: JobMode,
    date_from: Option<DateTime<Utc>>,
    date_to: DateTime<Utc>,
    error: Option<Json<JobError>>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    cancel_requested_at: Option<DateTime<Utc>>,
    cancel_reason: Option<String>,
    cancel_requested_by: Option<String>,
    finished_at: Option<DateTime<Utc>>,
    deletion_left_out: Option<String>,
    last_activity_at: DateTime<Utc>,
    read_at: DateTime<Utc>,
    counters: Json<Counters>,
    slices: Json<SliceCounts>,
    pages_settled: i64,
    pages_skipped: i64,
    resumed_from: Option<JobId>,
    carried: i64,
    total: Option<i64>,
    schema: Option<Json<JobSchema>>,
    documents: Option<i32>,
    filled: i64,
    upstream_total: Option<i64>,
    whole: Option<bool>,
    warnings: Json<Vec<Warning>>,
}

impl From<Row> for JobView {
    fn from(row: Row) -> Self {
        let (notes, warnings) = row.warnings.0.into_iter().partition(|warning| warning.kind.is_note());
        Self {
            id: row.id,
            tenant: row.tenant,
            connection: row.connection,
            name: row.name,
            status: row.status,
            paused: row.paused,
            mode: row.mode,
            date_from: row.date_from,
            date_to: row.date_to,
            counters: row.counters.0,
            total: row.total,
            pages_settled: row.pages_settled,
            pages_skipped: row.pages_skipped,
            resumed_from: row.resumed_from,
            carried: row.carried,
            slices: row.slices.0,
            error: row.error.map(|error| error.0),
            created_at: row.created_at,
            started_at: row.started_at,
            cancel_requested_at: row.cancel_requested_at,
            cancel_reason: row.cancel_reason,
            cancel_requested_by: row.cancel_requested_by,
            finished_at: row.finished_at,
            deletion_left_out: row.deletion_left_out,
            last_activity_at: row.last_activity_at,
            read_at: row.read_at,
            schema: row.schema.map(|schema| schema.0),
            documents: row.documents,
            filled: row.filled,
            upstream_total: row.upstream_total,
            whole: row.whole,
            warnings,
            notes,
        }
    }
}

impl JobView {
    /// Progress in per cent, where the total is known.
    #[must_use]
    pub fn percent(&self) -> Option<u8> {
        let percent = self.counters.percent(self.total, self.status == JobStatus::Completed);
        // What is not whole is not all of it.
        if self.whole == Some(false) { percent.map(|percent| percent.min(99)) } else { percent }
    }

    /// Records per second, from the start of the job to its last page, without what it carries; unknown in the first
    /// second.
    #[must_use]
    pub fn rate_per_second(&self) -> Option<f64> {
        let until = if self.status.is_terminal() { self.last_activity_at } else { self.read_at };
        let elapsed = (until - self.started_at?).as_seconds_f64();
        let processed = self.counters.processed() - self.carried;
        let processed = f64::from(u32::try_from(processed.max(0)).unwrap_or(u32::MAX));
        (elapsed >= 1.0).then_some(processed / elapsed)
    }

    /// Seconds until the end at the rate so far; unknown while the total or the rate is, and for a job that does not run.
    #[must_use]
    pub fn estimated_seconds_remaining(&self) -> Option<f64> {
        if self.status != JobStatus::Running || self.paused {
            return None;
        }
        let rate = self.rate_per_second().filter(|rate| *rate > 0.0)?;
        let left = u32::try_from((self.total? - self.counters.processed()).max(0)).unwrap_or(u32::MAX);
        Some(f64::from(left) / rate)
    }
}

impl Jobs<'_> {
    /// One job; with a tenant, only if it is that tenant's.
    pub async fn get(self, job: JobId, tenant: Option<TenantId>) -> Result<Option<JobView>, StoreError> {
        let filter = JobFilter { job: Some(job), tenant, limit: 1, ..JobFilter::default() };
        Ok(self.list(&filter).await?.pop())
    }

    /// One job, if the API key with this hash is good, and of its tenant: what [`Tenants::authenticate`](crate::Tenants::authenticate) and [`Jobs::get`] say one
    /// after the other, in one statement that writes nothing. `None` if either says no, and once a minute, when the use of
    /// the key is to be noted: then ask them.
    pub async fn get_by_key(self, job: JobId, key: &[u8; 32]) -> Result<Option<JobView>, StoreError> {
        let filter = JobFilter { job: Some(job), key: Some(*key), limit: 1, ..JobFilter::default() };
        Ok(self.list(&filter).await?.pop())
    }

    /// How many jobs of the tenant are in one of these states; in any if there is none.
    pub async fn count(self, tenant: TenantId, statuses: &[JobStatus]) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select count(*) as "jobs!" from jobs
                where tenant_id = $1 and (cardinality($2::job_status[]) = 0 or status = any ($2))"#,
            tenant.0,
            statuses as &[JobStatus]
        )
        .fetch_one(&self.store.pool)
        .await?)
    }

    /// Jobs, in the order of their acceptance.
    pub async fn list(self, filter: &JobFilter) -> Result<Vec<JobView>, StoreError> {
        read(&self.store.pool, filter).await
    }
}

pub(super) async fn read(
    executor: impl Executor<'_, Database = Postgres>,
    filter: &JobFilter,
) -> Result<Vec<JobView>, StoreError> {
    let rows = sqlx::query_file_as!(
        Row,
        "src/sql/jobs.sql",
        filter.job.map(|id| id.0),
        filter.tenant.map(|id| id.0),
        filter.connection.map(|id| id.0),
        filter.statuses.as_slice() as &[JobStatus],
        filter.after.map(|(at, _)| at),
        filter.after.map(|(_, id)| id.0),
        filter.limit,
        filter.oldest_first,
        filter.key.as_ref().map(<[u8; 32]>::as_slice)
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(JobView::from).collect())
}
