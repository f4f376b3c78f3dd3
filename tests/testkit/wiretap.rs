//! What a test does to the messages of its namespace: it overhears them, repeats them, loses them, and has them
//! delivered again.

use crate::fixture::Fixture;
use crate::proxy::FaultProxy;
use anyhow::{Context, Result, ensure};
use broker::{Destination, Envelope};
use futures::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicNackOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use protocol::ids::JobId;
use protocol::slice::Ring;
use protocol::topology::KEY_CANCEL;
use protocol::topology::KEY_PAGE;
use protocol::topology::KEY_START;
use protocol::topology::WorkQueue;
use std::time::Duration;
use tokio::sync::watch;

/// A condition that is not met by then never will be.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two looks at a queue.
const LOOK: Duration = Duration::from_millis(10);

/// A message as it was published, whoever published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overheard {
    /// `sync.start`, `sync.cancel`, or `page`.
    pub routing_key: String,
    /// The `type` property.
    pub kind: String,
    /// The `message_id` property.
    pub message_id: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Overheard {
    /// The doorbell, if it is one.
    #[must_use]
    pub fn ring(&self) -> Option<Ring> {
        if self.kind == "page" { serde_json::from_slice(&self.body).ok() } else { None }
    }
}

/// Gets a copy of every command, doorbell and marker of a namespace, from its making on.
#[derive(Debug)]
pub struct Wiretap {
    heard: watch::Sender<Vec<Overheard>>,
    connection: Connection,
}

impl Wiretap {
    /// Listens in.
    pub async fn on(fixture: &Fixture) -> Result<Self> {
        let (connection, channel) = fixture.broker().await?;
        let topology = fixture.amqp.topology();
        broker::declare(&topology, &channel, LONGEST).await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
        for (exchange, key) in [
            (topology.commands(), KEY_START),
            (topology.commands(), KEY_CANCEL),
            (topology.pages(), KEY_PAGE),
        ] {
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue.clone(), exchange.into(), key.into(), options, FieldTable::default())
                .await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut copies = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        let heard = watch::Sender::default();
        let hears = heard.clone();
        tokio::spawn(async move {
            while let Some(Ok(copy)) = copies.next().await {
                let text =
                    |property: &Option<lapin::types::ShortString>| property.as_ref().map(ToString::to_string);
                let message = Overheard {
                    routing_key: copy.routing_key.to_string(),
                    kind: text(copy.properties.kind()).unwrap_or_default(),
                    message_id: text(copy.properties.message_id()).unwrap_or_default(),
                    body: copy.data,
                };
                hears.send_modify(|heard: &mut Vec<Overheard>| heard.push(message));
            }
        });
        Ok(Self { heard, connection })
    }

    /// Everything that was published so far, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<Overheard> {
        self.heard.borrow().clone()
    }

    /// The doorbells of a job so far, in order.
    #[must_use]
    pub fn rings(&self, job: JobId) -> Vec<Ring> {
        rings(&self.heard.borrow(), job)
    }

    /// Waits until the doorbells of a job satisfy `enough`.
    pub async fn until_rings(&self, job: JobId, mut enough: impl FnMut(&[Ring]) -> bool) -> Result<()> {
        self.until(|heard| enough(&rings(heard, job))).await
    }

    /// Waits until everything that was published satisfies `enough`.
    pub async fn until(&self, mut enough: impl FnMut(&[Overheard]) -> bool) -> Result<()> {
        let mut heard = self.heard.subscribe();
        let met = tokio::time::timeout(LONGEST, heard.wait_for(|heard| enough(heard))).await.is_ok();
        ensure!(met, "the messages never came to it; they are {:#?}", self.heard());
        Ok(())
    }

    /// Stops listening.
    pub async fn close(self) -> Result<()> {
        Ok(self.connection.close(200, "done".into()).await?)
    }
}

/// Gets everything that is told of jobs, from its making on.
#[derive(Debug)]
pub struct Events {
    connection: Connection,
    channel: Channel,
    queue: lapin::types::ShortString,
}

impl Events {
    /// Everything that was told, properties and body, and stops listening.
    pub async fn end(self) -> Result<Vec<String>> {
        let mut told = Vec::new();
        while let Some(got) =
            self.channel.basic_get(self.queue.clone(), BasicGetOptions { no_ack: true }).await?
        {
            let body = String::from_utf8_lossy(&got.delivery.data);
            told.push(format!("{} {:?} {body}", got.delivery.routing_key, got.delivery.properties));
        }
        self.connection.close(200, "done".into()).await?;
        Ok(told)
    }
}

fn rings(heard: &[Overheard], job: JobId) -> Vec<Ring> {
    heard.iter().filter_map(Overheard::ring).filter(|ring| ring.job == job).collect()
}

impl Fixture {
    /// Publishes a message once more, as it was.
    pub async fn repeat(&self, message: &Overheard) -> Result<()> {
        let destination = match (message.routing_key.as_str(), message.kind.as_str()) {
            (KEY_START, _) => Destination::StartCommand,
            (KEY_CANCEL, _) => Destination::CancelCommand,
            (_, "marker") => Destination::Marker,
            _ => Destination::Page,
        };
        let envelope = Envelope::new(destination, &message.kind, message.body.clone())
            .with_message_id(&message.message_id);
        Ok(self.publisher.publish(envelope).await?)
    }

