//! A cancel while a page is in somebody's hands: it is fetched, settled, or about to be handed over.

use anyhow::Result;
use chrono::{TimeDelta, TimeZone, Utc};
use configuration::Settings;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::{Duration, Instant};
use store::jobs::{CancelOutcome, CancelRequest, CancelTarget};
use testkit::fixture::{Account, Fixture, amqp_url};
use testkit::proxy::Direction;
use testkit::sample_upstream::{Answer, Options, TenantOptions};
use testkit::settle_gate::{PATIENT, SettleGate};

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

/// Settings under which no renewal, no expiry and no page's budget comes to the help of a cancel within the test.
fn push_only(fixture: &Fixture) -> Result<Settings> {
    let mut settings = fixture.unhurried()?;
    settings.leases.renew_every = Duration::from_secs(100);
    settings.pages.budget = Duration::from_secs(300);
    Ok(settings)
}

#[tokio::test]
async fn pages_that_are_being_fetched() -> Result<()> {
    let fixture = Fixture::start(Options::new([four_days("acme")])).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1 })).await?;
    let mut settings = push_only(&fixture)?;
    settings.pages.slots = 2;
    let consumers = [fixture.consumer_with(settings.clone()).await?, fixture.consumer_with(settings).await?];
    fixture.upstream.hold();
    let job = start_four_slices(&fixture, account).await?;
    fixture.upstream.until(|seen| seen.held == 4).await;

    let asked = Instant::now();
    fixture.publish_cancel(job, REASON).await?;
    fixture.upstream.until(|seen| seen.disconnects == 4).await;
    let closed = fixture.upstream.disconnects();
    let slowest = closed.iter().map(|closed| closed.at.duration_since(asked)).max().unwrap_or_default();
    // Far above the goal, which a measurement watches; far below a page's budget and the next renewal.
    assert!(slowest < Duration::from_secs(5), "the upstream's connections were open for {slowest:?}");
    tracing::info!(?slowest, "from the cancel's publish to the close of the last of four connections");
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!((view.pages_settled, view.counters.processed()), (0, 0));

    // Every slot is free again.
    fixture.upstream.release();
    let again = start_four_slices(&fixture, account).await?;
    fixture.until_over(again, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish(consumers).await
}

#[tokio::test]
async fn a_page_whose_body_is_stuck_halfway() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(push_only(&fixture)?).await?;
    fixture.upstream.script(|asked| !asked.is_first_page(), Answer::Stall);
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    fixture.publish_cancel(job, REASON).await?;
    fixture.upstream.until(|seen| seen.disconnects == 1).await;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (1, 10), "what was settled stays");
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_page_that_is_being_settled() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.unhurried()?;
    settings.database.lock_timeout = Duration::from_millis(PATIENT);
    settings.database.statement_timeout = Duration::from_millis(PATIENT);
    let consumer = fixture.consumer_with(settings).await?;
    let job = JobId::random();
    let mut gate = SettleGate::close(&fixture.database, job).await?;
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    gate.until_held(1).await?;
    // Or its next page may be settled before the cancel, which then comes after two, wakes up.
    fixture.upstream.hold();

    fixture.publish_cancel(job, REASON).await?;
    // The cancel waits for the settle that was first: its page counts, and is the last one.
    fixture
        .until_sql(
            "select exists (select from pg_stat_activity where datname = current_database()
                               and wait_event_type = 'Lock' and wait_event <> 'advisory')",
        )
        .await?;
    gate.open().await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (1, 10));
    fixture.upstream.until(|seen| seen.held == 0).await;
    fixture.upstream.release();
    fixture.finish([consumer]).await
}

/// Claimed, and its worker does not know it yet: the push comes too early for it, and the renewal tells.
#[tokio::test]
async fn a_page_whose_claim_is_not_answered_yet() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, database) = fixture.database_proxy().await?;
    let mut settings = fixture.settings_at(&database, &amqp_url())?;
    settings.leases.duration = Duration::from_secs(300);
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold();
    proxy.stall_on(Direction::ToClient, "claimed");
    let job = fixture.publish_start(account.connection).await?;
    proxy.until_stalled().await;
    fixture.until_sql("select lease_token is not null and page = 0 from slices").await?;

    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: Some(REASON.to_owned()),
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    assert_eq!(fixture.store.jobs().cancel(&request).await?, CancelOutcome::Cancelling { job, newly: true });
    fixture.publisher.publish(broker::Envelope::abort(job)).await?;
    proxy.resume();
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!((view.pages_settled, view.counters.processed()), (0, 0));
    fixture.upstream.until(|seen| seen.held == 0).await;
    fixture.upstream.release();
    let again = fixture.publish_start(account.connection).await?;
    fixture.until_over(again, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_settle_that_comes_after_the_fence() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, database) = fixture.database_proxy().await?;
    let consumer = fixture.consumer_with(fixture.settings_at(&database, &amqp_url())?).await?;
    proxy.stall_on(Direction::ToTarget, "), fence as materialized (");
    let job = fixture.publish_start(account.connection).await?;
    proxy.until_stalled().await;

    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: Some(REASON.to_owned()),
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    assert_eq!(fixture.store.jobs().cancel(&request).await?, CancelOutcome::Cancelling { job, newly: true });
    proxy.resume();
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!((view.pages_settled, view.counters.processed()), (0, 0));
    let stored: i64 =
        sqlx::query_scalar("select count(*) from records").fetch_one(&fixture.database.pool).await?;
    assert_eq!(stored, 0, "not one record of the fetched page was written");
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_page_of_a_process_that_drains() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = push_only(&fixture)?;
    settings.shutdown.drain = Duration::from_secs(300);
    let draining = fixture.consumer_with(settings.clone()).await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let other = fixture.consumer_with(settings).await?;
    draining.terminate();
    draining.unready().await?;

    // Only the other one takes commands; the one that drains still hears what is broadcast.
    fixture.publish_cancel(job, REASON).await?;
    fixture.upstream.until(|seen| seen.disconnects == 1).await;
    fixture.until_cancelled(job, REASON).await?;
    draining.stop().await?;
    other.stop().await?;
    assert_eq!(fixture.upstream.seen().requests, 1);
    fixture.finish([]).await
}
