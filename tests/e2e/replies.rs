//! The answers to commands whose `reply_to` is set.

use anyhow::{Context, Result};
use broker::{Destination, Envelope};
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobStatus;
use serde_json::{Value, json};
use testkit::fixture::Fixture;
use testkit::listener::{Heard, Listener};

struct Sender<'a> {
    fixture: &'a Fixture,
    replies: &'a Listener,
}

impl Sender<'_> {
    /// Sends a command and waits for its answer.
    async fn ask(&self, destination: Destination, body: Value) -> Result<Heard> {
        let kind = if destination == Destination::StartCommand { "sync.start" } else { "sync.cancel" };
        let id = JobId::random().to_string();
        let envelope = Envelope::new(destination, kind, body.to_string())
            .with_reply_to(self.replies.queue())
            .with_correlation_id(id.as_str());
        self.fixture.publisher.publish(envelope).await?;
        self.replies.until_one(|heard| heard.correlation_id.as_deref() == Some(id.as_str())).await
    }

    async fn start(&self, body: Value) -> Result<Heard> {
        self.ask(Destination::StartCommand, body).await
    }

    async fn cancel(&self, body: Value) -> Result<Heard> {
        self.ask(Destination::CancelCommand, body).await
    }
}

#[tokio::test]
async fn every_command_is_answered() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let replies = Listener::to_replies(&fixture).await?;
    let sender = Sender { fixture: &fixture, replies: &replies };
    fixture.upstream.hold();
    let (connection, job) = (account.connection, JobId::random());

    let start = json!({ "connection_id": connection, "job_id": job, "colour": "blue", "größe": 3 });
    let reply = sender.start(start).await?;
    assert_eq!(reply.kind.as_deref(), Some("reply"));
    assert_eq!(reply.json(), json!({ "accepted": true, "job_id": job, "status": "running" }));
    let warning = reply.headers.get("x-warning").context("a warning")?;
    assert_eq!(warning, r#"unknown fields "colour", "gr\u{f6}\u{df}e""#);
    fixture.upstream.until(|seen| seen.held == 1).await;

    let reply = sender.start(json!({ "connection_id": connection })).await?;
    let reason = format!("job {job} of this connection is pending or running");
    let refused = json!({ "accepted": false, "job_id": job, "status": "running", "reason": reason });
    assert_eq!(reply.json(), refused);
    assert_eq!(reply.headers.get("x-warning"), None);

    let reply = sender.cancel(json!({ "job_id": job, "reason": "enough", "why": "?" })).await?.json();
    assert_eq!((&reply["accepted"], &reply["job_id"]), (&json!(true), &json!(job)));
    assert!(["cancelling", "cancelled"].contains(&reply["status"].as_str().unwrap_or_default()), "{reply}");
    fixture.until_over(job, JobStatus::Cancelled).await?;
    let reply = sender.cancel(json!({ "job_id": job })).await?.json();
    let over = json!({ "accepted": false, "job_id": job, "status": "cancelled", "reason": "the job is already cancelled" });
    assert_eq!(reply, over);

    let reply = sender.cancel(json!({ "connection_id": connection })).await?.json();
    let none = "no effect: the connection has no active job";
    assert_eq!(reply, json!({ "accepted": true, "job_id": null, "status": null, "reason": none }));
    let later = JobId::random();
    let reply = sender.cancel(json!({ "job_id": later })).await?.json();
    assert_eq!((&reply["accepted"], &reply["job_id"]), (&json!(true), &json!(null)));
    let reply = sender.start(json!({ "connection_id": connection, "job_id": later })).await?.json();
    assert_eq!((&reply["accepted"], &reply["status"]), (&json!(false), &json!("cancelled")));

    let letters = Listener::to_dead_letters(&fixture).await?;
    let nowhere = ConnectionId::random();
    let reply = sender.start(json!({ "connection_id": nowhere })).await?.json();
    assert_eq!(
        reply,
        json!({ "accepted": false, "job_id": null, "status": null, "reason": reason_of(nowhere) })
    );
    let reply = sender.cancel(json!({ "connection_id": nowhere })).await?.json();
    assert_eq!(
        reply,
        json!({ "accepted": false, "job_id": null, "status": null, "reason": reason_of(nowhere) })
    );
    let heard = letters.until_heard(2).await?;
    assert_eq!(heard[1].headers.get("x-reason").map(String::as_str), Some("unknown_connection"));
    assert_eq!(heard[1].headers.get("x-queue").map(String::as_str), Some("cancels"));
    letters.close().await?;
    replies.close().await?;
    fixture.finish([consumer]).await
}

