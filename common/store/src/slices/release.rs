//! Giving a lease back: hand-over, back-off, the upstream's own pause, and finding out where a slice stands after a
//! settle whose answer says nothing.

use super::super::StoreError;
use super::{Attempt, Lease};
use crate::handles::Slices;
use chrono::{DateTime, Utc};
use protocol::ids::{ConnectionId, JobId, LeaseToken, WorkerId};
use protocol::slice::{Ring, SliceStatus};
use protocol::walk::Walk;
use sqlx::types::Json;
use std::time::Duration;

/// Where a slice stands, seen by the holder of a lease on it.
#[derive(Debug, PartialEq, Eq)]
pub enum Reread {
    /// The lease is ours, at this page: go on with it (the next page: our settle had happened).
    Ours,
    /// Unleased at the page after ours: our settle had happened, its doorbell may not have been rung.
    RingNext(Ring),
    /// Unleased at our page: it may be claimed again, as if redelivered.
    ClaimAgain,
    /// Every page is settled.
    SliceDone,
    /// Closed, and the lease is still ours: release it.
    ClosedUnderUs,
    /// Somebody else's.
    Lost,
}

/// A slice's row, as far as a holder needs it.
#[derive(Debug)]
pub struct SliceNow {
    /// What to do.
    pub found: Reread,
    /// The slice's page and cursor, if the lease is ours.
    pub cursor: Option<String>,
    /// See [`super::PageContext::anchor`].
    pub anchor: Option<String>,
    /// See [`super::PageContext::walk`].
    pub walk: Walk,
    /// The time of the database.
    pub read_at: DateTime<Utc>,
}

