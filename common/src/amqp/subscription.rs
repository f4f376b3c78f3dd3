//! A connection with all of a process's consumers: how it is built, and what to do about a queue that refuses.

use super::delivery::ConsumedQueue;
use super::supervisor::{Prefetch, Refusals, SupervisorOptions, SupervisorStatus, set_status};
use super::topology::WorkQueue;
use super::{AmqpConfig, AmqpError, bounded, connect};
use futures::future::join_all;
use futures::stream::{BoxStream, SelectAll, StreamExt, once};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Unsettled deliveries of the process queue. They are small and settled at once.
const PROCESS_PREFETCH: u16 = 100;

/// Deleting a queue without a leader takes the broker some time-outs of its own.
const DELETE_TIMEOUTS: u32 = 3;

/// The call that a sick queue does not answer.
const CONSUME: &str = "consume a queue";

/// A connection with all its consumers.
pub(super) struct Subscription {
    pub(super) connection: Connection,
    consumers: Vec<Registered>,
    /// What the consumers bring, whichever has something.
    pub(super) arrivals: SelectAll<BoxStream<'static, Arrival>>,
}

/// A consumer, by what is needed to watch it and to end it.
struct Registered {
    queue: ConsumedQueue,
    channel: Channel,
    tag: ShortString,
    /// When it last brought something, or was registered.
    since: Instant,
    /// Cloned into each delivery in hand, so that its count tells how many there are.
    in_hand: Arc<()>,
    state: State,
}

/// How far a consumer has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It brings deliveries, and should go on to.
    Active,
    /// It was told to end; what was on its way still comes.
    Cancelled,
    /// Its stream has ended.
    Ended,
}

/// What a consumer's stream brings (with the consumer's tag); `None` is its end.
pub(super) type Arrival = (ShortString, Option<lapin::Result<lapin::message::Delivery>>);

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
            // Its refusal must not keep the fleet from its work. The connection after this one tries it again.
            if prefetch.queue.is_spare() && refusals.forgive(prefetch.queue) {
                continue;
            }
            if let Err(error) = subscription.consume(config, options, *prefetch).await {
                if is_to_be_counted(&subscription.connection, config, prefetch.queue, &error).await {
                    refusals.count(prefetch.queue, &error);
                }
                return Err(error);
            }
            refusals.forget(prefetch.queue);
        }
        let channel = open_channel(&subscription.connection, limit, PROCESS_PREFETCH).await?;
        let name = topology.declare_process_queue(&channel, limit, options.worker).await?;
        let consumer = subscribe(&channel, limit, &name, options).await?;
        subscription.add(ConsumedQueue::Process, channel, consumer);
        Ok(subscription)
    }

    /// Notes that a consumer has brought something. Gives its queue, and what the delivery in hand is counted by.
    pub(super) fn arrived(&mut self, tag: &ShortString) -> Option<(ConsumedQueue, Arc<()>)> {
        let consumer = self.consumers.iter_mut().find(|consumer| consumer.tag == *tag)?;
        consumer.since = Instant::now();
        Some((consumer.queue, Arc::clone(&consumer.in_hand)))
    }

    /// Notes that a consumer's stream has ended. Gives its queue if it was not asked to.
    pub(super) fn ended(&mut self, tag: &ShortString) -> Option<ConsumedQueue> {
        let consumer = self.consumers.iter_mut().find(|consumer| consumer.tag == *tag)?;
        let asked = std::mem::replace(&mut consumer.state, State::Ended) == State::Cancelled;
        (!asked).then_some(consumer.queue)
    }

    /// How many work consumers may still bring something.
    pub(super) fn open_work(&self) -> usize {
        let open = |it: &&Registered| it.queue != ConsumedQueue::Process && it.state != State::Ended;
        self.consumers.iter().filter(open).count()
    }

    /// Ends all work consumers.
    pub(super) async fn cancel_work(&mut self, limit: Duration) {
        let active = |it: &&mut Registered| it.queue != ConsumedQueue::Process && it.state == State::Active;
        join_all(self.consumers.iter_mut().filter(active).map(|consumer| async move {
            if let Err(error) = consumer.cancel(limit).await {
                tracing::warn!(queue = %consumer.queue, %error, "a consumer did not end in order");
            }
        }))
        .await;
    }

    /// Replaces one work consumer that has brought nothing for long.
    ///
    /// A quorum queue that is deleted and declared again at once keeps its consumers without a word (seen on
    /// 3.10.8): it assigns messages to them, but none is ever delivered. Nothing in AMQP tells such a consumer
    /// from one that has nothing to do. Closing its channel gives the messages back.
    pub(super) async fn renew_idle(
        &mut self,
        config: &AmqpConfig,
        options: &SupervisorOptions,
    ) -> Result<(), AmqpError> {
        let limit = config.call_timeout;
        // Predecessors have brought all they had. One that brought something at the last moment keeps its channel
        // until that is settled.
        if let Some(done) = self.consumers.iter().position(|it| it.state == State::Ended && it.is_free()) {
            self.consumers.swap_remove(done).close(limit).await;
        }
        let idle = |it: &Registered| {
            it.state == State::Active && it.is_free() && it.since.elapsed() >= config.renew_idle_after
        };
        for prefetch in &options.queues {
            let queue = ConsumedQueue::Work(prefetch.queue);
            if let Some(place) = self.consumers.iter().position(|it| it.queue == queue && idle(it)) {
                self.consume(config, options, *prefetch).await?;
                return self.consumers[place].cancel(limit).await;
            }
        }
        Ok(())
    }

    /// Closes all channels.
    pub(super) async fn close(&mut self, limit: Duration) {
        join_all(self.consumers.iter().map(|consumer| consumer.close(limit))).await;
    }

    async fn consume(
        &mut self,
        config: &AmqpConfig,
        options: &SupervisorOptions,
        prefetch: Prefetch,
    ) -> Result<(), AmqpError> {
        let channel = open_channel(&self.connection, config.call_timeout, prefetch.limit).await?;
        let name = config.topology().queue(prefetch.queue);
        let consumer = subscribe(&channel, config.call_timeout, &name, options).await?;
        self.add(ConsumedQueue::Work(prefetch.queue), channel, consumer);
        Ok(())
    }

    fn add(&mut self, queue: ConsumedQueue, channel: Channel, consumer: Consumer) {
        let tag = consumer.tag();
        let (of_arrival, of_end) = (tag.clone(), tag.clone());
        let end = once(async move { (of_end, None) });
        self.arrivals.push(consumer.map(move |it| (of_arrival.clone(), Some(it))).chain(end).boxed());
        let (since, in_hand) = (Instant::now(), Arc::new(()));
        self.consumers.push(Registered { queue, channel, tag, since, in_hand, state: State::Active });
    }
}

