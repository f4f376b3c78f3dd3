//! Keeps a process consuming: one connection after the other, each with the same consumers, until shutdown.
//!
//! Nothing is repaired. At the first doubt (an error or an unexpected end of any stream, a lost connection, a call
//! without an answer) the whole connection is given up and everything is built anew after a jittered delay. What
//! was delivered and not acked comes again, to us or to others.
//!
//! One doubt has no sign at all: a consumer that the broker has forgotten looks like one that has nothing to do. So
//! a work consumer that is idle for long is replaced while nothing of it is in hand.
//!
//! A limit that is not ours: lapin cannot parse a message whose properties (`message_id`, `type` …) are not UTF-8.
//! Its delivery breaks the connection, each time anew, until the message is removed by hand or by a delivery-limit
//! policy on its queue. Bodies and header values may be any bytes.

use super::delivery::Delivery;
use super::epoch::{End, Epoch};
use super::topology::WorkQueue;
use super::{AmqpConfig, AmqpError};
use crate::ids::WorkerId;
use async_trait::async_trait;
use metrics::gauge;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A queue that refused to be consumed this often in a row is deleted and declared anew.
const REFUSALS: u32 = 2;

/// What takes in deliveries.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Handles one delivery, and settles it. Each runs as a task of its own; their number is bounded by the
    /// prefetch of each connection (after a reconnect, deliveries of the old one may still be in hand).
    ///
    /// `epoch` is cancelled when the delivery's connection is lost or shutdown begins. It ends intake and stints,
    /// never a page in flight. A delivery whose epoch is over before it was begun is to be handed back.
    ///
    /// A delivery from the process queue is always to be acked: handed back it would come straight back. Its epoch
    /// ends only with its connection, so that a process that drains still hears of cancels.
    async fn deliver(&self, delivery: Delivery, epoch: CancellationToken);

    /// Called, as a task of its own, whenever all consumers (the process queue's included) are registered anew.
    /// What was broadcast before that has been missed.
    async fn subscribed(&self);
}

/// How many unsettled deliveries of a queue a process may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// The queue.
    pub queue: WorkQueue,
    /// At least 1: to the broker 0 means "no limit", and is taken as 1.
    pub limit: u16,
}

/// What to consume, and as whom.
#[derive(Clone, Debug)]
pub struct SupervisorOptions {
    /// What the broker's console shows.
    pub connection_name: String,
    /// Whose process queue to declare.
    pub worker: WorkerId,
    /// The queues to consume; those not named are not consumed.
    pub queues: Vec<Prefetch>,
    /// The longest that shutdown waits for deliveries in hand.
    pub drain_timeout: Duration,
}

/// How the consuming side is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SupervisorStatus {
    /// There is a connection.
    pub connected: bool,
    /// All consumers are registered, and shutdown has not begun.
    pub consuming: bool,
    /// How often all consumers have been registered: 1 for the first connection.
    pub epoch: u64,
}

/// The consuming side of a process.
pub struct Supervisor {
    config: AmqpConfig,
    options: SupervisorOptions,
    intake: Arc<dyn Intake>,
    status: watch::Sender<SupervisorStatus>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("config", &self.config)
            .field("options", &self.options)
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Nothing happens before [`Self::run`].
    #[must_use]
    pub fn new(config: AmqpConfig, options: SupervisorOptions, intake: Arc<dyn Intake>) -> Self {
        Self { config, options, intake, status: watch::Sender::new(SupervisorStatus::default()) }
    }

    /// Follows how it is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SupervisorStatus> {
        self.status.subscribe()
    }

    /// Consumes until `shutdown`, through any number of connections. Then takes nothing more, waits for the
    /// deliveries in hand to be settled (at most `drain_timeout`), closes the connection and returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut delays = self.config.reconnect.delays();
        let mut refusals = Refusals::default();
        while !shutdown.is_cancelled() {
            let since = Instant::now();
            let epoch = Epoch {
                config: &self.config,
                options: &self.options,
                intake: &self.intake,
                tasks: &tasks,
                status: &self.status,
            };
            let end = epoch.run(&mut refusals, &shutdown).await;
            self.set_status(|status| (status.connected, status.consuming) = (false, false));
            match end {
                End::Drained => return,
                End::Unbegun => break,
                End::Lost(error) => {
                    let broker = self.config.shown();
                    tracing::warn!(broker, error, "not consuming; the connection is built anew");
                }
            }
            // A connection that broke at once proves nothing: its successor waits longer.
            if since.elapsed() > self.config.reconnect.max {
                delays.reset();
            }
            let delay = delays.next_delay();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(delay) => {}
            }
        }
        // Without a connection nothing can be acked, but pages in flight may still be settled in Postgres.
        tasks.close();
        if tokio::time::timeout(self.options.drain_timeout, tasks.wait()).await.is_err() {
            tracing::warn!(
                deliveries = tasks.len(),
                "deliveries were still in hand when the drain's time was up"
            );
        }
    }

    fn set_status(&self, change: impl FnOnce(&mut SupervisorStatus)) {
        set_status(&self.status, change);
    }
}

/// The one place where the status changes, so that the gauges follow it.
pub(super) fn set_status(
    status: &watch::Sender<SupervisorStatus>,
    change: impl FnOnce(&mut SupervisorStatus),
) {
    status.send_modify(change);
    let now = *status.borrow();
    gauge!("amqp_connected", "role" => "consume").set(if now.connected { 1.0 } else { 0.0 });
    gauge!("amqp_consuming").set(if now.consuming { 1.0 } else { 0.0 });
}

/// Counts how often each queue refused to be consumed, over consecutive connections.
///
/// A quorum queue that was declared just before its broker was killed can come back without a leader: it can be
/// declared, but consuming it never gets an answer. Its messages are lost in any case; doorbells are rung again.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<WorkQueue, u32>);

impl Refusals {
    pub(super) fn count(&mut self, queue: WorkQueue, error: &AmqpError) {
        let refusals = self.0.entry(queue).or_default();
        *refusals += 1;
        tracing::warn!(%queue, refusals = *refusals, %error, "a queue refused to be consumed");
    }

    pub(super) fn condemned(&self) -> Vec<WorkQueue> {
        self.0.iter().filter(|(_, refusals)| **refusals >= REFUSALS).map(|(queue, _)| *queue).collect()
    }

    pub(super) fn forget(&mut self, queue: WorkQueue) {
        self.0.remove(&queue);
    }

    /// Whether it refused, which is forgotten by this.
    pub(super) fn forgive(&mut self, queue: WorkQueue) -> bool {
        self.0.remove(&queue).is_some()
    }
}
