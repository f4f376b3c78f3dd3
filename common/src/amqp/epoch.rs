//! One connection of the consuming side, from connecting to its loss or to the drain at shutdown.

use super::AmqpConfig;
use super::delivery::{ConsumedQueue, Delivery};
use super::session::hang_up;
use super::subscription::Subscription;
use super::supervisor::{Intake, Refusals, SupervisorOptions, SupervisorStatus, set_status};
use futures::StreamExt;
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
        let often = self.config.renew_idle_after.clamp(LOOK / 20, LOOK);
        let mut look = tokio::time::interval(often);
        loop {
            let arrival = tokio::select! {
                () = shutdown.cancelled() => return None,
                arrival = subscription.arrivals.next() => arrival,
                _ = look.tick() => {
                    if !subscription.connection.status().connected() {
                        return Some("the connection is closed".to_owned());
                    }
                    if let Err(error) = subscription.renew_idle(self.config, self.options).await {
                        return Some(format!("an idle consumer could not be replaced: {error}"));
                    }
                    continue;
                }
            };
            match arrival {
                Some((tag, Some(Ok(delivery)))) => {
                    self.hand_over(delivery, subscription.arrived(&tag), epoch, connection_gone);
                }
                Some((_, Some(Err(error)))) => return Some(format!("a consumer: {error}")),
                Some((tag, None)) => {
                    if let Some(queue) = subscription.ended(&tag) {
                        return Some(format!(
                            "consumer of {queue}: ended by the broker (was the queue deleted?)"
                        ));
                    }
                }
                None => return Some("no consumers are left".to_owned()),
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
        from: Option<(ConsumedQueue, Arc<()>)>,
        epoch: &CancellationToken,
        connection_gone: &CancellationToken,
    ) {
        let Some((queue, in_hand)) = from else { return }; // Of a consumer that is no longer ours.
        let until = if queue == ConsumedQueue::Process { connection_gone } else { epoch };
        let delivery = Delivery::new(delivery, queue, self.config.call_timeout);
        let (intake, until) = (Arc::clone(self.intake), until.clone());
        self.tasks.spawn(async move {
            intake.deliver(delivery, until).await;
            drop(in_hand);
        });
    }
}
