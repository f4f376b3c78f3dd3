//! The broker stops, dies, closes every connection, blocks publishers, falls silent, or loses a queue: consuming again soon
//! after the cure, not ready meanwhile, and no page is lost or counted twice.

use anyhow::{Context, Result};
use common::amqp::WorkQueue;
use common::config::Settings;
use common::ids::JobId;
use common::job::JobStatus;
use harness::fixture::{Account, Consumer, Fixture};
use harness::private::{PrivatePostgres, PrivateRabbit};
use harness::proxy::Direction;
use harness::sample_upstream::{Options, TenantOptions};
use harness::servers::Servers;
use harness::wiretap::Wiretap;
use serde_json::json;
use std::time::{Duration, Instant};

fn acme() -> Options {
    Options::new([TenantOptions::new("acme", 60)])
}

/// A job of six pages, the first of which is in the consumer's hands.
async fn one_in_hand(fixture: &Fixture, account: Account) -> Result<JobId> {
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    Ok(job)
}

/// The consumer is ready again, and the job comes to its end with every call counted once.
async fn goes_on(
    fixture: &Fixture,
    account: Account,
    consumer: &Consumer,
    job: JobId,
    fault: &str,
) -> Result<()> {
    let cured = Instant::now();
    consumer.ready().await.context(fault.to_owned())?;
    tracing::info!(fault, after = ?cured.elapsed(), "ready again");
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await.context(fault.to_owned())?;
    assert_eq!((view.counters.processed(), view.pages_settled), (60, 6), "{fault}");
    fixture.exact(account, "acme").await?;
    fixture.until_sql("select bool_and(attempts = 0 and charges = '{}') from slices").await
}

