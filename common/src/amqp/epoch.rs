//! One connection of the consuming side, from connecting to its loss or to the drain at shutdown.

use super::delivery::{ConsumedQueue, Delivery};
use super::session::hang_up;
use super::subscription::Subscription;
use super::supervisor::{Intake, Refusals, SupervisorOptions, SupervisorStatus, set_status};
use super::{AmqpConfig, bounded};
use futures::StreamExt;
use futures::future::join_all;
use lapin::options::BasicCancelOptions;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The streams of consumers tell when a connection ends; this is for the case that they do not.
const LOOK: Duration = Duration::from_secs(1);

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
}

impl Epoch<'_> {
    pub(super) async fn run(&self, refusals: &mut Refusals, shutdown: &CancellationToken) -> End {
        let opened = tokio::select! {
            () = shutdown.cancelled() => return End::Unbegun,
            opened = Subscription::open(self.config, self.options, self.status, refusals) => opened,
        };
        let mut subscription = match opened {
            Ok(subscription) => subscription,
            Err(error) => return End::Lost(error.to_string()),
        };
        set_status(self.status, |status| {
            status.consuming = true;
            status.epoch += 1;
        });
        tracing::info!(connection = self.options.connection_name, "consuming");
        let intake = Arc::clone(self.intake);
        self.tasks.spawn(async move { intake.subscribed().await });

        // Cancelled with the connection. Its child, which deliveries of work get, also ends with shutdown.
        let connection_gone = CancellationToken::new();
        let gone_in_any_case = connection_gone.clone().drop_guard();
        let epoch = connection_gone.child_token();
        let end = match self.take_in(&mut subscription, &epoch, &connection_gone, shutdown).await {
            Some(reason) => End::Lost(reason),
            None => {
                set_status(self.status, |status| status.consuming = false);
                epoch.cancel();
                self.drain(&mut subscription, &epoch, &connection_gone).await;
                End::Drained
            }
        };
        drop(gone_in_any_case);
        hang_up(&subscription.connection, self.config.call_timeout).await;
        end
    }

    /// Gives deliveries to the intake until shutdown (`None`), or until the connection is no good (the reason).
    async fn take_in(
        &self,
        subscription: &mut Subscription,
        epoch: &CancellationToken,
        connection_gone: &CancellationToken,
        shutdown: &CancellationToken,
    ) -> Option<String> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return None,
                arrival = subscription.arrivals.next() => match arrival {
                    Some((queue, Some(Ok(delivery)))) => {
                        let until = if queue == ConsumedQueue::Process { connection_gone } else { epoch };
                        self.hand_over(delivery, queue, until);
                    }
                    Some((queue, Some(Err(error)))) => return Some(format!("consumer of {queue}: {error}")),
                    Some((queue, None)) => {
                        return Some(format!("consumer of {queue}: ended by the broker (was the queue deleted?)"));
                    }
                    None => return Some("no consumers are left".to_owned()),
                },
                _ = look.tick() => if !subscription.connection.status().connected() {
                    return Some("the connection is closed".to_owned());
                },
            }
        }
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
        let (process, work): (Vec<_>, Vec<_>) =
            subscription.consumers.drain(..).partition(|consumer| consumer.queue == ConsumedQueue::Process);
        let mut open_streams = work.len();
        join_all(work.iter().map(|consumer| async move {
            let options = BasicCancelOptions { nowait: false };
            let cancel = consumer.channel.basic_cancel(consumer.tag.clone(), options);
            if let Err(error) = bounded(limit, "cancel a consumer", cancel).await {
                tracing::warn!(queue = %consumer.queue, %error, "a consumer did not end in order");
            }
        }))
        .await;

        self.tasks.close();
        let mut in_hand = pin!(self.tasks.wait());
        // Deliveries that were on their way still come, before the end of their stream.
        loop {
            let arrival = tokio::select! {
                () = &mut in_hand, if open_streams == 0 => break,
                arrival = subscription.arrivals.next() => arrival,
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!(deliveries = self.tasks.len(), "deliveries were still in hand at the drain's end");
                    break;
                }
            };
            match arrival {
                Some((queue @ ConsumedQueue::Work(_), Some(Ok(delivery)))) => {
                    self.hand_over(delivery, queue, epoch);
                }
                Some((queue @ ConsumedQueue::Process, Some(Ok(delivery)))) => {
                    self.hand_over(delivery, queue, connection_gone);
                }
                Some((ConsumedQueue::Work(_), None)) => open_streams = open_streams.saturating_sub(1),
                // The connection is gone, and with it all that was buffered. What is in hand is still waited for.
                Some((_, Some(Err(_)))) | Some((ConsumedQueue::Process, None)) | None => {
                    connection_gone.cancel();
                    if timeout_at(deadline, &mut in_hand).await.is_err() {
                        tracing::warn!(deliveries = self.tasks.len(), "deliveries were still in hand");
                    }
                    return;
                }
            }
        }
        // A closed channel is the broker's word that it has seen every settle sent through it.
        join_all(work.iter().chain(&process).map(|consumer| async move {
            let close = consumer.channel.close(200, "drained".into());
            if let Err(error) = bounded(limit, "close a channel", close).await {
                tracing::debug!(queue = %consumer.queue, %error, "a channel did not close in order");
            }
        }))
        .await;
    }

    fn hand_over(&self, delivery: lapin::message::Delivery, queue: ConsumedQueue, epoch: &CancellationToken) {
        let delivery = Delivery::new(delivery, queue, self.config.call_timeout);
        let (intake, epoch) = (Arc::clone(self.intake), epoch.clone());
        self.tasks.spawn(async move { intake.deliver(delivery, epoch).await });
    }
}
