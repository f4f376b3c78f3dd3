//! The pages of a full sync's deletion: nothing is fetched, and each is settled under the fence like any other.
//!
//! Each page is one transaction: the slice's row is locked by the fence, a bounded number of rows is handled, and the
//! checkpoint moves with the page log and the counters. Locks: slice → records (sorted by key), as everywhere.

use super::super::{Store, StoreError};
use super::{Lease, Settled, Tally};
use crate::deletion::{Following, Position, Stage, StageEvent};
use crate::ids::JobId;
use crate::slice::SliceStatus;
use sqlx::PgConnection;
use std::time::Duration;

/// How a page of a deletion is worked on.
#[derive(Clone, Copy, Debug)]
pub struct DeletionPage {
    /// How many rows it handles at most: pages of the walk are taken whole, but for the first.
    pub rows: u32,
    /// Whether more than half of the connection's records may be deleted.
    pub any_number: bool,
    /// Whether the stint goes on with the next page, if it may.
    pub go_on: bool,
    /// How long the lease then lasts.
    pub renewal: Duration,
}

/// How a page of a deletion ended.
#[derive(Debug)]
pub enum DeletionSettled {
    /// Like any page.
    Settled(Settled),
    /// Nothing was written: too much would be deleted. The job is to fail, by the right of the lease.
    Refused {
        /// The lease, still at this page.
        lease: Lease,
        /// How many records would be deleted.
        unseen: i64,
        /// How many the connection has.
        records: i64,
    },
    /// Nothing was written: the checkpoint is not one of a deletion.
    Astray(Lease),
}

/// What a page found and did.
struct Done {
    after: Option<String>,
    event: StageEvent,
    /// The records that were deleted.
    keys: Vec<String>,
}

impl Store {
    /// Works on the page of a deletion and settles it, or does nothing at all.
    ///
    /// # Errors
    /// With the lease, since the settle may have happened: the slice tells.
    pub async fn settle_deletion(
        &self,
        lease: Lease,
        page: &DeletionPage,
    ) -> Result<DeletionSettled, (Lease, StoreError)> {
        match self.settle_deletion_page(&lease, page).await {
            Ok(End::Fenced) => Ok(DeletionSettled::Settled(Settled::Fenced(lease))),
            Ok(End::Refused { unseen, records }) => Ok(DeletionSettled::Refused { lease, unseen, records }),
            Ok(End::Astray) => Ok(DeletionSettled::Astray(lease)),
            Ok(End::Advanced { status, page, ring, kept, deleted }) => {
                let tally = Tally { deleted, ..Tally::default() };
                Ok(DeletionSettled::Settled(match status {
                    SliceStatus::Ready if kept => Settled::Kept(Lease { page, ..lease }, tally),
                    SliceStatus::Ready => Settled::Ring(lease.ring(page, ring), tally),
                    SliceStatus::Done => Settled::SliceDone(tally, lease.job),
                    SliceStatus::Queued
                    | SliceStatus::Waiting
                    | SliceStatus::Cancelled
                    | SliceStatus::Failed => Settled::Queued(tally),
                }))
            }
            Err(error) => Err((lease, error)),
        }
    }

    async fn settle_deletion_page(&self, lease: &Lease, page: &DeletionPage) -> Result<End, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let fence = sqlx::query!(
            "select cursor from slices
              where job_id = $1 and slice = $2 and lease_token = $3 and page = $4 and status = 'ready' and deletion
                for no key update",
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(fence) = fence else { return Ok(End::Fenced) };
        let Some(at) = Position::of(fence.cursor.as_deref()) else { return Ok(End::Astray) };
        let rows = i64::from(page.rows);
        let done = match at.stage {
            Stage::Collecting => collect(&mut transaction, lease.job, at.after.as_deref(), rows).await?,
            Stage::Comparing => {
                let after = at.after.as_deref();
                match compare(&mut transaction, lease, after, rows, page.any_number).await? {
                    Ok(done) => done,
                    // Not committed: whoever has the page next finds the same, and nothing has changed.
                    Err(refused) => return Ok(refused),
                }
            }
            Stage::Deleting => delete(&mut transaction, lease, at.after.as_deref(), rows).await?,
        };
        let next = match at.stage.next(done.event) {
            Some(Following::Page(stage)) if stage == at.stage => Some(Position { stage, after: done.after }),
            Some(Following::Page(stage)) => Some(Position { stage, after: None }),
            Some(Following::End) => None,
            // Said above, where it is found out.
            Some(Following::Refusal) | None => return Ok(End::Astray),
        };
        let end = advance(&mut transaction, lease, page, next, &done.keys).await?;
        transaction.commit().await?;
        Ok(end)
    }
}

