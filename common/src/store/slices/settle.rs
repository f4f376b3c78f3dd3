//! Settling: the one statement that ends a page.

use super::super::{Store, StoreError};
use super::Lease;
use crate::ids::JobId;
use crate::payload::Payload;
use crate::slice::{Ring, SliceStatus};
use ahash::AHashSet;
use chrono::{DateTime, Utc};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};
use std::time::Duration;

/// A record of a page, judged by whoever parsed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRecord {
    /// The upstream's identifier; empty where the record has none.
    pub key: String,
    /// When it happened, if the source knows.
    pub time: Option<DateTime<Utc>>,
    /// What is to become of it.
    pub verdict: Verdict,
}

/// What is to become of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored, unless its content is stored already.
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
}

/// How far a page reaches, by the times at which the upstream created its records: where a later incremental job begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The newest record that can be stored; `None` if there is none, or its time is unknown.
    pub newest: Option<DateTime<Utc>>,
    /// The oldest record that is not importable yet.
    pub oldest_deferred: Option<DateTime<Utc>>,
}

/// A fetched page, ready to be settled.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Its records, in the order of the page.
    pub records: Vec<PageRecord>,
    /// The cursor of the next page; `None` ends the slice.
    pub next: Option<String>,
    /// The cursor to compare later ones with.
    pub anchor: Option<String>,
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
    /// Settled; the lease goes on to the next page.
    Kept(Lease, Tally),
    /// Settled and released: this doorbell is to be rung, confirmed, and only then the delivery acked.
    Ring(Ring, Tally),
    /// Settled and released without a doorbell: a pause has come.
    Queued(Tally),
    /// Settled: it was the slice's last page.
    SliceDone(Tally, JobId),
    /// Nothing was written: the lease is not (or no longer) at this page. Read the slice.
    Fenced(Lease),
}

impl Store {
    /// Settles a page: records, page log, counters, checkpoint and the next lease, or nothing at all.
    ///
    /// # Errors
    /// With the lease, since the settle may have happened (unless the error is [`StoreError::Refused`]): the slice tells.
    pub async fn settle(
        &self,
        lease: Lease,
        page: &Settlement,
        renewal: Duration,
    ) -> Result<Settled, (Lease, StoreError)> {
        let mut columns = Columns::default();
        columns.add(&page.records);
        // Each time one record more is known that was not.
        let mut repeats = page.records.len();
        loop {
            match self.settle_once(&lease, page, &columns, renewal).await {
                Ok(Some(row)) => return Ok(row.settled(lease)),
                Ok(None) => return Ok(Settled::Fenced(lease)),
                Err(error) if repeats > 0 && is_raced(&error) => repeats -= 1,
                Err(error) => return Err((lease, error.into())),
            }
        }
    }

