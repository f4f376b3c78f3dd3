//! What is told about jobs: in which order, with which counters, how soon.

use anyhow::Result;
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use protocol::contract::{EventKind, EventMessage};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::listener::Listener;
use testkit::sample_upstream::Answer;
use tokio::time::Instant;

/// The kinds of a job's events, without repeats and progress.
fn told(events: &[EventMessage]) -> Vec<EventKind> {
    let mut told: Vec<EventKind> = Vec::new();
    for event in events {
        if event.event != EventKind::Progressed && !told.contains(&event.event) {
            told.push(event.event);
        }
    }
    told
}

#[tokio::test]
async fn the_life_of_a_job_is_told_in_order() -> Result<()> {
    let fixture = Fixture::with_calls(35).await?;
    let account = fixture.account("acme", json!({})).await?;
    let events = Listener::to_events(&fixture).await?;
    let consumers = [fixture.consumer().await?, fixture.consumer().await?];
    let job = fixture.publish_start(account.connection).await?;
    let last = events.until_event(job, "job.completed").await?;
    assert_eq!(last.kind.as_deref(), Some("job.completed"));
    assert!(last.message_id.is_some_and(|id| id.starts_with("event/")));

    let heard = events.events_of(job)?;
    assert_eq!(told(&heard), [EventKind::Accepted, EventKind::Started, EventKind::Completed]);
    for event in &heard {
        assert_eq!((event.tenant_id, event.connection_id), (Some(account.tenant), Some(account.connection)));
    }
    let statuses = [Some(JobStatus::Pending), Some(JobStatus::Running)];
    assert_eq!([heard[0].status, heard[1].status], statuses, "the state then, not now");
    assert_eq!(heard[0].counters.map(|counters| counters.processed), Some(0));
    assert_eq!(heard[1].data.slices, Some(1));
    let end = events.until_event(job, "job.completed").await?.event()?;
    let counters = end.counters.unwrap_or_default();
    assert_eq!((counters.inserted, counters.imported, counters.processed), (35, 35, 35));
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((end.status, counters.total), (Some(JobStatus::Completed), view.total));
    events.close().await?;
    fixture.finish(consumers).await
}

/// Ten jobs that are cancelled at some moment of their lives, two processes that tell: the order of a job's events is
/// that of its rows, and the counters of the end are those of the fence.
#[tokio::test]
async fn cancels_are_told_in_order_with_the_counters_of_the_fence() -> Result<()> {
    let fixture = Fixture::with_calls(2000).await?;
    let account = fixture.account("acme", json!({ "page_size": 5 })).await?;
    let events = Listener::to_events(&fixture).await?;
    let consumers = [fixture.consumer().await?, fixture.consumer().await?];
    for pages in 0..10 {
        let job = fixture.publish_start(account.connection).await?;
        fixture.until(job, |view| view.pages_settled >= pages).await?;
        fixture.publish_cancel(job, "enough").await?;
        let view = fixture.until_cancelled(job, "enough").await?;
        let end = events.until_event(job, "job.cancelled").await?.event()?;
        let kinds = told(&events.events_of(job)?);
        let written: Vec<_> =
            fixture.store.events().of_job(job).await?.iter().map(|row| row.kind.clone()).collect();
        assert_eq!(kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>(), written);
        assert_eq!((end.reason.as_deref(), end.status), (Some("enough"), Some(JobStatus::Cancelled)));
        let counters = end.counters.unwrap_or_default();
        assert_eq!(counters.processed, view.counters.processed(), "nothing is imported after the fence");
        let fence = events.until_event(job, "job.cancelling").await?.event()?;
        assert_eq!(fence.counters, end.counters);
        // No progress is told after the end.
        let heard = events.events_of(job)?;
        let after = heard.iter().skip_while(|event| event.event != EventKind::Cancelled);
        assert_eq!(after.filter(|event| event.event == EventKind::Progressed).count(), 0);
    }
    events.close().await?;
    fixture.finish(consumers).await
}

#[tokio::test]
async fn a_failure_is_told_with_its_cause() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let events = Listener::to_events(&fixture).await?;
    fixture.upstream.script(|_| true, Answer::status(401));
    let consumer = fixture.consumer().await?;
    let job = fixture.publish_start(account.connection).await?;
    let failed = events.until_event(job, "job.failed").await?.event()?;
    assert_eq!(
        (failed.status, failed.data.slice, failed.data.page),
        (Some(JobStatus::Failed), Some(0), Some(0))
    );
    assert!(failed.reason.is_some_and(|reason| reason.contains("401")), "{:?}", failed.data);
    events.close().await?;
    fixture.finish([consumer]).await
}

