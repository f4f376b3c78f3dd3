//! What a connection's upstream can bear holds over the whole fleet: pages in flight, and requests per second.

use anyhow::{Context, Result};
use chrono::{NaiveTime, TimeDelta};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use store::limits::ConnectionLimits;
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::Answer;

const DAYS: i64 = 6;

async fn days_of_calls() -> Result<(Fixture, Account)> {
    let fixture = Fixture::with_calls(u64::try_from(DAYS)? * 144).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1, "page_size": 48 })).await?;
    Ok((fixture, account))
}

async fn limit(fixture: &Fixture, account: Account, limits: ConnectionLimits) -> Result<()> {
    assert!(fixture.store.connections().set_limits(account.tenant, account.connection, limits).await?);
    Ok(())
}

async fn start(fixture: &Fixture, account: Account) -> Result<JobId> {
    let job = JobId::random();
    let mut command = Fixture::start_command(account.connection, job);
    // From midnight to midnight, as slices are cut: one for each day.
    let first = fixture.upstream.created("acme", 0).context("there is a first call")?.date_naive();
    command.date_from = Some(first.and_time(NaiveTime::MIN).and_utc());
    command.date_to = command.date_from.map(|from| from + TimeDelta::days(DAYS));
    fixture.publish_start_command(&command).await?;
    Ok(job)
}

fn pages(limit: i32) -> ConnectionLimits {
    ConnectionLimits { pages_in_flight: Some(limit), requests_per_second: None }
}

fn requests(limit: f32) -> ConnectionLimits {
    ConnectionLimits { pages_in_flight: None, requests_per_second: Some(limit) }
}

#[tokio::test]
async fn two_consumers_together_keep_to_the_pages_in_flight() -> Result<()> {
    let (fixture, account) = days_of_calls().await?;
    limit(&fixture, account, pages(2)).await?;
    let consumers = [fixture.consumer().await?, fixture.consumer().await?];

    fixture.upstream.hold();
    let job = start(&fixture, account).await?;
    fixture.upstream.until(|seen| seen.held == 2).await;
    let waiting = fixture.store.jobs().situation(job, None).await?.expect("the job is there");
    assert_eq!((waiting.job.slices.queued, waiting.rung_of_connection), (DAYS - 2, 2));
    let reasons = engine::explain::explain(&waiting);
    assert!(reasons.iter().any(|reason| reason.code == "connections_limit"), "{reasons:?}");

    fixture.upstream.release();
    fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(fixture.upstream.seen().most_open, 2);
    fixture.exact(account, "acme").await?;
    fixture.finish(consumers).await
}

#[tokio::test]
async fn a_lowered_limit_holds_after_the_pages_in_flight() -> Result<()> {
    let (fixture, account) = days_of_calls().await?;
    let consumer = fixture.consumer().await?;
    fixture.upstream.hold();
    let job = start(&fixture, account).await?;
    let all = u64::try_from(DAYS)?;
    fixture.upstream.until(|seen| seen.held == all).await;

    limit(&fixture, account, pages(1)).await?;
    // Each has a next page, for which only one of them may stay.
    fixture.upstream.let_through(usize::try_from(DAYS)?);
    fixture.upstream.until(|seen| seen.answered == all).await;
    fixture.until_sql("select count(*) filter (where status = 'ready') <= 1 from slices").await?;
    fixture.upstream.release();
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn requests_are_spread_over_the_seconds() -> Result<()> {
    let (fixture, account) = days_of_calls().await?;
    limit(&fixture, account, requests(12.0)).await?;
    let consumers = [fixture.consumer().await?, fixture.consumer().await?];
    let job = start(&fixture, account).await?;
    fixture.until_over(job, JobStatus::Completed).await?;

    let (pages, seconds): (i64, f64) = sqlx::query_as(
        "select count(*), extract(epoch from max(p.settled_at) - min(j.started_at))::float8
           from page_log p join jobs j on j.id = p.job_id",
    )
    .fetch_one(&fixture.database.pool)
    .await?;
    let requests = fixture.upstream.seen().requests;
    assert!(pages >= 18 && requests >= u64::try_from(pages)?, "{pages} pages, {requests} requests");
    let least = f64::from(i32::try_from(requests)? - 1) / 12.0;
    assert!(seconds >= least, "{requests} requests took {seconds} s, at least {least} s are due");
    fixture.exact(account, "acme").await?;
    fixture.finish(consumers).await
}

#[tokio::test]
async fn what_must_wait_long_waits_in_postgres_and_can_be_cancelled() -> Result<()> {
    let (fixture, account) = days_of_calls().await?;
    limit(&fixture, account, requests(0.001)).await?;
    let consumer = fixture.consumer().await?;
    let job = start(&fixture, account).await?;
    // One page at once, one would sit in its slot for a second at most; here the next is a quarter of an hour away.
    fixture
        .until_sql(
            "select count(*) = 6 from slices
              where status = 'waiting' and last_error like '%requests per second%' and attempts = 0",
        )
        .await?;
    assert_eq!(fixture.upstream.seen().requests, 1);

    fixture.publish_cancel(job, "too slow").await?;
    let view = fixture.until_over(job, JobStatus::Cancelled).await?;
    assert_eq!(view.pages_settled, 1);
    fixture.finish([consumer]).await
}

/// Whoever dies, fails or is cancelled with the connection's and the tenant's whole limit in hand gives it back.
#[tokio::test]
async fn a_limit_is_given_back_after_a_crash_a_fault_and_a_cancel() -> Result<()> {
    let (fixture, account) = days_of_calls().await?;
    // A tenant's limit may be overshot a little.
    for of_tenant in [false, true] {
        let limits = if of_tenant { ConnectionLimits::default() } else { pages(2) };
        limit(&fixture, account, limits).await?;
        fixture.store.tenants().create("acme", if of_tenant { 2 } else { 16 }).await?;
        let mut killed = fixture.consumer_program()?.start()?;
        killed.ready().await?;
        fixture.upstream.hold();
        let job = start(&fixture, account).await?;
        fixture.upstream.until(|seen| seen.held >= 2).await;
        let gone = fixture.upstream.seen().disconnects;
        let consumer = fixture.consumer().await?;
        killed.kill().await?;
        fixture.upstream.until(|seen| seen.disconnects >= gone + 2 && seen.held >= 2).await;

        fixture.publish_cancel(job, "enough").await?;
        fixture.until_over(job, JobStatus::Cancelled).await?;
        fixture.upstream.until(|seen| seen.held == 0).await;
        // Each of the next job's slices fails once, and then the job for good.
        let before = fixture.upstream.seen().requests;
        fixture.upstream.script_times(|_| true, Answer::status(500), 4);
        fixture.upstream.hold_if(move |asked| asked.number > before + 4);
        let job = start(&fixture, account).await?;
        fixture.upstream.until(|seen| seen.held >= 2).await;
        fixture.upstream.script_times(|_| true, Answer::status(403), u64::MAX);
        fixture.upstream.release();
        fixture.until(job, |view| view.status.is_terminal()).await?;
        fixture.upstream.clear_scripts();

        fixture.upstream.hold();
        let job = start(&fixture, account).await?;
        fixture.upstream.until(|seen| seen.held >= 2).await;
        fixture.upstream.release();
        fixture.until_over(job, JobStatus::Completed).await?;
        fixture.exact(account, "acme").await?;
        consumer.stop().await?;
    }
    fixture.finish([]).await
}
