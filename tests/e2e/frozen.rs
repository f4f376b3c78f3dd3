//! A worker that stands still past its lease, and then goes on as if nothing had happened: SIGSTOP and SIGCONT.

use anyhow::Result;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use store::jobs::{CancelOutcome, CancelRequest, CancelTarget};
use testkit::fixture::{Fixture, amqp_url};
use testkit::process::{Process, Program};
use testkit::proxy::Direction;
use testkit::sample_upstream::{Answer, Options, TenantOptions};
use testkit::settle_gate::{PATIENT, SettleGate};

const CHARGED: &str = "select cardinality(charges) = 1 from slices";
/// The sleeper took back what its supposed death was charged with, while its heir still has the page.
const GIVEN_BACK: &str = "select charges = '{}' and lease_token is not null from slices";

/// The sleeper is in good health: what it had in hand ends in good order.
async fn ends_in_order(mut sleeper: Process) -> Result<()> {
    sleeper.ready().await?;
    sleeper.terminate()?;
    assert!(sleeper.exit().await?.success());
    Ok(())
}

#[tokio::test]
async fn in_the_middle_of_a_fetch() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let sleeper = fixture.consumer_program()?.start()?;
    sleeper.ready().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    sleeper.freeze()?;
    let heir = fixture.consumer().await?;
    fixture.upstream.until(|seen| seen.held == 2).await;
    fixture.until_sql(CHARGED).await?;
    // The first that was held is the first let through: the sleeper finds its page at hand when it wakes up.
    fixture.upstream.let_through(1);
    fixture.upstream.until(|seen| seen.answered == 1).await;
    sleeper.thaw()?;
    fixture.until_sql(GIVEN_BACK).await?;

    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (3, 25));
    let by: uuid::Uuid = sqlx::query_scalar("select worker from page_log where page = 0")
        .fetch_one(&fixture.database.pool)
        .await?;
    assert_eq!(by, heir.id.0, "the page is its heir's");
    fixture.exact(account, "acme").await?;
    ends_in_order(sleeper).await?;
    fixture.finish([heir]).await
}

#[tokio::test]
async fn with_a_settle_on_its_way() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, database) = fixture.database_proxy().await?;
    let program = fixture.consumer_program()?.env("BACKHAUL__DATABASE__URL", database.as_str());
    let sleeper = program.start()?;
    sleeper.ready().await?;
    fixture.upstream.hold_if(|asked| asked.repeats > 0);
    proxy.stall_on(Direction::ToTarget, "), fence as materialized (");
    let job = fixture.publish_start(account.connection).await?;
    proxy.until_stalled().await;

    sleeper.freeze()?;
    let heir = fixture.consumer().await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.until_sql(CHARGED).await?;
    proxy.resume();
    sleeper.thaw()?;
    fixture.until_sql(GIVEN_BACK).await?;
    let view = fixture.until(job, |_any| true).await?;
    assert_eq!((view.pages_settled, view.counters.processed()), (0, 0), "its settle was fenced");

    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (3, 25));
    fixture.exact(account, "acme").await?;
    ends_in_order(sleeper).await?;
    fixture.finish([heir]).await
}

