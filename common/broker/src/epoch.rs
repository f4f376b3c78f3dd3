//! One connection of the consuming side, from connecting to its loss or to the drain at shutdown.

use super::connecting::connect;
use super::delivery::{ConsumedQueue, Delivery, InHand};
use super::places::Place;
use super::registration::{Registrar, close_behind};
use super::session::hang_up;
use super::subscription::Subscription;
use super::supervisor::{Intake, SupervisorOptions, SupervisorStatus, set_status};
use super::topology::{declare_exchanges, declare_queue};
use super::{AmqpError, bounded};
use configuration::AmqpConfig;
use futures::StreamExt;
use protocol::outage::Outage;
use protocol::topology::DEAD;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The streams of consumers tell when a connection ends; this is for the case that they do not.
const LOOK: Duration = Duration::from_secs(1);

/// A connection that ends within this time of being there may have been ended by a message that it was given.
const SHORT: Duration = Duration::from_secs(10);
/// After so many of them, each queue is tried over a connection of its own.
const SUSPICIOUS: u32 = 2;

/// How an epoch ended.
pub(super) enum End {
    /// Shutdown, before everything was registered.
    Unbegun,
    /// Shutdown: everything in hand was settled, or the time for it was up.
    Drained,
    /// The connection is no good, for this reason.
    Lost(String),
}

/// What an epoch works with.
pub(super) struct Epoch<'a> {
    pub(super) config: &'a AmqpConfig,
    pub(super) options: &'a SupervisorOptions,
    pub(super) intake: &'a Arc<dyn Intake>,
    /// The deliveries in hand, those of earlier epochs included.
    pub(super) tasks: &'a TaskTracker,
    pub(super) status: &'a watch::Sender<SupervisorStatus>,
    /// Told when nothing comes back over a connection that looks well.
    pub(super) doubted: &'a Notify,
}

/// What is known of a process's queues, from one epoch to the next.
pub(super) struct Known {
    pub(super) places: Vec<Place>,
    /// Counts the connections of this process: each has a process queue of its own.
    pub(super) connections: u64,
    /// Connections in a row that ended soon after they were there. A message may be doing that.
    pub(super) short_lived: u32,
}

