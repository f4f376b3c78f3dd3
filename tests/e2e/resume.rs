//! A failed or cancelled job is gone on with by a new one: from its checkpoints, with its counters, and once.

use anyhow::{Context, Result, bail};
use chrono::{TimeDelta, TimeZone, Utc};
use engine::{Engine, EngineError};
use protocol::command::StartCommand;
use protocol::ids::{JobId, LeaseToken, WorkerId};
use protocol::job::{JobMode, JobStatus};
use serde_json::json;
use std::time::Duration;
use store::jobs::{CancelRequest, CancelTarget, ResumeOutcome};
use store::slices::{Claim, ClaimRequest, Settled, Settlement, Suspicion};
use testkit::fixture::{Account, Fixture};
use testkit::plan::plan;
use testkit::sample_upstream::{Answer, Options, TenantOptions};

const REASON: &str = "not today";
const LEASE: Duration = Duration::from_secs(60);

fn engine(fixture: &Fixture) -> Engine {
    Engine::new(fixture.store.clone(), fixture.publisher.clone())
}

async fn resume(fixture: &Fixture, account: Account, job: JobId) -> Result<JobId> {
    let view = engine(fixture).resume(account.tenant, job, "test").await?;
    assert_eq!((view.status, view.resumed_from), (JobStatus::Pending, Some(job)));
    Ok(view.id)
}

async fn cancel(fixture: &Fixture, job: JobId) -> Result<()> {
    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: Some(REASON.to_owned()),
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    fixture.store.jobs().cancel(&request).await?;
    Ok(())
}

/// How often pages were asked for, most often first.
fn asked(fixture: &Fixture) -> Vec<u64> {
    let mut times: Vec<_> = fixture.upstream.fetches().into_values().collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    times
}

