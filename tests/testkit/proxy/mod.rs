//! A TCP proxy that breaks connections in the ways that networks do: cut, refused, silent, slow, or cut in the
//! middle of a message. It stands between a process under test and Postgres, RabbitMQ or an upstream.

mod connection;
mod forwarder;
mod servers;
#[cfg(test)]
mod tests;

pub use forwarder::Forwarder;
pub use servers::ToServers;

use anyhow::Context;
use connection::Connection;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// What has not happened by then never will.
const LONGEST: Duration = Duration::from_secs(60);

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the process that connected to the server behind the proxy.
    ToTarget,
    /// From the server back to the process.
    ToClient,
}

/// A running proxy. It stops, and cuts its connections, when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

/// What the proxy's connections share.
#[derive(Debug, Default)]
struct State {
    rules: watch::Sender<Rules>,
    seen: watch::Sender<Connections>,
}

#[derive(Clone, Debug, Default)]
struct Rules {
    /// Connections of an earlier epoch are cut.
    epoch: u64,
    refuse: bool,
    stalled_to_target: bool,
    stalled_to_client: bool,
    /// The connections up to this number are stalled both ways.
    forgotten: u64,
    latency: Duration,
    cut_after: Option<CutAfter>,
    stall_on: Option<(Direction, Vec<u8>)>,
    swallow: Option<Swallow>,
}

#[derive(Clone, Debug)]
struct Swallow {
    direction: Direction,
    pattern: Vec<u8>,
    /// How many more.
    times: u32,
}

#[derive(Clone, Copy, Debug)]
struct CutAfter {
    direction: Direction,
    bytes: u64,
    /// Tells this rule from an earlier one, so that each connection counts anew.
    serial: u64,
}

#[derive(Clone, Debug, Default)]
struct Connections {
    accepted: u64,
    open: BTreeSet<u64>,
}

impl Rules {
    fn stalled(&self, direction: Direction, connection: u64) -> bool {
        let all = match direction {
            Direction::ToTarget => self.stalled_to_target,
            Direction::ToClient => self.stalled_to_client,
        };
        all || connection <= self.forgotten
    }

    fn stall(&mut self, direction: Direction) {
        match direction {
            Direction::ToTarget => self.stalled_to_target = true,
            Direction::ToClient => self.stalled_to_client = true,
        }
    }
}

