//! Jobs over an explicit list of ids: what is fetched, what becomes of what cannot be, and what such a job leaves alone.

use super::api::{World, documents, each_once, sorted};
use anyhow::{Context, Result};
use protocol::command::StartCommand;
use protocol::ids::JobId;
use protocol::job::{JobMode, JobStatus};
use serde_json::{Value, json};
use store::limits::ConnectionLimits;
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Answer, Options, TenantOptions};
use uuid::Uuid;

fn reason(row: &Value) -> &str {
    row["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn exactly_these_are_fetched() -> Result<()> {
    let mut options = Options::new([TenantOptions::new("acme", 60)]);
    options.count_pages = true;
    let fixture = Fixture::start(options).await?;
    let account = fixture.account("acme", json!({ "item_page_size": 10 })).await?;
    let api = super::api::Api::start(&fixture, account.tenant, &configuration::ApiConfig::default()).await?;
    let world = World { fixture, account, api };
    // Newest and oldest, in no order; one that is not there, one that is not over, two that are no ids there.
    let missing = Uuid::new_v4().to_string();
    world.fixture.upstream.set_running("acme", 40, true);
    let mut ids = world.ids((0..60).step_by(2).chain([59, 57, 55]));
    ids.insert(7, missing.clone());
    ids.push("../../etc/passwd?x=1#y %2f".to_owned());
    ids.push("..".to_owned());
    let schema = world
        .schema(json!([{ "name": "id", "pointer": "/callId", "type": "string", "required": true }]))
        .await?;
    let consumer = world.fixture.consumer().await?;
    let job = world.start(json!({ "document_ids": ids, "schema_id": schema, "name": "some" })).await?;
    let view = world.fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.counters.deferred, view.counters.failed), (32, 1, 3));
    assert_eq!((view.total, view.pages_settled), (Some(36), 4));

    let rows = world.rows(job, 5).await?;
    assert_eq!(documents(&rows), ids, "a row for each, in the order in which they were asked for");
    let row = |id: &str| rows.iter().find(|row| row["document_id"] == id).unwrap();
    assert_eq!(row(&missing)["status"], "failed");
    assert_eq!(reason(row(&missing)), "the upstream answered 404 Not Found");
    assert_eq!(reason(row("../../etc/passwd?x=1#y %2f")), "the upstream answered 404 Not Found");
    assert_eq!(reason(row("..")), "the id cannot be part of a path");
    assert!(reason(row(&world.ids([40])[0])).contains("not importable yet"));
    let complete =
        rows.iter().filter(|row| row["status"] == "complete" && row["values"]["id"] == row["document_id"]);
    assert_eq!(complete.count(), 32);

    let shown = world.job(job).await?;
    assert_eq!(json!([shown["document_count"], shown["completed_documents"]]), json!([36, 36]));
    assert_eq!(
        shown["grid_stats"],
        json!({ "total_cells": 36, "filled": 32, "empty": 4, "fill_rate": 0.8889 })
    );
    let fetches = world.fixture.upstream.fetches();
    assert_eq!(fetches.len(), 35, "each once, and never the list: {fetches:?}");
    assert!(
        fetches.iter().all(|(path, times)| path.starts_with("acme /api/calls/") && *times == 1),
        "{fetches:?}"
    );
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn two_of_them_run_beside_a_job_over_a_span() -> Result<()> {
    let world = World::with_calls(50).await?;
    world.fixture.upstream.hold();
    let consumer = world.fixture.consumer_with(world.fixture.unhurried()?).await?;
    let span = world.start(json!({})).await?;
    let first = world.start(json!({ "document_ids": world.ids(0..30) })).await?;
    let second = world.start(json!({ "document_ids": world.ids(20..50) })).await?;
    // The list's first page, and four ids of each of the others: all three are under way.
    world.fixture.upstream.until(|seen| seen.held == 9).await;
    let refused = world.api.post("/v1/jobs", &json!({ "connection_id": world.account.connection })).await?;
    refused.is(409, "conflict", "pending or running")?;
    assert_eq!(refused.body["job_id"], json!(span), "the one that is in the way");
    for job in [span, first, second] {
        assert_eq!(world.job(job).await?["status"], "processing");
    }
    let progress = world.job(first).await?;
    assert_eq!(json!([progress["document_count"], progress["progress"]]), json!([30, 0]));
    world.fixture.upstream.release();
    for (job, calls) in [(span, 0..50), (first, 0..30), (second, 20..50)] {
        world.fixture.until_over(job, JobStatus::Completed).await?;
        assert_eq!(each_once(&world.rows(job, 8).await?)?, sorted(world.ids(calls)));
    }
    world.fixture.exact(world.account, "acme").await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_cancelled_one_goes_on_where_it_stopped() -> Result<()> {
    let world = World::with_calls(45).await?;
    let ids = world.ids((0..45).rev());
    let consumer = world.fixture.consumer_with(world.fixture.unhurried()?).await?;
    let thirteenth = format!("/api/calls/{}", ids[12]);
    world.fixture.upstream.hold_if(move |asked| asked.path == thirteenth);
    let job = world.start(json!({ "document_ids": ids })).await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    world.fixture.until(job, |view| view.counters.processed() == 10).await?;
    assert_eq!(world.cancel(job).await?.status, 200);
    world.fixture.upstream.until(|seen| seen.disconnects == 1).await;
    assert_eq!(documents(&world.rows(job, 50).await?), ids[..10], "whole pages only");
    world.fixture.upstream.release();

    let resumed = world.api.post(&format!("/api/v1/jobs/{job}/resume"), &json!({})).await?.id()?;
    world.fixture.until_over(resumed, JobStatus::Completed).await?;
    assert_eq!(documents(&world.rows(resumed, 7).await?), ids);
    let shown = world.job(resumed).await?;
    assert_eq!(json!([shown["document_count"], shown["completed_documents"]]), json!([45, 45]));
    // Resumed while another one of the connection is active: it is in nobody's way.
    let again = world.start(json!({ "document_ids": ids })).await?;
    world.fixture.until(again, |view| view.status.is_active() || view.status.is_terminal()).await?;
    world.fixture.until_over(again, JobStatus::Completed).await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn the_upstreams_troubles_are_the_pages() -> Result<()> {
    let world = World::with_calls(25).await?;
    let ids = world.ids(0..25);
    let at = |index: usize| {
        let path = format!("/api/calls/{}", ids[index]);
        move |asked: &testkit::sample_upstream::Asked| asked.path == path
    };
    let upstream = &world.fixture.upstream;
    upstream.script(at(3), Answer::status(502));
    upstream.script(at(14), Answer::retry_after(429, "1"));
    upstream.script(at(21), Answer::html());
    let consumer = world.fixture.consumer().await?;
    let job = world.start(json!({ "document_ids": ids })).await?;
    let view = world.fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.counters.failed), (24, 1));
    let rows = world.rows(job, 100).await?;
    assert_eq!(documents(&rows), ids, "each once, though pages were fetched again");
    assert!(reason(&rows[21]).contains("cannot be read (content type text/html)"), "{}", rows[21]);

    // What is wrong with the account fails the job, in the upstream's words.
    upstream.script(at(12), Answer::status(401));
    let refused = world.start(json!({ "document_ids": ids })).await?;
    world.fixture.until_over(refused, JobStatus::Failed).await?;
    assert_eq!(world.job(refused).await?["error"]["message"], "the upstream answered 401 Unauthorized");
    assert_eq!(documents(&world.rows(refused, 100).await?), ids[..10]);
    world.fixture.finish([consumer]).await
}

