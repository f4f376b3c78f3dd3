//! The pages of a check and of a deletion: nothing is fetched, and each is settled under the fence like any other.
//!
//! Each page is one transaction: the slice's row is locked by the fence, a bounded number of rows is handled, and the
//! checkpoint moves with the page log and the counters. Locks: slice → records (sorted by key), as everywhere.

mod check;
mod deletion;
mod met;

use super::super::StoreError;
use super::{Lease, Settled, Tally};
use crate::handles::Slices;
use crate::pool::Session;
use protocol::closing::{Following, Position, Stage, StageEvent};
use protocol::slice::{SliceKind, SliceStatus};
use std::time::Duration;

/// How a page of a check or a deletion is worked on.
#[derive(Clone, Copy, Debug)]
pub struct ClosingPage {
    /// How many rows it handles at most: pages of the walk are taken whole, but for the first.
    pub rows: u32,
    /// Whether a full sync may delete more than half of the records in its range.
    pub any_number: bool,
    /// Whether one pass is enough to delete a record.
    pub at_once: bool,
    /// After how long a second pass confirms what the first one did not meet.
    pub confirm_after: Duration,
    /// Whether the stint goes on with the next page, if it may.
    pub go_on: bool,
    /// How long the lease then lasts.
    pub renewal: Duration,
}

/// How a page of a check or a deletion ended.
#[derive(Debug)]
pub enum ClosingSettled {
    /// Like any page.
    Settled(Settled),
    /// Nothing was written: the job is to fail, by the right of the lease.
    Refused {
        /// The lease, still at this page.
        lease: Lease,
        /// Why.
        refusal: Refusal,
    },
    /// Nothing was written: the checkpoint is not one of a check or a deletion.
    Astray(Lease),
}

/// Why a job fails when its walks are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many of the records that the upstream named were not met.
    Shortfall {
        /// How many it named, over all walks.
        named: i64,
        /// How many were met.
        met: i64,
    },
    /// Too much would be deleted.
    TooMany {
        /// How many records were not met.
        unseen: i64,
        /// How many there are in the job's range.
        records: i64,
    },
}

/// A page goes on with so many steps at most, while there is little to do: a small job is checked by one page.
const STEPS: u32 = 4;

/// What a step of a page found and did.
struct Done {
    after: Option<String>,
    event: StageEvent,
    /// How many rows it handled.
    rows: u32,
    /// The records that were deleted.
    keys: Vec<String>,
}

impl Done {
    /// A step of a stage that goes on after `after`, or was exhausted.
    fn up_to(after: Option<String>, rows: u32) -> Self {
        let event = if after.is_some() { StageEvent::Advanced } else { StageEvent::Exhausted };
        Self { after, event, rows, keys: Vec::new() }
    }
}

/// How a page ended, seen by its transaction.
enum End {
    Fenced,
    Astray,
    Refused(Refusal),
    Advanced { status: SliceStatus, page: i32, ring: i32, kept: bool, deleted: i64 },
}

impl Slices<'_> {
    /// Works on the page of a check or a deletion and settles it, or does nothing at all.
    ///
    /// # Errors
    /// With the lease, since the settle may have happened: the slice tells.
    pub async fn settle_closing(
        self,
        lease: Lease,
        page: &ClosingPage,
    ) -> Result<ClosingSettled, (Lease, StoreError)> {
        match self.settle_closing_page(&lease, page).await {
            Ok(End::Fenced) => Ok(ClosingSettled::Settled(Settled::Fenced(lease))),
            Ok(End::Refused(refusal)) => Ok(ClosingSettled::Refused { lease, refusal }),
            Ok(End::Astray) => Ok(ClosingSettled::Astray(lease)),
            Ok(End::Advanced { status, page, ring, kept, deleted }) => {
                let tally = Tally { deleted, ..Tally::default() };
                Ok(ClosingSettled::Settled(match status {
                    SliceStatus::Ready if kept => Settled::Kept(Lease { page, ..lease }, tally, None),
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

    async fn settle_closing_page(self, lease: &Lease, page: &ClosingPage) -> Result<End, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let fence = sqlx::query!(
            r#"select cursor, kind as "kind: SliceKind" from slices
              where job_id = $1 and slice = $2 and lease_token = $3 and page = $4 and status = 'ready'
                and kind in ('check', 'deletion')
                for no key update"#,
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(fence) = fence else { return Ok(End::Fenced) };
        let first = if fence.kind == SliceKind::Check { Stage::Collecting } else { Stage::Deleting };
        let Some(mut at) = Position::of(fence.cursor.as_deref(), first) else { return Ok(End::Astray) };
        let (mut keys, mut rows, mut steps) = (Vec::new(), 0, 0);
        let next = loop {
            let done = match step(&mut transaction, lease, &at, page).await? {
                Ok(done) => done,
                // Not committed: whoever has the page next finds the same, and nothing has changed.
                Err(refusal) => return Ok(End::Refused(refusal)),
            };
            keys.extend(done.keys);
            rows += done.rows;
            steps += 1;
            at = match at.stage.next(done.event) {
                Some(Following::Page(stage)) if stage == at.stage => Position { stage, after: done.after },
                Some(Following::Page(stage)) => Position::start_of(stage),
                Some(Following::End) => break None,
                // Said above, where it is found out.
                Some(Following::Refusal) | None => return Ok(End::Astray),
            };
            if steps >= STEPS || rows > page.rows / 2 {
                break Some(at);
            }
        };
        let end = advance(&mut transaction, lease, page, next, &keys).await?;
        transaction.commit().await?;
        Ok(end)
    }
}

async fn step(
    transaction: &mut Session,
    lease: &Lease,
    at: &Position,
    page: &ClosingPage,
) -> Result<Result<Done, Refusal>, StoreError> {
    let after = at.after.as_deref();
    match at.stage {
        Stage::Collecting => Ok(Ok(check::collect(transaction, lease.job, after, page).await?)),
        Stage::Judging => check::judge(transaction, lease.job).await,
        Stage::Comparing => check::compare(transaction, lease, after, page).await,
        Stage::Deleting => Ok(Ok(deletion::mark(transaction, lease, after, page).await?)),
    }
}

/// Appends to the page log and moves the checkpoint, as a settle does.
async fn advance(
    transaction: &mut Session,
    lease: &Lease,
    page: &ClosingPage,
    next: Option<Position>,
    deleted: &[String],
) -> Result<End, StoreError> {
    let row = sqlx::query_file!(
        "src/sql/closing_settle.sql",
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
