//! Why a job is where it is, said in words, in every place where a job can be.

use anyhow::{Context, Result};
use engine::explain::explain;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::slice::SliceStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::sample_upstream::Answer;

/// The words for the job now; each `(code, part of the text)` must be among them.
async fn says(fixture: &Fixture, job: JobId, expected: &[(&str, &str)]) -> Result<()> {
    let situation = fixture.store.jobs().situation(job, None).await?.context("the job")?;
    let reasons = explain(&situation);
    for (code, part) in expected {
        let found = reasons.iter().any(|reason| reason.code == *code && reason.text.contains(part));
        assert!(found, "{code} with {part:?} is not among {reasons:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn every_place_has_its_words() -> Result<()> {
    let fixture = Fixture::with_calls(6 * 144).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1, "page_size": 100 })).await?;
    fixture.store.tenants().create("acme", 2).await?;
    let request = fixture.accept(account.connection).await?;
    says(&fixture, request, &[("pending", "has not confirmed"), ("no_consumer", "start one")]).await?;

    let mut settings = fixture.unhurried()?;
    settings.pages.retry =
        protocol::retry::RetryPolicy::new(Duration::from_secs(600), Duration::from_secs(600));
    let consumer = fixture.consumer_with(settings).await?;
    fixture.until_over(request, JobStatus::Completed).await?;
    says(&fixture, request, &[("completed", "completed at 2")]).await?;

    // Two of six slices are in hand (or three: the limit may be overshot a little), and the others wait for their turn.
    fixture.upstream.hold();
    let mut command = Fixture::start_command(account.connection, JobId::random());
    command.date_from = Some("2025-01-01T00:00:00Z".parse()?);
    command.date_to = Some("2025-01-07T00:00:00Z".parse()?);
    fixture.publish_start_command(&command).await?;
    let job = command.job_id.context("chosen here")?;
    fixture.upstream.until(|seen| seen.held >= 2).await;
    let worker = consumer.id.to_string();
    let turn = "for the tenant's turn:";
    says(&fixture, job, &[("leased", &worker), ("leased", "slice 1, page 0"), ("tenants_turn", turn)])
        .await?;

    fixture.database.execute("update jobs set paused = true where status = 'running'").await?;
    says(&fixture, job, &[("paused", "on request"), ("leased", &worker)]).await?;
    fixture.database.execute("update jobs set paused = false").await?;

    // One page fails for now, and then the upstream asks for a pause.
    fixture.upstream.script(|_| true, Answer::status(502));
    fixture.upstream.script(|_| true, Answer::retry_after(429, "300"));
    fixture.upstream.release();
    fixture.until(job, |view| view.slices.waiting == 1 && view.slices.leased == 0).await?;
    fixture.until_sql("select paused_until > now() from connections").await?;
    says(
        &fixture,
        job,
        &[
            ("connection_paused", "for another"),
            ("retry", "after 1 failed attempt since 20"),
            ("retry", "502"),
        ],
    )
    .await?;

    // A lease that nobody answers for keeps the cancel from ending.
    fixture
        .database
        .execute(
            "update slices set lease_token = gen_random_uuid(), leased_ring = 1, worker = gen_random_uuid(),
                    leased_until = now() + interval '1 h', status = 'ready', not_before = null,
                    rung_at = now(), rung_marker = 0
              where status = 'waiting'",
        )
        .await?;
    fixture.publish_cancel(job, "the wrong account").await?;
    fixture.until(job, |view| view.status == JobStatus::Cancelling).await?;
    let cancelling =
        [("cancelling", "the wrong account"), ("cancelling", "1 page is still"), ("leased", "slice")];
    says(&fixture, job, &cancelling).await?;
    fixture.database.execute("update slices set leased_until = now() where lease_token is not null").await?;
    let view = fixture.until_over(job, JobStatus::Cancelled).await?;
    assert!(view.slices.done < 6);
    says(&fixture, job, &[("cancelled", "the wrong account")]).await?;

    fixture.database.execute("update connections set paused_until = null").await?;
    fixture.upstream.script(|_| true, Answer::status(403));
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Failed).await?;
    says(&fixture, job, &[("failed", "at page 0 of slice 0"), ("failed", "403")]).await?;
    assert!(fixture.store.jobs().situation(JobId::random(), None).await?.is_none());
    let none = fixture.store.jobs().situation(job, None).await?.context("the job")?;
    assert!(none.slices.iter().all(|slice| slice.status == SliceStatus::Ready));
    fixture.finish([consumer]).await
}
