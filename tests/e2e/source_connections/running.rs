//! Runs: what they accept and refuse, what an incremental and a full one do, and how a job is shown on its way.

use super::client::World;
use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::job::JobStatus;
use serde_json::{Value, json};
use testkit::sample_upstream::Answer;
use uuid::Uuid;

fn time(value: &Value) -> Result<DateTime<Utc>> {
    Ok(value.as_str().with_context(|| format!("{value} is no time"))?.parse()?)
}

#[tokio::test]
async fn a_job_is_shown_from_pending_to_completed() -> Result<()> {
    let world = World::with_calls(35).await?;
    let connection = world.connection(&json!({})).await?;
    let answer = world.post(&format!("/{connection}/run")).await?;
    let id = answer.id()?;
    let pending = json!({
        "id": id, "source_connection_id": connection, "status": "PENDING", "started_at": null, "completed_at": null,
        "duration_seconds": null, "entities_inserted": 0, "entities_updated": 0, "entities_deleted": 0,
        "entities_failed": 0, "error": null, "error_details": null,
    });
    assert_eq!((answer.status, &answer.body), (200, &pending));
    let job = protocol::ids::JobId(id);
    assert_eq!(world.job(connection, job).await?, pending);

    world.fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let consumer = world.fixture.consumer().await?;
    world.fixture.until(job, |view| view.counters.inserted == 10).await?;
    let running = world.job(connection, job).await?;
    assert_eq!(running["status"], "RUNNING");
    assert!(running["started_at"].is_string() && running["completed_at"].is_null(), "{running}");
    assert_eq!((&running["duration_seconds"], &running["entities_inserted"]), (&Value::Null, &json!(10)));

    world.fixture.upstream.release();
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let completed = world.job(connection, job).await?;
    assert_eq!((&completed["status"], &completed["entities_inserted"]), (&json!("COMPLETED"), &json!(35)));
    let took = time(&completed["completed_at"])? - time(&completed["started_at"])?;
    assert_eq!(completed["duration_seconds"], json!(took.as_seconds_f64()));
    assert_eq!((&completed["error"], &completed["error_details"]), (&Value::Null, &Value::Null));
    world.finish([consumer]).await
}

#[tokio::test]
async fn a_run_while_one_is_active_is_refused_and_names_it() -> Result<()> {
    let world = World::with_calls(5).await?;
    let connection = world.connection(&json!({})).await?;
    let job = world.run(connection, "").await?;
    for query in ["", "?force_full_sync=true"] {
        let refused = world.post(&format!("/{connection}/run{query}")).await?;
        let body = json!({ "detail": "Cannot start new sync: a sync job is already running", "job_id": job });
        assert_eq!((refused.status, refused.body), (409, body));
    }
    // Running too.
    world.fixture.upstream.hold();
    let consumer = world.fixture.consumer().await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    assert_eq!(world.post(&format!("/{connection}/run")).await?.status, 409);
    world.fixture.upstream.release();
    world.fixture.until_over(job, JobStatus::Completed).await?;
    world.run(connection, "").await?;
    world.finish([consumer]).await
}

#[tokio::test]
async fn a_run_that_is_not_understood_or_has_no_connection() -> Result<()> {
    let world = World::with_calls(1).await?;
    let connection = world.connection(&json!({})).await?;
    let wrong = world.post(&format!("/{connection}/run?force_full_sync=perhaps")).await?;
    assert_eq!(
        (wrong.status, wrong.wrong()?),
        (422, json!([[["query", "force_full_sync"], "bool_parsing"]]))
    );
    let wrong = world.post("/calls/run").await?;
    assert_eq!(
        (wrong.status, wrong.wrong()?),
        (422, json!([[["path", "source_connection_id"], "uuid_parsing"]]))
    );
    let gone = world.post(&format!("/{}/run", Uuid::new_v4())).await?;
    assert_eq!((gone.status, gone.body), (404, json!({ "detail": "Source connection not found" })));
    assert_eq!(world.get(&format!("/{connection}/jobs")).await?.body, json!([]), "nothing was started");
    world.finish([]).await
}

#[tokio::test]
async fn without_force_it_is_incremental_with_an_overlap_and_deletes_nothing() -> Result<()> {
    let world = World::with_calls(60).await?;
    let connection = world.connection(&json!({ "overlap_hours": 1 })).await?;
    let consumer = world.fixture.consumer().await?;
    let upstream = &world.fixture.upstream;
    let first = world.run(connection, "").await?;
    assert_eq!(world.fixture.until_over(first, JobStatus::Completed).await?.date_from, None);

    let newest = upstream.created("acme", 59).context("there")?;
    upstream.add("acme", newest + TimeDelta::minutes(1));
    upstream.edit("acme", 59);
    upstream.delete("acme", 58);
    let second = world.run(connection, "?force_full_sync=false").await?;
    let view = world.fixture.until_over(second, JobStatus::Completed).await?;
    assert_eq!(view.date_from, Some(newest - TimeDelta::hours(1)));
    let shown = world.job(connection, second).await?;
    let counts =
        ["inserted", "updated", "deleted", "failed"].map(|it| shown[format!("entities_{it}")].clone());
    assert_eq!(counts, [json!(1), json!(1), json!(0), json!(0)]);
    world.finish([consumer]).await
}

