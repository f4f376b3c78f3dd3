//! The only thing that publishes.
//!
//! Its connection is its own: under a memory alarm the broker stops reading a connection that publishes, and acks
//! sent through it would be stuck too. A publish waits for its confirm; if the connection breaks first, the same
//! message (same `message_id`) is published again through the next one, for as long as the time-out lasts. A
//! confirmed message is therefore with the broker at least once, and whoever consumes it must bear a repeat.

use super::connecting::{PUBLISHING_FRAME, connect};
use super::dead_letters::size;
use super::envelope::{Destination, Envelope, short};
use super::session::{Lane, Line, Session, hang_up, keep_connected};
use super::{AmqpError, bounded};
use configuration::AmqpConfig;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Confirmation};
use metrics::counter;
use protocol::topology::{Topology, WorkQueue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A message that was not, or maybe not, published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker said no: it does not have the message.
    #[error("the broker refused a {kind} message (is a queue at its limit?); publish it again later")]
    Refused {
        /// The message's type.
        kind: String,
    },
    /// No confirm in time: the broker may or may not have the message, and it may still be sent. Publishing the
    /// same envelope again is safe.
    #[error("no confirm of a {kind} message within {after:?}; publish it again with the same message_id")]
    Unknown {
        /// The message's type.
        kind: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The message was never handed to the broker: there was no connection, or an alarm blocked it.
    #[error("a {kind} message was not published: {why} for {after:?}; publish it again later")]
    Unavailable {
        /// The message's type.
        kind: String,
        /// What was in the way.
        why: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// There is no queue of that name. Trying again is useless, unless it is made.
    #[error("there is no queue {queue}, so the message reached nobody")]
    NoQueue {
        /// Its name.
        queue: String,
    },
    /// A property is too long for AMQP. Trying again is useless.
    #[error("{what}: {bytes} bytes are too many, {limit} can be sent; the message was not published")]
    TooLong {
        /// Which property.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest that it may have.
        limit: usize,
    },
    /// The publisher has been closed: the process is ending.
    #[error("a {kind} message was not published: the publisher has been closed")]
    Closed {
        /// The message's type.
        kind: String,
    },
}

/// Publishes; cheap to clone, all clones share one connection. When the last is dropped the connection goes too;
/// [`Self::close`] does it in order.
#[derive(Clone, Debug)]
pub struct Publisher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    app_id: String,
    config: AmqpConfig,
    topology: Topology,
    call_timeout: Duration,
    publish_timeout: Duration,
    line: watch::Receiver<Line>,
    /// One token for each publish under way.
    under_way: TaskTracker,
    closing: AtomicBool,
    connection: TaskTracker,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

impl Publisher {
    /// Starts connecting in the background and returns at once. `connection_name` is what the broker's console
    /// shows; `app_id` is set on every message. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(config: AmqpConfig, connection_name: &str, app_id: &str) -> Self {
        Self::connecting(config, connection_name, app_id, true)
    }

    /// The same for a visitor, who declares nothing: in a namespace where nobody has, nothing is published.
    #[must_use]
    pub fn start_undeclared(config: AmqpConfig, connection_name: &str, app_id: &str) -> Self {
        Self::connecting(config, connection_name, app_id, false)
    }

    fn connecting(config: AmqpConfig, connection_name: &str, app_id: &str, declares: bool) -> Self {
        let (sender, line) = watch::channel(Line::default());
        let stop = CancellationToken::new();
        let connection = TaskTracker::new();
        let inner = Inner {
            name: connection_name.to_owned(),
            app_id: app_id.to_owned(),
            config: config.clone(),
            topology: config.topology(),
            call_timeout: config.call_timeout,
            publish_timeout: config.publish_timeout,
            line,
            under_way: TaskTracker::new(),
            closing: AtomicBool::new(false),
            connection: connection.clone(),
            stop: stop.clone(),
            _stop_when_dropped: stop.clone().drop_guard(),
        };
        connection.spawn(keep_connected(config, connection_name.to_owned(), declares, sender, stop));
        connection.close();
        Self { inner: Arc::new(inner) }
    }

    /// Publishes and waits for the broker's confirm, at most the configured publish time-out. Any number may be
    /// under way at once. Without a connection, or while the broker is blocked, it waits for that to end.
    ///
    /// A confirmed abort, event or reply may have reached nobody; anything else is in a queue.
    ///
    /// # Errors
    /// See [`PublishError`]: each variant says whether the broker may have the message, and what to do.
    pub async fn publish(&self, envelope: Envelope) -> Result<(), PublishError> {
        let outcome = self.publish_in_time(envelope).await;
        let result = match &outcome {
            Ok(()) => "ack",
            Err(PublishError::Refused { .. }) => "nack",
            Err(PublishError::Unknown { .. }) => "unknown",
            Err(PublishError::Unavailable { .. } | PublishError::Closed { .. }) => "unavailable",
            Err(PublishError::TooLong { .. }) => "too_long",
            Err(PublishError::NoQueue { .. }) => "no_queue",
        };
        counter!("amqp_publish_total", "result" => result).increment(1);
        outcome
    }

    /// Whether there is a connection at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.line.borrow().session.is_some()
    }

    /// Whether the broker takes no publishes because of a memory or disk alarm.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.inner.line.borrow().blocked
    }

    /// How many messages wait in a queue, not counting those that consumers hold.
    ///
    /// # Errors
    /// Not connected, no such queue, or no answer in time.
    pub async fn queue_ready_count(&self, queue: WorkQueue) -> Result<u32, AmqpError> {
        const CALL: &str = "count the ready messages of a queue";
        let session = self.inner.line.borrow().session.clone();
        let Some(session) = session else { return Err(AmqpError::Disconnected { call: CALL }) };
        // A passive declare of a queue that is missing closes its channel, so it gets one of its own.
        let channel = bounded(self.inner.call_timeout, CALL, session.connection.create_channel()).await?;
        let declare = channel.queue_declare(
            self.inner.topology.queue(queue).into(),
            QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() },
            FieldTable::default(),
        );
        let count = bounded(self.inner.call_timeout, CALL, declare).await?.message_count();
        bounded(self.inner.call_timeout, CALL, channel.close(200, "counted".into())).await?;
        Ok(count)
    }

    /// Accepts nothing more, waits for outstanding confirms (each ends within its publish time-out), and closes
    /// the connection. May be called more than once.
    pub async fn close(&self) {
        self.inner.closing.store(true, Ordering::SeqCst);
        self.inner.under_way.close();
        self.inner.under_way.wait().await;
        self.inner.stop.cancel();
        self.inner.connection.wait().await;
    }

    async fn publish_in_time(&self, envelope: Envelope) -> Result<(), PublishError> {
        // First the token, then the look: `close` does it the other way round, so none slips between them.
        let _under_way = self.inner.under_way.token();
        if self.inner.closing.load(Ordering::SeqCst) {
            return Err(PublishError::Closed { kind: envelope.kind });
        }
        let after = self.inner.publish_timeout;
        let mut handed_over = false;
        match tokio::time::timeout(after, self.until_confirmed(&envelope, &mut handed_over)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) if handed_over => Err(PublishError::Unknown { kind: envelope.kind, after }),
            Err(_elapsed) => {
                let blocked = self.is_blocked();
                let alarm = "the broker has been blocked by a memory or disk alarm";
                let why = if blocked { alarm } else { "there has been no connection to the broker" };
                Err(PublishError::Unavailable { kind: envelope.kind, why, after })
            }
        }
    }

    /// Publishes through one session after the other until the broker has said yes or no.
    async fn until_confirmed(&self, envelope: &Envelope, handed_over: &mut bool) -> Result<(), PublishError> {
        let (exchange, key) = envelope.destination.route(&self.inner.topology);
        let exchange = short("the name of an exchange", &exchange)?;
        let key = short("the routing key", &key)?;
        let properties = envelope.properties(&self.inner.app_id)?;
        if size::of(&properties) > PUBLISHING_FRAME as usize {
            *handed_over = true;
            return self.publish_alone(exchange, key, envelope, properties).await;
        }
        let mut tried = 0;
        loop {
            let session = self.session_after(tried, &envelope.kind).await?;
            tried = session.number;
            *handed_over = true;
            let (to, by, properties) = (exchange.clone(), key.clone(), properties.clone());
            let sent = match envelope.destination {
                Destination::Reply { .. } => {
                    session.replies.send_to_a_queue(to, by, &envelope.body, properties).await
                }
                Destination::Abort => session.broadcasts.send(to, by, &envelope.body, properties).await,
                Destination::StartCommand
                | Destination::CancelCommand
                | Destination::Page
                | Destination::Marker
                | Destination::Event { .. }
                | Destination::DeadLetter
                | Destination::Canary { .. } => {
                    session.messages.send(to, by, &envelope.body, properties).await
                }
            };
            match sent {
                Ok(Confirmation::Ack(None)) => return Ok(()),
                Ok(Confirmation::Ack(Some(_returned))) => {
                    return Err(PublishError::NoQueue { queue: key.to_string() });
                }
                Ok(Confirmation::Nack(_)) => {
                    return Err(PublishError::Refused { kind: envelope.kind.clone() });
                }
                Ok(Confirmation::NotRequested) => session.broken.cancel(),
                Err(error) => {
                    tracing::debug!(%error, message_id = envelope.message_id, "a publish broke off; it is repeated");
                    session.broken.cancel();
                }
            }
        }
    }

    /// Publishes a letter whose properties fit into no frame of ours: over a connection of its own, in frames as large as the
    /// broker has them.
    async fn publish_alone(
        &self,
        exchange: ShortString,
        key: ShortString,
        envelope: &Envelope,
        properties: BasicProperties,
    ) -> Result<(), PublishError> {
        let (kind, after) = (envelope.kind.clone(), self.inner.publish_timeout);
        let limit = self.inner.config.call_timeout;
        let sent = async {
            let connection = connect(&self.inner.config, &format!("{} letter", self.inner.name)).await?;
            let lane = Lane::open(&connection, limit).await?;
            let most = connection.configuration().frame_max() as usize;
            let sent = lane.send(exchange, key, &envelope.body, size::fitted(properties, most));
            let confirmation = bounded(self.inner.publish_timeout, "publish a large letter", sent).await;
            hang_up(&connection, limit).await;
            confirmation
        };
        match sent.await {
            Ok(Confirmation::Ack(_)) => Ok(()),
            Ok(Confirmation::Nack(_)) => Err(PublishError::Refused { kind }),
            Ok(Confirmation::NotRequested) => Err(PublishError::Unknown { kind, after }),
            Err(error) => {
                tracing::warn!(%error, "a letter with large headers was not published; it is tried again");
                Err(PublishError::Unknown { kind, after })
            }
        }
    }

    /// Waits for a usable session younger than `number`. While the broker is blocked nothing is handed to lapin:
    /// it would keep the message, and send it whenever the alarm ends, long after the caller gave up.
    async fn session_after(&self, number: u64, kind: &str) -> Result<Session, PublishError> {
        let mut line = self.inner.line.clone();
        let usable =
            |line: &Line| !line.blocked && line.session.as_ref().is_some_and(|it| it.number > number);
        let session = line.wait_for(usable).await.ok().and_then(|line| line.session.clone());
        session.ok_or_else(|| PublishError::Closed { kind: kind.to_owned() })
    }
}
