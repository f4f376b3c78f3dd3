//! A job as the native contract shows it.

use chrono::{DateTime, Utc};
use protocol::contract::JobCounters;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::{JobError, JobMode, JobStatus};
use protocol::warning::Warning;
use serde::Serialize;
use std::time::Duration;
use store::jobs::{JobView, SliceCounts};
use utoipa::ToSchema;

/// The JSON of a job. `backhaul --json` writes the same.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Job)]
#[expect(missing_docs, reason = "the fields are the published contract, documented at the store's JobView")]
pub struct JobBody {
    pub id: JobId,
    pub connection_id: ConnectionId,
    pub status: JobStatus,
    pub paused: bool,
    pub mode: JobMode,
    pub date_from: Option<DateTime<Utc>>,
    pub date_to: DateTime<Utc>,
    pub counters: JobCounters,
    pub percent: Option<u8>,
    /// Records per second so far, to one decimal.
    pub rate_per_second: Option<f64>,
    /// Whole seconds, rounded up.
    pub estimated_seconds_remaining: Option<u64>,
    pub pages_settled: i64,
    /// How many of them were skipped, as the connection wants it of pages that can never be settled.
    pub pages_skipped: i64,
    pub slices: SliceCounts,
    pub error: Option<JobError>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub cancel_reason: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
    pub last_activity_at: DateTime<Utc>,
    /// The job whose checkpoints this one took over.
    pub resumed_from: Option<JobId>,
    /// Only of a full sync that is completed and has deleted nothing: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_left_out: Option<String>,
    /// What the upstream last said of the total; never overwritten by what was processed.
    pub upstream_total: Option<i64>,
    /// What may differ from the upstream, by kind, with the first example of each.
    pub warnings: Vec<Warning>,
    /// What is expected and harmless, in the same form.
    pub notes: Vec<Warning>,
}

impl From<&JobView> for JobBody {
    fn from(job: &JobView) -> Self {
        Self {
            id: job.id,
            connection_id: job.connection,
            status: job.status,
            paused: job.paused,
            mode: job.mode,
            date_from: job.date_from,
            date_to: job.date_to,
            counters: JobCounters::new(&job.counters, job.total),
            percent: job.percent(),
            rate_per_second: job.rate_per_second().map(|rate| (rate * 10.0).round() / 10.0),
            estimated_seconds_remaining: job.estimated_seconds_remaining().and_then(whole_seconds),
            pages_settled: job.pages_settled,
            pages_skipped: job.pages_skipped,
            slices: job.slices,
            error: job.error.clone(),
            created_at: job.created_at,
            started_at: job.started_at,
            cancel_requested_at: job.cancel_requested_at,
            cancel_reason: job.cancel_reason.clone(),
            finished_at: job.finished_at,
            last_activity_at: job.last_activity_at,
            resumed_from: job.resumed_from,
            deletion_left_out: job.deletion_left_out.clone(),
            upstream_total: job.upstream_total,
            warnings: job.warnings.clone(),
            notes: job.notes.clone(),
        }
    }
}

/// A number of seconds, rounded up to whole ones. `None` if there are too many.
#[must_use]
pub fn whole_seconds(seconds: f64) -> Option<u64> {
    Duration::try_from_secs_f64(seconds.ceil()).ok().map(|seconds| seconds.as_secs())
}
