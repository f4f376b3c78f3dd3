//! A case, run for real: a connection to a world's upstream, its jobs, and what the law says of them.

use super::ground::Ground;
use super::law::{Breach, Ended, Facts, Rule, Stored, judge};
use super::settings::settings;
use super::upstream::Upstream;
use super::world::{Mode, Step, World};
use anyhow::{Context, Result};
use broker::{Destination, Envelope};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::command::{OnConflict, StartCommand};
use protocol::ids::{ConnectionId, JobId};
use protocol::job::{JobMode, JobStatus};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::time::Duration;
use store::connections::NewConnection;

/// A job that has not ended by then never will.
const LONGEST: Duration = Duration::from_secs(60);

/// Slices of one tenant that are worked on at a time.
const SLICES: i32 = 8;

/// What came of a case.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// What was broken.
    pub(super) breaches: Vec<Breach>,
    /// The jobs, as they were judged.
    pub(super) jobs: Vec<Facts>,
}

/// Runs a world's jobs, and judges them. `session` is for the look at the records.
pub(super) async fn run(ground: &Ground<'_>, session: &mut PgConnection, world: &World) -> Result<Verdict> {
    let midnight = midnight();
    let settings = settings(world, midnight.timestamp_millis());
    if let Err(refused) = sources::planning("paged_json", &settings) {
        let breach = Breach { rule: Rule::Refused, job: 0, text: refused.to_string() };
        let breaches = if world.mistake.is_none() { vec![breach] } else { Vec::new() };
        return Ok(Verdict { breaches, jobs: Vec::new() });
    }
    let number = ground.next_run();
    let upstream = ground.upstreams.add(number, world, midnight.timestamp_millis());
    let tenant = ground.stage.store.tenants().create(&format!("case-{number}"), SLICES).await?.id;
    let new = NewConnection {
        tenant,
        name: "list".to_owned(),
        source: "paged_json".to_owned(),
        base_url: format!("{}/u/{number}", ground.upstreams.origin),
        settings,
    };
    let connection = ground.stage.put_connection(&new, &json!({})).await?;
    let mut jobs = Vec::new();
    for (nth, step) in world.steps.iter().enumerate() {
        step.before.iter().for_each(|change| upstream.change(*change));
        let facts = job(ground, session, &upstream, connection, (nth, step), midnight).await?;
        let ended = facts.end != Ended::Never;
        jobs.push(facts);
        if !ended {
            break;
        }
    }
    ground.upstreams.remove(number);
    Ok(Verdict { breaches: judge(world, &upstream.history(), &jobs), jobs })
}

fn midnight() -> DateTime<Utc> {
    Utc::now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

async fn job(
    ground: &Ground<'_>,
    session: &mut PgConnection,
    upstream: &Upstream,
    connection: ConnectionId,
    (nth, step): (usize, &Step),
    midnight: DateTime<Utc>,
) -> Result<Facts> {
    let at = |minutes: Option<i64>| minutes.map(|minutes| midnight - TimeDelta::minutes(minutes));
    let job = JobId::random();
    let command = StartCommand {
        connection_id: connection,
        job_id: Some(job),
        command_id: None,
        date_from: at(step.from),
        date_to: at(step.to).map(|to| to.min(Utc::now())),
        mode: match step.mode {
            Mode::Range => JobMode::Range,
            Mode::Incremental => JobMode::Incremental,
            Mode::Full => JobMode::Full,
        },
        on_conflict: OnConflict::Reject,
        name: None,
        schema_id: None,
        document_ids: None,
        requested_by: None,
    };
    let began = upstream.begin(nth);
    let envelope = Envelope::new(Destination::StartCommand, "sync.start", serde_json::to_vec(&command)?);
    ground.stage.publisher.publish(envelope).await?;
    let over = ground.watch.until_over(job, LONGEST).await?;
    let (ended, log) = upstream.end();
    let view = ground.stage.store.jobs().get(job, None).await?.context("a job is not there")?;
    let cause = || view.error.as_ref().map(|error| error.cause.clone());
    let end = match view.status {
        _ if !over => Ended::Never,
        JobStatus::Completed => Ended::Completed,
        JobStatus::Failed
        | JobStatus::Cancelled
        | JobStatus::Pending
        | JobStatus::Running
        | JobStatus::Cancelling => Ended::Failed(cause().unwrap_or_default()),
    };
    let told = view.warnings.iter().chain(&view.notes);
    Ok(Facts {
        mode: step.mode,
        began,
        ended,
        end,
        from: view.date_from.map(|from| from.timestamp_micros()),
        to: view.date_to.timestamp_micros(),
        slices: view.slices.total,
        told: told.map(|warning| (warning.kind, warning.count)).collect(),
        deletion_left_out: view.deletion_left_out.clone(),
        log,
        records: records(session, connection).await?,
    })
}

async fn records(session: &mut PgConnection, connection: ConnectionId) -> Result<BTreeMap<String, Stored>> {
    type Row = (String, Value, Option<DateTime<Utc>>, bool);
    let sql = "select external_id, payload, happened_at, deleted_at is not null from records
                where connection_id = $1";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(connection.0).fetch_all(session).await?;
    let stored = |(id, payload, time, deleted): Row| {
        (id, Stored { payload, time: time.map(|time| time.timestamp_micros()), deleted })
    };
    Ok(rows.into_iter().map(stored).collect())
}