/// With a limit of requests per second each request is admitted by itself; with one of pages in flight a page asks for one
/// thing at a time.
#[tokio::test]
async fn limits_of_the_connection_hold_for_each_request() -> Result<()> {
    let world = World::with_calls(12).await?;
    let (tenant, connection) = (world.account.tenant, world.account.connection);
    let limit = |pages_in_flight, requests_per_second| {
        world.fixture.store.connections().set_limits(
            tenant,
            connection,
            ConnectionLimits { pages_in_flight, requests_per_second },
        )
    };
    assert!(limit(None, Some(50.0)).await?);
    let consumer = world.fixture.consumer_with(world.fixture.unhurried()?).await?;
    let job = world.start(json!({ "document_ids": world.ids(0..12) })).await?;
    let view = world.fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.pages_settled, view.counters.inserted), (12, 12));

    assert!(limit(Some(2), None).await?);
    world.fixture.upstream.hold();
    let before = world.fixture.upstream.seen().requests;
    let job = world.start(json!({ "document_ids": world.ids(0..12) })).await?;
    for asked in 1..=12 {
        world.fixture.upstream.until(|seen| seen.held == 1 && seen.requests == before + asked).await;
        world.fixture.upstream.let_through(1);
    }
    world.fixture.until_over(job, JobStatus::Completed).await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_source_that_cannot_fetch_by_id_says_so() -> Result<()> {
    let world = World::with_calls(0).await?;
    let new = store::connections::NewConnection {
        tenant: world.account.tenant,
        name: "list only".to_owned(),
        source: "paged_json".to_owned(),
        base_url: world.fixture.upstream.base_url(),
        settings: json!({
            "path": "/api/calls",
            "records": { "pointer": "/results", "id": "/callId" },
            "next": { "style": "next_url", "pointer": "/next" },
        }),
    };
    let connection = world.fixture.put_connection(&new, &json!({})).await?;
    let consumer = world.fixture.consumer().await?;
    let job = world.start_on(connection, json!({ "document_ids": ["a"] })).await?;
    world.fixture.until_over(job, JobStatus::Failed).await?;
    let message = world.job(job).await?["error"]["message"].to_string();
    assert!(message.contains("do not say how a record is fetched by its id: set item"), "{message}");
    world.fixture.finish([consumer]).await
}