impl Registered {
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.in_hand) == 1
    }

    /// Asks for no more deliveries. Those on their way still come, then the stream ends.
    async fn cancel(&mut self, limit: Duration) -> Result<(), AmqpError> {
        self.state = State::Cancelled;
        let cancel = self.channel.basic_cancel(self.tag.clone(), BasicCancelOptions { nowait: false });
        bounded(limit, "cancel a consumer", cancel).await
    }

    /// A closed channel is the broker's word that it has seen every settle sent through it.
    async fn close(&self, limit: Duration) {
        let close = self.channel.close(200, "done".into());
        if let Err(error) = bounded(limit, "close a channel", close).await {
            tracing::debug!(queue = %self.queue, %error, "a channel did not close in order");
        }
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
    bounded(limit, CONSUME, answer).await
}

/// Whether a queue lets a message be looked at. One that does has a leader, and what is in it is not lost yet: doorbells
/// come back by themselves, commands do not, so such a queue of theirs is waited for and never deleted.
async fn answers(connection: &Connection, queue: &str, limit: Duration) -> bool {
    let Ok(channel) = bounded(limit, "open a channel", connection.create_channel()).await else {
        return false;
    };
    let get = channel.basic_get(queue.into(), BasicGetOptions { no_ack: false });
    let answered = bounded(limit, "look into a queue", get).await.is_ok();
    // Gives the message back.
    if let Err(error) = bounded(limit, "close a channel", channel.close(200, "looked".into())).await {
        tracing::debug!(queue, %error, "a channel did not close in order");
    }
    answered
}

/// Whether a queue that was refused is to be treated otherwise next time: deleted, or if it is spare left alone.
async fn is_to_be_counted(
    connection: &Connection,
    config: &AmqpConfig,
    queue: WorkQueue,
    error: &AmqpError,
) -> bool {
    let limit = config.call_timeout;
    let fault = is_queues_fault(connection, error, limit).await;
    match queue {
        WorkQueue::Pages => fault,
        WorkQueue::Starts | WorkQueue::Cancels => {
            fault && !answers(connection, &config.topology().queue(queue), limit).await
        }
        WorkQueue::Unrouted => fault || is_refusal(error),
    }
}

/// Whether the broker itself said no.
fn is_refusal(error: &AmqpError) -> bool {
    matches!(error, AmqpError::Failed { source, .. } if matches!(source.kind(), ErrorKind::ProtocolError(_)))
}

/// Whether a failed consume is the queue's own fault, so that a new queue would cure it. Deleting loses messages,
/// so every other refusal (permissions, arguments, another's exclusive consumer, a dead network) is left alone.
async fn is_queues_fault(connection: &Connection, error: &AmqpError, limit: Duration) -> bool {
    let source = match error {
        // A broker that answers anything else on this connection is well, so it is the queue that is not.
        AmqpError::TimedOut { call, .. } if *call == CONSUME => {
            return bounded(limit, "probe the connection", connection.create_channel()).await.is_ok();
        }
        AmqpError::Failed { call, source } if *call == CONSUME => source,
        AmqpError::TimedOut { .. }
        | AmqpError::Failed { .. }
        | AmqpError::Url { .. }
        | AmqpError::Namespace { .. }
        | AmqpError::CaFile { .. }
        | AmqpError::Disconnected { .. } => return false,
    };
    let ErrorKind::ProtocolError(refusal) = source.kind() else { return false };
    match refusal.kind() {
        AMQPErrorKind::Soft(soft) => matches!(soft, AMQPSoftError::NOTFOUND),
        AMQPErrorKind::Hard(hard) => matches!(hard, AMQPHardError::INTERNALERROR),
    }
}
