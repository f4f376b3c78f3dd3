//! The main road: start → pages → progress → completed.

use anyhow::Result;
use protocol::job::JobStatus;
use serde_json::json;
use testkit::fixture::Fixture;

#[tokio::test]
async fn a_job_imports_every_call_exactly() -> Result<()> {
    let fixture = Fixture::with_calls(237).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumers = [fixture.consumer().await?, fixture.consumer().await?];

    let first = fixture.publish_start(account.connection).await?;
    let view = fixture.until_over(first, JobStatus::Completed).await?;
    assert_eq!(view.counters.inserted, 237);
    assert_eq!(view.total, Some(237));
    assert_eq!(view.percent(), Some(100));
    fixture.exact(account, "acme").await?;

    let again = fixture.publish_start(account.connection).await?;
    let view = fixture.until_over(again, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.counters.unchanged), (0, 237));
    fixture.finish(consumers).await
}
