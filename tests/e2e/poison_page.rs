//! A page that kills every process that works on it: after five deaths its job fails, in those words, and the other jobs of
//! the fleet go on. A process holds one suspect at a time, so that its death tells which page is to blame.

use anyhow::{Context, Result};
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::plan::plan;
use testkit::sample_upstream::{Options, TenantOptions};

#[tokio::test]
async fn fails_its_job_and_no_other() -> Result<()> {
    let fixture =
        Fixture::start(Options::new([TenantOptions::new("poison", 30), TenantOptions::new("good", 400)]))
            .await?;
    fixture.upstream.behave(|behaviour| behaviour.delay = Duration::from_millis(50));
    fixture.upstream.hold_if(|asked| asked.tenant == "poison");
    let poison = fixture.account("poison", json!({})).await?;
    let good = fixture.account("good", json!({})).await?;

    let program = || fixture.consumer_program()?.env("BACKHAUL__PAGES__BUDGET_MS", "120000").start();
    let mut doomed = program()?;
    doomed.ready().await?;
    let poisoned = fixture.publish_start(poison.connection).await?;
    let job = fixture.publish_start(good.connection).await?;
    for death in 1..=5 {
        fixture.upstream.until(|seen| seen.held == 1).await;
        let next = program()?;
        doomed.kill().await?;
        let left =
            || fixture.upstream.disconnects().iter().filter(|left| left.asked.tenant == "poison").count();
        fixture.upstream.until(|_| left() == death).await;
        doomed = next;
        doomed.ready().await?;
    }
    let view = fixture.until_over(poisoned, JobStatus::Failed).await?;
    let error = view.error.context("why it failed")?;
    let cause = &error.cause;
    assert!(cause.contains("5 workers died or panicked while they held this page"), "{cause}");
    assert_eq!((error.slice, error.page), (Some(0), Some(0)));
    let of_poison = fixture
        .upstream
        .fetches()
        .iter()
        .filter(|(page, _)| page.starts_with("poison "))
        .map(|(_, times)| times)
        .sum::<u64>();
    assert_eq!(of_poison, 5, "it is not tried a sixth time");

    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(view.counters.inserted, 400);
    fixture.exact(good, "good").await?;
    doomed.terminate()?;
    assert!(doomed.exit().await?.success());
    fixture.finish([]).await
}

#[tokio::test]
async fn of_two_suspects_a_process_holds_one() -> Result<()> {
    let fixture =
        Fixture::start(Options::new([TenantOptions::new("left", 30), TenantOptions::new("right", 30)]))
            .await?;
    fixture.upstream.hold_if(|_| true);
    let left = fixture.account("left", json!({})).await?;
    let right = fixture.account("right", json!({})).await?;
    let jobs = [fixture.accept(left.connection).await?, fixture.accept(right.connection).await?];
    for job in jobs {
        let plannable = fixture.store.jobs().plannable(job).await?.context("a pending job")?;
        assert!(fixture.store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
    }
    fixture
        .database
        .execute("update slices set charges = array[gen_random_uuid(), gen_random_uuid()]")
        .await?;

    let consumer = fixture.consumer().await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.until_sql("select exists (select from slices where status = 'waiting')").await?;
    fixture
        .until_sql(
            "select (w.suspect_job, w.suspect_slice) = (s.job_id, s.slice) from workers w, slices s \
             where s.lease_token is not null",
        )
        .await?;
    fixture.upstream.release();
    fixture.database.execute("update slices set not_before = now() where status = 'waiting'").await?;
    for job in jobs {
        fixture.until_over(job, JobStatus::Completed).await?;
    }
    fixture.until_sql("select bool_and(suspect_job is null) from workers").await?;
    fixture.exact(left, "left").await?;
    fixture.exact(right, "right").await?;
    fixture.finish([consumer]).await
}
