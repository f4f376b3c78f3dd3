//! A deploy: SIGTERM in the middle of a page is not a failed attempt.

use anyhow::{Context, Result};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::api::new_key;
use testkit::fixture::Fixture;
use testkit::process::Program;
use testkit::settle_gate::{PATIENT, SettleGate};

/// What the page's row says of failures: nothing.
const UNBLEMISHED: &str =
    "select bool_and(attempts = 0 and last_error is null and charges = '{}' and status = 'ready')
     from slices";

/// A consumer process whose pages are freed by itself or not at all within the test.
fn unhurried(fixture: &Fixture) -> Result<Program> {
    Ok(fixture.consumer_program()?.env("BACKHAUL__LEASES__DURATION_MS", "300000"))
}

#[tokio::test]
async fn a_page_that_does_not_end_is_handed_over_at_once() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut leaving = unhurried(&fixture)?.env("BACKHAUL__SHUTDOWN__DRAIN_MS", "2000").start()?;
    leaving.ready().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let staying = fixture.consumer_with(fixture.unhurried()?).await?;

    leaving.terminate()?;
    fixture.upstream.until(|seen| seen.disconnects == 1 && seen.held == 1 && seen.requests == 2).await;
    let taken = Instant::now();
    let given = fixture.upstream.disconnects().first().map_or(taken, |disconnect| disconnect.at);
    assert!(taken - given < Duration::from_secs(10), "handed over after {:?}", taken - given);
    tracing::info!(after = ?taken - given, "handed over");
    fixture.until_sql(UNBLEMISHED).await?;
    assert!(leaving.exit().await?.success());

    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (3, 25));
    fixture.exact(account, "acme").await?;
    fixture.finish([staying]).await
}

#[tokio::test]
async fn a_page_that_ends_in_time_is_settled_by_its_worker() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut leaving = unhurried(&fixture)?.env("BACKHAUL__SHUTDOWN__DRAIN_MS", "150000").start()?;
    leaving.ready().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    leaving.terminate()?;
    leaving.unready().await?;
    fixture.upstream.release();
    assert!(leaving.exit().await?.success());
    let view = fixture.until(job, |_any| true).await?;
    assert_eq!((view.pages_settled, view.slices.ready, view.slices.leased), (1, 1, 0), "{view:#?}");
    fixture.until_sql(UNBLEMISHED).await?;

    let next = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    let fetches = fixture.upstream.fetches();
    assert!(fetches.len() == 3 && fetches.values().all(|times| *times == 1), "{fetches:?}");
    fixture.finish([next]).await
}

#[tokio::test]
async fn a_settle_is_not_cut() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut leaving = unhurried(&fixture)?
        .env("BACKHAUL__DATABASE__LOCK_TIMEOUT_MS", PATIENT.to_string())
        .env("BACKHAUL__DATABASE__STATEMENT_TIMEOUT_MS", PATIENT.to_string())
        .start()?;
    leaving.ready().await?;
    let job = JobId::random();
    let mut gate = SettleGate::close(&fixture.database, job).await?;
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    gate.until_held(1).await?;
    let staying = fixture.consumer_with(fixture.unhurried()?).await?;

    leaving.terminate()?;
    leaving.line("nothing more is taken").await?;
    gate.open().await?;
    assert!(leaving.exit().await?.success());
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (3, 25));
    fixture.exact(account, "acme").await?;
    let first = fixture.upstream.fetches().into_iter().find(|(page, _)| !page.contains("cursor="));
    assert!(
        first.is_some_and(|(_, times)| times == 1),
        "the page that was being settled is not fetched again"
    );
    fixture.finish([staying]).await
}

/// Of a busy fleet all but one process leave at once. Each page goes from hand to hand, at most once per leaver, and never
/// back to one.
#[tokio::test]
async fn a_scale_down_hands_pages_over_without_ping_pong() -> Result<()> {
    let fixture = Fixture::with_calls(8 * 144).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1, "page_size": 100 })).await?;
    let start = || unhurried(&fixture)?.env("BACKHAUL__SHUTDOWN__DRAIN_MS", "2000").start();
    let mut leaving = [start()?, start()?];
    for process in &leaving {
        process.ready().await?;
    }
    fixture.upstream.hold();
    let mut command = Fixture::start_command(account.connection, JobId::random());
    command.date_from = Some("2025-01-01T00:00:00Z".parse()?);
    command.date_to = Some("2025-01-09T00:00:00Z".parse()?);
    fixture.publish_start_command(&command).await?;
    fixture.upstream.until(|seen| seen.held == 8).await;
    let staying = fixture.consumer_with(fixture.unhurried()?).await?;

    for process in &leaving {
        process.terminate()?;
    }
    for process in &mut leaving {
        assert!(process.exit().await?.success());
    }
    fixture.upstream.until(|seen| seen.held == 8).await;
    fixture.until_sql(UNBLEMISHED).await?;
    let most = fixture.upstream.fetches().into_values().max();
    assert!(most <= Some(3), "a page was asked for {most:?} times");

    fixture.upstream.release();
    let job = command.job_id.context("chosen here")?;
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(view.counters.inserted, 8 * 144);
    fixture.exact(account, "acme").await?;
    fixture.finish([staying]).await
}

/// A deploy of producers: whoever sends requests here has a while to hear of it, and streams go on elsewhere at once.
#[tokio::test]
async fn a_producer_that_is_told_to_end_refuses_nobody_for_a_while() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(3);
    let fixture = Fixture::with_calls(10).await?;
    let account = fixture.account("acme", json!({})).await?;
    let key = new_key(&fixture, account.tenant).await?;
    let start = json!({ "connection_id": account.connection });
    let program = fixture.producer_program()?;
    let mut leaving = program.env("BACKHAUL__SHUTDOWN__GRACE_MS", GRACE.as_millis().to_string()).start()?;
    leaving.ready().await?;
    let base = format!("http://{}", leaving.address().await?);
    let post = async |client: &reqwest::Client| {
        let request = client.post(format!("{base}/api/v1/jobs")).bearer_auth(&key).json(&start);
        anyhow::Ok(request.send().await?.status().as_u16())
    };
    let kept = reqwest::Client::new();
    let first = kept.post(format!("{base}/api/v1/jobs")).bearer_auth(&key).json(&start).send().await?;
    assert_eq!(first.status().as_u16(), 202);
    let first: Value = first.json().await?;
    let job: JobId = serde_json::from_value(first["id"].clone())?;
    let stream = kept.get(format!("{base}/api/v1/jobs/{job}/events")).bearer_auth(&key);
    let mut stream = stream.header("accept", "text/event-stream").send().await?;
    assert!(stream.chunk().await?.is_some(), "what has happened so far");

    let told = Instant::now();
    leaving.terminate()?;
    let mut last = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        last = chunk.to_vec();
    }
    let last = String::from_utf8(last)?;
    assert!(last.contains("event: moved") && told.elapsed() < GRACE, "{last} after {:?}", told.elapsed());
    assert_eq!(leaving.get("/readyz").await?.0, 503);
    // On the connection that it has kept, and on new ones.
    while told.elapsed() < GRACE / 2 {
        assert_eq!(post(&kept).await?, 409);
        assert_eq!(post(&reqwest::Client::new()).await?, 409);
    }
    assert!(leaving.exit().await?.success());
    assert!(told.elapsed() >= GRACE);
    let consumer = fixture.consumer().await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}
