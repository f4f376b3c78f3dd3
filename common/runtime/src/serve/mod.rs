//! The HTTP listener of every process, with an end to whatever a client can make grow or last.
//!
//! What a request's handler may take is the router's business, the reading of its body included.

mod answering;
mod due;
mod open;
#[cfg(test)]
mod tests;

use crate::read_on::read_on;
use answering::Answering;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use configuration::HttpConfig;
use due::Due;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use open::{Open, Place};
use socket2::SockRef;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// How long open requests may finish once a listener shuts down.
const CLOSING: Duration = Duration::from_secs(5);
/// After a failed accept, which mostly means that the process has no file left for it.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);
/// Connections beyond the limit: with them, whoever asks whether the process is well is heard while all others work.
const SPARE_CONNECTIONS: usize = 32;
/// How long a request waits while as many as are allowed are answered.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What the kernel holds of an answer that is not taken, at most. By itself it takes in several MiB.
const HELD_BY_THE_KERNEL: usize = 256 << 10;
/// What is answered whatever else goes on.
const ALWAYS_ANSWERED: [&str; 2] = ["/healthz", "/readyz"];

/// In bytes per second: a slow telephone.
const SLOWEST: NonZeroU32 = NonZeroU32::MIN.saturating_add((32 << 10) - 1);

/// What a client may take of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Requests that are answered at a time; further ones wait for five seconds, then get 503. There may be a few more
    /// connections. Once all of those are taken, a new one ends one that is idle, of the address that has most of them.
    pub connections: usize,
    /// How long a client may take to send the head of its first request, the time before it begins included: a silent
    /// connection is closed after it.
    pub head_within: Duration,
    /// The same of each further request. Longer than what proxies keep a connection to us open without a request (envoy an
    /// hour, but most 60 to 90 s): whoever closes it first must be the one that sends the next request.
    pub kept_for: Duration,
    /// How long a client may take no byte of its answer.
    pub stalled_for: Duration,
    /// How long a client may take for an answer of known size, beside the time that it takes at [`Self::slowest`].
    pub taken_within: Duration,
    /// How many bytes of an answer a client must take in a second, on average.
    pub slowest: NonZeroU32,
    /// Header fields of a request. More are answered with 431.
    pub headers: usize,
    /// Bytes of a request's head, at least 8192. More are answered with 431. As much of an answer is held besides the part
    /// that its handler has made.
    pub head_bytes: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 1000,
            head_within: Duration::from_secs(30),
            kept_for: Duration::from_secs(125),
            stalled_for: Duration::from_secs(10),
            taken_within: Duration::from_secs(60),
            slowest: SLOWEST,
            headers: 100,
            head_bytes: 64 << 10,
        }
    }
}

impl From<&HttpConfig> for ServeLimits {
    fn from(config: &HttpConfig) -> Self {
        Self {
            connections: config.max_connections,
            head_within: config.head_timeout,
            kept_for: config.keep_alive,
            ..Self::default()
        }
    }
}

impl ServeLimits {
    /// How long a client may take for an answer of so many bytes.
    fn longest(&self, bytes: u64) -> Duration {
        self.taken_within + Duration::from_secs(bytes / u64::from(self.slowest.get()))
    }
}

/// When a listener ends.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// Cancelled when the process is told to end.
    pub told: CancellationToken,
    /// How long requests are still taken after that: whoever sends them here has to hear of it first.
    pub grace: Duration,
}

impl Leaving {
    /// Takes nothing more once told.
    #[must_use]
    pub const fn at_once(told: CancellationToken) -> Self {
        Self { told, grace: Duration::ZERO }
    }
}

/// As [`serve_within`], with the usual limits, until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    serve_within(ServeLimits::default(), listener, router, Leaving::at_once(shutdown)).await
}

