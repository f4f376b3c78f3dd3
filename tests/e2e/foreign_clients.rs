//! What client libraries write around a command, or in its place: understood where it can be, else refused with what to do.

use anyhow::Result;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::topology::Topology;
use serde_json::{Value, json};
use testkit::fixture::Fixture;
use testkit::listener::Listener;

struct Client<'a> {
    fixture: &'a Fixture,
    replies: &'a Listener,
}

impl Client<'_> {
    /// Publishes a start, and gives the answer to it.
    async fn ask(&self, properties: BasicProperties, reply_to: &str, body: &[u8]) -> Result<Value> {
        let id = JobId::random().to_string();
        let properties = properties.with_reply_to(reply_to.into()).with_correlation_id(id.as_str().into());
        self.publish(properties, body).await?;
        Ok(self.replies.until_one(|heard| heard.correlation_id.as_deref() == Some(&id)).await?.json())
    }

    async fn publish(&self, properties: BasicProperties, body: &[u8]) -> Result<()> {
        let (connection, channel) = self.fixture.broker().await?;
        let exchange = Topology::new(&self.fixture.namespace).commands().into();
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange, "sync.start".into(), options, body, properties).await?;
        channel.close(200, "done".into()).await?;
        Ok(connection.close(200, "done".into()).await?)
    }
}

#[tokio::test]
async fn what_encoders_and_protocols_add_is_understood() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let replies = Listener::to_replies(&fixture).await?;
    let client = Client { fixture: &fixture, replies: &replies };
    let consumer = fixture.consumer().await?;
    let plain = BasicProperties::default;
    let queue = replies.queue();
    let places = [
        queue.to_owned(),
        format!("/queues/{queue}"),
        format!("/queue/{queue}"),
        format!("/amq/queue/{queue}"),
    ];
    let kinds = [
        plain().with_type("".into()),
        plain().with_type("binary".into()),
        plain().with_type("amqp-1.0".into()),
        plain(),
    ];
    for (place, (reply_to, properties)) in places.into_iter().zip(kinds).enumerate() {
        let job = JobId::random();
        let body = json!({ "connection_id": account.connection, "job_id": job, "mode": null, "on_conflict": null,
                           "date_from": null, "document_ids": null });
        let mut body = body.to_string().into_bytes();
        if place == 2 {
            // As a client of AMQP 1.0 sends a string.
            let length = u32::try_from(body.len())?.to_be_bytes();
            body = [&[0x00, 0x53, 0x77, 0xb1][..], &length, &body].concat();
        }
        let answer = client.ask(properties, &reply_to, &body).await?;
        assert_eq!(
            (&answer["accepted"], &answer["job_id"]),
            (&json!(true), &json!(job)),
            "{reply_to}: {answer}"
        );
        fixture.until_over(job, JobStatus::Completed).await?;
    }

    // An answer that finds no queue is no reason not to apply a command.
    let job = JobId::random();
    let body = json!({ "connection_id": account.connection, "job_id": job }).to_string();
    client.publish(plain().with_reply_to("nobody".into()), body.as_bytes()).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    replies.close().await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_refusal_says_what_its_sender_has_to_change() -> Result<()> {
    let mut fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let replies = Listener::to_replies(&fixture).await?;
    let consumer = fixture.consumer().await?;
    let start = |more: Value| {
        let mut start = json!({ "connection_id": account.connection });
        if let (Some(start), Some(more)) = (start.as_object_mut(), more.as_object()) {
            start.extend(more.clone());
        }
        start.to_string().into_bytes()
    };
    let refusals = [
        (json!([[], {}, { "callbacks": null }]).to_string().into_bytes(), "Celery"),
        (json!({ "pattern": "sync.start", "data": {} }).to_string().into_bytes(), "serializer"),
        (
            json!({ "connectionId": account.connection }).to_string().into_bytes(),
            "did you mean connection_id",
        ),
        (start(json!({ "date_from": "2026-01-01T00:00:00" })), "a time needs a zone"),
        (vec![0x1f, 0x8b, 8, 0, 0], "gzip"),
        (b"\x00\x53\x77\xc1\x01\x00".to_vec(), "data section"),
    ];
    for (body, told) in &refusals {
        let client = Client { fixture: &fixture, replies: &replies };
        let answer = client.ask(BasicProperties::default(), replies.queue(), body).await?;
        let reason = answer["reason"].as_str().unwrap_or_default();
        assert!(answer["accepted"] == false && reason.contains(told), "{told}: {answer}");
    }
    fixture.expect_dead_letters(u32::try_from(refusals.len())?);
    replies.close().await?;
    fixture.finish([consumer]).await
}
