//! Settling several pages in one statement.

use super::super::{Store, StoreError};
use super::settle::{Columns, Payloads, Row, Settled, Settlement, Verdict};
use super::{Lease, each};
use crate::slice::SliceStatus;
use ahash::AHashSet;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::time::Duration;

/// Pages to be settled together, with their leases. No two of them store the same record, since a statement writes each
/// record once.
#[derive(Debug, Default)]
pub struct Together {
    leases: Vec<Lease>,
    pages: Vec<Settlement>,
    /// Hashes of the records' keys. Two that are equal by chance cost a page its company, nothing else.
    keys: AHashSet<u64>,
}

/// What became of pages that were settled together: the pages as they were given, and the answers in the same order.
pub type SettledTogether = (Vec<Settlement>, Result<Vec<Settled>, (Vec<Lease>, StoreError)>);

impl Together {
    /// Adds a page, unless it stores a record that another one stores.
    ///
    /// # Errors
    /// With what was not added.
    pub fn add(&mut self, lease: Lease, page: Settlement) -> Result<(), Box<(Lease, Settlement)>> {
        let stored = page.records.iter().filter(|record| matches!(record.verdict, Verdict::Store { .. }));
        let hasher = self.keys.hasher();
        let keys: Vec<u64> =
            stored.map(|record| hasher.hash_one((lease.connection.0, &record.key))).collect();
        if keys.iter().any(|key| self.keys.contains(key)) {
            return Err(Box::new((lease, page)));
        }
        self.keys.extend(keys);
        self.leases.push(lease);
        self.pages.push(page);
        Ok(())
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there is none yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The only one, if it is one.
    ///
    /// # Errors
    /// With all of them.
    pub fn only(mut self) -> Result<(Lease, Settlement), Self> {
        match (self.leases.pop(), self.pages.pop()) {
            (Some(lease), Some(page)) if self.pages.is_empty() => Ok((lease, page)),
            (lease, page) => {
                self.leases.extend(lease);
                self.pages.extend(page);
                Err(self)
            }
        }
    }
}

impl Store {
    /// Settles each of these pages as [`Store::settle`] does, all of them in one transaction.
    ///
    /// [`Settled::Fenced`] may also mean that somebody had the slice locked for a moment: settle that page alone, which
    /// waits. After an error none of them is settled, or all are and the answer was lost: settle each alone, which tells.
    pub async fn settle_together(&self, together: Together, renewal: Duration) -> SettledTogether {
        let Together { leases, pages, .. } = together;
        let mut columns = Columns::default();
        let (mut of, mut parts) = (Vec::new(), Vec::with_capacity(pages.len()));
        for (number, page) in (1_i64..).zip(&pages) {
            let from = (columns.len(), columns.reasons.len());
            columns.add(&page.records);
            of.resize(columns.len(), number);
            parts.push(Part {
                verdicts: std::mem::take(&mut columns.verdicts),
                records: (position(from.0 + 1), position(columns.len())),
                reasons: (position(from.1 + 1), position(columns.reasons.len())),
            });
        }
        let result = sqlx::query_file_as!(
            Row,
            "src/store/sql/settle_together.sql",
            &each(&leases, |lease| lease.job.0),
            &each(&leases, |lease| lease.slice),
            &each(&leases, |lease| lease.token.0),
            &each(&leases, |lease| lease.page),
            &each(&leases, |lease| lease.connection.0),
            &each(&pages, |page| page.next.as_deref()) as &[Option<&str>],
            &each(&pages, |page| page.anchor.as_deref()) as &[Option<&str>],
            &each(&pages, |page| page.next.is_none()),
            &each(&pages, |page| page.total) as &[Option<i64>],
            &each(&pages, |page| page.go_on),
            &each(&pages, |page| page.reach.newest) as &[Option<DateTime<Utc>>],
            &each(&pages, |page| page.reach.oldest_deferred) as &[Option<DateTime<Utc>>],
            &each(&pages, |page| page.filled),
            &each(&parts, |part| part.verdicts.as_str()) as &[&str],
            &each(&parts, |part| part.records.0),
            &each(&parts, |part| part.records.1),
            &each(&parts, |part| part.reasons.0),
            &each(&parts, |part| part.reasons.1),
            i64::try_from(pages.len()).unwrap_or(i64::MAX),
            renewal.as_secs_f64() * 1000.0,
            &of,
            &columns.keys as &[&str],
            &columns.hashes as &[Option<&[u8]>],
            &columns.payloads as &Payloads<'_>,
            &columns.times as &[Option<DateTime<Utc>>],
            &columns.reasons as &[&str]
        )
        .fetch_all(&self.pool)
        .await;
        let rows = match result {
            Ok(rows) => rows,
            Err(error) => return (pages, Err((leases, error.into()))),
        };
        let mut rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.nth, row)).collect();
        let settled = (1..).zip(leases).map(|(nth, lease)| match rows.remove(&nth) {
            Some(row) => row.settled(lease),
            None => Settled::Fenced(lease),
        });
        (pages, Ok(settled.collect()))
    }
}

/// A page's part of what all pages have: its verdicts, and where its records and its reasons begin and end, from 1.
struct Part {
    verdicts: String,
    records: (i32, i32),
    reasons: (i32, i32),
}

fn position(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