#[tokio::test]
async fn exactly_the_rest_is_imported() -> Result<()> {
    let days = TenantOptions { every: TimeDelta::hours(2), ..TenantOptions::new("acme", 48) };
    let fixture = Fixture::start(Options::new([days])).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1, "page_size": 5 })).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    // The first day is walked to its end, the others to their second page.
    let first_day = |asked: &testkit::sample_upstream::Asked| {
        asked.parameter("fromDate").is_some_and(|from| from.starts_with("2025-01-01"))
    };
    fixture.upstream.hold_if(move |asked| !first_day(asked) && !asked.is_first_page());
    let job = JobId::random();
    let from = Utc.with_ymd_and_hms(2025, 1, 1, 0, 0, 0).single();
    let mut command = Fixture::start_command(account.connection, job);
    (command.date_from, command.date_to) = (from, from.map(|from| from + TimeDelta::days(4)));
    command.name = Some("new year".to_owned());
    fixture.publish_start_command(&command).await?;
    fixture.until(job, |view| view.slices.done == 1).await?;
    fixture.upstream.until(|seen| seen.held == 3).await;
    fixture.publish_cancel(job, REASON).await?;
    let before = fixture.until_cancelled(job, REASON).await?;
    fixture.upstream.release();

    let view = engine(&fixture).resume(account.tenant, job, "test").await?;
    assert_eq!((view.counters, view.pages_settled), (before.counters, before.pages_settled), "at once");
    assert_eq!(
        (view.name.as_deref(), view.date_from, view.date_to),
        (Some("new year"), before.date_from, before.date_to)
    );
    assert_eq!((view.slices.done, view.slices.queued, view.carried), (1, 3, before.counters.processed()));
    let view = fixture.until_over(view.id, JobStatus::Completed).await?;
    let times = asked(&fixture);
    assert_eq!(
        times.iter().filter(|times| **times == 2).count(),
        3,
        "the pages in flight, and no other: {times:?}"
    );
    assert!(times.iter().all(|times| *times <= 2));
    assert_eq!(view.pages_settled, i64::try_from(times.len())?, "each page is settled once");
    assert_eq!((view.counters.inserted, view.counters.processed(), view.total), (48, 48, Some(48)));
    assert_eq!(view.percent(), Some(100));
    // The old job is what it was.
    let after = fixture.store.jobs().get(job, None).await?.context("the job")?;
    assert_eq!((after.status, after.counters), (JobStatus::Cancelled, before.counters));
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn the_first_page_after_a_resume_fails() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let first = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.publish_cancel(first, REASON).await?;
    fixture.until_cancelled(first, REASON).await?;
    fixture.upstream.release();

    fixture.upstream.script(|_asked| true, Answer::status(403));
    let second = resume(&fixture, account, first).await?;
    let view = fixture.until_over(second, JobStatus::Failed).await?;
    assert_eq!((view.counters.inserted, view.pages_settled), (10, 1), "the checkpoint stays");
    assert_eq!(view.error.context("an error")?.page, Some(0), "pages are numbered anew");

    // The first job has been resumed; the second goes on in its place.
    let again = engine(&fixture).resume(account.tenant, first, "test").await;
    assert!(matches!(again, Err(EngineError::ResumedBefore { successor, .. }) if successor == second));
    let third = resume(&fixture, account, second).await?;
    let view = fixture.until_over(third, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.counters.processed(), view.pages_settled), (25, 25, 3));
    assert_eq!(asked(&fixture), [3, 1, 1], "nothing before the checkpoint is fetched again");
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_chain_of_resumed_jobs_counts_each_page_once() -> Result<()> {
    let fixture = Fixture::with_calls(45).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold();
    let mut job = fixture.publish_start(account.connection).await?;
    for (round, requests) in [(1, 1), (2, 3), (3, 5)] {
        fixture.upstream.until(|seen| seen.requests == requests && seen.held == 1).await;
        fixture.upstream.let_through(1);
        fixture.upstream.until(|seen| seen.requests == requests + 1 && seen.held == 1).await;
        fixture.publish_cancel(job, REASON).await?;
        let view = fixture.until_cancelled(job, REASON).await?;
        assert_eq!((view.pages_settled, view.counters.inserted), (round, round * 10));
        fixture.upstream.until(|seen| seen.held == 0).await;
        job = resume(&fixture, account, job).await?;
    }
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.pages_settled, view.carried), (45, 5, 30));
    assert_eq!(asked(&fixture), [2, 2, 2, 1, 1]);
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_resumed_job_that_is_cancelled_before_it_begins_is_a_checkpoint_too() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.unhurried()?;
    settings.sweeper.start_grace = Duration::from_secs(300);
    let consumer = fixture.consumer_with(settings.clone()).await?;
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let first = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.publish_cancel(first, REASON).await?;
    fixture.until_cancelled(first, REASON).await?;
    fixture.upstream.release();
    consumer.stop().await?;

    let second = resume(&fixture, account, first).await?;
    cancel(&fixture, second).await?;
    let view = fixture.until_cancelled(second, REASON).await?;
    assert_eq!((view.counters.inserted, view.pages_settled, view.started_at), (10, 1, None));
    let third = resume(&fixture, account, second).await?;
    let consumer = fixture.consumer_with(settings).await?;
    let view = fixture.until_over(third, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.pages_settled), (25, 3));
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn nothing_done_and_all_done_are_checkpoints() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    // Cancelled before it was planned.
    let unplanned = fixture.accept(account.connection).await?;
    cancel(&fixture, unplanned).await?;
    // Cancelled after its last page, before it was finished.
    let done = fixture.accept(account.connection).await?;
    let plannable = fixture.store.jobs().plannable(done).await?.context("pending")?;
    assert!(fixture.store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
    let ring =
        fixture.store.slices().refill(account.tenant, LEASE).await?.pop().context("a slice is rung")?;
    let (worker, token) = (WorkerId::random(), LeaseToken::random());
    let suspicion = Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 };
    let claim = ClaimRequest { ring, redelivered: false, worker, token, lease: LEASE, suspicion };
    let Claim::Claimed(claimed) = fixture.store.slices().claim(&claim).await? else { bail!("not claimed") };
    let page = Settlement { go_on: false, whole: true, ..Settlement::default() };
    let settled = fixture.store.slices().settle(claimed.0, &page, LEASE).await.map_err(|(_, error)| error)?;
    assert!(matches!(settled, Settled::SliceDone(..)), "{settled:?}");
    cancel(&fixture, done).await?;

    let resumed = resume(&fixture, account, done).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let view = fixture.until_over(resumed, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.slices.done, fixture.upstream.seen().requests), (1, 1, 0));
    let resumed = resume(&fixture, account, unplanned).await?;
    let view = fixture.until_over(resumed, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.carried), (25, 0));
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_resumes_and_starts_wins() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut ended = fixture.accept(account.connection).await?;
    let engine = engine(&fixture);
    let running = engine.resume(account.tenant, ended, "test").await;
    assert!(matches!(running, Err(EngineError::NotResumable { status: JobStatus::Pending, .. })));
    for _ in 0..10 {
        cancel(&fixture, ended).await?;
        let resumes = (0..4).map(|_| fixture.store.jobs().resume(ended, None, None, |_| None));
        let outcomes = futures::future::try_join_all(resumes).await?;
        let accepted: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| {
                let ResumeOutcome::Accepted { job, .. } = outcome else { return None };
                Some(*job)
            })
            .collect();
        let [winner] = accepted[..] else { bail!("{outcomes:?}") };
        let refused = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, ResumeOutcome::Active { active, .. } if *active == winner));
        assert_eq!(refused.count(), 3, "{outcomes:?}");
        let started = fixture.accept(account.connection).await;
        assert!(started.is_err(), "a start meets the resumed job");
        ended = winner;
    }
    cancel(&fixture, ended).await?;
    let other = fixture.store.tenants().create("other", 16).await?.id;
    assert_eq!(
        fixture.store.jobs().resume(ended, Some(other), None, |_| None).await?,
        ResumeOutcome::Unknown
    );
    let active = fixture.accept(account.connection).await?;
    let refused = fixture.store.jobs().resume(ended, None, None, |_| None).await?;
    assert_eq!(refused, ResumeOutcome::Active { connection: account.connection, active });
    fixture.finish([]).await
}