impl Epoch<'_> {
    pub(super) async fn run(
        &self,
        known: &mut Known,
        outage: &mut Outage,
        shutdown: &CancellationToken,
    ) -> End {
        let opened = tokio::select! {
            () = shutdown.cancelled() => return End::Unbegun,
            opened = self.open(known) => opened,
        };
        let mut subscription = match opened {
            Ok(subscription) => subscription,
            Err(error) => return End::Lost(error.to_string()),
        };
        outage.over();
        let since = Instant::now();
        let intake = Arc::clone(self.intake);
        self.tasks.spawn(async move { intake.subscribed().await });

        // Cancelled with the connection. Its child, which deliveries of work get, also ends with shutdown.
        let connection_gone = CancellationToken::new();
        let gone_in_any_case = connection_gone.clone().drop_guard();
        let epoch = connection_gone.child_token();
        let taken_in =
            self.take_in(&mut subscription, &mut known.places, &epoch, &connection_gone, shutdown).await;
        let end = match taken_in {
            Some(reason) => {
                known.short_lived = if since.elapsed() < SHORT { known.short_lived + 1 } else { 0 };
                End::Lost(reason)
            }
            None => {
                set_status(self.status, |status| status.consuming = false);
                epoch.cancel();
                self.drain(&mut subscription, &epoch, &connection_gone).await;
                End::Drained
            }
        };
        drop(gone_in_any_case);
        hang_up(&subscription.registrar.connection, self.config.call_timeout).await;
        end
    }

    /// Connects, declares everything, and consumes the process queue. What fails halfway is dropped, which closes it.
    async fn open(&self, known: &mut Known) -> Result<Subscription, AmqpError> {
        let (limit, topology) = (self.config.call_timeout, self.config.topology());
        let connection = connect(self.config, &self.options.connection_name).await?;
        known.connections += 1;
        let process_queue = topology.process_queue(self.options.worker, known.connections);
        set_status(self.status, |status| status.connected = true);
        // A refused declaration closes its channel, so it gets one that nobody else uses.
        let channel = bounded(limit, "open a channel", connection.create_channel()).await?;
        declare_exchanges(&topology, &channel, limit).await?;
        // Those that are consumed are declared when they are; nobody consumes this one.
        declare_queue(&topology, &channel, limit, DEAD).await?;
        close_behind(channel);
        let (config, options) = (self.config.clone(), self.options.clone());
        let registrar = Registrar { config, options, connection, process_queue: process_queue.clone() };
        let subscription = Subscription::open(registrar, known.short_lived >= SUSPICIOUS).await?;
        set_status(self.status, |status| status.process_queue = Some(process_queue.into()));
        Ok(subscription)
    }

    /// Gives deliveries to the intake until shutdown (`None`), or until the connection is no good (the reason).
    async fn take_in(
        &self,
        subscription: &mut Subscription,
        places: &mut [Place],
        epoch: &CancellationToken,
        connection_gone: &CancellationToken,
        shutdown: &CancellationToken,
    ) -> Option<String> {
        let often = self.config.renew_idle_after.min(self.config.reconnect.max).clamp(LOOK / 20, LOOK);
        let mut look = tokio::time::interval(often);
        loop {
            let arrival = tokio::select! {
                () = shutdown.cancelled() => return None,
                () = self.doubted.notified() => return Some("nothing comes back over it".to_owned()),
                arrival = subscription.arrivals.next() => arrival,
                Some(attempt) = subscription.attempts.next() => {
                    subscription.settle(attempt, places);
                    self.tell(subscription, places);
                    continue;
                }
                _ = look.tick() => {
                    if !subscription.registrar.connection.status().connected() {
                        return Some("the connection is closed".to_owned());
                    }
                    subscription.look(places);
                    continue;
                }
            };
            match arrival {
                Some((tag, Some(Ok(delivery)))) => {
                    self.hand_over(delivery, subscription.arrived(&tag), epoch, connection_gone);
                }
                Some((_, Some(Err(error)))) => return Some(format!("a consumer: {error}")),
                Some((tag, None)) => match subscription.ended(&tag) {
                    None => {}
                    Some(ConsumedQueue::Process) => return Some("the process queue is gone".to_owned()),
                    Some(ConsumedQueue::Work(queue)) => {
                        tracing::warn!(%queue, "the broker ended a consumer: its queue was deleted, or a delivery held for too long");
                        places.iter_mut().filter(|place| place.queue() == queue).for_each(Place::vacant);
                        self.tell(subscription, places);
                        subscription.look(places);
                    }
                },
                None => return Some("no consumers are left".to_owned()),
            }
        }
    }

    /// Lets others know which queues are consumed.
    fn tell(&self, subscription: &Subscription, places: &[Place]) {
        let consuming = places.iter().all(|place| place.is_consumed() || place.queue().is_spare());
        let troubles = subscription.troubles(places);
        let before = self.status.borrow().clone();
        if before.consuming == consuming && *before.troubles == *troubles {
            return;
        }
        if consuming && !before.consuming {
            tracing::info!(connection = self.options.connection_name, "consuming");
        }
        set_status(self.status, |status| {
            status.epoch += u64::from(consuming && !before.consuming);
            status.consuming = consuming;
            status.troubles = troubles.into();
        });
    }

    /// Ends the work consumers, lets what they had buffered be handed back, and waits for what is in hand. The
    /// process queue is listened to until the end: a page in flight can still be cancelled.
    async fn drain(
        &self,
        subscription: &mut Subscription,
        epoch: &CancellationToken,
        connection_gone: &CancellationToken,
    ) {
        let deadline = Instant::now() + self.options.drain_timeout;
        let limit = self.config.call_timeout;
        subscription.cancel_work(limit).await;
        self.tasks.close();
        // Deliveries that were on their way still come, before the end of their stream.
        loop {
            let arrival = tokio::select! {
                // A new wait each time: one that has seen empty hands would not see what comes into them afterwards.
                () = self.tasks.wait(), if subscription.open_work() == 0 => break,
                arrival = subscription.arrivals.next() => arrival,
                () = tokio::time::sleep_until(deadline) => return self.warn_of_the_rest(),
            };
            match arrival {
                Some((tag, Some(Ok(delivery)))) => {
                    self.hand_over(delivery, subscription.arrived(&tag), epoch, connection_gone);
                }
                Some((tag, None)) if subscription.ended(&tag).is_none() => {}
                // The connection is gone, and with it all that was buffered. What is in hand is still waited for.
                Some((_, Some(Err(_)) | None)) | None => {
                    connection_gone.cancel();
                    if timeout_at(deadline, self.tasks.wait()).await.is_err() {
                        self.warn_of_the_rest();
                    }
                    return;
                }
            }
        }
        subscription.close(limit).await;
    }

    fn warn_of_the_rest(&self) {
        tracing::warn!(
            deliveries = self.tasks.len(),
            "deliveries were still in hand when the drain's time was up"
        );
    }

    fn hand_over(
        &self,
        delivery: lapin::message::Delivery,
        from: Option<(ConsumedQueue, InHand)>,
        epoch: &CancellationToken,
        connection_gone: &CancellationToken,
    ) {
        let Some((queue, in_hand)) = from else { return }; // Of a consumer that is no longer ours.
        let until = if queue == ConsumedQueue::Process { connection_gone } else { epoch };
        let delivery = Delivery::new(delivery, (queue, in_hand.clone()), self.config.call_timeout);
        let (intake, until) = (Arc::clone(self.intake), until.clone());
        self.tasks.spawn(async move {
            intake.deliver(delivery, until).await;
            drop(in_hand);
        });
    }
}
