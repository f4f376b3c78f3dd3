//! Job events: written in the transaction of the transition that they tell, published from here at least once.

use super::{Store, StoreError};
use crate::ids::JobId;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

/// A transition of a job.
#[derive(Clone, Debug)]
pub struct JobEventRow {
    /// Position in the order of writing; gaps are normal.
    pub id: i64,
    /// The job.
    pub job: JobId,
    /// The tenant of the job, where the job is known.
    pub tenant: Option<uuid::Uuid>,
    /// The connection of the job, where the job is known.
    pub connection: Option<uuid::Uuid>,
    /// accepted, started, paused, unpaused, cancelling, completed, failed, cancelled.
    pub kind: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What there is to say about it (reason, error, by whom).
    pub data: Value,
}

/// Writes an event in the transaction of the transition.
pub(super) async fn record(
    transaction: &mut PgConnection,
    job: JobId,
    kind: &str,
    data: Value,
) -> Result<(), StoreError> {
    sqlx::query!("insert into job_events (job_id, kind, data) values ($1, $2, $3)", job.0, kind, data)
        .execute(transaction)
        .await?;
    Ok(())
}

impl Store {
    /// The oldest events that were not published yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unpublished_events(&self, limit: i64) -> Result<Vec<JobEventRow>, StoreError> {
        Ok(sqlx::query_as!(
            JobEventRow,
            r#"select e.id, e.job_id as "job: JobId", j.tenant_id as "tenant?", j.connection_id as "connection?",
                      e.kind, e.at, e.data
                 from job_events e left join jobs j on j.id = e.job_id
                where e.published_at is null order by e.id limit $1"#,
            limit
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Marks events as published, after the broker's confirm.
    ///
    /// # Errors
    /// When the database cannot be written; the events are then published once more.
    pub async fn events_published(&self, ids: &[i64]) -> Result<(), StoreError> {
        sqlx::query!("update job_events set published_at = now() where id = any ($1)", ids)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The events of a job, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_of(&self, job: JobId) -> Result<Vec<JobEventRow>, StoreError> {
        Ok(sqlx::query_as!(
            JobEventRow,
            r#"select e.id, e.job_id as "job: JobId", j.tenant_id as "tenant?", j.connection_id as "connection?",
                      e.kind, e.at, e.data
                 from job_events e left join jobs j on j.id = e.job_id
                where e.job_id = $1 order by e.id"#,
            job.0
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
