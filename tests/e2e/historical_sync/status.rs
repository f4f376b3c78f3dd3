//! `get-sync-status`.

use super::agency::{Agency, CANCEL};
use anyhow::{Context, Result};
use protocol::job::JobError;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use store::jobs::FailRight;

#[tokio::test]
async fn pending_then_in_progress_paused_or_not() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    assert_eq!(agency.status().await?, json!({ "active": false, "recent_job": null }));
    let job = agency.start().await?;
    let pending = agency.status().await?;
    assert_eq!((&pending["active"], &pending["job"]["id"]), (&json!(true), &json!(job)));
    assert_eq!((&pending["job"]["status"], &pending["job"]["started_at"]), (&json!("pending"), &Value::Null));
    assert_eq!(
        (&pending["job"]["total_calls"], &pending["job"]["progress_percent"]),
        (&Value::Null, &Value::Null),
        "nobody knows yet"
    );

    agency.hold_page(job).await?;
    let running = agency.status().await?;
    assert_eq!(running["job"]["status"], "in_progress");
    assert!(running["job"]["started_at"].is_string() && running["job"]["last_activity_at"].is_string());
    agency.fixture.database.execute("update jobs set paused = true").await?;
    assert_eq!(
        agency.status().await?["job"]["status"],
        "in_progress",
        "a pause is no state of this contract"
    );
    agency.call(CANCEL, &json!({ "job_id": job })).await?;
    assert!(agency.fixture.store.jobs().force_cancel(job).await?.is_some());
    agency.fixture.finish([]).await
}

/// 29 of 200 is 14, since it is computed as a web page would.
#[tokio::test]
async fn progress_is_rounded_as_a_browser_rounds_it() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let job = agency.start().await?;
    agency.hold_page(job).await?;
    for (processed, total, percent) in
        [(29, 200, json!(14)), (1, 200, json!(1)), (201, 200, json!(100)), (0, 0, Value::Null)]
    {
        let set = format!("update slices set unchanged = {processed}, total = {total}");
        agency.fixture.database.execute(&set).await?;
        let shown = agency.status().await?["job"].take();
        assert_eq!(json!([shown["processed_calls"], shown["total_calls"]]), json!([processed, total]));
        assert_eq!(shown["progress_percent"], percent, "{processed} of {total}");
    }
    agency.fixture.database.execute("update slices set unchanged = 0, total = null").await?;
    assert_eq!(agency.status().await?["job"]["progress_percent"], Value::Null);
    agency.call(CANCEL, &json!({ "job_id": job })).await?;
    assert!(agency.fixture.store.jobs().force_cancel(job).await?.is_some());
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn the_recent_job_is_the_newest_that_is_over() -> Result<()> {
    let agency = Agency::with_calls(13).await?;
    let consumer = agency.fixture.consumer().await?;
    let completed = agency.start().await?;
    agency.fixture.until_over(completed, JobStatus::Completed).await?;
    consumer.stop().await?;
    let status = agency.status().await?;
    let recent = &status["recent_job"];
    assert_eq!((&status["active"], &recent["id"]), (&json!(false), &json!(completed)));
    assert_eq!(
        json!([recent["status"], recent["total_calls"], recent["processed_calls"], recent["imported_calls"]]),
        json!(["completed", 13, 13, 13])
    );
    assert_eq!(
        json!([recent["skipped_calls"], recent["failed_calls"], recent["error_message"]]),
        json!([0, 0, null])
    );

    let failed = agency.start().await?;
    let error = JobError::of_job("the upstream answered 401".to_owned());
    assert!(agency.fixture.store.jobs().fail(failed, &error, FailRight::Job).await?);
    let recent = agency.status().await?["recent_job"].take();
    assert_eq!(
        json!([recent["id"], recent["status"], recent["error_message"]]),
        json!([failed, "failed", "the upstream answered 401"])
    );

    // An active job hides it, even one that is older than a cancelled one.
    let active = agency.start().await?;
    let early = protocol::ids::JobId::random();
    agency.fixture.database.execute(&format!("insert into tombstones (job_id) values ('{early}')")).await?;
    let command = testkit::fixture::Fixture::start_command(agency.account.connection, early);
    agency.fixture.upstream.hold();
    let consumer = agency.fixture.consumer().await?;
    agency.fixture.publish_start_command(&command).await?;
    agency.fixture.until_over(early, JobStatus::Cancelled).await?;
    assert_eq!(agency.status().await?["job"]["id"], json!(active));
    agency.call(CANCEL, &json!({ "job_id": active })).await?;
    assert_eq!(agency.status().await?["recent_job"]["id"], json!(early), "the newest by its acceptance");
    agency.fixture.until_over(active, JobStatus::Cancelled).await?;
    agency.fixture.upstream.release();
    agency.fixture.finish([consumer]).await
}

#[tokio::test]
async fn another_agency_sees_its_own() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let job = agency.start().await?;
    let (_, _, bob) = agency.other().await?;
    let theirs = agency.api.call(super::agency::STATUS, Some(&bob), "").await?;
    assert_eq!(theirs.body, json!({ "active": false, "recent_job": null }));
    agency.call(CANCEL, &json!({ "job_id": job })).await?;
    let view = agency.fixture.store.jobs().get(job, None).await?.context("it is there")?;
    assert_eq!(view.status, JobStatus::Cancelled);
    agency.fixture.finish([]).await
}
