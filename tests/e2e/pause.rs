//! A job is held back and let go again: nothing is claimed in between, and nothing is lost by it.

use anyhow::{Context, Result};
use broker::Envelope;
use chrono::{TimeDelta, TimeZone, Utc};
use engine::{Engine, EngineError};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::{Duration, Instant};
use store::connections::NewConnection;
use store::jobs::{CancelRequest, CancelTarget, PauseOutcome};
use testkit::fixture::{Account, Fixture};
use testkit::plan::plan;
use testkit::sample_upstream::{Options, TenantOptions};

const LONG: Duration = Duration::from_secs(300);

/// A tenant's calls over four days, twelve a day.
fn four_days(name: &str) -> TenantOptions {
    TenantOptions { every: TimeDelta::hours(2), ..TenantOptions::new(name, 48) }
}

/// Starts a job of those four days, a slice each.
async fn start_four_slices(fixture: &Fixture, account: Account) -> Result<JobId> {
    let job = JobId::random();
    let from = Utc.with_ymd_and_hms(2025, 1, 1, 0, 0, 0).single();
    let mut command = Fixture::start_command(account.connection, job);
    (command.date_from, command.date_to) = (from, from.map(|from| from + TimeDelta::days(4)));
    fixture.publish_start_command(&command).await?;
    Ok(job)
}

/// Another connection of the same tenant, to the same calls.
async fn second_connection(fixture: &Fixture, account: Account) -> Result<Account> {
    let new = NewConnection {
        tenant: account.tenant,
        name: "second".to_owned(),
        source: "ultravox".to_owned(),
        base_url: fixture.upstream.base_url(),
        settings: json!({}),
    };
    Ok(Account {
        connection: fixture.put_connection(&new, &json!({ "api_key": fixture.upstream.key("acme") })).await?,
        ..account
    })
}

fn engine(fixture: &Fixture) -> Engine {
    Engine::new(fixture.store.clone(), fixture.publisher.clone())
}

async fn kinds(fixture: &Fixture, job: JobId) -> Result<Vec<String>> {
    Ok(fixture.store.events().of_job(job).await?.into_iter().map(|event| event.kind).collect())
}

