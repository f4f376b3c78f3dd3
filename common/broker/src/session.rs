//! The publisher's connection: one session after the other, for as long as the process lives.

use super::connecting::connect_to_publish;
use super::topology::declare;
use super::{AmqpError, bounded};
use configuration::AmqpConfig;
use futures::{Stream, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Event};
use metrics::gauge;
use protocol::outage::Outage;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A closed connection is not always announced to someone who only publishes, so it is looked at this often.
const LOOK: Duration = Duration::from_millis(500);

/// What publishers see of the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The session to publish through, if there is one.
    pub(super) session: Option<Session>,
    /// The broker takes no publishes: a memory or disk alarm.
    pub(super) blocked: bool,
}

/// One connection with its channels. All of it is given up together, at the first sign of trouble.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Counts the sessions of this process.
    pub(super) number: u64,
    pub(super) connection: Arc<Connection>,
    /// Everything but broadcasts.
    pub(super) messages: Lane,
    /// Broadcasts: an abort does not queue behind a thousand doorbells.
    pub(super) broadcasts: Lane,
    /// Answers to commands, which must reach a queue.
    pub(super) replies: Lane,
    /// Cancelled by whoever finds the session broken.
    pub(super) broken: CancellationToken,
}

/// A channel in confirm mode, shared by all publishers of this process.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    channel: Channel,
    turn: Arc<Mutex<()>>,
}

impl Lane {
    pub(super) async fn open(connection: &Connection, limit: Duration) -> Result<Self, AmqpError> {
        let channel = bounded(limit, "open a channel", connection.create_channel()).await?;
        let select = channel.confirm_select(ConfirmSelectOptions { nowait: false });
        bounded(limit, "turn on publisher confirms", select).await?;
        Ok(Self { channel, turn: Arc::default() })
    }

    /// Writes a message and waits for its confirm. Many may wait at a time, but they write one after the other:
    /// lapin numbers a message before it queues it, so two that overlap could get each other's confirm. It also
    /// means that a connection whose socket is stuck holds one message, not everybody's.
    pub(super) async fn send(
        &self,
        exchange: ShortString,
        key: ShortString,
        body: &[u8],
        properties: BasicProperties,
    ) -> lapin::Result<Confirmation> {
        // lapin pairs returns with the wrong confirm; the alternate exchange does the job.
        self.write(exchange, key, body, properties, false).await
    }

    /// The same, of a message that must reach a queue: if there is none behind this exchange and key, the confirm brings
    /// it back. For a lane that sends nothing else: each waits for the confirm of the one before, since lapin pairs a return with
    /// the next confirm, whosever it is.
    pub(super) async fn send_to_a_queue(
        &self,
        exchange: ShortString,
        key: ShortString,
        body: &[u8],
        properties: BasicProperties,
    ) -> lapin::Result<Confirmation> {
        self.write(exchange, key, body, properties, true).await
    }

    async fn write(
        &self,
        exchange: ShortString,
        key: ShortString,
        body: &[u8],
        properties: BasicProperties,
        mandatory: bool,
    ) -> lapin::Result<Confirmation> {
        let options = BasicPublishOptions {
            mandatory,
            immediate: false, // RabbitMQ does not know it.
        };
        let turn = self.turn.lock().await;
        let confirm = self.channel.basic_publish(exchange, key, options, body, properties).await?;
        let _held = mandatory.then_some(turn);
        confirm.await
    }
}

impl Session {
    async fn open(config: &AmqpConfig, name: &str, declares: bool, number: u64) -> Result<Self, AmqpError> {
        let limit = config.call_timeout;
        let connection = connect_to_publish(config, name).await?;
        if declares {
            // A refused declaration closes its channel, so it gets one that nobody else uses.
            let channel = bounded(limit, "open a channel", connection.create_channel()).await?;
            declare(&config.topology(), &channel, limit).await?;
            bounded(limit, "close a channel", channel.close(200, "declared".into())).await?;
        }
        Ok(Self {
            number,
            messages: Lane::open(&connection, limit).await?,
            broadcasts: Lane::open(&connection, limit).await?,
            replies: Lane::open(&connection, limit).await?,
            connection: Arc::new(connection),
            broken: CancellationToken::new(),
        })
    }

