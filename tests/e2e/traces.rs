//! The trace of a command is on everything that is published for it; and only on that.

use anyhow::{Context, Result};
use broker::{Destination, Envelope};
use futures::StreamExt;
use lapin::Connection;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::topology::Topology;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::time::Duration;
use testkit::api::{Api, read};
use testkit::fixture::Fixture;
use testkit::listener::Listener;
use tokio::sync::watch;

const START: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CANCEL: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What a message is (its `type`), the job that it is about, and its trace.
type Carried = (String, String, Option<String>);

/// Overhears doorbells, aborts and start commands.
struct Tap {
    heard: watch::Sender<Vec<Carried>>,
    connection: Connection,
}

impl Tap {
    async fn on(fixture: &Fixture) -> Result<Self> {
        let (connection, channel) = fixture.broker().await?;
        let topology = Topology::new(&fixture.namespace);
        broker::declare(&topology, &channel, Duration::from_secs(60)).await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
        for (exchange, key) in
            [(topology.pages(), "page"), (topology.aborts(), ""), (topology.commands(), "sync.start")]
        {
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue.clone(), exchange.into(), key.into(), options, FieldTable::default())
                .await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut messages = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        let heard = watch::Sender::default();
        let hears = heard.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                let properties = &message.properties;
                let text = |it: &Option<lapin::types::ShortString>| {
                    it.as_ref().map(ToString::to_string).unwrap_or_default()
                };
                let table = properties.headers().clone().unwrap_or_default();
                let trace = table.inner().get("traceparent").and_then(|value| value.as_long_string());
                let trace = trace.map(|trace| String::from_utf8_lossy(trace.as_bytes()).into_owned());
                let carried = (text(properties.kind()), text(properties.correlation_id()), trace);
                hears.send_modify(|heard: &mut Vec<Carried>| heard.push(carried));
            }
        });
        Ok(Self { heard, connection })
    }

    /// Waits for a message of this type about a job.
    async fn until(&self, kind: &str, job: JobId) -> Result<()> {
        let job = job.to_string();
        let mut heard = self.heard.subscribe();
        let there = heard.wait_for(|heard| heard.iter().any(|(is, about, _)| is == kind && *about == job));
        tokio::time::timeout(Duration::from_secs(60), there).await.with_context(|| kind.to_owned())??;
        Ok(())
    }

    /// The traces of all messages of this type about a job.
    fn traces(&self, kind: &str, job: JobId) -> Vec<Option<String>> {
        let job = job.to_string();
        let about = |(is, about, trace): &Carried| (is == kind && *about == job).then(|| trace.clone());
        self.heard.borrow().iter().filter_map(about).collect()
    }

    async fn close(self) -> Result<()> {
        Ok(self.connection.close(200, "done".into()).await?)
    }
}

#[tokio::test]
async fn a_command_is_followed_through_all_that_is_published_for_it() -> Result<()> {
    let fixture = Fixture::with_calls(40).await?;
    let account = fixture.account("acme", json!({ "page_size": 5 })).await?;
    let (tap, events) = (Tap::on(&fixture).await?, Listener::to_events(&fixture).await?);
    let replies = Listener::to_replies(&fixture).await?;
    // One page per message, so that doorbells are rung by whoever settles a page, in whichever process.
    let mut settings = fixture.unhurried()?;
    settings.pages.quantum = Duration::ZERO;
    let consumers = [fixture.consumer_with(settings.clone()).await?, fixture.consumer_with(settings).await?];
    fixture.upstream.hold();
    fixture.upstream.let_through(6);
    let job = JobId::random();
    let send = async |destination, kind: &str, trace: Option<&str>, body: serde_json::Value| {
        let envelope = Envelope::new(destination, kind, body.to_string())
            .with_reply_to(replies.queue())
            .with_trace(trace);
        fixture.publisher.publish(envelope).await
    };
    let start = json!({ "connection_id": account.connection, "job_id": job });
    send(Destination::StartCommand, "sync.start", Some(START), start.clone()).await?;
    fixture.until(job, |view| view.pages_settled == 6).await?;
    fixture.upstream.until(|seen| seen.held > 0).await;
    // A refusal belongs to the command that was refused.
    let refused = JobId::random();
    let another = json!({ "connection_id": account.connection, "job_id": refused });
    send(Destination::StartCommand, "sync.start", Some(CANCEL), another).await?;
    events.until_event(refused, "job.rejected").await?;
    send(Destination::CancelCommand, "sync.cancel", Some(CANCEL), json!({ "job_id": job })).await?;
    events.until_event(job, "job.cancelled").await?;
    tap.until("abort", job).await?;

    let rung = tap.traces("page", job);
    assert!(rung.len() >= 5, "{rung:?}");
    assert!(rung.iter().all(|trace| trace.as_deref() == Some(START)), "{rung:?}");
    assert!(tap.traces("abort", job).iter().all(|trace| trace.as_deref() == Some(CANCEL)));
    for heard in events.heard() {
        let of_cancel =
            ["job.cancelling", "job.cancelled", "job.rejected"].contains(&heard.routing_key.as_str());
        let expected = if of_cancel { CANCEL } else { START };
        assert_eq!(
            heard.headers.get("traceparent").map(String::as_str),
            Some(expected),
            "{}",
            heard.routing_key
        );
    }
    let traces: Vec<_> =
        replies.until_heard(3).await?.iter().map(|reply| reply.headers.get("traceparent").cloned()).collect();
    assert_eq!(traces, [Some(START.to_owned()), Some(CANCEL.to_owned()), Some(CANCEL.to_owned())]);

    // A command without one is published for without one.
    fixture.upstream.release();
    let plain = JobId::random();
    send(
        Destination::StartCommand,
        "sync.start",
        None,
        json!({ "connection_id": account.connection, "job_id": plain }),
    )
    .await?;
    let done = events.until_event(plain, "job.completed").await?;
    assert_eq!(done.headers.get("traceparent"), None);
    assert!(tap.traces("page", plain).iter().all(Option::is_none));
    tap.close().await?;
    events.close().await?;
    replies.close().await?;
    fixture.finish(consumers).await
}

/// The API's callers have traces too: the start command that is published for a request carries its own.
#[tokio::test]
async fn a_request_is_followed_like_a_command() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let (tap, events) = (Tap::on(&fixture).await?, Listener::to_events(&fixture).await?);
    let body = json!({ "connection_id": account.connection });
    let request = api.jobs(Method::POST, "").header("traceparent", START).json(&body);
    let (status, accepted) = read(request.send().await?).await?;
    assert_eq!(status, StatusCode::ACCEPTED);
    let job: JobId = serde_json::from_value(accepted["id"].clone())?;
    tap.until("sync.start", job).await?;
    let consumer = fixture.consumer().await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    events.until_event(job, "job.completed").await?;
    for kind in ["sync.start", "page"] {
        let traces = tap.traces(kind, job);
        assert!(!traces.is_empty() && traces.iter().all(|trace| trace.as_deref() == Some(START)), "{kind}");
    }
    for heard in events.heard() {
        assert_eq!(
            heard.headers.get("traceparent").map(String::as_str),
            Some(START),
            "{}",
            heard.routing_key
        );
    }
    tap.close().await?;
    events.close().await?;
    fixture.finish([consumer]).await
}