#[tokio::test]
async fn pages_in_flight_are_the_last_until_the_job_goes_on() -> Result<()> {
    let fixture = Fixture::start(Options::new([four_days("acme")])).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1 })).await?;
    let mut settings = fixture.unhurried()?;
    // No sweep comes to the help of the unpause.
    settings.sweeper.every = LONG;
    settings.pages.quantum = LONG;
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold();
    let job = start_four_slices(&fixture, account).await?;
    fixture.upstream.until(|seen| seen.held == 4).await;

    let engine = engine(&fixture);
    let view = engine.pause(account.tenant, job, "test").await?;
    assert!((view.status, view.paused) == (JobStatus::Running, true), "{view:#?}");
    fixture.upstream.release();
    let view = fixture.until(job, |view| view.slices.queued == 4).await?;
    assert_eq!((view.pages_settled, view.slices.leased, view.estimated_seconds_remaining()), (4, 0, None));
    assert_eq!(fixture.upstream.seen().requests, 4, "one page of each slice, though the stints would go on");

    let asked = Instant::now();
    engine.unpause(account.tenant, job, "test").await?;
    fixture.upstream.until(|seen| seen.requests > 4).await;
    tracing::info!(took = ?asked.elapsed(), "from the unpause to the next request at the upstream");
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.paused), (48, false));
    assert_eq!(
        kinds(&fixture, job).await?,
        ["accepted", "started", "paused", "unpaused", "completed"],
        "each change is told"
    );
    assert!(fixture.upstream.fetches().values().all(|times| *times == 1), "no page was fetched twice");
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_job_whose_last_pages_were_in_flight_completes() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    engine(&fixture).pause(account.tenant, job, "test").await?;
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.paused), (5, false), "an ended job is not paused");
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_pending_job_is_planned_but_not_begun() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let second = second_connection(&fixture, account).await?;
    let job = fixture.accept(account.connection).await?;
    let engine = engine(&fixture);
    let view = engine.pause(account.tenant, job, "test").await?;
    assert!((view.status, view.paused) == (JobStatus::Pending, true), "{view:#?}");
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    fixture.until(job, |view| view.status == JobStatus::Running).await?;
    // Meanwhile slices of the same tenant are rung, and walked to their ends.
    let other = fixture.publish_start(second.connection).await?;
    fixture.until_over(other, JobStatus::Completed).await?;
    let view = fixture.store.jobs().get(job, None).await?.context("the job")?;
    assert!((view.paused, view.slices.queued) == (true, 1), "{view:#?}");
    assert_eq!((view.pages_settled, fixture.upstream.seen().requests), (0, 1));

    engine.unpause(account.tenant, job, "test").await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_repeat_changes_nothing_and_an_ended_job_refuses() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let job = fixture.accept(account.connection).await?;
    let (store, tenant) = (&fixture.store, account.tenant);
    let done = |newly| PauseOutcome::Done { tenant, newly };
    assert_eq!(store.jobs().unpause(job, Some(tenant), None).await?, done(false), "it was not paused");
    for newly in [true, false] {
        assert_eq!(store.jobs().pause(job, Some(tenant), None).await?, done(newly));
    }
    for newly in [true, false] {
        assert_eq!(store.jobs().unpause(job, Some(tenant), None).await?, done(newly));
    }
    assert_eq!(kinds(&fixture, job).await?, ["accepted", "paused", "unpaused"]);
    let other = store.tenants().create("other", 16).await?.id;
    assert_eq!(store.jobs().pause(job, Some(other), None).await?, PauseOutcome::Unknown);
    assert_eq!(store.jobs().pause(JobId::random(), None, None).await?, PauseOutcome::Unknown);

    cancel(&fixture, job).await?;
    let engine = engine(&fixture);
    for refused in [engine.pause(tenant, job, "t").await, engine.unpause(tenant, job, "t").await] {
        let status = JobStatus::Cancelled;
        assert!(matches!(refused, Err(EngineError::NotPausable { status: said, .. }) if said == status));
    }
    fixture.finish([]).await
}

async fn cancel(fixture: &Fixture, job: JobId) -> Result<()> {
    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: None,
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    fixture.store.jobs().cancel(&request).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_and_a_cancel_at_the_same_moment() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut held_back = 0;
    for round in 0..40 {
        let job = fixture.accept(account.connection).await?;
        if round % 2 == 0 {
            let plannable = fixture.store.jobs().plannable(job).await?.context("pending")?;
            assert!(fixture.store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
        }
        let store = fixture.store.clone();
        let pausing = tokio::spawn(async move { store.jobs().pause(job, None, None).await });
        cancel(&fixture, job).await?;
        held_back += i32::from(matches!(pausing.await??, PauseOutcome::Done { .. }));
        let view = fixture.store.jobs().get(job, None).await?.context("the job")?;
        assert_eq!((view.status, view.paused), (JobStatus::Cancelled, false));
        assert_eq!(kinds(&fixture, job).await?.last().map(String::as_str), Some("cancelled"));
    }
    tracing::info!(held_back, "pauses came before the cancel, of 40");
    fixture.finish([]).await
}

#[tokio::test]
async fn a_paused_job_takes_no_room_from_its_tenant() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let second = second_connection(&fixture, account).await?;
    fixture.store.tenants().create("acme", 1).await?;
    // Its doorbell is rung, and lost.
    let job = fixture.accept(account.connection).await?;
    let plannable = fixture.store.jobs().plannable(job).await?.context("pending")?;
    assert!(fixture.store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
    let lost = fixture.store.slices().refill(account.tenant, LONG).await?.pop().context("a slice is rung")?;
    fixture.store.jobs().pause(job, None, None).await?;

    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let other = fixture.publish_start(second.connection).await?;
    fixture.until_over(other, JobStatus::Completed).await?;
    // The doorbell was only late.
    fixture.publisher.publish(Envelope::doorbell(lost)).await?;
    engine(&fixture).unpause(account.tenant, job, "test").await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(fixture.upstream.seen().requests, 2);
    fixture.finish([consumer]).await
}
