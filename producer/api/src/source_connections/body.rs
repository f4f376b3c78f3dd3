//! Bodies as this contract has them, and its words for a job's state.

use chrono::{DateTime, Utc};
use engine::ConnectionView;
use engine::JobView;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::{JobError, JobStatus};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// The contract's word for a state.
pub(super) const fn word(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Pending => "PENDING",
        JobStatus::Running => "RUNNING",
        JobStatus::Completed => "COMPLETED",
        JobStatus::Failed => "FAILED",
        JobStatus::Cancelling => "CANCELLING",
        JobStatus::Cancelled => "CANCELLED",
    }
}

/// A connection to be made.
// It only describes: `NewConnection` reads a body field by field, so as to say all that is wrong with it at once.
#[derive(ToSchema)]
#[schema(as = SourceConnectionCreate)]
#[expect(dead_code, reason = "it describes")]
pub(super) struct CreateBody {
    /// No other connection of yours has it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The kind of the upstream, such as `ultravox`.
    source: String,
    /// The upstream's address.
    base_url: String,
    /// What the upstream asks for, by name. It is stored sealed, and never shown.
    #[schema(value_type = Object)]
    credentials: Value,
    /// Settings of the source.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
}

/// A connection; its credentials are never shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceConnection)]
pub(super) struct ConnectionBody {
    id: ConnectionId,
    name: String,
    source: String,
    base_url: String,
    /// Left out of lists, unless they are asked for.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Value>,
    created_at: DateTime<Utc>,
}

impl ConnectionBody {
    /// The same in a list that is to be short.
    pub(super) fn without_settings(self) -> Self {
        Self { settings: None, ..self }
    }
}

impl From<&ConnectionView> for ConnectionBody {
    fn from(connection: &ConnectionView) -> Self {
        Self {
            id: connection.id,
            name: connection.name.clone(),
            source: connection.source.clone(),
            base_url: connection.base_url.clone(),
            settings: Some(connection.settings.clone()),
            created_at: connection.created_at,
        }
    }
}

/// A sync job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceConnectionJob)]
pub(super) struct JobBody {
    id: JobId,
    source_connection_id: ConnectionId,
    #[schema(pattern = "^(PENDING|RUNNING|COMPLETED|FAILED|CANCELLING|CANCELLED)$")]
    status: &'static str,
    started_at: Option<DateTime<Utc>>,
    /// In every terminal state.
    completed_at: Option<DateTime<Utc>>,
    /// From its start to its end; 0 if it ended before it was started.
    duration_seconds: Option<f64>,
    entities_inserted: i64,
    entities_updated: i64,
    entities_deleted: i64,
    entities_failed: i64,
    /// Why it failed.
    error: Option<String>,
    /// Where it failed; as `deletion_left_out`, why a full sync has deleted nothing; as `warnings`, what may differ from the
    /// upstream, by kind, with the first example of each.
    #[schema(value_type = Option<Object>)]
    error_details: Option<Value>,
}

impl From<&JobView> for JobBody {
    fn from(job: &JobView) -> Self {
        let mut details = Map::new();
        if let Some(JobError { slice, page, body, .. }) = &job.error {
            details.insert("slice".to_owned(), json!(slice));
            details.insert("page".to_owned(), json!(page));
            details.insert("body".to_owned(), json!(body));
        }
        // These are no errors: the reason why entities_deleted is 0, and what is doubtful.
        if let Some(why) = &job.deletion_left_out {
            details.insert("deletion_left_out".to_owned(), json!(why));
        }
        if !job.warnings.is_empty() {
            details.insert("warnings".to_owned(), json!(job.warnings));
        }
        let duration = job.finished_at.map(|end| end - job.started_at.unwrap_or(end));
        Self {
            id: job.id,
            source_connection_id: job.connection,
            status: word(job.status),
            started_at: job.started_at,
            completed_at: job.finished_at,
            duration_seconds: duration.map(|duration| duration.as_seconds_f64().max(0.0)),
            entities_inserted: job.counters.inserted,
            entities_updated: job.counters.updated,
            entities_deleted: job.counters.deleted,
            entities_failed: job.counters.failed,
            error: job.error.as_ref().map(|error| error.cause.clone()),
            error_details: (!details.is_empty()).then_some(Value::Object(details)),
        }
    }
}

impl JobBody {
    /// As the answer to a cancel that was accepted shows a job: on its way to its end, however soon that has come.
    pub(super) fn cancelling(job: &JobView) -> Self {
        let status = word(JobStatus::Cancelling);
        Self { status, completed_at: None, duration_seconds: None, ..job.into() }
    }
}
