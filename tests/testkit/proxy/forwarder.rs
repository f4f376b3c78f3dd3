//! One address in front of several servers, as a load balancer is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A server that has not accepted by then is passed over.
const CONNECTS_WITHIN: Duration = Duration::from_millis(500);

/// Forwards each new connection to the next server that accepts it. It stops, and its connections end, when it is
/// dropped.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    targets: watch::Sender<Vec<SocketAddr>>,
    _stop: DropGuard,
}

impl Forwarder {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(targets: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (targets, current) = watch::channel(targets);
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, current, stop.clone())));
        Ok(Self { address, targets, _stop: stop.drop_guard() })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads connections that are made from now on to these servers. Open ones stay where they are.
    pub fn lead_to(&self, targets: Vec<SocketAddr>) {
        self.targets.send_replace(targets);
    }
}

async fn accept(listener: TcpListener, targets: watch::Receiver<Vec<SocketAddr>>, stop: CancellationToken) {
    let mut turn = 0_usize;
    loop {
        // An error here is the failed handshake of one client, which is that client's concern.
        let Ok((client, _)) = listener.accept().await else { continue };
        let mut targets = targets.borrow().clone();
        let first = turn % targets.len().max(1);
        targets.rotate_left(first);
        turn = turn.wrapping_add(1);
        tokio::spawn(stop.clone().run_until_cancelled_owned(forward(client, targets)));
    }
}

/// Until either side ends. A client that no server accepts sees its connection end.
async fn forward(mut client: TcpStream, targets: Vec<SocketAddr>) {
    for target in targets {
        let Ok(Ok(mut server)) = timeout(CONNECTS_WITHIN, TcpStream::connect(target)).await else { continue };
        // Without it, small packets would wait for each other.
        if client.set_nodelay(true).and(server.set_nodelay(true)).is_ok() {
            let ended = copy_bidirectional(&mut client, &mut server).await;
            tracing::trace!(?ended, %target, "a forwarded connection has ended");
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that tells every client its letter.
    async fn server(letter: u8) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let _ended = client.write_all(&[letter]).await;
            }
        });
        Ok(address)
    }

    async fn asked(forwarder: &Forwarder) -> io::Result<Option<u8>> {
        let mut said = Vec::new();
        TcpStream::connect(forwarder.address()).await?.read_to_end(&mut said).await?;
        Ok(said.first().copied())
    }

    #[tokio::test]
    async fn connections_take_turns_pass_over_who_is_away_and_follow_a_change() -> io::Result<()> {
        let (a, b) = (server(b'a').await?, server(b'b').await?);
        let away = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let forwarder = Forwarder::start(vec![a, away, b]).await?;
        let mut said = Vec::new();
        for _time in 0..3 {
            said.extend(asked(&forwarder).await?);
        }
        assert_eq!(said, b"abb");
        forwarder.lead_to(vec![a]);
        assert_eq!(asked(&forwarder).await?, Some(b'a'));
        forwarder.lead_to(vec![away]);
        assert_eq!(asked(&forwarder).await?, None);
        Ok(())
    }
}
