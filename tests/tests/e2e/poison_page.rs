//! A page that kills every process that works on it: after five deaths its job fails, in those words, and the other jobs of
//! the fleet go on.

use anyhow::{Context, Result};
use common::job::JobStatus;
use harness::fixture::Fixture;
use harness::sample_upstream::{Options, TenantOptions};
use serde_json::json;
use std::time::Duration;

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
    let cause = error["cause"].as_str().context("a cause")?;
    assert!(cause.contains("5 workers died while they held this page"), "{cause}");
    assert_eq!((&error["slice"], &error["page"]), (&json!(0), &json!(0)));
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