/// How a page ended, seen by its transaction.
enum End {
    Fenced,
    Astray,
    Refused { unseen: i64, records: i64 },
    Advanced { status: SliceStatus, page: i32, ring: i32, kept: bool, deleted: i64 },
}

/// Unpacks some pages of the pass's page log: one at least, and then as long as they have no more than `rows` records.
async fn collect(
    transaction: &mut PgConnection,
    job: JobId,
    after: Option<&str>,
    rows: i64,
) -> Result<Done, StoreError> {
    let (slice, page) = after.and_then(slice_and_page).unwrap_or((-1, -1));
    let row = sqlx::query_file!("src/store/sql/deletion_collect.sql", job.0, slice, page, rows)
        .fetch_one(transaction)
        .await?;
    let after = row.slice.zip(row.page).map(|(slice, page)| format!("{slice}/{page}"));
    let event = if after.is_some() { StageEvent::Advanced } else { StageEvent::Exhausted };
    Ok(Done { after, event, keys: Vec::new() })
}

fn slice_and_page(text: &str) -> Option<(i32, i32)> {
    let (slice, page) = text.split_once('/')?;
    Some((slice.parse().ok()?, page.parse().ok()?))
}

/// Looks at the next records of the connection. At their end, `Err` is the refusal.
async fn compare(
    transaction: &mut PgConnection,
    lease: &Lease,
    after: Option<&str>,
    rows: i64,
    any_number: bool,
) -> Result<Result<Done, End>, StoreError> {
    let row = sqlx::query_file!(
        "src/store/sql/deletion_compare.sql",
        lease.job.0,
        lease.connection.0,
        after.unwrap_or_default(),
        rows
    )
    .fetch_one(transaction)
    .await?;
    let (unseen, records) = (row.unseen, row.records);
    let event = if row.last.is_some() {
        StageEvent::Advanced
    } else if any_number || i128::from(unseen) * 2 <= i128::from(records) {
        StageEvent::Exhausted
    } else {
        StageEvent::TooMany
    };
    Ok(match Stage::Comparing.next(event) {
        Some(Following::Refusal) => Err(End::Refused { unseen, records }),
        Some(Following::Page(_) | Following::End) | None => {
            Ok(Done { after: row.last, event, keys: Vec::new() })
        }
    })
}

/// Marks the next unseen records as deleted.
async fn delete(
    transaction: &mut PgConnection,
    lease: &Lease,
    after: Option<&str>,
    rows: i64,
) -> Result<Done, StoreError> {
    let row = sqlx::query_file!(
        "src/store/sql/deletion_delete.sql",
        lease.job.0,
        lease.connection.0,
        after.unwrap_or_default(),
        rows
    )
    .fetch_one(transaction)
    .await?;
    let event = if row.last.is_some() { StageEvent::Advanced } else { StageEvent::Exhausted };
    Ok(Done { after: row.last, event, keys: row.deleted })
}

/// Appends to the page log and moves the checkpoint, as a settle does.
async fn advance(
    transaction: &mut PgConnection,
    lease: &Lease,
    page: &DeletionPage,
    next: Option<Position>,
    deleted: &[String],
) -> Result<End, StoreError> {
    let row = sqlx::query_file!(
        "src/store/sql/deletion_settle.sql",
        lease.job.0,
        lease.slice,
        lease.token.0,
        lease.page,
        deleted,
        next.map(|position| position.to_string()),
        page.go_on,
        page.renewal.as_secs_f64() * 1000.0,
        lease.connection.0
    )
    .fetch_optional(transaction)
    .await?;
    Ok(row.map_or(End::Fenced, |row| End::Advanced {
        status: row.status,
        page: row.page,
        ring: row.ring,
        kept: row.kept,
        deleted: row.deleted,
    }))
}
