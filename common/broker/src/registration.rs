//! How one consumer is registered with the broker.

use super::supervisor::{Prefetch, SupervisorOptions};
use super::topology::{
    bind_process_queue, declare_exchanges, declare_process_queue, declare_queue, delete_pages,
};
use super::{AmqpError, bounded, connect};
use configuration::AmqpConfig;
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use protocol::topology::WorkQueue;
use std::time::Duration;
use tokio::time::timeout;

/// Unsettled deliveries of the process queue. They are small and settled at once.
const PROCESS_PREFETCH: u16 = 100;
/// Deleting a queue without a leader takes the broker some time-outs of its own.
const DELETE_TIMEOUTS: u32 = 3;
/// A queue on trial that has said nothing for so long has passed.
const TRIAL: Duration = Duration::from_secs(2);
/// The channel of a call that was not answered is closed behind it; a broker that comes back within this time takes
/// deliveries back that nobody would take in.
const CLOSE_BEHIND: Duration = Duration::from_secs(60);

/// The call that a sick queue does not answer.
const CONSUME: &str = "consume a queue";

const ENDS_CONNECTIONS: &str = "a message in it ends every connection that it is delivered to; a policy with delivery-limit 5 \
                                and a dead-letter-exchange on this queue, for a minute, moves that message away";

/// Why a queue could not be consumed.
pub(super) struct Failure {
    pub(super) error: AmqpError,
    /// What to do about it, where it does not pass by itself.
    pub(super) advice: Option<&'static str>,
}

impl From<AmqpError> for Failure {
    fn from(error: AmqpError) -> Self {
        Self { error, advice: None }
    }
}

/// What registering needs.
#[derive(Debug)]
pub(super) struct Registrar {
    pub(super) config: AmqpConfig,
    pub(super) options: SupervisorOptions,
    pub(super) connection: Connection,
    /// The name of this connection's process queue.
    pub(super) process_queue: String,
}

/// A consumer and its channel.
pub(super) type Consuming = (Channel, Consumer);

impl Registrar {
    /// Declares a queue and consumes it.
    pub(super) async fn work(&self, prefetch: Prefetch) -> Result<Consuming, AmqpError> {
        let (limit, topology) = (self.config.call_timeout, self.config.topology());
        let channel = self.channel(prefetch.limit).await?;
        let registered = async {
            declare_queue(&topology, &channel, limit, prefetch.queue.word()).await?;
            subscribe(&channel, limit, &topology.queue(prefetch.queue), &self.options).await
        };
        match registered.await {
            Ok(consumer) => Ok((channel, consumer)),
            Err(error) => {
                close_behind(channel);
                Err(error)
            }
        }
    }

    /// Declares this connection's process queue and consumes it.
    pub(super) async fn process(&self) -> Result<Consuming, AmqpError> {
        let (limit, topology) = (self.config.call_timeout, self.config.topology());
        let channel = self.channel(PROCESS_PREFETCH).await?;
        declare_process_queue(&topology, &channel, limit, &self.process_queue).await?;
        let consumer = subscribe(&channel, limit, &self.process_queue, &self.options).await?;
        Ok((channel, consumer))
    }

    /// Declares once more whatever the fleet shares, and binds the process queue: both may have vanished while the connection
    /// lives, and nothing says so. Each has a channel of its own, since a refusal closes it.
    pub(super) async fn refresh(&self) -> Result<(), AmqpError> {
        let limit = self.config.call_timeout;
        let channel = bounded(limit, "open a channel", self.connection.create_channel()).await?;
        let topology = self.config.topology();
        let declared = async {
            declare_exchanges(&topology, &channel, limit).await?;
            bind_process_queue(&topology, &channel, limit, &self.process_queue).await
        };
        let declared = declared.await;
        close_behind(channel);
        declared
    }

