//! Settling several pages in one statement.

use super::super::super::StoreError;
use super::super::Lease;
use super::given::Given;
use super::{Row, Settled, Settlement, Verdict};
use crate::handles::Slices;
use ahash::AHashSet;
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

impl Slices<'_> {
    /// Settles each of these pages as [`Slices::settle`] does, all of them in one transaction.
    ///
    /// [`Settled::Fenced`] may also mean that somebody had the slice locked for a moment: settle that page alone, which
    /// waits. After an error none of them is settled, or all are and the answer was lost: settle each alone, which tells.
    pub async fn settle_together(self, together: Together, renewal: Duration) -> SettledTogether {
        let Together { leases, pages, .. } = together;
        let result = Given::of(&leases, &pages).settle_together(&self.store.pool, renewal).await;
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
