//! Postgres refuses for a while: it kills connections, is read-only, has no room, or cannot serialise. Pages are repeated
//! later, nothing is half-written, and nobody has to help.

use anyhow::Result;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::{Options, TenantOptions};

/// The consumers' sessions, not the test's own.
const KILL: &str = "select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and application_name like 'backhaul/consumer %'";

/// Makes the next settles fail with this SQLSTATE, so many of them.
async fn fail_settles(fixture: &Fixture, state: &str, times: u32) -> Result<()> {
    fixture
        .database
        .execute(&format!(
            // A sequence counts what is rolled back, too.
            "drop sequence if exists faults; create sequence faults;
             create or replace function fault() returns trigger language plpgsql as $$
             begin
                 if nextval('faults') <= {times} then
                     raise exception 'on purpose' using errcode = '{state}';
                 end if;
                 return new;
             end $$;
             create or replace trigger fault after insert on page_log for each row execute function fault()"
        ))
        .await
}

async fn completed_exactly(
    fixture: &Fixture,
    account: Account,
    name: &str,
    job: JobId,
    calls: i64,
) -> Result<()> {
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.processed(), view.pages_settled), (calls, calls / 10), "{view:#?}");
    fixture.exact(account, name).await
}

#[tokio::test]
async fn a_settle_that_fails_in_passing_is_repeated() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    // No room, out of memory, could not serialise, deadlock, lock not available, cancelled by an operator.
    for (state, times) in
        [("53100", 1), ("53100", 9), ("53200", 2), ("40001", 7), ("40P01", 2), ("55P03", 3), ("57014", 2)]
    {
        fail_settles(&fixture, state, times).await?;
        let job = fixture.publish_start(account.connection).await?;
        completed_exactly(&fixture, account, "acme", job, 30).await?;
        fixture.until_sql("select last_value > 1 from faults").await?;
        let unblemished = "select bool_and(charges = '{}') from slices";
        fixture.until_sql(unblemished).await?;
    }
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn connections_killed_at_every_page_cost_no_page() -> Result<()> {
    let fixture = Fixture::with_calls(60).await?;
    let account = fixture.account("acme", json!({})).await?;
    // While the test is slow, no lease expires.
    let consumers = [
        fixture.consumer_with(fixture.unhurried()?).await?,
        fixture.consumer_with(fixture.unhurried()?).await?,
    ];
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    for page in 0..6 {
        fixture.upstream.until(|seen| seen.held >= 1).await;
        fixture.database.execute(KILL).await?;
        fixture.upstream.let_through(1);
        fixture.until(job, |view| view.pages_settled > page).await?;
    }
    fixture.upstream.release();
    completed_exactly(&fixture, account, "acme", job, 60).await?;
    assert_eq!(fixture.upstream.seen().requests, 6, "no page was fetched again");
    fixture.finish(consumers).await
}

#[tokio::test]
async fn a_read_only_database_is_waited_for() -> Result<()> {
    let fixture =
        Fixture::start(Options::new([TenantOptions::new("acme", 30), TenantOptions::new("later", 30)]))
            .await?;
    let account = fixture.account("acme", json!({})).await?;
    let later = fixture.account("later", json!({})).await?;
    let consumer = fixture.consumer().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    // Sessions keep what they began with, so this one stays able to write.
    let mut writer = fixture.database.pool.acquire().await?;
    let name = fixture.database.url().path().trim_start_matches('/').to_owned();
    let read_only = |on| format!("alter database {name} set default_transaction_read_only = {on}");
    writer.execute(AssertSqlSafe(read_only(true))).await?;
    writer.execute(KILL).await?;
    fixture.upstream.release();
    fixture.upstream.until(|seen| seen.answered == 1).await;
    let after = fixture.publish_start(later.connection).await?;
    assert_eq!(consumer.get("healthz").await?.0, 200);
    assert_eq!(fixture.store.jobs().get(job, None).await?.map(|view| view.pages_settled), Some(0));
    assert!(fixture.store.jobs().get(after, None).await?.is_none(), "nothing could be written");

    writer.execute(AssertSqlSafe(read_only(false))).await?;
    writer.execute(KILL).await?;
    drop(writer);
    completed_exactly(&fixture, account, "acme", job, 30).await?;
    completed_exactly(&fixture, later, "later", after, 30).await?;
    fixture.finish([consumer]).await
}