#[tokio::test]
async fn with_a_settle_inside_the_database() -> Result<()> {
    let tenants = [TenantOptions::new("acme", 25), TenantOptions::new("other", 25)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let account = fixture.account("acme", json!({})).await?;
    let other = fixture.account("other", json!({})).await?;
    let sleeper = fixture
        .consumer_program()?
        .env("BACKHAUL__DATABASE__LOCK_TIMEOUT_MS", PATIENT.to_string())
        .env("BACKHAUL__DATABASE__STATEMENT_TIMEOUT_MS", PATIENT.to_string())
        .start()?;
    sleeper.ready().await?;
    let job = JobId::random();
    let mut gate = SettleGate::close(&fixture.database, job).await?;
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    gate.until_held(1).await?;

    sleeper.freeze()?;
    fixture.until_sql("select leased_until < now() from slices").await?;
    // The slice is locked by a settle that stands still. Nobody waits for it: the sweeper passes by, others work.
    let heir = fixture.consumer().await?;
    // (Not by a command: the broker might hand it to the sleeper, and wait for two heartbeats.)
    let free = fixture.accept(other.connection).await?;
    fixture.until_over(free, JobStatus::Completed).await?;
    fixture.until_sql("select count(*) >= 9 and bool_and(error is null) from sweeps").await?;
    gate.until_held(1).await?;

    // Postgres ends the settle without its worker. What follows is the heir's.
    fixture.upstream.hold();
    gate.open().await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let charged =
        "select exists (select from slices where status = 'ready' and page = 1 and cardinality(charges) = 1)";
    fixture.until_sql(charged).await?;
    sleeper.thaw()?;
    let given_back =
        "select exists (select from slices where status = 'ready' and page = 1 and charges = '{}'
                                        and lease_token is not null)";
    fixture.until_sql(given_back).await?;
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (3, 25));
    fixture.exact(account, "acme").await?;
    fixture.exact(other, "other").await?;
    ends_in_order(sleeper).await?;
    fixture.finish([heir]).await
}

#[tokio::test]
async fn with_a_verdict_that_is_not_committed() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, database) = fixture.database_proxy().await?;
    let program = fixture.consumer_program()?.env("BACKHAUL__DATABASE__URL", database.as_str());
    let sleeper = program.env("BACKHAUL__DATABASE__IDLE_IN_TRANSACTION_TIMEOUT_MS", "1000").start()?;
    sleeper.ready().await?;
    fixture.upstream.script(|_asked| true, Answer::status(404));
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    proxy.stall_on(Direction::ToTarget, "commit\0");
    fixture.upstream.release();
    proxy.until_stalled().await;

    // The job is failed in an open transaction, which holds the rows of the job and its slice. Postgres ends it.
    sleeper.freeze()?;
    let heir = fixture.consumer().await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    proxy.resume();
    sleeper.thaw()?;
    ends_in_order(sleeper).await?;
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (3, 25));
    fixture.exact(account, "acme").await?;
    fixture.finish([heir]).await
}

#[tokio::test]
async fn a_cancel_does_not_wait_for_it() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let sleeper = fixture.consumer_program()?.start()?;
    sleeper.ready().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    sleeper.freeze()?;

    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: Some("nobody is there".to_owned()),
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    assert_eq!(fixture.store.jobs().cancel(&request).await?, CancelOutcome::Cancelling { job, newly: true });
    let other = fixture.consumer().await?;
    fixture.until_cancelled(job, "nobody is there").await?;
    fixture.upstream.release();
    sleeper.thaw()?;
    ends_in_order(sleeper).await?;
    let view = fixture.until_cancelled(job, "nobody is there").await?;
    assert_eq!((view.pages_settled, view.counters.processed()), (0, 0));
    fixture.finish([other]).await
}

/// A pod that is started again has its predecessor's host name, and nothing else of it: leases belong to a boot.
#[tokio::test]
async fn a_successor_on_the_same_host_keeps_no_lease_of_the_dead_alive() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    let program = |amqp: &str| {
        let program = Program::built("consumer")?.env("HOSTNAME", "consumer-0");
        let environment = fixture.environment_at(&fixture.database.url(), amqp);
        program.envs(&environment).start()
    };
    let mut dead = program(&amqp)?;
    dead.ready().await?;
    fixture.upstream.hold_if(|asked| asked.number == 1);
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    // The broker does not learn of the death, so the message stays where it is.
    proxy.stall_both();
    dead.kill().await?;

    let successor = program(&amqp_url())?;
    successor.ready().await?;
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (3, 25));
    // The expiry rang the first page again; a message that had come back would not have.
    fixture.until_sql("select count(distinct worker) = 1 from page_log").await?;
    fixture.until_sql("select ring >= 2 and charges = '{}' from slices").await?;
    fixture.exact(account, "acme").await?;
    proxy.cut().await;
    ends_in_order(successor).await?;
    fixture.finish([]).await
}
