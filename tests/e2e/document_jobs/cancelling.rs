//! `POST /v1/jobs/{id}/cancel`.

use super::api::World;
use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use futures::future::{join, try_join_all};
use protocol::ids::JobId;
use protocol::job::JobError;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use store::jobs::FailRight;

fn cancelled() -> Value {
    json!({ "code": "job_failed", "message": "Cancelled via API" })
}

#[tokio::test]
async fn the_answer_is_the_job_as_it_ended() -> Result<()> {
    let world = World::with_calls(35).await?;
    let pending = world.start(json!({})).await?;
    let answer = world.cancel(pending).await?;
    assert_eq!(
        (answer.status, &answer.body["status"], &answer.body["error"]),
        (200, &json!("failed"), &cancelled())
    );
    assert!(answer.body["completed_at"].is_string());
    assert_eq!(answer.body["links"].get("cancel"), None);

    // A worker that holds a page lets go at once.
    let consumer = world.fixture.consumer_with(world.fixture.unhurried()?).await?;
    world.fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let running = world.start(json!({})).await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    let answer = world.cancel(running).await?;
    assert_eq!(
        (answer.status, &answer.body["status"], &answer.body["error"]),
        (200, &json!("failed"), &cancelled())
    );
    assert_eq!(json!([answer.body["completed_documents"], answer.body["current_phase"]]), json!([10, null]));
    let view = world.fixture.until_over(running, JobStatus::Cancelled).await?;
    let forced: bool = sqlx::query_scalar(
        "select (data ->> 'forced')::bool from job_events where job_id = $1 and kind = 'cancelled'",
    )
    .bind(running.0)
    .fetch_one(&world.fixture.database.pool)
    .await?;
    assert!(!forced, "the worker released it");
    let shown: DateTime<Utc> = answer.body["completed_at"].as_str().context("a time")?.parse()?;
    assert_eq!(Some(shown), view.finished_at);
    world.fixture.upstream.release();
    let again = world.start(json!({})).await?;
    world.fixture.until_over(again, JobStatus::Completed).await?;
    assert_eq!(world.job(running).await?, answer.body, "nothing of it has changed since");
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_dead_fleet_delays_the_answer_by_two_seconds() -> Result<()> {
    let world = World::with_calls(0).await?;
    let job = world.start(json!({})).await?;
    let lease = world.hold_page(job).await?;
    let begun = Instant::now();
    let (first, during) = join(world.cancel(job), async {
        world.fixture.until(job, |view| view.status == JobStatus::Cancelling).await?;
        world.job(job).await
    })
    .await;
    let (answer, during, took) = (first?, during?, begun.elapsed());
    assert_eq!(
        json!([during["status"], during["current_phase"], during["completed_at"]]),
        json!(["processing", "cancelling", null])
    );
    assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert_eq!(
        (answer.status, &answer.body["status"], &answer.body["error"]),
        (200, &json!("failed"), &cancelled())
    );
    assert!(answer.body["completed_at"].is_string());

    // The worker comes back: it is fenced, and changes nothing.
    assert!(!world.fixture.store.slices().release(&lease).await?);
    assert!(world.fixture.store.jobs().end_cancel(job).await?.is_none());
    assert!(world.fixture.store.jobs().force_cancel(job).await?.is_none());
    let again = world.cancel(job).await?;
    again.is(409, "conflict", "it is already failed")?;
    assert_eq!(world.job(job).await?, answer.body);
    world.fixture.finish([]).await
}

#[tokio::test]
async fn a_second_cancel_waits_for_the_same_end_and_is_refused() -> Result<()> {
    let world = World::with_calls(0).await?;
    let job = world.start(json!({})).await?;
    world.hold_page(job).await?;
    let answers = try_join_all((0..5).map(|_| world.cancel(job))).await?;
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(accepted.len(), 1, "{answers:?}");
    assert_eq!(accepted[0].body["status"], "failed");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.is(409, "conflict", "already failed")?;
        assert_eq!(refused.body["job_id"], json!(job));
    }
    // One that came by message waits for nobody here; over HTTP it is waited for, and refused.
    let second = world.start(json!({})).await?;
    world.hold_page(second).await?;
    let request = store::jobs::CancelRequest {
        target: store::jobs::CancelTarget::Job(second),
        tenant: None,
        reason: None,
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    world.fixture.store.jobs().cancel(&request).await?;
    world.cancel(second).await?.is(409, "conflict", "already failed")?;
    assert!(world.fixture.store.jobs().get(second, None).await?.context("there")?.status.is_terminal());
    world.fixture.finish([]).await
}

#[tokio::test]
async fn what_is_over_or_not_there_is_refused() -> Result<()> {
    let world = World::with_calls(3).await?;
    let consumer = world.fixture.consumer().await?;
    let complete = world.start(json!({})).await?;
    world.fixture.until_over(complete, JobStatus::Completed).await?;
    world.cancel(complete).await?.is(409, "conflict", "it is already complete")?;
    consumer.stop().await?;
    let failed = world.start(json!({})).await?;
    let error = JobError::of_job("on purpose".to_owned());
    assert!(world.fixture.store.jobs().fail(failed, &error, FailRight::Job).await?);
    world.cancel(failed).await?.is(409, "conflict", "it is already failed")?;
    assert_eq!(world.job(failed).await?["error"]["message"], "on purpose");
    world.cancel(JobId::random()).await?.is(404, "not_found", "there is no job")?;
    world.api.post_text("/v1/jobs/seven/cancel", "").await?.is(400, "validation_error", "UUID")?;
    let path = format!("/v1/jobs/{complete}/cancel");
    world.api.call_as(None, reqwest::Method::POST, &path).await?.is(401, "unauthorized", "API key")?;
    world.fixture.finish([]).await
}

/// Cancelled in the moment of their last page: the answer says how it ended, and it ended so.
#[tokio::test]
async fn a_cancel_and_a_completion_in_one_moment() -> Result<()> {
    let world = World::with_calls(8).await?;
    let consumer = world.fixture.consumer_with(world.fixture.unhurried()?).await?;
    let (mut won, mut lost) = (0, 0);
    for round in 0..24_u64 {
        world.fixture.upstream.hold();
        let ids = world.ids([round % 8]);
        let job = world.start(json!({ "document_ids": ids })).await?;
        world.fixture.upstream.until(|seen| seen.held == 1).await;
        let (answer, ()) = join(
            async {
                tokio::time::sleep(Duration::from_millis(round)).await;
                world.cancel(job).await
            },
            async { world.fixture.upstream.release() },
        )
        .await;
        let answer = answer?;
        let view = world.fixture.until(job, |view| view.status.is_terminal()).await?;
        match answer.status {
            200 => {
                won += 1;
                assert_eq!((view.status, &answer.body["status"]), (JobStatus::Cancelled, &json!("failed")));
            }
            _ => {
                lost += 1;
                answer.is(409, "conflict", "it is already complete")?;
                assert_eq!(view.status, JobStatus::Completed);
            }
        }
        let rows = world.rows(job, 10).await?;
        assert_eq!(i64::try_from(rows.len())?, view.counters.processed(), "its rows are what it counted");
    }
    assert_eq!(won + lost, 24);
    assert!(lost > 0, "the race is run from both ends: {won} won, {lost} lost");
    world.fixture.finish([consumer]).await
}
