//! The sweeper reaches everything however much there is, leaves alone what is well, and is seen when it fails itself.

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::{Options, TenantOptions};

/// Jobs that are the first in every order that a duty could have.
const LONG: usize = 12;

#[tokio::test]
async fn many_long_jobs_do_not_starve_the_repairs_of_one() -> Result<()> {
    let names: Vec<_> = (0..LONG).map(|number| format!("long-{number}")).collect();
    let tenants =
        names.iter().map(|name| TenantOptions::new(name, 400)).chain([TenantOptions::new("acme", 30)]);
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let mut settings = fixture.unhurried()?;
    settings.pages.budget = Duration::from_secs(240);
    // Every duty sees two rows at a time.
    settings.sweeper.batch = 2;
    settings.pages.slots = 64;
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold();
    for name in &names {
        let account = fixture.account(name, json!({ "slice_days": 1 })).await?;
        let first = Some("2025-01-01T00:00:00Z".parse::<DateTime<Utc>>()?);
        let mut command = Fixture::start_command(account.connection, protocol::ids::JobId::random());
        command.date_from = first;
        command.date_to = first.map(|first| first + TimeDelta::days(3));
        fixture.publish_start_command(&command).await?;
    }
    let all = u64::try_from(LONG)? * 3;
    fixture.upstream.until(|seen| seen.held == all).await;

    // Its start command never comes, then a lease of it is left behind, then a doorbell lost, then the end of a cancel.
    let account = fixture.account("acme", json!({})).await?;
    let job = fixture.accept(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == all + 1).await;
    orphan(&fixture, account).await?;
    fixture.upstream.until(|seen| seen.requests == all + 2).await;
    fixture.publish_cancel(job, "enough").await?;
    fixture.until_over(job, JobStatus::Cancelled).await?;
    let again = fixture.accept(account.connection).await?;
    fixture.upstream.until(|seen| seen.requests == all + 3).await;
    fixture.upstream.release();
    fixture.until_over(again, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.until_sql("select count(*) = 12 from jobs where status = 'completed' and id in (select job_id from slices where slice = 2)").await?;
    fixture.finish([consumer]).await
}

/// The lease of the job's page is somebody's who is not there any more.
async fn orphan(fixture: &Fixture, account: Account) -> Result<()> {
    sqlx::query("update slices set lease_token = gen_random_uuid(), worker = gen_random_uuid(), leased_until = now() where connection_id = $1")
        .bind(account.connection.0)
        .execute(&fixture.database.pool)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_healthy_page_that_uses_its_whole_budget_is_left_alone() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.settings()?;
    // A page may take ten leases, twenty markers and a hundred sweeps, and this one does.
    settings.leases.duration = Duration::from_millis(600);
    settings.leases.renew_every = Duration::from_millis(100);
    settings.sweeper.marker_every = Duration::from_millis(300);
    settings.pages.budget = Duration::from_secs(60);
    let consumers = [fixture.consumer_with(settings.clone()).await?, fixture.consumer_with(settings).await?];
    fixture.upstream.hold_if(|asked| asked.number == 2);
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.until_sql("select now() - last_settled_at > interval '6 s' from slices").await?;
    fixture
        .until_sql(
            "select lease_token is not null and charges = '{}' and attempts = 0 and ring <= 3 from slices",
        )
        .await?;
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, fixture.upstream.seen().requests), (30, 3));
    fixture.finish(consumers).await
}

#[tokio::test]
async fn its_own_failure_is_written_down_and_stops_no_other_duty() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_program()?.start()?;
    consumer.ready().await?;
    fixture
        .database
        .execute(
            "create function fault() returns trigger language plpgsql as $$
             begin raise exception 'on purpose' using errcode = '58000'; end $$;
             create trigger fault before update on markers for each row execute function fault()",
        )
        .await?;
    // A doorbell is out, so that a marker is wanted.
    fixture.upstream.hold();
    let job = fixture.accept(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture
        .database
        .execute(
            "update slices set lease_token = null, leased_ring = null, worker = null, leased_until = null",
        )
        .await?;
    fixture
        .until_sql("select error like '%on purpose%' and succeeded_at is distinct from ran_at from sweeps where duty = 'markers'")
        .await?;
    let (_, metrics) = consumer.get("/metrics").await?;
    let of_markers = |line: &&str| {
        line.starts_with("sweeper_failures_total{")
            && line.contains("duty=\"markers\"")
            && !line.ends_with(" 0")
    };
    assert!(metrics.lines().any(|line| of_markers(&line)), "{metrics}");
    // The duties before and after it succeed all the same.
    fixture
        .until_sql("select count(*) = 2 from sweeps where duty in ('cancels', 'events') and error is null and succeeded_at = ran_at")
        .await?;
    fixture.database.execute("drop trigger fault on markers").await?;
    fixture.until_sql("select error is null from sweeps where duty = 'markers'").await?;
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await.context("after the cure")?;
    assert_eq!(view.counters.inserted, 30);
    drop(consumer);
    fixture.finish([]).await
}
