//! `GET /v1/jobs`.

use super::api::World;
use anyhow::{Context, Result};
use protocol::job::JobError;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use store::jobs::FailRight;

fn ids(page: &Value) -> Vec<String> {
    let jobs = page["data"].as_array().into_iter().flatten();
    jobs.map(|job| job["id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn jobs_are_listed_in_pages_in_both_orders() -> Result<()> {
    let world = World::with_calls(0).await?;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(world.start(json!({ "document_ids": ["a"] })).await?.to_string());
    }
    let (_, theirs, _) = world.other().await?;
    world.fixture.accept(theirs).await?;
    for order in ["asc", "desc"] {
        let mut seen = Vec::new();
        let mut path = format!("/v1/jobs?limit=3&order={order}");
        loop {
            let page = world.api.get(&path).await?.body;
            assert_eq!(page["pagination"]["total"], 7, "of the tenant, whatever the page");
            seen.extend(ids(&page));
            let next = page["pagination"]["next_cursor"].as_str();
            assert_eq!(page["pagination"]["has_more"], next.is_some());
            let Some(cursor) = next else { break };
            assert_eq!(page["data"].as_array().context("jobs")?.len(), 3);
            path = format!("/v1/jobs?limit=3&order={order}&cursor={cursor}");
            // A job that comes in meanwhile moves none of the others.
            if order == "desc" && seen.len() == 3 {
                let late = world.start(json!({ "document_ids": ["a"] })).await?;
                world
                    .fixture
                    .database
                    .execute(&format!("update jobs set name = 'late' where id = '{late}'"))
                    .await?;
                let all = world.api.get("/v1/jobs").await?.body;
                assert_eq!(
                    (all["pagination"]["total"].clone(), all["data"][0]["name"].clone()),
                    (json!(8), json!("late"))
                );
                // The total is that of now; for the rest of the walk it goes away again.
                let sql = format!(
                    "delete from job_events where job_id = '{late}'; delete from jobs where id = '{late}'"
                );
                world.fixture.database.execute(&sql).await?;
            }
        }
        if order == "desc" {
            seen.reverse();
        }
        assert_eq!(seen, made, "{order}: each once");
    }
    let all = world.api.get("/v1/jobs").await?.body;
    assert_eq!((ids(&all).len(), &all["pagination"]["limit"]), (7, &json!(20)));
    assert_eq!(ids(&all).first(), made.last(), "newest first by default");
    world.fixture.finish([]).await
}

#[tokio::test]
async fn jobs_are_chosen_by_the_contracts_words() -> Result<()> {
    let world = World::with_calls(0).await?;
    let documents = || world.start(json!({ "document_ids": ["a"] }));
    let pending = documents().await?;
    let failed = documents().await?;
    let error = JobError::of_job("on purpose".to_owned());
    assert!(world.fixture.store.jobs().fail(failed, &error, FailRight::Job).await?);
    let cancelled = documents().await?;
    assert_eq!(world.cancel(cancelled).await?.status, 200);
    let cancelling = documents().await?;
    world.hold_page(cancelling).await?;
    world.fixture.publish_cancel(cancelling, "by message").await?;
    let running = documents().await?;
    let consumer = world.fixture.consumer().await?;
    // `pending` and `running` are over documents that the upstream does not have: they complete.
    world.fixture.until_over(running, JobStatus::Completed).await?;
    world.fixture.until_over(pending, JobStatus::Completed).await?;
    world.fixture.until(cancelling, |view| view.status == JobStatus::Cancelling).await?;

    for (word, expected) in [
        ("pending", vec![]),
        ("processing", vec![cancelling]),
        ("complete", vec![running, pending]),
        ("failed", vec![cancelled, failed]),
    ] {
        let page = world.api.get(&format!("/v1/jobs?status={word}")).await?.body;
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(ids(&page), expected, "{word}");
        assert_eq!(page["pagination"]["total"], expected.len());
        assert!(page["data"].as_array().context("jobs")?.iter().all(|job| job["status"] == word), "{page}");
    }
    for (query, words) in [
        ("status=running", "running"),
        ("limit=0", "limit is 0"),
        ("limit=101", "limit is 101"),
        ("limit=many", "limit"),
        ("cursor=abc", "not one that this API gave out"),
        ("order=newest", "order"),
        ("state=failed", "state"),
    ] {
        world.api.get(&format!("/v1/jobs?{query}")).await?.is(400, "validation_error", words)?;
    }
    assert!(world.fixture.store.jobs().force_cancel(cancelling).await?.is_some());
    world.fixture.finish([consumer]).await
}
