//! Planning: a pending job becomes running, with all its slices, in one transaction. A resumed job has its slices already.

use super::super::{StoreError, events};
use super::{Locked, lock, stragglers};
use crate::handles::Jobs;
use crate::pool::Session;
use chrono::{DateTime, Utc};
use protocol::contract::EventKind;
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::{JobEvent, JobMode};
use protocol::plan::{TimeIs, TotalIs};
use protocol::slice::Span;
use serde_json::{Value, json};

/// What the planner needs to know of a job.
#[derive(Clone, Debug)]
pub struct Plannable {
    /// The job.
    pub job: JobId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its connection.
    pub connection: ConnectionId,
    /// What it pulls.
    pub mode: JobMode,
    /// The span that was asked for.
    pub span: Span,
    /// The kind of source of the connection.
    pub source: String,
    /// The upstream's address.
    pub base_url: String,
    /// The settings of the connection.
    pub settings: Value,
    /// Which account at the upstream it is, counted from 1.
    pub account: i32,
    /// How many documents the job is over; none for a job over a span.
    pub documents: Option<i32>,
}

/// What a job is planned with, beside its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The spans of its walks, in order of time; none for a job over documents.
    pub spans: Vec<Span>,
    /// A hash of the settings that decide which records are listed, identified and dated.
    pub fingerprint: String,
    /// The same settings.
    pub canonical: Value,
    /// The lower bound of all that is asked for, by its settings.
    pub floor: Option<DateTime<Utc>>,
    /// Whether the list is read by counting.
    pub counted: bool,
    /// What the upstream's total means.
    pub total_is: TotalIs,
    /// What the time of a record means.
    pub time_is: Option<TimeIs>,
    /// Whether records can be fetched by their ids.
    pub by_id: bool,
    /// For how many days a record that could not be stored holds back what is known.
    pub straggler_days: i32,
    /// The part of its span that earlier jobs found empty, and that is one slice for that.
    pub idle: Option<Span>,
}

/// What is known of a connection, in one scope: everything that happened from `from` (or from the beginning) up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The lower bound; `None` is the beginning.
    pub from: Option<DateTime<Utc>>,
    /// The mark.
    pub to: DateTime<Utc>,
}

/// What earlier jobs have shown of a connection's list, in one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// What is known.
    pub known: Option<Known>,
    /// Up to when whole walks found nothing after what is known, or nothing at all if nothing is known.
    pub empty_to: Option<DateTime<Utc>>,
}

/// How many ids a slice has: enough for its pages to be worth a doorbell, few enough to be fetched beside the others'.
const DOCUMENTS_PER_SLICE: i32 = 200;

impl Jobs<'_> {
    /// What the planner needs, if the job is pending.
    pub async fn plannable(self, job: JobId) -> Result<Option<Plannable>, StoreError> {
        let row = sqlx::query!(
            r#"select j.tenant_id as "tenant: TenantId", j.connection_id as "connection: ConnectionId",
                      j.mode as "mode: JobMode", j.date_from, j.date_to, c.source, c.base_url, c.settings,
                      c.account, j.documents
                 from jobs j join connections c on c.id = j.connection_id
                where j.id = $1 and j.status = 'pending'"#,
            job.0
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(row.map(|row| Plannable {
            job,
            tenant: row.tenant,
            connection: row.connection,
            mode: row.mode,
            span: Span { from: row.date_from, to: row.date_to },
            source: row.source,
            base_url: row.base_url,
            settings: row.settings,
            account: row.account,
            documents: row.documents,
        }))
    }

    /// What earlier jobs have shown of a connection's list, in the scope with this fingerprint.
    pub async fn shown_by_earlier(
        self,
        connection: ConnectionId,
        fingerprint: &str,
    ) -> Result<Shown, StoreError> {
        let row = sqlx::query!(
            r#"select case when s.scope = c.scope then s.known_from end as known_from,
                      case when s.scope = c.scope then s.known_to end as known_to,
                      case when s.empty_scope = c.scope then s.empty_to end as empty_to
                 from streams s join scopes c on c.connection_id = s.connection_id and c.stream = s.stream
                where s.connection_id = $1 and s.stream = 'main' and c.fingerprint = $2"#,
            connection.0,
            fingerprint
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(row.map_or_else(Shown::default, |row| Shown {
            known: row.known_to.map(|to| Known { from: row.known_from, to }),
            empty_to: row.empty_to,
        }))
    }

    /// Plans a pending job: all its slices and `running`, in one transaction. A paused one too; its slices then
    /// wait. False if it was not pending any more.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the plan is then there.
    pub async fn plan(self, plannable: &Plannable, plan: &Plan) -> Result<bool, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
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
        // A resumed job goes on within the span that its slices were cut from, and with what that job was planned with.
        let slices = if slices > 0 {
            slices
        } else {
            let version = version(&mut transaction, plannable, plan).await?;
            note(&mut transaction, plannable, plan, version).await?;
            if plannable.documents.is_some() {
                share_out(&mut transaction, plannable.job, &locked).await?
            } else {
                let walks = cut(&mut transaction, plannable.job, &locked, &plan.spans).await?;
                let beside = match plannable.mode {
                    JobMode::Incremental => stragglers::take(&mut transaction, plannable).await?,
                    JobMode::Range | JobMode::Full => 0,
                };
                walks + beside
            }
        };
        sqlx::query!("update jobs set status = 'running', started_at = now() where id = $1", plannable.job.0)
            .execute(&mut *transaction)
            .await?;
        events::record(&mut transaction, plannable.job, EventKind::Started, json!({ "slices": slices }))
            .await?;
        self.store.commit_told(transaction).await?;
        Ok(true)
    }
}

