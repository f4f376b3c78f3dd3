//! Jobs under measurement: started by a message, as an upstream service does, and followed in the database.

use anyhow::{Context, Result, ensure};
use broker::{Destination, Envelope};
use chrono::{DateTime, Utc};
use protocol::command::{CancelCommand, OnConflict, StartCommand};
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::JobMode;
use protocol::topology::KEY_CANCEL;
use protocol::topology::KEY_START;
use serde_json::{Value, json};
use sqlx::PgConnection;
use stage::Stage;
use std::time::Duration;
use store::connections::NewConnection;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Between two looks at whether all jobs are over. The times come from the jobs' rows.
const LOOK: Duration = Duration::from_millis(50);

/// An Ultravox connection of a tenant.
///
/// # Errors
/// When the database refuses.
pub(super) async fn connect(
    stage: &Stage,
    tenant: TenantId,
    name: &str,
    (base_url, key): (&str, &str),
    settings: Value,
) -> Result<ConnectionId> {
    let (name, source, base_url) = (name.to_owned(), "ultravox".to_owned(), base_url.to_owned());
    let new = NewConnection { tenant, name, source, base_url, settings };
    stage.put_connection(&new, &json!({ "api_key": key })).await
}

/// Publishes a start.
///
/// # Errors
/// When the broker does not confirm it.
pub(super) async fn start(
    stage: &Stage,
    connection: ConnectionId,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<JobId> {
    let job = JobId::random();
    let command = StartCommand {
        connection_id: connection,
        job_id: Some(job),
        command_id: None,
        date_from: from,
        date_to: to,
        mode: JobMode::Range,
        name: None,
        schema_id: None,
        document_ids: None,
        on_conflict: OnConflict::default(),
        requested_by: Some("bench".to_owned()),
    };
    let envelope = Envelope::new(Destination::StartCommand, KEY_START, json!(command).to_string());
    stage.publisher.publish(envelope).await?;
    Ok(job)
}

/// Publishes a cancel. That of a job which is over has no effect.
///
/// # Errors
/// When the broker does not confirm it.
pub(super) async fn cancel(stage: &Stage, job: JobId) -> Result<()> {
    let command = CancelCommand { job_id: Some(job), ..CancelCommand::default() };
    let envelope = Envelope::new(Destination::CancelCommand, KEY_CANCEL, json!(command).to_string());
    Ok(stage.publisher.publish(envelope).await?)
}

/// When the last of these jobs completed.
///
/// # Errors
/// When one fails, or they are not over in time.
pub(super) async fn until_completed(
    session: &mut PgConnection,
    jobs: &[JobId],
    longest: Duration,
) -> Result<DateTime<Utc>> {
    let jobs: Vec<Uuid> = jobs.iter().map(|job| job.0).collect();
    let began = Instant::now();
    loop {
        let sql = "select count(*) filter (where status = 'completed'), \
                   count(*) filter (where status in ('failed', 'cancelled')), max(finished_at) \
                   from jobs where id = any($1)";
        let (completed, broken, last): (i64, i64, Option<DateTime<Utc>>) =
            sqlx::query_as(sql).bind(&jobs).fetch_one(&mut *session).await?;
        ensure!(broken == 0, "{broken} jobs did not complete");
        if completed == i64::try_from(jobs.len())? {
            return last.context("a completed job has an end");
        }
        ensure!(began.elapsed() < longest, "only {completed} of {} jobs are completed", jobs.len());
        sleep(LOOK).await;
    }
}

/// How many pages of walks have been settled, over all jobs.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn pages_settled(session: &mut PgConnection) -> Result<i64> {
    let sum = "select coalesce(sum(page), 0)::bigint from slices where kind = 'walk'";
    Ok(sqlx::query_scalar(sum).fetch_one(session).await?)
}