fn reason_of(nowhere: ConnectionId) -> String {
    format!("unknown_connection: there is no connection {nowhere}")
}

/// Whatever has become of the job since: its status is that of the first answer too.
#[tokio::test]
async fn a_repeated_command_gets_the_first_answer() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let replies = Listener::to_replies(&fixture).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let sender = Sender { fixture: &fixture, replies: &replies };
    fixture.upstream.hold();
    let start = json!({ "connection_id": account.connection, "command_id": "start" });
    let started = sender.start(start.clone()).await?.json();
    assert_eq!((&started["accepted"], &started["status"]), (&json!(true), &json!("running")));
    let refused = json!({ "connection_id": account.connection, "command_id": "refused" });
    let refusal = sender.start(refused.clone()).await?.json();
    assert_eq!((&refusal["accepted"], &refusal["status"]), (&json!(false), &json!("running")));
    fixture.upstream.until(|seen| seen.held == 1).await;
    let cancel = json!({ "job_id": started["job_id"], "command_id": "cancel" });
    let cancelling = sender.cancel(cancel.clone()).await?.json();
    assert_eq!(cancelling["accepted"], json!(true));
    let job: JobId = started["job_id"].as_str().context("a job")?.parse()?;
    fixture.until_over(job, JobStatus::Cancelled).await?;

    for _repeat in 0..2 {
        assert_eq!(sender.start(start.clone()).await?.json(), started);
        assert_eq!(sender.start(refused.clone()).await?.json(), refusal);
        assert_eq!(sender.cancel(cancel.clone()).await?.json(), cancelling);
    }
    // By its message_id for want of a command_id.
    let body = json!({ "connection_id": account.connection }).to_string();
    let mut answers = Vec::new();
    for correlation in ["first", "second"] {
        let envelope = Envelope::new(Destination::StartCommand, "sync.start", body.clone())
            .with_message_id("by message")
            .with_reply_to(replies.queue())
            .with_correlation_id(correlation);
        fixture.publisher.publish(envelope).await?;
        let answer = replies.until_one(|heard| heard.correlation_id.as_deref() == Some(correlation)).await?;
        fixture.upstream.release();
        let job: JobId = answer.json()["job_id"].as_str().context("a job")?.parse()?;
        fixture.until_over(job, JobStatus::Completed).await?;
        answers.push(answer.json());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0]["status"], "running", "though it is completed by now");
    replies.close().await?;
    fixture.finish([consumer]).await
}

/// An answer goes by the `message_id` if there is no `correlation_id`; one that cannot be delivered harms nobody; a
/// command's answer that names one of our own queues ends there as a dead letter, and not in a circle.
#[tokio::test]
async fn odd_addresses() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let replies = Listener::to_replies(&fixture).await?;
    let letters = Listener::to_dead_letters(&fixture).await?;
    for (id, queue) in [
        ("nowhere", "no.such.queue"),
        ("circle", &format!("{}.starts", fixture.namespace)),
        ("here", replies.queue()),
    ] {
        let body = json!({ "connection_id": account.connection, "on_conflict": "use_existing" }).to_string();
        let envelope = Envelope::new(Destination::StartCommand, "sync.start", body)
            .with_message_id(id)
            .with_reply_to(queue);
        fixture.publisher.publish(envelope).await?;
    }
    let reply = replies.until_heard(1).await?.remove(0);
    assert_eq!((reply.correlation_id.as_deref(), &reply.json()["accepted"]), (Some("here"), &json!(true)));
    let letter = letters.until_heard(1).await?.remove(0);
    assert_eq!(letter.headers.get("x-reason").map(String::as_str), Some("wrong_type"));
    fixture.until_sql("select not exists (select from jobs where status in ('pending', 'running'))").await?;
    letters.close().await?;
    replies.close().await?;
    fixture.finish([consumer]).await
}
