//! Whoever can write the database, and not seal, cannot have credentials sent elsewhere.

use anyhow::{Context, Result};
use protocol::job::JobStatus;
use serde_json::json;
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Options, SampleUpstream, TenantOptions};

#[tokio::test]
async fn credentials_stay_where_they_were_sealed_for() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let theirs = SampleUpstream::start(Options::new([TenantOptions::new("acme", 30)])).await?;
    let before = fixture.upstream.base_url();
    for changed in [
        format!("update connections set base_url = '{}'", theirs.base_url()),
        format!("update connections set base_url = '{}'", before.replace("http:", "https:")),
    ] {
        fixture.database.execute(&changed).await?;
        let job = fixture.publish_start(account.connection).await?;
        let view = fixture.until_over(job, JobStatus::Failed).await?;
        let cause = view.error.context("why it failed")?.cause;
        assert!(cause.contains("changed, or belongs to another connection, address or `auth`"), "{cause}");
    }
    assert!(theirs.fetches().is_empty() && fixture.upstream.fetches().is_empty());

    fixture.database.execute(&format!("update connections set base_url = '{before}'")).await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}
