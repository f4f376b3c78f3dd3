//! What was done and not heard of: statements whose answers are lost, connections to the broker that break and break
//! again, doorbells that vanish.

use anyhow::Result;
use protocol::ids::WorkerId;
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::{Fixture, amqp_url};
use testkit::proxy::Direction;
use testkit::sample_upstream::{Options, TenantOptions};
use testkit::wiretap::Wiretap;

/// A part of a settle's answer, in the binary form of the wire: the slice's page and ring afterwards, whether the lease
/// is kept, and how many records were inserted.
fn settle_answer(page: u32, ring: u32, kept: bool, inserted: u64) -> Vec<u8> {
    let columns: [&[u8]; 4] =
        [&page.to_be_bytes(), &ring.to_be_bytes(), &[u8::from(kept)], &inserted.to_be_bytes()];
    let column =
        |value: &[u8]| [&u32::try_from(value.len()).unwrap_or_default().to_be_bytes(), value].concat();
    columns.iter().flat_map(|value| column(value)).collect()
}

/// Runs a job of three pages whose consumer loses all database connections right before it would hear `answer`, at
/// which point `committed` is true.
async fn unheard(quantum: Duration, answer: Vec<u8>, committed: &'static str) -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, database) = fixture.database_proxy().await?;
    let mut settings = fixture.settings_at(&database, &amqp_url())?;
    settings.pages.quantum = quantum;
    let consumer = fixture.consumer_with(settings).await?;
    proxy.stall_on(Direction::ToClient, answer);
    let job = fixture.publish_start(account.connection).await?;
    proxy.until_stalled().await;
    fixture.until_sql(committed).await?;
    proxy.cut().await;
    proxy.resume();

    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.counters.processed(), view.pages_settled), (30, 30, 3));
    fixture.exact(account, "acme").await?;
    assert_eq!(fixture.upstream.seen().requests, 3, "no page was fetched again");
    fixture.until_sql("select charges = '{}' and attempts = 0 from slices").await?;
    fixture.finish([consumer]).await
}

const STINT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn of_a_claim() -> Result<()> {
    let held = "select page = 0 and lease_token is not null from slices";
    unheard(STINT, b"claimed".to_vec(), held).await
}

#[tokio::test]
async fn of_a_settle_that_keeps_the_lease() -> Result<()> {
    let held = "select page = 2 and lease_token is not null from slices";
    unheard(STINT, settle_answer(2, 1, true, 10), held).await
}

#[tokio::test]
async fn of_a_settle_that_has_a_doorbell_to_ring() -> Result<()> {
    let free = "select page = 2 and ring = 3 and lease_token is null from slices";
    unheard(Duration::ZERO, settle_answer(2, 3, false, 10), free).await
}

#[tokio::test]
async fn of_the_last_settle() -> Result<()> {
    let done = "select page = 3 and status = 'done' from slices";
    unheard(Duration::ZERO, settle_answer(3, 3, false, 10), done).await
}

/// Longer than any test.
const LONG_PAGE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn five_broken_connections_during_one_page_do_not_even_interrupt_it() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    let mut settings = fixture.settings_at(&fixture.database.url(), &amqp)?;
    settings.pages.budget = LONG_PAGE;
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    for _ in 0..5 {
        let before = proxy.accepted();
        assert!(proxy.cut().await >= 1);
        proxy.until(|open, accepted| open == 2 && accepted >= before + 2).await;
        consumer.ready().await?;
        // The page's message is with the process again.
        fixture.until_delivered(WorkQueue::Pages).await?;
    }
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.counters.processed()), (30, 30));
    fixture.exact(account, "acme").await?;
    assert_eq!(fixture.upstream.seen().requests, 3, "no page was fetched again");
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn five_holders_that_lose_their_connection_are_not_five_deaths() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut fleet = Vec::new();
    for _ in 0..3 {
        let (proxy, amqp) = fixture.broker_proxy().await?;
        let mut settings = fixture.settings_at(&fixture.database.url(), &amqp)?;
        // Two deaths that are not taken back would fail the job.
        (settings.pages.suspect_after, settings.pages.deaths) = (1, 2);
        settings.pages.budget = LONG_PAGE;
        fleet.push((proxy, fixture.consumer_with(settings).await?));
    }
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    for _ in 0..5 {
        let holder = holder(&fixture).await?;
        let requests = fixture.upstream.seen().requests;
        for (proxy, consumer) in &fleet {
            if consumer.id == holder {
                proxy.cut().await;
            }
        }
        // Another takes the page over; the old holder finds out that it was taken for dead, and that it is not.
        fixture.upstream.until(|seen| seen.requests > requests && seen.held == 1).await;
        fixture.until_sql("select charges = '{}' from slices").await?;
        assert_ne!(self::holder(&fixture).await?, holder);
    }
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.counters.processed()), (30, 30));
    fixture.exact(account, "acme").await?;
    let (_proxies, consumers): (Vec<_>, Vec<_>) = fleet.into_iter().unzip();
    fixture.finish(consumers).await
}

async fn holder(fixture: &Fixture) -> Result<WorkerId> {
    let worker = sqlx::query_scalar("select worker from slices").fetch_one(&fixture.database.pool).await?;
    Ok(WorkerId(worker))
}

#[tokio::test]
async fn lost_doorbells_are_rung_again() -> Result<()> {
    let tenants = ["holder", "one", "two"].map(|name| TenantOptions::new(name, 30));
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let wiretap = Wiretap::on(&fixture).await?;
    let mut settings = fixture.settings()?;
    settings.pages.slots = 1;
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold_if(|asked| asked.tenant == "holder" && asked.is_first_page());
    let mut jobs = Vec::new();
    for name in ["holder", "one", "two"] {
        let account = fixture.account(name, json!({})).await?;
        let job = fixture.publish_start(account.connection).await?;
        wiretap.until_rings(job, |rings| rings.len() == 1).await?;
        if name == "holder" {
            fixture.upstream.until(|seen| seen.held == 1).await;
        }
        jobs.push((name, account, job));
    }
    // Both doorbells, and whatever marker was on its way.
    assert!(fixture.lose(WorkQueue::Pages).await? >= 2);
    fixture.upstream.release();
    for (name, account, job) in jobs {
        let view = fixture.until_over(job, JobStatus::Completed).await?;
        assert_eq!((view.counters.inserted, view.counters.processed()), (30, 30), "{name}");
        fixture.exact(account, name).await?;
        let first_page = wiretap.rings(job).iter().filter(|ring| ring.page == 0).count();
        assert_eq!(first_page > 1, name != "holder", "{name}: rung {first_page} times for its first page");
    }
    wiretap.close().await?;
    fixture.finish([consumer]).await
}