impl FaultProxy {
    /// Listens on a free port of loopback, and forwards to `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, target, Arc::clone(&state), stop.clone()));
        Ok(Self { address, state, _stop: stop.drop_guard() })
    }

    /// A proxy in front of the server that an address names, and the address through it.
    ///
    /// # Errors
    /// When the server's host is unknown, or no port can be bound.
    pub async fn before(url: &Url, default_port: u16) -> anyhow::Result<(Self, Url)> {
        let host = (url.host_str().context("the address names no host")?, url.port().unwrap_or(default_port));
        let target = tokio::net::lookup_host(host).await?.next().context("the server's host is unknown")?;
        let proxy = Self::start(target).await?;
        let mut url = url.clone();
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(proxy.address.port())).ok().context("the address takes no port")?;
        Ok((proxy, url))
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets every open connection (both sides see RST), waits until that is done, and says how many they were.
    /// New ones are accepted as before.
    pub async fn cut(&self) -> usize {
        let doomed = self.state.seen.borrow().open.clone();
        self.state.rules.send_modify(|rules| rules.epoch += 1);
        self.until_seen(|seen| seen.open.is_disjoint(&doomed)).await;
        doomed.len()
    }

    /// Resets every new connection as soon as it is made. Open ones go on.
    pub fn refuse(&self) {
        self.state.rules.send_modify(|rules| rules.refuse = true);
    }

    /// Forwards nothing in this direction any more, on open connections and new ones, and does not tell anybody:
    /// neither side sees an end. What was underway arrives after [`FaultProxy::resume`].
    pub fn stall(&self, direction: Direction) {
        self.state.rules.send_modify(|rules| rules.stall(direction));
    }

    /// [Stalls](FaultProxy::stall) both directions: a network that swallows everything.
    pub fn stall_both(&self) {
        self.stall(Direction::ToTarget);
        self.stall(Direction::ToClient);
    }

    /// Stalls both directions of the connections that are open now, for good, and lets new ones through: a firewall or a NAT
    /// that has forgotten them, and drops their packets without a word.
    pub fn forget(&self) {
        let accepted = self.accepted();
        self.state.rules.send_modify(|rules| rules.forgotten = accepted);
    }

    /// Stalls both directions, on every connection, just before a block that contains `pattern` would be forwarded
    /// in this direction; once. With [`FaultProxy::cut`] afterwards, exactly that message is lost: a method frame of
    /// the broker, the answer to a commit. A pattern that two TCP segments share is missed.
    pub fn stall_on(&self, direction: Direction, pattern: impl Into<Vec<u8>>) {
        let pattern = pattern.into();
        self.state.rules.send_modify(|rules| rules.stall_on = Some((direction, pattern)));
    }

    /// Swallows the next `times` blocks that contain `pattern` in this direction, and forwards everything else: a server
    /// that never answers one kind of request. The pattern's message must come in a block of its own.
    pub fn swallow(&self, direction: Direction, pattern: impl Into<Vec<u8>>, times: u32) {
        let swallow = Swallow { direction, pattern: pattern.into(), times };
        self.state.rules.send_modify(|rules| rules.swallow = Some(swallow));
    }

    /// How many blocks are still to be swallowed.
    #[must_use]
    pub fn to_swallow(&self) -> u32 {
        self.state.rules.borrow().swallow.as_ref().map_or(0, |swallow| swallow.times)
    }

    /// Waits until both directions are stalled, as [`FaultProxy::stall_on`] does. Panics if they are not for a minute,
    /// so that a test fails instead of hanging.
    #[expect(clippy::panic, reason = "only a failing test meets it")]
    pub async fn until_stalled(&self) {
        let mut rules = self.state.rules.subscribe();
        // The sender lives as long as this proxy, so there is no other error to meet.
        let stalled = rules.wait_for(|rules| rules.stalled_to_target && rules.stalled_to_client);
        if tokio::time::timeout(LONGEST, stalled).await.is_err() {
            panic!("the block to stall on never came");
        }
    }

    /// Delays each block by so much, in both directions.
    pub fn latency(&self, latency: Duration) {
        self.state.rules.send_modify(|rules| rules.latency = latency);
    }

    /// Resets each connection, open or new, once it has forwarded so many more bytes in this direction.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.state.rules.send_modify(|rules| {
            let serial = rules.cut_after.map_or(1, |cut| cut.serial + 1);
            rules.cut_after = Some(CutAfter { direction, bytes, serial });
        });
    }

    /// Ends every fault: accepts again, forwards what was stalled, at once.
    pub fn resume(&self) {
        self.state.rules.send_modify(|rules| *rules = Rules { epoch: rules.epoch, ..Rules::default() });
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state.seen.borrow().open.len()
    }

    /// Connections accepted since the start, the refused ones included.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.state.seen.borrow().accepted
    }

    /// Waits until `enough` holds for the number of open connections and of all that were ever accepted.
    pub async fn until(&self, mut enough: impl FnMut(usize, u64) -> bool) {
        self.until_seen(|seen| enough(seen.open.len(), seen.accepted)).await;
    }

    async fn until_seen(&self, enough: impl FnMut(&Connections) -> bool) {
        let mut seen = self.state.seen.subscribe();
        let _seen = seen.wait_for(enough).await;
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, state: Arc<State>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        // An error here is the failed handshake of one client, which is that client's concern.
        if let Ok((client, _)) = accepted {
            admit(client, target, &state);
        }
    }
    state.rules.send_modify(|rules| rules.epoch += 1);
}

fn admit(client: TcpStream, target: SocketAddr, state: &Arc<State>) {
    let (epoch, refuse) = {
        let rules = state.rules.borrow();
        (rules.epoch, rules.refuse)
    };
    let mut number = 0;
    state.seen.send_modify(|seen| {
        seen.accepted += 1;
        number = seen.accepted;
        if !refuse {
            seen.open.insert(number);
        }
    });
    if refuse {
        connection::reset(&client);
        return;
    }
    let state = Arc::clone(state);
    tokio::spawn(async move {
        Connection { state: &state, epoch, number }.run(client, target).await;
        state.seen.send_modify(|seen| {
            seen.open.remove(&number);
        });
    });
}
