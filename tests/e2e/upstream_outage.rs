//! An upstream that fails for everybody is waited for; a page that fails alone is not waited for long.

use anyhow::{Context, Result};
use engine::Engine;
use engine::explain::explain;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobStatus;
use protocol::retry::RetryPolicy;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::{Account, Consumer, Fixture};
use testkit::sample_upstream::{Answer, Asked, Options, TenantOptions};

/// Calls of three days, a slice and two pages each.
const CALLS: u64 = 3 * 144;
const MOST_ATTEMPTS: u32 = 3;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn three_days(tenants: &[&str]) -> Result<Fixture> {
    Fixture::start(Options::new(tenants.iter().map(|name| TenantOptions::new(*name, CALLS)))).await
}

async fn account(fixture: &Fixture, tenant: &str) -> Result<Account> {
    fixture.account(tenant, json!({ "slice_days": 1, "page_size": 100 })).await
}

async fn start(fixture: &Fixture, connection: ConnectionId) -> Result<JobId> {
    let job = JobId::random();
    let mut command = Fixture::start_command(connection, job);
    command.date_from = Some("2025-01-01T00:00:00Z".parse()?);
    command.date_to = Some("2025-01-04T00:00:00Z".parse()?);
    fixture.publish_start_command(&command).await?;
    Ok(job)
}

async fn consumer(fixture: &Fixture, give_up_after: Duration) -> Result<Consumer> {
    let mut settings = fixture.settings()?;
    settings.pages.max_attempts = MOST_ATTEMPTS;
    settings.pages.give_up_after = give_up_after;
    settings.pages.retry = RetryPolicy::new(Duration::from_millis(5), Duration::from_millis(20));
    fixture.consumer_with(settings).await
}

fn is_of_the_second_day(asked: &Asked) -> bool {
    asked.parameter("fromDate").is_some_and(|from| from.starts_with("2025-01-02"))
}

async fn cause(fixture: &Fixture, job: JobId) -> Result<String> {
    let view = fixture.until_over(job, JobStatus::Failed).await?;
    Ok(view.error.context("why")?.cause)
}

#[tokio::test]
async fn an_upstream_that_is_down_is_waited_for() -> Result<()> {
    for (down, said) in [
        (Answer::status(500), "500 Internal Server Error"),
        (Answer::status(504), "504 Gateway Timeout"),
        (Answer::html(), "an HTML page (content type text/html)"),
        (Answer::Truncate, "connection"),
    ] {
        let fixture = three_days(&["acme"]).await?;
        let account = account(&fixture, "acme").await?;
        let consumer = consumer(&fixture, DAY).await?;
        fixture.upstream.script_times(|_asked| true, down, u64::MAX);
        let job = start(&fixture, account.connection).await?;
        fixture.until_sql("select count(*) = 3 and min(attempts) > 6 from slices").await?;
        fixture.until_sql("select exists (select from slices where status = 'waiting')").await?;
        let situation = fixture.store.jobs().situation(job, None).await?.context("the job")?;
        let waits: Vec<_> = explain(&situation).into_iter().filter(|reason| reason.code == "retry").collect();
        for wait in &waits {
            assert!(wait.text.contains("failed attempts since 20"), "{}", wait.text);
            assert!(wait.text.contains(said), "{}", wait.text);
        }
        fixture.upstream.clear_scripts();
        let view = fixture.until_over(job, JobStatus::Completed).await?;
        assert_eq!(view.counters.inserted, i64::try_from(CALLS)?);
        fixture.exact(account, "acme").await?;
        fixture.finish([consumer]).await?;
    }
    Ok(())
}

