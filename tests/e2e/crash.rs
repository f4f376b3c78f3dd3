//! A consumer process is killed (SIGKILL) at every point of a page's life. Nothing is skipped, at most the page in hand
//! is fetched once more, nothing is counted twice, and another consumer goes on at once.

use anyhow::Result;
use configuration::Settings;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use testkit::fixture::{Account, Consumer, Fixture, amqp_url};
use testkit::process::{Process, Program};
use testkit::proxy::Direction;
use testkit::settle_gate::{PATIENT, SettleGate};
use testkit::wiretap::Wiretap;

const CALLS: u64 = 50;
/// Of ten calls each.
const PAGES: i64 = 5;

/// Neither an expiry nor a marker comes to a page's help within the test: whatever goes on, goes on because the killed
/// process's message came back.
fn only_messages_help(mut settings: Settings) -> Settings {
    settings.leases.duration = Duration::from_secs(300);
    settings.leases.renew_every = Duration::from_secs(100);
    settings.sweeper.marker_every = Duration::from_secs(300);
    settings.pages.quantum = Duration::ZERO;
    settings.pages.budget = Duration::from_secs(300);
    settings
}

/// A page per message.
const PAGE_BY_PAGE: &str = "0";
/// All pages in one stint.
const STINT: &str = "60000";

/// A real process with the same settings (its quantum in milliseconds apart), ready.
async fn doomed(mut environment: HashMap<String, String>, quantum: &str) -> Result<Process> {
    for (key, value) in [
        ("LEASES__DURATION_MS", "300000"),
        ("LEASES__RENEW_EVERY_MS", "100000"),
        ("SWEEPER__MARKER_EVERY_MS", "300000"),
        ("PAGES__QUANTUM_MS", quantum),
        ("PAGES__BUDGET_MS", "300000"),
        ("DATABASE__LOCK_TIMEOUT_MS", &PATIENT.to_string()),
        ("DATABASE__STATEMENT_TIMEOUT_MS", &PATIENT.to_string()),
    ] {
        environment.insert(format!("BACKHAUL__{key}"), value.to_owned());
    }
    let program = Program::built("consumer")?;
    let process = program.envs(&environment).start()?;
    process.ready().await?;
    Ok(process)
}

async fn heir(fixture: &Fixture) -> Result<Consumer> {
    fixture.consumer_with(only_messages_help(fixture.settings()?)).await
}

/// The job comes to its end, every call counted once; `repeated` pages were fetched a second time, and the heir settled
/// the pages from `from` on.
async fn goes_on(
    fixture: Fixture,
    account: Account,
    job: JobId,
    heir: Consumer,
    from: i64,
    repeated: usize,
) -> Result<()> {
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    let counters = &view.counters;
    assert_eq!((counters.inserted, counters.processed(), view.pages_settled), (50, 50, PAGES));
    fixture.exact(account, "acme").await?;
    let mut fetched: Vec<_> = fixture.upstream.fetches().into_values().collect();
    fetched.sort_unstable();
    let mut expected = vec![1; usize::try_from(PAGES)? - repeated];
    expected.resize(usize::try_from(PAGES)?, 2);
    assert_eq!(fetched, expected, "how often each page was fetched");
    let by_heir: i64 = sqlx::query_scalar("select count(*) from page_log where worker = $1 and page >= $2")
        .bind(heir.id.0)
        .bind(i32::try_from(from)?)
        .fetch_one(&fixture.database.pool)
        .await?;
    assert_eq!(by_heir, PAGES - from, "pages that the heir settled");
    fixture.finish([heir]).await
}

#[tokio::test]
async fn while_it_fetches() -> Result<()> {
    let fixture = Fixture::with_calls(CALLS).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut killed = doomed(fixture.environment(), PAGE_BY_PAGE).await?;
    fixture.upstream.hold_if(|asked| asked.number == 3);
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    let heir = heir(&fixture).await?;
    killed.kill().await?;
    goes_on(fixture, account, job, heir, 2, 1).await
}