#[tokio::test]
async fn a_resumed_incremental_job_knows_what_the_one_before_has_seen() -> Result<()> {
    let days = TenantOptions { every: TimeDelta::hours(2), ..TenantOptions::new("acme", 48) };
    let fixture = Fixture::start(Options::new([days])).await?;
    let account = fixture.account("acme", json!({ "overlap_hours": 1 })).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let created = |ordinal| fixture.upstream.created("acme", ordinal).context("the call is there");
    let incremental =
        |job| StartCommand { mode: JobMode::Incremental, ..Fixture::start_command(account.connection, job) };
    // Newest first: the first page has a call that is still running, and the newest one.
    fixture.upstream.set_running("acme", 41, true);
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let first = JobId::random();
    fixture.publish_start_command(&incremental(first)).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.publish_cancel(first, REASON).await?;
    fixture.until_cancelled(first, REASON).await?;
    fixture.upstream.release();
    let second = resume(&fixture, account, first).await?;
    let view = fixture.until_over(second, JobStatus::Completed).await?;
    assert_eq!((view.mode, view.counters.inserted, view.counters.deferred), (JobMode::Incremental, 47, 1));

    // The newest call was on the page that the second job did not fetch again. The deferred one is asked for by its id.
    let third = JobId::random();
    fixture.publish_start_command(&incremental(third)).await?;
    let view = fixture.until_over(third, JobStatus::Completed).await?;
    assert_eq!(view.date_from, Some(created(47)? - TimeDelta::hours(1)));
    assert_eq!(view.counters.deferred, 1);

    // What is completed meanwhile does not move the begin of a job that was cut already.
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    fixture.database.execute("update connections set settings = settings || '{\"page_size\": 2}'").await?;
    let fourth = JobId::random();
    fixture.publish_start_command(&incremental(fourth)).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.publish_cancel(fourth, REASON).await?;
    let cut = fixture.until_cancelled(fourth, REASON).await?;
    fixture.upstream.release();
    fixture.upstream.set_running("acme", 41, false);
    let fifth = JobId::random();
    fixture.publish_start_command(&incremental(fifth)).await?;
    fixture.until_over(fifth, JobStatus::Completed).await?;
    let resumed = resume(&fixture, account, fourth).await?;
    assert_eq!(fixture.until_over(resumed, JobStatus::Completed).await?.date_from, cut.date_from);
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}
