//! Two things at the same moment, decided by the database's locks: cancels and plans, last settles.

use anyhow::{Context, Result};
use chrono::{TimeDelta, TimeZone, Utc};
use futures::future::{join_all, try_join_all};
use protocol::ids::{JobId, LeaseToken, WorkerId};
use protocol::job::{JobMode, JobStatus};
use protocol::slice::Slicing;
use serde_json::json;
use std::time::Duration;
use store::jobs::{CancelRequest, CancelTarget, Finished, StartOutcome, StartRequest};
use store::slices::{Claim, ClaimRequest, Lease, Settled, Settlement, Suspicion};
use store::{Store, StoreError};
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::{Options, TenantOptions};
use testkit::settle_gate::{PATIENT, SettleGate};

const DAYS: Option<Slicing> = Some(Slicing::days(1, 100));
const LEASE: Duration = Duration::from_secs(60);

/// How many sessions wait for a lock.
const ONE_WAITS: &str = "select count(*) = 1 from pg_stat_activity
                          where datname = current_database() and wait_event_type = 'Lock'";
const BOTH_WAIT: &str = "select count(*) = 2 from pg_stat_activity
                          where datname = current_database() and wait_event_type = 'Lock'";

/// A pending job over so many days.
async fn pending(store: &Store, account: Account, days: i64) -> Result<JobId> {
    let from = Utc.with_ymd_and_hms(2025, 1, 1, 0, 0, 0).single().context("a date")?;
    let request = StartRequest {
        job: JobId::random(),
        connection: account.connection,
        tenant: None,
        date_from: Some(from),
        date_to: Some(from + TimeDelta::days(days)),
        mode: JobMode::Range,
        on_conflict: protocol::command::OnConflict::Reject,
        name: None,
        requested_by: None,
        command: None,
        schema: None,
        documents: Vec::new(),
    };
    assert_eq!(store.jobs().start(&request).await?, StartOutcome::Accepted(request.job));
    Ok(request.job)
}

/// What a planner does.
async fn plan(store: Store, account: Account, job: JobId) -> Result<bool> {
    let Some(plannable) = store.jobs().plannable(job).await? else { return Ok(false) };
    let planned = store.jobs().plan(&plannable, &testkit::plan::plan(&plannable, DAYS)?).await?;
    if planned {
        store.slices().refill(account.tenant, Duration::from_secs(2)).await?;
    }
    Ok(planned)
}

async fn cancel(store: Store, job: JobId) -> Result<(), StoreError> {
    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: Some("a race".to_owned()),
        requested_by: None,
        command: None,
        keep_if_unknown: true,
    };
    store.jobs().cancel(&request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_and_a_plan_leave_nothing_open() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut planned = 0;
    for round in 0..60 {
        let job = pending(&fixture.store, account, 30).await?;
        let (planner, canceller) = (fixture.store.clone(), fixture.store.clone());
        // Both orders of setting out.
        let early = (round % 2 == 0).then(|| tokio::spawn(cancel(canceller.clone(), job)));
        let planning = tokio::spawn(plan(planner, account, job));
        let late = (round % 2 == 1).then(|| tokio::spawn(cancel(canceller, job)));
        planned += i32::from(planning.await??);
        for cancelling in [early, late].into_iter().flatten() {
            cancelling.await??;
        }
        let view = fixture.until_over(job, JobStatus::Cancelled).await?;
        assert_eq!(view.slices.queued + view.slices.ready + view.slices.waiting, 0, "{view:#?}");
    }
    tracing::info!(planned, "of 60 plans came before their cancel");
    fixture.finish([]).await
}

/// The case that no chance should be left to: the cancel waits for the planner's lock, and must see the slices that
/// the planner made while it waited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_waits_for_a_planner_closes_what_was_planned() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let job = pending(&fixture.store, account, 30).await?;
    let mut gate = fixture.database.pool.begin().await?;
    fixture
        .database
        .execute(
            "create function wait_here() returns trigger language plpgsql as
                $$ begin perform pg_advisory_xact_lock(1); return null; end $$;
             create trigger gate after insert on slices execute function wait_here()",
        )
        .await?;
    sqlx::query("select pg_advisory_xact_lock(1)").execute(&mut *gate).await?;
    let planning = tokio::spawn(plan(fixture.store.clone(), account, job));
    fixture.until_sql(ONE_WAITS).await?;
    let cancelling = tokio::spawn(cancel(fixture.store.clone(), job));
    fixture.until_sql(BOTH_WAIT).await?;
    gate.rollback().await?;
    assert!(planning.await??);
    cancelling.await??;

    let view = fixture.until_over(job, JobStatus::Cancelled).await?;
    assert_eq!((view.slices.total, view.slices.queued + view.slices.ready), (30, 0));
    fixture.finish([]).await
}

