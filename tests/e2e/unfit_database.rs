//! A database that answers, and is of no use: nothing is taken, readiness says why, and no page is at fault.

use anyhow::{Context, Result};
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use serde_json::json;
use testkit::fixture::{Consumer, Fixture};

/// Every write of a record fails with this SQLSTATE.
async fn fail_with(fixture: &Fixture, sqlstate: &'static str) -> Result<()> {
    let function = match sqlstate {
        "P0001" => {
            "create function fail() returns trigger language plpgsql as $$
             begin raise exception 'the auditor says no' using errcode = 'P0001'; end $$"
        }
        _ => {
            "create function fail() returns trigger language plpgsql as $$
             begin raise exception 'relation \"audit\" does not exist' using errcode = '42P01'; end $$"
        }
    };
    fixture.database.execute(function).await?;
    fixture
        .database
        .execute("create trigger fail before insert on records for each row execute function fail()")
        .await
}

/// Waits until readiness says this.
async fn until_unready_for(consumer: &Consumer, why: &str) -> Result<()> {
    let said = async {
        loop {
            let (status, text) = consumer.get("readyz").await?;
            if status == 503 && text.contains(why) {
                return anyhow::Ok(());
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), said).await.context("it was never said")?
}

/// An error that nobody has foreseen is the page's: it is tried again, each time later, and then its job fails.
#[tokio::test]
async fn an_unforeseen_error_counts_attempts_and_fails_the_job() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    fail_with(&fixture, "P0001").await?;
    let mut settings = fixture.settings()?;
    settings.pages.max_attempts = 4;
    let consumer = fixture.consumer_with(settings).await?;
    let job = fixture.publish_start(account.connection).await?;
    let failed = fixture.until_over(job, JobStatus::Failed).await?;
    let cause = failed.error.as_ref().map(|error| error.cause.clone()).unwrap_or_default();
    assert!(cause.contains("the auditor says no") && cause.contains("attempt 4 of 4"), "{cause}");
    let asked: u64 = fixture.upstream.fetches().into_values().sum();
    assert!(asked <= 4, "{asked} requests");
    fixture.finish([consumer]).await
}

/// A statement that does not fit the database will fail again, for whoever tries it: everything waits, and no attempt is
/// counted.
#[tokio::test]
async fn a_statement_that_does_not_fit_holds_everything() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    fail_with(&fixture, "42P01").await?;
    let consumer = fixture.consumer().await?;
    let job = fixture.publish_start(account.connection).await?;
    until_unready_for(&consumer, "audit").await?;
    let asked: u64 = fixture.upstream.fetches().into_values().sum();
    assert!(asked <= 2, "{asked} requests before anything could be stored");
    fixture.database.execute("drop trigger fail on records").await?;
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(view.counters.inserted, 25);
    consumer.ready().await?;
    fixture.finish([consumer]).await
}

/// Before the migrations there is nothing to work with.
#[tokio::test]
async fn nothing_is_consumed_before_the_schema_is_there() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    // As if the newest migration had not been applied.
    fixture
        .database
        .execute("create table hidden as select * from _sqlx_migrations where version = 3")
        .await?;
    fixture.database.execute("delete from _sqlx_migrations where version = 3").await?;
    let job = fixture.publish_start(account.connection).await?;
    let consumer = Fixture::spawn(fixture.settings()?).await?;
    until_unready_for(&consumer, "backhaul migrate").await?;
    assert_eq!(fixture.waiting(WorkQueue::Starts).await?, 1);
    fixture.database.execute("insert into _sqlx_migrations select * from hidden").await?;
    consumer.ready().await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}

/// A later version may have changed what this one uses: its migration says so. One that only adds does not.
#[tokio::test]
async fn a_schema_that_is_ahead_is_served_unless_it_says_that_this_program_is_too_old() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let ahead = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'of the future', true, '', 0)";
    fixture.database.execute(ahead).await?;
    let consumer = fixture.consumer().await?;
    let producer = fixture.producer_program()?.start()?;
    producer.ready().await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;

    fixture.database.execute("update compatibility set serves_from = 9999").await?;
    until_unready_for(&consumer, "too old for the database").await?;
    producer.unready().await?;
    let (status, said) = producer.get("/readyz").await?;
    assert!(status == 503 && said.contains("too old for the database") && said.contains("9999"), "{said}");
    let waits = fixture.publish_start(account.connection).await?;
    let late = Fixture::spawn(fixture.settings()?).await?;
    until_unready_for(&late, "too old for the database").await?;
    assert!(fixture.store.jobs().get(waits, None).await?.is_none(), "it was consumed");

    fixture.database.execute("update compatibility set serves_from = 3").await?;
    consumer.ready().await?;
    late.ready().await?;
    producer.ready().await?;
    fixture.until_over(waits, JobStatus::Completed).await?;
    fixture.finish([consumer, late]).await
}