/// Serves `router` until it is time to leave, then lets open requests finish for at most five seconds. The first log line
/// says `listening on http://…`, with the port that was really taken.
///
/// # Errors
/// When the listener fails.
pub async fn serve_within(
    limits: ServeLimits,
    listener: TcpListener,
    router: Router,
    leaving: Leaving,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!("listening on http://{address}");
    let server = Server {
        limits,
        router,
        told: leaving.told.clone(),
        working: Arc::new(Semaphore::new(limits.connections)),
    };
    let (open, tasks) = (Open::new(limits.connections + SPARE_CONNECTIONS), TaskTracker::new());
    let accepting = async {
        loop {
            let (stream, peer) = accept(&listener).await;
            let place = open.place(peer).await;
            tasks.spawn(server.clone().connection(stream, place));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = async {
            leaving.told.cancelled().await;
            sleep(leaving.grace).await;
        } => {}
    }
    drop(listener);
    open.close_all();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// What every connection of a listener needs.
#[derive(Clone)]
struct Server {
    limits: ServeLimits,
    router: Router,
    told: CancellationToken,
    /// One for each request that is being answered.
    working: Arc<Semaphore>,
}

impl Server {
    async fn connection(self, stream: TcpStream, place: Place) {
        let limits = self.limits;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.kept_for);
        http.max_headers(limits.headers).max_buf_size(limits.head_bytes);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.stalled_for));
        let address = place.peer();
        let (place, begun) = (Arc::new(place), CancellationToken::new());
        let (asked, first) = (Arc::clone(&place), begun.clone());
        let due = Due::new();
        let answered = due.clone();
        let handle = service_fn(move |request: Request<Incoming>| {
            first.cancel();
            let busy = Place::busy(&asked);
            let (server, due, mut request) = (self.clone(), answered.clone(), request);
            request.extensions_mut().insert(ConnectInfo(address));
            async move {
                let (answer, working) = server.answer(request).await;
                let underway = answer.size_hint().exact().map(|bytes| due.within(limits.longest(bytes)));
                Ok::<_, Infallible>(Answering::new((answer, working), underway, busy))
            }
        });
        let mut connection = pin!(http.serve_connection(TokioIo::new(Box::pin(stream)), handle));
        let silent = async {
            // Once it has begun, hyper minds the time.
            if timeout(limits.head_within, begun.cancelled()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = silent => return,
            () = due.passed() => {
                tracing::debug!(peer = %place.peer(), "an answer was not taken in time, and cut off");
                return;
            }
            () = place.closing() => {
                if !begun.is_cancelled() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                match timeout(CLOSING, connection).await {
                    Ok(ended) => ended,
                    Err(_still_open) => {
                        tracing::warn!(peer = %place.peer(), "a request was still open, and cut off");
                        return;
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the HTTP listener ended early");
        }
    }

    async fn answer(
        mut self,
        request: Request<Incoming>,
    ) -> (Response<axum::body::Body>, Option<OwnedSemaphorePermit>) {
        let always = ALWAYS_ANSWERED.contains(&request.uri().path());
        let working = if always {
            None
        } else {
            // The semaphore is never closed.
            timeout(LONGEST_WAIT, Arc::clone(&self.working).acquire_owned()).await.ok().and_then(Result::ok)
        };
        let mut answer = if always || working.is_some() {
            let Ok(answer) = self.router.call(request.map(read_on)).await;
            answer
        } else {
            let retry = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
            let text = "too many requests are being answered; ask again in a second";
            (StatusCode::SERVICE_UNAVAILABLE, retry, text).into_response()
        };
        if self.told.is_cancelled() {
            // The next request of this client belongs elsewhere.
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        (answer, working)
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small answers must not wait for the peer's delayed acknowledgements.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY cannot be set");
                }
                if let Err(error) = SockRef::from(&stream).set_send_buffer_size(HELD_BY_THE_KERNEL) {
                    tracing::debug!(%error, "SO_SNDBUF cannot be set");
                }
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the HTTP listener was not accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
