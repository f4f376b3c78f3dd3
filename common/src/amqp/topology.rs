//! Exchanges, queues, bindings and arguments: every name that Backhaul uses on the broker, in one place.
//!
//! Both sides declare all of it whenever they connect. Declaring is idempotent, and an operator who deleted
//! something gets it back with the next connection.
//!
//! What operators may want to tune (length limits, message lifetimes) is left to policies. Arguments are declared only
//! where no policy can do the job, since an argument cannot be changed without deleting what carries it: the queue's type,
//! the alternate exchange, and a delivery limit that is out of the way. RabbitMQ 4 deletes a message at its 21st return
//! unless its queue says otherwise, and every look with the console, every closed channel and every lost connection is a
//! return. "No limit" cannot be said: 3.10 takes -1 for zero, and deletes at the first return.

use super::{AmqpError, bounded};
use crate::ids::WorkerId;
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The queues that the whole fleet shares and consumes. (Dead letters are for people, not for consumers.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkQueue {
    /// Doorbells of slices, and markers.
    Pages,
    /// Start commands.
    Starts,
    /// Cancel commands, apart from starts so that a cancel never waits behind planning.
    Cancels,
    /// What no other queue takes: messages with a mistyped routing key.
    Unrouted,
}

impl WorkQueue {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pages, Self::Starts, Self::Cancels, Self::Unrouted];

    /// The queue's name without its namespace.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Starts => "starts",
            Self::Cancels => "cancels",
            Self::Unrouted => "unrouted",
        }
    }

    /// Whether the fleet works on without it.
    #[must_use]
    pub const fn is_spare(self) -> bool {
        match self {
            Self::Pages | Self::Starts | Self::Cancels => false,
            Self::Unrouted => true,
        }
    }
}

impl fmt::Display for WorkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The routing key of a start command.
pub const KEY_START: &str = "sync.start";
/// The routing key of a cancel command.
pub const KEY_CANCEL: &str = "sync.cancel";
/// The routing key of a page work item, and of a marker.
pub const KEY_PAGE: &str = "page";

/// An exchange, as it is declared.
pub(super) struct ExchangeShape {
    /// Its name without the namespace.
    pub(super) word: &'static str,
    pub(super) kind: ExchangeKind,
    /// Nobody publishes to it; it takes what another exchange passes on.
    pub(super) internal: bool,
    /// What it cannot route goes to the catch-all. An upstream service that mistypes a routing key loses nothing, and we need
    /// no `mandatory`, whose returns lapin pairs with the wrong confirm when publishes are pipelined.
    pub(super) catch_all: bool,
}

/// The exchanges. The catch-all comes first, since others name it. Nobody listening to aborts or events is normal, so these
/// two have none.
///
/// The one that upstream services publish to is plain, because many clients declare the exchanges that they use: with an
/// argument of ours, the broker would refuse theirs, or ours if they come first. It passes everything on to one that routes.
pub(super) const EXCHANGES: [ExchangeShape; 6] = [
    ExchangeShape { word: "unrouted", kind: ExchangeKind::Fanout, internal: false, catch_all: false },
    ExchangeShape { word: COMMANDS, kind: ExchangeKind::Topic, internal: false, catch_all: false },
    ExchangeShape { word: ROUTES, kind: ExchangeKind::Direct, internal: true, catch_all: true },
    ExchangeShape { word: "pages", kind: ExchangeKind::Direct, internal: false, catch_all: true },
    ExchangeShape { word: "aborts", kind: ExchangeKind::Fanout, internal: false, catch_all: false },
    ExchangeShape { word: "events", kind: ExchangeKind::Topic, internal: false, catch_all: false },
];
/// The queue of dead letters.
pub(super) const DEAD: &str = "dead";
const COMMANDS: &str = "commands";
const ROUTES: &str = "commands.routes";

/// The queues that stay.
pub(super) const QUEUES: [&str; 5] = ["pages", "starts", "cancels", DEAD, "unrouted"];

/// From which exchange, with which routing key, to which queue.
const BINDINGS: [(&str, &str, &str); 4] = [
    (ROUTES, KEY_START, "starts"),
    (ROUTES, KEY_CANCEL, "cancels"),
    ("pages", KEY_PAGE, "pages"),
    ("unrouted", "", "unrouted"),
];

