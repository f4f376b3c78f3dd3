//! A slot is given back however its page ends, and so is a tenant's turn: after faults, cancels and crashes as many pages
//! are worked on at a time as before.

use anyhow::Result;
use chrono::TimeDelta;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::Answer;

/// Pages in flight per process.
const SLOTS: u64 = 2;

async fn start(fixture: &Fixture, account: Account) -> Result<JobId> {
    let job = JobId::random();
    let mut command = Fixture::start_command(account.connection, job);
    command.date_from = fixture.upstream.created("acme", 0);
    command.date_to = command.date_from.map(|from| from + TimeDelta::days(6));
    fixture.publish_start_command(&command).await?;
    Ok(job)
}

/// Cancels the job, and waits until nobody works on it.
async fn let_go(fixture: &Fixture, job: JobId) -> Result<()> {
    fixture.publish_cancel(job, "enough").await?;
    fixture.until_over(job, JobStatus::Cancelled).await?;
    fixture.upstream.until(|seen| seen.held == 0).await;
    Ok(())
}

/// Of a new job as many pages are fetched at a time as there are slots.
async fn all_are_free(fixture: &Fixture, account: Account) -> Result<()> {
    fixture.upstream.hold();
    let job = start(fixture, account).await?;
    fixture.upstream.until(|seen| seen.held == SLOTS).await;
    let_go(fixture, job).await?;
    fixture.upstream.release();
    Ok(())
}

#[tokio::test]
async fn after_faults_cancels_and_crashes_every_slot_is_free() -> Result<()> {
    // Six days, so that more slices wait than there are slots.
    let fixture = Fixture::with_calls(6 * 144).await?;
    let account = fixture.account("acme", json!({ "slice_days": 1, "page_size": 100 })).await?;
    let mut killed = fixture.consumer_program()?.env("BACKHAUL__PAGES__SLOTS", SLOTS.to_string()).start()?;
    killed.ready().await?;
    fixture.upstream.hold();
    let job = start(&fixture, account).await?;
    fixture.upstream.until(|seen| seen.held == SLOTS).await;
    let mut settings = fixture.settings()?;
    settings.pages.slots = u16::try_from(SLOTS)?;
    let consumer = fixture.consumer_with(settings).await?;
    killed.kill().await?;
    fixture.upstream.until(|seen| seen.disconnects == SLOTS && seen.held == SLOTS).await;
    let_go(&fixture, job).await?;
    fixture.upstream.release();
    all_are_free(&fixture, account).await?;

    for answer in [
        Answer::status(500),
        Answer::retry_after(429, "1"),
        Answer::Truncate,
        Answer::html(),
        Answer::status(404),
        Answer::json("{"),
    ] {
        fixture.upstream.script_times(|_| true, answer, SLOTS);
        let faulty = fixture.upstream.seen().requests + SLOTS;
        fixture.upstream.hold_if(move |asked| asked.number > faulty);
        let job = start(&fixture, account).await?;
        let over = fixture.until(job, |view| view.status.is_terminal());
        tokio::select! {
            over = over => drop(over?),
            _ = fixture.upstream.until(|seen| seen.held == SLOTS) => let_go(&fixture, job).await?,
        }
        fixture.upstream.clear_scripts();
        fixture.upstream.release();
        all_are_free(&fixture, account).await?;
    }

    let job = start(&fixture, account).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}
