//! How long a stint is: a quantum where other slices wait for its slot, longer where none does.

use anyhow::{Context, Result, bail};
use chrono::TimeDelta;
use consumer::slots::Slots;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::Fixture;
use tokio_util::sync::CancellationToken;

/// Pages that take longer than a quantum together, and less than the most that an undisturbed stint may.
#[tokio::test]
async fn a_slot_that_nobody_waits_for_is_kept() -> Result<()> {
    let fixture = Fixture::with_calls(60).await?;
    let account = fixture.account("acme", json!({ "page_size": 1 })).await?;
    fixture.upstream.behave(|behaviour| behaviour.delay = Duration::from_millis(60));
    let mut settings = fixture.settings()?;
    settings.pages.quantum = Duration::from_secs(3);
    let consumer = fixture.consumer_with(settings).await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    let rings: i32 =
        sqlx::query_scalar("select max(ring) from slices").fetch_one(&fixture.database.pool).await?;
    assert_eq!(rings, 1, "one doorbell led through all pages");
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

/// With every slot taken, it is the queue that tells whether somebody waits.
#[tokio::test]
async fn a_message_in_the_queue_waits_for_a_slot() -> Result<()> {
    let fixture = Fixture::with_calls(288).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1 })).await?;
    let slots = Slots::new(1);
    let _taken = slots.take().await?;
    let checks = async {
        until(|| !slots.are_waited_for()).await?;

        let mut settings = fixture.settings()?;
        settings.pages.slots = 1;
        let consumer = fixture.consumer_with(settings).await?;
        fixture.upstream.hold();
        let job = JobId::random();
        let mut command = Fixture::start_command(account.connection, job);
        command.date_from = fixture.upstream.created("acme", 0);
        command.date_to = command.date_from.map(|from| from + TimeDelta::days(2));
        fixture.publish_start_command(&command).await?;
        until(|| slots.are_waited_for()).await?;

        fixture.publish_cancel(job, "enough").await?;
        fixture.until_over(job, JobStatus::Cancelled).await?;
        until(|| !slots.are_waited_for()).await?;
        anyhow::Ok(consumer)
    };
    let watch = slots.watch(&fixture.publisher, Duration::from_millis(100), CancellationToken::new());
    let consumer = tokio::select! {
        consumer = checks => consumer?,
        () = watch => bail!("the watch ended by itself"),
    };
    fixture.finish([consumer]).await
}

async fn until(condition: impl Fn() -> bool) -> Result<()> {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), met).await.context("it never came true")
}
