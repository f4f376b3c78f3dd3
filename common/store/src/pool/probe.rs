//! Which address of a name with several answers. Whoever connects by the name tries one after the other, and waits for one that
//! does not answer as long as the system does.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};

/// What was found holds for so long.
const HOLDS_FOR: Duration = Duration::from_secs(10);
/// An address that takes no connection within this time hangs.
const WITHIN: Duration = Duration::from_secs(2);
/// Once one has answered, the others have so long.
const GRACE: Duration = Duration::from_millis(250);

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct Probe(Mutex<Option<(Instant, Option<IpAddr>)>>);

impl Probe {
    /// The address to connect to instead of the name: one that answers, if another hangs. None if the name will do.
    pub(super) async fn instead_of(&self, host: &str, port: u16) -> Option<IpAddr> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = known.filter(|(at, _)| at.elapsed() < HOLDS_FOR) {
            return found;
        }
        let resolved = timeout(WITHIN, lookup_host((host, port))).await;
        let addresses: BTreeSet<SocketAddr> = resolved.ok()?.ok()?.collect();
        let found = if addresses.len() < 2 { None } else { answering(addresses.into_iter().collect()).await };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found));
        found
    }
}

/// One that answers, if another hangs.
async fn answering(addresses: Vec<SocketAddr>) -> Option<IpAddr> {
    let all = addresses.len();
    let mut tries: FuturesUnordered<_> = addresses
        .into_iter()
        .map(|address| async move { (address, TcpStream::connect(address).await.is_ok()) })
        .collect();
    let (mut first, mut answered) = (None, 0);
    let looked = async {
        while let Some((address, connected)) = tries.next().await {
            answered += 1;
            if connected {
                first = Some(address.ip());
                break;
            }
        }
        let rest = async {
            while tries.next().await.is_some() {
                answered += 1;
            }
        };
        tokio::select! {
            () = rest => {}
            () = sleep(GRACE) => {}
        }
    };
    if timeout(WITHIN, looked).await.is_err() {
        tracing::debug!("no address of the database's host answers");
    }
    first.filter(|_| answered < all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    /// An address that takes no more connections, and does not say so.
    async fn hanging(held: &mut Vec<TcpStream>, listeners: &mut Vec<TcpListener>) -> SocketAddr {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            held.push(stream);
        }
        listeners.push(listener);
        address
    }

    #[tokio::test]
    async fn an_address_that_hangs_is_passed_by() {
        let (mut held, mut listeners) = (Vec::new(), Vec::new());
        let silent = hanging(&mut held, &mut listeners).await;
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = good.local_addr().map(|address| (address, good)).unwrap();
        let refusing = TcpListener::bind("127.0.0.3:0").await.unwrap().local_addr().unwrap();
        let begun = Instant::now();
        assert_eq!(answering(vec![silent, refusing, good.0]).await, Some(good.0.ip()));
        assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
        // Nothing hangs: whoever connects by the name gets there.
        assert_eq!(answering(vec![refusing, good.0]).await, None);
        // Nothing answers.
        assert_eq!(answering(vec![silent, refusing]).await, None);
    }
}
