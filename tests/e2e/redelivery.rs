//! Messages come twice, late and out of order. Whatever comes again changes nothing: no status goes back, no counter
//! grows, no page is fetched for it.

use anyhow::{Result, ensure};
use configuration::Settings;
use protocol::command::CancelCommand;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::{Answer, Options, TenantOptions};
use testkit::wiretap::{Overheard, Wiretap};

/// A message per page.
fn page_by_page(fixture: &Fixture) -> Result<Settings> {
    let mut settings = fixture.settings()?;
    settings.pages.quantum = Duration::ZERO;
    settings.pages.budget = Duration::from_secs(300);
    settings.shutdown.drain = Duration::from_millis(500);
    Ok(settings)
}

/// Everything that is known of these jobs, as one text.
async fn history(fixture: &Fixture, jobs: &[JobId]) -> Result<String> {
    let jobs: Vec<_> = jobs.iter().map(|job| job.0).collect();
    let sql = "select string_agg(line, E'\\n' order by line) from (
                   select j::text from jobs j where id = any ($1)
                   union all select s::text from slices s where job_id = any ($1)
                   union all select p::text from page_log p where job_id = any ($1)
                   union all select (job_id, id, kind, data)::text from job_events where job_id = any ($1)
               ) lines (line)";
    Ok(sqlx::query_scalar(sql).bind(jobs).fetch_one(&fixture.database.pool).await?)
}

/// The same, and all records.
async fn everything(fixture: &Fixture, jobs: &[JobId]) -> Result<String> {
    let sql =
        "select string_agg((connection_id, external_id, hash, revision, job_id, updated_at)::text, E'\\n'
                   order by connection_id, external_id) from records";
    let records: String = sqlx::query_scalar(sql).fetch_one(&fixture.database.pool).await?;
    Ok(format!("{}\n{records}", history(fixture, jobs).await?))
}

/// Runs a further job to its end. With one slot its doorbells come after whatever else is in the pages queue.
async fn everything_before_is_handled(fixture: &Fixture, account: Account) -> Result<()> {
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    Ok(())
}

async fn nothing_is_left(fixture: &Fixture) -> Result<()> {
    for queue in WorkQueue::ALL {
        let waiting = fixture.waiting(queue).await?;
        ensure!(waiting == 0, "{waiting} messages are left in the queue of {queue}");
    }
    Ok(())
}

#[tokio::test]
async fn after_the_end_of_a_job_nothing_rewinds_it() -> Result<()> {
    let tenants = ["completed", "cancelled", "failed"].map(|name| TenantOptions::new(name, 40));
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let wiretap = Wiretap::on(&fixture).await?;
    let mut settings = page_by_page(&fixture)?;
    settings.pages.slots = 1;
    // One marker and no further one, which could be in the queue when the test looks into it.
    settings.sweeper.marker_every = Duration::from_secs(300);
    let consumer = fixture.consumer_with(settings.clone()).await?;

    let completes = fixture.account("completed", json!({})).await?;
    let completed = fixture.publish_start(completes.connection).await?;
    fixture.until_over(completed, JobStatus::Completed).await?;
    let account = fixture.account("cancelled", json!({})).await?;
    fixture.upstream.hold_if(|asked| asked.tenant == "cancelled" && !asked.is_first_page());
    let cancelled = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    // While this one's doorbell waits for the slot, a marker goes out behind it.
    let account = fixture.account("failed", json!({})).await?;
    fixture.upstream.script(|asked| asked.tenant == "failed" && !asked.is_first_page(), Answer::status(401));
    let failed = fixture.publish_start(account.connection).await?;
    wiretap.until(|heard| heard.iter().any(|message| message.kind == "marker")).await?;
    fixture.publish_cancel(cancelled, "enough").await?;
    fixture.until_over(cancelled, JobStatus::Cancelled).await?;
    fixture.until_over(failed, JobStatus::Failed).await?;

    let jobs = [completed, failed, cancelled];
    let before = everything(&fixture, &jobs).await?;
    let requests = fixture.upstream.seen().requests;
    let messages = wiretap.heard();
    let kinds = ["sync.start", "sync.cancel", "page", "marker"];
    assert!(kinds.iter().all(|kind| messages.iter().any(|it| it.kind == *kind)), "{messages:?}");
    assert_eq!(jobs.map(|job| wiretap.rings(job).len()), [4, 2, 2], "doorbells of each job");

    // Once more, as if they had been published twice.
    for message in &messages {
        fixture.repeat(message).await?;
    }
    everything_before_is_handled(&fixture, completes).await?;
    consumer.stop().await?;
    nothing_is_left(&fixture).await?;
    assert_eq!(everything(&fixture, &jobs).await?, before);

    // And once more, as if a consumer had died with each of them in hand.
    for message in &messages {
        fixture.repeat(message).await?;
    }
    let mut redelivered = 0;
    for queue in WorkQueue::ALL {
        redelivered += fixture.redeliver(queue).await?;
    }
    assert_eq!(usize::try_from(redelivered)?, messages.len());
    let consumer = fixture.consumer_with(settings).await?;
    everything_before_is_handled(&fixture, completes).await?;
    consumer.stop().await?;
    nothing_is_left(&fixture).await?;
    assert_eq!(everything(&fixture, &jobs).await?, before);

    let sentinels = 2 * 4;
    assert_eq!(fixture.upstream.seen().requests, requests + sentinels, "nothing was fetched for a repeat");
    wiretap.close().await?;
    fixture.finish([]).await
}

