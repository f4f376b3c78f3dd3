//! The counters of a job as every contract of ours shows them.

use crate::job::Counters;
use serde::{Deserialize, Serialize};

/// What a job has done so far, with the sums that people look for. True in every state, a cancelled one too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct JobCounters {
    /// Records that were not stored before.
    pub inserted: i64,
    /// Records that were stored with other content.
    pub updated: i64,
    /// Records that were stored with this very content.
    pub unchanged: i64,
    /// Records that cannot be imported yet; a later sync does.
    pub deferred: i64,
    /// Records that could not be read or stored.
    pub failed: i64,
    /// Records that a full sync no longer found.
    pub deleted: i64,
    /// inserted + updated.
    pub imported: i64,
    /// unchanged + deferred.
    pub skipped: i64,
    /// imported + skipped + failed.
    pub processed: i64,
    /// How many there are; null until the upstream has said so for every slice.
    pub total: Option<i64>,
}

impl JobCounters {
    /// The counters with their sums.
    #[must_use]
    pub const fn new(counters: &Counters, total: Option<i64>) -> Self {
        Self {
            inserted: counters.inserted,
            updated: counters.updated,
            unchanged: counters.unchanged,
            deferred: counters.deferred,
            failed: counters.failed,
            deleted: counters.deleted,
            imported: counters.imported(),
            skipped: counters.skipped(),
            processed: counters.processed(),
            total,
        }
    }
}
