//! Pages that can never be settled, of a connection that wants them skipped: they are left out and written down, and all
//! the rest is exact. What concerns the whole connection is never skipped.

use anyhow::{Context, Result, bail};
use engine::explain::explain;
use futures::TryStreamExt;
use protocol::ids::{JobId, LeaseToken, WorkerId};
use protocol::job::JobStatus;
use protocol::poison::PoisonPolicy;
use protocol::retry::RetryPolicy;
use protocol::walk::Walk;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use store::jobs::{JobView, ResumeOutcome};
use store::slices::{Claim, ClaimRequest, Skip, SkipRight, Skipped, Suspicion};
use testkit::fixture::{Account, Fixture};
use testkit::plan::plan;
use testkit::sample_upstream::{Answer, Asked, Options, TenantOptions};

/// Calls a day, two pages of them.
const DAY: u64 = 144;

/// Three days, a slice each, of a connection that skips.
async fn three_days() -> Result<(Fixture, Account)> {
    let fixture = Fixture::with_calls(3 * DAY).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1, "page_size": 100 })).await?;
    assert!(skips(&fixture, account).await?);
    Ok((fixture, account))
}

async fn skips(fixture: &Fixture, account: Account) -> Result<bool> {
    Ok(fixture
        .store
        .slices()
        .set_poison_policy(account.tenant, account.connection, PoisonPolicy::Skip)
        .await?)
}

async fn start(fixture: &Fixture, account: Account) -> Result<JobId> {
    let job = JobId::random();
    let mut command = Fixture::start_command(account.connection, job);
    command.date_from = Some("2025-01-01T00:00:00Z".parse()?);
    command.date_to = Some("2025-01-04T00:00:00Z".parse()?);
    fixture.publish_start_command(&command).await?;
    Ok(job)
}

/// The first page of the second day.
fn is_bad(asked: &Asked) -> bool {
    asked.is_first_page() && asked.parameter("fromDate").is_some_and(|from| from.starts_with("2025-01-02"))
}

/// Exactly the calls of the first and the third day are stored, and the page between them is written down for this cause.
async fn all_but_the_second_day(
    fixture: &Fixture,
    account: Account,
    job: JobId,
    cause: &str,
) -> Result<JobView> {
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    let counters = &view.counters;
    assert_eq!((counters.inserted, counters.processed(), view.total), (288, 288, Some(288)), "{view:#?}");
    assert_eq!((view.pages_settled, view.pages_skipped), (5, 1));
    let stored: BTreeSet<String> = fixture
        .store
        .connections()
        .record_hashes(account.connection)
        .map_ok(|record| record.external_id)
        .try_collect()
        .await?;
    let expected = (0..DAY).chain(2 * DAY..3 * DAY).map(|ordinal| fixture.upstream.id("acme", ordinal));
    assert_eq!(stored, expected.collect());
    let skipped: Vec<(i32, i32, Value)> =
        sqlx::query_as("select slice, page, skipped from page_log where skipped is not null and job_id = $1")
            .bind(job.0)
            .fetch_all(&fixture.database.pool)
            .await?;
    let [(1, 0, why)] = skipped.as_slice() else { bail!("{skipped:?}") };
    assert!(why["cause"].as_str().is_some_and(|why| why.contains(cause)), "{why}");

    let situation = fixture.store.jobs().situation(job, None).await?.context("the job")?;
    let reasons = explain(&situation);
    let said = reasons.iter().find(|reason| reason.code == "pages_skipped").context("it is said")?;
    assert!(said.text.contains("page 0 of slice 1") && said.text.contains(cause), "{}", said.text);
    assert_eq!((reasons[0].code, said.slice), ("completed", Some(1)));
    assert_eq!(fixture.store.slices().pages_skipped(job).await?, 1);
    fixture.until_sql("select count(known_to) = 0 from streams").await?;
    Ok(view)
}

#[tokio::test]
async fn a_page_that_kills_its_workers() -> Result<()> {
    let (fixture, account) = three_days().await?;
    fixture.upstream.hold_if(is_bad);
    let program = || fixture.consumer_program()?.env("BACKHAUL__PAGES__BUDGET_MS", "120000").start();
    let mut doomed = program()?;
    doomed.ready().await?;
    let job = start(&fixture, account).await?;
    // Pages that are in flight at a death are charged too.
    fixture.until(job, |view| view.slices.done == 2).await?;
    for death in 1..=5 {
        fixture.upstream.until(|seen| seen.held == 1).await;
        let next = program()?;
        doomed.kill().await?;
        let left = || fixture.upstream.disconnects().iter().filter(|left| is_bad(&left.asked)).count();
        fixture.upstream.until(|_| left() == death).await;
        doomed = next;
        doomed.ready().await?;
    }
    all_but_the_second_day(&fixture, account, job, "5 workers died or panicked while they held this page")
        .await?;
    doomed.terminate()?;
    assert!(doomed.exit().await?.success());
    fixture.finish([]).await
}

