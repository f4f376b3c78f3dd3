//! A message as this process holds it, until it is settled.
//!
//! This is the only place that settles deliveries. Each is settled once, by a method that takes it by value, so a
//! second settle does not compile, and a forgotten one is noticed when the delivery is dropped.

use super::bounded;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, BasicProperties};
use metrics::counter;
use protocol::topology::WorkQueue;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The queue that a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsumedQueue {
    /// One that the fleet shares.
    Work(WorkQueue),
    /// This process's own: aborts and canaries.
    Process,
}

impl fmt::Display for ConsumedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(queue) => queue.fmt(f),
            Self::Process => f.write_str("process"),
        }
    }
}

/// Cloned into each delivery of a consumer, so that their number is known, and each knows whether its consumer has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct InHand(Arc<AtomicBool>);

impl InHand {
    /// The broker has ended the consumer: what it brought belongs to others. RabbitMQ 4.3 does so when a delivery was held for
    /// too long, and still takes its ack without a word.
    pub(super) fn lose(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_lost(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn is_free(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// A delivery that could not be settled. The broker will deliver the message again, to us or to another.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The connection or the consumer that brought the message is gone, and with it the right to settle it.
    #[error(
        "{verb} of a delivery from {queue} came too late: its connection or its consumer is gone; it will be redelivered"
    )]
    Lost {
        /// `ack` or `hand back`.
        verb: &'static str,
        /// Where it came from.
        queue: ConsumedQueue,
    },
    /// The broker did not take it, or not in time. It may or may not have reached the broker.
    #[error("{verb} of a delivery from {queue} failed, it may be redelivered: {source}")]
    Failed {
        /// `ack` or `hand back`.
        verb: &'static str,
        /// Where it came from.
        queue: ConsumedQueue,
        /// What happened.
        source: super::AmqpError,
    },
}

/// A message to handle, and the duty to settle it.
///
/// Dropping it unsettled is a bug (most likely a panic in its handler): it is then handed back after a pause, so
/// that it neither holds a slot for ever nor spins between the broker and a handler that always panics.
#[must_use = "a delivery that is not settled holds a slot"]
pub struct Delivery {
    /// The body, of whatever size the broker let through.
    pub body: Vec<u8>,
    /// Set if the message was delivered before, to anyone.
    pub redelivered: bool,
    /// Where it came from.
    pub queue: ConsumedQueue,
    /// The exchange that it was published to; empty if directly to the queue.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// The `message_id` property.
    pub message_id: Option<String>,
    /// The `correlation_id` property.
    pub correlation_id: Option<String>,
    /// The `type` property.
    pub kind: Option<String>,
    /// The queue that the sender expects a reply on.
    pub reply_to: Option<String>,
    /// The headers whose values are text.
    pub headers: Vec<(String, String)>,
    /// All that it came with.
    pub(super) properties: BasicProperties,
    settle: Settle,
}

/// The settling half. `acker` is taken by the first settle.
struct Settle {
    acker: Option<Acker>,
    queue: ConsumedQueue,
    in_hand: InHand,
    limit: Duration,
}

/// How long a delivery that was dropped unsettled is kept from being redelivered.
const PAUSE_AFTER_A_DROP: Duration = Duration::from_secs(5);

impl Delivery {
    /// Wraps what lapin delivered; `limit` bounds the settle.
    pub(super) fn new(
        delivery: lapin::message::Delivery,
        (queue, in_hand): (ConsumedQueue, InHand),
        limit: Duration,
    ) -> Self {
        let properties = &delivery.properties;
        let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
        Self {
            redelivered: delivery.redelivered,
            queue,
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            message_id: text(properties.message_id()),
            correlation_id: text(properties.correlation_id()),
            kind: text(properties.kind()),
            reply_to: text(properties.reply_to()),
            headers: properties.headers().as_ref().map(text_headers).unwrap_or_default(),
            body: delivery.data,
            properties: delivery.properties,
            settle: Settle { acker: Some(delivery.acker), queue, in_hand, limit },
        }
    }

    /// The value of a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Done with: the broker forgets the message. Call this only after the commit of what the message asked for,
    /// and after the confirm of what it led to.
    ///
    /// # Errors
    /// The message will be delivered again. Its effect is committed, so the repeat changes nothing.
    pub async fn ack(mut self) -> Result<(), SettleError> {
        let Some(acker) = self.settle.acker.take() else { return Ok(()) };
        let ack = acker.ack(BasicAckOptions { multiple: false });
        self.settle.outcome("ack", bounded(self.settle.limit, "ack", ack).await)
    }

    /// Not done, and not the message's fault: somebody else gets it, at once, with `redelivered` set.
    ///
    /// # Errors
    /// The message will be delivered again, if not by this then when its connection ends.
    pub async fn hand_back(mut self) -> Result<(), SettleError> {
        let Some(acker) = self.settle.acker.take() else { return Ok(()) };
        let nack = acker.nack(BasicNackOptions { multiple: false, requeue: true });
        self.settle.outcome("hand back", bounded(self.settle.limit, "nack", nack).await)
    }
}

impl Settle {
    /// lapin says `Ok(false)` of a delivery whose channel is gone: the settle did not happen.
    fn outcome(&self, verb: &'static str, result: Result<bool, super::AmqpError>) -> Result<(), SettleError> {
        let error = match result {
            Ok(true) if !self.in_hand.is_lost() => return Ok(()),
            Ok(_) => SettleError::Lost { verb, queue: self.queue },
            Err(source) => SettleError::Failed { verb, queue: self.queue, source },
        };
        counter!("amqp_ack_lost_total").increment(1);
        Err(error)
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        let Some(acker) = self.acker.take() else { return };
        if !acker.usable() {
            return; // Its connection is gone: the broker has already given the message to somebody else.
        }
        tracing::error!(queue = %self.queue, "a delivery was dropped unsettled; it is handed back after a pause");
        let (limit, queue) = (self.limit, self.queue);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::time::sleep(PAUSE_AFTER_A_DROP).await;
            let nack = acker.nack(BasicNackOptions { multiple: false, requeue: true });
            if let Err(error) = bounded(limit, "nack", nack).await {
                tracing::warn!(%queue, %error, "could not hand back a delivery that was dropped unsettled");
            }
        });
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue)
            .field("routing_key", &self.routing_key)
            .field("redelivered", &self.redelivered)
            .field("message_id", &self.message_id)
            .field("kind", &self.kind)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

fn text_headers(table: &FieldTable) -> Vec<(String, String)> {
    let text = |value: &AMQPValue| match value.as_long_string() {
        Some(long) => Some(String::from_utf8_lossy(long.as_bytes()).into_owned()),
        None => value.as_short_string().map(ToString::to_string),
    };
    table.inner().iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_text_are_kept() {
        let mut table = FieldTable::default();
        table.insert("traceparent".into(), AMQPValue::LongString("00-1-2-01".into()));
        table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(3));
        assert_eq!(text_headers(&table), [("traceparent".to_owned(), "00-1-2-01".to_owned())]);
    }
}
