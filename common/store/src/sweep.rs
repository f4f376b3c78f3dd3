//! What the sweeper asks of the store. Every duty is idempotent and may run in several processes at once: rows that
//! another process is at are skipped, and a batch bounds each.

use super::StoreError;
use crate::handles::Sweeps;
use chrono::{DateTime, Utc};
use configuration::JobsConfig;
use protocol::ids::{JobId, TenantId, WorkerId};
use protocol::slice::Ring;
use std::time::Duration;

/// A lease that had expired and was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// The page is free again: ring it.
    Ring(Ring),
    /// The slice had been closed by a cancel: see whether the cancel has ended.
    Closed(JobId),
}

/// What an overdue job wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelDue {
    /// The job.
    pub job: JobId,
    /// Whether the deadline has passed; otherwise the job merely has no lease left.
    pub overdue: bool,
}

/// When a duty last ran.
#[derive(Clone, Debug)]
pub struct SweepRow {
    /// The duty.
    pub duty: String,
    /// When it last ran, anywhere.
    pub ran_at: DateTime<Utc>,
    /// When it last succeeded, anywhere.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// What went wrong the last time, if it did.
    pub error: Option<String>,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl Sweeps<'_> {
    /// Ends leases whose holders do not renew them.
    pub async fn expire_leases(self, limit: i64) -> Result<Vec<Expired>, StoreError> {
        let rows = sqlx::query_file!("src/sql/expire.sql", limit).fetch_all(&self.store.pool).await?;
        Ok(rows
            .into_iter()
            .map(|row| match row.open {
                true => {
                    Expired::Ring(Ring { job: row.job, slice: row.slice, page: row.page, ring: row.ring })
                }
                false => Expired::Closed(row.job),
            })
            .collect())
    }

    /// Rings slices again whose doorbells were lost.
    pub async fn rering_lost(self, limit: i64) -> Result<Vec<Ring>, StoreError> {
        Ok(sqlx::query_file_as!(Ring, "src/sql/rering.sql", limit).fetch_all(&self.store.pool).await?)
    }

