//! The byte budget of a consumer, when one tenant's upstreams send their large pages bit by bit.

use anyhow::{Context, Result};
use chrono::{NaiveTime, TimeDelta};
use configuration::FetchConfig;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::{Answer, Options, TenantOptions};

/// As many large pages as a consumer can read at a time.
const SHARES: usize = 3;
/// More than one tenant has pages.
const SLOTS: u16 = 12;

#[tokio::test]
async fn pages_that_drip_leave_a_share_to_another_tenant() -> Result<()> {
    let tenants = [TenantOptions::new("drips", 6 * 144), TenantOptions::new("good", 20)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let drips = fixture.account("drips", json!({ "slice_days": 1 })).await?;
    let good = fixture.account("good", json!({})).await?;
    fixture.upstream.script_times(|asked| asked.tenant == "drips", Answer::Endless, u64::MAX);

    let mut settings = fixture.unhurried()?;
    settings.pages.slots = SLOTS;
    // Nobody waits for so long here.
    settings.pages.budget = Duration::from_secs(300);
    let limits = limits(SHARES);
    let consumer = Fixture::spawn_fetching(settings, limits).await?;
    consumer.ready().await?;

    let job = start_days(&fixture, &drips, 6).await?;
    fixture.upstream.until(|seen| seen.open >= SHARES as u64).await;

    let other = fixture.publish_start(good.connection).await?;
    fixture.until_over(other, JobStatus::Completed).await?;
    fixture.exact(good, "good").await?;
    fixture.publish_cancel(job, "enough").await?;
    fixture.until_over(job, JobStatus::Cancelled).await?;
    fixture.finish([consumer]).await
}

/// A page that finds all shares taken, and then has no time left, has not failed.
#[tokio::test]
async fn a_page_without_room_is_no_attempt() -> Result<()> {
    let fixture = Fixture::start(Options::new([TenantOptions::new("drips", 6 * 144)])).await?;
    let drips = fixture.account("drips", json!({ "slice_days": 1 })).await?;
    fixture.upstream.script_times(|_asked| true, Answer::Endless, u64::MAX);
    let mut settings = fixture.unhurried()?;
    settings.pages.slots = SLOTS;
    settings.pages.budget = Duration::from_secs(3);
    settings.pages.give_up_after = Duration::from_secs(24 * 60 * 60);
    let consumer = Fixture::spawn_fetching(settings, limits(1)).await?;
    consumer.ready().await?;

    let job = start_days(&fixture, &drips, 6).await?;
    let waits = "select exists (select from slices where attempts = 0 and last_error like '%byte budget%')";
    fixture.until_sql(waits).await?;
    fixture.publish_cancel(job, "enough").await?;
    fixture.until_over(job, JobStatus::Cancelled).await?;
    fixture.finish([consumer]).await
}

/// So many shares for large pages beside the small ones of all slots.
fn limits(shares: usize) -> FetchConfig {
    let limits = FetchConfig {
        max_page_bytes: 1 << 20,
        small_page_bytes: 1,
        byte_budget: (shares << 20) + usize::from(SLOTS),
        ..FetchConfig::default()
    };
    assert_eq!(limits.large_pages(SLOTS.into()), shares);
    limits
}

/// Starts a job over an account's first days.
async fn start_days(fixture: &Fixture, account: &Account, days: i64) -> Result<JobId> {
    let job = JobId::random();
    let mut command = Fixture::start_command(account.connection, job);
    let first = fixture.upstream.created("drips", 0).context("there is a first call")?.date_naive();
    command.date_from = Some(first.and_time(NaiveTime::MIN).and_utc());
    command.date_to = command.date_from.map(|from| from + TimeDelta::days(days));
    fixture.publish_start_command(&command).await?;
    Ok(job)
}
