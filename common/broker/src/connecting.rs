//! How a connection to the broker is made: which address, over which socket, and what becomes of one that fails.
//!
//! The socket is ours. lapin's own has no keep-alive, waits for an address that drops packets as long as the kernel does, and
//! a handshake that is given up leaves its thread and its socket behind, for as long as the broker stays silent.

use super::{AmqpError, address, bounded};
use async_compat::CompatExt;
use configuration::AmqpConfig;
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use protocol::topology::NAMESPACE_LIMIT;
use rand::seq::SliceRandom;
use socket2::{SockRef, Socket, TcpKeepalive};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// The longest that one address may take to accept a TCP connection; then the next one is tried.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(2);
/// A connection on which nothing is said is probed after this time, and so often.
const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
/// What was sent and not acknowledged for so long ends the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

const CONNECT: &str = "connect";

/// The largest frame, in bytes, of a connection that only publishes. lapin fills two buffers of 32 frames each, and of the
/// broker's usual 128 KiB a frame they are 8 MiB. A body goes in as many frames as it needs, but the properties of a message
/// must fit into one: ours do (see [`super::Envelope`]). Those of others need not, so who consumes takes frames as they come.
pub(super) const PUBLISHING_FRAME: u32 = 16 << 10;

/// Opens a connection that shows up in the broker's console as `name`. Each configured address is tried once, in an order
/// drawn anew each time; retrying is the caller's loop.
///
/// # Errors
/// The URL or the namespace is unusable, nobody listens, the broker refuses the login or the vhost, or the call timed out.
pub async fn connect(config: &AmqpConfig, name: &str) -> Result<Connection, AmqpError> {
    open(config, name, None).await
}

/// The same, to publish messages of our own.
pub(super) async fn connect_to_publish(config: &AmqpConfig, name: &str) -> Result<Connection, AmqpError> {
    open(config, name, Some(PUBLISHING_FRAME)).await
}

async fn open(config: &AmqpConfig, name: &str, largest_frame: Option<u32>) -> Result<Connection, AmqpError> {
    let bytes = config.namespace.len();
    if !(1..=NAMESPACE_LIMIT).contains(&bytes) {
        return Err(AmqpError::Namespace { bytes });
    }
    let tls = trusted(config.ca_file.as_deref()).await?;
    let mut brokers = address::parse(&config.url)?;
    // A fleet spreads over the members of its cluster.
    brokers.shuffle(&mut rand::rng());
    let mut failed = Vec::new();
    for mut uri in brokers {
        uri.query.heartbeat = Some(config.heartbeat_seconds);
        uri.query.frame_max = uri.query.frame_max.or(largest_frame);
        let host = format!("{}:{}", uri.authority.host, uri.authority.port);
        match open_one(uri, &tls, name, config.call_timeout).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failed.push((host, error)),
        }
    }
    Err(all_of(failed))
}

/// One error of all that was tried.
fn all_of(mut failed: Vec<(String, AmqpError)>) -> AmqpError {
    if failed.len() > 1 {
        let each: Vec<_> = failed.iter().map(|(host, error)| format!("{host}: {error}")).collect();
        return AmqpError::NoneOf { each: each.join("; ") };
    }
    match failed.pop() {
        Some((_, error)) => error,
        None => AmqpError::Url { reason: "it names no broker".to_owned() },
    }
}

async fn open_one(
    uri: AMQPUri,
    tls: &OwnedTLSConfig,
    name: &str,
    limit: Duration,
) -> Result<Connection, AmqpError> {
    let failed = |error: io::Error| AmqpError::Failed { call: CONNECT, source: error.into() };
    let stream = reach(&uri).await.map_err(failed)?;
    let abandoned = Abandoned::watch(&stream).map_err(failed)?;
    let plain = AsyncTcpStream::Plain(stream.compat());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime =
        lapin::runtime::default_runtime().map_err(|source| AmqpError::Failed { call: CONNECT, source })?;
    let handshake = async {
        let stream = match uri.scheme {
            AMQPScheme::AMQP => plain,
            AMQPScheme::AMQPS => plain.into_tls(&uri.authority.host, tls.as_ref()).await?,
        };
        // Asked for once: what fails is connected anew by our caller.
        let once = Mutex::new(Some(stream));
        let take = async move |_, _| {
            let stream = once.lock().ok().and_then(|mut stream| stream.take());
            stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted).into())
        };
        Connection::connector(uri, runtime, take, properties).await
    };
    let connection = bounded(limit, CONNECT, Box::pin(handshake)).await?;
    abandoned.disarm();
    Ok(connection)
}

/// A TCP connection to the first address of the broker's name that accepts one.
async fn reach(uri: &AMQPUri) -> io::Result<TcpStream> {
    let (host, port) = (uri.authority.host.as_str(), uri.authority.port);
    let resolved = timeout(ACCEPTED_WITHIN, lookup_host((host, port))).await;
    let addresses: Vec<_> =
        resolved.map_err(|_late| silent(&format!("the name {host} was not resolved")))??.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("the name {host} has no address"));
    for address in addresses {
        match accepted(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn accepted(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(ACCEPTED_WITHIN, TcpStream::connect(address))
        .await
        .map_err(|_late| silent(&format!("{address} did not accept a connection")))?
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&KEEP_ALIVE)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(stream)
}

fn silent(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {} s", ACCEPTED_WITHIN.as_secs()))
}

/// Shuts the socket of a handshake that did not succeed, which also ends the thread that lapin reads it in.
struct Abandoned(Option<Socket>);

impl Abandoned {
    fn watch(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self(Some(SockRef::from(stream).try_clone()?)))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.shutdown(Shutdown::Both)
        {
            tracing::debug!(%error, "the socket of a failed connection was closed already");
        }
    }
}

/// What vouches for the broker beside the system's roots.
async fn trusted(ca_file: Option<&Path>) -> Result<OwnedTLSConfig, AmqpError> {
    let Some(ca_file) = ca_file else { return Ok(OwnedTLSConfig::default()) };
    let unusable = |reason: String| AmqpError::CaFile { path: ca_file.to_owned(), reason };
    let pem = tokio::fs::read_to_string(ca_file).await.map_err(|error| unusable(error.to_string()))?;
    // lapin would pass over what is none.
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(unusable("there is no PEM certificate in it".to_owned()));
    }
    Ok(OwnedTLSConfig { cert_chain: Some(pem), ..OwnedTLSConfig::default() })
}
