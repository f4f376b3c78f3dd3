//! Declares exchanges, queues and bindings, with their arguments.
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
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind};
use protocol::topology::{COMMANDS, DEAD, KEY_CANCEL, KEY_PAGE, KEY_START, ROUTES, Topology, WorkQueue};
use std::time::Duration;

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

/// Declares everything that the fleet shares. Each call may take `limit`.
///
/// # Errors
/// The broker does not answer in time, or refuses: most likely something of that name exists with other
/// options (delete it, or choose another namespace), or the user lacks the `configure` permission.
pub async fn declare(topology: &Topology, channel: &Channel, limit: Duration) -> Result<(), AmqpError> {
    declare_exchanges(topology, channel, limit).await?;
    for word in QUEUES {
        declare_queue(topology, channel, limit, word).await?;
    }
    Ok(())
}

/// Declares the exchanges, and what they pass on to each other.
pub(super) async fn declare_exchanges(
    topology: &Topology,
    channel: &Channel,
    limit: Duration,
) -> Result<(), AmqpError> {
    for shape in &EXCHANGES {
        declare_exchange(topology, channel, limit, shape).await?;
    }
    let bind = channel.exchange_bind(
        topology.name(ROUTES).into(),
        topology.name(COMMANDS).into(),
        "#".into(),
        ExchangeBindOptions { nowait: false },
        FieldTable::default(),
    );
    bounded(limit, "bind an exchange", bind).await
}

/// Declares a queue that stays, and binds it.
pub(super) async fn declare_queue(
    topology: &Topology,
    channel: &Channel,
    limit: Duration,
    word: &str,
) -> Result<(), AmqpError> {
    declare_quorum_queue(topology, channel, limit, word).await?;
    for (exchange, key, _) in BINDINGS.into_iter().filter(|(_, _, queue)| *queue == word) {
        bind(topology, channel, limit, word, exchange, key).await?;
    }
    Ok(())
}

/// Declares and binds the queue of one connection of a process.
///
/// # Errors
/// The broker does not answer in time, or refuses.
pub(super) async fn declare_process_queue(
    topology: &Topology,
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
    bind_process_queue(topology, channel, limit, name).await
}

/// Binds it, once more if the exchange of aborts was gone for a while.
pub(super) async fn bind_process_queue(
    topology: &Topology,
    channel: &Channel,
    limit: Duration,
    name: &str,
) -> Result<(), AmqpError> {
    let bind = channel.queue_bind(
        name.into(),
        topology.aborts().into(),
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
pub(super) async fn delete_pages(
    topology: &Topology,
    channel: &Channel,
    limit: Duration,
) -> Result<(), AmqpError> {
    // Quorum queues know neither if_unused nor if_empty.
    let options = QueueDeleteOptions { if_unused: false, if_empty: false, nowait: false };
    let delete = channel.queue_delete(topology.queue(WorkQueue::Pages).into(), options);
    bounded(limit, "delete a queue", delete).await.map(drop)
}

/// The names of all exchanges that [`declare`] makes.
pub fn exchange_names(topology: &Topology) -> impl Iterator<Item = String> {
    EXCHANGES.iter().map(|shape| topology.name(shape.word))
}

/// The names of all queues that [`declare`] makes.
pub fn queue_names(topology: &Topology) -> impl Iterator<Item = String> {
    QUEUES.iter().map(|word| topology.name(word))
}

pub(super) async fn declare_exchange(
    topology: &Topology,
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
        arguments.insert("alternate-exchange".into(), long(&topology.unrouted()));
    }
    let name = topology.name(shape.word).into();
    let declare = channel.exchange_declare(name, shape.kind.clone(), options, arguments);
    bounded(limit, "declare an exchange", declare).await
}

pub(super) async fn declare_quorum_queue(
    topology: &Topology,
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
    let declare = channel.queue_declare(topology.name(word).into(), options, arguments);
    bounded(limit, "declare a queue", declare).await.map(drop)
}

async fn bind(
    topology: &Topology,
    channel: &Channel,
    limit: Duration,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), AmqpError> {
    let bind = channel.queue_bind(
        topology.name(queue).into(),
        topology.name(exchange).into(),
        key.into(),
        QueueBindOptions { nowait: false },
        FieldTable::default(),
    );
    bounded(limit, "bind a queue", bind).await
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
