//! The API behind reverse proxies, which keep connections to it, and tell callers 502 or 503 when one goes wrong.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use reqwest::{Client, StatusCode};
use serde_json::json;
use std::time::Duration;
use testkit::api::new_key;
use testkit::fixture::Fixture;
use testkit::private::{PrivateReverseProxy, ReverseProxy};
use testkit::process::Process;
use tokio::time::sleep;

/// What is refused for its size.
const TOO_LARGE: usize = 8 << 20;
/// For so long a proxy keeps a connection that nobody uses. Some close it themselves by then.
const IDLE: Duration = Duration::from_secs(31);
/// Callers at a time, each of whom makes a proxy keep a connection.
const CALLERS: usize = 8;

async fn producer(fixture: &Fixture) -> Result<Process> {
    let producer = fixture.producer_program()?.env("BACKHAUL__SHUTDOWN__GRACE_MS", "3000").start()?;
    producer.ready().await?;
    Ok(producer)
}

/// The status of an answer to a start without a connection, with a body of this size.
async fn post(client: &Client, proxy: &PrivateReverseProxy, key: &str, size: usize) -> Result<StatusCode> {
    let body = format!("{{\"name\": \"{}\"}}", "x".repeat(size));
    let call = client.post(format!("{}/api/v1/jobs", proxy.url())).bearer_auth(key);
    Ok(call.header("content-type", "application/json").body(body).send().await?.status())
}

#[tokio::test]
#[ignore = "needs proxies: make test-proxies"]
async fn answers_come_through_as_they_are() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let key = new_key(&fixture, account.tenant).await?;
    let mut producer = producer(&fixture).await?;
    let address = producer.address().await?;
    try_join_all(ReverseProxy::ALL.map(async |kind| {
        let proxy = PrivateReverseProxy::start(kind, address).await?;
        for round in 0..CALLERS {
            let status =
                post(&Client::new(), &proxy, &key, TOO_LARGE).await.with_context(|| format!("{kind:?}"))?;
            ensure!(
                status == StatusCode::PAYLOAD_TOO_LARGE,
                "{kind:?}, round {round}: {status}; {}",
                proxy.log()
            );
        }
        // Connections that are kept, idle, and then used for what no proxy may send again.
        let clients: Vec<Client> = (0..CALLERS).map(|_| Client::new()).collect();
        for _idle in 0..2 {
            for status in try_join_all(clients.iter().map(|client| post(client, &proxy, &key, 10))).await? {
                ensure!(status == StatusCode::UNPROCESSABLE_ENTITY, "{kind:?}: {status}; {}", proxy.log());
            }
            sleep(IDLE).await;
        }
        anyhow::Ok(())
    }))
    .await?;
    producer.terminate()?;
    assert!(producer.exit().await?.success());
    fixture.finish([]).await
}

/// The stream ends at once with a last event, and requests are answered while the proxy may still send them.
#[tokio::test]
#[ignore = "needs proxies: make test-proxies"]
async fn a_producer_leaves_without_an_error() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let key = new_key(&fixture, account.tenant).await?;
    let job = fixture.accept(account.connection).await?;
    for kind in ReverseProxy::ALL {
        let mut leaving = producer(&fixture).await?;
        let proxy = PrivateReverseProxy::start(kind, leaving.address().await?).await?;
        let client = Client::new();
        let events = client.get(format!("{}/api/v1/jobs/{job}/events", proxy.url())).bearer_auth(&key);
        let mut stream = events.header("accept", "text/event-stream").send().await?;
        ensure!(stream.chunk().await?.is_some(), "{kind:?}: what has happened so far");
        leaving.terminate()?;
        let mut last = String::new();
        while let Some(chunk) = stream.chunk().await? {
            last.push_str(std::str::from_utf8(&chunk)?);
        }
        ensure!(last.contains("event: moved"), "{kind:?}: {last}");
        for _call in 0..CALLERS {
            let status = post(&Client::new(), &proxy, &key, 10).await?;
            ensure!(status == StatusCode::UNPROCESSABLE_ENTITY, "{kind:?}: {status}; {}", proxy.log());
        }
        assert!(leaving.exit().await?.success());
    }
    fixture.publish_cancel(job, "done").await?;
    let consumer = fixture.consumer().await?;
    fixture.until_cancelled(job, "done").await?;
    fixture.finish([consumer]).await
}
