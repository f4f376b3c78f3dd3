//! A connection with a process's consumers: each queue is registered, watched, renewed and registered again by itself, so
//! that one that is sick keeps the process from no other.

use super::delivery::{ConsumedQueue, InHand};
use super::places::{Place, Trouble};
use super::registration::{Consuming, Failure, Registrar, close_behind};
use super::{AmqpError, bounded};
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt, once};
use lapin::options::BasicCancelOptions;
use lapin::types::ShortString;
use lapin::{Channel, Consumer};
use protocol::topology::WorkQueue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Whatever the fleet shares is declared again this often.
const REFRESH: Duration = Duration::from_secs(10);
/// A queue of doorbells that answers nobody for so many of our time-outs is replaced.
const GIVEN_UP_AFTER: u32 = 12;

/// A connection with all its consumers.
pub(super) struct Subscription {
    pub(super) registrar: Arc<Registrar>,
    consumers: Vec<Registered>,
    /// What the consumers bring, whichever has something.
    pub(super) arrivals: SelectAll<BoxStream<'static, Arrival>>,
    /// What is being asked of the broker.
    pub(super) attempts: FuturesUnordered<BoxFuture<'static, Attempt>>,
    /// Each queue is tried over a connection of its own first, since one of them seems to end connections.
    careful: bool,
    refreshed: Instant,
    refreshing: bool,
    /// Why that failed.
    stale: Option<Trouble>,
}

/// A consumer, by what is needed to watch it and to end it.
struct Registered {
    queue: ConsumedQueue,
    channel: Channel,
    tag: ShortString,
    /// When it last brought something, or was registered.
    since: Instant,
    /// Cloned into each delivery in hand.
    in_hand: InHand,
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

/// What an attempt has come to.
pub(super) enum Attempt {
    /// A queue was to be consumed.
    Work(WorkQueue, Result<Consuming, Failure>),
    /// What the fleet shares was to be declared once more.
    Refresh(Result<(), AmqpError>),
}

impl Subscription {
    /// Registers the consumer of the process queue; the others follow, see [`Self::look`].
    pub(super) async fn open(registrar: Registrar, careful: bool) -> Result<Self, AmqpError> {
        // First, so that no command is taken by a process that could not hear of a cancel.
        let (channel, consumer) = registrar.process().await?;
        let mut subscription = Self {
            registrar: Arc::new(registrar),
            consumers: Vec::new(),
            arrivals: SelectAll::new(),
            attempts: FuturesUnordered::new(),
            careful,
            refreshed: Instant::now(),
            refreshing: false,
            stale: None,
        };
        subscription.add(ConsumedQueue::Process, channel, consumer);
        Ok(subscription)
    }

    /// Begins whatever is due: registrations, renewals, the refresh.
    pub(super) fn look(&mut self, places: &mut [Place]) {
        for place in places {
            if place.begin() {
                self.attempt(place, self.careful);
            } else if self.is_idle(place.queue()) && place.begin_renewal() {
                self.attempt(place, false);
            }
        }
        // Predecessors have brought all they had. One that brought something at the last moment keeps its channel
        // until that is settled.
        let done = |it: &Registered| it.state == State::Ended && it.in_hand.is_free();
        while let Some(done) = self.consumers.iter().position(done) {
            close_behind(self.consumers.swap_remove(done).channel);
        }
        if !self.refreshing && self.refreshed.elapsed() >= REFRESH {
            self.refreshing = true;
            let registrar = Arc::clone(&self.registrar);
            self.attempts.push(async move { Attempt::Refresh(registrar.refresh().await) }.boxed());
        }
    }

    /// Whether a queue's consumer has brought nothing for so long that it is replaced.
    ///
    /// A quorum queue that is deleted and declared again at once keeps its consumers without a word (seen on
    /// 3.10.8): it assigns messages to them, but none is ever delivered. Nothing in AMQP tells such a consumer
    /// from one that has nothing to do. Closing its channel gives the messages back.
    fn is_idle(&self, queue: WorkQueue) -> bool {
        let after = self.registrar.config.renew_idle_after;
        self.consumers.iter().any(|it| {
            it.queue == ConsumedQueue::Work(queue)
                && it.state == State::Active
                && it.in_hand.is_free()
                && it.since.elapsed() >= after
        })
    }

    fn attempt(&self, place: &Place, on_trial: bool) {
        let (registrar, prefetch) = (Arc::clone(&self.registrar), place.prefetch);
        let given_up = registrar.config.call_timeout * GIVEN_UP_AFTER;
        let replace = prefetch.queue == WorkQueue::Pages && place.unanswered_for() >= given_up;
        let attempt = async move {
            if on_trial {
                registrar.trial(prefetch).await?;
            }
            if replace {
                registrar.replace_pages().await?;
            }
            Ok(registrar.work(prefetch).await?)
        };
        self.attempts.push(async move { Attempt::Work(prefetch.queue, attempt.await) }.boxed());
    }