#[tokio::test]
async fn between_the_settle_and_the_next_doorbell() -> Result<()> {
    let fixture = Fixture::with_calls(CALLS).await?;
    let account = fixture.account("acme", json!({})).await?;
    let wiretap = Wiretap::on(&fixture).await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    let mut killed = doomed(fixture.environment_at(&fixture.database.url(), &amqp), PAGE_BY_PAGE).await?;
    let job = JobId::random();
    proxy.stall_on(Direction::ToTarget, format!("{job}/0/3"));
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    proxy.until_stalled().await;
    fixture
        .until_sql("select page = 2 and ring = 3 and status = 'ready' and lease_token is null from slices")
        .await?;

    let heir = heir(&fixture).await?;
    killed.kill().await?;
    proxy.cut().await;
    wiretap.until_rings(job, |rings| rings.len() == 4).await?;
    let rings: Vec<_> = wiretap.rings(job).iter().map(|ring| (ring.page, ring.ring)).collect();
    assert_eq!(rings, [(0, 1), (1, 2), (3, 4), (4, 5)], "the third doorbell was never rung");
    goes_on(fixture, account, job, heir, 2, 0).await
}

#[tokio::test]
async fn between_the_next_doorbell_and_the_ack() -> Result<()> {
    let fixture = Fixture::with_calls(CALLS).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    let mut killed = doomed(fixture.environment_at(&fixture.database.url(), &amqp), PAGE_BY_PAGE).await?;
    let job = JobId::random();
    // The broker has the doorbell, since it delivers it; whether the ack of the one before arrived is open.
    proxy.stall_on(Direction::ToClient, format!("{job}/0/3"));
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    proxy.until_stalled().await;

    let heir = heir(&fixture).await?;
    killed.kill().await?;
    proxy.cut().await;
    goes_on(fixture, account, job, heir, 2, 0).await
}

#[tokio::test]
async fn in_the_middle_of_a_settle_that_commits_after_its_death() -> Result<()> {
    let fixture = Fixture::with_calls(CALLS).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut killed = doomed(fixture.environment(), STINT).await?;
    let job = JobId::random();
    let mut gate = SettleGate::close(&fixture.database, job).await?;
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    gate.until_held(1).await?;

    let heir = heir(&fixture).await?;
    killed.kill().await?;
    until_the_heir_waits(&fixture).await?;
    gate.open().await?;
    goes_on(fixture, account, job, heir, 1, 0).await
}

#[tokio::test]
async fn in_the_middle_of_a_settle_that_is_lost() -> Result<()> {
    let fixture = Fixture::with_calls(CALLS).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut killed = doomed(fixture.environment(), PAGE_BY_PAGE).await?;
    let job = JobId::random();
    let mut gate = SettleGate::close(&fixture.database, job).await?;
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    gate.until_held(1).await?;

    let heir = heir(&fixture).await?;
    killed.kill().await?;
    until_the_heir_waits(&fixture).await?;
    fixture
        .database
        .execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'advisory'")
        .await?;
    gate.open().await?;
    goes_on(fixture, account, job, heir, 0, 1).await
}

/// The killed process's message has come back, and its claim waits for the slice that the dead settle has locked.
async fn until_the_heir_waits(fixture: &Fixture) -> Result<()> {
    fixture
        .until_sql(
            "select exists (select from pg_stat_activity where datname = current_database()
                               and wait_event_type = 'Lock' and wait_event <> 'advisory')",
        )
        .await
}

#[tokio::test]
async fn between_the_last_page_and_the_end_of_the_job() -> Result<()> {
    let fixture = Fixture::with_calls(CALLS).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, database) = fixture.database_proxy().await?;
    let mut killed = doomed(fixture.environment_at(&database, &amqp_url()), PAGE_BY_PAGE).await?;
    proxy.stall_on(Direction::ToTarget, "update jobs set status = 'completed'");
    let job = fixture.publish_start(account.connection).await?;
    proxy.until_stalled().await;
    fixture.until_sql("select status = 'done' and page = 5 from slices").await?;

    let heir = heir(&fixture).await?;
    killed.kill().await?;
    // The dead transaction has the job locked; its end sets the job free.
    proxy.cut().await;
    goes_on(fixture, account, job, heir, 5, 0).await
}
