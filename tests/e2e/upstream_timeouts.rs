//! An upstream that does not answer in time is not a cancel: its page waits and is tried again, and the job goes on.

use anyhow::Result;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::sample_upstream::Answer;

#[tokio::test]
async fn a_time_out_is_not_a_cancellation() -> Result<()> {
    let fixture = Fixture::with_calls(35).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.unhurried()?;
    settings.pages.budget = Duration::from_millis(700);
    let consumer = fixture.consumer_with(settings).await?;
    // No answer at all, and an answer that stops halfway.
    fixture.upstream.script(|asked| !asked.is_first_page(), Answer::Hang);
    fixture.upstream.script(|asked| !asked.is_first_page() && asked.repeats > 0, Answer::Stall);
    let job = fixture.publish_start(account.connection).await?;
    let waiting = fixture.until(job, |view| view.slices.waiting == 1).await?;
    assert_eq!((waiting.status, waiting.pages_settled), (JobStatus::Running, 1));

    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.cancel_requested_at, view.error), (None, None));
    let told = fixture.store.events().of_job(job).await?;
    let told: Vec<_> = told.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(told, ["accepted", "started", "completed"], "never cancelling, never cancelled");
    let times = fixture.upstream.fetches();
    assert!(times.values().any(|times| *times >= 3), "two time-outs and an answer: {times:?}");
    assert_eq!((view.counters.inserted, view.pages_settled), (35, 4), "nothing is counted twice");
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}
