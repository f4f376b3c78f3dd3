//! Takes deliveries in, has them handled, and settles them: the only place that decides between ack and return.

use crate::canary::Canary;
use crate::commands::{Carrier, CommandError, Commands};
use crate::disposition::Disposition;
use crate::outbox::Outbox;
use crate::page::PageHandler;
use crate::renewal::Renewal;
use async_trait::async_trait;
use broker::{ConsumedQueue, Delivery, Intake, UNROUTED};
use chrono::Utc;
use containment::contained;
use metrics::{counter, gauge};
use protocol::command::{Rejection, Reply};
use protocol::contract::header;
use protocol::contract::{AbortMessage, MarkerMessage};
use protocol::retry::RetryPolicy;
use protocol::short::short;
use protocol::slice::Ring;
use protocol::topology::WorkQueue;
use protocol::trace;
use runtime::fitness::Fitness;
use runtime::warn_unless_outage;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use store::{Store, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A delivery is held no longer than this: well below the broker's acknowledgement time-out (30 minutes by default, 15
/// in older versions).
const LONGEST_HOLD: Duration = Duration::from_secs(10 * 60);
/// Between two looks at whether the database is back.
const HOLD: RetryPolicy = RetryPolicy::new(Duration::from_millis(200), Duration::from_secs(2));

/// A message of the pages queue.
#[derive(Deserialize)]
#[serde(untagged)]
enum PageMessage {
    Ring(Ring),
    Marker(MarkerMessage),
}

/// The intake of a consumer process.
#[derive(Debug)]
pub struct ConsumerIntake {
    /// Works on pages.
    pub pages: Arc<PageHandler>,
    /// Applies commands.
    pub commands: Commands,
    /// The store, for markers and for seeing whether the database is there.
    pub store: Store,
    /// Whether the database can be worked with.
    pub fitness: Fitness,
    /// Publishes.
    pub outbox: Outbox,
    /// Renews leases; asked for one more round after each subscription.
    pub renewal: Arc<Renewal>,
    /// Waits for this process's own canaries.
    pub canary: Canary,
}

#[async_trait]
impl Intake for ConsumerIntake {
    async fn deliver(&self, delivery: Delivery, epoch: CancellationToken) {
        let queue = delivery.queue;
        counter!("deliveries_total", "queue" => queue.to_string()).increment(1);
        let settled = match queue {
            ConsumedQueue::Process => {
                self.told(&delivery);
                delivery.ack().await
            }
            ConsumedQueue::Work(queue) => {
                let fit = !self.fitness.is_unfit() || self.database_back(&epoch, LONGEST_HOLD).await;
                let disposition = match queue {
                    _ if !fit => Disposition::Requeue,
                    WorkQueue::Pages => self.page(&delivery, &epoch).await,
                    WorkQueue::Starts | WorkQueue::Cancels => {
                        let handling = self.command(queue, &delivery, &epoch);
                        trace::within(delivery.header(trace::HEADER), handling).await
                    }
                    WorkQueue::Unrouted => {
                        let handling = self.unrouted(&delivery, &epoch);
                        trace::within(delivery.header(trace::HEADER), handling).await
                    }
                };
                match disposition {
                    Disposition::Ack | Disposition::DeadLetter => delivery.ack().await,
                    Disposition::Requeue | Disposition::Hold => delivery.hand_back().await,
                }
            }
        };
        match settled {
            Ok(()) => {}
            // The queue goes with its connection, and nobody misses a canary.
            Err(error) if queue == ConsumedQueue::Process => {
                tracing::debug!(%error, "a broadcast was not acked");
            }
            Err(error) => tracing::info!(%queue, %error, "a delivery comes again"),
        }
    }

    async fn subscribed(&self) {
        // Whatever was broadcast before the subscription has been missed; a renewal shows which pages are no longer ours.
        self.renewal.run_once().await;
    }
}

impl ConsumerIntake {
    async fn page(&self, delivery: &Delivery, epoch: &CancellationToken) -> Disposition {
        let ring = match serde_json::from_slice(&delivery.body) {
            Ok(PageMessage::Ring(ring)) => ring,
            Ok(PageMessage::Marker(marker)) => {
                return self.marker(marker.marker, epoch).await;
            }
            Err(error) => {
                let detail = format!("neither a doorbell nor a marker: {error}");
                return self.dead_letter(delivery, &Rejection { reason: "not_a_page", detail }, epoch).await;
            }
        };
        let mut redelivered = delivery.redelivered;
        let since = Instant::now();
        loop {
            let disposition = self.pages.handle(ring, redelivered, epoch).await.disposition();
            if disposition != Disposition::Hold {
                return disposition;
            }
            let left = LONGEST_HOLD.saturating_sub(since.elapsed());
            if !self.database_back(epoch, left).await {
                return Disposition::Requeue;
            }
            // What we held before the database went away may have been stored or not: claim as the lost holder's heir.
            redelivered = true;
        }
    }

    async fn command(&self, queue: WorkQueue, delivery: &Delivery, epoch: &CancellationToken) -> Disposition {
        let since = Instant::now();
        let mut redelivered = delivery.redelivered;
        let mut refused = 0;
        loop {
            let carrier = Carrier {
                body: &delivery.body,
                kind: delivery.kind.as_deref(),
                message_id: delivery.message_id.as_deref(),
                first_seen: delivery.header(header::FIRST_SEEN),
                redelivered,
                wants_reply: delivery.reply_to.is_some(),
            };
            let applying = async {
                match queue {
                    WorkQueue::Cancels => self.commands.cancel(carrier).await,
                    WorkQueue::Starts | WorkQueue::Pages | WorkQueue::Unrouted => {
                        self.commands.start(carrier).await
                    }
                }
            };
            let applied = contained(applying).await.unwrap_or_else(|panicked| {
                Err(CommandError::Dead(Rejection { reason: "panicked", detail: panicked.to_string() }))
            });
            // Data that Postgres refuses twice is not made good by waiting. (Once may be another transaction's doing.)
            refused += u32::from(matches!(
                applied,
                Err(CommandError::Store(StoreError::Refused(_) | StoreError::Unforeseen(_)))
            ));
            let applied = match applied {
                Err(CommandError::Store(error)) if refused > 1 => {
                    Err(CommandError::Dead(Rejection { reason: "refused", detail: short(error) }))
                }
                other => other,
            };
            match applied {
                Ok(applied) => {
                    if let Some(reply) = applied.reply {
                        self.outbox.reply(delivery, &reply, applied.warning).await;
                    }
                    return Disposition::Ack;
                }
                Err(CommandError::Dead(why)) => return self.refuse(delivery, &why, epoch).await,
                Err(CommandError::Store(error)) => {
                    self.fitness.met(&error);
                    warn_unless_outage!(error, %queue, "a command is held until the database answers");
                }
            }
            if !self.database_back(epoch, LONGEST_HOLD.saturating_sub(since.elapsed())).await {
                return Disposition::Requeue;
            }
            // Whether it was applied is unknown: the next try is a repeat.
            redelivered = true;
        }
    }

    /// A message that no queue has taken. With a mistyped routing key it is a letter like any other, and answered. With a
    /// right one its queue was gone for a moment: a command is applied, and a doorbell, whose place is behind others, is
    /// rung again when the markers show that it is lost.
    async fn unrouted(&self, delivery: &Delivery, epoch: &CancellationToken) -> Disposition {
        match self.outbox.meant_for(delivery) {
            Some(WorkQueue::Pages) => return Disposition::Ack,
            Some(queue @ (WorkQueue::Starts | WorkQueue::Cancels)) => {
                return self.command(queue, delivery, epoch).await;
            }
            Some(WorkQueue::Unrouted) | None => {}
        }
        let detail = self.outbox.why_unrouted(delivery);
        self.refuse(delivery, &Rejection { reason: UNROUTED, detail }, epoch).await
    }

    /// Makes a letter of a message, and answers it.
    async fn refuse(&self, delivery: &Delivery, why: &Rejection, epoch: &CancellationToken) -> Disposition {
        let disposition = self.dead_letter(delivery, why, epoch).await;
        if disposition == Disposition::DeadLetter {
            self.outbox.reply(delivery, &Reply::refusal(why), None).await;
        }
        disposition
    }

    /// A message of the process's own queue.
    fn told(&self, delivery: &Delivery) {
        match delivery.kind.as_deref() {
            Some("canary") => self.canary.returned(),
            Some("abort") => match serde_json::from_slice::<AbortMessage>(&delivery.body) {
                Ok(abort) => {
                    let pages = self.pages.in_flight.abort_job(abort.job_id);
                    counter!("aborts_total").increment(1);
                    tracing::debug!(job = %abort.job_id, pages, "told to abort");
                }
                Err(error) => {
                    tracing::warn!(%error, "an abort cannot be read; renewals will show what is cancelled");
                }
            },
            kind => tracing::warn!(kind, "a message of the process queue is of no known kind, and ignored"),
        }
    }

    async fn marker(&self, number: i64, epoch: &CancellationToken) -> Disposition {
        let since = Instant::now();
        loop {
            match self.store.sweeps().marker_returned(number).await {
                Ok(()) => return Disposition::Ack,
                Err(error) => {
                    warn_unless_outage!(error, number, "a marker is held until the database answers");
                }
            }
            if !self.database_back(epoch, LONGEST_HOLD.saturating_sub(since.elapsed())).await {
                return Disposition::Requeue;
            }
        }
    }

    /// Waits until the database answers. False if the delivery is to be given back instead: its connection is gone, the
    /// process ends, or it was held too long.
    async fn database_back(&self, epoch: &CancellationToken, longest: Duration) -> bool {
        gauge!("deliveries_held").increment(1.0);
        let back = async {
            for delay in HOLD.delays() {
                tokio::time::sleep(delay).await;
                if self.store.ping().await.is_ok() {
                    break;
                }
            }
            // It may answer, and yet be of no use.
            self.fitness.not_unfit().await;
        };
        let back = tokio::select! {
            biased;
            () = epoch.cancelled() => false,
            waited = tokio::time::timeout(longest, back) => waited.is_ok(),
        };
        gauge!("deliveries_held").decrement(1.0);
        back
    }

    /// Puts a message that can never be applied where people look. Tried until it is confirmed there: only then may the
    /// message be acked.
    async fn dead_letter(
        &self,
        delivery: &Delivery,
        why: &Rejection,
        epoch: &CancellationToken,
    ) -> Disposition {
        let now = Utc::now();
        for delay in HOLD.delays() {
            match self.outbox.dead_letter(delivery, why, now).await {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, "a dead letter is not confirmed, and published again"),
            }
            tokio::select! {
                () = epoch.cancelled() => return Disposition::Requeue,
                () = tokio::time::sleep(delay) => {}
            }
        }
        counter!("dead_letters_total", "reason" => why.reason).increment(1);
        tracing::warn!(queue = %delivery.queue, reason = why.reason, detail = why.detail, "a message went to the dead-letter queue");
        Disposition::DeadLetter
    }
}