impl Slices<'_> {
    /// Reads a slice for the holder of a lease. If the lease is ours it is moved to the slice's page. `None` if there is no
    /// such slice any more.
    pub async fn reread(self, lease: &mut Lease) -> Result<Option<SliceNow>, StoreError> {
        let row = sqlx::query!(
            r#"select status as "status: SliceStatus", page, ring, cursor, anchor, lease_token as "token: LeaseToken",
                      walk as "walk: Json<Walk>", now() as "read_at!"
                 from slices where job_id = $1 and slice = $2"#,
            lease.job.0,
            lease.slice
        )
        .fetch_optional(&self.store.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let ours = row.token == Some(lease.token);
        let found = match row.status {
            SliceStatus::Ready if ours => {
                lease.page = row.page;
                Reread::Ours
            }
            SliceStatus::Ready if row.token.is_none() && row.page == lease.page + 1 => {
                Reread::RingNext(lease.ring(row.page, row.ring))
            }
            SliceStatus::Ready if row.token.is_none() && row.page == lease.page => Reread::ClaimAgain,
            SliceStatus::Done => Reread::SliceDone,
            SliceStatus::Cancelled | SliceStatus::Failed if ours => Reread::ClosedUnderUs,
            SliceStatus::Ready
            | SliceStatus::Queued
            | SliceStatus::Waiting
            | SliceStatus::Cancelled
            | SliceStatus::Failed => Reread::Lost,
        };
        Ok(Some(SliceNow {
            found,
            cursor: row.cursor,
            anchor: row.anchor,
            walk: row.walk.0,
            read_at: row.read_at,
        }))
    }

    /// Ends a lease without a result, if it is still ours: the page is free again. True if it was ours.
    ///
    /// # Errors
    /// When the database cannot be written; the lease then expires by itself.
    pub async fn release(self, lease: &Lease) -> Result<bool, StoreError> {
        self.release_held(lease.held()).await
    }

    /// The same of a lease that is in somebody else's hands.
    ///
    /// # Errors
    /// As [`Slices::release`].
    pub async fn release_held(
        self,
        (job, slice, token): (JobId, i32, LeaseToken),
    ) -> Result<bool, StoreError> {
        let released = sqlx::query!(
            "update slices set lease_token = null, leased_ring = null, worker = null, leased_until = null
              where job_id = $1 and slice = $2 and lease_token = $3",
            job.0,
            slice,
            token.0
        )
        .execute(&self.store.pool)
        .await?;
        Ok(released.rows_affected() == 1)
    }

    /// Ends several leases without a result, as [`Slices::release`] does for each. False where one is not plainly released, or
    /// is not ours any more: release that one alone.
    ///
    /// # Errors
    /// When the database cannot be written; the leases then expire by themselves.
    pub async fn release_together(
        self,
        leases: &[(JobId, i32, LeaseToken)],
    ) -> Result<Vec<bool>, StoreError> {
        let rows = sqlx::query_file_scalar!(
            "src/sql/release_together.sql",
            &leases.iter().map(|(job, ..)| job.0).collect::<Vec<_>>(),
            &leases.iter().map(|(_, slice, _)| *slice).collect::<Vec<_>>(),
            &leases.iter().map(|(.., token)| token.0).collect::<Vec<_>>(),
            i64::try_from(leases.len()).unwrap_or(i64::MAX)
        )
        .fetch_all(&self.store.pool)
        .await?;
        let mut released = vec![false; leases.len()];
        for nth in rows {
            if let Some(released) = usize::try_from(nth - 1).ok().and_then(|at| released.get_mut(at)) {
                *released = true;
            }
        }
        Ok(released)
    }

    /// Takes back the charge that was laid on a page when its holder (this one) was taken for dead.
    ///
    /// # Errors
    /// When the database cannot be written; the charge then stays until the page is settled.
    pub async fn give_back_charge(self, lease: &Lease) -> Result<(), StoreError> {
        sqlx::query!(
            "update slices set charges = array_remove(charges, $3)
              where job_id = $1 and slice = $2 and $3 = any (charges)",
            lease.job.0,
            lease.slice,
            lease.worker.0
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }

    /// Charges a page with the panic of its handler, as it would be with the death of a process, and ends its lease: it is
    /// rung again after the delay. False if the slice was closed meanwhile, and its lease has only ended; `None` if the lease
    /// is not there.
    ///
    /// # Errors
    /// When the database cannot be written; the lease then expires by itself.
    pub async fn charge_panic(
        self,
        (job, slice, token): (JobId, i32, LeaseToken),
        delay: Duration,
        error: &str,
    ) -> Result<Option<bool>, StoreError> {
        let charged = sqlx::query_scalar!(
            r#"update slices set
                      charges = case when status = 'ready' then charges || gen_random_uuid() else charges end,
                      not_before = case when status = 'ready' then now() + $4::float8 * interval '1 ms' else not_before end,
                      last_error = $5, status = case when status = 'ready' then 'waiting' else status end,
                      lease_token = null, leased_ring = null, worker = null, leased_until = null
                where job_id = $1 and slice = $2 and lease_token = $3
               returning status = 'waiting' as "charged!""#,
            job.0,
            slice,
            token.0,
            delay.as_secs_f64() * 1000.0,
            error
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(charged)
    }

    /// Ends an attempt: the page waits, and is rung again when its time has come. True if the lease was ours.
    pub async fn back_off(
        self,
        lease: &Lease,
        delay: Duration,
        attempt: Attempt,
        error: &str,
    ) -> Result<bool, StoreError> {
        let faults = match attempt {
            Attempt::None => None,
            Attempt::Failed { faults } => Some(i32::try_from(faults).unwrap_or(i32::MAX)),
        };
        let written = sqlx::query!(
            "update slices set status = 'waiting', not_before = now() + $5::float8 * interval '1 ms',
                    attempts = attempts + ($7::int is not null)::int, last_error = $6, faults = coalesce($7::int, faults),
                    failing_since = case when $7::int is not null and attempts = 0 then now() else failing_since end,
                    failed_at = case when $7::int is not null then now() else failed_at end,
                    lease_token = null, leased_ring = null, worker = null, leased_until = null
              where job_id = $1 and slice = $2 and lease_token = $3 and page = $4 and status = 'ready'",
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page,
            delay.as_secs_f64() * 1000.0,
            error,
            faults
        )
        .execute(&self.store.pool)
        .await?;
        Ok(written.rows_affected() == 1)
    }

    /// The upstream asked for a pause: its connection rests, for the whole fleet, and the page waits for its turn. No
    /// attempt is counted. Without a time asked for, pauses that follow each other grow from `first` up to an hour.
    /// True if the lease was ours.
    pub async fn rate_limited(
        self,
        lease: &Lease,
        connection: ConnectionId,
        asked: Option<Duration>,
        first: Duration,
        forbidden: bool,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        // Pages that were in flight together meet the same limit: only the first of them lengthens the pause.
        sqlx::query!(
            "update connections set
                    pause_streak = case when $2::float8 is not null then 0
                                        when paused_until > now() - interval '1 minute' then pause_streak + 1 else 0 end,
                    paused_until = now() + coalesce($2::float8, least(3600000, $3::float8 * power(2,
                        case when paused_until > now() - interval '1 minute' then least(pause_streak + 1, 30) else 0 end)))
                        * interval '1 ms'
              where id = $1 and (paused_until is null or paused_until <= now()
                                 or ($2::float8 is not null and paused_until < now() + $2::float8 * interval '1 ms'))",
            connection.0,
            asked.map(|asked| asked.as_secs_f64() * 1000.0),
            first.as_secs_f64() * 1000.0
        )
        .execute(&mut *transaction)
        .await?;
        let written = sqlx::query!(
            "update slices set status = 'queued', last_error = 'the upstream asked for a pause',
                    forbidden_rests = forbidden_rests + $5::boolean::int,
                    lease_token = null, leased_ring = null, worker = null, leased_until = null
              where job_id = $1 and slice = $2 and lease_token = $3 and page = $4 and status = 'ready'",
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page,
            forbidden
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(written.rows_affected() == 1)
    }

    /// Begins a slice's walk anew, since the upstream refuses the cursor that the walk had stored. Once per slice and job.
    /// Pages are numbered on; the lease stays. False if it was done before, or the lease is not ours any more.
    pub async fn start_over(self, lease: &Lease, cause: &str) -> Result<bool, StoreError> {
        let walk = serde_json::to_string(&Walk::from_page(lease.page)).unwrap_or_default();
        let written = sqlx::query!(
            "with over as (
                 update slices set cursor = null, anchor = null, walk = $5::text::jsonb, upstream_total = null,
                        started_over = true, attempts = 0
                  where job_id = $1 and slice = $2 and lease_token = $3 and page = $4 and status = 'ready'
                    and not started_over
                 returning job_id, slice)
             insert into warnings (job_id, slice, kind, count, text)
             select job_id, slice, 'started_over', 1, left($6, 500) from over
                 on conflict (job_id, slice, kind) do nothing",
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page,
            walk,
            cause
        )
        .execute(&self.store.pool)
        .await?;
        Ok(written.rows_affected() == 1)
    }

    /// Renews the leases of pages in progress. Returns the tokens that are lost: their pages are to be aborted.
    ///
    /// # Errors
    /// When the database cannot be written; leases that are not renewed expire.
    pub async fn renew(
        self,
        worker: WorkerId,
        held: &[(JobId, i32, LeaseToken)],
        lease: Duration,
    ) -> Result<Vec<LeaseToken>, StoreError> {
        let jobs: Vec<_> = held.iter().map(|(job, _, _)| job.0).collect();
        let slices: Vec<_> = held.iter().map(|(_, slice, _)| *slice).collect();
        let tokens: Vec<_> = held.iter().map(|(_, _, token)| token.0).collect();
        let rows = sqlx::query_file!(
            "src/sql/renew.sql",
            &jobs,
            &slices,
            &tokens,
            lease.as_secs_f64() * 1000.0,
            worker.0
        )
        .fetch_all(&self.store.pool)
        .await?;
        Ok(rows.into_iter().filter(|row| !row.mine).map(|row| row.token).collect())
    }
}
