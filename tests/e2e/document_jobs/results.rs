//! `GET /v1/jobs/{id}/results`, in every state.

use super::api::{World, each_once, sorted};
use anyhow::{Context, Result};
use configuration::FetchConfig;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::sample_upstream::Answer;

/// Asks until so many rows are visible: pages show up once older transactions of the whole server have ended.
async fn until_visible(world: &World, path: &str, rows: usize) -> Result<Value> {
    let asked = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let answer = world.api.get(path).await?;
            if answer.body["data"].as_array().context("rows")?.len() >= rows {
                return anyhow::Ok(answer.body);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    asked.await.with_context(|| format!("there were never {rows} rows at {path}"))?
}

#[tokio::test]
async fn rows_are_there_before_during_and_after_a_job() -> Result<()> {
    let world = World::with_calls(35).await?;
    let job = world.start(json!({})).await?;
    let path = format!("/v1/jobs/{job}/results");
    let pending = world.api.get(&path).await?.body;
    assert_eq!(
        json!([pending["job_status"], pending["total_rows"], pending["data"]]),
        json!(["pending", 0, []])
    );
    assert_eq!(
        json!([pending["pagination"]["has_more"], pending["pagination"]["next_cursor"]]),
        json!([false, null])
    );

    world.fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let consumer = world.fixture.consumer_with(world.fixture.unhurried()?).await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    let running = until_visible(&world, &path, 10).await?;
    assert_eq!(json!([running["job_status"], running["total_rows"]]), json!(["processing", 10]));
    assert_eq!(running["pagination"]["has_more"], false, "there is no more at this moment");
    let mut rows = running["data"].as_array().context("rows")?.clone();
    let next = running["links"]["next"].as_str().context("but it goes on from here")?.to_owned();
    let idle = world.api.get(&next).await?.body;
    assert_eq!(json!([idle["data"], idle["links"]["next"]]), json!([[], next]), "from the same place");

    world.fixture.upstream.release();
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let rest = world.api.get(&next).await?.body;
    assert_eq!((rest["data"].as_array().map(Vec::len), &rest["links"]["next"]), (Some(25), &Value::Null));
    rows.extend(rest["data"].as_array().context("rows")?.iter().cloned());
    assert_eq!(each_once(&rows)?, sorted(world.ids(0..35)));
    assert_eq!(rows, world.rows(job, 7).await?, "in the same order, whenever they are read");
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn rows_stay_after_a_cancel_and_after_a_failure() -> Result<()> {
    let world = World::with_calls(35).await?;
    let consumer = world.fixture.consumer().await?;
    world.fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let cancelled = world.start(json!({})).await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    assert_eq!(world.cancel(cancelled).await?.status, 200);
    assert_eq!(each_once(&world.rows(cancelled, 3).await?)?.len(), 10);
    world.fixture.upstream.release();

    world.fixture.upstream.script(|asked| !asked.is_first_page(), Answer::status(403));
    let failed = world.start(json!({})).await?;
    world.fixture.until_over(failed, JobStatus::Failed).await?;
    let rows = world.rows(failed, 3).await?;
    assert_eq!(each_once(&rows)?, each_once(&world.rows(cancelled, 10).await?)?, "the same page, twice");
    let shown = world.api.get(&format!("/v1/jobs/{failed}/results")).await?.body;
    assert_eq!(json!([shown["job_status"], shown["total_rows"]]), json!(["failed", 10]));
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_resumed_job_has_the_rows_of_those_before() -> Result<()> {
    let world = World::with_calls(45).await?;
    let schema = world.schema(json!([{ "name": "id", "pointer": "/callId", "type": "string" }])).await?;
    let consumer = world.fixture.consumer().await?;
    let mut job = world.start(json!({ "schema_id": schema })).await?;
    let mut settled = 0;
    for _ in 0..3 {
        // One page more each time, and then it is cancelled in the middle of the next one.
        world.fixture.upstream.hold();
        world.fixture.upstream.until(|seen| seen.held == 1).await;
        world.fixture.upstream.let_through(1);
        settled += 10;
        world.fixture.until(job, |view| view.counters.processed() == settled).await?;
        world.fixture.upstream.until(|seen| seen.held == 1).await;
        assert_eq!(world.cancel(job).await?.status, 200);
        let rows = world.rows(job, 4).await?;
        assert_eq!(i64::try_from(each_once(&rows)?.len())?, settled);
        let resumed = world.api.post(&format!("/api/v1/jobs/{job}/resume"), &json!({})).await?;
        assert_eq!(resumed.status, 202, "{resumed:?}");
        job = resumed.id()?;
    }
    world.fixture.upstream.release();
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let rows = world.rows(job, 7).await?;
    assert_eq!(each_once(&rows)?, sorted(world.ids(0..45)));
    let shown = world.job(job).await?;
    assert_eq!(
        (&shown["schema"]["id"], &shown["document_count"]),
        (&json!(schema), &json!(45)),
        "its schema too"
    );
    assert_eq!(shown["grid_stats"], json!({ "total_cells": 45, "filled": 45, "empty": 0, "fill_rate": 1.0 }));
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_cursor_is_of_one_job_and_a_limit_has_bounds() -> Result<()> {
    let world = World::with_calls(5).await?;
    let consumer = world.fixture.consumer().await?;
    let mut next = Vec::new();
    for _ in 0..2 {
        let job = world.start(json!({})).await?;
        world.fixture.until_over(job, JobStatus::Completed).await?;
        let page = world.api.get(&format!("/v1/jobs/{job}/results?limit=2")).await?.body;
        next.push((job, page["pagination"]["next_cursor"].as_str().context("there is more")?.to_owned()));
    }
    let (first, second) = (next[0].0, next[1].1.clone());
    for (query, words) in [
        (format!("cursor={second}"), "not one that this API gave out"),
        ("cursor=7".to_owned(), "not one that this API gave out"),
        ("limit=0".to_owned(), "between 1 and 500"),
        ("limit=501".to_owned(), "between 1 and 500"),
        ("offset=1".to_owned(), "offset"),
    ] {
        let answer = world.api.get(&format!("/v1/jobs/{first}/results?{query}")).await?;
        answer.is(400, "validation_error", words)?;
    }
    world.fixture.finish([consumer]).await
}

/// An answer is bounded in bytes too: large records come in more pages, none of them empty.
#[tokio::test]
async fn large_records_come_in_smaller_pages() -> Result<()> {
    let world = World::with_calls(6).await?;
    for ordinal in 0..6 {
        let created = world.fixture.upstream.created("acme", ordinal).context("it is there")?.to_rfc3339();
        let filler = "x".repeat(3 << 20);
        let call = format!(
            r#"{{"callId":"{ordinal}","created":"{created}","ended":"{created}","filler":"{filler}"}}"#
        );
        world.fixture.upstream.set_raw("acme", ordinal, &call);
    }
    let limits = FetchConfig { max_page_bytes: 32 << 20, ..FetchConfig::default() };
    let consumer = Fixture::spawn_fetching(world.fixture.unhurried()?, limits).await?;
    let job = world.start(json!({})).await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let mut seen = Vec::new();
    let mut path = Some(format!("/v1/jobs/{job}/results"));
    while let Some(asked) = path {
        let page = world.api.get(&asked).await?;
        assert!(page.text.len() < 4 << 20);
        seen.push(page.body["data"].as_array().context("rows")?.len());
        path = page.body["links"]["next"].as_str().map(ToOwned::to_owned);
    }
    assert_eq!(seen, [1; 6]);
    world.fixture.finish([consumer]).await
}
