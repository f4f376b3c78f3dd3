//! Results of jobs: the page log, which says what became of each record, beside the records as they are stored now.

use super::StoreError;
use crate::handles::Jobs;
use futures::TryStreamExt;
use protocol::ids::{ConnectionId, JobId};

/// What one read brings at most of what callers and upstreams wrote, in bytes, unless the first row alone is larger.
pub const MOST_BYTES: usize = 1 << 20;

/// The place of a row among a job's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultPlace {
    /// The job that settled it: the one asked for, or one that it goes on from.
    pub job: JobId,
    /// The transaction that settled its page, by which pages are in order.
    pub settled_by: i64,
    /// Its slice.
    pub slice: i32,
    /// Its page.
    pub page: i32,
    /// Its index in the page, from 0.
    pub index: i32,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It is stored: by this job, or it was already.
    Stored,
    /// It was not importable yet.
    Deferred,
    /// It could not be read or stored.
    Failed,
}

/// A record that a job has met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRow {
    /// Its place.
    pub place: ResultPlace,
    /// The upstream's identifier; empty if the record has none.
    pub key: String,
    /// What became of it.
    pub outcome: RecordOutcome,
    /// Why it failed, if it did.
    pub reason: Option<String>,
    /// What is stored of it now, as JSON, if it is stored.
    pub payload: Option<String>,
}

/// Some rows of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRows {
    /// The rows, in order.
    pub rows: Vec<ResultRow>,
    /// Whether there were more when they were read.
    pub more: bool,
}

impl Jobs<'_> {
    /// The job and those that it goes on from, the first one first. Empty if there is no such job.
    pub async fn resumed_from(self, job: JobId) -> Result<Vec<JobId>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"with recursive chain as (
                   select id, resumed_from, 0 as back from jobs where id = $1
                   union all
                   select j.id, j.resumed_from, c.back + 1 from chain c join jobs j on j.id = c.resumed_from)
               select id as "id!: JobId" from chain order by back desc"#,
            job.0
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Rows of the results of a [chain](Self::resumed_from) of jobs of a connection, after a place; at most `limit`, and fewer if
    /// they are large. What is committed between two reads comes after what was read, so nothing is met twice or missed.
    pub async fn results(
        self,
        chain: &[JobId],
        connection: ConnectionId,
        after: Option<ResultPlace>,
        limit: u16,
    ) -> Result<ResultRows, StoreError> {
        let chain: Vec<_> = chain.iter().map(|job| job.0).collect();
        let mut session = self.store.pool.acquire().await?;
        let mut found = sqlx::query_file!(
            "src/sql/results.sql",
            &chain,
            connection.0,
            after.map(|place| place.job.0),
            after.map(|place| place.settled_by),
            after.map(|place| place.slice),
            after.map(|place| place.page),
            after.map(|place| place.index),
            // One more than asked for tells whether there are more.
            i64::from(limit) + 1
        )
        .fetch(&mut session);
        let mut rows = Vec::new();
        let mut bytes = 0;
        while let Some(row) = found.try_next().await? {
            bytes += row.payload.as_ref().map_or(0, String::len);
            if rows.len() == usize::from(limit) || (bytes > MOST_BYTES && !rows.is_empty()) {
                return Ok(ResultRows { rows, more: true });
            }
            let outcome = match row.outcome.as_str() {
                "f" => RecordOutcome::Failed,
                "d" => RecordOutcome::Deferred,
                _ => RecordOutcome::Stored,
            };
            let place = ResultPlace {
                job: row.job,
                settled_by: row.settled_by,
                slice: row.slice,
                page: row.page,
                index: row.index,
            };
            rows.push(ResultRow { place, key: row.key, outcome, reason: row.reason, payload: row.payload });
        }
        Ok(ResultRows { rows, more: false })
    }
}