    /// Notes what an attempt has come to.
    pub(super) fn settle(&mut self, attempt: Attempt, places: &mut [Place]) {
        match attempt {
            Attempt::Refresh(outcome) => {
                (self.refreshing, self.refreshed) = (false, Instant::now());
                self.stale = outcome.err().map(|error| {
                    let since = self.stale.take().map_or_else(Instant::now, |stale| stale.since);
                    let of = "the exchanges cannot be declared".to_owned();
                    Trouble { of, since, words: error.to_string(), is_spare: false }
                });
            }
            Attempt::Work(queue, outcome) => {
                let Some(place) = places.iter_mut().find(|place| place.queue() == queue) else { return };
                match outcome {
                    Ok((channel, consumer)) => {
                        place.consumed();
                        self.retire(queue);
                        self.add(ConsumedQueue::Work(queue), channel, consumer);
                    }
                    // A connection that has just ended says nothing about the queue.
                    Err(Failure { advice: None, .. }) if !self.registrar.connection.status().connected() => {
                        place.vacant();
                    }
                    // A predecessor may still bring something.
                    Err(Failure { error, advice }) => place.failed(&error, advice),
                }
            }
        }
    }

    /// Ends the consumers whose successor is there.
    fn retire(&mut self, queue: WorkQueue) {
        let limit = self.registrar.config.call_timeout;
        let active =
            |it: &&mut Registered| it.queue == ConsumedQueue::Work(queue) && it.state == State::Active;
        for consumer in self.consumers.iter_mut().filter(active) {
            let cancelled = consumer.cancel(limit);
            tokio::spawn(async move {
                if let Err(error) = cancelled.await {
                    tracing::debug!(%queue, %error, "a consumer did not end in order");
                }
            });
        }
    }

    /// Everything that is not as it must be.
    pub(super) fn troubles(&self, places: &[Place]) -> Vec<Trouble> {
        let topology = self.registrar.config.topology();
        places.iter().filter_map(|place| place.trouble(&topology)).chain(self.stale.clone()).collect()
    }

    /// Notes that a consumer has brought something. Gives its queue, and what the delivery in hand is counted by.
    pub(super) fn arrived(&mut self, tag: &ShortString) -> Option<(ConsumedQueue, InHand)> {
        let consumer = self.consumers.iter_mut().find(|consumer| consumer.tag == *tag)?;
        consumer.since = Instant::now();
        Some((consumer.queue, consumer.in_hand.clone()))
    }

    /// Notes that a consumer's stream has ended. Gives its queue if it was not asked to: what it brought is then lost.
    pub(super) fn ended(&mut self, tag: &ShortString) -> Option<ConsumedQueue> {
        let consumer = self.consumers.iter_mut().find(|consumer| consumer.tag == *tag)?;
        let asked = std::mem::replace(&mut consumer.state, State::Ended) == State::Cancelled;
        if !asked {
            consumer.in_hand.lose();
        }
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

    /// Closes all channels.
    pub(super) async fn close(&mut self, limit: Duration) {
        join_all(self.consumers.iter().map(|consumer| consumer.close(limit))).await;
    }

    fn add(&mut self, queue: ConsumedQueue, channel: Channel, consumer: Consumer) {
        let tag = consumer.tag();
        let (of_arrival, of_end) = (tag.clone(), tag.clone());
        let end = once(async move { (of_end, None) });
        self.arrivals.push(consumer.map(move |it| (of_arrival.clone(), Some(it))).chain(end).boxed());
        let (since, in_hand) = (Instant::now(), InHand::default());
        let state = State::Active;
        self.consumers.push(Registered { queue, channel, tag, since, in_hand, state });
    }
}

impl Registered {
    /// Asks for no more deliveries. Those on their way still come, then the stream ends.
    fn cancel(&mut self, limit: Duration) -> impl Future<Output = Result<(), AmqpError>> + use<> {
        self.state = State::Cancelled;
        let (channel, tag) = (self.channel.clone(), self.tag.clone());
        async move {
            let cancel = channel.basic_cancel(tag, BasicCancelOptions { nowait: false });
            bounded(limit, "cancel a consumer", cancel).await
        }
    }

    /// A closed channel is the broker's word that it has seen every settle sent through it.
    async fn close(&self, limit: Duration) {
        let close = self.channel.close(200, "done".into());
        if let Err(error) = bounded(limit, "close a channel", close).await {
            tracing::debug!(queue = %self.queue, %error, "a channel did not close in order");
        }
    }
}