#[tokio::test]
async fn every_message_comes_again_at_every_later_time() -> Result<()> {
    const PAGES: u64 = 6;
    let fixture = Fixture::with_calls(PAGES * 10).await?;
    let account = fixture.account("acme", json!({})).await?;
    let wiretap = Wiretap::on(&fixture).await?;
    let settings = page_by_page(&fixture)?;
    let consumers = [fixture.consumer_with(settings.clone()).await?, fixture.consumer_with(settings).await?];
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    for page in 1..=PAGES {
        fixture.upstream.until(|seen| seen.requests == page && seen.held == 1).await;
        for message in first_copies(&wiretap) {
            fixture.repeat(&message).await?;
        }
        // The same start as a new command: somebody pressed the button again.
        fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
        fixture.upstream.let_through(1);
    }
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    for message in first_copies(&wiretap) {
        fixture.repeat(&message).await?;
    }

    assert_eq!((view.counters.inserted, view.counters.processed()), (60, 60));
    fixture.exact(account, "acme").await?;
    assert_eq!(fixture.upstream.seen().requests, PAGES, "each page was fetched once");
    let rings: Vec<_> =
        first_copies(&wiretap).iter().filter_map(Overheard::ring).map(|ring| ring.ring).collect();
    assert_eq!(rings, [1, 2, 3, 4, 5, 6], "and rung once, by us");
    fixture.upstream.release();
    wiretap.close().await?;
    fixture.finish(consumers).await
}

#[tokio::test]
async fn copies_that_are_ten_minutes_late_leave_the_next_job_alone() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let wiretap = Wiretap::on(&fixture).await?;
    let mut settings = page_by_page(&fixture)?;
    settings.sweeper.marker_every = Duration::from_secs(300);
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let first = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    // Of whatever job the connection has, which will be another one when the copy comes.
    let cancel = CancelCommand {
        job_id: None,
        connection_id: Some(account.connection),
        reason: Some("enough".to_owned()),
        command_id: Some("cancel-of-the-connection".to_owned()),
        requested_by: None,
    };
    fixture.publish_cancel_command(&cancel).await?;
    fixture.until_over(first, JobStatus::Cancelled).await?;
    let late = first_copies(&wiretap);
    for kind in ["sync.start", "sync.cancel", "page"] {
        assert!(late.iter().any(|message| message.kind == kind), "{kind} in {late:?}");
    }

    let ago = "update jobs set created_at = created_at - '10 min'::interval, started_at = started_at - '10 min'::interval,
                   cancel_requested_at = cancel_requested_at - '10 min'::interval, finished_at = finished_at - '10 min'::interval;
               update slices set rung_at = rung_at - '10 min'::interval;
               update commands set received_at = received_at - '10 min'::interval;
               update markers set published_at = published_at - '10 min'::interval";
    fixture.database.execute(ago).await?;
    let before = history(&fixture, &[first]).await?;
    let second = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    for message in late.iter().chain(late.iter().rev()) {
        fixture.repeat(message).await?;
    }
    fixture.upstream.release();
    let view = fixture.until_over(second, JobStatus::Completed).await?;
    assert_eq!(view.counters.processed(), 30);
    fixture.exact(account, "acme").await?;
    consumer.stop().await?;
    nothing_is_left(&fixture).await?;
    assert_eq!(history(&fixture, &[first]).await?, before);
    wiretap.close().await?;
    fixture.finish([]).await
}

/// Each message once, repeats left out.
fn first_copies(wiretap: &Wiretap) -> Vec<Overheard> {
    let mut copies: Vec<Overheard> = Vec::new();
    for message in wiretap.heard() {
        if !copies.contains(&message) {
            copies.push(message);
        }
    }
    copies
}

#[tokio::test]
async fn repeats_that_are_redelivered_take_over_from_the_living_and_harm_nobody() -> Result<()> {
    let fixture = Fixture::with_calls(60).await?;
    let account = fixture.account("acme", json!({})).await?;
    let wiretap = Wiretap::on(&fixture).await?;
    let settings = page_by_page(&fixture)?;
    let consumer = fixture.consumer_with(settings.clone()).await?;
    fixture.upstream.hold_if(|asked| asked.number >= 3);
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    consumer.stop().await?;

    // The message of the page that was handed back waits there; each doorbell so far comes three times more. All of
    // them claim to be the message of a lost holder.
    for _ in 0..3 {
        for message in first_copies(&wiretap).iter().filter(|message| message.ring().is_some()) {
            fixture.repeat(message).await?;
        }
    }
    assert!(fixture.redeliver(WorkQueue::Pages).await? >= 10);
    let consumers = [fixture.consumer_with(settings.clone()).await?, fixture.consumer_with(settings).await?];
    fixture.upstream.until(|seen| seen.held >= 1).await;
    fixture.upstream.release();

    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.counters.processed(), view.pages_settled), (60, 60, 6));
    fixture.exact(account, "acme").await?;
    fixture.until_sql("select cardinality(charges) = 0 from slices").await?;
    wiretap.close().await?;
    fixture.finish(consumers).await
}
