//! The connections that are open. When all places are taken, a new connection takes the place of one that is idle.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The open connections of a listener.
pub(super) struct Open {
    places: Arc<Semaphore>,
    connections: Arc<Connections>,
    closing: CancellationToken,
}

#[derive(Default)]
struct Connections {
    held: Mutex<HashMap<u64, Connection>>,
    next: AtomicU64,
    /// Told whenever one becomes idle.
    idle: Notify,
}

struct Connection {
    peer: IpAddr,
    /// Since when it has had nothing to do; none while a request is answered.
    idle_since: Option<Instant>,
    closing: CancellationToken,
}

impl Open {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            connections: Arc::default(),
            closing: CancellationToken::new(),
        }
    }

    /// A place for a new connection; if there is none, that of an idle one, which is closed.
    pub(super) async fn place(&self, peer: SocketAddr) -> Place {
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_none) => self.freed().await,
        };
        let number = self.connections.next.fetch_add(1, Ordering::Relaxed);
        let closing = self.closing.child_token();
        let connection =
            Connection { peer: peer.ip(), idle_since: Some(Instant::now()), closing: closing.clone() };
        self.connections.held().insert(number, connection);
        Place { number, peer, closing, connections: Arc::clone(&self.connections), _permit: permit }
    }

    /// The place of a connection that ends, or that is idle and made to.
    async fn freed(&self) -> Option<OwnedSemaphorePermit> {
        let mut freed = pin!(Arc::clone(&self.places).acquire_owned());
        loop {
            // Before the look: one that becomes idle after it is not missed.
            let idle = self.connections.idle.notified();
            if self.connections.close_one() {
                break freed.await.ok();
            }
            tokio::select! {
                permit = freed.as_mut() => break permit.ok(),
                () = idle => {}
            }
        }
    }

    /// Closes every connection, each after the request that it is busy with.
    pub(super) fn close_all(&self) {
        self.closing.cancel();
    }
}

impl Connections {
    /// Closes the connection that has been idle for longest, of the address that has most. False if none is idle.
    fn close_one(&self) -> bool {
        let held = self.held();
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        for connection in held.values() {
            *of_peer.entry(connection.peer).or_default() += 1;
        }
        let idle = held.values().filter(|connection| !connection.closing.is_cancelled());
        let idle = idle.filter_map(|connection| {
            let since = connection.idle_since?;
            Some((of_peer.get(&connection.peer).copied(), std::cmp::Reverse(since), &connection.closing))
        });
        match idle.max_by_key(|(of_peer, since, _)| (*of_peer, *since)) {
            Some((_, _, closing)) => {
                closing.cancel();
                true
            }
            None => false,
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Connection>> {
        // No code that can panic runs under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_idle_since(&self, number: u64, since: Option<Instant>) {
        if let Some(connection) = self.held().get_mut(&number) {
            connection.idle_since = since;
        }
    }
}

/// The place of one connection, for as long as it is open.
pub(super) struct Place {
    number: u64,
    peer: SocketAddr,
    closing: CancellationToken,
    connections: Arc<Connections>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Resolves when the connection is to end.
    pub(super) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The connection has a request to answer, for as long as the guard lives.
    pub(super) fn busy(place: &Arc<Self>) -> Busy {
        place.connections.set_idle_since(place.number, None);
        Busy(Arc::clone(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.held().remove(&self.number);
    }
}

/// A request that is being answered.
pub(super) struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.connections.set_idle_since(self.0.number, Some(Instant::now()));
        self.0.connections.idle.notify_one();
    }
}
