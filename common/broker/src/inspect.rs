//! What `backhaul doctor` asks of the broker: whether the topology is there and is ours, and whether this user may do
//! what the programs do. It makes nothing that stays.

use super::session::Lane;
use super::topology::{EXCHANGES, QUEUES, declare_exchange, declare_quorum_queue};
use super::{AmqpError, bounded};
use lapin::options::{BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ErrorKind, ExchangeKind};
use protocol::topology::Topology;
use std::time::Duration;
use uuid::Uuid;

pub(super) const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
/// The probe's body and routing key.
const PROBE: &str = "doctor";

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

/// How it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it must be. For a queue with its ready messages and its consumers.
    Ours {
        /// Messages that wait in it.
        messages: u32,
        /// Consumers that are registered.
        consumers: u32,
    },
    /// Not there; whoever connects next declares it.
    Missing,
    /// There, with another type or other arguments; in the broker's words.
    Different(String),
    /// The broker does not let us look; in its words.
    Refused(String),
}

/// One exchange or queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Which of the two.
    pub part: Part,
    /// Its name without the namespace.
    pub word: &'static str,
    /// Its whole name.
    pub name: String,
    /// How it is.
    pub standing: Standing,
}

/// Whether somebody has declared this namespace: whether commands have an exchange.
///
/// # Errors
/// The broker does not answer in time, or the connection breaks.
pub async fn is_declared(
    topology: &Topology,
    connection: &Connection,
    limit: Duration,
) -> Result<bool, AmqpError> {
    let channel = open(connection, limit).await?;
    let looked = look_at_exchange(&channel, limit, &topology.commands(), ExchangeKind::Topic).await;
    Ok(standing(looked, Ok(()))? != Standing::Missing)
}

/// Looks at every exchange and queue that [`declare`](super::declare) makes, each on a channel of its own, since a refusal
/// closes the channel.
///
/// # Errors
/// The broker does not answer in time, or the connection breaks.
pub async fn inspect(
    topology: &Topology,
    connection: &Connection,
    limit: Duration,
) -> Result<Vec<Inspected>, AmqpError> {
    let mut all = Vec::new();
    for shape in EXCHANGES {
        let word = shape.word;
        let channel = open(connection, limit).await?;
        let name = topology.name(word);
        let looked = look_at_exchange(&channel, limit, &name, shape.kind.clone()).await;
        // Looking passively says only that something of the name is there; declaring it as ours says whether it is.
        let declared = match looked {
            Ok(_) => declare_exchange(topology, &channel, limit, &shape).await,
            Err(_) => Ok(()),
        };
        let standing = standing(looked, declared)?;
        all.push(Inspected { part: Part::Exchange, word, name, standing });
    }
    for word in QUEUES {
        let channel = open(connection, limit).await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = topology.name(word);
        let look = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
        let looked = bounded(limit, "look at a queue", look).await;
        let looked = looked.map(|queue| (queue.message_count(), queue.consumer_count()));
        let declared = match looked {
            Ok(_) => declare_quorum_queue(topology, &channel, limit, word).await,
            Err(_) => Ok(()),
        };
        let standing = standing(looked, declared)?;
        all.push(Inspected { part: Part::Queue, word, name, standing });
    }
    Ok(all)
}

/// Looks whether an exchange is there, without declaring it. Exchanges have no counts.
async fn look_at_exchange(
    channel: &Channel,
    limit: Duration,
    name: &str,
    kind: ExchangeKind,
) -> Result<(u32, u32), AmqpError> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let look = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    bounded(limit, "look at an exchange", look).await.map(|()| (0, 0))
}

fn standing(
    looked: Result<(u32, u32), AmqpError>,
    declared: Result<(), AmqpError>,
) -> Result<Standing, AmqpError> {
    let counts = match looked {
        Ok(counts) => Ok(counts),
        Err(error) => Err(refusal(error)?),
    };
    Ok(match (counts, declared) {
        (Err((NOT_FOUND, _)), _) => Standing::Missing,
        (Err((_, words)), _) => Standing::Refused(words),
        (Ok((messages, consumers)), Ok(())) => Standing::Ours { messages, consumers },
        (Ok(_), Err(error)) => match refusal(error)? {
            (PRECONDITION_FAILED, words) => Standing::Different(words),
            (_, words) => Standing::Refused(words),
        },
    })
}

/// What the broker said no with; any other failure is handed back.
pub(super) fn refusal(error: AmqpError) -> Result<(u16, String), AmqpError> {
    let said = if let AmqpError::Failed { source, .. } = &error
        && let ErrorKind::ProtocolError(said) = source.kind()
    {
        Some((said.get_id(), said.get_message().to_string()))
    } else {
        None
    };
    said.ok_or(error)
}

pub(super) async fn open(connection: &Connection, limit: Duration) -> Result<Channel, AmqpError> {
    bounded(limit, "open a channel", connection.create_channel()).await
}

/// Does once what the programs do all the time, with names of this namespace: declares an exchange and a queue of its
/// own, binds them, publishes with a confirm, and gets the message back. All of it goes with the connection.
///
/// # Errors
/// The first step that the broker refuses or does not answer.
pub async fn round_trip(
    connection: &Connection,
    topology: &Topology,
    limit: Duration,
) -> Result<(), AmqpError> {
    let channel = open(connection, limit).await?;
    let name = ShortString::from(topology.name(&format!("{PROBE}.{}", Uuid::new_v4())));
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    let declare =
        channel.exchange_declare(name.clone(), ExchangeKind::Direct, options, FieldTable::default());
    bounded(limit, "declare an exchange (permission: configure)", declare).await?;
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let declare = channel.queue_declare(name.clone(), options, FieldTable::default());
    bounded(limit, "declare a queue (permission: configure)", declare).await?;
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    let bind = channel.queue_bind(name.clone(), name.clone(), PROBE.into(), options, none);
    bounded(limit, "bind a queue (permissions: write for it, read for its exchange)", bind).await?;
    let lane = Lane::open(connection, limit).await?;
    let sent = lane.send(name.clone(), PROBE.into(), PROBE.as_bytes(), BasicProperties::default());
    bounded(limit, "publish with a confirm (permission: write)", sent).await?;
    let get = channel.basic_get(name, BasicGetOptions { no_ack: true });
    match bounded(limit, "get a message (permission: read)", get).await? {
        Some(got) if got.delivery.data == PROBE.as_bytes() => Ok(()),
        _ => Err(AmqpError::TimedOut { call: "get the message that was confirmed", after: Duration::ZERO }),
    }
}