#[tokio::test]
async fn a_broker_that_stops_dies_closes_and_blocks() -> Result<()> {
    let mut broker = PrivateRabbit::start().await?;
    let fixture = Fixture::start_on(&Servers::from_environment()?.with_rabbit(&broker), acme()).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    let mut settings = through(&fixture, &amqp)?;
    // One page per message, so that each page needs the broker.
    settings.pages.quantum = Duration::ZERO;
    let consumer = fixture.consumer_with(settings).await?;

    let job = one_in_hand(&fixture, account).await?;
    broker.stop().await?;
    consumer.unready().await?;
    assert_eq!(consumer.get("healthz").await?.0, 200, "it is alive all the time");
    broker.start_again().await?;
    goes_on(&fixture, account, &consumer, job, "stopped and started").await?;

    let job = one_in_hand(&fixture, account).await?;
    broker.kill().await?;
    consumer.unready().await?;
    broker.start_again().await?;
    goes_on(&fixture, account, &consumer, job, "killed and started").await?;

    let job = one_in_hand(&fixture, account).await?;
    // The first new connections fail, so that there is time to see that it is not ready.
    proxy.swallow(Direction::ToTarget, OPEN, 2);
    broker.control(&["close_all_connections", "on purpose"]).await?;
    consumer.unready().await?;
    goes_on(&fixture, account, &consumer, job, "every connection closed").await?;

    let job = one_in_hand(&fixture, account).await?;
    broker.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await?;
    consumer.unready().await?;
    // The page in hand is settled all the same; only its successor cannot be rung.
    fixture.upstream.let_through(1);
    fixture.until(job, |view| view.pages_settled == 1).await?;
    broker.control(&["set_vm_memory_high_watermark", "absolute", "1GB"]).await?;
    goes_on(&fixture, account, &consumer, job, "memory alarm").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_database_that_stops_and_dies() -> Result<()> {
    let mut postgres = PrivatePostgres::start().await?;
    let fixture = Fixture::start_on(&Servers::from_environment()?.with_postgres(&postgres)?, acme()).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.unhurried()?;
    settings.pages.budget = Duration::from_secs(240);
    let consumer = fixture.consumer_with(settings).await?;
    for crash in [false, true] {
        let job = one_in_hand(&fixture, account).await?;
        if crash {
            postgres.kill().await?;
        } else {
            postgres.stop().await?;
        }
        // The page comes back from the upstream while there is nowhere to put it.
        let answered = fixture.upstream.seen().answered;
        fixture.upstream.let_through(1);
        fixture.upstream.until(|seen| seen.answered > answered).await;
        postgres.start_again().await?;
        goes_on(&fixture, account, &consumer, job, if crash { "crashed" } else { "stopped" }).await?;
    }
    fixture.finish([consumer]).await
}

fn through(fixture: &Fixture, amqp: &str) -> Result<Settings> {
    let mut settings = fixture.settings_at(&fixture.database.url(), amqp)?;
    settings.leases.duration = Duration::from_secs(300);
    settings.pages.budget = Duration::from_secs(240);
    settings.amqp.heartbeat_seconds = 1;
    settings.amqp.call_timeout = Duration::from_secs(2);
    settings.amqp.publish_timeout = Duration::from_secs(2);
    Ok(settings)
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_noticed() -> Result<()> {
    let fixture = Fixture::start(acme()).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    let consumer = fixture.consumer_with(through(&fixture, &amqp)?).await?;
    let job = one_in_hand(&fixture, account).await?;
    proxy.stall_both();
    consumer.unready().await?;
    proxy.cut().await;
    proxy.resume();
    goes_on(&fixture, account, &consumer, job, "half-open").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_queue_that_is_deleted_is_made_again() -> Result<()> {
    let fixture = Fixture::start(acme()).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    let mut settings = through(&fixture, &amqp)?;
    settings.amqp.call_timeout = Duration::from_millis(700);
    let consumer = fixture.consumer_with(settings).await?;
    for queue in [WorkQueue::Pages, WorkQueue::Starts, WorkQueue::Cancels] {
        let job = one_in_hand(&fixture, account).await?;
        // It is missing for a while, in which the consumer is not ready.
        proxy.swallow(Direction::ToTarget, declare(&fixture.queue(queue)), 2);
        fixture.delete_queue(queue).await?;
        consumer.unready().await?;
        fixture.until_consumed(queue).await?;
        goes_on(&fixture, account, &consumer, job, &format!("{queue} deleted")).await?;
        // A cancel comes through as well.
        let job = one_in_hand(&fixture, account).await?;
        fixture.publish_cancel(job, "enough").await?;
        fixture.until_over(job, JobStatus::Cancelled).await?;
        fixture.upstream.release();
    }
    fixture.finish([consumer]).await
}

/// The request to open a connection, as it stands in its frame: class connection, method open.
const OPEN: [u8; 4] = [0, 10, 0, 40];

/// The declaration of a queue, as it stands in its frame: class queue, method declare, a reserved field, and its name.
fn declare(queue: &str) -> Vec<u8> {
    named([0, 50, 0, 10, 0, 0], queue)
}

fn named(method: [u8; 6], queue: &str) -> Vec<u8> {
    let mut frame = method.to_vec();
    frame.push(u8::try_from(queue.len()).unwrap_or_default());
    frame.extend_from_slice(queue.as_bytes());
    frame
}

/// The request to consume a queue, as it stands in its frame.
fn consume(queue: &str) -> Vec<u8> {
    // Class basic, method consume, a reserved field, and the name of the queue.
    named([0, 60, 0, 20, 0, 0], queue)
}

/// What a quorum queue without a leader looks like: `basic.consume` is never answered, and everything else is. The queue
/// is replaced, and the doorbells that were in it are rung again.
#[tokio::test]
async fn a_queue_without_a_leader_is_replaced() -> Result<()> {
    let fixture = Fixture::start(acme()).await?;
    let account = fixture.account("acme", json!({})).await?;
    let wiretap = Wiretap::on(&fixture).await?;
    let first = fixture.consumer().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    first.stop().await?;
    // A marker may wait beside it.
    assert!(fixture.waiting(WorkQueue::Pages).await? > 0, "the doorbell waits");

    let (proxy, amqp) = fixture.broker_proxy().await?;
    proxy.swallow(Direction::ToTarget, consume(&fixture.queue(WorkQueue::Pages)), 2);
    let consumer = Fixture::spawn(through(&fixture, &amqp)?).await?;
    goes_on(&fixture, account, &consumer, job, "no leader").await?;
    assert_eq!(proxy.to_swallow(), 0);
    let first_page = wiretap.rings(job).iter().filter(|ring| ring.page == 0).count();
    assert!(first_page > 1, "the doorbell went with its queue, and was rung {first_page} times");
    wiretap.close().await?;
    fixture.finish([consumer]).await
}

/// The same of a queue of commands, which nobody would send again: as long as it answers otherwise, it is left alone.
#[tokio::test]
async fn a_queue_of_commands_is_waited_for() -> Result<()> {
    let fixture = Fixture::start(acme()).await?;
    let account = fixture.account("acme", json!({})).await?;
    fixture.declare().await?;
    let job = fixture.publish_start(account.connection).await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    proxy.swallow(Direction::ToTarget, consume(&fixture.queue(WorkQueue::Starts)), 3);
    let mut settings = through(&fixture, &amqp)?;
    settings.amqp.call_timeout = Duration::from_millis(700);
    let consumer = Fixture::spawn(settings).await?;
    goes_on(&fixture, account, &consumer, job, "not consumed").await?;
    assert_eq!(proxy.to_swallow(), 0);
    fixture.finish([consumer]).await
}
