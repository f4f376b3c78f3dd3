//! An upstream that is overloaded or broken for a while, or for good: pauses that it asks for, errors that pass, errors
//! that do not.

use anyhow::{Context, Result};
use chrono::{TimeDelta, Utc};
use configuration::Settings;
use protocol::job::JobError;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use store::jobs::JobView;
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Answer, Options, TenantOptions};

/// Three pages each.
const CALLS: u64 = 30;

async fn fixture_of(names: &[&str]) -> Result<Fixture> {
    Fixture::start(Options::new(names.iter().map(|name| TenantOptions::new(*name, CALLS)))).await
}

/// Answers a tenant's second page like this, so many times.
fn second_page(fixture: &Fixture, tenant: &'static str, answer: Answer, times: u64) {
    let second = move |asked: &testkit::sample_upstream::Asked| {
        asked.tenant == tenant && (asked.repeats > 0 || !asked.is_first_page())
    };
    fixture.upstream.script_times(second, answer, times);
}

/// How often each page of a tenant was asked for, in rising order.
fn asked_for(fixture: &Fixture, tenant: &str) -> Vec<u64> {
    let fetches = fixture.upstream.fetches().into_iter();
    let prefix = format!("{tenant} ");
    let mut times: Vec<_> =
        fetches.filter(|(page, _)| page.starts_with(&prefix)).map(|(_, times)| times).collect();
    times.sort_unstable();
    times
}

async fn completed_exactly(fixture: &Fixture, name: &str, job: protocol::ids::JobId) -> Result<JobView> {
    let view = fixture.until_over(job, JobStatus::Completed).await.with_context(|| name.to_owned())?;
    assert_eq!((view.counters.inserted, view.counters.processed(), view.total), (30, 30, Some(30)), "{name}");
    Ok(view)
}

/// A counted attempt would fail the job.
fn no_attempt_to_lose(fixture: &Fixture) -> Result<Settings> {
    let mut settings = fixture.settings()?;
    settings.pages.max_attempts = 1;
    settings.pages.budget = Duration::from_secs(300);
    Ok(settings)
}

