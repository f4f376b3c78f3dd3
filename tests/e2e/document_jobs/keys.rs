//! `Idempotency-Key`.

use super::api::World;
use anyhow::{Context, Result};
use futures::future::try_join_all;
use protocol::job::JobStatus;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_repeat_gets_the_first_answer() -> Result<()> {
    let world = World::with_calls(3).await?;
    let consumer = world.fixture.consumer().await?;
    let body = json!({ "connection_id": world.account.connection, "name": "one" });
    let first = world.api.post_keyed("order 42", &body).await?;
    assert_eq!(first.status, 201);
    world.fixture.until_over(first.id()?, JobStatus::Completed).await?;
    let again = world.api.post_keyed("order 42", &body).await?;
    assert_eq!((again.status, &again.text), (201, &first.text), "to the byte, though the job is over");

    let other = json!({ "connection_id": world.account.connection, "name": "two" });
    world.api.post_keyed("order 42", &other).await?.is(409, "conflict", "used for another request")?;
    assert_eq!(world.api.get("/v1/jobs").await?.body["pagination"]["total"], 1);
    let second = world.api.post_keyed("order 43", &other).await?;
    assert_ne!(second.id()?, first.id()?, "another key, another job");

    // Each tenant has its own keys.
    let (_, theirs, key) = world.other().await?;
    let request = world.api.request(Method::POST, "/v1/jobs").bearer_auth(&key);
    let request = request.header("idempotency-key", "order 42").json(&json!({ "connection_id": theirs }));
    let answer = super::api::read("/v1/jobs", request.send().await?).await?;
    assert_eq!(answer.status, 201);
    assert_ne!(answer.id()?, first.id()?);
    world.api.post_keyed(&"k".repeat(256), &body).await?.is(400, "validation_error", "Idempotency-Key")?;
    world.fixture.until_over(second.id()?, JobStatus::Completed).await?;
    world.fixture.until_over(answer.id()?, JobStatus::Completed).await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_refusal_is_not_kept() -> Result<()> {
    let world = World::with_calls(0).await?;
    let active = world.start(json!({})).await?;
    let body = json!({ "connection_id": world.account.connection });
    world.api.post_keyed("again", &body).await?.is(409, "conflict", "pending or running")?;
    assert_eq!(world.cancel(active).await?.status, 200);
    let accepted = world.api.post_keyed("again", &body).await?;
    assert_eq!(accepted.status, 201, "the way is free now: {accepted:?}");
    let repeat = world.api.post_keyed("again", &body).await?;
    assert_eq!((repeat.status, &repeat.text), (201, &accepted.text), "from now on it is the first answer");
    assert_eq!(world.cancel(accepted.id()?).await?.status, 200);
    // Nor is one that asked for no span at all, at that time or at any.
    let later = (chrono::Utc::now() + chrono::TimeDelta::days(1)).to_rfc3339();
    let early = json!({ "connection_id": world.account.connection, "date_from": later });
    world.api.post_keyed("early", &early).await?.is(400, "validation_error", "must be before")?;
    let now = json!({ "connection_id": world.account.connection, "document_ids": ["a"] });
    assert_eq!(world.api.post_keyed("early", &now).await?.status, 201, "the key was not used up");

    // A request that was not understood, or named what is not there, has decided nothing.
    let schema = uuid::Uuid::now_v7();
    let with_schema = json!({ "connection_id": world.account.connection, "schema_id": schema });
    world.api.post_keyed("fresh", &json!({})).await?.is(400, "validation_error", "connection_id")?;
    world.api.post_keyed("fresh", &with_schema).await?.is(404, "not_found", "no schema")?;
    assert_eq!(world.api.post_keyed("fresh", &body).await?.status, 201);
    world.fixture.finish([]).await
}

/// Nobody knows who was first, and there is one job and one answer.
#[tokio::test]
async fn fifty_at_once_make_one_job() -> Result<()> {
    let world = World::with_calls(0).await?;
    for documents in [None, Some(["a", "b"])] {
        let body = json!({ "connection_id": world.account.connection, "document_ids": documents });
        let key = format!("stampede {documents:?}");
        let answers = try_join_all((0..50).map(|_| world.api.post_keyed(&key, &body))).await?;
        let texts: BTreeSet<_> = answers.iter().map(|answer| (answer.status, &answer.text)).collect();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert_eq!(answers[0].status, 201);
    }
    let jobs: i64 =
        sqlx::query_scalar("select count(*) from jobs").fetch_one(&world.fixture.database.pool).await?;
    assert_eq!(jobs, 2);
    world.fixture.finish([]).await
}

#[tokio::test]
async fn a_key_holds_for_a_day_and_is_swept() -> Result<()> {
    let world = World::with_calls(0).await?;
    let body = json!({ "connection_id": world.account.connection, "document_ids": ["a"] });
    let first = world.api.post_keyed("daily", &body).await?.id()?;
    let age = |age: &str| {
        format!("update commands set received_at = now() - interval '{age}' where request is not null")
    };
    world.fixture.database.execute(&age("23 hours 59 minutes")).await?;
    assert_eq!(world.fixture.store.sweeps().prune(100).await?, 0);
    assert_eq!(world.api.post_keyed("daily", &body).await?.id()?, first);
    world.fixture.database.execute(&age("24 hours 1 minute")).await?;
    let other = json!({ "connection_id": world.account.connection, "document_ids": ["b"] });
    let second = world.api.post_keyed("daily", &other).await?;
    assert_eq!(second.status, 201, "the key is free again, swept or not: {second:?}");
    assert_ne!(second.id()?, first);
    assert_eq!(world.fixture.store.sweeps().prune(100).await?, 0, "it is a new day");
    world.fixture.database.execute(&age("24 hours 1 minute")).await?;
    assert_eq!(world.fixture.store.sweeps().prune(100).await?, 1);
    let left: Option<i64> =
        sqlx::query_scalar("select count(*) from commands").fetch_one(&world.fixture.database.pool).await?;
    assert_eq!(left.context("a number")?, 0);
    world.fixture.finish([]).await
}
