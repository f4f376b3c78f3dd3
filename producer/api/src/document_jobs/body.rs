//! Jobs as this contract shows them.

use super::status::Word;
use chrono::{DateTime, Utc};
use engine::JobView;
use engine::whole_seconds;
use protocol::ids::{JobId, SchemaId};
use protocol::job::JobStatus;
use protocol::warning::Warning;
use serde::Serialize;
use utoipa::ToSchema;

/// A part of the list of jobs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobList)]
pub(super) struct JobList {
    pub(super) data: Vec<JobBody>,
    pub(super) pagination: Pagination,
}

/// Where a list goes on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobPagination)]
pub(super) struct Pagination {
    /// How many there are on all parts together.
    pub(super) total: i64,
    pub(super) limit: u16,
    pub(super) has_more: bool,
    /// The `cursor` of the next part.
    pub(super) next_cursor: Option<String>,
}

/// A job that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobStarted)]
pub(super) struct Started {
    id: JobId,
    status: Word,
    message: &'static str,
    links: Links,
}

impl Started {
    /// As the job was accepted, however soon it goes on, and so the same for every repeat.
    pub(super) fn new(job: JobId) -> Self {
        Self {
            id: job,
            status: Word::Pending,
            message: "the job is accepted; links.self tells how far it is, and links.results has its rows as they come in",
            links: Links::of_active(job),
        }
    }
}

/// Where one goes from a job. Paths, but for what is meant for people.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobPaths)]
pub(super) struct Links {
    #[serde(rename = "self")]
    this: String,
    results: String,
    /// Only while the job is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cancel: Option<String>,
}

impl Links {
    pub(super) fn of_active(job: JobId) -> Self {
        Self { cancel: Some(format!("/v1/jobs/{job}/cancel")), ..Self::of_ended(job) }
    }

    fn of_ended(job: JobId) -> Self {
        Self { this: format!("/v1/jobs/{job}"), results: format!("/v1/jobs/{job}/results"), cancel: None }
    }
}

/// Where one goes from a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobLinks)]
struct JobLinks {
    #[serde(flatten)]
    links: Links,
    /// A page for people, if this installation has one.
    dashboard: Option<String>,
}

/// The schema by which a job's documents are shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobSchema)]
struct JobSchema {
    id: SchemaId,
    name: String,
}

/// The cells of a job's rows: as many as it has rows and its schema fields.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobGridStats)]
struct GridStats {
    total_cells: i64,
    /// Those with a value.
    filled: i64,
    empty: i64,
    /// To four decimals; 0 while there is no cell.
    fill_rate: f64,
}

impl GridStats {
    fn of(job: &JobView) -> Option<Self> {
        let total_cells = job.counters.processed().saturating_mul(job.schema.as_ref()?.fields);
        let filled = job.filled.min(total_cells);
        let exact = |cells: i64| f64::from(u32::try_from(cells).unwrap_or(u32::MAX));
        // Beyond four billion cells their ratio is that of thousands.
        let scale = if total_cells > i64::from(u32::MAX) { 1 << 20 } else { 1 };
        let rate = if total_cells == 0 { 0.0 } else { exact(filled / scale) / exact(total_cells / scale) };
        let fill_rate = (rate * 10_000.0).round() / 10_000.0;
        Some(Self { total_cells, filled, empty: total_cells - filled, fill_rate })
    }
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobFailure)]
struct JobError {
    #[schema(pattern = "^job_failed$")]
    code: &'static str,
    message: String,
}

impl JobError {
    fn of(job: &JobView) -> Option<Self> {
        let message = match job.status {
            JobStatus::Failed => job.error.as_ref().map_or("the job failed", |error| &error.cause).to_owned(),
            JobStatus::Cancelled => job.cancel_reason.clone().unwrap_or_else(|| "Cancelled".to_owned()),
            JobStatus::Pending | JobStatus::Running | JobStatus::Cancelling | JobStatus::Completed => {
                return None;
            }
        };
        Some(Self { code: "job_failed", message })
    }
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJob)]
pub(super) struct JobBody {
    id: JobId,
    name: Option<String>,
    status: Word,
    /// In per cent, while it is `processing`.
    #[schema(maximum = 100)]
    progress: Option<u8>,
    /// Once there is enough to say.
    estimated_seconds_remaining: Option<u64>,
    schema: Option<JobSchema>,
    /// Once it is known.
    document_count: Option<i64>,
    completed_documents: i64,
    /// Of a job with a schema.
    grid_stats: Option<GridStats>,
    /// While it is active.
    #[schema(pattern = "^(queued|fetching|paused|cancelling)$")]
    current_phase: Option<&'static str>,
    error: Option<JobError>,
    /// What may differ from the upstream, by kind, with the first example of each.
    warnings: Vec<Warning>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    links: JobLinks,
}

impl JobBody {
    pub(super) fn new(job: &JobView, public_url: &str) -> Self {
        let processing = matches!(job.status, JobStatus::Running | JobStatus::Cancelling);
        let schema = job.schema.as_ref();
        let links = if job.status.is_active() { Links::of_active(job.id) } else { Links::of_ended(job.id) };
        Self {
            id: job.id,
            name: job.name.clone(),
            status: Word::of(job.status),
            progress: job.percent().filter(|_| processing),
            estimated_seconds_remaining: job.estimated_seconds_remaining().and_then(whole_seconds),
            schema: schema.map(|schema| JobSchema { id: schema.id, name: schema.name.clone() }),
            document_count: job.documents.map(i64::from).or(job.total),
            completed_documents: job.counters.processed(),
            grid_stats: GridStats::of(job),
            current_phase: phase(job),
            error: JobError::of(job),
            warnings: job.warnings.clone(),
            created_at: job.created_at,
            started_at: job.started_at,
            completed_at: job.finished_at,
            links: JobLinks {
                links,
                dashboard: (!public_url.is_empty()).then(|| format!("{public_url}/jobs/{}", job.id)),
            },
        }
    }
}

/// What the job is at; none once it is over.
const fn phase(job: &JobView) -> Option<&'static str> {
    match job.status {
        JobStatus::Pending | JobStatus::Running if job.paused => Some("paused"),
        JobStatus::Pending => Some("queued"),
        JobStatus::Running => Some("fetching"),
        JobStatus::Cancelling => Some("cancelling"),
        JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => None,
    }
}
