//! Settling: the one statement that ends pages. It stands in `sql/settle.template.sql`, of which both forms are rendered: for a
//! page alone, which waits for locks, and for several together, which do not.

mod given;
mod together;

pub use together::{SettledTogether, Together};

use super::super::StoreError;
use super::Lease;
use crate::handles::Slices;
use chrono::{DateTime, Utc};
use given::Given;
use protocol::ids::JobId;
use protocol::payload::Payload;
use protocol::slice::{Ring, SliceStatus};
use protocol::walk::Walk;
use protocol::warning::Warning;
use std::time::Duration;

/// A record of a page, judged by whoever parsed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRecord {
    /// The upstream's identifier; empty where the record has none.
    pub key: String,
    /// When it happened, if the source knows.
    pub time: Option<DateTime<Utc>>,
    /// The upstream's version of it; a lower one never overwrites a higher one.
    pub version: Option<i64>,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// What is to become of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored, unless its content is stored already, or newer content is.
    Store {
        /// A hash of the content.
        hash: [u8; 32],
        /// The content as JSON text.
        payload: Payload,
    },
    /// It is not importable yet.
    Defer,
    /// It cannot be read or stored.
    Fail {
        /// Why.
        reason: String,
    },
    /// The upstream does not have the id that it was asked for: written down, and in no counter.
    Absent,
}

/// How far a page reaches, by the times at which its records happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The newest record in span that can be stored; `None` if there is none, or its time is unknown.
    pub newest: Option<DateTime<Utc>>,
    /// The oldest record that was met, in span or out of it.
    pub oldest_met: Option<DateTime<Utc>>,
    /// The newest one.
    pub newest_met: Option<DateTime<Utc>>,
}

/// A fetched page, ready to be settled.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// Its records, in the order of the page.
    pub records: Vec<PageRecord>,
    /// The ids that it had out of span.
    pub outside: Vec<String>,
    /// When it was asked for, by the database's clock: a moment before that.
    pub as_of: DateTime<Utc>,
    /// The scope whose list it is of; `None` for records that were fetched by their ids.
    pub scope: Option<i32>,
    /// The cursor of the next page; `None` ends the slice.
    pub next: Option<String>,
    /// The cursor to compare later ones with.
    pub anchor: Option<String>,
    /// What the walk has shown, this page included.
    pub walk: Walk,
    /// Whether the walk is whole if it ends here, as far as its state tells.
    pub whole: bool,
    /// What is to be told.
    pub warnings: Vec<Warning>,
    /// What the upstream says of the slice's total.
    pub total: Option<i64>,
    /// How far the page reaches.
    pub reach: Reach,
    /// Whether the stint goes on with the next page, if it may.
    pub go_on: bool,
    /// How many values of the job's schema the page's records have; 0 without one.
    pub filled: i64,
}

/// What really happened to the records of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Newly stored.
    pub inserted: i64,
    /// Stored over older content.
    pub updated: i64,
    /// Stored already.
    pub unchanged: i64,
    /// Not importable yet.
    pub deferred: i64,
    /// Unreadable or not storable.
    pub failed: i64,
    /// Marked as deleted, by a page of a full sync's deletion.
    pub deleted: i64,
}

/// How a settle ended.
#[derive(Debug)]
pub enum Settled {
    /// Settled; the lease goes on to the next page. With the time of the database, where it is known.
    Kept(Lease, Tally, Option<DateTime<Utc>>),
    /// Settled and released: this doorbell is to be rung, confirmed, and only then the delivery acked.
    Ring(Ring, Tally),
    /// Settled and released without a doorbell: a pause has come.
    Queued(Tally),
    /// Settled: it was the slice's last page.
    SliceDone(Tally, JobId),
    /// Nothing was written: the lease is not (or no longer) at this page. Read the slice.
    Fenced(Lease),
}

impl Slices<'_> {
    /// Settles a page: records, page log, counters, checkpoint and the next lease, or nothing at all.
    ///
    /// # Errors
    /// With the lease, since the settle may have happened (unless the error is [`StoreError::Refused`]): the slice tells.
    pub async fn settle(
        self,
        lease: Lease,
        page: &Settlement,
        renewal: Duration,
    ) -> Result<Settled, (Lease, StoreError)> {
        let pages = std::slice::from_ref(page);
        let given = Given::of(std::slice::from_ref(&lease), pages);
        // Each time one record more is known that was not.
        let mut repeats = page.records.len();
        loop {
            match given.settle_alone(&self.store.pool, renewal).await {
                Ok(mut rows) => {
                    return Ok(match rows.pop() {
                        Some(row) => row.settled(lease),
                        None => Settled::Fenced(lease),
                    });
                }
                Err(error) if repeats > 0 && is_raced(&error) => repeats -= 1,
                Err(error) => return Err((lease, error.into())),
            }
        }
    }

    /// Whether Postgres can store these payloads as JSON. Used to find the record at fault after a refused settle.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it cannot.
    pub async fn try_payloads(self, payloads: &[&str]) -> Result<(), StoreError> {
        sqlx::query!(
            r#"select count(payload::jsonb) as "count!" from unnest($1::text[]) as payload"#,
            payloads as &[&str]
        )
        .fetch_one(&self.store.pool)
        .await?;
        Ok(())
    }
}

/// Whether somebody else stored a record of the page in the same moment. Nothing was written; next time it is known.
fn is_raced(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.is_unique_violation() && error.table().is_some_and(|table| table.starts_with("records"))
    })
}

/// A slice after its settle.
struct Row {
    /// Which page it is the answer to, from 1.
    nth: i64,
    status: SliceStatus,
    page: i32,
    ring: i32,
    kept: bool,
    settled_at: DateTime<Utc>,
    inserted: i64,
    updated: i64,
    unchanged: i64,
    deferred: i64,
    failed: i64,
}

impl Row {
    #[expect(clippy::needless_pass_by_value, reason = "the lease goes on, or ends here")]
    fn settled(self, lease: Lease) -> Settled {
        let tally = Tally {
            inserted: self.inserted,
            updated: self.updated,
            unchanged: self.unchanged,
            deferred: self.deferred,
            failed: self.failed,
            deleted: 0,
        };
        match self.status {
            SliceStatus::Ready if self.kept => {
                Settled::Kept(Lease { page: self.page, ..lease }, tally, Some(self.settled_at))
            }
            SliceStatus::Ready => Settled::Ring(lease.ring(self.page, self.ring), tally),
            SliceStatus::Done => Settled::SliceDone(tally, lease.job),
            SliceStatus::Queued | SliceStatus::Waiting | SliceStatus::Cancelled | SliceStatus::Failed => {
                Settled::Queued(tally)
            }
        }
    }
}
