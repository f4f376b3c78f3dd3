//! What must happen while the broker is away, since it needs Postgres alone.

use anyhow::Result;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use store::jobs::{CancelRequest, CancelTarget};
use testkit::fixture::Fixture;

/// A sweeper that waits for a publish does not keep a cancel waiting: the time-out of a publish is far beyond what this
/// test waits for the deadline.
#[tokio::test]
async fn a_cancel_is_forced_though_the_sweeper_cannot_publish() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut holder = fixture.consumer_program()?.env("BACKHAUL__LEASES__DURATION_MS", "300000").start()?;
    holder.ready().await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    holder.freeze()?;

    let (proxy, amqp) = fixture.broker_proxy().await?;
    let mut settings = fixture.settings_at(&fixture.database.url(), &amqp)?;
    settings.amqp.publish_timeout = Duration::from_secs(300);
    settings.cancel.deadline = Duration::from_secs(2);
    let other = fixture.consumer_with(settings).await?;
    // Not refused but silent: as far as anybody can tell the connection is good, and a publish waits for its confirm.
    proxy.stall_both();
    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: Some("nobody is there".to_owned()),
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    fixture.store.jobs().cancel(&request).await?;
    let view = fixture.until_over(job, JobStatus::Cancelled).await?;
    assert_eq!((view.pages_settled, view.slices.leased), (0, 0));

    proxy.resume();
    fixture.upstream.release();
    holder.thaw()?;
    holder.terminate()?;
    assert!(holder.exit().await?.success());
    fixture.finish([other]).await
}
