//! Pages that fail: whose fault it is, the page's own or that of an upstream that fails for all.

use super::super::StoreError;
use super::Lease;
use crate::handles::Slices;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// What is known about a page whose attempt has just failed.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Failed attempts at the page, this one among them.
    pub attempts: u32,
    /// Those that were the page's own fault, without this one.
    pub faults: u32,
    /// Whether other pages of the connection are settled meanwhile, so that the page alone is at fault.
    pub alone: bool,
    /// When the first of the attempts failed.
    pub since: DateTime<Utc>,
    /// How long the page has been failing, without the time of pauses and rests.
    pub lasted: Duration,
}

/// How an attempt ended that leaves the page waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The upstream was not asked: nothing is counted.
    None,
    /// It failed. So many of the page's failed attempts are its own fault.
    Failed {
        /// This one among them, if it is.
        faults: u32,
    },
}

impl Trouble {
    /// The attempts that are the page's own fault, with this one: an attempt that failed for a reason of the `page`'s, or while
    /// other pages are settled. The first failure says nothing until others are settled after it; then it counts, too.
    #[must_use]
    pub fn faults_with(&self, page: bool) -> u32 {
        match (page, self.alone) {
            (true, _) => self.faults + 1,
            (false, true) => self.faults.max(1) + 1,
            (false, false) => self.faults,
        }
    }
}

impl Slices<'_> {
    /// What the failure of a page in hand means. `None` if the lease is lost.
    pub async fn trouble(self, lease: &Lease) -> Result<Option<Trouble>, StoreError> {
        let row = sqlx::query_file!("src/sql/trouble.sql", lease.job.0, lease.slice, lease.token.0)
            .fetch_optional(&self.store.pool)
            .await?;
        Ok(row.map(|row| Trouble {
            attempts: u32::try_from(row.attempts).unwrap_or_default().saturating_add(1),
            faults: u32::try_from(row.faults).unwrap_or_default(),
            alone: row.alone,
            since: row.since,
            lasted: Duration::try_from_secs_f64(row.seconds).unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(faults: u32, alone: bool) -> Trouble {
        Trouble { attempts: 9, faults, alone, since: DateTime::UNIX_EPOCH, lasted: Duration::ZERO }
    }

    #[test]
    fn an_outage_is_not_the_fault_of_a_page() {
        assert_eq!(trouble(0, false).faults_with(false), 0);
        assert_eq!(trouble(3, false).faults_with(false), 3);
    }

    #[test]
    fn the_first_failure_counts_once_others_are_well() {
        assert_eq!(trouble(0, true).faults_with(false), 2);
        assert_eq!(trouble(2, true).faults_with(false), 3);
    }

    #[test]
    fn a_reason_of_its_own_counts_at_once() {
        assert_eq!(trouble(0, false).faults_with(true), 1);
        assert_eq!(trouble(1, true).faults_with(true), 2);
    }
}
