//! Keeps a process consuming: one connection after the other, each with the same consumers, until shutdown.
//!
//! A connection that is in doubt (an error of any stream, a lost process queue, a canary that does not come back) is given
//! up, and everything is built anew after a jittered delay. What was delivered and not acked comes again, to us or to others.
//!
//! A queue that is in doubt (it refuses its consumer, or does not answer) is tried again and again, while the others are
//! consumed. It is never deleted: what is in it may be all that is left of a confirmed command. The queue of doorbells alone
//! can be made anew, see [`super::registration`].
//!
//! One doubt has no sign at all: a consumer that the broker has forgotten looks like one that has nothing to do. So
//! a work consumer that is idle for long is replaced while nothing of it is in hand.
//!
//! A limit that is not ours: lapin cannot parse a message whose properties (`message_id`, `type` …) are not UTF-8, and some
//! brokers cannot deliver what others have sent. Its delivery ends the connection, each time anew, until the message is
//! removed by a delivery-limit policy on its queue. After two connections that lived shortly, each queue is tried over one of
//! its own, and the one that ends it is left out and named. Bodies and header values may be any bytes.

use super::delivery::Delivery;
use super::epoch::{End, Epoch, Known};
use super::places::{Place, Trouble};
use async_trait::async_trait;
use configuration::AmqpConfig;
use metrics::gauge;
use protocol::ids::WorkerId;
use protocol::outage::Outage;
use protocol::topology::WorkQueue;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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

    /// Called, as a task of its own, whenever the process queue is consumed over a new connection. What was broadcast before
    /// that has been missed.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupervisorStatus {
    /// There is a connection.
    pub connected: bool,
    /// All consumers (but spare ones) are registered, and shutdown has not begun.
    pub consuming: bool,
    /// How often that has come about: 1 for the first time.
    pub epoch: u64,
    /// The process queue of the connection, once it is consumed.
    pub process_queue: Option<Arc<str>>,
    /// What is not as it must be.
    pub troubles: Arc<[Trouble]>,
}

/// The consuming side of a process.
pub struct Supervisor {
    config: AmqpConfig,
    options: SupervisorOptions,
    intake: Arc<dyn Intake>,
    status: watch::Sender<SupervisorStatus>,
    doubted: Arc<Notify>,
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
        Self { config, options, intake, status: watch::Sender::default(), doubted: Arc::default() }
    }

    /// Follows how it is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SupervisorStatus> {
        self.status.subscribe()
    }

    /// To be notified by whoever finds that nothing comes back over the connection; it is then given up.
    #[must_use]
    pub fn doubted(&self) -> Arc<Notify> {
        Arc::clone(&self.doubted)
    }

    /// Consumes until `shutdown`, through any number of connections. Then takes nothing more, waits for the
    /// deliveries in hand to be settled (at most `drain_timeout`), closes the connection and returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut delays = self.config.reconnect.delays();
        let retry = self.config.reconnect;
        let places = self.options.queues.iter().map(|prefetch| Place::new(*prefetch, retry)).collect();
        let mut outage = Outage::of("the connection to the broker, to consume,");
        let mut known = Known { places, connections: 0, short_lived: 0 };
        while !shutdown.is_cancelled() {
            let since = Instant::now();
            let epoch = Epoch {
                config: &self.config,
                options: &self.options,
                intake: &self.intake,
                tasks: &tasks,
                status: &self.status,
                doubted: &self.doubted,
            };
            let end = epoch.run(&mut known, &mut outage, &shutdown).await;
            known.places.iter_mut().for_each(Place::vacant);
            let away_since = outage.since().unwrap_or_else(Instant::now);
            self.set_status(|status| {
                (status.connected, status.consuming, status.process_queue) = (false, false, None);
                if let End::Lost(words) = &end {
                    let of = "the broker cannot be consumed from".to_owned();
                    status.troubles =
                        [Trouble { of, since: away_since, words: words.clone(), is_spare: false }].into();
                }
            });
            match end {
                End::Drained => return,
                End::Unbegun => break,
                End::Lost(error) => outage.met(&format!("{}: {error}", self.config.shown())),
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
    let now = status.borrow();
    gauge!("amqp_connected", "role" => "consume").set(if now.connected { 1.0 } else { 0.0 });
    gauge!("amqp_consuming").set(if now.consuming { 1.0 } else { 0.0 });
}
