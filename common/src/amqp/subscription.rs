//! A connection with all of a process's consumers: how it is built, and what to do about a queue that refuses.

use super::delivery::ConsumedQueue;
use super::supervisor::{Refusals, SupervisorOptions, SupervisorStatus, set_status};
use super::{AmqpConfig, AmqpError, bounded, connect};
use futures::stream::{BoxStream, SelectAll, StreamExt, once};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer, ErrorKind};
use std::time::Duration;
use tokio::sync::watch;

/// Unsettled deliveries of the process queue. They are small and settled at once.
const PROCESS_PREFETCH: u16 = 100;

/// Deleting a queue without a leader takes the broker some time-outs of its own.
const DELETE_TIMEOUTS: u32 = 3;

/// A connection with all its consumers.
pub(super) struct Subscription {
    pub(super) connection: Connection,
    pub(super) consumers: Vec<Registered>,
    /// What the consumers bring, whichever has something.
    pub(super) arrivals: SelectAll<BoxStream<'static, Arrival>>,
}

/// A consumer, by what is needed to end it.
pub(super) struct Registered {
    pub(super) queue: ConsumedQueue,
    pub(super) channel: Channel,
    pub(super) tag: ShortString,
}

/// What a consumer's stream brings; `None` is its end.
pub(super) type Arrival = (ConsumedQueue, Option<lapin::Result<lapin::message::Delivery>>);

impl Subscription {
    /// Connects, declares, and registers all consumers. What fails halfway is dropped, which closes it.
    pub(super) async fn open(
        config: &AmqpConfig,
        options: &SupervisorOptions,
        status: &watch::Sender<SupervisorStatus>,
        refusals: &mut Refusals,
    ) -> Result<Self, AmqpError> {
        let limit = config.call_timeout;
        let topology = config.topology();
        let connection = connect(config, &options.connection_name).await?;
        set_status(status, |status| status.connected = true);

        // A refused declaration closes its channel, so it gets one that nobody else uses.
        let channel = bounded(limit, "open a channel", connection.create_channel()).await?;
        for queue in refusals.condemned() {
            topology.delete_queue(&channel, limit * DELETE_TIMEOUTS, queue).await?;
            refusals.forget(queue);
            tracing::warn!(%queue, "deleted a queue that refused to be consumed; it is declared anew");
        }
        topology.declare(&channel, limit).await?;
        bounded(limit, "close a channel", channel.close(200, "declared".into())).await?;

        let mut subscription = Self { connection, consumers: Vec::new(), arrivals: SelectAll::new() };
        for prefetch in &options.queues {
            let channel = open_channel(&subscription.connection, limit, prefetch.limit).await?;
            match subscribe(&channel, limit, &topology.queue(prefetch.queue), options).await {
                Ok(consumer) => subscription.add(ConsumedQueue::Work(prefetch.queue), channel, consumer),
                Err(error) => {
                    if is_queues_fault(&subscription.connection, &error, limit).await {
                        refusals.count(prefetch.queue, &error);
                    }
                    return Err(error);
                }
            }
            refusals.forget(prefetch.queue);
        }
        let channel = open_channel(&subscription.connection, limit, PROCESS_PREFETCH).await?;
        let name = topology.declare_process_queue(&channel, limit, options.worker).await?;
        let consumer = subscribe(&channel, limit, &name, options).await?;
        subscription.add(ConsumedQueue::Process, channel, consumer);
        Ok(subscription)
    }

    fn add(&mut self, queue: ConsumedQueue, channel: Channel, consumer: Consumer) {
        self.consumers.push(Registered { queue, channel, tag: consumer.tag() });
        let end = once(async move { (queue, None) });
        self.arrivals.push(consumer.map(move |arrival| (queue, Some(arrival))).chain(end).boxed());
    }
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
    bounded(limit, "consume a queue", answer).await
}

/// Whether a failed consume is the queue's own fault, so that a new queue would cure it. A lack of permission,
/// another's exclusive consumer or a dead network it would not cure, and messages would be lost.
async fn is_queues_fault(connection: &Connection, error: &AmqpError, limit: Duration) -> bool {
    let source = match error {
        // A broker that answers anything else on this connection is well, so it is the queue that is not.
        AmqpError::TimedOut { .. } => {
            return bounded(limit, "probe the connection", connection.create_channel()).await.is_ok();
        }
        AmqpError::Failed { source, .. } => source,
        AmqpError::Url { .. } | AmqpError::Namespace { .. } | AmqpError::Disconnected { .. } => return false,
    };
    let ErrorKind::ProtocolError(refusal) = source.kind() else { return false };
    match refusal.kind() {
        AMQPErrorKind::Soft(soft) => {
            !matches!(soft, AMQPSoftError::ACCESSREFUSED | AMQPSoftError::RESOURCELOCKED)
        }
        AMQPErrorKind::Hard(hard) => matches!(hard, AMQPHardError::INTERNALERROR),
    }
}
