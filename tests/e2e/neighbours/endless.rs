//! A list that never ends costs its own job.

use anyhow::{Context, Result};
use configuration::JobsConfig;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Options, TenantOptions};

#[tokio::test]
async fn a_job_that_outgrows_a_limit_fails_and_keeps_what_it_has() -> Result<()> {
    let tenants = [TenantOptions::new("endless", 100), TenantOptions::new("good", 20)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let endless = fixture.account("endless", json!({})).await?;
    let good = fixture.account("good", json!({})).await?;
    fixture.upstream.hold_if(|asked| asked.tenant == "endless" && asked.number > 5);

    let mut settings = fixture.unhurried()?;
    settings.jobs.max_records = 30;
    let consumer = fixture.consumer_with(settings).await?;
    let job = fixture.publish_start(endless.connection).await?;
    let view = fixture.until_over(job, JobStatus::Failed).await?;
    let cause = view.error.context("why it failed")?.cause;
    assert!(cause.contains("more than 30 records (jobs.max_records)") && cause.contains("resume"), "{cause}");
    assert!((31..=50).contains(&view.counters.inserted), "what was imported stays");
    let other = fixture.publish_start(good.connection).await?;
    fixture.until_over(other, JobStatus::Completed).await?;
    fixture.exact(good, "good").await?;
    fixture.upstream.release();
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn each_limit_has_its_words() -> Result<()> {
    let fixture = Fixture::with_calls(40).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold_if(|asked| asked.number > 3);
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.database.execute("update jobs set started_at = started_at - interval '1 h'").await?;
    let none = JobsConfig { max_records: 0, max_pages: 0, max_age: Duration::ZERO };
    assert_eq!(fixture.store.sweeps().overgrown(&none, 10).await?, []);
    for (limits, said) in [
        (JobsConfig { max_records: 29, ..none.clone() }, "more than 29 records"),
        (JobsConfig { max_pages: 2, ..none.clone() }, "more than 2 pages"),
        (JobsConfig { max_age: Duration::from_secs(3500), ..none.clone() }, "jobs.max_age_ms"),
    ] {
        let over = fixture.store.sweeps().overgrown(&limits, 10).await?;
        assert_eq!(over.len(), 1);
        assert!(over[0].0 == job && over[0].1.contains(said), "{over:?}");
    }
    for enough in [
        JobsConfig { max_records: 30, ..none.clone() },
        JobsConfig { max_pages: 3, ..none.clone() },
        JobsConfig { max_age: Duration::from_secs(36_000), ..none.clone() },
    ] {
        assert_eq!(fixture.store.sweeps().overgrown(&enough, 10).await?, []);
    }
    fixture.upstream.release();
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}