/// The version of the connection's settings, and its scope.
struct Version {
    version: i32,
    scope: i32,
}

/// Finds the version of the settings that the job is planned with, or makes it.
async fn version(
    transaction: &mut Session,
    plannable: &Plannable,
    plan: &Plan,
) -> Result<Version, StoreError> {
    // Those who plan jobs of one connection wait for each other here.
    sqlx::query!(
        "insert into streams (connection_id) values ($1) on conflict (connection_id, stream) do nothing",
        plannable.connection.0
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "select scope from streams where connection_id = $1 and stream = 'main' for update",
        plannable.connection.0
    )
    .fetch_one(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into scopes (connection_id, scope, fingerprint, canonical)
         select $1, coalesce((select max(scope) from scopes where connection_id = $1 and stream = 'main'), 0) + 1, $2, $3
             on conflict (connection_id, stream, fingerprint) do nothing",
        plannable.connection.0,
        plan.fingerprint,
        plan.canonical
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into settings_versions (connection_id, version, scope, source, base_url, settings, put_by, put_at)
         select $1, coalesce((select max(version) from settings_versions
                               where connection_id = $1 and stream = 'main'), 0) + 1,
                c.scope, $3, $4, $5, n.settings_by, n.settings_at
           from scopes c join connections n on n.id = c.connection_id
          where c.connection_id = $1 and c.stream = 'main' and c.fingerprint = $2
            and not exists (select from settings_versions v
                             where v.connection_id = $1 and v.stream = 'main' and v.scope = c.scope and v.source = $3
                               and v.base_url = $4 and v.settings = $5)",
        plannable.connection.0,
        plan.fingerprint,
        plannable.source,
        plannable.base_url,
        plannable.settings
    )
    .execute(&mut *transaction)
    .await?;
    Ok(sqlx::query_as!(
        Version,
        "select v.version, v.scope
           from settings_versions v
           join scopes c on c.connection_id = v.connection_id and c.stream = v.stream and c.scope = v.scope
          where v.connection_id = $1 and v.stream = 'main' and c.fingerprint = $2 and v.source = $3
            and v.base_url = $4 and v.settings = $5
          order by v.version desc limit 1",
        plannable.connection.0,
        plan.fingerprint,
        plannable.source,
        plannable.base_url,
        plannable.settings
    )
    .fetch_one(transaction)
    .await?)
}

/// Notes on the job what it is planned with.
async fn note(
    transaction: &mut Session,
    plannable: &Plannable,
    plan: &Plan,
    version: Version,
) -> Result<(), StoreError> {
    let from = plan.spans.first().map_or(plannable.span.from, |span| span.from);
    sqlx::query!(
        "update jobs set date_from = $2, settings_version = $3, scope = $4, floor = $5, counted = $6, total_is = $7,
                time_is = $8, by_id = $9, straggler_days = $10, idle_from = $11, idle_to = $12
          where id = $1",
        plannable.job.0,
        from,
        version.version,
        version.scope,
        plan.floor,
        plan.counted,
        plan.total_is as TotalIs,
        plan.time_is as Option<TimeIs>,
        plan.by_id,
        plan.straggler_days,
        plan.idle.and_then(|idle| idle.from),
        plan.idle.map(|idle| idle.to)
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Shares the documents of a job out, and returns among how many slices. What there is to fetch is known from the beginning.
async fn share_out(transaction: &mut Session, job: JobId, locked: &Locked) -> Result<i64, StoreError> {
    let slices = sqlx::query!(
        "insert into slices (job_id, slice, tenant_id, connection_id, kind, span_to, ids_from, ids_to, total)
         select j.id, first / $4, $2, $3, 'documents', j.date_to, first, least(first + $4, j.documents),
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

/// Makes the slices of these spans, and returns how many.
async fn cut(
    transaction: &mut Session,
    job: JobId,
    locked: &Locked,
    spans: &[Span],
) -> Result<i64, StoreError> {
    let from: Vec<Option<DateTime<Utc>>> = spans.iter().map(|span| span.from).collect();
    let to: Vec<DateTime<Utc>> = spans.iter().map(|span| span.to).collect();
    sqlx::query!(
        "insert into slices (job_id, slice, tenant_id, connection_id, span_from, span_to)
         select $1, (ord - 1)::int, $2, $3, span_from, span_to
           from unnest($4::timestamptz[], $5::timestamptz[]) with ordinality as s (span_from, span_to, ord)",
        job.0,
        locked.tenant.0,
        locked.connection.0,
        from.as_slice() as &[Option<DateTime<Utc>>],
        &to
    )
    .execute(transaction)
    .await?;
    Ok(i64::try_from(spans.len()).unwrap_or(i64::MAX))
}
