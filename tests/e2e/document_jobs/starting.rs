//! `POST /v1/jobs`.

use super::api::World;
use anyhow::Result;
use protocol::ids::{ConnectionId, SchemaId};
use protocol::job::JobStatus;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_job_is_accepted_with_links() -> Result<()> {
    let world = World::with_calls(5).await?;
    let schema = world.schema(json!([{ "name": "id", "pointer": "/callId", "type": "string" }])).await?;
    let body = json!({
        "connection_id": world.account.connection, "schema_id": schema, "name": "May", "colour": "blue",
        "date_from": "2025-01-01T00:00:00Z", "date_to": "2025-01-15T00:00:00+02:00",
    });
    let answer = world.api.post("/v1/jobs", &body).await?;
    let job = answer.id()?;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["x-warning"], "unknown field \"colour\"");
    let (fields, links) = (answer.body.as_object().unwrap(), &answer.body["links"]);
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["id", "links", "message", "status"]);
    assert_eq!(answer.body["status"], "pending");
    let path = format!("/v1/jobs/{job}");
    assert_eq!(
        *links,
        json!({ "self": path, "results": format!("{path}/results"), "cancel": format!("{path}/cancel") })
    );

    let shown = world.job(job).await?;
    assert_eq!(
        json!([shown["name"], shown["status"], shown["schema"]]),
        json!(["May", "pending", { "id": schema, "name": "calls" }])
    );
    let view = world.fixture.store.jobs().get(job, None).await?.unwrap();
    assert_eq!(view.date_from, Some("2025-01-01T00:00:00Z".parse()?));
    assert_eq!(view.date_to, "2025-01-14T22:00:00Z".parse::<chrono::DateTime<chrono::Utc>>()?);
    let consumer = world.fixture.consumer().await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_start_that_makes_no_sense_is_refused() -> Result<()> {
    let world = World::with_calls(0).await?;
    let connection = world.account.connection;
    let many: Vec<String> = (0..2001).map(|n| n.to_string()).collect();
    for (fields, words) in [
        (json!({}), "missing field `connection_id`"),
        (json!({ "connection_id": "seven" }), "connection_id: UUID"),
        (json!({ "connection_id": connection, "name": "n".repeat(201) }), "name is longer than 200"),
        (json!({ "connection_id": connection, "date_from": "yesterday" }), "date_from"),
        (
            json!({ "connection_id": connection, "date_from": "2026-01-02T00:00:00Z", "date_to": "2026-01-01T00:00:00Z" }),
            "must be before",
        ),
        (
            json!({ "connection_id": connection, "date_from": "2126-01-02T00:00:00Z" }),
            "date_from must be before",
        ),
        (json!({ "connection_id": connection, "schema_id": 7 }), "schema_id"),
        (json!({ "connection_id": connection, "document_ids": [] }), "between 1 and 2000"),
        (json!({ "connection_id": connection, "document_ids": many }), "between 1 and 2000"),
        (json!({ "connection_id": connection, "document_ids": ["a", "a"] }), "duplicate"),
        (json!({ "connection_id": connection, "document_ids": ["a", ""] }), "document_ids[1]"),
        (json!({ "connection_id": connection, "document_ids": "a" }), "document_ids"),
        (
            json!({ "connection_id": connection, "document_ids": ["a"], "date_to": "2026-01-01T00:00:00Z" }),
            "leave out mode, date_from and date_to",
        ),
        (json!([]), "invalid type"),
    ] {
        world.api.post("/v1/jobs", &fields).await?.is(400, "validation_error", words)?;
    }
    world.api.post_text("/v1/jobs", "").await?.is(400, "validation_error", "cannot be read")?;
    world.api.post_text("/v1/jobs", "{} {}").await?.is(400, "validation_error", "cannot be read")?;
    world.api.call_as(None, Method::POST, "/v1/jobs").await?.is(401, "unauthorized", "API key")?;
    assert_eq!(world.api.get("/v1/jobs").await?.body["pagination"]["total"], 0, "nothing was made");
    world.fixture.finish([]).await
}

#[tokio::test]
async fn what_is_not_there_or_not_theirs_is_not_found() -> Result<()> {
    let world = World::with_calls(0).await?;
    let (_, theirs, their_key) = world.other().await?;
    for connection in [ConnectionId::random(), theirs] {
        let answer = world.api.post("/v1/jobs", &json!({ "connection_id": connection })).await?;
        answer.is(404, "not_found", "no connection")?;
    }
    let schema = world.schema(json!([{ "name": "id", "pointer": "/callId", "type": "string" }])).await?;
    let request = world.api.request(Method::POST, "/v1/jobs").bearer_auth(&their_key);
    let request = request.json(&json!({ "connection_id": theirs, "schema_id": schema }));
    super::api::read("/v1/jobs", request.send().await?).await?.is(404, "not_found", "no schema")?;
    let body = json!({ "connection_id": world.account.connection, "schema_id": SchemaId::random() });
    world.api.post("/v1/jobs", &body).await?.is(404, "not_found", "no schema")?;

    let job = world.start(json!({})).await?;
    for path in [format!("/v1/jobs/{job}"), format!("/v1/jobs/{job}/results")] {
        world.api.call_as(Some(&their_key), Method::GET, &path).await?.is(404, "not_found", "no job")?;
    }
    let path = format!("/v1/jobs/{job}/cancel");
    world.api.call_as(Some(&their_key), Method::POST, &path).await?.is(404, "not_found", "no job")?;
    assert_eq!(world.job(job).await?["status"], "pending");
    world.fixture.finish([]).await
}

#[tokio::test]
async fn one_job_of_a_connection_is_active_but_for_those_over_documents() -> Result<()> {
    let world = World::with_calls(0).await?;
    let active = world.start(json!({})).await?;
    let refused = world.api.post("/v1/jobs", &json!({ "connection_id": world.account.connection })).await?;
    refused.is(409, "conflict", "pending or running")?;
    assert_eq!((&refused.body["job_id"], &refused.body["retryable"]), (&json!(active), &json!(false)));
    // Free of the rule, in both directions.
    let over = world.start(json!({ "document_ids": ["a"] })).await?;
    world.start(json!({ "document_ids": ["a"] })).await?;
    assert_eq!(world.cancel(active).await?.status, 200);
    world.start(json!({})).await?;
    assert_eq!(world.job(over).await?["document_count"], 1, "known from the beginning");
    world.fixture.finish([]).await
}
