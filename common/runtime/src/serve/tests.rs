use super::*;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures::stream::{self, Stream, StreamExt};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

const LIMITS: ServeLimits = ServeLimits {
    connections: 2,
    head_within: Duration::from_millis(300),
    kept_for: Duration::from_millis(300),
    stalled_for: Duration::from_millis(300),
    taken_within: Duration::from_secs(60),
    slowest: SLOWEST,
    headers: 10,
    head_bytes: 8192,
};

/// What an answer begins with that never ends.
fn begun() -> impl Stream<Item = Result<&'static str, Infallible>> {
    stream::once(std::future::ready(Ok("begun")))
}

/// A request that is being answered, for as long as this is there.
async fn busy(address: SocketAddr) -> TcpStream {
    let mut stream = send(address, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (mut said, mut block) = (Vec::new(), [0; 1024]);
    while !said.windows(5).any(|window| window == b"begun") {
        let read = stream.read(&mut block).await.unwrap();
        said.extend_from_slice(&block[..read]);
    }
    stream
}

/// More than the kernel keeps for a client that does not read.
const LARGE: usize = 64 << 20;
const GRACE: Duration = Duration::from_millis(300);

async fn start(limits: ServeLimits) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/healthz", get(async || "well"))
        .route("/endless", get(async || Body::from_stream(begun().chain(stream::pending()))))
        .route("/large", get(async || vec![b'x'; LARGE]))
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

const PATIENT: ServeLimits =
    ServeLimits { head_within: Duration::from_secs(600), kept_for: Duration::from_secs(600), ..LIMITS };

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let (address, _stop) = start(ServeLimits { connections: 1, ..PATIENT }).await;
    // Pipelined, so that there is always more to send.
    let silent = send(address, &"GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(8)).await;
    // The only place for work is free again without a word of the silent client.
    assert!(
        answer(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.ends_with("here")
    );
    drop(silent);
}

/// Never silent for long enough to be cut off for that.
#[tokio::test]
async fn a_client_that_reads_its_answer_too_slowly_is_cut_off() {
    let slowest = NonZeroU32::new(u32::MAX).unwrap();
    let limits = ServeLimits { connections: 1, taken_within: Duration::from_secs(1), slowest, ..PATIENT };
    let (address, _stop) = start(limits).await;
    let mut slow = send(address, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut block = vec![0; 64 << 10];
    let began = Instant::now();
    let mut taken = 0;
    while let Ok(read @ 1..) = slow.read(&mut block).await {
        taken += read;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(taken < LARGE && began.elapsed() >= limits.taken_within, "{taken} {:?}", began.elapsed());
    // One who takes all of it in time is not, whatever comes after.
    let next = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut kept = send(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sleep(limits.taken_within * 2).await;
    kept.write_all(next.as_bytes()).await.unwrap();
    let mut said = String::new();
    kept.read_to_string(&mut said).await.unwrap();
    assert_eq!(said.matches("here").count(), 2, "{said}");
}

#[tokio::test]
async fn a_client_that_reads_gets_all_of_a_large_answer() {
    let (address, _stop) = start(PATIENT).await;
    let answer = answer(address, "GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {LARGE}")), "{head}");
    assert_eq!(body.len(), LARGE);
}

#[tokio::test]
async fn requests_have_a_number_and_questions_of_health_do_not_count() {
    let (address, _stop) = start(PATIENT).await;
    let held = [busy(address).await, busy(address).await];
    let mut third = send(address, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    let mut said = String::new();
    let waits = tokio::time::timeout(Duration::from_millis(200), third.read_to_string(&mut said)).await;
    assert!(waits.is_err(), "{said}");
    let health = "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert!(answer(address, health).await.ends_with("well"));
    drop(held);
    third.read_to_string(&mut said).await.unwrap();
    assert!(said.ends_with("here"), "{said}");
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_told_when_to_come_again() {
    let (address, _stop) = start(ServeLimits { connections: 1, ..PATIENT }).await;
    let held = busy(address).await;
    let refused = answer(address, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    drop(held);
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_one_that_is_idle() {
    let (address, _stop) = start(ServeLimits { connections: 1, ..PATIENT }).await;
    let mut idle = Vec::new();
    for _ in 0..1 + SPARE_CONNECTIONS {
        idle.push(send(address, "").await);
    }
    assert!(answer(address, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.ends_with("here"));
    // The one that has been silent for longest is gone.
    assert_eq!(idle[0].read(&mut [0]).await.unwrap(), 0);
}
