//! Bodies as this contract has them, and its words for a job's state.

mod moment;

use super::Refusal;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use engine::JobView;
use protocol::command::MAX_COMMAND_BYTES;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::json;
use protocol::warning::Warning;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The contract's word for a state. A cancel is final to its callers from the moment that it is accepted: nothing more is
/// imported.
pub(super) const fn word(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Pending => "pending",
        JobStatus::Running => "in_progress",
        JobStatus::Completed => "completed",
        JobStatus::Failed => "failed",
        JobStatus::Cancelling | JobStatus::Cancelled => "cancelled",
    }
}

/// The body of a request, read to its end.
pub(super) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::say(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {MAX_COMMAND_BYTES} bytes"),
        ),
        _ => Refusal::bad_request("the body could not be read to its end"),
    })
}

/// The span to sync. Its ends are ISO 8601 dates or times in any common form; without an offset they are UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(as = HistoricalSyncStart)]
pub(super) struct StartBody {
    /// No lower bound if absent.
    pub(super) date_from: Option<DateTime<Utc>>,
    /// Now if absent.
    pub(super) date_to: Option<DateTime<Utc>>,
}

impl StartBody {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let fields = object(body)?;
        Ok(Self { date_from: date(&fields, "date_from")?, date_to: date(&fields, "date_to")? })
    }
}

/// The job to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = HistoricalSyncCancel)]
pub(super) struct CancelBody {
    pub(super) job_id: JobId,
}

impl CancelBody {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let fields = object(body)?;
        let given = match fields.get("job_id") {
            None | Some(Value::Null) => return Err(Refusal::bad_request("job_id is missing")),
            Some(given) => given,
        };
        let job_id = given.as_str().and_then(|text| text.parse().ok());
        let job_id = job_id.ok_or_else(|| Refusal::bad_request("job_id is not a UUID"))?;
        Ok(Self { job_id })
    }
}

/// The fields of a body. An empty one has none.
fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match json::read(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Refusal::bad_request("the body is not a JSON object")),
        Err(error) => Err(Refusal::bad_request(format!("the body is not a JSON object: {error}"))),
    }
}

fn date(fields: &Map<String, Value>, name: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
    let given = match fields.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(given) => given,
    };
    let date = given.as_str().and_then(moment::read);
    let date = date.ok_or_else(|| {
        Refusal::bad_request(format!(
            "{name} is not an RFC 3339 time, nor another common form of ISO 8601, such as 2026-01-31T12:00:00Z or 2026-01-31"
        ))
    })?;
    Ok(Some(date))
}

/// The answer of a start and of a cancel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HistoricalSyncAcknowledged)]
pub(super) struct Acknowledged {
    pub(super) job_id: JobId,
    #[schema(pattern = "^(pending|in_progress|completed|failed|cancelled)$")]
    pub(super) status: &'static str,
}

/// The answer of `get-sync-status`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum SyncStatus {
    Active {
        active: bool,
        job: ActiveJob,
    },
    Idle {
        active: bool,
        #[schema(required = true)]
        recent_job: Option<RecentJob>,
    },
}

impl SyncStatus {
    /// Of the active job or, if none is, the newest one.
    pub(super) fn of(latest: Option<&JobView>) -> Self {
        match latest {
            Some(job) if job.status.is_active() => Self::Active { active: true, job: job.into() },
            other => Self::Idle { active: false, recent_job: other.map(RecentJob::from) },
        }
    }
}

/// What both forms of a job have.
#[derive(Debug, Serialize, ToSchema)]
struct Calls {
    id: JobId,
    #[schema(pattern = "^(pending|in_progress|completed|failed|cancelled)$")]
    status: &'static str,
    date_from: Option<DateTime<Utc>>,
    date_to: DateTime<Utc>,
    total_calls: Option<i64>,
    processed_calls: i64,
    imported_calls: i64,
    skipped_calls: i64,
    failed_calls: i64,
    /// What may differ from the upstream, by kind, with the first example of each.
    warnings: Vec<Warning>,
}

/// A job that is pending or in progress.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActiveJob {
    #[serde(flatten)]
    calls: Calls,
    progress_percent: Option<u8>,
    started_at: Option<DateTime<Utc>>,
    last_activity_at: DateTime<Utc>,
}

/// A job that is over.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecentJob {
    #[serde(flatten)]
    calls: Calls,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    error_message: Option<String>,
}

impl From<&JobView> for Calls {
    fn from(job: &JobView) -> Self {
        Self {
            id: job.id,
            status: word(job.status),
            date_from: job.date_from,
            date_to: job.date_to,
            total_calls: job.total,
            processed_calls: job.counters.processed(),
            imported_calls: job.counters.imported(),
            skipped_calls: job.counters.skipped(),
            failed_calls: job.counters.failed,
            warnings: job.warnings.clone(),
        }
    }
}

impl From<&JobView> for ActiveJob {
    fn from(job: &JobView) -> Self {
        Self {
            calls: job.into(),
            progress_percent: job.percent(),
            started_at: job.started_at,
            last_activity_at: job.last_activity_at,
        }
    }
}

impl From<&JobView> for RecentJob {
    fn from(job: &JobView) -> Self {
        let cause = job.error.as_ref().map(|error| error.cause.as_str());
        Self {
            calls: job.into(),
            created_at: job.created_at,
            // A cancel is over with its acceptance, though pages in flight may still be given up.
            completed_at: job.cancel_requested_at.or(job.finished_at),
            error_message: cause.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
