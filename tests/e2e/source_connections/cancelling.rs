//! Cancels: in each of the six states, by workers that answer and by none.

use super::client::World;
use anyhow::Result;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_pending_job_is_cancelling_in_the_answer_and_cancelled_when_it_is_read() -> Result<()> {
    let world = World::with_calls(5).await?;
    let connection = world.connection(&json!({})).await?;
    let job = world.run(connection, "").await?;
    let cancelled = world.cancel(connection, job).await?;
    assert_eq!((cancelled.status, &cancelled.body["status"]), (200, &json!("CANCELLING")));
    assert_eq!(
        json!([
            cancelled.body["started_at"],
            cancelled.body["completed_at"],
            cancelled.body["duration_seconds"]
        ]),
        json!([null, null, null])
    );
    let read = world.job(connection, job).await?;
    assert_eq!((&read["status"], &read["duration_seconds"]), (&json!("CANCELLED"), &json!(0.0)));
    assert!(read["started_at"].is_null() && read["completed_at"].is_string(), "{read}");
    // Its start command, which comes later, changes nothing.
    let consumer = world.fixture.consumer().await?;
    let next = world.run(connection, "").await?;
    world.fixture.until_over(next, JobStatus::Completed).await?;
    assert_eq!(world.job(connection, job).await?, read);
    world.finish([consumer]).await
}

#[tokio::test]
async fn a_running_job_is_cancelling_until_its_worker_lets_go() -> Result<()> {
    let world = World::with_calls(30).await?;
    let connection = world.connection(&json!({})).await?;
    world.fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let consumer = world.fixture.consumer().await?;
    let job = world.run(connection, "").await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    let answer = world.cancel(connection, job).await?;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("CANCELLING")));
    assert_eq!(
        (&answer.body["completed_at"], &answer.body["duration_seconds"]),
        (&Value::Null, &Value::Null)
    );
    // The worker stops its page, and what was processed stays.
    world.fixture.until_over(job, JobStatus::Cancelled).await?;
    let shown = world.job(connection, job).await?;
    assert_eq!((&shown["status"], &shown["entities_inserted"]), (&json!("CANCELLED"), &json!(10)));
    assert!(shown["completed_at"].is_string() && shown["duration_seconds"].is_number(), "{shown}");
    assert_eq!((&shown["error"], &shown["error_details"]), (&Value::Null, &Value::Null));
    world.fixture.until_sql("select count(*) = 10 from records").await?;
    world.finish([consumer]).await
}

#[tokio::test]
async fn what_is_over_cannot_be_cancelled() -> Result<()> {
    let world = World::with_calls(5).await?;
    let connection = world.connection(&json!({})).await?;
    let refused = async |job, state: &str| -> Result<()> {
        let before = world.job(connection, job).await?;
        let refused = world.cancel(connection, job).await?;
        let body = json!({ "detail": format!("Cannot cancel job in {state} state") });
        assert_eq!((refused.status, refused.body), (400, body));
        assert_eq!(world.job(connection, job).await?, before);
        Ok(())
    };
    let job = world.run(connection, "").await?;
    world.cancel(connection, job).await?;
    refused(job, "CANCELLED").await?;
    let consumer = world.fixture.consumer().await?;
    let job = world.run(connection, "").await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    refused(job, "COMPLETED").await?;
    world.fixture.upstream.script(|_| true, testkit::sample_upstream::Answer::json("{"));
    let job = world.run(connection, "").await?;
    world.fixture.until_over(job, JobStatus::Failed).await?;
    refused(job, "FAILED").await?;
    let wrong = world.post(&format!("/{connection}/jobs/17/cancel")).await?;
    assert_eq!((wrong.status, wrong.wrong()?), (422, json!([[["path", "job_id"], "uuid_parsing"]])));
    world.finish([consumer]).await
}

/// The fleet is dead: its worker is killed while it holds a page. A repeat is answered like the first, a new run is
/// accepted, and the deadline ends the cancel, counted from the request.
#[tokio::test]
async fn with_a_dead_fleet_the_deadline_forces_it() -> Result<()> {
    let world = World::with_calls(30).await?;
    let connection = world.connection(&json!({})).await?;
    world.fixture.upstream.hold();
    let mut doomed = world
        .fixture
        .consumer_program()?
        .env("BACKHAUL__LEASES__DURATION_MS", "600000")
        .env("BACKHAUL__CANCEL__DEADLINE_MS", "600000")
        .start()?;
    doomed.ready().await?;
    let job = world.run(connection, "").await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    doomed.kill().await?;

    let first = world.cancel(connection, job).await?;
    assert_eq!((first.status, &first.body["status"]), (200, &json!("CANCELLING")));
    let again = world.cancel(connection, job).await?;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let next = world.run(connection, "").await?;
    assert_eq!(world.cancel(connection, next).await?.body["status"], "CANCELLING");
    assert_eq!(world.job(connection, next).await?["status"], "CANCELLED");
    assert_eq!(world.job(connection, job).await?["status"], "CANCELLING", "nobody is left who could let go");

    // Only what keeps the deadline: no consumer, so no message comes back to anybody.
    let deadline = Duration::from_millis(400);
    let over = tokio_util::sync::CancellationToken::new();
    let keeper = tokio::spawn(engine::deadline::run(
        world.fixture.store.clone(),
        deadline,
        Duration::from_millis(20),
        over.clone(),
    ));
    let view = world.fixture.until_over(job, JobStatus::Cancelled).await?;
    over.cancel();
    keeper.await?;
    let waited = view.finished_at.zip(view.cancel_requested_at).map(|(end, asked)| end - asked);
    assert!(waited.is_some_and(|waited| waited >= chrono::TimeDelta::milliseconds(400)), "{waited:?}");
    let shown = world.job(connection, job).await?;
    assert_eq!((&shown["status"], &shown["entities_inserted"]), (&json!("CANCELLED"), &json!(0)));
    assert!(shown["completed_at"].is_string(), "{shown}");
    world.fixture.upstream.release();
    world.finish([]).await
}
