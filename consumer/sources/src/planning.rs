//! What the planner, and whoever judges what a job has shown, ask of a connection's settings.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
pub use protocol::plan::TimeIs;
pub use protocol::plan::TotalIs;
use protocol::slice::{Slicing, Span};

use super::{Endpoint, SourceError, registry};

/// How jobs of a connection are planned, and what their answers may be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planning {
    /// How jobs are cut into slices; `None` means one slice. A span that needs more slices than allowed is refused.
    pub slicing: Option<Slicing>,
    /// What is sent as the lower bound of a job that has none: `dates.start`, if it is a date. Such a job is sliced from there,
    /// and its first slice has no lower bound.
    pub start: Option<DateTime<Utc>>,
    /// How far before the end of what is known an incremental job begins.
    pub overlap: TimeDelta,
    /// Whether pages are counted from the beginning of the list, so that a change moves what comes behind it.
    pub counted: bool,
    /// Whether a record that moves while a list is read may be missed without a sign.
    pub moving_list: bool,
    /// What the upstream's totals are worth.
    pub total_is: TotalIs,
    /// What the times of records are; `None` when they have none.
    pub time: Option<TimeIs>,
    /// Whether records can be fetched by their ids.
    pub items: bool,
    /// Whether a full sync deletes without a second pass what only the list shows to be gone.
    pub delete_at_once: bool,
    /// How long after the end of a pass the pass that confirms it may begin.
    pub confirm_after: Duration,
    /// How many records a pass asks for by their ids, to see whether they are gone.
    pub confirm_limit: u32,
    /// Whether a full sync may delete more than half of the connection's records.
    pub delete_any_number: bool,
    /// For how many days a straggler holds back what is known, or is asked for by every job.
    pub straggler_days: u32,
}

impl Planning {
    /// Refuses settings by which a job that begins with `dates.start` would need too many slices today.
    pub fn check_start(&self, now: DateTime<Utc>) -> Result<(), SourceError> {
        match Slicing::cut(self.slicing, Span { from: None, to: now }) {
            Ok(_slices) => Ok(()),
            Err(too_many) => Err(SourceError::settings(format!("dates.start: {too_many}"))),
        }
    }
}

impl Default for Planning {
    fn default() -> Self {
        Self {
            slicing: None,
            start: None,
            overlap: TimeDelta::days(1),
            counted: false,
            moving_list: false,
            total_is: TotalIs::Exact,
            time: None,
            items: false,
            delete_at_once: false,
            confirm_after: Duration::from_secs(3600),
            confirm_limit: 2000,
            delete_any_number: false,
            straggler_days: 14,
        }
    }
}

/// Refuses a connection that its source cannot work with, or whose jobs could not be planned today.
///
/// # Errors
/// What is wrong with it; never holds a secret.
pub fn fits(endpoint: &Endpoint, now: DateTime<Utc>) -> Result<(), SourceError> {
    super::open(endpoint)?;
    planning(&endpoint.kind, &endpoint.settings)?.check_start(now)
}

/// How jobs of a connection are planned. Needs no credentials.
pub fn planning(kind: &str, settings: &serde_json::Value) -> Result<Planning, SourceError> {
    (registry::kind(kind)?.planning)(settings)
}