    /// Whether a queue can be consumed without ending the connection: one of its own, which takes as many messages as a
    /// consumer would, and gives them back.
    pub(super) async fn trial(&self, prefetch: Prefetch) -> Result<(), Failure> {
        let limit = self.config.call_timeout;
        let connection = connect(&self.config, &format!("{} trial", self.options.connection_name)).await?;
        let ended = |error| {
            let advice = (!connection.status().connected()).then_some(ENDS_CONNECTIONS);
            Failure { error, advice }
        };
        let channel = open_channel(&connection, limit, prefetch.limit).await?;
        let name = self.config.topology().queue(prefetch.queue);
        let mut consumer = subscribe(&channel, limit, &name, &self.options).await.map_err(ended)?;
        for _ in 0..prefetch.limit.max(1) {
            match timeout(TRIAL, consumer.next()).await {
                Ok(Some(Ok(_given_back))) => {}
                Ok(Some(Err(source))) => return Err(ended(AmqpError::Failed { call: CONSUME, source })),
                Ok(None) => return Err(ended(AmqpError::Disconnected { call: CONSUME })),
                Err(_silent) => break,
            }
        }
        Ok(bounded(limit, "close a connection", connection.close(200, "tried".into())).await?)
    }

    /// Deletes the queue of doorbells, if the broker says that it is empty and nobody consumes it, and it has left everybody
    /// without an answer for long: a quorum queue that was declared just before its broker was killed can come back without a
    /// leader, for good. It can be declared, but not consumed. Doorbells are rung again.
    pub(super) async fn replace_pages(&self) -> Result<(), AmqpError> {
        let (limit, topology) = (self.config.call_timeout, self.config.topology());
        let channel = self.channel(1).await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let name = topology.queue(WorkQueue::Pages);
        let look = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
        let queue = bounded(limit, "look at a queue", look).await?;
        if queue.message_count() > 0 || queue.consumer_count() > 0 {
            close_behind(channel);
            return Ok(());
        }
        delete_pages(&topology, &channel, limit * DELETE_TIMEOUTS).await?;
        tracing::warn!(
            queue = name,
            "deleted a queue that was empty and could not be consumed; it is declared anew"
        );
        close_behind(channel);
        Ok(())
    }

    async fn channel(&self, prefetch: u16) -> Result<Channel, AmqpError> {
        open_channel(&self.connection, self.config.call_timeout, prefetch).await
    }
}

/// Closes a channel without waiting for it.
pub(super) fn close_behind(channel: Channel) {
    tokio::spawn(async move {
        if let Err(error) = bounded(CLOSE_BEHIND, "close a channel", channel.close(200, "done".into())).await
        {
            tracing::debug!(%error, "a channel did not close in order");
        }
    });
}

/// A channel for one consumer: a slow or broken one does not hold up the others, and the prefetch is its own.
async fn open_channel(connection: &Connection, limit: Duration, prefetch: u16) -> Result<Channel, AmqpError> {
    let channel = bounded(limit, "open a channel", connection.create_channel()).await?;
    // Not global: quorum queues refuse it, and RabbitMQ 4.3 denies it. Never 0: the prefetch is the only bound of
    // what lapin buffers.
    let qos = channel.basic_qos(prefetch.max(1), BasicQosOptions { global: false });
    bounded(limit, "set the prefetch", qos).await?;
    Ok(channel)
}

async fn subscribe(
    channel: &Channel,
    limit: Duration,
    queue: &str,
    options: &SupervisorOptions,
) -> Result<Consumer, AmqpError> {
    let consume = BasicConsumeOptions {
        no_local: false,  // RabbitMQ does not know it.
        no_ack: false,    // Everything is acked after its effect is committed.
        exclusive: false, // The fleet shares its queues; the process queue is exclusive by itself.
        nowait: false,    // A refusal must be seen here.
    };
    let tag = format!("{}.{}", options.worker, channel.id());
    let answer = channel.basic_consume(queue.into(), tag.into(), consume, FieldTable::default());
    bounded(limit, CONSUME, answer).await
}