/// Its attempts are used up though everything else is well, and though it is the last page that is left.
#[tokio::test]
async fn a_page_that_fails_alone_is_at_fault() -> Result<()> {
    for answer in [Answer::status(500), Answer::html()] {
        let fixture = three_days(&["acme"]).await?;
        let account = account(&fixture, "acme").await?;
        let consumer = consumer(&fixture, DAY).await?;
        fixture.upstream.script_times(is_of_the_second_day, answer, u64::MAX);
        fixture.upstream.hold_if(|asked| !is_of_the_second_day(asked));
        let job = start(&fixture, account.connection).await?;
        fixture.until_sql("select exists (select from slices where attempts > 0)").await?;
        fixture.upstream.until(|seen| seen.held >= 2).await;
        // From here the second day is held, until both others, which have waited longer, are read to their ends.
        fixture.upstream.hold_if(is_of_the_second_day);
        fixture.upstream.let_through(2);
        fixture.until_sql("select coalesce(sum(page), 0) = 4 from slices").await?;
        fixture.upstream.release();
        let cause = cause(&fixture, job).await?;
        assert!(cause.contains("of 3)") && cause.contains("resume the job"), "{cause}");
        let view = fixture.store.jobs().get(job, None).await?.context("the job")?;
        assert_eq!(view.pages_settled, 4, "the other days are there");

        fixture.upstream.clear_scripts();
        let resumed = resume(&fixture, account, job).await?;
        fixture.until_over(resumed, JobStatus::Completed).await?;
        fixture.exact(account, "acme").await?;
        fixture.finish([consumer]).await?;
    }
    Ok(())
}

/// What another connection's upstream does says nothing about this one's.
#[tokio::test]
async fn an_outage_is_one_of_a_connection() -> Result<()> {
    let fixture = three_days(&["acme", "other"]).await?;
    let (account, other) = (account(&fixture, "acme").await?, account(&fixture, "other").await?);
    let consumer = consumer(&fixture, DAY).await?;
    fixture.upstream.script_times(|asked| asked.tenant == "acme", Answer::status(500), u64::MAX);
    let waits = start(&fixture, account.connection).await?;
    fixture.until_sql("select count(*) = 3 and min(attempts) > 0 from slices").await?;
    let goes = start(&fixture, other.connection).await?;
    fixture.until_over(goes, JobStatus::Completed).await?;
    fixture.until_sql("select count(*) = 3 from slices where attempts > 6").await?;
    fixture.upstream.clear_scripts();
    fixture.until_over(waits, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn an_outage_that_does_not_end_fails_the_job() -> Result<()> {
    let fixture = three_days(&["acme"]).await?;
    let account = account(&fixture, "acme").await?;
    let consumer = consumer(&fixture, Duration::from_secs(1)).await?;
    fixture.upstream.script_times(|_asked| true, Answer::status(503), u64::MAX);
    let job = start(&fixture, account.connection).await?;
    let cause = cause(&fixture, job).await?;
    assert!(cause.contains("failing since 20") && cause.contains("resume the job"), "{cause}");
    fixture.upstream.clear_scripts();
    let resumed = resume(&fixture, account, job).await?;
    fixture.until_over(resumed, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

/// A pause and a rest are not the upstream's failure, however long they last.
#[tokio::test]
async fn the_time_of_a_pause_is_not_an_outage() -> Result<()> {
    let fixture = three_days(&["acme"]).await?;
    let account = account(&fixture, "acme").await?;
    let consumer = consumer(&fixture, DAY).await?;
    fixture.upstream.script_times(|_asked| true, Answer::status(500), u64::MAX);
    let job = start(&fixture, account.connection).await?;
    fixture.until_sql("select count(*) = 3 and min(attempts) > 3 from slices").await?;
    // As if that had begun two days ago, most of which the job was paused for, and then the connection rested.
    fixture.database.execute("update jobs set unpaused_at = now() - interval '1 hour'").await?;
    fixture.database.execute("update slices set failing_since = now() - interval '2 days'").await?;
    requests(&fixture, 20).await;
    fixture.database.execute("update connections set paused_until = now() - interval '1 minute'").await?;
    fixture.database.execute("update jobs set unpaused_at = null").await?;
    requests(&fixture, 20).await;
    fixture.database.execute("update connections set paused_until = null").await?;
    let cause = cause(&fixture, job).await?;
    assert!(cause.contains("failing since 20"), "{cause}");
    fixture.finish([consumer]).await
}

/// Waits for so many more of them.
async fn requests(fixture: &Fixture, more: u64) {
    let before = fixture.upstream.seen().requests;
    fixture.upstream.until(|seen| seen.requests > before + more).await;
}

async fn resume(fixture: &Fixture, account: Account, job: JobId) -> Result<JobId> {
    let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone());
    Ok(engine.resume(account.tenant, job, "test").await?.id)
}
