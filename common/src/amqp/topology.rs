//! Exchanges, queues, bindings and arguments: every name that Backhaul uses on the broker, in one place.
//!
//! Both sides declare all of it whenever they connect. Declaring is idempotent, and an operator who deleted
//! something gets it back with the next connection.
//!
//! What operators may want to tune (length limits, delivery limits, message lifetimes) is left to policies. The
//! only queue argument declared here is the queue's type, and the only exchange argument the alternate exchange:
//! an argument cannot be changed without deleting what carries it, a policy can be at any time.

use super::{AmqpError, bounded};
use crate::ids::WorkerId;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
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

/// The exchanges, and whether the catch-all takes what they cannot route. The catch-all comes first: others name it.
/// Nobody listening to aborts or events is normal, so these two have none.
pub(super) const EXCHANGES: [(&str, ExchangeKind, bool); 5] = [
    ("unrouted", ExchangeKind::Fanout, false),
    ("commands", ExchangeKind::Direct, true),
    ("pages", ExchangeKind::Direct, true),
    ("aborts", ExchangeKind::Fanout, false),
    ("events", ExchangeKind::Topic, false),
];
/// The queues that stay.
pub(super) const QUEUES: [&str; 5] = ["pages", "starts", "cancels", "dead", "unrouted"];

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
        self.name("commands")
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
        self.name("dead")
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

    /// The queue that only one worker has: aborts, and its own canary.
    #[must_use]
    pub fn process_queue(&self, worker: WorkerId) -> String {
        self.name(&format!("process.{worker}"))
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
        for (word, kind, catch_all) in EXCHANGES {
            self.exchange(channel, limit, word, kind, catch_all).await?;
        }
        for word in QUEUES {
            self.quorum_queue(channel, limit, word).await?;
        }
        self.bind(channel, limit, "starts", "commands", KEY_START).await?;
        self.bind(channel, limit, "cancels", "commands", KEY_CANCEL).await?;
        self.bind(channel, limit, "pages", "pages", KEY_PAGE).await?;
        self.bind(channel, limit, "unrouted", "unrouted", "").await
    }

    /// Declares and binds the queue of one process, and gives its name.
    ///
    /// # Errors
    /// The broker does not answer in time, or refuses.
    pub async fn declare_process_queue(
        &self,
        channel: &Channel,
        limit: Duration,
        worker: WorkerId,
    ) -> Result<String, AmqpError> {
        let name = self.process_queue(worker);
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
        let declare = channel.queue_declare(name.as_str().into(), options, arguments);
        bounded(limit, "declare the process queue", declare).await?;
        let bind = channel.queue_bind(
            name.as_str().into(),
            self.aborts().into(),
            "".into(), // A fanout exchange ignores it.
            QueueBindOptions { nowait: false },
            FieldTable::default(),
        );
        bounded(limit, "bind the process queue", bind).await?;
        Ok(name)
    }

    /// Deletes one of the fleet's queues with all that is in it: the cure for a quorum queue without a leader,
    /// which can be declared but not consumed. [`Self::declare`] makes it anew.
    ///
    /// # Errors
    /// The broker does not answer in time, or refuses.
    pub async fn delete_queue(
        &self,
        channel: &Channel,
        limit: Duration,
        queue: WorkQueue,
    ) -> Result<(), AmqpError> {
        self.drop_queue(channel, limit, queue.word()).await
    }

    /// Deletes everything that [`Self::declare`] makes, with all messages. For tests, which clean up after
    /// themselves.
    ///
    /// # Errors
    /// The broker does not answer in time, or refuses.
    pub async fn delete(&self, channel: &Channel, limit: Duration) -> Result<(), AmqpError> {
        for word in QUEUES {
            self.drop_queue(channel, limit, word).await?;
        }
        for (word, _, _) in EXCHANGES {
            let options = ExchangeDeleteOptions { if_unused: false, nowait: false };
            let delete = channel.exchange_delete(self.name(word).into(), options);
            bounded(limit, "delete an exchange", delete).await?;
        }
        Ok(())
    }

    pub(super) async fn exchange(
        &self,
        channel: &Channel,
        limit: Duration,
        word: &str,
        kind: ExchangeKind,
        catch_all: bool,
    ) -> Result<(), AmqpError> {
        let options = ExchangeDeclareOptions {
            passive: false,
            durable: true, // Upstream services publish here whether or not we run.
            auto_delete: false,
            internal: false, // Upstream services and people at the console publish directly.
            nowait: false,   // A refusal must be seen here, not as a channel that closes later.
        };
        let mut arguments = FieldTable::default();
        if catch_all {
            // An upstream service that mistypes a routing key loses nothing, and we need no `mandatory`, whose
            // returns lapin pairs with the wrong confirm when publishes are pipelined.
            arguments.insert("alternate-exchange".into(), long(&self.unrouted()));
        }
        let declare = channel.exchange_declare(self.name(word).into(), kind, options, arguments);
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
        // The type is the one thing that a policy cannot say. Quorum: replicated, and a confirmed message
        // survives the loss of a minority of nodes.
        arguments.insert("x-queue-type".into(), long("quorum"));
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

    async fn drop_queue(&self, channel: &Channel, limit: Duration, word: &str) -> Result<(), AmqpError> {
        // Quorum queues know neither if_unused nor if_empty.
        let options = QueueDeleteOptions { if_unused: false, if_empty: false, nowait: false };
        let delete = channel.queue_delete(ShortString::from(self.name(word)), options);
        bounded(limit, "delete a queue", delete).await.map(drop)
    }
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
