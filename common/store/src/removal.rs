//! Deleting a connection: it is marked, and its job cancelled, at once; its rows go later, batch by batch, when nothing of
//! it is in anybody's hands.

use super::StoreError;
use super::jobs::{CancelOutcome, CancelRequest, CancelTarget, fence};
use crate::handles::Connections;
use crate::pool::Session;
use protocol::ids::{ConnectionId, JobId, TenantId};

/// The answer to a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The connection is deleted. Its name is free again.
    Deleted {
        /// The job that was active, and is cancelled with it.
        cancelled: Option<JobId>,
        /// Jobs that are cancelled with it (that one, and those over documents) and have pages in flight: whoever holds
        /// them is to be told.
        in_flight: Vec<JobId>,
    },
    /// No such connection of this tenant, or it was deleted before.
    Unknown,
}

/// What a batch of a removal has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// This many rows; there may be more.
    Rows(u64),
    /// There is nothing to remove at this moment.
    Nothing,
}

/// Slices that one batch removes at most.
const SLICES: i64 = 200;

impl Connections<'_> {
    /// Marks a connection as deleted and cancels its active jobs. From the commit on nothing is started on it and nothing
    /// of it is settled.
    ///
    /// # Errors
    /// When the database cannot be written; the deletion may or may not have happened, and may be repeated.
    pub async fn delete(
        self,
        connection: ConnectionId,
        tenant: TenantId,
        requested_by: Option<String>,
    ) -> Result<DeleteOutcome, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        // Starts and resumes take the same lock: what they have made is seen below.
        let marked = sqlx::query!(
            "update connections set deleted_at = now() where id = $1 and tenant_id = $2 and deleted_at is null",
            connection.0,
            tenant.0
        )
        .execute(&mut *transaction)
        .await?;
        if marked.rows_affected() == 0 {
            return Ok(DeleteOutcome::Unknown);
        }
        let active = sqlx::query!(
            r#"select id as "id: JobId", documents is not null as "over_documents!" from jobs
                where connection_id = $1 and status in ('pending', 'running') order by id"#,
            connection.0
        )
        .fetch_all(&mut *transaction)
        .await?;
        let (mut cancelled, mut in_flight) = (None, Vec::new());
        for active in active {
            let job = active.id;
            let request = CancelRequest {
                target: CancelTarget::Job(job),
                tenant: None,
                reason: Some("the connection was deleted".to_owned()),
                requested_by: requested_by.clone(),
                command: None,
                keep_if_unknown: false,
            };
            let outcome = fence(&mut transaction, job, &request).await?;
            let held = matches!(outcome, Some(CancelOutcome::Cancelling { .. }));
            in_flight.extend(held.then_some(job));
            // It may have come to its end by itself a moment ago.
            let newly = held || matches!(outcome, Some(CancelOutcome::Cancelled { .. }));
            if newly && !active.over_documents {
                cancelled = Some(job);
            }
        }
        transaction.commit().await?;
        Ok(DeleteOutcome::Deleted { cancelled, in_flight })
    }

    /// Removes a batch of a deleted connection's rows: its records, then its jobs, the newest first, then itself. Each
    /// batch is a transaction, after which every invariant holds. A connection at which another process is, is skipped,
    /// and so is one with a job that has not ended (it may be in somebody's hands) or with events to be published.
    ///
    /// # Errors
    /// When the database cannot be written; the batch is removed later.
    pub async fn remove_deleted(self, batch: i64) -> Result<Removed, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let connection = sqlx::query_scalar!(
            r#"select c.id as "id: ConnectionId" from connections c
                where c.deleted_at is not null
                  and not exists (select from jobs j where j.connection_id = c.id
                                     and (j.status in ('pending', 'running', 'cancelling')
                                          or exists (select from job_events e where e.job_id = j.id
                                                        and e.published_at is null)))
                order by c.deleted_at limit 1
                  for no key update skip locked"#
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(connection) = connection else { return Ok(Removed::Nothing) };
        let mut rows = remove_records(&mut transaction, connection, batch).await?;
        if rows == 0 {
            rows = remove_stragglers(&mut transaction, connection, batch).await?;
        }
        if rows == 0 {
            rows = match newest_job(&mut transaction, connection).await? {
                Some(job) => remove_of_job(&mut transaction, job, batch).await?,
                None => remove_connection(&mut transaction, connection).await?,
            };
        }
        transaction.commit().await?;
        Ok(Removed::Rows(rows))
    }

    /// Empties the working tables of a deletion whose job is over, by one batch.
    ///
    /// # Errors
    /// When the database cannot be written; the batch is removed later.
    pub async fn remove_working_rows(self, batch: i64) -> Result<Removed, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let over = sqlx::query_scalar!(
            r#"select d.job_id as "job: JobId" from checks d
                where not exists (select from jobs j
                                   where j.id = d.job_id and j.status in ('pending', 'running', 'cancelling'))
                limit 1
                  for update of d skip locked"#
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(job) = over else { return Ok(Removed::Nothing) };
        let removed = sqlx::query!(
            r#"with gone_seen as (
                   delete from seen where (job_id, external_id, slice) in (
                       select job_id, external_id, slice from seen where job_id = $1 order by external_id limit $2)
                   returning 1
               ), gone_unseen as (
                   delete from unseen where (job_id, external_id) in (
                       select job_id, external_id from unseen where job_id = $1 order by external_id limit $2)
                   returning 1
               )
               select (select count(*) from gone_seen) + (select count(*) from gone_unseen) as "rows!""#,
            job.0,
            batch
        )
        .fetch_one(&mut *transaction)
        .await?
        .rows;
        if removed == 0 {
            sqlx::query!("delete from checks where job_id = $1", job.0).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Removed::Rows(u64::try_from(removed).unwrap_or_default().max(1)))
    }
}

