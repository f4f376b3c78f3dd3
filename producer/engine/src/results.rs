//! Results of a job: one row for each record that it has met, as the job's schema shows it.
//!
//! A row says what became of the record in *this* job, and shows what is stored of it *now*: a later job may have updated it,
//! or marked it as deleted, in which case its last content is shown.

use super::{CursorError, Engine, EngineError};
use protocol::ids::{JobId, TenantId};
use protocol::schema::{Fields, RowError};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::fmt;
use std::str::FromStr;
use store::jobs::JobView;
use store::results::{MOST_BYTES, RecordOutcome, ResultPlace, ResultRow};
use store::schemas::Schema;
use uuid::Uuid;

/// Why the row of a record that was not importable has no values.
const DEFERRED: &str =
    "the record was not importable yet when the job met it (it had not ended); a later job finds it";
/// The same for one that has gone since.
const GONE: &str = "the record is not stored any more";

/// What is written around a row, and around an error.
const WRITTEN_AROUND: usize = 200;

/// How much of a record its row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// Everything that the schema asks for.
    Complete,
    /// A required value is missing, or a value is not of its type; the errors say which. Or there is nothing to show yet.
    Partial,
    /// The record could not be read or stored.
    Failed,
}

/// A row as it is shown.
#[derive(Clone, Debug)]
pub struct ShownRow {
    /// Its place.
    pub place: ResultPlace,
    /// The upstream's identifier of the record, if it has one.
    pub document_id: Option<String>,
    /// How much is shown.
    pub status: RowStatus,
    /// An object with a value for each field of the schema; without a schema the record itself. None if it failed.
    pub values: Option<Box<RawValue>>,
    /// What is missing, and why.
    pub errors: Vec<RowError>,
}

impl ShownRow {
    /// About how many bytes it is written in.
    fn size(&self) -> usize {
        let errors = self.errors.iter().map(|error| {
            error.field.as_deref().unwrap_or_default().len() + error.message.len() + WRITTEN_AROUND
        });
        let values = self.values.as_ref().map_or(0, |values| values.get().len());
        let id = self.document_id.as_deref().unwrap_or_default().len();
        values + id + errors.sum::<usize>() + WRITTEN_AROUND
    }
}

/// A part of a job's results, in the order in which they came in.
#[derive(Clone, Debug)]
pub struct ResultPage {
    /// The job. Its state was read before the rows: if it was over then, nothing is added behind them.
    pub job: JobView,
    /// Its schema, if it has one.
    pub schema: Option<Schema>,
    /// The rows.
    pub rows: Vec<ShownRow>,
    /// Whether there are more at this moment.
    pub has_more: bool,
    /// Where to go on. While the job is not over it is there even if there are no more rows yet.
    pub next: Option<ResultCursor>,
}

impl Engine {
    /// Results of a job of the tenant, in whatever state it is, those of the jobs that it goes on from included.
    ///
    /// # Errors
    /// [`EngineError::NoJob`] (also for another tenant's job), [`EngineError::Invalid`] if the cursor is of another job, or
    /// [`EngineError::Store`].
    pub async fn results(
        &self,
        tenant: TenantId,
        job: JobId,
        after: Option<ResultCursor>,
        limit: u16,
    ) -> Result<ResultPage, EngineError> {
        let job = self.job(tenant, job).await?;
        let schema = match &job.schema {
            Some(schema) => self.store.schemas().get(tenant, schema.id).await?,
            None => None,
        };
        let chain = match job.resumed_from {
            Some(_) => self.store.jobs().resumed_from(job.id).await?,
            None => vec![job.id],
        };
        if after.is_some_and(|ResultCursor(place)| !chain.contains(&place.job)) {
            return Err(EngineError::Invalid(CursorError.to_string()));
        }
        let after_place = after.map(|ResultCursor(place)| place);
        let found = self.store.jobs().results(&chain, job.connection, after_place, limit).await?;
        let fields = schema.as_ref().map(|schema| &schema.fields);
        let (mut rows, mut size, mut more) = (Vec::new(), 0, found.more);
        for row in found.rows {
            let row = shown(row, fields);
            size += row.size();
            if size > MOST_BYTES && !rows.is_empty() {
                more = true;
                break;
            }
            rows.push(row);
        }
        let last = rows.last().map(|row| ResultCursor(row.place)).or(after);
        let next = last.filter(|_| more || !job.status.is_terminal());
        Ok(ResultPage { job, schema, rows, has_more: more, next })
    }
}