    fn is_alive(&self) -> bool {
        self.connection.status().connected()
            && self.messages.channel.status().connected()
            && self.broadcasts.channel.status().connected()
            && self.replies.channel.status().connected()
    }
}

/// Connects, declares everything if that is its part, watches, and connects again, until `stop`.
pub(super) async fn keep_connected(
    config: AmqpConfig,
    name: String,
    declares: bool,
    line: watch::Sender<Line>,
    stop: CancellationToken,
) {
    let connected = gauge!("amqp_connected", "role" => "publish");
    let mut delays = config.reconnect.delays();
    let mut outage = Outage::of("the connection to the broker, to publish,");
    for number in 1.. {
        connected.set(0.0);
        let opened = tokio::select! {
            () = stop.cancelled() => break,
            opened = Session::open(&config, &name, declares, number) => opened,
        };
        match opened {
            Ok(session) => {
                outage.over();
                tracing::debug!(connection = name, session = number, "connected to the broker to publish");
                connected.set(1.0);
                let since = Instant::now();
                line.send_replace(Line { session: Some(session.clone()), blocked: false });
                watch_over(&session, &line, &stop).await;
                line.send_replace(Line::default());
                hang_up(&session.connection, config.call_timeout).await;
                // A session that broke at once proves nothing: its successor waits longer.
                if since.elapsed() > config.reconnect.max {
                    delays.reset();
                }
            }
            Err(error) => {
                outage.met(&format!("{}: {error}", config.shown()));
            }
        }
        let delay = delays.next_delay();
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(delay) => {}
        }
    }
    connected.set(0.0);
}

/// Returns when the session is broken or no longer wanted.
async fn watch_over(session: &Session, line: &watch::Sender<Line>, stop: &CancellationToken) {
    // The only listener: two of them would share the events between them.
    let mut events = pin!(session.connection.events_listener());
    let mut look = tokio::time::interval(LOOK);
    loop {
        note_block(session, line);
        let event = tokio::select! {
            () = stop.cancelled() => return,
            () = session.broken.cancelled() => {
                tracing::warn!(session = session.number, "a publish failed; the publishing connection is rebuilt");
                return;
            }
            event = next_event(&mut events) => event,
            _ = look.tick() => None,
        };
        // Errors of throw-away channels come as events too, and mean nothing for the session.
        if !session.is_alive() {
            let error = event.map(|event| format!("{event:?}"));
            tracing::warn!(session = session.number, error, "the publishing connection is lost");
            return;
        }
    }
}

/// An ended stream of events is as silent as an idle one; the regular look notices a connection that is gone.
async fn next_event(events: &mut (impl Stream<Item = Event> + Unpin)) -> Option<Event> {
    match events.next().await {
        Some(event) => Some(event),
        None => std::future::pending().await,
    }
}

fn note_block(session: &Session, line: &watch::Sender<Line>) {
    let blocked = session.connection.status().blocked();
    gauge!("amqp_blocked").set(if blocked { 1.0 } else { 0.0 });
    let changed = line.send_if_modified(|line| std::mem::replace(&mut line.blocked, blocked) != blocked);
    if changed && blocked {
        tracing::warn!("the broker takes no publishes: it has a memory or disk alarm; look at its console");
    } else if changed {
        tracing::info!("the broker takes publishes again");
    }
}

/// Closes a connection that may be dead already, in which case there is nothing to close.
pub(super) async fn hang_up(connection: &Connection, limit: Duration) {
    if connection.status().connected()
        && let Err(error) = bounded(limit, "close the connection", connection.close(200, "done".into())).await
    {
        tracing::debug!(%error, "the connection did not close in order");
    }
}