    async fn settle_once(
        &self,
        lease: &Lease,
        page: &Settlement,
        columns: &Columns<'_>,
        renewal: Duration,
    ) -> Result<Option<Row>, sqlx::Error> {
        sqlx::query_file_as!(
            Row,
            "src/store/sql/settle.sql",
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page,
            &columns.keys as &[&str],
            &columns.hashes as &[Option<&[u8]>],
            &columns.payloads as &Payloads<'_>,
            columns.verdicts,
            &columns.reasons as &[&str],
            page.next.as_deref(),
            page.anchor.as_deref(),
            page.next.is_none(),
            page.total,
            page.go_on,
            renewal.as_secs_f64() * 1000.0,
            page.reach.newest,
            page.reach.oldest_deferred,
            lease.connection.0,
            &columns.times as &[Option<DateTime<Utc>>],
            page.filled
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Whether Postgres can store these payloads as JSON. Used to find the record at fault after a refused settle.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it cannot.
    pub async fn try_payloads(&self, payloads: &[&str]) -> Result<(), StoreError> {
        sqlx::query!(
            r#"select count(payload::jsonb) as "count!" from unnest($1::text[]) as payload"#,
            payloads as &[&str]
        )
        .fetch_one(&self.pool)
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
pub(super) struct Row {
    /// Which page it is the answer to, from 1.
    pub(super) nth: i64,
    pub(super) status: SliceStatus,
    pub(super) page: i32,
    pub(super) ring: i32,
    pub(super) kept: bool,
    pub(super) inserted: i64,
    pub(super) updated: i64,
    pub(super) unchanged: i64,
    pub(super) deferred: i64,
    pub(super) failed: i64,
}

impl Row {
    #[expect(clippy::needless_pass_by_value, reason = "the lease goes on, or ends here")]
    pub(super) fn settled(self, lease: Lease) -> Settled {
        let tally = Tally {
            inserted: self.inserted,
            updated: self.updated,
            unchanged: self.unchanged,
            deferred: self.deferred,
            failed: self.failed,
            deleted: 0,
        };
        match self.status {
            SliceStatus::Ready if self.kept => Settled::Kept(Lease { page: self.page, ..lease }, tally),
            SliceStatus::Ready => Settled::Ring(lease.ring(self.page, self.ring), tally),
            SliceStatus::Done => Settled::SliceDone(tally, lease.job),
            SliceStatus::Queued | SliceStatus::Waiting | SliceStatus::Cancelled | SliceStatus::Failed => {
                Settled::Queued(tally)
            }
        }
    }
}

/// Records as parallel arrays, the form in which one prepared statement takes any number of them.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) keys: Vec<&'a str>,
    pub(super) hashes: Vec<Option<&'a [u8]>>,
    pub(super) payloads: Payloads<'a>,
    pub(super) times: Vec<Option<DateTime<Utc>>>,
    pub(super) verdicts: String,
    /// Of the failed ones only.
    pub(super) reasons: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    /// How many records.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Adds those of a page.
    pub(super) fn add(&mut self, records: &'a [PageRecord]) {
        // Of an id that a page repeats, the last storable occurrence is stored; the others count as unchanged.
        let mut keys = AHashSet::with_capacity(records.len());
        let is_last = |record: &'a PageRecord| {
            matches!(record.verdict, Verdict::Store { .. }) && keys.insert(record.key.as_str())
        };
        let last: Vec<bool> = records.iter().rev().map(is_last).collect();
        for (record, last) in records.iter().zip(last.into_iter().rev()) {
            let mut stored = (None, None);
            self.verdicts.push(match &record.verdict {
                Verdict::Store { hash, payload } if last => {
                    stored = (Some(hash.as_slice()), Some(&**payload));
                    'p'
                }
                Verdict::Store { .. } => '=',
                Verdict::Defer => 'd',
                Verdict::Fail { reason } => {
                    self.reasons.push(reason);
                    'f'
                }
            });
            self.keys.push(&record.key);
            self.times.push(record.time);
            let (hash, payload) = stored;
            self.hashes.push(hash);
            self.payloads.push(payload);
        }
    }
}

/// Payloads as an array of text. They are most of a statement, so that it says how long it will be: room for it is then made
/// once, and not twice as much again and again.
#[derive(Default)]
pub(super) struct Payloads<'a> {
    texts: Vec<Option<&'a str>>,
    bytes: usize,
}

impl<'a> Payloads<'a> {
    fn push(&mut self, text: Option<&'a str>) {
        self.bytes += text.map_or(0, str::len);
        self.texts.push(text);
    }
}

impl Type<Postgres> for Payloads<'_> {
    fn type_info() -> PgTypeInfo {
        <[&str] as Type<Postgres>>::type_info()
    }
}

impl<'q> Encode<'q, Postgres> for Payloads<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.texts.as_slice(), buffer)
    }

    fn size_hint(&self) -> usize {
        self.bytes + BESIDE_PAYLOAD * self.texts.len()
    }
}

/// About what else a record takes in a statement: key, hash, time, and the lengths of all.
const BESIDE_PAYLOAD: usize = 192;