fn shown(row: ResultRow, fields: Option<&Fields>) -> ShownRow {
    let whole = |message: &str| vec![RowError { field: None, message: message.to_owned() }];
    let empty = || fields.and_then(|fields| to_raw_value(&fields.empty_row()).ok());
    let stored = row.payload.and_then(|payload| RawValue::from_string(payload).ok());
    let (status, values, errors) = match (row.outcome, stored) {
        (RecordOutcome::Failed, _) => {
            (RowStatus::Failed, None, whole(row.reason.as_deref().unwrap_or("the record failed")))
        }
        (RecordOutcome::Deferred, _) => (RowStatus::Partial, empty(), whole(DEFERRED)),
        (RecordOutcome::Stored, None) => (RowStatus::Failed, None, whole(GONE)),
        (RecordOutcome::Stored, Some(record)) => match fields {
            None => (RowStatus::Complete, Some(record), Vec::new()),
            Some(fields) => {
                let row = fields.row(&record);
                let status = if row.errors.is_empty() { RowStatus::Complete } else { RowStatus::Partial };
                (status, to_raw_value(&row).ok(), row.errors)
            }
        },
    };
    let document_id = Some(row.key).filter(|key| !key.is_empty());
    ShownRow { place: row.place, document_id, status, values, errors }
}

/// Where a list of results goes on: the place of the last row, written so that nobody takes it for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultCursor(ResultPlace);

/// The job's id, and four numbers, in hexadecimal digits.
impl fmt::Display for ResultCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResultPlace { job, settled_by, slice, page, index } = self.0;
        write!(f, "{}{settled_by:016x}{slice:08x}{page:08x}{index:08x}", job.0.simple())
    }
}

impl FromStr for ResultCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.len() != 72 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(CursorError);
        }
        let part = |from: usize, to: usize| text.get(from..to).ok_or(CursorError);
        let number = |from, to| i64::from_str_radix(part(from, to)?, 16).ok().ok_or(CursorError);
        let small = |from, to| i32::try_from(number(from, to)?).ok().ok_or(CursorError);
        let job = Uuid::try_parse(part(0, 32)?).ok().map(JobId).ok_or(CursorError)?;
        Ok(Self(ResultPlace {
            job,
            settled_by: number(32, 48)?,
            slice: small(48, 56)?,
            page: small(56, 64)?,
            index: small(64, 72)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn place() -> ResultPlace {
        ResultPlace { job: JobId::random(), settled_by: 1 << 40, slice: 9_999, page: i32::MAX, index: 0 }
    }

    #[test]
    fn a_cursor_survives_its_text_and_nothing_else_is_one() {
        let cursor = ResultCursor(place());
        let text = cursor.to_string();
        assert_eq!(text.parse(), Ok(cursor));
        let negative = format!("{}ffffffffffffffff{}", &text[..32], &text[48..]);
        for wrong in
            ["", "1", &text[1..], &format!("{text}0"), &text.replace('0', "g"), &negative, &"ö".repeat(36)]
        {
            assert_eq!(wrong.parse::<ResultCursor>(), Err(CursorError), "{wrong}");
        }
    }

    fn row(outcome: RecordOutcome, reason: Option<&str>, payload: Option<&str>) -> ShownRow {
        let fields = json!([{ "name": "n", "pointer": "/n", "type": "integer", "required": true }]);
        let fields: Fields = serde_json::from_value(fields).unwrap();
        let (reason, payload) = (reason.map(str::to_owned), payload.map(str::to_owned));
        shown(ResultRow { place: place(), key: "a".to_owned(), outcome, reason, payload }, Some(&fields))
    }

    fn values(row: &ShownRow) -> Value {
        serde_json::to_value(&row.values).unwrap()
    }

    #[test]
    fn a_row_says_how_much_it_shows() {
        let complete = row(RecordOutcome::Stored, None, Some(r#"{"n": 1}"#));
        assert_eq!((complete.status, values(&complete)), (RowStatus::Complete, json!({ "n": 1 })));
        assert!(complete.errors.is_empty());
        for record in [r#"{"n": "1"}"#, "{}"] {
            let partial = row(RecordOutcome::Stored, None, Some(record));
            assert_eq!((partial.status, values(&partial)), (RowStatus::Partial, json!({ "n": null })));
            assert_eq!(partial.errors[0].field.as_deref(), Some("n"));
        }
        let deferred = row(RecordOutcome::Deferred, None, None);
        assert_eq!((deferred.status, values(&deferred)), (RowStatus::Partial, json!({ "n": null })));
        let failed = row(RecordOutcome::Failed, Some("it has no id"), None);
        assert_eq!((failed.status, values(&failed)), (RowStatus::Failed, Value::Null));
        assert_eq!(failed.errors, [RowError { field: None, message: "it has no id".to_owned() }]);
        assert_eq!(row(RecordOutcome::Stored, None, None).status, RowStatus::Failed);
    }
}