/// Far more returns than any message sees.
pub(super) const DELIVERY_LIMIT: i32 = 1_000_000;

/// The names of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    namespace: Arc<str>,
}

impl Topology {
    /// The names that begin with `namespace`.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into() }
    }

    /// The first word of every name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Exchange of start and cancel commands.
    #[must_use]
    pub fn commands(&self) -> String {
        self.name(COMMANDS)
    }

    /// Exchange of page work items and markers.
    #[must_use]
    pub fn pages(&self) -> String {
        self.name("pages")
    }

    /// Exchange that tells every process to abort pages of a job.
    #[must_use]
    pub fn aborts(&self) -> String {
        self.name("aborts")
    }

    /// Exchange of what happened to jobs, for whoever wants to listen.
    #[must_use]
    pub fn events(&self) -> String {
        self.name("events")
    }

    /// Exchange, and the queue behind it, of messages whose routing key matches nothing.
    #[must_use]
    pub fn unrouted(&self) -> String {
        self.name("unrouted")
    }

    /// Queue of messages that can never be applied, each with headers that say why.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        self.name(DEAD)
    }

    /// One of the fleet's queues.
    #[must_use]
    pub fn queue(&self, queue: WorkQueue) -> String {
        self.name(queue.word())
    }

    /// The fleet's queue that takes what is published there.
    #[must_use]
    pub fn queue_of(&self, exchange: &str, routing_key: &str) -> Option<WorkQueue> {
        if exchange == self.commands() {
            return match routing_key {
                KEY_START => Some(WorkQueue::Starts),
                KEY_CANCEL => Some(WorkQueue::Cancels),
                _ => None,
            };
        }
        (exchange == self.pages() && routing_key == KEY_PAGE).then_some(WorkQueue::Pages)
    }

    /// The queue of one connection of one worker: aborts, and its own canary. A name of its own each time, since the broker
    /// may hold the one before for as long as it believes in its connection.
    #[must_use]
    pub fn process_queue(&self, worker: WorkerId, connection: u64) -> String {
        self.name(&format!("process.{worker}.{connection}"))
    }

    pub(super) fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.namespace)
    }

    /// Declares everything that the fleet shares. Each call may take `limit`.
    ///
    /// # Errors
    /// The broker does not answer in time, or refuses: most likely something of that name exists with other
    /// options (delete it, or choose another namespace), or the user lacks the `configure` permission.
    pub async fn declare(&self, channel: &Channel, limit: Duration) -> Result<(), AmqpError> {
        self.declare_exchanges(channel, limit).await?;
        for word in QUEUES {
            self.declare_queue(channel, limit, word).await?;
        }
        Ok(())
    }

    /// Declares the exchanges, and what they pass on to each other.
    pub(super) async fn declare_exchanges(
        &self,
        channel: &Channel,
        limit: Duration,
    ) -> Result<(), AmqpError> {
        for shape in &EXCHANGES {
            self.exchange(channel, limit, shape).await?;
        }
        let bind = channel.exchange_bind(
            self.name(ROUTES).into(),
            self.name(COMMANDS).into(),
            "#".into(),
            ExchangeBindOptions { nowait: false },
            FieldTable::default(),
        );
        bounded(limit, "bind an exchange", bind).await
    }

    /// Declares a queue that stays, and binds it.
    pub(super) async fn declare_queue(
        &self,
        channel: &Channel,
        limit: Duration,
        word: &str,
    ) -> Result<(), AmqpError> {
        self.quorum_queue(channel, limit, word).await?;
        for (exchange, key, _) in BINDINGS.into_iter().filter(|(_, _, queue)| *queue == word) {
            self.bind(channel, limit, word, exchange, key).await?;
        }
        Ok(())
    }

    /// Declares and binds the queue of one connection of a process.
    ///
    /// # Errors
    /// The broker does not answer in time, or refuses.
    pub(super) async fn declare_process_queue(
        &self,
        channel: &Channel,
        limit: Duration,
        name: &str,
    ) -> Result<(), AmqpError> {
        let options = QueueDeclareOptions {
            passive: false,
            // It ends with its connection, so there is nothing to keep over a broker's restart.
            durable: false,
            // Only this connection may consume it, and the broker deletes it when the connection ends, however it
            // ends. That is also what makes a transient queue acceptable to RabbitMQ 4.3.
            exclusive: true,
            // Gone with its consumer too, should the connection outlive it.
            auto_delete: true,
            nowait: false,
        };
        let mut arguments = FieldTable::default();
        // Quorum queues can be neither exclusive nor transient; said, in case the vhost's default type is another.
        arguments.insert("x-queue-type".into(), long("classic"));
        let declare = channel.queue_declare(name.into(), options, arguments);
        bounded(limit, "declare the process queue", declare).await?;
        self.bind_process_queue(channel, limit, name).await
    }

    /// Binds it, once more if the exchange of aborts was gone for a while.
    pub(super) async fn bind_process_queue(
        &self,
        channel: &Channel,
        limit: Duration,
        name: &str,
    ) -> Result<(), AmqpError> {
        let bind = channel.queue_bind(
            name.into(),
            self.aborts().into(),
            "".into(), // A fanout exchange ignores it.
            QueueBindOptions { nowait: false },
            FieldTable::default(),
        );
        bounded(limit, "bind the process queue", bind).await
    }

    /// Deletes the queue of doorbells, which are rung again when they are lost. There is no such call for the queues that hold
    /// what others have sent.
    ///
    /// # Errors
    /// The broker does not answer in time, or refuses.
    pub(super) async fn delete_pages(&self, channel: &Channel, limit: Duration) -> Result<(), AmqpError> {
        // Quorum queues know neither if_unused nor if_empty.
        let options = QueueDeleteOptions { if_unused: false, if_empty: false, nowait: false };
        let delete = channel.queue_delete(self.queue(WorkQueue::Pages).into(), options);
        bounded(limit, "delete a queue", delete).await.map(drop)
    }

    /// The names of all exchanges that [`Self::declare`] makes.
    pub fn exchange_names(&self) -> impl Iterator<Item = String> {
        EXCHANGES.iter().map(|shape| self.name(shape.word))
    }

    /// The names of all queues that [`Self::declare`] makes.
    pub fn queue_names(&self) -> impl Iterator<Item = String> {
        QUEUES.iter().map(|word| self.name(word))
    }

    pub(super) async fn exchange(
        &self,
        channel: &Channel,
        limit: Duration,
        shape: &ExchangeShape,
    ) -> Result<(), AmqpError> {
        let options = ExchangeDeclareOptions {
            passive: false,
            durable: true, // Upstream services publish here whether or not we run.
            auto_delete: false,
            internal: shape.internal,
            nowait: false, // A refusal must be seen here, not as a channel that closes later.
        };
        let mut arguments = FieldTable::default();
        if shape.catch_all {
            arguments.insert("alternate-exchange".into(), long(&self.unrouted()));
        }
        let name = self.name(shape.word).into();
        let declare = channel.exchange_declare(name, shape.kind.clone(), options, arguments);
        bounded(limit, "declare an exchange", declare).await
    }

    pub(super) async fn quorum_queue(
        &self,
        channel: &Channel,
        limit: Duration,
        word: &str,
    ) -> Result<(), AmqpError> {
        let options = QueueDeclareOptions {
            passive: false,
            durable: true, // Quorum queues must be, and doorbells should outlive a broker's restart.
            exclusive: false, // The whole fleet consumes.
            auto_delete: false, // A fleet scaled to zero keeps its work.
            nowait: false,
        };
        let mut arguments = FieldTable::default();
        // Quorum: replicated, and a confirmed message survives the loss of a minority of nodes.
        arguments.insert("x-queue-type".into(), long("quorum"));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
        let declare = channel.queue_declare(self.name(word).into(), options, arguments);
        bounded(limit, "declare a queue", declare).await.map(drop)
    }

    async fn bind(
        &self,
        channel: &Channel,
        limit: Duration,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> Result<(), AmqpError> {
        let bind = channel.queue_bind(
            self.name(queue).into(),
            self.name(exchange).into(),
            key.into(),
            QueueBindOptions { nowait: false },
            FieldTable::default(),
        );
        bounded(limit, "bind a queue", bind).await
    }
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
