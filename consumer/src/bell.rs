//! Everything that a consumer publishes, in the words of the protocol.

use chrono::{DateTime, Utc};
use common::amqp::{Delivery, Destination, Envelope, PublishError, Publisher, Topology, header};
use common::command::{Reply, Undecodable};
use common::contract::MarkerMessage;
use common::ids::{JobId, WorkerId};
use common::slice::Ring;
use futures::future::join_all;
use serde_json::json;

/// The longest header, in bytes, that a dead letter takes over from the message that it was.
const LONGEST_CARRIED: usize = 255;

/// Publishes doorbells, markers, aborts, replies and dead letters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bell {
    publisher: Publisher,
    topology: Topology,
}

impl Bell {
    /// A bell on a publisher.
    #[must_use]
    pub const fn new(publisher: Publisher, topology: Topology) -> Self {
        Self { publisher, topology }
    }

    /// Rings a slice, and waits for the broker's confirm.
    ///
    /// # Errors
    /// When the broker does not confirm. The slice is marked as rung: if the doorbell is lost, the markers tell.
    pub async fn ring(&self, ring: Ring) -> Result<(), PublishError> {
        self.publisher.publish(Envelope::doorbell(ring)).await
    }

    /// Rings slices, with their confirms pipelined. Failures are logged: the markers find what is lost.
    pub async fn ring_all(&self, rings: Vec<Ring>) {
        let results = join_all(rings.into_iter().map(|ring| self.ring(ring))).await;
        let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        if let Some(error) = failed.first() {
            tracing::warn!(%error, doorbells = failed.len(), "doorbells are not confirmed; lost ones are rung again");
        }
    }

    /// Tells every process to abort its pages of a job. Best effort: renewals and the deadline do it too.
    pub async fn abort(&self, job: JobId) {
        if let Err(error) = self.publisher.publish(Envelope::abort(job)).await {
            tracing::warn!(%job, %error, "the abort was not pushed; workers see the cancel at their next renewal");
        }
    }

    /// Publishes a marker among the doorbells.
    ///
    /// # Errors
    /// When the broker does not confirm; the marker is out, and sent again when the next one is due.
    pub async fn marker(&self, number: i64) -> Result<(), PublishError> {
        let body = json!(MarkerMessage { marker: number }).to_string();
        let envelope =
            Envelope::new(Destination::Marker, "marker", body).with_message_id(format!("marker/{number}"));
        self.publisher.publish(envelope).await
    }

    /// Answers a command, if it asked for that: with its `correlation_id`, or with its `message_id` for want of one. Best
    /// effort.
    pub async fn reply(&self, delivery: &Delivery, reply: &Reply, warning: Option<String>) {
        let Some(queue) = delivery.reply_to.clone() else { return };
        let mut envelope = Envelope::new(Destination::Reply { queue }, "reply", json!(reply).to_string());
        if let Some(correlation) = delivery.correlation_id.clone().or_else(|| delivery.message_id.clone()) {
            envelope = envelope.with_correlation_id(correlation);
        }
        if let Some(warning) = warning {
            envelope = envelope.with_header("x-warning", warning);
        }
        if let Err(error) = self.publisher.publish(envelope).await {
            tracing::warn!(%error, "a reply was not confirmed");
        }
    }

    /// Puts a message that can never be applied where people look, with the reason beside it.
    ///
    /// # Errors
    /// When the broker does not confirm; the message is then not to be acked.
    pub async fn dead_letter(
        &self,
        delivery: &Delivery,
        why: &Undecodable,
        first_seen: DateTime<Utc>,
    ) -> Result<(), PublishError> {
        // The same message has the same identity each time, so that a repeat after a lost confirm can be recognised.
        let id =
            delivery.message_id.clone().unwrap_or_else(|| blake3::hash(&delivery.body).to_hex().to_string());
        let kind = delivery.kind.clone().unwrap_or_else(|| "unknown".to_owned());
        let mut detail = why.detail.clone();
        detail.truncate(detail.floor_char_boundary(1000));
        // Whoever sent it has written them, so they may be of any length.
        let carried = |name: &str| delivery.header(name).filter(|value| value.len() <= LONGEST_CARRIED);
        // One that was sent back, and is refused again, is as old as it is.
        let first_seen =
            carried(header::FIRST_SEEN).map_or_else(|| first_seen.to_rfc3339(), ToOwned::to_owned);
        let mut envelope = Envelope::new(Destination::DeadLetter, kind, delivery.body.clone())
            .with_message_id(id)
            .with_header(header::REASON, why.reason)
            .with_header(header::DETAIL, detail)
            .with_header(header::FIRST_SEEN, first_seen)
            .with_header(header::QUEUE, delivery.queue.to_string())
            .with_header(header::EXCHANGE, delivery.exchange.clone())
            .with_header(header::ROUTING_KEY, delivery.routing_key.clone())
            .with_header(header::REDELIVERED, delivery.redelivered.to_string());
        if let Some(trace) = carried("traceparent") {
            envelope = envelope.with_header("traceparent", trace);
        }
        // Kept, so that it can be published again as it was.
        envelope.correlation_id.clone_from(&delivery.correlation_id);
        envelope.reply_to.clone_from(&delivery.reply_to);
        self.publisher.publish(envelope).await
    }

    /// Sends a message to this process's own queue; see [`crate::canary`].
    ///
    /// # Errors
    /// When the broker does not confirm.
    pub async fn canary(&self, worker: WorkerId) -> Result<(), PublishError> {
        let queue = self.topology.process_queue(worker);
        self.publisher.publish(Envelope::new(Destination::Canary { queue }, "canary", "{}")).await
    }

    /// Whether there is a connection to publish on that the broker does not block.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.publisher.is_connected() && !self.publisher.is_blocked()
    }
}