#[tokio::test]
async fn a_page_that_cannot_be_read_and_is_later() -> Result<()> {
    let (fixture, account) = three_days().await?;
    let consumer = fixture.consumer().await?;
    fixture.upstream.script_times(is_bad, Answer::json("{"), u64::MAX);
    let job = start(&fixture, account).await?;
    all_but_the_second_day(&fixture, account, job, "unreadable body (content type application/json)").await?;
    let kept: String =
        sqlx::query_scalar("select skipped ->> 'body' from page_log where skipped is not null")
            .fetch_one(&fixture.database.pool)
            .await?;
    assert!(kept == "{", "{kept}");

    // Once it is mended, the next job finds what was left out.
    fixture.upstream.clear_scripts();
    let job = start(&fixture, account).await?;
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.pages_skipped), (144, 0));
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_page_that_fails_again_and_again_while_others_do_not() -> Result<()> {
    let (fixture, account) = three_days().await?;
    let mut settings = fixture.settings()?;
    settings.pages.max_attempts = 20;
    settings.pages.give_up_after = Duration::from_secs(3600);
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.script_times(is_bad, Answer::status(500), u64::MAX);
    fixture.upstream.hold_if(|asked| !is_bad(asked));
    let job = start(&fixture, account).await?;
    fixture.until_sql("select exists (select from slices where slice = 1 and attempts > 0)").await?;
    fixture.upstream.release();
    all_but_the_second_day(&fixture, account, job, "Internal Server Error (attempt 20 of 20)").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn what_concerns_the_connection_fails_the_job_all_the_same() -> Result<()> {
    let failing = [
        ("key", Answer::status(401), "401", 1),
        ("forbidden", Answer::status(403), "403", 1),
        // The cursor may have died: the walk begins anew, once.
        ("gone", Answer::status(404), "404", 2),
        ("down", Answer::status(500), "(attempt 3, failing since 20", 1),
        ("cut", Answer::Truncate, "(attempt 3, failing since 20", 1),
    ];
    let names = failing.each_ref().map(|(name, ..)| *name);
    let fixture = Fixture::start(Options::new(
        names.into_iter().chain(["busy"]).map(|name| TenantOptions::new(name, 30)),
    ))
    .await?;
    let mut settings = fixture.settings()?;
    settings.pages.max_attempts = 3;
    settings.pages.retry = RetryPolicy::new(Duration::from_millis(10), Duration::from_millis(20));
    let consumer = fixture.consumer_with(settings).await?;
    let mut jobs = Vec::new();
    for (name, answer, cause, pages) in failing {
        fixture.upstream.script_times(
            move |asked| asked.tenant == name && !asked.is_first_page(),
            answer,
            u64::MAX,
        );
        let account = fixture.account(name, json!({})).await?;
        assert!(skips(&fixture, account).await?);
        jobs.push((name, cause, pages, fixture.publish_start(account.connection).await?));
    }
    fixture.upstream.script(|asked| asked.tenant == "busy", Answer::retry_after(429, "1"));
    let busy = fixture.account("busy", json!({})).await?;
    assert!(skips(&fixture, busy).await?);
    let patient = fixture.publish_start(busy.connection).await?;

    for (name, cause, pages, job) in jobs {
        let view = fixture.until_over(job, JobStatus::Failed).await.with_context(|| name.to_owned())?;
        let error = view.error.context("why")?;
        assert!(error.cause.contains(cause), "{name}: {error}");
        assert_eq!((view.pages_settled, view.pages_skipped), (pages, 0), "{name}");
    }
    let view = fixture.until_over(patient, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.pages_skipped), (30, 0), "a limit is waited for");
    fixture.finish([consumer]).await
}

/// A page that was read and cannot be stored: what follows it is known, so the slice goes on.
#[tokio::test]
async fn a_page_that_cannot_be_stored_is_one_page() -> Result<()> {
    let fixture = Fixture::with_calls(60).await?;
    let account = fixture.account("acme", json!({})).await?;
    assert!(skips(&fixture, account).await?);
    let refuse = "create function fault() returns trigger language plpgsql as $$
                  begin raise exception 'on purpose' using errcode = '22023'; end $$;
                  create trigger fault before insert on page_log for each row
                    when (new.slice = 0 and new.page = 2 and new.skipped is null) execute function fault()";
    fixture.database.execute(refuse).await?;
    let consumer = fixture.consumer().await?;
    let job = fixture.publish_start(account.connection).await?;
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.pages_settled, view.pages_skipped), (50, 6, 1));
    fixture
        .until_sql(
            "select count(*) = 1 from page_log where page = 2 and skipped ->> 'cause' like '%on purpose%'",
        )
        .await?;
    assert_eq!(fixture.upstream.seen().requests, 6);
    fixture.finish([consumer]).await
}

