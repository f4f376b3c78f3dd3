//! The byte budget of a consumer, when one tenant's upstreams send their large pages bit by bit.

use anyhow::Result;
use chrono::{NaiveTime, TimeDelta};
use configuration::FetchConfig;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::Fixture;
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
    let limits = FetchConfig {
        max_page_bytes: 1 << 20,
        small_page_bytes: 1,
        byte_budget: (SHARES << 20) + usize::from(SLOTS),
        ..FetchConfig::default()
    };
    assert_eq!(limits.large_pages(SLOTS.into()), SHARES);
    let consumer = Fixture::spawn_fetching(settings, limits).await?;
    consumer.ready().await?;

    let job = JobId::random();
    let mut command = Fixture::start_command(drips.connection, job);
    let first = fixture.upstream.created("drips", 0).expect("there is a first call").date_naive();
    command.date_from = Some(first.and_time(NaiveTime::MIN).and_utc());
    command.date_to = command.date_from.map(|from| from + TimeDelta::days(6));
    fixture.publish_start_command(&command).await?;
    fixture.upstream.until(|seen| seen.open >= SHARES as u64).await;

    let other = fixture.publish_start(good.connection).await?;
    fixture.until_over(other, JobStatus::Completed).await?;
    fixture.exact(good, "good").await?;
    fixture.publish_cancel(job, "enough").await?;
    fixture.until_over(job, JobStatus::Cancelled).await?;
    fixture.finish([consumer]).await
}
