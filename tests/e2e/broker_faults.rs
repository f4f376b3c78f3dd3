//! The broker stops, dies, closes every connection, blocks publishers, falls silent, or loses a queue: consuming again soon
//! after the cure, not ready meanwhile, and no page is lost or counted twice.

use anyhow::{Context, Result};
use configuration::Settings;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::fixture::{Account, Consumer, Fixture};
use testkit::private::{PrivatePostgres, PrivateRabbit};
use testkit::proxy::Direction;
use testkit::sample_upstream::{Options, TenantOptions};
use testkit::servers::Servers;

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

/// A queue that has stopped working, as one does whose members have lost their majority. Commands in it were confirmed.
#[tokio::test]
async fn a_queue_that_is_stuck_keeps_its_commands() -> Result<()> {
    let broker = PrivateRabbit::start().await?;
    let tenants = ["one", "two", "three"];
    let upstream = Options::new(tenants.map(|name| TenantOptions::new(name, 5)));
    let fixture = Fixture::start_on(&Servers::from_environment()?.with_rabbit(&broker), upstream).await?;
    fixture.declare().await?;
    let mut jobs = Vec::new();
    for name in tenants {
        let account = fixture.account(name, json!({})).await?;
        jobs.push(fixture.publish_start(account.connection).await?);
    }
    let process = format!("'%2F_{}'", fixture.queue(WorkQueue::Starts));
    broker.control(&["eval", &format!("sys:suspend({process}).")]).await?;
    let mut settings = fixture.settings()?;
    settings.amqp.call_timeout = Duration::from_secs(1);
    let consumer = Fixture::spawn(settings).await?;
    // For several tries.
    let stuck = fixture.queue(WorkQueue::Starts);
    consumer.unready_because(&format!("queue {stuck} cannot be consumed for 10 s")).await?;
    broker.control(&["eval", &format!("sys:resume({process}).")]).await?;
    consumer.ready().await?;
    for job in jobs {
        fixture.until_over(job, JobStatus::Completed).await?;
    }
    fixture.finish([consumer]).await
}

/// Nothing says that a process queue is gone: its consumer is told, but what if that is lost too?
#[tokio::test]
async fn a_process_queue_that_vanishes_is_made_again() -> Result<()> {
    let broker = PrivateRabbit::start().await?;
    let fixture = Fixture::start_on(&Servers::from_environment()?.with_rabbit(&broker), acme()).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let job = one_in_hand(&fixture, account).await?;
    let queues = broker.control(&["--quiet", "list_queues", "name"]).await?;
    let process = queues.lines().find(|name| name.contains(".process.")).context("it has one")?;
    broker.control(&["delete_queue", process]).await?;
    let another = async {
        loop {
            let queues = broker.control(&["--quiet", "list_queues", "name"]).await?;
            if queues.lines().any(|name| name.contains(".process.") && name != process) {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), another).await.context("it has another")??;
    consumer.ready().await?;
    fixture.publish_cancel(job, "enough").await?;
    fixture.until_over(job, JobStatus::Cancelled).await?;
    fixture.upstream.release();
    fixture.finish([consumer]).await
}

/// Everything must be there before a command is taken: a consumer that may not make its own queue holds none.
#[tokio::test]
async fn a_consumer_without_rights_takes_nothing() -> Result<()> {
    let broker = PrivateRabbit::start().await?;
    let fixture = Fixture::start_on(&Servers::from_environment()?.with_rabbit(&broker), acme()).await?;
    fixture.declare().await?;
    let account = fixture.account("acme", json!({})).await?;
    let job = fixture.publish_start(account.connection).await?;
    broker.control(&["add_user", "lame", "lame"]).await?;
    let own = format!("^{}\\.", fixture.namespace);
    let shared = format!("{own}(?!process)");
    let write = format!("({own}|amq\\.default$)");
    broker.control(&["set_permissions", "lame", &shared, &write, &own]).await?;
    let mut settings = fixture.settings()?;
    settings.amqp.url = settings.amqp.url.replace("guest:guest", "lame:lame");
    let lame = Fixture::spawn(settings).await?;
    lame.unready_because("ACCESS_REFUSED").await?;
    lame.unready_because("for 3 s").await?;
    assert_eq!(fixture.waiting(WorkQueue::Starts).await?, 1, "it is not even taken");
    let consumer = fixture.consumer().await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    lame.stop().await?;
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

/// What a quorum queue without a majority looks like: `basic.consume` is not answered, and everything else is. It is waited for.
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
