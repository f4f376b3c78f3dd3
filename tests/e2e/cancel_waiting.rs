//! A cancel while nothing of the job is in anybody's hands, or not all of it: it waits for its start, its turn, its
//! doorbell's delivery, its next try, or the end of a pause.

use anyhow::Result;
use chrono::{TimeDelta, TimeZone, Utc};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::retry::RetryPolicy;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::{Answer, Options, TenantOptions};

const REASON: &str = "the agency has left";

/// A tenant's calls over four days, twelve a day.
fn four_days(name: &str) -> TenantOptions {
    TenantOptions { every: TimeDelta::hours(2), ..TenantOptions::new(name, 48) }
}

/// Starts a job of those four days, a slice each.
async fn start_four_slices(fixture: &Fixture, account: Account) -> Result<JobId> {
    let job = JobId::random();
    let from = Utc.with_ymd_and_hms(2025, 1, 1, 0, 0, 0).single();
    let mut command = Fixture::start_command(account.connection, job);
    (command.date_from, command.date_to) = (from, from.map(|from| from + TimeDelta::days(4)));
    fixture.publish_start_command(&command).await?;
    Ok(job)
}

#[tokio::test]
async fn a_pending_job() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let job = fixture.accept(account.connection).await?;
    fixture.publish_cancel(job, REASON).await?;
    let mut settings = fixture.unhurried()?;
    settings.sweeper.start_grace = Duration::from_secs(300);
    let consumer = fixture.consumer_with(settings).await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!((view.started_at, view.slices.total), (None, 0));

    // Its start command was only late.
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    fixture.until_sql("select exists (select from commands where kind = 'start')").await?;
    consumer.stop().await?;
    assert_eq!(fixture.until_cancelled(job, REASON).await?.started_at, None);
    assert_eq!(fixture.upstream.seen().requests, 0);
    fixture.finish([]).await
}

#[tokio::test]
async fn slices_that_wait_for_their_turn() -> Result<()> {
    let fixture = Fixture::start(Options::new([four_days("acme")])).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1 })).await?;
    fixture.database.execute("update tenants set max_slices = 1").await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold();
    let job = start_four_slices(&fixture, account).await?;
    fixture.until(job, |view| view.slices.queued > 0 && view.slices.leased > 0).await?;
    fixture.upstream.until(|seen| seen.held > 0).await;

    fixture.publish_cancel(job, REASON).await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!((view.slices.total, view.slices.done, view.pages_settled), (4, 0, 0));
    fixture.upstream.release();
    consumer.stop().await?;
    // The planner and the sweeper may have counted at the same time, so that two had their turn; the others never.
    let rung: i64 = sqlx::query_scalar("select count(*) from slices where ring > 0")
        .fetch_one(&fixture.database.pool)
        .await?;
    let asked = fixture.upstream.seen().requests;
    assert!(rung < 4 && asked <= 2, "{rung} slices were rung, {asked} pages were asked for");
    fixture.finish([]).await
}

#[tokio::test]
async fn a_page_that_is_rung_but_not_claimed() -> Result<()> {
    let fixture = Fixture::start(Options::new([four_days("busy"), four_days("acme")])).await?;
    let busy = fixture.account("busy", json!({})).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.unhurried()?;
    settings.pages.slots = 1;
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold_if(|asked| asked.tenant == "busy");
    let other = fixture.publish_start(busy.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until(job, |view| view.slices.ready == 1).await?;

    fixture.publish_cancel(job, REASON).await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!(view.finished_at, view.cancel_requested_at, "nothing had to be waited for");
    fixture.upstream.release();
    fixture.until_over(other, JobStatus::Completed).await?;
    // The doorbell of the cancelled job has not kept the only slot.
    let again = fixture.publish_start(account.connection).await?;
    let view = fixture.until_over(again, JobStatus::Completed).await?;
    assert_eq!(view.counters.inserted, 48);
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_page_that_waits_for_its_next_try() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.unhurried()?;
    settings.pages.retry = RetryPolicy::new(Duration::from_secs(60), Duration::from_secs(60));
    settings.pages.max_attempts = 1000;
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.script_times(|_asked| true, Answer::status(500), u64::MAX);
    let job = fixture.publish_start(account.connection).await?;
    // Delays are drawn at random, so one that is too short for the test is made longer.
    fixture
        .until_sql(
            "with pinned as (update slices set not_before = now() + interval '1 hour'
                              where status = 'waiting' returning slice)
             select exists (select from pinned)",
        )
        .await?;
    let requests = fixture.upstream.seen().requests;

    fixture.publish_cancel(job, REASON).await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!(view.finished_at, view.cancel_requested_at, "nothing had to be waited for");
    consumer.stop().await?;
    assert_eq!(fixture.upstream.seen().requests, requests);
    fixture.finish([]).await
}

#[tokio::test]
async fn a_connection_that_the_upstream_has_paused() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.script(|_asked| true, Answer::retry_after(429, "3600"));
    let job = fixture.publish_start(account.connection).await?;
    fixture
        .until_sql(
            "select exists (select from connections where paused_until > now() + interval '50 minutes')",
        )
        .await?;

    fixture.publish_cancel(job, REASON).await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!(view.finished_at, view.cancel_requested_at, "nothing had to be waited for");
    consumer.stop().await?;
    assert_eq!(fixture.upstream.seen().requests, 1);
    fixture.finish([]).await
}

#[tokio::test]
async fn a_job_that_is_paused() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.store.jobs().pause(job, Some(account.tenant), None).await?;
    fixture.upstream.release();
    fixture.until(job, |view| view.slices.queued == 1).await?;

    fixture.publish_cancel(job, REASON).await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!(view.finished_at, view.cancel_requested_at, "nothing had to be waited for");
    assert_eq!((view.pages_settled, view.counters.inserted), (1, 10), "the page in flight was let through");
    consumer.stop().await?;
    assert_eq!(fixture.upstream.seen().requests, 1);
    fixture.finish([]).await
}
