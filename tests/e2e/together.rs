//! Pages that come at the same time are settled together, and are counted one by one.

use anyhow::{Context, Result};
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Options, TenantOptions};
use testkit::settle_gate::{PATIENT, SettleGate};

/// Pages that come at once.
const ACCOUNTS: u64 = 30;

fn counted(metrics: &str, name: &str) -> Result<u64> {
    let line = metrics.lines().find(|line| line.starts_with(name)).context(name.to_owned())?;
    let count = line.rsplit(' ').next().context("a line has a value")?;
    count.parse().with_context(|| line.to_owned())
}

#[tokio::test]
async fn pages_that_come_at_once_share_statements() -> Result<()> {
    let names: Vec<_> = (0..ACCOUNTS).map(|number| format!("tenant-{number}")).collect();
    let tenants = names.iter().map(|name| TenantOptions::new(name, 5));
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let consumer = fixture
        .consumer_program()?
        .env("BACKHAUL__PAGES__SLOTS", ACCOUNTS.to_string())
        // One session: whatever comes while it settles must wait.
        .env("BACKHAUL__DATABASE__MAX_CONNECTIONS", "1")
        .start()?;
    consumer.ready().await?;
    fixture.upstream.hold();
    let mut jobs = Vec::new();
    for name in &names {
        let account = fixture.account(name, json!({})).await?;
        jobs.push((account, name, fixture.publish_start(account.connection).await?));
    }
    fixture.upstream.until(|seen| seen.held == ACCOUNTS).await;
    fixture.upstream.release();
    for (account, name, job) in jobs {
        let view = fixture.until_over(job, JobStatus::Completed).await?;
        assert_eq!((view.counters.inserted, view.pages_settled), (5, 1), "{name}");
        fixture.exact(account, name).await?;
    }
    let (_, metrics) = consumer.get("/metrics").await?;
    for queue in [WorkQueue::Pages, WorkQueue::Starts, WorkQueue::Cancels] {
        let gauge = format!("amqp_queue_consumed{{service=\"consumer\",queue=\"{}\"}}", queue.word());
        assert_eq!(counted(&metrics, &gauge)?, 1, "{queue}");
    }
    let (pages, statements) =
        (counted(&metrics, "pages_settled_total{")?, counted(&metrics, "settles_total{")?);
    assert_eq!(pages, ACCOUNTS);
    assert!(statements < pages, "{statements} statements");
    drop(consumer);
    fixture.finish([]).await
}

#[tokio::test]
async fn a_settle_that_has_to_wait_keeps_nobody_else_waiting() -> Result<()> {
    let tenants = ["acme", "globex"].map(|name| TenantOptions::new(name, 5));
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let (stuck, free) =
        (fixture.account("acme", json!({})).await?, fixture.account("globex", json!({})).await?);
    let job = fixture.publish_start(stuck.connection).await?;
    let mut gate = SettleGate::close(&fixture.database, job).await?;
    let mut settings = fixture.settings()?;
    settings.database.lock_timeout = Duration::from_millis(PATIENT);
    settings.database.statement_timeout = Duration::from_millis(PATIENT);
    let consumer = fixture.consumer_with(settings).await?;
    // It has come alone, so nothing but its own session ends its waiting.
    gate.until_held(1).await?;
    let other = fixture.publish_start(free.connection).await?;
    fixture.until_over(other, JobStatus::Completed).await?;
    fixture.exact(free, "globex").await?;
    gate.open().await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(stuck, "acme").await?;
    fixture.finish([consumer]).await
}
