//! A source with a defect: it costs its own page, and no process.

use anyhow::{Context, Result};
use async_trait::async_trait;
use consumer::worker::Worker;
use protocol::job::JobStatus;
use serde_json::json;
use sources::{Endpoint, FetchError, FetchedPage, Fetcher, PageRequest, Source, SourceError};
use store::jobs::{CancelRequest, CancelTarget};
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Options, TenantOptions};

/// What tells the connection whose source panics.
const PAGE_SIZE: u64 = 7;

#[derive(Debug)]
struct Defective(Box<dyn Source>);

#[async_trait]
#[expect(clippy::panic, reason = "it is what the test is about")]
impl Source for Defective {
    async fn fetch(&self, request: PageRequest<'_>, http: &Fetcher) -> Result<FetchedPage, FetchError> {
        // The request is made, and its answer is what cannot be worked with.
        self.0.fetch(request, http).await?;
        panic!("on purpose");
    }
}

fn open(endpoint: &Endpoint) -> Result<Box<dyn Source>, SourceError> {
    let opened = sources::open(endpoint)?;
    Ok(if endpoint.settings["page_size"] == PAGE_SIZE { Box::new(Defective(opened)) } else { opened })
}

#[tokio::test]
async fn a_page_that_panics_fails_its_job_and_no_other() -> Result<()> {
    let fixture =
        Fixture::start(Options::new([TenantOptions::new("bad", 30), TenantOptions::new("good", 40)])).await?;
    let bad = fixture.account("bad", json!({ "page_size": PAGE_SIZE })).await?;
    let good = fixture.account("good", json!({})).await?;
    let consumer = Fixture::run(Worker::opening_with(fixture.unhurried()?, open)?).await?;
    consumer.ready().await?;

    let failing = fixture.publish_start(bad.connection).await?;
    let view = fixture.until_over(failing, JobStatus::Failed).await?;
    let error = view.error.context("why it failed")?;
    let cause = error.cause;
    assert!(cause.contains("5 workers died or panicked while they held this page"), "{cause}");
    let asked: u64 =
        fixture.upstream.fetches().iter().filter(|(page, _)| page.starts_with("bad ")).map(|(_, n)| n).sum();
    assert_eq!(asked, 5, "it is not tried a sixth time");

    // The same process goes on.
    let job = fixture.publish_start(good.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(good, "good").await?;
    fixture.until_sql("select bool_and(suspect_job is null) from workers").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_page_that_panics_after_a_cancel_ends_the_cancel() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    fixture.upstream.hold();
    let account = fixture.account("acme", json!({ "page_size": PAGE_SIZE })).await?;
    let consumer = Fixture::run(Worker::opening_with(fixture.unhurried()?, open)?).await?;
    consumer.ready().await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    // The fence alone, without the broadcast that would abort the page.
    let request = CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: Some("enough".to_owned()),
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    };
    fixture.store.jobs().cancel(&request).await?;
    fixture.upstream.release();
    fixture.until_over(job, JobStatus::Cancelled).await?;
    fixture.finish([consumer]).await
}