async fn remove_records(
    transaction: &mut Session,
    connection: ConnectionId,
    batch: i64,
) -> Result<u64, StoreError> {
    Ok(sqlx::query!(
        "with doomed as materialized (select external_id from records where connection_id = $1 limit $2)
         delete from records r using doomed d where r.connection_id = $1 and r.external_id = d.external_id",
        connection.0,
        batch
    )
    .execute(transaction)
    .await?
    .rows_affected())
}

async fn remove_stragglers(
    transaction: &mut Session,
    connection: ConnectionId,
    batch: i64,
) -> Result<u64, StoreError> {
    Ok(sqlx::query!(
        "with doomed as materialized (select stream, external_id from stragglers where connection_id = $1 limit $2)
         delete from stragglers s using doomed d
          where s.connection_id = $1 and s.stream = d.stream and s.external_id = d.external_id",
        connection.0,
        batch
    )
    .execute(transaction)
    .await?
    .rows_affected())
}

/// The last job of a chain of resumed ones goes first: what it carries is checked against the one before.
async fn newest_job(
    transaction: &mut Session,
    connection: ConnectionId,
) -> Result<Option<JobId>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select j.id as "id: JobId" from jobs j
            where j.connection_id = $1 and not exists (select from jobs n where n.resumed_from = j.id)
            order by j.created_at desc, j.id desc limit 1
              for update"#,
        connection.0
    )
    .fetch_optional(transaction)
    .await?)
}

/// Some slices of a job with their page logs, at least one slice and then as many as have `batch` pages together; or, when
/// none is left, the job itself and its events.
async fn remove_of_job(transaction: &mut Session, job: JobId, batch: i64) -> Result<u64, StoreError> {
    let doomed = sqlx::query_scalar!(
        r#"select slice from (select slice, sum(page) over (order by slice) - page as pages_before
                                from slices where job_id = $1 order by slice limit $3) s
            where pages_before < $2"#,
        job.0,
        batch,
        SLICES
    )
    .fetch_all(&mut *transaction)
    .await?;
    if doomed.is_empty() {
        let events = sqlx::query!("delete from job_events where job_id = $1", job.0)
            .execute(&mut *transaction)
            .await?;
        sqlx::query!("delete from jobs where id = $1", job.0).execute(transaction).await?;
        return Ok(events.rows_affected() + 1);
    }
    let pages = sqlx::query!("delete from page_log where job_id = $1 and slice = any ($2)", job.0, &doomed)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    sqlx::query!("delete from warnings where job_id = $1 and slice = any ($2)", job.0, &doomed)
        .execute(&mut *transaction)
        .await?;
    let slices = sqlx::query!("delete from slices where job_id = $1 and slice = any ($2)", job.0, &doomed)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    // What is left of a cancelled job still agrees with its fence.
    sqlx::query!(
        "update jobs set pages_at_fence = pages_at_fence - $2 where id = $1 and pages_at_fence is not null",
        job.0,
        i64::try_from(pages).unwrap_or(i64::MAX)
    )
    .execute(transaction)
    .await?;
    Ok(pages + slices)
}

async fn remove_connection(transaction: &mut Session, connection: ConnectionId) -> Result<u64, StoreError> {
    // What is known of it goes with it.
    let known = sqlx::query!(
        "with no_walks as (delete from pass_walks where connection_id = $1),
              no_passes as (delete from passes where connection_id = $1),
              no_shortfalls as (delete from shortfalls where connection_id = $1),
              nothing_known as (delete from streams where connection_id = $1),
              no_versions as (delete from settings_versions where connection_id = $1)
         delete from scopes where connection_id = $1",
        connection.0
    )
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    let removed = sqlx::query!("delete from connections where id = $1", connection.0)
        .execute(transaction)
        .await?
        .rows_affected();
    Ok(known + removed)
}