    /// Has every message that waits in a queue delivered to nobody and put back, so that its next delivery is a
    /// redelivery. Returns how many they were.
    pub async fn redeliver(&self, queue: WorkQueue) -> Result<u32> {
        let (connection, channel) = self.broker().await?;
        let name = self.amqp.topology().queue(queue);
        let (mut number, mut last) = (0, None);
        while let Some(got) =
            channel.basic_get(name.as_str().into(), BasicGetOptions { no_ack: false }).await?
        {
            number += 1;
            last = Some(got.delivery.delivery_tag);
        }
        if let Some(tag) = last {
            channel.basic_nack(tag, BasicNackOptions { multiple: true, requeue: true }).await?;
        }
        connection.close(200, "done".into()).await?;
        Ok(number)
    }

    /// Listens to what is told of jobs.
    pub async fn listen_to_events(&self) -> Result<Events> {
        self.listen_to(&[(self.amqp.topology().events(), "#")]).await
    }

    /// Gets a copy of whatever is published to any exchange, dead letters included if they are published.
    pub async fn listen_to_everything(&self) -> Result<Events> {
        let topology = self.amqp.topology();
        self.listen_to(&[
            (topology.events(), "#"),
            (topology.aborts(), ""),
            (topology.unrouted(), ""),
            (topology.commands(), KEY_START),
            (topology.commands(), KEY_CANCEL),
            (topology.pages(), KEY_PAGE),
        ])
        .await
    }

    /// What waits in the queue of dead letters, properties and body. It stays there.
    pub async fn look_at_dead_letters(&self) -> Result<Vec<String>> {
        let (connection, channel) = self.broker().await?;
        let (name, mut letters) = (self.amqp.topology().dead_letters(), Vec::new());
        let options = BasicGetOptions { no_ack: false };
        // Closing the connection gives them back.
        while let Some(got) = channel.basic_get(name.as_str().into(), options).await? {
            let body = String::from_utf8_lossy(&got.delivery.data);
            letters.push(format!("{:?} {body}", got.delivery.properties));
        }
        connection.close(200, "looked".into()).await?;
        Ok(letters)
    }

    async fn listen_to(&self, bindings: &[(String, &str)]) -> Result<Events> {
        let (connection, channel) = self.broker().await?;
        let topology = self.amqp.topology();
        broker::declare(&topology, &channel, LONGEST).await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
        for (exchange, key) in bindings {
            let (exchange, key) = (exchange.as_str().into(), (*key).into());
            let options = QueueBindOptions::default();
            channel.queue_bind(queue.clone(), exchange, key, options, FieldTable::default()).await?;
        }
        Ok(Events { connection, channel, queue })
    }

    /// Waits until every message of a queue is in a consumer's hands, or gone.
    pub async fn until_delivered(&self, queue: WorkQueue) -> Result<()> {
        let delivered = tokio::time::timeout(LONGEST, async {
            while self.waiting(queue).await? > 0 {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        });
        delivered.await.with_context(|| format!("messages wait in the queue of {queue}"))?
    }

    /// Loses every message that waits in a queue. Returns how many they were.
    pub async fn lose(&self, queue: WorkQueue) -> Result<u32> {
        let (connection, channel) = self.broker().await?;
        let name = self.amqp.topology().queue(queue);
        let lost = channel.queue_purge(name.into(), QueuePurgeOptions::default()).await?;
        connection.close(200, "done".into()).await?;
        Ok(lost)
    }

    /// The name of a work queue.
    #[must_use]
    pub fn queue(&self, queue: WorkQueue) -> String {
        self.amqp.topology().queue(queue)
    }

    /// Deletes a queue, with what is in it.
    pub async fn delete_queue(&self, queue: WorkQueue) -> Result<()> {
        let (connection, channel) = self.broker().await?;
        channel.queue_delete(self.queue(queue).into(), QueueDeleteOptions::default()).await?;
        Ok(connection.close(200, "done".into()).await?)
    }

    /// Waits until a queue is there and has a consumer.
    pub async fn until_consumed(&self, queue: WorkQueue) -> Result<()> {
        let consumed = tokio::time::timeout(LONGEST, async {
            loop {
                let (connection, channel) = self.broker().await?;
                let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                let found =
                    channel.queue_declare(self.queue(queue).into(), options, FieldTable::default()).await;
                drop(connection.close(200, "looked".into()).await);
                if found.is_ok_and(|found| found.consumer_count() > 0) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        consumed.await.with_context(|| format!("nobody consumes the queue of {queue}"))?
    }

    /// Takes the exchange away over which aborts are pushed; processes that run have no binding to one that is made anew.
    pub async fn cut_push(&self) -> Result<()> {
        let (connection, channel) = self.broker().await?;
        let name = self.amqp.topology().aborts();
        channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await?;
        Ok(connection.close(200, "done".into()).await?)
    }

    /// Makes what is missing of the exchanges and queues.
    pub async fn declare(&self) -> Result<()> {
        let (connection, channel) = self.broker().await?;
        broker::declare(&self.amqp.topology(), &channel, LONGEST).await?;
        Ok(connection.close(200, "done".into()).await?)
    }

    /// A proxy in front of the broker, and the broker's address through it.
    pub async fn broker_proxy(&self) -> Result<(FaultProxy, String)> {
        let url = self.amqp.url.parse().context("AMQP_URL is not a URL")?;
        let (proxy, url) = FaultProxy::before(&url, 5672).await?;
        Ok((proxy, url.to_string()))
    }

    /// A connection of one's own, and a channel of it.
    pub async fn broker(&self) -> Result<(Connection, Channel)> {
        let connection = broker::connect(&self.amqp, "backhaul-test").await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }
}