    /// Admits a marker, one per `every` over the whole fleet, while anything is rung: the next one, or the last one once
    /// more if that is still out, since it may be lost. Returns its number.
    ///
    /// A copy of a marker that is merely late changes nothing when it comes back.
    pub async fn admit_marker(self, every: Duration) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar!(
            "update markers set published = published + (returned = published)::int, published_at = now()
              where published_at + $1::float8 * interval '1 ms' <= now()
                and exists (select from slices where status = 'ready' and lease_token is null)
             returning published",
            millis(every)
        )
        .fetch_optional(&self.store.pool)
        .await?)
    }

    /// Notes that a marker came back.
    ///
    /// # Errors
    /// When the database cannot be written; keep the marker and try again.
    pub async fn marker_returned(self, number: i64) -> Result<(), StoreError> {
        sqlx::query!(
            "update markers set returned = least($1, published) where returned < least($1, published)",
            number
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }

    /// Cancelling jobs that can end: without a lease, or past the deadline after the request.
    pub async fn cancels_due(self, deadline: Duration, limit: i64) -> Result<Vec<CancelDue>, StoreError> {
        Ok(sqlx::query_as!(
            CancelDue,
            r#"select j.id as "job: JobId", cancel_requested_at + $1::float8 * interval '1 ms' <= now() as "overdue!"
                 from jobs j
                where j.status = 'cancelling'
                  and (cancel_requested_at + $1::float8 * interval '1 ms' <= now()
                       or not exists (select from slices s where s.job_id = j.id and s.lease_token is not null))
                order by cancel_requested_at limit $2"#,
            millis(deadline),
            limit
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Running jobs whose slices are all done: their finish was lost.
    pub async fn unfinished(self, limit: i64) -> Result<Vec<JobId>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select j.id as "id: JobId" from jobs j
                where j.status = 'running'
                  and not exists (select from slices s where s.job_id = j.id and s.status in ('queued', 'ready', 'waiting'))
                order by j.created_at limit $1"#,
            limit
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Running jobs that have outgrown a limit, and which one in words. A limit of 0 is none.
    pub async fn overgrown(
        self,
        limits: &JobsConfig,
        limit: i64,
    ) -> Result<Vec<(JobId, String)>, StoreError> {
        let number = |most: u64| i64::try_from(most).unwrap_or(i64::MAX);
        let rows = sqlx::query!(
            r#"select id as "id: JobId", over as "over!"
                 from (select j.id, j.created_at,
                              case when $1::bigint > 0 and c.records > $1
                                   then 'it has more than ' || $1 || ' records (jobs.max_records)'
                                   when $2::bigint > 0 and c.pages > $2
                                   then 'it has more than ' || $2 || ' pages (jobs.max_pages)'
                                   when $3::float8 > 0 and j.started_at < now() - $3 * interval '1 ms'
                                   then 'it began at ' || to_char(j.started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
                                        || ' UTC, longer ago than a job may run (jobs.max_age_ms)' end as over
                         from jobs j
                        cross join lateral (
                              select sum(s.inserted + s.updated + s.unchanged + s.deferred + s.failed) as records,
                                     sum(s.page) as pages from slices s where s.job_id = j.id) c
                        where j.status = 'running') grown
                where over is not null order by created_at limit $4"#,
            number(limits.max_records),
            number(limits.max_pages),
            limits.max_age.as_secs_f64() * 1000.0,
            limit
        )
        .fetch_all(&self.store.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.id, row.over)).collect())
    }

    /// Pending jobs whose start command was not confirmed, or got lost after that.
    pub async fn unplanned(self, unconfirmed: Duration, limit: i64) -> Result<Vec<JobId>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select id as "id: JobId" from jobs
                where status = 'pending' and created_at + $1::float8 * interval '1 ms' <= now()
                order by created_at limit $2"#,
            millis(unconfirmed),
            limit
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Tenants with slices that wait for their turn, or whose back-off is over.
    pub async fn tenants_wanting(self) -> Result<Vec<TenantId>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select c.tenant_id as "tenant: TenantId" from connections c
                where (c.paused_until is null or c.paused_until <= now())
                  and exists (select from slices s where s.connection_id = c.id
                                 and (s.status = 'queued' or (s.status = 'waiting' and s.not_before <= now())))
                group by c.tenant_id"#
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Removes what nobody needs any more. Jobs, their page logs and records stay.
    pub async fn prune(self, limit: i64) -> Result<u64, StoreError> {
        let mut removed = 0;
        removed += sqlx::query!(
            "delete from commands where id in (
                 select id from commands
                  where received_at < now() - case when request is not null and given is null then interval '24 hours'
                                               else interval '7 days' end
                  limit $1)",
            limit
        )
        .execute(&self.store.pool)
        .await?
        .rows_affected();
        removed += sqlx::query!(
            "delete from tombstones where job_id in (
                 select job_id from tombstones where created_at < now() - interval '24 hours' limit $1)",
            limit
        )
        .execute(&self.store.pool)
        .await?
        .rows_affected();
        removed += sqlx::query!(
            "delete from job_events where id in (
                 select id from job_events where published_at < now() - interval '30 days' order by id limit $1)",
            limit
        )
        .execute(&self.store.pool)
        .await?
        .rows_affected();
        removed += sqlx::query!(
            "delete from workers where id in (
                 select id from workers where seen_at < now() - interval '7 days' limit $1)",
            limit
        )
        .execute(&self.store.pool)
        .await?
        .rows_affected();
        Ok(removed)
    }

    /// Notes that a duty ran, and how.
    pub async fn record(self, worker: WorkerId, duty: &str, error: Option<&str>) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into sweeps as s (duty, worker, ran_at, succeeded_at, error)
             values ($1, $2, now(), case when $3::text is null then now() end, $3)
             on conflict (duty) do update set worker = excluded.worker, ran_at = excluded.ran_at,
                 succeeded_at = coalesce(excluded.succeeded_at, s.succeeded_at), error = excluded.error",
            duty,
            worker.0,
            error
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }

    /// When each duty last ran.
    pub async fn list(self) -> Result<Vec<SweepRow>, StoreError> {
        Ok(sqlx::query_as!(SweepRow, "select duty, ran_at, succeeded_at, error from sweeps order by duty")
            .fetch_all(&self.store.pool)
            .await?)
    }
}