#[tokio::test]
async fn cancels_race_with_their_starts_through_the_broker() -> Result<()> {
    let names: Vec<String> = (0..16).map(|number| format!("tenant-{number}")).collect();
    let tenants = names.iter().map(|name| TenantOptions::new(name.as_str(), 30));
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let consumers = [fixture.consumer().await?, fixture.consumer().await?];
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let accounts = join_all(names.iter().map(|name| fixture.account(name, json!({})))).await;
    let jobs = try_join_all(accounts.into_iter().map(async |account| {
        let (job, connection) = (JobId::random(), account?.connection);
        let command = Fixture::start_command(connection, job);
        let (started, cancelled) =
            tokio::join!(fixture.publish_start_command(&command), fixture.publish_cancel(job, "a race"));
        started.and(cancelled).map(|()| job)
    }))
    .await?;
    for job in jobs {
        fixture.until_cancelled(job, "a race").await?;
    }
    fixture.finish(consumers).await
}

#[tokio::test]
async fn two_last_settles_at_one_moment_complete_the_job_once() -> Result<()> {
    let two_days = TenantOptions { every: TimeDelta::hours(4), ..TenantOptions::new("acme", 12) };
    let fixture = Fixture::start(Options::new([two_days])).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1 })).await?;
    let mut settings = fixture.settings()?;
    let patient = Duration::from_millis(PATIENT);
    (settings.database.lock_timeout, settings.database.statement_timeout) = (patient, patient);
    let consumers = [fixture.consumer_with(settings.clone()).await?, fixture.consumer_with(settings).await?];
    let job = JobId::random();
    let mut gate = SettleGate::close(&fixture.database, job).await?;
    let mut command = Fixture::start_command(account.connection, job);
    command.date_from = Utc.with_ymd_and_hms(2025, 1, 1, 0, 0, 0).single();
    command.date_to = Utc.with_ymd_and_hms(2025, 1, 3, 0, 0, 0).single();
    fixture.publish_start_command(&command).await?;
    gate.until_held(2).await?;
    gate.open().await?;

    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.slices.done, view.total), (12, 2, Some(12)));
    fixture.exact(account, "acme").await?;
    let events = fixture.store.events().of_job(job).await?;
    assert_eq!(events.iter().filter(|event| event.kind == "completed").count(), 1);
    fixture.finish(consumers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_last_settles_at_one_moment_complete_each_job_once() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    for _ in 0..20 {
        let job = pending(&fixture.store, account, 3).await?;
        let plannable = fixture.store.jobs().plannable(job).await?.context("pending")?;
        fixture.store.jobs().plan(&plannable, &testkit::plan::plan(&plannable, DAYS)?).await?;
        let rings = fixture.store.slices().refill(account.tenant, Duration::from_secs(2)).await?;
        assert_eq!(rings.len(), 3);
        let leases = try_join_all(rings.into_iter().map(async |ring| {
            let request = ClaimRequest {
                ring,
                redelivered: false,
                worker: WorkerId::random(),
                token: LeaseToken::random(),
                lease: LEASE,
                suspicion: Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 },
            };
            let Claim::Claimed(claimed) = fixture.store.slices().claim(&request).await? else {
                anyhow::bail!("not claimed");
            };
            Ok(claimed.0)
        }))
        .await?;
        let settles =
            leases.into_iter().map(|lease| tokio::spawn(settle_and_finish(fixture.store.clone(), lease)));
        let mut finished = 0;
        for settle in settles.collect::<Vec<_>>() {
            finished += i32::from(settle.await??);
        }
        assert_eq!(finished, 1, "somebody finished the job, and nobody else did");
        fixture.until_over(job, JobStatus::Completed).await?;
    }
    fixture.finish([]).await
}

/// What a worker does with a slice's last page.
async fn settle_and_finish(store: Store, lease: Lease) -> Result<bool> {
    let page = Settlement { go_on: true, whole: true, ..Settlement::default() };
    let settled = store.slices().settle(lease, &page, LEASE).await.map_err(|(_, error)| error)?;
    let Settled::SliceDone(_, job) = settled else { anyhow::bail!("not done: {settled:?}") };
    Ok(store.jobs().finish(job).await? == Finished::Completed)
}