/// What was skipped is carried like what was counted.
#[tokio::test]
async fn a_resumed_job_remembers_what_was_skipped_before() -> Result<()> {
    let (fixture, account) = three_days().await?;
    let consumer = fixture.consumer().await?;
    fixture.upstream.script_times(is_bad, Answer::json("{"), u64::MAX);
    fixture.upstream.hold_if(|asked| !is_bad(asked));
    let job = start(&fixture, account).await?;
    fixture.until(job, |view| view.pages_skipped == 1 && view.slices.leased == 2).await?;
    fixture.publish_cancel(job, "enough").await?;
    fixture.until_cancelled(job, "enough").await?;
    let ResumeOutcome::Accepted { job: next, .. } =
        fixture.store.jobs().resume(job, None, None, |_| None).await?
    else {
        bail!("not resumed")
    };
    fixture.upstream.release();
    let view = fixture.until_over(next, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.pages_skipped, view.pages_settled), (288, 1, 5));
    let reasons = explain(&fixture.store.jobs().situation(next, None).await?.context("the job")?);
    assert!(reasons.iter().any(|reason| reason.text.contains("by the job that it resumes")), "{reasons:?}");
    fixture.until_sql("select count(known_to) = 0 from streams").await?;
    fixture.finish([consumer]).await
}

/// A skip has the conditions of a settle, and the connection's word besides.
#[tokio::test]
async fn a_skip_is_fenced() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let store = &fixture.store;
    let job = fixture.accept(account.connection).await?;
    let plannable = store.jobs().plannable(job).await?.context("pending")?;
    assert!(store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
    let ring =
        store.slices().refill(account.tenant, Duration::ZERO).await?.pop().context("a slice is rung")?;
    let suspicion = Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 };
    let (worker, lease) = (WorkerId::random(), Duration::from_secs(60));
    let request = |ring, redelivered| ClaimRequest {
        ring,
        redelivered,
        worker,
        token: LeaseToken::random(),
        lease,
        suspicion,
    };
    let Claim::Claimed(first) = store.slices().claim(&request(ring, false)).await? else {
        bail!("not claimed")
    };
    let skip = |right, next| Skip {
        right,
        cause: "it is bad",
        body: None,
        next,
        anchor: None,
        walk: Walk::default(),
    };

    assert_eq!(
        store.slices().skip(&skip(SkipRight::Unusable(&first.0), None)).await?,
        Skipped::Refused,
        "not wanted"
    );
    assert!(skips(&fixture, account).await?);
    assert_eq!(
        store.slices().skip(&skip(SkipRight::Exhausted(&first.0), None)).await?,
        Skipped::Refused,
        "no witness"
    );
    let deaths = SkipRight::Deaths { ring, at_least: 5, worker };
    assert_eq!(store.slices().skip(&skip(deaths, None)).await?, Skipped::Refused, "nobody died");
    let Skipped::Ring(next) = store.slices().skip(&skip(SkipRight::Unusable(&first.0), Some("c"))).await?
    else {
        bail!("not skipped")
    };
    assert_eq!((next.page, next.ring), (1, ring.ring + 1));
    assert_eq!(
        store.slices().skip(&skip(SkipRight::Unusable(&first.0), None)).await?,
        Skipped::Refused,
        "once"
    );

    let Claim::Claimed(second) = store.slices().claim(&request(next, false)).await? else {
        bail!("not claimed")
    };
    assert_eq!((second.0.page(), second.1.cursor.as_deref()), (1, Some("c")));
    fixture.store.jobs().pause(job, None, None).await?;
    assert_eq!(store.slices().skip(&skip(SkipRight::Unusable(&second.0), Some("d"))).await?, Skipped::Queued);
    fixture.store.jobs().unpause(job, None, None).await?;
    let ring =
        store.slices().refill(account.tenant, Duration::ZERO).await?.pop().context("a slice is rung")?;
    let Claim::Claimed(third) = store.slices().claim(&request(ring, true)).await? else {
        bail!("not claimed")
    };
    fixture.publish_cancel(job, "enough").await?;
    let consumer = fixture.consumer().await?;
    fixture.until(job, |view| view.status == JobStatus::Cancelling).await?;
    assert_eq!(
        store.slices().skip(&skip(SkipRight::Unusable(&third.0), None)).await?,
        Skipped::Refused,
        "cancelled"
    );
    assert!(store.slices().release(&third.0).await?);
    let view = fixture.until_cancelled(job, "enough").await?;
    assert_eq!((view.pages_settled, view.pages_skipped), (2, 2));
    fixture.finish([consumer]).await
}
