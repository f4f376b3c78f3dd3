use super::*;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that sends back what it gets, through a proxy.
async fn echo() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    FaultProxy::start(address).await.unwrap()
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn says(stream: &mut TcpStream, text: &str) -> io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    hears(stream, text.len()).await
}

async fn hears(stream: &mut TcpStream, length: usize) -> io::Result<String> {
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn a_healthy_proxy_forwards_both_ways_and_counts() {
    let proxy = echo().await;
    let mut first = connect(&proxy).await;
    let mut second = connect(&proxy).await;
    assert_eq!(says(&mut first, "one").await.unwrap(), "one");
    let long = "x".repeat(1_000_000);
    let (mut from, mut to) = second.split();
    let sent = async {
        to.write_all(long.as_bytes()).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut back = String::new();
    let (_sent, read) = tokio::join!(sent, from.read_to_string(&mut back));
    assert_eq!((read.unwrap(), back == long), (1_000_000, true));
    proxy.until(|open, accepted| open == 1 && accepted == 2).await;
    drop(first);
    proxy.until(|open, _| open == 0).await;
}

#[tokio::test]
async fn what_is_forgotten_is_silent_and_new_connections_work() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await;
    says(&mut old, "hello").await.unwrap();
    proxy.forget();
    let mut new = connect(&proxy).await;
    assert_eq!(says(&mut new, "new").await.unwrap(), "new");
    let silent = tokio::time::timeout(Duration::from_millis(200), says(&mut old, "old"));
    assert!(silent.await.is_err(), "it was answered, or told");
}

#[tokio::test]
async fn cut_resets_what_is_open_and_nothing_else() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await;
    says(&mut old, "hello").await.unwrap();
    assert_eq!(proxy.cut().await, 1);
    assert_eq!(proxy.open(), 0);
    assert_eq!(hears(&mut old, 1).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(says(&mut connect(&proxy).await, "again").await.unwrap(), "again");
}

#[tokio::test]
async fn refuse_turns_new_connections_away_until_resume() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await;
    says(&mut old, "hello").await.unwrap();
    proxy.refuse();
    // The reset may strike while connecting or at the first byte.
    let refused = async { says(&mut TcpStream::connect(proxy.address()).await?, "x").await };
    assert!(refused.await.is_err());
    assert_eq!(says(&mut old, "still here").await.unwrap(), "still here");
    proxy.resume();
    assert_eq!(says(&mut connect(&proxy).await, "again").await.unwrap(), "again");
}

#[tokio::test]
async fn a_stall_is_silent_in_its_direction_and_loses_nothing() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    says(&mut stream, "before").await.unwrap();
    proxy.stall(Direction::ToClient);
    stream.write_all(b"during").await.unwrap();
    let mut byte = [0];
    // Biased: were anything to come through before the other connection's round trip, it would be read first.
    let other = async {
        // A new connection is accepted too, and as silent.
        connect(&proxy).await.write_all(b"x").await.unwrap();
        proxy.until(|open, _| open == 2).await;
    };
    tokio::select! {
        biased;
        read = stream.read(&mut byte) => panic!("{read:?} came through a stalled proxy"),
        () = other => {}
    }
    proxy.resume();
    assert_eq!(hears(&mut stream, 6).await.unwrap(), "during");
}

#[tokio::test]
async fn stall_on_stops_before_the_message_that_it_waits_for() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    proxy.stall_on(Direction::ToClient, "COMMIT");
    assert_eq!(says(&mut stream, "INSERT").await.unwrap(), "INSERT");
    stream.write_all(b"COMMIT").await.unwrap();
    proxy.until_stalled().await;
    assert_eq!(proxy.cut().await, 1);
    assert!(hears(&mut stream, 1).await.is_err());
    proxy.resume();
    assert_eq!(says(&mut connect(&proxy).await, "COMMIT").await.unwrap(), "COMMIT");
}

#[tokio::test]
async fn cut_after_lets_exactly_so_many_bytes_pass() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    says(&mut stream, "not counted").await.unwrap();
    proxy.cut_after(Direction::ToTarget, 5);
    stream.write_all(b"12").await.unwrap();
    assert_eq!(hears(&mut stream, 2).await.unwrap(), "12");
    stream.write_all(b"34567").await.unwrap();
    let mut rest = Vec::new();
    // The reset may overtake the last bytes, but there are never more.
    assert!(stream.read_to_end(&mut rest).await.is_err());
    assert!(rest.len() <= 3);
    proxy.until(|open, _| open == 0).await;
}

#[tokio::test]
async fn latency_delays_each_way() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    proxy.latency(Duration::from_millis(20));
    let asked = Instant::now();
    says(&mut stream, "slow").await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn a_dead_target_resets_the_client_and_a_dropped_proxy_too() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start(unused).await.unwrap();
    let dead = async { says(&mut TcpStream::connect(proxy.address()).await?, "x").await };
    assert!(dead.await.is_err());

    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    says(&mut stream, "hello").await.unwrap();
    drop(proxy);
    assert!(hears(&mut stream, 1).await.is_err());
}

#[tokio::test]
async fn what_is_swallowed_never_arrives_and_the_rest_does() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    proxy.swallow(Direction::ToTarget, "lost", 1);
    stream.write_all(b"lost").await.unwrap();
    while proxy.to_swallow() > 0 {
        tokio::task::yield_now().await;
    }
    says(&mut stream, "lost, once").await.unwrap();
}