/// Whoever made a transition tells it right after: the sweeper, which here comes once a minute, is only the net.
#[tokio::test]
async fn a_transition_is_told_at_once() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let events = Listener::to_events(&fixture).await?;
    let mut settings = fixture.unhurried()?;
    settings.sweeper.every = Duration::from_secs(60);
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold();
    let asked = Instant::now();
    let job = fixture.publish_start(account.connection).await?;
    let started = events.until_event(job, "job.started").await?.at - asked;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let asked = Instant::now();
    fixture.publish_cancel(job, "enough").await?;
    let cancelled = events.until_event(job, "job.cancelled").await?.at - asked;
    tracing::info!(?started, ?cancelled, "from the command's publish to the event's arrival");
    assert!(
        started < Duration::from_secs(20) && cancelled < Duration::from_secs(20),
        "{started:?} {cancelled:?}"
    );
    events.close().await?;
    fixture.finish([consumer]).await
}

/// Progress comes about once a second, from whichever process, and never twice in one.
#[tokio::test]
async fn progress_is_told_once_a_second() -> Result<()> {
    let fixture = Fixture::with_calls(400).await?;
    let account = fixture.account("acme", json!({ "page_size": 1 })).await?;
    let events = Listener::to_events(&fixture).await?;
    // A page at a time, and each takes a while.
    fixture.upstream.behave(|behaviour| behaviour.delay = Duration::from_millis(20));
    let consumers = [fixture.consumer().await?, fixture.consumer().await?];
    let job = fixture.publish_start(account.connection).await?;
    let progress = |events: &[EventMessage]| -> Vec<EventMessage> {
        events.iter().filter(|event| event.event == EventKind::Progressed).cloned().collect()
    };
    let wanted = |heard: &[testkit::listener::Heard]| {
        heard.iter().filter(|heard| heard.routing_key == "job.progressed").count() >= 3
    };
    events.until(wanted).await?;
    fixture.publish_cancel(job, "seen enough").await?;
    let end = events.until_event(job, "job.cancelled").await?.event()?;
    let told = progress(&events.events_of(job)?);
    for pair in told.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart >= chrono::TimeDelta::seconds(1), "{apart} apart");
        let [before, after] = [&pair[0], &pair[1]].map(|event| event.counters.unwrap_or_default().processed);
        assert!(before <= after, "{before} then {after}");
    }
    let last = told.last().and_then(|event| event.counters).unwrap_or_default();
    assert!(last.processed > 0 && last.processed <= end.counters.unwrap_or_default().processed);
    events.close().await?;
    fixture.finish(consumers).await
}

/// Events that nobody could publish, of more jobs than a batch holds: they come when the broker does, in order.
#[tokio::test]
async fn what_was_left_is_told_later() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let events = Listener::to_events(&fixture).await?;
    let mut jobs: Vec<JobId> = Vec::new();
    for _ in 0..8 {
        let job = fixture.accept(account.connection).await?;
        let cancel = store::jobs::CancelRequest {
            target: store::jobs::CancelTarget::Job(job),
            tenant: None,
            reason: None,
            requested_by: None,
            command: None,
            keep_if_unknown: false,
        };
        fixture.store.jobs().cancel(&cancel).await?;
        jobs.push(job);
    }
    assert!(events.heard().is_empty(), "nobody is there to tell");
    let mut settings = fixture.settings()?;
    settings.sweeper.batch = 5;
    let consumer = fixture.consumer_with(settings).await?;
    for job in jobs {
        events.until_event(job, "job.cancelled").await?;
        let kinds = told(&events.events_of(job)?);
        assert_eq!(kinds, [EventKind::Accepted, EventKind::Cancelling, EventKind::Cancelled]);
    }
    events.close().await?;
    fixture.finish([consumer]).await
}

/// One listener's queue is full, and refuses. The other hears each event, once or a few times, and other tenants' jobs too.
#[tokio::test]
async fn a_listener_that_refuses_events_takes_none_from_the_others() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let events = Listener::to_events(&fixture).await?;
    let (connection, channel) = fixture.broker().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let full = channel.queue_declare("".into(), options, arguments).await?.name().clone();
    let (exchange, none) = (fixture.settings()?.amqp.topology().events().into(), FieldTable::default());
    channel.queue_bind(full.clone(), exchange, "#".into(), QueueBindOptions::default(), none).await?;

    let consumer = fixture.consumer().await?;
    for _ in 0..3 {
        let job = fixture.publish_start(account.connection).await?;
        fixture.until_over(job, JobStatus::Completed).await?;
        events.until_event(job, "job.completed").await?;
        assert_eq!(
            told(&events.events_of(job)?),
            [EventKind::Accepted, EventKind::Started, EventKind::Completed]
        );
    }
    fixture.until_sql("select bool_or(refusals > 0) and max(refusals) <= 4 from job_events").await?;
    // Once it is gone, those that it has refused are published a last time.
    channel.queue_delete(full, QueueDeleteOptions::default()).await?;
    fixture.until_sql("select bool_and(published_at is not null) from job_events").await?;
    connection.close(200, "done".into()).await?;
    events.close().await?;
    fixture.finish([consumer]).await
}
