//! The HTTP listener of every process, with an end to whatever a client can make grow or last.
//!
//! What a request's handler may take is the router's business, the reading of its body included.

use crate::read_on::read_on;
use axum::Router;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;

/// How long open requests may finish once a listener shuts down.
const CLOSING: Duration = Duration::from_secs(5);
/// After a failed accept, which mostly means that the process has no file left for it.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// What a client may take of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at a time; further ones wait for their turn.
    pub connections: usize,
    /// How long a client may take to send the head of its first request, the time before it begins included: a silent
    /// connection is closed after it.
    pub head_within: Duration,
    /// The same of each further request. Longer than what proxies keep a connection to us open without a request (envoy an
    /// hour, but most 60 to 90 s): whoever closes it first must be the one that sends the next request.
    pub kept_for: Duration,
    /// Header fields of a request. More are answered with 431.
    pub headers: usize,
    /// Bytes of a request's head, at least 8192. More are answered with 431.
    pub head_bytes: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 1000,
            head_within: Duration::from_secs(30),
            kept_for: Duration::from_secs(125),
            headers: 100,
            head_bytes: 64 << 10,
        }
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
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.kept_for);
    http.max_headers(limits.headers).max_buf_size(limits.head_bytes);
    let (open, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(limits.connections)));
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let stream = accept(&listener).await;
            let (router, told, begun) = (router.clone(), leaving.told.clone(), CancellationToken::new());
            let first = begun.clone();
            let handle = service_fn(move |request: Request<Incoming>| {
                first.cancel();
                let (answer, told) = (router.clone().call(request.map(read_on)), told.clone());
                async move {
                    let mut answer = answer.await?;
                    if told.is_cancelled() {
                        // The next request of this client belongs elsewhere.
                        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok::<_, Infallible>(answer)
                }
            });
            let connection = open.watch(http.serve_connection(TokioIo::new(stream), handle));
            tokio::spawn(async move {
                let mut connection = pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => Some(ended),
                    begun = timeout(limits.head_within, begun.cancelled()) => match begun {
                        Ok(()) => Some(connection.await),
                        Err(_silent) => None,
                    },
                };
                if let Some(Err(error)) = ended {
                    tracing::debug!(%error, "a connection to the HTTP listener ended early");
                }
                drop(place);
            });
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
    if timeout(CLOSING, open.shutdown()).await.is_err() {
        tracing::warn!("requests still open on http://{address} were cut off");
    }
    Ok(())
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                // Small answers must not wait for the peer's delayed acknowledgements.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY cannot be set");
                }
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the HTTP listener was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_util::sync::DropGuard;

    const LIMITS: ServeLimits = ServeLimits {
        connections: 2,
        head_within: Duration::from_millis(300),
        kept_for: Duration::from_millis(300),
        headers: 10,
        head_bytes: 8192,
    };

    const GRACE: Duration = Duration::from_millis(300);

    async fn start(limits: ServeLimits) -> (SocketAddr, DropGuard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/refuses", post(async || StatusCode::PAYLOAD_TOO_LARGE));
        let leaving = Leaving { told: stop.clone(), grace: GRACE };
        tokio::spawn(serve_within(limits, listener, router, leaving));
        (address, stop.drop_guard())
    }

    async fn send(address: SocketAddr, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(address: SocketAddr, head: &str) -> String {
        let (mut stream, mut answer) = (send(address, head).await, Vec::new());
        // Where the listener has not read all of a request, its end is a reset.
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }

    /// A request with so many headers, the last of which brings its head to so many bytes.
    fn head(headers: usize, bytes: usize) -> String {
        let mut head = "GET / HTTP/1.1\r\nConnection: close\r\n".to_owned();
        for header in 1..headers - 1 {
            head += &format!("x-{header}: 1\r\n");
        }
        let last = bytes.saturating_sub(head.len() + "x: \r\n\r\n".len());
        format!("{head}x: {}\r\n\r\n", "y".repeat(last))
    }

    #[tokio::test]
    async fn a_request_has_so_many_headers_and_bytes() {
        let (address, _stop) = start(LIMITS).await;
        assert!(answer(address, &head(10, 0)).await.ends_with("here"));
        assert!(answer(address, &head(11, 0)).await.starts_with("HTTP/1.1 431"));
        assert!(answer(address, &head(5, 8191)).await.ends_with("here"));
        let past = answer(address, &head(5, 8193)).await;
        assert!(past.starts_with("HTTP/1.1 431"), "{past}");
    }

    #[tokio::test]
    async fn whoever_is_slow_or_silent_is_cut_off() {
        let (address, _stop) = start(LIMITS).await;
        for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
            // It ends by itself: the test would hang otherwise.
            assert!(!answer(address, begun).await.contains("here"));
        }
        // So does a connection that has had its answer, and asks nothing more.
        assert!(answer(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("here"));
    }

    #[tokio::test]
    async fn a_kept_connection_may_be_silent_for_longer_than_a_new_one() {
        let (address, _stop) = start(ServeLimits { kept_for: Duration::from_secs(60), ..LIMITS }).await;
        let mut kept = send(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut block = [0; 1024];
        let read = kept.read(&mut block).await.unwrap();
        assert!(block[..read].ends_with(b"here"));
        tokio::time::sleep(LIMITS.head_within * 2).await;
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let read = kept.read(&mut block).await.unwrap();
        assert!(block[..read].ends_with(b"here"));
        // A new one is not.
        assert_eq!(answer(address, "").await, "");
    }

    /// A proxy that is still sending when the connection ends takes the answer for lost.
    #[tokio::test]
    async fn a_body_that_was_refused_is_read_all_the_same() {
        const BODY: usize = 8 << 20;
        let (address, _stop) = start(LIMITS).await;
        let head = format!("POST /refuses HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n");
        let mut stream = send(address, &head).await;
        stream.write_all(&vec![b'x'; BODY]).await.unwrap();
        let mut block = [0; 1024];
        let read = stream.read(&mut block).await.unwrap();
        assert!(block[..read].starts_with(b"HTTP/1.1 413"));
    }

    #[tokio::test]
    async fn requests_are_taken_for_a_while_after_it_was_told_to_end() {
        let (address, stop) = start(ServeLimits { kept_for: Duration::from_secs(60), ..LIMITS }).await;
        let mut kept = send(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut block = [0; 1024];
        let read = kept.read(&mut block).await.unwrap();
        assert!(block[..read].ends_with(b"here"));
        drop(stop);
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut last = String::new();
        kept.read_to_string(&mut last).await.unwrap();
        assert!(last.contains("connection: close") && last.ends_with("here"), "{last}");
        assert!(answer(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("here"));
        // Until the time is up.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn connections_have_a_number() {
        let (address, _stop) = start(ServeLimits { head_within: Duration::from_secs(600), ..LIMITS }).await;
        let held = [send(address, "GET").await, send(address, "GET").await];
        let mut third = send(address, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
        let mut answer = String::new();
        let waits = tokio::time::timeout(Duration::from_millis(200), third.read_to_string(&mut answer)).await;
        assert!(waits.is_err(), "{answer}");
        drop(held);
        third.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("here"), "{answer}");
    }
}
