//! What the outside hears from Backhaul: events, replies, dead letters.

use crate::fixture::Fixture;
use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use lapin::Connection;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use protocol::contract::EventMessage;
use protocol::ids::JobId;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A condition that is not met by then never will be.
const LONGEST: Duration = Duration::from_secs(60);

/// A message with everything that a receiver sees of it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When it came.
    pub at: Instant,
    /// The routing key.
    pub routing_key: String,
    /// The `type` property.
    pub kind: Option<String>,
    /// The `message_id` property.
    pub message_id: Option<String>,
    /// The `correlation_id` property.
    pub correlation_id: Option<String>,
    /// The headers that are text.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Heard {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as an event.
    pub fn event(&self) -> Result<EventMessage> {
        serde_json::from_slice(&self.body).with_context(|| format!("no event: {}", self.json()))
    }
}

/// Takes every message of a queue, and keeps them in their order.
#[derive(Debug)]
pub struct Listener {
    queue: String,
    heard: watch::Sender<Vec<Heard>>,
    connection: Connection,
}

impl Listener {
    /// Hears every event from now on.
    pub async fn to_events(fixture: &Fixture) -> Result<Self> {
        let exchange = fixture.amqp.topology().events();
        Self::start(fixture, None, Some((exchange, "job.#"))).await
    }

    /// Hears whatever is sent to a queue of its own, which a command can name as `reply_to`.
    pub async fn to_replies(fixture: &Fixture) -> Result<Self> {
        Self::start(fixture, None, None).await
    }

    /// Takes the dead letters: at the end of the test there are none left.
    pub async fn to_dead_letters(fixture: &Fixture) -> Result<Self> {
        let queue = fixture.amqp.topology().dead_letters();
        Self::start(fixture, Some(queue), None).await
    }

    async fn start(fixture: &Fixture, queue: Option<String>, bound: Option<(String, &str)>) -> Result<Self> {
        let (connection, channel) = fixture.broker().await?;
        broker::declare(&fixture.amqp.topology(), &channel, LONGEST).await?;
        let queue = match queue {
            Some(queue) => queue,
            None => {
                let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
                channel.queue_declare("".into(), options, FieldTable::default()).await?.name().to_string()
            }
        };
        let name: ShortString = queue.as_str().into();
        if let Some((exchange, key)) = bound {
            let options = QueueBindOptions::default();
            channel
                .queue_bind(name.clone(), exchange.into(), key.into(), options, FieldTable::default())
                .await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut messages = channel.basic_consume(name, "".into(), options, FieldTable::default()).await?;
        let heard = watch::Sender::default();
        let hears = heard.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                hears.send_modify(|heard: &mut Vec<Heard>| heard.push(as_heard(message)));
            }
        });
        Ok(Self { queue, heard, connection })
    }

    /// The queue's name.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Everything so far, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.borrow().clone()
    }

    /// The events of a job so far, in order.
    pub fn events_of(&self, job: JobId) -> Result<Vec<EventMessage>> {
        let mut events = Vec::new();
        for heard in self.heard() {
            let event = heard.event()?;
            if event.job_id == job {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Waits for so many messages, and returns them all.
    pub async fn until_heard(&self, number: usize) -> Result<Vec<Heard>> {
        self.until(|heard| heard.len() >= number).await
    }

    /// Waits for the first message that satisfies `wanted`.
    pub async fn until_one(&self, mut wanted: impl FnMut(&Heard) -> bool) -> Result<Heard> {
        let heard = self.until(|heard| heard.iter().any(&mut wanted)).await?;
        heard.into_iter().find(|heard| wanted(heard)).context("it has just been there")
    }

    /// Waits for this event of a job.
    pub async fn until_event(&self, job: JobId, key: &str) -> Result<Heard> {
        let job = job.to_string();
        self.until_one(|heard| {
            heard.routing_key == key && heard.correlation_id.as_deref() == Some(job.as_str())
        })
        .await
    }

    /// Waits until the messages satisfy `enough`.
    pub async fn until(&self, mut enough: impl FnMut(&[Heard]) -> bool) -> Result<Vec<Heard>> {
        let mut heard = self.heard.subscribe();
        let met = tokio::time::timeout(LONGEST, heard.wait_for(|heard| enough(heard))).await.is_ok();
        let so_far = || {
            self.heard().iter().map(|it| format!("{}: {}\n", it.routing_key, it.json())).collect::<String>()
        };
        ensure!(met, "the messages never came to it; they are\n{}", so_far());
        Ok(self.heard())
    }

    /// Stops listening.
    pub async fn close(self) -> Result<()> {
        Ok(self.connection.close(200, "done".into()).await?)
    }
}

fn as_heard(message: lapin::message::Delivery) -> Heard {
    let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
    let properties = &message.properties;
    let headers = properties.headers().as_ref().map(|table| table.inner().clone()).unwrap_or_default();
    let headers = headers.iter().filter_map(|(name, value)| {
        let text = value.as_long_string().map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        Some((name.to_string(), text?))
    });
    Heard {
        at: Instant::now(),
        routing_key: message.routing_key.to_string(),
        kind: text(properties.kind()),
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        headers: headers.collect(),
        body: message.data,
    }
}
