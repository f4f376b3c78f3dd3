//! A job, in every state.

use super::api::{Api, World};
use anyhow::{Context, Result};
use configuration::ApiConfig;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use testkit::sample_upstream::Answer;

const FIELDS: [&str; 16] = [
    "completed_at",
    "completed_documents",
    "created_at",
    "current_phase",
    "document_count",
    "error",
    "estimated_seconds_remaining",
    "grid_stats",
    "id",
    "links",
    "name",
    "progress",
    "schema",
    "started_at",
    "status",
    "warnings",
];

fn fields(job: &Value) -> Vec<&str> {
    let mut fields: Vec<_> =
        job.as_object().into_iter().flat_map(|job| job.keys()).map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn a_job_from_its_start_to_its_end() -> Result<()> {
    let world = World::with_calls(35).await?;
    let schema = world.schema(json!([{ "name": "id", "pointer": "/callId", "type": "string" }])).await?;
    let job = world.start(json!({ "schema_id": schema, "name": "all" })).await?;
    let path = format!("/v1/jobs/{job}");
    let links = json!({
        "self": path, "results": format!("{path}/results"), "cancel": format!("{path}/cancel"), "dashboard": null,
    });
    let pending = world.job(job).await?;
    assert_eq!(fields(&pending), FIELDS);
    assert_eq!(
        json!([pending["status"], pending["progress"], pending["current_phase"]]),
        json!(["pending", null, "queued"])
    );
    assert_eq!(json!([pending["document_count"], pending["completed_documents"]]), json!([null, 0]));
    assert_eq!(pending["grid_stats"], json!({ "total_cells": 0, "filled": 0, "empty": 0, "fill_rate": 0.0 }));
    assert_eq!(
        json!([pending["started_at"], pending["completed_at"], pending["error"]]),
        json!([null, null, null])
    );
    assert_eq!(pending["links"], links);

    world.fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let consumer = world.fixture.consumer_with(world.fixture.unhurried()?).await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    let at_a_page = world.job(job).await?;
    assert_eq!(fields(&at_a_page), FIELDS);
    assert_eq!(
        json!([at_a_page["status"], at_a_page["progress"], at_a_page["current_phase"]]),
        json!(["processing", 29, "fetching"])
    );
    assert_eq!(json!([at_a_page["document_count"], at_a_page["completed_documents"]]), json!([35, 10]));
    assert_eq!(
        at_a_page["grid_stats"],
        json!({ "total_cells": 10, "filled": 10, "empty": 0, "fill_rate": 1.0 })
    );
    assert_eq!(at_a_page["links"], links);
    // There is an estimate once there is a second to go by: 25 records are left at 10 in that time.
    let later = format!("update jobs set started_at = now() - interval '10 s' where id = '{job}'");
    world.fixture.database.execute(&later).await?;
    let estimated = world.job(job).await?["estimated_seconds_remaining"].as_u64().context("an estimate")?;
    assert!((25..=35).contains(&estimated), "{estimated}");

    world.fixture.store.jobs().pause(job, None, None).await?;
    let paused = world.job(job).await?;
    assert_eq!(
        json!([paused["status"], paused["current_phase"], paused["estimated_seconds_remaining"]]),
        json!(["processing", "paused", null])
    );
    world.fixture.store.jobs().unpause(job, None, None).await?;
    world.fixture.upstream.release();
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let complete = world.job(job).await?;
    assert_eq!(fields(&complete), FIELDS);
    assert_eq!(
        json!([complete["status"], complete["progress"], complete["current_phase"]]),
        json!(["complete", null, null])
    );
    assert_eq!(json!([complete["document_count"], complete["completed_documents"]]), json!([35, 35]));
    assert_eq!(complete["grid_stats"]["filled"], 35);
    assert!(complete["completed_at"].is_string() && complete["started_at"].is_string(), "{complete}");
    assert_eq!(complete["links"].get("cancel"), None, "only while it is active");
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_failed_and_a_cancelled_job_say_why() -> Result<()> {
    let world = World::with_calls(15).await?;
    world.fixture.upstream.script(|asked| !asked.is_first_page(), Answer::status(403));
    let consumer = world.fixture.consumer().await?;
    let failed = world.start(json!({})).await?;
    world.fixture.until_over(failed, JobStatus::Failed).await?;
    let shown = world.job(failed).await?;
    assert_eq!(
        (fields(&shown), &shown["status"], &shown["grid_stats"]),
        (FIELDS.to_vec(), &json!("failed"), &Value::Null)
    );
    assert_eq!(
        shown["error"],
        json!({ "code": "job_failed", "message": "the upstream answered 403 Forbidden" })
    );
    assert!(shown["completed_at"].is_string());
    assert_eq!(shown["completed_documents"], 10);

    world.fixture.upstream.hold();
    let cancelled = world.start(json!({})).await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    world.fixture.publish_cancel(cancelled, "the customer left").await?;
    world.fixture.until_over(cancelled, JobStatus::Cancelled).await?;
    let shown = world.job(cancelled).await?;
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["error"], json!({ "code": "job_failed", "message": "the customer left" }));
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn people_get_a_link_to_where_they_look() -> Result<()> {
    let world = World::with_calls(0).await?;
    let config = ApiConfig { public_url: "https://sync.example/app".to_owned(), ..ApiConfig::default() };
    config.check().map_err(anyhow::Error::msg)?;
    let api = Api::start(&world.fixture, world.account.tenant, &config).await?;
    let job = world.start(json!({})).await?;
    let shown = api.get(&format!("/v1/jobs/{job}")).await?.body;
    assert_eq!(shown["links"]["dashboard"], format!("https://sync.example/app/jobs/{job}"));
    assert_eq!(api.get("/v1/jobs").await?.body["data"][0]["links"], shown["links"]);
    for wrong in ["sync.example", "ftp://sync.example", "https://sync.example/", "https://sync.example?x=1"] {
        let config = ApiConfig { public_url: wrong.to_owned(), ..ApiConfig::default() };
        assert!(config.check().unwrap_err().contains("api.public_url"), "{wrong}");
    }
    world.fixture.finish([]).await
}

#[tokio::test]
async fn what_is_no_job_is_refused() -> Result<()> {
    let world = World::with_calls(0).await?;
    let unknown = protocol::ids::JobId::random();
    for (path, seven) in
        [("/v1/jobs/{}", "/v1/jobs/seven"), ("/v1/jobs/{}/results", "/v1/jobs/seven/results")]
    {
        world.api.get(seven).await?.is(400, "validation_error", "UUID")?;
        let path = path.replace("{}", &unknown.to_string());
        world.api.get(&path).await?.is(404, "not_found", "there is no job")?;
        world.api.call_as(None, reqwest::Method::GET, &path).await?.is(401, "unauthorized", "API key")?;
    }
    world.fixture.finish([]).await
}