/// What lies between the documents is not known, however new they are; and no status of a connection's own job is theirs.
#[tokio::test]
async fn it_says_nothing_about_what_is_known() -> Result<()> {
    let world = World::with_settings(60, json!({ "overlap_hours": 1 })).await?;
    let consumer = world.fixture.consumer().await?;
    let created = |ordinal| world.fixture.upstream.created("acme", ordinal).context("it is there");
    let oldest = world.start(json!({ "date_to": created(10)? })).await?;
    let known = world.fixture.until_over(oldest, JobStatus::Completed).await?;
    assert_eq!(known.counters.inserted, 10);
    let known_to = || async {
        sqlx::query_scalar::<_, Option<chrono::DateTime<chrono::Utc>>>("select known_to from streams")
            .fetch_one(&world.fixture.database.pool)
            .await
    };
    assert_eq!(known_to().await?, Some(created(9)?));
    let newest = world.start(json!({ "document_ids": world.ids([59]) })).await?;
    world.fixture.until_over(newest, JobStatus::Completed).await?;
    assert_eq!(known_to().await?, Some(created(9)?));
    let latest = world.fixture.store.jobs().latest(world.account.tenant, world.account.connection).await?;
    assert_eq!(latest.map(|job| job.id), Some(oldest));

    let incremental = StartCommand {
        mode: JobMode::Incremental,
        ..Fixture::start_command(world.account.connection, JobId::random())
    };
    world.fixture.publish_start_command(&incremental).await?;
    let job = incremental.job_id.context("chosen here")?;
    let view = world.fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(
        view.date_from,
        Some(created(9)? - chrono::TimeDelta::hours(1)),
        "from what the span has made known"
    );
    world.fixture.exact(world.account, "acme").await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn with_their_connection_all_of_them_are_cancelled() -> Result<()> {
    let world = World::with_calls(5).await?;
    world.fixture.upstream.hold();
    let consumer = world.fixture.consumer().await?;
    let span = world.start(json!({})).await?;
    let first = world.start(json!({ "document_ids": world.ids(0..5) })).await?;
    world.fixture.upstream.until(|seen| seen.held == 5).await;
    let second = world.start(json!({ "document_ids": ["later"] })).await?;
    let engine = engine::Engine::new(world.fixture.store.clone(), world.fixture.publisher.clone());
    let (tenant, connection) = (world.account.tenant, world.account.connection);
    assert_eq!(engine.delete_connection(tenant, connection, "test").await?, Some(span));
    for job in [span, first, second] {
        // Over, or removed by the sweeper already.
        let over = tokio::time::timeout(std::time::Duration::from_secs(60), async {
            while world
                .fixture
                .store
                .jobs()
                .get(job, None)
                .await?
                .is_some_and(|view| !view.status.is_terminal())
            {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        });
        over.await??;
    }
    world.fixture.upstream.release();
    world
        .fixture
        .until_sql("select not exists (select from jobs) and not exists (select from documents)")
        .await?;
    world.fixture.finish([consumer]).await
}
