//! Settling: the one statement that ends a page.

use super::super::{Store, StoreError};
use super::Lease;
use crate::ids::JobId;
use crate::slice::{Ring, SliceStatus};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::time::Duration;

/// A record of a page, judged by whoever parsed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRecord {
    /// The upstream's identifier; empty where the record has none.
    pub key: String,
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
        payload: Box<str>,
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
        let columns = Columns::of(&page.records);
        let result = sqlx::query_file!(
            "src/store/sql/settle.sql",
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page,
            &columns.keys as &[&str],
            &columns.hashes as &[Option<&[u8]>],
            &columns.payloads as &[Option<&str>],
            columns.verdicts,
            &columns.reasons as &[&str],
            page.next,
            page.anchor,
            page.next.is_none(),
            page.total,
            page.go_on,
            renewal.as_secs_f64() * 1000.0,
            page.reach.newest,
            page.reach.oldest_deferred
        )
        .fetch_optional(&self.pool)
        .await;
        let row = match result {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Settled::Fenced(lease)),
            Err(error) => return Err((lease, error.into())),
        };
        let tally = Tally {
            inserted: row.inserted,
            updated: row.updated,
            unchanged: row.unchanged,
            deferred: row.deferred,
            failed: row.failed,
        };
        Ok(match row.status {
            SliceStatus::Ready if row.kept => Settled::Kept(Lease { page: row.page, ..lease }, tally),
            SliceStatus::Ready => Settled::Ring(lease.ring(row.page, row.ring), tally),
            SliceStatus::Done => Settled::SliceDone(tally, lease.job),
            SliceStatus::Queued | SliceStatus::Waiting | SliceStatus::Cancelled | SliceStatus::Failed => {
                Settled::Queued(tally)
            }
        })
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

/// A page's records as parallel arrays, the form in which one prepared statement takes any number of them.
struct Columns<'a> {
    keys: Vec<&'a str>,
    hashes: Vec<Option<&'a [u8]>>,
    payloads: Vec<Option<&'a str>>,
    verdicts: String,
    reasons: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(records: &'a [PageRecord]) -> Self {
        // Of an id that a page repeats, the last storable occurrence is stored; the others count as unchanged.
        let mut last = HashMap::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            if matches!(record.verdict, Verdict::Store { .. }) {
                last.insert(record.key.as_str(), index);
            }
        }
        let mut columns = Self {
            keys: Vec::with_capacity(records.len()),
            hashes: Vec::with_capacity(records.len()),
            payloads: Vec::with_capacity(records.len()),
            verdicts: String::with_capacity(records.len()),
            reasons: Vec::new(),
        };
        for (index, record) in records.iter().enumerate() {
            columns.keys.push(&record.key);
            match &record.verdict {
                Verdict::Store { hash, payload } if last.get(record.key.as_str()) == Some(&index) => {
                    columns.hashes.push(Some(hash));
                    columns.payloads.push(Some(payload));
                    columns.verdicts.push('p');
                    continue;
                }
                Verdict::Store { .. } => columns.verdicts.push('='),
                Verdict::Defer => columns.verdicts.push('d'),
                Verdict::Fail { reason } => {
                    columns.reasons.push(reason);
                    columns.verdicts.push('f');
                }
            }
            columns.hashes.push(None);
            columns.payloads.push(None);
        }
        columns
    }
}
