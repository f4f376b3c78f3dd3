//! Planning: a pending job becomes running, with all its slices, in one transaction. A resumed job has its slices already.

use super::super::{Store, StoreError, events};
use super::{Locked, lock};
use crate::contract::EventKind;
use crate::ids::{JobId, TenantId};
use crate::job::{JobEvent, JobMode};
use crate::slice::{Slicing, Span};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// What the planner needs to know of a job.
#[derive(Clone, Debug)]
pub struct Plannable {
    /// The job.
    pub job: JobId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it pulls.
    pub mode: JobMode,
    /// The span to cut.
    pub span: Span,
    /// How far the connection is known without a gap.
    pub covered_to: Option<DateTime<Utc>>,
    /// The kind of source of the connection.
    pub source: String,
    /// The settings of the connection.
    pub settings: Value,
    /// How many documents the job is over; none for a job over a span.
    pub documents: Option<i32>,
}

/// How many ids a slice has: enough for its pages to be worth a doorbell, few enough to be fetched beside the others'.
const DOCUMENTS_PER_SLICE: i32 = 200;

impl Plannable {
    /// Finds where an incremental job begins: so much before the end of what is known. With nothing known, it has no lower
    /// bound. The span of a job of another mode stays as it was asked for.
    pub fn reach_back(&mut self, overlap: TimeDelta) {
        match self.mode {
            JobMode::Range | JobMode::Full => {}
            JobMode::Incremental => {
                let latest = self.span.to - TimeDelta::microseconds(1);
                let from = self.covered_to.and_then(|known| known.checked_sub_signed(overlap));
                self.span.from = from.map(|from| from.min(latest));
            }
        }
    }
}

impl Store {
    /// What the planner needs, if the job is pending.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn plannable(&self, job: JobId) -> Result<Option<Plannable>, StoreError> {
        let row = sqlx::query!(
            r#"select j.tenant_id as "tenant: TenantId", j.mode as "mode: JobMode", j.date_from, j.date_to, c.source,
                      c.settings, j.documents, before.covered_to as "covered_to?"
                 from jobs j join connections c on c.id = j.connection_id
                 left join lateral (
                        select covered_to from jobs where connection_id = j.connection_id and status = 'completed'
                           and documents is null
                         order by created_at desc, id desc limit 1) before on true
                where j.id = $1 and j.status = 'pending'"#,
            job.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Plannable {
            job,
            tenant: row.tenant,
            mode: row.mode,
            covered_to: row.covered_to,
            span: Span { from: row.date_from, to: row.date_to },
            source: row.source,
            settings: row.settings,
            documents: row.documents,
        }))
    }

    /// Plans a pending job: all its slices and `running`, in one transaction. A paused one too; its slices then
    /// wait. False if it was not pending any more.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the plan is then there.
    pub async fn plan(&self, plannable: &Plannable, slicing: Option<Slicing>) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(locked) = lock(&mut transaction, plannable.job).await? else { return Ok(false) };
        if locked.status.next(JobEvent::Planned).is_none() {
            return Ok(false);
        }
        let slices = sqlx::query_scalar!(
            r#"select count(*) as "slices!" from slices where job_id = $1"#,
            plannable.job.0
        )
        .fetch_one(&mut *transaction)
        .await?;
        let (slices, resumed) = match slices {
            0 if plannable.documents.is_some() => {
                (share_out(&mut transaction, plannable.job, &locked).await?, false)
            }
            0 => (cut(&mut transaction, plannable, &locked, slicing).await?, false),
            resumed => (resumed, true),
        };
        // A resumed job goes on within the span that its slices were cut from.
        sqlx::query!(
            "update jobs set status = 'running', started_at = now(), date_from = case when $3 then date_from else $2 end
              where id = $1",
            plannable.job.0,
            plannable.span.from,
            resumed
        )
        .execute(&mut *transaction)
        .await?;
        events::record(&mut transaction, plannable.job, EventKind::Started, json!({ "slices": slices }))
            .await?;
        self.commit_told(transaction).await?;
        Ok(true)
    }
}

/// Shares the documents of a job out, and returns among how many slices. What there is to fetch is known from the beginning.
async fn share_out(transaction: &mut PgConnection, job: JobId, locked: &Locked) -> Result<i64, StoreError> {
    let slices = sqlx::query!(
        "insert into slices (job_id, slice, tenant_id, connection_id, span_to, ids_from, ids_to, total)
         select j.id, first / $4, $2, $3, j.date_to, first, least(first + $4, j.documents),
                least(first + $4, j.documents) - first
           from jobs j cross join lateral generate_series(0, j.documents - 1, $4) as first
          where j.id = $1",
        job.0,
        locked.tenant.0,
        locked.connection.0,
        DOCUMENTS_PER_SLICE
    )
    .execute(transaction)
    .await?;
    Ok(i64::try_from(slices.rows_affected()).unwrap_or(i64::MAX))
}

/// Cuts the span, and returns into how many slices.
async fn cut(
    transaction: &mut PgConnection,
    plannable: &Plannable,
    locked: &Locked,
    slicing: Option<Slicing>,
) -> Result<i64, StoreError> {
    // The planner has seen whether there are too many.
    let spans = Slicing::cut(slicing, plannable.span).unwrap_or_else(|_too_many| vec![plannable.span]);
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
    .execute(transaction)
    .await?;
    Ok(i64::try_from(spans.len()).unwrap_or(i64::MAX))
}
