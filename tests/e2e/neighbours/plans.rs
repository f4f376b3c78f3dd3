//! Jobs of very many slices are planned one after the other, so that a small one behind them does not wait for them all.

use anyhow::{Context, Result};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Options, TenantOptions};

const LARGE: usize = 6;

#[tokio::test]
async fn a_small_job_is_planned_before_the_last_of_the_large_ones() -> Result<()> {
    let names: Vec<_> = (0..LARGE).map(|number| format!("large{number}")).collect();
    let tenants =
        names.iter().map(|name| TenantOptions::new(name, 0)).chain([TenantOptions::new("small", 1)]);
    let fixture = Fixture::start(Options::new(tenants)).await?;
    fixture.upstream.hold_if(|asked| asked.tenant.starts_with("large"));
    let mut large = Vec::new();
    for name in &names {
        let account = fixture.account(name, json!({ "slice_days": 1, "max_slices": 10_000 })).await?;
        let mut command = Fixture::start_command(account.connection, JobId::random());
        command.date_from = Some("1999-01-01T00:00:00Z".parse()?);
        command.date_to = Some("2025-12-31T00:00:00Z".parse()?);
        fixture.publish_start_command(&command).await?;
        large.push(command.job_id.context("chosen here")?);
    }
    let small = fixture.account("small", json!({})).await?;
    let job = fixture.publish_start(small.connection).await?;

    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let done = fixture.until_over(job, JobStatus::Completed).await?;
    let mut last = None;
    for job in large {
        let view = fixture.until(job, |view| view.status == JobStatus::Running).await?;
        assert_eq!(view.slices.total, 9_861);
        last = last.max(view.started_at);
    }
    assert!(done.started_at < last, "{:?} is not before {last:?}", done.started_at);
    fixture.exact(small, "small").await?;
    fixture.finish([consumer]).await
}
