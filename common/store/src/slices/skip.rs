//! Skipping: a page that can never be settled does not hold up, or fail, the rest of its job.

use super::super::StoreError;
use super::Lease;
use crate::handles::Slices;
use protocol::ids::{ConnectionId, JobId, TenantId, WorkerId};
use protocol::poison::PoisonPolicy;
use protocol::slice::{Ring, SliceStatus};
use protocol::walk::Walk;
use serde_json::json;

/// A page to be skipped.
#[derive(Clone, Debug)]
pub struct Skip<'a> {
    /// By what right.
    pub right: SkipRight<'a>,
    /// Why, in words.
    pub cause: &'a str,
    /// How the upstream's answer began, if there was one.
    pub body: Option<&'a str>,
    /// The cursor of the page after it; where it is not known the slice ends here.
    pub next: Option<&'a str>,
    /// The cursor to compare later ones with.
    pub anchor: Option<&'a str>,
    /// What the walk has shown, without the page.
    pub walk: Walk,
}

/// By what right a page is skipped.
#[derive(Clone, Copy, Debug)]
pub enum SkipRight<'a> {
    /// Its holder found that it can never be read or stored.
    Unusable(&'a Lease),
    /// Its holder's was the last attempt. Only if another slice of the job has settled a page since the first one: else
    /// it is the upstream that fails, and not the page.
    Exhausted(&'a Lease),
    /// So many workers died while they held it, and nobody holds it now.
    Deaths {
        /// The page as its doorbell names it.
        ring: Ring,
        /// How many deaths condemn a page.
        at_least: i32,
        /// Who says so.
        worker: WorkerId,
    },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// Skipped: this doorbell, of the page after it, is to be rung.
    Ring(Ring),
    /// Skipped: the slice goes on when a pause ends.
    Queued,
    /// Skipped: the slice ends here.
    SliceDone,
    /// Not skipped: the connection does not want that, there is no witness, or the right is gone.
    Refused,
}

impl Slices<'_> {
    /// Chooses what becomes of pages that can never be settled. False if the tenant has no such connection.
    pub async fn set_poison_policy(
        self,
        tenant: TenantId,
        connection: ConnectionId,
        policy: PoisonPolicy,
    ) -> Result<bool, StoreError> {
        let set = sqlx::query!(
            "update connections set on_poison_page = $3 where tenant_id = $1 and id = $2 and deleted_at is null",
            tenant.0,
            connection.0,
            policy as PoisonPolicy
        )
        .execute(&self.store.pool)
        .await?;
        Ok(set.rows_affected() == 1)
    }

    /// Skips a page: page log, checkpoint and the end of its lease, or nothing at all.
    ///
    /// # Errors
    /// When the database cannot be written. The skip may have happened: the slice tells.
    pub async fn skip(self, skip: &Skip<'_>) -> Result<Skipped, StoreError> {
        let (ring, token, at_least, worker) = match skip.right {
            SkipRight::Unusable(lease) | SkipRight::Exhausted(lease) => {
                (lease.ring(lease.page, 0), Some(lease.token.0), 0, lease.worker)
            }
            SkipRight::Deaths { ring, at_least, worker } => (ring, None, at_least, worker),
        };
        let row = sqlx::query_file!(
            "src/sql/skip.sql",
            ring.job.0,
            ring.slice,
            token,
            ring.page,
            skip.next,
            skip.anchor,
            at_least,
            worker.0,
            matches!(skip.right, SkipRight::Exhausted(_)),
            json!({ "cause": skip.cause, "body": skip.body }),
            serde_json::to_string(&skip.walk).unwrap_or_default()
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(match row {
            None => Skipped::Refused,
            Some(row) => match row.status {
                SliceStatus::Ready => Skipped::Ring(Ring { page: row.page, ring: row.ring, ..ring }),
                SliceStatus::Done => Skipped::SliceDone,
                SliceStatus::Queued | SliceStatus::Waiting | SliceStatus::Cancelled | SliceStatus::Failed => {
                    Skipped::Queued
                }
            },
        })
    }

    /// How many pages of a job were skipped, those of the jobs that it resumes included. Unless it is 0, the job has not
    /// seen all that there is: nothing is to be deleted for its sake.
    pub async fn pages_skipped(self, job: JobId) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar!(r#"select pages_skipped($1) as "pages!""#, job.0)
            .fetch_one(&self.store.pool)
            .await?)
    }
}
