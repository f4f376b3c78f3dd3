//! Everything that a consumer publishes, in the words of the protocol.

use crate::replies::{LostReplies, reply_queue};
use broker::{Delivery, Destination, Envelope, PublishError, Publisher, why_unrouted};
use chrono::{DateTime, Utc};
use futures::future::join_all;
use metrics::counter;
use protocol::command::{Rejection, Reply};
use protocol::contract::MarkerMessage;
use protocol::ids::JobId;
use protocol::slice::Ring;
use protocol::topology::Topology;
use protocol::topology::WorkQueue;
use protocol::trace;
use serde_json::json;
use std::sync::Arc;
use store::traces::Traces;

/// Publishes doorbells, markers, aborts, replies and dead letters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    publisher: Publisher,
    topology: Topology,
    traces: Traces,
    lost_replies: LostReplies,
}

impl Outbox {
    /// An outbox on a publisher.
    #[must_use]
    pub fn new(publisher: Publisher, topology: Topology, traces: Traces) -> Self {
        Self { publisher, topology, traces, lost_replies: LostReplies::default() }
    }

    /// Notes that a job was made for the command that is being handled, whose trace its doorbells carry.
    pub fn made(&self, job: JobId) {
        self.traces.made(job);
    }

    /// Rings a slice, and waits for the broker's confirm.
    ///
    /// # Errors
    /// When the broker does not confirm. The slice is marked as rung: if the doorbell is lost, the markers tell.
    pub async fn ring(&self, ring: Ring) -> Result<(), PublishError> {
        let trace = self.traces.of(ring.job).await;
        self.publisher.publish(Envelope::doorbell(ring).with_trace(trace.as_deref())).await
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
        // Of the command that is being handled, which is why the job is aborted; else of the job's own.
        let trace = match trace::current() {
            Some(trace) => Some(Arc::from(trace)),
            None => self.traces.of(job).await,
        };
        if let Err(error) = self.publisher.publish(Envelope::abort(job).with_trace(trace.as_deref())).await {
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
        let Some(queue) = delivery.reply_to.as_deref().and_then(reply_queue) else { return };
        let mut envelope = Envelope::new(Destination::Reply { queue }, "reply", json!(reply).to_string())
            .with_trace(trace::current().as_deref());
        if let Some(correlation) = delivery.correlation_id.clone().or_else(|| delivery.message_id.clone()) {
            envelope = envelope.with_correlation_id(correlation);
        }
        if let Some(warning) = warning {
            envelope = envelope.with_header("x-warning", warning);
        }
        match self.publisher.publish(envelope).await {
            Ok(()) => {}
            Err(PublishError::NoQueue { queue }) => {
                counter!("replies_without_a_queue_total").increment(1);
                if self.lost_replies.is_new(&queue) {
                    tracing::warn!(
                        queue,
                        "there is no such queue to reply to; it is not said again of this one"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "a reply was not confirmed"),
        }
    }

    /// The queue that a message should have come to, by where it was published.
    #[must_use]
    pub fn meant_for(&self, delivery: &Delivery) -> Option<WorkQueue> {
        self.topology.queue_of(&delivery.exchange, &delivery.routing_key)
    }

    /// Why no queue has taken a message, in words.
    #[must_use]
    pub fn why_unrouted(&self, delivery: &Delivery) -> String {
        why_unrouted(&self.topology, &delivery.exchange, &delivery.routing_key)
    }

    /// Puts a message that can never be applied where people look, with all that it came with and the reason beside it.
    ///
    /// # Errors
    /// When the broker does not confirm; the message is then not to be acked.
    pub async fn dead_letter(
        &self,
        delivery: &Delivery,
        why: &Rejection,
        now: DateTime<Utc>,
    ) -> Result<(), PublishError> {
        self.publisher.publish(Envelope::dead_letter(delivery, why, now)).await
    }

    /// Sends a message to a queue of this process's own; see [`crate::canary`].
    ///
    /// # Errors
    /// When the broker does not confirm.
    pub async fn canary(&self, queue: String) -> Result<(), PublishError> {
        self.publisher.publish(Envelope::new(Destination::Canary { queue }, "canary", "{}")).await
    }

    /// Whether there is a connection to publish on that the broker does not block.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.publisher.is_connected() && !self.publisher.is_blocked()
    }
}
