//! The results of a job as this contract shows them.

use super::body::Pagination;
use super::schemas::SchemaBody;
use super::status::Word;
use engine::{ResultPage, RowStatus, ShownRow};
use protocol::ids::JobId;
use protocol::schema::RowError;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A part of a job's results.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobResults)]
pub(super) struct ResultsBody<'a> {
    job_id: JobId,
    job_status: Word,
    schema: Option<SchemaBody>,
    /// How many there are so far.
    total_rows: i64,
    data: Vec<RowBody<'a>>,
    links: ResultsLinks,
    pagination: Pagination,
}

/// Where one goes from a part of the results.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobResultsLinks)]
struct ResultsLinks {
    #[serde(rename = "self")]
    this: String,
    job: String,
    next: Option<String>,
}

/// What became of a document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentJobRow)]
struct RowBody<'a> {
    /// The same whenever the row is read.
    id: String,
    /// Its id upstream, if it has one.
    document_id: Option<&'a str>,
    /// `partial` if a value is missing or of another type, `failed` if the document could not be read or stored.
    #[schema(value_type = String, pattern = "^(complete|partial|failed)$")]
    status: RowStatus,
    /// A value for each field of the schema; without a schema the document itself. None if it failed.
    #[schema(value_type = Option<Value>)]
    values: Option<&'a RawValue>,
    #[schema(value_type = Vec<RowErrorBody>)]
    errors: &'a [RowError],
}

/// What a row lacks.
#[derive(ToSchema)]
#[schema(as = DocumentJobRowError)]
#[expect(dead_code, reason = "it describes a RowError")]
struct RowErrorBody {
    /// The field of the schema, if it is one that is at fault.
    field: Option<String>,
    /// A sentence for people.
    message: String,
}

impl<'a> RowBody<'a> {
    fn new(row: &'a ShownRow) -> Self {
        let place = row.place;
        Self {
            id: format!("{}-{}-{}-{}", place.job, place.slice, place.page, place.index),
            document_id: row.document_id.as_deref(),
            status: row.status,
            values: row.values.as_deref(),
            errors: &row.errors,
        }
    }
}

impl<'a> ResultsBody<'a> {
    pub(super) fn new(page: &'a ResultPage, limit: u16) -> Self {
        let job = page.job.id;
        let this = format!("/v1/jobs/{job}/results");
        let next_cursor = page.next.map(|cursor| cursor.to_string());
        let next = next_cursor.as_ref().map(|cursor| format!("{this}?limit={limit}&cursor={cursor}"));
        let total = page.job.counters.processed();
        Self {
            job_id: job,
            job_status: Word::of(page.job.status),
            schema: page.schema.as_ref().map(SchemaBody::new),
            total_rows: total,
            data: page.rows.iter().map(RowBody::new).collect(),
            links: ResultsLinks { this, job: format!("/v1/jobs/{job}"), next },
            pagination: Pagination { total, limit, has_more: page.has_more, next_cursor },
        }
    }
}