#[tokio::test]
async fn a_429_pauses_the_connection_for_the_whole_fleet_and_costs_no_attempt() -> Result<()> {
    let in_two_seconds = (Utc::now() + TimeDelta::seconds(2)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    // Each with the least pause in milliseconds that it must lead to. What is not readable counts as not said.
    let refusals = [
        ("seconds", Answer::retry_after(429, "2"), 2000),
        ("zero", Answer::retry_after(429, "0"), 1000),
        ("date", Answer::retry_after(429, &in_two_seconds), 1000),
        ("past", Answer::retry_after(429, "Wed, 21 Oct 2015 07:28:00 GMT"), 1000),
        ("nothing", Answer::status(429), 1000),
        ("words", Answer::retry_after(429, "soon"), 1000),
        ("negative", Answer::retry_after(429, "-5"), 1000),
        ("unavailable", Answer::retry_after(503, "1"), 1000),
    ];
    let fixture = fixture_of(&refusals.each_ref().map(|(name, ..)| *name)).await?;
    let consumers = [
        fixture.consumer_with(no_attempt_to_lose(&fixture)?).await?,
        fixture.consumer_with(no_attempt_to_lose(&fixture)?).await?,
    ];
    let mut jobs = Vec::new();
    for (name, answer, least_ms) in refusals {
        second_page(&fixture, name, answer, 1);
        let account = fixture.account(name, json!({})).await?;
        jobs.push((name, account, least_ms, fixture.publish_start(account.connection).await?));
    }
    for (name, account, least_ms, job) in jobs {
        completed_exactly(&fixture, name, job).await?;
        fixture.exact(account, name).await?;
        assert_eq!(asked_for(&fixture, name), [1, 1, 2], "{name}: nobody asked during the pause");
        let sql = "select c.paused_until >= first.settled_at + $2 * interval '1 ms'
                          and c.paused_until < first.settled_at + interval '30 s' and second.settled_at >= c.paused_until
                     from page_log first join page_log second using (job_id, slice)
                     join jobs j on j.id = first.job_id join connections c on c.id = j.connection_id
                    where j.id = $1 and first.page = 0 and second.page = 1";
        let kept: bool = sqlx::query_scalar(sql)
            .bind(job.0)
            .bind(f64::from(least_ms))
            .fetch_one(&fixture.database.pool)
            .await?;
        assert!(kept, "{name}: the pause was not as long as asked for, or not kept");
    }
    fixture.finish(consumers).await
}

#[tokio::test]
async fn pauses_that_are_not_asked_for_grow_and_absurd_ones_are_a_day() -> Result<()> {
    let fixture = fixture_of(&["growing", "digits", "date"]).await?;
    let consumer = fixture.consumer_with(no_attempt_to_lose(&fixture)?).await?;
    second_page(&fixture, "growing", Answer::status(429), 2);
    second_page(&fixture, "digits", Answer::retry_after(429, "99999999999999999999999999"), 1);
    second_page(&fixture, "date", Answer::retry_after(429, "Fri, 31 Dec 9999 23:59:59 GMT"), 1);
    let mut jobs = Vec::new();
    for name in ["growing", "digits", "date"] {
        let account = fixture.account(name, json!({})).await?;
        jobs.push((name, fixture.publish_start(account.connection).await?));
    }

    fixture
        .until_sql(
            "select count(*) = 2 from connections c join slices s on s.connection_id = c.id
              where c.name in ('digits', 'date')
                and c.paused_until between now() + interval '1 hour' and now() + interval '24 hours'
                and s.status = 'queued' and s.lease_token is null and s.attempts = 0",
        )
        .await?;
    for (name, job) in &jobs[1..] {
        let view = fixture.store.jobs().get(*job, None).await?.context("the job")?;
        assert_eq!(
            (view.status, view.counters.inserted),
            (JobStatus::Running, 10),
            "{name} waits, and has not failed"
        );
    }
    // An hour later.
    fixture
        .database
        .execute(
            "update connections set paused_until = now() - interval '1 s' where paused_until > now() + interval '1 minute'",
        )
        .await?;
    for (name, job) in jobs {
        completed_exactly(&fixture, name, job).await?;
    }
    let grown = "select c.pause_streak = 1 and c.paused_until >= p.settled_at + interval '3 s'
                   from connections c join jobs j on j.connection_id = c.id
                   join page_log p on p.job_id = j.id and p.page = 0 where c.name = 'growing'";
    fixture.until_sql(grown).await?;
    assert_eq!(asked_for(&fixture, "growing"), [1, 1, 3]);
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn errors_that_pass_cost_time_and_nothing_else() -> Result<()> {
    let passing = [
        ("broken", vec![500, 502, 503, 504].into_iter().map(Answer::status).collect()),
        ("timeout", vec![Answer::status(408), Answer::status(425)]),
        ("cut", vec![Answer::Truncate; 2]),
        ("silent", vec![Answer::Hang]),
        ("half", vec![Answer::Stall]),
        ("endless", vec![Answer::Endless]),
    ];
    let fixture = fixture_of(&passing.each_ref().map(|(name, _)| *name)).await?;
    let mut settings = fixture.settings()?;
    settings.pages.budget = Duration::from_millis(1500);
    let consumer = fixture.consumer_with(settings).await?;
    let mut jobs = Vec::new();
    for (name, answers) in passing {
        let errors = u64::try_from(answers.len())?;
        for answer in answers {
            second_page(&fixture, name, answer, 1);
        }
        let account = fixture.account(name, json!({})).await?;
        jobs.push((name, account, errors, fixture.publish_start(account.connection).await?));
    }
    for (name, account, errors, job) in jobs {
        let view = completed_exactly(&fixture, name, job).await?;
        fixture.exact(account, name).await?;
        assert!(view.error.is_none(), "{name}");
        // More often only if this machine took longer than the budget for a sound answer.
        assert!(asked_for(&fixture, name).last() > Some(&errors), "{name}");
    }
    fixture.until_sql("select bool_and(attempts = 0 and last_error is null) from slices").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn errors_that_do_not_pass_fail_the_job_and_say_why() -> Result<()> {
    let long = Answer::Respond { status: 500, headers: Vec::new(), body: "é".repeat(4000).into_bytes() };
    let lasting = [
        (
            "broken",
            Answer::status(500),
            "the upstream answered 500",
            Some("the upstream says 500".to_owned()),
        ),
        ("long", long, "the upstream answered 500", Some("é".repeat(512))),
        ("cut", Answer::Truncate, "the answer's body broke off", None),
        ("endless", Answer::Endless, "no complete answer within 1.5s", None),
    ];
    let fixture = fixture_of(&lasting.each_ref().map(|(name, ..)| *name)).await?;
    let mut settings = fixture.settings()?;
    settings.pages.budget = Duration::from_millis(1500);
    settings.pages.max_attempts = 3;
    let consumer = fixture.consumer_with(settings).await?;
    let mut jobs = Vec::new();
    for (name, answer, cause, body) in lasting {
        second_page(&fixture, name, answer, u64::MAX);
        let account = fixture.account(name, json!({})).await?;
        jobs.push((name, cause, body, fixture.publish_start(account.connection).await?));
    }
    for (name, cause, body, job) in jobs {
        let view = fixture.until_over(job, JobStatus::Failed).await?;
        let error: JobError = view.error.context("an error")?;
        assert!(
            error.cause.starts_with(cause) && error.cause.contains("(attempt 3, failing since 20"),
            "{name}: {}",
            error.cause
        );
        assert_eq!((error.slice, error.page, error.body), (Some(0), Some(1), body), "{name}");
        assert_eq!((view.counters.inserted, view.pages_settled), (10, 1), "{name}: what was settled stays");
        assert_eq!(asked_for(&fixture, name).last(), Some(&3), "{name}");
    }
    fixture.finish([consumer]).await
}
