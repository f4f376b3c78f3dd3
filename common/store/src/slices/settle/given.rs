//! What the statement is given: pages and their records as parallel arrays, the form in which one prepared statement takes any
//! number of them.

use super::super::{Lease, each};
use super::{Row, Settlement, Verdict};
use crate::pool::Pool;
use ahash::AHashSet;
use chrono::{DateTime, Utc};
use protocol::slice::SliceStatus;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};
use std::time::Duration;

/// Pages with their leases, as the statement takes them.
pub(super) struct Given<'a> {
    leases: &'a [Lease],
    pages: &'a [Settlement],
    parts: Vec<Part>,
    columns: Columns<'a>,
}

/// What is made of a page: its texts, and where its records, reasons and ids out of span begin and end, from 1.
struct Part {
    verdicts: String,
    walk: String,
    warnings: Option<String>,
    records: (i32, i32),
    reasons: (i32, i32),
    outside: (i32, i32),
    unstored: (i32, i32),
}

/// The records of all pages.
#[derive(Default)]
struct Columns<'a> {
    /// The number of the record's page, from 1.
    of: Vec<i64>,
    keys: Vec<&'a str>,
    hashes: Vec<Option<&'a [u8]>>,
    payloads: Payloads<'a>,
    times: Vec<Option<DateTime<Utc>>>,
    versions: Vec<Option<i64>>,
    /// Of the failed ones only.
    reasons: Vec<&'a str>,
    /// When the deferred and the failed ones happened.
    unstored: Vec<Option<DateTime<Utc>>>,
    /// Ids out of span, which are no records.
    outside: Vec<&'a str>,
}

/// Runs one of the two forms: they take the same.
macro_rules! settle {
    ($file:literal, $given:expr, $pool:expr, $renewal:expr) => {{
        let Given { leases, pages, parts, columns } = $given;
        sqlx::query_file_as!(
            Row,
            $file,
            &each(leases, |lease| lease.job.0),
            &each(leases, |lease| lease.slice),
            &each(leases, |lease| lease.token.0),
            &each(leases, |lease| lease.page),
            &each(leases, |lease| lease.connection.0),
            &each(pages, |page| page.next.as_deref()) as &[Option<&str>],
            &each(pages, |page| page.anchor.as_deref()) as &[Option<&str>],
            &each(pages, |page| page.next.is_none()),
            &each(pages, |page| page.total) as &[Option<i64>],
            &each(pages, |page| page.go_on),
            &each(pages, |page| page.reach.newest) as &[Option<DateTime<Utc>>],
            &each(pages, |page| page.reach.oldest_met) as &[Option<DateTime<Utc>>],
            &each(pages, |page| page.reach.newest_met) as &[Option<DateTime<Utc>>],
            &each(pages, |page| page.filled),
            &each(parts, |part| part.verdicts.as_str()) as &[&str],
            &each(parts, |part| part.records.0),
            &each(parts, |part| part.records.1),
            &each(parts, |part| part.reasons.0),
            &each(parts, |part| part.reasons.1),
            &each(parts, |part| part.outside.0),
            &each(parts, |part| part.outside.1),
            &each(pages, |page| page.as_of),
            &each(pages, |page| page.scope) as &[Option<i32>],
            &each(parts, |part| part.walk.as_str()) as &[&str],
            &each(pages, |page| page.whole),
            &each(parts, |part| part.warnings.as_deref()) as &[Option<&str>],
            i64::try_from(pages.len()).unwrap_or(i64::MAX),
            $renewal.as_secs_f64() * 1000.0,
            &columns.of,
            &columns.keys as &[&str],
            &columns.hashes as &[Option<&[u8]>],
            &columns.payloads as &Payloads<'_>,
            &columns.times as &[Option<DateTime<Utc>>],
            &columns.versions as &[Option<i64>],
            &columns.reasons as &[&str],
            &columns.outside as &[&str],
            &columns.unstored as &[Option<DateTime<Utc>>],
            &each(parts, |part| part.unstored.0),
            &each(parts, |part| part.unstored.1)
        )
        .fetch_all($pool)
        .await
    }};
}

impl<'a> Given<'a> {
    pub(super) fn of(leases: &'a [Lease], pages: &'a [Settlement]) -> Self {
        let mut columns = Columns::default();
        let parts = (1..).zip(pages).map(|(number, page)| columns.add(number, page)).collect();
        Self { leases, pages, parts, columns }
    }

    /// Settles the one page, and waits for whatever it has to wait for.
    pub(super) async fn settle_alone(&self, pool: &Pool, renewal: Duration) -> Result<Vec<Row>, sqlx::Error> {
        settle!("src/sql/settle_alone.sql", self, pool, renewal)
    }

    /// Settles the pages that need not wait.
    pub(super) async fn settle_together(
        &self,
        pool: &Pool,
        renewal: Duration,
    ) -> Result<Vec<Row>, sqlx::Error> {
        settle!("src/sql/settle_together.sql", self, pool, renewal)
    }
}

impl<'a> Columns<'a> {
    /// Adds the records of a page.
    fn add(&mut self, number: i64, page: &'a Settlement) -> Part {
        let first = (self.keys.len(), self.reasons.len(), self.outside.len(), self.unstored.len());
        let verdicts = self.add_records(page);
        self.outside.extend(page.outside.iter().map(String::as_str));
        self.of.resize(self.keys.len(), number);
        Part {
            verdicts,
            walk: serde_json::to_string(&page.walk).unwrap_or_else(|_never| "{}".to_owned()),
            warnings: (!page.warnings.is_empty())
                .then(|| serde_json::to_string(&page.warnings).unwrap_or_else(|_never| "[]".to_owned())),
            records: places(first.0, self.keys.len()),
            reasons: places(first.1, self.reasons.len()),
            outside: places(first.2, self.outside.len()),
            unstored: places(first.3, self.unstored.len()),
        }
    }

    fn add_records(&mut self, page: &'a Settlement) -> String {
        let records = &page.records;
        let mut verdicts = String::with_capacity(records.len());
        // Of an id that a page repeats, the last storable occurrence is stored; the others count as unchanged.
        let mut keys = AHashSet::with_capacity(records.len());
        let last: Vec<bool> = records
            .iter()
            .rev()
            .map(|record| matches!(record.verdict, Verdict::Store { .. }) && keys.insert(record.key.as_str()))
            .collect();
        for (record, last) in records.iter().zip(last.into_iter().rev()) {
            let mut stored = (None, None);
            verdicts.push(match &record.verdict {
                Verdict::Store { hash, payload } if last => {
                    stored = (Some(hash.as_slice()), Some(&**payload));
                    'p'
                }
                Verdict::Store { .. } => '=',
                Verdict::Defer => {
                    self.unstored.push(record.time);
                    'd'
                }
                Verdict::Absent => '-',
                Verdict::Fail { reason } => {
                    self.reasons.push(reason);
                    self.unstored.push(record.time);
                    'f'
                }
            });
            self.keys.push(&record.key);
            self.times.push(record.time);
            self.versions.push(record.version);
            let (hash, payload) = stored;
            self.hashes.push(hash);
            self.payloads.push(payload);
        }
        verdicts
    }
}

/// Where what was added begins and ends, from 1.
fn places(before: usize, after: usize) -> (i32, i32) {
    let place = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    (place(before + 1), place(after))
}

/// Payloads as an array of text. They are most of a statement, so that it says how long it will be: room for it is then made
/// once, and not twice as much again and again.
#[derive(Default)]
struct Payloads<'a> {
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
