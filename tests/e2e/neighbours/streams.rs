//! Event streams: each caller has a share of them, and nobody reads on whose key is no longer good.

use anyhow::{Context, Result};
use futures::StreamExt;
use protocol::ids::JobId;
use reqwest::{Response, StatusCode};
use serde_json::json;
use testkit::api::{Api, new_key};
use testkit::fixture::Fixture;

async fn stream(api: &Api, key: &str, job: JobId) -> Result<Response> {
    Ok(api.events_as(key, job).send().await?)
}

/// The last event of a stream that ends.
async fn last(response: Response) -> Result<String> {
    let (mut text, mut chunks) = (String::new(), response.bytes_stream());
    while let Some(chunk) = chunks.next().await {
        text.push_str(std::str::from_utf8(&chunk?)?);
    }
    let blocks = text.split("\n\n").filter(|block| block.contains("event:"));
    Ok(blocks.last().context("a stream with events")?.to_owned())
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let job = fixture.accept(account.connection).await?;
    let (revoked, kept) = (stream(&api, &api.key, job).await?, new_key(&fixture, account.tenant).await?);
    let mut kept = stream(&api, &kept, job).await?;
    let keys = fixture.store.tenants().api_keys(account.tenant).await?;
    let first = keys.iter().find(|key| api.key.starts_with(&key.prefix)).context("its key")?;
    assert!(fixture.store.tenants().revoke_api_key(first.id).await?);
    let end = last(revoked).await?;
    assert!(end.contains("event: closed") && end.contains("your API key was revoked"), "{end}");

    // The other one goes on, to the end of the job.
    assert!(kept.chunk().await?.is_some());
    let consumer = fixture.consumer().await?;
    let end = last(kept).await?;
    assert!(end.contains("event: job.completed"), "{end}");
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_caller_has_a_share_of_the_streams() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let (acme, other) =
        (fixture.account("acme", json!({})).await?, fixture.store.tenants().create("other", 16).await?.id);
    let api = Api::start(&fixture, acme.tenant).await?;
    let job = fixture.accept(acme.connection).await?;
    let mut open = Vec::new();
    let refused = loop {
        let answer = stream(&api, &api.key, job).await?;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        open.push(answer);
    };
    assert_eq!((open.len(), refused.status()), (20, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(refused.headers()["retry-after"], "5");

    // Another key of the tenant, and another tenant, have theirs.
    assert_eq!(stream(&api, &new_key(&fixture, acme.tenant).await?, job).await?.status(), StatusCode::OK);
    let strangers = new_key(&fixture, other).await?;
    assert_eq!(stream(&api, &strangers, job).await?.status(), StatusCode::NOT_FOUND);
    // A place that is left is free again.
    drop(open);
    while stream(&api, &api.key, job).await?.status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    fixture.finish([]).await
}