#[tokio::test]
async fn with_force_what_is_gone_is_deleted_and_counted() -> Result<()> {
    let world = World::with_calls(40).await?;
    let connection = world.connection(&json!({})).await?;
    let consumer = world.fixture.consumer().await?;
    let first = world.run(connection, "?force_full_sync=true").await?;
    world.fixture.until_over(first, JobStatus::Completed).await?;
    assert_eq!(world.job(connection, first).await?["entities_deleted"], 0);
    for call in [3, 4, 5, 39] {
        world.fixture.upstream.delete("acme", call);
    }
    let second = world.run(connection, "?force_full_sync=true").await?;
    world.fixture.until_over(second, JobStatus::Completed).await?;
    let shown = world.job(connection, second).await?;
    assert_eq!((&shown["status"], &shown["entities_deleted"]), (&json!("COMPLETED"), &json!(4)));
    world.fixture.until_sql("select count(*) = 4 from records where deleted_at is not null").await?;
    world.finish([consumer]).await
}

#[tokio::test]
async fn a_full_pass_that_would_delete_too_much_fails_in_words_unless_it_is_allowed() -> Result<()> {
    let world = World::with_calls(20).await?;
    let connection = world.connection(&json!({})).await?;
    let consumer = world.fixture.consumer().await?;
    let first = world.run(connection, "").await?;
    world.fixture.until_over(first, JobStatus::Completed).await?;
    let empty = r#"{"results": [], "next": null}"#;
    world.fixture.upstream.script(|_| true, Answer::json(empty));
    let job = world.run(connection, "?force_full_sync=true").await?;
    world.fixture.until_over(job, JobStatus::Failed).await?;
    let shown = world.job(connection, job).await?;
    assert_eq!((&shown["status"], &shown["entities_deleted"]), (&json!("FAILED"), &json!(0)));
    let error = shown["error"].as_str().unwrap_or_default();
    assert!(error.contains("20 of the 20 records in its range") && error.contains("is refused"), "{error}");
    assert!(shown["completed_at"].is_string() && shown["duration_seconds"].is_number(), "{shown}");
    world.fixture.until_sql("select count(*) = 20 from records where deleted_at is null").await?;

    world
        .fixture
        .database
        .execute("update connections set settings = settings || '{\"delete_any_number\": true}'")
        .await?;
    (1..20).for_each(|ordinal| world.fixture.upstream.delete("acme", ordinal));
    let job = world.run(connection, "?force_full_sync=true").await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(world.job(connection, job).await?["entities_deleted"], 19);
    world.finish([consumer]).await
}

#[tokio::test]
async fn a_failed_job_says_what_the_upstream_said() -> Result<()> {
    let world = World::with_calls(5).await?;
    let connection = world.connection(&json!({})).await?;
    let consumer = world.fixture.consumer().await?;
    let body = b"no such account".to_vec();
    world.fixture.upstream.script(|_| true, Answer::Respond { status: 403, headers: Vec::new(), body });
    let job = world.run(connection, "").await?;
    world.fixture.until_over(job, JobStatus::Failed).await?;
    let shown = world.job(connection, job).await?;
    assert_eq!(shown["status"], "FAILED");
    assert!(shown["error"].as_str().is_some_and(|error| error.contains("403")), "{shown}");
    assert_eq!(shown["error_details"], json!({ "slice": 0, "page": 0, "body": "no such account" }));
    world.finish([consumer]).await
}

/// It is completed, and its error_details say why it has deleted nothing.
#[tokio::test]
async fn a_record_that_failed_is_counted_and_leaves_the_deletion_out() -> Result<()> {
    let world = World::with_calls(20).await?;
    let connection = world.connection(&json!({})).await?;
    let consumer = world.fixture.consumer().await?;
    world.fixture.upstream.set_raw("acme", 9, r#"{"created": "2025-01-01T00:00:00Z"}"#);
    let job = world.run(connection, "?force_full_sync=true").await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let shown = world.job(connection, job).await?;
    assert_eq!((&shown["entities_failed"], &shown["error"]), (&json!(1), &Value::Null));
    let why = shown["error_details"]["deletion_left_out"].as_str().unwrap_or_default();
    assert!(why.starts_with("1 records could not be read"), "{shown}");
    world.finish([consumer]).await
}
