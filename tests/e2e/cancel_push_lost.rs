//! The push of a cancel is lost: workers see the cancel at their next renewal, and a job whose workers are all dead ends at
//! the deadline.

use anyhow::{Context, Result};
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use store::jobs::{CancelRequest, CancelTarget};
use testkit::fixture::Fixture;

/// Cancels a job whose page hangs, over a push that leads nowhere: its exchange is gone, or has no binding.
async fn pushed_nowhere(exchange: bool) -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.settings()?;
    settings.cancel.deadline = Duration::from_secs(3600);
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.cut_push().await?;
    if exchange {
        fixture.declare().await?;
    }

    fixture.publish_cancel(job, "nobody is told").await?;
    fixture.upstream.until(|seen| seen.disconnects == 1).await;
    let view = fixture.until_over(job, JobStatus::Cancelled).await?;
    let took = view.finished_at.context("over")? - view.cancel_requested_at.context("asked for")?;
    tracing::info!(%took, "from the request to cancelled");
    assert_eq!(view.counters.processed(), 0);

    // The next job runs as if nothing had been.
    fixture.upstream.release();
    let next = fixture.publish_start(account.connection).await?;
    fixture.until_over(next, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn without_a_binding_the_renewal_tells() -> Result<()> {
    pushed_nowhere(true).await
}

#[tokio::test]
async fn without_the_exchange_the_renewal_tells() -> Result<()> {
    pushed_nowhere(false).await
}

#[tokio::test]
async fn without_workers_the_deadline_ends_it() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    // Its leases outlast everything, so nothing but the deadline can end its job.
    let frozen = fixture.consumer_program()?.env("BACKHAUL__LEASES__DURATION_MS", "300000").start()?;
    frozen.ready().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    frozen.freeze()?;
    let mut settings = fixture.unhurried()?;
    settings.cancel.deadline = Duration::from_secs(2);
    let sweeper = fixture.consumer_with(settings).await?;

    // Not by a message, which could be delivered to the process that stands still.
    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: None,
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    fixture.store.jobs().cancel(&request).await?;
    let view = fixture.until_over(job, JobStatus::Cancelled).await?;
    let took = view.finished_at.context("over")? - view.cancel_requested_at.context("asked for")?;
    assert!(took >= chrono::TimeDelta::seconds(2), "before the deadline: {took}");
    fixture.until_sql("select bool_and(lease_token is null) from slices").await?;
    drop(frozen);
    fixture.upstream.release();
    fixture.finish([sweeper]).await
}

/// Every consumer is gone for good, and only a producer is left: the deadline holds all the same.
#[tokio::test]
async fn without_any_consumer_a_producer_keeps_the_deadline() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut killed = fixture.consumer_program()?.start()?;
    killed.ready().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    killed.kill().await?;

    let mut producer = fixture.producer_program()?.env("BACKHAUL__CANCEL__DEADLINE_MS", "2000").start()?;
    producer.ready().await?;
    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: None,
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    fixture.store.jobs().cancel(&request).await?;
    let view = fixture.until_over(job, JobStatus::Cancelled).await?;
    let took = view.finished_at.context("over")? - view.cancel_requested_at.context("asked for")?;
    assert!(took >= chrono::TimeDelta::seconds(2), "before the deadline: {took}");
    producer.terminate()?;
    assert!(producer.exit().await?.success());
    fixture.upstream.release();
    fixture.finish([]).await
}
