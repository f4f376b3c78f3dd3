//! One connection through the proxy, from its acceptance to its end.

use super::{Direction, Rules, State};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

const BLOCK: usize = 16 * 1024;

pub(super) struct Connection<'a> {
    pub(super) state: &'a State,
    pub(super) epoch: u64,
    pub(super) number: u64,
}

/// One direction's share of a `cut_after` rule.
#[derive(Default)]
struct Allowance {
    serial: u64,
    left: u64,
}

/// Makes the coming close a reset, which is what the peer of a killed process or a dropped NAT entry sees.
pub(super) fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "the connection is closed already");
    }
}

impl Connection<'_> {
    pub(super) async fn run(&self, mut client: TcpStream, target: SocketAddr) {
        let connected = tokio::select! {
            connected = TcpStream::connect(target) => connected,
            () = self.cut() => Err(io::ErrorKind::ConnectionReset.into()),
        };
        let mut server = match connected {
            Ok(server) => server,
            Err(error) => {
                tracing::debug!(%error, %target, "the proxy's target cannot be reached");
                return reset(&client);
            }
        };
        for stream in [&client, &server] {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY cannot be set");
            }
        }
        let ended = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let both = futures::future::try_join(
                self.pump(from_client, to_server, Direction::ToTarget),
                self.pump(from_server, to_client, Direction::ToClient),
            );
            tokio::select! {
                ended = both => ended.map(|_both| ()),
                () = self.cut() => Err(io::ErrorKind::ConnectionReset.into()),
            }
        };
        if ended.is_err() {
            reset(&client);
            reset(&server);
        }
    }

    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        direction: Direction,
    ) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        let mut allowance = Allowance::default();
        loop {
            self.flowing(direction).await;
            let read = tokio::select! {
                read = from.read(&mut block) => read?,
                // Not even read, so that a sender meets a full buffer some day, as with a real black hole.
                () = self.stalled(direction) => continue,
            };
            let part = block.get(..read).unwrap_or_default();
            if self.swallows(direction, part) {
                continue;
            }
            self.trip(direction, part);
            let latency = self.state.rules.borrow().latency;
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            self.flowing(direction).await;
            if part.is_empty() {
                return to.shutdown().await;
            }
            let (allowed, spent) = self.allowed(&mut allowance, direction, part);
            to.write_all(allowed).await?;
            if spent {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
    }

    /// Stalls everything if this is the block that a test waits for.
    fn trip(&self, direction: Direction, part: &[u8]) {
        self.state.rules.send_if_modified(|rules| {
            let hit = rules.stall_on.as_ref().is_some_and(|(wanted, pattern)| {
                *wanted == direction && part.windows(pattern.len().max(1)).any(|window| window == pattern)
            });
            if hit {
                rules.stall_on = None;
                rules.stall(Direction::ToTarget);
                rules.stall(Direction::ToClient);
            }
            hit
        });
    }

    /// Whether this is one of the blocks that never arrive.
    fn swallows(&self, direction: Direction, part: &[u8]) -> bool {
        self.state.rules.send_if_modified(|rules| {
            let hit = rules.swallow.as_mut().filter(|it| {
                it.times > 0
                    && it.direction == direction
                    && part.windows(it.pattern.len().max(1)).any(|window| window == it.pattern)
            });
            hit.map(|it| it.times -= 1).is_some()
        })
    }

    /// What of a block may pass, and whether that was the last that may.
    fn allowed<'p>(
        &self,
        allowance: &mut Allowance,
        direction: Direction,
        part: &'p [u8],
    ) -> (&'p [u8], bool) {
        let rule = self.state.rules.borrow().cut_after;
        let Some(cut) = rule.filter(|cut| cut.direction == direction) else { return (part, false) };
        if allowance.serial != cut.serial {
            *allowance = Allowance { serial: cut.serial, left: cut.bytes };
        }
        let allowed = part.len().min(usize::try_from(allowance.left).unwrap_or(usize::MAX));
        allowance.left -= u64::try_from(allowed).unwrap_or(allowance.left);
        (part.get(..allowed).unwrap_or(part), allowance.left == 0)
    }

    async fn flowing(&self, direction: Direction) {
        self.until(|rules| !rules.stalled(direction, self.number)).await;
    }

    async fn stalled(&self, direction: Direction) {
        self.until(|rules| rules.stalled(direction, self.number)).await;
    }

    async fn cut(&self) {
        self.until(|rules| rules.epoch != self.epoch).await;
    }

    async fn until(&self, holds: impl FnMut(&Rules) -> bool) {
        let mut rules = self.state.rules.subscribe();
        // The state, and with it the sender, lives as long as this connection: there is no error to meet.
        let _rules = rules.wait_for(holds).await;
    }
}
